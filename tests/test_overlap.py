"""Weights, effective sample sizes and calibration against analytic values."""

import numpy as np
import pytest
from scipy.special import expit, logit

from csrec_core.effect.overlap import calibrate, overlap_report, overlap_weights
from csrec_core.errors import InputError


@pytest.fixture(scope="module")
def two_kinds():
    """Rows of two kinds, with exact shares of the system of .2 and .6."""
    kind = np.repeat([0, 1], 1000)
    system = np.concatenate([np.arange(1000) < 200, np.arange(1000) < 600])
    return kind, system, np.where(kind == 0, 0.2, 0.6)


def test_weights_make_the_sources_alike(two_kinds):
    kind, system, regime = two_kinds
    treated, control = overlap_weights(regime, system, weights="exposed")
    assert np.average(kind, weights=treated) == pytest.approx(600 / 800)
    assert np.average(kind, weights=control) == pytest.approx(600 / 800)
    treated, control = overlap_weights(regime, system, weights="overlap")
    balanced = 600 * 0.4 / (600 * 0.4 + 200 * 0.8)
    assert np.average(kind, weights=treated) == pytest.approx(balanced)
    assert np.average(kind, weights=control) == pytest.approx(balanced)


def test_the_report_counts_what_the_weights_leave(two_kinds):
    _, system, regime = two_kinds
    treated, control = overlap_weights(regime, system)
    report = overlap_report(regime, system, treated, control)
    weights = np.repeat([0.25, 1.5], [800, 400])
    assert report.table.loc["self", "ess"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert report.table.loc["system", "ess"] == pytest.approx(800)
    assert report.table.loc["self", "largest"] == pytest.approx(1.5 / 800)
    wins = (200 * 800 + 600 * 400) * 0.5 + 600 * 800  # pairs of a system and a self-chosen row
    assert report.auc == pytest.approx(wins / (800 * 1200))
    assert report.trimmed == 0
    assert report.warnings == []


def test_rows_beyond_comparison_are_left_out_and_said():
    regime = np.repeat([0.5, 0.999], [1000, 400])
    system = np.concatenate([np.arange(1000) < 500, np.ones(400, dtype=bool)])
    system[-1] = False
    treated, control = overlap_weights(regime, system, trim=0.02)
    assert treated[1000:].sum() == control[1000:].sum() == 0
    report = overlap_report(regime, system, treated, control)
    assert report.trimmed == pytest.approx(399 / 899)
    assert any("44% of the system's exposures are unlike" in warning for warning in report.warnings)
    _, control = overlap_weights(regime, system, trim=0)
    report = overlap_report(regime, system, np.where(system, 1.0, 0.0), control)
    assert any("are worth" in warning for warning in report.warnings)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_sets_right_what_is_too_sure(method):
    rng = np.random.default_rng(0)
    truth = rng.normal(-0.5, 1, 60_000)
    decision = (rng.random(60_000) < expit(truth)).astype(float)
    fold = rng.integers(3, size=60_000)
    learn = rng.random(60_000) < 0.7
    found = calibrate(expit(2 * truth + 1), decision, fold, learn, method=method)
    assert np.abs(found - expit(truth)).mean() < 0.02
    if method == "platt":
        slope, level = np.polyfit(truth, logit(found), 1)
        assert slope == pytest.approx(1, abs=0.04)
        assert level == pytest.approx(0, abs=0.04)


def test_weighted_calibration_is_right_on_average_where_the_weights_are():
    """f~ ignores a kind; with the odds of the regime its mean is that of the system's kinds."""
    rng = np.random.default_rng(1)
    kind, fold = rng.integers(2, size=80_000), rng.integers(2, size=80_000)
    decision = (rng.random(80_000) < np.where(kind == 1, 0.2, 0.5)).astype(float)
    everywhere = np.ones(80_000, dtype=bool)
    guess = np.full(80_000, 0.35)
    found = calibrate(guess, decision, fold, everywhere, weight=np.where(kind == 1, 3.0, 1.0))
    assert found.mean() == pytest.approx((3 * 0.2 + 0.5) / 4, abs=0.01)
    np.testing.assert_array_equal(calibrate(guess, decision, fold, everywhere, method="none"), guess)


def test_bad_input():
    regime, system = np.array([0.5, 0.5]), np.array([True, False])
    with pytest.raises(InputError, match="did you mean 'overlap'"):
        overlap_weights(regime, system, weights="overlaps")
    with pytest.raises(InputError, match=r"trim = 0\.7"):
        overlap_weights(regime, system, trim=0.7)
    with pytest.raises(InputError, match="unknown calibration"):
        calibrate(regime, regime, np.zeros(2), system, method="plat")
    with pytest.raises(InputError, match="one decision only"):
        calibrate(regime, np.zeros(2), np.array([0, 1]), np.ones(2, dtype=bool))
