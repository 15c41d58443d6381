"""The one table of what is known before an exposure: of its user's past, of its item, and beside the log.

Rows are laid out once, by user and in the order in which they were lived (`lay_rows`), and described from
what lies before each decision (`describe`). What other users did with an item is told apart from that
(`ItemCounts`), as it depends on the fold that a model is for. A part of a larger log goes the same way.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.data.log import FEATURE, Dataset
from csrec_core.effect.design import Design

__all__ = [
    "Clock", "ItemCounts", "beside", "covariates", "describe", "find_clock", "fold_of", "genres", "hashes",
    "item_vectors", "lay_rows", "record_windows", "shares_clock", "table_moments",
]  # fmt: skip

LONGEST_RUN = 5  # rejections in a row that are told apart
ITEM_PRIOR = 4.0  # an item's log odds are shrunk as by a normal prior of variance 1 / 4, some 20 exposures
FEW_ITEMS = 20  # up to so many get a column each: what other folds tell of them is what these decided
VECTOR = 3  # measured features of an item, from which on items are compared by them
TASTE = "taste: "  # columns of the users table that hold the preference for the genre named after it
PREFERENCE = "preference"
POSITION = "item: position"  # in a list: set with the item, so part of the arm where items are
#: Of the user, whatever the item is; of the user with this kind of item; of the item, from other folds.
HISTORY = ("first", "last", "before_last", "run", "user_rate")
WITH_ITEM = ("genre_share", "genre_rate", "same_genre", "shown_before")
LIKENESS = ("like_accepted", "like_seen")
ITEM = ("appeal", "fame", "push")


def table_moments(users: pd.DataFrame | None, items: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each number of the tables, as `user: ...` and `item: ...`."""
    found = {}
    for prefix, table in (("user", users), ("item", items)):
        if table is not None:
            numbers = table.drop(columns=prefix, errors="ignore").select_dtypes("number")
            for name in numbers.columns:
                values = numbers[name].to_numpy(dtype=float)
                values = values[~np.isnan(values)] if not np.isnan(values).all() else np.zeros(1)
                found[f"{prefix}: {name}"] = float(values.mean()), float(values.std()) or 1.0
    return found


def covariates(dataset: Dataset, moments: dict[str, tuple[float, float]] | None = None) -> pd.DataFrame:
    """Return what the log's owner knows of users, items and exposures beside what happened.

    `moments` are those of the whole tables, where the dataset's hold what a part of the log needs.

    Indexed as `dataset.log`, float32; no column where there is nothing. The columns `feature_...` of the log; its
    `position`, where every exposure has one; `preference`, from the columns `taste: <genre>` of the users table, at the
    exposed item's genre; the other numbers of the users table, as `user: ...`, and of the item table, as `item: ...`,
    these of mean 0 and standard deviation 1. A value that is missing is the mean of its table, so that the parts of a
    log agree on it, with a column `missing: ...` of ones beside it.
    """
    log, users, items = dataset.log, dataset.users, dataset.items
    moments = table_moments(users, items) if moments is None else moments
    known = {name: log[name].to_numpy() for name in log.columns if str(name).startswith(FEATURE)}
    if "position" in log.columns and log["position"].notna().all():  # a place in a list is set with its item
        known[POSITION] = log["position"].to_numpy()
    fill = {name: mean for name, (mean, _) in moments.items()}
    if users is not None:
        by_user = users.drop_duplicates("user").set_index("user").select_dtypes("number")
        row = by_user.index.get_indexer(log["user"])
        tastes = [name for name in by_user.columns if str(name).startswith(TASTE)]
        if tastes and items is not None and "genre" in items.columns:
            genre = pd.Index([name.removeprefix(TASTE) for name in tastes]).get_indexer(genres(dataset))
            value = by_user[tastes].to_numpy()[row, genre]
            known[PREFERENCE] = np.where((row >= 0) & (genre >= 0), value, np.nan)
            fill[PREFERENCE] = float(np.mean([fill[f"user: {name}"] for name in tastes]))
        rest = by_user.drop(columns=tastes)
        known |= {f"user: {name}": rest[name].reindex(log["user"]).to_numpy() for name in rest.columns}
    if items is not None:
        by_item = items.drop_duplicates("item").set_index("item").select_dtypes("number")
        for name in by_item.columns:
            mean, spread = moments[f"item: {name}"]
            values = by_item[name].reindex(log["item"]).to_numpy(dtype=float)
            known[f"item: {name}"], fill[f"item: {name}"] = (values - mean) / spread, 0.0
    frame = pd.DataFrame(known, index=log.index, dtype=np.float32)
    for name in list(frame.columns[frame.isna().any()]):
        frame[f"missing: {name}"] = frame[name].isna().astype(np.float32)
        frame[name] = frame[name].fillna(fill.get(name, 0.0))
    return frame


