"""The judge: what an effect rests on, how far it may be believed, and what would make it firmer.

Everything that says how much an effect is to be believed reads this and nothing else: which estimator runs,
the band, the sentences, the verdicts of the notebooks and of `csrec effect`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from csrec_core.effect.audit import DEVIATION_P, MOVED
from csrec_core.effect.design import Design
from csrec_core.effect.overlap import Overlap
from csrec_core.effect.rows import beside
from csrec_core.effect.weights import ItemChances
from csrec_core.numbers import counted, plain
from csrec_core.verdict import FAILS, HOLDS, STATUSES, UNDECIDED, Verdict

FEW_EFFECTIVE = 30.0  # effective users, below which a side cannot be compared
SUPPORT = 0.5, 0.95  # share of the arm's exposures whose item the baseline exposes: none, or not all
MOST_TRIMMED = 0.5
#: AUC of the arm, above which the arms cannot be compared; of a decision, above which it is known.
APART = 0.98
LOOKED_AT = 20_000  # rows, at most twice as many, in which a column that tells too much is looked for
#: What chances of the items leave open: they make the items alike, not the users that meet more of one arm.
NO_LEANING = "at the same history, which arm exposes depends on nothing hidden that decisions depend on"
NO_DRIFT = "acceptance does not drift between the phases but for what the history tells"
#: Assumptions that no design makes true, and the checks of them.
CHECKED = {
    NO_DRIFT: ("no drift", "negative control outcome"),
    NO_LEANING: ("users of either arm are alike",),
}


@dataclass(frozen=True)
class Identification:
    """Whether a log tells an effect."""

    status: str  # a key of `csrec_core.verdict.STATUSES`
    reasons: tuple[str, ...]  # why the status is what it is, the weightiest first
    assumptions: tuple[str, ...]  # what the effect rests on
    evidence: tuple[Verdict, ...]  # for and against the assumptions, from this log
    remedies: tuple[str, ...]  # what would raise the status, in numbers where possible
    overlap: Overlap
    design: Design

    @property
    def allows(self) -> bool:
        """Whether anything may be said by user, segment, step or policy."""
        return STATUSES[self.status].parts

    @property
    def sentence(self) -> str:
        """The status and its first reason, in a sentence."""
        return f"{self.status.capitalize()}: {self.reasons[0]}."

    def after(self, checks: Sequence[Verdict]) -> "Identification":
        """Return the identification once checks of the estimate are in.

        A check that fails and is serious speaks against the assumptions: what was assumed is then bounded. A
        decisive one ends it. What rests on chances known by design, which the audit bears out, is bounded only by a
        failure that is no accident (p below .001): one in twenty sound logs fails some check at its level. What no
        design makes true is open to its own checks at that level (`CHECKED`).
        """
        failed = [one for one in checks if one.word == FAILS]
        if self.status == "identified":
            own = [name for one in self.assumptions for name in CHECKED.get(one, ())]
            failed = [one for one in failed if one.name in own or not one.p >= DEVIATION_P]
        evidence = (*self.evidence, *checks)
        decisive = [one for one in failed if one.severity == "decisive"]
        serious = [one for one in failed if one.severity == "serious"]
        if self.status == "not identified" or not (decisive or serious):
            return replace(self, evidence=evidence)
        status = "not identified" if decisive else "bounded"
        reasons = tuple(f"a check speaks against it, {one.name}: {one.detail}" for one in decisive + serious)
        return replace(self, status=status, reasons=(*reasons, *self.reasons), evidence=evidence)


def judge(
    design: Design,
    chances: ItemChances,
    overlap: Overlap,
    audit: Sequence[Verdict],
    *,
    arm_given: bool,
    rows: pd.DataFrame,
    binary: bool,
    read_off: Verdict | None = None,
) -> Identification:
    """Judge a log under a design.

    The audit is of `csrec_core.effect.audit`, with `read_off`: whether the arm's chances at the baseline's exposures
    follow from the log, where they vary. `arm_given`: the chance of the arm is logged or declared.
    """
    audit = [*audit, read_off] if read_off else audit
    obstacles = _obstacles(design, overlap, audit, binary, rows)
    if design.estimand == "arm":
        status, reasons, assumptions, remedies = _by_arm(design, arm_given)
    else:
        status, reasons, assumptions, remedies = _between_users(
            _by_item(design, chances, rows, read_off), design, rows
        )
    undecided = [one for one in audit if one.word == UNDECIDED and one.severity == "decisive"]
    if status == "identified" and undecided:
        status, first = "assumed", undecided[0]
        reasons = [f"the audit is undecided, {first.name}: {first.detail}", *reasons]
    if overlap.support < SUPPORT[1]:
        reasons.append(
            f"{1 - overlap.support:.0%} of the exposures by {design.arm} are of items that {design.baseline} "
            "never exposes: they are left to the model"
        )
        status = "assumed" if status == "identified" else status
    if obstacles:
        spread = 0.0 if binary else float(rows["decision"].to_numpy().std())
        alike = [remedy for _, remedy in _decided_alike(design, overlap)] if binary else []
        trial = _trial(design, overlap, spread=spread)
        remedies = (
            [*alike, trial] if alike else [trial, *remedies]
        )  # no chances mend decisions that are all alike
    if any(one.name == MOVED and one.word == FAILS for one in audit):
        remedies = [
            "leave out columns that are measured after the arm was drawn, if there are such",
            *remedies,
        ]
    for why, remedy in _known_after(rows, binary):
        obstacles, remedies = [why, *obstacles], [remedy, *remedies]
    if obstacles:
        status, reasons = "not identified", obstacles
    texts = tuple(reasons), tuple(assumptions), tuple(audit), tuple(remedies)
    return Identification(status, *texts, overlap, design)


def _tell(rows: pd.DataFrame, label: pd.Series, names: Sequence[str]) -> dict[str, float]:
    """Return the columns by which a label of the rows is all but known, with their AUC.

    It takes some rows of either label: among few, one column in ten has the largest values by chance.
    """
    every = max(1, len(rows) // LOOKED_AT)
    rows, told = rows[::every], label.to_numpy()[::every]
    if min(told.sum(), (~told).sum()) < FEW_EFFECTIVE:
        return {}
    aucs = {name: roc_auc_score(told, np.nan_to_num(rows[name].to_numpy(dtype=float))) for name in names}
    return {name: float(max(auc, 1 - auc)) for name, auc in aucs.items() if max(auc, 1 - auc) > APART}


def _known_after(rows: pd.DataFrame, binary: bool) -> list[tuple[str, str]]:
    """Return which columns, or the time, all but tell an arm's decisions, and what to do about each."""
    middle = 0.5 if binary else rows["decision"].median()
    told: dict[str, float] = {}
    for side in (0, 1):
        own = rows[rows["arm"] == side]
        told |= _tell(own, own["decision"] > middle, [*beside(rows), "time"])
    found = []
    for name, auc in told.items():
        words, remedy = name, f"leave {name} out, unless it is known before the decision"
        if name == "time":
            words, remedy = "the time", "map the time of the exposure, not that of the decision"
        found.append(
            (f"{words} all but tells the decision (AUC {auc:.2f}), as what is measured after it does", remedy)
        )
    return found


