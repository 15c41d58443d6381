"""Predictions that use no model: what any sequential model must beat before its figure means something."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

ALWAYS = "always accept"
CONTROLS = {
    "majority": "the accept rate of the training users",
    "step": "the accept rate at this exposure number",
    "item": "the accept rate of this item",
    "popularity": "a logistic curve of how often the item was self-chosen",
    "previous decision": "the accept rate after the same previous decision",
}
HISTORY_CONTROLS = {
    "repeat last": "the decision before the exposures that are tested, again",
    "history lookup": "what users of other folds with the same earlier decisions decided next",
    ALWAYS: "accept every exposure",
}
ITEM_PRIOR_ROWS = 20.0  # rows at the overall rate that an item's own rate starts from


def predict_controls(cells: pd.DataFrame, popularity: pd.Series) -> pd.DataFrame:
    """Predict the acceptance of each exposure from one thing only, fitted on the users of the other folds.

    Parameters
    ----------
    cells : DataFrame
        Rows sorted by user and step: `user`, `step`, `item`, `decision`, `fold`.
    popularity : Series
        Self-chosen rows by item.

    Returns
    -------
    DataFrame
        A column of probabilities for each key of `CONTROLS`, indexed as `cells`.
    """
    previous = cells.groupby("user")["decision"].shift().fillna(-1)  # -1: the first exposure
    fame = np.log1p(cells["item"].map(popularity).fillna(0).to_numpy(dtype=float))
    return pd.DataFrame(
        {
            "majority": _other_folds_rate(cells, np.zeros(len(cells))),
            "step": _other_folds_rate(cells, cells["step"]),
            "item": _other_folds_rate(cells, cells["item"], prior=ITEM_PRIOR_ROWS),
            "popularity": _other_folds_curve(cells, fame),
            "previous decision": _other_folds_rate(cells, previous),
        },
        index=cells.index,
    )


def predict_history_controls(cells: pd.DataFrame, *, last: int) -> pd.DataFrame:
    """Predict each user's `last` exposures from the decisions before them alone; the items play no part.

    Parameters
    ----------
    cells : DataFrame
        Rows sorted by user and step: `user`, `step`, `decision`, `fold`.
    last : int
        Exposures at the end of a user's sequence.

    Returns
    -------
    DataFrame
        A column of probabilities for each key of `HISTORY_CONTROLS`, indexed as `cells`; NaN before the last
        exposures.
    """
    left = cells.groupby("user").cumcount(ascending=False)
    tested = left < last
    known = cells["decision"].where(~tested).groupby(cells["user"]).transform("last")
    columns = {"repeat last": known.fillna(0.5), "history lookup": history_lookup(cells, last=last)}
    return pd.DataFrame(columns | {ALWAYS: 1.0}).where(tested)


def history_lookup(cells: pd.DataFrame, *, last: int) -> pd.Series:
    """Look each user's earlier decisions up among those of the other folds; see `predict_history_controls`.

    The answer is the accept rate, at the same place, of the users of other folds who made exactly the same
    decisions before; where there is none, of all users of other folds.
    """
    left = cells.groupby("user").cumcount(ascending=False)
    early = cells[left >= last]
    past = early["decision"].astype(str).groupby(early["user"]).agg("".join)
    frame = cells[["fold"]].assign(decision=cells["decision"].astype(float), left=left)
    frame = frame.assign(past=cells["user"].map(past).fillna(""))[left < last]
    same, others = (
        accepted / rows.where(rows > 0)
        for accepted, rows in (_other_folds(frame, by) for by in (["past", "left"], ["left"]))
    )
    return same.fillna(others).fillna(0.5).reindex(cells.index)


def _other_folds(frame: pd.DataFrame, by: list[str]) -> tuple[pd.Series, pd.Series]:
    """Return how many rows of the same group were accepted, and how many there are; one's own fold left out."""
    group, own = frame.groupby(by)["decision"], frame.groupby([*by, "fold"])["decision"]
    accepted, rows = (group.transform(of) - own.transform(of) for of in ("sum", "size"))
    return accepted, rows


def _other_folds_rate(cells: pd.DataFrame, key: np.ndarray | pd.Series, prior: float = 1e-9) -> np.ndarray:
    """Return the accept rate of rows with the same key in other folds, drawn to the overall by `prior`."""
    frame = cells[["fold", "decision"]].assign(key=np.asarray(key), all=0)
    (accepted, rows), (every_accepted, every) = (_other_folds(frame, [by]) for by in ("key", "all"))
    return ((accepted + prior * (every_accepted / every)) / (rows + prior)).to_numpy()


def _other_folds_curve(cells: pd.DataFrame, value: np.ndarray) -> np.ndarray:
    predicted = np.empty(len(cells))
    decision, fold = cells["decision"].to_numpy(), cells["fold"].to_numpy()
    for held in np.unique(fold):
        learn = fold != held
        if len(np.unique(decision[learn])) < 2:
            predicted[~learn] = decision[learn].mean()
            continue
        curve = LogisticRegression(C=1e6).fit(value[learn, None], decision[learn])
        predicted[~learn] = curve.predict_proba(value[~learn, None])[:, 1]
    return predicted
