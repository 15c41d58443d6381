"""Theorem 3.1 and the recursion of Eq. (6), derived step by step on a given graph."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import networkx as nx
import pandas as pd

from csrec_core.certificate import TOLERANCE, Certificate, certify, recursion_errors
from csrec_core.docalculus import RuleCheck, additions, breaking_edges, check_rule, find_repairs
from csrec_core.errors import InputError, unknown
from csrec_core.graph import TIMED, VARIANTS, latex_names, sequential_graph, variant_graph
from csrec_core.identify import Identification, identify, project_latents

__all__ = [
    "Audit",
    "Derivation",
    "Step",
    "assumption_table",
    "audit",
    "breaking_table",
    "check_base",
    "check_transport",
    "derive_theorem",
    "latex_probability",
    "reading_table",
    "repair_table",
    "step_table",
    "variant_table",
    "verdicts",
]

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
    def reason(self) -> str:
        """Why the step holds or fails, in words: the open path, or what blocks the shortest path."""
        paths = self.check.witness
        if not self.check:
            return f"open: {paths[0]}"
        if not paths:
            return "no path at all"
        closing = paths[0].blockers[0]
        kind = "an unconditioned collider" if closing.collider else "conditioned on"
        many = f"{len(paths)} paths listed, all blocked; the shortest at"
        lead = many if len(paths) > 1 else "one path, blocked at"
        return f"{lead} {closing.node} ({kind}): {paths[0]}"

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


def derive_theorem(graph: nx.DiGraph, t: int, *, reading: str = "pearl") -> Derivation:
    """Check each step of the proof of Theorem 3.1 at time `t`, and of its use in Eq. (6).

    Parameters
    ----------
    graph : a graph with the nodes P1..Pt, S1..St, D1..Dt, as `sequential_graph` makes them
    t : time step, at least 2
    reading : how the rules are read, see `check_rule`

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
    steps = (
        _step(name, check_rule(graph, rule, y=y, x=x, z=z, w=w, reading=reading))
        for name, rule, y, x, z, w in plan
    )
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


