"""What lies between a chat client and an endpoint that may be slow, endless, or somebody else's."""

import asyncio
import zlib
from collections.abc import AsyncIterator

__all__ = ["BROKEN", "Refused", "bounded_client"]

LARGEST = 2**22  # bytes of an answer, unpacked; one to twenty books has some thousands
#: What the client raises for what is no JSON, no completion, or too deep to be read.
BROKEN = (ValueError, RecursionError)


class Refused(Exception):
    """An answer that is not read to its end; its message says why."""


def bounded_client(kind: type, timeout: float):
    """Return an HTTP client, of a `kind` of httpx's, whose requests end in time, in little memory, and stay.

    The `timeout`, in seconds, is that of a whole request: one byte now and then keeps none alive. What is
    late raises TimeoutError, what is too large `Refused`. A redirect is not followed, for the key would go
    along. Answers are unpacked here, piece by piece: a few packed bytes can stand for gigabytes.
    """

    class Client(kind):
        async def send(self, request, **options):
            request.headers["accept-encoding"] = "gzip"
            async with asyncio.timeout(timeout):
                response = await super().send(request, **options | {"stream": True})
                try:
                    content = await _read(response)
                except zlib.error as error:
                    raise Refused(f"an answer that cannot be unpacked ({error})") from None
                finally:
                    await response.aclose()
            kept = {"content-type", "retry-after"}
            headers = [(name, value) for name, value in response.headers.items() if name in kept]
            return type(response)(response.status_code, headers=headers, content=content, request=request)

    return Client(timeout=timeout, follow_redirects=False)


async def _read(response) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(f"an answer packed as {encoding[:40]!r}, which was not asked for")
    content = bytearray()
    async for piece in _unpacked(response.aiter_raw(), encoding == "gzip"):
        content += piece
        if len(content) > LARGEST:
            raise Refused(f"an answer of more than {LARGEST:,} bytes")
    return bytes(content)


async def _unpacked(pieces: AsyncIterator[bytes], packed: bool) -> AsyncIterator[bytes]:
    unpack = zlib.decompressobj(wbits=31)  # a gzip header
    async for piece in pieces:
        if not packed:
            yield piece
        while packed and piece and not unpack.eof:
            yield unpack.decompress(piece, LARGEST)
            piece = unpack.unconsumed_tail
