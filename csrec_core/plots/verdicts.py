"""Drawing of what holds and what fails: steps of a proof by variant."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from csrec_core.errors import InputError
from csrec_core.plots.marks import note


def plot_verdicts(grid: pd.DataFrame, *, groups: dict[str, list[str]], ax: Axes | None = None) -> Axes:
    """Draw a `verdict_grid` (`csrec_core.causal.diagram`): variants down, steps across, failures red.

    A cross marks a step that fails at every t; "t≥3" one that fails from t = 3 on.
    """
    order, variants = [step for steps in groups.values() for step in steps], list(grid["variant"].unique())
    if missing := set(order) - set(grid["step"]):
        raise InputError(f"no verdict on the step {min(missing)!r}")
    if ax is None:
        _, ax = plt.subplots(figsize=(0.32 * len(order) + 2.8, 0.27 * len(variants) + 0.9))
    fails = _matrix(grid, "fails_from").loc[variants, order]
    always = _matrix(grid, "always").loc[variants, order]
    tones = ListedColormap(["#e7edf3", "#a3303f"])
    ax.pcolormesh(fails.notna(), cmap=tones, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    for i, j in np.argwhere(fails.notna().to_numpy()):
        text = "✕" if always.iloc[i, j] else f"t≥{fails.iloc[i, j]:.0f}"
        ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", color="white", fontsize=7.5)
    start = 0
    for title, steps in groups.items():
        ax.axvline(start, color="white", linewidth=6)
        note(ax, title, (start + len(steps) / 2, 0), (0, 20), ha="center", fontsize=8)
        start += len(steps)
    ax.set_xticks(np.arange(len(order)) + 0.5, order)
    names = [re.sub(r"(\w)\[(.*?)\]", r"$\1_{\2}$", variant) for variant in variants]
    ax.set_yticks(np.arange(len(variants)) + 0.5, names, parse_math=True)
    ax.tick_params(length=0, labelsize=8.5)
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def _matrix(table: pd.DataFrame, values: str) -> pd.DataFrame:
    return table.pivot_table(values, "variant", "step", aggfunc="first", dropna=False)
