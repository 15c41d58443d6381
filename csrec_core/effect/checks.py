"""Attempts to refute an effect: the same design on data of which the answer is known, and what does not fit.

Every check takes the reported `Effect`, and repeats its estimate, with its design and learners, on altered
data. None proves an effect. One that fails speaks against it as much as its severity says
(`csrec_core.effect.identification.Identification.after`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.data.log import FEATURE, Dataset
from csrec_core.effect.aa import in_order, permute_arms, relabel
from csrec_core.effect.design import Design
from csrec_core.effect.engine import FOLDS
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import hashes
from csrec_core.effect.likeness import choice_likeness
from csrec_core.effect.result import Effect
from csrec_core.effect.score import ESTIMATORS, combine_splits, effects_of
from csrec_core.effect.words import amount, between
from csrec_core.errors import InputError, unknown
from csrec_core.metrics import holm, two_sided
from csrec_core.numbers import plain, writer
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict

LARGE_SHIFT = 0.5  # standard errors that a random common cause may shift the estimate by
SMALL = 0.25  # standard errors that a preference must be seen to move the effect by, to count as left out
ROUGH = 20  # users, below which a check says nothing
FEWEST_ROWS = 100  # of either arm, for a test of what is left out
BEFORE = 4  # exposures of a user by the baseline, from which on they are split
MET = 2  # exposures of a user, from which on the share of the arm among them says something
ALPHA = 0.05  # chance that any of the tests fails though nothing is wrong (Holm)

Check = Callable[[Effect, Dataset, np.random.Generator], Verdict]


def check_effect(
    effect: Effect, dataset: Dataset, *, checks: Sequence[str] | None = None, seed: int = 0
) -> list[Verdict]:
    """Try to refute an effect.

    The effect is as reported, of `dataset`; `checks` are keys of `CHECKS`, by default all. Returns a verdict each.
    A test fails if its p-value, adjusted for the number of tests (Holm 1979), is at most .05. Where it does not, it
    holds if its 95% interval is within the reported effect, or its interval, around zero: a bias as large would
    have been seen; else it is undecided.
    """
    found = []
    for name in CHECKS if checks is None else checks:
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
        severity, check = CHECKS[name]
        try:
            if np.isnan(effect.mean["lower"]) and check is not _both_decisions:
                raise InputError("there is no estimate to refute")
            verdict = check(effect, dataset, np.random.default_rng([seed, list(CHECKS).index(name)]))
        except InputError as error:  # a check that this log does not allow
            verdict = Verdict("", NOT_TESTED, str(error))
        found.append(replace(verdict, name=name, severity=severity))
    for number, p in enumerate(holm(np.array([one.p for one in found]))):
        if not np.isnan(p):
            one = found[number]
            small = max(abs(one.lower), abs(one.upper)) < one.threshold
            found[number] = replace(one, word=FAILS if p <= ALPHA else HOLDS if small else UNDECIDED)
    return found


def _again(effect: Effect, dataset: Dataset, design: Design | None = None, *, folds: int = 3) -> Effect:
    """Repeat an estimate on other data, with the first of its splits of users; by default with the fewest folds."""
    design = design or effect.design
    about: dict[str, Any] = {"level": effect.level, "learners": effect.learners, "seed": effect.seed}
    return estimate_effect(dataset, design=design, folds=folds, splits=1, **about)


def _zero(effect: Effect, found: Effect, what: str) -> Verdict:
    """Test that an estimate of nothing is nothing."""
    sums = effects_of(found.splits[0], "all")
    value, lower, upper = found.mean[["effect", "lower", "upper"]]
    if np.isnan(lower):
        raise InputError(f"{what}: too few users and accepted exposures for an interval")
    p = two_sided(value, np.sqrt(sums.covariance[0, 0]), sums.worth[0] - 1)
    return _test_verdict(effect, value, lower, upper, p, what)


def _test_verdict(effect: Effect, value, lower, upper, p, what: str) -> Verdict:
    detail = (
        f"{what}: expected 0, found {amount(effect, value)}, 95% interval {between(effect, lower, upper)}"
    )
    detail += writer(effect.known.binary)[1]
    # The bias that would matter: as large as the effect, or what is not told from it.
    margin = max(abs(effect.mean["effect"]), (effect.mean["upper"] - effect.mean["lower"]) / 2)
    value, lower, upper, margin = (float(one) for one in (value, lower, upper, margin))
    return Verdict("", UNDECIDED, detail, value, lower, upper, margin, p=float(p))


def _normal(effect: Effect, value, error, p, what: str) -> Verdict:
    half = norm.ppf(0.975) * error
    return _test_verdict(effect, value, value - half, value + half, p, what)


def _both_decisions(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    rates, binary = effect.identification.overlap.accepted, effect.known.binary
    names = effect.design.baseline, effect.design.arm
    said = [f"{rate:.1%} accepted" if binary else f"{plain(rate)} on average" for rate in rates]
    text = ", ".join(f"{name}: {one}" for name, one in zip(names, said, strict=True))
    several = [0 < rate < 1 for rate in rates]  # of all rows, of which the dataset may hold some users' alone
    if not binary:
        outcomes = dataset.log["outcome"].groupby(dataset.log["source"].astype(str)).nunique()
        several = [outcomes[name] > 1 for name in names]
    return Verdict("", HOLDS if all(several) else FAILS, text)


def _placebo(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    found = _again(effect, *permute_arms(dataset, effect.design, rng))
    return _zero(effect, found, "effect of an arm dealt at random")


def _rows_before(effect: Effect, dataset: Dataset) -> pd.DataFrame:
    """Return the baseline's rows before the arm exposed, of users who have a few; or say why not."""
    if effect.known.clock.between:
        raise InputError("every user is of one arm")
    log = in_order(dataset, effect.design)
    later = (log["source"].astype(str) == effect.design.arm).groupby(log["user"]).cummax()
    log = log[~later]
    log = log[log.groupby("user")["user"].transform("size") >= BEFORE].reset_index(drop=True)
    if log["user"].nunique() < ROUGH or log["decision"].nunique() < 2:
        raise InputError(
            f"fewer than {ROUGH} users have {BEFORE} exposures by {effect.design.baseline} before the first by "
            f"{effect.design.arm}"
        )
    return log


