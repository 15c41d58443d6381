import itertools
import subprocess
import sys

import networkx as nx
import pytest

from csrec_core.causal.audit import (
    assumption_table,
    audit,
    blocked_ways,
    breaking_table,
    every_t,
    repair_table,
    step_table,
    uncut_table,
    variant_table,
    verdicts,
)
from csrec_core.causal.certificate import certify
from csrec_core.causal.graph import (
    VARIANTS,
    causal_graph,
    extend_graph,
    probability,
    sequential_graph,
    variant_graph,
)
from csrec_core.causal.repair import additions
from csrec_core.causal.theorem import derive_theorem
from csrec_core.errors import InputError
from csrec_core.report.report import to_mathml


def broken(graph, t):
    return {name for name, step in derive_theorem(graph, t).items() if not step.check}


# What breaks at t >= 3, worked out by hand; E1 fails everywhere (P_{t-1} → D_{t-1} is in Figure 1).
KNOWN = {
    "Figure 1, self-chosen exposure": set(),
    "Figure 1, randomised exposure": set(),
    "online D[t-1] → S[t]": set(),
    "shaping S[t-1] → P[t]": set(),
    "latent S[t] ↔ D[t]": {"A2", "H0", "H3", "T1"},
    "latent S[t] ↔ D[t], online": {"A2", "H0", "H3", "T1"},
    "latent D[t-1] ↔ D[t]": {"A3", "H4", "H5", "T1"},
    "second order D[t-2] → D[t]": {"A3", "H4", "H5", "T1"},
    "carry-over S[t-1] → D[t]": {"A3", "H4", "H5", "T1"},
    "lagged preference P[t-1] → D[t]": {"A3", "H5", "T1"},
    "instant shaping S[t] → P[t], randomised": {"A1"},
    "preference amplification D[t-1] → P[t]": {"E2", "H2"},
}


@pytest.mark.parametrize("t", [3, 4, 5])
@pytest.mark.parametrize("name", KNOWN)
def test_known_verdicts(name, t):
    assert broken(variant_graph(name, t), t) == KNOWN[name] | {"E1"}


def test_the_theorem_and_the_recursion_are_proved_on_figure_1():
    for t in range(2, 6):
        for online in (False, True):
            derivation = derive_theorem(sequential_graph(t, online=online), t)
            assert derivation.holds("theorem")
            assert derivation.holds("recursion")
            assert not derivation.holds("equation 6")


def test_a_longer_graph_does_not_change_an_earlier_step():
    graph = variant_graph("carry-over S[t-1] → D[t]", 6)
    assert broken(graph, 3) == broken(variant_graph("carry-over S[t-1] → D[t]", 3), 3)


def test_what_each_step_says():
    a1, a2, a3 = derive_theorem(sequential_graph(3), 3).part("theorem")
    assert a1.before == r"P(D_{2} \mid do(S_{1:3}), P_{3})"
    assert a1.after == a2.before.replace("D_{3}", "D_{2}").replace("1:3", "1:2").replace(", D_{2})", ")")
    assert a1.graph_name == r"G_{\overline{S}_{1:3}}"
    assert a2.graph_name == r"G_{\overline{S}_{1:2}, \underline{S}_{3}}"
    assert a2.after == a3.before == r"P(D_{3} \mid do(S_{1:2}), S_{3}, P_{3}, D_{2})"
    assert a3.after == r"P(D_{3} \mid S_{3}, P_{3}, D_{2})"
    assert a3.graph_name == "G"
    assert a3.check.z_of_w == frozenset()
    assert a2.separation == r"D_{3} \perp\!\!\!\perp S_{3} \mid S_{1:2}, P_{3}, D_{2}"


def test_the_base_of_the_recursion():
    assert derive_theorem(sequential_graph(2), 2)["H0"].check
    assert not derive_theorem(variant_graph("latent S[t] ↔ D[t]", 2), 2)["H0"].check


