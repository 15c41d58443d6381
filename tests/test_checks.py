"""Checks fire on what they are made for and stay silent otherwise; the rates of A/A runs stand beside a finding."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from worlds import UNTOLD, WORLDS, World, simulate

from csrec_core.cli import cli
from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import checks
from csrec_core.effect.aa import false_alarms
from csrec_core.effect.checks import CHECKS, check_effect
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.likeness import choice_likeness
from csrec_core.effect.result import Effect
from csrec_core.errors import InputError
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED

QUICK = {"splits": 1, "learners": dict.fromkeys(("arm", "m0", "m1", "chance"), "logistic")}


def world(name: str, *, users: int = 200) -> tuple[Effect, Dataset]:
    known, declared = WORLDS.get(name) or (UNTOLD[name], {})
    dataset, _ = simulate(replace(known, users=users), 0)
    return estimate_effect(dataset, **QUICK, **declared), dataset


def word(effect: Effect, dataset: Dataset, check: str) -> str:
    return check_effect(effect, dataset, checks=[check])[0].word


@pytest.fixture(scope="module")
def told():
    return world("logged, logit")


def test_nothing_fails_where_the_number_is_right(told):
    effect, dataset = told
    found = check_effect(effect, dataset)
    assert [one.name for one in found] == list(CHECKS)
    assert not [one for one in found if one.word == FAILS]
    words = {one.name: one.word for one in found}
    assert words["placebo arm"] == words["random common cause"] == HOLDS
    assert effect.identification.after(found).status == effect.identification.status == "identified"


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("hidden preferences, nothing logged", "no preference is left out"),
        ("chances misreported", "no preference is left out"),
        ("chances sharpened", "no preference is left out"),
        ("chances of one arm, personal policy", "no preference is left out"),
    ],
)
def test_a_preference_that_is_left_out_is_found(name, check):
    assert word(*world(name, users=400), check) == FAILS


def test_a_preference_that_is_a_column_is_not():
    assert word(*world("published, logit"), "no preference is left out") == HOLDS


def test_a_noise_column_that_is_declared_to_tell_all_does_not_survive():
    dataset, _ = simulate(replace(World(logged=(), noise="exposure"), users=400), 0)
    effect = estimate_effect(dataset, **QUICK, confounders=("feature_noise",))
    assert effect.identification.status == "assumed"
    after = effect.identification.after(check_effect(effect, dataset, checks=["no preference is left out"]))
    assert after.status == "bounded" and "no preference is left out" in after.reasons[0]


def who_meets_which(leaning: float, *, adapts: bool = False, phased: bool = False) -> Dataset:
    """300 users, 12 exposures each of four items, chances logged; no effect of the arm.

    A hidden trait moves acceptance and, by `leaning`, how often the arm exposes; where it `adapts`, it exposes more
    often after a rejection. With `phased` each user's exposures by the arm come last.
    """
    rng = np.random.default_rng(7)
    trait, last, columns = rng.normal(size=300), np.zeros(300), []
    for _ in range(12):
        level = leaning * trait + adapts * np.where(last > 0, -0.8, 0.8)
        shown = rng.random(300) < 1 / (1 + np.exp(-level))
        last = (rng.random(300) < 1 / (1 + np.exp(0.5 - 0.8 * trait))).astype(int)
        columns.append({"user": range(300), "shown": shown, "decision": last})
    log = pd.concat(map(pd.DataFrame, columns), ignore_index=True)
    log = log.sort_values(["user", "shown"] if phased else "user", kind="stable", ignore_index=True)
    log["t"] = log.groupby("user").cumcount() + 1
    source = np.where(log.pop("shown"), "system", "self")
    log = log.assign(item=rng.integers(0, 4, len(log)), source=source, propensity=0.25)
    return Dataset(validate_log(log), name="world")


@pytest.mark.parametrize(
    ("options", "expected", "status"),
    [
        ({"leaning": 1.0}, FAILS, "bounded"),
        ({"leaning": 0.0}, HOLDS, "identified"),
        ({"leaning": 0.0, "adapts": True}, HOLDS, "identified"),  # later exposures follow from the decision
        ({"leaning": 0.0, "phased": True}, NOT_TESTED, "identified"),
    ],
)
def test_users_who_meet_more_of_the_arm_are_seen_to_be_others(options, expected, status):
    dataset = who_meets_which(**options)
    effect = estimate_effect(dataset, **QUICK)
    assert effect.identification.status == "identified"
    found = check_effect(effect, dataset, checks=["users of either arm are alike"])
    assert found[0].word == expected
    after = effect.identification.after(found)
    assert after.status == status
    assert (effect.mean["lower"] <= 0 <= effect.mean["upper"]) == (status == "identified")


def test_drift_between_phases_is_found():
    dataset, _ = simulate(World(users=200, drift=3.0), 0)
    effect = estimate_effect(dataset, **QUICK)
    assert word(effect, dataset, "no drift") == FAILS
    shared, _ = simulate(World(users=200, drift=3.0, interleaved=True), 0)
    assert word(estimate_effect(shared, **QUICK), shared, "no drift") == NOT_TESTED


def test_an_arm_that_starts_after_an_acceptance_is_found():
    log = simulate_books(users=400, items=80, steps=10, seed=3).log
    accepted = log.index.to_series().where((log["decision"] == 1) & (log["source"] == "self"))
    last = accepted.groupby(log["user"]).transform("max")
    dataset = Dataset(
        log[(log["source"] == "system") | (log.index <= last) | (log["user"] % 5 == 0)].reset_index(drop=True)
    )
    assert word(estimate_effect(dataset, **QUICK), dataset, "negative control outcome") == FAILS


def test_an_estimate_that_finds_the_effect_everywhere_fails_every_test_of_nothing(told, monkeypatch):
    effect, dataset = told
    monkeypatch.setattr(checks, "estimate_effect", lambda *_, **__: effect)
    tests = ["placebo arm", "negative control outcome", "no drift", "dummy outcome"]
    found = check_effect(effect, dataset, checks=tests)
    assert [one.word for one in found] == [FAILS] * 4
    assert effect.identification.after(found).status == "bounded"


def test_estimators_are_compared_on_the_same_users(told):
    """The differences and their errors, from the scores: at tau = w1 they are means of m0, and of residuals."""
    effect, dataset = told
    scores = effect.scores[0]
    w1, w0 = scores["w1"] / scores["w1"].sum(), scores["w0"] / scores["w0"].sum()
    left1, left0 = scores["decision"] - scores["m1"], scores["decision"] - scores["m0"]
    expected = {}
    for name, one, other in (("weighting", -scores["m0"], -scores["m0"]), ("regression", left1, left0)):
        means = (w1 * one).sum(), (w0 * other).sum()
        terms = (w1 * (one - means[0]) - w0 * (other - means[1])).groupby(scores["user"]).sum()
        expected[name] = means[0] - means[1], np.sqrt((terms**2).sum())
    verdict = check_effect(effect, dataset, checks=["the estimators agree"])[0]
    nearer = min(expected, key=lambda name: abs(expected[name][0]) / expected[name][1])
    assert nearer in verdict.detail
    shift, error = expected[nearer]
    assert verdict.value == pytest.approx(shift, abs=1e-9)
    assert (verdict.upper - verdict.lower) / 2 == pytest.approx(1.959964 * error, rel=1e-6)


def test_what_is_left_out_and_its_error_follow_from_the_weights_of_users(told, monkeypatch):
    """Of a column z: its gap between the weighted arms, times the residual's slope on it; by finite differences."""
    effect, dataset = told
    scores = effect.scores[0]
    z = np.random.default_rng(0).normal(size=len(scores)) + 0.1 * scores["decision"] + 0.1 * scores["arm"]
    monkeypatch.setattr(checks, "choice_likeness", lambda *_, **__: z.where(scores.index % 7 > 0).to_numpy())
    used = scores[scores.index % 7 > 0].assign(z=z)
    code, users = pd.factorize(used["user"])

    def product(factor: np.ndarray) -> float:
        weight = factor[code]
        gap = np.average(used["z"], weights=weight * used["w1"])
        gap -= np.average(used["z"], weights=weight * used["w0"])
        chosen = weight * (used["arm"] == 0)
        left = used["decision"] - used["m0"]
        return gap * np.polyfit(used["z"], left, 1, w=np.sqrt(chosen))[0]

    one, step = np.ones(len(users)), 1e-4
    moved = [product(one + step * unit) - product(one - step * unit) for unit in np.eye(len(users))]
    verdict = check_effect(effect, dataset, checks=["no preference is left out"])[0]
    assert verdict.value == pytest.approx(product(one), rel=1e-6)
    error = np.linalg.norm(moved) / (2 * step)
    assert (verdict.upper - verdict.lower) / 2 == pytest.approx(1.959964 * error, rel=1e-4)


