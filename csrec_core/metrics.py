"""How good predictions are: per user first, then the mean, with an interval over users."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from scipy.stats import t as student

from csrec_core.errors import InputError

SMALL_IS_GOOD = ("BCE", "Brier", "ECE")
CALIBRATION_BINS = 10
SMALLEST_PROBABILITY = 1e-7  # probabilities are kept this far from 0 and 1 before a logarithm


def directions(metrics: Iterable[str]) -> dict[str, str]:
    """Return for each metric which end is the better one, "high" or "low"."""
    return {metric: "low" if metric in SMALL_IS_GOOD else "high" for metric in metrics}


def effective_size(weight: np.ndarray) -> float:
    """Return how many of equal weight would tell as much (Kish 1965): (sum w)^2 / sum w^2; 0 without weight.

    Examples
    --------
    >>> effective_size(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    return float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))


def hit_rate(rank: np.ndarray, k: int) -> np.ndarray:
    """Return HR@k of each ranking: whether the item is among the first k. `rank` counts from 1."""
    return (np.asarray(rank) <= k).astype(float)


def ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    """Return NDCG@k of each ranking with one relevant item: 1 / log2(1 + rank) within the first k, else 0."""
    rank = np.asarray(rank, dtype=float)
    return np.where(rank <= k, 1 / np.log2(1 + rank), 0.0)


def accept_by_probability(probability: np.ndarray, alpha: float) -> np.ndarray:
    """Return the decision of Eq. (19): accept where the probability is at least 1 - alpha."""
    return np.asarray(probability) >= 1 - _share(alpha)


def accept_by_rank(rank_share: np.ndarray, alpha: float) -> np.ndarray:
    """Return the decision of Eq. (20): accept where the item ranks in the top share alpha of the catalogue.

    `rank_share` is rank / size of the catalogue, in (0, 1]. AHR@alpha is how often either decision is right.
    """
    return np.asarray(rank_share) <= _share(alpha)


