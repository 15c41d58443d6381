"""Pictures of causal graphs: a graph laid out as pandas frames, and drawings of such frames."""

import re
from collections.abc import Iterable

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from csrec_core.causal.docalculus import RuleCheck
from csrec_core.causal.graph import TIMED, latents, latex_names
from csrec_core.causal.theorem import Step
from csrec_core.errors import InputError

__all__ = [
    "graph_frames",
    "plot_breaking",
    "plot_graph",
    "plot_panels",
    "plot_verdicts",
    "stack_steps",
    "verdict_grid",
]

Place = tuple[float, float]

STEP = 2.6  # distance between two time steps; one row is 1.25 high
ROWS = {"P": (0.0, 2.5), "S": (-0.9, 1.25), "D": (0.0, 0.0)}  # place within a time step
NEAR = 0.34  # a straight arrow that passes a node closer than this is bent

SHAPES = {"P": "o", "S": "s", "D": "D", "R": "h", "latent": "o", "other": "o"}
FILLS = {
    "P": "#dbe9f6",
    "S": "#fdebd3",
    "D": "#d8efe6",
    "R": "#ece2f0",
    "latent": "white",
    "other": "#eeeeee",
}
ARROWS = {
    "given": ("#444444", "-", "assumed in Figure 1"),
    "online": ("#b58900", "-", "the system learns (yellow arrow)"),
    "extra": ("#8a4f9e", "-", "added arrow"),
    "latent": ("#8a4f9e", (0, (4, 2)), "from an unmeasured cause"),
    "regime": ("#7a7a7a", "-", "from the regime R"),
}
OPEN, CLOSED, GHOST = "#c23b4b", "#1f5fa8", "#b3b3b3"


