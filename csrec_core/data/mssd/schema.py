"""The columns of MSSD: what each cell may hold, and what becomes of it.

Cells come as the distinct byte strings of a block, so that each is judged once however often it occurs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from csrec_core.errors import InputError, nearest

__all__ = [
    "CONTEXTS",
    "LABELS",
    "LOG",
    "LOG_SCHEMA",
    "TRACKS",
    "Column",
    "check_header",
    "track_schema",
    "whole_numbers",
]

CONTEXTS = ("user_collection", "personalized_playlist", "editorial_playlist", "radio", "catalog", "charts")
LABELS = ("skip_1", "skip_2", "skip_3", "not_skipped")


TRUTH = {b"true": True, b"false": False, b"1": True, b"0": False}


@dataclass(frozen=True)
class Column:
    """A column of the files.

    Attributes
    ----------
    name : str
        As it is in the header.
    expected : str
        What a cell holds, for messages.
    parse : callable
        From the distinct cells, a list of bytes, to an array of as many values and a mask of the bad ones.
    target : str
        The column of the Parquet files.
    type : pyarrow.DataType
        Its type there.
    """

    name: str
    expected: str
    parse: Callable[[Sequence[bytes]], tuple[np.ndarray, np.ndarray]]
    target: str
    type: pa.DataType


def whole_numbers(names: np.ndarray, key: str) -> np.ndarray:
    """Return a number from 0 to 2**63 - 1 for each name: SipHash under a key, as pandas mixes it.

    A name has the same number on every machine and in whatever file it lies. A key of 16 letters names the
    hash function; another one gives other numbers. Some two of n names share a number with probability
    n**2 / 2**64: 1 in 720 for 160 million. `csrec_core.data.mssd.sessions.split_sessions` finds them.

    Parameters
    ----------
    names : array (n,) of str
    """
    if not len(names):
        return np.zeros(0, dtype=np.int64)
    return (pd.util.hash_array(names, hash_key=key, categorize=False) >> np.uint64(1)).astype(np.int64)


def _judged(one: Callable[[bytes], object], empty: object, dtype: type) -> Callable:
    """Return a parser of many cells from one of a single cell that raises ValueError on a bad one."""

    def parse(cells: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        values, bad = np.full(len(cells), empty, dtype=dtype), np.zeros(len(cells), dtype=bool)
        for place, cell in enumerate(cells):
            try:
                values[place] = one(cell)
            except ValueError:
                bad[place] = True
        return values, bad

    return parse


def _whole(low: int, high: int) -> Callable:
    def one(cell: bytes) -> int:
        if not (cell.isdigit() and low <= int(cell) <= high):
            raise ValueError
        return int(cell)

    return _judged(one, 0, np.int64)


def _boolean(cell: bytes) -> bool:
    if cell.lower() not in TRUTH:
        raise ValueError
    return TRUTH[cell.lower()]


def _day(cell: bytes) -> np.datetime64:
    return np.datetime64(date.fromisoformat(cell.decode("ascii")))


def _named(cell: bytes) -> str:
    if not cell:
        raise ValueError
    return cell.decode("utf-8")


def _context(cell: bytes) -> str:
    name = _named(cell)
    if name not in CONTEXTS:
        raise ValueError
    return name


def _numbers(cells: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Parse numbers at once, and one by one only where one of them is none."""
    try:
        values = np.array(cells, dtype="S").astype(float)
    except ValueError:
        return _judged(_finite, 0, float)(cells)
    return values, ~np.isfinite(values)


def _finite(cell: bytes) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError
    return number


def _mode(cell: bytes) -> float:
    return 1.0 if cell == b"major" else 0.0 if cell == b"minor" else _finite(cell)


NAME = pa.dictionary(pa.int32(), pa.string())


def _number(name: str, low: int, high: int, *, target: str = "", type: pa.DataType | None = None) -> Column:
    expected = "0 or 1" if (low, high) == (0, 1) else f"a whole number from {low} to {high}"
    return Column(name, expected, _whole(low, high), target or name, type or pa.int16())


