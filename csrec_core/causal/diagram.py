"""Causal graphs laid out as pandas frames, which `csrec_core.plots.graphs` draws."""

from collections.abc import Iterable

import networkx as nx
import numpy as np
import pandas as pd

from csrec_core.causal.docalculus import Path, RuleCheck
from csrec_core.causal.graph import Edge, latents, plot_label, time_of
from csrec_core.causal.theorem import Step

Point = tuple[float, float]

STEP_WIDTH = 2.6  # distance between two time steps; one row is 1.25 high
NODE_ROWS = {"P": (0.0, 2.5), "S": (-0.9, 1.25), "D": (0.0, 0.0)}  # place within a time step
FRAME_COLUMNS = "name label x y kind role mark part source target x0 y0 x1 y1 bend cut path"
NEAR = 0.34  # a straight arrow that passes a node closer than this is bent


def graph_frame(graph: nx.DiGraph, *, check: RuleCheck | None = None) -> pd.DataFrame:
    """Lay a graph out, time from left to right, and mark what a check on it did: its sets, cuts, first witness.

    Returns
    -------
    DataFrame
        One row per node and arrow, told apart by `part` ("node" or "arrow").
        Nodes: `name`, `label` (LaTeX), `x`, `y`, `kind` (P, S, D, R, latent, other), `role` ("y", "do", "z",
        "given" or ""), `mark` ("collider", "blocks", "collider, blocks" or "").
        Arrows: `source`, `target`, `x0`, `y0`, `x1`, `y1`, `bend`, `kind` (given, online, extra, latent,
        regime), `cut` (bool), `path` ("open", "blocked" or "").
    """
    places = _places(graph)
    kinds = {node: _kind(graph, node) for node in places}
    roles: dict[str, str] = {}
    cut, path = frozenset[Edge](), None
    if check is not None:
        cut, path = check.removed_edges, check.witness
        for part, role in ((check.y, "y"), (check.x, "do"), (check.z, "z"), (check.w, "given")):
            roles |= dict.fromkeys(part, role)
    marks = _witness_marks(path) if path else {}
    rows: list[dict] = []
    for name, (x, y) in places.items():
        label = "U" if name.startswith("U(") else plot_label(name)
        said = {"kind": kinds[name], "role": roles.get(name, ""), "mark": marks.get(name, "")}
        rows.append({"part": "node", "name": name, "label": label, "x": x, "y": y, **said})
    for source, target, role in graph.edges(data="role", default="given"):
        (x0, y0), (x1, y1), bend = places[source], places[target], _bend(source, target, places)
        ends = {"source": source, "target": target, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "bend": bend}
        kind = "latent" if kinds[source] == "latent" else role
        state = ("open" if path.is_open else "blocked") if path and (source, target) in path.edges else ""
        rows.append({"part": "arrow", **ends, "kind": kind, "cut": (source, target) in cut, "path": state})
    return pd.DataFrame(rows, columns=FRAME_COLUMNS.split())


def stack_steps(steps: Iterable[Step]) -> pd.DataFrame:
    """Return `graph_frame` of each step of a derivation, its title in the column `panel`."""
    frames = []
    for step in steps:
        verdict = "holds" if step.check else "fails"
        check = step.check
        in_mathematics = all(plot_label(node).startswith("$") for node in check.y | check.z | check.given)
        asked = f"${step.separation}$" if in_mathematics else check.separation.replace("$", r"\$")
        title = f"{step.name}, rule {check.rule}, {verdict}: {asked}"
        frames.append(graph_frame(check.graph, check=check).assign(panel=title))
    return pd.concat(frames, ignore_index=True)


def verdict_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise `variant_table`: one row per variant and step, `fails_from`, the first t at which it fails.

    NaN where the step holds at every t; `always` tells whether it fails at all of them.
    """
    failing = table.assign(fails_from=table["t"].mask(table["holds"]))
    grid = failing.groupby(["variant", "step"], sort=False)["fails_from"].min().reset_index()
    return grid.assign(always=grid["fails_from"] == table["t"].min())


def _witness_marks(path: Path) -> dict[str, str]:
    """Return the colliders of a path, and the first node that blocks it."""
    marks = dict.fromkeys(path.colliders, "collider")
    for node in path.blockers[:1]:
        marks[node] = f"{marks[node]}, blocks" if node in marks else "blocks"
    return marks


def _kind(graph: nx.DiGraph, node: str) -> str:
    if graph.nodes[node].get("latent"):
        return "latent"
    return node[0] if time_of(node) is not None else "R" if node == "R" else "other"


def _places(graph: nx.DiGraph) -> dict[str, Point]:
    """Give every node its place: series by time and row, other nodes by causal order, latents beside both."""
    places = {}
    for node in graph:
        if (time := time_of(node)) is not None:
            right, up = NODE_ROWS[node[0]]
            places[node] = (STEP_WIDTH * time + right, up)
    middle = float(np.mean([x for x, _ in places.values()])) if places else 0.0
    top = NODE_ROWS["P"][1] + 1.1 if places else 0.0
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


def _beside(ends: list[Point], taken: list[Point], lines: list[tuple[Point, Point]]) -> Point:
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


def _bend(source: str, target: str, places: dict[str, Point]) -> float:
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
