import itertools

import networkx as nx
import numpy as np
import pytest
from causal_peers import PUBLISHED

from csrec_core.causal.adjustment import adjustment_sets, front_doors, implications, instruments
from csrec_core.causal.certificate import certify_formula, conditional, random_model
from csrec_core.causal.expression import Conditional, Product, Sum
from csrec_core.causal.graph import VARIANTS, causal_graph, observed, sequential_graph, variant_graph
from csrec_core.causal.identify import Identifiability, identify
from csrec_core.causal.search import Source, project_latents
from csrec_core.causal.twins import smallest_core, twin_models
from csrec_core.errors import InputError
from csrec_core.report.formula import to_mathml

# name: arrows, confounded pairs, is P(y | do x) identifiable (all from the literature)
CATALOGUE = {
    "bow": ("xy", ["xy"], False),
    "instrument": ("zx xy", ["xy"], False),
    "back door": ("cx cy xy", [], True),
    "front door": ("xm my", ["xy"], True),
    "confounded mediator": ("xm my", ["my"], True),
    "confounded first link": ("xm my", ["xm"], False),
    "napkin": ("wr rx xy", ["wx", "wy"], True),
    "M bias": ("xy", ["xc", "cy"], True),
    "back door hidden": ("cx xy", ["cy", "xc"], False),
    "front door spoilt": ("xm my", ["xy", "xm"], False),
}


def pairs(text):
    return [tuple(pair) for pair in (text.split() if isinstance(text, str) else text)]


def same_as_truth(graph, found, *, y, do=(), given=(), seed=0):
    """Whether the formula, fed the observed distribution, gives the interventional one."""
    model = random_model(graph, np.random.default_rng(seed))
    shape = [2 if node in observed(graph) else 1 for node in model.order]
    every = conditional(model, sorted(observed(graph)))
    assert list(every.shape) == shape
    axes = [model.order.index(node) for node in found.order]
    hidden = [i for i, length in enumerate(shape) if length == 1]

    def to_found_order(array):
        return array.transpose(axes + hidden).reshape([array.shape[i] for i in axes])

    value = found.value(to_found_order(every))
    truth = to_found_order(conditional(model, y, do=do, given=given))
    return np.allclose(
        np.broadcast_to(value, np.broadcast_shapes(value.shape, truth.shape)), truth, atol=1e-10
    )


@pytest.mark.parametrize("name", CATALOGUE)
def test_textbook_verdicts(name):
    arrows, confounded, expected = CATALOGUE[name]
    graph = causal_graph(pairs(arrows), pairs(confounded))
    found = identify(graph, y="y", do="x")
    assert bool(found) == expected
    if expected:
        assert same_as_truth(graph, found, y=["y"], do=["x"])
    else:
        group, part = found.hedge
        assert part < group


def test_textbook_formulas():
    front_door = identify(causal_graph(pairs("xm my"), [("x", "y")]), y="y", do="x")
    assert front_door.formula.latex() == r"\sum_{m'} P(m' \mid x) \, \sum_{x'} P(x') \, P(y \mid m', x')"
    back_door = identify(causal_graph(pairs("cx cy xy")), y="y", do="x")
    assert back_door.formula.latex() == r"\sum_{c'} P(c') \, P(y \mid x, c')"
    assert identify(causal_graph(pairs("xy")), y="y", do="x").formula.latex() == r"P(y \mid x)"


def test_conditioning_can_make_an_effect_identifiable():
    # c closes the one confounded way from x to y
    graph = causal_graph(pairs("xy ux uc cy"), latent=["u"])
    assert identify(graph, y="y", do="x", given="c").formula.latex() == r"P(y \mid c, x)"
    assert not identify(causal_graph(pairs("xy ux uc"), [("c", "y")], latent=["u"]), y="y", do="x", given="c")


