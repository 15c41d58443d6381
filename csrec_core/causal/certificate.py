"""Numeric certificates: random binary structural models, in which both sides of a step are exact."""

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd

from csrec_core.causal.docalculus import RuleCheck
from csrec_core.errors import InputError

__all__ = [
    "TOLERANCE",
    "BinaryModel",
    "Certificate",
    "certify",
    "conditional",
    "random_model",
    "recursion_errors",
]

TOLERANCE = 1e-9
MAX_NODES = 52  # what one numpy.einsum call can name


@dataclass(frozen=True)
class BinaryModel:
    """A structural model of binary variables: one table P(node | parents) for each node.

    Attributes
    ----------
    order : the nodes, causes first; every array of probabilities has one axis for each, in this order
    parents : for each node the axes of its parents
    tables : for each node an array of shape (2,) * (number of parents) + (2,), last axis the node itself
    """

    order: tuple[str, ...]
    parents: dict[str, tuple[int, ...]]
    tables: dict[str, np.ndarray]


@dataclass(frozen=True)
class Certificate:
    """The largest difference between the two sides of a step in each of some random models."""

    gaps: tuple[float, ...]

    @property
    def gap(self) -> float:
        """The largest difference found in any model."""
        return max(self.gaps)

    @property
    def agrees(self) -> bool:
        """Whether the two sides are equal in every model, to `TOLERANCE`."""
        return self.gap <= TOLERANCE


def random_model(graph: nx.DiGraph, rng: np.random.Generator) -> BinaryModel:
    """Draw a binary model compatible with `graph`, latent nodes included, every probability in [0.03, 0.97].

    The probabilities come from an arcsine law: strong effects, so that an open path leaves a visible gap.
    """
    if len(graph) > MAX_NODES:
        raise InputError(f"a certificate needs at most {MAX_NODES} nodes, the graph has {len(graph)}")
    order = tuple(nx.lexicographical_topological_sort(graph, key=str))
    axis = {node: i for i, node in enumerate(order)}
    parents, tables = {}, {}
    for node in order:
        parents[node] = tuple(sorted(axis[parent] for parent in graph.pred[node]))
        accept = 0.03 + 0.94 * rng.beta(0.5, 0.5, size=(2,) * len(parents[node]))
        tables[node] = np.stack([1 - accept, accept], axis=-1)
    return BinaryModel(order, parents, tables)


def conditional(
    model: BinaryModel, y: Iterable[str], *, do: Iterable[str] = (), given: Iterable[str] = ()
) -> np.ndarray:
    """Compute P(y | do, given) exactly.

    Returns
    -------
    ndarray
        One axis for each node of the model; length 2 for the nodes of the query, 1 for all others.
    """
    axis = {node: i for i, node in enumerate(model.order)}
    outcome, actions = {axis[node] for node in y}, {axis[node] for node in do}
    kept = sorted(outcome | actions | {axis[node] for node in given})
    operands: list = []
    for node in model.order:
        if axis[node] in actions:  # set from outside: its own mechanism is gone
            operands += [np.ones(2), [axis[node]]]
        else:
            operands += [model.tables[node], [*model.parents[node], axis[node]]]
    joint = np.einsum(*operands, kept, optimize="greedy")
    joint = joint.reshape([2 if i in kept else 1 for i in range(len(model.order))])
    return joint / joint.sum(axis=tuple(outcome), keepdims=True)


def certify(check: RuleCheck, *, models: int = 5, seed: int = 0) -> Certificate:
    """Compare the two sides of a step in random models of the graph; they are equal iff the step holds.

    Parameters
    ----------
    check : the step, with its graph
    models : number of random models
    seed : seed of their probabilities
    """
    rng = np.random.default_rng(seed)
    relevant = _ancestral(check.graph, check.y | check.x | check.z | check.w)
    return Certificate(tuple(_gap(check, random_model(relevant, rng)) for _ in range(models)))


def recursion_errors(graph: nx.DiGraph, t: int, *, models: int = 50, seed: int = 0) -> pd.DataFrame:
    """Measure how far each formula is from the truth in random models of `graph`.

    Returns
    -------
    DataFrame
        One row per model and formula ("theorem 3.1", "equation 6", "recursion"): `error`, the mean absolute
        difference in P(D_t = 1 | ...) over all exposures and tastes.
    """
    rng = np.random.default_rng(seed)
    relevant = _ancestral(graph, {f"{row}{i}" for row in "PSD" for i in range(1, t + 1)})
    rows = []
    for number in range(models):
        for formula, error in _formula_errors(random_model(relevant, rng), t).items():
            rows.append({"model": number, "formula": formula, "error": error})
    return pd.DataFrame(rows)


def _gap(check: RuleCheck, model: BinaryModel) -> float:
    x, z, w = check.x, check.z, check.w
    if check.rule == 1:
        left = conditional(model, check.y, do=x, given=z | w)
    else:
        left = conditional(model, check.y, do=x | z, given=w)
    right = conditional(model, check.y, do=x, given=z | w if check.rule == 2 else w)
    return float(np.abs(left - right).max())


def _ancestral(graph: nx.DiGraph, nodes: Iterable[str]) -> nx.DiGraph:
    """Keep `nodes` and their ancestors: what comes after has no say in their probabilities."""
    return graph.subgraph(set(nodes).union(*(nx.ancestors(graph, node) for node in nodes)))


def _formula_errors(model: BinaryModel, t: int) -> dict[str, float]:
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
    pairs = {
        "theorem 3.1": (step(t, conditional(model, [last], do=s[:-1], given=p[-1:])), on_today),
        "equation 6": (step(t, conditional(model, [last], do=s[:-1], given=p[-2:-1])), on_today),
        "recursion": (history, conditional(model, [f"D{t}"], do=s, given=p)),
    }
    return {formula: float(np.abs(found - truth).mean()) for formula, (found, truth) in pairs.items()}
