"""The part that one file of MSSD becomes: Parquet files that are whole or absent, and a note of it.

DuckDB judges the cells and sorts the rows, on disk beyond its share of memory.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from duckdb.func import PythonUDFType
from duckdb.sqltypes import BIGINT, VARCHAR

from csrec_core.data.mssd.reader import ENDINGS, read_blocks
from csrec_core.data.mssd.schema import (
    LOG,
    SESSION,
    TRACK,
    TRACK_ID,
    TRACKS,
    FileColumn,
    Options,
    whole_numbers,
)
from csrec_core.data.tables import sql_text
from csrec_core.errors import InputError
from csrec_core.files import whole_file, write_json

LOG_COLUMNS = tuple(column.name for column in (SESSION, TRACK, *LOG))
TRACK_COLUMNS = tuple(column.name for column in (TRACK_ID, *TRACKS))
DUPLICATE = "duplicated position"
PART_MEMORY = "512MB"  # of DuckDB, past which it works on disk
LOG_NAMES = ", ".join(("user", "t", "item", "decision", "source", *(column.target for column in LOG[1:])))
#: The tables that each part has a file in, from its `good` rows. A session is a user; two that became one
#: number are still two in the index, to be found.
TABLES = {
    "log": f"SELECT {LOG_NAMES} FROM good ORDER BY user, t",
    "index": "SELECT user, session, count(*)::INTEGER AS rows, arg_min(session_length, t)::INTEGER AS length "
    "FROM good GROUP BY user, session ORDER BY user, session",
}
BAD = "SELECT file, line, problem, detail, text FROM judged WHERE problem IS NOT NULL ORDER BY rowid"


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

    That holds `input`, the file's `identity`; `read`, its rows; `problems`, rows by what is wrong with them. InputError
    where the file cannot be read to its end, or has no good row; nothing of it is written then.
    """
    name, source = part_name(path), identity(path)
    with open_database(options.key) as base:
        _judge_lines(base, [path], (SESSION, TRACK, *LOG))
        base.execute("ALTER TABLE judged ADD COLUMN item BIGINT; UPDATE judged SET item = number(track)")
        known = f"SELECT item FROM read_parquet({sql_text(folder / 'items.parquet')})"
        _reject(
            base,
            "track not in the track table",
            "no such track in the files of --tracks",
            f"item NOT IN ({known})",
        )
        _reject(base, "session_position", "session_position beyond session_length", "t > session_length")
        detail = "a second row for this session_position of the session"
        _reject_all_but_first(base, DUPLICATE, detail, "session, t")
        _refuse_nothing(base, str(path))
        decision = f"{'' if options.label == 'not_skipped' else 'NOT '}{options.label}"
        base.execute(
            f"CREATE VIEW good AS SELECT *, number(session) AS user, ({decision})::TINYINT AS decision, "
            f"{options.source} AS source FROM judged WHERE problem IS NULL"
        )
        for table, sql in TABLES.items():
            write_table(base, sql, folder / table / f"{name}.parquet")
        note = {
            "input": source,
            "read": one(base, "SELECT count(*) FROM judged")[0],
            "problems": _quarantine(base, folder, name),
        }
    write_json(note_file(folder, name), note)
    return note


def ingest_tracks(paths: Sequence[Path], folder: Path, options: Options) -> None:
    """Write `items.parquet` from the files of track features.

    Rows with a cell that is no number, and of a track that came before, are quarantined.
    """
    with open_database(options.key) as base:
        _judge_lines(base, paths, (TRACK_ID, *TRACKS))
        _reject_all_but_first(base, "duplicated track", "a second row for this track", "title")
        _refuse_nothing(base, ", ".join(map(str, paths)))
        base.execute("CREATE TABLE good AS SELECT number(title) AS item, * FROM judged WHERE problem IS NULL")
        alike = "SELECT min(title), max(title) FROM good GROUP BY item HAVING count(*) > 1 LIMIT 1"
        if pair := base.execute(alike).fetchone():
            raise InputError(f"tracks {pair[0]} and {pair[1]} became one number; choose another --salt")
        columns = ", ".join(column.target for column in TRACKS)
        write_table(base, f"SELECT item, title, {columns} FROM good ORDER BY rowid", folder / "items.parquet")
        _quarantine(base, folder, "items")


