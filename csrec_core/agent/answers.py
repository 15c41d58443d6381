"""What a model said, read as data or refused; nothing of it is ever run, and nothing missing is made up.

Repaired is what has one meaning only: a JSON object inside a code fence or between words, or given twice
alike. An object that is cut off, of another book, or one of two that differ, is asked for again.
"""

import json
import math
from collections.abc import Callable

from csrec_core.agent.prompts import Prompt

#: Why an answer is of no use: what the model is told, by the name it is counted under.
REFUSALS = {
    "refused": "it was a refusal",
    "cut off": "it ended before it was complete",
    "no JSON": "it held no complete JSON object",
    "contradiction": "it held two different answers",
    "wrong form": "its JSON object was not of the form asked for",
    "wrong item": "it was about other books than the question",
    "duplicate": "it named a book twice",
    "wrong count": "it did not name as many books as asked for",
    "no probability": "its probability was no number from 0 to 1",
}
LONGEST_ANSWER = 50_000  # characters read of an answer
KEYWORDS, KEYWORD = 10, 60  # kept of a book, and characters of one


def _once(pairs: list[tuple[str, object]]) -> dict:
    """Return an object's pairs; ValueError where one name has two values."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise ValueError(name)
    return found


# NaN and Infinity are no JSON.
DECODER = json.JSONDecoder(parse_constant=lambda name: None, object_pairs_hook=_once)


class Unusable(ValueError):
    """An answer of no use; `reason` is a key of `REFUSALS`."""

    def __init__(self, reason: str):
        super().__init__(REFUSALS[reason])
        self.reason = reason


def read_answer(prompt: Prompt, text: str) -> list:
    """Return what the answer `text` says to a question; raises `Unusable`.

    Of a familiarity: (known, genres, keywords) of each book in the question's order; of a purchase: ids in
    order; of an exposure: accepted and probability.
    """
    text = text[:LONGEST_ANSWER].rpartition("</think>")[2]  # some servers leave the thoughts in
    objects = _json_objects(text)
    found = [answer for answer in objects if set(prompt.schema["required"]) <= set(answer)]
    if not found:
        complete = text.count("{") == text.count("}")
        raise Unusable("cut off" if not complete else "wrong form" if objects else "no JSON")
    if any(answer != found[0] for answer in found):
        raise Unusable("contradiction")
    return READERS[prompt.task](prompt.question, found[0])


def writable(text: str) -> str:
    """Return a text without the halves of characters that JSON may hold and no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _json_objects(text: str) -> list[dict]:
    """Return the outermost JSON objects in a text."""
    start, found = 0, []
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = DECODER.raw_decode(text, start)
        except ValueError:
            start += 1
            continue
        except RecursionError:  # and so would each of the braces within be, one after the other
            break
        found.append(value)
    return found


def _familiarity(question: dict, answer: dict) -> list[tuple[bool, tuple[str, ...], tuple[str, ...]]]:
    asked, genres = [book["id"] for book in question["books"]], set(question["genres"])
    entries = answer["books"]
    _insist(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries), "wrong form")
    said: dict[str, tuple] = {}
    for entry in entries:
        _insist(isinstance(entry.get("known"), bool), "wrong form")
        words = [entry.get(name) or [] for name in ("genres", "keywords")]
        _insist(all(isinstance(w, list) and all(isinstance(x, str) for x in w) for w in words), "wrong form")
        own = tuple(genre for genre in words[0] if genre in genres)
        fact = (entry["known"], own, tuple(writable(word[:KEYWORD]) for word in words[1][:KEYWORDS]))
        name = entry.get("id")
        _insist(isinstance(name, str) and name in asked, "wrong item")
        _insist(said.setdefault(name, fact) == fact, "contradiction")
    _insist(len(said) == len(asked), "wrong count")
    return [said[name] for name in asked]


def _purchase(question: dict, answer: dict) -> list[str]:
    names, shelf = answer["purchases"], {book["id"] for book in question["shelf"]}
    _insist(isinstance(names, list) and all(isinstance(name, str) for name in names), "wrong form")
    _insist(set(names) <= shelf, "wrong item")
    _insist(len(set(names)) == len(names), "duplicate")
    _insist(len(names) == question["count"], "wrong count")
    return names


def _exposure(question: dict, answer: dict) -> list[bool | float]:
    _insist(answer["id"] == question["offer"]["id"], "wrong item")
    _insist(answer["decision"] in question["choices"], "wrong form")
    probability = answer["probability"]
    number = isinstance(probability, int | float) and not isinstance(probability, bool)
    _insist(number and math.isfinite(probability) and 0 <= probability <= 1, "no probability")
    return [answer["decision"] == "accept", float(probability)]


def _insist(holds: bool, reason: str) -> None:
    if not holds:
        raise Unusable(reason)


READERS: dict[str, Callable[[dict, dict], list]] = {
    "familiarity": _familiarity,
    "purchase": _purchase,
    "exposure": _exposure,
}
