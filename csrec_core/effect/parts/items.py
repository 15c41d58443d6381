"""What the sessions of the other folds tell of each track."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from csrec_core.data.log import SELF, SYSTEM
from csrec_core.data.mssd.schema import TRACKS
from csrec_core.effect.features import ITEM_PRIOR
from csrec_core.effect.parts.rows import NEITHER, OWN, SHOWN, fold_of, read_rows
from csrec_core.files import hash_files, whole_file

__all__ = ["TOLD", "Items", "add_up", "tally_part"]

TOLD = ("appeal", "fame", "push")
SOURCES = {SELF: OWN, SYSTEM: SHOWN}
FILES = ("item", "features", "told", "rates")


def tally_part(target: Path, folder: Path, part: str, *, folds: int, seed: int) -> dict:
    """Count the rows of a part by fold, track and source, into a table.

    Returns
    -------
    dict
        `content`, the hash of the part's tables; `sessions` with rows of each source.
    """
    rows = read_rows(folder, part)
    rows = rows.take(rows.source != NEITHER)
    frame = pd.DataFrame(
        {"item": rows.item, "source": rows.source, "accepted": rows.decision.astype(np.int64)}
    )
    frame["fold"] = fold_of(rows.user, folds, seed)
    counts = frame.groupby(["fold", "item", "source"], as_index=False)["accepted"].agg(["size", "sum"])
    with whole_file(target) as temporary:
        counts.rename(columns={"size": "rows", "sum": "accepted"}).to_parquet(temporary, index=False)
    return {
        "content": hash_files(folder / table / f"{part}.parquet" for table in ("log", "apart")),
        "sessions": {name: len(np.unique(rows.user[rows.source == code])) for name, code in SOURCES.items()},
    }


@dataclass(frozen=True, eq=False)
class Items:
    """The tracks; arrays may lie in files that processes share.

    Attributes
    ----------
    item : array (tracks,) int64
        Sorted.
    features : array (tracks, 29) float32
    told : array (folds, tracks, 3) float32
        `TOLD` from the sessions of the other folds, as `csrec_core.effect.features.exposure_features` has
        them: log odds of being accepted beyond the mean of the source, shrunk; the log of how often
        listeners come to the track, and the system shows it, relative to an even share.
    rates : array (2,)
        Mean acceptance of self-chosen rows and of the system's.
    """

    item: np.ndarray
    features: np.ndarray
    told: np.ndarray
    rates: np.ndarray

    def save(self, folder: Path) -> str:
        """Write an array a file, and return the hash of them."""
        for name in FILES:
            with whole_file(folder / f"{name}.npy") as temporary:
                np.save(temporary, getattr(self, name), allow_pickle=False)
        return hash_files(folder / f"{name}.npy" for name in FILES)

    @classmethod
    def load(cls, folder: Path) -> "Items":
        """Read what `save` wrote, page by page as it is asked for."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in FILES))


def add_up(folder: Path, tallies: list[Path], *, folds: int) -> Items:
    """Put the tallies of all parts together."""
    table = pq.read_table(folder / "items.parquet").to_pandas().sort_values("item")
    item = table["item"].to_numpy()
    rows, accepted = (np.zeros((folds, len(item), 2), dtype=np.int32) for _ in range(2))
    for path in tallies:
        part = pd.read_parquet(path)
        cell = part["fold"], np.searchsorted(item, part["item"]), part["source"]
        rows[cell] += part["rows"].to_numpy(dtype=np.int32)
        accepted[cell] += part["accepted"].to_numpy(dtype=np.int32)
    rates = accepted.sum(axis=(0, 1)) / np.maximum(rows.sum(axis=(0, 1)), 1)
    mean = np.clip(rates, 0.01, 0.99)
    of_all = rows.sum(axis=0), accepted.sum(axis=0)
    told = np.empty((folds, len(item), len(TOLD)), dtype=np.float32)
    for fold in range(folds):
        met, taken = of_all[0] - rows[fold], of_all[1] - accepted[fold]
        told[fold, :, 0] = (taken.sum(axis=1) - met @ mean) / (met @ (mean * (1 - mean)) + ITEM_PRIOR)
        told[fold, :, 1:] = np.log((met + 1) * len(item) / (met.sum(axis=0) + len(item)))
    features = table[[column.target for column in TRACKS]].to_numpy(dtype=np.float32)
    return Items(item, features, told, rates)