def test_transport_needs_that_the_regime_acts_through_the_exposure_only():
    assert "T1" not in broken(sequential_graph(3), 3)
    assert "T1" not in broken(sequential_graph(3, regime="exposure"), 3)
    assert "T1" in broken(sequential_graph(3, regime="acceptance"), 3)
    # R → S ← U → D is opened by conditioning on S
    assert "T1" in broken(variant_graph("latent S[t] ↔ D[t]", 3), 3)


def test_pooling_regimes_that_act_on_acceptance_confounds_exposure_and_decision():
    graph = sequential_graph(3, regime="acceptance")
    assert broken(graph, 3) >= {"A2", "A3", "H3"}
    repairs = repair_table(audit(graph, 3)).groupby("step")["change"].agg(list)
    assert "R" in repairs["A2"]
    assert verdicts(audit(graph, 3))["identifiable"]  # R is measured: condition on it


def test_latex_writes_runs_and_plain_names():
    text = probability(["D3"], do=["S1", "S2", "S4"], given=["age"], latex=True)
    assert text == r"P(D_{3} \mid do(S_{1:2}, S_{4}), \text{age})"


@pytest.mark.parametrize(
    ("t", "message"), [(1, "at least 2"), (9, "unknown node 'P4' in the query at t = 9")]
)
def test_bad_time_steps_are_refused(t, message):
    with pytest.raises(InputError, match=message):
        derive_theorem(sequential_graph(3), t)


def test_a_graph_with_hidden_preference_is_refused():
    edges = list(sequential_graph(2).edges)
    with pytest.raises(InputError, match="latent node 'P"):
        derive_theorem(causal_graph(edges, latent=["P1", "P2"]), 2)


ALL = ("theorem", "equation_6", "recursion", "transport", "identifiable", "certificate")


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("Figure 1, self-chosen exposure", {"equation_6"}),
        ("preference amplification D[t-1] → P[t]", {"equation_6", "recursion"}),
        ("latent D[t-1] ↔ D[t]", {"equation_6", "theorem", "recursion", "transport"}),
        ("latent S[t] ↔ D[t]", {"equation_6", "theorem", "recursion", "transport", "identifiable"}),
    ],
)
def test_verdicts(name, failing):
    found = verdicts(audit(variant_graph(name, 3), 3))
    assert tuple(found) == ALL
    assert {key for key, holds in found.items() if not holds} == failing


def test_what_is_proved_for_every_t():
    def of(name, **more):
        return audit(variant_graph(name, 3), 3, unroll=lambda t: variant_graph(name, t), certificates=False)

    checked = of("Figure 1, self-chosen exposure")
    assert every_t(checked) == {"theorem": True, "recursion": True, "transport": True}
    assert verdicts(checked)["certificate"] is None
    assert every_t(of("second order D[t-2] → D[t]")) == {
        "theorem": False, "recursion": False, "transport": False
    }  # fmt: skip
    assert every_t(audit(sequential_graph(2), 2)) == dict.fromkeys(("theorem", "recursion", "transport"))


def test_a_violation_before_t_shows_in_the_verdicts():
    # D1 → D3 breaks the step at t = 3 only; at t = 4 the derivation of that step holds again
    graph = sequential_graph(4, extra=[("D1", "D3")])
    assert derive_theorem(graph, 4).holds("theorem")
    assert not verdicts(audit(graph, 4))["theorem"]


def test_step_table_says_why_and_what_changed():
    checked = audit(variant_graph("latent S[t] ↔ D[t]", 3), 3)
    table = step_table(checked, baseline=audit(sequential_graph(3), 3)).set_index("step")
    assert list(table.index) == ["A1", "A2", "A3", "E1", "E2", "H0", "H1", "H2", "H3", "H4", "H5", "T1"]
    assert table.loc["A2", "reason"] == "open: D3 ← U(S3,D3) → S3"
    shortest = "the shortest at D3 (an unconditioned collider): D2 → D3 ← S3"
    assert table.loc["A1", "reason"].endswith(f"every path is blocked, {shortest}")
    assert "the shortest at D2 (conditioned on): D3 ← D2" in table.loc["A3", "reason"]
    assert ((table["gap"] < 1e-9) == table["holds"]).all()
    assert set(table.index[table["changed"] == "breaks"]) == {"A2", "H0", "H3", "T1"}
    assert not (table["changed"] == "mends").any()
    assert "changed" not in step_table(checked)


