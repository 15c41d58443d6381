"""What each check alters, looked at before anything is estimated again, and how its number is judged."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import checks
from csrec_core.effect.checks import CHECKS, check_effect
from csrec_core.effect.design import Design
from csrec_core.errors import InputError
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict


def reported(**more):
    """An effect as checks read one: 4 points, of 3 to 5, of the arm b against a."""
    mean = pd.Series({"effect": 0.04, "lower": 0.03, "upper": 0.05, "error": 0.005})
    overlap = SimpleNamespace(accepted=(0.2, 0.3))
    about = {
        "mean": mean, "design": Design("b", "a"), "level": 0.9, "learners": {"arm": "logistic"}, "seed": 7,
        "known": SimpleNamespace(binary=True, clock=SimpleNamespace(between=False, columns=())),
        "identification": SimpleNamespace(overlap=overlap), "splits": ["s"],
    }  # fmt: skip
    return SimpleNamespace(**{**about, **more})


RNG = np.random.default_rng(0)


def logged(users=20, first=5, last=3):
    """Users who meet the baseline so often, and then the arm."""
    rows = [
        (u, t, (u + t) % 5, (u * t) % 2, "a" if t < first else "b")
        for u in range(users)
        for t in range(first + last)
    ]
    frame = pd.DataFrame(rows, columns=["user", "t", "item", "decision", "source"])
    # t counts on over both arms: the order in which they were lived.
    return Dataset(validate_log(frame.assign(timestamp=frame["t"] * 1000 + 1_600_000_000)))


@pytest.fixture
def again(monkeypatch):
    """What is estimated again, as it was asked for; nothing is estimated."""
    asked = []

    def remember(effect, dataset, design=None, *, folds=3):
        asked.append((dataset, design or effect.design, folds))
        return SimpleNamespace(splits=["t"], mean=pd.Series({"effect": 0.01}))

    monkeypatch.setattr(checks, "_again", remember)
    monkeypatch.setattr(checks, "_zero", lambda effect, found, what: Verdict("", UNDECIDED, what))
    return asked


def test_an_estimate_is_repeated_as_it_was_made(monkeypatch):
    asked = []
    monkeypatch.setattr(checks, "estimate_effect", lambda dataset, **about: asked.append((dataset, about)))
    checks._again(reported(), "data")
    own = {
        "design": Design("b", "a"),
        "folds": 3,
        "splits": 1,
        "level": 0.9,
        "learners": {"arm": "logistic"},
        "seed": 7,
    }
    assert asked == [("data", own)]
    checks._again(reported(), "data", Design("c", "a"), folds=5)
    assert asked[1] == ("data", own | {"design": Design("c", "a"), "folds": 5})


def test_a_test_of_nothing_has_students_p(monkeypatch):
    sums = SimpleNamespace(covariance=np.array([[0.0004]]), worth=np.array([11.0]))
    monkeypatch.setattr(
        checks, "effects_of", lambda split, name: sums if (split, name) == ("t", "all") else None
    )
    found = SimpleNamespace(splits=["t"], mean=pd.Series({"effect": 0.03, "lower": -0.01, "upper": 0.07}))
    verdict = checks._zero(reported(), found, "effect of x")
    assert verdict.p == pytest.approx(2 * student.sf(0.03 / 0.02, 10))
    assert (verdict.value, verdict.lower, verdict.upper, verdict.threshold) == (0.03, -0.01, 0.07, 0.04)
    assert verdict.detail == "effect of x: expected 0, found +3.0, 95% interval [−1.0, +7.0] points"
    with pytest.raises(InputError, match="effect of x: too few users"):
        checks._zero(
            reported(), SimpleNamespace(splits=["t"], mean=found.mean.where(found.mean > 0)), "effect of x"
        )


def test_the_bias_that_would_matter_is_the_effect_or_what_is_not_told_from_it():
    wide = reported(mean=pd.Series({"effect": -0.01, "lower": -0.08, "upper": 0.06}))
    assert checks._test_verdict(wide, 0.0, -0.1, 0.1, 0.5, "x").threshold == pytest.approx(0.07)
    far = reported(mean=pd.Series({"effect": -0.2, "lower": -0.28, "upper": -0.12}))
    assert checks._test_verdict(far, 0.0, -0.1, 0.1, 0.5, "x").threshold == pytest.approx(0.2)
    spent = reported(known=SimpleNamespace(binary=False))
    assert checks._test_verdict(spent, 0.5, -0.1, 1.1, 0.5, "x").detail.endswith("[−0.100, +1.10]")
    normal = checks._normal(reported(), 0.01, 0.02, 0.3, "x")
    assert (normal.lower, normal.upper) == pytest.approx(
        (0.01 - 1.959964 * 0.02, 0.01 + 1.959964 * 0.02), abs=1e-7
    )
    assert (normal.value, normal.p) == (0.01, 0.3)


@pytest.mark.parametrize(
    ("lower", "upper", "p", "word"),
    [
        (-0.03, 0.039, 0.5, HOLDS), (-0.03, 0.04, 0.5, UNDECIDED), (-0.04, 0.01, 0.5, UNDECIDED),
        (-0.03, 0.039, 0.025, FAILS), (-0.03, 0.039, 0.0251, HOLDS), (0.01, 0.2, 0.001, FAILS),
        (-0.1, 0.1, np.nan, NOT_TESTED),
    ],
)  # fmt: skip
def test_a_check_is_judged_beside_the_others(monkeypatch, lower, upper, p, word):
    """Of two tests the smaller p counts twice (Holm); one without a p keeps its word."""
    first = Verdict("", NOT_TESTED, "", 0.0, lower, upper, 0.04, p=p)
    second = Verdict("", HOLDS, "", 0.0, -1.0, 1.0, 0.04, p=0.9)
    monkeypatch.setitem(CHECKS, "placebo arm", ("serious", lambda *_: first))
    monkeypatch.setitem(CHECKS, "no drift", ("minor", lambda *_: second))
    one, two = check_effect(reported(), None, checks=["placebo arm", "no drift"])
    assert (one.word, one.name, one.severity) == (word, "placebo arm", "serious")
    assert (two.word, two.name, two.severity) == (UNDECIDED, "no drift", "minor")


def test_without_an_estimate_only_the_decisions_are_looked_at():
    bare = reported(mean=pd.Series({"effect": np.nan, "lower": np.nan, "upper": np.nan, "error": np.nan}))
    found = check_effect(bare, logged(), checks=["both decisions", "half of the users"])
    assert [one.word for one in found] == [HOLDS, NOT_TESTED]
    assert found[1].detail == "there is no estimate to refute"


def test_the_same_seed_draws_the_same(monkeypatch):
    drawn = []
    for name in ("placebo arm", "no drift"):
        monkeypatch.setitem(
            CHECKS, name, ("minor", lambda e, d, rng: drawn.append(rng.random()) or Verdict("", HOLDS, ""))
        )
    check_effect(reported(), None, checks=["placebo arm", "no drift"])
    check_effect(reported(), None, checks=["no drift", "placebo arm"], seed=0)
    assert drawn[0] == drawn[3] and drawn[1] == drawn[2] and drawn[0] != drawn[1]
    check_effect(reported(), None, checks=["placebo arm"], seed=1)
    assert drawn[4] not in drawn[:4]


@pytest.mark.parametrize(("rates", "word"), [((0.2, 0.3), HOLDS), ((0.0, 0.3), FAILS), ((0.2, 1.0), FAILS)])
def test_both_decisions_must_occur(rates, word):
    assert CHECKS["both decisions"][0] == "decisive"
    effect = reported(identification=SimpleNamespace(overlap=SimpleNamespace(accepted=rates)))
    found = checks._both_decisions(effect, logged(), RNG)
    assert (found.word, found.detail) == (word, f"a: {rates[0]:.1%} accepted, b: {rates[1]:.1%} accepted")
    log = logged().log
    spent = reported(known=SimpleNamespace(binary=False), identification=effect.identification)
    for outcome, expected in ((log["t"], HOLDS), (log["t"].where(log["source"] == "a", 1), FAILS)):
        found = checks._both_decisions(spent, Dataset(log.assign(outcome=outcome)), RNG)
        assert found.word == expected
        assert "on average" in found.detail


def test_the_last_decision_before_the_arm_is_the_control(again):
    checks._negative_control(reported(), logged(), RNG)
    dataset, design, folds = again[0]
    log = dataset.log
    assert (len(log), folds, design.arm) == (20 * 5, 3, "b")
    assert log.groupby("user")["source"].agg(list).map(lambda arms: arms == ["a"] * 4 + ["b"]).all()


def test_the_later_half_of_the_baselines_exposures_is_the_drift(again):
    checks._drift(reported(), logged(), RNG)
    log = again[0][0].log
    assert log.groupby("user")["source"].agg(list).map(lambda arms: arms == ["a"] * 3 + ["b"] * 2).all()
    checks._drift(reported(), logged(first=4), RNG)
    log = again[1][0].log
    assert log.groupby("user")["source"].agg(list).map(lambda arms: arms == ["a"] * 2 + ["b"] * 2).all()


@pytest.mark.parametrize("check", [checks._negative_control, checks._drift])
def test_what_is_too_little_before_the_arm(again, check):
    check(reported(), logged(users=20, first=4), RNG)
    for short in (logged(users=19, first=4), logged(users=20, first=3)):
        with pytest.raises(
            InputError, match="fewer than 20 users have 4 exposures by a before the first by b"
        ):
            check(reported(), short, RNG)
    alike = logged()
    alike = Dataset(alike.log.assign(decision=1))
    with pytest.raises(InputError, match="fewer than 20 users"):
        check(reported(), alike, RNG)
    between = SimpleNamespace(binary=True, clock=SimpleNamespace(between=True, columns=()))
    with pytest.raises(InputError, match="every user is of one arm"):
        check(reported(known=between), logged(), RNG)
    clock = SimpleNamespace(binary=True, clock=SimpleNamespace(between=False, columns=("time",)))
    if check is checks._drift:
        with pytest.raises(InputError, match="the arms share a clock"):
            check(reported(known=clock), logged(), RNG)


@pytest.mark.parametrize("estimand", ["exposure", "arm"])
def test_dummy_decisions_are_drawn_by_the_item_alone(again, estimand):
    log = logged().log
    dataset = Dataset(log.assign(outcome=3.0, decision=(log["item"] > 2).astype("int8")), truth=log)
    drawn = np.random.default_rng(3).random(len(log))
    even = SimpleNamespace(random=lambda size: drawn[:size])
    design = Design("b", "a", estimand=estimand, target="exposed" if estimand == "exposure" else "everyone")
    checks._dummy(reported(design=design), dataset, even)
    log, rate = again[0][0].log, dataset.log["decision"].mean()
    items = dataset.log.groupby("item")["decision"]
    shrunk = (items.sum() + 5 * rate) / (items.size() + 5)
    chance = dataset.log["item"].map(shrunk) if estimand == "exposure" else rate
    assert log["decision"].tolist() == (drawn < chance).astype(int).tolist()
    assert "outcome" not in log and again[0][0].truth is None


def test_a_random_column_may_shift_the_effect_by_half_an_error(again, monkeypatch):
    values = {"s": 0.04, "t": 0.045}
    for error, word in ((0.01, HOLDS), (0.0099, FAILS)):
        monkeypatch.setattr(
            checks, "effects_of", lambda split, name, error=error: SimpleNamespace(
                effect=np.array([values[split]]), covariance=np.array([[error**2]])
            ),
        )  # fmt: skip
        found = checks._random_cause(reported(), logged(), np.random.default_rng(5))
        assert found.word == word
        assert (found.value, found.threshold) == pytest.approx((0.005, error / 2))
    column = again[0][0].log["feature_random"]
    assert column.tolist() == np.random.default_rng(5).normal(size=160).tolist()
    assert again[0][2] == 4
    values["t"] = 0.03
    assert checks._random_cause(reported(), logged(), np.random.default_rng(5)).value == pytest.approx(-0.01)


def test_half_of_the_users_is_a_half(again):
    found = checks._subset(reported(), logged(users=100), np.random.default_rng(0))
    log = again[0][0].log
    assert 35 < log["user"].nunique() < 65
    assert (log.groupby("user").size() == 8).all()
    assert (found.value, found.p) == pytest.approx((-0.03, 2 * norm.sf(6)))
    assert (found.upper - found.lower) / 2 == pytest.approx(1.959964 * 0.005, abs=1e-7)
    with pytest.raises(InputError, match="fewer than 20 users in a half"):
        checks._subset(reported(), logged(users=30), np.random.default_rng(0))


def test_the_estimators_are_held_to_the_nearer_one(monkeypatch):
    names = list(checks.ESTIMATORS)
    effect = np.zeros(len(names))
    effect[0], effect[names.index("weighting")], effect[names.index("regression")] = 0.05, 0.02, 0.04
    covariance = 1e-4 * np.eye(len(names))
    monkeypatch.setattr(
        checks, "effects_of", lambda split, name: SimpleNamespace(effect=effect, covariance=covariance)
    )
    found = checks._agreement(reported(), None, RNG)
    assert (found.value, found.p) == pytest.approx((0.01, 2 * norm.sf(0.01 / np.sqrt(2e-4))))
    assert "less regression alone" in found.detail
    effect[names.index("weighting")] = np.nan
    monkeypatch.setattr(checks, "two_sided", lambda *_: np.nan)
    with pytest.raises(InputError, match="an estimator has no value"):
        checks._agreement(reported(), None, RNG)


def liked(users=30, rows=10, slope=0.0, gap=0.0, seed=1):
    rng = np.random.default_rng(seed)
    count = users * rows
    arm = np.arange(count) % 2
    z = rng.normal(size=count) + gap * arm
    scores = pd.DataFrame(
        {"user": np.repeat(np.arange(users), rows), "arm": arm, "w1": 1.0 * arm, "w0": 1.0 - arm, "m0": 0.0}
    )
    return z, scores.assign(decision=slope * z + rng.normal(size=count))


@pytest.mark.parametrize(("slope", "gap", "seen"), [(0.5, 1.0, True), (0.0, 1.0, False), (0.5, 0.0, False)])
def test_a_preference_left_out_must_move_the_effect_by_a_quarter_of_its_error(monkeypatch, slope, gap, seen):
    z, scores = liked(slope=slope, gap=gap)
    monkeypatch.setattr(checks, "choice_likeness", lambda *_, **__: z)
    first = checks._likeness(_with(scores, 0.0), None, np.random.default_rng(0))
    assert (first.p <= 0.05) == seen
    large = checks._likeness(_with(scores, abs(first.value) / 0.251), None, np.random.default_rng(0))
    assert (large.word, large.p) == (UNDECIDED, first.p)  # to be judged by its p
    small = checks._likeness(_with(scores, abs(first.value) / 0.249), None, np.random.default_rng(0))
    assert (small.word, np.isnan(small.p)) == (UNDECIDED if seen else HOLDS, True)


def _with(scores, error):
    mean = pd.Series({"effect": 0.04, "lower": 0.03, "upper": 0.05, "error": error})
    return reported(scores=[scores], mean=mean)


def test_likeness_takes_a_hundred_rows_of_either_arm_and_twenty_users(monkeypatch):
    def asked(users, rows):
        z, scores = liked(users=users, rows=rows, slope=0.5)
        monkeypatch.setattr(checks, "choice_likeness", lambda *_, **__: z)
        return checks._likeness(_with(scores, 0.01), None, np.random.default_rng(0))

    assert asked(20, 10).detail.startswith("what users choose together")
    for users, rows in ((19, 12), (20, 9), (33, 6)):
        with pytest.raises(InputError, match="too few exposures follow a choice"):
            asked(users, rows)
    with pytest.raises(InputError, match="the items are part of the arm"):
        checks._likeness(reported(design=Design("b", "a", estimand="arm", target="everyone")), None, RNG)
