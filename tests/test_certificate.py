import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrec_core.causal.certificate import (
    TOLERANCE,
    StructuralModel,
    TooLarge,
    _elimination,
    certify,
    conditional,
    random_model,
    recursion_errors,
)
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, causal_graph, observed, sequential_graph, variant_graph
from csrec_core.causal.theorem import derive_theorem


@st.composite
def steps(draw):
    """A random graph of at most six measured nodes, up to two latent causes, and a random query."""
    names = [f"v{i}" for i in range(draw(st.integers(2, 6)))]
    pairs = list(itertools.combinations(names, 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=10))
    latent = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=2))
    more = draw(st.lists(st.sampled_from("yxzw-"), min_size=len(names) - 2, max_size=len(names) - 2))
    roles = dict(zip(names, draw(st.permutations(["y", "z", *more])), strict=True))
    sets = {role: [name for name in names if roles[name] == role] for role in "yxzw"}
    return causal_graph(edges, latent, nodes=names), draw(st.sampled_from([1, 2, 3])), sets


@settings(max_examples=400, deadline=None, derandomize=True)
@given(steps())
def test_the_sides_agree_exactly_where_the_rule_holds(step):
    graph, rule, sets = step
    check = check_rule(graph, rule, **sets)
    certificate = certify(check, models=4)
    assert certificate.agrees == bool(check), (list(graph.edges), rule, sets, certificate.gaps)


def brute_force(model, y, do, given):
    """P(y = 1 | do = 1, given = 1) by adding up every assignment of every variable."""
    top = bottom = 0.0
    for values in itertools.product((0, 1), repeat=len(model.order)):
        assignment = dict(zip(model.order, values, strict=True))
        if any(assignment[node] != 1 for node in [*do, *given]):
            continue
        weight = 1.0
        for node in set(model.order) - set(do):
            index = tuple(values[axis] for axis in model.parents[node])
            weight *= model.tables[node][(*index, assignment[node])]
        bottom += weight
        top += weight * assignment[y]
    return top / bottom


def test_conditional_is_what_adding_up_every_assignment_gives():
    rng = np.random.default_rng(0)
    graph = sequential_graph(2, online=True, latent=[("S[t]", "D[t]")])
    for do, seen in [((), ()), (("S2",), ("D1",)), (("S1", "S2"), ("P2",)), ((), ("S2", "P1", "D1"))]:
        model = random_model(graph, rng)
        exact = conditional(model, ["D2"], do=do, given=seen)
        at_one = exact[tuple(-1 for _ in model.order)]
        assert at_one == pytest.approx(brute_force(model, "D2", do, seen), abs=1e-12)
        np.testing.assert_allclose(exact.sum(axis=model.order.index("D2")), 1, atol=1e-12)


def test_a_confounded_arrow_worked_out_by_hand():
    # u → x, u → y, x → y; P(u) = 1/2, P(x|u) = .2/.8, P(y=1|u,x) = .1 + .3u + .4x
    tables = {
        "u": np.array([0.5, 0.5]),
        "x": np.array([[0.8, 0.2], [0.2, 0.8]]),
        "y": np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.6, 0.4], [0.2, 0.8]]]),
    }
    model = StructuralModel(("u", "x", "y"), {"u": (), "x": (0,), "y": (0, 1)}, tables)
    assert conditional(model, ["y"], do=["x"])[0, 1, 1] == pytest.approx(0.5 * 0.5 + 0.5 * 0.8)
    assert conditional(model, ["y"], given=["x"])[0, 1, 1] == pytest.approx(0.2 * 0.5 + 0.8 * 0.8)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_step_of_every_variant_is_certified(name):
    for t in (2, 3):
        graph = variant_graph(name, t)
        for step in derive_theorem(graph, t).values():
            assert certify(step.check, models=3).agrees == bool(step.check), (t, step.name)


