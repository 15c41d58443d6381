"""Showings of the same item again, and lists of items shown at once: what they do to acceptance."""

import numpy as np
import pandas as pd

from csrec_core.data.log import SYSTEM, Dataset
from csrec_core.metrics import interval_text, resample

__all__ = ["list_warnings", "showing_curve", "showing_finding"]


def showing_curve(dataset: Dataset, *, most: int = 4, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return acceptance of what the system shows, by how often it showed the item to the user before.

    Descriptive: an item that is shown again and again may be one that this user likes less.

    Parameters
    ----------
    dataset : Dataset
    most : int
        Showings beyond this number are counted together, at least 0.
    draws, seed : int
        Of the bootstrap over users.

    Returns
    -------
    DataFrame
        `earlier` (showings of the item to the same user before this one, from 0), `shown` as text (`4+` for
        the last), `mean` acceptance in [0, 1] with its 95% user-bootstrap interval `low`, `high`, `rows`,
        `users`. Empty where the system showed nothing.
    """
    rows = dataset.log[dataset.log["source"] == SYSTEM]
    if rows.empty:
        return pd.DataFrame(columns=["earlier", "shown", "mean", "low", "high", "rows", "users"])
    earlier = rows.groupby(["user", "item"]).cumcount().clip(upper=most).rename("earlier")
    cells = rows.assign(earlier=earlier).pivot_table(
        index="user", columns="earlier", values="decision", aggfunc=["sum", "size"], fill_value=0
    )
    accepted, count = cells["sum"].to_numpy(float), cells["size"].to_numpy(float)

    def rate(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[..., : accepted.shape[1]] / sums[..., accepted.shape[1] :]

    values = np.hstack([accepted, count])
    low, high = resample(values, rate, draws=draws, seed=seed)
    numbers = cells["sum"].columns.to_numpy()
    return pd.DataFrame(
        {
            "earlier": numbers,
            "shown": [f"{number}+" if number == most else str(number) for number in numbers],
            "mean": rate(values.sum(axis=0)),
            "low": low,
            "high": high,
            "rows": count.sum(axis=0).astype(int),
            "users": (count > 0).sum(axis=0),
        }
    )


def showing_finding(curve: pd.DataFrame) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """Say how acceptance at the last number of earlier showings differs from that at the first showing.

    Takes a curve of `showing_curve` of two rows or more. Returns the sentence, and its numbers as (value,
    low, high).
    """
    ends = curve.iloc[[0, -1]][["mean", "low", "high"]].to_numpy()
    first, last = (tuple(map(float, row)) for row in ends)
    apart = last[2] < first[1] or first[2] < last[1]
    verb = ("falls" if last[0] < first[0] else "rises") if apart else "does not clearly change"
    text = (
        f"Acceptance {verb} with earlier showings of the item to the user: {interval_text(*first)} at the "
        f"first, {interval_text(*last)} after {curve['shown'].iloc[-1]} (a description, no effect)."
    )
    return text, {"accepted_at_first_showing": first, "accepted_after_most_showings": last}


def list_warnings(dataset: Dataset) -> list[str]:
    """Say whether the system shows lists of which one item is accepted; empty where there is no sign of it.

    Exposures of a user with the same `timestamp` are taken for one list.
    """
    rows = dataset.log[dataset.log["source"] == SYSTEM]
    if "timestamp" not in rows.columns or rows.empty:
        return []
    lists = rows.groupby(["user", "timestamp"])["decision"].agg(["sum", "size"])
    lists = lists[lists["size"] > 1]
    if lists["size"].sum() < 0.5 * len(rows):
        return []
    single = (lists["sum"] == 1).mean()
    if single < 0.9:
        return []
    return [
        f"{single:.1%} of the {len(lists):,} lists that the system showed have exactly one accepted item: "
        f"a decision tells which item of its list was best, and acceptance ({rows['decision'].mean():.3f}) "
        f"tells little more than how long the lists are ({lists['size'].mean():.1f} items on average)."
    ]
