"""How far an effect could be off if something hidden moved both the arm and the decision."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from csrec_core.effect.engine import Engine
from csrec_core.effect.nuisance import fit_model
from csrec_core.effect.score import Sums, effects_of
from csrec_core.errors import InputError

ODDS = (1.0, 1.25, 1.5, 2.0, 3.0)
LARGEST_ODDS = 20.0  # odds past which no tipping point is looked for
COLUMNS, ROWS = 12, 10_000  # that the strongest column is sought among


def sensitivity_band(splits: Sequence[Sums], odds: Sequence[float] = ODDS, *, half: float) -> pd.DataFrame:
    """Return between which values the mean effect lies if hidden causes move the odds of the arm.

    Each weight of the baseline may be wrong by a factor within [1 / odds, odds], the marginal sensitivity
    model of Tan (2006). The extremes give rows above a threshold of the residual the one factor and those
    below it the other; residuals are in bins of a thousandth of their span.

    `splits` have `all` and `band`, one of each split of users into folds; `odds` are at least 1; `half` is half the
    width of the mean's interval, which is so that of odds of 1.

    Returns `odds`, `least` and `most` (the effect at the extremes), `lower` and `upper` (these, `half` further out).
    """
    if not all(one >= 1 for one in odds):
        raise InputError(f"odds {list(odds)}; expected numbers of at least 1")
    tables = [np.array([_ends(sums, one) for one in odds]) for sums in splits]
    found = pd.DataFrame(np.median(tables, axis=0), columns=["least", "most"])
    found.insert(0, "odds", list(odds))
    return found.assign(lower=found["least"] - half, upper=found["most"] + half)


def _ends(sums: Sums, odds: float) -> tuple[float, float]:
    effect = effects_of(sums, "all").effect[0]
    weight, worth = sums["band"][:, sums["band"][0] > 0]
    if not len(weight) or not np.isfinite(effect):
        return np.nan, np.nan
    # Bins are sorted by the residual; the exact mean within a bin orders rows no worse than its middle.
    middle = worth.sum() / weight.sum()
    below, sum_below = np.cumsum(weight), np.cumsum(worth)
    ends = []
    for first, last in ((odds, 1 / odds), (1 / odds, odds)):  # factors of low and of high residuals
        total = first * below + last * (below[-1] - below)
        mean = (first * sum_below + last * (sum_below[-1] - sum_below)) / total
        ends.append(effect + middle - (mean.min() if first > last else mean.max()))
    most, least = ends  # a low mean of the baseline is a large effect
    return least, most


def tipping_point(splits: Sequence[Sums], *, half: float) -> float:
    """Return the odds at which zero enters the interval of the effect: 1 where it is in already.

    NaN where there is no effect to be explained away, or no interval, infinity where odds of 20 do not do it.
    """

    def gap(odds: float) -> float:
        row = sensitivity_band(splits, [odds], half=half).iloc[0]
        return row["lower"] if middle > 0 else -row["upper"]

    middle = sensitivity_band(splits, [1.0], half=half)["least"].iloc[0]
    if not np.isfinite(middle + half):
        return float("nan")
    if gap(1.0) <= 0:
        return 1.0
    return float("inf") if gap(LARGEST_ODDS) > 0 else float(brentq(gap, 1.0, LARGEST_ODDS, xtol=1e-3))


@threadpool_limits.wrap(limits=1)  # sums come in the same order everywhere
def strongest(
    engine: Engine, rows: pd.DataFrame, features: pd.DataFrame, scores: pd.DataFrame
) -> tuple[str, float]:
    """Return the observed column whose loss moves the odds of the arm most, and by which factor (at least 1).

    The factor is the 90th percentile, over the baseline's weighted rows, of how much the odds change. All are
    regressions on some of the rows, none of them cross-fitted: it is a measure of strength, no part of the estimate.
    """
    names = [name for name in engine.columns("arm", engine.chances(rows).kind) if name in features.columns]
    own = np.flatnonzero((rows["arm"] >= 0).to_numpy())
    own = own[np.random.default_rng(engine.seed).permutation(len(own))[:ROWS]]
    table = features[names].iloc[own].reset_index(drop=True)
    names = [name for name in names if np.ptp(table[name].to_numpy()) > 0]
    arm, weight = (rows["arm"].to_numpy()[own] == 1).astype(float), scores["w0"].to_numpy()[own]
    best = "", 1.0
    if not names or not weight.sum() > 0:
        return best

    def log_odds(columns: list[str]) -> np.ndarray:
        found = np.full(len(arm), arm.mean())
        if columns:
            found = fit_model(table[columns], arm).predict(table[columns])
        chance = np.clip(found, 1e-6, 1 - 1e-6)
        return np.log(chance / (1 - chance))

    full, away = log_odds(names), {name: abs(np.corrcoef(table[name], arm)[0, 1]) for name in names}
    for name in sorted(names, key=lambda one: away[one], reverse=True)[:COLUMNS]:
        moved = np.abs(full - log_odds([other for other in names if other != name]))
        order = np.argsort(moved)
        share = np.cumsum(weight[order]) / weight.sum()
        factor = float(np.exp(moved[order][np.searchsorted(share, 0.9)]))
        best = max(best, (name, factor), key=lambda one: one[1])
    return best
