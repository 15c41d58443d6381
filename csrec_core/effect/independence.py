"""Tests of conditional independence: of decisions that depend on each other within a user, and of single rows.

Decisions are binary and the rows of one user depend on each other, so they get the score test of a logistic
regression with user-clustered variance. Where one row a user says enough, these rows, independent of each
other, go to dowhy: its generalised covariance test, and its local Markov test. (dowhy's graph refuter compares
mutual information with a fixed 0.05, so it has no error rate; its permutation test asks whether the graph
beats a random one.)
"""

import random
import warnings

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import chi2


def clustered_score(
    decision: ArrayLike, other: ArrayLike, given: ArrayLike, level: ArrayLike, user: ArrayLike
) -> tuple[float, float]:
    """Test whether `other` moves a binary decision beyond a logistic regression on `given`.

    Of rows, `decision` is 0 or 1; `other` (rows, k) should not matter, and `given` (rows, p) may, its columns collinear
    or not; each `level`, such as an item, gets an intercept; rows of one `user` may depend on each other in any way.

    Returns the statistic of the generalised score test (Boos 1992), S' V^-1 S, of which V sums the squares of the
    users' own scores, and its p-value by the chi-squared distribution. NaN where nothing in `other` varies beyond
    `given`, or the regression has no finite fit.
    """
    decision, other, given = (np.asarray(part, dtype=float) for part in (decision, other, given))
    level, user = (np.unique(part, return_inverse=True)[1] for part in (level, user))
    given = given / np.where(given.std(axis=0) > 0, given.std(axis=0), 1)  # one scale, to see collinearity
    taken, size = np.bincount(level, decision), np.bincount(level)
    mixed = ((taken > 0) & (taken < size))[level]  # a group of one decision fits perfectly and says nothing
    decision, other, given, level, user = (part[mixed] for part in (decision, other, given, level, user))
    level = np.unique(level, return_inverse=True)[1]
    mean = _fit_logistic(decision, given, level)
    if mean is None:
        return float("nan"), float("nan")
    weight = mean * (1 - mean)
    given, left = _centre(given, level, weight), _centre(other, level, weight)
    left -= given @ _regress(left, given, weight)
    left = left[:, left.std(axis=0) > 1e-6 * np.abs(other).max(axis=0)]
    if not left.shape[1]:
        return float("nan"), float("nan")
    rows = left / left.std(axis=0) * (decision - mean)[:, None]
    scores = np.stack([np.bincount(user, column) for column in rows.T], axis=1)
    total, variance = scores.sum(axis=0), scores.T @ scores
    statistic = float(total @ np.linalg.pinv(variance, rcond=1e-10, hermitian=True) @ total)
    rank = np.linalg.matrix_rank(variance, tol=1e-10 * np.linalg.norm(variance, 2), hermitian=True)
    return statistic, float(chi2.sf(statistic, rank))


def _centre(values: np.ndarray, level: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Take the weighted mean of its level off each column."""
    total = np.bincount(level, weight)
    means = [np.bincount(level, weight * column) / total for column in values.T]
    return values - np.stack(means, axis=1)[level] if means else values


def _regress(values: np.ndarray, given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted least-squares slopes of the values, the smallest where columns are collinear."""
    weighted = given * weight[:, None]
    return np.linalg.pinv(weighted.T @ given, rcond=1e-10, hermitian=True) @ (weighted.T @ values)


def _fit_logistic(decision: np.ndarray, given: np.ndarray, level: np.ndarray) -> np.ndarray | None:
    """Return the fitted probabilities (rows,), by Newton's method; None where it does not settle."""
    if not len(decision):
        return None
    slopes = np.zeros(given.shape[1])
    intercepts = logit(np.bincount(level, decision) / np.bincount(level))
    for _ in range(30):
        mean = expit(intercepts[level] + given @ slopes)
        weight = mean * (1 - mean)
        if not weight.min() > 0:
            return None
        residual = decision - mean
        # The intercepts are solved for in closed form, so thousands of items cost no more than a few.
        step = _regress(residual / weight, _centre(given, level, weight), weight)
        slopes += step
        intercepts += np.bincount(level, residual - weight * (given @ step)) / np.bincount(level, weight)
        if np.abs(given @ step).max(initial=0) < 1e-8 and np.abs(np.bincount(level, residual)).max() < 1e-6:
            return mean
    return None


def _dowhy_gcm():
    """Import it late, as that takes seconds, and without its warning of a widget that no bar here needs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import dowhy.gcm
        import dowhy.gcm.falsify
    return dowhy.gcm


def covariance_test(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """Return dowhy's p-value of the covariance of x and y beyond quadratic regressions of both on z.

    Of dowhy's tests it is the one whose level holds here: its kernel regression takes a better fit of a
    variable that z nearly determines, such as yesterday's preference by today's, for a dependence.
    """
    gcm = _dowhy_gcm()
    model = gcm.ml.create_polynom_regressor
    try:
        return float(gcm.generalised_cov_based(x, y, z, model, model))
    except ValueError as error:
        if "constant" not in str(error):
            raise
        return float("nan")  # z determines x or y


def local_markov(graph: nx.DiGraph, data: pd.DataFrame) -> list[float]:
    """Return dowhy's p-values of the independences of each node from its other non-descendants."""
    falsify = _dowhy_gcm().falsify
    # dowhy seeds the global generators, which are not ours to change; the test itself draws nothing.
    kept = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        summary = falsify.validate_lmc(
            graph, data, conditional_independence_test=covariance_test, include_unconditional=False, n_jobs=1
        )
    finally:
        np.random.set_state(kept[0])  # noqa: NPY002
        random.setstate(kept[1])
    return [p for p, _ in summary[falsify.FalsifyConst.P_VALUES].values() if not np.isnan(p)]
