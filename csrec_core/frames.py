"""The package from Python: a DataFrame, or a file, in; the effect and what it rests on out."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from csrec_core.data.log import Dataset, frame_to_dataset, read_log
from csrec_core.data.options import ReadOptions, from_content
from csrec_core.data.rows import MissingColumns
from csrec_core.errors import InputError
from csrec_core.verdict import Verdict

__all__ = ["check", "estimate", "read"]

Log: TypeAlias = pd.DataFrame | Dataset | str | Path


def read(log: Log, *, map: Mapping[str, str] | str = "", **options) -> Dataset:
    """Return the log that a DataFrame, a file or a folder holds.

    Parameters
    ----------
    map : dict or str
        {log column: your column}, and {"self" or "system": your word}; or as on the command line.
    **options
        Other fields of `csrec_core.data.options.ReadOptions`, such as `accept="rating >= 4"`.

    Examples
    --------
    >>> frame = pd.DataFrame({"who": ["bo", "al"], "item": [7, 8], "decision": [1, 0], "source": ["self", "self"]})
    >>> read(frame, map={"user": "who"}).users["label"].tolist()
    ['al', 'bo']
    """
    if isinstance(log, Dataset):
        return log
    text = map if isinstance(map, str) else ",".join(f"{ours}={yours}" for ours, yours in map.items())
    chosen = from_content(options, "read").over(ReadOptions.parse(text))
    made = frame_to_dataset if isinstance(log, pd.DataFrame) else read_log
    try:
        return made(log, options=chosen)
    except MissingColumns as error:
        raise InputError(error.in_python) from None


def estimate(log: Log, *, map: Mapping[str, str] | str = "", checks: bool = False, seed: int = 0, **design):
    """Return the effect of an arm on acceptance, and what it rests on.

    Parameters
    ----------
    log : DataFrame, Dataset or path
        An exposure a row: who, what, accepted or not, by which arm.
    map
        See `read`.
    checks : bool
        Try to refute it; a check that fails lowers the status.
    **design
        What is declared: fields of `csrec_core.effect.design.Design`.

    Returns
    -------
    Effect
        `.summary()`, `.to_dict()`, `.plot()`, `.mean`, `.by(labels)`, ...; shows itself in a notebook.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> estimate(simulate_books(users=200, seed=1)).identification.status
    'identified'
    """
    from csrec_core.effect.estimate import estimate_effect

    dataset = read(log, map=map)
    found = estimate_effect(dataset, groups=True, seed=seed, **design)
    return found.after(check(found, dataset, seed=seed)) if checks else found


def check(effect, log: Log, *, map: Mapping[str, str] | str = "", seed: int = 0) -> list[Verdict]:
    """Return what attempts to refute an effect find (`csrec_core.effect.checks.check_effect`).

    Parameters
    ----------
    effect : Effect
        As estimated, of this log.
    log, map
        See `read`.
    seed : int
        Of all that is drawn.

    Returns
    -------
    list of Verdict
        Each holds, fails, is undecided or not tested.
    """
    from csrec_core.effect.checks import check_effect

    return check_effect(effect, read(log, map=map), seed=seed)
