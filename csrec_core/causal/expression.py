"""Formulas of an effect: terms made of conditionals of the observed distribution.

Each term evaluates itself on marginals of a joint distribution, and writes itself as LaTeX, as plain text and
as Python. A node that a sum runs over carries a prime, one more for every sum around that runs over it too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from csrec_core.causal.graph import latex_names, plain_names

__all__ = ["ONE", "Conditional", "Nodes", "Product", "Ratio", "Sum", "product", "python_source"]

Nodes = frozenset[str]
Marginal = Callable[[Nodes, str], np.ndarray]
Primes = Mapping[str, int]


class Term:
    """What all terms share."""

    nodes: Nodes  # that the term speaks of, those that its sums run over aside
    size: int  # names written in it

    def latex(self, primes: Primes | None = None) -> str:
        """Return the term as LaTeX."""
        return self.write(primes or {}, _LATEX)

    def text(self, primes: Primes | None = None) -> str:
        """Return the term as plain text, such as ``Σ_z' P(y | x, z') P(z')``."""
        return self.write(primes or {}, _TEXT)


@dataclass(frozen=True)
class Conditional(Term):
    """P(left | given), read from observed data, or from those of a `source` in which some nodes were set."""

    left: Nodes
    given: Nodes = frozenset()
    source: str = ""

    def write(self, primes: Primes, style: "_Style") -> str:
        """Write the term in a style."""
        bar = style.bar + style.names(self.given, primes) if self.given else ""
        return f"{style.law(self.source)}({style.names(self.left, primes)}{bar})"

    def python(self) -> str:
        """Return the term as Python, `p` being the function of the marginals."""
        source = f", source={self.source!r}" if self.source else ""
        both = f"p({', '.join(map(repr, sorted(self.nodes)))}{source})"
        return f"{both} / p({', '.join(map(repr, sorted(self.given)))}{source})" if self.given else both

    def value(self, marginal: Marginal) -> np.ndarray:
        """Evaluate the term."""
        top = marginal(self.nodes, self.source)
        return top / marginal(self.given, self.source) if self.given else top

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.left | self.given

    @cached_property
    def size(self) -> int:
        """The number of names written."""
        return len(self.nodes)


@dataclass(frozen=True)
class Product(Term):
    """The product of some terms."""

    factors: tuple

    def write(self, primes: Primes, style: "_Style") -> str:
        """Write the term in a style."""
        texts = [factor.write(primes, style) for factor in self.factors]
        # A sum reaches to the end of the product, unless brackets hold it back.
        for i, factor in enumerate(self.factors[:-1]):
            if isinstance(factor, Sum):
                texts[i] = style.bracket(texts[i])
        return style.times.join(texts) or "1"

    def python(self) -> str:
        """Return the term as Python."""
        return " * ".join(f"({factor.python()})" for factor in self.factors) or "1.0"

    def value(self, marginal: Marginal) -> np.ndarray:
        """Evaluate the term."""
        result = np.ones(())
        for factor in self.factors:
            result = result * factor.value(marginal)
        return result

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return frozenset().union(*(factor.nodes for factor in self.factors))

    @cached_property
    def size(self) -> int:
        """The number of names written."""
        return sum(factor.size for factor in self.factors)


@dataclass(frozen=True)
class Sum(Term):
    """The sum of a term over the values of one node."""

    over: str
    axis: int
    term: Term

    def write(self, primes: Primes, style: "_Style") -> str:
        """Write the term in a style; sums of sums become one."""
        over, inner = [], self
        while isinstance(inner, Sum) and inner.over not in over:
            over.append(inner.over)
            inner = inner.term
        primes = {**primes, **{node: primes.get(node, 0) + 1 for node in over}}
        return style.sum(style.names(over, primes), inner.write(primes, style))

    def python(self) -> str:
        """Return the term as Python."""
        return f"({self.term.python()}).sum(axis={self.axis}, keepdims=True)"

    def value(self, marginal: Marginal) -> np.ndarray:
        """Evaluate the term."""
        return self.term.value(marginal).sum(axis=self.axis, keepdims=True)

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.term.nodes - {self.over}

    @cached_property
    def size(self) -> int:
        """The number of names written."""
        return 1 + self.term.size


@dataclass(frozen=True)
class Ratio(Term):
    """One term over another."""

    top: Term
    bottom: Term

    def write(self, primes: Primes, style: "_Style") -> str:
        """Write the term in a style."""
        return style.over(self.top.write(primes, style), self.bottom.write(primes, style))

    def python(self) -> str:
        """Return the term as Python."""
        return f"({self.top.python()}) / ({self.bottom.python()})"

    def value(self, marginal: Marginal) -> np.ndarray:
        """Evaluate the term."""
        return self.top.value(marginal) / self.bottom.value(marginal)

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes the term speaks of."""
        return self.top.nodes | self.bottom.nodes

    @cached_property
    def size(self) -> int:
        """The number of names written."""
        return self.top.size + self.bottom.size


ONE = Product(())


def product(factors: Iterable[Term]) -> Term:
    """Return the product of some terms, none of them a product itself; of one it is the term itself."""
    flat: list[Term] = []
    for factor in factors:
        flat += factor.factors if isinstance(factor, Product) else [factor]
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def python_source(term: Term, order: Iterable[str]) -> str:
    """Return a function of the joint distribution, an array with one axis a node, as Python source."""
    order = tuple(order)
    return (
        "def effect(joint):\n"
        f"    order = {order!r}  # the axes of joint\n\n"
        "    def p(*names):\n"
        "        gone = tuple(i for i, name in enumerate(order) if name not in names)\n"
        "        return joint.sum(axis=gone, keepdims=True)\n\n"
        f"    return {term.python()}\n"
    )


@dataclass(frozen=True)
class _Style:
    """How one notation writes the parts of a formula."""

    names: Callable[[Iterable[str], Primes], str]
    law: Callable[[str], str]
    bar: str
    times: str
    sum: Callable[[str, str], str]
    over: Callable[[str, str], str]
    bracket: Callable[[str], str]


def _primed(write: Callable, nodes: Iterable[str], primes: Primes) -> str:
    """Write nodes, those with the same number of primes together."""
    nodes = set(nodes)
    groups = (
        write({node for node in nodes if primes.get(node, 0) == count}, mark="'" * count)
        for count in range(max((primes.get(node, 0) for node in nodes), default=0) + 1)
    )
    return ", ".join(filter(None, groups))


_LATEX = _Style(
    names=lambda nodes, primes: _primed(latex_names, nodes, primes),
    law=lambda source: rf"P_{{\text{{{source}}}}}" if source else "P",
    bar=r" \mid ",
    times=r" \, ",
    sum=lambda names, body: rf"\sum_{{{names}}} {body}",
    over=lambda top, bottom: rf"\frac{{{top}}}{{{bottom}}}",
    bracket=lambda text: rf"\left({text}\right)",
)
_TEXT = _Style(
    names=lambda nodes, primes: _primed(plain_names, nodes, primes),
    law=lambda source: f"P[{source}]" if source else "P",
    bar=" | ",
    times=" ",
    sum=lambda names, body: f"Σ_{names} {body}" if "," not in names else f"Σ_{{{names}}} {body}",
    over=lambda top, bottom: f"[{top}] / [{bottom}]",
    bracket=lambda text: f"({text})",
)
