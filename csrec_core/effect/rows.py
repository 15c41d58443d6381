"""The rows of a log, by user and in the order in which they were lived, with what its owner knows beside them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.data.items import numbers_of
from csrec_core.data.log import FEATURE, Dataset, order_clues, order_column
from csrec_core.effect.design import Design

#: How the columns of the users table begin that hold the preference for a genre, whose name follows.
GENRE_PREFERENCE = "preference: "
PREFERENCE = "preference"
LAID = ("place", "user", "item", "genre", "arm", "decision", "t", "time", "propensity", "arm_propensity")
POSITION = "item: position"  # in a list: set with the item, so part of the arm where items are


def table_moments(tables: Iterable[tuple[str, pd.DataFrame | None]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each number of `users` and `items`, as `user: ...` and `item: ...`."""
    found = {}
    for whose, table in tables:
        prefix = whose.removesuffix("s")
        if table is not None:
            numbers = numbers_of(table.drop(columns=prefix, errors="ignore"))
            for name in numbers.columns:
                values = numbers[name].to_numpy()
                values = np.nan_to_num(values) if np.isnan(values).all() else values[~np.isnan(values)]
                found[f"{prefix}: {name}"] = float(values.mean()), float(values.std()) or 1.0
    return found


def covariates(dataset: Dataset, moments: dict[str, tuple[float, float]] | None = None) -> pd.DataFrame:
    """Return what the log's owner knows of users, items and exposures beside what happened.

    `moments` are those of the whole tables, where the dataset's hold what a part of the log needs.

    Indexed as `dataset.log`, float32; no column where there is nothing. The columns `feature_...` of the log; its
    `position`, where every exposure has one; `preference`, from the columns `preference: <genre>` of the users table,
    at the exposed item's genre; the other numbers of the users table, as `user: ...`, and of the item table, as
    `item: ...`, these of mean 0 and standard deviation 1. A value that is missing is the mean of its table, so that
    the parts of a log agree on it, with a column `missing: ...` of ones beside it.
    """
    log, users, items = dataset.log, dataset.users, dataset.items
    moments = table_moments([("users", users), ("items", items)]) if moments is None else moments
    known = {name: log[name].to_numpy() for name in log.columns if str(name).startswith(FEATURE)}
    if "position" in log.columns and log["position"].notna().all():  # a place in a list is set with its item
        known[POSITION] = log["position"].to_numpy()
    fill = {name: mean for name, (mean, _) in moments.items()}
    if users is not None:
        by_user = numbers_of(users.set_index("user"))
        row = by_user.index.get_indexer(log["user"])
        genre_columns = [name for name in by_user.columns if str(name).startswith(GENRE_PREFERENCE)]
        if genre_columns and items is not None and "genre" in items.columns:
            genre = pd.Index([name.removeprefix(GENRE_PREFERENCE) for name in genre_columns]).get_indexer(
                genres(dataset)
            )
            value = by_user[genre_columns].to_numpy()[row, genre]
            known[PREFERENCE] = np.where((row >= 0) & (genre >= 0), value, np.nan)
            fill[PREFERENCE] = float(np.mean([fill[f"user: {name}"] for name in genre_columns]))
        rest = by_user.drop(columns=genre_columns)
        known |= {f"user: {name}": rest[name].reindex(log["user"]).to_numpy() for name in rest.columns}
    if items is not None:
        by_item = numbers_of(items.set_index("item"))
        for name in by_item.columns:
            mean, spread = moments[f"item: {name}"]
            values = by_item[name].reindex(log["item"]).to_numpy()
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
    return dataset.log["item"].map(dataset.items.set_index("item")["genre"])


def lay_rows(
    dataset: Dataset,
    design: Design,
    *,
    order: str | None = None,
    moments: dict[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Lay out the rows of a log by user, in the order in which they were lived.

    That is by the column `order`, by default the one that tells it (`order_column`; a part of a log does not know);
    of rows at one time, and where none does, the baseline's come first.
    `moments` as in `covariates`.

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
    order = order_column([order_clues(log)]) if order is None else order
    time = log[order] if order else pd.Series(np.nan, index=log.index)
    seconds = time if time.dtype.kind in "iuf" else time.astype("int64") / 1e9
    rows["time"] = seconds.to_numpy(dtype=float)
    for name in ("propensity", "arm_propensity"):
        rows[name] = log[name].to_numpy(dtype=float) if name in log.columns else np.nan
    more = covariates(dataset, moments).reset_index(drop=True)
    if design.estimand == "arm":  # where in a list an exposure stands is part of what the arm does
        more = more.drop(columns=POSITION, errors="ignore")
    rows = pd.concat([rows, more], axis=1)
    lived = np.lexsort((rows["t"], rows["arm"] != 0, np.nan_to_num(rows["time"]), rows["user"]))
    return rows.iloc[lived].reset_index(drop=True)


def beside(rows: pd.DataFrame) -> list[str]:
    """Return the covariates among the columns of `lay_rows`."""
    return [name for name in rows.columns if name not in LAID]


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