def average_accuracy(right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the average accuracy of each session, the measure of the WSDM Cup 2019 (Brost et al. 2019).

    The mean, over the T tracks asked for, of the accuracy up to and with a track where that track was
    predicted right, and 0 where it was not: an early mistake costs more than a late one. `right` and `asked` are
    (sessions, slots) bool; NaN where nothing is asked. The mean over sessions is the mean average accuracy.
    """
    asked = np.asarray(asked, dtype=bool)
    right = np.asarray(right, dtype=bool) & asked
    accuracy = right.cumsum(axis=1) / np.maximum(asked.cumsum(axis=1), 1)
    with np.errstate(invalid="ignore"):
        return (accuracy * right).sum(axis=1) / asked.sum(axis=1)


def first_accuracy(right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return whether the first slot that each session is asked for is right; NaN where nothing is asked."""
    asked = np.asarray(asked, dtype=bool)
    first = np.take_along_axis(np.asarray(right, dtype=float), asked.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(asked.any(axis=1), first, np.nan)


def brier(decision: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the squared error of each row, in [0, 1]."""
    return (np.asarray(probability) - np.asarray(decision)) ** 2


def cross_entropy(decision: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the negative log-likelihood of each row, in nats."""
    probability = np.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -np.where(np.asarray(decision) == 1, np.log(probability), np.log1p(-probability))


def auc_by_user(decision: np.ndarray, score: np.ndarray, user: np.ndarray) -> pd.Series:
    """Return each user's contribution to the pooled AUC, scaled so that the contributions average to it.

    The AUC is the mean, over accepted rows, of the share of rejected rows that score lower (ties: half). A
    user contributes through both their accepted and their rejected rows (the placement values of DeLong 1988,
    summed within clusters as Obuchowski 1997), so that a bootstrap of the mean over users is a linearised
    bootstrap of the AUC. All are NaN when only one decision occurs.
    """
    decision, score = np.asarray(decision).astype(bool), np.asarray(score, dtype=float)
    accepted, rejected = score[decision], score[~decision]
    auc, placement = np.nan, np.full(len(score), np.nan)
    if len(accepted) and len(rejected):
        everyone = rankdata(score)
        below = (everyone[decision] - rankdata(accepted)) / len(rejected)
        above = 1 - (everyone[~decision] - rankdata(rejected)) / len(accepted)
        auc = below.mean()
        placement[decision] = (below - auc) / len(accepted)
        placement[~decision] = (above - auc) / len(rejected)
    influence = pd.Series(placement).groupby(np.asarray(user)).sum(min_count=1)
    return auc + influence * len(influence)


def calibration_bin(probability: np.ndarray) -> np.ndarray:
    """Return the number, from 0, of the bin of equal width that each probability falls into."""
    return np.minimum((np.asarray(probability) * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_curve(decision: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Return `stated` against `observed` acceptance, means in bins of equal width, and their `rows`; no empty bins."""
    frame = pd.DataFrame({"stated": probability, "observed": np.asarray(decision, dtype=float)})
    frame["bin"] = calibration_bin(frame["stated"])
    grouped = frame.groupby("bin")
    return grouped.mean().assign(rows=grouped.size()).reset_index(drop=True)


def expected_calibration_error(decision: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean distance of stated from observed acceptance over bins of equal width, by rows."""
    curve = calibration_curve(decision, probability)
    return float(np.average((curve["stated"] - curve["observed"]).abs(), weights=curve["rows"]))


def resample(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap over users: percentile interval, lower and upper (M,), of a statistic of sums over users.

    Parameters
    ----------
    values : array (U, K)
        One row a user: what the statistic needs summed over users, such as sums of rows and their counts.
    statistic : callable
        From sums (..., K) to the statistic (..., M).
    draws, level, seed
        Resamples, coverage, and the random stream; the same seed resamples the same users, so that
        differences of two statistics are paired.
    """
    values = np.asarray(values, dtype=float)
    users = len(values)
    if not 0 < level < 1:
        raise InputError(f"level = {level}; expected a share in (0, 1)")
    rng = np.random.default_rng(seed)
    block = max(1, 10_000_000 // users)  # bounds the memory of the counts
    sums = [_times_drawn(rng, users, min(block, draws - done)) @ values for done in range(0, draws, block)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.nanquantile(statistic(np.concatenate(sums)), tails, axis=0)
    return lower, upper


def resample_means(frame: pd.DataFrame, **options) -> pd.DataFrame:
    """Return `mean`, `lower` and `upper` of each column of a frame with one row a user.

    NaN cells are left out, column by column; `options` go to `resample`.
    """
    given = frame.notna().to_numpy()
    values = np.hstack([np.where(given, frame.to_numpy(dtype=float), 0), given])
    width = frame.shape[1]

    def means(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[..., :width] / sums[..., width:]

    lower, upper = resample(values, means, **options)
    return pd.DataFrame(
        {"mean": means(values.sum(axis=0)), "lower": lower, "upper": upper}, index=frame.columns
    )


def _times_drawn(rng: np.random.Generator, users: int, draws: int) -> np.ndarray:
    """Return how often each user is drawn in each resample, (draws, users)."""
    drawn = rng.integers(users, size=(draws, users)) + users * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * users).reshape(draws, users).astype(float)


def two_sided(shift: float, error: float, freedom: float = np.inf) -> float:
    """Return the p-value of a shift from zero by its standard error; freedom of Student's t, by default normal.

    Examples
    --------
    >>> round(two_sided(-1.96, 1.0), 3), two_sided(0.0, 0.0)
    (0.05, 1.0)
    """
    return float(2 * student.sf(abs(shift) / error, max(freedom, 1))) if error > 0 else float(shift == 0)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for there being several (Holm 1979), of those that are no NaN."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")[: (~np.isnan(p)).sum()]
    adjusted = np.full(len(p), np.nan)
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


def _share(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise InputError(f"alpha = {alpha}; expected a share in (0, 1)")
    return alpha
