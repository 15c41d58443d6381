"""What the table of items tells the models of each item: its genre, and its numbers on a common scale.

A number or a truth value in the table is a feature. What a model must not see, such as what a simulated world
hides, does not belong there; a column whose name begins with `_`, and all text but `genre`, is left out.
"""

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_numeric_dtype

from csrec_core.data.log import SIDES, Dataset
from csrec_core.errors import InputError, listed

NO_FEATURES = ("item", "title", "genre")  # read otherwise
HIDDEN = "_"


def numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of numbers, and of truth values as 1 and 0; NaN where one is missing."""
    numbers = {
        name: column.to_numpy(dtype=float, na_value=np.nan)
        for name, column in table.items()
        # Truth values of which some are missing are objects.
        if is_numeric_dtype(column) or infer_dtype(column, skipna=True) == "boolean"
    }
    return pd.DataFrame(numbers, index=table.index)


def missing_values(dataset: Dataset) -> list[str]:
    """Return a sentence for each table beside a log that lacks numbers: of which columns, for how many.

    Examples
    --------
    >>> log = pd.DataFrame({"user": [1, 2], "item": [7, 7], "t": 1, "decision": [1, 0], "source": "self"})
    >>> missing_values(Dataset(log, users=pd.DataFrame({"user": [1, 2], "age": [41, None]})))
    ['Of 2 users some have no value, and count as average: age of 1.']
    """
    found = []
    for side, (key, label) in SIDES.items():
        table = getattr(dataset, side)
        if table is None:
            continue
        numbers = numbers_of(table.set_index(key).drop(columns=[label, "genre"], errors="ignore"))
        missing = numbers.reindex(numbers.index.union(dataset.log[key].unique())).isna()
        counts = [f"{name} of {count:,}" for name, count in missing.sum().items() if count]
        if counts:
            found.append(
                f"Of {len(missing):,} {side} some have no value, and count as average: {listed(counts)}."
            )
    return found


def genre_columns(items: pd.DataFrame | None, catalogue: np.ndarray) -> pd.DataFrame:
    """Return a column (N,) of 0 and 1 for each genre; an item without one has 0 in all.

    The catalogue are ids (N,).
    """
    if items is None or "genre" not in items.columns:
        return pd.DataFrame(index=catalogue)
    genre = items.set_index("item")["genre"].reindex(catalogue)
    return pd.get_dummies(genre).astype(np.float32)


def number_columns(
    items: pd.DataFrame | None, catalogue: np.ndarray, *, where: str = "items"
) -> pd.DataFrame:
    """Return the numeric and boolean columns of the table, each of mean 0 and deviation 1 over the catalogue.

    Where a value is missing it is the column's mean (`missing_values` says how many are). A column that is the
    same for all items tells nothing, and is left out.

    Messages call the table `where`; InputError on a value that is infinite.
    """
    if items is None:
        return pd.DataFrame(index=catalogue)
    named = [name for name in items if name not in NO_FEATURES and not str(name).startswith(HIDDEN)]
    table = numbers_of(items[named]).set_axis(items["item"], axis=0)
    infinite = np.isinf(table.to_numpy())
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        value = table.iloc[row, column]
        raise InputError(
            f"{where}: row {row + 1}: {table.columns[column]} = {value}; expected a finite number, or none"
        )
    table = table.reindex(catalogue)
    table = table.loc[:, table.max() > table.min()]
    spread = (table - table.mean()).fillna(0.0)
    return (spread / spread.std(ddof=0)).astype(np.float32)
