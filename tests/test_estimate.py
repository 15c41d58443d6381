"""Estimators of the effect in worlds with a known truth, with a signal and without."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect.estimators import ESTIMATORS, estimate_effect
from csrec_core.effect.features import exposure_features
from csrec_core.effect.nuisance import Basis, fit_joint, fit_nuisances
from csrec_core.effect.ter import against_truth, true_effects
from csrec_core.errors import InputError
from csrec_core.metrics import expected_calibration_error


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=1200, items=60, steps=12, seed=4, publish="rows")


@pytest.fixture(scope="module")
def robust(world):
    return estimate_effect(world, folds=3)


def truth_of(world, estimate):
    return true_effects(world.truth, estimate.cells, estimand=estimate.estimand)


@pytest.mark.parametrize("estimator", ["joint", "doubly_robust"])
def test_an_identified_effect_is_found(world, estimator):
    found = estimate_effect(world, estimator=estimator, folds=3)
    truth = truth_of(world, found)["effect"].mean()
    assert found.identified
    assert found.band is None
    assert found.mean["lower"] < truth < found.mean["upper"]
    assert found.mean["lower"] > 0.05
    assert found.mean["error"] < 0.015
    assert not any("history" in warning for warning in found.warnings)


def test_cells_are_the_exposures_by_the_system(world, robust):
    system = world.log[world.log["source"] == "system"]
    np.testing.assert_array_equal(robust.cells[["user", "t", "item"]], system[["user", "t", "item"]])
    np.testing.assert_array_equal(robust.cells["step"], system["t"])
    assert (robust.cells["lower"] <= robust.cells["effect"]).all()
    assert (robust.cells["effect"] <= robust.cells["upper"]).all()


def test_cells_beat_the_constant_effect_and_users_are_ranked(world, robust):
    found = against_truth(robust.cells, truth_of(world, robust))
    assert found["rmse"] < 0.85 * found["constant_rmse"]
    assert found["user_correlation"] > 0.5  # an oracle that knows p_self reaches .6 with 12 exposures


def test_no_effect_is_none():
    still = simulate_books(
        users=800, items=60, steps=12, seed=7, publish="rows", effect=0, trust_spread=0
    )  # fmt: skip
    for options in ({}, {"estimator": "joint"}, {"weights": "overlap"}, {"estimand": "marginal"}):
        found = estimate_effect(still, folds=3, **options)
        assert found.mean["lower"] < 0 < found.mean["upper"], options
        assert found.trend["lower"] < 0 < found.trend["upper"], options
    assert estimate_effect(still, folds=3).cells["effect"].std() < 0.03


@pytest.mark.parametrize(("trend", "sign"), [(0.8, 1), (-0.8, -1), (0.0, 0)])
def test_rising_falling_and_flat_are_told_apart(trend, sign):
    world = simulate_books(users=2500, items=60, steps=10, seed=2, publish="rows", trend=trend, effect=0.8)
    found = estimate_effect(world, folds=3)
    assert found.by_step["step"].to_list() == list(range(1, 11))
    assert np.sign(found.trend["lower"]) + np.sign(found.trend["upper"]) == 2 * sign
    by_step = truth_of(world, found).groupby("step")["effect"].mean().to_numpy()
    inside = (found.by_step["lower"] <= by_step) & (by_step <= found.by_step["upper"])
    assert inside.sum() >= 8


def test_hidden_tastes_are_warned_of_and_published_ones_are_used():
    hidden = simulate_books(users=300, items=30, steps=8, seed=4)
    found = estimate_effect(hidden, folds=2)
    assert not found.identified
    assert found.warnings[0].startswith("Tastes are known only through the history")
    pages = hidden.items.assign(pages=np.arange(30))  # a feature of items says nothing of tastes
    assert not estimate_effect(dataclasses.replace(hidden, items=pages), folds=2).identified
    users = simulate_books(users=300, items=30, steps=8, seed=4, publish="users")
    assert estimate_effect(users, folds=2).identified


def test_the_marginal_effect_needs_no_tastes():
    hidden = simulate_books(users=3000, items=60, steps=12, seed=4)
    found = estimate_effect(hidden, estimand="marginal", folds=3)
    truth = truth_of(hidden, found)
    assert found.identified
    assert found.mean["lower"] < truth["effect"].mean() < found.mean["upper"]
    assert found.diagnostics["chosen"].sum() == 1
    assert found.cells.groupby("step")["effect"].nunique().eq(1).all()
    assert not estimate_effect(hidden, folds=3).identified  # the filtered one does


def test_two_model_intervals_do_not_hold_the_error_of_the_models(world, robust):
    found = estimate_effect(world, estimator="two_model", folds=3)
    assert found.mean["error"] < robust.mean["error"] / 3
    assert any("not the errors of f and f~" in warning for warning in found.warnings)
    assert found.cells["lower"].isna().all()


def test_models_cells_and_their_seeds(books):
    system = books.log[books.log["source"] == "system"].reset_index(drop=True)
    truth = books.truth[books.truth["source"] == "system"].reset_index(drop=True)
    rng = np.random.default_rng(0)
    runs = [
        system.assign(
            step=system["t"],
            f_free=truth["p_system"] + rng.normal(0, 0.05, len(system)),
            f_tilde=truth["p_self"],
            f_free_marginal=0.5,
            f_tilde_marginal=0.4,
        )
        for _ in range(6)
    ]
    *runs, another = runs
    found = estimate_effect(books, estimator="two_model", cells=runs)
    effect = (truth["p_system"] - truth["p_self"]).to_numpy()
    sixth = another["f_free"] - another["f_tilde"]
    inside = (found.cells["lower"] <= sixth) & (sixth <= found.cells["upper"])
    assert inside.mean() == pytest.approx(0.95, abs=0.015)  # Student's t: where one more run would fall
    assert found.mean["effect"] == pytest.approx(effect.mean(), abs=0.003)
    marginal = estimate_effect(books, estimator="two_model", cells=runs[0], estimand="marginal")
    np.testing.assert_allclose(marginal.cells["effect"], 0.1)
    with pytest.raises(InputError, match="cells of the runs differ"):
        estimate_effect(books, estimator="two_model", cells=[runs[0], runs[1].iloc[1:]])


def test_groups_of_users_and_items(world, robust):
    genre = world.log["item"].map(world.items.set_index("item")["genre"])
    table = robust.contrast.by(genre)
    assert len(table) == 10
    truth = truth_of(world, robust).assign(genre=genre[world.log["source"] == "system"].to_numpy())
    by_genre = truth.groupby("genre")["effect"].mean().reindex(table["group"]).to_numpy()
    inside = (table["lower"] <= by_genre) & (by_genre <= table["upper"])
    assert inside.sum() >= 8
    assert np.average(table["effect"], weights=table["exposures"]) == pytest.approx(
        robust.mean["effect"], abs=robust.mean["error"]
    )


def test_repeats_are_averaged(world):
    once, again = (estimate_effect(world, folds=2, seed=seed) for seed in (0, 1))
    both = estimate_effect(world, folds=2, seed=0, repeats=2)
    assert both.mean["effect"] == pytest.approx((once.mean["effect"] + again.mean["effect"]) / 2)
    assert both.mean["error"] >= min(once.mean["error"], again.mean["error"])
    np.testing.assert_allclose(both.cells["effect"], (once.cells["effect"] + again.cells["effect"]) / 2)


def test_nuisances_come_near_the_true_probabilities(world):
    features = exposure_features(world, folds=3)
    system = (world.log["source"] == "system").to_numpy()
    fitted = fit_nuisances(features, world.log["decision"].to_numpy(), system)
    for column, found, least in (("p_self", fitted.f_tilde, 0.9), ("p_system", fitted.f, 0.75)):
        truth = world.truth[column].to_numpy()  # f knows no trust, which varies between users
        assert np.corrcoef(found[system], truth[system])[0, 1] > least
    assert expected_calibration_error(system, fitted.regime) < 0.03
    odds = fitted.regime / (1 - fitted.regime)
    for column in ("feature_taste", "fame"):
        values = features[column].to_numpy()
        gap = values[~system].mean() - values[system].mean()
        left = np.average(values[~system], weights=odds[~system]) - values[system].mean()
        assert abs(left) < 0.2 * abs(gap), column


def test_a_basis_bends_where_the_feature_does():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"fold": 0, "x": rng.uniform(-1, 1, 4000), "flag": rng.integers(2, size=4000)})
    frame["constant"] = 3.0
    basis = Basis.fit(frame)
    assert basis.columns == ["x", "flag"]
    design = basis.design(frame)
    np.testing.assert_allclose(design.mean(axis=0, dtype=float), 0, atol=1e-6)  # single precision
    np.testing.assert_allclose(design.std(axis=0, dtype=float), 1, rtol=1e-5)
    fit = sm.OLS(np.abs(frame["x"]), sm.add_constant(design)).fit()
    assert fit.rsquared > 0.99


def test_joint_errors_are_those_of_a_clustered_logistic_regression():
    """One binary feature: coefficients' influences against statsmodels' clustered covariance."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 10)
    features = pd.DataFrame({"fold": user % 2, "x": rng.integers(2, size=4000).astype(float)})
    system = np.tile(np.arange(10) < 5, 400)
    p = expit(-1 + features["x"] + 0.5 * system + rng.normal(0, 0.8, 400)[user])
    decision = (rng.random(4000) < p).astype(float)
    found = fit_joint(features, decision, system, user)
    x = ((features["x"] - features["x"].mean()) / features["x"].std(ddof=0)).to_numpy()
    design = np.column_stack([x, system, x * system, np.ones(4000)])
    fitted = sm.GLM(decision, design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": user, "use_correction": False}
    )
    np.testing.assert_allclose(np.sqrt((found.parameters**2).sum(axis=0)), fitted.bse, rtol=0.02)
    rows = [fitted.predict(np.column_stack([x, np.full(4000, s), x * s, np.ones(4000)])) for s in (1, 0)]
    np.testing.assert_allclose(found.shown - found.chosen, rows[0] - rows[1], atol=2e-3)


