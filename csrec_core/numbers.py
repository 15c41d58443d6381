"""How numbers are written for readers: points with a decimal, counts whole, no powers of ten."""

import math

__all__ = ["count", "counted", "interval", "p_value", "plain", "points", "share"]

DASH = "–"


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
    return text.lstrip("+-") if float(text) == 0 else text


def share(value: float) -> str:
    """Return a probability as a percentage: .182 as `18.2%`."""
    return f"{100 * value:.1f}%" if math.isfinite(value) else DASH


def plain(value: float) -> str:
    """Return a number of any size in three digits, without powers of ten.

    Examples
    --------
    >>> plain(0.01234), plain(1234.5), plain(2.0)
    ('0.0123', '1,234', '2.00')
    """
    if not math.isfinite(value):
        return DASH
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    return f"{value:,.{min(max(digits, 0), 6)}f}"


def count(value: float) -> str:
    """Return a whole number with commas: `11,895`."""
    return f"{value:,.0f}" if math.isfinite(value) else DASH


def counted(value: float, noun: str) -> str:
    """Return a count with its noun: `1 user`, `11,895 users`."""
    return f"{count(value)} {noun}{'' if count(value) == '1' else 's'}"


def p_value(value: float) -> str:
    """Return a p-value as a reader needs it: `p < .001`, `p = .03`."""
    if not math.isfinite(value):
        return DASH
    return "p < .001" if value < 0.001 else f"p = {value:.{3 if value < 0.01 else 2}f}".replace("0.", ".", 1)


def interval(lower: float, upper: float, write=points) -> str:
    """Return an interval, its ends as `write` has them: `[7.0, 8.3]`; `about 0.0` where they are written alike."""
    ends = write(lower), write(upper)
    return f"[{ends[0]}, {ends[1]}]" if ends[0] != ends[1] or DASH in ends else f"about {ends[0]}"
