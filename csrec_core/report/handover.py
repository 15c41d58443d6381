"""Figures as they are handed over: pictures, data, words, and the script that draws them from the data."""

import ast
import re
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from struct import unpack

import pandas as pd

from csrec_core.csvfile import as_csv, read_csv, save_csv
from csrec_core.files import whole_file, write_text
from csrec_core.plots.files import DPI, save_drawing
from csrec_core.report.redraw import redraw_script
from csrec_core.report.run import Run
from csrec_core.report.slide import save_slide

LARGEST_SVG = 250_000  # bytes of an SVG, above which a page shows the PNG
SCALE = 1.62  # pixels of a report for a point of a figure: its letters are as large as the text
NARROW = 0.92  # pixels for a point on a phone, below which letters cannot be read
ID_REFERENCE = re.compile(r"""(?<=\sid=")|(?<=\shref="#)|(?<=url\(#)""")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same figures make the same archive


def save_figure(
    drawing, folder: Path, *, data: pd.DataFrame, caption: str, alt: str, options: Mapping
) -> list[Path]:
    """Write a figure's folder, named by its slug, and return its files.

    They are PNG and SVG for paper, the CSV, a slide, caption, alternative text, and `redraw.py`. A `drawing`
    that is a function is called with the data as they are read back from the CSV, so that the CSV alone gives
    the picture.
    """
    slug = folder.name
    table = save_csv(data, folder / f"{slug}.csv")
    script = []
    if callable(drawing) and hasattr(drawing, "__name__"):
        options = {name: _python_value(name, value) for name, value in options.items()}
        # A function written in a notebook cannot be read again, so there is no script to write.
        if drawing.__module__ != "__main__":
            text = redraw_script(drawing, slug=slug, options=options)
            script = [write_text(folder / "redraw.py", text)]
        drawing = drawing(read_csv(table), **options)
    elif options:
        raise TypeError(f"figure {slug!r}: {', '.join(options)} are for a function that draws, not a drawing")
    try:
        pictures = save_drawing(drawing, folder / slug)
    except TypeError as error:
        raise TypeError(f"figure {slug!r}: {error}") from None
    slide = save_slide(pictures[0], caption, folder / "slide.png")
    words = [write_text(folder / f"{name}.txt", text + "\n") for name, text in
             (("caption", caption), ("alt", alt))]  # fmt: skip
    return [*pictures, table, slide, *words, *script]


def picture(png: Path, svg: Path, alt: str) -> str:
    """Return a figure as HTML: the SVG itself, or the PNG where that is a drawing of too many parts."""
    if svg.stat().st_size <= LARGEST_SVG:
        return inline_svg(svg.read_text("utf-8"), f"{svg.parent.parent.name}-{svg.stem}", alt)
    width, height = (round(n * 72 * SCALE / DPI) for n in unpack(">II", png.read_bytes()[16:24]))
    source = f"data:image/png;base64,{b64encode(png.read_bytes()).decode()}"
    return f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}">'


def inline_svg(svg: str, prefix: str, alt: str) -> str:
    """Return a drawing of `drawing_svg` as a part of a page, its ids made the page's own by a prefix.

    It is as wide as its page, up to where its letters are as large as the text, and no narrower than they can
    be read.
    """
    tag, rest = ID_REFERENCE.sub(f"{prefix}-", svg.strip()).split(">", 1)
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', tag)
    assert box is not None  # as `drawing_svg` writes it
    width = float(box[1])
    look = f"width:{width * SCALE:.0f}px;min-width:{width * NARROW:.0f}px"
    about = f'{box[0]} class="drawing" role="img" aria-label="{escape(alt)}" style="{look}"'
    font = 'font-family="DejaVu Sans, sans-serif" stroke-linejoin="round"'
    return f"<svg {about} {font}>{rest}"


def zip_figures(run: Run, figures: list[dict], target: Path) -> Path:
    """Write the figures' folders and `figures.csv`, a list of them, as one archive; the same bytes again."""
    listed = pd.DataFrame(figures, columns=["notebook", "slug", "caption", "alt"])
    content = {"figures.csv": as_csv(listed).encode()}
    names = [name for figure in figures for name in figure["files"]]
    content |= {name.removeprefix("figures/"): (run.folder / name).read_bytes() for name in names}
    with whole_file(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return target


def _python_value(name: str, value):
    """Return a value that a script can hold, as Python's own; raise TypeError where it is none."""
    value = value.item() if hasattr(value, "item") else value
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        raise TypeError(f"{name}: expected a plain value that a script can hold, not {value!r}") from None
    return value
