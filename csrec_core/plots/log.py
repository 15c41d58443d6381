"""Drawings of a log: acceptance over time, what explains it, how concentrated exposures are."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from csrec_core.plots.marks import BLUE, ORANGE, SOURCE_COLOURS, SOURCE_NAMES, label_end, move_apart

__all__ = ["plot_accept_rates", "plot_explained", "plot_item_shares"]


def plot_accept_rates(positions: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw acceptance by exposure number: columns `source`, `step`, `mean`, `low`, `high`."""
    ax = ax or plt.figure().gca()
    ax.set(xlabel="exposure number within the phase", ylabel="accepted exposures", ylim=(-0.02, 1.02))
    ends = {}
    for source, rows in positions.groupby("source", observed=True):
        colour = SOURCE_COLOURS[source]
        ax.plot(rows["step"], rows["mean"], marker="o", markersize=3.5, color=colour)
        ax.fill_between(rows["step"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        ends[source] = rows["mean"].iloc[-1]
    for source, height in zip(ends, move_apart(list(ends.values()), ax), strict=True):
        label_end(ax, positions["step"].max(), height, SOURCE_NAMES[source], SOURCE_COLOURS[source])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_explained(explained: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of variance explained by each `factor`: columns `share`, and `chance`."""
    ax = ax or plt.figure(figsize=(6.6, 0.6 + 0.45 * len(explained))).gca()
    rows = np.arange(len(explained))[::-1]
    ax.barh(rows, explained["share"], height=0.6, color=BLUE)
    ax.plot(explained["chance"], rows, "|", markersize=16, markeredgewidth=2.5, color=ORANGE)
    for row, share in zip(rows, explained["share"], strict=True):
        ax.annotate(f"{share:.1%}", (share, row), xytext=(6, 0), textcoords="offset points", va="center")
    ax.annotate(
        "| expected of noise", (0.99, 0.03), xycoords="axes fraction", ha="right", va="bottom", color=ORANGE
    )
    ax.set_yticks(rows, explained["factor"])
    ax.set(
        xlabel="share of the variance of the decisions explained",
        xlim=(0, max(0.05, explained[["share", "chance"]].max().max()) * 1.2),
    )
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.grid(axis="y", visible=False)
    return ax


def plot_item_shares(items: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how concentrated the exposures are: columns `source`, `share`, a row an item."""
    ax = ax or plt.figure().gca()
    for height, (source, rows) in zip((0.55, 0.4), items.groupby("source", observed=True), strict=False):
        share = rows["share"].sort_values(ascending=False).cumsum().to_numpy()
        rank = np.arange(1, len(share) + 1)
        ax.plot(rank, share, color=SOURCE_COLOURS[source])
        at = np.searchsorted(share, height)
        ax.annotate(
            SOURCE_NAMES[source],
            (rank[at], share[at]),
            xytext=(10, -4),
            textcoords="offset points",
            color=SOURCE_COLOURS[source],
        )
    ax.set(
        xlabel="items, most exposed first", ylabel="share of the exposures", ylim=(0, 1.02), xlim=(0, None)
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax
