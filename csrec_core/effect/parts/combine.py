"""Effects and their intervals from the sums of all parts."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.effect.contrast import Contrast, interval, slope
from csrec_core.effect.parts.score import GROUPS
from csrec_core.effect.parts.sums import Sums

__all__ = ["band", "by_group", "effects", "overlap", "resampled", "trend"]

SHARED = ("context",)  # groupings whose groups hold one source only: they meet the control of all


def effects(sums: Sums, grouping: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the effects of a grouping, (G,), and a matrix (4 G, G) whose products are their covariances.

    The matrix takes the place of the users' influence in `csrec_core.effect.contrast.interval` and `slope`.
    A group that one of the sources has no weight in has no effect (NaN).
    """
    totals = sums[grouping].reshape(-1, 4)
    count, shared = len(totals), grouping in SHARED
    effect, slopes = np.full(count, np.nan), np.zeros((count, count, 4))
    for group, (a, av, b, bv) in enumerate(totals):
        if shared:
            b, bv = totals[:, 2].sum(), totals[:, 3].sum()
        if a > 0 and b > 0:
            effect[group] = av / a - bv / b
            slopes[group, group, :2] = -av / a**2, 1 / a
            slopes[group, slice(None) if shared else group, 2:] = bv / b**2, -1 / b
    values, vectors = np.linalg.eigh(sums[f"{grouping} cross"])
    root = vectors * np.sqrt(np.maximum(values, 0))
    return effect, (slopes.reshape(count, -1) @ root).T


def by_group(sums: Sums, *, level: float) -> pd.DataFrame:
    """Return `grouping`, `group`, `effect`, `lower`, `upper`, `error`, `exposures` (the system's, in use)."""
    tables = []
    for grouping, names in {"overall": ("all",), **GROUPS}.items():
        table = interval(*effects(sums, grouping), level=level)
        table.insert(0, "group", names)
        table.insert(0, "grouping", grouping)
        exposures = sums[grouping].reshape(-1, 4)[:, 0].round().astype(np.int64)
        tables.append(table.assign(exposures=exposures).dropna())
    return pd.concat(tables, ignore_index=True)


def trend(sums: Sums, *, level: float) -> pd.Series:
    """Return the change of the effect with a position more: `effect`, `lower`, `upper`, `error`."""
    effect, influence = effects(sums, "position")
    return slope(np.arange(1, len(effect) + 1), effect, influence, level=level)


def resampled(sums: Sums, *, level: float) -> dict[str, float]:
    """Return the percentile interval and standard error of the mean effect by the Poisson bootstrap."""
    a, av, b, bv = sums["replicates"].T
    found = av / a - bv / b
    lower, upper = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return {"lower": float(lower), "upper": float(upper), "error": float(found.std(ddof=1))}


def band(sums: Sums, gamma: float, *, level: float) -> dict[str, float]:
    """Return how far the mean effect could move if hidden tastes moved the odds of the regime by `gamma`.

    As `Contrast.band`, with the residuals of the self-chosen rows in bins of a thousandth; the ends are
    widened by the error of the mean.
    """
    a, av, *_ = sums["overall"]
    weight, worth = sums["band"]
    used = weight > 0
    value = np.append(av / a, worth[used] / weight[used])
    rows = np.arange(len(value))
    binned = Contrast(rows, value, (rows == 0).astype(float), np.append(0.0, weight[used]))
    ends, error = binned.band(gamma), interval(*effects(sums, "overall"))["error"].iloc[0]
    half = norm.ppf((1 + level) / 2) * error
    least, most = float(ends["least"]), float(ends["most"])
    return {
        "gamma": gamma,
        "least": least,
        "most": most,
        "lower": float(least - half),
        "upper": float(most + half),
    }


def overlap(sums: Sums) -> dict[str, float]:
    """Return how comparable the sources are: see `csrec_core.effect.overlap.Overlap`."""
    _, system, trimmed, own, square = sums["counts"]
    weight = sums["overall"][2]
    return {
        "trimmed": float(trimmed / system),
        "ess": float(weight**2 / square),
        "ess_share": float(weight**2 / square / own),
        "largest": float(sums["largest"][0] / weight),
    }
