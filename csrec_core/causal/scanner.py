"""A text read from left to right, and the places in it that errors name."""

import re
from bisect import bisect_right

from csrec_core.errors import InputError

DEEPEST = 100  # groups within groups, of a graph in any language


class Place(str):
    """A place in a file, such as `line 3, column 7`, or `edges[2]` in JSON."""

    def wrong(self, message: str) -> InputError:
        """Return the error that says what is wrong here."""
        return InputError(f"{self}: {message}")


class Scanner:
    """A text and how far it is read; what `skipped` matches may stand between any two tokens."""

    def __init__(self, text: str, skipped: str):
        self.text, self.skipped = text, re.compile(skipped, re.DOTALL | re.MULTILINE)
        self.lines = [0, *(end.end() for end in re.finditer("\n", text))]
        self.go_to(0)

    def take(self, pattern: str) -> re.Match | None:
        """Read what matches next, in any case of letters; None where it does not."""
        if found := re.compile(pattern, re.DOTALL | re.IGNORECASE).match(self.text, self.at):
            self.go_to(found.end())
        return found

    def go_to(self, at: int) -> None:
        """Read on from there, past what says nothing."""
        nothing = self.skipped.match(self.text, at)
        self.at = nothing.end() if nothing else at

    def is_next(self, sign: str) -> bool:
        """Whether a sign is next."""
        return self.text.startswith(sign, self.at)

    @property
    def is_done(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    @property
    def place(self) -> Place:
        """The place of the next token."""
        line = bisect_right(self.lines, self.at)
        return Place(f"line {line}, column {self.at - self.lines[line - 1] + 1}")
