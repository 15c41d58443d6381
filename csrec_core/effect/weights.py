"""Weights that make the rows of either arm look like the target, and how far they can be trusted.

Where the chances of the items are logged they enter as they are: an exposure of the baseline stands for
p1(S) / p0(S) of the arm's, whatever preference moved it. What else tells the arms apart, such as the history,
is balanced on top by the odds of a model of the arm. Neither ever takes the other's place.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.effect.design import Design
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.errors import InputError

TRIM = 0.02  # odds of the arm above 49 to 1 count as beyond comparison
ALIKE = 1e-6  # relative spread of an item's logged chances, up to which they are one


@dataclass(frozen=True, eq=False)
class ItemChances:
    """What is known of the chances with which items were exposed, given the arm.

    `kind` is how the arm's chances are known at the baseline's items: "none" (nothing logged for the baseline),
    "uniform", "by item", "frequency" (not logged for the arm: its item frequencies), "varying" (logged, and other at
    every exposure, so that they are modelled at the baseline's).
    """

    kind: str
    own: np.ndarray  # (rows,): the chance of the row's item by its own arm; NaN where not known
    other: np.ndarray  # at the baseline's rows, that by the arm; NaN where not known, 0 where it never goes
    unlogged: tuple[int, ...]  # exposures of the log without a logged chance: the baseline's, the arm's


def item_chances(rows: pd.DataFrame, counts: ItemCounts, design: Design, *, catalogue: int) -> ItemChances:
    """Read the chances of the items from the log, of `catalogue` items that could be exposed.

    The rows may be of a part: what kind of chances they are is told by the counts, which are of the whole log.
    """
    arm, unknown = rows["arm"].to_numpy(), np.full(len(rows), np.nan)
    missing = tuple(int(count) for count in counts.unlogged)
    own = rows["propensity"].to_numpy(dtype=float).copy()
    if design.estimand == "arm" or design.propensity == "unused":
        return ItemChances("none", unknown, unknown, missing)
    item = np.minimum(np.searchsorted(counts.item, rows["item"]), len(counts.item) - 1)
    shown = counts.rows.sum(axis=0)[:, 1]
    frequency = shown / shown.sum()
    if missing[1]:
        own = np.where((arm == 1) & np.isnan(own), frequency[item], own)
    if missing[0]:
        return ItemChances("none", own, unknown, missing)
    if missing[1]:
        return ItemChances("frequency", own, np.where(arm == 0, frequency[item], np.nan), missing)
    met = shown > 0
    low, high, total = counts.chance[met].T
    if high.max() - low.min() <= ALIKE * high.max():
        # A constant chance is that of every item it could fall on; of seen ones only, if they are that few.
        everywhere = 1 / low.min() > 0.9 * catalogue
        other = np.where(everywhere | met[item], low.min(), 0.0)
        return ItemChances("uniform", own, np.where(arm == 0, other, np.nan), missing)
    if ((high - low) <= ALIKE * high).all():
        mean = np.zeros(len(met))
        mean[met] = total / shown[met]
        return ItemChances("by item", own, np.where(arm == 0, mean[item], np.nan), missing)
    return ItemChances("varying", own, unknown, missing)


def row_weights(
    rows: pd.DataFrame,
    chances: ItemChances,
    propensity: np.ndarray,
    design: Design,
    *,
    catalogue: int,
    trim: float = TRIM,
) -> pd.DataFrame:
    """Return the weights of rows: `tau`, `w1`, `w0`, each 0 where the row does not count, and `trimmed`.

    `propensity` (rows,) is e, the chance that a row of this kind is the arm's: known, or of a model that was fitted
    to rows of the baseline weighted by the items' chances where these are known. Rows with e > 1 - trim, and for
    the target `everyone` with e < trim, are left out.
    """
    arm = rows["arm"].to_numpy()
    shown, chosen = arm == 1, arm == 0
    e = np.clip(propensity, 1e-6, 1 - 1e-6)
    if design.target == "everyone":
        kept = (e <= 1 - trim) & (e >= trim)
        tau, w1 = kept.astype(float), np.where(shown & kept, 1 / e, 0.0)
        w0 = np.where(chosen & kept, 1 / (1 - e), 0.0)
    else:
        kept, own, ratio = e <= 1 - trim, np.ones(len(rows)), np.ones(len(rows))
        if design.target == "uniform":
            own = ratio = 1 / (catalogue * chances.own)  # as if drawn uniformly from the catalogue
            if missing := int((np.isnan(own) & (arm >= 0)).sum()):
                raise InputError(
                    f"target uniform needs the propensity of every exposure; {missing:,} have none; expected target "
                    "exposed"
                )
        elif chances.kind != "none":
            ratio = np.nan_to_num(chances.other / chances.own)
        tau = w1 = np.where(shown & kept, own, 0.0)
        w0 = np.where(chosen & kept, ratio * e / (1 - e), 0.0)
    if design.unit == "users":
        user = pd.factorize(rows["user"])[0]
        both = len(np.intersect1d(user[shown], user[chosen])) > 0
        tau, w1, w0 = (_equal_users(user, weight) for weight in (tau, w1, w0))
        if both:  # users alternate: those whom the arm shows nothing are not in the target
            w0 = w0 * (np.bincount(user, tau) > 0)[user]
    frame = pd.DataFrame({"tau": tau, "w1": w1, "w0": w0})
    return frame.assign(trimmed=(arm >= 0) & ~kept)


def _equal_users(user: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Scale the weights so that those of every user sum to 1."""
    total = np.bincount(user, weight)[user]
    return np.divide(weight, total, out=np.zeros(len(weight)), where=total > 0)
