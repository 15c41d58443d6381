"""What would break a step of do-calculus, and what would mend it: the smallest changes of graph or query."""

from collections.abc import Callable, Iterable
from itertools import combinations, permutations

import networkx as nx

from csrec_core.causal.docalculus import RuleCheck
from csrec_core.causal.graph import (
    Edge,
    Nodes,
    descendants,
    latents,
    named_edges,
    observed,
    time_of,
    with_ancestors,
)
from csrec_core.causal.identify import Identifiability
from csrec_core.causal.search import Source

MOST_CHANGES = 2  # changes tried at once

#: By what is done, the smallest sets of what it is done to: nodes, or names of edges (`named_edges`).
Changes = dict[str, tuple[Nodes, ...]]


def breaking_edges(check: RuleCheck) -> list[tuple[str, str, str]]:
    """Return every one of the `additions` to the graph that breaks a step that holds.

    None where the step is already broken: an edge more never mends it. d-separation depends on the ancestors
    of the query only, and an added arrow changes those only where it points at one of them: every other
    candidate is skipped unchecked.
    """
    if not check:
        return []
    graph, query = check.graph, check.y | check.x | check.z | check.w
    relevant = with_ancestors(graph, query)
    found = []
    for kind, a, b in additions(graph):
        if b in relevant:
            grown, cause = graph.copy(), f"U({a},{b})+"
            grown.add_edges_from([(a, b)] if kind == "directed" else [(cause, a), (cause, b)])
            if not check.on(grown):
                found.append((kind, a, b))
    return found


def additions(graph: nx.DiGraph) -> list[tuple[str, str, str]]:
    """Return every edge that measured nodes can have more without a cycle or a way back in time: (kind, a, b).

    The kind is "directed" (a → b) or "bidirected" (a latent cause of a and b).
    """
    measured = sorted(observed(graph))
    below = {node: nx.descendants(graph, node) for node in measured}
    directed = [
        ("directed", a, b)
        for a, b in permutations(measured, 2)
        if not graph.has_edge(a, b) and a not in below[b] and (time_of(a) or 0) <= (time_of(b) or 0)
    ]
    return [("bidirected", a, b) for a, b in combinations(measured, 2)] + directed


def find_repairs(check: RuleCheck) -> Changes:
    """Return the smallest changes that mend a broken step: nodes to "condition on", arrows to "rule out".

    Only sets of at most `MOST_CHANGES` are tried. Nodes that come after the outcome are no candidates.
    """
    if check:
        return {}
    asked = check.y | check.x | check.z | check.w
    spare = observed(check.graph) - asked - descendants(check.graph, check.y)
    named = named_edges(check.graph)
    return {
        "condition on": _smallest(spare, lambda nodes: check.on(check.graph, given=nodes)),
        "rule out": _smallest(named, lambda names: check.on(_without(check.graph, named, names))),
    }


def identifying_changes(found: Identifiability, core: nx.DiGraph) -> Changes:
    """Return the smallest changes, each alone, that make an effect identifiable that is not.

    Latent nodes to "measure", arrows to "rule out", or a node to "randomise" that is neither the action nor
    asked for. `core` is a part of the graph in which it is not (`twins.smallest_core`): a change outside mends
    nothing.
    """
    after = found.do | descendants(found.graph, found.do)
    before = with_ancestors(found.graph, found.y)
    # To rule out a way of the effect itself would answer another question.
    own = {f"{a} → {b}" for a, b in found.graph.edges if a in after and b in before}
    named = named_edges(found.graph)
    spare = {name for name, edges in named.items() if not core.edges.isdisjoint(edges)} - own

    def measured(nodes: Nodes) -> bool:
        graph = found.graph.copy()
        nx.set_node_attributes(graph, dict.fromkeys(nodes, False), "latent")
        return bool(found.on(graph))

    def tried(node: str) -> bool:
        return bool(found.on(found.graph, sources=(Source(), Source("trial", frozenset([node])))))

    others = observed(found.graph) - found.y - found.do - found.given
    return {
        "measure": _smallest(latents(core), measured),
        "rule out": _smallest(spare, lambda names: found.on(_without(found.graph, named, names))),
        "randomise": tuple(frozenset([node]) for node in sorted(others) if tried(node)),
    }


def _without(graph: nx.DiGraph, named: dict[str, list[Edge]], names: Nodes) -> nx.DiGraph:
    shrunk = graph.copy()
    for name in names:
        shrunk.remove_edges_from(named[name])
    return shrunk


def _smallest(candidates: Iterable[str], works: Callable[[Nodes], object]) -> tuple[Nodes, ...]:
    """Return every set of candidates of the smallest size at which some set works."""
    for size in range(1, MOST_CHANGES + 1):
        if found := tuple(filter(works, map(frozenset, combinations(sorted(candidates), size)))):
            return found
    return ()
