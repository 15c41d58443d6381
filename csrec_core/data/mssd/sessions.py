"""Samples of sessions."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import KEY, Dataset, validate_log
from csrec_core.data.mssd.part import parts_of, read_users
from csrec_core.data.mssd.simulate import truth_rows
from csrec_core.errors import InputError


def sample_sessions(folder: Path, sessions: int | None, *, seed: int = 0) -> Dataset:
    """Return a log of some sessions, every one as likely, with the items they meet, and their truth if simulated.

    None takes all; the same seed draws the same sessions however the files are cut.
    """
    files = (pq.ParquetFile(folder / "log" / f"{part}.parquet") for part in parts_of(folder))
    batches = (batch["user"].to_numpy() for file in files for batch in file.iter_batches(columns=["user"]))
    users = draw_users(batches, sessions, seed=seed)
    if not len(users):
        raise InputError(f"{folder}: no session of the log to draw")
    log = validate_log(read_users(folder, users, "log").astype({"source": str}), where=str(folder))
    met = pc.field("item").isin(pa.array(log["item"].unique()))
    items = pq.read_table(folder / "items.parquet", filters=met).to_pandas()
    label = read_users(folder, users, "index").rename(columns={"session": "label"})[["user", "label"]]
    label = label.sort_values("user", ignore_index=True)
    if (truth := truth_rows(folder, users)) is not None:
        truth = log[KEY].merge(truth, on=["user", "t"], how="left", validate="one_to_one")
    return Dataset(log, items=items, users=label, truth=truth, name="mssd")


def draw_users(batches: Iterable[np.ndarray], number: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw that many of the distinct users in the batches, or all, sorted; in whatever order they come."""
    key = np.random.default_rng(seed).integers(2**63, dtype=np.uint64)
    drawn = np.zeros(0, dtype=np.int64)
    for batch in batches:
        drawn = np.union1d(drawn, batch)
        if number is not None and len(drawn) > number:
            lot = pd.util.hash_array(drawn.astype(np.uint64) ^ key)
            drawn = np.sort(drawn[np.argsort(lot, kind="stable")[:number]])
    return drawn
