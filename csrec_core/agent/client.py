"""One question to a chat-completions endpoint: retries, limits, and a key that nobody gets to see."""

import asyncio
import math
import random
import time
from email.utils import parsedate_to_datetime
from typing import Any

from csrec_core.agent.answers import REASONS, Unusable, read_answer, writable
from csrec_core.agent.cache import AnswerCache, Answered
from csrec_core.agent.endpoint import KEY_NAMES, Endpoint, Stopped, check_endpoint
from csrec_core.agent.prompts import Prompt
from csrec_core.agent.transport import BROKEN, Refused, bounded_client
from csrec_core.errors import InputError

__all__ = ["Client"]

PASSING = {408, 409, 425, 429}  # and all of 500 and more: worth another try
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is left alone
SECRET = 8  # characters; a shorter key, such as a local server's, is none, and may be part of any word
TOO_MANY = 50  # questions in a row that are given up before the run stops
CHARACTERS = 4  # a token, for estimates before the server has counted


class Client:
    """Asks questions; keeps what comes back.

    Parameters
    ----------
    endpoint : Endpoint
    cache : AnswerCache
    """

    def __init__(self, endpoint: Endpoint, cache: AnswerCache):
        self._openai, self._key = check_endpoint(endpoint)
        self._endpoint, self._cache = endpoint, cache
        # Its own retries are off: each request is to be counted, limited and written down.
        self._chat = self._openai.AsyncOpenAI(
            api_key=self._key,
            base_url=endpoint.base_url,
            max_retries=0,
            http_client=bounded_client(self._openai.DefaultAsyncHttpxClient, endpoint.timeout),
        )
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self._formats = ["json_schema", "json_object", "none"]
        self._not_before = 0.0
        self._stopped: Exception | None = None
        self._given_up = 0  # questions in a row

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()

    async def ask(self, key: str, prompt: Prompt) -> Answered:
        """Return a usable answer to the question, or the reason why it is given up; either is kept."""
        async with self._places:
            messages = prompt.messages
            for left in reversed(range(self._endpoint.asks)):
                request, text, tokens = await self._send_until_answered(key, prompt, messages)
                reason = _fault(prompt, text)
                answered = Answered(None if reason else text, reason)
                final = not reason or not left
                # An answer and the end of its request are on disk together, or neither is.
                with self._cache.together():
                    self._cache.came_back(request, reason or "answered", tokens)
                    if final:
                        self._cache.keep(key, prompt.task, prompt.messages, answered)
                if final:
                    self._count(reason)
                    return answered
                messages = prompt.again(REASONS[reason])
        raise ValueError("an endpoint that may not even be asked once")

    async def _send_until_answered(
        self, key: str, prompt: Prompt, messages: list
    ) -> tuple[int, str, tuple[int, int]]:
        """Return a request's number, the text that came back and its tokens, after some tries if need be."""
        jitter = random.Random(f"{self._endpoint.seed} {key}")
        for failed in range(self._endpoint.tries):
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            if self._stopped:
                raise self._stopped
            try:
                return await self._send(key, prompt, messages)
            except _Passing as error:
                wait = error.wait
                if wait is None:
                    wait = self._endpoint.backoff * 2**failed * jitter.uniform(0.5, 1.5)
                elif wait > LONGEST_WAIT:
                    raise self._stop(
                        Stopped(f"the server asks to wait {wait:,.0f} s; go on with --resume after that")
                    ) from None
                else:  # it is the server that is busy: nobody asks before then
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                said = str(error)
            await asyncio.sleep(min(wait, LONGEST_WAIT))
        raise self._stop(
            Stopped(f"no answer in {self._endpoint.tries} tries ({said}); --resume goes on when it is back")
        )

    async def _send(self, key: str, prompt: Prompt, messages: list) -> tuple[int, str, tuple[int, int]]:
        """Send one request; keep account of it."""
        estimate = sum(len(message["content"]) for message in messages) // CHARACTERS
        self._check_limits(estimate)
        request = self._cache.sent(key, estimate)
        openai, form = self._openai, self._formats[0]
        try:
            completion = await self._chat.chat.completions.create(
                model=self._endpoint.model, messages=messages, **_response_format(form, prompt)
            )
            text, tokens = _read_completion(completion)
        except openai.APIStatusError as error:
            self._cache.came_back(request, f"HTTP {error.status_code}")
            raise self._judge(error, form) from None
        except (openai.APITimeoutError, TimeoutError):
            self._cache.came_back(request, "time-out")
            raise _Passing("time-out") from None
        except Refused as refused:
            self._cache.came_back(request, "refused response")
            raise _Passing(str(refused)) from None
        except openai.APIConnectionError:
            self._cache.came_back(request, "no connection")
            raise _Passing("no connection") from None
        except (openai.APIError, *BROKEN):
            self._cache.came_back(request, "broken response")
            raise _Passing("a broken response") from None
        text = self._clean(text)
        return request, text, tokens or (estimate, len(text) // CHARACTERS)

    def _judge(self, error: Any, form: str) -> Exception:
        """Return what an HTTP error means: worth another try, another form of question, or the end."""
        status, said = error.status_code, self._clean(" ".join(str(error.message).split()))[:300]
        if status in PASSING or status >= 500:
            return _Passing(f"HTTP {status}: {said}", wait=_retry_after(error.response.headers))
        if status in (400, 422) and "response_format" in str(error.message) and form != "none":
            # Some endpoints know no schemas; the answer is checked here all the same.
            if self._formats[0] == form:
                self._formats.pop(0)
            return _Passing(f"HTTP {status}", wait=0.0)
        if 300 <= status < 400:
            # The key is for this address; whoever sits at another does not get it.
            said = "it redirects to another address; expected the --base-url to be its own"
        hint = f"; the key is read from {' or '.join(KEY_NAMES)}" if status in (401, 403) else ""
        return self._stop(InputError(f"the endpoint refuses: HTTP {status}: {said}{hint}"))

    def _check_limits(self, estimate: int) -> None:
        limits = {"requests": self._endpoint.limit_requests, "tokens": self._endpoint.limit_tokens}
        wanted = {"requests": self._cache.requests + 1, "tokens": sum(self._cache.tokens) + estimate}
        for name, limit in limits.items():
            if limit is not None and wanted[name] > limit:
                message = f"limit of {limit:,} {name} reached; a higher --limit-{name} --resume goes on"
                raise self._stop(Stopped(message, code=3))

    def _count(self, reason: str | None) -> None:
        """Let the run stop where question after question is given up: something else must be wrong."""
        self._given_up = self._given_up + 1 if reason else 0
        if self._given_up == TOO_MANY:
            self._stop(Stopped(f"{TOO_MANY} questions in a row had no usable answer, the last one: {reason}"))

    def _stop(self, reason: Exception) -> Exception:
        """Let nobody send any more; requests under way still come back and are kept."""
        self._stopped = self._stopped or reason
        return self._stopped

    def _clean(self, text: str) -> str:
        """Return a text of the server's that can be written, without the key, should it have put it there."""
        text = writable(text)
        return text.replace(self._key, "[key]") if len(self._key) >= SECRET else text


class _Passing(Exception):
    """A request that failed and may be tried again, after `wait` seconds if the server said so."""

    def __init__(self, message: str, *, wait: float | None = None):
        super().__init__(message)
        self.wait = wait


def _fault(prompt: Prompt, text: str) -> str | None:
    """Return why an answer is of no use, a key of `REASONS`; None where it is of use."""
    if not text:
        return "refused"
    try:
        read_answer(prompt, text)
    except Unusable as error:
        return error.reason
    return None


def _response_format(form: str, prompt: Prompt) -> dict[str, Any]:
    if form == "none":
        return {}
    if form == "json_object":
        return {"response_format": {"type": form}}
    schema = {"name": prompt.task, "strict": True, "schema": prompt.schema}
    return {"response_format": {"type": form, form: schema}}


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that a server asks to wait: it may give them, or a date; else None."""
    text = headers.get("retry-after", "")
    try:
        wait = float(text)
    except ValueError:
        try:
            wait = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None
    return wait if math.isfinite(wait) and wait >= 0 else None


def _read_completion(completion: Any) -> tuple[str, tuple[int, int] | None]:
    """Return the text, empty for a refusal, and the tokens of prompt and answer, if the server counts them.

    What calls itself compatible may leave out anything; ValueError where there is no message at all.
    """
    choices = getattr(completion, "choices", None) or [None]
    message = getattr(choices[0], "message", None)
    if message is None:
        raise ValueError("no message")
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, f"{name}_tokens", None) for name in ("prompt", "completion")]
    tokens = tuple(counts) if all(isinstance(count, int) for count in counts) else None
    filtered = getattr(choices[0], "finish_reason", None) == "content_filter"
    content = getattr(message, "content", None)
    if filtered or getattr(message, "refusal", None) or not isinstance(content, str):
        return "", tokens
    return content, tokens
