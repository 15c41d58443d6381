"""Where rows go that are kept out: a CSV file for each part, with file, line, what is wrong, and the text."""

import csv
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from csrec_core.data.mssd.reader import BadRow
from csrec_core.files import whole_file

__all__ = ["Quarantine", "append_rows"]

COLUMNS = ("file", "line", "problem", "detail", "text")


def append_rows(path: Path, rows: list[BadRow]) -> None:
    """Add rows to a file of bad rows, or begin one."""
    if not rows:
        return
    before = path.read_bytes().decode("utf-8") if path.exists() else ",".join(COLUMNS) + "\r\n"
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        stream.write(before)
        csv.writer(stream).writerows([row.file, row.line, row.problem, row.detail, row.text] for row in rows)


class Quarantine:
    """Writes bad rows as they are found; without any there is no file.

    Attributes
    ----------
    problems : Counter
        Rows by what is wrong with them.
    """

    def __init__(self, path: Path):
        self.path, self.problems, self._first = path, Counter(), None
        self._files, self._writer = ExitStack(), None

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, *error) -> None:
        if self._writer is None and error[0] is None:
            self.path.unlink(missing_ok=True)  # of an earlier version of the input
        self._files.__exit__(*error)

    def add(self, rows: Iterable[BadRow]) -> None:
        """Write some bad rows, and count them."""
        for row in rows:
            if self._writer is None:
                self._first = row
                self._writer = csv.writer(self._open())
                self._writer.writerow(COLUMNS)
            self._writer.writerow([row.file, row.line, row.problem, row.detail, row.text])
            self.problems[row.problem] += 1

    def example(self) -> str:
        """Return words on the first bad row, to end a message with."""
        row = self._first
        return "" if row is None else f"; the first: {row.file}: line {row.line}: {row.detail}"

    def _open(self):
        temporary = self._files.enter_context(whole_file(self.path))
        return self._files.enter_context(temporary.open("w", newline="", encoding="utf-8"))