def test_bad_input(world):
    with pytest.raises(InputError, match="did you mean 'doubly_robust'"):
        estimate_effect(world, estimator="doubly_robus")
    with pytest.raises(InputError, match="unknown estimand"):
        estimate_effect(world, estimand="margin")
    with pytest.raises(InputError, match="takes no cells"):
        estimate_effect(world, cells=pd.DataFrame())
    with pytest.raises(InputError, match="has no marginal effect"):
        estimate_effect(world, estimator="joint", estimand="marginal")
    with pytest.raises(InputError, match="level = 95"):
        estimate_effect(world, level=95)
    with pytest.raises(InputError, match="repeats = 0"):
        estimate_effect(world, repeats=0)
    chosen = world.log[world.log["source"] == "self"].reset_index(drop=True)
    with pytest.raises(InputError, match="0 users have exposures with source='system'"):
        estimate_effect(Dataset(chosen))
    log = world.log.copy()
    log.loc[log["source"] == "self", "decision"] = 1
    with pytest.raises(InputError, match="the self-chosen exposures show one decision only"):
        estimate_effect(dataclasses.replace(world, log=log))
    bare = dataclasses.replace(world, log=world.log.drop(columns="propensity"))
    with pytest.raises(InputError, match="needs the propensity"):
        estimate_effect(bare, estimand="marginal")
    assert set(ESTIMATORS) == {"two_model", "joint", "doubly_robust"}


