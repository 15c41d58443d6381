"""Drawings of models and their scores: learning curves, metrics with intervals, calibration."""

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csrec_core.plots.marks import BLUE, GREEN, GREY, ORANGE

__all__ = ["plot_calibration", "plot_curves", "plot_scores", "plot_training"]


def plot_curves(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the validation loss over training, above each model's best: `model`, `epoch`, `validation`."""
    ax = ax or plt.figure().gca()
    # Styles beside colours, so that the lines are told apart in grey.
    looks = zip(sns.color_palette("colorblind"), itertools.cycle(("-", "--", "-.", ":")), strict=False)
    for (colour, style), (model, rows) in zip(looks, curves.groupby("model", sort=False), strict=False):
        above = rows["validation"] - rows["validation"].min()
        ax.plot(rows["epoch"], above, style, color=colour, label=model)
        best = above.to_numpy().argmin()
        ax.plot(rows["epoch"].iloc[best], 0, "o", color=colour)
    ax.legend()
    ax.set(xlabel="epoch", ylabel="validation loss above its best")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_training(curves: pd.DataFrame) -> Figure:
    """Draw `plot_curves` for each `panel`, side by side, in the order of the frame."""
    panels = list(curves.groupby("panel", sort=False))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.2), squeeze=False)
    for ax, (_, rows) in zip(axes[0], panels, strict=True):
        plot_curves(rows, ax=ax)
    for ax in axes[0][1:]:
        ax.set_ylabel("")
    return figure


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
        look = {"color": colour, "marker": marker, "alpha": 0.8, "clip_on": False}
        ax.scatter(rows["stated"], rows["observed"], s=size, label=model, **look)
    ax.legend(markerscale=0.7)
    ax.set(xlabel="stated probability of acceptance", ylabel="observed acceptance", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    return ax
