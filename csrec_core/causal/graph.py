"""Causal graphs: directed acyclic graphs whose unmeasured causes are nodes marked `latent`."""

import re
from collections.abc import Collection, Iterable, Sequence, Set
from itertools import combinations, groupby
from typing import Any

import networkx as nx

from csrec_core.errors import InputError, unknown

Edge = tuple[str, str]
Pairs = Iterable[Sequence[str]]  # of edges, as they are given: each is checked
Nodes = frozenset[str]
NodeNames = Iterable[str] | str  # nodes, as they are given: one alone may be its name
EXPOSURES = ("observational", "randomised")
REGIMES = {"none": "", "exposure": "S", "acceptance": "SD"}  # the rows that R acts on
TEMPLATE = re.compile(r"^(\w+)\[t([+-]\d+)?\]$")
TIMED = re.compile(r"^([PSD])(\d+)$")
SERIES = re.compile(r"^([A-Za-z]+)(0|[1-9]\d{0,8})$")
LATEX_SIGNS = {sign: "\\" + sign for sign in "_#%&{}$"}
LATEX_SIGNS |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}

#: Named departures from Figure 1: what is assumed away, and how `sequential_graph` switches it on.
VARIANTS: dict[str, dict[str, Any]] = {
    "Figure 1, self-chosen exposure": {},
    "Figure 1, randomised exposure": {"exposure": "randomised"},
    "online D[t-1] → S[t]": {"online": True},
    "online, randomised otherwise": {"online": True, "exposure": "randomised"},
    "slow feedback D[t-2] → S[t]": {"extra": [("D[t-2]", "S[t]")]},
    "exposure inertia S[t-1] → S[t]": {"extra": [("S[t-1]", "S[t]")]},
    "lagged policy P[t-1] → S[t]": {"extra": [("P[t-1]", "S[t]")]},
    "second-order preference P[t-2] → P[t]": {"extra": [("P[t-2]", "P[t]")]},
    "shaping S[t-1] → P[t]": {"extra": [("S[t-1]", "P[t]")]},
    "instant shaping S[t] → P[t], randomised": {"exposure": "randomised", "extra": [("S[t]", "P[t]")]},
    "preference amplification D[t-1] → P[t]": {"extra": [("D[t-1]", "P[t]")]},
    "amplification, online": {"online": True, "extra": [("D[t-1]", "P[t]")]},
    "carry-over S[t-1] → D[t]": {"extra": [("S[t-1]", "D[t]")]},
    "second order D[t-2] → D[t]": {"extra": [("D[t-2]", "D[t]")]},
    "lagged preference P[t-1] → D[t]": {"extra": [("P[t-1]", "D[t]")]},
    "latent S[t] ↔ D[t]": {"latent": [("S[t]", "D[t]")]},
    "latent S[t] ↔ D[t], online": {"online": True, "latent": [("S[t]", "D[t]")]},
    "latent D[t-1] ↔ D[t]": {"latent": [("D[t-1]", "D[t]")]},
    "latent D[t-1] ↔ D[t], randomised": {"exposure": "randomised", "latent": [("D[t-1]", "D[t]")]},
    "latent D[t-1] ↔ S[t]": {"latent": [("D[t-1]", "S[t]")]},
    "latent S[t-1] ↔ D[t]": {"latent": [("S[t-1]", "D[t]")]},
    "latent S[t-1] ↔ S[t]": {"latent": [("S[t-1]", "S[t]")]},
    "latent P[t] ↔ S[t]": {"latent": [("P[t]", "S[t]")]},
    "latent P[t] ↔ D[t]": {"latent": [("P[t]", "D[t]")]},
    "latent P[t-1] ↔ P[t]": {"latent": [("P[t-1]", "P[t]")]},
    "latent D[t-1] ↔ P[t]": {"latent": [("D[t-1]", "P[t]")]},
}


