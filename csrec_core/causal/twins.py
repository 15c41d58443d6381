"""Where an effect is not identifiable: two models with one observed law and two effects, in tables."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import networkx as nx
import numpy as np
from threadpoolctl import threadpool_limits

from csrec_core.causal.graph import latents, observed, with_ancestors
from csrec_core.causal.identify import Identification, identify

__all__ = ["Twins", "smallest_core", "twin_models"]

LARGEST = 2**14  # entries of the joint distribution
DIFFERENCE = 0.1  # in the effect, at which the search stops
STEPS, STEP, SMALLEST_STEP = 80, 0.4, 1e-3


@dataclass(frozen=True)
class Twins:
    """Two models of a graph that no observed data tell apart.

    Attributes
    ----------
    core : the part of the graph that they need: fewer arrows, and the effect would be identifiable
    tables : for each node P(node | parents) in either model, the last axis the node, parents in sorted order
    effects : the effect in either model, P(y = 1 | do = 1, given = 1), all of them set to 1
    law_gap : the largest difference between the two observed laws, rounding
    """

    core: nx.DiGraph
    tables: dict[str, tuple[np.ndarray, np.ndarray]]
    effects: tuple[float, float]
    law_gap: float

    def text(self) -> str:
        """Return both models as plain text, a row for each state of the causes."""
        lines = []
        for node, (one, other) in self.tables.items():
            parents = sorted(self.core.pred[node])
            for index in np.ndindex(one.shape[:-1]):
                states = ", ".join(f"{name}={value}" for name, value in zip(parents, index, strict=True))
                rows = (", ".join(f"{p:.4f}" for p in table[index][1:]) for table in (one, other))
                values = " ".join(str(value) for value in range(1, one.shape[-1]))
                lines.append(f"P({node}={values}{' | ' if states else ''}{states}): {'  vs  '.join(rows)}")
        return "\n".join(lines)


def smallest_core(found: Identification) -> nx.DiGraph:
    """Return a part of the graph in which the effect is not identifiable, and without any arrow of it is."""
    asked = found.y | found.do | found.given
    core = found.graph.subgraph(with_ancestors(found.graph, asked)).copy()
    size = max(core.number_of_edges() // 2, 1)
    while size:
        for start in range(0, core.number_of_edges(), size):
            smaller = core.copy()
            smaller.remove_edges_from(list(core.edges)[start : start + size])
            if not identify(smaller, y=found.y, do=found.do, given=found.given):
                core = smaller
        size //= 2
    core.remove_nodes_from([node for node in nx.isolates(core) if node not in asked])
    return core


def twin_models(found: Identification, *, core: nx.DiGraph, seed: int = 0, tries: int = 12) -> Twins | str:
    """Return two models with the same observed law and different effects, or why none was built.

    Parameters
    ----------
    found : an effect that is not identifiable
    core : `smallest_core` of it, what the models are models of
    seed, tries : of the random models that the search starts from

    Notes
    -----
    From a random model of the core the search follows the curve on which the observed law stays as it is, in
    the direction in which the effect grows. Measured nodes are binary, latent ones have 2 to 4 states.
    """
    for number in range(tries):
        hidden_states = 2 + number % 3
        if prod(2 if node in observed(core) else hidden_states for node in core) > LARGEST:
            continue
        maps = _Maps(core, found, hidden_states)
        start = np.random.default_rng([seed, number]).normal(size=maps.size)
        with threadpool_limits(1):  # matrices so small that threads only wait for each other
            end = _walk(maps, start)
        effects = tuple(float(maps.effect(theta).real) for theta in (start, end))
        gap = float(np.abs(maps.law(end) - maps.law(start)).max())
        if abs(effects[1] - effects[0]) >= DIFFERENCE / 2 and gap < 1e-12:
            pairs = zip(maps.tables(start).items(), maps.tables(end).values(), strict=True)
            return Twins(core, {node: (one, other) for (node, one), other in pairs}, effects, gap)
    return "not built, because the search found none that differ enough in a model of this size"


class _Maps:
    """From the parameters of a model to its observed law and its effect."""

    def __init__(self, core: nx.DiGraph, found: Identification, hidden_states: int):
        self.order = list(nx.lexicographical_topological_sort(core, key=str))
        self.found = found
        hidden = latents(core)
        self.states = [hidden_states if node in hidden else 2 for node in self.order]
        self.parents = [
            sorted(map(self.order.index, core.pred[node]), key=lambda i: self.order[i]) for node in self.order
        ]
        self.shapes = [
            (*(self.states[p] for p in ps), n) for ps, n in zip(self.parents, self.states, strict=True)
        ]
        self.size = sum(map(prod, self.shapes))
        self.hidden = tuple(i for i, node in enumerate(self.order) if node in hidden)

    def tables(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return P(node | parents) of each node."""
        tables, used = {}, 0
        for node, shape in zip(self.order, self.shapes, strict=True):
            raw = np.exp(theta[used : used + prod(shape)].reshape(shape))
            used += prod(shape)
            tables[node] = raw / raw.sum(axis=-1, keepdims=True)
        return tables

    def joint(self, theta: np.ndarray, do: frozenset[str] = frozenset()) -> np.ndarray:
        """Return the distribution of all nodes, those in `do` without their mechanism."""
        joint = np.ones((1,) * len(self.order))
        for i, table in enumerate(self.tables(theta).values()):
            if self.order[i] in do:
                continue
            axes = [*self.parents[i], i]
            full = [self.states[a] if a in axes else 1 for a in range(len(self.order))]
            joint = joint * table.transpose(np.argsort(axes)).reshape(full)
        return np.broadcast_to(joint, self.states)

    def law(self, theta: np.ndarray) -> np.ndarray:
        """Return the distribution of what is measured, flat."""
        return self.joint(theta).sum(axis=self.hidden).ravel()

    def effect(self, theta: np.ndarray) -> complex:
        """Return P(y = 1 | do = 1, given = 1)."""
        joint = self.joint(theta, self.found.do)

        def at(nodes: frozenset[str]) -> complex:
            return joint[tuple(1 if node in nodes else slice(None) for node in self.order)].sum()

        fixed = self.found.do | self.found.given
        return at(fixed | self.found.y) / at(fixed)

    def slopes(self, of: Callable, theta: np.ndarray) -> np.ndarray:
        """Return the derivatives by each parameter, exact to rounding (complex steps)."""
        return np.array([np.asarray(of(theta + 1e-30j * unit)).imag * 1e30 for unit in np.eye(self.size)]).T


