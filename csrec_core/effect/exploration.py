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
    """Return cells (`effect`, `lower`, `upper`) with their `width` and `zone`, a key of `ZONES`.

    An interval at least `wide` is uncertain; by default as wide as the median.
    """
    width = cells["upper"] - cells["lower"]
    wide = float(width.median()) if wide is None else wide
    if not wide > 0:
        raise InputError(f"wide = {wide}; expected a width above 0")
    promising, above = cells["upper"] > threshold, cells["lower"] > threshold
    zone = np.select([above, promising & (width >= wide), promising], list(ZONES)[:3], "leave")
    return cells.assign(width=width, zone=pd.Categorical(zone, categories=list(ZONES)))


def zone_table(explored: pd.DataFrame) -> pd.DataFrame:
    """Return a row a zone: what it `means`, `cells`, `users`, `share`, mean `effect`, median `width`."""
    groups = explored.groupby("zone", observed=False)
    table = pd.DataFrame(
        {"means": pd.Series(ZONES), "cells": groups.size(), "users": groups["user"].nunique()}
    )
    table["share"] = table["cells"] / max(1, len(explored))
    table["effect"], table["width"] = groups["effect"].mean(), groups["width"].median()
    return table.rename_axis("zone").reset_index()
