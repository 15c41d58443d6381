"""The covariates of a log: numbers as they are, words as a column of 0 and 1 for each."""

from dataclasses import replace

from csrec_core.data.columns import FEATURE
from csrec_core.data.tables import Table, sql_text
from csrec_core.data.values import Cells, Column
from csrec_core.errors import InputError, shown, unknown

__all__ = ["feature_columns"]

MOST_LEVELS = 20


def feature_columns(view: Table, named: tuple[str, ...]) -> list[Column]:
    """Return the columns that begin with `feature_`, and those named besides; words a column each."""
    columns = []
    others = [name for name in named if not name.startswith(FEATURE)]
    for own in [*(name for name in view.types if name.startswith(FEATURE)), *others]:
        if own not in view.types:
            raise unknown("column", own, view.columns, where="--feature")
        name = own if own.startswith(FEATURE) else FEATURE + own
        cells = Cells(view, own)
        column = cells.numbers(name)
        if cells.kind == "text" and view.one(f"count({column.value}) = 0"):
            if own not in named:
                column = replace(column, expected=f"a finite number; for words --feature {own}")
            else:
                columns += _levels(cells, name)
                continue
        columns.append(column)
    return columns


def _levels(cells: Cells, name: str) -> list[Column]:
    """Return a column of 0 and 1 for each word of a feature of text."""
    missing, table = cells.missing(words=True), cells.table
    words = f"SELECT DISTINCT {cells.raw} FROM {table.view} WHERE NOT {missing}"
    levels = [row[0] for row in table.query(f"{words} ORDER BY 1 LIMIT {MOST_LEVELS + 1}")]
    if len(levels) > MOST_LEVELS:
        count = table.one("count(*)", f"({words})")
        raise InputError(
            f"{table.name}: feature {shown(cells.own)} has {count:,} words such as {shown(levels[0])}; "
            f"expected at most {MOST_LEVELS}, or numbers"
        )
    values = {level: f"CAST({cells.raw} = {sql_text(level)} AS DOUBLE)" for level in levels}
    return [
        Column(f"{name}_{level}", cells.own, value, "a word", cells.raw, missing)
        for level, value in values.items()
    ]
