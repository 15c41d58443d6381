"""A text read from left to right, and the places in it that errors name."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from csrec_core.errors import InputError

DEEPEST = 100  # groups within groups, of a graph in any language


@dataclass(frozen=True)
class Place:
    """A place in a file, such as `line 3, column 7`, or `edges[2]` in JSON."""

    words: str

    def wrong(self, message: str) -> InputError:
        """Return the error that says what is wrong here."""
        return InputError(f"{self.words}: {message}")


class Scanner:
    """A text and how far it is read; what `skipped` matches may stand between any two tokens."""

    def __init__(self, text: str, skipped: str):
        self.text, self.at = text, 0
        self.skipped = re.compile(skipped, re.DOTALL | re.MULTILINE)
        self.lines = [0, *(end.end() for end in re.finditer("\n", text))]

    def take(self, pattern: str) -> re.Match | None:
        """Read what matches next, in any case of letters; None where it does not."""
        self.skip()
        found = re.compile(pattern, re.DOTALL | re.IGNORECASE).match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def is_next(self, sign: str) -> bool:
        """Whether a sign is next."""
        self.skip()
        return self.text.startswith(sign, self.at)

    def skip(self) -> None:
        """Read what says nothing."""
        found = self.skipped.match(self.text, self.at)
        self.at = found.end() if found else self.at

    @property
    def is_done(self) -> bool:
        """Whether all is read."""
        self.skip()
        return self.at >= len(self.text)

    @property
    def place(self) -> Place:
        """The place of the next token."""
        self.skip()
        line = bisect_right(self.lines, self.at)
        return Place(f"line {line}, column {self.at - self.lines[line - 1] + 1}")
