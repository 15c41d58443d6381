"""Drawings for policies: values, thresholds, gain, exploration, trust, repeats; tidy frames in, axes out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from csrec_core.plots.marks import (
    BLUE,
    COLOURS,
    DARK,
    GREY,
    MARKERS,
    ORANGE,
    add_tips,
    label_ends,
    note,
    wrapped,
    zero_line,
)

POINTS = 2000  # of a cloud at most
ZONE_STYLES = {
    "recommend": (BLUE, "o"),
    "explore": (ORANGE, "^"),
    "undecided": (GREY, "."),
    "leave": (DARK, "x"),
}


def plot_policy_values(values: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what policies are worth: `policy`, `estimator`, `value`, `lower`, `upper`, `truth` if known."""
    names, estimators = list(values["policy"].unique()), list(values["estimator"].unique())
    ax = ax or plt.figure(figsize=(4.9, 1.1 + 0.55 * len(names))).gca()
    gaps = np.linspace(0.22, -0.22, len(estimators)) if len(estimators) > 1 else [0.0]
    for estimator, gap, colour, marker in zip(estimators, gaps, COLOURS, MARKERS, strict=False):
        rows = values[values["estimator"] == estimator]
        place = np.array([len(names) - 1 - names.index(name) for name in rows["policy"]]) + gap
        ax.hlines(place, rows["lower"], rows["upper"], color=colour, linewidth=2)
        ax.plot(rows["value"], place, marker, color=colour, markersize=5, linestyle="", label=estimator)
        said = [
            f"{row.policy}, {estimator}: {row.value:.3f} [{row.lower:.3f}, {row.upper:.3f}]"
            for row in rows.itertuples()
        ]
        add_tips(ax, rows["value"], place, said, colour)
    if "truth" in values.columns:
        truth = values.drop_duplicates("policy")["truth"]
        place = len(names) - 1 - np.arange(len(names))
        ax.vlines(truth, place - 0.36, place + 0.36, color=DARK, linewidth=1.5, label="truth")
    ax.set_yticks(len(names) - 1 - np.arange(len(names)), wrapped(names))
    ax.set(xlabel="value of an exposure: mean decision less cost", ylim=(-0.6, len(names) - 0.4))
    ax.grid(axis="x", visible=True)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, columnspacing=1.0)
    return ax