def _negative_control(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    log = _rows_before(effect, dataset)
    last = ~log.duplicated("user", keep="last").to_numpy()
    found = _again(effect, *relabel(dataset, effect.design, log, last, phased=True))
    return _zero(effect, found, f"effect at the last decision before {effect.design.arm} exposed")


def _drift(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    if effect.known.clock.columns:
        raise InputError("the arms share a clock: drift is in both")
    log = _rows_before(effect, dataset)
    late = log.groupby("user").cumcount() >= log.groupby("user")["user"].transform("size") / 2
    found = _again(effect, *relabel(dataset, effect.design, log, late.to_numpy(), phased=True))
    return _zero(effect, found, f"effect of the later half of the exposures by {effect.design.baseline}")


def _dummy(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    log = dataset.log.drop(columns="outcome", errors="ignore")
    rate = log["decision"].mean()
    if effect.design.estimand == "exposure":  # else items are part of the arm, and may differ between arms
        item = log.groupby("item")["decision"]
        rate = (item.transform("sum") + 5 * rate) / (item.transform("size") + 5)
    log = log.assign(decision=(rng.random(len(log)) < rate).astype(np.int8))
    found = _again(effect, replace(dataset, log=log, truth=None))
    return _zero(effect, found, "effect on decisions drawn by the item alone")


def _random_cause(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    log = dataset.log.assign(**{f"{FEATURE}random": rng.normal(size=len(dataset.log))})
    found = effects_of(_again(effect, replace(dataset, log=log), folds=FOLDS).splits[0], "all").effect[0]
    first = effects_of(effect.splits[0], "all")
    shift = float(found - first.effect[0])
    error = float(np.sqrt(first.covariance[0, 0]))
    most = LARGE_SHIFT * error
    of_error = abs(shift) / max(error, 1e-12)
    said = (
        f"a random column shifts the effect by {amount(effect, shift)}, {of_error:.2f} of its standard error"
    )
    detail = f"{said}; expected at most {LARGE_SHIFT}"
    return Verdict("", HOLDS if abs(shift) <= most else FAILS, detail, shift, threshold=most)


def _subset(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    users = dataset.log["user"].to_numpy()
    half = hashes(users, int(rng.integers(2**31)), 3) % np.uint64(2) == 0
    if len(np.unique(users[half])) < ROUGH:
        raise InputError(f"fewer than {ROUGH} users in a half")
    found = _again(effect, replace(dataset, log=dataset.log[half].reset_index(drop=True), truth=None))
    shift = found.mean["effect"] - effect.mean["effect"]
    # A mean over half the users differs from that over all by as much as the latter from the truth.
    error = float(effect.mean["error"])
    return _normal(effect, shift, error, two_sided(shift, error), "shift of the effect in half of the users")


def _agreement(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    """Test that the doubly robust estimate is that of the weights, or that of the regressions.

    It is right where either is: if it is neither, then neither is right, and nothing speaks for it.
    """
    found, tests = [effects_of(sums, "estimators") for sums in effect.splits], []
    for name in ("weighting", "regression"):
        contrast = np.eye(len(ESTIMATORS))[0] - np.eye(len(ESTIMATORS))[list(ESTIMATORS).index(name)]
        shifts = np.array([contrast @ one.effect for one in found])
        errors = np.sqrt(np.maximum([contrast @ one.covariance @ contrast for one in found], 0))
        shift, error = map(float, combine_splits(shifts, errors))
        tests.append((two_sided(shift, error), shift, error, name))
    p, shift, error, name = max(tests, key=lambda one: one[0])
    if np.isnan(p):
        raise InputError("an estimator has no value")
    what = f"doubly robust less {name} alone, the nearer to it of weighting and regression"
    return _normal(effect, shift, error, p, what)


def _likeness(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    """Test that the log knows no preference that the estimate does not.

    How like an item is to what its user chose before, by what other users choose together, tells of
    preferences. It biases the effect where it both differs between the weighted arms and goes with acceptance
    beyond the regression: the test is of the weaker of the two.
    """
    if effect.design.estimand != "exposure":
        raise InputError("the items are part of the arm")
    scores = effect.scores[0]
    z = choice_likeness(scores, seed=int(rng.integers(2**31)))
    used = np.isfinite(z) & (scores["arm"].to_numpy() >= 0)
    scores, z = scores[used], z[used]
    w1, w0 = scores["w1"].to_numpy(), scores["w0"].to_numpy()
    if min((w1 > 0).sum(), (w0 > 0).sum()) < FEWEST_ROWS or scores["user"].nunique() < ROUGH:
        raise InputError("too few exposures follow a choice of the same user")
    what = "what users choose together would move the effect, were it taken in, by at least"
    found = _left_out(effect, scores, z, w1, w0, what)
    if abs(found.value) > SMALL * effect.mean["error"]:
        return found
    # So little makes no effect out of none, and heavy weights leave the test of the gap inexact: no failure.
    return replace(found, word=HOLDS if found.p > ALPHA else UNDECIDED, p=float("nan"))


def _left_out(effect: Effect, scores: pd.DataFrame, z: np.ndarray, w1, w0, what: str) -> Verdict:
    """Test a product: how far z differs between the weighted arms, and what the baseline's rows accept more by z.

    That is what z would bias the effect by, if it is left out. It takes both, so the p-value is the larger one.
    """
    user, w1, w0 = pd.factorize(scores["user"])[0], w1 / w1.sum(), w0 / w0.sum()
    chosen = (scores["arm"] == 0).to_numpy()
    one = chosen / chosen.sum()
    left = (scores["decision"] - scores["m0"]).to_numpy()
    gap, z1, z0 = w1 @ z - w0 @ z, w1 @ z, w0 @ z
    of_gap = np.bincount(user, w1 * (z - z1) - w0 * (z - z0))
    # Where nothing is left out no weights are needed for the slope, and without them it is told far better.
    centred = z - one @ z
    spread, middle = one @ centred**2, one @ left
    slope = (one * centred) @ left / spread
    of_slope = np.bincount(user, one * centred * (left - middle - slope * centred)) / spread
    value, error = slope * gap, np.sqrt(((slope * of_gap + gap * of_slope) ** 2).sum())
    p = max(two_sided(gap, np.sqrt((of_gap**2).sum())), two_sided(slope, np.sqrt((of_slope**2).sum())))
    return _normal(effect, value, error, p, what)


def _alike_users(effect: Effect, dataset: Dataset, rng: np.random.Generator) -> Verdict:
    """Test that users who met more of the arm accept the baseline's exposures like others, at the same history.

    If not, which arm exposes leans on what is hidden, or the arm leaves something behind. Only what lies before an
    exposure is read: which arm comes later may follow from the decision.
    """
    if effect.design.estimand != "exposure":
        raise InputError("the items are part of the arm")
    scores = effect.scores[0]
    shown = (scores["arm"] == 1).astype(float)
    before = scores.groupby("user").cumcount().to_numpy()
    met = (shown.groupby(scores["user"]).cumsum() - shown).to_numpy() / np.maximum(before, 1)
    used = (scores["arm"].to_numpy() >= 0) & (before >= MET)
    scores, met, shown = scores[used], met[used], shown[used].to_numpy()
    chosen = (scores["arm"] == 0).to_numpy()
    if min(shown.sum(), chosen.sum()) < FEWEST_ROWS or not np.ptp(met[chosen]) > 0:
        raise InputError(f"too few exposures by {effect.design.baseline} follow some by {effect.design.arm}")
    what = f"what users who met more of {effect.design.arm} accept more without it would move the effect by at least"
    return _left_out(effect, scores, met, shown, chosen, what)


#: The checks: the severity of a failure, and the check.
CHECKS: dict[str, tuple[str, Check]] = {
    "both decisions": ("decisive", _both_decisions),
    "placebo arm": ("serious", _placebo),
    "negative control outcome": ("serious", _negative_control),
    "no drift": ("serious", _drift),
    "dummy outcome": ("serious", _dummy),
    "random common cause": ("minor", _random_cause),
    "half of the users": ("minor", _subset),
    "the estimators agree": ("serious", _agreement),
    "no preference is left out": ("serious", _likeness),
    "users of either arm are alike": ("serious", _alike_users),
}
