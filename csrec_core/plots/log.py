"""Drawings of a log: acceptance over time, what explains it, how concentrated exposures are."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from csrec_core.plots.marks import BLUE, COLOURS, GREY, ORANGE, add_tips, label_ends, note

ARM_LOOKS = {"self": ("by the user", GREY), "system": ("by the system", BLUE)}


def _arm_looks(sources: pd.Series) -> dict[str, tuple[str, str]]:
    """Return the name and the colour of each arm."""
    others = sorted({*sources.astype(str)} - {*ARM_LOOKS})
    return ARM_LOOKS | {arm: (arm, COLOURS[place % len(COLOURS)]) for place, arm in enumerate(others)}


def plot_accept_rates(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw acceptance by exposure number: columns `source`, `step`, `mean`, `lower`, `upper`."""
    ax = ax or plt.figure().gca()
    ax.set(
        xlabel="number of the exposure, within its source", ylabel="accepted exposures", ylim=(-0.02, 1.02)
    )
    ends, marks = [], _arm_looks(steps["source"])
    for source, rows in steps.groupby("source", observed=True):
        name, colour = marks[source]
        ax.plot(rows["step"], rows["mean"], marker="o", markersize=3.5, color=colour)
        ax.fill_between(rows["step"], rows["lower"], rows["upper"], color=colour, alpha=0.2, linewidth=0)
        ends.append((rows["step"].iloc[-1], rows["mean"].iloc[-1], name, colour))
        said = [
            f"exposure {row.step:g}, {name}: {row.mean:.1%} [{row.lower:.1%}, {row.upper:.1%}]"
            for row in rows.itertuples()
        ]
        add_tips(ax, rows["step"], rows["mean"], said, colour)
    label_ends(ax, ends)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_explained(explained: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of variance explained by each `factor`: columns `share`, and `chance`."""
    ax = ax or plt.figure(figsize=(4.9, 0.8 + 0.4 * len(explained))).gca()
    rows = np.arange(len(explained))[::-1]
    ax.barh(rows, explained["share"], height=0.6, color=BLUE)
    ax.plot(explained["chance"], rows, "|", markersize=16, markeredgewidth=2.5, color=ORANGE)
    for row, share in zip(rows, explained["share"], strict=True):
        note(ax, f"{share:.1%}", (share, row), (6, 0), va="center")
    ax.annotate(
        "| expected of noise", (0.99, 0.03), xycoords="axes fraction", ha="right", va="bottom", color=ORANGE
    )
    ax.set_yticks(rows, explained["factor"])
    ax.set(
        xlabel="explained variance of the decisions",
        xlim=(0, max(0.05, explained[["share", "chance"]].max().max()) * 1.2),
    )
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.grid(axis="y", visible=False)
    return ax


def plot_item_shares(items: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how concentrated the exposures are: columns `source`, `share`, a row an item."""
    ax = ax or plt.figure().gca()
    # The line of the source that exposes fewer items is the upper one, and has its name higher up.
    most_first = sorted(items.groupby("source", observed=True), key=lambda pair: -pair[1]["share"].max())
    marks = _arm_looks(items["source"])
    for height, (source, rows) in zip(
        np.linspace(0.9, 0.35, max(2, len(most_first))), most_first, strict=False
    ):
        name, colour = marks[source]
        share = rows["share"].sort_values(ascending=False).cumsum().to_numpy()
        rank = np.arange(1, len(share) + 1)
        ax.plot(rank, share, color=colour)
        at = min(np.searchsorted(share, height), len(share) - 1)
        note(ax, name, (rank[at], share[at]), (9, -12), color=colour)
        some = np.unique(np.linspace(0, len(rank) - 1, 25).astype(int))
        said = [f"{rank[one]:,} of {len(rank):,} items, {name}: {share[one]:.1%}" for one in some]
        add_tips(ax, rank[some], share[some], said, colour)
    ax.set(
        xlabel="items, most exposed first", ylabel="share of the exposures", ylim=(0, 1.02), xlim=(0, None)
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax
