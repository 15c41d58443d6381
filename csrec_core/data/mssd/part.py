"""The part that one file of MSSD becomes: Parquet files that are whole or absent, and a note of it."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import SOURCES
from csrec_core.data.mssd.quarantine import Quarantine
from csrec_core.data.mssd.reader import ENDINGS, read_blocks
from csrec_core.data.mssd.rows import (
    LOG_COLUMNS,
    TRACK_COLUMNS,
    Options,
    judge_log,
    judge_tracks,
    whole_sessions,
)
from csrec_core.data.mssd.schema import LABELS, LOG_SCHEMA, track_schema
from csrec_core.errors import InputError
from csrec_core.files import whole_file, write_json

__all__ = [
    "TABLES",
    "count_rows",
    "identity",
    "ingest_file",
    "ingest_tracks",
    "new_counts",
    "open_parquet",
    "part_name",
    "parts_of",
    "read_note",
    "write_note",
]

INDEX_SCHEMA = pa.schema(
    [("user", pa.int64()), ("session", pa.string()), ("rows", pa.int32()), ("length", pa.int32())]
)
#: The tables that each part has a file in.
TABLES = {"log": LOG_SCHEMA, "apart": LOG_SCHEMA, "index": INDEX_SCHEMA}


def part_name(path: Path) -> str:
    """Return the name of the part that a file becomes: its own without the ending."""
    ending = next(ending for ending in ENDINGS if path.name.endswith(ending))
    return path.name.removesuffix(ending)


def identity(path: Path) -> dict:
    """Return what tells a file from a changed one: name, size and time."""
    stat = path.stat()
    return {"name": path.name, "size": stat.st_size, "time": stat.st_mtime_ns}


def ingest_file(path: Path, folder: Path, options: Options) -> dict:
    """Write the part of one file of session logs, then the note in `done/` that it is whole.

    Returns
    -------
    dict
        `input`, the file's `identity`; `read`, its rows; `rows` and `accepted` by source; `contexts` and
        `problems`, rows by context_type and by what is wrong with them; `skipped`, rows by label.

    Raises
    ------
    InputError
        If the file cannot be read to its end, or has no good row; nothing of it is written then.
    """
    name, source = part_name(path), identity(path)
    known = np.sort(pq.read_table(folder / "items.parquet", columns=["item"])["item"].to_numpy())
    counts = new_counts()
    with ExitStack() as files:
        writers = {
            table: files.enter_context(open_parquet(folder / table / f"{name}.parquet", schema))
            for table, schema in TABLES.items()
        }
        quarantine = files.enter_context(Quarantine(folder / "quarantine" / f"{name}.csv"))
        for block in whole_sessions(read_blocks(path, LOG_COLUMNS)):
            rows, sessions, bad = judge_log(block, options, known)
            quarantine.add(bad)
            if rows.num_rows:
                _write(writers, rows, sessions)
                count_rows(counts, rows)
        if not counts["contexts"]:
            raise InputError(f"{path}: no good row{quarantine.example()}")
    counts["problems"] = quarantine.problems
    read = counts["contexts"].total() + counts["problems"].total()
    note = {"input": source, "read": read} | {key: dict(sorted(part.items())) for key, part in counts.items()}
    write_note(folder, name, note)
    return note


def ingest_tracks(paths: list[Path], folder: Path, options: Options) -> int:
    """Write `items.parquet` from the files of track features; return how many tracks there are.

    Rows with a cell that is no number, and of a track that came before, are quarantined.
    """
    columns: dict[str, list] = {name: [] for name in track_schema().names}
    seen: set[int] = set()
    again: list[tuple[int, str]] = []
    items = folder / "items.parquet"
    with whole_file(items) as temporary, Quarantine(folder / "quarantine" / "items.csv") as quarantine:
        for path in paths:
            for block in read_blocks(path, TRACK_COLUMNS):
                good, repeated, bad = judge_tracks(block, options, seen)
                again += repeated
                quarantine.add(bad)
                for name, values in good.items():
                    columns[name].append(values)
        if not seen:
            raise InputError(f"{', '.join(map(str, paths))}: no good row{quarantine.example()}")
        table = pa.table({name: pa.chunked_array(parts) for name, parts in columns.items()})
        _check_tracks(table, again)
        pq.write_table(table.cast(track_schema()), temporary, compression="zstd")
    return len(seen)


@contextmanager
def open_parquet(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a Parquet file for writing; it is whole or absent."""
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield writer


def write_note(folder: Path, part: str, note: dict) -> None:
    """Note that a part is whole."""
    write_json(folder / "done" / f"{part}.json", note)


def parts_of(folder: Path) -> list[str]:
    """Return the parts that are whole."""
    return sorted(path.stem for path in (folder / "done").glob("[!.]*.json"))


def read_note(folder: Path, part: str) -> dict:
    """Read what `write_note` wrote."""
    return json.loads((folder / "done" / f"{part}.json").read_text("utf-8"))


def _write(writers: dict[str, pq.ParquetWriter], rows: pa.Table, sessions: pa.DictionaryArray) -> None:
    sourced = rows["source"].is_valid()
    for table, part in (("log", rows.filter(sourced)), ("apart", rows.filter(pc.invert(sourced)))):
        if part.num_rows:
            writers[table].write_table(part)
    # Rows of a session are together. Two sessions that became one user are still two here, to be found.
    starts = np.flatnonzero(np.diff(sessions.indices.to_numpy(), prepend=-1))
    index = {
        "user": rows["user"].to_numpy()[starts],
        "session": sessions.take(pa.array(starts)).cast(pa.string()),
        "rows": np.diff(starts, append=rows.num_rows),
        "length": rows["session_length"].to_numpy()[starts],
    }
    writers["index"].write_table(pa.table(index).cast(INDEX_SCHEMA))


def new_counts() -> dict[str, Counter]:
    """Return empty counts of rows, as a note keeps them."""
    return {key: Counter() for key in ("rows", "accepted", "contexts", "skipped")}


def count_rows(counts: dict[str, Counter], rows: pa.Table) -> None:
    """Add some rows of the log to the counts."""
    for key, column in (("rows", "source"), ("contexts", "context_type")):
        for pair in rows[column].combine_chunks().value_counts().to_pylist():
            if pair["values"] is not None:
                counts[key][pair["values"]] += pair["counts"]
    for source in SOURCES:
        of_source = pc.equal(rows["source"].cast(pa.string()), source)
        counts["accepted"][source] += pc.sum(rows["decision"].filter(of_source)).as_py() or 0
    for label in LABELS:
        skipped = pc.sum(rows[label]).as_py()
        counts["skipped"][label] += rows.num_rows - skipped if label == "not_skipped" else skipped


def _check_tracks(table: pa.Table, again: list[tuple[int, str]]) -> None:
    """Refuse two tracks that became one number."""
    if not again:
        return
    items = pa.array([item for item, _ in again])
    found = table.filter(pc.is_in(table["item"], items))
    titles = dict(zip(found["item"].to_pylist(), found["title"].to_pylist(), strict=True))
    for item, title in again:
        if titles[item] != title:
            raise InputError(f"tracks {titles[item]} and {title} became one number; choose another --salt")
