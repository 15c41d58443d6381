"""Drawings of studies over simulated worlds: what an estimator's error depends on."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from csrec_core.plots.marks import BLUE, GREEN, GREY, ORANGE

__all__ = ["plot_bias_by_history", "plot_ranks_by_exposures"]

ESTIMATORS = {
    "two_model": ("two-model", ORANGE, "s"),
    "joint": ("joint", GREEN, "^"),
    "without propensities": ("doubly robust, no propensities", GREY, "D"),
    "doubly_robust": ("doubly robust, logged propensities", BLUE, "o"),
    "marginal": ("marginal, sequential weights", "#8a4f9e", "v"),
}


def plot_bias_by_history(records: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the bias of each estimator by the number of self-chosen exposures that tell of hidden tastes.

    Records of the scenarios `hidden ...` of `csrec_core.effect.study`; the shaded area is the mean
    sensitivity band of the doubly robust estimate without propensities.
    """
    ax = ax or plt.figure().gca()
    chosen = records["scenario"].str.removeprefix("hidden ").astype(int)
    records = records.assign(chosen=chosen, off=records["effect"] - records["truth"])
    numbers = sorted(records["chosen"].unique())
    ax.axhline(0, color="#333333", linewidth=0.8)
    free = records[records["estimator"] == "without propensities"]
    if len(free) and "band_lower" in free:
        ends = [
            (free[name] - free["truth"]).groupby(free["chosen"]).mean().reindex(numbers)
            for name in ("band_lower", "band_upper")
        ]
        ax.fill_between(
            np.arange(len(numbers)), *ends, color=GREY, alpha=0.15, linewidth=0, label="its band, Γ = 1.5"
        )
    shift = dict(zip(ESTIMATORS, np.linspace(-0.12, 0.12, len(ESTIMATORS)), strict=True))
    for name, (label, colour, marker) in ESTIMATORS.items():
        rows = records[records["estimator"] == name].groupby("chosen")["off"]
        if not len(rows):
            continue
        mean, error = rows.mean(), 1.96 * rows.std() / np.sqrt(rows.size())
        place = np.array([numbers.index(number) for number in mean.index]) + shift[name]
        ax.vlines(place, mean - error, mean + error, color=colour, linewidth=1.6)
        ax.plot(place, mean, marker=marker, color=colour, markersize=5, linewidth=1, label=label)
    ax.set_xticks(range(len(numbers)), numbers)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    ax.set(xlabel="self-chosen exposures of a user", ylabel="bias, in probability of acceptance")
    return ax


def plot_ranks_by_exposures(records: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw users' rank correlation with the truth by exposures, beside that of who knows p_self.

    Records of the scenarios `exposures ...` of `csrec_core.effect.study`.
    """
    ax = ax or plt.figure().gca()
    parts = records["scenario"].str.extract(r"exposures (?P<shown>\d+)(?:, spread (?P<spread>[\d.]+))?")
    records = records.assign(shown=parts["shown"].astype(int), spread=parts["spread"].fillna("0.5"))
    for (spread, rows), colour, marker in zip(
        records.groupby("spread"), (BLUE, ORANGE, GREEN), "os^", strict=False
    ):
        means = rows.groupby("shown")[["user_correlation", "ceiling"]].mean()
        ax.plot(
            means.index,
            means["user_correlation"],
            marker=marker,
            color=colour,
            label=f"trust spread {spread}",
        )
        ax.plot(means.index, means["ceiling"], "--", color=colour, linewidth=1)
    ax.plot([], [], "--", color=GREY, linewidth=1, label="who knows p_self")
    ax.axhline(0.75, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ticks = sorted(records["shown"].unique())
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.legend()
    ax.set(xlabel="exposures of a user in each phase", ylabel="rank correlation with the truth", ylim=(0, 1))
    return ax
