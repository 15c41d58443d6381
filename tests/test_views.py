"""Views of an estimate against regressions and counts, the path of the constraint, the study's summary."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from csrec_core.data.books import simulate_books
from csrec_core.effect import study
from csrec_core.effect.contrast import Contrast
from csrec_core.effect.estimators import estimate_effect
from csrec_core.effect.nuisance import fit_penalised
from csrec_core.effect.penalty import constraint_path, read_weights
from csrec_core.effect.ter import against_truth, true_effects
from csrec_core.effect.views import (
    by_cohort,
    by_segment,
    by_user,
    effect_calibration,
    over_time,
    segment_finding,
    segment_tests,
    segments,
)
from csrec_core.errors import InputError
from csrec_core.metrics import holm


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=400, items=60, steps=8, seed=3, publish="rows")


@pytest.fixture(scope="module")
def estimate(world):
    return estimate_effect(world, folds=3)


@pytest.fixture(scope="module")
def labels(world):
    return segments(world)


def test_segments_know_no_decision(world, labels):
    assert list(labels) == ["item popularity", "genre", "breadth of own choices", "taste", "cohort"]
    flipped = world.log.assign(decision=1 - world.log["decision"])
    other = segments(type(world)(flipped, items=world.items, users=world.users, name="flipped"))
    pd.testing.assert_frame_equal(labels, other)
    per_item = pd.DataFrame({"item": world.log["item"], "part": labels["item popularity"]}).drop_duplicates()
    assert per_item["item"].is_unique
    chosen = world.log[world.log["source"] == "self"]["item"].value_counts()
    means = per_item.set_index("item")["part"].to_frame().join(chosen).groupby("part")["count"].mean()
    assert means["lowest third"] < means["middle third"] < means["highest third"]


def test_a_segment_is_a_contrast_of_its_rows(world, estimate, labels):
    table = by_segment(estimate, world, labels).set_index(["segment", "group"])
    assert table.loc["item popularity"].index.to_list() == ["lowest third", "middle third", "highest third"]
    rows = (labels["genre"] == "genre 3").to_numpy()
    whole = estimate.contrast
    alone = Contrast(whole.user, whole.value, whole.treated * rows, whole.control * rows)
    found = table.loc[("genre", "genre 3")]
    assert found["effect"] == pytest.approx(alone.groups()[0][0])
    system = (world.log["source"] == "system").to_numpy()
    assert found["exposures"] == (rows & system & (whole.treated > 0)).sum()
    plain = whole.by(labels["genre"]).set_index("group").loc["genre 3"]
    count = sum(labels[name].nunique() for name in labels if name != "cohort")
    wider = (found["high"] - found["low"]) / (plain["upper"] - plain["lower"])
    assert wider == pytest.approx(norm.isf(0.025 / count) / norm.isf(0.025))


def test_tests_of_segments_are_clustered_wald_tests():
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(60), 10)
    group = rng.integers(3, size=600)
    value = rng.normal(size=60)[user] + 0.3 * (group == 2) + rng.normal(size=600)
    contrast = Contrast(user, value, np.ones(600), np.zeros(600), one_sided=True)
    world = simulate_books(users=60, steps=5, seed=0)  # 600 rows, to stand beside the contrast
    one = estimate_effect(world, folds=2)
    one = type(one)(**{**vars(one), "contrast": contrast})
    tests = segment_tests(one, world, pd.DataFrame({"kind": group, "none": 1, "cohort": group}))
    design = sm.add_constant(pd.get_dummies(group, drop_first=True, dtype=float).to_numpy())
    fitted = sm.OLS(value, design).fit(
        cov_type="cluster", cov_kwds={"groups": user, "use_correction": False}, use_t=False
    )
    p = float(fitted.wald_test(np.eye(3)[1:], use_f=False, scalar=True).pvalue)
    assert tests["segment"].to_list() == ["kind"]
    assert tests["p"][0] == pytest.approx(p)
    assert ("differs with kind" in segment_finding(tests)) == (p <= 0.05)


def test_holm_is_holm():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    known = ~np.isnan(p)
    np.testing.assert_allclose(holm(p)[known], multipletests(p[known], method="holm")[1])
    assert np.isnan(holm(p)[1])


def test_over_time_and_users(world, estimate):
    table = over_time(estimate)
    assert table["step"].to_list() == list(range(1, 9))
    assert (table["users"] == 400).all()
    assert over_time(estimate, fewest=401).empty
    users = by_user(estimate)
    assert users["effect"].is_monotonic_increasing
    means = estimate.pooled.cells["effect"].groupby(estimate.cells["user"]).mean()
    np.testing.assert_allclose(users.set_index("user")["effect"].sort_index(), means, atol=1e-9)


def test_cohorts_add_up_over_time(world, estimate, labels):
    everyone = pd.Series("lowest third", index=world.log.index)
    table = by_cohort(estimate, world, everyone)
    np.testing.assert_allclose(table["mean"], estimate.by_step["effect"])
    np.testing.assert_allclose(table["low"], estimate.by_step["lower"])
    halves = by_cohort(estimate, world, labels["cohort"], bins=4)
    assert halves.groupby("cohort")["step"].apply(list).iloc[0] == [1.5, 3.5, 5.5, 7.5]
    assert halves.groupby("cohort")["users"].max().sum() == 400


def test_views_take_the_systems_rows_alone(world, labels):
    """An estimate from models holds a row for each exposure by the system."""
    system = world.truth[world.truth["source"] == "system"].reset_index(drop=True)
    rows = world.log[world.log["source"] == "system"].reset_index(drop=True)
    cells = rows[["user", "t", "item", "decision"]].assign(
        step=rows["t"], f=0.5, f_free=system["p_system"], f_tilde=system["p_self"]
    )
    one = estimate_effect(world, estimator="two_model", cells=cells)
    found = by_segment(one, world, labels).set_index(["segment", "group"])["effect"]
    part = (labels["genre"] == "genre 2").to_numpy()[(world.log["source"] == "system").to_numpy()]
    assert found["genre", "genre 2"] == pytest.approx((system["p_system"] - system["p_self"])[part].mean())


def test_calibration_of_a_right_effect_is_the_diagonal(world, estimate):
    truth = true_effects(world.truth, estimate.cells)
    right = effect_calibration(truth, truth, bins=5)
    np.testing.assert_allclose(right["estimated"], right["true"])
    assert right["rows"].sum() == len(truth)
    assert right["estimated"].is_monotonic_increasing
    twice = truth.assign(effect=2 * truth["effect"], lower=-1.0, upper=1.0)
    numbers = against_truth(twice, truth)
    assert numbers["slope"] == pytest.approx(0.5)
    assert (numbers["coverage"], numbers["width"]) == (1.0, 2.0)


def test_the_constraint_shrinks_as_derived():
    """With one kind of exposure, f solves f - d + 2 penalty (f - f~) f (1 - f) = 0, d the share accepted."""
    rng = np.random.default_rng(0)
    features = pd.DataFrame({"fold": np.tile([0, 1], 2000), "noise": rng.normal(size=4000)})
    decision = np.tile([1.0, 1, 0, 0, 1, 1, 0, 0, 1, 1], 400)
    f_tilde = np.full(4000, 0.3)
    for penalty in (0.0, 1.0, 10.0):
        f = fit_penalised(features, decision, f_tilde, penalty)
        right = brentq(lambda f, w=penalty: f - 0.6 + 2 * w * (f - 0.3) * f * (1 - f), 0.01, 0.99)
        assert f.mean() == pytest.approx(right, abs=2e-3)
    with pytest.raises(InputError):
        fit_penalised(features, decision, f_tilde, -1.0)


def test_the_path_falls_from_the_effect_without_penalty(world):
    path = constraint_path(world, (0.0, 1.0, 30.0))
    free = estimate_effect(world, estimator="two_model", folds=2, calibration="none")
    assert path["mean"][0] == pytest.approx(free.mean["effect"], abs=2e-3)
    assert path["mean"].is_monotonic_decreasing
    np.testing.assert_allclose(path["mean"], path["expected"], atol=0.004)


@pytest.mark.parametrize("text", ["1, 2", "0, x", "0, -1", "0, inf", ""])
def test_weights_are_read_or_refused(text):
    assert read_weights("0, 1, 0.5") == (0.0, 1.0, 0.5)
    with pytest.raises(InputError, match="shrinkage"):
        read_weights(text)


def test_worlds_are_cut_to_what_is_known():
    world = study.simulate_scenario("hidden 5", users=20, seed=0)
    counts = pd.crosstab(world.log["user"], world.log["source"])
    assert (counts["self"] == 5).all()
    assert (counts["system"] == 20).all()
    assert len(world.truth) == len(world.log)


def test_a_summary_counts_worlds():
    shared = {"scenario": "flat", "estimator": "joint", "truth": 0.1, "error": 0.02}
    rows = [
        shared | {"effect": 0.1, "lower": 0.06, "upper": 0.14, "slope_lower": 0.1, "slope_upper": 0.2},
        shared | {"effect": 0.2, "lower": 0.16, "upper": 0.24, "slope_lower": -0.1, "slope_upper": 0.1},
        shared | {"effect": 0.0, "lower": -0.04, "upper": 0.04, "slope_lower": -0.2, "slope_upper": -0.1},
    ]
    found = study.summarise(pd.DataFrame(rows)).iloc[0]
    assert found["bias"] == pytest.approx(0.0)
    assert found["sd"] == pytest.approx(0.1)
    assert found[["coverage", "rejects_zero", "rising", "falling"]].to_list() == pytest.approx(
        [1 / 3, 2 / 3, 1 / 3, 1 / 3]
    )


def test_a_small_study_has_an_effect_and_none():
    table = study.study_table(2, users=60, seed=1)
    assert table["world"].to_list() == ["published"] * 2 + ["no effect"] * 2
    assert (table["worlds"] == 2).all()
    assert table["truth"].to_list()[2:] == [0, 0]
    again = study.study_table(2, users=60, seed=1)
    pd.testing.assert_frame_equal(table, again)
