"""What users did with each item, by fold and arm: counts, and what they tell of an item."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.effect.rows import beside

ITEM_PRIOR = 4.0  # an item's log odds are shrunk as by a normal prior of variance 1 / 4, some 20 exposures
FEW_ITEMS = 20  # up to so many get a column each: what other folds tell of them is what these decided
CONSTANT = 1e-9  # share of a covariate's squares about its mean, below which it does not vary
ITEM = ("appeal", "fame", "push")  # of the item, from other folds
LIFT = "lift"  # of the item on a user's record, beyond its share among others


@dataclass(frozen=True, eq=False)
class ItemCounts:
    """How often each item was exposed and accepted, by fold and arm, and by which chances; parts add up."""

    item: np.ndarray  # (items,), sorted
    rows: np.ndarray  # (folds, items, 2), by arm: the baseline's, the arm's
    accepted: np.ndarray  # (folds, items, 2)
    chance: np.ndarray  # (items, 3): least, largest, sum of the arm's logged chances (else inf, -inf, 0)
    unlogged: np.ndarray  # (2,): by arm, exposures without a logged chance
    covariates: np.ndarray  # (folds, items, p): sums of what is known beside an exposure, over both arms
    cross: np.ndarray  # (folds, 2, p + 2, p + 2): by arm, cross products of 1, the p covariates, the decision

    @classmethod
    def count(cls, rows: pd.DataFrame, fold: np.ndarray, folds: int) -> "ItemCounts":
        """Count the rows of either arm."""
        of_either = (rows["arm"] >= 0).to_numpy()
        own, fold = rows[of_either], fold[of_either]
        item, code = np.unique(own["item"].to_numpy(), return_inverse=True)
        arm, chance = own["arm"].to_numpy(), own["propensity"].to_numpy(dtype=float)
        shape = (folds, len(item), 2)
        cell = np.ravel_multi_index((fold, code, arm), shape)
        size = int(np.prod(shape))
        logged = (arm == 1) & ~np.isnan(chance)
        ends = np.tile([np.inf, -np.inf, 0.0], (len(item), 1))
        for place, add in enumerate((np.minimum, np.maximum, np.add)):
            add.at(ends[:, place], code[logged], chance[logged])
        return cls(
            item,
            np.bincount(cell, minlength=size).reshape(shape).astype(float),
            np.bincount(cell, own["decision"], minlength=size).reshape(shape),
            ends,
            np.bincount(arm[np.isnan(chance)], minlength=2),
            *_sum_covariates(own, fold, code, folds, len(item)),
        )

    def add(self, other: "ItemCounts") -> "ItemCounts":
        """Return the counts of both."""
        item = np.union1d(self.item, other.item)
        rows, accepted = (np.zeros((self.folds, len(item), 2)) for _ in range(2))
        covariates = np.zeros((self.folds, len(item), self.covariates.shape[2]))
        chance = np.tile([np.inf, -np.inf, 0.0], (len(item), 1))
        for one in (self, other):
            at = np.searchsorted(item, one.item)
            rows[:, at] += one.rows
            accepted[:, at] += one.accepted
            covariates[:, at] += one.covariates
            chance[at, 0] = np.minimum(chance[at, 0], one.chance[:, 0])
            chance[at, 1] = np.maximum(chance[at, 1], one.chance[:, 1])
            chance[at, 2] += one.chance[:, 2]
        unlogged, cross = self.unlogged + other.unlogged, self.cross + other.cross
        return ItemCounts(item, rows, accepted, chance, unlogged, covariates, cross)

    @property
    def folds(self) -> int:
        """Of users."""
        return len(self.rows)

    @property
    def rates(self) -> np.ndarray:
        """Mean decision of the baseline's rows and of the arm's, (2,)."""
        return self.accepted.sum(axis=(0, 1)) / np.maximum(self.rows.sum(axis=(0, 1)), 1)

    def usual_chance(self, item: np.ndarray) -> np.ndarray:
        """Return the log of the mean logged chance of each row's item by the arm, (rows,) float32; 0 without any."""
        mean = self.chance[:, 2] / np.maximum(self.rows.sum(axis=0)[:, 1], 1)
        place = np.minimum(np.searchsorted(self.item, item), len(self.item) - 1)
        return np.log(mean, where=mean > 0, out=np.zeros_like(mean))[place].astype(np.float32)

    def tell(self, item: np.ndarray, fold: np.ndarray, held: int | None = None) -> pd.DataFrame:
        """Tell of each row's item what users of other folds than its own, and than `held`, did with it.

        `held` is the fold that the models predict. Rows that they learn from leave it out beside their own fold: else
        its decisions would reach its own predictions by way of an item's mean.

        Returns `appeal`, the log odds of being accepted beyond what its arm and the covariates of its exposures lead
        to expect, shrunk; `fame` and `push`, the log of how often the baseline exposes the item, and the arm,
        relative to an even share. With few items, a column each instead.
        """
        if len(self.item) > FEW_ITEMS:
            return self.measure(item, fold, held)
        ones = np.asarray(item)[:, None] == self.item[1:]
        return pd.DataFrame(ones.astype(np.float32), columns=[f"item = {one}" for one in self.item[1:]])

    def lift(self, features: pd.DataFrame, fame: pd.Series) -> np.ndarray:
        """Return the log of how often each row's item is on its user's record, against the item's share of it.

        The share is of the baseline's exposures of other folds, by `fame` (`measure`), and 1 is added to both counts.
        The number alone would tell how long a record is: that of a user with many exposures holds any item more often,
        and a regression would read that as preference. `features` have `on_record` and `record` (`record.describe`).
        """
        expected = features["record"] * np.exp(fame.to_numpy()) / len(self.item)
        return np.log((features["on_record"] + 1) / (expected + 1)).to_numpy()

    def measure(self, item: np.ndarray, fold: np.ndarray, held: int | None = None) -> pd.DataFrame:
        """Return `appeal`, `fame` and `push` of `tell`, however few the items; without `held`, of all other folds."""
        place = np.minimum(np.searchsorted(self.item, item), len(self.item) - 1)
        rates = np.clip(self.rates, 1e-3, None)
        variance = rates * np.maximum(1 - rates, 1e-3)
        tables = []
        for number in range(len(self.rows)):  # of each own fold: all but that fold and the held one
            left = sorted({number, number if held is None else held})
            rows, accepted, covariates, cross = (
                table.sum(axis=0) - table[left].sum(axis=0)
                for table in (self.rows, self.accepted, self.covariates, self.cross)
            )
            # An item that only those meet who like it is accepted more than one that everyone meets. Were that its
            # appeal, fame would seem to lack it, and does not where another arm decides who meets the item.
            expected = rows @ rates + _expected_more(rows, covariates, cross)
            appeal = (accepted.sum(axis=1) - expected) / (rows @ variance + ITEM_PRIOR)
            share = np.log((rows + 1) * len(self.item) / (rows.sum(axis=0) + len(self.item)))
            tables.append(np.column_stack([appeal, share]))
        told = np.stack(tables)[fold, place] * (self.item[place] == item)[:, None]
        return pd.DataFrame(told.astype(np.float32), columns=list(ITEM))


