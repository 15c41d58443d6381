"""Drawings of the effect of recommending: over time, by user, by group."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from csrec_core.plots.marks import BLUE, GREEN, GREY, ORANGE, label_end, move_apart

__all__ = [
    "plot_effect_by_cohort",
    "plot_effect_by_group",
    "plot_effect_by_segment",
    "plot_effect_by_step",
    "plot_effect_by_user",
    "plot_effect_calibration",
    "plot_penalty_path",
    "plot_user",
]


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


def plot_effect_by_segment(table: pd.DataFrame, *, mean: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw groups of segments with intervals: `segment`, `group`, `effect`, `low`, `high`, `exposures`.

    `mean` is drawn as a line to compare with.
    """
    ax = ax or plt.figure(figsize=(6.6, 0.9 + 0.27 * (len(table) + table["segment"].nunique()))).gca()
    place, ticks, names = 0.0, [], []
    for segment, rows in table.groupby("segment", sort=False):
        ticks.append(place)
        names.append(segment)
        for row in rows.itertuples():
            place -= 1
            ax.plot([row.low, row.high], [place, place], color=BLUE, linewidth=2.5, solid_capstyle="butt")
            ax.plot(row.effect, place, "o", color=BLUE, markersize=5)
            ticks.append(place)
            names.append(f"{row.group}")
        place -= 1.3
    ax.axvline(0, color="#333333", linewidth=0.8)
    if mean is not None:
        ax.axvline(mean, color=ORANGE, linewidth=1, linestyle="--")
        ax.annotate(
            "mean", (mean, 1), xycoords=("data", "axes fraction"), xytext=(4, -4), textcoords="offset points",
            color=ORANGE, va="top",
        )  # fmt: skip
    ax.set_yticks(ticks, names)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name in set(table["segment"]) else "normal")
    ax.set(xlabel="difference in acceptance, system − self", ylim=(place + 0.6, 0.9))
    ax.grid(axis="x", visible=True)
    return ax


def plot_effect_by_cohort(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the effect of cohorts over time with bands: `cohort`, `step`, `mean`, `low`, `high`."""
    ax = ax or plt.figure().gca()
    ax.axhline(0, color="#333333", linewidth=0.8)
    for (cohort, rows), colour, marker in zip(
        table.groupby("cohort", sort=False), (BLUE, ORANGE, GREEN), "os^", strict=False
    ):
        ax.fill_between(rows["step"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        label = f"{cohort} ({rows['users'].max():,} users)"
        ax.plot(rows["step"], rows["mean"], color=colour, marker=marker, markersize=3.5, label=label)
    ax.legend()
    ax.set(xlabel="exposure number in the system phase", ylabel="difference in acceptance, system − self")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_effect_calibration(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw true against estimated effects: `estimate`, `estimated`, `true`, `rows`."""
    ax = ax or plt.figure(figsize=(5.2, 4.8)).gca()
    ends = [curves[["estimated", "true"]].to_numpy().min(), curves[["estimated", "true"]].to_numpy().max()]
    ax.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", label="as estimated")
    for (name, rows), colour, marker in zip(
        curves.groupby("estimate", sort=False), (BLUE, ORANGE, GREEN), "os^", strict=False
    ):
        ax.plot(rows["estimated"], rows["true"], color=colour, marker=marker, markersize=5, label=name)
    ax.legend()
    ax.set(xlabel="estimated effect (tenths of the exposures)", ylabel="true effect")
    return ax


def plot_penalty_path(path: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the effect over the weight of the constraint of Eq. 9.

    Columns `model`, `penalty`, `mean`, `low`, `high`, `expected`. The first model is a line, the others, of
    which nothing is `expected`, are points.
    """
    ax = ax or plt.figure().gca()
    (name, line), *others = path.groupby("model", sort=False)
    place = np.arange(len(line))
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.fill_between(place, line["low"], line["high"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(place, line["mean"], color=BLUE, marker="o", markersize=4, label=name)
    ax.plot(place, line["expected"], "--", color=ORANGE, label="shrunk by 1 / (1 + 2λ f (1 − f))")
    for name, points in others:
        at = np.interp(points["penalty"], line["penalty"], place)
        ax.vlines(at, points["low"], points["high"], color=GREEN, linewidth=2)
        ax.plot(at, points["mean"], "s", color=GREEN, label=name)
    ax.set_xticks(place, [f"{penalty:g}" for penalty in line["penalty"]])
    ax.legend()
    ax.set(xlabel="weight λ of the constraint of Eq. 9", ylabel="mean f − f~ at the system's exposures")
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
