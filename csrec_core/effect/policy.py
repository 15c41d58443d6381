"""When to recommend: policies that decide on the source of an exposure, and what they are worth.

The action, at one exposure, is its source: 1, the system exposes the item, or 0, the user is left to come
upon it by themselves; the history before is as it fell, so a value says nothing of what a policy would do
to later histories. A policy gives the action's probability in each context (item and history). Its value is
the mean acceptance over the contexts of the system's exposures,

    V(pi) = E[ pi(X) Y(1) + (1 - pi(X)) Y(0) ],

where Y(a) is the decision under source a. Logged is one action at each row; its propensity enters as `odds`,
for how many contexts of the system a row of the user's own choice stands (`csrec_core.effect.contexts`).

What is identified: V(always) is the mean of what was logged at the system's exposures. Any other value needs
Y(0) there, which no row shows: it takes rows of the user's own choice in all these contexts, and that
nothing but the context moves both source and decision. Where the self-chosen exposures have logged
propensities, the items' part of this holds by design; else tastes that the history does not tell bias it.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from csrec_core.errors import InputError, unknown
from csrec_core.metrics import interval_text, resample

__all__ = [
    "policies",
    "policy_finding",
    "policy_values",
    "recommend",
    "regret",
    "threshold_values",
]

BOUNDS = ("effect", "lower", "upper")
ESTIMATORS = ("IPS", "SNIPS", "doubly robust")
ALWAYS, NEVER, RULE = "always", "never", "TER > c"


def recommend(cells: pd.DataFrame, *, threshold: float = 0.0, by: str = "effect") -> pd.Series:
    """Return the policy "recommend when TER > c".

    Parameters
    ----------
    cells : DataFrame
        `effect`, and with `by` another of the bounds, `lower` or `upper`; in [-1, 1].
    threshold : float
        c: what an exposure by the system costs, in probability of acceptance, in [-1, 1].
    by : {"effect", "lower", "upper"}
        The estimate; or, to take its uncertainty in, the lower end of its interval (recommend only what is
        sure to help) or the upper one (recommend what may help).

    Returns
    -------
    Series
        1.0 where to recommend, 0.0 elsewhere; where there is no estimate, 0.0.

    Raises
    ------
    InputError
        When `threshold` or `by` is out of range.
    """
    if by not in BOUNDS:
        raise unknown("bound", by, BOUNDS)
    return (cells[by] > _cost(threshold)).astype(float)


def policies(cells: pd.DataFrame, *, threshold: float = 0.0) -> dict[str, np.ndarray]:
    """Return the policies to compare, name to the probability of recommending at each cell, (rows,).

    "always", "never", "random, as often" (as the rule among the system's exposures, at any cell alike),
    "TER > c", "TER > c, surely" and "TER > c, possibly" (see `recommend`). `cells` holds `system`, too.
    """
    rule = recommend(cells, threshold=threshold).to_numpy()
    target = cells["system"].to_numpy(dtype=bool)
    share = rule[target].mean() if target.any() else 0.0
    return {
        ALWAYS: np.ones(len(cells)),
        NEVER: np.zeros(len(cells)),
        "random, as often": np.full(len(cells), share),
        RULE: rule,
        "TER > c, surely": recommend(cells, threshold=threshold, by="lower").to_numpy(),
        "TER > c, possibly": recommend(cells, threshold=threshold, by="upper").to_numpy(),
    }


def policy_values(
    cells: pd.DataFrame,
    chosen: Mapping[str, np.ndarray],
    *,
    cost: float = 0.0,
    against: str | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what each policy is worth at the system's exposures, by three estimators.

    With W = 1 for rows of the system, W = `odds` for others, A the logged source, q the modelled acceptance:

    - IPS: sum W pi(A) D / n (Horvitz and Thompson 1952);
    - SNIPS (Swaminathan and Joachims 2015), normalised by source: for each, sum W pi(A) D / sum W pi(A) times
      the policy's share of that source;
    - doubly robust: sum over the system's rows of pi q_system + (1 - pi) q_self, plus
      sum W pi(A) (D - q_A), over n (Dudik, Langford and Li 2011): right when either W or q_self is.

    Here n is the number of system exposures, and pi(A) the policy's probability of the logged source.

    Parameters
    ----------
    cells : DataFrame
        Rows of both sources: `user`, `decision`, `system`, `odds`, `q_system`, `q_self`, and the true
        `p_system`, `p_self` if known (see `csrec_core.effect.contexts.Contexts`).
    chosen : mapping
        Name to the probability of recommending at each row, in [0, 1]; see `policies`.
    cost : float
        What an exposure by the system costs, in probability of acceptance, in [-1, 1].
    against : str, optional
        A name in `chosen`: return the differences from this policy's value, bootstrapped in pairs.
    draws, level, seed
        Of the bootstrap over users. Its interval holds the sampling of users, not the error of `odds`, nor
        that of `q` where all rest on it.

    Returns
    -------
    DataFrame
        `policy`, `estimator`, `share` of the contexts where it recommends, `mean` (acceptance less cost, or
        the difference), `low`, `high`, and `truth` where known.

    Raises
    ------
    InputError
        When no row is the system's, `against` is no policy, or a probability is out of range.
    """
    if against is not None and against not in chosen:
        raise unknown("policy", against, chosen)
    system = cells["system"].to_numpy(dtype=bool)
    if not system.any():
        raise InputError("policies are valued at the system's exposures, and the cells hold none")
    _cost(cost)
    sums = []
    for name, probability in chosen.items():
        probability = np.asarray(probability, dtype=float)
        if probability.shape != (len(cells),) or not ((probability >= 0) & (probability <= 1)).all():
            raise InputError(
                f"policy {name!r}: expected a probability in [0, 1] for each of {len(cells)} cells"
            )
        sums.append(_terms(cells, system, probability, cost))
    values = np.column_stack([system.astype(float), *sums])
    by_user = pd.DataFrame(values).groupby(cells["user"].to_numpy()).sum().to_numpy()
    base = None if against is None else list(chosen).index(against)

    def statistic(total: np.ndarray) -> np.ndarray:
        count = np.where(total[..., :1] > 0, total[..., :1], np.nan)
        part = total[..., 1:].reshape(*total.shape[:-1], len(chosen), 5)
        with np.errstate(invalid="ignore", divide="ignore"):
            shown, followed, own, followed_own, robust = (part[..., column] for column in range(5))
            share = followed / count
            # No row followed with a source that is never chosen: its mean does not count.
            snips = np.where(share > 0, shown / count, 0.0)
            snips = snips + np.where(
                share < 1, (1 - share) * own / np.where(followed_own > 0, followed_own, np.nan), 0.0
            )
            value = np.stack([(shown + own) / count, snips, robust / count], axis=-1)
        if base is not None:
            value = value - value[..., base : base + 1, :]
        return value.reshape(*total.shape[:-1], -1)

    mean = statistic(by_user.sum(axis=0))
    low, high = resample(by_user, statistic, draws=draws, level=level, seed=seed)
    table = pd.DataFrame(
        {
            "policy": np.repeat(list(chosen), len(ESTIMATORS)),
            "estimator": np.tile(ESTIMATORS, len(chosen)),
            "share": np.repeat([np.asarray(p)[system].mean() for p in chosen.values()], len(ESTIMATORS)),
            "mean": mean,
            "low": low,
            "high": high,
        }
    )
    if "p_system" not in cells.columns:
        return table
    truth = np.array([_true_value(cells[system], np.asarray(p)[system], cost) for p in chosen.values()])
    return table.assign(truth=np.repeat(truth - (0 if base is None else truth[base]), len(ESTIMATORS)))


def regret(cells: pd.DataFrame, chosen: Mapping[str, np.ndarray], *, cost: float = 0.0) -> pd.DataFrame:
    """Return what each policy loses against the oracle, which recommends where the true effect exceeds cost.

    Takes a simulated world, whose true `p_system` and `p_self` are columns of `cells`.

    Returns
    -------
    DataFrame
        `policy`, the oracle last, `share` recommended, `value` (true, less cost), `regret` (the oracle's
        value less it, at least 0), and `captured`, the share of the way from the better of always and never
        to the oracle (NaN where there is none; below 0 for what does worse than both).

    Raises
    ------
    InputError
        Where the true probabilities are not known.
    """
    if not {"p_system", "p_self"} <= set(cells.columns):
        raise InputError("regret takes a simulated world: the true p_system and p_self are not known here")
    system = cells["system"].to_numpy(dtype=bool)
    rows = cells[system]
    oracle = (cells["p_system"] - cells["p_self"] > cost).to_numpy(dtype=float)
    chosen = {**chosen, "oracle": oracle}
    gain = (rows["p_system"] - rows["p_self"] - _cost(cost)).to_numpy()
    never = rows["p_self"].mean()
    best, simple = never + np.maximum(gain, 0).mean(), never + max(gain.mean(), 0.0)
    table = pd.DataFrame(
        {
            "policy": list(chosen),
            "share": [np.asarray(p)[system].mean() for p in chosen.values()],
            "value": [_true_value(rows, np.asarray(p)[system], cost) for p in chosen.values()],
        }
    )
    table["regret"] = np.maximum(best - table["value"], 0.0)
    room = best - simple
    return table.assign(captured=(table["value"] - simple) / room if room > 1e-12 else np.nan)


def threshold_values(
    cells: pd.DataFrame, thresholds: np.ndarray | None = None, *, cost: float = 0.0, **options
) -> pd.DataFrame:
    """Return what "recommend when TER > c" gains over never, by c; doubly robust.

    `thresholds` are, by default, nine over the range of the estimated effects; `options` go to
    `policy_values`. Each interval is for its threshold alone: the best of them is no estimate of what the
    best rule is worth.

    Returns
    -------
    DataFrame
        `threshold`, `share`, `mean`, `low`, `high`, and `truth` where known.
    """
    if thresholds is None:
        thresholds = np.linspace(*cells["effect"].quantile([0.02, 0.98]), 9).round(3)
    thresholds = np.unique(np.asarray(thresholds, dtype=float))
    chosen = {NEVER: np.zeros(len(cells))}
    chosen |= {str(c): recommend(cells, threshold=c).to_numpy() for c in thresholds}
    table = policy_values(cells, chosen, cost=cost, against=NEVER, **options)
    table = table[(table["estimator"] == ESTIMATORS[-1]) & (table["policy"] != NEVER)]
    table = table.drop(columns=["policy", "estimator"]).reset_index(drop=True)
    table.insert(0, "threshold", thresholds)
    return table


def policy_finding(
    cells: pd.DataFrame, *, cost: float = 0.0, identified: bool = True, **options
) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """Say what "recommend when TER > c", c the cost, is worth beside always and never; doubly robust.

    `options` go to `policy_values`. Returns the sentence, and its numbers as (value, low, high).
    """
    chosen, numbers = policies(cells, threshold=cost), {}
    for base in (NEVER, ALWAYS):
        table = policy_values(cells, chosen, cost=cost, against=base, **options)
        row = table[(table["policy"] == RULE) & (table["estimator"] == ESTIMATORS[-1])].iloc[0]
        numbers[base] = tuple(float(row[name]) for name in ("mean", "low", "high"))
    never, always = (interval_text(*numbers[base]) for base in (NEVER, ALWAYS))
    share = f"{row['share']:.0%} of the system's exposures"
    if not identified:
        text = (
            f"This log does not identify what a policy is worth: the rule would keep {share}, by models that "
            "compare what cannot be compared."
        )
        return text, {"recommended_share": (float(row["share"]),) * 3}
    text = (
        f"Recommending only where the effect exceeds {cost:g} keeps {share}; it is worth {never} accepted "
        f"exposures more than never recommending, and {always} more than always, per exposure, less cost."
    )
    return text, {f"gain_over_{base}": value for base, value in numbers.items()}


def _terms(cells: pd.DataFrame, system: np.ndarray, probability: np.ndarray, cost: float) -> np.ndarray:
    """Return what the estimators sum: for either source, weighted gain and weight; then robust gain."""
    follow = np.where(system, probability, 1 - probability)
    weight = np.where(system, 1.0, cells["odds"]) * follow
    gain = cells["decision"].to_numpy(dtype=float) - cost * system
    model = np.where(system, cells["q_system"] - cost, cells["q_self"])
    direct = probability * (cells["q_system"] - cost) + (1 - probability) * cells["q_self"]
    robust = np.where(system, direct, 0.0) + weight * (gain - model)
    sides = [part * side for side in (system, ~system) for part in (weight * gain, weight)]
    return np.column_stack([*sides, robust])


def _true_value(rows: pd.DataFrame, probability: np.ndarray, cost: float) -> float:
    return float((probability * (rows["p_system"] - cost) + (1 - probability) * rows["p_self"]).mean())


def _cost(value: float) -> float:
    if not -1 <= value <= 1:
        raise InputError(f"{value} is no difference of probabilities; expected a number in [-1, 1]")
    return value
