"""How numbers are written for readers: points with a decimal, counts whole, a true minus, no powers of ten."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

DASH = "–"
FINEST = 6  # decimals, whatever is written


def points(value: float, *, sign: bool = False) -> str:
    """Return a difference of probabilities in points: .0766 as `7.7`.

    Examples
    --------
    >>> points(0.0766), points(-0.0004), points(0.137, sign=True)
    ('7.7', '0.0', '+13.7')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{100 * value:{'+' if sign else ''}.1f}"
    return text.lstrip("+-") if float(text) == 0 else _minus(text)


def share(value: float) -> str:
    """Return a probability as a percentage.

    Examples
    --------
    >>> share(0.182), share(-0.001), share(float("nan"))
    ('18.2%', '−0.1%', '–')
    """
    return _minus(f"{100 * value:.1f}%") if math.isfinite(value) else DASH


def decimals(value: float, digits: int = 3) -> str:
    """Return a number with so many decimals, or with up to two more that keep a small one from reading as nothing.

    Examples
    --------
    >>> decimals(1234.5678), decimals(-0.00042), decimals(1e-9), decimals(-1e-9)
    ('1,234.568', '−0.00042', '<0.00001', '0.000')
    """
    if not math.isfinite(value):
        return DASH
    if value == 0 or round(abs(value), digits):
        return _minus(f"{value:,.{digits}f}")
    finest = min(digits + 2, FINEST)
    if not round(abs(value), finest):
        # A p-value may be so small; what is below zero is none, and was rounded.
        return f"<0.{'1'.zfill(finest)}" if value > 0 else f"{0:.{digits}f}"
    return _minus(f"{value:.{finest}f}".rstrip("0"))


def plain(value: float, *, sign: bool = False) -> str:
    """Return a number of any size in three digits, without powers of ten.

    Examples
    --------
    >>> plain(0.01234), plain(1234.5), plain(2.0, sign=True), plain(0.09999)
    ('0.0123', '1,234', '+2.00', '0.100')
    """
    if not math.isfinite(value):
        return DASH
    digits = 2 - int(f"{value:.2e}".partition("e")[2])  # by the power of ten once rounded
    text = decimals(value, min(max(digits, 0), FINEST))
    return f"+{text}" if sign and value > 0 else text


def writer(binary: bool, *, sign: bool = False) -> tuple[Callable[[float], str], str]:
    """Return how differences of decisions are written, and the word behind them: in points where yes or no.

    Examples
    --------
    >>> write, unit = writer(True)
    >>> write(0.0766) + unit, writer(False)[0](0.0766)
    ('7.7 points', '0.0766')
    """
    return (partial(points, sign=sign), " points") if binary else (partial(plain, sign=sign), "")


def in_units(differences, binary: bool) -> tuple[Any, str, int]:
    """Return differences of decisions for a table, what they are in, and their decimals: points where yes or no.

    Examples
    --------
    >>> in_units(0.5, True), in_units(0.5, False)
    ((50.0, 'points', 1), (0.5, 'units of the outcome', 3))
    """
    return (100 * differences, "points", 1) if binary else (differences, "units of the outcome", 3)


def count(value: float) -> str:
    """Return a whole number with commas.

    Examples
    --------
    >>> count(11894.6), count(-2), count(float("inf"))
    ('11,895', '−2', '–')
    """
    return _minus(f"{value:,.0f}") if math.isfinite(value) else DASH


def counted(value: float, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "user"), counted(11895, "user")
    ('1 user', '11,895 users')
    """
    return f"{count(value)} {noun}{'' if count(value) == '1' else 's'}"


def p_value(value: float) -> str:
    """Return a p-value as a reader needs it.

    Examples
    --------
    >>> p_value(0.0004), p_value(0.001), p_value(0.0312), p_value(float("nan"))
    ('p < .001', 'p = .001', 'p = .03', '–')
    """
    if not math.isfinite(value):
        return DASH
    return "p < .001" if value < 0.001 else f"p = {value:.{3 if value < 0.01 else 2}f}".replace("0.", ".", 1)


def interval(lower: float, upper: float, write=points) -> str:
    """Return an interval, its ends as `write` has them; `about` where they are written alike.

    Examples
    --------
    >>> interval(0.07, 0.083), interval(-0.0001, 0.0002)
    ('[7.0, 8.3]', 'about 0.0')
    """
    ends = write(lower), write(upper)
    return f"[{ends[0]}, {ends[1]}]" if ends[0] != ends[1] or DASH in ends else f"about {ends[0]}"


def moved(up: str, down: str, value: float, lower: float, upper: float, *, binary: bool) -> str:
    """Say that something goes up or down, and by how much: the direction is in the words, not in a sign.

    Examples
    --------
    >>> moved("grows", "falls", -0.015, -0.02, -0.01, binary=True)
    'falls by 1.5 points [1.0, 2.0]'
    """
    write, unit = writer(binary)
    word, ends = (up, (lower, upper)) if value > 0 else (down, (-upper, -lower))
    return f"{word} by {write(abs(value))}{unit} {interval(*ends, write)}"


def interval_text(mean: float, lower: float, upper: float, *, digits: int = 3) -> str:
    """Return an estimate with its interval, `0.155 [0.148, 0.162]`; alone where the ends say nothing more.

    Ends that would read alike get more decimals.

    Examples
    --------
    >>> interval_text(0.00042, 0.00040, 0.00044), interval_text(0.5, 0.5, 0.5)
    ('0.00042 [0.00040, 0.00044]', '0.500')
    >>> interval_text(-1e-9, -0.004, 0.003)
    '0.000 [−0.004, 0.003]'
    """
    if not math.isfinite(mean):
        return DASH
    # Below a hundredth of the last decimal is nothing, with an interval beside it.
    mean, lower, upper = (one if round(one, digits + 2) else 0.0 for one in (mean, lower, upper))
    if lower == upper or not (math.isfinite(lower) and math.isfinite(upper)):
        return decimals(mean, digits)
    while round(lower, digits) == round(upper, digits) and digits < FINEST:
        digits += 1
    ends = decimals(lower, digits), decimals(upper, digits)
    return f"{decimals(mean, digits)} [{ends[0]}, {ends[1]}]" if ends[0] != ends[1] else f"about {ends[0]}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
