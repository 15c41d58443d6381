"""Whether an effect can be computed from observed data at all, with latent causes, and by which formula."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import networkx as nx
import numpy as np

from csrec_core.causal.adjustment import adjustment_sets
from csrec_core.causal.docalculus import check_rule, separated
from csrec_core.causal.expression import Conditional, Sum, Term, product
from csrec_core.causal.graph import NodeNames, Nodes, plain_names, probability
from csrec_core.causal.search import ONE_SOURCE, Hedge, Line, Search, Source, project_latents
from csrec_core.causal.simplify import simplify
from csrec_core.errors import InputError

MANY_NODES = 30  # measured nodes, above which no formula is sought on fewer nodes


@dataclass(frozen=True)
class Identifiability:
    """Whether P(y | do, given) can be computed from the data. Truthy when it can."""

    graph: nx.DiGraph = field(repr=False)
    y: Nodes
    do: Nodes
    given: Nodes
    sources: tuple[Source, ...]
    found: Term | None = None  # a formula as the algorithm finds it, None when there is none
    # what stands in the way: a confounded group of nodes, and the part of it that the query needs
    hedge: tuple[Nodes, Nodes] | None = None

    def __bool__(self) -> bool:
        return self.found is not None

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The measured nodes, causes first: the axes of the arrays that `value` takes and gives."""
        return tuple(nx.lexicographical_topological_sort(project_latents(self.graph)[0], key=str))

    @cached_property
    def formula(self) -> Term:
        """The shorter of two formulas: by adjustment, and by the algorithm on the nodes that are `needed`."""
        if self.found is None:
            raise InputError("the effect is not identifiable: it has no formula")
        is_plain = self.sources == ONE_SOURCE
        candidates = [self._adjusted(nodes) for nodes in self.adjustment[:1]] if is_plain else []
        if is_plain and len(self.order) <= MANY_NODES:
            candidates.insert(0, self._searched(_hidden(self.graph, self.needed)))
        return min(
            (simplify(term, partial(separated, self.graph)) for term in candidates or [self.found]),
            key=lambda term: term.size,
        )

    @cached_property
    def adjustment(self) -> list[Nodes]:
        """The smallest sets that the effect can be adjusted for, see `adjustment_sets`."""
        return adjustment_sets(self.graph, y=self.y, do=self.do, given=self.given)

    def on(self, graph: nx.DiGraph, *, sources: Sequence[Source] = ONE_SOURCE) -> "Identifiability":
        """Ask the same of another graph, or of other sources."""
        return identify(graph, y=self.y, do=self.do, given=self.given, sources=sources)

    def derivation(self) -> list[Line]:
        """Return the derivation, line by line; the last line has the formula."""
        last = Line("the same, simplified by the independences of the graph", self.formula.text())
        if self.sources == ONE_SOURCE and self.adjustment and self.do:
            lines = _adjustment_lines(self, self.adjustment[0])
        else:
            search = Search(self.graph, self.sources, record=True)
            search.conditional(self.y, self.do, self.given)
            lines = search.lines
        return [*lines, last]

    def python(self) -> str:
        """Return the formula as a Python function: of what `value` takes."""
        return (
            "def effect(joint, arms={}):\n"
            f"    order = {self.order!r}  # the axes of joint, and of each of the arms\n\n"
            "    def axes(names):\n"
            "        return tuple(i for i, name in enumerate(order) if name in names)\n\n"
            "    def p(names, given, source=None):\n"
            "        law, gone = arms[source] if source else joint, set(order).difference(names, given)\n"
            "        both = law.sum(axis=axes(gone), keepdims=True)\n"
            "        return both / both.sum(axis=axes(names), keepdims=True)\n\n"
            f"    return {self.formula.python()}\n"
        )

    def value(self, joint: np.ndarray, arms: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Evaluate the formula on the joint distribution of the measured nodes, one axis each in `order`.

        `arms` are the joint distributions of other sources, by name.
        """

        def marginal(nodes: Nodes, source: str) -> np.ndarray:
            gone = tuple(i for i, node in enumerate(self.order) if node not in nodes)
            return ((arms or {})[source] if source else joint).sum(axis=gone, keepdims=True)

        return self.formula.value(marginal, self.order)

    @cached_property
    def needed(self) -> Nodes:
        """Measured nodes that suffice, found by leaving out one after the other."""
        asked = self.y | self.do | self.given
        needed = frozenset(self.order)
        for node in self.order[::-1]:
            if node not in asked and self.on(_hidden(self.graph, needed - {node})):
                needed = needed - {node}
        return needed

    def _searched(self, graph: nx.DiGraph) -> Term:
        """Return the formula that the algorithm finds on a graph."""
        return Search(graph, self.sources).conditional(self.y, self.do, self.given)

    def _adjusted(self, nodes: Nodes) -> Term:
        """Return the adjustment formula."""
        term: Term = Conditional(self.y, self.do | self.given | nodes)
        term = product([Conditional(nodes, self.given), term]) if nodes else term
        for node in self.order:
            term = Sum(node, term) if node in nodes else term
        return term


def identify(
    graph: nx.DiGraph,
    *,
    y: NodeNames,
    do: NodeNames = (),
    given: NodeNames = (),
    sources: Sequence[Source] = ONE_SOURCE,
) -> Identifiability:
    """Decide whether P(y | do, given) follows from the distribution of the measured nodes.

    Parameters
    ----------
    graph : causal graph, latent causes as nodes marked ``latent=True``
    y, do, given : disjoint sets of measured nodes
    sources : where data come from; the default is one, in which nothing was set. With several, each
        confounded part is taken from the first that gives it (Lee, Correa and Bareinboim 2019)

    Raises InputError on an unknown or latent node, an empty `y`, overlapping sets.

    Examples
    --------
    >>> from csrec_core.causal.graph import causal_graph
    >>> identify(causal_graph([("c", "x"), ("c", "y"), ("x", "y")]), y="y", do="x").formula.text()
    "Σ_c' P(c') P(y | x, c')"
    """
    asked = check_rule(graph, 1, y=y, x=do, w=given)  # refuses what is no query
    query = Identifiability(graph, asked.y, asked.x, asked.w, tuple(sources))
    try:
        return replace(query, found=query._searched(graph))
    except Hedge as hedge:
        return replace(query, hedge=hedge.args)


def _hidden(graph: nx.DiGraph, measured: Set[str]) -> nx.DiGraph:
    """Return the graph with no nodes measured but these."""
    hidden = graph.copy()
    nx.set_node_attributes(hidden, {node: node not in measured for node in hidden}, "latent")
    return nx.freeze(hidden)


def _adjustment_lines(query: Identifiability, nodes: Nodes) -> list[Line]:
    """Return the derivation of the adjustment formula."""
    y, do, given = query.y, query.do, query.given
    second = check_rule(query.graph, 2, y=y, z=do, w=nodes | given)
    lines = []
    if nodes:
        over = f"Σ_{{{plain_names(nodes)}}}"
        drawn, seen = probability(nodes, do, given), probability(nodes, (), given)
        lines.append(Line("total probability", f"{over} {probability(y, do, nodes | given)} {drawn}"))
        third = check_rule(query.graph, 3, y=nodes, z=do, w=given)
        lines.append(Line("drop the action", f"{over} {probability(y, do, nodes | given)} {seen}", (third,)))
        formula = f"{over} {probability(y, (), do | nodes | given)} {seen}"
    else:
        formula = probability(y, (), do | given)
    return [*lines, Line("see in the place of setting", formula, (second,))]
