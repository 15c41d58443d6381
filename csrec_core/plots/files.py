"""The look of every drawing, and drawings as files: the same drawing is the same bytes."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from csrec_core.files import whole_file

__all__ = ["DPI", "STYLE", "save_drawing", "use_style"]

STYLE = Path(__file__).with_name("style.mplstyle")
DPI = 200


def use_style() -> None:
    """Draw from here on as the reports do."""
    mpl.style.use(STYLE)


def save_drawing(drawing, stem: str | Path) -> tuple[Path, Path]:
    """Write a drawing beside each other as `stem`.png, 200 dots an inch, and `stem`.svg; close its figure.

    Parameters
    ----------
    drawing : matplotlib Axes or Figure, or a seaborn grid

    Returns
    -------
    png, svg : paths
    """
    figure = drawing.figure if hasattr(drawing, "figure") else drawing
    if not isinstance(figure, Figure):
        raise TypeError(f"expected a matplotlib Axes or Figure, not {type(drawing)}")
    stem = Path(stem)
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    # A fixed salt and no date make the SVG the same bytes at every run.
    with mpl.rc_context({"svg.hashsalt": "csrec"}):
        with whole_file(png) as path:
            figure.savefig(path, format="png", dpi=DPI)
        with whole_file(svg) as path:
            figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    return png, svg
