"""A local server that speaks the chat-completions protocol, and misbehaves on schedule."""

import hashlib
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = (
    "429", "500", "hang", "truncated", "wrong item", "prose", "duplicate", "cut body", "fenced", "refusal",
    "503 page", "not a number", "two answers", "no choices", "half a character",
)  # fmt: skip
HANG = 1.2  # seconds
MOST = 3  # faults of one question; it is given up after five


class ChatServer:
    """Answers as readers with tastes would, always the same to the same question.

    `faults` are dealt in turn to every `every`-th request; `on_request(number)` is called before each answer, and
    `change(question, answer)` returns what is answered in its place.
    """

    def __init__(
        self, *, genre_of, authors_of, faults=(), every=4, on_request=lambda number: None, change=None
    ):
        self.genre_of, self.authors_of = genre_of, authors_of
        self.change = change or (lambda question, answer: answer)
        self.faults, self.every, self.on_request = faults, every, on_request
        self.questions, self.dealt, self.headers, self.bodies = Counter(), Counter(), [], []
        self.delivered = Counter()
        self.respond = None  # a function from the body to (status, headers, text), or None to go on as always
        self._lock, self._number, self._due = threading.Lock(), 0, 0
        self._struck = Counter()  # faults by question

    def fault(self, question):
        """Return the fault of the request that just came, if any, and its number.

        A question gets at most `MOST`, and the next takes what is due: requests at once can come round in step, and
        one would have as many as it takes to give it up.
        """
        with self._lock:
            self._number += 1
            self._due += self._number % self.every == 0
            name = None
            if self.faults and self._due and self._struck[question] < MOST:
                self._struck[question] += 1
                name = self.faults[self._struck.total() % len(self.faults)]
                self._due -= 1
            self.dealt[name] += 1
            return name, self._number

    def answer(self, question):
        """Return the answer of a model that knows its books and the reader's tastes."""
        if "books" in question:
            return {
                "books": [
                    {
                        "id": book["id"],
                        "known": book["author"] == self.authors_of[book["title"]],
                        "genres": [self.genre_of[book["title"]]],
                        "keywords": ["<b>plot</b>"],
                    }
                    for book in question["books"]
                ]
            }
        reader, tastes = question["reader"]["number"], question["reader"]["tastes"]

        def liking(book):
            return tastes.get(self.genre_of[book["title"]], 0) / 100 + 0.5 * noise(reader, book["title"])

        if "shelf" in question:
            order = sorted(question["shelf"], key=liking, reverse=True)
            return {"purchases": [book["id"] for book in order[: question["count"]]]}
        probability = min(1.0, liking(question["offer"]))
        decision = "accept" if probability > 0.4 else "reject"
        return {"id": question["offer"]["id"], "probability": round(probability, 3), "decision": decision}


def noise(*key):
    """Return a number in [0, 1) that is the same for the same key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4]) / 2**32


def completion(content, **message):
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content} | message,
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def spoil(fault, answer):
    """Return the content of a message with a fault."""
    text = json.dumps(answer)
    if fault == "truncated":
        return text[: len(text) * 2 // 3]
    if fault == "wrong item":
        wrong = dict(answer)
        if "id" in answer:
            wrong["id"] = "b99999"
        elif "purchases" in answer:
            wrong["purchases"] = [*answer["purchases"][:-1], "b99999"]
        else:
            wrong["books"] = [{**answer["books"][0], "id": "q99999"}, *answer["books"][1:]]
        return json.dumps(wrong)
    if fault == "prose":
        return "As a reader, I would rather not say. <script>alert(1)</script>"
    if fault == "duplicate":
        if "purchases" in answer:
            return json.dumps({"purchases": [answer["purchases"][0]] * len(answer["purchases"])})
        return f"{text}\n{text}"  # the same twice over: that has one meaning
    if fault == "fenced":
        return f"Sure, here it is:\n```json\n{text}\n```\nEnjoy!"
    if fault == "half a character":
        return f"{text} \ud83d"
    if fault == "not a number":
        return json.dumps({**answer, "probability": float("nan")} if "id" in answer else {"books": 3})
    if fault == "two answers":
        other = {**answer, "probability": 0.123} if "id" in answer else {name: [] for name in answer}
        return f"{text} or rather {json.dumps(other)}"
    return text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body go out together, or each waits for the other's acknowledgement

    def do_POST(self):
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = next((m["content"] for m in body["messages"] if "QUESTION\n" in m["content"]), "")
        asked = content.partition("QUESTION\n")[2]
        fault, number = chat.fault(asked)
        chat.headers.append(dict(self.headers))
        chat.on_request(number)
        if chat.respond and (reply := chat.respond(body)):
            return self.send(*reply)
        chat.questions[asked] += 1
        question = json.loads(asked)
        answer = chat.change(question, chat.answer(question))
        if fault == "429":
            return self.send(429, {"retry-after": "0.02"}, '{"error": {"message": "slow down"}}')
        if fault == "500":
            return self.send(500, {}, '{"error": {"message": "oh no"}}')
        if fault == "503 page":
            return self.send(503, {"content-type": "text/html"}, "<html>unavailable</html>")
        if fault == "hang":
            time.sleep(HANG)
        if fault == "no choices":
            return self.send(200, {}, '{"choices": null}')
        if fault == "refusal":
            return self.send(200, {}, json.dumps(completion(None, refusal="I cannot do that.")))
        text = json.dumps(completion(spoil(fault, answer)))
        if fault == "cut body":
            return self.send(200, {}, text[: len(text) // 2])
        self.send(200, {}, text)
        chat.delivered[asked] += 1

    def send(self, status, headers, text):
        data = text.encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle(self):
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            super().handle()

    def log_message(self, *args):
        pass


@contextmanager
def serving(chat):
    """Serve on a free port; yield the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.chat = True, chat
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