def _walk(maps: _Maps, start: np.ndarray) -> np.ndarray:
    """Follow the curve of constant law from `start` until the effect has changed by `DIFFERENCE`."""
    law, effect, theta, step = maps.law(start), maps.effect(start), start, STEP
    for _ in range(STEPS):
        slopes, slope = maps.slopes(maps.law, theta), maps.slopes(maps.effect, theta)
        turn = np.linalg.pinv(slopes, rcond=1e-9)
        along = slope - turn @ (slopes @ slope)
        if np.linalg.norm(along) < 1e-7:
            break
        while step > SMALLEST_STEP:
            onward = _back_to_curve(maps, theta + step * along / np.linalg.norm(along), law, turn)
            if onward is not None:
                break
            step /= 2
        else:
            break
        theta, step = onward, min(1.5 * step, STEP)
        if abs(maps.effect(theta) - effect) >= DIFFERENCE:
            break
    return theta


def _back_to_curve(maps: _Maps, theta: np.ndarray, law: np.ndarray, turn: np.ndarray) -> np.ndarray | None:
    """Return the point nearby whose law is `law`, to rounding; None where the steps do not lead there."""
    for _ in range(15):
        off = maps.law(theta) - law
        if np.abs(off).max() < 1e-14:
            return theta
        theta = theta - turn @ off
    return None
