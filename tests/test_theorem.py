import pytest

from csrec_core.errors import InputError
from csrec_core.graph import causal_graph, sequential_graph, variant_graph
from csrec_core.theorem import check_base, check_transport, derive_theorem, latex_probability


def broken(graph, t):
    return {step.name for step in derive_theorem(graph, t) if not step.check}


# What breaks at t >= 3, worked out by hand; E1 fails everywhere (P_{t-1} → D_{t-1} is in Figure 1).
KNOWN = {
    "Figure 1, self-chosen exposure": set(),
    "Figure 1, randomised exposure": set(),
    "online D[t-1] → S[t]": set(),
    "shaping S[t-1] → P[t]": set(),
    "latent S[t] ↔ D[t]": {"A2", "H3"},
    "latent S[t] ↔ D[t], online": {"A2", "H3"},
    "latent D[t-1] ↔ D[t]": {"A3", "H4", "H5"},
    "second order D[t-2] → D[t]": {"A3", "H4", "H5"},
    "carry-over S[t-1] → D[t]": {"A3", "H4", "H5"},
    "lagged taste P[t-1] → D[t]": {"A3", "H5"},
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
            assert derivation.theorem
            assert derivation.recursion
            assert not derivation.holds("equation 6")


def test_amplification_breaks_the_recursion_but_not_the_theorem():
    derivation = derive_theorem(variant_graph("preference amplification D[t-1] → P[t]", 3), 3)
    assert derivation.theorem
    assert not derivation.recursion


def test_a_longer_graph_does_not_change_an_earlier_step():
    graph = variant_graph("carry-over S[t-1] → D[t]", 6)
    assert broken(graph, 3) == broken(variant_graph("carry-over S[t-1] → D[t]", 3), 3)


def test_what_each_step_says():
    a1, a2, a3 = derive_theorem(sequential_graph(3), 3).part("theorem")
    assert a1.before == r"P(D_{2} \mid do(S_{1:3}), P_{3})"
    assert a1.after == a2.before.replace("D_{3}", "D_{2}").replace("1:3", "1:2").replace(", D_{2})", ")")
    assert a1.graph_name == r"G_{\overline{S_{1:3}}}"
    assert a2.graph_name == r"G_{\overline{S_{1:2}}, \underline{S_{3}}}"
    assert a2.after == a3.before == r"P(D_{3} \mid do(S_{1:2}), S_{3}, P_{3}, D_{2})"
    assert a3.after == r"P(D_{3} \mid S_{3}, P_{3}, D_{2})"
    assert a3.graph_name == "G"
    assert a3.check.z_of_w == frozenset()
    assert a2.separation == r"D_{3} \perp\!\!\!\perp S_{3} \mid S_{1:2}, P_{3}, D_{2}"


def test_the_printed_rules_refuse_step_a2():
    printed = derive_theorem(sequential_graph(3), 3, reading="printed")
    assert [step.name for step in printed.part("theorem") if not step.check] == ["A2"]


def test_the_base_of_the_recursion():
    assert check_base(sequential_graph(2)).check
    assert not check_base(variant_graph("latent S[t] ↔ D[t]", 2)).check


def test_transport_needs_that_the_regime_acts_through_the_exposure_only():
    assert check_transport(sequential_graph(3), 3).check
    assert check_transport(sequential_graph(3, regime="exposure"), 3).check
    assert not check_transport(sequential_graph(3, regime="acceptance"), 3).check
    # R → S ← U → D is opened by conditioning on S
    assert not check_transport(variant_graph("latent S[t] ↔ D[t]", 3), 3).check


def test_latex_writes_runs_and_plain_names():
    text = latex_probability(["D3"], do=["S1", "S2", "S4"], given=["age"])
    assert text == r"P(D_{3} \mid do(S_{1:2}, S_{4}), age)"


@pytest.mark.parametrize(
    ("t", "message"), [(1, "at least 2"), (9, "unknown node 'P4' in the query at t = 9")]
)
def test_bad_time_steps_are_refused(t, message):
    with pytest.raises(InputError, match=message):
        derive_theorem(sequential_graph(3), t)


def test_a_graph_with_hidden_taste_is_refused():
    edges = list(sequential_graph(2).edges)
    with pytest.raises(InputError, match="latent node 'P"):
        derive_theorem(causal_graph(edges, latent=["P1", "P2"]), 2)
