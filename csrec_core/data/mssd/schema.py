"""The columns of MSSD: what a cell may hold, what becomes of it, and how files become a log."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.data.log import SELF, SYSTEM
from csrec_core.errors import InputError, unknown

CONTEXTS = ("user_collection", "personalized_playlist", "editorial_playlist", "radio", "catalog", "charts")
BREAKS = ("context_switch", *(f"{length}_pause_before_play" for length in ("no", "short", "long")))
OTHER = "other"  # the source of contexts that are neither the listener's nor the system's
LABELS = ("skip_1", "skip_2", "skip_3", "not_skipped")
SESSION_HASH_KEY = "csrec-mssd-00000"  # 16 letters; the salt takes the place of the last digits


@dataclass(frozen=True)
class FileColumn:
    """A column of the files."""

    name: str  # as it is in the header
    expected: str  # what a cell holds, for messages
    value: str  # SQL of the value of the cell `{}`; NULL where the cell is bad
    target: str  # the column of the Parquet files
    type: str  # its type there, as DuckDB names it


def _whole_column(
    name: str, lower: int, upper: int, *, target: str = "", type: str = "SMALLINT"
) -> FileColumn:
    expected = "0 or 1" if (lower, upper) == (0, 1) else f"a whole number from {lower} to {upper}"
    number = "TRY_CAST({0} AS BIGINT)"
    value = f"CASE WHEN regexp_full_match({{0}}, '\\d+') AND {number} BETWEEN {lower} AND {upper} THEN {number} END"
    return FileColumn(name, expected, value, target or name, type)


def _truth(name: str, *, target: str = "", type: str = "BOOLEAN") -> FileColumn:
    value = "CASE WHEN lower({0}) IN ('true', '1') THEN true WHEN lower({0}) IN ('false', '0') THEN false END"
    return FileColumn(name, "true or false", value, target or name, type)


def _text_column(name: str, expected: str, *, target: str) -> FileColumn:
    # What is no UTF-8 was read as U+FFFD.
    value = "CASE WHEN {0} <> '' AND NOT contains({0}, '\ufffd') THEN {0} END"
    return FileColumn(name, expected, value, target, "VARCHAR")


def _number_column(name: str) -> FileColumn:
    number = "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) THEN TRY_CAST({0} AS DOUBLE) END"
    if name != "mode":
        return FileColumn(name, "a number", number, name, "FLOAT")
    value = f"CASE {{0}} WHEN 'major' THEN 1 WHEN 'minor' THEN 0 ELSE {number} END"
    return FileColumn(name, "major or minor", value, name, "FLOAT")


#: What is known before a track is heard is a feature of the exposure; what the listener then does is not.
_BEFORE = "feature_"
_PLAYS = "hist_user_behavior_"
SESSION = _text_column("session_id", "an id", target="session")
TRACK = _text_column("track_id_clean", "an id", target="track")
TRACK_ID = _text_column("track_id", "an id", target="title")
#: The session logs, beside their two ids.
LOG: tuple[FileColumn, ...] = (
    _whole_column("session_position", 1, 1000, target="t", type="INTEGER"),
    _whole_column("session_length", 1, 1000),
    *(_truth(name) for name in LABELS),
    *(_whole_column(name, 0, 1, target=_BEFORE + name, type="TINYINT") for name in BREAKS),
    _whole_column(f"{_PLAYS}n_seekfwd", 0, 32767, target="n_seekfwd"),
    _whole_column(f"{_PLAYS}n_seekback", 0, 32767, target="n_seekback"),
    _truth(f"{_PLAYS}is_shuffle", target=f"{_BEFORE}is_shuffle", type="TINYINT"),
    _whole_column("hour_of_day", 0, 23, target=f"{_BEFORE}hour_of_day", type="TINYINT"),
    FileColumn("date", "a day such as 2018-07-15", "TRY_CAST({0} AS DATE)", "date", "DATE"),
    _truth("premium", target=f"{_BEFORE}premium", type="TINYINT"),
    FileColumn(
        "context_type",
        f"one of {', '.join(CONTEXTS)}",
        f"CASE WHEN {{0}} IN {CONTEXTS} THEN {{0}} END",
        "context_type",
        "VARCHAR",
    ),
    _text_column(f"{_PLAYS}reason_start", "a reason such as trackdone", target="reason_start"),
    _text_column(f"{_PLAYS}reason_end", "a reason such as trackdone", target="reason_end"),
)
#: The features of the tracks, 29 numbers.
TRACKS: tuple[FileColumn, ...] = tuple(
    _number_column(name)
    for name in (
        "duration release_year us_popularity_estimate acousticness beat_strength bounciness danceability "
        "dyn_range_mean energy flatness instrumentalness key liveness loudness mechanism mode organism "
        "speechiness tempo time_signature valence " + " ".join(f"acoustic_vector_{n}" for n in range(8))
    ).split()
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the files become a log."""

    #: Accepted is not skipped (by then), or played to the end; the challenge asks for skip_2.
    label: str = "skip_2"
    #: The `context_type` of the listener's own choice, and of the system's; others are `OTHER`.
    self_contexts: tuple[str, ...] = ("user_collection",)
    system_contexts: tuple[str, ...] = ("personalized_playlist",)
    salt: int = 0  # names the hash function of the ids, 0 to 99999; to be changed if two ids ever collide

    def __post_init__(self):
        if self.label not in LABELS:
            raise unknown("label", self.label, LABELS)
        for name in (*self.self_contexts, *self.system_contexts):
            if name not in CONTEXTS:
                raise unknown("context_type", name, CONTEXTS)
        both = set(self.self_contexts) & set(self.system_contexts)
        if both:
            raise InputError(f"context_type {min(both)!r} is given to both self and system; expected one")
        if not 0 <= self.salt <= 99_999:
            raise InputError(f"salt = {self.salt}; expected a whole number from 0 to 99999")

    @property
    def key(self) -> str:
        """The key of the hash function."""
        return SESSION_HASH_KEY[:-5] + f"{self.salt:05d}"

    @property
    def source(self) -> str:
        """SQL of the source of a context."""
        of = dict.fromkeys(CONTEXTS, OTHER) | dict.fromkeys(self.self_contexts, SELF)
        of |= dict.fromkeys(self.system_contexts, SYSTEM)
        cases = " ".join(f"WHEN '{context}' THEN '{source}'" for context, source in of.items())
        return f"CASE context_type {cases} END"


def whole_numbers(names: np.ndarray, key: str) -> np.ndarray:
    """Return a number from 0 to 2**63 - 1 for each name: SipHash under a key, as pandas mixes it.

    A name has the same number on every machine and in whatever file it lies. A key of 16 letters names the
    hash function; another one gives other numbers. Some two of n names share a number with probability
    n**2 / 2**64: 1 in 720 for 160 million. `csrec_core.data.mssd.ingest.ingest` finds them.
    """
    return (pd.util.hash_array(names, hash_key=key, categorize=False) >> np.uint64(1)).astype(np.int64)
