"""Causal graphs from the user: edges written as text, and files in GML, DOT or JSON."""

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx

from csrec_core.causal.graph import Edge, causal_graph, extend_graph, sequential_graph
from csrec_core.errors import InputError, unknown

__all__ = ["make_graph", "parse_edges", "read_graph"]


def make_graph(
    horizon: int,
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
    ``role`` then marks as "extra".
    """
    known = None if regime == "none" else regime
    graph = figure_1 = sequential_graph(horizon, exposure=exposure, online=online, regime=known)
    if str(file):
        graph = read_graph(file)
        own = {edge: "extra" for edge in graph.edges if edge not in figure_1.edges}
        nx.set_edge_attributes(graph, own, "role")
    return extend_graph(graph, extra=parse_edges(extra_edges), latent=parse_edges(latent_edges))


def parse_edges(text: str) -> list[Edge]:
    """Read edges from text such as ``"S1->P2, S[t-1]->D[t]"``; ``<->`` for ``->`` will do."""
    edges = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = [end.strip() for end in re.split(r"<?-+>|→|↔", part)]
        if len(ends) != 2 or not all(ends):
            raise InputError(f"cannot read the edge {part!r}: write it as S1->P2, and a comma between edges")
        edges.append((ends[0], ends[1]))
    return edges


def read_graph(path: str | Path) -> nx.DiGraph:
    """Read a causal graph from a .gml, .dot or .json file.

    GML and DOT mark a latent node by the node attribute ``latent`` (1 or true); DOT marks a shared latent
    cause by ``dir=both`` on the edge. JSON is ``{"edges": [["a", "b"], ...], "bidirected": [...],
    "latent": [...]}`` or networkx node-link data.

    Raises
    ------
    InputError
        When the file is missing, of another kind, unreadable, undirected or cyclic.
    """
    path = Path(path)
    readers = {".gml": _read_gml, ".dot": _read_dot, ".json": _read_json}
    if path.suffix not in readers:
        raise InputError(f"{path}: a graph file ends in {', '.join(readers)}, not in {path.suffix!r}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return readers[path.suffix](path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (nx.NetworkXException, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: not a readable {path.suffix} graph: {error}") from error


def _read_gml(path: Path) -> nx.DiGraph:
    return _from_networkx(nx.read_gml(path))


def _read_dot(path: Path) -> nx.DiGraph:
    try:
        parsed = nx.nx_pydot.read_dot(path)
    except ImportError as error:
        raise InputError("reading .dot needs the package pydot; or save the graph as .json") from error
    # pydot keeps a stray node for the line ends of some writers
    parsed.remove_nodes_from([node for node in parsed if node.strip('"') in {"\\n", "\\r\\n"}])
    return _from_networkx(nx.relabel_nodes(parsed, lambda node: node.strip('"')))


def _read_json(path: Path) -> nx.DiGraph:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise InputError('expected an object with the key "edges"')
    if "nodes" in content and all(isinstance(node, dict) for node in content["nodes"]):
        key = "edges" if "edges" in content else "links"
        return _from_networkx(nx.node_link_graph({"directed": True, **content}, edges=key))
    allowed = ("edges", "bidirected", "latent", "nodes")
    for key in content:
        if key not in allowed:
            raise unknown("key", key, allowed)
    if "edges" not in content:
        raise InputError('expected an object with the key "edges"')
    return causal_graph(
        content["edges"],
        content.get("bidirected", ()),
        latent=content.get("latent", ()),
        nodes=content.get("nodes", ()),
    )


def _from_networkx(parsed: nx.Graph) -> nx.DiGraph:
    """Return the causal graph of a graph as some file format stores it."""
    if not parsed.is_directed():
        raise InputError("the graph is undirected: a causal graph needs arrows (directed 1, or digraph)")
    directed, both = [], []
    for source, target, data in parsed.edges(data=True):
        both_ways = str(data.get("dir", "")).strip('"') == "both"
        (both if both_ways else directed).append((str(source), str(target)))
    hidden = [str(node) for node, mark in parsed.nodes(data="latent") if _is_true(mark)]
    return causal_graph(directed, both, latent=hidden, nodes=[str(node) for node in parsed])


def _is_true(mark: Any) -> bool:
    return str(mark).strip('"').lower() in {"1", "true", "yes"}
