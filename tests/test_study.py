"""The study of the reported effect: its arithmetic, and one small world from end to end."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from csrec_core.effect import study


def test_a_summary_counts_worlds():
    shared = {
        "scenario": "flat",
        "estimator": "doubly robust",
        "truth": 0.1,
        "error": 0.02,
        "true_slope": 0.15,
    }
    shared |= {"users_covered": 0.9, "user_rank": 0.5}
    rows = [
        shared | {"effect": 0.1, "lower": 0.06, "upper": 0.14, "slope_lower": 0.1, "slope_upper": 0.2},
        shared | {"effect": 0.2, "lower": 0.16, "upper": 0.24, "slope_lower": -0.1, "slope_upper": 0.1},
        shared | {"effect": 0.0, "lower": -0.04, "upper": 0.04, "slope_lower": -0.2, "slope_upper": -0.1},
    ]
    found = study.summarise_study(pd.DataFrame(rows)).iloc[0]
    assert found["bias"] == pytest.approx(0.0)
    assert found["sd"] == pytest.approx(0.1)
    names = ["coverage", "rejects_zero", "rising", "falling", "slope_coverage"]
    assert found[names].to_list() == pytest.approx([1 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3])
    at_zero = [rows[0] | {"lower": 0.0, "slope_lower": 0.0}, rows[0] | {"lower": -1.0, "upper": 0.0}]
    ends = study.summarise_study(pd.DataFrame(at_zero).assign(slope_upper=0.0)).iloc[0]
    assert ends[["rejects_zero", "rising", "falling"]].tolist() == [0, 0.5, 0]
    # Jeffreys's interval of 1 in 3: 2.5% of a Beta(1.5, 2.5) lie below, and above.
    for end, share in ((found["lower"], 0.025), (found["upper"], 0.975)):
        below = (
            quad(lambda x: x**0.5 * (1 - x) ** 1.5, 0, end)[0]
            / quad(lambda x: x**0.5 * (1 - x) ** 1.5, 0, 1)[0]
        )
        assert below == pytest.approx(share, abs=1e-6)
    assert found["bias_error"] == pytest.approx(0.1 / 3**0.5) and found["stated"] == pytest.approx(0.02)


def test_a_world_is_estimated_against_its_own_truth():
    records = study.estimate_world("without an effect", users=120, seed=1, splits=1)
    assert [one["estimator"] for one in records] == ["doubly robust", "weighting", "regression", "observed"]
    assert {one["truth"] for one in records} == {0.0}
    assert records[0]["lower"] < 0 < records[0]["upper"] and records[0]["true_slope"] == 0
    assert np.isnan(records[0]["user_rank"])  # all users have the same effect, none


def test_what_a_world_tells_of_steps_and_users():
    """Effects rise by .1 a step; of three users two have their effects in their intervals, in another order."""
    truth = pd.DataFrame({"user": [1, 1, 2, 3], "step": [2, 3, 3, 2], "effect": [0.1, 0.2, 0.4, 0.3]})
    users = pd.DataFrame(
        {"user": [1, 3, 2], "effect": [0.1, 0.3, 0.2], "lower": [0.15, 0.31, 0.1], "upper": 0.5}
    )
    trend = pd.Series({"effect": 0.1, "lower": 0.0})
    found = study._study_parts(SimpleNamespace(users=users, trend=trend), truth)
    assert found["true_slope"] == pytest.approx((0.2 + 0.4) / 2 - (0.1 + 0.3) / 2)
    assert (found["slope_effect"], found["slope_lower"]) == (0.1, 0.0)
    assert found["users_covered"] == pytest.approx(2 / 3)  # the means of users 1 and 2 are .15 and .4
    assert found["user_rank"] == pytest.approx(0.5)  # .15, .3, .4 against .1, .3, .2
    flat = study._study_parts(SimpleNamespace(users=users, trend=trend), truth.assign(effect=0.5))
    assert np.isnan(flat["user_rank"]) and flat["users_covered"] == 1


def test_a_study_has_worlds_of_every_scenario(monkeypatch):
    asked = []

    def world(scenario, *, users, seed):
        asked.append((scenario, users, seed))
        row = {"scenario": scenario, "estimator": "one", "truth": 0.0, "error": 0.1, "true_slope": np.nan}
        return [row | {"effect": 0.1 * len(asked), "lower": 0.0, "upper": 1.0}]

    monkeypatch.setattr(study, "estimate_world", world)
    table = study.study_table(2, users=9, seed=4)
    seeds = [int(np.random.SeedSequence(4, spawn_key=(n,)).generate_state(1)[0]) for n in (0, 1)]
    assert asked == [(name, 9, seed) for name in study.SCENARIOS for seed in seeds]
    assert table["worlds"].tolist() == [2, 2] and table["bias"].tolist() == pytest.approx([0.15, 0.35])
    assert table["rejects_zero"].tolist() == [0, 0] and "rising" not in table
    study.study_table(1, users=9)
    assert asked[-1][2] == int(np.random.SeedSequence(0, spawn_key=(0,)).generate_state(1)[0])
