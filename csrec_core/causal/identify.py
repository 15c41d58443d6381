"""Whether an effect can be computed from observed data at all, with latent causes, and by which formula.

The graph is projected on its measured nodes; confounded groups of nodes (c-components) are then taken apart
as in Tian and Pearl (2002). The procedure is complete (Huang and Valtorta 2006; Shpitser and Pearl 2006):
where it finds no formula there is none.
"""

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd

from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.expression import Conditional, Nodes, Product, Ratio, Sum, product
from csrec_core.causal.graph import latents, observed
from csrec_core.errors import InputError, unknown

__all__ = ["Identification", "backdoor_sets", "identifiability_table", "identify", "project_latents"]


@dataclass(frozen=True)
class Identification:
    """Whether P(y | do, given) can be computed from observed data. Truthy when it can.

    Attributes
    ----------
    formula : the formula, None when there is none
    hedge : what stands in the way: a confounded group of nodes, and the part of it that the query needs
    order : the axes of the arrays that `value` takes and gives
    """

    formula: object | None
    hedge: tuple[Nodes, Nodes] | None
    order: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.formula is not None

    def latex(self) -> str:
        """Return the formula as LaTeX."""
        if self.formula is None:
            raise InputError("the effect is not identifiable: it has no formula")
        return self.formula.latex()

    def value(self, joint: np.ndarray) -> np.ndarray:
        """Evaluate the formula on the joint distribution of the measured nodes, one axis each in `order`."""
        if self.formula is None:
            raise InputError("the effect is not identifiable: it has no formula")

        def marginal(nodes: Nodes) -> np.ndarray:
            gone = tuple(i for i, node in enumerate(self.order) if node not in nodes)
            return joint.sum(axis=gone, keepdims=True)

        return self.formula.value(marginal)


class _Hedge(Exception):
    """Raised where a confounded group cannot be taken further apart."""


def identify(
    graph: nx.DiGraph,
    *,
    y: Iterable[str] | str,
    do: Iterable[str] | str = (),
    given: Iterable[str] | str = (),
) -> Identification:
    """Decide whether P(y | do, given) follows from the distribution of the measured nodes.

    Parameters
    ----------
    graph : causal graph, latent causes as nodes marked ``latent=True``
    y, do, given : disjoint sets of measured nodes

    Raises
    ------
    InputError
        On an unknown or latent node, an empty `y`, overlapping sets.
    """
    y, do, given = (frozenset([nodes] if isinstance(nodes, str) else nodes) for nodes in (y, do, given))
    check_rule(graph, 1, y=y, x=do, w=given)  # refuses what is no query
    # What may as well be set as seen is set: only the rest has to be conditioned on (Shpitser and Pearl).
    while movable := [n for n in sorted(given) if check_rule(graph, 2, y=y, x=do, z=n, w=given - {n})]:
        do, given = do | {movable[0]}, given - {movable[0]}
    directed, confounded = project_latents(graph)
    order = tuple(nx.lexicographical_topological_sort(directed, key=str))
    search = _Search(directed, confounded, order)
    try:
        formula = search.effect(y | given, do)
    except _Hedge as hedge:
        return Identification(None, hedge.args, order)
    if given:
        formula = _normalise(search, formula, y)
    return Identification(formula, None, order)


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


def backdoor_sets(graph: nx.DiGraph, *, treatment: str, outcome: str) -> list[frozenset[str]]:
    """Return the sets that dowhy adjusts for to find the total effect of one node on another; may be empty.

    dowhy's default identification is sound with latent nodes, and no more than sufficient: an empty list
    does not mean that the effect is not identifiable. Its `id-algorithm` ignores latent nodes.
    """
    with warnings.catch_warnings():  # dowhy's progress bars miss a widget here that nothing needs
        warnings.filterwarnings("ignore", message="IProgress not found")
        from dowhy.causal_identifier import AutoIdentifier, BackdoorAdjustment, EstimandType

    for name in (treatment, outcome):
        if name not in observed(graph):
            raise unknown("measured node", name, sorted(observed(graph)))
    logging.getLogger("dowhy.causal_identifier").setLevel(logging.ERROR)
    identifier = AutoIdentifier(
        estimand_type=EstimandType.NONPARAMETRIC_ATE,
        backdoor_adjustment=BackdoorAdjustment.BACKDOOR_MIN_EFFICIENT,
    )
    try:
        estimand = identifier.identify_effect(
            graph, action_nodes=[treatment], outcome_nodes=[outcome], observed_nodes=sorted(observed(graph))
        )
    except ValueError as error:
        if "does not exist" in str(error):
            return []
        raise
    found = (estimand.backdoor_variables or {}).values()
    return list(dict.fromkeys(frozenset(names) for names in found if names is not None))


