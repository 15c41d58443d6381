"""The tests of the theorem's assumptions: what each is given of a log, row by row, and what it makes of it."""

from types import SimpleNamespace

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import assumptions
from csrec_core.effect.assumptions import NO_SIGN, RECORDED, UNTESTED, VIOLATED, _Rows, assumption_tests
from csrec_core.errors import InputError

RNG = np.random.default_rng(0)


def frame(users=120, steps=4, **columns):
    """Exposures of one arm, a user after the other."""
    rng = np.random.default_rng(1)
    count = users * steps
    table = pd.DataFrame({
        "user": np.repeat(np.arange(users), steps), "step": np.tile(np.arange(steps), users), "arm": 1,
        "decision": rng.integers(2, size=count), "item": rng.integers(3, size=count), "genre": 0,
    })  # fmt: skip
    names = ("last", "before_last", "same_genre", "appeal", "user_rate", "genre_rate", "genre_share", "seen")
    table = table.assign(**{name: rng.random(count) for name in names}).assign(
        last=rng.integers(2, size=count)
    )
    return table.assign(**columns)


def rows(table, measured=False):
    return _Rows(table, ("preference",) if measured else RECORDED, measured, ("a", "b"))


def test_rows_of_a_log_by_hand():
    table = pd.DataFrame({
        "user": 1, "t": [1, 2, 3, 4, 1, 2], "item": [1, 2, 1, 3, 2, 1], "decision": [1, 0, 1, 1, 0, 1],
        "source": ["self"] * 4 + ["system"] * 2, "timestamp": [10, 20, 30, 60, 40, 50],
    })  # fmt: skip
    items = pd.DataFrame({"item": [1, 2, 3, 4], "genre": ["x", "x", "y", "y"]})
    table["propensity"] = 0.25
    log = validate_log(table)
    truth = log[["user", "t", "source"]].assign(preference=np.arange(6) / 10, preference_before=0.5)
    found = _Rows.of_log(Dataset(log, items=items, truth=truth))
    lived = found.frame
    assert lived["item"].tolist() == [1, 2, 1, 2, 1, 3]
    assert lived["arm"].tolist() == [0, 0, 0, 1, 1, 0]
    assert lived["genre_size"].tolist() == [2, 2, 2, 2, 2, 2]
    # Share accepted in the arm up to the last but one, over the earlier exposures there less one, at least one.
    assert lived["earlier"].round(6).tolist()[1:3] == [0.0, 1.0]
    assert lived["earlier"].iloc[5] == pytest.approx(1 / 2)
    assert lived["earlier"].isna().tolist() == [True, False, False, True, False, False]
    assert lived["last_appeal"].isna().tolist() == [True] + [False] * 5
    assert lived["last_appeal"].tolist()[1:] == lived["appeal"].tolist()[:-1]
    order = [0, 1, 2, 4, 5, 3]
    assert lived["preference"].tolist() == pytest.approx([order[i] / 10 for i in range(6)])
    assert lived["preference_squared"].tolist() == pytest.approx([(order[i] / 10) ** 2 for i in range(6)])
    assert lived["seen"].tolist() == pytest.approx(np.log1p(np.arange(6)).tolist())
    assert (found.measured, found.names) == (True, ("self", "system"))
    bare = _Rows.of_log(Dataset(log))
    assert (bare.measured, bare.preferences) == (False, RECORDED)
    assert bare.frame["genre_size"].isna().all()


def test_the_arm_that_holds_both_decisions_is_tested():
    both = pd.DataFrame({"arm": [0, 0, 1, 1], "decision": [0, 1, 0, 1], "step": [0, 2, 1, 2]})
    assert rows(both).arm == 0
    assert rows(both.assign(decision=[1, 1, 0, 1])).arm == 1
    assert rows(both.assign(decision=1)).arm == 0
    assert rows(both).of(1)["step"].tolist() == [2]
    assert rows(both).of(0).index.tolist() == [1]


@pytest.fixture
def scored(monkeypatch):
    """What the score test is given; its p is .2."""
    given = []

    def remember(*parts):
        given.append([np.asarray(part) for part in parts])
        return 1.5, 0.2

    monkeypatch.setattr(assumptions, "clustered_score", remember)
    return given


