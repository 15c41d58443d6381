"""Samples of sessions."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import KEY, Dataset, validate_log
from csrec_core.data.mssd.part import parts_of
from csrec_core.errors import InputError

__all__ = ["draw_users", "sample_sessions"]


def sample_sessions(
    folder: Path, sessions: int | None, *, seed: int = 0, truth: Sequence[Path] = ()
) -> Dataset:
    """Return a log of some sessions of the log, every one as likely, with the items they meet.

    The same seed draws the same sessions however the files are cut.

    Parameters
    ----------
    sessions : int or None
        None takes all.
    truth : sequence of path
        The truth that `simulate_mssd` wrote, if the sessions are its own.
    """
    parts = parts_of(folder)
    files = (pq.ParquetFile(folder / "log" / f"{part}.parquet") for part in parts)
    batches = (batch["user"].to_numpy() for file in files for batch in file.iter_batches(columns=["user"]))
    users = pa.array(draw_users(batches, sessions, seed=seed))
    if not len(users):
        raise InputError(f"{folder}: no session of the log to draw")
    log = pd.concat([_of_users(folder, "log", part, users).to_pandas() for part in parts])
    log = validate_log(log.astype({"source": str}), where=str(folder))
    items = pq.read_table(
        folder / "items.parquet", filters=pc.field("item").isin(pa.array(log["item"].unique()))
    ).to_pandas()
    names = pd.concat([_of_users(folder, "index", part, users).to_pandas() for part in parts])
    label = names.rename(columns={"session": "label"})[["user", "label"]]
    label = label.sort_values("user", ignore_index=True)
    return Dataset(log, items=items, users=label, truth=_truth(truth, log, label), name="mssd")


def draw_users(batches: Iterable[np.ndarray], number: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw that many of the distinct users in the batches, sorted; in whatever order they come.

    Parameters
    ----------
    number : int or None
        None takes all.
    """
    key = np.random.default_rng(seed).integers(2**63, dtype=np.uint64)
    drawn = np.zeros(0, dtype=np.int64)
    for batch in batches:
        drawn = np.union1d(drawn, batch)
        if number is not None and len(drawn) > number:
            lot = pd.util.hash_array(drawn.astype(np.uint64) ^ key)
            drawn = np.sort(drawn[np.argsort(lot, kind="stable")[:number]])
    return drawn


def _truth(paths: Sequence[Path], log: pd.DataFrame, label: pd.DataFrame) -> pd.DataFrame | None:
    """Return what is true of each row of the log."""
    if not paths:
        return None
    mine = pc.field("session").isin(pa.array(label["label"]))
    known = pd.concat([pq.read_table(path, filters=mine).to_pandas() for path in paths])
    known = known.merge(label, left_on="session", right_on="label").drop(columns=["session", "label"])
    return log[KEY].merge(known, on=["user", "t"], how="left", validate="one_to_one")


def _of_users(folder: Path, table: str, part: str, users: pa.Array) -> pa.Table:
    return pq.read_table(folder / table / f"{part}.parquet", filters=pc.field("user").isin(users))