class _Search:
    """The c-component factorisation of one projected graph."""

    def __init__(self, directed: nx.DiGraph, confounded: nx.Graph, order: tuple[str, ...]):
        self.directed, self.confounded, self.order = directed, confounded, order

    def effect(self, target: Nodes, do: Nodes):
        """Return P(target | do), or raise `_Hedge`."""
        world = self.ancestors(target, frozenset(self.order))
        needed = self.ancestors(target, world - do)
        factors = []
        for part in self.components(needed):
            group = next(group for group in self.components(world) if part <= group)
            factors.append(self.reduce(part, group, self.observed_factor(group, world)))
        return self.sum(needed - target, product(factors))

    def reduce(self, part: Nodes, group: Nodes, term):
        """Return the factor of `part` from the `term` of the confounded `group` that holds it."""
        kept = self.ancestors(part, group)
        if kept == part:
            return self.sum(group - part, term)
        if kept == group:
            raise _Hedge(group, part)
        marginal = self.sum(group - kept, term)
        inner = next(found for found in self.components(kept) if part <= found)
        if inner != kept:
            ordered = [node for node in self.order if node in kept]
            marginal = product([self.slice(node, ordered, marginal) for node in ordered if node in inner])
        return self.reduce(part, inner, marginal)

    def slice(self, node: str, ordered: list[str], term):
        """Return the conditional of `node` given what comes before it, within `term`."""
        after = ordered[ordered.index(node) + 1 :]
        return Ratio(self.sum(frozenset(after), term), self.sum(frozenset([node, *after]), term))

    def observed_factor(self, group: Nodes, world: Nodes):
        """Return the factor of a confounded group as conditionals of the observed distribution."""
        factors = []
        for i, node in enumerate(self.order):
            if node in group:
                earlier = world & set(self.order[: i + 1])
                near = next(found for found in self.components(earlier) if node in found)
                blanket = near.union(*(self.directed.pred[member] for member in near)) - {node}
                factors.append(Conditional(node, blanket))
        return product(factors)

    def sum(self, over: Nodes, term):
        """Sum out nodes; a conditional whose node is spoken of nowhere else sums to one."""
        over = frozenset(over)
        factors = list(term.factors) if isinstance(term, Product) else [term]
        dropped = True
        while dropped:
            dropped = False
            for factor in factors:
                elsewhere = frozenset().union(*(other.nodes for other in factors if other is not factor))
                if isinstance(factor, Conditional) and factor.node in over - elsewhere:
                    factors.remove(factor)
                    over -= {factor.node}
                    dropped = True
                    break
        for i, node in enumerate(self.order):  # causes first, which gives recursions their usual shape
            if node in over:
                touched = [factor for factor in factors if node in factor.nodes]
                rest = [factor for factor in factors if node not in factor.nodes]
                factors = [*rest, Sum(node, i, product(touched))]
        return product(factors)

    def ancestors(self, nodes: Nodes, within: Nodes) -> Nodes:
        """Return `nodes` and their ancestors in the graph cut down to `within`."""
        part = self.directed.subgraph(within)
        return frozenset(nodes).union(*(nx.ancestors(part, node) for node in nodes))

    def components(self, within: Nodes) -> list[Nodes]:
        """Return the groups of nodes linked by shared latent causes."""
        groups = nx.connected_components(self.confounded.subgraph(within))
        return sorted(map(frozenset, groups), key=lambda group: min(map(self.order.index, group)))


def _normalise(search: _Search, formula, y: Nodes):
    """Divide by the sum over `y`; factors that do not speak of `y` cancel, and a sum of one is left out."""
    factors = formula.factors if isinstance(formula, Product) else (formula,)
    top = product([factor for factor in factors if factor.nodes & y])
    bottom = search.sum(y, top)
    return top if bottom == Product(()) else Ratio(top, bottom)