def test_what_the_score_test_is_given(scored):
    table = frame(steps=4, preference=0.5)
    table.loc[table["step"] == 3, "decision"] = 1  # a step at which all decide alike says nothing
    table.loc[table.index[table["step"] < 3][:49], "item"] = 7
    table = table.assign(genre=table["item"] // 2)
    outcome = assumptions._score_test(rows(table, True), table, ["before_last", "appeal"], "some exposures")
    decision, other, given, level, user = scored[0]
    kept = table[table["step"] < 3]
    assert outcome == ("yes, on some exposures", 1.5, 0.2)
    assert decision.tolist() == kept["decision"].tolist() and user.tolist() == kept["user"].tolist()
    assert other == pytest.approx(kept[["before_last", "appeal"]].to_numpy())
    step = np.eye(3)[kept["step"]]
    assert given == pytest.approx(np.column_stack([kept[["last", "preference"]], step]))
    count = kept["item"].map(kept["item"].value_counts())
    expected = [
        item if size >= 50 else -1 - genre
        for item, size, genre in zip(kept["item"], count, kept["genre"], strict=True)
    ]
    assert level.tolist() == expected and -4 in expected
    hidden = assumptions._score_test(rows(table), table, ["appeal"], "some exposures")
    assert hidden.testable.endswith("the user's record stands in (on some exposures)")
    assert scored[1][2].shape[1] == 1 + len(RECORDED) + 3


def test_an_item_of_fifty_rows_has_a_level_of_its_own(scored):
    for size in (49, 50):
        table = frame(users=150, steps=2, item=1)
        table.loc[table.index[:size], "item"] = 9
        assumptions._score_test(rows(table), table, ["appeal"], "x")
        assert (9 in scored[-1][3]) == (size == 50)


def test_late_steps_share_an_intercept(scored):
    table = frame(users=100, steps=60)
    assumptions._score_test(rows(table), table, ["appeal"], "x")
    steps = scored[0][2][:, 1 + len(RECORDED) :]
    assert steps.shape[1] == 50
    assert steps.sum(axis=0).tolist() == [100] * 49 + [1100]


def test_it_takes_a_hundred_users(scored, monkeypatch):
    small = assumptions._score_test(rows(frame(99)), frame(99), ["appeal"], "x")
    assert small.testable == "no: too few users with a past on x, it takes 100" and np.isnan(small.p)
    assert assumptions._score_test(rows(frame(100)), frame(100), ["appeal"], "x").p == 0.2
    monkeypatch.setattr(assumptions, "clustered_score", lambda *_: (np.nan, np.nan))
    nothing = assumptions._score_test(rows(frame()), frame(), ["appeal"], "x")
    assert (
        nothing.testable == "no: item, exposure number, last decision and preference leave nothing open on x"
    )


def test_decisions_of_an_arm_with_a_past_are_tested(scored):
    table = pd.concat([frame(), frame(arm=0, decision=1)], ignore_index=True)
    found = assumptions._on_decisions("before_last")(rows(table), RNG)
    assert found.testable.endswith("(on 240 b exposures)") and len(scored[0][0]) == 240
    alike = assumptions._on_decisions("before_last", arm=0)(rows(table), RNG)
    assert alike.testable == "no: the decisions on a exposures are all alike"
    needs = assumptions._needs_preferences(lambda table, rng: "done", "why not")
    assert needs(rows(table, True), RNG) == "done" and needs(rows(table), RNG).testable == "why not"


def test_both_sources_are_tested_after_the_first_exposure(scored):
    table = pd.concat([frame(arm=0), frame()], ignore_index=True)
    found = assumptions._test_transport(rows(table), RNG)
    assert "720 exposures of both sources" in found.testable
    assert scored[0][1].mean() == pytest.approx(0.5)
    for one in (frame(), pd.concat([frame(arm=0, decision=1), frame()], ignore_index=True)):
        assert (
            assumptions._test_transport(rows(one), RNG).testable
            == "no: it takes both decisions on both sources"
        )


def test_preferences_weighed_by_chances_sum_to_one_by_hand():
    rng = np.random.default_rng(2)
    table = frame(preference=rng.random(480), genre_size=4.0, propensity=0.1)
    table = pd.concat(
        [table, frame(arm=0, preference=99.0, genre_size=np.nan, propensity=np.nan)], ignore_index=True
    )
    found = assumptions._test_shaping(rows(table, True), RNG)
    own = table[table["arm"] == 1]
    by_user = (own["preference"] / 0.4 - 1).groupby(own["user"]).sum()
    statistic = by_user.sum() ** 2 / (by_user**2).sum()
    assert (found.statistic, found.p) == pytest.approx((statistic, chi2.sf(statistic, 1)))
    assert found.testable == "yes, on 480 system exposures"
    unknown = own.assign(propensity=own["propensity"].where(own.index > own.index[0]))
    few = own[own["user"] < 99]
    for one in (unknown, few):
        assert (
            "system exposures of 100 users with known propensities"
            in assumptions._test_shaping(rows(one, True), RNG).testable
        )
    assert assumptions._test_shaping(rows(own[own["user"] < 100], True), RNG).p < 1


def test_growth_of_a_preference_after_acceptance(monkeypatch):
    given = []
    monkeypatch.setattr(assumptions, "covariance_test", lambda *parts: given.append(parts) or 0.3)
    rng = np.random.default_rng(3)
    table = frame(same_genre=1, preference=rng.random(480), preference_before=rng.random(480))
    table.loc[table["user"] >= 110, "same_genre"] = 0
    found = assumptions._test_amplification(rows(table, True), np.random.default_rng(4))
    last, growth, before = given[0]
    assert found.p == 0.3 and "one system exposure of 110 users" in found.testable
    assert len(last) == 110 and before.shape == (110, 1)
    pairs = {
        (round(a, 9), round(b, 9))
        for a, b in zip(
            table["preference_before"], np.log(table["preference"] / table["preference_before"]), strict=True
        )
    }
    assert {(round(a, 9), round(b, 9)) for a, b in zip(before[:, 0], growth, strict=True)} <= pairs
    few = table.assign(same_genre=table["user"] < 99)
    for one in (few, table.assign(last=1)):
        assert assumptions._test_amplification(rows(one, True), RNG).testable.startswith(
            "no: too few users met the same"
        )
    assert (
        assumptions._test_amplification(rows(table.assign(same_genre=table["user"] < 100), True), RNG).p
        == 0.3
    )
    still = table.assign(preference_before=table["preference"])
    assert (
        assumptions._test_amplification(rows(still, True), RNG).testable == "no: preferences stay as they are"
    )


def test_what_a_decision_does_not_descend_from(monkeypatch):
    given = []
    monkeypatch.setattr(
        assumptions, "local_markov", lambda graph, data: given.append((graph, data)) or [0.4, 0.02, 0.5]
    )
    rng = np.random.default_rng(5)
    table = frame(preference=rng.random(480), preference_before=rng.random(480))
    found = assumptions._test_markov(rows(table, True), RNG)
    assert found.p == pytest.approx(0.06) and "one b exposure of 120 users" in found.testable
    graph, data = given[0]
    parents = {"appeal", "step", "last", "preference"}
    assert set(graph.pred["decision"]) == parents and not graph.succ["decision"]
    assert set(graph) == parents | {"before_last", "same_genre", "preference_before", "decision"}
    # All others are joined pair by pair: there is but the decision to test.
    assert nx.is_directed_acyclic_graph(graph) and graph.number_of_edges() == 7 * 6 / 2 + 4
    assert len(data) == 120 and data["step"].min() >= 2
    monkeypatch.setattr(
        assumptions, "local_markov", lambda graph, data: given.append((graph, data)) or [0.6, 0.7]
    )
    constant = assumptions._test_markov(
        rows(table.assign(same_genre=0, preference_before=table["preference"]), True), RNG
    )
    assert constant.p == 1.0 and not {"same_genre", "preference_before"} & set(given[-1][0])
    assumptions._test_markov(rows(table), RNG)
    assert "preference_before" not in given[-1][0]
    monkeypatch.setattr(assumptions, "local_markov", lambda graph, data: [])
    assert "is determined by the rest" in assumptions._test_markov(rows(table), RNG).testable
    early = table.assign(decision=table["step"] == 0)  # both decisions, but one from the second on
    for one in (table[table["user"] < 99], table.assign(decision=1), early):
        assert assumptions._test_markov(rows(one), RNG).testable.startswith("no: too few users, or decisions")
    assert "determined" in assumptions._test_markov(rows(table[table["user"] < 100]), RNG).testable


def test_one_row_of_each_user_is_drawn_at_random():
    table = frame()
    drawn = [assumptions._one_a_user(table, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0].equals(drawn[1]) and not drawn[0].index.equals(drawn[2].index)
    assert drawn[0]["user"].is_unique and len(drawn[0]) == 120
    assert np.bincount(drawn[0]["step"], minlength=4).min() > 10


@pytest.mark.parametrize(
    ("alpha", "words"),
    [
        (0.05, [NO_SIGN, VIOLATED, UNTESTED]),
        (0.15, [VIOLATED, VIOLATED, UNTESTED]),
        (0.01, [NO_SIGN, NO_SIGN, UNTESTED]),
    ],
)
def test_verdicts_are_of_all_tests_together(monkeypatch, alpha, words):
    outcomes = [("yes", 1.0, 0.1), ("yes", 2.0, 0.02), ("no: so", np.nan, np.nan)]
    names = list(assumptions._TESTS)[:3]
    drawn = []
    tests = {
        name: lambda rows, rng, one=one: drawn.append(rng.random()) or assumptions._Outcome(*one)
        for name, one in zip(names, outcomes, strict=True)
    }
    monkeypatch.setattr(assumptions, "_TESTS", tests)
    monkeypatch.setattr(_Rows, "of_log", lambda dataset: SimpleNamespace())
    table = assumption_tests(None, alpha=alpha, seed=6)
    assert table["verdict"].tolist() == words
    assert table["p_holm"].tolist()[:2] == pytest.approx([0.1, 0.04])  # the smaller counts twice
    assert table["steps"][0] == "A1" and table["testable"].tolist() == ["yes", "yes", "no: so"]
    assert drawn == [np.random.default_rng([6, number]).random() for number in range(3)]


@pytest.mark.parametrize("alpha", [0, 1, -1, 2])
def test_levels_that_are_none(alpha):
    with pytest.raises(InputError, match=f"alpha = {alpha}; expected a level between 0 and 1"):
        assumption_tests(None, alpha=alpha)