def plot_thresholds(values: pd.DataFrame, *, chosen: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the gain of "recommend when TER > c" over never, by c.

    Columns `threshold`, `share`, `value`, `lower`, `upper`, and `truth` if known; the shares that the
    rule gives to the arm are written above. `chosen` marks the threshold in use.
    """
    ax = ax or plt.figure().gca()
    zero_line(ax.yaxis)
    ax.fill_between(values["threshold"], values["lower"], values["upper"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(values["threshold"], values["value"], color=BLUE, marker="o", markersize=3.5)
    named = [("value", "estimate", BLUE)]
    if "truth" in values.columns:
        ax.plot(values["threshold"], values["truth"], color=ORANGE, linestyle="--")
        named.append(("truth", "truth", ORANGE))
    last = values.iloc[-1]
    label_ends(ax, [(last["threshold"], last[column], name, colour) for column, name, colour in named])
    said = [
        f"above {row.threshold:.3g}: {row.value:.3f} [{row.lower:.3f}, {row.upper:.3f}], {row.share:.0%} of exposures"
        for row in values.itertuples()
    ]
    add_tips(ax, values["threshold"], values["value"], said)
    top, last = values["upper"].max(), -np.inf
    ends = [*values["threshold"], *([] if chosen is None else [chosen])]
    for row in values.itertuples():
        if row.threshold - last < 0.1 * (max(ends) - min(ends)):
            continue  # labels would touch
        last = row.threshold
        note(ax, f"{row.share:.0%}", (row.threshold, top), (0, 5), ha="center", color=GREY, fontsize=8.5)
    note(ax, "share given to the arm:", (0, 1.0), (0, 14), of="axes fraction", color=GREY, fontsize=8.5)
    if chosen is not None:
        ax.axvline(chosen, color=GREY, linewidth=1, linestyle=":")
    ax.set(xlabel="threshold c, in units of the decision", ylabel="gain of an exposure over never")
    return ax


def plot_gain(curves: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw gain curves: `score`, `share`, `gain`, `lower`, `upper`; a score named "random score" in grey."""
    ax = ax or plt.figure().gca()
    zero_line(ax.yaxis)
    colours, ends = iter(COLOURS), []
    for score, rows in curves.groupby("score", sort=False):
        random = score == "random score"
        colour = GREY if random else next(colours)
        ax.fill_between(rows["share"], rows["lower"], rows["upper"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(rows["share"], rows["gain"], color=colour, linestyle="--" if random else "-")
        ends.append((rows["share"].iloc[-1], rows["gain"].iloc[-1], "\n".join(score.split(" ", 1)), colour))
        some = rows.iloc[:: max(1, len(rows) // 20)]
        said = [
            f"{score}, {row.share:.0%} of exposures: {row.gain:.4f} [{row.lower:.4f}, {row.upper:.4f}]"
            for row in some.itertuples()
        ]
        add_tips(ax, some["share"], some["gain"], said, colour)
    label_ends(ax, ends)
    ax.set(
        xlabel="share given to the arm, highest score first",
        ylabel="gain of an exposure over never",
        xlim=(0, 1),
    )
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return ax


def plot_exploration(
    cells: pd.DataFrame, *, threshold: float = 0.0, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw cells by effect and width of its interval, `POINTS` of many drawn at random: what to do with each.

    Columns `effect`, `width`, `zone` (a key of `csrec_core.effect.cells.ZONES`).
    """
    ax = ax or plt.figure(figsize=(4.9, 3.6)).gca()
    shown = cells.sample(POINTS, random_state=seed) if len(cells) > POINTS else cells
    for zone, (colour, marker) in ZONE_STYLES.items():
        rows, share = shown[shown["zone"] == zone], (cells["zone"] == zone).mean()
        ax.scatter(
            rows["effect"],
            rows["width"],
            s=14,
            color=colour,
            marker=marker,
            alpha=0.55,
            linewidths=0.8 if marker == "x" else 0,
            rasterized=True,
            label=f"{zone} ({share:.0%})",
        )
    ax.axvline(threshold, color=DARK, linewidth=0.8)
    legend = ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2, handletextpad=0.2)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    ax.set(xlabel="effect, in units of the decision", ylabel="width of its 95% interval")
    return ax


def plot_trust_tests(users: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how the users' p-values of no change are spread: column `p`; without changes they are level."""
    ax = ax or plt.figure().gca()
    bins = 20
    counts, edges = np.histogram(users["p"], bins=bins, range=(0, 1))
    ax.bar(edges[:-1], counts / len(users), width=1 / bins, align="edge", color=BLUE, edgecolor="white")
    expected = 1 / bins
    noise = 1.96 * np.sqrt(expected * (1 - expected) / len(users))
    said = [
        f"p from {at:.2f} to {at + 1 / bins:.2f}: {count:,} of {len(users):,} users"
        for at, count in zip(edges, counts, strict=False)
    ]
    add_tips(ax, edges[:-1] + 0.5 / bins, counts / len(users), said)
    ax.axhspan(max(0, expected - noise), expected + noise, color=GREY, alpha=0.25, linewidth=0)
    ax.axhline(expected, color=GREY, linestyle="--", linewidth=1.2)
    over = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5}
    look = {"ha": "right", "va": "bottom", "color": DARK, "bbox": over}
    note(ax, "if no user changes, with 95% band", (0.99, expected + noise), (0, 3), **look)
    ax.set(xlabel="p-value of a user, against no change", ylabel="share of users", xlim=(0, 1))
    ax.set_ylim(0, 1.25 * max(counts.max() / len(users), expected + noise))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return ax


def plot_repeat_exposure(curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw acceptance by earlier exposures of the item: `earlier`, `accepted`, `lower`, `upper`, `rows`."""
    ax = ax or plt.figure().gca()
    place = np.arange(len(curve))
    ax.vlines(place, curve["lower"], curve["upper"], color=BLUE, linewidth=2.5)
    ax.plot(place, curve["accepted"], "o", color=BLUE)
    for at, row in zip(place, curve.itertuples(), strict=True):
        text = f"{row.accepted:.1%}\nn = {row.rows:,}"
        note(ax, text, (at, row.accepted), (9, 0), va="center", fontsize=8.5)
    ax.set_xticks(place, curve["earlier"].astype(str))
    ax.set(
        xlabel="times that the user saw the item before",
        ylabel="accepted exposures",
        xlim=(-0.4, len(curve) - 0.2),
        ylim=(0, None),
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    said = [
        f"{row.accepted:.1%} [{row.lower:.1%}, {row.upper:.1%}] of {row.rows:,}" for row in curve.itertuples()
    ]
    add_tips(ax, place, curve["accepted"], said)
    return ax
