"""The search for a formula: confounded groups of nodes (c-components) taken apart (Tian and Pearl 2002).

It is complete (Huang and Valtorta 2006; Shpitser and Pearl 2006): where it finds no formula there is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import networkx as nx

from csrec_core.causal.docalculus import RuleCheck, check_rule
from csrec_core.causal.expression import Conditional, Product, Ratio, Sum, Term, factors_of, product
from csrec_core.causal.graph import Nodes, latents, observed, plain_names, probability, with_ancestors


@dataclass(frozen=True)
class Source:
    """A data source: its name, the nodes that were set at random in it, those whose mechanism is its own."""

    name: str = ""
    do: Nodes = frozenset()
    differs: Nodes = frozenset()

    def __str__(self) -> str:
        how = f"{plain_names(self.do)} drawn at random" if self.do else "as it came about"
        own = f", {plain_names(self.differs)} made in its own way" if self.differs else ""
        return f"{self.name or 'the data'} ({how}{own})"


@dataclass(frozen=True)
class Line:
    """One line of a derivation: what is done, the formula after it, the rules that license it."""

    words: str
    formula: str
    checks: tuple[RuleCheck, ...] = ()


#: The one source that there is where nothing was set.
ONE_SOURCE = (Source(),)


class Hedge(Exception):
    """Raised where a confounded group cannot be taken further apart."""


def project_latents(graph: nx.DiGraph) -> tuple[nx.DiGraph, nx.Graph]:
    """Project the graph on its measured nodes.

    Return the arrows between them, those through latent nodes included, and the pairs that share a latent cause.
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


@dataclass
class Search:
    """The c-component factorisation of one projected graph, from one or several sources."""

    graph: nx.DiGraph
    sources: tuple[Source, ...]
    record: bool = False
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directed, self.confounded = project_latents(self.graph)
        self.order = tuple(nx.lexicographical_topological_sort(self.directed, key=str))

    def conditional(self, y: Nodes, do: Nodes, given: Nodes) -> Term:
        """Return P(y | do, given), or raise `Hedge`."""
        start = probability(y, do, given)
        # What may as well be set as seen is set: only the rest has to be conditioned on (Shpitser and Pearl).
        while movable := next(
            (c for n in sorted(given) if (c := check_rule(self.graph, 2, y=y, x=do, z=n, w=given - {n}))),
            None,
        ):
            do, given = do | movable.z, given - movable.z
            words = f"set {plain_names(movable.z)} in the place of seeing it"
            self.note(words, probability(y, do, given), [movable])
        if not given:
            return self.effect(y, do)
        top, bottom = probability(y | given, do), probability(given, do)
        self.note("by the definition of a conditional probability", f"{start} = {top} / {bottom}")
        return self.normalise(self.effect(y | given, do), y)

    def effect(self, target: Nodes, do: Nodes) -> Term:
        """Return P(target | do), or raise `Hedge`."""
        world = self.ancestors(target, frozenset(self.order))
        needed = self.ancestors(target, world - do)
        parts = self.components(needed)
        if self.record:
            self.note_effect(target, do, world, needed, parts)
        return self.sum(needed - target, product(self.factor(part, world) for part in parts))

    def note_effect(self, target: Nodes, do: Nodes, world: Nodes, needed: Nodes, parts: list[Nodes]) -> None:
        """Write how an effect comes apart into factors."""
        rest = world - needed
        kept, dropped, through = do & world, do - world, rest - do
        third = partial(check_rule, self.graph, 3, y=target, x=kept)
        if dropped:
            words = "drop actions that are no causes of the outcome"
            self.note(words, probability(target, kept), [third(z=dropped)])
        if through:
            words = "set what acts through actions only"
            self.note(words, probability(target, kept | through), [third(z=through)])
        laws = " ".join(probability(part, world - part) for part in parts)
        over = f"Σ_{{{plain_names(needed - target)}}} " if needed - target else ""
        checks = [check for part in parts for check in self.split(part, needed, rest)]
        self.note("factorise, and take apart what shares no unmeasured cause", over + laws, checks)

    def factor(self, part: Nodes, world: Nodes) -> Term:
        """Return P(part | do everything else) from the first source that gives it."""
        blocked: Hedge | None = None
        for source in self.sources:
            seen = world - source.do
            if part & source.differs or not part <= seen:
                continue
            group = next(group for group in self.components(seen) if part <= group)
            term = self.observed_factor(group, seen, source)
            if self.record:
                said = f"{probability(group, world - group)} = {term.text()}"
                checks = self.split(group, seen, source.do & world)
                self.note(f"read from {source.name or 'the data'}", said, checks)
            try:
                return self.reduce(part, group, term, world)
            except Hedge as hedge:
                blocked = blocked or hedge
        raise blocked or Hedge(part, part)

    def reduce(self, part: Nodes, group: Nodes, term: Term, world: Nodes) -> Term:
        """Return the factor of `part` from the `term` of the confounded `group` that holds it."""
        kept = self.ancestors(part, group)
        if kept == part:
            return self.sum_noted(part, group, term, world)
        if kept == group:
            raise Hedge(group, part)
        marginal = self.sum_noted(kept, group, term, world)
        inner = next(found for found in self.components(kept) if part <= found)
        if inner != kept:
            ordered = [node for node in self.order if node in kept]
            marginal = product([self.slice(node, ordered, marginal) for node in ordered if node in inner])
            if self.record:
                checks = self.split(inner, kept, world - kept)
                self.note("take apart", f"{probability(inner, world - inner)} = {marginal.text()}", checks)
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
            said = f"{probability(kept, world - kept)} = {result.text()}"
            checks = [check_rule(self.graph, 3, y=kept, x=world - group, z=group - kept)]
            self.note(f"sum out {plain_names(group - kept)}", said, checks)
        return result

    def sum(self, over: Nodes, term: Term) -> Term:
        """Sum out nodes; a conditional whose node is spoken of nowhere else sums to one."""
        factors = factors_of(term)

        def speaks_of_nothing_else(factor: Conditional) -> bool:
            return factor.left <= over.difference(*(other.nodes for other in factors if other is not factor))

        while lone := next(
            (one for one in factors if isinstance(one, Conditional) and speaks_of_nothing_else(one)), None
        ):
            factors.remove(lone)
            over -= lone.left
        for node in self.order:  # causes first, which gives recursions their usual shape
            if node in over:
                touched = [factor for factor in factors if node in factor.nodes]
                rest = [factor for factor in factors if node not in factor.nodes]
                factors = [*rest, Sum(node, product(touched))]
        return product(factors)

    def normalise(self, term: Term, y: Nodes) -> Term:
        """Divide by the sum over `y`; factors that do not speak of `y` cancel, a sum of one is left out."""
        top = product([factor for factor in factors_of(term) if factor.nodes & y])
        bottom = self.sum(y, top)
        return top if bottom == Product(()) else Ratio(top, bottom)

    def ancestors(self, nodes: Nodes, within: Nodes) -> Nodes:
        """Return `nodes` and their ancestors in the graph cut down to `within`."""
        return frozenset(with_ancestors(self.directed.subgraph(within), nodes))

    def components(self, within: Nodes) -> list[Nodes]:
        """Return the groups of nodes linked by shared latent causes."""
        groups = nx.connected_components(self.confounded.subgraph(within))
        return sorted(map(frozenset, groups), key=lambda group: min(map(self.order.index, group)))

    def note(self, words: str, formula: str, checks: Iterable[RuleCheck] = ()) -> None:
        """Write a line of the derivation, if one is asked for."""
        if self.record:
            self.lines.append(Line(words, formula, tuple(checks)))

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