@dataclass(frozen=True)
class Audit:
    """Everything checked on one graph up to one time step.

    Attributes
    ----------
    chain : the derivation at each of the time steps 2..t
    base, transport : steps H0 and T1
    identifications : "today", P(D_t | do S_{1:t}, P_t), and "history", P(D_t | do S_{1:t}, P_{1:t})
    certificates : the numeric certificate of each step at time t, by its name
    """

    graph: nx.DiGraph
    t: int
    chain: tuple[Derivation, ...]
    base: Step
    transport: Step
    identifications: dict[str, Identification]
    certificates: dict[str, Certificate]

    @property
    def derivation(self) -> Derivation:
        """The derivation at time t."""
        return self.chain[-1]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step at time t: A1 to A3, E1, E2, H0 to H5, T1."""
        theorem, equation, recursion = map(self.derivation.part, ("theorem", "equation 6", "recursion"))
        return (*theorem, *equation, self.base, *recursion, self.transport)


def audit(graph: nx.DiGraph, t: int, *, models: int = 5, seed: int = 0) -> Audit:
    """Check a graph for Theorem 3.1, the recursion at every step up to `t`, transport and identifiability.

    Parameters
    ----------
    graph, t : as for `derive_theorem`
    models, seed : number of random models of the numeric certificate, and their seed

    Raises
    ------
    InputError
        As `derive_theorem`.
    """
    chain = tuple(derive_theorem(graph, i) for i in range(2, max(t, 2) + 1))
    base, transport = check_base(graph), check_transport(graph, t)
    actions, tastes = ([f"{row}{i}" for i in range(1, t + 1)] for row in "SP")
    identifications = {
        "today": identify(graph, y=f"D{t}", do=actions, given=tastes[-1:]),
        "history": identify(graph, y=f"D{t}", do=actions, given=tastes),
    }
    certificates = {
        step.name: certify(step.check, models=models, seed=seed) for step in (*chain[-1], base, transport)
    }
    return Audit(graph, t, chain, base, transport, identifications, certificates)


def verdicts(audit: Audit) -> dict[str, bool]:
    """Return what a pipeline can gate on.

    "theorem", "equation_6" and "recursion" hold when every step holds at every time up to t; "transport" and
    "identifiable" speak of time t; "certificate" says that the numbers agree with every verdict.
    """
    return {
        "theorem": all(derivation.theorem for derivation in audit.chain),
        "equation_6": all(derivation.holds("equation 6") for derivation in audit.chain),
        "recursion": bool(audit.base.check) and all(derivation.recursion for derivation in audit.chain),
        "transport": bool(audit.transport.check),
        "identifiable": all(audit.identifications.values()),
        "certificate": all(audit.certificates[step.name].agrees == bool(step.check) for step in audit.steps),
    }


def step_table(audit: Audit, *, baseline: Audit | None = None) -> pd.DataFrame:
    """Return one row per step: `step`, `part`, `rule`, `meaning`, `holds`, `gap`, `reason`.

    `gap` is the largest difference of the two sides in the random models. With a `baseline`, on which the
    same steps are looked up, there is `changed`: "breaks", "mends" or "".
    """
    rows = [
        {
            "step": step.name,
            "part": step.part,
            "rule": step.check.rule,
            "meaning": step.meaning,
            "holds": bool(step.check),
            "gap": audit.certificates[step.name].gap,
            "reason": step.reason,
        }
        for step in audit.steps
    ]
    table = pd.DataFrame(rows)
    if baseline is not None:
        before = [bool(step.check) for step in baseline.steps]
        changes = {(True, False): "breaks", (False, True): "mends"}
        table["changed"] = [changes.get(pair, "") for pair in zip(before, table["holds"], strict=True)]
    return table


def breaking_table(audit: Audit) -> pd.DataFrame:
    """Return one row per single edge that could be added: how many steps it breaks, and which.

    Columns `kind` (directed: source → target; bidirected: a latent cause of both), `source`, `target`,
    `breaks`, `steps`. Steps broken already are not counted. Arrows that are there, that would close a cycle
    or that run back in time are left out.
    """
    broken: dict[tuple[str, str, str], list[str]] = {}
    for step in audit.steps:
        for edge in breaking_edges(step.check):
            broken.setdefault(edge, []).append(step.name)
    graph = audit.transport.check.graph  # the audited graph with the regime R
    rows = [
        (*edge, len(broken.get(edge, [])), ", ".join(broken.get(edge, [])))
        for edge in additions(graph)
        if edge[0] == "bidirected" or _time(edge[1]) <= _time(edge[2])
    ]
    return pd.DataFrame(rows, columns=["kind", "source", "target", "breaks", "steps"])


def repair_table(audit: Audit) -> pd.DataFrame:
    """Return one row per broken step and smallest repair: `step`, `repair`, `change`."""
    rows = []
    for step in audit.steps:
        repairs = find_repairs(step.check)
        rows += [(step.name, "condition on", ", ".join(sorted(nodes))) for nodes in repairs.conditioning]
        for arrows in repairs.removal:
            named = (f"{a} {b[0]} {b[1:]}" if b.startswith("↔") else f"{a} → {b}" for a, b in sorted(arrows))
            rows.append((step.name, "rule out", ", ".join(named)))
    return pd.DataFrame(rows, columns=["step", "repair", "change"])


def reading_table(graph: nx.DiGraph, t: int) -> pd.DataFrame:
    """Return one row per step: whether it holds by Pearl's rules, and by the rules as the paper prints."""
    right, printed = (derive_theorem(graph, t, reading=reading) for reading in ("pearl", "printed"))
    rows = [(a.name, a.check.rule, bool(a.check), bool(b.check)) for a, b in zip(right, printed, strict=True)]
    return pd.DataFrame(rows, columns=["step", "rule", "pearl", "printed"])


