"""Every question, every answer and every request of a run, on disk before the run goes on.

One SQLite file. An answer is kept under the hash of its question, so that who asks again gets it for nothing.
A request is written down *before* it is sent. One that was under way when the process died stays without an
outcome and is counted (it may have cost money); its answer never arrived, so the question is asked again.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csrec_core.agent.prompts import Prompt
from csrec_core.errors import InputError

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, task TEXT NOT NULL, question TEXT NOT NULL, answer TEXT, reason TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, outcome TEXT, prompt_tokens INTEGER, completion_tokens INTEGER
);
"""
IN_FLIGHT = "in flight when stopped"


def question_key(model: str, messages: list[dict[str, str]]) -> str:
    """Return the SHA-256 (hex) that a question to a model is kept under."""
    content = json.dumps([model, messages], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class AnswerCache:
    """The answers and requests of a run, in the SQLite file `path`; made where there is none.

    Attributes
    ----------
    requests : int
        Requests written down.
    tokens : tuple of int
        Tokens of their prompts and of their answers.

    Raises InputError where the file is none of these, or another process holds it.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A statement alone is a transaction; what is committed survives the death of the process. The thread
        # differs in a notebook, but there is one at a time.
        self._base = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        try:
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            self._base.close()
            busy = isinstance(error, sqlite3.OperationalError)
            reason = "another program is at work on it" if busy else "not a cache of answers"
            raise InputError(f"{path}: {reason} ({error})") from None
        sums = "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM requests"
        self.requests, prompts, answers = map(int, self._base.execute(sums).fetchone())
        self.tokens = (prompts, answers)

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def get(self, key: str) -> tuple[str | None, str | None] | None:
        """Return the text of a question's answer, or why all were of no use; None where it was not asked."""
        return self._base.execute("SELECT answer, reason FROM answers WHERE key = ?", (key,)).fetchone()

    def sent(self, key: str, prompt_tokens: int) -> int | None:
        """Write down that a request is about to be sent; return its number.

        `prompt_tokens` is an estimate, that stands until the server says better.
        """
        self.requests += 1
        self._spend(prompt_tokens, 0)
        statement = "INSERT INTO requests (key, prompt_tokens) VALUES (?, ?)"
        return self._base.execute(statement, (key, prompt_tokens)).lastrowid

    def came_back(self, request: int | None, outcome: str, tokens: tuple[int, int] | None = None) -> None:
        """Write down how a request ended, and the tokens that it took."""
        statement = "SELECT prompt_tokens, NULL FROM requests WHERE id = ?"
        estimate = self._base.execute(statement, (request,)).fetchone()
        if tokens:
            self._spend(tokens[0] - estimate[0], tokens[1])
        statement = "UPDATE requests SET outcome = ?, prompt_tokens = ?, completion_tokens = ? WHERE id = ?"
        self._base.execute(statement, (outcome, *(tokens or estimate), request))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is on disk all of it, or none."""
        self._base.execute("BEGIN")
        with self._base:
            yield

    def keep(self, key: str, prompt: Prompt, answer: str | None, reason: str | None) -> None:
        """Keep an answer, or the reason why there is none to be had."""
        question = json.dumps(prompt.messages, ensure_ascii=False)
        statement = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)"
        self._base.execute(statement, (key, prompt.task, question, answer, reason))

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests ended how."""
        statement = "SELECT outcome, COUNT(*) FROM requests GROUP BY outcome ORDER BY outcome"
        return {outcome or IN_FLIGHT: count for outcome, count in self._base.execute(statement)}

    @property
    def answers(self) -> int:
        """How many questions are answered, or given up."""
        return self._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def _spend(self, prompt: int, completion: int) -> None:
        self.tokens = (self.tokens[0] + prompt, self.tokens[1] + completion)
