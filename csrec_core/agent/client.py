"""One question to a chat-completions endpoint: retries, limits, and a key that nobody gets to see."""

import asyncio
import json
import random
import time
from itertools import count
from pathlib import Path

import httpx

from csrec_core.agent.answers import REFUSALS, Unusable, read_answer, writable
from csrec_core.agent.cache import AnswerCache, question_key
from csrec_core.agent.endpoint import KEY_NAMES, Endpoint, Stopped, check_endpoint
from csrec_core.agent.prompts import Prompt
from csrec_core.agent.transport import Failed, post, retry_after
from csrec_core.errors import InputError

PASSING = {408, 409, 425, 429}  # and all of 500 and more: worth another try
LONGEST_WAIT = 600.0  # seconds; a server that asks for more is left alone
SECRET = 8  # characters; a shorter key, such as a local server's, is none, and may be part of any word
FIRST_TRIES = 4  # of an endpoint from which nothing has come yet: its address may be wrong
TOO_MANY = 50  # questions in a row that are given up before the run stops
MOST_TOKENS = 2**40  # of a request; whoever counts more cannot count
CHARACTERS = 4  # a token, for estimates before the server has counted


class Client:
    """Asks the endpoint questions; keeps what comes back in the cache at `path`, made once the endpoint is checked."""

    def __init__(self, endpoint: Endpoint, path: Path):
        address, self._key = check_endpoint(endpoint)
        self._endpoint, self.cache = endpoint, AnswerCache(path)
        self._address = f"{address.rstrip('/')}/chat/completions"
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {self._key}", "accept-encoding": "identity"},
            limits=httpx.Limits(max_connections=endpoint.concurrency),
            timeout=endpoint.timeout,
        )
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self._formats = ["json_schema", "json_object", "none"]
        self._not_before = 0.0
        self._stopped: Exception | None = None
        self._given_up = 0  # questions in a row
        self._reached = False  # whether anything has come back

    async def close(self) -> None:
        """Close the connections and the cache."""
        try:
            await self._http.aclose()
        finally:
            self.cache.close()

    async def ask(self, prompt: Prompt) -> list | None:
        """Return what `read_answer` reads, None where the question is given up; either is kept for good."""
        key = question_key(self._endpoint.model, prompt.messages)
        if (known := self.cache.get(key)) is not None:
            return None if known[0] is None else read_answer(prompt, known[0])
        async with self._places:
            return await self._ask(key, prompt)

    async def _ask(self, key: str, prompt: Prompt) -> list | None:
        messages, answer, reason = prompt.messages, None, ""
        for left in reversed(range(self._endpoint.asks)):
            request, text, tokens = await self._send_until_answered(key, prompt, messages)
            answer, reason = _read_answer(prompt, text)
            # An answer and the end of its request are on disk together, or neither is.
            with self.cache.together():
                self.cache.came_back(request, reason or "answered", tokens)
                if not (reason and left):
                    self.cache.keep(key, prompt, None if reason else text, reason or None)
            if not reason:
                break
            messages = prompt.again(REFUSALS[reason])
        self._count(reason)
        return answer

    async def _send_until_answered(
        self, key: str, prompt: Prompt, messages: list
    ) -> tuple[int | None, str, tuple[int, int]]:
        """Return a request's number, the text that came back and its tokens, after some tries if need be."""
        jitter = random.Random(key)
        for tried in count(1):
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            if self._stopped:
                raise self._stopped
            try:
                return await self._send(key, prompt, messages)
            except Failed as error:
                wait, said = error.wait, str(error)
            if wait is not None and wait > LONGEST_WAIT:
                message = f"the server asks to wait {wait:,.0f} s; go on with --resume after that"
                raise self._stop(Stopped(message))
            if tried >= (self._endpoint.tries if self._reached else min(self._endpoint.tries, FIRST_TRIES)):
                break
            if wait is None:
                wait = self._endpoint.backoff * 2 ** (tried - 1) * jitter.uniform(0.5, 1.5)
            else:  # it is the server that is busy: nobody asks before then
                self._not_before = max(self._not_before, time.monotonic() + wait)
            await asyncio.sleep(wait)
        message = f"no answer in {tried} {'try' if tried == 1 else 'tries'} ({said}); --resume goes on when it is back"
        raise self._stop(Stopped(message))

    async def _send(
        self, key: str, prompt: Prompt, messages: list
    ) -> tuple[int | None, str, tuple[int, int]]:
        """Send one request; keep account of it."""
        estimate = sum(len(message["content"]) for message in messages) // CHARACTERS
        self._check_limits(estimate)
        request, form = self.cache.sent(key, estimate), self._formats[0]
        body = {"model": self._endpoint.model, "messages": messages, **_response_format(form, prompt)}
        try:
            reply = await post(self._http, self._address, body, self._endpoint.timeout)
            self._reached = True
            completion = _read_completion(reply.content) if reply.is_success else None
        except Failed as error:
            self.cache.came_back(request, error.outcome)
            raise
        if completion is None:
            self.cache.came_back(request, f"HTTP {reply.status_code}")
            raise self._judge(reply, form)
        text, tokens = self._clean(completion[0]), completion[1]
        return request, text, tokens or (estimate, len(text) // CHARACTERS)

    def _judge(self, reply: httpx.Response, form: str) -> Exception:
        """Return what an HTTP error means: worth another try, another form of question, or the end."""
        status = reply.status_code
        text = self._clean(" ".join(reply.content.decode("utf-8", "replace").split()))
        said = f"HTTP {status}: {text[:300]}"
        if status in PASSING or status >= 500:
            return Failed(said, wait=retry_after(reply.headers.get("retry-after", "")))
        if status in (400, 422) and "response_format" in text and form != "none":
            # Some endpoints know no schemas; the answer is checked here all the same.
            if self._formats[0] == form:
                self._formats.pop(0)
            return Failed(said, wait=0.0)
        if 300 <= status < 400:
            # The key is for this address; whoever sits at another does not get it.
            said = f"HTTP {status}: it redirects to another address; expected the --base-url to be its own"
        hint = f"; the key is read from {' or '.join(KEY_NAMES)}" if status in (401, 403) else ""
        return self._stop(InputError(f"the endpoint refuses: {said}{hint}"))

    def _check_limits(self, estimate: int) -> None:
        limits = {"requests": self._endpoint.limit_requests, "tokens": self._endpoint.limit_tokens}
        wanted = {"requests": self.cache.requests + 1, "tokens": sum(self.cache.tokens) + estimate}
        for name, limit in limits.items():
            if limit is not None and wanted[name] > limit:
                message = f"limit of {limit:,} {name} reached; a higher --limit-{name} --resume goes on"
                raise self._stop(Stopped(message, code=3))

    def _count(self, reason: str) -> None:
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


def _read_answer(prompt: Prompt, text: str) -> tuple[list | None, str]:
    """Return what an answer says, or the key of `REFUSALS` why it is of no use."""
    try:
        return (read_answer(prompt, text), "") if text else (None, "refused")
    except Unusable as error:
        return None, error.reason


def _response_format(form: str, prompt: Prompt) -> dict:
    if form == "none":
        return {}
    if form == "json_object":
        return {"response_format": {"type": form}}
    schema = {"name": prompt.task, "strict": True, "schema": prompt.schema}
    return {"response_format": {"type": form, form: schema}}


def _read_completion(content: bytes) -> tuple[str, tuple[int, int] | None]:
    """Return the text, empty for a refusal, and the tokens of prompt and answer, if the server counts them.

    What calls itself compatible may leave out anything; `Failed` where there is no message at all.
    """
    try:
        completion = json.loads(content)
        choice = completion["choices"][0]
        message, usage = dict(choice["message"]), completion.get("usage") or {}
        counts = [usage.get(f"{name}_tokens") for name in ("prompt", "completion")]
    # What is no JSON, no completion, or too deep to be read.
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise Failed("a broken response", outcome="broken response") from None
    known = [count for count in counts if isinstance(count, int) and 0 <= count < MOST_TOKENS]
    tokens = (known[0], known[1]) if len(known) == 2 else None
    text = message.get("content")
    if choice.get("finish_reason") == "content_filter" or message.get("refusal") or not isinstance(text, str):
        return "", tokens
    return text, tokens
