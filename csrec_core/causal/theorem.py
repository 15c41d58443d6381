"""Theorem 3.1 and the recursion of Eq. (6), derived step by step on a given graph."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import networkx as nx

from csrec_core.causal.docalculus import RuleCheck, check_rule
from csrec_core.causal.graph import latex_names, require_nodes
from csrec_core.errors import InputError, unknown

__all__ = ["Derivation", "Step", "check_base", "check_transport", "derive_theorem", "latex_probability"]

PARTS = {"A": "theorem", "E": "equation 6", "H": "recursion", "T": "transport"}

MEANINGS = {
    "A1": "the next exposure does not act on the last decision",
    "A2": "seeing the exposure is as good as setting it",
    "A3": "earlier exposures act through the last decision only",
    "E1": "given today's taste, yesterday's adds nothing about yesterday's decision",
    "E2": "given yesterday's taste, today's adds nothing about yesterday's decision",
    "H0": "the first exposure may be read as an action",
    "H1": "the next exposure does not act on the last decision",
    "H2": "given the earlier tastes, today's adds nothing about yesterday's decision",
    "H3": "seeing the exposure is as good as setting it",
    "H4": "earlier exposures act through the last decision only",
    "H5": "earlier tastes act through today's taste and the last decision only",
    "T1": "who chose the exposure does not matter, given the exposure",
}


@dataclass(frozen=True)
class Step:
    """One rewriting of a probability, and whether the graph licenses it."""

    name: str
    part: str  # a value of PARTS
    meaning: str
    check: RuleCheck

    @property
    def before(self) -> str:
        """The probability before the step, as LaTeX."""
        check = self.check
        actions, seen = (check.x, check.z | check.w) if check.rule == 1 else (check.x | check.z, check.w)
        return latex_probability(check.y, do=actions, given=seen)

    @property
    def after(self) -> str:
        """The probability after the step, as LaTeX."""
        check = self.check
        seen = check.w | check.z if check.rule == 2 else check.w
        return latex_probability(check.y, do=check.x, given=seen)

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
        marks = []
        over = check.x | check.z_of_w
        if over:
            marks.append(latex_names(over, accent=r"\overline"))
        if check.rule == 2:
            marks.append(latex_names(check.z, accent=r"\underline"))
        return f"G_{{{', '.join(marks)}}}" if marks else "G"


@dataclass(frozen=True)
class Derivation:
    """Every step towards Theorem 3.1 and Eq. (6) at one time step."""

    t: int
    steps: tuple[Step, ...]

    def __getitem__(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise unknown("step", name, [step.name for step in self.steps])

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def part(self, part: str) -> tuple[Step, ...]:
        """Return the steps of one part: "theorem", "equation 6" or "recursion"."""
        return tuple(step for step in self.steps if step.part == part)

    def holds(self, part: str) -> bool:
        """Whether every step of the part is licensed."""
        return all(step.check for step in self.part(part))

    @property
    def theorem(self) -> bool:
        """Whether the graph proves Theorem 3.1 (steps A1 to A3)."""
        return self.holds("theorem")

    @property
    def recursion(self) -> bool:
        """Whether the graph proves the recursion on the preference history (steps H1 to H5)."""
        return self.holds("recursion")


def derive_theorem(graph: nx.DiGraph, t: int) -> Derivation:
    """Check each step of the proof of Theorem 3.1 at time `t`, and of its use in Eq. (6).

    Parameters
    ----------
    graph : a graph with the nodes P1..Pt, S1..St, D1..Dt, as `sequential_graph` makes them
    t : time step, at least 2

    Returns
    -------
    Derivation
        A1 to A3 prove Theorem 3.1,
        P(D_t | do S_{1:t}, P_t) = Σ_d P(D_t | S_t, d, P_t) P(D_{t-1} = d | do S_{1:t-1}, P_t).
        E1 and E2 are what Eq. (6) needs on top: the last factor given P_{t-1} in the place of P_t.
        H1 to H5 prove the recursion that is right, on f_t = P(D_t | do S_{1:t}, P_{1:t}):
        f_t = Σ_d P(D_t | S_t, d, P_t) P(D_{t-1} = d | do S_{1:t-1}, P_{1:t-1}).

    Raises
    ------
    InputError
        When `t` is under 2 or a node of the query is missing or latent.
    """
    _require_nodes(graph, t)
    s = [f"S{i}" for i in range(1, t + 1)]
    p = [f"P{i}" for i in range(1, t + 1)]
    now, earlier, decision, last = s[-1], s[:-1], f"D{t}", f"D{t - 1}"
    plan = [
        # name, rule, y, x, z, w
        ("A1", 3, last, earlier, now, p[-1:]),
        ("A2", 2, decision, earlier, now, [p[-1], last]),
        ("A3", 3, decision, (), earlier, [now, p[-1], last]),
        ("E1", 1, last, earlier, p[-2], p[-1:]),
        ("E2", 1, last, earlier, p[-1], p[-2:-1]),
        ("H1", 3, last, earlier, now, p),
        ("H2", 1, last, earlier, p[-1], p[:-1]),
        ("H3", 2, decision, earlier, now, [*p, last]),
        ("H4", 3, decision, (), earlier, [now, *p, last]),
        ("H5", 1, decision, (), p[:-1], [now, p[-1], last]),
    ]
    steps = (_step(name, check_rule(graph, rule, y=y, x=x, z=z, w=w)) for name, rule, y, x, z, w in plan)
    return Derivation(t, tuple(steps))


def check_base(graph: nx.DiGraph) -> Step:
    """Check where the recursion starts: f_1 = P(D_1 | do S_1, P_1) = P(D_1 | S_1, P_1), by rule 2."""
    check = check_rule(graph, 2, y="D1", z="S1", w="P1")
    return _step("H0", check)


def check_transport(graph: nx.DiGraph, t: int) -> Step:
    """Check whether what is learnt from self-chosen exposures carries over to the system's.

    The licence is D_t ⊥ R | S_t, D_{t-1}, P_t, with R the regime (who chose the exposure). A graph without
    R gets one that points at every exposure: the weakest form of two regimes.
    """
    _require_nodes(graph, t)
    if "R" not in graph:
        graph = graph.copy()
        graph.add_node("R", latent=False)
        graph.add_edges_from((("R", f"S{i}") for i in range(1, t + 1)), role="regime")
    check = check_rule(graph, 1, y=f"D{t}", z="R", w=[f"S{t}", f"D{t - 1}", f"P{t}"])
    return _step("T1", check)


def _step(name: str, check: RuleCheck) -> Step:
    return Step(name, PARTS[name[0]], MEANINGS[name], check)


def latex_probability(y: Iterable[str], *, do: Iterable[str] = (), given: Iterable[str] = ()) -> str:
    """Return P(y | do(...), given) as LaTeX, runs of a series written S_{1:3}."""
    conditions = []
    if do:
        conditions.append(rf"do({latex_names(do)})")
    if given:
        conditions.append(latex_names(given))
    bar = rf" \mid {', '.join(conditions)}" if conditions else ""
    return f"P({latex_names(y)}{bar})"


def _require_nodes(graph: nx.DiGraph, t: int) -> None:
    if not isinstance(t, int) or t < 2:
        raise InputError(
            f"t must be a whole number of at least 2 (the recursion looks one step back), got {t!r}"
        )
    needed = (f"{row}{i}" for i in range(1, t + 1) for row in "PSD")
    require_nodes(graph, needed, where=f"the query at t = {t}")