def _decided_alike(design: Design, overlap: Overlap) -> list[tuple[str, str]]:
    """Return which arms' exposures were all accepted, or rejected, and what to do about each."""
    named = zip(overlap.accepted, (design.baseline, design.arm), strict=True)
    words = {1.0: ("accepted", "rejected"), 0.0: ("rejected", "accepted")}
    found = [(name, *words[rate]) for rate, name in named if rate in words]
    return [
        (f"the exposures of {name} are all {every}", f"log those of {name} that were {none}, too")
        for name, every, none in found
    ]


def _obstacles(
    design: Design, overlap: Overlap, audit: Sequence[Verdict], binary: bool, rows: pd.DataFrame
) -> list[str]:
    """Return what keeps the effect from being told at all, in words; nothing where it can be told."""
    arm, baseline = design.arm, design.baseline
    if binary and (found := [why for why, _ in _decided_alike(design, overlap)]):
        return found
    found = []
    if overlap.support < SUPPORT[0]:
        found.append(
            f"{1 - overlap.support:.0%} of the exposures by {arm} are of items that {baseline} "
            "never exposes, so there is nothing to compare them with"
        )
    elif overlap.baseline < FEW_EFFECTIVE:
        found.append(
            f"weighted to look like those of {arm}, the exposures of {baseline} count as those of "
            f"{counted(overlap.baseline, 'user')}"
        )
    elif overlap.arm < FEW_EFFECTIVE:
        found.append(f"the exposures of {arm} count as those of {counted(overlap.arm, 'user')}")
    if overlap.auc > APART or (overlap.trimmed > MOST_TRIMMED and not overlap.support < SUPPORT[0]):
        own = rows[rows["arm"] >= 0]
        names = ", ".join(map(str, _tell(own, own["arm"] == 1, beside(rows)))) if overlap.auc > APART else ""
        found.append(
            f"what is known before a decision{f', {names},' * bool(names)} tells the arms apart (AUC "
            f"{overlap.auc:.2f}; {overlap.trimmed:.0%} of the exposures by {arm} are beyond comparison)"
        )
    wrong = [one for one in audit if one.word == FAILS and one.severity == "decisive"]
    source = "logged" if design.arm_propensity is None else "declared"
    return found + [f"the {source} chances do not fit the log, {one.name}: {one.detail}" for one in wrong]


