"""Pearl's three rules of do-calculus, checked on a graph, with the reason for each verdict.

For disjoint sets Y, X, Z, W (Pearl, Causality, 2nd ed., theorem 3.4.1); overlined = arrows into the set
cut, underlined = arrows out of it cut:

1. P(y | do x, z, w) = P(y | do x, w)        if Y ⊥ Z | X, W in G with X overlined
2. P(y | do x, do z, w) = P(y | do x, z, w)  if Y ⊥ Z | X, W in G with X overlined and Z underlined
3. P(y | do x, do z, w) = P(y | do x, w)     if Y ⊥ Z | X, W in G with X and Z(W) overlined,
   Z(W) being the nodes of Z that are no ancestors of W in G with X overlined
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from itertools import chain, combinations, islice, pairwise

import networkx as nx

from csrec_core.errors import InputError, unknown
from csrec_core.graph import latents, observed

__all__ = [
    "Blocker",
    "Path",
    "Repairs",
    "RuleCheck",
    "additions",
    "breaking_edges",
    "check_rule",
    "find_repairs",
]

READINGS = ("pearl", "printed")
MAX_PATHS = 20  # blocked paths listed for one check: their number grows exponentially with the graph
MAX_STEPS = 5_000  # partial paths looked at for them


@dataclass(frozen=True)
class Blocker:
    """A node that closes a path: a conditioned non-collider, or a collider with no conditioned descendant."""

    node: str
    collider: bool


@dataclass(frozen=True)
class Path:
    """A path between Y and Z in the mutilated graph, with what closes it (nothing, when it is open)."""

    nodes: tuple[str, ...]
    arrows: tuple[str, ...]  # "→" or "←" between each node and the next
    colliders: tuple[str, ...]
    blockers: tuple[Blocker, ...]

    @property
    def is_open(self) -> bool:
        """Whether the path carries association."""
        return not self.blockers

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """The arrows of the path as (cause, effect)."""
        steps = zip(pairwise(self.nodes), self.arrows, strict=True)
        return tuple((a, b) if arrow == "→" else (b, a) for (a, b), arrow in steps)

    def __str__(self) -> str:
        return self.nodes[0] + "".join(
            f" {arrow} {node}" for arrow, node in zip(self.arrows, self.nodes[1:], strict=True)
        )


@dataclass(frozen=True)
class RuleCheck:
    """The verdict on one application of one rule. Truthy when the rule applies."""

    rule: int
    y: frozenset[str]
    x: frozenset[str]
    z: frozenset[str]
    w: frozenset[str]
    holds: bool
    z_of_w: frozenset[str]
    removed_edges: frozenset[tuple[str, str]]
    graph: nx.DiGraph = field(repr=False, compare=False)
    mutilated: nx.DiGraph = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.holds

    @property
    def given(self) -> frozenset[str]:
        """What the d-separation conditions on: X and W."""
        return self.x | self.w

    @cached_property
    def witness(self) -> tuple[Path, ...]:
        """One open path when the rule fails; else blocked paths, shortest first, at most `MAX_PATHS`."""
        if not self.holds:
            nodes = _open_path(self.mutilated, self.y, self.z, self.given)
            return (_describe(self.mutilated, nodes, self.given),)
        return tuple(_blocked_paths(self.mutilated, self.y, self.z, self.given))


@dataclass(frozen=True)
class Repairs:
    """The smallest changes that make a broken step hold, each a set; empty when none was found."""

    conditioning: tuple[frozenset[str], ...]  # nodes to condition on as well (both sides change)
    removal: tuple[frozenset[tuple[str, str]], ...]  # arrows to rule out; (a, "↔" + b) is a latent cause


def check_rule(
    graph: nx.DiGraph,
    rule: int,
    *,
    y: Iterable[str] | str,
    x: Iterable[str] | str = (),
    z: Iterable[str] | str = (),
    w: Iterable[str] | str = (),
    reading: str = "pearl",
) -> RuleCheck:
    """Check whether a rule of do-calculus licenses a step.

    Parameters
    ----------
    graph : causal graph, latent causes as nodes marked ``latent=True``
    rule : 1 (drop an observation), 2 (action to observation) or 3 (drop an action)
    y, x, z, w : disjoint sets of measured nodes: outcome, other actions, what the rule acts on, observations
    reading : "pearl", or "printed": rule 2 without the underline, rule 3 with Z(W) taken in the uncut graph

    Returns
    -------
    RuleCheck

    Raises
    ------
    InputError
        On an unknown rule or node, an empty `y`, overlapping sets, a latent node in a set, a cycle.
    """
    if rule not in (1, 2, 3):
        raise InputError(f"rule must be 1, 2 or 3, got {rule!r}")
    if reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    sets = {name: _node_set(graph, name, nodes) for name, nodes in zip("yxzw", (y, x, z, w), strict=True)}
    _require_disjoint(sets)
    if not nx.is_directed_acyclic_graph(graph):
        raise InputError("the graph has a cycle: do-calculus is defined on acyclic graphs")
    return _check(graph, rule, **sets, reading=reading)


def breaking_edges(check: RuleCheck) -> list[tuple[str, str, str]]:
    """Return every single addition to the graph that breaks a step that holds.

    Returns
    -------
    list of (kind, a, b)
        kind "directed" (a → b) or "bidirected" (a latent cause of a and b), between measured nodes, the
        graph staying acyclic. Empty when the step is already broken: an edge more never mends it.

    Notes
    -----
    d-separation depends on the ancestors of the query only, and an added arrow changes those only where it
    points at one of them: every other candidate is skipped unchecked.
    """
    if not check:
        return []
    graph, query = check.graph, check.y | check.x | check.z | check.w
    relevant = _with_ancestors(graph, query)
    found = []
    for kind, a, b in additions(graph):
        cause = f"U({a},{b})+"
        edges = [(a, b)] if kind == "directed" else [(cause, a), (cause, b)]
        may_matter = b in relevant and (kind == "directed" or a in relevant)
        if may_matter and not _recheck(check, _grown(graph, edges)):
            found.append((kind, a, b))
    return found


def additions(graph: nx.DiGraph) -> list[tuple[str, str, str]]:
    """Return every (kind, a, b), as `breaking_edges` does, that could be added to the graph."""
    pairs = list(combinations(sorted(observed(graph)), 2))
    descendants = {node: nx.descendants(graph, node) for node in graph}
    directed = [
        ("directed", a, b)
        for a, b in (*pairs, *((b, a) for a, b in pairs))
        if not graph.has_edge(a, b) and a not in descendants[b]
    ]
    return sorted(directed + [("bidirected", a, b) for a, b in pairs])


def find_repairs(check: RuleCheck, *, max_size: int = 2) -> Repairs:
    """Return the smallest sets of nodes to condition on, and of arrows to rule out, that mend a broken step.

    Only sets of at most `max_size` are tried, and only the smallest size that works is returned. Nodes that
    come after the outcome are no candidates.
    """
    if check:
        return Repairs((), ())
    after = set().union(*(nx.descendants(check.graph, node) for node in check.y))
    spare = sorted(observed(check.graph) - check.y - check.x - check.z - check.w - after)
    conditioning = _smallest(
        spare,
        max_size,
        lambda nodes: _check(check.graph, check.rule, check.y, check.x, check.z, check.w | nodes),
    )
    units = _removable(check.graph)
    removal = _smallest(
        sorted(units), max_size, lambda names: _recheck(check, _shrunk(check.graph, units, names))
    )
    return Repairs(conditioning, removal)


def _check(
    graph: nx.DiGraph,
    rule: int,
    y: frozenset[str],
    x: frozenset[str],
    z: frozenset[str],
    w: frozenset[str],
    reading: str = "pearl",
) -> RuleCheck:
    into_x = set(graph.in_edges(x))
    z_of_w = frozenset()
    removed = into_x
    if rule == 2 and reading == "pearl":
        removed = into_x | set(graph.out_edges(z))
    if rule == 3:
        reference = nx.restricted_view(graph, (), into_x if reading == "pearl" else ())
        z_of_w = z - _with_ancestors(reference, w)
        removed = into_x | set(graph.in_edges(z_of_w))
    mutilated = graph.copy()
    mutilated.remove_edges_from(removed)
    holds = _open_path(mutilated, y, z, x | w) is None
    return RuleCheck(rule, y, x, z, w, holds, z_of_w, frozenset(removed), graph, mutilated)


def _recheck(check: RuleCheck, graph: nx.DiGraph) -> RuleCheck:
    return _check(graph, check.rule, check.y, check.x, check.z, check.w)


def _node_set(graph: nx.DiGraph, name: str, nodes: Iterable[str] | str) -> frozenset[str]:
    chosen = frozenset([nodes] if isinstance(nodes, str) else nodes)
    for node in chosen:
        if node not in graph:
            raise unknown("node", node, sorted(map(str, graph)), where=f"the set {name}")
    hidden = sorted(chosen & latents(graph))
    if hidden:
        raise InputError(f"the set {name} holds the latent node {hidden[0]!r}: a query names measured nodes")
    if name == "y" and not chosen:
        raise InputError("the set y is empty: a rule needs an outcome")
    return chosen


def _require_disjoint(sets: dict[str, frozenset[str]]) -> None:
    for (name, nodes), (other, others) in combinations(sets.items(), 2):
        shared = sorted(nodes & others)
        if shared:
            raise InputError(f"the sets {name} and {other} overlap in {shared[0]!r}: they must be disjoint")


def _with_ancestors(graph: nx.DiGraph, nodes: Iterable[str]) -> set[str]:
    """Return `nodes` and all their ancestors, in one sweep."""
    found, queue = set(nodes), deque(nodes)
    while queue:
        for parent in graph.pred[queue.popleft()]:
            if parent not in found:
                found.add(parent)
                queue.append(parent)
    return found


def _open_path(
    graph: nx.DiGraph, y: Iterable[str], z: Iterable[str], given: frozenset[str]
) -> list[str] | None:
    """Return a shortest open path between `y` and `z`, or None when they are d-separated.

    Breadth-first over (node, arrived at an arrowhead?), linear in the graph; networkx 3.6 decides the same
    question in time exponential in the length of a chain of diamonds. The shortest open walk repeats no
    node: cutting a loop out leaves an open walk, since a collider that the cut makes has a conditioned
    descendant in the loop.
    """
    opens = _with_ancestors(graph, given)
    targets = set(z)
    before = {(node, False): None for node in sorted(y)}
    queue = deque(before)
    while queue:
        state = queue.popleft()
        node, at_head = state
        if node in targets:
            return _walk_back(before, state)
        onward = []
        if node not in given:
            onward += [(child, True) for child in sorted(graph.succ[node])]
        if node in opens if at_head else node not in given:
            onward += [(parent, False) for parent in sorted(graph.pred[node])]
        for following in onward:
            if following not in before:
                before[following] = state
                queue.append(following)
    return None


def _walk_back(before: dict, state: tuple[str, bool] | None) -> list[str]:
    nodes = []
    while state is not None:
        nodes.append(state[0])
        state = before[state]
    return nodes[::-1]


def _blocked_paths(
    graph: nx.DiGraph, y: Iterable[str], z: Iterable[str], given: frozenset[str]
) -> list[Path]:
    links = {node: sorted({*graph.pred[node], *graph.succ[node]}) for node in graph}
    found = merge(*(_simple_paths(links, a, b) for a in sorted(y) for b in sorted(z)), key=len)
    paths = [_describe(graph, nodes, given) for nodes in islice(found, MAX_PATHS)]
    return sorted(paths, key=lambda path: (len(path.nodes), path.nodes))


def _simple_paths(links: dict[str, list[str]], start: str, goal: str) -> Iterator[tuple[str, ...]]:
    """Yield paths that repeat no node, shortest first, until `MAX_STEPS` partial paths were looked at.

    Deepens the length allowed one by one; the distance to the goal tells which partial paths cannot make it.
    """
    distance = {goal: 0}
    queue = deque([goal])
    while queue:
        node = queue.popleft()
        for other in links[node]:
            if other not in distance:
                distance[other] = distance[node] + 1
                queue.append(other)
    if start not in distance:
        return
    steps = 0
    for length in range(distance[start], len(distance)):
        stack, cut_short = [(start,)], False
        while stack:
            path = stack.pop()
            steps += 1
            if steps > MAX_STEPS:
                return
            if path[-1] == goal:
                if len(path) == length + 1:
                    yield path
                continue
            for node in reversed(links[path[-1]]):
                if node not in path:
                    fits = len(path) + distance[node] <= length
                    cut_short |= not fits
                    if fits:
                        stack.append((*path, node))
        if not cut_short:
            return


def _describe(graph: nx.DiGraph, nodes: Sequence[str], given: frozenset[str]) -> Path:
    opens = _with_ancestors(graph, given)
    arrows = tuple("→" if graph.has_edge(a, b) else "←" for a, b in pairwise(nodes))
    colliders, blockers = [], []
    for node, left, right in zip(nodes[1:], arrows, arrows[1:], strict=False):
        is_collider = (left, right) == ("→", "←")
        if is_collider:
            colliders.append(node)
        if node not in opens if is_collider else node in given:
            blockers.append(Blocker(node, is_collider))
    return Path(tuple(nodes), arrows, tuple(colliders), tuple(blockers))


def _grown(graph: nx.DiGraph, edges: list[tuple[str, str]]) -> nx.DiGraph:
    grown = graph.copy()
    grown.add_edges_from(edges)
    return grown


def _removable(graph: nx.DiGraph) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Name each thing that an assumption can rule out, with the arrows that go with it."""
    hidden = latents(graph)
    units = {edge: [edge] for edge in graph.edges if edge[0] not in hidden}
    for cause in hidden:
        children = sorted(graph.succ[cause])
        units |= {(a, f"↔{b}"): [(cause, a), (cause, b)] for a, b in combinations(children, 2)}
    return units


def _shrunk(graph: nx.DiGraph, units: dict, names: Iterable[tuple[str, str]]) -> nx.DiGraph:
    shrunk = graph.copy()
    shrunk.remove_edges_from(chain.from_iterable(units[name] for name in names))
    return shrunk


def _smallest(candidates: list, max_size: int, works: Callable) -> tuple[frozenset, ...]:
    """Return every set of candidates of the smallest size at which some set works."""
    for size in range(1, max_size + 1):
        found = tuple(frozenset(s) for s in combinations(candidates, size) if works(frozenset(s)))
        if found:
            return found
    return ()
