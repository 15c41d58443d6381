"""Streams the lines of CSV, .csv.gz and .tar.gz in blocks.

A file that ends in its middle, or cannot be read, raises `InputError`: its part is then not written at all.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import pyarrow as pa

from csrec_core.errors import InputError, nearest

ENDINGS = (".csv", ".csv.gz", ".tar.gz")
Stream = IO[bytes] | BufferedIOBase
BLOCK_BYTES = 8 << 20  # bytes of text that are read at once
LONGEST_LINE = 1 << 20  # bytes of a line


def read_blocks(path: Path, columns: Sequence[str]) -> Iterator[tuple]:
    """Yield the lines of a file, or of all the tables in an archive, in blocks of `BLOCK_BYTES`.

    Each is the name of the table, the names of its columns, and a pyarrow.Table: `line`, from 1, the header's, and
    `text`, what is no UTF-8 replaced by U+FFFD. Headers must have `columns`, in any order and beside any others.
    """
    with _readable_file(path):
        for name, stream in _tables(path):
            header, line, rest = _header_names(name, stream, columns), 2, b""
            while piece := stream.read(BLOCK_BYTES):
                # Cells hold neither quotes nor line ends, so a line is a row whatever is in it.
                *whole, rest = (rest + piece).split(b"\n")
                yield name, header, _number_lines(whole, line)
                line += len(whole)
                if len(rest) > LONGEST_LINE:
                    raise InputError(
                        f"{path}: no CSV table: line {line} has more than {LONGEST_LINE:,} bytes"
                    )
            yield name, header, _number_lines([rest] if rest else [], line)


def _number_lines(lines: list[bytes], first: int) -> pa.Table:
    """Return lines as text beside their numbers."""
    texts = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines]
    numbers = pa.array(range(first, first + len(lines)), pa.int64())
    return pa.table({"line": numbers, "text": pa.array(texts, pa.string())})


def read_header(path: Path, columns: Sequence[str]) -> None:
    """Refuse a file whose (first) table does not begin with the names of all columns."""
    if not path.name.endswith(ENDINGS):
        raise InputError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}")
    with _readable_file(path):
        tables = _tables(path)  # held, as its end closes the stream
        if (first := next(tables, None)) is None:
            raise InputError(f"{path}: no .csv in this archive")
        _header_names(*first, columns)


@contextmanager
def _readable_file(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise InputError(f"{path}: ends in the middle (truncated); get the file again") from None
    except (gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise InputError(f"{path}: damaged, or not what its name says: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _tables(path: Path) -> Iterator[tuple[str, Stream]]:
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
                content = archive.extractfile(member) if member.isfile() else None
                if content and member.name.endswith(".csv"):
                    yield f"{path.name}/{member.name}", content
        while unpacked.read(BLOCK_BYTES):  # to the end, where a truncated archive shows itself
            pass


def _header_names(name: str, stream: Stream, columns: Sequence[str]) -> list[str]:
    """Read the header of a table; refuse one that lacks a column, or names one twice."""
    header = stream.readline(1 << 16).decode("utf-8-sig", "replace").strip()
    found = [column.strip() for column in header.split(",")]
    begin = f"{name}: line 1: wrong header: "
    if missing := [column for column in columns if column not in found]:
        near = nearest(missing[0], found)
        hint = f" (did you rename it to {near!r}?)" if near and near not in columns else ""
        shown = ", ".join(found) if len(found) < 40 else f"{', '.join(found[:40])}, ..."
        plural = "s" * (len(missing) > 1)
        raise InputError(f"{begin}no column{plural} {', '.join(missing)}{hint}; found {shown}")
    if twice := {column for column in found if found.count(column) > 1}:
        raise InputError(f"{begin}{', '.join(sorted(twice))} more than once")
    return found
