"""Formulas made shorter by the independences of their graph, after Tikka and Karvanen (2017).

What a sum runs over is joined with the conditionals around it into one, in which it can be summed out; a
condition that makes no difference is dropped; what stands above and below a fraction cancels.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, combinations, permutations

from csrec_core.causal.expression import Conditional, Ratio, Sum, Term, factors_of, product
from csrec_core.causal.graph import Nodes

Separated = Callable[[Nodes, Nodes, Nodes], bool]
MOST_JOINED = 5  # conditionals joined at once: every order of them is tried


def simplify(term: Term, separated: Separated) -> Term:
    """Return a term of the same value in every model of the graph, no longer than `term`.

    `separated` is whether the first two sets of nodes are independent given the third, by the graph.
    """
    found = term
    while (shorter := _shorten(found, separated)) != found and shorter.size <= found.size:
        found = shorter
    return found


def _shorten(term: Term, separated: Separated) -> Term:
    """Shorten a term from within."""
    if isinstance(term, Conditional):
        for node in sorted(term.given):
            less = replace(term, given=term.given - {node})
            term = less if _irrelevant(less, frozenset([node]), separated) else term
        return term
    if isinstance(term, Sum):
        return _sum_out(term.over, _shorten(term.term, separated), separated)
    parts = [_shorten(part, separated) for part in term.parts]
    return _divide(parts[0], parts[1]) if isinstance(term, Ratio) else _multiply(parts, separated)


def _sum_out(over: str, term: Term, separated: Separated) -> Term:
    """Return the sum of a term over a node, summed out where its conditionals can be joined."""
    factors = factors_of(term)
    rest = [factor for factor in factors if over not in factor.nodes]
    touched = [factor for factor in factors if over in factor.nodes]
    if len(touched) == 1 and isinstance(touched[0], Sum) and touched[0].over != over:
        outer = touched[0]
        inner = _sum_out(over, outer.term, separated)
        if inner.size < 1 + outer.term.size:  # it can be summed out within
            return product([*rest, _sum_out(outer.over, inner, separated)])
    conditionals = [factor for factor in touched if isinstance(factor, Conditional)]
    if len(conditionals) == len(touched) <= MOST_JOINED:
        joint = _join(conditionals, separated)
        if joint and over in joint.left:
            left = joint.left - {over}
            return product([*rest, replace(joint, left=left)] if left else rest)
    return product([*rest, Sum(over, product(touched))])


def _join(factors: list[Conditional], separated: Separated) -> Conditional | None:
    """Return the one conditional that a product of conditionals is, by the chain rule in some order."""
    left = frozenset(chain.from_iterable(factor.left for factor in factors))
    if len(left) < sum(len(factor.left) for factor in factors) or len({f.source for f in factors}) > 1:
        return None
    given = frozenset().union(*(factor.given for factor in factors)) - left
    for ordered in permutations(factors):
        before = given
        for factor in ordered:
            if not (factor.given <= before and _irrelevant(factor, before - factor.given, separated)):
                break
            before = before | factor.left
        else:
            return Conditional(left, given, factors[0].source)
    return None


def _irrelevant(factor: Conditional, more: Nodes, separated: Separated) -> bool:
    """Whether conditioning on `more` as well changes nothing; of an experiment the graph tells less."""
    return not more or (not factor.source and separated(factor.left, more, factor.given))


def _multiply(factors: list[Term], separated: Separated) -> Term:
    """Return the product: what stands below a fraction cancelled, conditionals joined where that is shorter."""
    for fraction in [factor for factor in factors if isinstance(factor, Ratio)]:
        others = [factor for factor in factors if factor is not fraction]
        below = factors_of(fraction.bottom)
        for divisor in below:
            if divisor in others:
                others.remove(divisor)
                below.remove(divisor)
                return _multiply([*others, _divide(fraction.top, product(below))], separated)
    for pair in combinations([factor for factor in factors if isinstance(factor, Conditional)], 2):
        joint = _join(list(pair), separated)
        if joint is not None and joint.size < product(pair).size:
            at = min(map(factors.index, pair))
            rest = [factor for factor in factors if factor not in pair]
            return _multiply([*rest[:at], joint, *rest[at:]], separated)
    return product(factors)


def _divide(top: Term, bottom: Term) -> Term:
    """Return top / bottom with common factors cancelled and P(a, b | c) / P(b | c) as P(a | b, c)."""
    above, below = factors_of(top), factors_of(bottom)
    for factor in list(below):
        for at, whole in enumerate(above):
            left = _cancelled(whole, factor)
            if left is not None:
                above[at : at + 1] = left
                below.remove(factor)
                break
    return Ratio(product(above), product(below)) if below else product(above)


def _cancelled(whole: Term, factor: Term) -> list[Term] | None:
    """Return what is left of a term divided by another; None where they have nothing in common."""
    if whole == factor:
        return []
    if not isinstance(factor, Conditional) or not isinstance(whole, Conditional):
        return None
    if factor.left < whole.left and replace(whole, left=factor.left) == factor:
        return [replace(whole, left=whole.left - factor.left, given=whole.given | factor.left)]
    return None
