"""Tables of any common form, known by their content and not by their suffix, as relations of DuckDB.

DuckDB reads comma-, tab-, semicolon- and bar-separated text, JSON lines and Parquet, plain or compressed, in
bounded memory. Text stays text here: what a column means, and its type, is for `csrec_core.data.rows`.
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from csrec_core.data.forms import as_utf8, decode_head, find_separator, header_names, read_head
from csrec_core.errors import InputError, readable, shown, unknown
from csrec_core.files import Scratch

ROW = '"row of the file"'  # from 1, the header not counted
MEMORY = "1GB"  # of DuckDB, past which it works on disk


@dataclass(frozen=True)
class Table:
    """An open table, or what a query leaves of it: a view, whose rows know their number in the file as `ROW`."""

    connection: duckdb.DuckDBPyConnection  # sees no other file, and cannot be told to
    name: str  # what messages call it
    columns: tuple[str, ...] = ()  # those of the file
    types: dict[str, str] = field(default_factory=dict)  # of DuckDB, by column; text files have VARCHAR alone
    view: str = "file"  # its name in SQL

    def query(self, sql: str) -> list[tuple]:
        """Return the rows of a query; what DuckDB refuses becomes one message."""
        with self.spoken():
            return self.connection.execute(sql).fetchall()

    def one(self, what: str, rows: str = "") -> Any:
        """Return one value, such as a count, of the view, or of other `rows`."""
        return self.query(f"SELECT {what} FROM {rows or self.view}")[0][0]

    def select(self, name: str, sql: str, *, part: str = "") -> "Table":
        """Return a view by a query on this one; `part` is the option that messages name."""
        with self.spoken(part):
            self.connection.execute(f"CREATE TEMP VIEW {name} AS {sql}")
            # A view is only named until its first row is read.
            self.connection.execute(f"SELECT * FROM {name} LIMIT 1").fetchall()
        types = {column: type_ for column, type_, *_ in self.query(f"DESCRIBE {name}")}
        return replace(self, view=name, types=types)

    def batches(self, sql: str, size: int = 1 << 20) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query as they come."""
        with self.spoken():
            yield from self.connection.sql(sql).to_arrow_reader(size)

    @contextmanager
    def spoken(self, part: str = "") -> Iterator[None]:
        """Turn errors of DuckDB into messages; `part` is the option whose SQL it reads, such as `--where`."""
        try:
            yield
        except duckdb.Error as error:
            raise _explain(str(error), self, part) from None


@contextmanager
def open_table(
    path: str | Path | Sequence[Path], *, header: Sequence[str] = (), separator: str = ""
) -> Iterator[Table]:
    """Open a file, or the Parquet files of one table, whatever their names.

    A file is text with one of `SEPARATORS`, JSON lines, a JSON array of objects, or Parquet; text also compressed by
    gzip or zstd. `header` names the columns of text without a first line that does, `separator` stands between them,
    found by default. InputError where the file is none of these, or two columns have one name.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else list(path)
    head, compression = read_head(paths[0])
    name = readable(paths[0] if len(paths) == 1 else paths[0].parent)
    with Scratch() as folder:
        if not (columnar := head.startswith(b"PAR1")):
            text, encoding = decode_head(head, name)
            if encoding not in ("utf-8", "utf-8-sig"):
                paths, compression = [as_utf8(paths[0], encoding, compression, folder)], "none"
        with _database(folder, paths) as connection:
            table = Table(connection, name)
            if columnar:
                hive = any("=" in part for part in paths[0].parts)
                options = f"union_by_name=true, hive_partitioning={hive}, hive_types_autocast=false"
                source = f"read_parquet({_texts(paths)}, {options})"
                with as_parquet(name):  # DuckDB would make different names of those that are alike
                    names = pq.read_schema(paths[0]).names
                _check_names(names, name)
            elif text.lstrip()[:1] in ("{", "["):
                source = _json_source(table, paths[0], compression, text)
            else:
                source = _text_source(paths[0], compression, text, name, tuple(header), separator)
            yield _with_view(table, source)


@contextmanager
def open_frame(frame: pd.DataFrame, name: str = "log") -> Iterator[Table]:
    """Open a DataFrame as a table; a column of mixed objects becomes text."""
    frame = frame.rename(columns=str)
    _check_names(list(frame.columns), name)
    arrow = pa.table({column: _as_arrow(frame[column]) for column in frame.columns})
    with _frames(os.getpid())[0].cursor() as connection:
        connection.register("frame", arrow)
        yield _with_view(Table(connection, name), "frame")


def quoted(column: str) -> str:
    """Return the name of a column as SQL."""
    return '"' + column.replace('"', '""') + '"'


@contextmanager
def as_parquet(name: str) -> Iterator[None]:
    """Say of a file that begins as Parquet that it is none."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name}: not a Parquet table: {shown(str(error).splitlines()[0], 200)}") from None


