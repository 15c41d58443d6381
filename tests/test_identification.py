"""The judge: what each kind of log may say. Each kind of log that must not be believed has a test of its own."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from worlds import UNTOLD, World, simulate, without_effect

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect.estimate import estimate_effect
from csrec_core.verdict import FAILS, HOLDS, UNDECIDED, against, within

SMALL = World(users=400, mean=10)


@cache  # several tests ask for the same
def judged(world: World, seed: int = 0, **declared):
    return estimate_effect(simulate(world, seed)[0], splits=1, **declared)


def reads(effect, *words: str) -> bool:
    said = " ".join(effect.identification.reasons)
    return all(word in said for word in words)


def test_logged_chances_of_both_arms_identify():
    found = judged(SMALL).identification
    assert found.status == "identified" and found.allows
    assert {one.word for one in found.evidence} <= {HOLDS, "not tested"}
    assert any("chances" in one for one in found.assumptions)


@pytest.mark.parametrize("kind", ["user", "item", "exposure"])
def test_a_column_of_noise_changes_nothing(kind):
    """The first version took any column for a published preference, and dropped the logged chances."""
    world = without_effect(SMALL)
    plain, noisy = judged(world, 2), judged(replace(world, noise=kind), 2)
    assert noisy.identification.status == plain.identification.status
    assert noisy.identification.reasons == plain.identification.reasons
    assert abs(noisy.mean["effect"] - plain.mean["effect"]) < 0.3 * plain.mean["error"]
    assert noisy.mean["lower"] < 0 < noisy.mean["upper"]


def test_a_column_of_noise_identifies_nothing():
    assert judged(replace(SMALL, noise="user", logged=())).identification.status == "bounded"


def test_chances_of_the_baseline_alone_are_used():
    world = without_effect(replace(SMALL, logged=("self",)))
    found = judged(world, 1)
    assert found.identification.status == "bounded"
    assert reads(found, "the items of system have no logged chances")
    assert any("log the propensity of" in one for one in found.identification.remedies)
    without = judged(world, 1, propensity="unused")
    assert found.mean["lower"] < 0 < found.mean["upper"]
    assert abs(without.mean["effect"]) > abs(found.mean["effect"])


def test_chances_of_the_arm_alone_leave_the_effect_bounded():
    found = judged(replace(SMALL, logged=("system",)))
    assert found.identification.status == "bounded"
    assert any("exposures of self that have none" in one for one in found.identification.remedies)


@pytest.mark.parametrize("kind", ["chances misreported", "chances sharpened"])
def test_chances_that_do_not_fit_the_log_end_it(kind):
    found = judged(UNTOLD[kind])
    assert found.identification.status == "not identified" and reads(found, "do not fit the log")
    assert any(one.word == FAILS for one in found.identification.evidence)


def test_disjoint_items_cannot_be_compared():
    found = judged(UNTOLD["disjoint items"])
    assert found.identification.status == "not identified"
    assert reads(found, "of items that self never exposes")
    assert found.users.empty and np.isnan(found.mean["effect"])
    assert any("at random" in one for one in found.identification.remedies)


def test_arms_that_a_column_tells_apart_cannot_be_compared():
    dataset, _ = simulate(replace(SMALL, logged=()), 0)
    apart = (dataset.log["source"] == "system") * 3.0 + np.random.default_rng(0).normal(size=len(dataset.log))
    log = dataset.log.drop(columns="propensity", errors="ignore").assign(feature_page=apart + apart.round())
    found = estimate_effect(replace(dataset, log=log), splits=1, confounders=("feature_page",))
    assert found.identification.status in ("not identified", "bounded")
    assert found.identification.overlap.auc > 0.9


def test_an_arm_of_one_decision_tells_nothing():
    dataset, _ = simulate(SMALL, 0)
    own = dataset.log["source"] == "self"
    log = dataset.log.assign(decision=np.where(own, 1, dataset.log["decision"]).astype(np.int8))
    found = estimate_effect(replace(dataset, log=log), splits=1)
    assert found.identification.status == "not identified"
    assert reads(found, "the exposures of self are all accepted")
    first, *others = found.identification.remedies
    assert first == "log those of self that were rejected, too"
    assert len(others) == 1 and "at random" in others[0]


def test_declared_confounders_let_it_be_assumed():
    world = World(users=400, published=True, logged=())
    dataset, truth = simulate(world, 0)
    assert estimate_effect(dataset, splits=1).identification.status == "bounded"
    found = estimate_effect(dataset, splits=1, confounders=("feature_affinity",))
    assert found.identification.status == "assumed"
    assert "feature_affinity" in found.identification.assumptions[0]
    gain = (truth["p1"] - truth["p0"]).mean()
    assert abs(found.mean["effect"] - gain) < 3 * found.mean["error"]
    assert list(found.band["odds"]) == [1, 1.25, 1.5, 2, 3]


def test_estimated_chances_are_assumed():
    assert judged(SMALL, propensity="estimated").identification.status == "assumed"


def test_a_personal_policy_is_never_switched_to_another_target():
    found = judged(replace(SMALL, policy="personal"))
    # Its chances tell decisions beyond what the log does: it knows of users what the log does not.
    assert found.design.target == "exposed" and found.identification.status == "bounded"
    assert any("uniform" in one for one in found.identification.remedies)
    uniform = judged(replace(SMALL, policy="personal"), target="uniform")
    assert uniform.identification.status == "identified"


def test_chances_that_follow_from_the_log_are_read_off_at_the_baselines_exposures():
    world = World(users=800, mean=10, policy="daily", interleaved=True)
    dataset, truth = simulate(world, 0)
    found = estimate_effect(dataset, splits=1)
    assert found.identification.status == "identified" and found.learners["chance"] == "fine"
    follows = found.identification.evidence[-1]
    assert follows.word == HOLDS and follows.value > 0.8
    assert found.mean["lower"] < (truth["p1"] - truth["p0"]).mean() < found.mean["upper"]
    personal = judged(replace(world, policy="personal")).identification
    assert personal.status == "bounded" and personal.evidence[-1].word == FAILS


def test_open_bandit_is_identified(real_data):
    raw = pd.read_parquet(real_data / "experiments" / "open_bandit_men.parquet")
    names = {"item_id": "item", "click": "decision", "policy": "source", "propensity_score": "propensity"}
    log = raw.rename(columns=names).assign(t=raw.groupby(["user", "policy"]).cumcount())
    log["timestamp"] = pd.to_datetime(log["timestamp"], format="ISO8601").astype("int64") / 1e9
    found = estimate_effect(Dataset(log, name="men"), splits=1)
    assert found.identification.status == "identified"


def test_a_randomised_arm_identifies_and_has_no_band():
    world = World(users=400, randomised_arm=True, policy="personal", logged=())
    found = judged(world, 1, arm_propensity=0.4)
    assert found.identification.status == "identified" and found.design.estimand == "arm"
    assert found.band.empty and np.isnan(found.tipping)
    assert judged(world, 1, arm_propensity=0.4, arm_chances="estimated").identification.status == "assumed"
    assert judged(world, 1, arm_propensity=0.6).identification.status == "not identified"


def test_hillstroms_experiment(real_data):
    """Published: 0.0766 and 0.0452, by the two e-mails against none (MineThatData e-mail challenge)."""
    rows = pd.read_parquet(real_data / "experiments" / "hillstrom.parquet")
    log = pd.DataFrame({"user": np.arange(len(rows)), "t": 1, "item": 0, "decision": rows["visit"]})
    log["source"] = pd.Categorical(rows["segment"])
    for name in ("recency", "history", "mens", "womens", "newbie"):
        log[f"feature_{name}"] = rows[name].astype(float)
    dataset = Dataset(log, name="hillstrom")
    for arm, published in (("Mens E-Mail", 0.0766), ("Womens E-Mail", 0.0452)):
        chances = dict.fromkeys(rows["segment"].unique(), 1 / 3)
        found = estimate_effect(dataset, arm=arm, baseline="No E-Mail", arm_propensity=chances)
        assert found.identification.status == "identified"
        assert found.mean["effect"] == pytest.approx(published, abs=0.002)
        assert found.spread < found.mean["error"] / 5


@pytest.mark.parametrize("name", ["noisefeature", "h2-hidden-selfonly", "h5-disjoint"])
def test_logs_that_must_not_be_believed(real_data, name):
    log = validate_log(pd.read_parquet(real_data / "honesty" / f"{name}-log.parquet"))
    found = estimate_effect(Dataset(log, name=name), splits=1)
    status = found.identification.status
    assert status == {"noisefeature": "identified", "h5-disjoint": "not identified"}.get(name, "bounded")
    if status != "not identified":
        assert found.mean["lower"] < 0 < found.mean["upper"]


# --- verdicts


def test_undecided_is_an_interval_that_holds_the_threshold():
    assert against(0.1, 0.3, 0.0) == HOLDS and against(-0.1, 0.3, 0.0) == UNDECIDED
    assert against(-0.3, -0.1, 0.0) == FAILS and within(0.95, 1.3, least=0.9, most=1.1) == UNDECIDED
