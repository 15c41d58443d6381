"""Formulas of an effect: terms made of conditionals of the observed distribution.

Each term writes itself as LaTeX and evaluates itself on marginals of a joint distribution.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from csrec_core.causal.graph import latex_names

__all__ = ["Conditional", "Nodes", "Product", "Ratio", "Sum", "product"]

Nodes = frozenset[str]


@dataclass(frozen=True)
class Conditional:
    """P(node | given), read from observed data."""

    node: str
    given: Nodes

    def latex(self, bound: Nodes = frozenset()) -> str:
        """Return the term as LaTeX, the nodes in `bound` primed."""
        bar = rf" \mid {_names(self.given, bound)}" if self.given else ""
        return f"P({_names([self.node], bound)}{bar})"

    def value(self, marginal: Callable[[Nodes], np.ndarray]) -> np.ndarray:
        """Evaluate the term."""
        return marginal(self.given | {self.node}) / marginal(self.given)

    @property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.given | {self.node}


@dataclass(frozen=True)
class Product:
    """The product of some terms."""

    factors: tuple

    def latex(self, bound: Nodes = frozenset()) -> str:
        """Return the term as LaTeX, the nodes in `bound` primed."""
        return r" \, ".join(factor.latex(bound) for factor in self.factors) or "1"

    def value(self, marginal: Callable[[Nodes], np.ndarray]) -> np.ndarray:
        """Evaluate the term."""
        result = np.ones(())
        for factor in self.factors:
            result = result * factor.value(marginal)
        return result

    @property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return frozenset().union(*(factor.nodes for factor in self.factors))


@dataclass(frozen=True)
class Sum:
    """The sum of a term over the values of one node."""

    over: str
    axis: int
    term: object

    def latex(self, bound: Nodes = frozenset()) -> str:
        """Return the term as LaTeX, the nodes in `bound` primed."""
        bound = bound | {self.over}
        return rf"\sum_{{{_names([self.over], bound)}}} {self.term.latex(bound)}"

    def value(self, marginal: Callable[[Nodes], np.ndarray]) -> np.ndarray:
        """Evaluate the term."""
        return self.term.value(marginal).sum(axis=self.axis, keepdims=True)

    @property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.term.nodes - {self.over}


@dataclass(frozen=True)
class Ratio:
    """One term over another."""

    top: object
    bottom: object

    def latex(self, bound: Nodes = frozenset()) -> str:
        """Return the term as LaTeX, the nodes in `bound` primed."""
        return rf"\frac{{{self.top.latex(bound)}}}{{{self.bottom.latex(bound)}}}"

    def value(self, marginal: Callable[[Nodes], np.ndarray]) -> np.ndarray:
        """Evaluate the term."""
        return self.top.value(marginal) / self.bottom.value(marginal)

    @property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.top.nodes | self.bottom.nodes


def product(factors: list) -> object:
    """Return the product of some terms; of one it is the term itself."""
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def _names(nodes: Iterable[str], bound: Nodes) -> str:
    """Write nodes for LaTeX, those that a sum runs over with a prime."""
    nodes = frozenset(nodes)
    parts = (latex_names(nodes - bound), latex_names(nodes & bound, mark="'"))
    return ", ".join(part for part in parts if part)