#: Status, reasons, assumptions and remedies as a design has them, before any obstacle.
Ground = tuple[str, list[str], list[str], list[str]]


def _by_arm(design: Design, arm_given: bool) -> Ground:
    arm, baseline = design.arm, design.baseline
    if arm_given and design.arm_chances == "design":
        rests = "the chances of the arms are those with which they were drawn"
        return "identified", [f"{arm} and {baseline} were drawn with known chances"], [rests], []
    remedy = _log_the_arm(arm)
    if arm_given:
        rests = "the estimated chances hold all that moves both arm and decision"
        return "assumed", ["the chances of the arms are estimates"], [rests], [remedy]
    return _claimed(design, f"the choice of {arm}", [remedy])


def _by_item(design: Design, chances: ItemChances, rows: pd.DataFrame, read_off: Verdict | None) -> Ground:
    arm, baseline, kind = design.arm, design.baseline, chances.kind
    lacking, unlogged = chances.unlogged
    if design.target == "uniform" and not np.isnan(chances.own[(rows["arm"] >= 0).to_numpy()]).any():
        kind = "frequency" if lacking or unlogged else "by item"
    varying = read_off if kind == "varying" else None
    rests = ["the logged chances of the items are those with which they were drawn"]
    if varying:
        rests.append(f"the chances of {arm} depend on nothing hidden that decisions depend on, too")
    if kind in ("uniform", "by item") or (varying and varying.word == HOLDS):
        if design.propensity == "design":
            why = "the items of both arms were drawn with known chances"
            return "identified", [why], [*rests, NO_LEANING, NO_DRIFT], []
        rests = ["the estimated chances hold all that moves both item and decision", NO_LEANING, NO_DRIFT]
        remedy = ["log the chances with which the items were drawn, as they were drawn"]
        return "assumed", ["the chances of the items are estimates"], rests, remedy
    if varying:
        why = f"the chances of {arm} vary, and at the exposures of {baseline} they are modelled, not logged"
        remedy = [
            f"log at every exposure of {baseline} the chance with which {arm} would have shown the item, or "
            "ask for target uniform, which the logged chances identify"
        ]
        status = "bounded" if varying.word == FAILS else "assumed"
        return status, [f"{why}: {varying.detail}"], [*rests, NO_LEANING, NO_DRIFT], remedy
    if kind == "frequency":
        why = f"the items of {arm} have no logged chances: they are taken to be drawn alike for all users"
        rests += [f"{arm} picks items alike for all users", NO_LEANING, NO_DRIFT]
        remedy = [f"log the propensity of {unlogged:,} exposures by {arm}"]
        return "assumed" if design.confounders else "bounded", [why], rests, remedy
    remedy = []
    if design.propensity == "unused":
        remedy = ["use the logged chances of the items"]
    elif lacking:
        without = [f"{lacking:,} exposures of {baseline}"] + [f"{unlogged:,} of {arm}"] * bool(unlogged)
        remedy = [f"log the propensity of the {' and the '.join(without)} that have none"]
    return _claimed(design, f"what {baseline} and {arm} expose", remedy)