def test_formulas_say_whether_the_sides_are_equal():
    derivation = derive_theorem(variant_graph("latent S[t] ↔ D[t]", 2), 2)
    assert r"\neq" in derivation["A2"].formulas[0]
    assert "not true" in derivation["A2"].formulas[1]
    assert (
        derivation["A1"].formulas[0] == rf"\text{{A1: }} {derivation['A1'].before} = {derivation['A1'].after}"
    )
    for step in derivation.values():
        for formula in step.formulas:
            to_mathml(formula)


def test_every_breaking_edge_breaks_its_steps_and_no_other():
    table = breaking_table(audit(sequential_graph(3), 3))
    assert table["breaks"].tolist() == sorted(table["steps"].str.count(", ") + 1, reverse=True)
    steps = table.set_index("edge")["steps"]
    assert steps["D3 ↔ S3"] == "A2, H3, T1"
    assert steps["D1 → D3"] == "A3, H4, H5, T1"
    assert steps["R → D3"] == "T1"
    before = broken(sequential_graph(3), 3)
    for kind, a, b in additions(sequential_graph(3)):
        edge = f"{a} {'→' if kind == 'directed' else '↔'} {b}"
        option = {"extra" if kind == "directed" else "latent": [(a, b)]}
        after = broken(extend_graph(sequential_graph(3), **option), 3)
        assert after - before == set(steps.get(edge, "").split(", ")) - {""}, edge


def test_repairs_are_named():
    table = repair_table(audit(variant_graph("lagged preference P[t-1] → D[t]", 3), 3))
    assert ("A3", "condition on", "P2") in set(table.itertuples(index=False, name=None))
    confounded = repair_table(audit(variant_graph("latent S[t] ↔ D[t]", 3), 3))
    assert ("A2", "rule out", "D3 ↔ S3") in set(confounded.itertuples(index=False, name=None))


def test_variant_table_covers_every_variant_step_and_horizon():
    table = variant_table(range(2, 5))
    assert len(table) == len(VARIANTS) * 3 * 13
    verdict = table.set_index(["variant", "t", "step"])["holds"]
    assert verdict["second order D[t-2] → D[t]", 2, "A3"]  # there is no D0 to act on D2
    assert not verdict["second order D[t-2] → D[t]", 3, "A3"]
    assert not verdict["latent S[t] ↔ D[t]", 2, "ID"]


def test_assumption_table_prices_what_breaks():
    table = assumption_table(3, models=4).set_index("variant")
    broken = table["breaks"].str.contains("A")
    assert (table["theorem"][broken] > 1e-4).all()
    assert (table["theorem"][~broken] == 0).all()
    assert table.loc["online D[t-1] → S[t]", "testable"] == "S2 ⊥ D1 | P2"
    assert table.loc["second order D[t-2] → D[t]", "testable"] == "D3 ⊥ D1 | D2, P3, S3"
    # who hides behind an arrow that is there anyway cannot be seen in a log
    assert table.loc["latent S[t] ↔ D[t]", "testable"] == ""


def test_a_separation_that_has_lost_its_cuts_is_another_one():
    table = uncut_table(sequential_graph(3), 3).set_index("step")
    # S3 → D3 stays in the uncut graph, so A2's separation is false there; A3's graph is the uncut one
    assert table.loc["A2", ["holds", "uncut"]].tolist() == [True, False]
    assert table.loc["A3", ["holds", "uncut"]].tolist() == [True, True]
    assert table.loc["A2", "separation"].startswith("D3 ⊥ S3 | D2, P3, S1, S2 in G")


