"""What a policy would have been worth, from rows that another one logged: four estimators.

A row is worth D and was logged by a choice of known chance; a policy makes that choice w times as often. With q
the modelled decision, and direct the mean of q over what the policy chooses:

- IPS: mean of w D (Horvitz and Thompson 1952);
- SNIPS: sum w D / sum w (Swaminathan and Joachims 2015);
- doubly robust: mean of direct + w (D - q), right where either w or q is (Dudik, Langford and Li 2011);
- switch-DR: the same without the residuals of rows whose w is above `SWITCH`: q is trusted there (Wang, Agarwal
  and Dudik 2017).

The choice is the arm (`csrec_core.effect.policy`) or, for an arm that logged its items' chances, the item.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from csrec_core.data.log import Dataset
from csrec_core.effect.folds import fold_of
from csrec_core.effect.identification import FEW_EFFECTIVE
from csrec_core.errors import InputError, unknown
from csrec_core.metrics import effective_size, resample
from csrec_core.verdict import FAILS, Verdict, within

POLICY_ESTIMATORS = ("IPS", "SNIPS", "doubly robust", "switch-DR")
SWITCH = 10.0  # weight, in units of its side's mean
SHRUNK = 50.0  # exposures that an item's mean decision is drawn in by
POLICY_SUPPORT = 0.95  # share of a policy's choices that the log must be able to show


def estimate_values(
    rows: pd.DataFrame, policies: Mapping[str, tuple], *, against: str | None = None, **options
) -> pd.DataFrame:
    """Return what policies are worth, by each of `POLICY_ESTIMATORS`.

    Rows have `user`, `gain` (the decision, less cost), `model` (what was expected of it), `mass` and `side` (the terms
    of each side are divided by the sum of its mass), `target` (weight of the row's direct). Policies are, by name, w
    times mass, and direct, (rows,) each. With `against`, one of the names, the differences from its value are returned,
    from the same draws of users (`options` of `csrec_core.metrics.resample`). The interval holds the error of neither
    the weights nor the model.

    Returns `policy`, `estimator`, `value`, `lower`, `upper`.
    """
    if against is not None and against not in policies:
        raise unknown("policy", against, policies)
    gain, model, mass, target = (rows[name].to_numpy(float) for name in ("gain", "model", "mass", "target"))
    sides = [rows["side"].to_numpy() == side for side in np.unique(rows["side"])]
    scale = sum(side * (side & (mass > 0)).sum() / max(mass[side].sum(), 1e-300) for side in sides)
    columns = [target, *(mass * side for side in sides)]
    for weight, direct in policies.values():
        residual = weight * (gain - model)
        parts = (weight * gain, weight, residual, residual * (weight * scale <= SWITCH))
        columns += [target * direct, *(part * side for part in parts for side in sides)]
    user, count = pd.factorize(rows["user"])[0], len(sides)
    by_user = np.stack([np.bincount(user, column) for column in columns], axis=1)

    def statistic(total: np.ndarray) -> np.ndarray:
        whole = np.where(total[..., : 1 + count] > 0, total[..., : 1 + count], np.nan)
        part = total[..., 1 + count :].reshape(*total.shape[:-1], len(policies), -1)
        terms = part[..., 1:].reshape(*part.shape[:-1], 4, count) / whole[..., None, None, 1:]
        direct = part[..., 0] / whole[..., :1]
        ips, mean, robust, switched = np.moveaxis(terms.sum(axis=-1), -1, 0)
        snips = ips / np.where(mean > 0, mean, np.nan)
        value = np.stack([ips, snips, direct + robust, direct + switched], axis=-1)
        if against is not None:
            value = value - value[..., [list(policies).index(against)], :]
        return value.reshape(*total.shape[:-1], -1)

    lower, upper = resample(by_user, statistic, **options)
    names = {"policy": np.repeat(list(policies), 4), "estimator": np.tile(POLICY_ESTIMATORS, len(policies))}
    return pd.DataFrame({**names, "value": statistic(by_user.sum(axis=0)), "lower": lower, "upper": upper})


def item_policy_values(
    dataset: Dataset, name: str, policy: pd.DataFrame, *, arm: str, seed: int = 0, **options
) -> tuple[pd.DataFrame, Verdict]:
    """Return what a policy that picks items is worth, had `arm` exposed them, from its rows.

    The model of a decision is the item's mean among the users of the other of two folds, drawn in.

    The dataset has a `propensity` at each row of `arm`; the policy has `item`, `probability`, and the columns of the
    log that it depends on, such as `user`: of `arm_policy`, or `csrec_core.data.policies.read_policy`. Rows of users,
    or other contexts, that it lacks are left out. `options` go to `csrec_core.metrics.resample`.

    Returns what `estimate_values` does, and whether the rows can tell what the policy is worth.
    """
    log = dataset.log[(dataset.log["source"].astype(str) == arm).to_numpy()].reset_index(drop=True)
    if log.empty or "propensity" not in log.columns or log["propensity"].isna().any():
        raise InputError(
            f"{dataset.name}: expected a propensity at each exposure of {arm}, to value other policies"
        )
    context, share = [column for column in policy.columns if column not in ("item", "probability")], 1.0
    if context:
        met = log[context].merge(policy[context].drop_duplicates(), how="left", indicator=True)
        known = (met["_merge"] == "both").to_numpy()
        share, log = known.mean(), log[known].reset_index(drop=True)
    if log.empty:
        raise InputError(f"policy {name!r}: it knows no {' and '.join(context)} of the exposures of {arm}")
    fold, decision = fold_of(log["user"].to_numpy(), 2, seed), log["decision"].to_numpy(dtype=float)
    rows = pd.DataFrame({"user": log["user"], "gain": decision})
    rows = rows.assign(side=0, mass=1.0, target=1.0, model=0.0)
    direct, shown = np.zeros(len(log)), policy["item"].isin(log["item"].unique())
    for side in (0, 1):
        own, other = fold == side, fold != side
        sums, rate = log[other].groupby("item")["decision"].agg(["sum", "size"]), decision[other].mean()
        mean = (sums["sum"] + SHRUNK * rate) / (sums["size"] + SHRUNK)
        expected = policy.assign(direct=policy["item"].map(mean).fillna(rate) * policy["probability"])
        rows.loc[own, "model"] = log["item"].map(mean).fillna(rate)[own]
        direct[own] = _by_context(expected, "direct", log[own], context)
    chance = log[[*context, "item"]].merge(policy, how="left")["probability"].fillna(0).to_numpy()
    weight = chance / log["propensity"].to_numpy()
    values = estimate_values(rows, {name: (weight, direct)}, seed=seed, **options)
    exposed = _by_context(policy.assign(shown=shown * policy["probability"]), "shown", log, context).mean()
    return values, _check_support(name, arm, log["user"], weight, exposed, share)


def _by_context(policy: pd.DataFrame, column: str, log: pd.DataFrame, context: list[str]) -> np.ndarray:
    """Return the sum of a column over the policy's items at each row of the log."""
    if not context:
        return np.full(len(log), policy[column].sum())
    sums = policy.groupby(context, as_index=False)[column].sum()
    return log[context].merge(sums, how="left")[column].to_numpy()


def _check_support(name, arm, user, weight: np.ndarray, exposed: float, known: float) -> Verdict:
    """Return whether rows of an arm can tell what a policy is worth."""
    # The weights of a policy whose choices the arm makes, too, average to 1. `exposed` is the share of its choices
    # that are items which the arm exposes at all, `known` that of the rows whose context it knows.
    code = pd.factorize(user)[0]
    count, mean = np.bincount(code), float(weight.mean())
    worth = effective_size(np.bincount(code, weight))
    half = float(1.96 * np.sqrt(((np.bincount(code, weight) - mean * count) ** 2).sum()) / count.sum())
    word = within(mean - half, mean + half, least=0.9, most=1.1)
    detail = (
        f"{exposed:.0%} of its choices are items that {arm} exposes; the weights average {mean:.2f} ± {half:.2f}, "
        f"expected 1, and count as {worth:,.0f} of {len(count):,} users; {known:.0%} of the exposures are its to tell"
    )
    word = FAILS if exposed < POLICY_SUPPORT or worth < FEW_EFFECTIVE else word
    title = f"{name} supported by {arm}"
    return Verdict(title, word, detail, mean, mean - half, mean + half, 1.0, "decisive")


def arm_policy(dataset: Dataset, arm: str, *, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return how an arm picks items: `item`, `probability`, and the columns of `by` that it depends on.

    The logged chances where an item has one in each context, and these add up; else how often it was exposed.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> policy = arm_policy(simulate_books(users=20, items=25, seed=1), "system")
    >>> len(policy), float(policy["probability"].max())
    (25, 0.04)
    """
    log = dataset.log[(dataset.log["source"].astype(str) == arm).to_numpy()]
    table = log.groupby([*by, "item"]).size().rename("probability").reset_index()
    context = [table[name] for name in by] or [np.zeros(len(table))]
    table["probability"] /= table["probability"].groupby(context).transform("sum")
    if "propensity" in log.columns:
        chance = log.groupby([*by, "item"])["propensity"].agg(["min", "max"]).reset_index(drop=True)
        total = chance["max"].groupby(context).sum()
        if np.allclose(chance["min"], chance["max"], rtol=1e-6) and np.allclose(total, 1, atol=1e-6):
            table["probability"] = chance["max"]
    return table
