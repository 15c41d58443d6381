"""Policies from files: with which chance an item is picked, in general or for a user."""

from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.log import Dataset
from csrec_core.data.values import read_table
from csrec_core.errors import InputError, unknown


def read_policy(path: str | Path, dataset: Dataset) -> pd.DataFrame:
    """Read a policy from a table of any form: `item`, `probability` or `score`, and the columns that it depends on.

    `user` and `item` are numbers as in the log that it is to be valued on, or the names that the log's own file had. Of
    scores the highest of each user, or other context, is what the policy picks; ties share.

    Returns the columns it depends on, `item`, `probability`. InputError names the file, the row, or the context whose
    probabilities do not add up to 1.
    """
    table = read_table(path := Path(path))
    value = next((name for name in ("probability", "score") if name in table.columns), None)
    if value is None or "item" not in table.columns:
        have = ", ".join(map(str, table.columns))[:150]
        raise InputError(f"{path}: has the columns {have}; expected item and probability, or score")
    context = [str(name) for name in table.columns if name not in ("item", value)]
    for name in context:
        if name not in dataset.log.columns:
            raise unknown("column", name, list(dataset.log.columns), where=str(path))
    for key in {"user", "item"} & {*table.columns}:
        ids, names = pd.to_numeric(table[key], errors="coerce"), dataset.names(key)
        if names is not None and table[key].dtype.kind not in "iu":  # text of digits may be a name, too
            first = names.drop_duplicates()
            named = table[key].map(pd.Series(first.index, index=first))
            ids = named if named.notna().all() or ids.isna().any() else ids
        table[key] = ids
    number = pd.to_numeric(table[value], errors="coerce")
    bad = ~np.isfinite(number) | ((number < 0) & (value == "probability"))
    bad |= table[[*context, "item"]].isna().any(axis=1) | table.duplicated([*context, "item"])
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise InputError(
            f"{path}: row {row + 1}: expected an item, and user, of the log, once, and its {value}"
        )
    keys = [table[name] for name in context] or [np.zeros(len(table))]
    if value == "score":
        number = (number == number.groupby(keys).transform("max")).astype(float)
        number /= number.groupby(keys).transform("sum")
    total = number.groupby(keys).sum()
    far = total[abs(total - 1) > 0.01]
    if len(far):
        where = f"{' and '.join(context)} {far.index[0]}" if context else "all items"
        raise InputError(f"{path}: the probabilities of {where} add up to {far.iloc[0]:.3f}; expected 1")
    return table[[*context, "item"]].assign(probability=number)[number > 0].reset_index(drop=True)
