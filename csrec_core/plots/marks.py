"""What drawings share: colours, and labels beside lines."""

from collections.abc import Sequence

from matplotlib.axes import Axes

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "SOURCE_COLOURS", "SOURCE_NAMES", "label_end", "move_apart"]

# Colour-blind safe, and apart in grey: what is estimated, what it is compared with, what is true.
BLUE, ORANGE, GREEN, GREY = "#174f8f", "#d9731a", "#217f5e", "#7a7a7a"
SOURCE_COLOURS = {"self": GREY, "system": BLUE}
SOURCE_NAMES = {"self": "chosen by the user", "system": "exposed by the system"}


def label_end(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Write a line's name beside its end."""
    ax.annotate(
        text,
        (x, y),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        annotation_clip=False,
    )


def move_apart(values: Sequence[float], ax: Axes, gap: float = 0.06) -> list[float]:
    """Return heights for two labels at `values`, moved apart where they would touch."""
    if len(values) < 2:
        return list(values)
    bottom, top = ax.get_ylim()
    needed = gap * (top - bottom)
    first, second = values
    push = max(0.0, (needed - abs(first - second)) / 2)
    sign = 1 if first >= second else -1
    return [first + sign * push, second - sign * push]
