"""Drawings of tidy frames: each function takes a frame and an axes, and returns the axes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

__all__ = [
    "plot_accept_rates",
    "plot_calibration",
    "plot_curves",
    "plot_effect_by_group",
    "plot_effect_by_step",
    "plot_effect_by_user",
    "plot_explained",
    "plot_item_shares",
    "plot_scores",
]

# Colour-blind safe, and apart in grey: what is estimated, what it is compared with, what is true.
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9731a", "#2a8f6d", "#7a7a7a"
SOURCE_COLOURS = {"self": GREY, "system": BLUE}
SOURCE_NAMES = {"self": "chosen by the user", "system": "exposed by the system"}


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
    for source, height in zip(ends, _apart(list(ends.values()), ax), strict=True):
        _label_end(ax, positions["step"].max(), height, SOURCE_NAMES[source], SOURCE_COLOURS[source])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_explained(explained: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of variance explained, indexed by factor: columns `share`, `chance`."""
    ax = ax or plt.figure(figsize=(6.6, 0.6 + 0.45 * len(explained))).gca()
    rows = np.arange(len(explained))[::-1]
    ax.barh(rows, explained["share"], height=0.6, color=BLUE)
    ax.plot(explained["chance"], rows, "|", markersize=16, markeredgewidth=2.5, color=ORANGE)
    for row, share in zip(rows, explained["share"], strict=True):
        ax.annotate(f"{share:.1%}", (share, row), xytext=(6, 0), textcoords="offset points", va="center")
    ax.annotate(
        "| expected of noise", (0.99, 0.03), xycoords="axes fraction", ha="right", va="bottom", color=ORANGE
    )
    ax.set_yticks(rows, explained.index)
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


def plot_curves(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the validation loss over training, above each model's best: `model`, `epoch`, `validation`."""
    ax = ax or plt.figure().gca()
    for colour, (model, rows) in zip(
        sns.color_palette("colorblind"), curves.groupby("model", sort=False), strict=False
    ):
        above = rows["validation"] - rows["validation"].min()
        ax.plot(rows["epoch"], above, color=colour, label=model)
        best = above.to_numpy().argmin()
        ax.plot(rows["epoch"].iloc[best], 0, "o", color=colour)
    ax.legend()
    ax.set(xlabel="epoch", ylabel="validation loss above its best")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_scores(
    scores: pd.DataFrame, *, metric: str, controls: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw one metric of all models with intervals; those in `controls` in grey.

    `scores` has columns `model`, `metric`, `mean`, `low`, `high`.
    """
    rows = scores[scores["metric"] == metric].dropna(subset="mean").sort_values("mean")
    ax = ax or plt.figure(figsize=(6.6, 0.9 + 0.32 * len(rows))).gca()
    for place, row in enumerate(rows.itertuples()):
        colour = GREY if row.model in controls else BLUE
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(row.mean, place, "s" if row.model in controls else "o", color=colour, markersize=6)
        ax.annotate(
            f"{row.mean:.3f}",
            (row.high, place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    ax.set_yticks(range(len(rows)), rows["model"])
    for label, model in zip(ax.get_yticklabels(), rows["model"], strict=True):
        label.set_color(GREY if model in controls else BLUE)
    ax.set_xlabel(metric)
    ax.margins(x=0.14)
    ax.grid(axis="x", visible=True)
    return ax


def plot_calibration(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw observed against stated acceptance: columns `model`, `stated`, `observed`, `rows`."""
    ax = ax or plt.figure(figsize=(5.2, 4.8)).gca()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    ax.annotate(
        "as stated", (0.97, 0.97), xytext=(-4, -14), textcoords="offset points", color=GREY, ha="right"
    )
    for colour, marker, (model, rows) in zip(
        (BLUE, ORANGE, GREEN), "os^", curves.groupby("model", sort=False), strict=False
    ):
        ax.plot(rows["stated"], rows["observed"], color=colour, linewidth=1)
        size = 10 + 150 * rows["rows"] / curves["rows"].max()
        ax.scatter(
            rows["stated"], rows["observed"], s=size, color=colour, marker=marker, label=model, alpha=0.8
        )
    ax.legend(markerscale=0.7)
    ax.set(xlabel="stated probability of acceptance", ylabel="observed acceptance", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    return ax


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
    heights = _apart([value for value, _, _ in labels], ax)
    for (_, text, colour), height in zip(labels, heights, strict=True):
        _label_end(ax, steps["step"].iloc[-1], height, text, colour)
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
    _label_end(ax, place[-1], shown["effect"].iloc[-1], "estimate", BLUE)
    if "truth" in shown.columns:
        ax.plot(place, shown["truth"], "x", color=ORANGE, markersize=4.5, markeredgewidth=1.3)
        ax.annotate("× truth", (0.02, 0.95), xycoords="axes fraction", color=ORANGE, va="top")
    ax.set(
        xlabel="users, sorted by estimated effect (percentile)",
        ylabel="difference in acceptance, system − self",
    )
    return ax


def plot_effect_by_group(groups: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a heat map of effects: one row a group of users, one column an exposure number."""
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


def _label_end(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
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


def _apart(values: Sequence[float], ax: Axes, gap: float = 0.06) -> list[float]:
    """Return heights for two labels at `values`, moved apart where they would touch."""
    if len(values) < 2:
        return list(values)
    bottom, top = ax.get_ylim()
    needed = gap * (top - bottom)
    first, second = values
    push = max(0.0, (needed - abs(first - second)) / 2)
    sign = 1 if first >= second else -1
    return [first + sign * push, second - sign * push]