def test_formulas_are_exact_where_the_graph_proves_them_and_wrong_elsewhere():
    worst = recursion_errors(sequential_graph(3, online=True), 3, models=10).groupby("formula").error.max()
    assert worst["theorem 3.1"] < TOLERANCE
    assert worst["recursion"] < TOLERANCE
    assert worst["equation 6"] > 0.01
    assert worst["equation 6, given both preferences"] < TOLERANCE
    broken = variant_graph("preference amplification D[t-1] → P[t]", 3)
    worst = recursion_errors(broken, 3, models=10).groupby("formula").error.max()
    assert worst["theorem 3.1"] < TOLERANCE
    assert worst["recursion"] > 0.01


def test_the_error_of_equation_6_counts_a_pair_of_preferences_as_often_as_it_occurs():
    errors = recursion_errors(sequential_graph(2), 2, models=1, seed=4).set_index("formula")["error"]
    model = random_model(sequential_graph(2), np.random.default_rng(4))
    by_hand = 0.0
    for p1, p2 in itertools.product((0, 1), repeat=2):
        joint = model.tables["P1"][p1] * model.tables["P2"][p1, p2]
        for s1, s2, d2 in itertools.product((0, 1), repeat=3):
            d1 = model.tables["D1"]  # axes: its parents in the order of the nodes, then D1
            order = [model.order[axis] for axis in model.parents["D1"]]

            def first(preference, s1=s1, d1=d1, order=order):
                return d1[tuple({"P1": preference, "S1": s1}[name] for name in order)]

            def second(last, p2=p2, s2=s2, d2=d2):
                names = [model.order[axis] for axis in model.parents["D2"]]
                return model.tables["D2"][(*({"P2": p2, "S2": s2, "D1": last}[n] for n in names), d2)]

            odds = model.tables["P1"] * model.tables["P2"][:, p2]  # yesterday's preference given today's
            of_today = (odds / odds.sum()) @ np.array([first(0), first(1)])
            found, truth = (sum(second(d) * law[d] for d in (0, 1)) for law in (first(p1), of_today))
            by_hand += joint * abs(found - truth) / 8
    assert errors["equation 6"] == pytest.approx(by_hand, abs=1e-12)


def test_models_are_reproducible():
    graph = sequential_graph(2)
    first, again = (random_model(graph, np.random.default_rng(7)) for _ in range(2))
    for node in observed(graph):
        np.testing.assert_array_equal(first.tables[node], again.tables[node])
        assert first.tables[node].min() >= 0.03


def test_what_does_not_fit_is_left_out_and_said():
    wide = causal_graph([(f"x{i}", b) for i in range(25) for b in ("y", "z")] + [("z", "y")])
    certificate = certify(check_rule(wide, 2, y="y", z="z"))
    assert (certificate.gaps, certificate.agrees) == ((), None)
    assert certificate.why == "not computed, because y has 26 causes: a table of 2^27 numbers"
    assert np.isnan(certificate.gap)


def test_causes_of_one_node_only_need_no_table():
    noise = [(f"x{i}", "y") for i in range(25)]
    confounded = [("c", "y"), ("c", "z"), ("z", "y")]
    assert not certify(check_rule(causal_graph(noise + confounded), 2, y="y", z="z")).agrees
    assert certify(check_rule(causal_graph(noise + confounded), 2, y="y", z="z", w="c")).agrees


def test_a_long_chain_is_too_large_and_a_shorter_one_is_not():
    chain = causal_graph([(f"v{i}", f"v{i + 1}") for i in range(300)])
    assert certify(check_rule(chain, 1, y="v50", z="v0", w="v20"), models=1).agrees
    assert "301 nodes bear on it" in certify(check_rule(chain, 1, y="v300", z="v0", w="v150")).why


def test_a_table_of_twenty_axes_is_the_largest():
    every = tuple(range(20))
    assert _elimination((every,), frozenset()) == every
    assert _elimination((every,), frozenset(every)) == ()
    for kept in (frozenset(), frozenset(range(21))):
        with pytest.raises(TooLarge, match=r"it takes a table of 2\^21 numbers"):
            _elimination((tuple(range(21)),), kept)
