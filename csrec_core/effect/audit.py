"""Do the logged chances predict what was logged?

Chances that are right obey identities, whatever users prefer: with p the chance of the exposed item S, the
mean of g(S) / p over exposures is the sum of g over the items that could be exposed. So the audit asks of
each arm, with users as clusters: do 1 / p average to the size of the catalogue; does every group of items, by
popularity, come as often as its chances say; and, of the same user, does the genre of the exposure before
come again as often (chances that miss the user's preference understate it). Of chances of the arms it asks
that they are met, and that nothing known before, the time and they themselves included, tells the arms apart
beyond them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from csrec_core.effect.design import Design
from csrec_core.effect.rows import beside
from csrec_core.effect.weights import ALIKE
from csrec_core.metrics import effective_size, two_sided
from csrec_core.numbers import counted, p_value
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict, within

CHANCE_TOLERANCE = 0.1  # relative error of a chance that is let pass
PART = 0.75  # share of the catalogue, below which chances are taken to be those of a part of it
POPULARITY_GROUPS = 5  # of items, by popularity
LOOSE, HALF = 0.01, 0.5  # p-value above which an interval of at most this half-width shows no sign against it
ROUNDED = 0.01  # relative error of a chance of the arm that comes of writing it down, such as .33 for a third
DEVIATION_P = 0.001  # p-value below which a deviation is no accident
FEW_AUDITED = 20
FOLLOWS = 0.8  # share of the variance of logged chances that must follow from the log for them to be read off
MOVED = "nothing known before tells the arms apart"  # the name of the audit of what is known before
WORTH = 50.0  # effective users, below which a mean of 1 / p is too rough to refute anything


def audit_items(rows: pd.DataFrame, design: Design, *, catalogue: int) -> list[Verdict]:
    """Audit the logged chances of the items, an arm at a time.

    Returns three verdicts an arm with logged chances; severity decisive, as an effect by wrong chances is none.
    `catalogue` is the number of items that could be exposed.
    """
    found: list[Verdict] = []
    # The genre of the user's exposure before, -1 where there is none.
    before = rows.groupby("user", sort=False)["genre"].shift().fillna(-1).to_numpy().astype(np.int64)
    # Each user may be offered some of the items only, but the baseline then offers all that the arm does.
    implied = (1 / rows["propensity"]).groupby(rows["arm"]).mean().reindex([0, 1])
    slates = implied[0] >= (1 - CHANCE_TOLERANCE) * implied[1]
    for side, name in ((0, design.baseline), (1, design.arm)):
        own = (rows["arm"] == side).to_numpy()
        chance = rows["propensity"].to_numpy(dtype=float)[own]
        if not own.any() or np.isnan(chance).any():
            continue
        user = pd.factorize(rows["user"].to_numpy()[own])[0]
        if user.max() + 1 < FEW_AUDITED:
            found.append(Verdict(f"chances of {name} predict its items", NOT_TESTED, "too few users"))
            continue
        # An arm may draw from some of the items only: its chances then say how many, and it has shown them.
        seen = rows[own] if (1 / chance).mean() < PART * catalogue else rows
        seen = seen.drop_duplicates("item")[["item", "genre"]]
        offered = min(catalogue, len(seen)) if len(seen) < PART * catalogue else catalogue
        item, genre = rows["item"].to_numpy()[own], rows["genre"].to_numpy()[own]
        adds = _effective_size(1 / chance, user, offered, name, part=side == 1 or slates)
        again = _genre_repeats(1 / chance, user, genre, before[own], seen["genre"], name)
        if again.word == FAILS and adds.severity == "minor" and again.value > 1:
            # From the few that a user is offered a genre comes more often.
            again = replace(again, word=UNDECIDED)
        items = np.sort(seen["item"].to_numpy())
        found += [adds, _popularity(1 / chance, user, item, items, name), again]
    return found


@dataclass(frozen=True)
class _Ratio:
    """sum(found) / sum(expected), its standard error by users, what it is worth in users, p of being 1."""

    value: float
    error: float
    worth: float
    p: float

    @classmethod
    def of(cls, found: np.ndarray, expected: np.ndarray, user: np.ndarray) -> "_Ratio":
        total = expected.sum()
        ratio = found.sum() / total
        # Under right chances the mean is 1 whatever the tails of 1 / p: the error is that around 1.
        error = np.sqrt((np.bincount(user, found - expected) ** 2).sum()) / total
        worth = effective_size(np.bincount(user, found))
        return cls(float(ratio), float(error), float(worth), two_sided(ratio - 1, error, worth - 1))


def _judge_ratio(name: str, found: _Ratio, what: str, *, p: float | None = None) -> Verdict:
    ratio, p = found.value, found.p if p is None else p
    half = student.ppf(0.975, max(found.worth - 1, 1)) * found.error
    lower, upper = ratio - half, ratio + half
    word = within(lower, upper, least=1 - CHANCE_TOLERANCE, most=1 + CHANCE_TOLERANCE)
    if word == UNDECIDED and p > LOOSE:
        word = HOLDS if half < HALF else NOT_TESTED  # no sign against it, or too rough to give one
    if word == FAILS and (p > DEVIATION_P or found.worth < WORTH):
        word = UNDECIDED  # one of many questions asked: a failure must be sure
    detail = f"{what}: {ratio:.2f} times what its chances say, from {lower:.2f} to {upper:.2f}; expected 1"
    return Verdict(name, word, detail, ratio, lower, upper, 1.0, "decisive", p)


def _effective_size(
    inverse: np.ndarray, user: np.ndarray, catalogue: int, name: str, *, part: bool = True
) -> Verdict:
    found = _Ratio.of(inverse, np.full(len(inverse), float(catalogue)), user)
    verdict = _judge_ratio(f"chances of {name} add up", found, "the catalogue that they imply is")
    if verdict.word == FAILS and found.value < 1:
        # Fewer items than the log holds: each user may have been offered some of them only.
        return replace(verdict, word=UNDECIDED, severity="minor" if part else "decisive")
    return verdict


def _popularity(inverse, user, item, items, name) -> Verdict:
    """Group the items by how often this arm exposes them: do the groups come as often as they should?

    One half of the users says which items are popular, the other half is tested: among the rows that an item
    is called popular for, it would come too often.
    """
    title = f"chances of {name} predict its items"
    if len(items) < POPULARITY_GROUPS:
        return Verdict(title, NOT_TESTED, f"the log has {len(items)} items")
    code, first = np.searchsorted(items, item), user % 2 == 0
    order = np.argsort(np.bincount(code[first], minlength=len(items)), kind="stable")
    rank = np.argsort(order, kind="stable")
    group = rank * POPULARITY_GROUPS // len(items)
    inverse, user, own = inverse[~first], user[~first], group[code[~first]]
    size = np.bincount(group, minlength=POPULARITY_GROUPS) / len(items)
    total = np.full(len(inverse), inverse.mean())
    parts = [_Ratio.of(inverse * (own == one), total * size[one], user) for one in range(POPULARITY_GROUPS)]
    worst = min(parts, key=lambda part: part.p)
    p = min(1.0, worst.p * POPULARITY_GROUPS)  # Bonferroni: the worst of so many
    return _judge_ratio(
        title, worst, "the fifth of the items, by popularity, that is furthest off, comes", p=p
    )


def _genre_repeats(inverse, user, genre, before, genres, name) -> Verdict:
    """Does the genre of the exposure before come again as often as its chances say?"""
    title = f"chances of {name} know what users prefer"
    known = before >= 0
    share = np.bincount(genres, minlength=before.max() + 1) / max(len(genres), 1)
    if known.sum() < 100 or np.unique(user[known]).size < FEW_AUDITED:
        return Verdict(title, NOT_TESTED, "too few users have two exposures")
    again = inverse[known] * (genre[known] == before[known])
    expected = inverse[known].mean() * share[before[known]]
    if (again > 0).sum() < 30:
        return Verdict(title, NOT_TESTED, "the same genre, or item, hardly ever comes twice in a row")
    found = _Ratio.of(again, expected, user[known])
    return _judge_ratio(title, found, "the genre of the exposure before comes again")


def audit_reading(scores: pd.DataFrame, rows: pd.DataFrame, design: Design) -> Verdict:
    """Can the arm's chances at the baseline's exposures be read off those at its own?

    They vary, and are logged where the arm exposed. If they follow from the item, the time and what else is
    logged, as those of a policy without secrets do, a model of other users' rows finds them again. What it
    leaves must not go with the decisions: else the arm knows of users what the log does not.

    `scores` are of `csrec_core.effect.engine.Engine.score`, with `chance`.
    """
    name = f"chances of {design.arm} follow from the log"
    own = (rows["arm"] == 1).to_numpy() & ~scores["trimmed"].to_numpy()
    user = pd.factorize(rows["user"].to_numpy()[own])[0]
    if not own.any() or user.max() + 1 < FEW_AUDITED:
        return Verdict(name, NOT_TESTED, "too few users", threshold=FOLLOWS)
    logged = np.log(rows["propensity"].to_numpy(dtype=float)[own])
    found = scores["chance"].to_numpy()[own]
    left = logged - found - (logged - found).mean()
    share = 1 - float((left**2).sum() / ((logged - logged.mean()) ** 2).sum())
    # Clustered score test: does what is left of a chance tell the decision beyond what the model expects of it?
    surprise = (scores["decision"] - scores["m1"]).to_numpy()[own]
    by_user = np.bincount(user, left * (surprise - surprise.mean()))
    p = two_sided(by_user.sum(), np.sqrt((by_user**2).sum()))
    word = FAILS if p < DEVIATION_P else HOLDS if share >= FOLLOWS and p > LOOSE else UNDECIDED
    detail = f"{max(share, 0.0):.0%} of how they vary follows from the item, the time and what is logged"
    detail += "" if p > LOOSE else ", and the rest goes with the decisions"
    return Verdict(name, word, detail, share, threshold=FOLLOWS, severity="serious", p=p)


def audit_arms(rows: pd.DataFrame, design: Design, given: np.ndarray | None) -> list[Verdict]:
    """Audit the `given` chance of the arm, declared or logged; without one there is nothing to audit."""
    if given is None:
        return []
    own = (rows["arm"] >= 0).to_numpy()
    shown = (rows["arm"].to_numpy()[own] == 1).astype(float)
    user = pd.factorize(rows["user"].to_numpy()[own])[0]
    found = _Ratio.of(shown, given[own], user)
    often = _judge_ratio(f"{design.arm} comes as often as its chances say", found, "it comes")
    if often.word == HOLDS and found.p < DEVIATION_P and abs(found.value - 1) > ROUNDED:
        # Too little to matter in a weight, but no accident: rows of an arm may be lost for what was decided.
        often = replace(often, word=UNDECIDED)
    verdicts = [often]
    left, moved = shown - given[own], []
    for name, values in _before_arm(rows[own], given[own]):
        spread = values.std()
        if not spread > 0:
            continue
        scaled = (values - values.mean()) / spread
        by_user = np.bincount(user, left * scaled)
        moved.append((two_sided(by_user.sum(), np.sqrt((by_user**2).sum())), name))
    if not moved:
        verdicts.append(Verdict(MOVED, NOT_TESTED, "no column is known before"))
        return verdicts
    p, name = min(moved)
    p = min(1.0, p * len(moved))
    word = FAILS if p < DEVIATION_P else HOLDS if p > 0.05 else UNDECIDED
    columns = counted(len(moved), "column")
    detail = f"of {columns} {name} differs most beyond the chances, {p_value(p)} of them all"
    verdicts.append(Verdict(MOVED, word, detail, severity="decisive", p=p))
    return verdicts


def _before_arm(rows: pd.DataFrame, given: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield by name what is known before the arm is drawn: the columns, its chance, and the time."""
    for name in beside(rows):
        yield str(name), rows[name].to_numpy(dtype=float)
    # Chances that are another row's are met on the whole, but the arm does not come more often where they are higher.
    if np.ptp(given) > ALIKE * given.max():
        yield "the chance itself", given
    time = np.nan_to_num(rows["time"].to_numpy(dtype=float))
    arms = rows.groupby("user")["arm"]
    if (arms.transform("min") == arms.transform("max")).all():
        # How long a user stays may be the arm's doing, when they came is not.
        time = pd.Series(time).groupby(rows["user"].to_numpy()).transform("min").to_numpy()
    yield "the time", time
