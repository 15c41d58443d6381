"""Gradient-boosted trees on a dozen columns a row: the strong control that a sequence model has to beat.

Each exposure by the system is described by what is known before its decision, and trees (Friedman 2001, the
histogram form of scikit-learn) predict it. They know no order beyond the last two decisions and learn no
representation, so where they do better than a sequence model, that model has missed something simple.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from csrec_core.data.history import prepare_rows
from csrec_core.data.log import SYSTEM, Dataset

__all__ = ["TABULAR", "predict_tabular", "tabular_features"]

TABULAR = "boosted trees"
ITEM_PRIOR = 20.0  # rows at the overall rate that an item's own rate starts from
PARTS = 5  # of the users that trees are fitted on, each with the item rates of the others
MOST_CATEGORIES = 255  # that scikit-learn's trees take; with more, the genre is left out


def tabular_features(dataset: Dataset, cells: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each exposure before its decision, a row for each of `cells`.

    Nothing is taken from a simulated world's truth, and nothing from the decision itself or later ones.

    Parameters
    ----------
    cells : DataFrame
        Exposures by the system: `user`, `t`.

    Returns
    -------
    DataFrame
        Indexed as `cells`: `t` (number of the exposure in the phase, from 1), `genre` (a number, NaN without
        genres), `popularity` (log self-chosen rows of the item), `previous` and `before_previous` decision
        (NaN where there is none), `decided` (decisions before, of both phases), `accepted` and
        `accepted_in_genre` (accept rates so far, shrunk), `chosen_in_genre` (share of the self-chosen rows so
        far), `genre_share` (share of this genre in what the user accepted so far), `accepted_here` (accept
        rate so far in this phase) and `rejections` (in a row, just before).
    """
    rows = prepare_rows(replace(dataset, truth=None)).frame
    rows["popularity"] = np.log1p(rows["item"].map(rows.loc[rows["is_system"] == 0, "item"].value_counts()))
    before = rows.groupby("user")["decision"].cumsum() - rows["decision"]
    in_genre = rows.groupby(["user", "genre"])["decision"].cumsum() - rows["decision"]
    rows["genre_share"] = in_genre / np.maximum(before, 1)
    phase = rows.groupby(["user", "source"], observed=True)["decision"]
    rows["accepted_here"] = (phase.cumsum() - rows["decision"]) / rows["step"].where(rows["step"] > 0)
    rows["rejections"] = _rejections(rows)
    rows["decided"] = rows.groupby("user").cumcount()
    rows = rows[rows["source"] == SYSTEM].set_index(["user", "t"])
    table = rows.loc[pd.MultiIndex.from_frame(cells[["user", "t"]])].reset_index(drop=True)
    table = table.rename(columns={"last": "previous", "before_last": "before_previous"})
    few = (
        dataset.items is not None and "genre" in dataset.items and table["genre"].nunique() < MOST_CATEGORIES
    )
    table["genre"] = table["genre"].astype(float) if few else np.nan
    names = ["genre", "popularity", "previous", "before_previous", "decided", "accepted"]
    names += ["accepted_in_genre", "chosen_in_genre", "genre_share", "accepted_here", "rejections"]
    features = table[names].fillna({"popularity": 0.0}).assign(t=table["step"] + 1)
    return features.set_index(cells.index)


def predict_tabular(
    cells: pd.DataFrame, features: pd.DataFrame, *, learn: np.ndarray | None = None, seed: int = 0
) -> pd.Series:
    """Predict the acceptance of each exposure by trees fitted on the users of the other folds.

    The item's accept rate among those users is one more column.

    Parameters
    ----------
    cells : DataFrame
        `user`, `item`, `decision`, `fold`.
    features : DataFrame
        Of `tabular_features`.
    learn : array (rows,) bool, optional
        Rows that may be learned from; by default all.
    seed : int
        Of the rows that are held out to stop boosting.

    Returns
    -------
    Series
        Probabilities, indexed as `cells`.
    """
    learn = np.ones(len(cells), dtype=bool) if learn is None else np.asarray(learn)
    decision, fold = cells["decision"].to_numpy(), cells["fold"].to_numpy()
    predicted = np.empty(len(cells))
    categorical = features["genre"].notna().any()
    inputs = features if categorical else features.drop(columns="genre")
    for held in np.unique(fold):
        fitted = learn & (fold != held)
        if len(np.unique(decision[fitted])) < 2:
            predicted[fold == held] = decision[fitted].mean() if fitted.any() else 0.5
            continue
        columns = inputs.assign(item_rate=_item_rates(cells, fitted, seed))
        trees = HistGradientBoostingClassifier(
            learning_rate=0.06,
            max_iter=300,
            l2_regularization=1.0,
            early_stopping=fitted.sum() >= 1000,
            categorical_features=["genre"] if categorical else None,
            random_state=seed,
        ).fit(columns[fitted], decision[fitted])
        predicted[fold == held] = trees.predict_proba(columns[fold == held])[:, 1]
    return pd.Series(predicted, index=cells.index, name=TABULAR)


def _rejections(rows: pd.DataFrame) -> pd.Series:
    """Return how many rejections in a row stand just before each row, in its phase."""
    phase = rows.groupby(["user", "source"], observed=True)["decision"]
    accepts = phase.cumsum() - rows["decision"]  # rows between two acceptances share this count
    return rows.assign(accepts=accepts).groupby(["user", "source", "accepts"], observed=True).cumcount()


def _item_rates(cells: pd.DataFrame, fitted: np.ndarray, seed: int) -> np.ndarray:
    """Return each item's accept rate over the `fitted` rows; theirs cross-fitted over their users.

    Leaving out one row at a time would tell its decision: of the rows of an item, the accepted ones would
    have the lower rate.
    """
    users, user = np.unique(cells["user"], return_inverse=True)
    part = np.random.default_rng(seed).permutation(np.arange(len(users)) % PARTS)[user]
    known = pd.DataFrame(
        {
            "item": cells["item"].to_numpy(),
            "part": np.where(fitted, part, -1),  # -1: no part of its own to leave out
            "accepted": cells["decision"].to_numpy() * fitted,
            "rows": fitted.astype(float),
        }
    )
    values = known[["accepted", "rows"]]
    overall = values["accepted"].sum() / values["rows"].sum()
    others = values.groupby(known["item"]).transform("sum")
    others -= values.groupby([known["item"], known["part"]]).transform("sum")
    return ((others["accepted"] + ITEM_PRIOR * overall) / (others["rows"] + ITEM_PRIOR)).to_numpy()
