"""What drawings share: colours, units, names beside lines, and values on hover."""

import json
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter

from csrec_core.numbers import writer
from csrec_core.plots.svg import TIPS

# Colour-blind safe, and apart in grey: what is estimated, what it is compared with, what is true.
BLUE, ORANGE, GREEN, GREY = "#174f8f", "#d9731a", "#217f5e", "#7a7a7a"
DARK, RED = "#333333", "#a4202d"
COLOURS, MARKERS = (BLUE, ORANGE, GREEN, "#8a4f9e", "#c23b4b", GREY), "os^Dv."
MOST_TIPS = 400  # marks of a drawing that say their value on hover; more of them are a cloud
NAME_LETTERS = 24  # letters of a name beside an axis, before it goes on in a second line


def in_unit(axis: Axis, unit: str, what: str = "") -> None:
    """Name an axis of effects, and write its numbers: in "points", 100 times; or in the outcome's own unit."""
    what = what or ("effect on acceptance" if unit == "points" else "effect")
    axis.set_label_text(f"{what}, {unit}")
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: _tick(100 * value if unit == "points" else value))
    )


def _tick(value: float) -> str:
    return f"{value:+.6g}".replace("-", "−") if round(value, 9) else "0"


def signed(value: float, unit: str) -> str:
    """Return a difference with its sign, in points or in the outcome's own unit."""
    return writer(unit == "points", sign=True)[0](value)


def hover_text(value: float, lower: float, upper: float, unit: str) -> str:
    """Return a value and its interval, as it reads on hover."""
    ends = f" [{signed(lower, unit)}, {signed(upper, unit)}]" if lower == lower else ""
    return f"{signed(value, unit)}{ends} {unit}"


def add_tips(ax: Axes, x: Iterable, y: Iterable, texts: Iterable[str], colour: str = BLUE) -> None:
    """Say a text on hover around each point; nothing of it is seen."""
    x, y, texts = np.asarray(x, dtype=float), np.asarray(y, dtype=float), list(texts)
    known = np.isfinite(x) & np.isfinite(y)
    if 0 < len(texts) <= MOST_TIPS:
        said = [text for text, there in zip(texts, known, strict=True) if there]
        ax.scatter(x[known], y[known], s=160, color=colour, alpha=0, gid=TIPS + json.dumps(said))


def note(ax: Axes, text: str, at: tuple, offset: tuple[float, float], *, of="data", **look) -> None:
    """Write a text at an offset in points from a place, which is in units `of` "data" or "axes fraction"."""
    ax.annotate(text, at, offset, of, "offset points", **look)


def label_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names beside the ends of lines: x, y, name and colour each; moved apart where they would touch."""
    bottom, top = ax.get_ylim()
    point = (top - bottom) / (72 * ax.get_position().height * ax.figure.get_figheight())
    heights = np.array([end[1] for end in ends], dtype=float)
    order = np.argsort(heights, kind="stable")
    moved, first = heights[order], 0
    for place in range(1, len(moved)):
        lines = 1 + (ends[order[place]][2] + ends[order[place - 1]][2]).count("\n") / 2
        least = moved[place - 1] + 13 * lines * point
        first = place if moved[place] > least else first
        moved[place] = max(moved[place], least)
        # Names that were moved stand around where they belong, and above the axis.
        group = slice(first, place + 1)
        moved[group] += max(
            heights[order][group].mean() - moved[group].mean(), bottom + 6 * point - moved[first]
        )
    heights[order] = moved
    for (x, _, name, colour), height in zip(ends, heights, strict=True):
        note(ax, name, (x, height), (7, 0), va="center", color=colour, annotation_clip=False)


def wrapped(names: Iterable[str]) -> list[str]:
    """Return names in lines short enough to stand beside an axis."""
    return ["\n".join(textwrap.wrap(str(name), NAME_LETTERS, break_long_words=False)) or "" for name in names]


def zero_line(axis: Axis) -> None:
    """Draw where nothing is."""
    draw = axis.axes.axvline if axis.axis_name == "x" else axis.axes.axhline
    draw(0, color=DARK, linewidth=0.8)
