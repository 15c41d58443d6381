"""CSV files for people who open them in a spreadsheet: text that it would run is shown as text."""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from csrec_core.files import write_text

# What a spreadsheet takes for a formula and runs, and what of it is a number with or without an interval.
SPREADSHEET_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
SIGNED_NUMBER = re.compile(r"[-+](inf|[\d\s.,:%e\[\]–−+-]*)")


def save_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Write exactly the data, as `read_csv` reads it; the index too, where it is not just the row's number.

    Text that a spreadsheet would run gets an apostrophe before it, by which it is shown as it is.
    """
    return write_text(path, as_csv(frame))


def read_csv(path: Path) -> pd.DataFrame:
    """Return the data that `save_csv` wrote."""
    frame = pd.read_csv(path)

    def bare(value):
        return (
            value[1:]
            if isinstance(value, str) and value[0] == "'" and SPREADSHEET_FORMULA.match(value)
            else value
        )

    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].map(bare)
    return frame.rename(columns=bare)


def as_csv(frame: pd.DataFrame) -> str:
    """Return what `save_csv` writes."""
    named = not isinstance(frame.index, pd.RangeIndex)
    # All text in quotation marks: else pandas writes a carriage return that no reader gets past.
    text = frame.to_csv(index=named, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    rows = csv.reader(io.StringIO(text, newline=""))
    lines = [",".join(map(_as_cell, row)) if row != [""] else '""' for row in rows]
    return "\n".join([*lines, ""])


def _as_cell(text: str) -> str:
    runs = SPREADSHEET_FORMULA.match(text) and not SIGNED_NUMBER.fullmatch(text)
    safe = f"'{text}" if runs else text
    return '"{}"'.format(safe.replace('"', '""')) if re.search(r'[,"\r\n]', safe) else safe
