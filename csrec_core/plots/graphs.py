"""Drawings of causal graphs: nodes and arrows with their places, one frame."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from csrec_core.plots.marks import note

NODES = {  # shape, fill, size against the others
    "P": ("o", "#dbe9f6", 1.0),
    "S": ("s", "#fdebd3", 0.92),
    "D": ("D", "#d8efe6", 0.86),
    "R": ("h", "#ece2f0", 1.0),
    "latent": ("o", "white", 0.75),
    "other": ("o", "#eeeeee", 1.0),
}
ARROWS = {
    "given": ("#444444", "-", "assumed in Figure 1"),
    "online": ("#b58900", "-", "the system learns (yellow arrow)"),
    "extra": ("#8a4f9e", "-", "added arrow"),
    "latent": ("#8a4f9e", (0, (4, 2)), "from an unmeasured cause"),
    "regime": ("#7a7a7a", "-", "from the regime R"),
}
FITTING = 3  # letters that a node has room for; a longer name stands beside it
OPEN, CLOSED, GHOST = "#c23b4b", "#174f8f", "#b3b3b3"


def plot_graph(graph: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a graph from its nodes and arrows, one frame (`csrec_core.causal.diagram.graph_frame`).

    Cut arrows are ghosts; the witness is thick: red where the path is open, blue where it is blocked.
    """
    nodes, edges = _frame_parts(graph)
    if ax is None:
        _, ax = plt.subplots(figsize=_figure_size(nodes))
    width = nodes["x"].max() - nodes["x"].min() + 1.6
    inches = ax.figure.get_figwidth() / ax.get_gridspec().ncols
    size = float(np.clip(inches / width * 72 * 0.5, 9, 22))  # diameter of a node in points
    preferences = nodes.loc[nodes["kind"] == "P", "y"].max()
    for edge in edges.itertuples():
        ax.add_patch(_arrow(edge, shrink=size / 2 + 2))
    for node in nodes.itertuples():
        # Below a preference its arrows come out, so what is noted of it stands above.
        _draw_node(ax, node, size, above=node.y >= preferences)
    ax.set_xlim(nodes["x"].min() - 0.8, nodes["x"].max() + 0.8)
    ax.set_ylim(nodes["y"].min() - 0.75, nodes["y"].max() + 0.65)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def plot_panels(graphs: pd.DataFrame, *, columns: int = 1) -> Figure:
    """Draw graphs (`csrec_core.causal.diagram.stack_steps`), one `panel` each, with one legend for all."""
    nodes, edges = _frame_parts(graphs)
    titles = list(dict.fromkeys(graphs["panel"]))
    rows = -(-len(titles) // columns)
    width, height = _figure_size(nodes)
    shrink = min(1.0, 8.6 / (width * columns))
    size = (width * columns * shrink, rows * (height * shrink + 0.35) + 0.5)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(titles) :]:
        ax.axis("off")
    for ax, title in zip(axes.flat, titles, strict=False):
        plot_graph(graphs[graphs["panel"] == title], ax=ax)
        ax.set_title(title, fontsize=9, fontweight="normal", parse_math=True)
    figure.legend(handles=_legend(edges), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _frame_parts(graph: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return nodes and arrows of a frame that may come from a CSV, which knows no empty text."""
    texts = ["role", "mark", "path"]
    graph = graph.astype(dict.fromkeys(texts, object)).fillna(dict.fromkeys(texts, ""))
    nodes, edges = (graph[graph["part"] == part] for part in ("node", "arrow"))
    return nodes, edges.astype({"cut": bool})


def _arrow(edge, *, shrink: float) -> FancyArrowPatch:
    color, style, _ = ARROWS[edge.kind]
    width, order = (2.2 if edge.kind == "online" else 1.1), 1
    if edge.cut:
        color, style, width = GHOST, (0, (1, 2)), 1.2
    if edge.path:
        color, width, order = (OPEN if edge.path == "open" else CLOSED), 3.0, 2
    return FancyArrowPatch(
        (edge.x0, edge.y0),
        (edge.x1, edge.y1),
        connectionstyle=f"arc3,rad={edge.bend}",
        arrowstyle="-|>",
        mutation_scale=9 if not edge.path else 13,
        shrinkA=shrink,
        shrinkB=shrink,
        color=color,
        linestyle=style,
        linewidth=width,
        zorder=order,
    )


def _draw_node(ax: Axes, node, size: float, *, above: bool) -> None:
    shape, fill, scale = NODES[node.kind]
    border = ("#111111", 2.4) if node.role in ("y", "z") else ("#777777", 1.0)
    ax.plot(
        node.x,
        node.y,
        marker=shape,
        markersize=size * scale,
        markerfacecolor="#c9c9c9" if node.role in ("given", "do") else fill,
        markeredgecolor=border[0],
        markeredgewidth=border[1],
        linestyle="",
        zorder=3,
    )
    font = float(np.clip(size * 0.42, 6, 11)) * (0.8 if node.kind == "latent" else 1)
    fits = node.label.startswith("$") or len(node.label) <= FITTING
    if fits:
        ax.text(
            node.x, node.y, node.label, ha="center", va="center", fontsize=font, zorder=4, parse_math=True
        )
    notes = " · ".join(note for note in ("" if fits else node.label, node.role, node.mark) if note)
    if notes:
        side, offset = ("bottom", size / 2 + 3) if above else ("top", -size / 2 - 3)
        over = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8}
        look = {"ha": "center", "va": side, "fontsize": 7.5, "color": "#111111", "zorder": 5, "bbox": over}
        note(ax, notes, (node.x, node.y), (0, offset), parse_math=True, **look)


def _figure_size(nodes: pd.DataFrame) -> tuple[float, float]:
    """Return a figure size in inches that gives every graph the same scale, as far as a page goes."""
    width = nodes["x"].max() - nodes["x"].min() + 1.6
    height = nodes["y"].max() - nodes["y"].min() + 1.4
    scale = min(0.72, 8.6 / width)
    return width * scale, height * scale


def _legend(edges: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=color, linestyle=style, linewidth=2.2 if kind == "online" else 1.2, label=label)
        for kind, (color, style, label) in ARROWS.items()
        if (edges["kind"] == kind).any()
    ]
    if edges["cut"].any():
        handles.append(Line2D([], [], color=GHOST, linestyle=(0, (1, 2)), label="cut by the rule"))
    for path, color, label in (("open", OPEN, "open path"), ("blocked", CLOSED, "shortest path, blocked")):
        if (edges["path"] == path).any():
            handles.append(Line2D([], [], color=color, linewidth=3, label=label))
    return handles
