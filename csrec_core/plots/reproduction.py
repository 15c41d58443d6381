"""Drawings of the reproduction: each function takes a tidy frame and an axes, and returns the axes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from csrec_core.plots.marks import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    add_tips,
    label_ends,
    note,
    wrapped,
    zero_line,
)

LINES = {"ranking at random": (GREY, ":"), "always accept": (GREY, "--")}
METRIC_STYLES = {"AHR@0.2": (ORANGE, "s"), "AHR@0.5": (BLUE, "o"), "AUC": (GREEN, "^")}


def plot_alpha_sweep(sweep: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw AHR over alpha, a line a model: columns `model`, `alpha`, `AHR`; what knows nothing in grey."""
    ax = ax or plt.figure().gca()
    colours = iter(COLOURS)
    for model, rows in sweep.groupby("model", sort=False):
        colour, style = LINES.get(model) or (next(colours, GREY), "-")
        ax.plot(rows["alpha"], rows["AHR"], style, color=colour, label=model)
    ax.legend(loc="best")
    ax.set(xlabel="α", ylabel="AHR@α: decisions guessed right", xlim=(0, 1), ylim=(0, 1.02))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax


def plot_constraint_path(path: pd.DataFrame) -> Figure:
    """Draw the scores over the weight of the constraint, and the mean effect below.

    Columns `penalty`, the metrics, `effect`, `expected`.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(4.9, 5.6))
    positive = path.loc[path["penalty"] > 0, "penalty"]
    for ax in (above, below):  # weights from 0 on, evenly by order of magnitude
        ax.set_xscale("symlog", linthresh=positive.min() if len(positive) else 1.0, linscale=0.4)
        ax.set_xticks(path["penalty"], [f"{penalty:g}" for penalty in path["penalty"]])
        ax.minorticks_off()
        ax.set_xlabel("λ, weight of the constraint of Eq. 9")
    above.set_ylim(0, 1.02)
    _draw_metrics(above, path, "penalty")
    zero_line(below.yaxis)
    expected = "shrunk by 1 / (1 + 2λ f (1 − f))"
    below.plot(path["penalty"], path["expected"], "--", color=ORANGE, label=expected)
    below.plot(path["penalty"], path["effect"], marker="o", color=BLUE, label="fitted")
    below.legend()
    below.set_ylabel("mean f − f~")
    return figure


def plot_learning_curve(
    curve: pd.DataFrame, *, reference: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the scores over the number of users learned from: `users` and the metrics; `reference`, an AUC."""
    ax = ax or plt.figure().gca()
    ax.set_xscale("log")
    ax.set_ylim(0, 1.02)
    _draw_metrics(ax, curve, "users")
    if reference is not None:
        ax.axhline(reference, color=GREY, linestyle="--", linewidth=1)
        text = "AUC of the boosted trees"
        note(ax, text, (0, reference), (3, 3), of=("axes fraction", "data"), color=GREY)
    ax.set_xticks(curve["users"], [f"{users:,}" for users in curve["users"]])
    ax.minorticks_off()
    ax.set_xlabel("users whose exposures are learned from")
    return ax


def plot_published(table: pd.DataFrame, *, metrics: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw published against reproduced figures of some metrics, with intervals.

    Columns `model`, `metric`, `published`, `reproduced`, `lower`, `upper`; rows that were not run are left out.
    """
    rows = table[table["metric"].isin(metrics)].dropna(subset="reproduced")
    names = (rows["model"] + ", " + rows["metric"]).to_list()
    ax = ax or plt.figure(figsize=(4.9, 1.1 + 0.3 * max(1, len(rows)))).gca()
    places = range(len(rows))[::-1]
    ax.hlines(places, rows["lower"], rows["upper"], color=BLUE, linewidth=2.5)
    ax.plot(rows["reproduced"], places, "o", color=BLUE, label="reproduced")
    ax.plot(
        rows["published"], places, "|", markersize=13, markeredgewidth=2.5, color=ORANGE, label="published"
    )
    said = [
        f"{name}: {row.reproduced:.3f} [{row.lower:.3f}, {row.upper:.3f}], published {row.published:.3f}"
        for name, row in zip(names, rows.itertuples(), strict=True)
    ]
    add_tips(ax, rows["reproduced"], places, said)
    ax.set_yticks(places, wrapped(names))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    ax.set(
        xlabel="share of decisions guessed right" if len(rows) else "nothing of it was run",
        xlim=(0, 1.02),
        ylim=(-0.6, max(1, len(rows)) - 0.4),
    )
    return ax


def _draw_metrics(ax: Axes, table: pd.DataFrame, by: str) -> None:
    for metric, (colour, marker) in METRIC_STYLES.items():
        ax.plot(table[by], table[metric], marker=marker, color=colour)
        said = [
            f"{metric} at {at:g}: {score:.3f}" for at, score in zip(table[by], table[metric], strict=True)
        ]
        add_tips(ax, table[by], table[metric], said, colour)
    last = table.iloc[-1]
    label_ends(ax, [(last[by], last[metric], metric, look[0]) for metric, look in METRIC_STYLES.items()])
    ax.set_ylabel("score on the tested exposures")
