"""Where an effect is not identifiable: two models with one observed law and two effects, in tables."""

from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
from scipy.linalg import null_space

from csrec_core.causal.certificate import StructuralModel, TooLarge, marginal, random_model
from csrec_core.causal.graph import observed, with_ancestors
from csrec_core.causal.identify import Identifiability

DIFFERENCE = 0.1  # in the effect, at which the search stops
TRIES = 12  # random models that the search starts from
LOWEST = 0.01  # probability in a table


@dataclass(frozen=True)
class Twins:
    """Two models of a graph that no observed data tell apart."""

    # the part of the graph that they need: with fewer arrows the effect would be identifiable
    core: nx.DiGraph
    # for each node P(node | parents) in either model, the last axis the node, parents causes first
    tables: dict[str, tuple[np.ndarray, np.ndarray]]
    # the effect in either model, P(y = 1 | do = 1, given = 1), all of them set to 1
    effects: tuple[float, float]
    law_gap: float  # the largest difference between the two observed laws, rounding

    @property
    def difference(self) -> float:
        """How far the two effects are apart."""
        return abs(self.effects[1] - self.effects[0])

    def text(self) -> str:
        """Return both models as plain text, a row for each state of the causes."""
        lines = []
        order = list(self.tables)
        for node, (one, other) in self.tables.items():
            parents = sorted(self.core.pred[node], key=order.index)
            for index in np.ndindex(one.shape[:-1]):
                states = ", ".join(f"{name}={value}" for name, value in zip(parents, index, strict=True))
                rows = [", ".join(f"{p:.4f}" for p in table[index][1:]) for table in (one, other)]
                values = ",".join(str(value) for value in range(1, one.shape[-1]))
                told = "  vs  ".join(dict.fromkeys(rows))  # once where they are the same
                lines.append(f"P({node}={values}{' | ' if states else ''}{states}): {told}")
        return "\n".join(lines)


def smallest_core(found: Identifiability) -> nx.DiGraph:
    """Return a part of the graph in which the effect is not identifiable, and without any arrow of it is."""
    asked = found.y | found.do | found.given
    core = found.graph.subgraph(with_ancestors(found.graph, asked)).copy()
    size = max(core.number_of_edges() // 2, 1)
    while size:
        edges = list(core.edges)  # as they are before the pass, so that none is passed over
        for start in range(0, len(edges), size):
            smaller = core.copy()
            smaller.remove_edges_from(edges[start : start + size])
            if not found.on(smaller):
                core = smaller
        size //= 2
    core.remove_nodes_from([node for node in nx.isolates(core) if node not in asked])
    return core


def twin_models(found: Identifiability, *, core: nx.DiGraph) -> Twins | str:
    """Return two models with the same observed law and different effects, or why none was built.

    The observed law is linear in the table of one node. So in a random model of the core (`smallest_core` of the
    effect), the table of one node is moved where the law stays as it is and the effect grows, as far as
    probabilities go in both ways.
    """
    best: Twins | None = None
    for number in range(TRIES):
        try:
            model = random_model(core, np.random.default_rng([0, number]), hidden_states=2 + number % 3)
            for node in model.order:
                twins = _moved(model, node, core, found)
                if best is None or (twins and twins.difference > best.difference):
                    best = twins
        except TooLarge as error:
            return f"not built, because {error}"
        if best and best.difference > DIFFERENCE:
            return best
    return best or "not built, because the search found none in a model of this size"


def _moved(model: StructuralModel, node: str, core: nx.DiGraph, found: Identifiability) -> Twins | None:
    """Return the twins that differ in the table of one node, if there are any."""
    measured, fixed, table = observed(core), found.do | found.given, model.tables[node]

    def at_one(model: StructuralModel, nodes: frozenset[str]) -> float:
        joint = marginal(model, set(nodes), do=found.do)
        return float(joint[tuple(-1 if name in nodes else 0 for name in model.order)])

    def effect(model: StructuralModel) -> float:
        return at_one(model, fixed | found.y) / at_one(model, fixed)

    def replaced(values: np.ndarray) -> StructuralModel:
        return replace(model, tables=model.tables | {node: values.reshape(table.shape)})

    states = table.shape[-1]
    # Steps that keep every row a distribution: one state grows, the last one shrinks.
    rows = np.eye(states)[:-1] - np.eye(states)[-1]
    steps = np.kron(np.eye(table.size // states), rows)
    law = np.array([marginal(replaced(step), measured).ravel() for step in steps]).T
    free = null_space(law, rcond=1e-10).T @ steps
    slopes = [effect(replaced(table.ravel() + 1e-6 * way)) - effect(model) for way in free]
    if not len(free) or np.linalg.norm(slopes) < 1e-9:
        return None
    along = np.array(slopes) @ free
    with np.errstate(divide="ignore"):  # which steps bring each probability to its ends, the lower one first
        ends = np.sort((np.array([[LOWEST], [1 - LOWEST]]) - table.ravel()) / along, axis=0)
    pair = [replaced(table.ravel() + reach * along) for reach in (ends[0].max(), ends[1].min())]
    gap = np.abs(marginal(pair[0], measured) - marginal(pair[1], measured)).max()
    tables = {name: (pair[0].tables[name], pair[1].tables[name]) for name in model.order}
    return Twins(core, tables, (effect(pair[0]), effect(pair[1])), float(gap))