def sql_text(value: object) -> str:
    """Return a text as SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def _texts(values) -> str:
    return f"[{', '.join(map(sql_text, values))}]"


def _database(folder: str, paths: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """Return a new database in memory, locked to these files."""
    settings: dict[str, Any] = {
        "memory_limit": MEMORY,
        "temp_directory": folder,
        "autoinstall_known_extensions": "false",
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET enable_progress_bar = false")
    # Version 2.0 makes of TRY_CAST on a text file a cast that fails.
    connection.execute("SET GLOBAL disabled_optimizers = 'type_pushdown'")
    if paths:
        connection.execute(f"SET allowed_paths = {_texts(paths)}")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


@cache
def _frames(process: int) -> tuple[duckdb.DuckDBPyConnection, Scratch]:
    """Return the database that all DataFrames of a process share: making one takes 60 ms."""
    folder = Scratch()
    return _database(folder.name, []), folder


def _with_view(table: Table, source: str) -> Table:
    table.query(f"CREATE TEMP VIEW file AS SELECT row_number() OVER () AS {ROW}, * FROM {source}")
    types = {name: kind for name, kind, *_ in table.query("DESCRIBE file")}
    del types[ROW.strip('"')]
    return replace(table, columns=tuple(types), types=types)


def _as_arrow(values: pd.Series) -> pa.Array:
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        array = pa.array(
            [None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value) for value in values],
            pa.string(),
        )
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _json_source(table: Table, path: Path, compression: str, text: str) -> str:
    form = "array" if text.lstrip().startswith("[") else "newline_delimited"
    options = f"{sql_text(path)}, format='{form}', compression='{compression}'"
    described = f"DESCRIBE SELECT * FROM read_json({options}, maximum_depth=1, sample_size=200000)"
    columns = [row[0] for row in table.query(described)]
    _check_names(columns, table.name)
    typed = ", ".join(f"{sql_text(column)}: 'VARCHAR'" for column in columns)
    return f"read_json({options}, columns={{{typed}}})"


def _text_source(
    path: Path, compression: str, text: str, name: str, header: tuple[str, ...], separator: str
) -> str:
    separator = separator or find_separator(text, name)
    try:
        first = next(csv.reader(text.splitlines(keepends=True), delimiter=separator), [])
    except csv.Error as error:
        raise InputError(f"{name}: line 1: {error}; expected a header") from None
    columns = list(header) or header_names(first, name)
    if header and len(header) != len(first):
        raise InputError(f"{name}: {len(header)} names in --header, but {len(first)} columns in line 1")
    _check_names(columns, name)
    typed = ", ".join(f"{sql_text(column)}: 'VARCHAR'" for column in columns)
    return (
        f"read_csv({sql_text(path)}, auto_detect=false, delim={sql_text(separator)}, quote='\"', escape='\"', "
        f"header={not header}, compression='{compression}', columns={{{typed}}})"
    )


def _check_names(columns: Sequence[str], name: str) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        if (other := seen.setdefault(column.lower(), column)) is not column:
            alike = "" if other == column else f" (beside {shown(other)}: capitals do not tell them apart)"
            raise InputError(
                f"{name}: two columns are named {shown(column)}{alike}; expected one name for each"
            )
        if not column.isprintable() or len(column) > 200 or column == ROW.strip('"'):
            raise InputError(f"{name}: {shown(column)} is no name of a column; expected plain text")


def _explain(text: str, table: Table, part: str) -> InputError:
    """Return what an error of DuckDB says, in one line."""
    column = re.search(r'Referenced column "(.*?)" not found|does not have a column named "(.*?)"', text)
    if column:
        return unknown("column", column[1] or column[2], table.columns, where=part or table.name)
    lines = [line for line in text.splitlines() if line.strip()]
    line = re.search(r"CSV Error on Line: (\d+)|in line (\d+)", text)
    place = f"{table.name}: line {line[1] or line[2]}" if line else part or table.name
    if "Invalid unicode" in text:
        return InputError(f"{place}: not UTF-8; save the file as UTF-8")
    widths = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if widths:
        return InputError(
            f"{place}: not a CSV table: {widths[2]} columns; expected {widths[1]}, as the header has"
        )
    if "CSV Error" in text:
        reason = next((line for line in lines[2:] if line.endswith(".")), lines[0])
        return InputError(f"{place}: not a CSV table: {shown(reason)}")
    if "memory" in text.lower() and "limit" in text.lower():
        return InputError(
            f"{table.name}: does not fit into {MEMORY} of memory and the disk for temporary files"
        )
    kind = "" if part else "not a table that can be read: "
    return InputError(f"{place}: {kind}{shown(re.sub(r'^[A-Za-z ]+ Error: ', '', lines[0]), 200)}")