def test_the_recursion_is_what_identification_finds():
    found = identify(sequential_graph(2), y="D2", do=["S1", "S2"], given=["P1", "P2"])
    last = r"P(D_{1}' \mid S_{1}, P_{1})"
    recursion = rf"\sum_{{D_{{1}}'}} {last} \, P(D_{{2}} \mid S_{{2}}, P_{{2}}, D_{{1}}')"
    assert found.found.latex() == recursion
    assert (
        found.formula.latex() == r"P(D_{2} \mid S_{1:2}, P_{1:2})"
    )  # seeing the exposures is as good as setting them


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_formulas_are_matched_in_length_and_value(name):
    arrows, confounded, y, do, names, _ = PUBLISHED[name]
    graph = causal_graph(pairs(arrows), pairs(confounded))
    found = identify(graph, y=list(y), do=do)
    assert found.formula.size <= names
    assert same_as_truth(graph, found, y=list(y), do=[do])


def test_a_variable_that_two_sums_run_over_is_not_captured():
    inner = Sum("x", Conditional(frozenset("y"), frozenset("x")))
    outer = Sum("x", Product((Conditional(frozenset("x")), inner)))
    assert outer.text() == "Σ_x' P(x') Σ_x'' P(y | x'')"
    assert Product((inner, Conditional(frozenset("x")))).text() == "(Σ_x' P(y | x')) P(x)"


def test_names_come_out_as_text_whatever_is_in_them():
    name = r"a_b\href{javascript:x}$&<i>"
    found = identify(causal_graph([("c", name), (name, "y"), ("c", "y")]), y="y", do=name)
    assert r"\text{a\_b\textbackslash{}href\{javascript:x\}\$\&<i>}" in found.formula.latex()
    markup = to_mathml(found.formula.latex())
    assert "<i>" not in markup
    assert "href=" not in markup


def random_case(rng, *, nodes=4):
    names = [f"v{i}" for i in range(nodes)]
    every = list(itertools.combinations(names, 2))
    edges = [pair for pair in every if rng.random() < 0.6]
    latent = [every[i] for i in rng.permutation(len(every))[: rng.integers(1, 4)]]
    shuffled = rng.permutation(names)
    cut = rng.integers(2, nodes + 1)
    return (
        causal_graph(edges, latent, nodes=names),
        str(shuffled[0]),
        str(shuffled[1]),
        [*map(str, shuffled[2:cut])],
    )


def test_every_formula_found_is_right():
    rng = np.random.default_rng(5)
    right = 0
    for _ in range(400):
        graph, y, x, given = random_case(rng, nodes=5)
        found = identify(graph, y=y, do=x, given=given)
        if found:
            assert isinstance(found.formula.latex(), str)
            assert all(check for line in found.derivation() for check in line.checks)
            assert same_as_truth(graph, found, y=[y], do=[x], given=given), (list(graph.edges), y, x, given)
            right += 1
    assert right > 100


def test_the_python_form_computes_what_the_formula_says():
    for arrows, confounded, y, do, *_ in PUBLISHED.values():
        graph = causal_graph(pairs(arrows), pairs(confounded))
        found = identify(graph, y=list(y), do=do)
        joint = np.random.default_rng(1).dirichlet(np.ones(2 ** len(found.order)))
        joint = joint.reshape([2] * len(found.order))
        made = {}
        exec(found.python(), made)
        np.testing.assert_allclose(made["effect"](joint), found.value(joint), rtol=1e-12)


def probabilities(graph, theta, states):
    """The joint distribution of every node, complex-step differentiable; latent nodes have more states."""
    order = list(nx.lexicographical_topological_sort(graph))
    joint, used = np.ones((1,) * len(order), dtype=complex), 0
    tables = {}
    for i, node in enumerate(order):
        axes = sorted(order.index(parent) for parent in graph.pred[node])
        shape = [states[order[a]] for a in axes] + [states[node]]
        raw = np.exp(theta[used : used + np.prod(shape)].reshape(shape))
        used += np.prod(shape)
        table = raw / raw.sum(axis=-1, keepdims=True)
        full = [1] * len(order)
        for a in [*axes, i]:
            full[a] = states[order[a]]
        tables[node] = table.transpose(np.argsort([*axes, i])).reshape(full)
        joint = joint * tables[node]
    return order, joint, tables


