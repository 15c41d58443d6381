"""Drawings of what holds and what breaks: steps of a proof by variant, by added arrow."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from csrec_core.causal.graph import plot_label
from csrec_core.errors import InputError
from csrec_core.plots.marks import note

TIMED_NODE = re.compile(r"([PSD])(\d+)")


def plot_verdicts(grid: pd.DataFrame, *, groups: dict[str, list[str]], ax: Axes | None = None) -> Axes:
    """Draw a `verdict_grid` (`csrec_core.causal.diagram`): variants down, steps across, failures red.

    A cross marks a step that fails at every t; "t≥3" one that fails from t = 3 on.
    """
    order, variants = [step for steps in groups.values() for step in steps], list(grid["variant"].unique())
    if missing := set(order) - set(grid["step"]):
        raise InputError(f"no verdict on the step {min(missing)!r}")
    if ax is None:
        _, ax = plt.subplots(figsize=(0.32 * len(order) + 2.8, 0.27 * len(variants) + 0.9))
    fails = _matrix(grid, "variant", "step", "fails_from").loc[variants, order]
    always = _matrix(grid, "variant", "step", "always").loc[variants, order]
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


def plot_breaking(table: pd.DataFrame) -> Figure:
    """Draw how many steps each single addition breaks: arrows above, latent causes below.

    White cells are no addition: the arrow is there, would close a cycle or run back in time.

    Parameters
    ----------
    table : `csrec_core.causal.audit.breaking_table`
    """
    nodes = sorted({*table["source"], *table["target"]}, key=_by_time)
    figure, (above, below) = plt.subplots(2, 1, figsize=(4.9, 9.6))
    for ax, kind, by, across, down in (
        (above, "directed", "an arrow", "effect", "cause"),
        (below, "bidirected", "a latent cause", "one effect of a latent cause", "the other"),
    ):
        grid = _matrix(table[table["kind"] == kind], "source", "target", "breaks")
        grid = grid.reindex(index=nodes, columns=nodes).astype(float)
        if kind == "bidirected":
            grid = grid.combine_first(grid.T).loc[nodes, nodes]
        _heat(ax, grid, top=max(table["breaks"].max(), 1))
        ax.set(xlabel=across, ylabel=down)
        ax.set_title(f"Steps broken by {by}", fontsize=10)
    return figure


def _matrix(table: pd.DataFrame, rows: str, columns: str, values: str) -> pd.DataFrame:
    return table.pivot_table(values, rows, columns, aggfunc="first", dropna=False)


def _heat(ax: Axes, grid: pd.DataFrame, *, top: float) -> None:
    ax.pcolormesh(
        grid.to_numpy(), cmap="Oranges", vmin=-0.15 * top, vmax=top, edgecolors="white", linewidth=1
    )
    font = float(np.clip(80 / len(grid), 4.5, 8))
    for i, j in np.argwhere(grid.to_numpy() > 0):
        value = grid.iloc[i, j]
        color = "white" if value > 0.6 * top else "#333333"
        ax.text(j + 0.5, i + 0.5, f"{value:.0f}", ha="center", va="center", color=color, fontsize=font)
    for axis, names in ((ax.xaxis, grid.columns), (ax.yaxis, grid.index)):
        axis.set_ticks(np.arange(len(names)) + 0.5, [plot_label(name) for name in names], parse_math=True)
    ax.tick_params(length=0, labelsize=font + 1)
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_aspect("equal")


def _by_time(node: str) -> tuple[int, int, str]:
    timed = TIMED_NODE.fullmatch(node)
    return (int(timed[2]), "PSD".index(timed[1]), "") if timed else (0, 0, node)
