"""Causal graphs from the user: edges written as text, and files in the forms that other programs write."""

import codecs
import math
import re
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import networkx as nx

from csrec_core.causal.dot import parse_dot
from csrec_core.causal.drawing import Drawing
from csrec_core.causal.formats import parse_csv, parse_gml, parse_graphml, parse_json
from csrec_core.causal.graph import (
    TEMPLATE,
    Edge,
    causal_graph,
    extend_graph,
    latents,
    named_edges,
    observed,
    sequential_graph,
    time_of,
    unroll,
)
from csrec_core.errors import InputError

DEFAULT_HORIZON = 3
PARSERS = {
    ".dot": parse_dot,
    ".gv": parse_dot,
    ".txt": parse_dot,
    ".gml": parse_gml,
    ".graphml": parse_graphml,
    ".xml": parse_graphml,
    ".json": parse_json,
    ".csv": parse_csv,
}


def make_graph(
    horizon: int = 0,
    *,
    exposure: str = "observational",
    online: bool = False,
    regime: str = "none",
    extra_edges: str = "",
    latent_edges: str = "",
    file: str | Path = "",
) -> nx.DiGraph:
    """Return the graph that plain parameters describe: Figure 1, or the graph in `file`, with edges added.

    `extra_edges` and `latent_edges` are written as `parse_edges` reads them. With a `file`, the graph is
    what it says: the other parameters only tell what in it departs from Figure 1, which the edge attribute
    ``role`` then marks as "extra". A `horizon` of 0 is the file's own, and `DEFAULT_HORIZON` without one; a
    file whose nodes are all templates, such as ``S[t-1]``, is unrolled over the horizon.

    Raises InputError on a file that is not read, one whose steps are not P1, S1, D1, P2, …, another horizon than
    the file's, an arrow back in time.
    """
    figure_1 = partial(sequential_graph, exposure=exposure, online=online, regime=regime)
    if not str(file):
        graph = figure_1(horizon or DEFAULT_HORIZON)
    else:
        graph = _from_file(Path(file), horizon)
        last = horizon_of(graph, where=file)
        if horizon not in (0, last):
            raise InputError(f"{file}: its steps are 1 to {last}, the horizon given is {horizon}")
        known = figure_1(last).edges
        own = {edge: "extra" for edge in graph.edges if edge not in known}
        nx.set_edge_attributes(graph, own, "role")
    grown = extend_graph(graph, extra=parse_edges(extra_edges), latent=parse_edges(latent_edges, pairs=True))
    for a, b in grown.edges:
        if (time_of(a) or 0) > (time_of(b) or math.inf):
            raise InputError(f"the arrow {a} -> {b} runs back in time")
    return grown


def horizon_of(graph: nx.DiGraph, *, where: str | Path = "the graph") -> int:
    """Return the last step of a graph whose nodes are P1, S1, D1 to Pt, St, Dt, and others.

    Raises InputError, naming what is missing, where the steps are not these.
    """
    times = {time for node in graph if (time := time_of(node)) is not None}
    last = max(times, default=0)
    if last < 2 or 0 in times:
        raise InputError(
            f"{where}: the theorem speaks of the steps P1, S1, D1, P2, S2, D2, …, which this graph does not "
            "have; csrec identify takes a graph of any names"
        )
    missing = [f"{row}{t}" for t in range(1, last + 1) for row in "PSD" if f"{row}{t}" not in graph]
    if missing:
        raise InputError(f"{where}: the steps go to {last}, but there is no node {missing[0]}")
    return last


