"""The study of the reported effect: its arithmetic, and one small world from end to end."""

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