def is_locally_identifiable(graph, y, do, *, seed):
    """Whether no small change of the model keeps what is observed and moves P(y | do)."""
    order = list(nx.lexicographical_topological_sort(graph))
    states = {node: 2 if node in observed(graph) else 3 for node in order}
    size = sum(int(np.prod([states[p] for p in graph.pred[n]], initial=states[n])) for n in order)
    theta = np.random.default_rng(seed).normal(size=size)
    hidden = tuple(i for i, node in enumerate(order) if states[node] == 3)

    def maps(point):
        _, joint, tables = probabilities(graph, point, states)
        cut = np.ones_like(joint)
        for node in order:
            cut = cut * (1 if node in do else tables[node])  # what is set from outside has no table
        others = tuple(i for i, node in enumerate(order) if node not in {*do, y})
        query = np.broadcast_to(cut, joint.shape).sum(axis=others).ravel()
        return joint.sum(axis=hidden).ravel(), query

    columns = [maps(theta + 1e-30j * np.eye(size)[i]) for i in range(size)]
    seen = np.array([column[0].imag for column in columns]) * 1e30
    wanted = np.array([column[1].imag for column in columns]) * 1e30
    residual = wanted - seen @ np.linalg.lstsq(seen, wanted, rcond=1e-9)[0]
    return bool(np.abs(residual).max() < 1e-6)


def test_what_is_called_unidentifiable_can_move_without_being_seen():
    rng = np.random.default_rng(11)
    verdicts = []
    for number in range(60):
        graph, y, x, _ = random_case(rng)
        found = bool(identify(graph, y=y, do=x))
        assert found == is_locally_identifiable(graph, y, [x], seed=number), (list(graph.edges), y, x)
        verdicts.append(found)
    assert 5 < sum(verdicts) < 55


@pytest.mark.parametrize("name", VARIANTS)
def test_a_latent_cause_of_exposure_and_decision_is_all_that_hides_the_effect(name):
    graph = variant_graph(name, 3)
    found = identify(graph, y="D3", do=["S1", "S2", "S3"], given=["P1", "P2", "P3"])
    assert bool(found) == ("latent S[t] ↔ D[t]" not in name)
    if found and name.startswith("latent"):
        query = {"y": ["D3"], "do": ["S1", "S2", "S3"], "given": ["P1", "P2", "P3"]}
        assert same_as_truth(graph, found, **query)


@pytest.mark.parametrize("exposure", ["observational", "randomised"])
def test_with_hidden_preferences_only_randomised_exposure_identifies(exposure):
    graph = sequential_graph(2, exposure=exposure, online=True)
    for given in (["P1", "P2"], ["P2"], []):
        assert identify(graph, y="D2", do=["S1", "S2"], given=given)
    hidden = causal_graph(graph.edges, latent=["P1", "P2"])
    for do, given in ((["S1", "S2"], []), (["S1", "S2"], ["D1"]), (["S2"], ["S1", "D1"])):
        assert bool(identify(hidden, y="D2", do=do, given=given)) == (exposure == "randomised")
    assert is_locally_identifiable(hidden, "D2", ["S1", "S2"], seed=0) == (exposure == "randomised")
    if exposure == "randomised":
        query = {"do": ["S2"], "given": ["S1", "D1"]}
        assert same_as_truth(hidden, identify(hidden, y="D2", **query), y=["D2"], **query)


def test_an_experiment_on_another_node_gives_what_the_log_cannot():
    # the instrument's graph with the mediator confounded: an experiment on z, which moves x, does not help;
    # one on x does (Lee, Correa and Bareinboim 2019)
    graph = causal_graph(pairs("xm my"), [("x", "m"), ("x", "y")])
    assert not identify(graph, y="y", do="x")
    trial = Source("trial", frozenset("m"))
    assert not identify(graph, y="y", do="x", sources=[Source(), trial])
    found = identify(graph, y="y", do="x", sources=[Source(), Source("trial", frozenset("x"))])
    assert found.formula.text() == "P[trial](y | x)" or "P[trial]" in found.formula.text()
    model = random_model(graph, np.random.default_rng(3))
    order = [model.order.index(node) for node in found.order]
    hidden = [i for i in range(len(model.order)) if i not in order]
    arm = conditional(model, ["m", "y"], do=["x"]) / 2  # x drawn by a coin

    def shaped(array):
        return array.transpose(order + hidden).reshape([array.shape[i] for i in order])

    laws, made = (shaped(conditional(model, list(found.order))), {"trial": shaped(arm)}), {}
    exec(found.python(), made)
    for value in (found.value(*laws), made["effect"](*laws)):
        np.testing.assert_allclose(value, shaped(conditional(model, ["y"], do=["x"])), atol=1e-12)


