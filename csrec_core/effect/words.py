"""An effect in plain words: sentences that can be repeated, and no more of them than the status allows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from csrec_core.data.log import Dataset
from csrec_core.effect.answer import tipping_sentence
from csrec_core.effect.identification import FEW_EFFECTIVE, Identification
from csrec_core.effect.result import Effect
from csrec_core.effect.sequential import sequential_effect
from csrec_core.errors import InputError
from csrec_core.numbers import count, counted, interval, moved, plain, share, writer
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, STATUSES, UNDECIDED, WORST, Verdict

BEYOND = 0.1  # share of the arm's exposures that may have nothing to be compared with
#: The checks that one rung sums up (`csrec_core.effect.checks.CHECKS`).
PLACEBOS = ("placebo arm", "negative control outcome", "no drift", "dummy outcome")


def amount(effect: Effect, value: float) -> str:
    """Return a difference of rates in points, with its sign; of other outcomes, the number."""
    return writer(effect.known.binary, sign=True)[0](value)


def between(effect: Effect, lower: float, upper: float) -> str:
    """Return an interval, written as `amount` writes."""
    return interval(lower, upper, lambda value: amount(effect, value))


def rows_behind(effect: Effect) -> str:
    """Say how many users and exposures stand behind the effect."""
    overlap = effect.identification.overlap
    return f"{count(overlap.rows[1])} exposures of {count(overlap.users[1])} users against {count(overlap.rows[0])}"


def tells_over_time(effect: Effect) -> bool:
    """Tell whether anything may be said over time: the status lets parts be told, and there are two steps."""
    return effect.identification.allows and len(effect.over_time) > 1


def over_time_sentence(effect: Effect) -> str:
    """Say how the effect changes over exposures; nothing where no change is found, or may be told."""
    slope, lower, upper = 10 * effect.trend[["effect", "lower", "upper"]]
    steps = effect.over_time
    if not tells_over_time(effect) or not (lower > 0 or upper < 0):
        return ""
    first, last = steps.iloc[0], steps.iloc[-1]
    said = moved("grows", "falls", slope, lower, upper, binary=effect.known.binary)
    return (
        f"The effect {said} every ten exposures: from {amount(effect, first['effect'])} at the first "
        f"to {amount(effect, last['effect'])} at exposure {int(last['step'])}."
    )


def over_time_tile(effect: Effect) -> str:
    """Say whether the effect changes over exposures, without numbers: beside the picture that has them."""
    if not tells_over_time(effect):
        return ""
    lower, upper = effect.trend[["lower", "upper"]]
    word = "grows" if lower > 0 else "falls" if upper < 0 else "is not found to change"
    return f"It {word} over exposures (band: its interval)."


def users_sentence(effect: Effect) -> str:
    """Say for how many users the effect is told from zero, where the status allows; else nothing."""
    if not effect.identification.allows:
        return ""
    users = effect.users
    if not users["effect"].std() > effect.mean["error"]:
        return f"The effect is not found to differ between {count(len(users))} users."
    above, below = int((users["lower"] > 0).sum()), int((users["upper"] < 0).sum())
    return (
        f"Of {len(users):,} users, {above:,} have an interval above zero and {below:,} one below; the rest are not "
        "told from zero, as a user has few exposures."
    )


def sequence_sentence(effect: Effect, dataset: Dataset) -> str:
    """Say what weights of whole sequences find, where the status and the log allow; else nothing."""
    if not effect.identification.allows:
        return ""
    try:
        reach = sequential_effect(dataset, effect.design).query("chosen").iloc[0]
    except InputError:  # an exposure has no chance logged, or users have too few of them
        return ""
    unit = writer(effect.known.binary)[1]
    return (
        f"By weights of whole sequences, without a model, the marginal effect at uniformly drawn items is "
        f"{amount(effect, reach['effect'])}{unit} {between(effect, reach['lower'], reach['upper'])}; the weights reach "
        f"back {counted(reach['k'], 'exposure')}."
    )


def overlap_rows(judged: Identification, *, binary: bool = True) -> pd.DataFrame:
    """Return how comparable the arms are as text: `what`, and a column for the baseline and for the arm."""
    overlap, design = judged.overlap, judged.design
    decided, write = ("accepted", share) if binary else ("mean outcome", plain)
    rows = [
        ("exposures", *(count(one) for one in overlap.rows)),
        ("users", *(count(one) for one in overlap.users)),
        (decided, *map(write, overlap.accepted)),
        ("users that the weighted exposures are worth", count(overlap.baseline), count(overlap.arm)),
        ("largest share of the weight on one user", share(overlap.largest), "–"),
        ("exposures with nothing to compare them with", "–", share(overlap.trimmed)),
        ("exposures of items that the other arm exposes too", "–", share(overlap.support)),
    ]
    return pd.DataFrame(rows, columns=["what", design.baseline, design.arm])


def evidence_frame(judged: Identification) -> pd.DataFrame:
    """Return what speaks for and against: `name`, `verdict`, `detail`, and of biases `value`, `lower`, `upper`."""
    names = ["name", "verdict", "detail", "value", "lower", "upper", "threshold"]
    table = pd.DataFrame([one.to_dict() for one in judged.evidence], columns=names)
    bias = table["threshold"] != 1  # the audit's numbers are ratios, of which 1 is right
    numbers = table[["value", "lower", "upper"]].astype(float).where(bias)
    return table[["name", "verdict", "detail"]].join(numbers)


def ladder(effect: Effect) -> list[Verdict]:
    """Return the five rungs: identified, overlap, placebos, agreement of the estimators, sensitivity."""
    judged = effect.identification
    status, overlap, trimmed = STATUSES[judged.status], judged.overlap, judged.overlap.trimmed
    word = FAILS if min(overlap.arm, overlap.baseline) < FEW_EFFECTIVE or trimmed > BEYOND else HOLDS
    detail = (
        f"Weighted to be alike, the arms count as {overlap.arm:,.0f} and {overlap.baseline:,.0f} users; "
        f"{trimmed:.0%} of the exposures have nothing to be compared with."
    )
    return [
        Verdict("the effect is identified", status.word, judged.sentence, severity="decisive"),
        Verdict("the arms overlap", word, detail, trimmed, threshold=BEYOND, severity="decisive"),
        _sum_up("placebos show nothing", judged, PLACEBOS),
        _sum_up("the estimators agree", judged, ("the estimators agree",)),
        _strength(effect),
    ]


def _sum_up(name: str, judged: Identification, checks: Sequence[str]) -> Verdict:
    """Return the worst of some checks under one name."""
    found = [one for one in judged.evidence if one.name in checks]
    if all(one.word == NOT_TESTED for one in found):
        return Verdict(name, NOT_TESTED, found[0].detail if found else "No check was made.")
    worst = min(found, key=lambda one: WORST.index(one.word))
    return replace(worst, name=name, detail=f"{worst.name.capitalize()}: {worst.detail}", severity="serious")


def _strength(effect: Effect) -> Verdict:
    """Say whether a hidden cause as strong as the strongest column observed would let zero in."""
    name, detail = "hidden causes as strong as those seen change nothing", tipping_sentence(effect.to_dict())
    tipping, factor = effect.tipping, effect.benchmark[1]
    if effect.identification.status == "not identified":
        return Verdict(name, NOT_TESTED, detail)
    if np.isnan(tipping):
        return Verdict(name, HOLDS, detail)
    word = NOT_TESTED if tipping <= 1 else HOLDS if tipping > factor else UNDECIDED
    return Verdict(name, word, detail, min(tipping, 20.0), threshold=factor)
