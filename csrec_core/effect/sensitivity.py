"""How far an effect could be off if something hidden moved both the arm and the decision."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from csrec_core.effect.score import Sums, effects_of
from csrec_core.errors import InputError

__all__ = ["ODDS", "benchmark", "e_value", "sensitivity_band", "tipping_point"]

ODDS = (1.0, 1.25, 1.5, 2.0, 3.0)
MOST = 20.0  # odds past which no tipping point is looked for


def sensitivity_band(
    splits: Sequence[Sums], odds: Sequence[float] = ODDS, *, span: float, level: float = 0.95
) -> pd.DataFrame:
    """Return between which values the mean effect lies if hidden causes move the odds of the arm.

    Each weight of the baseline may be wrong by a factor within [1 / odds, odds], the marginal sensitivity
    model of Tan (2006). The extremes give rows above a threshold of the residual the one factor and those
    below it the other; residuals are in bins of a thousandth of `span`.

    Parameters
    ----------
    splits : list of Sums
        With `all` and `band`, one of each deal of users into folds.
    odds : sequence of float
        At least 1.
    span : float
        What residuals were binned over.

    Returns
    -------
    DataFrame
        `odds`, `least` and `most` (the effect at the extremes), `lower` and `upper` (these, widened by the
        sampling error of the mean).
    """
    if not all(one >= 1 for one in odds):
        raise InputError(f"odds {list(odds)}; expected numbers of at least 1")
    tables = [np.array([_ends(sums, one, span=span, level=level) for one in odds]) for sums in splits]
    found = pd.DataFrame(np.median(tables, axis=0), columns=["least", "most", "lower", "upper"])
    found.insert(0, "odds", list(odds))
    return found


def _ends(sums: Sums, odds: float, *, span: float, level: float) -> tuple[float, float, float, float]:
    found = effects_of(sums, "all")
    effect, error = found.effect[0], np.sqrt(found.covariance[0, 0])
    weight, worth = sums["band"]
    used = weight > 0
    if not used.any() or not np.isfinite(effect):
        return (np.nan,) * 4
    # Bins are sorted by the residual; the exact mean within a bin orders rows no worse than its middle.
    weight, worth = weight[used], worth[used]
    middle = worth.sum() / weight.sum()
    below, sum_below = np.cumsum(weight), np.cumsum(worth)
    ends = []
    for first, last in ((odds, 1 / odds), (1 / odds, odds)):  # factors of low and of high residuals
        total = first * below + last * (below[-1] - below)
        mean = (first * sum_below + last * (sum_below[-1] - sum_below)) / total
        ends.append(effect + middle - (mean.min() if first > last else mean.max()))
    most, least = ends  # a low mean of the baseline is a large effect
    half = norm.ppf((1 + level) / 2) * error
    return least, most, least - half, most + half


def tipping_point(splits: Sequence[Sums], *, span: float, level: float = 0.95) -> float:
    """Return the odds at which zero enters the interval of the effect: 1 where it is in already.

    NaN where there is no effect to be explained away, infinity where odds of 20 do not do it.
    """

    def gap(odds: float) -> float:
        row = sensitivity_band(splits, [odds], span=span, level=level).iloc[0]
        return row["lower"] if middle > 0 else -row["upper"]

    middle = sensitivity_band(splits, [1.0], span=span, level=level)["least"].iloc[0]
    if not np.isfinite(middle):
        return float("nan")
    if gap(1.0) <= 0:
        return 1.0
    return float("inf") if gap(MOST) > 0 else float(brentq(gap, 1.0, MOST, xtol=1e-3))


def benchmark(full: np.ndarray, without: dict[str, np.ndarray], weight: np.ndarray) -> tuple[str, float]:
    """Return the observed column whose loss moves the odds of the arm most, and by which factor.

    Parameters
    ----------
    full : array (rows,)
        Chance of the arm by all that is observed.
    without : dict of str to array (rows,)
        By column, the chance without it.
    weight : array (rows,)
        Of the baseline's rows.

    Returns
    -------
    name : str
    factor : float
        At least 1: the 90th percentile over rows of how much the odds change.
    """
    best = "", 1.0
    if not weight.sum() > 0:
        return best

    for name, other in without.items():
        full_odds, other_odds = (np.clip(one, 1e-6, 1 - 1e-6) for one in (full, other))
        moved = np.abs(np.log(full_odds / (1 - full_odds)) - np.log(other_odds / (1 - other_odds)))
        order = np.argsort(moved)
        share = np.cumsum(weight[order]) / weight.sum()
        factor = float(np.exp(moved[order][np.searchsorted(share, 0.9)]))
        best = max(best, (name, factor), key=lambda one: one[1])
    return best


def e_value(ratio: float, lower: float, upper: float) -> tuple[float, float]:
    """Return the E-value of a risk ratio, and of the end of its interval nearer to 1.

    How many times as often, at least, a hidden cause must occur with one arm as with the other, and raise
    acceptance, to explain the ratio away (VanderWeele and Ding 2017): R + sqrt(R (R - 1)), R the ratio or
    its inverse, whichever is above 1. 1 where the interval holds 1.

    Examples
    --------
    >>> tuple(round(value, 2) for value in e_value(3.9, 1.8, 8.7))
    (7.26, 3.0)
    """
    if not 0 < lower <= ratio <= upper:
        raise InputError(f"risk ratio {ratio} [{lower}, {upper}]; expected positive numbers in order")

    def from_null(value: float) -> float:
        value = max(value, 1 / value)
        return float(value + np.sqrt(value * (value - 1)))

    nearer = 1.0 if lower <= 1 <= upper else lower if ratio > 1 else upper
    return from_null(ratio), from_null(nearer)