def _log_the_arm(arm: str) -> str:
    return (
        f"log the chance with which each exposure, or user, got {arm} (arm_propensity); one that was the same "
        "for all is declared: --design 'arm_propensity: 0.5'"
    )


def _between_users(ground: Ground, design: Design, rows: pd.DataFrame) -> Ground:
    """Return the ground where most users that the arm exposes are of that arm alone.

    The items' chances make the items alike, not the users: who came to be of which arm takes chances of its own.
    """
    status, reasons, rests, remedies = ground
    arm, baseline = design.arm, design.baseline
    side, user = rows["arm"].to_numpy(), rows["user"].to_numpy()
    alone = 1 - np.isin(user[side == 1], user[side == 0]).mean()
    given = design.arm_propensity is not None or not rows["arm_propensity"][side >= 0].isna().any()
    drawn = given and design.arm_chances == "design"
    if alone <= SUPPORT[0] or drawn or status == "bounded" or (design.confounders and status == "assumed"):
        return ground
    why = (
        f"{alone:.0%} of the exposures by {arm} are of users whom {baseline} never exposes, and no chances say how "
        "users came to be of one or the other"
    )
    rests = [*rests, f"which users are of {arm} depends on nothing hidden that decisions depend on, too"]
    status = "assumed" if design.confounders else "bounded"
    return status, [why, *reasons], rests, [_log_the_arm(arm), *remedies]


def _claimed(design: Design, choice: str, remedy: list[str]) -> Ground:
    if claimed := ", ".join(design.confounders):
        verb = "are" if len(design.confounders) > 1 else "is"
        why = f"{claimed} {verb} declared to hold all that moves both {choice} and the decision"
        rests = f"nothing beside {claimed} and the history moves both {choice} and the decision"
        return "assumed", [why], [rests], remedy
    why = f"{choice} follows preferences that the log knows only through the history"
    rests = f"what is hidden moves {choice} by at most the odds of the band"
    more = "or declare the columns that hold these preferences (confounders), if there are such"
    return "bounded", [why], [rests], [*remedy, more]


def _trial(design: Design, overlap: Overlap, *, spread: float) -> str:
    """Say how many randomised exposures settle the effect to a point, or a twentieth of an outcome's `spread`."""
    rates = [rate if 0 < rate < 1 else 0.5 for rate in overlap.accepted]
    half, variance = spread / 20 or 0.01, 2 * spread**2 or sum(rate * (1 - rate) for rate in rates)
    per_user = max(1.0, sum(overlap.rows) / max(1, max(overlap.users)) / 2)
    count = (norm.ppf(0.975) / half) ** 2 * variance * 2
    count *= 1 + 0.05 * (per_user - 1)  # rows of a user resemble each other; five per cent is a common value
    return (
        f"draw the arm of {count:,.0f} exposures at random, {design.arm} or {design.baseline} with even chances: "
        f"the effect is then known to within {plain(half) if spread else 'a point'}"
    )
