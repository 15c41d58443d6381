"""A drawing of what changed from run to run."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from csrec_core.plots.marks import BLUE, GREY, RED, add_tips, hover_text, in_unit, zero_line

MOST_RUNS = 40  # runs drawn


def plot_trend(table: pd.DataFrame, *, unit: str = "points", ax: Axes | None = None) -> Axes:
    """Draw a value by run, the last forty: `started`, `value`, `lower`, `upper`, `word`, `earlier`, `alert`.

    What it is compared with is a short line beside it; a run with an alert is red, its mark a square.
    """
    table = table.tail(MOST_RUNS)
    ax = ax or plt.figure().gca()
    place = np.arange(len(table))
    zero_line(ax.yaxis)
    ax.hlines(table["earlier"], place - 0.35, place + 0.35, color=GREY, linewidth=1.5, linestyles=":")
    for alert, colour, marker in ((False, BLUE, "o"), (True, RED, "s")):
        some = (table["alert"] == alert).to_numpy()
        ax.vlines(place[some], table["lower"][some], table["upper"][some], color=colour, linewidth=2.5)
        ax.plot(place[some], table["value"][some], marker, color=colour)
    said = [
        f"{row.started[:10]}: {hover_text(row.value, row.lower, row.upper, unit)}, {row.word}"
        for row in table.itertuples()
    ]
    add_tips(ax, place, table["value"], said)
    shown = place[:: -max(1, -(-len(place) // 6))][::-1]
    ax.set_xticks(shown, [table["started"].iloc[at][:10] for at in shown])
    ax.set(xlabel="day of the run", xlim=(-0.6, len(place) - 0.4))
    in_unit(ax.yaxis, unit, "value")
    return ax