def graph_frames(graph: nx.DiGraph, *, check: RuleCheck | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay a graph out, time from left to right, and mark what a check did to it.

    Parameters
    ----------
    graph : causal graph
    check : a check on this graph: its sets, cut arrows and first witness are marked

    Returns
    -------
    nodes : `name`, `label` (LaTeX), `x`, `y`, `kind` (P, S, D, R, latent, other), `role` ("y", "do", "z",
        "given" or ""), `mark` ("collider", "blocks", "collider, blocks" or "")
    edges : `source`, `target`, `x0`, `y0`, `x1`, `y1`, `bend`, `kind` (a key of ARROWS), `cut` (bool),
        `path` ("open", "blocked" or "")
    """
    places = _places(graph)
    kinds = {node: _kind(graph, node) for node in places}
    roles, marks, on_path, cut = {}, {}, {}, frozenset()
    if check is not None:
        for nodes, role in ((check.y, "y"), (check.x, "do"), (check.z, "z"), (check.w, "given")):
            roles |= dict.fromkeys(nodes, role)
        cut = check.removed_edges
        if check.witness:
            path = check.witness[0]
            on_path = dict.fromkeys(path.edges, "open" if path.is_open else "blocked")
            marks = dict.fromkeys(path.colliders, "collider")
            for blocker in path.blockers[:1]:
                marks[blocker.node] = "collider, blocks" if blocker.collider else "blocks"
    nodes = pd.DataFrame(
        [
            (name, _label(name, kinds[name]), x, y, kinds[name], roles.get(name, ""), marks.get(name, ""))
            for name, (x, y) in places.items()
        ],
        columns=["name", "label", "x", "y", "kind", "role", "mark"],
    )
    rows = []
    for source, target, role in graph.edges(data="role", default="given"):
        role = "latent" if kinds[source] == "latent" else role
        ends = (*places[source], *places[target])
        bend = _bend(source, target, places)
        edge = (source, target)
        rows.append((*edge, *ends, bend, role, edge in cut, on_path.get(edge, "")))
    columns = ["source", "target", "x0", "y0", "x1", "y1", "bend", "kind", "cut", "path"]
    return nodes, pd.DataFrame(rows, columns=columns)


def stack_steps(steps: Iterable[Step]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the frames of `graph_frames` for each step of a derivation, its title in the column `panel`."""
    nodes, edges = [], []
    for step in steps:
        verdict = "holds" if step.check else "fails"
        title = f"{step.name}, rule {step.check.rule}, {verdict}: ${step.separation}$"
        step_nodes, step_edges = graph_frames(step.check.graph, check=step.check)
        nodes.append(step_nodes.assign(panel=title))
        edges.append(step_edges.assign(panel=title))
    return pd.concat(nodes, ignore_index=True), pd.concat(edges, ignore_index=True)


def plot_graph(nodes: pd.DataFrame, edges: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a graph from the frames of `graph_frames`.

    Cut arrows are ghosts; the witness is thick: red where the path is open, blue where it is blocked.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=_size(nodes))
    width = nodes["x"].max() - nodes["x"].min() + 1.6
    inches = ax.figure.get_figwidth() / ax.get_gridspec().ncols
    size = float(np.clip(inches / width * 72 * 0.5, 9, 22))  # diameter of a node in points
    for edge in edges.itertuples():
        ax.add_patch(_arrow(edge, shrink=size / 2 + 2))
    for node in nodes.itertuples():
        _draw_node(ax, node, size)
    ax.set_xlim(nodes["x"].min() - 0.8, nodes["x"].max() + 0.8)
    ax.set_ylim(nodes["y"].min() - 0.75, nodes["y"].max() + 0.65)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def plot_panels(nodes: pd.DataFrame, edges: pd.DataFrame, *, columns: int = 1) -> Figure:
    """Draw the graphs of `stack_steps`, one panel each, with one legend for all."""
    titles = list(dict.fromkeys(nodes["panel"]))
    rows = -(-len(titles) // columns)
    width, height = _size(nodes)
    shrink = min(1.0, 8.6 / (width * columns))
    size = (width * columns * shrink, rows * (height * shrink + 0.35) + 0.5)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(titles) :]:
        ax.axis("off")
    for ax, title in zip(axes.flat, titles, strict=False):
        plot_graph(nodes[nodes["panel"] == title], edges[edges["panel"] == title], ax=ax)
        ax.set_title(title, fontsize=9, fontweight="normal")
    figure.legend(handles=_legend(edges), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def verdict_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise `variant_table`: one row per variant and step, `fails_from`, the first t at which it fails.

    NaN where the step holds at every t; `always` tells whether it fails at all of them.
    """
    failing = table[~table["holds"]]
    first = failing.groupby(["variant", "step"])["t"].min().rename("fails_from")
    grid = table.drop_duplicates(["variant", "step"])[["variant", "step"]]
    grid = grid.merge(first.reset_index(), how="left", on=["variant", "step"])
    return grid.assign(always=grid["fails_from"] == table["t"].min())


def plot_verdicts(grid: pd.DataFrame, *, groups: dict[str, list[str]], ax: Axes | None = None) -> Axes:
    """Draw `verdict_grid` as a heat map: variants down, steps across under their group, failures dark.

    A cross marks a step that fails at every t; "t≥3" one that fails from t = 3 on.
    """
    order, variants = [step for steps in groups.values() for step in steps], list(grid["variant"].unique())
    if missing := set(order) - set(grid["step"]):
        raise InputError(f"no verdict on the step {min(missing)!r}")
    if ax is None:
        _, ax = plt.subplots(figsize=(0.4 * len(order) + 3.4, 0.27 * len(variants) + 0.9))
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
        ax.annotate(
            title, (start + len(steps) / 2, 0), (0, 20), textcoords="offset points", ha="center", fontsize=8
        )
        start += len(steps)
    ax.set_xticks(np.arange(len(order)) + 0.5, order)
    ax.set_yticks(
        np.arange(len(variants)) + 0.5, [re.sub(r"(\w)\[(.*?)\]", r"$\1_{\2}$", v) for v in variants]
    )
    ax.tick_params(length=0, labelsize=8.5)
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def plot_breaking(table: pd.DataFrame) -> Figure:
    """Draw how many steps each single addition breaks: arrows on the left, latent causes on the right.

    White cells are no addition: the arrow is there, would close a cycle or run back in time.

    Parameters
    ----------
    table : `breaking_table`
    """
    nodes = sorted({*table["source"], *table["target"]}, key=_by_time)
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.4))
    for ax, kind in zip(axes, ("directed", "bidirected"), strict=True):
        grid = _matrix(table[table["kind"] == kind], "source", "target", "breaks")
        grid = grid.reindex(index=nodes, columns=nodes).astype(float)
        if kind == "bidirected":
            grid = grid.combine_first(grid.T).loc[nodes, nodes]
        _heat(ax, grid, top=max(table["breaks"].max(), 1))
        ax.set_xlabel("effect" if kind == "directed" else "one effect of a latent cause")
        ax.set_ylabel("cause" if kind == "directed" else "the other")
        ax.set_title(
            "Steps broken by an arrow" if kind == "directed" else "Steps broken by a latent cause",
            fontsize=10,
        )
    return figure


def _by_time(node: str) -> tuple[int, int, str]:
    timed = TIMED.match(node)
    return (int(timed[2]), "PSD".index(timed[1]), "") if timed else (0, 0, node)


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
        axis.set_ticks(np.arange(len(names)) + 0.5, [f"${latex_names([name])}$" for name in names])
    ax.tick_params(length=0, labelsize=font + 1)
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_aspect("equal")


def _kind(graph: nx.DiGraph, node: str) -> str:
    if graph.nodes[node].get("latent"):
        return "latent"
    timed = TIMED.match(node)
    return timed[1] if timed else "R" if node == "R" else "other"


def _label(name: str, kind: str) -> str:
    return "U" if kind == "latent" else f"${latex_names([name])}$"


def _places(graph: nx.DiGraph) -> dict[str, Place]:
    """Give every node its place: series by time and row, other nodes by causal order, latents beside both."""
    places = {}
    for node in graph:
        if timed := TIMED.match(node):
            right, up = ROWS[timed[1]]
            places[node] = (STEP * int(timed[2]) + right, up)
    middle = float(np.mean([x for x, _ in places.values()])) if places else 0.0
    top = ROWS["P"][1] + 1.1 if places else 0.0
    hidden = latents(graph)
    for column, layer in enumerate(nx.topological_generations(graph)):
        others = sorted(node for node in layer if node not in places and node not in hidden)
        for row, node in enumerate(others):
            spread = 1.3 * (row - (len(others) - 1) / 2)
            places[node] = (middle, top) if node == "R" and places else (1.8 * column, top + spread)
    for node in sorted(hidden):
        ends = [places[child] for child in graph.succ[node] if child in places]
        lines = [(places[a], places[b]) for a, b in graph.edges if a in places and b in places]
        places[node] = _beside(ends, list(places.values()), lines)
    return places


def _beside(ends: list[Place], taken: list[Place], lines: list[tuple[Place, Place]]) -> Place:
    """Return a free place beside the middle of what a latent cause acts on."""
    middle = np.mean(ends, axis=0) if ends else np.zeros(2)
    along = np.subtract(ends[-1], ends[0]) if len(ends) > 1 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)

    def room(place: np.ndarray) -> tuple[float, float]:
        to_nodes = min((float(np.hypot(*(place - node))) for node in taken), default=1.0)
        to_lines = min((_distance(place, a, b) for a, b in lines), default=1.0)
        return min(round(to_nodes, 2), 0.8), round(to_lines, 2)

    best = max((middle + reach * across for reach in (0.75, -0.75, 1.0, -1.0)), key=room)
    return float(best[0]), float(best[1])


def _bend(source: str, target: str, places: dict[str, Place]) -> float:
    """Bend an arrow that would run through a node."""
    start, end = places[source], places[target]
    for node, place in places.items():
        if node not in (source, target) and _distance(place, start, end) < NEAR:
            is_lowest = start[1] <= 0 and end[1] <= 0
            return 0.28 if is_lowest else -0.28
    return 0.0


def _distance(place, start, end) -> float:
    """Return how far a place is from the straight line between two others."""
    place, start, end = map(np.asarray, (place, start, end))
    line = end - start
    share = float(np.clip(np.dot(place - start, line) / np.dot(line, line), 0, 1))
    return float(np.hypot(*(start + share * line - place)))


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


def _draw_node(ax: Axes, node, size: float) -> None:
    border = ("#111111", 2.4) if node.role in ("y", "z") else ("#777777", 1.0)
    hidden = node.kind == "latent"
    ax.plot(
        node.x,
        node.y,
        marker=SHAPES[node.kind],
        markersize=size * {"D": 0.86, "S": 0.92}.get(node.kind, 1.0) * (0.75 if hidden else 1),
        markerfacecolor="#c9c9c9" if node.role in ("given", "do") else FILLS[node.kind],
        markeredgecolor=border[0],
        markeredgewidth=border[1],
        linestyle="",
        zorder=3,
    )
    font = float(np.clip(size * 0.42, 6, 11))
    font *= 0.8 if hidden else 1
    ax.text(node.x, node.y, node.label, ha="center", va="center", fontsize=font, zorder=4)
    notes = " · ".join(note for note in (node.role, node.mark) if note)
    if notes:
        above = node.y >= ROWS["P"][1]  # below a taste its arrows come out
        ax.annotate(
            notes,
            (node.x, node.y),
            (0, size / 2 + 3 if above else -size / 2 - 3),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=7.5,
            color="#111111",
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
        )


def _size(nodes: pd.DataFrame) -> tuple[float, float]:
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