def causal_graph(
    edges: Pairs, bidirected: Pairs = (), *, latent: Iterable[str] = (), nodes: Iterable[str] = ()
) -> nx.DiGraph:
    """Build a causal graph, which is frozen: ``graph.copy()`` can be changed.

    Every node has the attribute ``latent`` (bool), every edge ``role`` ("given" or "latent").

    Parameters
    ----------
    edges : pairs (cause, effect)
    bidirected : pairs that share an unmeasured cause; each becomes a latent node ``U(a,b)``
    latent : names among the nodes that are not measured
    nodes : names to add even where no edge touches them

    Raises InputError on a pair that is no pair, a self-loop, a cycle, an unknown latent name.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes, latent=False)
    _add(graph, edges, role="given")
    for name in latent:
        if name not in graph:
            raise unknown("latent node", name, sorted(graph))
        graph.nodes[name]["latent"] = True
    _add(graph, bidirected, role="latent")
    require_acyclic(graph)
    return nx.freeze(graph)


def sequential_graph(
    horizon: int,
    *,
    exposure: str = "observational",
    online: bool = False,
    extra: Pairs = (),
    latent: Pairs = (),
    regime: str = "none",
) -> nx.DiGraph:
    """Figure 1 of the paper unrolled over `horizon` steps: preference P, exposure S, decision D.

    Parameters
    ----------
    horizon : number of time steps T >= 1; the nodes are P1..PT, S1..ST, D1..DT
    exposure : "observational" (the user chooses: P_t → S_t) or "randomised" (no such arrow)
    online : whether the system learns from decisions (D_{t-1} → S_t, the yellow arrow)
    extra : further arrows, by name ("S1", "P2") or for every t by template ("S[t-1]", "D[t]")
    latent : pairs that share an unmeasured cause, named the same two ways
    regime : "none", "exposure" (R → every S_t: who chose the item) or "acceptance" (R → every D_t as well)

    Raises InputError on a bad option, an unknown node, or arrows that close a cycle.
    """
    if not isinstance(horizon, int) or horizon < 1:
        raise InputError(f"horizon must be a whole number of at least 1, got {horizon!r}")
    if exposure not in EXPOSURES:
        raise unknown("exposure", exposure, EXPOSURES)
    if regime not in REGIMES:
        raise unknown("regime", regime, REGIMES)
    steps = range(1, horizon + 1)
    graph = nx.DiGraph()
    graph.add_nodes_from((f"{row}{t}" for t in steps for row in "PSD"), latent=False)
    arrows = [("P[t-1]", "P[t]"), ("P[t]", "D[t]"), ("S[t]", "D[t]"), ("D[t-1]", "D[t]")]
    if exposure == "observational":
        arrows.append(("P[t]", "S[t]"))
    _add(graph, unroll(arrows, horizon), role="given")
    if online:
        _add(graph, unroll([("D[t-1]", "S[t]")], horizon), role="online")
    _add(graph, [("R", f"{row}{t}") for row in REGIMES[regime] for t in steps], role="regime")
    return extend_graph(graph, extra=extra, latent=latent)


def extend_graph(graph: nx.DiGraph, *, extra: Pairs = (), latent: Pairs = ()) -> nx.DiGraph:
    """Return a copy of `graph` with more arrows and more latent causes between its nodes.

    Names may be templates such as ``("S[t-1]", "D[t]")``: one arrow for every t at which both ends exist.
    """
    grown = graph.copy()
    horizon = max((time_of(node) or 0 for node in graph), default=0)
    for role, pairs in (("extra", extra), ("latent", latent)):
        unrolled = unroll(pairs, horizon)
        for pair in unrolled:
            require_nodes(graph, pair, where=f"the {role} edge {list(pair)}")
        _add(grown, unrolled, role=role)
    require_acyclic(grown)
    return nx.freeze(grown)


def named_edges(graph: nx.DiGraph) -> dict[str, list[Edge]]:
    """Return each thing that an assumption can rule out, with the edges of the graph that go with it.

    By name: an arrow out of a measured node is "S1 → D1", an unmeasured cause that two nodes share "D1 ↔ S1".
    """
    hidden = latents(graph)
    named = {f"{a} → {b}": [(a, b)] for a, b in graph.edges if a not in hidden}
    for cause in hidden:
        for a, b in combinations(sorted(graph.succ[cause]), 2):
            named.setdefault(f"{a} ↔ {b}", []).extend([(cause, a), (cause, b)])
    return named


def edge_changes(graph: nx.DiGraph, reference: nx.DiGraph) -> tuple[list[str], list[str]]:
    """Return the names of the edges that `graph` adds to `reference`, and of those it lacks."""
    ours, theirs = named_edges(graph).keys(), named_edges(reference).keys()
    return sorted(ours - theirs), sorted(theirs - ours)


def variant_graph(name: str, horizon: int) -> nx.DiGraph:
    """Return the variant of Figure 1 called `name` in `VARIANTS`, unrolled over `horizon` steps."""
    if name not in VARIANTS:
        raise unknown("variant", name, VARIANTS)
    return sequential_graph(horizon, **VARIANTS[name])


def latents(graph: nx.DiGraph) -> set[str]:
    """Return the unmeasured nodes."""
    return {node for node, hidden in graph.nodes(data="latent", default=False) if hidden}


def observed(graph: nx.DiGraph) -> set[str]:
    """Return the measured nodes."""
    return set(graph) - latents(graph)


def require_nodes(graph: nx.DiGraph, nodes: Iterable[str], *, where: str = "the query") -> None:
    """Raise InputError unless all `nodes` are measured nodes of `graph`."""
    for node in nodes:
        if node not in graph:
            raise unknown("node", node, sorted(graph), where=where)
        if graph.nodes[node].get("latent"):
            raise InputError(f"{where} holds the latent node {node!r}: a query names measured nodes")


def descendants(graph: nx.DiGraph, nodes: Iterable[str]) -> set[str]:
    """Return all that comes after `nodes`."""
    return set().union(*(nx.descendants(graph, node) for node in nodes))


def with_ancestors(
    graph: nx.DiGraph, nodes: Iterable[str], *, into: Set[str] = frozenset(), out_of: Set[str] = frozenset()
) -> set[str]:
    """Return `nodes` and all their ancestors, arrows into `into` and out of `out_of` being cut."""
    found, waiting = set(nodes), list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in into:
            new = set(graph.predecessors(node)) - found - out_of
            found |= new
            waiting += new
    return found


def latex_names(nodes: Iterable[str], *, mark: str = "", accent: str = "") -> str:
    """Write S1, S2, S3 as S_{1:3} for LaTeX, each with a `mark` (a prime) after or an `accent` on top.

    Other names come out as text, whatever signs are in them.
    """

    def written(name: str) -> str:
        text = "".join(LATEX_SIGNS.get(sign, sign) for sign in name)  # in which no sign is a command
        letter = name if len(name) == 1 and name.isalpha() else rf"\text{{{text}}}"
        return f"{accent}{{{letter}}}" if accent else letter

    series: dict[str, list[int]] = {}
    parts = []
    for node in sorted(nodes):
        if found := SERIES.match(node):
            series.setdefault(found[1], []).append(int(found[2]))
        else:
            parts.append(written(node) + mark)
    for name in sorted(series):  # each goes in front, so that S comes before P before D, the paper's order
        parts = [f"{written(name)}_{{{run}}}{mark}" for run in _time_runs(sorted(series[name]))] + parts
    return ", ".join(parts)


def plot_label(name: str) -> str:
    """Return a node's name for a figure: D_{3} in mathematics, any other as it is, cut where it is long."""
    if SERIES.match(name) or (len(name) == 1 and name.isalpha()):
        return f"${latex_names([name])}$"
    return (name if len(name) <= 20 else name[:19] + "…").replace("$", r"\$")


