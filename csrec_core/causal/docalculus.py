"""Pearl's three rules of do-calculus, checked on a graph, with the reason for each verdict.

For disjoint sets Y, X, Z, W (Pearl, Causality, 2nd ed., theorem 3.4.1); overlined = arrows into the set
cut, underlined = arrows out of it cut:

1. P(y | do x, z, w) = P(y | do x, w)        if Y ⊥ Z | X, W in G with X overlined
2. P(y | do x, do z, w) = P(y | do x, z, w)  if Y ⊥ Z | X, W in G with X overlined and Z underlined
3. P(y | do x, do z, w) = P(y | do x, w)     if Y ⊥ Z | X, W in G with X and Z(W) overlined,
   Z(W) being the nodes of Z that are no ancestors of W in G with X overlined
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise

import networkx as nx

from csrec_core.causal.graph import (
    Edge,
    NodeNames,
    Nodes,
    plain_names,
    require_acyclic,
    require_nodes,
    with_ancestors,
)
from csrec_core.errors import InputError

EMPTY: Nodes = frozenset()
State = tuple[str, bool]  # a node, and whether it is arrived at over an arrowhead


@dataclass(frozen=True)
class Path:
    """A path between Y and Z in the mutilated graph, with the nodes that close it (none, when it is open).

    A blocker is conditioned on, or a collider with no conditioned descendant.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]  # the arrow between each node and the next, as (cause, effect)
    colliders: tuple[str, ...]
    blockers: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether the path carries association."""
        return not self.blockers

    def __str__(self) -> str:
        steps = zip(self.nodes[1:], self.edges, strict=True)
        return self.nodes[0] + "".join(
            f" {'→' if node == effect else '←'} {node}" for node, (_, effect) in steps
        )


@dataclass(frozen=True)
class RuleCheck:
    """The verdict on one application of one rule. Truthy when the rule applies."""

    rule: int
    y: Nodes
    x: Nodes
    z: Nodes
    w: Nodes
    z_of_w: Nodes
    open_path: tuple[str, ...]  # a shortest one, none where the rule holds
    graph: nx.DiGraph = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        return not self.open_path

    @cached_property
    def removed_edges(self) -> frozenset[Edge]:
        """The arrows that the rule cuts."""
        cut = frozenset(self.graph.in_edges(self.x | self.z_of_w))
        return cut | frozenset(self.graph.out_edges(self.z)) if self.rule == 2 else cut

    @cached_property
    def mutilated(self) -> nx.DiGraph:
        """The graph without these arrows."""
        mutilated = self.graph.copy()
        mutilated.remove_edges_from(self.removed_edges)
        return mutilated

    @property
    def sides(self) -> tuple[tuple[Nodes, Nodes], tuple[Nodes, Nodes]]:
        """What either side of the step sets, and what it sees."""
        seen = self.z | self.w
        before = (self.x, seen) if self.rule == 1 else (self.x | self.z, self.w)
        return before, (self.x, seen if self.rule == 2 else self.w)

    @property
    def given(self) -> Nodes:
        """What the d-separation conditions on: X and W."""
        return self.x | self.w

    @cached_property
    def witness(self) -> Path | None:
        """A shortest open path when the rule fails, else a shortest path, which is blocked; None: no path."""
        nodes = self.open_path or _shortest_path(self.mutilated, self.y, self.z, None)
        return _describe_path(self.mutilated, nodes, self.given) if nodes else None

    @property
    def reason(self) -> str:
        """Why the rule holds or fails, in words: the open path, or what blocks the shortest path."""
        if self.witness is None:
            return "no path at all"
        if self.witness.is_open:
            return f"open: {self.witness}"
        closing = self.witness.blockers[0]
        kind = "an unconditioned collider" if closing in self.witness.colliders else "conditioned on"
        return f"every path is blocked, the shortest at {closing} ({kind}): {self.witness}"

    @property
    def separation(self) -> str:
        """The d-separation that the rule asks for, and the graph it is read on, as plain text."""
        cuts = [f"into {plain_names(self.x | self.z_of_w)}"] if self.x | self.z_of_w else []
        cuts += [f"out of {plain_names(self.z)}"] if self.rule == 2 else []
        given = f" | {plain_names(self.given)}" if self.given else ""
        where = f" with no arrows {' or '.join(cuts)}" if cuts else ""
        return f"{plain_names(self.y)} ⊥ {plain_names(self.z)}{given} in G{where}"

    def on(self, graph: nx.DiGraph, *, given: Iterable[str] = ()) -> "RuleCheck":
        """Check the same step on another graph, or with more nodes to condition on."""
        return _check_rule(graph, self.rule, self.y, self.x, self.z, self.w | frozenset(given))


def check_rule(
    graph: nx.DiGraph, rule: int, *, y: NodeNames, x: NodeNames = (), z: NodeNames = (), w: NodeNames = ()
) -> RuleCheck:
    """Check whether a rule of do-calculus licenses a step.

    Parameters
    ----------
    graph : causal graph, latent causes as nodes marked ``latent=True``
    rule : 1 (drop an observation), 2 (action to observation) or 3 (drop an action)
    y, x, z, w : disjoint sets of measured nodes: outcome, other actions, what the rule acts on, observations

    Raises InputError on an unknown rule or node, an empty `y`, overlapping sets, a latent node in a set, a cycle.

    Examples
    --------
    >>> from csrec_core.causal.graph import causal_graph
    >>> graph = causal_graph([("age", "course"), ("age", "wage"), ("course", "wage")])
    >>> bool(check_rule(graph, 2, y="wage", z="course", w="age"))
    True
    """
    if rule not in (1, 2, 3):
        raise InputError(f"rule must be 1, 2 or 3, got {rule!r}")
    require_acyclic(graph)
    named = (frozenset([nodes] if isinstance(nodes, str) else nodes) for nodes in (y, x, z, w))
    sets = dict(zip("yxzw", named, strict=True))
    for name, nodes in sets.items():
        require_nodes(graph, nodes, where=f"the set {name}")
    if not sets["y"]:
        raise InputError("the set y is empty: a rule needs an outcome")
    for (first, one), (second, other) in combinations(sets.items(), 2):
        if one & other:
            both = f"the sets {first} and {second} overlap in {min(one & other)!r}"
            raise InputError(f"{both}: they must be disjoint")
    return _check_rule(graph, rule, **sets)


def _check_rule(graph: nx.DiGraph, rule: int, y: Nodes, x: Nodes, z: Nodes, w: Nodes) -> RuleCheck:
    z_of_w = z - with_ancestors(graph, w, into=x) if rule == 3 else frozenset()
    out_of = z if rule == 2 else frozenset()
    path = _shortest_path(graph, y, z, x | w, into=x | z_of_w, out_of=out_of)
    return RuleCheck(rule, y, x, z, w, z_of_w, path, graph)


def separated(graph: nx.DiGraph, y: Nodes, z: Nodes, given: Nodes) -> bool:
    """Whether `y` and `z` are d-separated given the third set."""
    return not _shortest_path(graph, y, z, given)


def _shortest_path(
    graph: nx.DiGraph, y: Nodes, z: Nodes, given: Nodes | None, *, into: Nodes = EMPTY, out_of: Nodes = EMPTY
) -> tuple[str, ...]:
    """Return a shortest path between `y` and `z`, open given what is `given` unless that is None; or ().

    Arrows into `into` and out of `out_of` are cut. Breadth-first over (node, arrived at an arrowhead?), linear
    in the graph, where networkx' `is_d_separator` looks at some graphs path by path. The shortest open walk
    repeats no node: cutting a loop out leaves an open walk, since a collider that the cut makes has a
    conditioned descendant in the loop.
    """
    closed = given or frozenset()
    opens = set(graph) if given is None else with_ancestors(graph, given, into=into, out_of=out_of)
    before: dict[State, State | None] = {(node, False): None for node in sorted(y)}
    queue = deque(before)
    while queue:
        state = queue.popleft()
        node, at_head = state
        if node in z:
            return _walk_back(before, state)
        onward = []
        if node not in closed and node not in out_of:
            onward += [(child, True) for child in sorted(graph.successors(node)) if child not in into]
        if (node in opens if at_head else node not in closed) and node not in into:
            onward += [(cause, False) for cause in sorted(graph.predecessors(node)) if cause not in out_of]
        for following in onward:
            if following not in before:
                before[following] = state
                queue.append(following)
    return ()


def _walk_back(before: dict[State, State | None], state: State | None) -> tuple[str, ...]:
    nodes = []
    while state is not None:
        nodes.append(state[0])
        state = before[state]
    return tuple(nodes[::-1])


def _describe_path(graph: nx.DiGraph, nodes: Sequence[str], given: Nodes) -> Path:
    opens = with_ancestors(graph, given)
    edges = tuple((a, b) if graph.has_edge(a, b) else (b, a) for a, b in pairwise(nodes))
    colliders, blockers = [], []
    for node, before, after in zip(nodes[1:], edges, edges[1:], strict=False):
        is_collider = before[1] == after[1] == node
        if is_collider:
            colliders.append(node)
        if node not in opens if is_collider else node in given:
            blockers.append(node)
    return Path(tuple(nodes), edges, tuple(colliders), tuple(blockers))
