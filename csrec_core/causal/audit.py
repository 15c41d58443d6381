"""The audit of a causal graph: every step, certificate and formula at once, and the tables and words that tell it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import networkx as nx
import pandas as pd

from csrec_core.causal.certificate import TOLERANCE, Certificate, certify, recursion_errors
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, sequential_graph, time_of, variant_graph
from csrec_core.causal.identify import Identifiability, identify
from csrec_core.causal.induction import Proof, prove_steps
from csrec_core.causal.repair import breaking_edges, find_repairs
from csrec_core.causal.search import project_latents
from csrec_core.causal.theorem import Derivation, derive_theorem


@dataclass(frozen=True)
class Audit:
    """Everything checked on one graph up to one time step."""

    graph: nx.DiGraph
    t: int
    chain: tuple[Derivation, ...]  # the derivation at each of the time steps 2..t
    # "today", P(D_t | do S_{1:t}, P_t), and "history", P(D_t | do S_{1:t}, P_{1:t})
    identifications: dict[str, Identifiability]
    certificates: dict[str, Certificate]  # of each step at time t, by its name; empty if none was asked for
    # for each step but H0, which speaks of t = 1, its proof for every t; empty where nothing repeats
    proofs: dict[str, Proof]

    @property
    def derivation(self) -> Derivation:
        """The derivation at time t."""
        return self.chain[-1]


def audit(
    graph: nx.DiGraph,
    t: int,
    *,
    unroll: Callable[[int], nx.DiGraph] | None = None,
    certificates: bool = True,
    seed: int = 0,
) -> Audit:
    """Check a graph for Theorem 3.1, the recursion at every step up to `t`, transport and identifiability.

    `unroll` returns the graph over any number of steps, for the proof of every t, see `repeating`; `certificates`
    are computed in random models, which `seed` decides. Raises InputError as `derive_theorem` does.
    """
    chain = tuple(derive_theorem(graph, i) for i in range(2, max(t, 2) + 1))
    identifications = {
        "today": _history(graph, t, preferences=slice(-1, None)),
        "history": _history(graph, t),
    }
    steps = chain[-1].items() if certificates else ()
    certified = {name: certify(step.check, seed=seed) for name, step in steps}
    return Audit(graph, t, chain, identifications, certified, prove_steps(unroll) if unroll else {})


def verdicts(audit: Audit) -> dict[str, bool | None]:
    """Return what a pipeline can gate on.

    "theorem", "equation_6" and "recursion" hold when every step holds at every time up to t; "transport" and
    "identifiable" speak of time t; "certificate" says that the numbers agree with every verdict, None that
    none could be computed.
    """
    agree = {
        certificate.agrees == bool(audit.derivation[name].check)
        for name, certificate in audit.certificates.items()
        if certificate.agrees is not None
    }
    return {
        "theorem": all(derivation.holds("theorem") for derivation in audit.chain),
        "equation_6": all(derivation.holds("equation 6") for derivation in audit.chain),
        "recursion": all(derivation.holds("recursion") for derivation in audit.chain),
        "transport": audit.derivation.holds("transport"),
        "identifiable": all(audit.identifications.values()),
        "certificate": all(agree) if agree else None,
    }


def every_t(audit: Audit) -> dict[str, bool | None]:
    """Return for the theorem, the recursion and transport whether each holds at every t; None if unproved."""
    parts = {"theorem": "A", "recursion": "H", "transport": "T"}
    found = {}
    for part, letter in parts.items():
        holds = [proof.holds for name, proof in audit.proofs.items() if name[0] == letter]
        holds += [bool(audit.derivation["H0"].check)] if part == "recursion" else []
        found[part] = False if False in holds else None if None in holds or not audit.proofs else True
    return found


def blocked_ways(graph: nx.DiGraph) -> list[str]:
    """Return the arrows from an exposure to a preference: ways of the effect that preferences given block."""
    return [f"{a} → {b}" for a, b in graph.edges if a[0] + b[0] == "SP" and time_of(a) and time_of(b)]


def step_table(audit: Audit, *, baseline: Audit | None = None) -> pd.DataFrame:
    """Return one row per step: `step`, `part`, `rule`, `meaning`, `holds`, `every_t`, `gap`, `reason`.

    `every_t` says what is proved for all t, `gap` is the largest difference of the two sides in the random
    models, NaN where none was computed. With a `baseline`, on which the same steps are looked up, there is
    `changed`: "breaks", "mends" or "".
    """
    rows = [
        {
            "step": step.name,
            "part": step.part,
            "rule": step.check.rule,
            "meaning": step.meaning,
            "holds": bool(step.check),
            "every_t": audit.proofs[step.name].words if step.name in audit.proofs else "",
            "gap": audit.certificates.get(step.name, Certificate(())).gap,
            "reason": step.check.reason,
        }
        for step in audit.derivation.values()
    ]
    table = pd.DataFrame(rows)
    if baseline is not None:
        before = [bool(step.check) for step in baseline.derivation.values()]
        changes = {(True, False): "breaks", (False, True): "mends"}
        table["changed"] = [changes.get(pair, "") for pair in zip(before, table["holds"], strict=True)]
    return table


def breaking_table(audit: Audit) -> pd.DataFrame:
    """Return one row per single edge whose addition breaks steps that hold, the most first.

    `edge` ("S1 → D2", or "D1 ↔ S1" for a latent cause of both), `breaks`, how many steps, and `steps`.
    """
    arrows = {"directed": "→", "bidirected": "↔"}
    broken: dict[str, list[str]] = {}
    for step in audit.derivation.values():
        for kind, a, b in breaking_edges(step.check):
            broken.setdefault(f"{a} {arrows[kind]} {b}", []).append(step.name)
    rows = [(edge, len(steps), ", ".join(steps)) for edge, steps in broken.items()]
    table = pd.DataFrame(rows, columns=["edge", "breaks", "steps"])
    return table.sort_values(["breaks", "steps", "edge"], ascending=[False, True, True], ignore_index=True)


def repair_table(audit: Audit) -> pd.DataFrame:
    """Return one row per broken step and smallest repair: `step`, `repair`, `change`."""
    rows = []
    for step in audit.derivation.values():
        for change, sets in find_repairs(step.check).items():
            rows += [(step.name, change, ", ".join(sorted(names))) for names in sets]
    return pd.DataFrame(rows, columns=["step", "repair", "change"])


def uncut_table(graph: nx.DiGraph, t: int) -> pd.DataFrame:
    """Return one row per step: `step`, `rule`, `holds`, and `uncut`: its separation in G without any cut.

    A text that has lost its over- and underlines says the latter. `reason` has the open path that refutes it.
    """
    rows = []
    for name, step in derive_theorem(graph, t).items():
        check = step.check
        uncut = check_rule(check.graph, 1, y=check.y, z=check.z, w=check.given)
        rows.append((name, check.rule, uncut.separation, bool(check), bool(uncut), uncut.reason))
    return pd.DataFrame(rows, columns=["step", "rule", "separation", "holds", "uncut", "reason"])


def variant_table(horizons: Iterable[int] = range(2, 7)) -> pd.DataFrame:
    """Return one row per variant of Figure 1, horizon and step: `variant`, `t`, `step`, `holds`.

    Besides the steps there is the row "ID": whether P(D_t | do S_{1:t}, P_{1:t}) is identifiable.
    """
    rows = []
    for variant in VARIANTS:
        for t in horizons:
            graph = variant_graph(variant, t)
            rows += [(variant, t, name, bool(step.check)) for name, step in derive_theorem(graph, t).items()]
            rows.append((variant, t, "ID", bool(_history(graph, t))))
    return pd.DataFrame(rows, columns=["variant", "t", "step", "holds"])


def assumption_table(t: int, *, models: int = 20, seed: int = 0) -> pd.DataFrame:
    """Say what each departure from Figure 1 breaks, whether a log could show it, and what it costs, a row each.

    `variant`, `breaks` (steps beyond those that fail on Figure 1), `identifiable`, `testable` (an independence that
    Figure 1 implies and the variant does not, to be sought in a log; empty where there is none), `theorem` and
    `recursion` (mean absolute error of either formula in random models of the variant).
    """
    rows = []
    for variant, options in VARIANTS.items():
        graph = variant_graph(variant, t)
        is_more = "extra" in options or "latent" in options  # else the online arrow is what departs
        known = {"exposure"} | ({"online"} if is_more else set())
        figure_1 = sequential_graph(t, **{key: options[key] for key in known & options.keys()})
        failing = _failing(figure_1, t)
        errors = recursion_errors(graph, t, models=models, seed=seed).groupby("formula")["error"].mean()
        breaks = ", ".join(name for name in _failing(graph, t) if name not in failing)
        # What is below the tolerance is rounding, not error.
        wrong = errors.where(errors > TOLERANCE, 0.0)[["theorem 3.1", "recursion"]]
        rows.append((variant, breaks, bool(_history(graph, t)), _testable(figure_1, graph), *wrong))
    columns = ["variant", "breaks", "identifiable", "testable", "theorem", "recursion"]
    return pd.DataFrame(rows, columns=columns)


def graph_meaning(audit: Audit) -> str:
    """Say what the graph means for a log: what may be compared in it."""
    holds = verdicts(audit)
    alike = "exposures of the same item to users of the same preference and the same last decision"
    if not holds["identifiable"]:
        return (
            "By this graph something unmeasured moves both what a user sees and what they decide, so no "
            "comparison within the log tells what an exposure does."
        )
    if not holds["transport"]:
        return (
            f"By this graph {alike} may still be decided differently when the system chose them than when "
            "the user did; what is learnt from one side must not be taken for the other."
        )
    if not holds["recursion"]:
        return (
            f"By this graph {alike} are decided alike, whoever chose them, but the step-by-step formula that "
            "CSRec trains on misses a way in which the past acts."
        )
    rest = "; what an exposure does by changing preferences is left out" if blocked_ways(audit.graph) else ""
    return (
        "By this graph self-chosen and recommended exposures of the same item can be compared once preference and "
        f"last decision are the same: nothing else moves both{rest}."
    )


def logging_advice(audit: Audit, log: pd.DataFrame, *, preferences_measured: bool) -> str:
    """Say what to log or randomise, by the graph and by what is in a log.

    Of the log `source` and `propensity` are read; `preferences_measured` is whether its users' are in it.
    """
    if not verdicts(audit)["identifiable"]:
        return "Randomise a share of what the system shows, and log each exposure's chance (the column propensity)."
    if preferences_measured:
        return (
            "This log holds the preferences, so nothing more has to be logged if the graph is right; randomise "
            "a share of the exposures to test what no log shows, that nothing hidden moves both "
            "exposure and decision."
        )
    chances = log["propensity"].notna() if "propensity" in log else pd.Series(False, index=log.index)
    sources = log["source"].astype(str)
    known, bare = sorted(set(sources[chances])), sorted(set(sources[~chances]))
    if not bare:
        return (
            "Preferences are not in this log, but the chance of every exposure is: weigh by it (the column "
            "propensity), and go on logging it."
        )
    some = f" ({' and '.join(known)} exposures have it)" if known else ""
    return (
        f"Preferences are not in this log: log the chance of every {' and '.join(bare)} exposure (the column "
        f"propensity){some}, or randomise a share of the exposures."
    )


def _failing(graph: nx.DiGraph, t: int) -> list[str]:
    return [name for name, step in derive_theorem(graph, t).items() if not step.check]


def _history(graph: nx.DiGraph, t: int, *, preferences: slice = slice(None)) -> Identifiability:
    """Identify P(D_t | do S_{1:t}, P), given the whole preference history, or some `preferences` of it."""
    history, actions = ([f"{row}{i}" for i in range(1, t + 1)] for row in "PS")
    return identify(graph, y=f"D{t}", do=actions, given=history[preferences])


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
