"""The covariates of a log: numbers as they are, words as a column of 0 and 1 for each."""

from dataclasses import replace

from csrec_core.data.columns import FEATURE
from csrec_core.data.tables import literal, quoted
from csrec_core.data.values import Column, is_missing, kind, number_column
from csrec_core.data.views import View
from csrec_core.errors import InputError, shown, unknown

__all__ = ["feature_columns"]

MOST_LEVELS = 20


def feature_columns(view: View, named: tuple[str, ...]) -> list[Column]:
    """Return the columns that begin with `feature_`, and those named besides; words a column each."""
    columns = []
    others = [name for name in named if not name.startswith(FEATURE)]
    for own in [*(name for name in view.types if name.startswith(FEATURE)), *others]:
        if own not in view.types:
            raise unknown("column", own, view.table.types, where="--feature")
        name = own if own.startswith(FEATURE) else FEATURE + own
        raw, of = quoted(own), kind(view.types[own])
        column = number_column(view.table, name, own, raw, of)
        if of == "text" and view.one(f"SELECT count({column.value}) = 0 FROM {view.name}"):
            if own not in named:
                column = replace(column, expected=f"a finite number; for words --feature {own}")
            else:
                columns += _levels(view, name, own, raw)
                continue
        columns.append(column)
    return columns


def _levels(view: View, name: str, own: str, raw: str) -> list[Column]:
    """Return a column of 0 and 1 for each word of a feature of text."""
    missing = is_missing(raw, "text", words=True)
    words = f"SELECT DISTINCT {raw} FROM {view.name} WHERE NOT {missing}"
    levels = [row[0] for row in view.table.query(f"{words} ORDER BY 1 LIMIT {MOST_LEVELS + 1}")]
    if len(levels) > MOST_LEVELS:
        count = view.one(f"SELECT count(*) FROM ({words})")
        raise InputError(
            f"{view.table.name}: feature {shown(own)} has {count:,} words such as {shown(levels[0])}; "
            f"expected at most {MOST_LEVELS}, or numbers"
        )
    value = "CAST({raw} = {level} AS DOUBLE)"
    return [
        Column(f"{name}_{level}", own, value.format(raw=raw, level=literal(level)), raw, missing, "a word")
        for level in levels
    ]
