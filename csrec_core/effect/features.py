"""What is known of an exposure before its decision, one row for each row of the log."""

import numpy as np
import pandas as pd

from csrec_core.data.log import FEATURE, SELF, SYSTEM, Dataset
from csrec_core.errors import InputError

__all__ = ["exposure_features", "published_features"]

LONGEST_RUN = 5  # rejections in a row that are told apart
ITEM_PRIOR = 4.0  # an item's log odds are shrunk as by a normal prior of variance 1 / 4, some 20 exposures
TASTE = "taste: "  # columns of the users table that hold the taste of the genre named after it


def exposure_features(dataset: Dataset, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Describe every exposure by what lies before its decision.

    A user's rows follow each other by `timestamp` where the log has one, else self-chosen ones come first.

    Parameters
    ----------
    dataset : Dataset
    folds : int
        Users are dealt into so many folds, at random; what is told of an item (`appeal`, `fame`, `push`)
        comes from the users of the other folds.
    seed : int
        Of the folds.

    Returns
    -------
    DataFrame
        Indexed as `dataset.log`:

        - `fold`, from 0;
        - `first` (0 or 1: no decision before), `last` and `before_last` (decisions, 0 where there is none),
          `run` (rejections in a row just before, at most 5), `step` (exposures before it of the same source),
          `seen` (of both sources);
        - `user_rate`, the share accepted so far; `genre_share`, the share of the genre among the exposures
          that the user chose so far; `genre_rate`, the share accepted of the genre so far; each shrunk to
          the mean as by one or two exposures; `same_genre` as the exposure before (0 or 1);
        - `appeal`, the item's log odds of being accepted beyond the mean of its source, shrunk; `fame` and
          `push`, the log of how often users come to it themselves and how often the system shows it,
          relative to an even share;
        - what is published of users and exposures: see `published_features`.

    Raises
    ------
    InputError
        With fewer users than folds, or folds below 2.
    """
    users = dataset.log["user"].unique()
    if not 2 <= folds <= len(users):
        raise InputError(f"features: folds = {folds}; expected 2 to {len(users)}, the number of users")
    deal = np.random.default_rng(seed).permutation(np.arange(len(users)) % folds)
    fold = dataset.log["user"].map(pd.Series(deal, index=users)).to_numpy()
    features = pd.concat(
        [_past(_in_order(dataset)), _items(dataset, fold), published_features(dataset)],
        axis=1,
    ).reindex(dataset.log.index)
    features.insert(0, "fold", fold)
    return features


def published_features(dataset: Dataset) -> pd.DataFrame:
    """Return what the log's owner knows of users and exposures beside the log itself.

    Returns
    -------
    DataFrame
        Indexed as `dataset.log`; no column where nothing is published. The columns `feature_...` of the log;
        `taste`, from the columns `taste: <genre>` of the users table, at the exposed item's genre; the other
        columns of numbers of the users table, as `user: ...`, and of the item table, as `item: ...`.

    Raises
    ------
    InputError
        On a feature without a value.
    """
    log, users, items = dataset.log, dataset.users, dataset.items
    known = {name: log[name].to_numpy() for name in log.columns if str(name).startswith(FEATURE)}
    if users is not None:
        by_user = users.drop_duplicates("user").set_index("user").select_dtypes("number")
        row = by_user.index.get_indexer(log["user"])
        tastes = [name for name in by_user.columns if str(name).startswith(TASTE)]
        if tastes and items is not None and "genre" in items.columns:
            genres = pd.Index([name.removeprefix(TASTE) for name in tastes])
            genre = genres.get_indexer(_genre(dataset))
            taste = by_user[tastes].to_numpy()[row, genre]
            known["taste"] = np.where((row >= 0) & (genre >= 0), taste, np.nan)
        rest = by_user.drop(columns=tastes)
        known |= {f"user: {name}": rest[name].reindex(log["user"]).to_numpy() for name in rest.columns}
    if items is not None:
        by_item = items.drop_duplicates("item").set_index("item").select_dtypes("number")
        known |= {f"item: {name}": by_item[name].reindex(log["item"]).to_numpy() for name in by_item.columns}
    frame = pd.DataFrame(known, index=log.index, dtype=float)
    missing = frame.isna().to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise InputError(
            f"{dataset.name}: row {row + 1} has no value of the published feature {frame.columns[column]!r}; "
            "expected a number for every exposure"
        )
    return frame


def _genre(dataset: Dataset) -> pd.Series:
    """Return the genre of each row, the item itself where genres are not known."""
    if dataset.items is None or "genre" not in dataset.items.columns:
        return dataset.log["item"]
    return dataset.log["item"].map(dataset.items.drop_duplicates("item").set_index("item")["genre"])


def _in_order(dataset: Dataset) -> pd.DataFrame:
    """Return user, source, decision and genre, each user's rows in the order they were lived."""
    rows = pd.DataFrame(
        {
            "user": dataset.log["user"],
            "chosen": (dataset.log["source"] == SELF).astype(float),
            "decision": dataset.log["decision"].astype(float),
            "genre": pd.factorize(_genre(dataset), use_na_sentinel=False)[0],
            "t": dataset.log["t"],
        }
    )
    rows["later"] = 1 - rows["chosen"]
    order = ["user", "later", "t"]
    if "timestamp" in dataset.log.columns:
        rows["time"] = dataset.log["timestamp"]
        order = ["user", "time", "later", "t"]
    return rows.sort_values(order, kind="stable")


def _past(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the features of a user's own past, from rows in order."""
    by_user = rows.groupby("user", sort=False)
    seen = by_user.cumcount()
    place = pd.Series(np.arange(len(rows)), index=rows.index)
    start = place - seen
    accepted_at = place.where(rows["decision"] == 1).groupby(rows["user"], sort=False).ffill()
    accepted_at = accepted_at.groupby(rows["user"], sort=False).shift().fillna(start - 1)
    counts = rows[["decision", "chosen"]].assign(one=1.0)
    user = counts.groupby(rows["user"], sort=False).cumsum() - counts
    genre = counts.groupby([rows["user"], rows["genre"]], sort=False).cumsum() - counts
    mean = rows["decision"].mean()
    rate = (user["decision"] + 2 * mean) / (user["one"] + 2)
    even = 1 / rows["genre"].nunique()
    return pd.DataFrame(
        {
            "first": (seen == 0).astype(float),
            "last": by_user["decision"].shift(1).fillna(0.0),
            "before_last": by_user["decision"].shift(2).fillna(0.0),
            "run": np.minimum(place - accepted_at - 1, LONGEST_RUN),
            "step": rows.groupby(["user", "later"], sort=False).cumcount().astype(float),
            "seen": seen.astype(float),
            "user_rate": rate,
            "genre_share": (genre["chosen"] + even) / (user["chosen"] + 1),
            "genre_rate": (genre["decision"] + rate) / (genre["one"] + 1),
            "same_genre": (by_user["genre"].shift() == rows["genre"]).astype(float),
        }
    )


def _items(dataset: Dataset, fold: np.ndarray) -> pd.DataFrame:
    """Return what the users of the other folds tell of each row's item."""
    log = dataset.log
    item, names = pd.factorize(log["item"])
    folds, system = fold.max() + 1, (log["source"] == SYSTEM).to_numpy()
    decision = log["decision"].to_numpy(dtype=float)
    shares = [decision[system == side].mean() if (system == side).any() else 0.5 for side in (False, True)]
    mean = np.clip(np.asarray(shares)[system.astype(int)], 0.01, 0.99)

    def others(values: np.ndarray) -> np.ndarray:
        """Sum the values of the item's rows outside the row's own fold."""
        table = np.zeros((folds, len(names)))
        np.add.at(table, (fold, item), values)
        return (table.sum(axis=0) - table)[fold, item]

    catalogue = len(names) if dataset.items is None else max(len(names), dataset.items["item"].nunique())
    by_fold = {side: np.bincount(fold[system == side], minlength=folds) for side in (False, True)}
    popularity = {}
    for name, side in (("fame", False), ("push", True)):
        total = (by_fold[side].sum() - by_fold[side])[fold]
        popularity[name] = np.log((others(system == side) + 1) * catalogue / (total + catalogue))
    return pd.DataFrame(
        {"appeal": others(decision - mean) / (others(mean * (1 - mean)) + ITEM_PRIOR), **popularity},
        index=log.index,
    )
