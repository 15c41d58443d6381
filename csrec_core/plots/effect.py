"""Drawings of an effect: over time, by estimator, by hidden cause, by user, by segment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from csrec_core.plots.marks import BLUE, GREEN, GREY, ORANGE, label_end, move_apart

__all__ = [
    "plot_checks",
    "plot_effect_by_cohort",
    "plot_effect_by_segment",
    "plot_effect_by_step",
    "plot_effect_by_user",
    "plot_estimates",
    "plot_penalty_path",
    "plot_sensitivity",
]

DIFFERENCE = "difference in acceptance, points"
POINTS = FuncFormatter(
    lambda value, _: f"{round(100 * value, 6):+g}".replace("-", "−") if abs(value) > 1e-9 else "0"
)
WORDS = {
    "holds": (GREEN, "✓"),
    "undecided": (ORANGE, "?"),
    "fails": ("#a4202d", "✗"),
    "not tested": (GREY, "–"),
}


def plot_effect_by_step(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the effect over exposures: `step`, `last`, `effect`, `lower`, `upper`, and `truth` if known.

    A point stands in the middle of the exposure numbers that it puts together.
    """
    ax = ax or plt.figure().gca()
    middle = (steps["step"] + steps["last"]) / 2
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.fill_between(middle, steps["lower"], steps["upper"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(middle, steps["effect"], color=BLUE, marker="o", markersize=3.5)
    labels = [(steps["effect"].iloc[-1], "estimate", BLUE)]
    if "truth" in steps.columns:
        ax.plot(middle, steps["truth"], color=ORANGE, linestyle="--")
        labels.append((steps["truth"].iloc[-1], "truth", ORANGE))
    heights = move_apart([value for value, _, _ in labels], ax)
    for (_, text, colour), height in zip(labels, heights, strict=True):
        label_end(ax, middle.iloc[-1], height, text, colour)
    ax.set(xlabel="number of the exposure", ylabel=DIFFERENCE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(POINTS)
    return ax


def plot_estimates(estimates: pd.DataFrame, *, truth: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw estimators beside each other: `name`, `effect`, `lower`, `upper`; `truth` as a line.

    The first one is the one that is reported.
    """
    ax = ax or plt.figure(figsize=(6.6, 0.9 + 0.42 * len(estimates))).gca()
    place = -np.arange(len(estimates), dtype=float)
    colours = [BLUE, *[GREY] * (len(estimates) - 1)]
    _rows(ax, estimates, place, colours)
    for row, at, colour in zip(estimates.itertuples(), place, colours, strict=True):
        text = f"{100 * row.effect:+.1f}".replace("-", "−")
        ax.annotate(text, (row.upper, at), (7, 0), textcoords="offset points", va="center", color=colour)
    if truth is not None:
        _line(ax, truth, "truth")
    ax.set_yticks(place, estimates["name"])
    ax.set(xlabel=DIFFERENCE, ylim=(place[-1] - 0.6, 0.8))
    return ax


def plot_sensitivity(
    band: pd.DataFrame,
    *,
    tipping: float | None = None,
    benchmark: float | None = None,
    name: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw between which values the effect lies by the odds that a hidden cause moves.

    Parameters
    ----------
    band : DataFrame
        `odds`, `least`, `most`, `lower`, `upper`.
    tipping : float, optional
        The odds at which zero enters.
    benchmark, name
        The factor by which the strongest observed column moves the odds, and what it is.
    """
    ax = ax or plt.figure().gca()
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.fill_between(band["odds"], band["lower"], band["upper"], color=BLUE, alpha=0.15, linewidth=0)
    ax.fill_between(band["odds"], band["least"], band["most"], color=BLUE, alpha=0.3, linewidth=0)
    ax.plot(
        band["odds"].iloc[0], band["least"].iloc[0], "o", color=BLUE, markersize=5, clip_on=False, zorder=4
    )
    reach = band["odds"].max()
    height = 1.0
    for at, text, colour in ((tipping, "zero enters", ORANGE), (benchmark, name, GREEN)):
        if at is not None and 1 < at <= reach:
            ax.axvline(at, color=colour, linewidth=1.2, linestyle="--")
            note = f"{text}: {at:.2f}"
            side = (
                {"ha": "left", "xytext": (4, -4)} if at < 0.6 * reach else {"ha": "right", "xytext": (-4, -4)}
            )
            ax.annotate(
                note, (at, height), xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
                color=colour, **side,
            )  # fmt: skip
            height -= 0.09
    ax.set(xlabel="odds of an exposure moved by a hidden cause, times", ylabel=DIFFERENCE, xlim=(1, reach))
    ax.yaxis.set_major_formatter(POINTS)
    return ax


def plot_effect_by_user(users: pd.DataFrame, *, mean: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw how many users have which effect: `effect`, `lower`, `upper`; those told from zero stand out."""
    ax = ax or plt.figure().gca()
    groups = {
        "interval above zero": (users["lower"] > 0, BLUE),
        "not told from zero": ((users["lower"] <= 0) & (users["upper"] >= 0), "#b9c0c8"),
        "interval below zero": (users["upper"] < 0, ORANGE),
    }
    groups = {
        f"{name}: {some.sum():,}": (some, colour) for name, (some, colour) in groups.items() if some.any()
    }
    ax.hist(
        [users.loc[some, "effect"] for some, _ in groups.values()],
        bins=min(40, max(10, len(users) // 20)),
        color=[colour for _, colour in groups.values()],
        label=list(groups),
        stacked=True,
    )
    ax.axvline(0, color="#333333", linewidth=0.8)
    if mean is not None:
        _line(ax, mean, "mean")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=1)
    ax.set(xlabel=DIFFERENCE, ylabel="users")
    ax.xaxis.set_major_formatter(POINTS)
    return ax


def plot_effect_by_segment(table: pd.DataFrame, *, mean: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw groups of segments with intervals: `segment`, `group`, `effect`, `lower`, `upper`.

    `mean` is drawn as a line to compare with.
    """
    ax = ax or plt.figure(figsize=(6.6, 0.9 + 0.27 * (len(table) + table["segment"].nunique()))).gca()
    place, ticks, names = 0.0, [], []
    for segment, rows in table.groupby("segment", sort=False):
        ticks.append(place)
        names.append(segment)
        at = place - 1 - np.arange(len(rows))
        _rows(ax, rows, at, [BLUE] * len(rows))
        ticks += list(at)
        names += list(rows["group"].astype(str))
        place = at[-1] - 1.3
    if mean is not None:
        _line(ax, mean, "mean")
    ax.set_yticks(ticks, names)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name in set(table["segment"]) else "normal")
    ax.set(xlabel=DIFFERENCE, ylim=(place + 0.6, 0.9))
    return ax


def plot_effect_by_cohort(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the effect of cohorts over time with bands: `cohort`, `step`, `effect`, `lower`, `upper`."""
    ax = ax or plt.figure().gca()
    ax.axhline(0, color="#333333", linewidth=0.8)
    for (cohort, rows), colour, marker in zip(
        table.groupby("cohort", sort=False), (BLUE, ORANGE, GREEN), "os^", strict=False
    ):
        ax.fill_between(rows["step"], rows["lower"], rows["upper"], color=colour, alpha=0.15, linewidth=0)
        label = f"{cohort} ({rows['users'].max():,} users)"
        ax.plot(rows["step"], rows["effect"], color=colour, marker=marker, markersize=3.5, label=label)
    ax.legend()
    ax.set(xlabel="number of the exposure", ylabel=DIFFERENCE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(POINTS)
    return ax


def plot_checks(checks: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw checks as a strip: `name`, `verdict`, and of those that measure a bias `value`, `lower`, `upper`.

    A bias is drawn with its interval around zero, in points; the others are named with their word alone.
    """
    ax = ax or plt.figure(figsize=(6.6, 0.8 + 0.34 * len(checks))).gca()
    ax.axvline(0, color="#333333", linewidth=0.8)
    place = -np.arange(len(checks), dtype=float)
    for row, at in zip(checks.itertuples(), place, strict=True):
        colour, mark = WORDS[row.verdict]
        if pd.notna(row.lower):
            ax.plot([row.lower, row.upper], [at, at], color=colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot(row.value, at, "o", color=colour, markersize=5)
        ax.annotate(
            f"{mark} {row.verdict}", (1.02, at), xycoords=("axes fraction", "data"), va="center", color=colour,
            annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(place, checks["name"])
    measured = checks["lower"].notna().any()
    ax.set(xlabel="what should be zero, points" if measured else "", ylim=(place[-1] - 0.7, 0.7))
    if not measured:
        ax.set_xticks([])
    ax.xaxis.set_major_formatter(POINTS)
    ax.grid(axis="x", visible=True)
    ax.grid(axis="y", visible=False)
    return ax


def plot_penalty_path(path: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the effect over the weight of the constraint of Eq. 9.

    Columns `model`, `penalty`, `effect`, `lower`, `upper`, `expected`. The first model is a line, the others,
    of which nothing is `expected`, are points.
    """
    ax = ax or plt.figure().gca()
    (name, line), *others = path.groupby("model", sort=False)
    place = np.arange(len(line))
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.fill_between(place, line["lower"], line["upper"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(place, line["effect"], color=BLUE, marker="o", markersize=4, label=name)
    ax.plot(place, line["expected"], "--", color=ORANGE, label="shrunk by 1 / (1 + 2λ f (1 − f))")
    for name, points in others:
        at = np.interp(points["penalty"], line["penalty"], place)
        ax.vlines(at, points["lower"], points["upper"], color=GREEN, linewidth=2)
        ax.plot(at, points["effect"], "s", color=GREEN, label=name)
    ax.set_xticks(place, [f"{penalty:g}" for penalty in line["penalty"]])
    ax.legend()
    ax.set(xlabel="weight λ of the constraint of Eq. 9", ylabel="mean f − f~, points")
    ax.yaxis.set_major_formatter(POINTS)
    return ax


def _rows(ax: Axes, table: pd.DataFrame, place: np.ndarray, colours: list[str]) -> None:
    """Draw a row of a forest each: an interval and its point."""
    ax.axvline(0, color="#333333", linewidth=0.8)
    for row, at, colour in zip(table.itertuples(), place, colours, strict=True):
        ax.plot([row.lower, row.upper], [at, at], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(row.effect, at, "o", color=colour, markersize=5)
    ax.xaxis.set_major_formatter(POINTS)
    ax.grid(axis="x", visible=True)
    ax.grid(axis="y", visible=False)


def _line(ax: Axes, value: float, name: str) -> None:
    """Draw a dashed line to compare with, named at its top."""
    ax.axvline(value, color=ORANGE, linewidth=1, linestyle="--")
    ax.annotate(
        name, (value, 1), xycoords=("data", "axes fraction"), xytext=(4, -4), textcoords="offset points",
        color=ORANGE, va="top",
    )  # fmt: skip
