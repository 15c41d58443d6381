"""Formulas of an effect: terms made of conditionals of the observed distribution.

Each term evaluates itself on marginals of a joint distribution, and writes itself as LaTeX, as plain text and
as Python. A node that a sum runs over carries a prime, one more for every sum around that runs over it too.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from csrec_core.causal.graph import Nodes, latex_names, plain_names

Marginal = Callable[[Nodes, str], np.ndarray]
Primes = Mapping[str, int]


class Term(ABC):
    """A formula: what it is made of, its value, and how it is written."""

    @property
    @abstractmethod
    def parts(self) -> tuple["Term", ...]:
        """The terms it is made of."""

    @abstractmethod
    def value(self, marginal: Marginal) -> np.ndarray:
        """Return the value on the marginals of a joint distribution, which all have an axis for each node."""

    @abstractmethod
    def write(self, primes: Primes, style: "_Style") -> str:
        """Return the term in a style, with as many primes on each node as sums around run over it."""

    @abstractmethod
    def python(self) -> str:
        """Return the term as a Python expression of `p`, see `python_source`."""

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes that the term speaks of, those that its sums run over aside."""
        return frozenset().union(*(part.nodes for part in self.parts))

    @cached_property
    def size(self) -> int:
        """The number of names written in the term."""
        return sum(part.size for part in self.parts)

    def latex(self) -> str:
        """Return the term as LaTeX."""
        return self.write({}, _LATEX)

    def text(self) -> str:
        """Return the term as plain text, such as ``Σ_z' P(y | x, z') P(z')``."""
        return self.write({}, _TEXT)


@dataclass(frozen=True)
class Conditional(Term):
    """P(left | given), read from observed data, or from those of a `source` in which some nodes were set."""

    left: Nodes
    given: Nodes = frozenset()
    source: str = ""
    parts = ()

    @cached_property
    def nodes(self) -> Nodes:
        return self.left | self.given

    @cached_property
    def size(self) -> int:
        return len(self.nodes)

    def value(self, marginal: Marginal) -> np.ndarray:
        top = marginal(self.nodes, self.source)
        return top / marginal(self.given, self.source) if self.given else top

    def write(self, primes: Primes, style: "_Style") -> str:
        bar = style.bar + style.names(self.given, primes) if self.given else ""
        return f"{style.law(self.source)}({style.names(self.left, primes)}{bar})"

    def python(self) -> str:
        source = f", source={self.source!r}" if self.source else ""
        both = f"p({', '.join(map(repr, sorted(self.nodes)))}{source})"
        return f"{both} / p({', '.join(map(repr, sorted(self.given)))}{source})" if self.given else both


@dataclass(frozen=True)
class Product(Term):
    """The product of some terms."""

    parts: tuple[Term, ...] = ()

    def value(self, marginal: Marginal) -> np.ndarray:
        return reduce(np.multiply, (part.value(marginal) for part in self.parts), np.ones(()))

    def write(self, primes: Primes, style: "_Style") -> str:
        texts = [part.write(primes, style) for part in self.parts]
        # A sum reaches to the end of the product, unless brackets hold it back.
        for i, part in enumerate(self.parts[:-1]):
            if isinstance(part, Sum):
                texts[i] = style.bracket(texts[i])
        return style.times.join(texts) or "1"

    def python(self) -> str:
        return " * ".join(f"({part.python()})" for part in self.parts) or "1.0"


@dataclass(frozen=True)
class Sum(Term):
    """The sum of a term over the values of one node."""

    over: str
    axis: int
    term: Term

    @cached_property
    def nodes(self) -> Nodes:
        return self.term.nodes - {self.over}

    @cached_property
    def size(self) -> int:
        return 1 + self.term.size

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.term,)

    def value(self, marginal: Marginal) -> np.ndarray:
        return self.term.value(marginal).sum(axis=self.axis, keepdims=True)

    def write(self, primes: Primes, style: "_Style") -> str:
        over: list[str] = []
        inner: Term = self
        while isinstance(inner, Sum) and inner.over not in over:  # sums of sums become one
            over.append(inner.over)
            inner = inner.term
        primes = {**primes, **{node: primes.get(node, 0) + 1 for node in over}}
        return style.sum(style.names(over, primes), inner.write(primes, style))

    def python(self) -> str:
        return f"({self.term.python()}).sum(axis={self.axis}, keepdims=True)"


@dataclass(frozen=True)
class Ratio(Term):
    """One term over another."""

    top: Term
    bottom: Term

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.top, self.bottom

    def value(self, marginal: Marginal) -> np.ndarray:
        return self.top.value(marginal) / self.bottom.value(marginal)

    def write(self, primes: Primes, style: "_Style") -> str:
        return style.over(self.top.write(primes, style), self.bottom.write(primes, style))

    def python(self) -> str:
        return f"({self.top.python()}) / ({self.bottom.python()})"


def factors_of(term: Term) -> list[Term]:
    """Return the factors of a product, or the term itself."""
    return list(term.parts) if isinstance(term, Product) else [term]


def product(terms: Iterable[Term]) -> Term:
    """Return the product of some terms, none of them a product itself; of one it is the term itself."""
    flat = [factor for term in terms for factor in factors_of(term)]
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
        for count in sorted({primes.get(node, 0) for node in nodes})
    )
    return ", ".join(groups)


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
