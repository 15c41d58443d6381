"""Whole sessions laid out in twenty slots: what a skip predictor of the WSDM Cup reads.

Brost et al. (2019): given the first half of a session with all that was logged, and the tracks of the second
half, say which of those are skipped.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from csrec_core.data.mssd.part import parts_of, read_users
from csrec_core.data.mssd.schema import BREAKS, CONTEXTS, LABELS, TRACKS
from csrec_core.errors import InputError
from csrec_core.files import read_json

SLOTS = 20  # tracks of the longest session
OTHER_REASON = "other"  # any reason that is not named
REASON_WORDS = {"backbtn", "clickrow", "endplay", "fwdbtn", "playbtn", "remote", "trackdone", "trackerror"}
STARTS, ENDS = sorted({*REASON_WORDS, "appload"}), sorted({*REASON_WORDS, "logout"})
#: Each number, and the largest that it can be.
LARGEST_NUMBERS = {
    "t": SLOTS,
    "session_length": SLOTS,
    **dict.fromkeys(LABELS, 1),
    **dict.fromkeys((f"feature_{name}" for name in BREAKS), 1),
    **dict.fromkeys(("n_seekfwd", "n_seekback", "feature_is_shuffle"), 1),
    "feature_hour_of_day": 24,
    "feature_premium": 1,
}
NAMES = {
    "context_type": CONTEXTS,
    "reason_start": (*STARTS, OTHER_REASON),
    "reason_end": (*ENDS, OTHER_REASON),
}
#: The 41 features of a slot: 15 numbers, each over its largest, and 26 names as zeros and ones.
LOG_FEATURES = (*LARGEST_NUMBERS, *(f"{column}={name}" for column, names in NAMES.items() for name in names))


@dataclass(frozen=True)
class Sessions:
    """S sessions in slots; those after the end of a session are zero."""

    users: np.ndarray  # (S,) int64
    length: np.ndarray  # (S,) int64, tracks; the first `length // 2` are given, the rest is to be predicted
    track: np.ndarray  # (S, 20) int64, row of the track in `features`, from 1
    accepted: np.ndarray  # (S, 20) bool, not skipped, by the label of the folder
    source: np.ndarray  # (S, 20) str, `self`, `system`, or `other`
    log: np.ndarray  # (S, 20, 41) float32, `LOG_FEATURES`
    #: (tracks + 1, 29) float32, acoustic, mean 0, deviation 1 over the tracks; row 0 is padding.
    features: np.ndarray

    @property
    def given(self) -> np.ndarray:
        """Slots of the first halves, (S, 20) bool."""
        return np.arange(SLOTS) < (self.length // 2)[:, None]

    @property
    def asked(self) -> np.ndarray:
        """Slots to be predicted, (S, 20) bool."""
        return (np.arange(SLOTS) < self.length[:, None]) & ~self.given

    @property
    def catalogue(self) -> np.ndarray:
        """The tracks that come in the sessions, sorted, (N,) int64."""
        return np.unique(self.track[self.track > 0])

    @property
    def fingerprint(self) -> str:
        """Hash of all that the sessions hold."""
        content = hashlib.sha256()
        for name, part in vars(self).items():
            content.update(part.astype("S6").tobytes() if name == "source" else part.tobytes())
        return content.hexdigest()

    def take(self, rows: np.ndarray) -> "Sessions":
        """Return some of the sessions."""
        parts = {name: value[rows] for name, value in vars(self).items() if name != "features"}
        return replace(self, **parts)


def read_sessions(folder: str | Path, *, sessions: int | None = None, seed: int = 0) -> Sessions:
    """Read whole sessions from a folder that `csrec_core.data.mssd.ingest.ingest` wrote.

    Sessions with rows missing are left out, as are those of more than 20 tracks or of one. All are read by default,
    which takes some 4 KB each, or that many drawn, by a draw that does not depend on how the files are cut.
    """
    folder = Path(folder)
    if not (folder / "options.json").exists():
        raise InputError(f"{folder}: no folder that csrec data mssd wrote")
    users = _whole_sessions(folder, sessions, seed)
    if not len(users):
        raise InputError(f"{folder}: no session of 2 to {SLOTS} tracks is whole")
    rows = read_users(folder, users, "log")
    items = pq.read_table(folder / "items.parquet").to_pandas().sort_values("item", ignore_index=True)
    label = read_json(folder / "options.json", {"options": {"label": str}})["options"]["label"]
    return _layout(rows, users, items, label)


def _whole_sessions(folder: Path, sessions: int | None, seed: int) -> np.ndarray:
    """Return the users whose session is whole, or some of them."""
    paths = (folder / "index" / f"{part}.parquet" for part in parts_of(folder))
    every = (pq.read_table(path, columns=["user", "rows", "length"]).to_pandas() for path in paths)
    whole = (index.query(f"rows == length and 1 < length <= {SLOTS}") for index in every)
    return _draw_users((index["user"].to_numpy() for index in whole), sessions, seed=seed)


def _draw_users(batches: Iterable[np.ndarray], number: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw that many of the distinct users in the batches, or all, sorted; in whatever order they come."""
    key = np.random.default_rng(seed).integers(2**63, dtype=np.uint64)
    drawn = np.zeros(0, dtype=np.int64)
    for batch in batches:
        drawn = np.union1d(drawn, batch)
        if number is not None and len(drawn) > number:
            lot = pd.util.hash_array(drawn.astype(np.uint64) ^ key)
            drawn = np.sort(drawn[np.argsort(lot, kind="stable")[:number]])
    return drawn


def _layout(rows: pd.DataFrame, users: np.ndarray, items: pd.DataFrame, label: str) -> Sessions:
    session, slot = np.searchsorted(users, rows["user"]), rows["t"].to_numpy() - 1
    shape = (len(users), SLOTS)

    def spread(values: np.ndarray) -> np.ndarray:
        table = np.zeros((*shape, *values.shape[1:]), dtype=values.dtype)
        table[session, slot] = values
        return table

    numbers = [rows[name].to_numpy(dtype=np.float32) / most for name, most in LARGEST_NUMBERS.items()]
    for name, names in NAMES.items():
        code = pd.Index(names).get_indexer(rows[name].astype(str))
        # What is not named has code -1: it is the last, `other`.
        numbers += list(np.eye(len(names), dtype=np.float32)[code].T)
    features = items[[column.target for column in TRACKS]].to_numpy(dtype=np.float64)
    spread_of = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread_of > 0, spread_of, 1)
    return Sessions(
        users=users,
        length=np.bincount(session, minlength=len(users)),
        track=spread(np.searchsorted(items["item"], rows["item"]) + 1),
        accepted=spread(rows[label].to_numpy() == (label == "not_skipped")),
        source=spread(rows["source"].to_numpy(dtype="U6")),
        log=spread(np.stack(numbers, axis=1)),
        features=np.vstack([np.zeros(len(TRACKS)), features]).astype(np.float32),
    )