def test_likeness_knows_who_chooses_together():
    """Two kinds of users, each of their own half of the items: an item is like those of its half."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 10)
    kind = user % 2
    item = rng.integers(0, 60, len(user)) + 60 * kind
    arm = np.tile(np.r_[np.zeros(8), np.ones(2)], 400).astype(int)
    item = np.where(arm == 1, rng.integers(0, 120, len(user)), item)
    found = choice_likeness(pd.DataFrame({"user": user, "item": item, "arm": arm}))
    own = (arm == 1) & (item // 60 == kind)
    other = (arm == 1) & (item // 60 != kind)
    assert np.isnan(found[::10]).all() and np.isfinite(found[1::10]).all()
    assert (found[own] > 0).mean() > 0.95 and (found[other] < 0).mean() > 0.95
    few = pd.DataFrame({"user": user, "item": item % 5, "arm": arm})
    assert np.isnan(choice_likeness(few)).all()


def test_the_command_says_rates_beside_the_finding(tmp_path):
    path = tmp_path / "log.csv"
    simulate_books(users=80, steps=6, items=30, seed=1).log.to_csv(path, index=False)
    result = CliRunner().invoke(cli, ["aa", str(path), "--times", "2"])
    assert result.exit_code == 0, result.output
    assert "Identified" in result.output and "first step" in result.output and "of 2" in result.output
    bad = CliRunner().invoke(cli, ["aa", str(path), "--design", "target: nowhere"])
    assert bad.exit_code == 2 and "nowhere" in bad.output


def test_bad_input_is_refused(told):
    with pytest.raises(InputError, match="did you mean 'placebo arm'"):
        check_effect(*told, checks=["placebo amr"])
    with pytest.raises(InputError, match="times = 0"):
        false_alarms(told[1], times=0)
