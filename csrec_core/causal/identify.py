"""Whether an effect can be computed from observed data at all, with latent causes, and by which formula.

The graph is projected on its measured nodes; confounded groups of nodes (c-components) are then taken apart
as in Tian and Pearl (2002). The procedure is complete (Huang and Valtorta 2006; Shpitser and Pearl 2006):
where it finds no formula there is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx
import numpy as np
import pandas as pd

from csrec_core.causal.adjacency import compile_graph
from csrec_core.causal.adjustment import adjustment_sets
from csrec_core.causal.docalculus import RuleCheck, check_rule
from csrec_core.causal.expression import (
    Conditional,
    Nodes,
    Product,
    Ratio,
    Sum,
    Term,
    product,
    python_source,
)
from csrec_core.causal.graph import latents, observed, plain_names
from csrec_core.causal.simplify import simplify
from csrec_core.errors import InputError

__all__ = ["Identification", "Line", "Source", "identifiability_table", "identify", "law", "project_latents"]

LARGE = 30  # measured nodes, above which fewer formulas are tried


@dataclass(frozen=True)
class Source:
    """A data source: its name, the nodes that were set at random in it, those whose mechanism is its own."""

    name: str = ""
    do: Nodes = frozenset()
    differs: Nodes = frozenset()


@dataclass(frozen=True)
class Line:
    """One line of a derivation: what is done, the formula after it, the rules that license it."""

    words: str
    formula: str
    checks: tuple[RuleCheck, ...] = ()


@dataclass(frozen=True)
class Identification:
    """Whether P(y | do, given) can be computed from the data. Truthy when it can.

    Attributes
    ----------
    graph, y, do, given, sources : the query
    found : a formula as the algorithm finds it, None when there is none
    hedge : what stands in the way: a confounded group of nodes, and the part of it that the query needs
    order : the axes of the arrays that `value` takes and gives
    """

    graph: nx.DiGraph = field(repr=False)
    y: Nodes
    do: Nodes
    given: Nodes
    sources: tuple[Source, ...]
    found: Term | None
    hedge: tuple[Nodes, Nodes] | None
    order: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.found is not None

    @cached_property
    def formula(self) -> Term:
        """The shortest formula found: by adjustment, or by the algorithm under either order of the nodes."""
        if self.found is None:
            raise InputError("the effect is not identifiable: it has no formula")
        compiled = compile_graph(self.graph)
        uncut = compiled.flags(())

        def separated(a: Nodes, b: Nodes, given: Nodes) -> bool:
            return compiled.separated(a, b, given, uncut, uncut)

        is_plain, is_large = self.sources == (Source(),), len(self.order) > LARGE
        candidates = [self._adjusted(nodes) for nodes in self.adjustment[:3]] if is_plain else []
        if not (candidates and is_large):
            candidates.insert(0, self.found)
        if is_plain and not is_large:
            other = _search(self, reverse=True)
            candidates += [other.conditional(self.y, self.do, self.given), self._pruned()]
        return min((simplify(term, separated) for term in candidates), key=lambda term: term.size)

    @cached_property
    def adjustment(self) -> list[Nodes]:
        """The smallest sets that the effect can be adjusted for, see `adjustment_sets`."""
        return adjustment_sets(self.graph, y=self.y, do=self.do, given=self.given)

    def derivation(self) -> list[Line]:
        """Return the derivation, line by line; the last line has the formula."""
        if self.found is None:
            return []
        if self.sources == (Source(),) and self.adjustment and self.do:
            lines = _adjustment_lines(self, self.adjustment[0])
        else:
            search = _search(self, record=True)
            search.conditional(self.y, self.do, self.given)
            lines = search.lines
        return [*lines, Line("the same, simplified by the independences of the graph", self.formula.text())]

    def latex(self) -> str:
        """Return the formula as LaTeX."""
        return self.formula.latex()

    def text(self) -> str:
        """Return the formula as plain text."""
        return self.formula.text()

    def python(self) -> str:
        """Return the formula as a Python function of the joint distribution, axes as in `order`."""
        return python_source(self.formula, self.order)

    def value(self, joint: np.ndarray, **arms: np.ndarray) -> np.ndarray:
        """Evaluate the formula on the joint distribution of the measured nodes, one axis each in `order`.

        `arms` are the joint distributions of other sources, by name.
        """

        def marginal(nodes: Nodes, source: str = "") -> np.ndarray:
            gone = tuple(i for i, node in enumerate(self.order) if node not in nodes)
            return (arms[source] if source else joint).sum(axis=gone, keepdims=True)

        return self.formula.value(marginal)

    @cached_property
    def needed(self) -> Nodes:
        """Measured nodes that suffice, found by leaving out one after the other; all of them in a large graph."""
        asked = self.y | self.do | self.given
        needed = frozenset(self.order)
        if len(needed) > LARGE and self.adjustment:
            return asked | self.adjustment[0]
        if len(needed) <= LARGE:
            for node in [node for node in self.order[::-1] if node not in asked]:
                if identify(_hidden(self.graph, needed - {node}), y=self.y, do=self.do, given=self.given):
                    needed = needed - {node}
        return needed

    def _pruned(self) -> Term:
        """Return the formula in the nodes that are needed, the axes being those of all."""
        search = _search(self, graph=_hidden(self.graph, self.needed))
        return search.conditional(self.y, self.do, self.given)

    def _adjusted(self, nodes: Nodes) -> Term:
        """Return the adjustment formula."""
        term = product([
            *([Conditional(nodes, self.given)] if nodes else []),
            Conditional(self.y, self.do | self.given | nodes),
        ])  # fmt: skip
        for i, node in enumerate(self.order):
            if node in nodes:
                term = Sum(node, i, term)
        return term


class _Hedge(Exception):
    """Raised where a confounded group cannot be taken further apart."""


def identify(
    graph: nx.DiGraph,
    *,
    y: Iterable[str] | str,
    do: Iterable[str] | str = (),
    given: Iterable[str] | str = (),
    sources: Sequence[Source] = (Source(),),
) -> Identification:
    """Decide whether P(y | do, given) follows from the distribution of the measured nodes.

    Parameters
    ----------
    graph : causal graph, latent causes as nodes marked ``latent=True``
    y, do, given : disjoint sets of measured nodes
    sources : where data come from; the default is one, in which nothing was set. With several, each confounded
        part is taken from the first source that gives it (transport: Lee, Correa and Bareinboim 2019)

    Raises
    ------
    InputError
        On an unknown or latent node, an empty `y`, overlapping sets.

    Examples
    --------
    >>> from csrec_core.causal.graph import causal_graph
    >>> identify(causal_graph([("c", "x"), ("c", "y"), ("x", "y")]), y="y", do="x").text()
    "Σ_c' P(c') P(y | x, c')"
    """
    y, do, given = (frozenset([nodes] if isinstance(nodes, str) else nodes) for nodes in (y, do, given))
    check_rule(graph, 1, y=y, x=do, w=given)  # refuses what is no query
    order = tuple(nx.lexicographical_topological_sort(project_latents(graph)[0], key=str))
    query = Identification(graph, y, do, given, tuple(sources), None, None, order)
    try:
        found = _search(query).conditional(y, do, given)
    except _Hedge as hedge:
        return Identification(graph, y, do, given, tuple(sources), None, hedge.args, order)
    return Identification(graph, y, do, given, tuple(sources), found, None, order)


def law(y: Iterable[str], do: Iterable[str] = (), given: Iterable[str] = ()) -> str:
    """Return P(y | do(…), given) as plain text."""
    conditions = [f"do({plain_names(do)})"] if do else []
    conditions += [plain_names(given)] if given else []
    return f"P({plain_names(y)}{' | ' if conditions else ''}{', '.join(conditions)})"


def project_latents(graph: nx.DiGraph) -> tuple[nx.DiGraph, nx.Graph]:
    """Project the graph on its measured nodes.

    Returns
    -------
    directed, confounded
        The arrows between measured nodes (those through latent nodes included), and the pairs of measured
        nodes that share a latent cause.
    """
    directed, confounded = nx.DiGraph(graph.edges), nx.Graph()
    directed.add_nodes_from(graph)
    confounded.add_nodes_from(observed(graph))
    reach: dict[str, set[str]] = {}
    hidden = latents(graph)
    for node in reversed(list(nx.topological_sort(graph))):
        if node in hidden:  # the measured nodes it acts on, directly or through latent ones
            reach[node] = set().union(*(reach.get(child, {child}) for child in graph.succ[node]))
    for cause, children in reach.items():
        confounded.add_edges_from((a, b) for a in children for b in children if a < b)
        directed.add_edges_from((parent, child) for parent in graph.pred[cause] for child in children)
    directed.remove_nodes_from(hidden)
    return directed, confounded


def identifiability_table(graph: nx.DiGraph, t: int) -> pd.DataFrame:
    """Say which estimands at time `t` are identifiable, with tastes measured and with tastes hidden.

    Returns
    -------
    DataFrame
        One row per estimand: `estimand` (words), `tastes` ("measured" or "hidden"), `identifiable`.
    """
    tastes = [f"P{i}" for i in range(1, t + 1)]
    actions = [f"S{i}" for i in range(1, t + 1)]
    decisions = [f"D{i}" for i in range(1, t)]
    hidden = graph.copy()
    nx.set_node_attributes(hidden, dict.fromkeys(tastes, True), "latent")
    log = [*actions[:-1], *decisions]
    queries = [
        ("under set exposures, given all tastes", graph, actions, tastes),
        ("under set exposures, given today's taste", graph, actions, tastes[-1:]),
        ("under set exposures", graph, actions, []),
        ("under set exposures", hidden, actions, []),
        ("under set exposures, given the earlier decisions", hidden, actions, decisions),
        ("under today's set exposure, given the log so far", hidden, actions[-1:], log),
    ]
    rows = [
        (
            f"today's decision {words}",
            "hidden" if world is hidden else "measured",
            bool(identify(world, y=f"D{t}", do=do, given=given)),
        )
        for words, world, do, given in queries
    ]
    return pd.DataFrame(rows, columns=["estimand", "tastes", "identifiable"])


def _search(
    query: Identification, *, graph: nx.DiGraph | None = None, reverse: bool = False, record: bool = False
) -> "_Search":
    graph = query.graph if graph is None else graph
    directed, confounded = project_latents(graph)
    names = sorted(directed, key=str, reverse=reverse)
    order = tuple(nx.lexicographical_topological_sort(directed, key=names.index))
    return _Search(graph, directed, confounded, order, query.order, query.sources, record)


def _hidden(graph: nx.DiGraph, measured: Nodes) -> nx.DiGraph:
    """Return the graph with no nodes measured but these."""
    hidden = graph.copy()
    nx.set_node_attributes(hidden, {node: node not in measured for node in hidden}, "latent")
    return nx.freeze(hidden)


@dataclass
class _Search:
    """The c-component factorisation of one projected graph, from one or several sources."""

    graph: nx.DiGraph
    directed: nx.DiGraph
    confounded: nx.Graph
    order: tuple[str, ...]
    axes: tuple[str, ...]
    sources: tuple[Source, ...]
    record: bool = False
    lines: list[Line] = field(default_factory=list)

    def conditional(self, y: Nodes, do: Nodes, given: Nodes) -> Term:
        """Return P(y | do, given), or raise `_Hedge`."""
        start = law(y, do, given)
        # What may as well be set as seen is set: only the rest has to be conditioned on (Shpitser and Pearl).
        while movable := next(
            (c for n in sorted(given) if (c := check_rule(self.graph, 2, y=y, x=do, z=n, w=given - {n}))),
            None,
        ):
            do, given = do | movable.z, given - movable.z
            self.note(f"set {plain_names(movable.z)} in the place of seeing it", law(y, do, given), [movable])
        if given:
            top, bottom = law(y | given, do), law(given, do)
            self.note("by the definition of a conditional probability", f"{start} = {top} / {bottom}")
        term = self.effect(y | given, do)
        return self.normalise(term, y) if given else term

    def effect(self, target: Nodes, do: Nodes) -> Term:
        """Return P(target | do), or raise `_Hedge`."""
        world = self.ancestors(target, frozenset(self.order))
        needed = self.ancestors(target, world - do)
        rest = world - needed
        self.note_rule(3, target, do & world, do - world, "drop actions that are no causes of the outcome")
        self.note_rule(3, target, do & world, rest - do, "set what acts through actions only")
        parts = self.components(needed)
        if self.record:
            laws = " ".join(law(part, world - part) for part in parts)
            over = f"Σ_{{{plain_names(needed - target)}}} " if needed - target else ""
            checks = [check for part in parts for check in self.split(part, needed, rest)]
            self.note("factorise, and take apart what shares no unmeasured cause", over + laws, checks)
        factors = [self.factor(part, world) for part in parts]
        return self.sum(needed - target, product(factors))

    def factor(self, part: Nodes, world: Nodes) -> Term:
        """Return P(part | do everything else) from the first source that gives it."""
        blocked: _Hedge | None = None
        for source in self.sources:
            seen = world - source.do
            if part & source.differs or not part <= seen:
                continue
            group = next(group for group in self.components(seen) if part <= group)
            term = self.observed_factor(group, seen, source)
            if self.record:
                checks = self.split(group, seen, source.do & world)
                self.note(
                    f"read from {source.name or 'the data'}",
                    f"{law(group, world - group)} = {term.text()}",
                    checks,
                )
            try:
                return self.reduce(part, group, term, world)
            except _Hedge as hedge:
                blocked = blocked or hedge
        raise blocked or _Hedge(part, part)

    def reduce(self, part: Nodes, group: Nodes, term: Term, world: Nodes) -> Term:
        """Return the factor of `part` from the `term` of the confounded `group` that holds it."""
        kept = self.ancestors(part, group)
        if kept == part:
            return self.sum_noted(part, group, term, world)
        if kept == group:
            raise _Hedge(group, part)
        marginal = self.sum_noted(kept, group, term, world)
        inner = next(found for found in self.components(kept) if part <= found)
        if inner != kept:
            ordered = [node for node in self.order if node in kept]
            marginal = product([self.slice(node, ordered, marginal) for node in ordered if node in inner])
            if self.record:
                checks = self.split(inner, kept, world - kept)
                self.note("take apart", f"{law(inner, world - inner)} = {marginal.text()}", checks)
        return self.reduce(part, inner, marginal, world)

    def slice(self, node: str, ordered: list[str], term: Term) -> Term:
        """Return the conditional of `node` given what comes before it, within `term`."""
        after = ordered[ordered.index(node) + 1 :]
        return Ratio(self.sum(frozenset(after), term), self.sum(frozenset([node, *after]), term))

    def observed_factor(self, group: Nodes, seen: Nodes, source: Source) -> Term:
        """Return the factor of a confounded group as conditionals of what a source shows."""
        factors = []
        for i, node in enumerate(self.order):
            if node in group:
                earlier = seen & set(self.order[: i + 1])
                near = next(found for found in self.components(earlier) if node in found)
                blanket = near.union(*(self.directed.pred[member] for member in near)) - {node}
                factors.append(Conditional(frozenset([node]), blanket, source.name))
        return product(factors)

    def sum_noted(self, kept: Nodes, group: Nodes, term: Term, world: Nodes) -> Term:
        """Sum the nodes of a group out that are no causes of those kept."""
        result = self.sum(group - kept, term)
        if self.record and group - kept:
            checks = [check_rule(self.graph, 3, y=kept, x=world - group, z=group - kept)]
            self.note(
                f"sum out {plain_names(group - kept)}", f"{law(kept, world - kept)} = {result.text()}", checks
            )
        return result

    def sum(self, over: Nodes, term: Term) -> Term:
        """Sum out nodes; a conditional whose node is spoken of nowhere else sums to one."""
        over = frozenset(over)
        factors = list(term.factors) if isinstance(term, Product) else [term]
        dropped = True
        while dropped:
            dropped = False
            for factor in factors:
                elsewhere = frozenset().union(*(other.nodes for other in factors if other is not factor))
                if isinstance(factor, Conditional) and factor.left <= over - elsewhere:
                    factors.remove(factor)
                    over -= factor.left
                    dropped = True
                    break
        for node in self.order:  # causes first, which gives recursions their usual shape
            if node in over:
                touched = [factor for factor in factors if node in factor.nodes]
                rest = [factor for factor in factors if node not in factor.nodes]
                factors = [*rest, Sum(node, self.axes.index(node), product(touched))]
        return product(factors)

    def normalise(self, term: Term, y: Nodes) -> Term:
        """Divide by the sum over `y`; factors that do not speak of `y` cancel, a sum of one is left out."""
        factors = term.factors if isinstance(term, Product) else (term,)
        top = product([factor for factor in factors if factor.nodes & y])
        bottom = self.sum(y, top)
        return top if bottom == Product(()) else Ratio(top, bottom)

    def ancestors(self, nodes: Nodes, within: Nodes) -> Nodes:
        """Return `nodes` and their ancestors in the graph cut down to `within`."""
        found, stack = set(nodes), list(nodes)
        while stack:
            for parent in self.directed.pred[stack.pop()]:
                if parent in within and parent not in found:
                    found.add(parent)
                    stack.append(parent)
        return frozenset(found)

    def components(self, within: Nodes) -> list[Nodes]:
        """Return the groups of nodes linked by shared latent causes."""
        groups = nx.connected_components(self.confounded.subgraph(within))
        return sorted(map(frozenset, groups), key=lambda group: min(map(self.order.index, group)))

    def note(self, words: str, formula: str, checks: Iterable[RuleCheck] = ()) -> None:
        """Write a line of the derivation, if one is asked for."""
        if self.record:
            self.lines.append(Line(words, formula, tuple(checks)))

    def note_rule(self, rule: int, y: Nodes, x: Nodes, z: Nodes, words: str) -> None:
        """Write the line of one rule, if it does anything."""
        if self.record and z:
            self.note(words, law(y, x | z if rule == 3 and "set" in words else x), [
                check_rule(self.graph, rule, y=y, x=x, z=z)
            ])  # fmt: skip

    def split(self, part: Nodes, within: Nodes, done: Nodes) -> list[RuleCheck]:
        """Return why each factor of `part`, given all before it, may take the others of `within` as set."""
        checks = []
        for i, node in enumerate(self.order):
            if node in part:
                before = within & set(self.order[:i])
                seen, moved = before & part, before - part
                later = within - before - part
                if moved:
                    checks.append(check_rule(self.graph, 2, y=node, x=done, z=moved, w=seen))
                if later:
                    checks.append(check_rule(self.graph, 3, y=node, x=done | moved, z=later, w=seen))
        return checks


def _adjustment_lines(query: Identification, nodes: Nodes) -> list[Line]:
    """Return the derivation of the adjustment formula."""
    y, do, given = query.y, query.do, query.given
    second = check_rule(query.graph, 2, y=y, z=do, w=nodes | given)
    lines = []
    if nodes:
        over = f"Σ_{{{plain_names(nodes)}}}"
        drawn, seen = law(nodes, do, given), law(nodes, (), given)
        lines.append(Line("total probability", f"{over} {law(y, do, nodes | given)} {drawn}"))
        third = check_rule(query.graph, 3, y=nodes, z=do, w=given)
        lines.append(Line("drop the action", f"{over} {law(y, do, nodes | given)} {seen}", (third,)))
        formula = f"{over} {law(y, (), do | nodes | given)} {seen}"
    else:
        formula = law(y, (), do | given)
    return [*lines, Line("see in the place of setting", formula, (second,))]
