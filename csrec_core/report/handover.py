"""Figures as they are handed over: picture, data, words, and the call that draws it again from the data."""

import ast
import base64
import csv
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from struct import unpack

import pandas as pd

from csrec_core import plots
from csrec_core.files import whole_file, write_text
from csrec_core.plots.files import DPI, save_drawing
from csrec_core.report.run import Run

__all__ = ["image", "read_csv", "save_csv", "save_figure", "zip_figures"]

REDRAW = '''\
"""Draw this figure again from its data alone; run it where csrec is installed."""

from pathlib import Path

from csrec_core.plots import save_drawing, use_style
from csrec_core.report.handover import read_csv
from {module} import {function}

folder = Path(__file__).parent
use_style()
drawing = {function}(read_csv(folder / "{slug}.csv"){options})
save_drawing(drawing, folder / "redrawn")
'''
# What a spreadsheet takes for a formula and runs, and what of it is a number with or without an interval.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
NUMBER = re.compile(r"[-+](inf|[\d\s.,:%e\[\]–−+-]*)")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same figures make the same archive


def save_figure(
    drawing, folder: Path, *, data: pd.DataFrame, caption: str, alt: str, options: Mapping
) -> list[Path]:
    """Write a figure's folder, named by its slug, and return its files: PNG, SVG, CSV, words, `redraw.py`.

    A `drawing` that is a function is called with the data as they are read back from the CSV, so that the
    CSV alone gives the picture.
    """
    slug = folder.name
    table = save_csv(data, folder / f"{slug}.csv")
    script = []
    if _is_function(drawing):
        words = "".join(f", {name}={_literal(name, value)}" for name, value in options.items())
        own = getattr(plots, drawing.__name__, None) is drawing
        module = "csrec_core.plots" if own else drawing.__module__
        call = {"module": module, "function": drawing.__name__, "slug": slug, "options": words}
        # A function written in a notebook cannot be imported, so there is no script to write.
        if drawing.__module__ != "__main__":
            script = [write_text(folder / "redraw.py", REDRAW.format(**call))]
        drawing = drawing(read_csv(table), **options)
    elif options:
        raise TypeError(f"figure {slug!r}: {', '.join(options)} are for a function that draws, not a drawing")
    try:
        pictures = save_drawing(drawing, folder / slug)
    except TypeError as error:
        raise TypeError(f"figure {slug!r}: {error}") from None
    words = [write_text(folder / f"{name}.txt", text + "\n") for name, text in
             (("caption", caption), ("alt", alt))]  # fmt: skip
    return [*pictures, table, *words, *script]


def save_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Write exactly the data, as `read_csv` reads it; the index too, where it is not just the row's number.

    Text that a spreadsheet would run gets an apostrophe before it, by which it is shown as it is.
    """
    return write_text(path, _as_csv(frame))


def read_csv(path: Path) -> pd.DataFrame:
    """Return the data that `save_csv` wrote."""
    frame = pd.read_csv(path)

    def bare(value):
        return value[1:] if isinstance(value, str) and value[0] == "'" and FORMULA.match(value) else value

    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].map(bare)
    return frame.rename(columns=bare)


def _as_csv(frame: pd.DataFrame) -> str:
    named = not isinstance(frame.index, pd.RangeIndex)
    # All text in quotation marks: else pandas writes a carriage return that no reader gets past.
    text = frame.to_csv(index=named, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    rows = csv.reader(io.StringIO(text, newline=""))
    lines = [",".join(map(_as_cell, row)) if row != [""] else '""' for row in rows]
    return "\n".join([*lines, ""])


def _as_cell(text: str) -> str:
    runs = FORMULA.match(text) and not NUMBER.fullmatch(text)
    safe = f"'{text}" if runs else text
    return '"{}"'.format(safe.replace('"', '""')) if re.search(r'[,"\r\n]', safe) else safe


def image(png: Path, svg: Path, alt: str) -> str:
    """Return the image element, from the smaller of the two files, a little larger than on paper."""
    small = min(svg, png, key=lambda path: path.stat().st_size)
    kind = "svg+xml" if small is svg else "png"
    source = base64.b64encode(small.read_bytes()).decode()
    width, height = (round(n * 110 / DPI) for n in unpack(">II", png.read_bytes()[16:24]))
    size = f'width="{width}" height="{height}"'
    return f'<img src="data:image/{kind};base64,{source}" alt="{escape(alt)}" {size}>'


def zip_figures(run: Run, figures: list[dict], target: Path) -> Path:
    """Write the figures' folders and `figures.csv`, a list of them, as one archive; the same bytes again."""
    listed = pd.DataFrame(figures, columns=["notebook", "slug", "caption", "alt"])
    content = {"figures.csv": _as_csv(listed).encode()}
    names = [name for figure in figures for name in figure["files"]]
    content |= {name.removeprefix("figures/"): (run.folder / name).read_bytes() for name in names}
    with whole_file(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return target


def _is_function(drawing) -> bool:
    return isinstance(drawing, Callable) and hasattr(drawing, "__name__")


def _literal(name: str, value) -> str:
    """Return the value as it is written in Python; raise TypeError where it cannot be."""
    value = value.item() if hasattr(value, "item") else value
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        raise TypeError(f"{name}: expected a plain value that a script can hold, not {value!r}") from None
    return repr(value)
