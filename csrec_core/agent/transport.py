"""One request to an endpoint that may be slow, endless, or somebody else's."""

import asyncio
import math
import time
from email.utils import parsedate_to_datetime

import httpx

LARGEST_ANSWER = 2**22  # bytes of an answer; one to twenty books has some thousands


class Failed(Exception):
    """A request that failed and may be tried again, after `wait` seconds if the server said so.

    The message is for people; `outcome`, by default the same, is what it is counted under.
    """

    def __init__(self, message: str, *, outcome: str = "", wait: float | None = None):
        super().__init__(message)
        self.outcome, self.wait = outcome or message, wait


async def post(client: httpx.AsyncClient, address: str, body: dict, timeout: float) -> httpx.Response:
    """Send JSON; return what comes back, in time and in little memory; raises `Failed`.

    The `timeout`, in seconds, is that of a whole request: one byte now and then keeps none alive. A redirect is
    not followed, for the key would go along. Packed answers are refused: a few bytes can stand for gigabytes.
    """
    try:
        async with (
            asyncio.timeout(timeout),
            client.stream("POST", address, json=body, follow_redirects=False) as response,
        ):
            content = await _read(response)
    except (TimeoutError, httpx.TimeoutException):
        raise Failed("time-out") from None
    except httpx.TransportError:
        raise Failed("no connection") from None
    return httpx.Response(response.status_code, headers=response.headers, content=content)


def retry_after(text: str) -> float | None:
    """Return the seconds that a server asks to wait: it may give them, or a date; else None."""
    try:
        wait = float(text)
    except ValueError:
        try:
            wait = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None
    return wait if math.isfinite(wait) and wait >= 0 else None


async def _read(response: httpx.Response) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise _refused(f"is packed as {encoding[:40]!r}, which was not asked for")
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise _refused(f"has more than {LARGEST_ANSWER:,} bytes")
    return bytes(content)


def _refused(why: str) -> Failed:
    return Failed(f"an answer that {why}", outcome="refused response")