def _expected_more(rows: np.ndarray, covariates: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Return how many acceptances of each item the covariates of its exposures add to the rates of the arms, (items,).

    By a linear regression within the arms. `rows` (items, 2), `covariates` (items, p) and `cross` (2, p + 2, p + 2)
    are those of `ItemCounts`, summed over some folds.
    """
    count = np.maximum(cross[:, 0, 0], 1)
    mean = cross[:, 0, 1:] / count[:, None]
    within = (cross[:, 1:, 1:] - count[:, None, None] * mean[:, :, None] * mean[:, None, :]).sum(axis=0)
    spread, total = np.diag(within)[:-1], np.einsum("akk->k", cross)[1:-1]
    scale = np.sqrt(np.where(spread > CONSTANT * total, spread, np.inf))
    slope = np.linalg.lstsq(within[:-1, :-1] / np.outer(scale, scale), within[:-1, -1] / scale, rcond=1e-6)[0]
    return (covariates - rows @ mean[:, :-1]) @ (slope / scale)


def _sum_covariates(
    own: pd.DataFrame, fold: np.ndarray, item: np.ndarray, folds: int, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `ItemCounts.covariates` and `ItemCounts.cross` of the rows of either arm; `item` are codes.

    Covariates of items alone are left out, which are the same at all exposures of one, and marks of what is missing,
    which a part of a log need not have.
    """
    names = [name for name in beside(own) if not name.startswith(("item: ", "missing: "))]
    table, cell = own[names].to_numpy(dtype=float), fold * items + item
    sums = np.zeros((folds, items, len(names)))
    for place, column in enumerate(table.T):
        sums[:, :, place] = np.bincount(cell, column, folds * items).reshape(folds, items)
    full = np.column_stack([np.ones(len(own)), table, own["decision"]])
    group = fold * 2 + own["arm"].to_numpy()
    cross = [full[group == one].T @ full[group == one] for one in range(2 * folds)]
    return sums, np.reshape(cross, (folds, 2, *cross[0].shape))