def _truth(name: str, *, target: str = "", type: pa.DataType | None = None) -> Column:
    return Column(name, "true or false", _judged(_boolean, False, bool), target or name, type or pa.bool_())


def _text(name: str, expected: str, one: Callable, *, target: str = "") -> Column:
    return Column(name, expected, _judged(one, "", object), target or name, NAME)


#: What is known before a track is heard is a feature of the exposure; what the listener then does is not.
_BEFORE = "feature_"
_PLAYS = "hist_user_behavior_"
#: The session logs. The ids are read apart, as they are hashed.
LOG: tuple[Column, ...] = (
    _number("session_position", 1, 1000, target="t", type=pa.int32()),
    _number("session_length", 1, 1000),
    *(_truth(name) for name in LABELS),
    *(
        _number(name, 0, 1, target=_BEFORE + name, type=pa.int8())
        for name in (
            "context_switch",
            "no_pause_before_play",
            "short_pause_before_play",
            "long_pause_before_play",
        )
    ),
    _number(f"{_PLAYS}n_seekfwd", 0, 32767, target="n_seekfwd"),
    _number(f"{_PLAYS}n_seekback", 0, 32767, target="n_seekback"),
    _truth(f"{_PLAYS}is_shuffle", target=f"{_BEFORE}is_shuffle", type=pa.int8()),
    _number("hour_of_day", 0, 23, target=f"{_BEFORE}hour_of_day", type=pa.int8()),
    Column(
        "date",
        "a day such as 2018-07-15",
        _judged(_day, np.datetime64("1970-01-01"), "datetime64[D]"),
        "date",
        pa.date32(),
    ),
    _truth("premium", target=f"{_BEFORE}premium", type=pa.int8()),
    _text("context_type", f"one of {', '.join(CONTEXTS)}", _context),
    _text(f"{_PLAYS}reason_start", "a reason such as trackdone", _named, target="reason_start"),
    _text(f"{_PLAYS}reason_end", "a reason such as trackdone", _named, target="reason_end"),
)
#: The Parquet files of the log: the project's columns first.
LOG_SCHEMA = pa.schema(
    [
        ("user", pa.int64()),
        ("t", pa.int32()),
        ("item", pa.int64()),
        ("decision", pa.int8()),
        ("source", NAME),
        *((column.target, column.type) for column in LOG if column.target != "t"),
    ]
)
#: The features of the tracks, 29 numbers.
TRACKS: tuple[Column, ...] = tuple(
    Column(name, "a number", _numbers, name, pa.float32())
    if name != "mode"
    else Column(name, "major or minor", _judged(_mode, 0, float), name, pa.float32())
    for name in (
        "duration release_year us_popularity_estimate acousticness beat_strength bounciness danceability "
        "dyn_range_mean energy flatness instrumentalness key liveness loudness mechanism mode organism "
        "speechiness tempo time_signature valence "
        + " ".join(f"acoustic_vector_{number}" for number in range(8))
    ).split()
)


def track_schema() -> pa.Schema:
    """Return the schema of the item table: `item`, `title` (the track's id), then the features."""
    features = [(column.target, column.type) for column in TRACKS]
    return pa.schema([("item", pa.int64()), ("title", pa.string()), *features])


def check_header(found: Sequence[str], expected: Sequence[str], where: str) -> None:
    """Refuse a header that lacks a column, or names one twice."""
    missing = [name for name in expected if name not in found]
    if missing:
        near = nearest(missing[0], found)
        hint = f" (did you rename it to {near!r}?)" if near and near not in expected else ""
        shown = ", ".join(found) if len(found) < 40 else f"{', '.join(found[:40])}, ..."
        raise InputError(
            f"{where}: line 1: wrong header: no column{'s' * (len(missing) > 1)} {', '.join(missing)}{hint}; "
            f"found {shown}"
        )
    twice = {name for name in found if list(found).count(name) > 1}
    if twice:
        raise InputError(f"{where}: line 1: wrong header: {', '.join(sorted(twice))} more than once")
