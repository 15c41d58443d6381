"""Attempts to refute an effect: data on which it must be nothing, and what it would take to explain it away.

An estimator is any function from a `Dataset` to (mean, low, high), a 95% interval. Each check gives it data
of which the answer is known whatever the true effect is, and asks whether its interval allows for it. A check
that finds no problem proves nothing.
"""

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.effect.contexts import lay_out
from csrec_core.effect.sensitivity import Estimate, e_value, sensitivity
from csrec_core.errors import InputError, unknown
from csrec_core.metrics import holm, interval_text

__all__ = ["CHECKS", "PROBLEM", "doubly_robust_effect", "refute"]

Estimator = Callable[[Dataset], Estimate]

FINE, PROBLEM, NOT_DONE = "no problem found", "problem found", "not possible on this log"
FOR_JUDGING = "for you to judge"  # how strong a hidden cause may be is no matter of this log
SUBSETS, SHARE = 5, 0.8  # random subsets, and the share of the users in each
CAUSES = 3  # random common causes tried
LARGE = 0.5  # standard errors that a random common cause may shift the estimate by
RANDOM_CAUSE = "feature_random"  # estimators read columns of the log that are named feature_...
CUT = 0.005  # what the shuffle may leave, as it cuts up the histories that the sources are compared by
ROUGH = 20  # users, below which a check says nothing


