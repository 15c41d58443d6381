"""The one error that means "your input is wrong", and the nearest valid name to suggest."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "nearest", "unknown"]


class InputError(ValueError):
    """Bad input: says what, where, and what was expected. The command line exits with code 2 on it."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the member of `valid` most like `name`, or None when nothing is close."""
    close = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown(kind: str, name: str, valid: Iterable[str], *, where: str = "") -> InputError:
    """Return the error for a name that is none of `valid`: what it is, what is valid, the nearest one."""
    valid = list(valid)
    hint = nearest(name, valid)
    place = f" in {where}" if where else ""
    suggestion = f"; did you mean {hint!r}?" if hint else ""
    return InputError(f"unknown {kind} {name!r}{place}: expected one of {', '.join(valid)}{suggestion}")