def test_a_source_whose_mechanism_differs_is_not_used_for_it():
    graph = causal_graph(pairs("xy"), [("x", "y")])
    other = Source("trial", frozenset("x"), differs=frozenset("y"))
    assert identify(graph, y="y", do="x", sources=[Source(), Source("trial", frozenset("x"))])
    assert not identify(graph, y="y", do="x", sources=[Source(), other])


def by_criterion(graph, y, do):
    """Every set that satisfies Pearl's back-door criterion, by trying all."""
    below = nx.descendants(graph, do)
    spare = sorted(observed(graph) - {y, do} - below)
    cut = graph.copy()
    cut.remove_edges_from(list(graph.out_edges(do)))
    every = [frozenset(s) for k in range(len(spare) + 1) for s in itertools.combinations(spare, k)]
    fits = [nodes for nodes in every if nx.is_d_separator(cut, {do}, {y}, set(nodes))]
    return {nodes for nodes in fits if not any(other < nodes for other in fits)}


def test_adjustment_sets_are_the_minimal_ones_of_the_back_door():
    rng = np.random.default_rng(2)
    some = 0
    for _ in range(150):
        graph, y, x, _ = random_case(rng, nodes=5)
        found = adjustment_sets(graph, y=[y], do=[x])
        assert set(found) == by_criterion(graph, y, x)
        some += len(found) > 1
    assert some > 3


def test_front_doors_and_instruments_of_the_textbooks():
    graph = causal_graph(pairs("xm my"), [("x", "y")])
    assert front_doors(graph, y="y", do="x") == [frozenset("m")]
    assert front_doors(causal_graph(pairs("xm my xy"), [("x", "y")]), y="y", do="x") == []
    graph = causal_graph(pairs("zx xy cz cy"), [("x", "y")])
    assert instruments(graph, y="y", do="x") == [("z", frozenset("c"))]
    assert instruments(causal_graph(pairs("zx xy zy"), [("x", "y")]), y="y", do="x") == []


@pytest.mark.parametrize(("second", "found"), [("n18", True), ("n19", False)])
def test_two_hundred_conditions_of_an_instrument_are_tried(second, found):
    """Of the pairs of twenty nodes n14 and n18 are the 179th, after the empty set and each node alone."""
    confounders = [(c, node) for c in ("n14", second) for node in "zy"]
    nodes = [f"n{number:02}" for number in range(20)]
    graph = causal_graph([*pairs("zx xy"), *confounders], [("x", "y")], nodes=nodes)
    assert instruments(graph, y="y", do="x") == ([("z", frozenset({"n14", second}))] if found else [])


def test_implications_are_independences_and_no_pair_is_missed():
    rng = np.random.default_rng(4)
    for _ in range(60):
        graph, *_ = random_case(rng, nodes=5)
        told = {frozenset((a, b)): nodes for a, b, nodes in implications(graph)}
        for a, b in itertools.combinations(sorted(observed(graph)), 2):
            others = sorted(observed(graph) - {a, b})
            sets = [s for k in range(len(others) + 1) for s in itertools.combinations(others, k)]
            separable = [s for s in sets if nx.is_d_separator(graph, {a}, {b}, set(s))]
            assert (frozenset((a, b)) in told) == bool(separable)
            if separable:
                assert nx.is_d_separator(graph, {a}, {b}, set(told[frozenset((a, b))]))


def test_projection_follows_latent_chains():
    graph = causal_graph(pairs("au uv vb vc"), latent=["u", "v"])
    directed, confounded = project_latents(graph)
    assert set(directed.edges) == {("a", "b"), ("a", "c")}
    assert {frozenset(pair) for pair in confounded.edges} == {frozenset("bc")}


def test_dowhys_id_algorithm_is_not_sound_with_latent_nodes():
    from dowhy.causal_identifier import identify_effect_id

    bow = causal_graph(pairs("xy"), [("x", "y")])
    assert not identify(bow, y="y", do="x")
    # the bow's effect has no formula, yet dowhy's id-algorithm returns one: it adjusts for the latent node
    assert "P(y|U(x,y),x)" in str(identify_effect_id(bow, action_nodes=["x"], outcome_nodes=["y"]))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"y": "q"}, "unknown node 'q'"),
        ({"y": "y", "do": "y"}, "overlap"),
        ({"y": (), "do": "x"}, "y is empty"),
        ({"y": "y", "do": "U(x,y)"}, "latent node"),
    ],
)
def test_bad_queries_are_refused(query, message):
    with pytest.raises(InputError, match=message):
        identify(causal_graph(pairs("xy"), [("x", "y")]), **query)