def repeating(graph: nx.DiGraph) -> Callable[[int], nx.DiGraph] | None:
    """Return how to lay a graph of steps out over any number of them; None where it repeats no slice.

    Its arrows and pairs are read as templates; what these make over the same steps must be the graph itself.
    """
    horizon, hidden = horizon_of(graph), latents(graph) | {"R"}
    arrows = [edge for edge in graph.edges if edge[0] not in hidden]
    pairs = [pair for node in latents(graph) for pair in combinations(sorted(graph.succ[node]), 2)]
    if not all(time_of(end) for edge in arrows + pairs for end in edge):
        return None
    templates, shared = ({_template(*edge) for edge in edges} for edges in (arrows, pairs))
    regime = {node[0] for node in graph.succ["R"]} if "R" in graph else set()

    def build(steps: int) -> nx.DiGraph:
        times = range(1, steps + 1)
        ruled = [("R", f"{row}{t}") for row in sorted(regime) for t in times]
        nodes = [f"{row}{t}" for t in times for row in "PSD"]
        edges = [*unroll(sorted(templates), steps), *ruled]
        return causal_graph(edges, unroll(sorted(shared), steps), nodes=nodes)

    same = build(horizon)
    is_same = named_edges(same).keys() == named_edges(graph).keys() and observed(same) == observed(graph)
    return build if is_same else None


def _template(a: str, b: str) -> Edge:
    """Return the template that an arrow is an instance of."""
    i, j = int(a[1:]), int(b[1:])
    return f"{a[0]}[t{i - max(i, j):+d}]", f"{b[0]}[t{j - max(i, j):+d}]"


def parse_edges(text: str, *, pairs: bool = False) -> list[Edge]:
    """Read arrows such as ``"S1->P2, S[t-1]->D[t]"``, with `pairs` unmeasured causes: ``"S[t]<->D[t]"``."""
    edges = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"([^<>→↔]*[^<>→↔\s-])\s*(<-+>|↔|-+>|→)\s*([^<>→↔\s-][^<>→↔]*)", part)
        if not found:
            raise InputError(f"cannot read the edge {part!r}: write it as S1->P2, and a comma between edges")
        if (found[2][0] in "<↔") != pairs:
            raise InputError(
                f"{part!r} is an arrow: it belongs to the extra edges, and a pair is S1<->D1"
                if pairs
                else f"{part!r} is a pair with an unmeasured cause: it belongs to the latent edges, "
                "and an arrow is S1->D1"
            )
        edges.append((found[1].strip(), found[3].strip()))
    return edges


def read_graph(path: str | Path) -> nx.DiGraph:
    """Read a causal graph from a file, see `read_drawing`."""
    return _located(path, read_drawing(path).graph)


def read_drawing(path: str | Path) -> Drawing:
    """Read what a file says of a graph; raises InputError, with the place, for whatever is not understood.

    A file in DOT (.dot, .gv), DAGitty's text (.txt, or `dag {` in a .dot), GML (.gml), GraphML (.graphml, .xml),
    JSON (.json: lists, node-link or causalfusion) or a table of edges (.csv).
    """
    path = Path(path)
    if path.suffix.lower() not in PARSERS:
        raise InputError(f"{path}: a graph file ends in {', '.join(PARSERS)}, not in {path.suffix!r}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    text = _decoded(path)
    return _located(path, lambda: PARSERS[path.suffix.lower()](text))


def _from_file(path: Path, horizon: int) -> nx.DiGraph:
    """Return the graph of a file, its templates unrolled over the horizon."""
    drawing = read_drawing(path)
    rows = {name: found[1] for name in drawing.nodes if (found := TEMPLATE.match(name))}
    if not rows:
        return _located(path, drawing.graph)
    plain = [name for name in drawing.nodes if name not in rows]
    if plain or drawing.latent:
        other = f"the plain name {plain[0]!r}" if plain else "latent nodes"
        raise InputError(f"{path}: mixes templates such as {next(iter(rows))!r} with {other}")
    steps = horizon or DEFAULT_HORIZON
    edges, pairs = unroll(drawing.directed, steps), unroll(drawing.pairs, steps)
    nodes = [f"{row}{t}" for t in range(1, steps + 1) for row in sorted(set(rows.values()))]
    return _located(path, lambda: causal_graph(edges, pairs, nodes=nodes))


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: no UTF-8 text, save it as UTF-8") from error
    if "\0" in text:
        raise InputError(f"{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1}: no text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _located(path: str | Path, make):
    """Return what `make` makes; its errors say the file."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