def test_an_exposure_that_acts_on_a_preference_is_told():
    assert blocked_ways(sequential_graph(3)) == []
    assert blocked_ways(variant_graph("shaping S[t-1] → P[t]", 3)) == ["S1 → P2", "S2 → P3"]


def test_every_table_of_an_audit_at_five_steps():
    checked = audit(sequential_graph(5, online=True), 5)
    assert all(len(table) for table in (breaking_table(checked), repair_table(checked), step_table(checked)))


def test_the_causal_side_imports_neither_torch_nor_dowhy():
    modules = ("graph", "docalculus", "theorem", "certificate", "identify", "diagram")
    code = "; ".join(f"import csrec_core.causal.{name}" for name in modules)
    code += "; import sys; print([name for name in ('torch', 'dowhy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def sets_of(step):
    """The rule of a step and its sets, as text."""
    check = step.check
    return f"{check.rule}: " + "; ".join(
        " ".join(sorted(nodes)) for nodes in (check.y, check.x, check.z, check.w)
    )


def test_every_step_is_the_one_that_the_proof_names():
    assert {name: sets_of(step) for name, step in derive_theorem(sequential_graph(3), 3).items()} == {
        "A1": "3: D2; S1 S2; S3; P3",
        "A2": "2: D3; S1 S2; S3; D2 P3",
        "A3": "3: D3; ; S1 S2; D2 P3 S3",
        "E1": "1: D2; S1 S2; P2; P3",
        "E2": "1: D2; S1 S2; P3; P2",
        "H0": "2: D1; ; S1; P1",
        "H1": "3: D2; S1 S2; S3; P1 P2 P3",
        "H2": "1: D2; S1 S2; P3; P1 P2",
        "H3": "2: D3; S1 S2; S3; D2 P1 P2 P3",
        "H4": "3: D3; ; S1 S2; D2 P1 P2 P3 S3",
        "H5": "1: D3; ; P1 P2; D2 P3 S3",
        "T1": "1: D3; ; R; D2 P3 S3",
    }


def test_every_arrow_that_may_be_added_is_tried_once():
    graph = sequential_graph(2, regime="exposure")
    step = {name: int(name[1:] or 0) for name in graph}
    free = [
        (a, b)
        for a, b in itertools.permutations(graph, 2)
        if step[a] <= step[b] and not graph.has_edge(a, b) and not nx.has_path(graph, b, a)
    ]
    pairs = itertools.combinations(sorted(graph), 2)
    expected = [*(("directed", *edge) for edge in free), *(("bidirected", *pair) for pair in pairs)]
    assert sorted(additions(graph)) == sorted(expected)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_an_audit_goes_through_every_time_up_to_its_own(t):
    found = audit(sequential_graph(t), t, certificates=False)
    assert [derivation["A2"].check.y for derivation in found.chain] == [{f"D{i}"} for i in range(2, t + 1)]
    today, history = (found.identifications[name] for name in ("today", "history"))
    assert (today.given, len(history.given)) == ({f"P{t}"}, t)
    assert (len(today.do), today.y) == (t, {f"D{t}"})


@pytest.mark.parametrize("options", [{}, {"seed": 5}])
def test_an_audit_certifies_each_step_in_the_models_of_its_seed(options):
    found = audit(variant_graph("carry-over S[t-1] → D[t]", 2), 2, **options)
    seed = options.get("seed", 0)
    assert found.certificates == {
        name: certify(step.check, seed=seed) for name, step in found.derivation.items()
    }


def test_variants_are_looked_at_from_two_steps_to_six(monkeypatch):
    name = "carry-over S[t-1] → D[t]"
    monkeypatch.setattr("csrec_core.causal.audit.VARIANTS", {name: VARIANTS[name]})
    table = variant_table()
    assert table.groupby("t", sort=False).size().to_dict() == dict.fromkeys(
        range(2, 7), 13
    )  # twelve steps and ID
