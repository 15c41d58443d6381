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
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from csrec_core.errors import InputError

__all__ = ["AnswerCache", "Answered", "has_answers", "question_key"]

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


@dataclass(frozen=True)
class Answered:
    """What is known of a question: the text of its answer, or the reason why all were of no use."""

    answer: str | None
    reason: str | None


class AnswerCache:
    """The answers and requests of a run.

    Parameters
    ----------
    path : path
        The SQLite file; made where there is none.

    Raises
    ------
    InputError
        Where the file is none of these, or another process holds it.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A statement alone is a transaction; what is committed survives the death of the process. The thread
        # differs in a notebook, but there is one at a time.
        self._base = sqlite3.connect(self._path, isolation_level=None, timeout=0, check_same_thread=False)
        with _readable(self._path, self._base):
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.executescript(SCHEMA)
        #: Requests written down, and tokens of their prompts and of their answers.
        self.requests, *tokens = self._base.execute(
            "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM requests"
        ).fetchone()
        self.tokens = tuple(map(int, tokens))

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def get(self, key: str) -> Answered | None:
        """Return what is known of a question."""
        row = self._base.execute("SELECT answer, reason FROM answers WHERE key = ?", (key,)).fetchone()
        return row and Answered(*row)

    def sent(self, key: str, prompt_tokens: int) -> int:
        """Write down that a request is about to be sent; return its number.

        `prompt_tokens` is an estimate, that stands until the server says better.
        """
        self.requests += 1
        self._spend(prompt_tokens, 0)
        statement = "INSERT INTO requests (key, prompt_tokens) VALUES (?, ?)"
        return self._base.execute(statement, (key, prompt_tokens)).lastrowid

    def came_back(self, request: int, outcome: str, tokens: tuple[int, int] | None = None) -> None:
        """Write down how a request ended, and the tokens that it took."""
        if tokens is None:
            self._base.execute("UPDATE requests SET outcome = ? WHERE id = ?", (outcome, request))
            return
        statement = "SELECT prompt_tokens FROM requests WHERE id = ?"
        estimate = self._base.execute(statement, (request,)).fetchone()
        self._spend(tokens[0] - estimate[0], tokens[1])
        statement = "UPDATE requests SET outcome = ?, prompt_tokens = ?, completion_tokens = ? WHERE id = ?"
        self._base.execute(statement, (outcome, *tokens, request))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is on disk all of it, or none."""
        self._base.execute("BEGIN")
        with self._base:
            yield

    def keep(self, key: str, task: str, messages: list[dict[str, str]], answered: Answered) -> None:
        """Keep an answer, or that there is none to be had."""
        question = json.dumps(messages, ensure_ascii=False)
        statement = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)"
        self._base.execute(statement, (key, task, question, answered.answer, answered.reason))

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests ended how."""
        statement = "SELECT outcome, COUNT(*) FROM requests GROUP BY outcome ORDER BY outcome"
        counts = self._base.execute(statement)
        return {outcome or IN_FLIGHT: count for outcome, count in counts}

    @property
    def answers(self) -> int:
        """How many questions are answered, or given up."""
        return self._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def table(self) -> pd.DataFrame:
        """Return the answers: `task`, `question`, `answer`, `reason`, in the order of their keys."""
        statement = "SELECT task, question, answer, reason FROM answers ORDER BY key"
        return pd.read_sql_query(statement, self._base)

    def _spend(self, prompt: int, completion: int) -> None:
        self.tokens = (self.tokens[0] + prompt, self.tokens[1] + completion)


def has_answers(path: str | Path) -> bool:
    """Tell whether a cache holds an answer; InputError where it is none, or another process holds it."""
    cache = AnswerCache(path)
    try:
        return cache.answers > 0
    finally:
        cache.close()


@contextmanager
def _readable(path: Path, base: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        base.close()
        raise InputError(f"{path}: another program is at work on it ({error})") from None
    except sqlite3.DatabaseError as error:
        base.close()
        raise InputError(f"{path}: not a cache of answers ({error})") from None