def test_logged_propensities_take_out_the_bias_of_hidden_tastes():
    """The same hidden world by estimated and by logged propensities: the first is off by several errors."""
    hidden = simulate_books(users=1500, seed=3, trend=0)
    known, guessed = (estimate_effect(hidden, weights=weights, folds=2) for weights in (None, "exposed"))
    truth = truth_of(hidden, known)["effect"].mean()
    assert known.mean["lower"] < truth < known.mean["upper"]
    assert guessed.mean["upper"] < truth - 0.01
    assert "by the logged propensities, less" in known.warnings[0]
    assert not known.identified
    assert known.band["lower"] < truth < known.band["upper"]
    assert guessed.band["lower"] < truth < guessed.band["upper"]  # where the interval misses it
    assert "lies anywhere between" in guessed.warnings[1]
    bare = dataclasses.replace(hidden, log=hidden.log.drop(columns="propensity"))
    assert estimate_effect(bare, folds=2).mean["effect"] == pytest.approx(guessed.mean["effect"])
    with pytest.raises(InputError, match="weights=logged needs the propensity"):
        estimate_effect(bare, weights="logged", folds=2)


def test_a_reach_of_one_is_warned_of(world):
    short = estimate_effect(world, estimand="marginal", k=1, folds=3)
    assert any("two exposures could not be weighted" in warning for warning in short.warnings)
    longer = estimate_effect(world, estimand="marginal", k=2, folds=3)
    assert not any("two exposures could not" in warning for warning in longer.warnings)
