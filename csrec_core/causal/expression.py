"""Formulas of an effect: terms made of conditionals of the observed distribution.

Each term evaluates itself on marginals of a joint distribution, and writes itself as LaTeX, as plain text and as
Python. In the first two a node that a sum runs over carries a prime, one more for every sum around that runs over it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    def value(self, marginal: Marginal, order: Sequence[str]) -> np.ndarray:
        """Return the value on marginals of a joint distribution, all of them with an axis for each node of `order`."""

    @abstractmethod
    def write(self, primes: Primes, style: "_Style") -> str:
        """Return the term in a style, with as many primes on each node as sums around run over it."""

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes that the term speaks of, those that its sums run over aside."""
        return frozenset().union(*(part.nodes for part in self.parts))

    @cached_property
    def named(self) -> Nodes:
        """All nodes written in the term."""
        return self.nodes.union(*(part.named for part in self.parts))

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

    def python(self) -> str:
        """Return the term as Python: `p` gives a conditional, and `axes` the numbers of nodes."""
        return self.write({}, _PYTHON)


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

    def value(self, marginal: Marginal, order: Sequence[str]) -> np.ndarray:
        top = marginal(self.nodes, self.source)
        return top / marginal(self.given, self.source) if self.given else top

    def write(self, primes: Primes, style: "_Style") -> str:
        return style.law(style.names(self.left, primes), style.names(self.given, primes), self.source)


@dataclass(frozen=True)
class Product(Term):
    """The product of some terms."""

    parts: tuple[Term, ...] = ()

    def value(self, marginal: Marginal, order: Sequence[str]) -> np.ndarray:
        return reduce(np.multiply, (part.value(marginal, order) for part in self.parts), np.ones(()))

    def write(self, primes: Primes, style: "_Style") -> str:
        texts = [part.write(primes, style) for part in self.parts]
        # A sum reaches to the end of the product, unless brackets hold it back.
        for i, part in enumerate(self.parts[:-1]):
            if isinstance(part, Sum):
                texts[i] = style.bracket(texts[i])
        return style.times.join(texts) or "1"


@dataclass(frozen=True)
class Sum(Term):
    """The sum of a term over the values of one node."""

    over: str
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

    def value(self, marginal: Marginal, order: Sequence[str]) -> np.ndarray:
        return self.term.value(marginal, order).sum(axis=order.index(self.over), keepdims=True)

    def write(self, primes: Primes, style: "_Style") -> str:
        over: list[str] = []
        inner: Term = self
        while isinstance(inner, Sum) and inner.over not in over:  # sums of sums become one
            over.append(inner.over)
            inner = inner.term
        primes = {**primes, **{node: primes.get(node, 0) + 1 for node in over}}
        return style.sum(style.names(over, primes), inner.write(primes, style))


@dataclass(frozen=True)
class Ratio(Term):
    """One term over another."""

    top: Term
    bottom: Term

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.top, self.bottom

    def value(self, marginal: Marginal, order: Sequence[str]) -> np.ndarray:
        return self.top.value(marginal, order) / self.bottom.value(marginal, order)

    def write(self, primes: Primes, style: "_Style") -> str:
        return style.over(self.top.write(primes, style), self.bottom.write(primes, style))


def factors_of(term: Term) -> list[Term]:
    """Return the factors of a product, or the term itself."""
    return list(term.parts) if isinstance(term, Product) else [term]


def product(terms: Iterable[Term]) -> Term:
    """Return the product of some terms, none of them a product itself; of one it is the term itself."""
    flat = [factor for term in terms for factor in factors_of(term)]
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


@dataclass(frozen=True)
class _Style:
    """How one notation writes the parts of a formula."""

    write: Callable[..., str]  # names of nodes, with the mark that is to stand after each
    law: Callable[[str, str, str], str]  # P(left | given), of a source
    times: str
    sum: Callable[[str, str], str]
    over: Callable[[str, str], str]
    bracket: Callable[[str], str] = "({})".format

    def names(self, nodes: Iterable[str], primes: Primes) -> str:
        """Write nodes, those with the same number of primes together."""
        groups: dict[int, set[str]] = {}
        for node in nodes:
            groups.setdefault(primes.get(node, 0), set()).add(node)
        return ", ".join(self.write(group, mark="'" * count) for count, group in sorted(groups.items()))


_LATEX = _Style(
    write=latex_names,
    law=lambda left, given, source: (
        (rf"P_{{\text{{{source}}}}}" if source else "P")
        + (rf"({left} \mid {given})" if given else f"({left})")
    ),
    times=r" \, ",
    sum=lambda names, body: rf"\sum_{{{names}}} {body}",
    over=lambda top, bottom: rf"\frac{{{top}}}{{{bottom}}}",
    bracket=r"\left({}\right)".format,
)
_TEXT = _Style(
    write=plain_names,
    law=lambda left, given, source: (
        (f"P[{source}]" if source else "P") + (f"({left} | {given})" if given else f"({left})")
    ),
    times=" ",
    sum=lambda names, body: f"Σ_{names} {body}" if "," not in names else f"Σ_{{{names}}} {body}",
    over=lambda top, bottom: f"[{top}] / [{bottom}]",
)
_PYTHON = _Style(
    write=lambda nodes, mark: ", ".join(map(repr, sorted(nodes))),
    law=lambda left, given, source: f"p([{left}], [{given}]" + (f", {source!r})" if source else ")"),
    times=" * ",
    sum=lambda names, body: f"({body}).sum(axis=axes([{names}]), keepdims=True)",
    over=lambda top, bottom: f"({top}) / ({bottom})",
)
