"""Where to explore: cells whose effect is uncertain and promising, by their intervals."""

import numpy as np
import pandas as pd

from csrec_core.errors import InputError

__all__ = ["ZONES", "exploration", "zone_table"]

#: What to do with a cell, by its interval.
ZONES = {
    "recommend": "the whole interval lies above the threshold",
    "explore": "the interval is wide and its upper end lies above the threshold",
    "undecided": "the interval is narrow and holds the threshold",
    "leave": "the whole interval lies at or below the threshold",
}


def exploration(cells: pd.DataFrame, *, threshold: float = 0.0, wide: float | None = None) -> pd.DataFrame:
    """Return the cells with their `width` and `zone`, a key of `ZONES`: where to recommend, where to try.

    Parameters
    ----------
    cells : DataFrame
        `effect`, `lower`, `upper`, in [-1, 1].
    threshold : float
        In [-1, 1].
    wide : float, optional
        An interval at least this wide is uncertain; by default the median width.

    Returns
    -------
    DataFrame
        `cells` with `width` in [0, 2], `zone` (ordered category), and `promise`, by how much the upper end
        passes the threshold in cells to explore (0 elsewhere): the larger, the more a trial may find.
    """
    if not -1 <= threshold <= 1:
        raise InputError(f"{threshold} is no difference of probabilities; expected a number in [-1, 1]")
    width = cells["upper"] - cells["lower"]
    wide = float(width.median()) if wide is None else wide
    zone = np.select(
        [cells["lower"] > threshold, cells["upper"] <= threshold, width >= wide],
        ["recommend", "leave", "explore"],
        "undecided",
    )
    promise = np.where(zone == "explore", cells["upper"] - threshold, 0.0)
    return cells.assign(
        width=width, zone=pd.Categorical(zone, categories=list(ZONES), ordered=True), promise=promise
    )


def zone_table(explored: pd.DataFrame) -> pd.DataFrame:
    """Return a row a zone: what it `means`, `cells`, `users`, `share`, mean `effect`, median `width`.

    `explored` comes from `exploration`; where it holds the truth, `true_effect` is the true mean as well.
    """
    if "p_system" in explored.columns:
        explored = explored.assign(true_effect=explored["p_system"] - explored["p_self"])
    groups = explored.groupby("zone", observed=False)
    table = pd.DataFrame(
        {"means": pd.Series(ZONES), "cells": groups.size(), "users": groups["user"].nunique()}
    )
    table["share"] = table["cells"] / max(1, len(explored))
    table["effect"], table["width"] = groups["effect"].mean(), groups["width"].median()
    if "true_effect" in explored.columns:
        table["true_effect"] = groups["true_effect"].mean()
    return table.rename_axis("zone").reset_index()