def plain_names(nodes: Iterable[str], *, mark: str = "") -> str:
    """Write nodes as plain text, in the order of their names, S2 before S10."""
    parts = ((re.sub(r"\d+", lambda digits: digits[0].zfill(9), node), node) for node in nodes)
    return ", ".join(node + mark for _, node in sorted(parts))


def probability(
    y: Collection[str], do: Collection[str] = (), given: Collection[str] = (), *, latex: bool = False
) -> str:
    """Write P(y | do(…), given) as plain text or as LaTeX, in which runs of a series are S_{1:3}."""
    write, bar = (latex_names, r" \mid ") if latex else (plain_names, " | ")
    conditions = [f"do({write(do)})"] if do else []
    conditions += [write(given)] if given else []
    return f"P({write(y)}{bar if conditions else ''}{', '.join(conditions)})"


def time_of(node: str) -> int | None:
    """Return the time step of a node such as P3; None where it has none."""
    timed = TIMED.match(node)
    return int(timed[2]) if timed else None


def unroll(pairs: Pairs, horizon: int) -> list[Edge]:
    """Replace each template pair by its instances for t = 1..horizon; keep plain pairs as they are."""
    unrolled = []
    for pair in map(_pair, pairs):
        ends = [match for match in map(TEMPLATE.match, pair) if match]
        if not ends:
            unrolled.append(pair)
        elif len(ends) == 1:
            raise InputError(f"the edge {list(pair)} mixes a template with a plain name")
        for t in range(1, horizon + 1) if ends else ():
            a, b = (t + int(match[2] or 0) for match in ends)
            if min(a, b) >= 1 and max(a, b) <= horizon:
                unrolled.append((f"{ends[0][1]}{a}", f"{ends[1][1]}{b}"))
    return unrolled


def _pair(pair: Sequence[str]) -> Edge:
    if isinstance(pair, str) or len(pair) != 2:
        raise InputError(f"an edge is a pair of node names, got {pair!r}")
    return str(pair[0]), str(pair[1])


def _add(graph: nx.DiGraph, pairs: Pairs, *, role: str) -> None:
    """Add arrows, or, in the role "latent", an unmeasured cause of each pair."""
    for source, target in map(_pair, pairs):
        if source == target:
            raise InputError(f"a loop at {source!r}: an edge is a pair of two different nodes")
        edges = [(source, target)]
        if role == "latent":
            cause = f"U({source},{target})"
            graph.add_node(cause, latent=True)
            edges = [(cause, source), (cause, target)]
        graph.add_nodes_from((node for edge in edges for node in edge if node not in graph), latent=False)
        graph.add_edges_from((edge for edge in edges if not graph.has_edge(*edge)), role=role)


def require_acyclic(graph: nx.DiGraph) -> None:
    """Raise InputError, with the cycle, unless the graph is acyclic."""
    if cycle := find_cycle(graph):
        raise InputError(f"the graph has a cycle: {' → '.join(cycle)}")


def find_cycle(graph: nx.DiGraph) -> list[str]:
    """Return the nodes of a cycle, the first one again at its end; none of an acyclic graph."""
    if nx.is_directed_acyclic_graph(graph):
        return []
    cycle = [source for source, _ in nx.find_cycle(graph)]
    return [*cycle, cycle[0]]


def _time_runs(times: list[int]) -> list[str]:
    """Write sorted numbers with runs of neighbours as 1:3."""
    runs = groupby(enumerate(times), key=lambda pair: pair[1] - pair[0])
    ends = [[time for _, time in run] for _, run in runs]
    return [str(run[0]) if len(run) == 1 else f"{run[0]}:{run[-1]}" for run in ends]
