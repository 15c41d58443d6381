"""Theorem 3.1 and the recursion of Eq. (6), derived step by step on a given graph."""

from dataclasses import dataclass

import networkx as nx

from csrec_core.causal.docalculus import RuleCheck, check_rule
from csrec_core.causal.graph import NodeNames, latex_names, probability, require_nodes
from csrec_core.errors import InputError

RULE_PARTS = {"A": "theorem", "E": "equation 6", "H": "recursion", "T": "transport"}

MEANINGS = {
    "A1": "the next exposure does not act on the last decision",
    "A2": "seeing the exposure is as good as setting it",
    "A3": "earlier exposures act through the last decision only",
    "E1": "given today's preference, yesterday's adds nothing about yesterday's decision",
    "E2": "given yesterday's preference, today's adds nothing about yesterday's decision",
    "H0": "the first exposure may be read as an action",
    "H1": "the next exposure does not act on the last decision",
    "H2": "given the earlier preferences, today's adds nothing about yesterday's decision",
    "H3": "seeing the exposure is as good as setting it",
    "H4": "earlier exposures act through the last decision only",
    "H5": "earlier preferences act through today's preference and the last decision only",
    "T1": "who chose the exposure does not matter, given the exposure",
}


@dataclass(frozen=True)
class Step:
    """One rewriting of a probability, and whether the graph licenses it."""

    name: str
    part: str  # a value of `RULE_PARTS`
    meaning: str
    check: RuleCheck

    @property
    def before(self) -> str:
        """The probability before the step, as LaTeX."""
        return probability(self.check.y, *self.check.sides[0], latex=True)

    @property
    def after(self) -> str:
        """The probability after the step, as LaTeX."""
        return probability(self.check.y, *self.check.sides[1], latex=True)

    @property
    def separation(self) -> str:
        """The d-separation that licenses the step, as LaTeX."""
        check = self.check
        given = rf" \mid {latex_names(check.given)}" if check.given else ""
        return rf"{latex_names(check.y)} \perp\!\!\!\perp {latex_names(check.z)}{given}"

    @property
    def formulas(self) -> tuple[str, str]:
        """The step as two lines of LaTeX: both sides, and the d-separation it rests on."""
        sign, reason = ("=", "since") if self.check else (r"\neq", "in general, for it is not true that")
        sides = rf"\text{{{self.name}: }} {self.before} {sign} {self.after}"
        return sides, rf"\qquad \text{{{reason} }} {self.separation} \text{{ in }} {self.graph_name}"

    @property
    def graph_name(self) -> str:
        """The mutilated graph in Pearl's notation, as LaTeX."""
        check = self.check
        over, under = check.x | check.z_of_w, check.z if check.rule == 2 else frozenset()
        marks = [latex_names(over, accent=r"\overline")] if over else []
        marks += [latex_names(under, accent=r"\underline")] if under else []
        return f"G_{{{', '.join(marks)}}}" if marks else "G"


class Derivation(dict[str, Step]):
    """Every step towards Theorem 3.1, Eq. (6), the recursion and transport at one time step, by its name."""

    def part(self, part: str) -> list[Step]:
        """Return the steps of one part, a value of `RULE_PARTS`."""
        return [step for step in self.values() if step.part == part]

    def holds(self, part: str) -> bool:
        """Whether every step of the part is licensed."""
        return all(step.check for step in self.part(part))


def derive_theorem(graph: nx.DiGraph, t: int) -> Derivation:
    """Check each step of the proof of Theorem 3.1 at time `t` >= 2, and of its use in Eq. (6).

    The graph has the nodes P1..Pt, S1..St, D1..Dt, as `sequential_graph` makes them; raises InputError where one is
    missing or latent.

    A1 to A3 prove Theorem 3.1,
    P(D_t | do S_{1:t}, P_t) = Σ_d P(D_t | S_t, d, P_t) P(D_{t-1} = d | do S_{1:t-1}, P_t).
    E1 and E2 are what Eq. (6) needs on top: the last factor given P_{t-1} in the place of P_t.
    H0 to H5 prove the recursion that is right, on f_t = P(D_t | do S_{1:t}, P_{1:t}):
    f_t = Σ_d P(D_t | S_t, d, P_t) P(D_{t-1} = d | do S_{1:t-1}, P_{1:t-1}); H0 is where it starts,
    f_1 = P(D_1 | S_1, P_1).
    T1 says that what is learnt from self-chosen exposures carries over to the system's: D_t ⊥ R | S_t,
    D_{t-1}, P_t, with R the regime (who chose the exposure).
    """
    if not isinstance(t, int) or t < 2:
        raise InputError(
            f"t must be a whole number of at least 2 (the recursion looks one step back), got {t!r}"
        )
    s, p, d = ([f"{row}{i}" for i in range(1, t + 1)] for row in "SPD")
    require_nodes(graph, [*p, *s, *d], where=f"the query at t = {t}")
    now, earlier, decision, last = s[-1], s[:-1], d[-1], d[-2]
    plan: list[tuple[str, int, NodeNames, NodeNames, NodeNames, NodeNames]] = [
        # name, rule, y, x, z, w
        ("A1", 3, last, earlier, now, p[-1:]),
        ("A2", 2, decision, earlier, now, [p[-1], last]),
        ("A3", 3, decision, (), earlier, [now, p[-1], last]),
        ("E1", 1, last, earlier, p[-2], p[-1:]),
        ("E2", 1, last, earlier, p[-1], p[-2:-1]),
        ("H0", 2, d[0], (), s[0], p[0]),
        ("H1", 3, last, earlier, now, p),
        ("H2", 1, last, earlier, p[-1], p[:-1]),
        ("H3", 2, decision, earlier, now, [*p, last]),
        ("H4", 3, decision, (), earlier, [now, *p, last]),
        ("H5", 1, decision, (), p[:-1], [now, p[-1], last]),
        ("T1", 1, decision, (), "R", [now, last, p[-1]]),
    ]
    regimes = _with_regime(graph, s)
    derivation = Derivation()
    for name, rule, y, x, z, w in plan:
        check = check_rule(regimes if name == "T1" else graph, rule, y=y, x=x, z=z, w=w)
        derivation[name] = Step(name, RULE_PARTS[name[0]], MEANINGS[name], check)
    return derivation


def _with_regime(graph: nx.DiGraph, exposures: list[str]) -> nx.DiGraph:
    """Return a graph with R: where it has none, R points at every exposure, the weakest form of two regimes."""
    if "R" in graph:
        return graph
    graph = graph.copy()
    graph.add_node("R", latent=False)
    graph.add_edges_from((("R", exposure) for exposure in exposures), role="regime")
    return graph
