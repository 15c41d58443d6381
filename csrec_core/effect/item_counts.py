"""What users did with each item, by fold and arm: counts, and what they tell of an item."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

ITEM_PRIOR = 4.0  # an item's log odds are shrunk as by a normal prior of variance 1 / 4, some 20 exposures
FEW_ITEMS = 20  # up to so many get a column each: what other folds tell of them is what these decided
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

    @classmethod
    def count(cls, rows: pd.DataFrame, fold: np.ndarray, folds: int) -> "ItemCounts":
        """Count the rows of either arm."""
        own = rows[rows["arm"] >= 0]
        item, code = np.unique(own["item"].to_numpy(), return_inverse=True)
        arm, chance = own["arm"].to_numpy(), own["propensity"].to_numpy(dtype=float)
        shape = (folds, len(item), 2)
        cell = np.ravel_multi_index((fold[(rows["arm"] >= 0).to_numpy()], code, arm), shape)
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
        )

    def add(self, other: "ItemCounts") -> "ItemCounts":
        """Return the counts of both."""
        item = np.union1d(self.item, other.item)
        rows, accepted = (np.zeros((self.rows.shape[0], len(item), 2)) for _ in range(2))
        chance = np.tile([np.inf, -np.inf, 0.0], (len(item), 1))
        for one in (self, other):
            at = np.searchsorted(item, one.item)
            rows[:, at] += one.rows
            accepted[:, at] += one.accepted
            chance[at, 0] = np.minimum(chance[at, 0], one.chance[:, 0])
            chance[at, 1] = np.maximum(chance[at, 1], one.chance[:, 1])
            chance[at, 2] += one.chance[:, 2]
        return ItemCounts(item, rows, accepted, chance, self.unlogged + other.unlogged)

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

    def tell(self, item: np.ndarray, fold: np.ndarray, held: int) -> pd.DataFrame:
        """Tell of each row's item what users of other folds than its own, and than `held`, did with it.

        Of `held`, the fold that predictions are made for, the models know nothing: rows that they learn from leave
        it out beside their own fold, so that no decision of it reaches its predictions by way of an item's mean.

        Returns `appeal`, the log odds of being accepted beyond the mean of its arm, shrunk; `fame` and
        `push`, the log of how often the baseline exposes the item, and the arm, relative to an even share.
        With few items, a column each instead.
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
            rows = self.rows.sum(axis=0) - self.rows[left].sum(axis=0)
            accepted = self.accepted.sum(axis=0) - self.accepted[left].sum(axis=0)
            appeal = (accepted.sum(axis=1) - rows @ rates) / (rows @ variance + ITEM_PRIOR)
            share = np.log((rows + 1) * len(self.item) / (rows.sum(axis=0) + len(self.item)))
            tables.append(np.column_stack([appeal, share]))
        told = np.stack(tables)[fold, place] * (self.item[place] == item)[:, None]
        return pd.DataFrame(told.astype(np.float32), columns=list(ITEM))
