"""Formulas made shorter by the independences of their graph, after Tikka and Karvanen (2017).

What a sum runs over is joined with the conditionals around it into one, in which it can be summed out; a
condition that makes no difference is dropped; what stands above and below a fraction cancels.
"""

from collections.abc import Callable
from itertools import chain, combinations, permutations

from csrec_core.causal.expression import Conditional, Nodes, Product, Ratio, Sum, Term, product

__all__ = ["simplify"]

Separated = Callable[[Nodes, Nodes, Nodes], bool]
MOST = 5  # conditionals joined at once: every order of them is tried


def simplify(term: Term, separated: Separated) -> Term:
    """Return a term of the same value in every model of the graph, no longer than `term`.

    Parameters
    ----------
    term : a formula
    separated : whether the first two sets of nodes are independent given the third, by the graph
    """
    found = term
    while (shorter := _tidy(_shorten(found, separated), separated)) != found and shorter.size <= found.size:
        found = shorter
    return found


def _shorten(term: Term, separated: Separated) -> Term:
    """Sum out what can be summed out, and cancel what can be cancelled, from within."""
    if isinstance(term, Product):
        return _multiply([_shorten(factor, separated) for factor in term.factors], separated)
    if isinstance(term, Sum):
        return _sum(term.over, term.axis, _shorten(term.term, separated), separated)
    if isinstance(term, Ratio):
        return _divide(_shorten(term.top, separated), _shorten(term.bottom, separated), separated)
    return term


def _sum(over: str, axis: int, term: Term, separated: Separated) -> Term:
    """Return the sum of a term over a node, summed out where its conditionals can be joined."""
    factors = _factors(term)
    rest = [factor for factor in factors if over not in factor.nodes]
    touched = [factor for factor in factors if over in factor.nodes]
    if len(touched) == 1 and isinstance(touched[0], Sum) and touched[0].over != over:
        outer = touched[0]
        inner = _sum(over, axis, outer.term, separated)
        if inner.size < 1 + outer.term.size:  # it can be summed out within
            return product([*rest, _sum(outer.over, outer.axis, inner, separated)])
    if touched and all(isinstance(factor, Conditional) for factor in touched):
        summed = _summed_out(over, touched, separated)
        if summed is not None and product(summed).size <= 1 + product(touched).size:
            return product([*rest, *summed])
    return product([*rest, Sum(over, axis, product(touched))])


def _summed_out(over: str, touched: list[Conditional], separated: Separated) -> list[Conditional] | None:
    """Return conditionals that do not speak of `over` and whose product is the sum; None where none is found.

    The node's own conditional is joined with some of the others, split into what goes out of the sum and the
    node given that, and the latter joined with the rest.
    """
    own = [factor for factor in touched if over in factor.left]
    others = [factor for factor in touched if over not in factor.left]
    if len(own) != 1 or len(touched) > MOST:
        return None
    for count in range(len(others), -1, -1):
        for chosen in combinations(others, count):
            joint = _join([*own, *chosen], separated)
            if joint is None:
                continue
            outside = Conditional(joint.left - {over}, joint.given, joint.source)
            left = [factor for factor in others if factor not in chosen]
            if not left:
                return _without_empty([outside])
            node = Conditional(frozenset([over]), joint.nodes - {over}, joint.source)
            inside = _join([node, *left], separated)
            if inside is not None:
                return _without_empty(
                    [outside, Conditional(inside.left - {over}, inside.given, inside.source)]
                )
    return None


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
    """Return the product, what stands below a fraction cancelled against the other factors."""
    for fraction in [factor for factor in factors if isinstance(factor, Ratio)]:
        others = list(factors)
        others.remove(fraction)
        for divisor in _factors(fraction.bottom):
            if divisor in others:
                others.remove(divisor)
                remaining = _factors(fraction.bottom)
                remaining.remove(divisor)
                return _multiply([*others, _divide(fraction.top, product(remaining), separated)], separated)
    return product(factors)


def _divide(top: Term, bottom: Term, separated: Separated) -> Term:
    """Return top / bottom with common factors cancelled and P(a, b | c) / P(b | c) as P(a | b, c)."""
    above, below = _factors(top), _factors(bottom)
    for factor in list(below):
        if factor in above:
            above.remove(factor)
            below.remove(factor)
    for factor in list(below):
        for whole in above:
            both = isinstance(factor, Conditional) and isinstance(whole, Conditional)
            if (
                both
                and factor.left < whole.left
                and (factor.given, factor.source) == (whole.given, whole.source)
            ):
                above[above.index(whole)] = Conditional(
                    whole.left - factor.left, whole.given | factor.left, whole.source
                )
                below.remove(factor)
                break
    return Ratio(product(above), product(below)) if below else product(above)


def _tidy(term: Term, separated: Separated) -> Term:
    """Drop conditions that make no difference, and join conditionals where that is shorter."""
    if isinstance(term, Conditional):
        given = term.given
        for node in sorted(given):
            if _irrelevant(Conditional(term.left, given - {node}, term.source), frozenset([node]), separated):
                given = given - {node}
        return Conditional(term.left, given, term.source)
    if isinstance(term, Sum):
        return Sum(term.over, term.axis, _tidy(term.term, separated))
    if isinstance(term, Ratio):
        return Ratio(_tidy(term.top, separated), _tidy(term.bottom, separated))
    factors = [_tidy(factor, separated) for factor in term.factors]
    joined = True
    while joined:
        joined = False
        plain = [factor for factor in factors if isinstance(factor, Conditional)]
        for pair in combinations(plain, 2):
            joint = _join(list(pair), separated)
            if joint is not None and joint.size < product(pair).size:
                at = min(map(factors.index, pair))
                factors = [factor for factor in factors if factor not in pair]
                factors.insert(at, joint)
                joined = True
                break
    return product(factors)


def _factors(term: Term) -> list[Term]:
    return list(term.factors) if isinstance(term, Product) else [term]


def _without_empty(factors: list[Conditional]) -> list[Conditional]:
    return [factor for factor in factors if factor.left]
