"""The sessions of a part, their rows in the order in which they were lived."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import SELF, SYSTEM

__all__ = ["KNOWN", "NEITHER", "OWN", "SHOWN", "Rows", "fold_of", "lots", "read_rows"]

NEITHER, OWN, SHOWN = -1, 0, 1  # sources: another context, the listener, the system
#: What is known of an exposure before the track is heard, as the log has it.
KNOWN = (
    "feature_context_switch",
    "feature_no_pause_before_play",
    "feature_short_pause_before_play",
    "feature_long_pause_before_play",
    "feature_is_shuffle",
    "feature_hour_of_day",
    "feature_premium",
)
COLUMNS = ("user", "t", "item", "decision", "source", "context_type", *KNOWN)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of some sessions, by user and position, those of every context among them.

    Attributes
    ----------
    user, item : array (rows,) int64
    t : array (rows,) int32
        Position in the session, from 1.
    decision : array (rows,) int8
    source : array (rows,) int8
        `OWN`, `SHOWN` or `NEITHER`.
    context : array (rows,) str
    known : array (rows, 7) float32
        The columns `KNOWN`.
    """

    user: np.ndarray
    t: np.ndarray
    item: np.ndarray
    decision: np.ndarray
    source: np.ndarray
    context: np.ndarray
    known: np.ndarray

    def take(self, rows) -> "Rows":
        """Return some of the rows."""
        return Rows(**{name: values[rows] for name, values in vars(self).items()})

    def blocks(self, sessions: int) -> Iterator["Rows"]:
        """Yield the rows of so many whole sessions at a time."""
        starts = np.flatnonzero(np.diff(self.user, prepend=-1))
        edges = [*starts[::sessions], len(self.user)]
        for start, stop in pairwise(edges):
            yield self.take(slice(start, stop))


def read_rows(folder: Path, part: str, users: np.ndarray | None = None) -> Rows:
    """Read a part of a folder that `csrec_core.data.mssd.ingest.ingest` wrote, or some users of it.

    A session is whole in one part: those split over files were brought together there.
    """
    mine = None if users is None else pc.field("user").isin(pa.array(users))
    paths = [folder / table / f"{part}.parquet" for table in ("log", "apart")]
    tables = [pq.read_table(path, columns=list(COLUMNS), filters=mine) for path in paths]
    table = pa.concat_tables(tables).unify_dictionaries()
    values = {name: table[name].to_numpy() for name in ("user", "t", "item", "decision")}
    order = np.lexsort((values["t"], values["user"]))
    source = table["source"].cast(pa.string()).fill_null("")
    code = np.select([pc.equal(source, SELF), pc.equal(source, SYSTEM)], [OWN, SHOWN], NEITHER)
    known = np.stack([table[name].to_numpy().astype(np.float32) for name in KNOWN], axis=1)
    context = table["context_type"].combine_chunks()
    names = np.array(context.dictionary.to_pylist() or [""], dtype=object)
    context = names[context.indices.to_numpy()] if len(context) else np.zeros(0, dtype=object)
    return Rows(**values, source=code.astype(np.int8), context=context, known=known).take(order)


def lots(user: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Return a lot in [0, 2**64) for each user: the `number`-th, the same in whatever part they are."""
    key = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return pd.util.hash_array(user.astype(np.uint64) ^ key)


def fold_of(user: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each user, from 0."""
    return (lots(user, seed, 0) % np.uint64(folds)).astype(np.int64)
