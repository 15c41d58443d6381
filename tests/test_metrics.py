"""Metrics against values worked out by hand and against scikit-learn; intervals against theory."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from csrec_core.errors import InputError
from csrec_core.metrics import (
    accept_by_probability,
    accept_by_rank,
    auc_by_user,
    average_accuracy,
    brier,
    calibration_bin,
    calibration_curve,
    cross_entropy,
    directions,
    effective_size,
    expected_calibration_error,
    first_accuracy,
    hit_rate,
    holm,
    ndcg,
    resample,
    resample_means,
    two_sided,
)


def test_ranking_metrics_by_hand():
    rank = [1, 2, 5, 6]
    np.testing.assert_array_equal(hit_rate(rank, 5), [1, 1, 1, 0])
    np.testing.assert_allclose(ndcg(rank, 5), [1, 0.6309297535714575, 0.38685280723454163, 0])


def test_average_accuracy_by_hand():
    right = [[0, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    asked = [[0, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    # Accuracy up to each right one: (1/1 + 2/3) / 3; (1/1 + 2/2) / 2; none right.
    np.testing.assert_allclose(average_accuracy(right, asked), [5 / 9, 1, 0, np.nan])
    np.testing.assert_allclose(first_accuracy(right, asked), [1, 1, 0, np.nan])
    early, late = average_accuracy([[1, 0], [0, 1]], [[1, 1]] * 2)
    assert (early, late) == (0.5, 0.25)  # a mistake costs more where it comes first


def test_decisions_of_equations_19_and_20_by_hand():
    probability = [0.1, 0.5, 0.79, 0.8]
    np.testing.assert_array_equal(accept_by_probability(probability, 0.2), [False, False, False, True])
    np.testing.assert_array_equal(accept_by_probability(probability, 0.5), [False, True, True, True])
    # Ten items: the top fifth are ranks 1 and 2.
    np.testing.assert_array_equal(
        accept_by_rank(np.array([1, 2, 3, 10]) / 10, 0.2), [True, True, False, False]
    )
    for alpha in (0, 1, 20):
        with pytest.raises(InputError, match="alpha"):
            accept_by_probability(probability, alpha)


def test_a_certain_error_costs_what_a_chance_of_1e_7_does():
    assert cross_entropy([0, 1, 0, 1], [1.0, 0.0, 0.0, 1.0]) == pytest.approx(
        [16.11809565] * 2 + [0, 0], abs=1e-6
    )


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_effective_size_has_no_unit(unit):
    assert effective_size(unit * np.array([1, 1, 2])) == pytest.approx(16 / 6)
    assert effective_size(np.zeros(3)) == 0


@pytest.fixture
def guesses():
    rng = np.random.default_rng(0)
    decision = rng.integers(0, 2, 500)
    probability = np.clip(np.round(0.3 + 0.3 * decision + rng.normal(0, 0.25, 500), 2), 0, 1)  # with ties
    return decision, probability, rng.integers(0, 60, 500)


def test_agrees_with_scikit_learn(guesses):
    decision, probability, user = guesses
    assert auc_by_user(decision, probability, user).mean() == pytest.approx(
        roc_auc_score(decision, probability)
    )
    assert brier(decision, probability).mean() == pytest.approx(brier_score_loss(decision, probability))
    inside = np.clip(probability, 1e-7, 1 - 1e-7)
    assert cross_entropy(decision, probability).mean() == pytest.approx(log_loss(decision, inside))


def test_auc_by_hand():
    # Pairs (accepted, rejected): .8>.6, .8>.2, .4<.6, .4>.2, so 3 of 4 in order.
    assert auc_by_user([1, 0, 1, 0], [0.8, 0.6, 0.4, 0.2], [1, 1, 2, 2]).mean() == pytest.approx(0.75)
    assert auc_by_user([1, 1], [0.1, 0.2], [1, 2]).isna().all()


def test_auc_contributions_give_the_bootstrap_variance(guesses):
    """The spread of the linearised AUC over resampled users is that of the AUC itself."""
    decision, probability, user = guesses
    contributions = auc_by_user(decision, probability, user)
    rng = np.random.default_rng(1)
    rows_of = [np.flatnonzero(user == name) for name in contributions.index]
    exact, linear = [], []
    for _ in range(400):
        drawn = rng.integers(len(rows_of), size=len(rows_of))
        rows = np.concatenate([rows_of[i] for i in drawn])
        exact.append(roc_auc_score(decision[rows], probability[rows]))
        linear.append(contributions.iloc[drawn].mean())
    assert np.std(linear) == pytest.approx(np.std(exact), rel=0.1)
    assert np.corrcoef(linear, exact)[0, 1] > 0.97


def test_calibration_by_hand():
    decision, probability = [1, 0, 1, 1], [0.11, 0.19, 0.95, 1.0]
    curve = calibration_curve(decision, probability)
    assert curve.to_dict("list") == {"stated": [0.15, 0.975], "observed": [0.5, 1.0], "rows": [2, 2]}
    assert expected_calibration_error(decision, probability) == pytest.approx((0.35 + 0.025) / 2)


def test_bootstrap_interval_has_the_width_of_theory():
    values = np.random.default_rng(3).normal(2, 1, 400)
    frame = pd.DataFrame({"a": values, "shifted": values + 5, "constant": 1.0})
    table = resample_means(frame, draws=4000)
    half = 1.96 * values.std(ddof=1) / 20
    assert table.loc["a", "mean"] == pytest.approx(values.mean())
    assert table.loc["a", "upper"] - table.loc["a", "lower"] == pytest.approx(2 * half, rel=0.06)
    np.testing.assert_allclose(table.loc["shifted"] - table.loc["a"], 5)  # the same users are drawn
    assert table.loc["constant", "lower"] == table.loc["constant", "upper"] == 1
    pd.testing.assert_frame_equal(table, resample_means(frame, draws=4000))


def test_bootstrap_leaves_missing_users_out():
    frame = pd.DataFrame({"a": [1.0, 3.0, np.nan, np.nan]})
    assert resample_means(frame).loc["a", "mean"] == 2


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(5)
    hits = 0
    for world in range(200):
        table = resample_means(pd.DataFrame({"a": rng.exponential(1, 100)}), draws=300, seed=world)
        hits += table.loc["a", "lower"] <= 1 <= table.loc["a", "upper"]
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize(
    ("shift", "error", "freedom", "p"),
    [
        (1.959964, 1.0, np.inf, 0.05), (-1.959964, 1.0, np.inf, 0.05), (3.919928, 2.0, np.inf, 0.05),
        (12.7062, 1.0, 1, 0.05), (12.7062, 1.0, 0.3, 0.05), (4.302653, 1.0, 2, 0.05), (0.0, 1.0, np.inf, 1.0),
        (0.0, 0.0, np.inf, 1.0), (0.1, 0.0, np.inf, 0.0),
    ],
)  # fmt: skip
def test_p_values_of_the_tables(shift, error, freedom, p):
    assert two_sided(shift, error, freedom) == pytest.approx(p, abs=1e-6)


def test_holm_by_hand():
    # .01 thrice, .02 twice; .03 would be .03, but is no smaller than those before it.
    assert holm(np.array([0.03, np.nan, 0.01, 0.02])) == pytest.approx(
        [0.04, np.nan, 0.03, 0.04], nan_ok=True
    )
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0 and np.isnan(holm(np.array([np.nan]))).all()


def test_every_resample_draws_as_many_users_as_there_are():
    """The statistic is given the sums of each resample: here how often each of five users was drawn."""
    given = []
    lower, upper = resample(np.eye(5), lambda sums: given.append(sums) or sums[..., :1], draws=700, level=0.4)
    assert len(given) == 1 and given[0].shape == (700, 5)
    assert (given[0].sum(axis=1) == 5).all() and given[0].min() == 0
    # Counts are binomial (5, 1/5): none with .328, one with .410, and .737 up to one.
    assert (lower.tolist(), upper.tolist()) == ([0.0], [1.0])
    ends = resample(
        np.eye(5) * np.pi, lambda sums: sums @ np.sqrt(np.arange(2, 7))[:, None], draws=700, level=0.8
    )
    theirs = np.pi * given[0] @ np.sqrt(np.arange(2, 7))  # a tenth of the draws beyond either end
    assert [float(end[0]) for end in ends] == pytest.approx(np.quantile(theirs, [0.1, 0.9]).tolist())
    again = []
    resample(np.eye(5), lambda sums: again.append(sums) or sums, draws=700)
    assert np.array_equal(given[0], again[0])  # the same users, whatever the level
    default = []
    resample(np.eye(5), lambda sums: default.append(sums) or sums)
    assert default[0].shape == (1000, 5) and np.array_equal(default[0][:700], given[0])
    for level in (0, 1, 1.5):
        with pytest.raises(InputError, match="level"):
            resample(np.eye(5), lambda sums: sums, level=level)


def test_bins_edges_and_directions():
    assert calibration_bin([0.0, 0.099, 0.1, 0.95, 1.0]).tolist() == [0, 0, 1, 9, 9]
    assert directions(["BCE", "AUC", "ECE", "Brier"]) == {
        "BCE": "low",
        "AUC": "high",
        "ECE": "low",
        "Brier": "low",
    }
    assert brier([1, 0], [0.8, 0.3]) == pytest.approx([0.04, 0.09])
    # One accepted and two rejected rows, of which one scores lower and one the same: (1 + 1/2) / 2.
    assert auc_by_user([1, 0, 0], [0.5, 0.5, 0.1], [1, 2, 3]).mean() == pytest.approx(0.75)
