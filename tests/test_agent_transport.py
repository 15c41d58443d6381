"""An endpoint that is slow, endless, packed, deep or somewhere else: bounded in time and memory, and said."""

import json
import re
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager

import pytest
from agent_study import KEY, ask
from chat_server import completion

from csrec_core.agent.endpoint import Endpoint, Stopped, check_endpoint
from csrec_core.agent.transport import retry_after
from csrec_core.errors import InputError

pytestmark = pytest.mark.usefixtures("api_key")
JSON = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PIECE = b"x" * 2**16


def slow_head(send):
    for sign in JSON.encode() * 100:
        send(bytes([sign]))
        time.sleep(0.1)


def slow_body(send):
    send(f"{JSON}content-length: 100000\r\n\r\n".encode())
    for _ in range(300):
        send(b" ")
        time.sleep(0.1)


def endless(send):
    send(f"{JSON}\r\n".encode())
    for _ in range(2**30 // len(PIECE)):  # a gigabyte
        send(PIECE)


def chunked(send):
    send(f"{JSON}transfer-encoding: chunked\r\n\r\n".encode())
    while True:
        send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))


def bomb():
    """256 MiB in 260 kB."""
    pack = zlib.compressobj(wbits=31)
    return b"".join([*(pack.compress(b" " * 2**20) for _ in range(256)), pack.flush()])


def packed(send, layer=bomb()):  # noqa: B008  made before memory is watched
    send(f"{JSON}content-encoding: gzip\r\ncontent-length: {len(layer)}\r\n\r\n".encode() + layer)


def unasked(send):
    send(f"{JSON}content-encoding: zstd\r\ncontent-length: 3\r\n\r\nabc".encode())


def deep(send):
    body = b"[" * 10**6
    send(f"{JSON}content-length: {len(body)}\r\n\r\n".encode() + body)


def deep_answer(send):
    body = json.dumps(completion('{"a":' * 9_000)).encode()
    send(f"{JSON}content-length: {len(body)}\r\n\r\n".encode() + body)


def read_request(connection):
    """Read a request to its end, or closing would reset the connection; return its head."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n")).decode("latin-1")
        stream.read(int(re.search(r"content-length: (\d+)", head, re.I)[1]))
    return head


@contextmanager
def answering(answer):
    """Serve every request so; yield the base URL and the heads of the requests."""
    server, heads = socket.create_server(("127.0.0.1", 0)), []

    def one(connection):
        with connection:
            try:
                heads.append(read_request(connection))
                answer(connection.sendall)
            except OSError:  # the client has had enough
                pass

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", heads
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (slow_head, "time-out"),
        (slow_body, "time-out"),
        (endless, "more than 4,194,304 bytes"),
        (chunked, "more than 4,194,304 bytes"),
        (packed, "packed as 'gzip', which was not asked for"),
        (unasked, "packed as 'zstd'"),
        (deep, "a broken response"),
    ],
)
def test_no_answer_takes_more_than_its_time_and_room(few_books, tmp_path, answer, said):
    ask_nothing = {"timeout": 1.0, "tries": 2, "concurrency": 1, "users": 20}
    with answering(answer) as (url, _):
        tracemalloc.start()
        started = time.monotonic()
        with pytest.raises(Stopped, match=f"no answer in 2 tries .*{said}.*--resume"):
            ask(tmp_path / "run", url, few_books, **ask_nothing)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # The first question is asked twice, and nothing after it.
    assert time.monotonic() - started < 15 and peak < 150e6
    assert (tmp_path / "run" / "cache.sqlite").is_file() and not (tmp_path / "run" / "log.parquet").exists()


def test_an_answer_too_deep_to_be_read_is_of_no_use(few_books, tmp_path):
    started = time.monotonic()
    with answering(deep_answer) as (url, _), pytest.raises(InputError, match="0 books take part"):
        ask(tmp_path / "run", url, few_books, timeout=5.0, asks=1, users=20)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("status", [301, 307, 308])
def test_the_key_does_not_follow_a_redirect(few_books, tmp_path, status):
    with answering(lambda send: None) as (elsewhere, heads):
        head = (
            f"HTTP/1.1 {status} Moved\r\nlocation: {elsewhere}/chat/completions\r\ncontent-length: 0\r\n\r\n"
        )
        with (
            answering(lambda send: send(head.encode())) as (url, asked),
            pytest.raises(InputError, match=f"HTTP {status}: it redirects to another address"),
        ):
            ask(tmp_path / "run", url, few_books, users=20)
    assert KEY in asked[0] and not heads


def test_a_key_that_comes_back_is_written_nowhere(few_books, tmp_path):
    head = f"HTTP/1.1 400 {KEY}\r\nx-key: {KEY}\r\ncontent-length: {len(KEY)}\r\n\r\n{KEY}"
    with answering(lambda send: send(head.encode())) as (url, _), pytest.raises(InputError) as error:
        ask(tmp_path / "run", url, few_books, users=20)
    assert KEY not in str(error.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("text", "wait"),
    [("inf", None), ("nan", None), ("-5", None), ("1e9", 1e9), ("3", 3.0), ("", None), ("soon", None),
     ("Fri, 31 Dec 99999 23:59:59 GMT", None)],
)  # fmt: skip
def test_a_wait_is_a_number_or_nothing(text, wait):
    assert retry_after(text) == wait


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://host:99999/v1", "http://host:port/v1", "http://host:0", "ftp://host", "host:80",
     "http://", "http://a b/v1", "http://host\n/v1", "http://user@host"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match="--base-url"):
        check_endpoint(Endpoint(model="m", base_url=url))


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_time_that_never_ends_is_refused(timeout):
    with pytest.raises(InputError, match="--timeout"):
        check_endpoint(Endpoint(model="m", base_url="http://localhost:8000", timeout=timeout))


def test_the_address_may_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert check_endpoint(Endpoint(model="m")) == ("https://api.openai.com/v1", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here:1/v1")
    assert check_endpoint(Endpoint(model="m"))[0] == "http://here:1/v1"


@pytest.mark.parametrize("key", ["clé", "two\nlines"])
def test_a_key_that_no_request_can_carry_is_refused(monkeypatch, key):
    monkeypatch.setenv("CSREC_API_KEY", key)
    with pytest.raises(InputError, match="no request can carry") as error:
        check_endpoint(Endpoint(model="m"))
    assert key not in str(error.value)
