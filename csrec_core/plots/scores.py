"""Drawings of models and their scores: learning curves, metrics with intervals, calibration."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csrec_core.plots.marks import BLUE, COLOURS, GREY, MARKERS, add_tips, label_ends, note, wrapped


def plot_curves(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the validation loss over training, above each model's best: `model`, `epoch`, `validation`."""
    ax = ax or plt.figure().gca()
    ends = []
    for number, (model, rows) in enumerate(curves.groupby("model", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        above = rows["validation"] - rows["validation"].min()
        ax.plot(rows["epoch"], above, color=colour)
        best = above.to_numpy().argmin()
        ax.plot(rows["epoch"].iloc[best], 0, "o", color=colour)
        ends.append((rows["epoch"].iloc[-1], above.iloc[-1], model, colour))
        said = [
            f"{model}, epoch {epoch}: {loss:.4f} nats"
            for epoch, loss in zip(rows["epoch"], rows["validation"], strict=True)
        ]
        add_tips(ax, rows["epoch"], above, said, colour)
    label_ends(ax, ends)
    ax.set(xlabel="epoch", ylabel="validation loss above its best, nats")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_training(curves: pd.DataFrame) -> Figure:
    """Draw `plot_curves` for each `panel`, one above the other, in the order of the frame."""
    panels = list(curves.groupby("panel", sort=False))
    figure, axes = plt.subplots(len(panels), 1, figsize=(4.9, 2.3 * len(panels)), squeeze=False)
    for ax, (name, rows) in zip(axes[:, 0], panels, strict=True):
        plot_curves(rows, ax=ax).set_ylabel("loss above its best, nats")
        ax.set_title(name, loc="left")
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    return figure


def plot_scores(
    scores: pd.DataFrame, *, metric: str, controls: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw one metric of all models with intervals; those in `controls` in grey.

    `scores` has columns `model`, `metric`, `mean`, `lower`, `upper`.
    """
    rows = scores[scores["metric"] == metric].dropna(subset="mean").sort_values("mean")
    ax = ax or plt.figure(figsize=(4.9, 0.9 + 0.3 * len(rows))).gca()
    for place, row in enumerate(rows.itertuples()):
        colour = GREY if row.model in controls else BLUE
        ax.plot([row.lower, row.upper], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(row.mean, place, "s" if row.model in controls else "o", color=colour, markersize=6)
        note(ax, f"{row.mean:.3f}", (row.upper, place), (7, 0), va="center", fontsize=8.5)
    said = [f"{row.model}: {row.mean:.4f} [{row.lower:.4f}, {row.upper:.4f}]" for row in rows.itertuples()]
    add_tips(ax, rows["mean"], range(len(rows)), said)
    ax.set_yticks(range(len(rows)), wrapped(rows["model"]))
    for label, model in zip(ax.get_yticklabels(), rows["model"], strict=True):
        label.set_color(GREY if model in controls else BLUE)
    ax.set_xlabel(metric)
    ax.margins(x=0.14)
    ax.grid(axis="x", visible=True)
    return ax


def plot_calibration(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw observed against stated acceptance: columns `model`, `stated`, `observed`, `rows`."""
    ax = ax or plt.figure(figsize=(4.4, 4.2)).gca()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    note(ax, "as stated", (0.97, 0.97), (-4, -14), color=GREY, ha="right")
    for colour, marker, (model, rows) in zip(
        COLOURS, MARKERS, curves.groupby("model", sort=False), strict=False
    ):
        ax.plot(rows["stated"], rows["observed"], color=colour, linewidth=1)
        size = 10 + 150 * rows["rows"] / curves["rows"].max()
        look = {"color": colour, "marker": marker, "alpha": 0.8, "clip_on": False}
        ax.scatter(rows["stated"], rows["observed"], s=size, label=model, **look)
        said = [
            f"{model}: states {row.stated:.1%}, {row.observed:.1%} of {row.rows:,} accepted"
            for row in rows.itertuples()
        ]
        add_tips(ax, rows["stated"], rows["observed"], said, colour)
    ax.legend(markerscale=0.7)
    ax.set(xlabel="stated probability of acceptance", ylabel="observed acceptance", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    return ax
