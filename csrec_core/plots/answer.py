"""A drawing of the answer: the estimators beside each other, and how far hidden causes could move the effect."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from csrec_core.plots.marks import BLUE, GREY

__all__ = ["plot_answer"]


def plot_answer(found: dict, *, ax: Axes | None = None) -> Axes:
    """Draw estimates and band of an answer, a row each.

    Parameters
    ----------
    found : dict
        Of `csrec_core.effect.answer.as_dict`: `estimates`, `band`, `arm`, `baseline`, `unit`.
    """
    scale = 100 if found["unit"] == "probability" else 1
    rows = [(one["name"], one["effect"], one["lower"], one["upper"], BLUE) for one in found["estimates"]]
    rows += [
        (f"hidden odds {one['odds']:g}", None, one["lower"], one["upper"], GREY) for one in found["band"][1:]
    ]
    rows = [row for row in rows if row[2] is not None]
    ax = ax or plt.figure(figsize=(6.6, 1.0 + 0.34 * max(len(rows), 1))).gca()
    for place, (_, middle, lower, upper, colour) in enumerate(rows):
        ax.plot(
            [scale * lower, scale * upper], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt"
        )
        if middle is not None:
            ax.plot(scale * middle, place, "o", color=colour, markersize=6)
    ax.axvline(0, color="#333333", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.invert_yaxis()
    unit = " in points" if scale == 100 else ""
    ax.set_xlabel(f"effect of {found['arm']} against {found['baseline']}{unit}")
    return ax
