"""Ways to an effect that need no algorithm: sets to adjust for, front doors, instruments; and what a graph
says of data alone, the independences that a log can deny."""

from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from itertools import combinations, islice

import networkx as nx

from csrec_core.causal.docalculus import check_rule, separated
from csrec_core.causal.graph import Nodes, descendants, observed, with_ancestors

TRIED = 1_000  # sets looked at in one search
MOST_IMPLIED = 100  # independences told


def adjustment_sets(
    graph: nx.DiGraph, *, y: Iterable[str], do: Iterable[str], given: Iterable[str] = ()
) -> list[Nodes]:
    """Return the minimal sets Z with P(y | do, given) = Σ_z P(y | do, given, z) P(z | given), smallest first.

    A set qualifies by rule 2 (y, do given z) and rule 3 (z, do): Pearl's back-door criterion with several
    actions and with conditions. In a large graph not all are found; where any exists one is.
    """
    y, do, given = map(frozenset, (y, do, given))
    above = with_ancestors(graph, y | do | given) & observed(graph)
    # What comes after an action is not drawn as it would be without it.
    spare = above - y - do - given - descendants(graph, do)

    def qualifies(nodes: Nodes) -> bool:
        return bool(check_rule(graph, 2, y=y, z=do, w=nodes | given)) and (
            not nodes or bool(check_rule(graph, 3, y=nodes, z=do, w=given))
        )

    if not do:
        return [frozenset()]
    every = frozenset(spare)
    return _minimal_sets(every, qualifies) or ([_thinned(every, qualifies)] if qualifies(every) else [])


def front_doors(graph: nx.DiGraph, *, y: str, do: str) -> list[Nodes]:
    """Return the minimal sets M that all of the effect goes through, unconfounded on both sides (Pearl)."""
    between = descendants(graph, {do}) & with_ancestors(graph, {y}) & observed(graph) - {do, y}

    def qualifies(nodes: Nodes) -> bool:
        cut = graph.subgraph(set(graph) - nodes)
        return (
            bool(nodes)
            and not nx.has_path(cut, do, y)
            and bool(check_rule(graph, 2, y=nodes, z=do))
            and bool(check_rule(graph, 2, y=y, z=nodes, w=[do]))
        )

    return _minimal_sets(between, qualifies)


def instruments(graph: nx.DiGraph, *, y: str, do: str) -> list[tuple[str, Nodes]]:
    """Return (instrument, what to condition on): nodes that move `do`, and `y` through it alone.

    They give the effect only under a further assumption: linear effects, or none that defies its instrument.
    """
    through = with_ancestors(graph, {y})
    first = [(do, child) for child in graph.succ[do] if child in through]
    without = graph.copy()
    without.remove_edges_from(first)
    spare = observed(graph) - {y, do} - descendants(graph, {do})
    found = []
    for node in sorted(spare):
        others = sorted(spare - {node} - descendants(graph, {node}))
        for nodes in _subsets(others, most=2, tried=200):
            moves = not check_rule(graph, 1, y=do, z=node, w=nodes)
            if moves and check_rule(without, 1, y=y, z=node, w=nodes):
                found.append((node, nodes))
                break
    return found


def implications(graph: nx.DiGraph) -> list[tuple[str, str, Nodes]]:
    """Return (a, b, given): an independence for each of the first `MOST_IMPLIED` pairs that can be separated.

    The pairs are of measured nodes; the condition is as small as thinning makes it.
    """
    found: list[tuple[str, str, Nodes]] = []
    for a, b in combinations(sorted(observed(graph)), 2):
        separates = partial(separated, graph, frozenset([a]), frozenset([b]))
        # If any set separates two nodes, their measured ancestors do.
        above = frozenset(with_ancestors(graph, {a, b}) & observed(graph)) - {a, b}
        if len(found) < MOST_IMPLIED and separates(above):
            found.append((a, b, _thinned(above, separates)))
    return found


def _minimal_sets(spare: Set[str], qualifies: Callable[[Nodes], bool]) -> list[Nodes]:
    """Return the sets that qualify and hold no smaller one, as far as `TRIED` sets go."""
    found: list[Nodes] = []
    for nodes in _subsets(sorted(spare), most=len(spare), tried=TRIED):
        if not any(smaller <= nodes for smaller in found) and qualifies(nodes):
            found.append(nodes)
    return found


def _subsets(names: list[str], *, most: int, tried: int) -> Iterator[Nodes]:
    every = (frozenset(nodes) for size in range(most + 1) for nodes in combinations(names, size))
    return islice(every, tried)


def _thinned(nodes: Nodes, qualifies: Callable[[Nodes], bool]) -> Nodes:
    """Leave out node after node as long as the set qualifies."""
    for node in sorted(nodes):
        if qualifies(nodes - {node}):
            nodes = nodes - {node}
    return nodes
