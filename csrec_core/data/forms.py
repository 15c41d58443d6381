"""What form a file has: how it is compressed, what parts its columns, which names its header tells."""

import codecs
import csv
import io
import re
import shutil
from pathlib import Path

import pyarrow as pa

from csrec_core.errors import InputError, readable, shown, unreadable

HEAD = 1 << 20  # bytes that tell the form of a file
SEPARATORS = (",", "\t", ";", "|")
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
OTHER_FORMS = {
    b"PK\x03\x04": "a zip archive or an Excel file; save the table as CSV",
    b"BZh": "compressed by bzip2; expected gzip or zstd",
    b"\xfd7zXZ": "compressed by xz; expected gzip or zstd",
    b"ORC": "an ORC file; save it as Parquet",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save it as Parquet",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NO_WINDOWS = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # bytes that are no characters there
VALUE = re.compile(r"\s*[-+]?(\d[\d.,]*([eE][-+]?\d+)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?)\s*")
TYPED = re.compile(r"(.+):(token|float|token_seq|float_seq)")  # the header of RecBole's files


def read_head(path: Path) -> tuple[bytes, str]:
    """Return the first bytes of a file, decompressed, and how it is compressed."""
    try:
        if path.is_dir():
            raise InputError(f"{readable(path)}: a folder; expected a file")
        with path.open("rb") as stream:
            start = stream.read(HEAD)
    except FileNotFoundError:
        raise InputError(f"{readable(path)}: no such file") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    for magic, what in OTHER_FORMS.items():
        if start.startswith(magic):
            raise InputError(f"{readable(path)}: {what}")
    compression = next((how for magic, how in COMPRESSIONS.items() if start.startswith(magic)), "none")
    if compression != "none":
        try:
            with pa.input_stream(str(path), compression=compression) as stream:
                start = stream.read(HEAD)
        except (OSError, pa.ArrowInvalid):
            raise InputError(f"{readable(path)}: broken {compression} data") from None
    if not start.strip():
        raise InputError(f"{readable(path)}: the file is empty; expected a header and one row per exposure")
    return start, compression


def decode_head(head: bytes, name: str) -> tuple[str, str]:
    """Return the head as text without the line that may be cut, and its encoding.

    Bytes that are no UTF-8 are of Windows, unless other characters of the file are UTF-8: then they are broken.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")
    if head[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = (
            codecs.getincrementaldecoder(encoding)()
            .decode(head, final=len(head) < HEAD)
            .removeprefix("\ufeff")
        )
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or not head.decode("utf-8", "ignore").isascii():
            line = head[: error.start].count(b"\n") + 1
            raise InputError(f"{name}: line {line}: not {encoding.upper()}; save the file as UTF-8") from None
        encoding = "latin-1" if any(byte in head for byte in NO_WINDOWS) else "cp1252"
        text = head.decode(encoding)
    if not text.strip():
        raise InputError(f"{name}: the file is empty; expected a header and one row per exposure")
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes; expected text in UTF-8 or Parquet")
    whole = text if len(head) < HEAD else text[: text.rfind("\n") + 1]
    return whole or text, encoding


def as_utf8(path: Path, encoding: str, compression: str, folder: str) -> Path:
    """Return a copy of a file of text as UTF-8, plain, in a folder."""
    copy = Path(folder) / "utf-8"
    with (
        pa.input_stream(str(path), compression=None if compression == "none" else compression) as stream,
        io.TextIOWrapper(stream, encoding, newline="") as text,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        try:
            shutil.copyfileobj(text, target)
        except UnicodeDecodeError:
            raise InputError(f"{readable(path)}: not {encoding.upper()}; save the file as UTF-8") from None
    return copy


def find_separator(text: str, name: str) -> str:
    """Return the separator by which most lines have as many columns as the first, and at least two."""
    best, found = (0.0, 0), ""
    lines = text.splitlines(keepends=True)[:200]
    for separator in SEPARATORS:
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=separator) if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            best, found = max((best, found), (score, separator))
    if not found:
        start = shown(text.splitlines()[0])
        raise InputError(
            f"{name}: line 1: {start}: not a CSV table; expected columns between commas, tabs, semicolons or "
            "bars, JSON lines, or Parquet"
        )
    return found


def header_names(cells: list[str], name: str) -> list[str]:
    """Return the names of the columns; refuse a first line that holds values."""
    cells = [cell.strip() for cell in cells]
    typed = [TYPED.fullmatch(cell) for cell in cells]
    if all(typed):
        return [match[1] for match in typed if match]
    values = [cell for cell in cells if VALUE.fullmatch(cell)]
    if values:
        raise InputError(
            f"{name}: line 1 holds values such as {shown(values[0])}, and no names; expected a header, "
            "or the names by --header user,item,..."
        )
    return [cell or f"column{number}" for number, cell in enumerate(cells, 1)]
