"""The tests of the theorem's assumptions: what they claim of graphs, when they fire, when they must not."""

import itertools
import random
import re

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, sequential_graph
from csrec_core.causal.theorem import derive_theorem
from csrec_core.data.books import VIOLATIONS, simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect.assumptions import (
    AMPLIFICATION,
    ASSUMPTIONS,
    CARRY_OVER,
    CONFOUNDING,
    LAGGED_PREFERENCE,
    MARKOV,
    SECOND_ORDER,
    SHAPING,
    TRAIT,
    TRANSPORT,
    assumption_tests,
)
from csrec_core.effect.independence import covariance_test, local_markov

T = 4
NO_EFFECT = {"effect": 0.0, "trust_spread": 0.0}
#: The one departure from Figure 1 that an assumption rules out, of `graph.VARIANTS`.
VARIANT_OF = {
    SHAPING: "instant shaping S[t] → P[t], randomised",
    CONFOUNDING: "latent S[t] ↔ D[t]",
    CARRY_OVER: "carry-over S[t-1] → D[t]",
    SECOND_ORDER: "second order D[t-2] → D[t]",
    LAGGED_PREFERENCE: "lagged preference P[t-1] → D[t]",
    TRAIT: "latent D[t-1] ↔ D[t], randomised",
    AMPLIFICATION: "preference amplification D[t-1] → P[t]",
}
ON_SYSTEM_ROWS = (SHAPING, TRAIT, AMPLIFICATION)
STRENGTHS = {  # knobs at which 1,500 users show each violation
    "carry_over_exposure": {"carry_over_exposure": 0.6},
    "second_order": {"second_order": 0.6},
    "lagged_preference": {"lagged_preference": 4.0, "drift": 0.3},
    "amplification": {"amplification": 0.3},
}


def at(template):
    """`D[t-2]` at time T; `R` has no time."""
    row, lag = re.fullmatch(r"([PSDR])(?:\[t(-\d)?\])?", template).groups()
    return row if row == "R" else f"{row}{T + int(lag or 0)}"


def parts(assumption):
    """The nodes of `y ⊥ z | given` as sets; empty where no independence is stated."""
    left, _, right = assumption.statement.partition(" ⊥ ")
    z, _, given = right.partition(" | ")
    return tuple({at(name) for name in text.split(", ") if name} for text in (left * bool(z), z, given))


def implied(assumption, variant):
    """Whether the variant of Figure 1 implies the independence, under the exposure it is tested on."""
    options = dict(VARIANTS[variant])
    if assumption in ON_SYSTEM_ROWS:  # randomised: nothing points at S
        options["exposure"] = "randomised"
        options["latent"] = [pair for pair in options.get("latent", ()) if pair[0] != "S[t]"]
    graph = sequential_graph(T, regime="exposure", **options)
    y, z, w = parts(assumption)
    return bool(check_rule(graph, 1, y=y, z=z, w=w))


def verdicts(dataset, **options):
    table = assumption_tests(dataset, **options)
    return dict(zip(ASSUMPTIONS, table["verdict"], strict=True))


def violated(dataset, **options):
    return {one for one, verdict in verdicts(dataset, **options).items() if verdict == "violated"}


@pytest.mark.parametrize("assumption", [a for a in ASSUMPTIONS if a != CONFOUNDING], ids=lambda a: a.name)
def test_figure_1_implies_every_statement(assumption):
    assert implied(assumption, "Figure 1, self-chosen exposure")


@pytest.mark.parametrize("assumption", [a for a in ASSUMPTIONS if a in VARIANT_OF], ids=lambda a: a.name)
def test_the_variant_denies_the_statement_and_breaks_the_steps(assumption):
    if assumption != CONFOUNDING:
        assert not implied(assumption, VARIANT_OF[assumption])
    graph = sequential_graph(T, **VARIANTS[VARIANT_OF[assumption]])
    assert {name for name, step in derive_theorem(graph, T).items() if not step.check} - {"E1"} == set(
        assumption.steps
    )


