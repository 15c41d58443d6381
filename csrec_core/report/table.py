"""Tables as HTML: numbers aligned, intervals set off, the best marked together with what is not worse."""

import numbers
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from csrec_core.numbers import count, decimals
from csrec_core.report.formula import prose
from csrec_core.report.markup import TEMPLATES

INTERVAL = re.compile(r"(\S+) (\[(\S+), (\S+)\])")
NUMBER = re.compile(r"[-−+<>]*\s?[\d.,]*\d(?:e[-−+]?\d+)?(?!\w)")
CELL_MARKS = {
    "": Markup("{}"),
    "best": Markup('<strong>{}</strong><span class="unseen"> (best)</span>'),
    "alike": Markup('<span class="alike">{}</span><span class="unseen"> (not told from the best)</span>'),
}
TABLE_NOTE = "Bold: the best of its column. Dotted: not told apart from the best, their intervals overlap."


def table_html(
    frame: pd.DataFrame,
    slug: str,
    *,
    caption: str,
    digits: int = 3,
    best: Mapping[str, str] | None = None,
    apart: Sequence[str] = (),
) -> str:
    """Return a table as HTML; see `csrec_core.report.report.Report.table`."""
    shown = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index(allow_duplicates=True)
    compared = ~shown.iloc[:, 0].isin(apart).to_numpy()
    columns, marked = [], False
    for name, column in shown.items():
        marks = [""] * len(column)
        if best and name in best:
            marks = _best_marks(*_bounds(shown, name), high_wins=best[name] == "high", compared=compared)
            marked |= any(marks)
        label = " ".join(map(str, name)) if isinstance(name, tuple) else str(name)
        cells = [_cell(*pair, digits) for pair in zip(column, marks, strict=True)]
        columns.append({"name": label.replace("_", " "), "number": _is_number(column), "cells": cells})
    return TEMPLATES.get_template("table.html.j2").render(
        slug=slug,
        caption=caption,
        caption_html=Markup(prose(caption)),
        note=TABLE_NOTE if marked else "",
        columns=columns,
        rows=range(len(shown)),
        headed=shown is not frame,
    )


def _bounds(shown: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower and upper ends of a column: from its text, or from `lower` and `upper`."""
    column = shown[name]
    if is_numeric_dtype(column):
        ends = [shown[end] if name == "mean" and end in shown else column for end in ("lower", "upper")]
        lower, upper = (end.to_numpy(dtype=float) for end in ends)
        return column.to_numpy(dtype=float), lower, upper
    text = column.astype(str).str.replace("−", "-")
    parts = text.str.extract(rf"^{INTERVAL.pattern}$")[[0, 2, 3]]
    value, lower, upper = (
        pd.to_numeric(parts[part].fillna(text), errors="coerce").to_numpy(dtype=float) for part in parts
    )
    return value, lower, upper


def _best_marks(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, *, high_wins: bool, compared: np.ndarray
) -> list[str]:
    """Return "best", "alike" (its interval overlaps the best one's) or "" for each row."""
    rivals = compared & np.isfinite(value)
    if rivals.sum() < 2:
        return [""] * len(value)
    top = value[rivals].max() if high_wins else value[rivals].min()
    winners = rivals & (value == top)
    alike = rivals & (low <= high[winners].max()) & (high >= low[winners].min())
    return np.where(winners, "best", np.where(alike, "alike", "")).tolist()


def _is_number(column: pd.Series) -> bool:
    """Tell numbers, and strings that are all written like numbers or left out, from text."""
    if is_numeric_dtype(column):
        return not is_bool_dtype(column)
    written = [value for value in column if value not in ("", "–")]
    return bool(written) and all(isinstance(v, str) and NUMBER.match(v) for v in written)


def _cell(value, mark: str, digits: int) -> str:
    """Return a cell's HTML: an estimate stands out from its interval, and bears the mark."""
    text = _cell_text(value, digits)
    parts = INTERVAL.fullmatch(text)
    estimate, interval = parts.group(1, 2) if parts else (text, "")
    estimate = CELL_MARKS[mark].format(estimate)
    return estimate + Markup(' <span class="interval">{}</span>').format(interval) if interval else estimate


def _cell_text(value, digits: int) -> str:
    if isinstance(value, str):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return count(int(value))
    if isinstance(value, numbers.Real):
        return decimals(float(value), digits)
    return str(value)
