"""The four words of a verdict, with its number, interval and threshold, and the four statuses of an effect."""

import math
from dataclasses import asdict, dataclass

WORDS = HOLDS, FAILS, UNDECIDED, NOT_TESTED = "holds", "fails", "undecided", "not tested"
WORST = (FAILS, UNDECIDED, HOLDS, NOT_TESTED)  # of several, the first of these stands for all
NAN = float("nan")


@dataclass(frozen=True)
class Status:
    """What pages say under a status of an effect."""

    heading: str
    fit: str  # whether a log of that status is fit for telling the effect
    why: str  # it is, or is not: a sentence
    word: str  # the verdict on "the effect is identified", in whose colour the heading stands
    parts: bool  # whether anything may be said by user, segment, step or policy


#: From the firmest to none.
STATUSES = {
    "identified": Status(
        "Identified: can be relied on", "Yes", "The log bears out its known chances.", HOLDS, True
    ),
    "assumed": Status(
        "Assumed: use with care", "Yes, with care", "Its effect rests on an assumption.", UNDECIDED, True
    ),
    "bounded": Status(
        "Bounded: a range", "In part", "Something hidden may move choice and decision.", UNDECIDED, False
    ),
    "not identified": Status(
        "Not identified: cannot be told", "No", "Its sides cannot be compared.", FAILS, False
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    name: str  # what is checked, in plain words
    word: str  # "holds", "fails", "not tested", or "undecided": an interval that contains the threshold
    detail: str  # a sentence: what was expected and what was found, or why it was not tested
    value: float = NAN  # NaN where there is none, as the next three
    lower: float = NAN
    upper: float = NAN
    threshold: float = NAN
    # Decisive: if it fails, the effect is not identified. Serious: it is at most bounded. Else minor.
    severity: str = "minor"
    p: float = NAN  # where the check is a test; NaN elsewhere

    def to_dict(self) -> dict:
        """Return what `verdicts.json` holds: the word as `verdict`; None for a number that is not there."""
        about = asdict(self)
        about = {"name": about.pop("name"), "verdict": about.pop("word"), **about}
        return {key: _plain(value) for key, value in about.items()}


def _plain(value):
    return value if isinstance(value, str) else float(value) if math.isfinite(value) else None


def within(lower: float, upper: float, *, least: float, most: float) -> str:
    """Return whether a value lies in a range, by its interval: holds, fails, or undecided.

    Examples
    --------
    >>> within(0.98, 1.03, least=0.9, most=1.1), within(1.2, 1.4, least=0.9, most=1.1)
    ('holds', 'fails')
    >>> within(1.0, 1.3, least=0.9, most=1.1)
    'undecided'
    """
    if lower >= least and upper <= most:
        return HOLDS
    return FAILS if lower > most or upper < least else UNDECIDED


def against(lower: float, upper: float, threshold: float) -> str:
    """Return whether a value exceeds a threshold, by its interval: holds, fails, or undecided."""
    return HOLDS if lower > threshold else FAILS if upper < threshold else UNDECIDED