def test_a_source_that_acts_on_acceptance_denies_the_transport():
    graph = sequential_graph(T, regime="acceptance")
    y, z, w = parts(TRANSPORT)
    assert not check_rule(graph, 1, y=y, z=z, w=w)


def test_one_source_alone_never_shows_a_hidden_cause_of_exposure_and_decision():
    """With S[t] ↔ D[t] the very same independences hold: every pair, given every set. R tells them apart."""
    plain = sequential_graph(2)
    confounded = sequential_graph(2, **VARIANTS[VARIANT_OF[CONFOUNDING]])
    for y, z in itertools.combinations(plain, 2):
        rest = sorted(set(plain) - {y, z})
        for size in range(len(rest) + 1):
            for w in itertools.combinations(rest, size):
                holds = [bool(check_rule(graph, 1, y=y, z=z, w=w)) for graph in (plain, confounded)]
                assert holds[0] == holds[1], (y, z, w)
    assert not implied(TRANSPORT, VARIANT_OF[CONFOUNDING])


@pytest.fixture(scope="module")
def clean():
    return simulate_books(users=1500, items=100, steps=15, seed=1, **NO_EFFECT)


@pytest.mark.parametrize("knob", STRENGTHS)
def test_a_violation_is_found_and_only_what_it_denies_with_it(knob):
    world = simulate_books(users=1500, items=100, steps=15, seed=1, **NO_EFFECT, **STRENGTHS[knob])
    found = violated(world)
    assert VIOLATIONS[knob] in {VARIANT_OF.get(one) for one in found}
    assert not {one for one in found if implied(one, VIOLATIONS[knob])}


def test_a_hidden_mood_shows_between_the_sources_only():
    world = simulate_books(users=1500, items=100, steps=15, seed=1, confounder=1.5, **NO_EFFECT)
    assert violated(world) == {TRANSPORT}
    table = assumption_tests(world).set_index("assumption").loc[CONFOUNDING.name]
    assert table["verdict"] == "cannot be tested on this log"
    assert "mixed with the effect" in table["testable"]


def test_trust_that_differs_is_a_lasting_trait():
    found = violated(simulate_books(users=1500, items=100, steps=15, seed=1, effect=0, trust_spread=0.7))
    assert TRAIT in found
    assert found <= {TRAIT, TRANSPORT}


def test_the_source_effect_is_found():
    world = simulate_books(users=1500, items=100, steps=15, seed=1, effect=0.6, trust_spread=0)
    assert violated(world) == {TRANSPORT}


def test_a_clean_world_shows_no_sign():
    """At most one of twenty families at the level 0.05 is expected; more than three has a chance of 1.6%."""
    families = [
        violated(simulate_books(users=300, items=60, steps=10, seed=seed, **NO_EFFECT), seed=seed)
        for seed in range(20)
    ]
    assert sum(map(bool, families)) <= 3


def test_preferences_that_answer_to_the_exposure_are_found(clean):
    shaped = clean.truth.copy()
    shaped.loc[shaped["source"] == "system", "preference"] *= 1.1
    assert SHAPING in violated(Dataset(clean.log, items=clean.items, truth=shaped))


def test_a_catalogue_larger_than_what_was_exposed_is_no_shaping():
    """Books that nobody met count in the chance of a genre all the same."""
    world = simulate_books(users=150, items=3000, steps=4, **NO_EFFECT)
    assert world.log["item"].nunique() < 1500
    table = assumption_tests(world).set_index("assumption")
    assert table.loc[SHAPING.name, "p"] > 0.01
    bare = assumption_tests(Dataset(world.log, items=world.items[["item"]], truth=world.truth))
    assert bare.set_index("assumption").loc[SHAPING.name, "testable"].startswith("no: it takes genres")


