"""The one error that means "your input is wrong", and the nearest valid name to suggest."""

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["InputError", "listed", "nearest", "one_line", "readable", "shown", "unknown", "unreadable"]

MESSAGE = 400  # characters of a message, whatever the input holds


class InputError(ValueError):
    r"""Bad input: says what, where, and what was expected. The command line exits with code 2 on it.

    Examples
    --------
    >>> str(InputError("shop.csv: no\nrows"))
    'shop.csv: no rows'
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str, longest: int = MESSAGE) -> str:
    """Return a text on one line of printable characters, without its middle where it is longer."""
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    half = longest // 2 - 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


#: Characters of a name that is compared with others; the comparison is quadratic in them.
LONGEST_COMPARED = 200


def nearest(name: str, valid: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the member of `valid` most like `name`, or None when nothing is close."""
    if len(str(name)) > LONGEST_COMPARED:
        return None
    short = [each for each in valid if len(each) <= LONGEST_COMPARED]
    close = difflib.get_close_matches(str(name), short, n=1, cutoff=cutoff)
    return close[0] if close else None


def unknown(kind: str, name: str, valid: Iterable[str], *, where: str = "") -> InputError:
    """Return the error for a name that is none of `valid`: what it is, what is valid, the nearest one."""
    valid = list(map(str, valid))
    hint = nearest(name, valid)
    place = f" in {where}" if where else ""
    suggestion = f"; did you mean {shown(hint)}?" if hint else ""
    return InputError(f"unknown {kind} {shown(name)}{place}: expected one of {listed(valid)}{suggestion}")


def shown(value: object, length: int = 60) -> str:
    """Return a value as it can stand in a message: in one line, and cut where it is long."""
    return repr(value) if len(str(value)) <= length else repr(str(value)[: length - 3])[:-1] + "...'"


def listed(names: Iterable[str], length: int = 150) -> str:
    """Return names with commas between, as many as `length` characters hold, and how many there are more."""
    names = [name if str(name).isprintable() else repr(name) for name in names]
    kept = len(names)
    while kept > 1 and len(", ".join(names[:kept])) > length:
        kept -= 1
    text = ", ".join(name if len(name) <= length else f"{name[: length - 3]}..." for name in names[:kept])
    return text + (f" and {len(names) - kept} more" if kept < len(names) else "")


def readable(path: str | Path) -> str:
    """Return a path as it can stand in a message: in one line, and of at most 120 characters."""
    text = str(path)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 120 else f"{text[:30]}...{text[-87:]}"


def unreadable(path: str | Path, error: Exception) -> InputError:
    """Return the error for a path that cannot be read: why, in the system's words where it has some."""
    reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None)
    return InputError(f"{readable(path)}: cannot be read: {reason or error}")
