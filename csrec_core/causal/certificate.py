"""Numeric certificates: random binary structural models, in which both sides of a step are exact."""

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from functools import lru_cache

import networkx as nx
import numpy as np
import pandas as pd

from csrec_core.causal.docalculus import RuleCheck
from csrec_core.causal.graph import Nodes, with_ancestors
from csrec_core.causal.identify import Identifiability

TOLERANCE = 1e-9
WIDEST = 20  # nodes of the largest table: 2^20 numbers, 8 MB
MOST_NODES = 60  # an array has at most 64 axes


class TooLarge(Exception):
    """A graph whose tables would not fit; says which."""


@dataclass(frozen=True)
class StructuralModel:
    """A structural model of discrete variables: one table P(node | parents) for each node."""

    # the nodes, causes first; every array of probabilities has one axis for each, in this order
    order: tuple[str, ...]
    parents: dict[str, tuple[int, ...]]  # for each node the axes of its parents
    # for each node an array with an axis for each parent and a last one for the node itself
    tables: dict[str, np.ndarray]


@dataclass(frozen=True)
class Certificate:
    """The largest difference between two sides in each of some random models, or why there is none."""

    gaps: tuple[float, ...]
    why: str = ""  # not computed, because …

    @property
    def gap(self) -> float:
        """The largest difference found in any model; NaN where none was computed."""
        return max(self.gaps, default=float("nan"))

    @property
    def agrees(self) -> bool | None:
        """Whether the two sides are equal in every model, to `TOLERANCE`; None where none was computed."""
        return self.gap <= TOLERANCE if self.gaps else None


def random_model(graph: nx.DiGraph, rng: np.random.Generator, *, hidden_states: int = 2) -> StructuralModel:
    """Draw a model compatible with `graph`, latent nodes included, every probability in [0.03, 0.97].

    Measured nodes are binary, latent ones have `hidden_states`. The probabilities come from an arcsine law:
    strong effects, so that an open path leaves a visible gap. Raises TooLarge where a node has so many causes that
    its table is larger than 2^`WIDEST`.
    """
    if len(graph) > MOST_NODES:
        raise TooLarge(f"{len(graph)} nodes bear on it, and {MOST_NODES} are as many as fit")
    for node, causes in graph.pred.items():
        if len(causes) >= WIDEST:
            raise TooLarge(f"{node} has {len(causes)} causes: a table of 2^{len(causes) + 1} numbers")
    order = tuple(nx.lexicographical_topological_sort(graph, key=str))
    axis = {node: i for i, node in enumerate(order)}
    states = [hidden_states if graph.nodes[node].get("latent") else 2 for node in order]
    parents, tables = {}, {}
    for i, node in enumerate(order):
        parents[node] = tuple(sorted(axis[parent] for parent in graph.pred[node]))
        drawn = rng.dirichlet([0.5] * states[i], size=[states[parent] for parent in parents[node]])
        tables[node] = 0.03 + (1 - 0.03 * states[i]) * drawn
    return StructuralModel(order, parents, tables)


def conditional(
    model: StructuralModel, y: Iterable[str], *, do: Iterable[str] = (), given: Iterable[str] = ()
) -> np.ndarray:
    """Compute P(y | do, given) exactly: an axis for each node of the model, of length 1 if not in the query."""
    y, do = set(y), set(do)
    joint = marginal(model, {*y, *do, *given}, do=do)
    return joint / joint.sum(axis=tuple(model.order.index(node) for node in y), keepdims=True)


def marginal(model: StructuralModel, kept: Set[str], *, do: Iterable[str] = ()) -> np.ndarray:
    """Return the distribution of nodes, an array as that of `conditional`; what is set is drawn evenly."""
    axis = {node: i for i, node in enumerate(model.order)}
    states = {node: table.shape[-1] for node, table in model.tables.items()}
    factors = [
        (np.full(states[node], 1 / states[node]), (axis[node],))
        if node in do
        else (table, (*model.parents[node], axis[node]))
        for node, table in model.tables.items()
    ]
    axes_kept = {axis[node] for node in kept}
    for gone in _elimination(tuple(axes for _, axes in factors), frozenset(axes_kept)):
        touched = [factor for factor in factors if gone in factor[1]]
        factors = [factor for factor in factors if gone not in factor[1]]
        factors.append(_multiplied(touched, {axis for _, axes in touched for axis in axes} - {gone}))
    table, _ = _multiplied(factors, axes_kept)
    return table.reshape([states[node] if node in kept else 1 for node in model.order])


def certify(check: RuleCheck, *, models: int = 5, seed: int = 0) -> Certificate:
    """Compare the two sides of a step in random models of its graph; they are equal iff the step holds."""

    def sides(model: StructuralModel) -> list[np.ndarray]:
        return [conditional(model, check.y, do=do, given=given) for do, given in check.sides]

    return _certified(check.graph, check.y | check.x | check.z | check.w, sides, models, seed)


def certify_formula(found: Identifiability, *, models: int = 5, seed: int = 0) -> Certificate:
    """Compare the formula, fed what is observed, with the effect itself in random models of the graph."""
    settings = {source.name: source.do for source in found.sources}

    def sides(model: StructuralModel) -> list[np.ndarray]:
        def law(nodes: Nodes, source: str) -> np.ndarray:
            return marginal(model, nodes, do=settings[source])

        formula = found.formula.value(law, model.order)
        return [formula, conditional(model, found.y, do=found.do, given=found.given)]

    mentioned = found.y | found.do | found.given | found.formula.named
    return _certified(found.graph, mentioned, sides, models, seed)


