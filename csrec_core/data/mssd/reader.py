"""Streams CSV, .csv.gz and .tar.gz in blocks whose every row knows its line; rows of another width lie apart.

A file that ends in its middle, or cannot be read, raises `InputError`: its part is then not written at all.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv

from csrec_core.data.mssd.schema import check_header
from csrec_core.errors import InputError

__all__ = ["ENDINGS", "BadRow", "Block", "original", "read_blocks", "read_header"]

ENDINGS = (".csv", ".csv.gz", ".tar.gz")
BLOCK = 8 << 20  # bytes of text that are read at once; Arrow reads 32 such blocks ahead at most
#: Bytes are read as if Latin-1, which all bytes are, so that text that is no UTF-8 is one bad cell and not a
#: bad file; `original` undoes it.
ENCODING = "latin-1"
CELL = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class BadRow:
    """A row that is kept out.

    Attributes
    ----------
    file, line : str, int
        Where it is; lines count from 1.
    problem : str
        What is wrong, in words to count by.
    detail : str
        What was found and what was expected.
    text : str
        The line as it is in the file.
    """

    file: str
    line: int
    problem: str
    detail: str
    text: str


@dataclass(frozen=True)
class Block:
    """Some rows of a file, all of the right width.

    Attributes
    ----------
    rows : RecordBatch
        All columns of the file, each cell dictionary-encoded text; `original` makes it what is in the file.
    lines : array (rows,) int64
        Where each row is in the file, from 1.
    file : str
        The file, or archive/member.
    bad : list of BadRow
        Rows of another width that were met up to the end of this block.
    """

    rows: pa.RecordBatch
    lines: np.ndarray
    file: str
    bad: list[BadRow] = field(default_factory=list)


def original(cell: str) -> bytes:
    """Return a cell as it is in the file."""
    return cell.encode(ENCODING)


def read_blocks(path: Path, columns: Sequence[str], *, block_size: int = BLOCK) -> Iterator[Block]:
    """Yield the rows of a file, or of all the tables in an archive, in blocks of `block_size` bytes.

    Each table's header must have `columns`, in any order and beside any others.
    """
    with _readable(path):
        for name, stream in _tables(path):
            yield from _blocks(name, stream, columns, block_size)


def read_header(path: Path, columns: Sequence[str]) -> None:
    """Refuse a file whose (first) table does not begin with the names of all columns."""
    if not path.name.endswith(ENDINGS):
        raise InputError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}")
    with _readable(path):
        tables = _tables(path)  # held, as its end closes the stream
        name, stream = next(tables, (None, None))
        if stream is None:
            raise InputError(f"{path}: no .csv in this archive")
        _names(name, stream, columns)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise InputError(f"{path}: ends in the middle (truncated); get the file again") from None
    except (gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise InputError(f"{path}: damaged, or not what its name says: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: no CSV table: {str(error).splitlines()[0]}") from None


def _tables(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield each table's name and its text as a stream; those of an archive in the order they lie in it."""
    if not path.name.endswith(".gz"):
        with path.open("rb") as stream:
            yield path.name, stream
        return
    with gzip.open(path, "rb") as unpacked:
        if not path.name.endswith(".tar.gz"):
            yield path.name, unpacked
            return
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".csv"):
                    yield f"{path.name}/{member.name}", archive.extractfile(member)
        while unpacked.read(BLOCK):  # to the end, where a truncated archive shows itself
            pass


def _names(name: str, stream: BinaryIO, columns: Sequence[str]) -> list[str]:
    header = stream.readline(1 << 16).decode("utf-8-sig", "replace").strip()
    found = [column.strip() for column in header.split(",")]
    check_header(found, columns, name)
    return found


def _blocks(name: str, stream: BinaryIO, columns: Sequence[str], block_size: int) -> Iterator[Block]:
    stream = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(stream)
    header = _names(name, stream, columns)
    skipped: list[csv.InvalidRow] = []

    def skip(row: csv.InvalidRow) -> str:
        skipped.append(row)
        return "skip"

    # Cells hold neither commas nor quotes nor line ends, so a line is a row whatever is in it.
    parse = csv.ParseOptions(quote_char=False, ignore_empty_lines=False, invalid_row_handler=skip)
    read = csv.ReadOptions(column_names=header, use_threads=False, block_size=block_size, encoding=ENCODING)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(header, CELL))
    try:
        reader = csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # a header alone
            return
        raise
    line = 2
    rows = pa.RecordBatch.from_pylist([], schema=reader.schema)
    for rows in reader:
        numbers = np.array([row.number + 1 for row in skipped], dtype=np.int64)
        # How many rows of this block lie before each skipped one; those of a later block stay for it.
        before = numbers - line - np.arange(len(numbers))
        met = int(np.searchsorted(before, rows.num_rows))
        place = np.arange(rows.num_rows)
        lines = line + place + np.searchsorted(before[:met], place, side="right")
        bad = [_of_another_width(name, row) for row in skipped[:met]]
        del skipped[:met]
        line = int(lines[-1]) + 1 if len(lines) else line
        yield Block(rows, lines, name, bad)
    if skipped:
        yield Block(
            rows.slice(0, 0), np.zeros(0, np.int64), name, [_of_another_width(name, r) for r in skipped]
        )


def _of_another_width(name: str, row: csv.InvalidRow) -> BadRow:
    # The header was read before, so the row's own number counts from the line after it.
    detail = f"{row.actual_columns} columns; expected {row.expected_columns}"
    text = original(row.text).decode("utf-8", "replace")
    return BadRow(name, row.number + 1, "number of columns", detail, text)