@contextmanager
def open_database(key: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty database of one thread; `number` is its function of ids, under a key."""

    def number(names: pa.Array) -> pa.Array:
        return pa.array(whole_numbers(np.asarray(names, dtype=object), key))

    with (
        tempfile.TemporaryDirectory(prefix="csrec-") as folder,
        duckdb.connect(config={"memory_limit": PART_MEMORY, "temp_directory": folder, "threads": 1}) as base,
    ):
        base.execute("SET enable_progress_bar = false")
        base.create_function("number", number, [VARCHAR], BIGINT, type=PythonUDFType.ARROW)
        yield base


def one(base: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    """Return the first row of a query that has rows."""
    return base.execute(sql).fetchall()[0]


def write_table(base: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    """Write the rows of a query to a file, whole or absent, of the form that its ending says."""
    form = "FORMAT parquet, COMPRESSION zstd" if path.suffix == ".parquet" else "FORMAT csv, HEADER"
    with whole_file(path) as temporary:
        base.execute(f"COPY ({sql}) TO {sql_text(temporary)} ({form})")


def rows_of(folder: Path, parts: Sequence[str], table: str) -> str:
    """Return SQL of the rows of a table of parts, each with the `part` it lies in."""
    paths = (sql_text(folder / table / f"{part}.parquet") for part in parts)
    rows = f"read_parquet([{', '.join(paths)}], filename = true)"
    return f"(SELECT * EXCLUDE (filename), parse_filename(filename, true) AS part FROM {rows})"


def read_users(folder: Path, users: np.ndarray, table: str) -> pd.DataFrame:
    """Return the rows of some users in a table of all parts."""
    paths = [folder / table / f"{part}.parquet" for part in parts_of(folder)]
    return pq.read_table(paths, filters=pc.field("user").isin(pa.array(users))).to_pandas()


def note_file(folder: Path, part: str) -> Path:
    """Return the file whose presence says that a part is whole."""
    return folder / "done" / f"{part}.json"


def parts_of(folder: Path) -> list[str]:
    """Return the parts that are whole."""
    return sorted(path.stem for path in (folder / "done").glob("[!.]*.json"))


def _judge_lines(
    base: duckdb.DuckDBPyConnection, paths: Sequence[Path], columns: Sequence[FileColumn]
) -> None:
    """Make the table `judged`: a row a line, with `file`, `line`, `text`, `problem`, `detail` and its values."""
    typed = "".join(f", {column.target} {column.type}" for column in columns)
    base.execute(f"CREATE TABLE judged (file TEXT, line BIGINT, text TEXT, problem TEXT, detail TEXT{typed})")
    for path in paths:
        for table, header, lines in read_blocks(path, [column.name for column in columns]):
            base.register("block", lines)
            base.execute(f"INSERT INTO judged {_line_verdicts(table, header, columns)}")


def _line_verdicts(table: str, header: list[str], columns: Sequence[FileColumn]) -> str:
    """Return the SQL that judges the lines of a block: the first of its faults is the problem of a row."""
    values, problems, details = [], [], []
    for column in columns:
        cell = f"cell[{header.index(column.name) + 1}]"
        values.append(f"CAST({column.value.format(cell)} AS {column.type}) AS {column.target}")
        problems.append(f"WHEN {column.target} IS NULL THEN {sql_text(column.name)}")
        said = sql_text(f"'; expected {column.expected}")
        found = f"'{column.name} = ''', {cell}, {said}"
        details.append(f"WHEN {sql_text(column.name)} THEN concat({found})")
    width = len(header)
    targets = ", ".join(column.target for column in columns)
    return f"""
        WITH cells AS (SELECT line, text, string_split(text, ',') AS cell FROM block),
        valued AS (SELECT *, {", ".join(values)} FROM cells),
        faulty AS (SELECT *, CASE WHEN text IN ('', {sql_text("," * (width - 1))}) THEN 'blank line'
            WHEN len(cell) <> {width} THEN 'number of columns' {" ".join(problems)} END AS problem FROM valued)
        SELECT {sql_text(table)}, line, text, problem,
            CASE problem WHEN 'blank line' THEN 'a blank line'
            WHEN 'number of columns' THEN concat(len(cell), ' columns; expected {width}')
            {" ".join(details)} END, {targets}
        FROM faulty"""


def _reject(base: duckdb.DuckDBPyConnection, problem: str, detail: str, where: str) -> None:
    """Say what is wrong with the rows, good until now, for which a condition holds."""
    sql = f"UPDATE judged SET problem = ?, detail = ? WHERE problem IS NULL AND {where}"
    base.execute(sql, [problem, detail])


def _reject_all_but_first(base: duckdb.DuckDBPyConnection, problem: str, detail: str, keys: str) -> None:
    """Reject the good rows that have the same keys as one before."""
    first = f"SELECT min(rowid) FROM judged WHERE problem IS NULL GROUP BY {keys}"
    _reject(base, problem, detail, f"rowid NOT IN ({first})")


def _refuse_nothing(base: duckdb.DuckDBPyConnection, what: str) -> None:
    """Raise InputError where no row is good."""
    if not one(base, "SELECT count(*) FROM judged WHERE problem IS NULL")[0]:
        worst = base.execute(f"{BAD} LIMIT 1").fetchone()
        first = f"; the first: {worst[0]}: line {worst[1]}: {worst[3]}" if worst else ""
        raise InputError(f"{what}: no good row{first}")


def _quarantine(base: duckdb.DuckDBPyConnection, folder: Path, name: str) -> dict[str, int]:
    """Write the bad rows, if there are any; return how many have each problem."""
    path = folder / "quarantine" / f"{name}.csv"
    sql = "SELECT problem, count(*) FROM judged WHERE problem IS NOT NULL GROUP BY problem ORDER BY problem"
    if problems := dict(base.execute(sql).fetchall()):
        write_table(base, BAD, path)
    else:
        path.unlink(missing_ok=True)  # of an earlier version of the input
    return problems