def _certified(graph: nx.DiGraph, query: Nodes, sides: Callable, models: int, seed: int) -> Certificate:
    """Return how far two sides are apart in random models of the part of the graph that bears on a query."""
    rng = np.random.default_rng(seed)
    relevant = _relevant(graph, query)
    try:
        pairs = (sides(random_model(relevant, rng)) for _ in range(models))
        return Certificate(tuple(float(np.abs(left - right).max()) for left, right in pairs))
    except TooLarge as error:
        return Certificate((), f"not computed, because {error}")


def _relevant(graph: nx.DiGraph, query: frozenset[str]) -> nx.DiGraph:
    """Keep the query and its ancestors, less the causes outside the query that act on one node only.

    What comes after has no say in the probabilities of the query; and a cause of one node, summed out, leaves
    that node a table of its other causes that may be any: the models that remain are the same.
    """
    kept = graph.subgraph(with_ancestors(graph, query)).copy()
    for node in [node for node in kept if node not in query][::-1]:
        if kept.in_degree(node) == 0 and kept.out_degree(node) == 1:
            kept.remove_node(node)
    return kept


@lru_cache(maxsize=512)  # the same for every model of a graph
def _elimination(scopes: tuple[tuple[int, ...], ...], kept: frozenset[int]) -> tuple[int, ...]:
    """Return the order in which axes are summed out: the one that makes the smallest table goes first.

    Raises TooLarge where a table would be larger than 2^`WIDEST`.
    """
    tables = [frozenset(scope) for scope in scopes]
    waiting, order = frozenset().union(*tables) - kept, []
    while waiting:
        reach = {axis: frozenset().union(*(table for table in tables if axis in table)) for axis in waiting}
        gone = min(waiting, key=lambda axis: (len(reach[axis]), axis))
        if len(reach[gone]) > WIDEST:
            raise TooLarge(f"it takes a table of 2^{len(reach[gone])} numbers")
        tables = [table for table in tables if gone not in table] + [reach[gone] - {gone}]
        waiting -= {gone}
        order.append(gone)
    if len(kept) > WIDEST:
        raise TooLarge(f"it takes a table of 2^{len(kept)} numbers")
    return tuple(order)


def _multiplied(factors, out: set[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    every = sorted(out.union(*(axes for _, axes in factors)))
    place = {axis: i for i, axis in enumerate(every)}  # einsum counts its axes from 0
    operands = [part for table, axes in factors for part in (table, [place[axis] for axis in axes])]
    return np.einsum(*operands, [place[axis] for axis in sorted(out)]), tuple(sorted(out))


def recursion_errors(graph: nx.DiGraph, t: int, *, models: int = 50, seed: int = 0) -> pd.DataFrame:
    """Measure how far each formula is from the truth in random models of `graph`, as `random_model` draws them.

    A row a model and formula: `error`, the mean absolute difference in P(D_t = 1 | ...) over exposures and preferences.
    "theorem 3.1" and "equation 6" are held against P(D_t | do S_{1:t}, P_t), "recursion" against
    P(D_t | do S_{1:t}, P_{1:t}), and "equation 6, given both preferences" against P(D_t | do S_{1:t}, P_{t-1}, P_t).
    What speaks of P_{t-1} and P_t is weighted by how often the two occur together; all exposures, and in the
    recursion all histories, count alike.
    """
    rng = np.random.default_rng(seed)
    relevant = _relevant(graph, frozenset(f"{row}{i}" for row in "PSD" for i in range(1, t + 1)))
    errors = pd.DataFrame([_formula_errors(random_model(relevant, rng), t) for _ in range(models)])
    return errors.reset_index(names="model").melt("model", var_name="formula", value_name="error")


def _formula_errors(model: StructuralModel, t: int) -> dict[str, float]:
    s, p = [f"S{i}" for i in range(1, t + 1)], [f"P{i}" for i in range(1, t + 1)]

    def step(i: int, previous: np.ndarray) -> np.ndarray:
        """Σ_d P(D_i | S_i, d, P_i) · previous(d)."""
        local = conditional(model, [f"D{i}"], given=[f"S{i}", f"D{i - 1}", f"P{i}"])
        return (local * previous).sum(axis=model.order.index(f"D{i - 1}"), keepdims=True)

    history = conditional(model, ["D1"], given=["S1", "P1"])
    for i in range(2, t + 1):
        history = step(i, history)
    on_today = conditional(model, [f"D{t}"], do=s, given=p[-1:])
    last = f"D{t - 1}"
    theorem = step(t, conditional(model, [last], do=s[:-1], given=p[-1:]))
    equation = step(t, conditional(model, [last], do=s[:-1], given=p[-2:-1]))
    on_both = conditional(model, [f"D{t}"], do=s, given=p[-2:])
    both = conditional(model, p[-2:])  # how often yesterday's and today's preference occur together
    return {
        "theorem 3.1": _mean_error(theorem, on_today),
        "equation 6": _mean_error(equation, on_today, both),
        "equation 6, given both preferences": _mean_error(equation, on_both, both),
        "recursion": _mean_error(history, conditional(model, [f"D{t}"], do=s, given=p)),
    }


def _mean_error(found: np.ndarray, truth: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    errors = np.abs(found - truth)
    return float(np.average(errors, weights=np.broadcast_to(weights, errors.shape)))