def doubly_robust_effect(dataset: Dataset, *, folds: int = 2, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the mean effect at the system's exposures, quickly: regressions on item and history, weighed.

    The doubly robust estimate of the effect on the exposed (Robins et al. 1994), of the contexts that
    `csrec_core.effect.contexts.lay_out` gives, with users as clusters in its variance.

    Returns
    -------
    mean, low, high : float
        Differences in probability, in [-1, 1].
    """
    cells = lay_out(dataset, folds=folds, seed=seed).frame
    residual = cells["decision"] - cells["q_self"]
    term = residual * np.where(cells["system"], 1.0, -cells["odds"])
    sums = pd.DataFrame({"term": term, "count": cells["system"].astype(float)}).groupby(cells["user"]).sum()
    count = sums["count"].sum()
    mean = sums["term"].sum() / count
    error = np.sqrt(((sums["term"] - mean * sums["count"]) ** 2).sum()) / count
    half = norm.ppf((1 + level) / 2) * error
    return float(mean), float(mean - half), float(mean + half)


@dataclass(frozen=True)
class _Found:
    """What a check found: in words, and a p-value or, where there is none, the verdict."""

    text: str
    p: float = float("nan")
    verdict: str = NOT_DONE


def refute(
    dataset: Dataset,
    *,
    estimate: Estimator = doubly_robust_effect,
    checks: tuple[str, ...] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Try to refute an estimator on a log.

    Parameters
    ----------
    dataset : Dataset
    estimate : callable
        From a dataset to (mean, low, high) with a 95% interval.
    checks : tuple of str, optional
        Some keys of `CHECKS`; by default all.
    alpha : float
        Chance that any of the checks with a p-value fires though nothing is wrong (Holm), in (0, 1).
    seed : int
        Of all that is drawn.

    Returns
    -------
    DataFrame
        A row a check: `check`, `expected` under validity, `found`, `p` (NaN where the check has none), and
        `verdict`: "no problem found", "problem found", "not possible on this log" or "for you to judge".

    Raises
    ------
    InputError
        On an unknown check, or an `alpha` that is no level.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha = {alpha}; expected a level between 0 and 1")
    for name in checks or ():
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
    names = list(checks or CHECKS)
    found = []
    for name in names:
        rng = np.random.default_rng([seed, list(CHECKS).index(name)])
        try:
            found.append(CHECKS[name][1](dataset, estimate, rng))
        except InputError as error:
            found.append(_Found(str(error)))
    p = np.array([one.p for one in found])
    tested = ~np.isnan(p)
    adjusted = holm(p[tested])
    verdicts = np.array([one.verdict for one in found], dtype=object)
    verdicts[tested] = np.where(adjusted > alpha, FINE, PROBLEM)
    return pd.DataFrame(
        {
            "check": names,
            "expected": [CHECKS[name][0] for name in names],
            "found": [one.text for one in found],
            "p": p,
            "verdict": verdicts,
        }
    )


def _zero(found: Estimate, *, margin: float = 0.0) -> _Found:
    """Test an estimate against 0, or against being at most so far from 0."""
    error = _error(found)
    if not margin or not error > 0:
        return _Found(interval_text(*found), p=_p_value(found[0], error))
    p = norm.sf([(abs(found[0]) - margin) / error, (abs(found[0]) + margin) / error]).sum()
    return _Found(interval_text(*found), p=float(p))


def _p_value(shift: float, error: float) -> float:
    return float(2 * norm.sf(abs(shift) / error)) if error > 0 else float(shift == 0)


def _error(found: Estimate) -> float:
    """Return the standard error that a 95% interval tells of."""
    return (found[2] - found[1]) / (2 * norm.ppf(0.975))


def _relabel(dataset: Dataset, rows: pd.DataFrame, system: np.ndarray) -> Dataset:
    """Return the rows with another source; propensities, which were those of the old one, are dropped."""
    rows = rows.drop(columns="propensity", errors="ignore")
    rows = rows.assign(source=pd.Categorical(np.where(system, SYSTEM, SELF), categories=[SELF, SYSTEM]))
    rows["t"] = (rows.groupby(["user", "source"], observed=True).cumcount() + 1).astype(np.int32)
    rows = rows.sort_values(["source", "user", "t"], kind="stable", ignore_index=True)
    return replace(dataset, log=rows, truth=None)


def _in_order(dataset: Dataset, *, own: bool = False) -> pd.DataFrame:
    """Return the log by user, self-chosen rows first; with `own`, these alone, of users who have a few."""
    rows = dataset.log[dataset.log["source"] == SELF] if own else dataset.log
    rows = rows.sort_values(["user", "source", "t"], kind="stable", ignore_index=True)
    if own:
        rows = rows[rows.groupby("user")["user"].transform("size") >= 4].reset_index(drop=True)
        if rows["user"].nunique() < ROUGH or rows["decision"].nunique() < 2:
            raise InputError(
                f"too few users with 4 self-chosen exposures, of both decisions: at least {ROUGH}"
            )
    return rows


def _both_decisions(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    rate = dataset.log.groupby("source", observed=False)["decision"].mean().reindex([SELF, SYSTEM])
    text = ", ".join(f"{source}: {value:.1%} accepted" for source, value in rate.items())
    return _Found(text, verdict=FINE if ((rate > 0) & (rate < 1)).all() else PROBLEM)


def _placebo(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    rows = _in_order(dataset)
    shuffled = rows.assign(draw=rng.random(len(rows))).sort_values(["user", "draw"], kind="stable")
    system = (shuffled["source"] == SYSTEM).to_numpy()  # both are sorted by user, so it stays within users
    return _zero(estimate(_relabel(dataset, rows, system)), margin=CUT)


def _negative_control(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    rows = _in_order(dataset, own=True)
    last = ~rows.duplicated("user", keep="last").to_numpy()
    return _zero(estimate(_relabel(dataset, rows, last)))


def _lag(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    rows = _in_order(dataset, own=True)
    place = rows.groupby("user").cumcount()
    late = place >= rows.groupby("user")["user"].transform("size") / 2
    return _zero(estimate(_relabel(dataset, rows, late.to_numpy())))


def _dummy_outcome(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    item = dataset.log.groupby("item")["decision"]
    rate = dataset.log["decision"].mean()
    appeal = (item.transform("sum") + 5 * rate) / (item.transform("size") + 5)
    decision = (rng.random(len(appeal)) < appeal).astype(np.int8)
    return _zero(estimate(replace(dataset, log=dataset.log.assign(decision=decision), truth=None)))


def _random_cause(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    plain = estimate(dataset)
    error, shifts = _error(plain), []
    for _ in range(CAUSES):
        log = dataset.log.assign(**{RANDOM_CAUSE: rng.normal(size=len(dataset.log))})
        shifts.append(estimate(replace(dataset, log=log))[0] - plain[0])
    most = max(shifts, key=abs)
    text = f"{plain[0]:.3f}, shifted by {most:+.4f} at most ({abs(most) / error:.2f} standard errors)"
    return _Found(text.replace("-", "−"), verdict=FINE if abs(most) <= LARGE * error else PROBLEM)


def _subset(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    plain, users = estimate(dataset), dataset.log["user"].unique()
    if len(users) < ROUGH:
        raise InputError(f"{len(users)} users; expected at least {ROUGH}")
    shifts = []
    for _ in range(SUBSETS):
        some = rng.choice(users, int(SHARE * len(users)), replace=False)
        log = dataset.log[dataset.log["user"].isin(some)].reset_index(drop=True)
        shifts.append(estimate(replace(dataset, log=log))[0] - plain[0])
    most = max(shifts, key=abs)
    # A mean over a share of the users differs from that over all by this much, if the interval is right.
    p = _p_value(most, _error(plain) * np.sqrt(1 / SHARE - 1))
    return _Found(
        f"{plain[0]:.3f}, shifted by {most:+.4f} at most".replace("-", "−"), p=min(1.0, SUBSETS * p)
    )


def _dowhy_dummy(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    """Test dowhy's own regression with dowhy's dummy outcome, on rows independent of each other."""
    cells = lay_out(dataset, seed=int(rng.integers(2**31))).frame
    rows = cells.iloc[rng.permutation(len(cells))].drop_duplicates("user").reset_index(drop=True)
    data = rows[["decision", "q_self"]].assign(system=rows["system"].astype(int))
    if data["system"].nunique() < 2 or data["q_self"].std() < 1e-9:
        raise InputError("it takes exposures of both sources, and covariates that vary")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        warnings.filterwarnings("ignore", message="The copy keyword is deprecated")
        from dowhy import CausalModel

        # dowhy draws from the global generators, which are not ours to change.
        kept = np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002
            model = CausalModel(data, "system", "decision", common_causes=["q_self"], effect_modifiers=[])
            identified = model.identify_effect(proceed_when_unidentifiable=True)
            effect = model.estimate_effect(identified, method_name="backdoor.linear_regression")
            refuter = {"num_simulations": 50, "random_state": int(rng.integers(2**31))}
            found = model.refute_estimate(
                identified, effect, method_name="dummy_outcome_refuter", show_progress_bar=False, **refuter
            )[0]
        finally:
            np.random.set_state(kept[0])  # noqa: NPY002
            random.setstate(kept[1])
    return _Found(f"{found.new_effect:.4f}".replace("-", "−"), p=float(found.refutation_result["p_value"]))


def _e_values(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    mean, low, high = estimate(dataset)
    rate = dataset.log.loc[dataset.log["source"] == SYSTEM, "decision"].mean()
    if not 0 < rate - high <= rate - low <= 1:
        raise InputError("acceptance without the recommendation would be 0: no risk ratio")
    point, bound = e_value(rate / (rate - mean), rate / (rate - low), rate / (rate - high))
    return _Found(f"{point:.2f}, and {bound:.2f} for the interval", verdict=FOR_JUDGING)


def _partial_r2(dataset: Dataset, estimate: Estimator, rng: np.random.Generator) -> _Found:
    cells = lay_out(dataset, seed=int(rng.integers(2**31))).frame
    found = sensitivity(cells["decision"], cells["system"], cells["q_self"])
    text = (
        f"robustness value {found.robustness:.3f}; with a hidden cause as strong as all that is measured, "
        f"the regression's {found.effect:.3f} would be {found.adjusted:.3f}"
    )
    return _Found(text.replace("-", "−"), verdict=FOR_JUDGING)


#: The checks: what is expected under validity, and the check.
CHECKS: dict[str, tuple[str, Callable[[Dataset, Estimator, np.random.Generator], _Found]]] = {
    "both decisions in both sources": ("some accepted and some rejected, of either source", _both_decisions),
    "placebo regime": (f"0, within {CUT}: the sources of each user's exposures are shuffled", _placebo),
    "negative-control outcome": ("0: the last decision before the first recommendation", _negative_control),
    "lag placebo": ("0: the later half of the own choices is taken for the system's", _lag),
    "dummy outcome": ("0: decisions are drawn by the item's acceptance alone", _dummy_outcome),
    "dummy outcome, dowhy": ("0: dowhy's linear regression on a random outcome", _dowhy_dummy),
    "random common cause": (f"a shift of at most {LARGE} standard errors", _random_cause),
    "data subset": (
        f"shifts that the interval allows for, {SUBSETS} times {SHARE:.0%} of the users",
        _subset,
    ),
    "E-value": ("more than a hidden cause may do to either; 1 where nothing is left to explain", _e_values),
    "partial R2": ("more than a hidden cause may explain of either", _partial_r2),
}
