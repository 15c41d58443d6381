"""The clustered score test against a dense computation, copies of rows, and its own error rate."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from scipy.stats import chi2

from csrec_core.effect import independence
from csrec_core.effect.independence import clustered_score, covariance_test


def sample(rng, *, users=60, rows=12, effect=0.0, spread=0.0):
    """Decisions by item, one covariate and, with `spread`, a trait of the user; `other` is lasting too."""
    user = np.repeat(np.arange(users), rows)
    level = rng.integers(4, size=users * rows)
    given = rng.normal(size=(users * rows, 2))
    other = rng.normal(size=(users, 1)).repeat(rows, axis=0) + rng.normal(size=(users * rows, 1))
    trait = rng.normal(0, spread, users)[user] if spread else 0
    eta = 0.4 * level - 0.6 + given @ [0.5, -0.5] + effect * other[:, 0] + trait
    return (rng.random(len(user)) < expit(eta)).astype(int), other, given, level, user


@pytest.mark.parametrize("size", [180, 6])
def test_statistic_is_that_of_the_dense_regression(size):
    """Fit all intercepts by a general optimiser, and project by explicit matrices."""
    decision, other, given, level, user = sample(np.random.default_rng(0), effect=0.3)
    level = level if size == 180 else np.arange(720) // size
    kept = np.isin(level, [one for one in np.unique(level) if 0 < decision[level == one].mean() < 1])
    design = np.column_stack([given, np.eye(level.max() + 1)[level]])[kept]
    design, taken = design[:, design.any(axis=0)], decision[kept]

    def loss(beta):
        eta = design @ beta
        return -(taken * log_expit(eta) + (1 - taken) * log_expit(-eta)).sum()

    def slope(beta):
        return -design.T @ (taken - expit(design @ beta))

    start = np.zeros(design.shape[1])
    mean = expit(design @ minimize(loss, start, jac=slope, method="BFGS", options={"gtol": 1e-9}).x)
    weight = np.diag(mean * (1 - mean))
    projection = design @ np.linalg.inv(design.T @ weight @ design) @ design.T @ weight
    rows = (other[kept] - projection @ other[kept]) * (taken - mean)[:, None]
    scores = np.array([rows[user[kept] == u].sum(axis=0) for u in range(60)])
    expected = scores.sum(axis=0) @ np.linalg.inv(scores.T @ scores) @ scores.sum(axis=0)
    statistic, p = clustered_score(decision, other, given, level, user)
    assert statistic == pytest.approx(expected, rel=1e-6)
    assert p == pytest.approx(chi2.sf(expected, 1), rel=1e-5)
    # In other units all is the same.
    scaled = clustered_score(decision, 1e4 * other, given * [1e9, 1e-9], level, user)
    assert scaled == pytest.approx((statistic, p), rel=1e-5)


def test_two_columns_are_tested_together():
    decision, other, given, level, user = sample(np.random.default_rng(5), effect=0.1)
    both = np.column_stack([other, np.random.default_rng(6).normal(size=len(user))])
    statistic, p = clustered_score(decision, both, given, level, user)
    assert p == pytest.approx(chi2.sf(statistic, 2))
    assert statistic > clustered_score(decision, other, given, level, user)[0]
    whole = clustered_score(decision, both @ [[2.0, 1.0], [0.5, -1.0]], given, level, user)
    assert whole == pytest.approx((statistic, p), rel=1e-6)


def test_what_is_determined_has_no_p_and_other_errors_are_not_hidden(monkeypatch):
    def dowhy(says):
        def test(x, y, z, first, second):
            if isinstance(says, str):
                raise ValueError(says)
            return says if (x, y, z, first, second) == (1, 2, 3, "model", "model") else None

        ml = SimpleNamespace(create_polynom_regressor="model")
        monkeypatch.setattr(
            independence, "_dowhy_gcm", lambda: SimpleNamespace(ml=ml, generalised_cov_based=test)
        )
        return covariance_test(1, 2, 3)

    assert dowhy(0.25) == 0.25
    assert np.isnan(dowhy("the input is constant"))
    with pytest.raises(ValueError, match="another matter"):
        dowhy("another matter")


def test_copies_of_a_users_rows_are_no_more_evidence():
    arrays = sample(np.random.default_rng(1), effect=0.2)
    copies = [np.repeat(array, 5, axis=0) for array in arrays]
    assert clustered_score(*copies) == pytest.approx(clustered_score(*arrays), rel=1e-6)


def test_collinear_and_constant_columns_change_nothing():
    decision, other, given, level, user = sample(np.random.default_rng(2), effect=0.2)
    more = np.column_stack([given, given.sum(axis=1), np.ones(len(given)), np.zeros(len(given))])
    plain = clustered_score(decision, other, given, level, user)
    assert clustered_score(decision, other, more, level, user) == pytest.approx(plain, rel=1e-6)
    twice = np.column_stack([other, other])
    assert clustered_score(decision, twice, given, level, user) == pytest.approx(plain, rel=1e-6)


def test_level_is_kept_under_lasting_traits_and_lost_without_clusters():
    rng = np.random.default_rng(3)
    clustered, naive = [], []
    for _ in range(300):
        decision, other, given, level, user = sample(rng, spread=1.5)
        clustered.append(clustered_score(decision, other, given, level, user)[1])
        naive.append(clustered_score(decision, other, given, level, np.arange(len(user)))[1])
    assert 0.02 < np.mean(np.array(clustered) < 0.05) < 0.09
    assert np.mean(np.array(naive) < 0.05) > 0.15


def test_nothing_to_test():
    decision, other, given, level, user = sample(np.random.default_rng(4))
    assert np.isnan(clustered_score(decision, given[:, :1] * 2, given, level, user)).all()
    assert np.isnan(clustered_score(np.ones_like(decision), other, given, level, user)).all()
    separated = np.column_stack([given, decision])
    assert np.isnan(clustered_score(decision, other, separated, level, user)).all()
