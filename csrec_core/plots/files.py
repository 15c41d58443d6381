"""The look of every drawing, and drawings as files: the same drawing is the same bytes."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from csrec_core.files import whole_file
from csrec_core.plots.svg import drawing_svg

DPI = 300
#: One look for every figure: quiet axes, colour-blind safe colours that also differ in grey. A figure is so
#: narrow that its letters can be read on a phone, and are as large as the text in a report.
STYLE = {
    "figure.figsize": "4.9, 3.2",
    "figure.constrained_layout.use": "True",
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "savefig.bbox": "tight",
    "savefig.pad_inches": "0.05",
    "font.family": "DejaVu Sans",
    "font.size": "10",
    "axes.titlesize": "10",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": "10",
    "axes.labelsize": "10",
    "axes.labelcolor": "333333",
    "axes.edgecolor": "999999",
    "axes.linewidth": "0.8",
    "axes.spines.top": "False",
    "axes.spines.right": "False",
    "axes.grid": "True",
    "axes.grid.axis": "y",
    "axes.axisbelow": "True",
    "axes.prop_cycle": "cycler('color', ['174f8f', 'd9731a', '217f5e', '8a4f9e', 'c23b4b', '7a7a7a'])",
    "grid.color": "e6e6e6",
    "grid.linewidth": "0.8",
    "xtick.color": "555555",
    "ytick.color": "555555",
    "xtick.labelsize": "9",
    "ytick.labelsize": "9",
    "xtick.major.size": "3",
    "ytick.major.size": "0",
    "lines.linewidth": "1.8",
    "lines.markersize": "5",
    "legend.frameon": "False",
    "legend.fontsize": "9",
    "image.cmap": "RdBu_r",
    "text.parse_math": "False",  # names of a log may hold dollar signs; drawings of formulas ask for them
}


def use_style() -> None:
    """Draw from here on as the reports do."""
    mpl.rcParams.update(STYLE)


def save_drawing(drawing, stem: str | Path) -> tuple[Path, Path]:
    """Write an Axes or Figure as `stem`.png, 300 dots an inch, and as `stem`.svg beside it; close its figure."""
    stem = Path(stem)
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    with whole_file(png) as bitmap, whole_file(svg) as vector:
        draw_files(drawing, bitmap, vector)
    return png, svg


def draw_files(drawing, png: Path, svg: Path) -> None:
    """Write a drawing into two files, and close its figure."""
    figure = drawing.figure if hasattr(drawing, "figure") else drawing
    if not isinstance(figure, Figure):
        raise TypeError(f"expected a matplotlib Axes or Figure, not {type(drawing)}")
    svg.write_bytes(drawing_svg(figure).encode())
    figure.set_layout_engine("none")  # the bitmap has its places, too: to find them takes as long as to draw
    figure.savefig(png, format="png", dpi=DPI)
    plt.close(figure)