def variant_table(horizons: Iterable[int] = range(2, 7)) -> pd.DataFrame:
    """Return one row per variant of Figure 1, horizon and step: `variant`, `t`, `step`, `holds`.

    Besides the steps there is the row "ID": whether P(D_t | do S_{1:t}, P_{1:t}) is identifiable.
    """
    rows = []
    for variant in VARIANTS:
        for t in horizons:
            graph = variant_graph(variant, t)
            steps = [*derive_theorem(graph, t), check_base(graph), check_transport(graph, t)]
            rows += [(variant, t, step.name, bool(step.check)) for step in steps]
            tastes, actions = ([f"{row}{i}" for i in range(1, t + 1)] for row in "PS")
            rows.append((variant, t, "ID", bool(identify(graph, y=f"D{t}", do=actions, given=tastes))))
    return pd.DataFrame(rows, columns=["variant", "t", "step", "holds"])


def assumption_table(t: int = 3, *, models: int = 20, seed: int = 0) -> pd.DataFrame:
    """What each departure from Figure 1 breaks, whether a log could show it, and what it costs.

    Returns
    -------
    DataFrame
        One row per variant: `variant`, `breaks` (steps beyond those that fail on Figure 1), `identifiable`,
        `testable` (an independence that Figure 1 implies and the variant does not, to be sought in a log;
        empty where there is none), `theorem` and `recursion` (mean absolute error of either formula in
        random models of the variant).
    """
    rows = []
    for variant, options in VARIANTS.items():
        graph = variant_graph(variant, t)
        is_more = "extra" in options or "latent" in options  # else the online arrow is what departs
        plain = {"online": options.get("online", False) and is_more}
        figure_1 = sequential_graph(t, exposure=options.get("exposure", "observational"), **plain)
        failing = _failing(figure_1, t)
        errors = recursion_errors(graph, t, models=models, seed=seed).groupby("formula")["error"].mean()
        tastes, actions = ([f"{row}{i}" for i in range(1, t + 1)] for row in "PS")
        rows.append(
            {
                "variant": variant,
                "breaks": ", ".join(name for name in _failing(graph, t) if name not in failing),
                "identifiable": bool(identify(graph, y=f"D{t}", do=actions, given=tastes)),
                "testable": _testable(figure_1, graph),
                "theorem": errors["theorem 3.1"],
                "recursion": errors["recursion"],
            }
        )
    table = pd.DataFrame(rows)
    formulas = ["theorem", "recursion"]
    table[formulas] = table[formulas].where(table[formulas] > TOLERANCE, 0.0)  # rounding, not error
    return table


def _time(node: str) -> int:
    """Return the time step of a node; what has none, such as R, comes first."""
    timed = TIMED.match(node)
    return int(timed[2]) if timed else 0


def _failing(graph: nx.DiGraph, t: int) -> list[str]:
    steps = [*derive_theorem(graph, t), check_base(graph), check_transport(graph, t)]
    return [step.name for step in steps if not step.check]


def _testable(figure_1: nx.DiGraph, graph: nx.DiGraph) -> str:
    """Return an independence of Figure 1 that `graph` denies, of two nodes that it links if there is one."""
    directed, confounded = project_latents(graph)
    order = list(nx.lexicographical_topological_sort(figure_1))
    denied = []
    for i, node in enumerate(order):
        parents = set(figure_1.pred[node])
        for other in set(order[:i]) - parents:
            if not check_rule(graph, 1, y=node, z=other, w=parents):
                linked = nx.has_path(directed.subgraph([node, other]).to_undirected(), node, other)
                is_indirect = not linked and not confounded.has_edge(node, other)
                denied.append((is_indirect, node, other, ", ".join(sorted(parents))))
    if not denied:
        return ""
    _, node, other, given = min(denied)
    return f"{node} ⊥ {other} | {given}" if given else f"{node} ⊥ {other}"


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
    for i in range(1, t + 1):
        for row in "PSD":
            if f"{row}{i}" not in graph:
                raise unknown("node", f"{row}{i}", sorted(map(str, graph)), where=f"the query at t = {t}")