def genres(dataset: Dataset) -> pd.Series:
    """Return the genre of each row of the log, the item itself where genres are not known."""
    if dataset.items is None or "genre" not in dataset.items.columns:
        return dataset.log["item"]
    return dataset.log["item"].map(dataset.items.drop_duplicates("item").set_index("item")["genre"])


def shares_clock(log: pd.DataFrame) -> tuple[bool, bool]:
    """Return whether a `t` of a user is in two arms, and whether a user has several rows at all."""
    return bool(log.duplicated(["user", "t"]).any()), bool(log.duplicated("user").any())


def lay_rows(
    dataset: Dataset,
    design: Design,
    *,
    shared: bool | None = None,
    moments: dict[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Lay out the rows of a log by user, in the order in which they were lived.

    That is by `timestamp`, else by `t` where no `t` of a user is in two arms, else the baseline's rows first.

    Whether the arms have `t` in common (`shared`) is by default as this log has it (`shares_clock`), which a part of
    one may not; `moments` as in `covariates`.

    Returns `place` (row of the log, from 0), `user` (as in the log), `item`, `genre` (codes), `arm` (1, 0 for
    the baseline, -1 for others), `decision` (the outcome, where the log has one, float64), `t`, `time` (float,
    NaN without a clock that all arms share), `propensity`, `arm_propensity` (NaN where not logged), then the
    covariates.
    """
    log = dataset.log
    source = log["source"].astype(str).to_numpy()
    rows = pd.DataFrame(
        {
            "place": np.arange(len(log)),
            "user": log["user"].to_numpy(),
            "item": log["item"].to_numpy(),
            "genre": pd.factorize(genres(dataset), use_na_sentinel=False)[0],
            "arm": np.select([source == design.arm, source == design.baseline], [1, 0], -1).astype(np.int8),
            "decision": log["outcome" if "outcome" in log.columns else "decision"].to_numpy(dtype=float),
            "t": log["t"].to_numpy(),
        }
    )
    if shared is None:
        twice, several = shares_clock(log)
        shared = several and not twice
    time = log.get("timestamp", log["t"] if shared else pd.Series(np.nan, index=log.index))
    seconds = time if time.dtype.kind in "iuf" else time.astype("int64") / 1e9
    rows["time"] = seconds.to_numpy(dtype=float)
    for name in ("propensity", "arm_propensity"):
        rows[name] = log[name].to_numpy(dtype=float) if name in log.columns else np.nan
    more = covariates(dataset, moments).reset_index(drop=True)
    if design.estimand == "arm":  # where in a list an exposure stands is part of what the arm does
        more = more.drop(columns=POSITION, errors="ignore")
    rows = pd.concat([rows, more], axis=1)
    # A clock decides; without one the baseline (0) comes before the arm (1), and -1 stands in between by t.
    order = np.lexsort((rows["t"], rows["arm"], np.nan_to_num(rows["time"]), rows["user"]))
    return rows.iloc[order].reset_index(drop=True)


def beside(rows: pd.DataFrame) -> list[str]:
    """Return the covariates among the columns of `lay_rows`."""
    return list(rows.columns[rows.columns.get_loc("arm_propensity") + 1 :])


@dataclass(frozen=True)
class Clock:
    """Which times the arms share, so that both are compared at the same one; `between`: every user is of one arm.

    `columns` are the features of time that the nuisances may read: `seen` and `time` where the arms alternate within
    users, `step` where every user is of one arm, none where one phase follows the other.
    """

    columns: tuple[str, ...]
    between: bool

    @property
    def phased(self) -> bool:
        """Whether one phase follows the other."""
        return not (self.columns or self.between)


def find_clock(rows: pd.DataFrame) -> Clock:
    """Find the clock of rows of `lay_rows`."""
    own = rows[rows["arm"] >= 0]
    arms = own.groupby("user")["arm"].agg(["min", "max"])
    time = rows["time"].to_numpy()
    timed = ("time",) if np.ptp(np.nan_to_num(time)) > 0 else ()
    if (arms["min"] == arms["max"]).all():
        return Clock(("step", *timed) if own["user"].duplicated().any() else timed, True)
    if not timed:
        return Clock((), False)
    low, high = np.quantile(own.loc[own["arm"] == 0, "time"], [0.01, 0.99])
    inside = own.loc[own["arm"] == 1, "time"].between(low, high).mean()
    return Clock(("seen", "time") if inside > 0.5 else (), False)


def describe(
    rows: pd.DataFrame, clock: Clock, *, rate: float, vectors: np.ndarray | None = None
) -> pd.DataFrame:
    """Describe every exposure by what lies before its decision, and by its user's record.

    The record (`user_rate`, `genre_share`, `genre_rate`) is of exposures that are not the arm's, so that it
    means the same under either: what a user accepts of other items, picked by another policy, would seem to
    fall once the arm exposes, and a regression would take that for a change of preference. See `_Record`.

    Rows are whole users of `lay_rows`; `clock` and `rate` (mean decision, that shares of few are shrunk to) are of all
    rows; `vectors` (rows, k) are measured features of each row's item (`item_vectors`), to compare it with those on
    record. Returns (rows,) float32:

    - `first` (0 or 1: no decision before), `last` and `before_last` (decisions, 0 where there is none), `run`
      (rejections in a row just before, at most 5), `user_rate`, the share accepted on record;
    - `genre_share`, the share of the genre on record; `genre_rate`, the share accepted of the genre on record, shrunk;
      `same_genre` as the exposure before; `shown_before`, how often this item was, at most 5; with `vectors`,
      `like_accepted` and `like_seen`, the product of the item's vector with the mean of those accepted, and seen;
    - `step` (exposures before it of the same arm), `seen` (of all arms), `time`; the covariates.
    """
    past = _Record.of(rows, clock)
    place, decision, seen = np.arange(len(rows)), rows["decision"].to_numpy(), past.seen

    def shifted(values: np.ndarray, by: int) -> np.ndarray:
        # Shifted over the whole array: a row with fewer than `by` before it would read another user's.
        return np.where(seen >= by, np.roll(values, by), 0)

    accepted_at = np.maximum.accumulate(np.where(decision > 0, place, -1))
    accepted_at = np.maximum(np.concatenate([[-1], accepted_at[:-1]]), place - seen - 1)
    genre = rows["genre"].to_numpy()
    met, taken = past.sums(np.ones(len(rows))), past.sums(decision)
    same_met, same_taken = past.sums(np.ones(len(rows)), genre), past.sums(decision, genre)
    user_rate = (taken + 2 * rate) / (met + 2)
    found = {
        "first": seen == 0,
        "last": shifted(decision, 1),
        "before_last": shifted(decision, 2),
        "run": np.minimum(place - accepted_at - 1, LONGEST_RUN),
        "user_rate": user_rate,
        "genre_share": same_met / (met + 1),
        "genre_rate": (same_taken + user_rate) / (same_met + 1),
        "same_genre": (seen > 0) & (np.roll(genre, 1) == genre),
        "shown_before": np.minimum(rows.groupby(["user", "item"], sort=False).cumcount(), LONGEST_RUN),
        "step": rows.groupby(["user", "arm"], sort=False).cumcount(),
        "seen": seen,
        "time": np.nan_to_num(rows["time"].to_numpy()),
    }
    if vectors is not None:
        for name, weight, count in zip(LIKENESS, (decision, np.ones(len(rows))), (taken, met), strict=True):
            means = [past.sums(column * weight) / np.maximum(count, 1) for column in vectors.T]
            found[name] = np.einsum("rv,rv->r", vectors, np.stack(means, axis=1))
    features = pd.DataFrame({name: np.asarray(values, dtype=np.float32) for name, values in found.items()})
    return pd.concat([features, rows[beside(rows)].reset_index(drop=True)], axis=1)


@dataclass(frozen=True, eq=False)
class _Record:
    """What of a user's own exposures counts for a row.

    Where arms alternate, those before the row. Where users are of one arm each, the same, of that arm. Where
    one phase follows the other, all of the baseline's but two: the row itself and the next, whose decision may
    follow from it; a row of the arm leaves two out as well, its place spread evenly over the baseline's. So a
    record holds as many exposures under either arm, and tells neither by its length.
    """

    user: np.ndarray  # (rows,) int
    seen: np.ndarray  # rows of the user before
    own: np.ndarray  # 1 for rows that count
    left: list[tuple[np.ndarray, np.ndarray]]  # rows left out, and whether there is one; none by the past

    @classmethod
    def of(cls, rows: pd.DataFrame, clock: Clock) -> "_Record":
        user, arm, place = pd.factorize(rows["user"])[0], rows["arm"].to_numpy(), np.arange(len(rows))
        seen = place - np.maximum.accumulate(np.where(np.diff(user, prepend=-1) != 0, place, 0))
        if not clock.phased:
            own = np.ones(len(rows)) if clock.between else (arm != 1).astype(float)
            return cls(user, seen, own, [])
        own = arm == 0
        count = np.bincount(user, own)[user].astype(int)
        length = np.bincount(user, ~own)[user].astype(int)
        step = rows.groupby(["user", "arm"], sort=False).cumcount().to_numpy()
        spread = ((step + 0.5) * count // np.maximum(length, 1)).astype(int)
        number = np.where(own, step, spread)
        where = np.flatnonzero(own)
        start = np.searchsorted(user[where], user)  # of the user's own rows among all own rows
        left = []
        for out in (number, number + 1):
            there = out < count
            left.append((where[np.where(there, start + out, 0)] if len(where) else place, there))
        return cls(user, seen, own.astype(float), left)

    def sums(self, values: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
        """Sum the values on record, of the row's group only where one is given."""
        values = values * self.own
        keys = [self.user] if group is None else [self.user, group]
        groups = pd.Series(values).groupby(keys, sort=False)
        if not self.left:
            return groups.cumsum().to_numpy() - values
        found = groups.transform("sum").to_numpy()
        for row, there in self.left:
            same = there if group is None else there & (group[row] == group)
            found = found - np.where(same, values[row], 0.0)
        return found


def record_windows(rows: pd.DataFrame, clock: Clock, length: int) -> np.ndarray:
    """Return the rows on each row's record, oldest first, (rows, length): what `describe` counts, in its order.

    At most the last `length`; -1 where there are fewer.
    """
    record = _Record.of(rows, clock)
    user, where, row = record.user, np.flatnonzero(record.own > 0), np.arange(len(rows))
    start = np.searchsorted(user[where], user)
    end, gap, gone = np.searchsorted(where, row), row, np.zeros(len(row), dtype=int)
    if record.left:  # two neighbours of all the user's are left out, or one at the end
        end = np.searchsorted(user[where], user, side="right")
        gap = np.searchsorted(where, record.left[0][0])
        gone = np.sum([there for _, there in record.left], axis=0)
    place = (end - gone)[:, None] - np.arange(length, 0, -1)
    there = place >= start[:, None]
    place = place + gone[:, None] * (place >= gap[:, None])
    return np.where(there, np.append(where, -1)[np.where(there, place, -1)], -1)


def item_vectors(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the measured features of each row's item, scaled; None with fewer than `VECTOR`."""
    names = [name for name in rows.columns if str(name).startswith("item: ") and name != POSITION]
    return rows[names].to_numpy(dtype=float) / np.sqrt(len(names)) if len(names) >= VECTOR else None


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


def hashes(user: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Return a hash in [0, 2**64) for each user: the `number`-th, the same in whatever part they are."""
    key = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return pd.util.hash_array(np.asarray(user).astype(np.uint64) ^ key)


def fold_of(user: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each user, from 0: of their hash, so that every part deals them alike."""
    return (hashes(user, seed, 0) % np.uint64(folds)).astype(np.int64)
