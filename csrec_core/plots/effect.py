"""Drawings of an effect: over time, by estimator, by hidden cause, by user, by segment.

Effects are shares, and are drawn in points; of an outcome that is no yes or no, `unit` is its own.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from csrec_core.plots.marks import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    RED,
    add_tips,
    hover_text,
    in_unit,
    label_ends,
    note,
    signed,
    wrapped,
    zero_line,
)

VERDICT_LOOKS = {
    "holds": (GREEN, "✓"),
    "undecided": (ORANGE, "?"),
    "fails": (RED, "✗"),
    "not tested": (GREY, "–"),
}
STEP_LABEL = "number of the exposure"


def plot_effect_by_step(steps: pd.DataFrame, *, unit: str = "points", ax: Axes | None = None) -> Axes:
    """Draw the effect over exposures: `step`, `last`, `effect`, `lower`, `upper`, and `truth` if known.

    A point stands in the middle of the exposure numbers that it puts together.
    """
    ax = ax or plt.figure().gca()
    middle = (steps["step"] + steps["last"]) / 2
    zero_line(ax.yaxis)
    ax.fill_between(middle, steps["lower"], steps["upper"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(middle, steps["effect"], color=BLUE, marker="o", markersize=3.5)
    ends = [(middle.iloc[-1], steps["effect"].iloc[-1], "estimate", BLUE)]
    if "truth" in steps.columns:
        ax.plot(middle, steps["truth"], color=ORANGE, linestyle="--")
        ends.append((middle.iloc[-1], steps["truth"].iloc[-1], "truth", ORANGE))
    label_ends(ax, ends)
    spans = zip(steps["step"], steps["last"], strict=True)
    names = [f"exposure {first:g}" + (f" to {last:g}" if last > first else "") for first, last in spans]
    _effect_tips(ax, middle, steps["effect"], names, steps, unit)
    ax.set_xlabel(STEP_LABEL)
    in_unit(ax.yaxis, unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_estimates(
    estimates: pd.DataFrame, *, truth: float | None = None, unit: str = "points", ax: Axes | None = None
) -> Axes:
    """Draw estimators beside each other: `name`, `effect`, `lower`, `upper`; `truth` as a line.

    The first one is the one that is reported.
    """
    ax = ax or plt.figure(figsize=(4.9, 0.9 + 0.36 * len(estimates))).gca()
    place = -np.arange(len(estimates), dtype=float)
    colours = [BLUE, *[GREY] * (len(estimates) - 1)]
    _forest_rows(ax, estimates, place, colours, estimates["name"], unit)
    for row, at, colour in zip(estimates.itertuples(), place, colours, strict=True):
        over = {"facecolor": "white", "pad": 0.5, "linewidth": 0}
        note(ax, signed(row.effect, unit), (row.upper, at), (7, 0), va="center", color=colour, bbox=over)
    if truth is not None:
        _reference_line(ax, truth, "truth")
    ax.set_yticks(place, wrapped(estimates["name"]))
    ax.set(ylim=(place[-1] - 0.6, 0.9))
    return ax


def plot_sensitivity(
    band: pd.DataFrame,
    *,
    tipping: float | None = None,
    benchmark: float | None = None,
    name: str = "",
    unit: str = "points",
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
    zero_line(ax.yaxis)
    ax.fill_between(band["odds"], band["lower"], band["upper"], color=BLUE, alpha=0.15, linewidth=0)
    ax.fill_between(band["odds"], band["least"], band["most"], color=BLUE, alpha=0.3, linewidth=0)
    first, reach = band.iloc[0], band["odds"].max()
    ax.plot(first["odds"], first["least"], "o", color=BLUE, markersize=5, clip_on=False, zorder=4)
    height = 1.0
    for at, text, colour in ((tipping, "zero enters", ORANGE), (benchmark, name, GREEN)):
        if at is not None and 1 < at <= reach:
            ax.axvline(at, color=colour, linewidth=1.2, linestyle="--")
            left = at < (1 + reach) / 2
            side, offset = ("left", (4, -4)) if left else ("right", (-4, -4))
            look = {"of": ("data", "axes fraction"), "va": "top", "ha": side, "color": colour}
            note(ax, wrapped([f"{text}: {at:.2f}"])[0], (at, height), offset, **look)
            height -= 0.09
    middle = (band["lower"] + band["upper"]) / 2
    said = [
        f"odds moved {row.odds:g} times: from {signed(row.lower, unit)} to {signed(row.upper, unit)} {unit}"
        for row in band.itertuples()
    ]
    add_tips(ax, band["odds"], middle, said)
    ax.set(xlabel="times that a hidden cause moves the odds", xlim=(1, reach))
    in_unit(ax.yaxis, unit)
    return ax


def plot_effect_by_user(
    users: pd.DataFrame, *, mean: float | None = None, unit: str = "points", ax: Axes | None = None
) -> Axes:
    """Draw how many users have which effect: `effect`, `lower`, `upper`; those told from zero stand out."""
    ax = ax or plt.figure().gca()
    looks = {"above zero": BLUE, "not told from zero": "#b9c0c8", "below zero": ORANGE}
    side = np.select(
        [users["lower"] > 0, users["upper"] < 0], ["above zero", "below zero"], "not told from zero"
    )
    groups = {name: users.loc[side == name, "effect"] for name in looks if name in side}
    counts, edges, _ = ax.hist(
        list(groups.values()),
        bins=min(40, max(10, len(users) // 20)),
        color=[looks[name] for name in groups],
        label=[f"{name}: {len(some):,}" for name, some in groups.items()],
        stacked=True,
    )
    total = np.atleast_2d(counts)[-1]
    said = [
        f"{count:,.0f} users around {signed(at, unit)} {unit}"
        for count, at in zip(total, edges, strict=False)
    ]
    add_tips(ax, (edges[1:] + edges[:-1]) / 2, total, said)
    zero_line(ax.xaxis)
    if mean is not None:
        _reference_line(ax, mean, "mean")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1, handlelength=1)
    ax.set(ylabel="users", ylim=(0, 1.12 * total.max()))
    in_unit(ax.xaxis, unit)
    return ax


def plot_effect_by_segment(
    table: pd.DataFrame, *, mean: float | None = None, unit: str = "points", ax: Axes | None = None
) -> Axes:
    """Draw groups of segments with intervals: `segment`, `group`, `effect`, `lower`, `upper`.

    `mean` is drawn as a line to compare with.
    """
    ax = ax or plt.figure(figsize=(4.9, 0.9 + 0.25 * (len(table) + table["segment"].nunique()))).gca()
    place, ticks, names, bold = 0.0, [], [], []
    for segment, rows in table.groupby("segment", sort=False):
        at = place - 1 - np.arange(len(rows))
        _forest_rows(
            ax, rows, at, [BLUE] * len(rows), [f"{segment}, {group}" for group in rows["group"]], unit
        )
        ticks += [place, *at]
        names += [segment, *rows["group"].astype(str)]
        bold += [True, *[False] * len(rows)]
        place = at[-1] - 1.3
    if mean is not None:
        _reference_line(ax, mean, "mean")
    ax.set_yticks(ticks, names)
    for label, heading in zip(ax.get_yticklabels(), bold, strict=True):
        label.set_fontweight("bold" if heading else "normal")
    ax.set(ylim=(place + 0.6, 0.9))
    return ax


def plot_effect_by_cohort(table: pd.DataFrame, *, unit: str = "points", ax: Axes | None = None) -> Axes:
    """Draw the effect of cohorts over time with bands: `cohort`, `step`, `effect`, `lower`, `upper`, `users`."""
    ax = ax or plt.figure().gca()
    zero_line(ax.yaxis)
    ends = []
    for (cohort, rows), colour, marker in zip(
        table.groupby("cohort", sort=False), COLOURS, MARKERS, strict=False
    ):
        ax.fill_between(rows["step"], rows["lower"], rows["upper"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(rows["step"], rows["effect"], color=colour, marker=marker, markersize=3.5)
        name = f"{cohort}\n({rows['users'].max():,} users)"
        ends.append((rows["step"].iloc[-1], rows["effect"].iloc[-1], name, colour))
        names = [f"{cohort}, exposure {step:g}" for step in rows["step"]]
        _effect_tips(ax, rows["step"], rows["effect"], names, rows, unit, colour)
    label_ends(ax, ends)
    ax.set_xlabel(STEP_LABEL)
    in_unit(ax.yaxis, unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def plot_checks(checks: pd.DataFrame, *, unit: str = "points", ax: Axes | None = None) -> Axes:
    """Draw checks as a strip: `name`, `verdict`, and of those that measure a bias `value`, `lower`, `upper`.

    A bias is drawn with its interval around zero; the others are named with their word alone.
    """
    ax = ax or plt.figure(figsize=(4.9, 0.8 + 0.3 * len(checks))).gca()
    zero_line(ax.xaxis)
    place = -np.arange(len(checks), dtype=float)
    for row, at in zip(checks.itertuples(), place, strict=True):
        colour, mark = VERDICT_LOOKS[row.verdict]
        if pd.notna(row.lower):
            ax.plot([row.lower, row.upper], [at, at], color=colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot(row.value, at, "o", color=colour, markersize=5)
            add_tips(
                ax, [row.value], [at], [f"{row.name}: {hover_text(row.value, row.lower, row.upper, unit)}"]
            )
        look = {"of": ("axes fraction", "data"), "va": "center", "color": colour, "annotation_clip": False}
        note(ax, f"{mark} {row.verdict}", (1.02, at), (0, 0), **look)
    ax.set_yticks(place, wrapped(checks["name"]))
    ax.set(ylim=(place[-1] - 0.7, 0.7))
    if checks["lower"].notna().any():
        in_unit(ax.xaxis, unit, "what should be zero")
    else:
        ax.set_xticks([])
    ax.grid(axis="x", visible=True)
    ax.grid(axis="y", visible=False)
    return ax


def plot_penalty_path(path: pd.DataFrame, *, unit: str = "points", ax: Axes | None = None) -> Axes:
    """Draw the effect over the weight of the constraint of Eq. 9.

    Columns `model`, `penalty`, `effect`, `lower`, `upper`. The first model is a line, the others are points.
    """
    ax = ax or plt.figure().gca()
    (name, line), *others = path.groupby("model", sort=False)
    place = np.arange(len(line))
    zero_line(ax.yaxis)
    ax.fill_between(place, line["lower"], line["upper"], color=BLUE, alpha=0.2, linewidth=0)
    ax.plot(place, line["effect"], color=BLUE, marker="o", markersize=4, label=name)
    for name, points in others:
        at = np.interp(points["penalty"], line["penalty"], place)
        ax.vlines(at, points["lower"], points["upper"], color=GREEN, linewidth=2)
        ax.plot(at, points["effect"], "s", color=GREEN, label=name)
    _effect_tips(ax, place, line["effect"], [f"λ = {penalty:g}" for penalty in line["penalty"]], line, unit)
    ax.set_xticks(place, [f"{penalty:g}" for penalty in line["penalty"]])
    ax.legend()
    ax.set(xlabel="weight λ of the constraint of Eq. 9")
    in_unit(ax.yaxis, unit, "mean f − f~")
    return ax


def _forest_rows(
    ax: Axes, table: pd.DataFrame, place: np.ndarray, colours: list[str], names, unit: str
) -> None:
    """Draw a row of a forest each: an interval and its point."""
    zero_line(ax.xaxis)
    for row, at, colour in zip(table.itertuples(), place, colours, strict=True):
        ax.plot([row.lower, row.upper], [at, at], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(row.effect, at, "o", color=colour, markersize=5)
    _effect_tips(ax, table["effect"], place, names, table, unit)
    in_unit(ax.xaxis, unit)
    ax.grid(axis="x", visible=True)
    ax.grid(axis="y", visible=False)


def _effect_tips(
    ax: Axes, x: Iterable, y: Iterable, names: Iterable, table: pd.DataFrame, unit: str, colour: str = BLUE
) -> None:
    """Say each row's effect on hover, with its interval, after its name."""
    rows = zip(names, table.itertuples(), strict=True)
    said = [f"{name}: {hover_text(row.effect, row.lower, row.upper, unit)}" for name, row in rows]
    add_tips(ax, x, y, said, colour)


def _reference_line(ax: Axes, value: float, name: str) -> None:
    """Draw a dashed line to compare with, named at its top."""
    ax.axvline(value, color=ORANGE, linewidth=1, linestyle="--")
    note(ax, name, (value, 1), (4, -4), of=("data", "axes fraction"), color=ORANGE, va="top")