def test_no_formula_no_value():
    found = identify(causal_graph(pairs("xy"), [("x", "y")]), y="y", do="x")
    with pytest.raises(InputError, match="not identifiable"):
        found.formula.latex()
    with pytest.raises(InputError, match="not identifiable"):
        found.value(np.full((2, 2), 0.25))


def enumerated(twins, which, *, do=(), world):
    """The probability of a world (node: value) in one of two models, by adding up all states one by one."""
    order = list(twins.tables)
    total = 0.0
    for states in itertools.product(*(range(twins.tables[node][which].shape[-1]) for node in order)):
        now = dict(zip(order, states, strict=True))
        if all(now[node] == value for node, value in world.items()):
            chance = 1.0
            for node in order:
                if node not in do:
                    parents = sorted(twins.core.pred[node], key=order.index)
                    chance *= twins.tables[node][which][(*(now[p] for p in parents), now[node])]
            total += chance
    return total


def test_twins_have_one_law_and_two_effects():
    rng = np.random.default_rng(3)
    built = 0
    while built < 12:
        graph, y, x, given = random_case(rng)
        found = identify(graph, y=y, do=x, given=given)
        if found:
            continue
        twins = twin_models(found, core=smallest_core(found))
        measured = sorted(observed(twins.core))
        for values in itertools.product((0, 1), repeat=len(measured)):
            world = dict(zip(measured, values, strict=True))
            one, other = (enumerated(twins, which, world=world) for which in (0, 1))
            assert one == pytest.approx(other, abs=1e-12)
        fixed = dict.fromkeys({x, *given}, 1)
        for which, told in enumerate(twins.effects):
            both = enumerated(twins, which, do=[x], world=fixed | {y: 1})
            assert told == pytest.approx(both / enumerated(twins, which, do=[x], world=fixed), abs=1e-12)
        assert twins.difference > 1e-3
        # The one table that differs is moved either way as far as one of its probabilities goes.
        (moved,) = (pair for pair in twins.tables.values() if not np.array_equal(*pair))
        for table in moved:
            assert min(table.min() - 0.01, 0.99 - table.max()) == pytest.approx(0, abs=1e-9)
        built += 1


@pytest.mark.parametrize("large", [False, True])
def test_only_small_graphs_of_the_log_alone_are_searched_again(monkeypatch, large):
    """A trial's formula is the one that was found, and of many nodes that of the adjustment is taken."""
    more = [("y", f"z{i:02}") for i in range(40 if large else 0)]
    sources = [Source()] if large else [Source(), Source("trial", frozenset("c"))]
    found = identify(causal_graph([*pairs("cx cy xy"), *more]), y="y", do="x", sources=sources)
    monkeypatch.setattr(Identifiability, "_searched", lambda *_, **__: pytest.fail("searched again"))
    assert found.formula.text() == "Σ_c' P(c') P(y | x, c')"


def test_nodes_are_left_out_one_by_one():
    # Of a and b, between x and y, either can be adjusted for: the sets begin with a, the nodes left out as well.
    found = identify(
        causal_graph([("b", "x"), ("b", "a"), ("a", "y"), ("x", "y"), ("y", "z")]), y="y", do="x"
    )
    assert found.adjustment[0] == {"a"}
    assert found.needed == {"x", "y", "b"}


def test_a_trials_arms_are_as_many_as_its_settings():
    graph = causal_graph(pairs("cx cy xy"))
    trial = Source("trial", frozenset("x"))
    found = identify(graph, y="c", do="x", sources=[trial])
    assert found.formula.text() == "P[trial](c)"
    assert certify_formula(found).agrees
    both = identify(graph, y="c", do=["x", "y"], sources=[Source("trial", frozenset("xy"))])
    assert certify_formula(both).agrees
    assert certify_formula(both) == certify_formula(both, models=5, seed=0)
