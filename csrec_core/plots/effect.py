"""Drawings of the effect of recommending: over time, by user, by group."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from csrec_core.plots.marks import BLUE, GREY, ORANGE, label_end, move_apart

__all__ = ["plot_effect_by_group", "plot_effect_by_step", "plot_effect_by_user", "plot_user"]


def plot_effect_by_step(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the mean effect over time with its band: `step`, `mean`, `low`, `high`, and `truth` if known."""
    ax = ax or plt.figure().gca()
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.fill_between(steps["step"], steps["low"], steps["high"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(steps["step"], steps["mean"], color=BLUE, marker="o", markersize=3.5)
    labels = [(steps["mean"].iloc[-1], "estimate", BLUE)]
    if "truth" in steps.columns:
        ax.plot(steps["step"], steps["truth"], color=ORANGE, linestyle="--")
        labels.append((steps["truth"].iloc[-1], "truth", ORANGE))
    heights = move_apart([value for value, _, _ in labels], ax)
    for (_, text, colour), height in zip(labels, heights, strict=True):
        label_end(ax, steps["step"].iloc[-1], height, text, colour)
    ax.set(xlabel="exposure number in the system phase", ylabel="difference in acceptance, system − self")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_effect_by_user(users: pd.DataFrame, *, most: int = 80, ax: Axes | None = None) -> Axes:
    """Draw users sorted by effect with their intervals, evenly thinned to `most`.

    Columns `effect`, `low`, `high`, sorted by `effect`, and `truth` if known.
    """
    ax = ax or plt.figure().gca()
    shown = users.iloc[np.unique(np.linspace(0, len(users) - 1, min(most, len(users))).astype(int))]
    place = 100 * shown.index.to_numpy() / max(1, len(users) - 1)
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.vlines(place, shown["low"], shown["high"], color=BLUE, alpha=0.45, linewidth=1.6)
    ax.plot(place, shown["effect"], "o", color=BLUE, markersize=3.5)
    label_end(ax, place[-1], shown["effect"].iloc[-1], "estimate", BLUE)
    if "truth" in shown.columns:
        ax.plot(place, shown["truth"], "x", color=ORANGE, markersize=4.5, markeredgewidth=1.3)
        ax.annotate("× truth", (0.02, 0.95), xycoords="axes fraction", color=ORANGE, va="top")
    ax.set(
        xlabel="users, sorted by estimated effect (percentile)",
        ylabel="difference in acceptance, system − self",
    )
    return ax


def plot_effect_by_group(groups: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a heat map of effects: one row a `group` of users, every other column an exposure number."""
    groups = groups.set_index("group")
    ax = ax or plt.figure(figsize=(6.6, 4.4)).gca()
    reach = np.nanmax(np.abs(groups.to_numpy()))
    sns.heatmap(
        groups,
        cmap="PuOr_r",
        vmin=-reach,
        vmax=reach,
        ax=ax,
        cbar_kws={"label": "difference in acceptance, system − self"},
        rasterized=True,
    )
    ax.grid(visible=False)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="exposure number in the system phase", ylabel="group of users (1: largest mean effect)")
    return ax


def plot_user(cells: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one user's exposures by the system: `step`, `f`, `f_tilde`, and what was decided, `decision`."""
    ax = ax or plt.figure().gca()
    ax.vlines(cells["step"], cells["f_tilde"], cells["f"], color=GREY, linewidth=1.5, alpha=0.6)
    ends = []
    for column, name, colour, marker in (
        ("f", "f, by the system", BLUE, "o"),
        ("f_tilde", "f~, by themselves", ORANGE, "s"),
    ):
        ax.plot(cells["step"], cells[column], marker=marker, color=colour, linewidth=1, markersize=4.5)
        ends.append((cells[column].iloc[-1], name, colour))
    accepted = cells["decision"] == 1
    for rows, height, marker in ((accepted, 1.0, "^"), (~accepted, 0.0, "v")):
        at = cells.loc[rows, "step"]
        ax.plot(at, np.full(len(at), height), marker, color="#333333", markersize=5, clip_on=False, zorder=4)
    ax.set(ylim=(0, 1), xlabel="exposure number in the system phase (▲ accepted, ▼ rejected)")
    ax.set_ylabel("probability of acceptance")
    heights = move_apart([value for value, _, _ in ends], ax)
    for (_, name, colour), height in zip(ends, heights, strict=True):
        label_end(ax, cells["step"].iloc[-1], height, name, colour)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
