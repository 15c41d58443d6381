"""Each user's effect, drawn towards that of all by as much as it is noise (empirical Bayes)."""

import numpy as np
import pandas as pd
from scipy.stats import norm

FEWEST_EXPOSURES = 2  # exposures of a user, from which on their spread counts for that of the noise


def user_effects(scores: pd.DataFrame, *, error: float = 0.0, level: float = 0.95) -> pd.DataFrame:
    """Return the users' mean effects at the arm's exposures, partially pooled.

    A user's residuals D - m0 average to b + e under the arm, and, weighted to look like it, to b under the
    baseline: b is what the user accepts more than the regression expects, under either arm, and e their
    effect. Both differ between users, b and e apart from each other; a user's e is its best linear prediction
    from the two means (Morris 1983, with a second equation; Morris and Tang 2011 for the intervals). Without
    the baseline's, whoever likes everything would seem to be moved by the arm. The variance of b is the
    covariance of the two means, in which neither's noise is: that of weighted means is too rough to be taken
    off a variance.

    Their intervals hold the standard `error` of the mean effect as well, which all share. Returns `user`, `effect`,
    `lower`, `upper`, `exposures` (of the arm), sorted by `effect`.
    """
    if not (scores["w1"].sum() > 0 and scores["w0"].sum() > 0):  # nothing to compare
        return pd.DataFrame(columns=["user", "effect", "lower", "upper", "exposures"])
    users, user = np.unique(scores["user"].to_numpy(), return_inverse=True)
    residual = (scores["decision"] - scores["m0"]).to_numpy(dtype=float)
    mean1, shown, noise1, here = _user_residuals(user, residual, scores["w1"].to_numpy(dtype=float))
    mean0, chosen, noise0, there = _user_residuals(user, residual, scores["w0"].to_numpy(dtype=float))
    both = here & there
    weight = np.reciprocal(np.maximum(noise1 + np.nanmedian(noise1[here]), 1e-12))
    product = np.where(both, shown * chosen, 0.0)
    common = max(_weighted_mean(product, weight * both)[0], 0.0)  # of b
    spread, rough = _weighted_mean(shown**2 - noise1 - product, weight * here)  # of e, and its standard error
    # The covariance of e is `spread` with the arm's mean, and none with the baseline's.
    rest = common + noise1 - np.where(both, common**2 / np.maximum(common + noise0, 1e-300), 0.0)
    slope1 = max(spread, 0.0) / np.maximum(max(spread, 0.0) + rest, 1e-12)
    slope0 = -slope1 * np.where(both, common / np.maximum(common + noise0, 1e-300), 0.0)
    effect = mean1 - mean0 + slope1 * shown + slope0 * chosen
    # A spread that is not told from zero need not be zero: its mean, given its estimate, under a flat prior.
    ratio = max(spread / rough, -1e3) if rough > 0 else 0.0  # below, the two logarithms cancel to nothing
    likely = rough * (ratio + np.exp(norm.logpdf(ratio) - norm.logcdf(ratio)))
    left = likely * (1 - slope1) ** 2 + slope1**2 * rest
    half = norm.ppf((1 + level) / 2) * np.sqrt(left + error**2)
    exposures = np.bincount(user, scores["arm"].to_numpy() == 1).astype(int)
    table = pd.DataFrame({"user": users, "effect": effect, "lower": effect - half, "upper": effect + half})
    return table.assign(exposures=exposures)[here].sort_values("effect", ignore_index=True)


def _weighted_mean(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return the weighted mean of the users' values where they count, and its standard error; 0 without any."""
    used = weight > 0
    if not used.any():
        return 0.0, 0.0
    mean = np.average(values[used], weights=weight[used])
    error = np.sqrt(((weight[used] * (values[used] - mean)) ** 2).sum()) / weight[used].sum()
    return float(mean), float(error)


def _user_residuals(user, residual, weight) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return the weighted mean residual, that of each user less it, the variance of its noise, and who has one."""
    total, square = np.bincount(user, weight), np.bincount(user, weight**2)
    rows = np.bincount(user, weight > 0)
    some = total > 0
    mean = np.bincount(user, weight * residual) / np.where(some, total, 1.0)
    # One variance of a row for all users, from those with several: a single user's own is too rough.
    away = weight * (residual - mean[user]) ** 2
    several = (rows >= FEWEST_EXPOSURES)[user]
    worth = np.maximum(total**2 / np.maximum(square, 1e-300), 1.0)
    lost = np.where(rows >= FEWEST_EXPOSURES, total * (1 - 1 / worth), 0.0).sum()
    alone = np.average(residual**2, weights=np.maximum(weight, 1e-300))
    variance = away[several].sum() / lost if lost > 0 else alone
    middle = np.average(residual, weights=weight)
    return middle, mean - middle, np.where(some, variance / worth, np.nan_to_num(np.inf)), some
