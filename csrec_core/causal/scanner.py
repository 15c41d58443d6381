"""A text read from left to right, and the places in it that errors name."""

import re
from dataclasses import dataclass

from csrec_core.errors import InputError

__all__ = ["Place", "Scanner"]


@dataclass(frozen=True)
class Place:
    """A place in a text, both numbers from 1; `column` 0 means the whole line."""

    line: int
    column: int = 0

    def wrong(self, message: str) -> InputError:
        """Return the error that says what is wrong here."""
        column = f", column {self.column}" if self.column else ""
        return InputError(f"line {self.line}{column}: {message}")


class Scanner:
    """A text and how far it is read; what `skipped` matches may stand between any two tokens."""

    def __init__(self, text: str, skipped: re.Pattern):
        self.text, self.at, self.last, self.skipped = text, 0, 0, skipped

    def take(self, pattern: re.Pattern) -> re.Match | None:
        """Read what matches next; None where it does not."""
        self.skip()
        found = pattern.match(self.text, self.at)
        if found:
            self.last, self.at = found.start(), found.end()
        return found

    def taken(self, sign: str) -> bool:
        """Read a sign, if it is next."""
        if self.is_next(sign):
            self.at += len(sign)
            return True
        return False

    def is_next(self, sign: str) -> bool:
        """Whether a sign is next."""
        self.skip()
        return self.text.startswith(sign, self.at)

    def skip(self) -> None:
        """Read what says nothing."""
        if found := self.skipped.match(self.text, self.at):
            self.at = found.end()

    @property
    def is_done(self) -> bool:
        """Whether all is read."""
        self.skip()
        return self.at >= len(self.text)

    def place(self, *, of_last: bool = False) -> Place:
        """Return the place of the next token, or of the last that `take` read."""
        self.skip()
        at = self.last if of_last else self.at
        return Place(self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at))

    def wrong(self, message: str, *, of_last: bool = False) -> InputError:
        """Return the error that something is wrong at the place of `place`."""
        return self.place(of_last=of_last).wrong(message)
