"""What lies before an exposure: the one table of features, made of a user's own past and record.

What other users did with an item is told apart from it (`csrec_core.effect.item_counts`), as it depends on the fold
that a model is for. A part of a larger log goes the same way.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.effect.rows import POSITION, Clock, beside

LONGEST_RUN = 5  # rejections in a row that are told apart
SHOWN = 5  # exposures of one item that are told apart
VECTOR = 3  # measured features of an item, from which on items are compared by them
#: Of the user, whatever the item is; of the user with this kind of item; with items that measure alike.
HISTORY = ("first", "last", "before_last", "run", "user_rate")
WITH_ITEM = ("genre_share", "genre_rate", "same_genre")
LIKENESS = ("like_accepted", "like_seen")


def describe(
    rows: pd.DataFrame, clock: Clock, *, rate: float, vectors: np.ndarray | None = None
) -> pd.DataFrame:
    """Describe every exposure by what lies before its decision, and by its user's record.

    The record (`user_rate`, `genre_share`, `genre_rate`) is of exposures that are not the arm's, so that it
    means the same under either: what a user accepts of other items, picked by another policy, would seem to
    fall once the arm exposes, and a regression would take that for a change of preference. See `_Record`.

    Rows are whole users of `lay_rows`. `clock` and `rate`, the mean decision, which shares of few rows are shrunk to,
    are of the whole log; `vectors` (rows, k) are measured features of each row's item (`item_vectors`), to compare it
    with those on record. Returns (rows,) float32:

    - `first` (0 or 1: no decision before), `last` and `before_last` (decisions, 0 where there is none), `run`
      (rejections in a row just before, at most 5), `user_rate`, the share accepted on record;
    - `genre_share`, the share of the genre on record; `genre_rate`, the share accepted of the genre on record, shrunk;
      `same_genre` as the exposure before; `shown_before`, how often this item was, at most 5; `on_record`, how
      often it is on record, and `record`, how many exposures are; with `vectors`, `like_accepted` and `like_seen`,
      the product of the item's vector with the mean of those accepted, and seen;
    - `step` (exposures before it of the same arm), `seen` (of all arms), `time`; the covariates.
    """
    past = _Record.of(rows, clock)
    place, decision, seen = np.arange(len(rows)), rows["decision"].to_numpy(), past.seen

    def shifted(values: np.ndarray, by: int) -> np.ndarray:
        # Shifted over the whole array: a row with fewer than `by` before it would read another user's.
        return np.where(seen >= by, np.roll(values, by), 0)

    accepted_at = np.maximum.accumulate(np.where(decision > 0, place, place - seen - 1))
    genre = rows["genre"].to_numpy()
    once, item = np.ones(len(rows)), pd.factorize(rows["item"])[0]
    met, taken = past.sums(once), past.sums(decision)
    same_met, same_taken = past.sums(once, genre), past.sums(decision, genre)
    user_rate = (taken + 2 * rate) / (met + 2)
    found = {
        "first": seen == 0,
        "last": shifted(decision, 1),
        "before_last": shifted(decision, 2),
        "run": np.minimum(shifted(place - accepted_at, 1), LONGEST_RUN),
        "user_rate": user_rate,
        "genre_share": same_met / (met + 1),
        "genre_rate": (same_taken + user_rate) / (same_met + 1),
        "same_genre": (seen > 0) & (np.roll(genre, 1) == genre),
        "shown_before": np.minimum(rows.groupby(["user", "item"], sort=False).cumcount(), SHOWN),
        "on_record": past.sums(once, item),
        "record": met,
        "step": rows.groupby(["user", "arm"], sort=False).cumcount(),
        "seen": seen,
        "time": np.nan_to_num(rows["time"].to_numpy()),
    }
    if vectors is not None:
        for name, weight, count in zip(LIKENESS, (decision, once), (taken, met), strict=True):
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
        seen = rows.groupby("user").cumcount().to_numpy()
        if not clock.phased:
            own = np.ones(len(rows)) if clock.between else (arm != 1).astype(float)
            return cls(user, seen, own, [])
        own = arm == 0
        count = np.bincount(user, own)[user].astype(int)
        steps = rows.groupby(["user", "arm"])["arm"]
        step, length = steps.cumcount().to_numpy(), steps.transform("size").to_numpy()
        spread = ((step + 0.5) * count // length).astype(int)
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
    return np.append(where, -1)[np.where(there, place, -1)]


def item_vectors(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the measured features of each row's item, scaled; None with fewer than `VECTOR`."""
    names = [name for name in rows.columns if str(name).startswith("item: ") and name != POSITION]
    return rows[names].to_numpy(dtype=float) / np.sqrt(len(names)) if len(names) >= VECTOR else None