def test_decisions_that_repeat_for_ever_leave_nothing_to_test(clean):
    log = clean.log.assign(decision=(clean.log["user"] % 2).astype("int8"))
    found = verdicts(Dataset(log, items=clean.items, truth=clean.truth))
    assert {one for one, verdict in found.items() if not verdict.startswith("cannot")} <= {
        SHAPING,
        AMPLIFICATION,
        MARKOV,
    }


def test_hidden_preferences(clean):
    table = assumption_tests(Dataset(clean.log, items=clean.items)).set_index("assumption")
    tested = table["p"].notna()
    assert table.loc[tested, "testable"].str.startswith("of the history model, not of the graph").all()
    assert (table.loc[~tested, "verdict"] == "cannot be tested on this log").all()
    assert table.loc[~tested, "testable"].str.startswith("no: ").all()
    for assumption in ASSUMPTIONS:
        y, z, _ = parts(assumption)
        if any(name[0] == "P" for name in y | z) and assumption != MARKOV:
            assert not tested[assumption.name]


def test_preferences_that_stay_leave_nothing_to_test():
    still = simulate_books(users=300, items=60, steps=8, drift=0, **NO_EFFECT)
    table = assumption_tests(still).set_index("assumption")
    assert table.loc[AMPLIFICATION.name, "testable"] == "no: preferences stay as they are"
    assert table["p"].notna().sum() == 6


@pytest.mark.parametrize(
    ("kept", "untested"),
    [
        (lambda log: log["source"] == "self", {SHAPING, CONFOUNDING, TRAIT, AMPLIFICATION, TRANSPORT}),
        (lambda log: log["source"] == "system", {CONFOUNDING, TRANSPORT}),
        (lambda log: (log["source"] == "system") | (log["decision"] == 1), {CONFOUNDING, TRANSPORT}),
        (lambda log: log["user"] <= 20, set(ASSUMPTIONS)),
        (lambda log: log.index < 1, set(ASSUMPTIONS)),
    ],
    ids=["self only", "system only", "accepted self-chosen only", "few users", "one row"],
)
def test_what_a_log_does_not_hold_is_not_tested(clean, kept, untested):
    log = clean.log[kept(clean.log)].reset_index(drop=True)
    found = verdicts(Dataset(log, items=clean.items, truth=clean.truth))
    assert {one for one, verdict in found.items() if verdict.startswith("cannot")} == untested


def test_holm_is_the_smallest_p_times_the_tests_left():
    """Where several assumptions fail at once, as in a world with trust, each p-value has its own factor."""
    world = simulate_books(users=300, items=60, steps=10, seed=2)
    table = assumption_tests(world)
    p = table["p"].dropna().sort_values()
    factors = [8, 7, 6, 5, 4, 3, 2, 1]
    assert (p < 0.01).sum() >= 2
    stepped = np.maximum.accumulate([factor * value for factor, value in zip(factors, p, strict=True)])
    np.testing.assert_allclose(table.loc[p.index, "p_holm"], np.minimum(stepped, 1))
    for alpha in (0.01, 0.99):
        found = assumption_tests(world, alpha=alpha)
        np.testing.assert_array_equal(found["verdict"] == "violated", found["p_holm"] <= alpha)


def test_same_seed_same_table_and_no_global_randomness(clean):
    kept = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first, second = (assumption_tests(clean, seed=4) for _ in range(2))
    assert first.equals(second)
    np.testing.assert_array_equal(np.random.get_state()[1], kept[0])  # noqa: NPY002
    assert random.getstate() == kept[1]


def test_the_independences_of_a_graph_are_those_given_causes():
    """Of a → c ← b, c → d these are d's of a and of b, given c; a's of b is given nothing, and left out."""
    rng = np.random.default_rng(0)
    a, b, c, d = rng.normal(size=(4, 300))
    c = a + b + c
    data = pd.DataFrame({"a": a, "b": b, "c": c, "d": c + d})
    expected = [covariance_test(*(data[name].to_numpy() for name in ("d", other, "c"))) for other in "ab"]
    assert sorted(local_markov(nx.DiGraph(["ac", "bc", "cd"]), data)) == pytest.approx(sorted(expected))
