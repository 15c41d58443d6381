"""How well a score ranks the effect: gain curves, AUUC and Qini, with intervals over users."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import integrate

from csrec_core.effect.cells import gains
from csrec_core.errors import InputError
from csrec_core.metrics import resample

__all__ = ["RANDOM", "Uplift", "uplift"]

RANDOM = "random score"


@dataclass(frozen=True, eq=False)
class Uplift:
    """What `uplift` found.

    Attributes
    ----------
    curves : DataFrame
        `score`, `share` of the target that goes to the arm, highest score first, in [0, 1], and the `gain` in
        the mean decision of the whole target, with `lower`, `upper`.
    areas : DataFrame
        A row a score: `auuc`, the area under the gain curve, and `qini`, that area less the one under the
        straight line to its end, which a random score has on average; with `qini_lower`, `qini_upper`.
    """

    curves: pd.DataFrame
    areas: pd.DataFrame


def uplift(
    cells: pd.DataFrame, scores: Mapping[str, np.ndarray], *, bins: int = 50, seed: int = 0, **options
) -> Uplift:
    """Rank the cells by each score, and sum up the effect from the top.

    Each row adds its doubly robust term (`csrec_core.effect.cells.gains`). Curves and Qini follow Radcliffe
    (2007) and Devriendt et al. (2020), per exposure.

    Parameters
    ----------
    cells : DataFrame
        Of `csrec_core.effect.estimate.Effect.cells`.
    scores : mapping
        Name to a score for each row, larger where the arm should help more. It must not have seen the
        decision of its own row. A score of random numbers is put beside them.
    bins : int
        The scores are cut at this many quantiles of the target, at least 2; equal scores stay together.
    options
        Of `csrec_core.metrics.resample`.
    """
    if bins < 2:
        raise InputError(f"bins = {bins}; expected at least 2")
    user, tau, gain = pd.factorize(cells["user"])[0], cells["tau"].to_numpy(dtype=float), gains(cells)
    noise = np.random.default_rng([seed, 1]).random(len(cells))
    curves, areas = [], []
    for name, score in {**scores, RANDOM: noise}.items():
        score = np.asarray(score, dtype=float)
        if score.shape != (len(cells),) or not np.isfinite(score).all():
            raise InputError(f"score {name!r}: expected a finite number for each of {len(cells)} cells")
        edges = np.quantile(-score[tau > 0], np.linspace(0, 1, bins + 1)[1:-1])
        place = user * bins + np.searchsorted(edges, -score)
        size = (user.max() + 1) * bins
        values = np.hstack([np.bincount(place, part, size).reshape(-1, bins) for part in (tau, gain)])
        lower, upper = resample(values, lambda sums: _summary(sums, bins), seed=seed, **options)
        share, height = _curve(values.sum(axis=0), bins)
        found = _summary(values.sum(axis=0), bins)
        curve = pd.DataFrame({"score": name, "share": share, "gain": height})
        curves.append(curve.assign(lower=np.r_[0.0, lower[:bins]], upper=np.r_[0.0, upper[:bins]]))
        qini = {"qini": found[-1], "qini_lower": lower[-1], "qini_upper": upper[-1]}
        areas.append({"score": name, "auuc": found[-2], **qini})
    return Uplift(pd.concat(curves, ignore_index=True), pd.DataFrame(areas))


def _curve(sums: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return share and gain from 0 on, (..., bins + 1) each, from the sums of the bins."""
    count = sums[..., :bins].sum(axis=-1, keepdims=True)
    start = np.zeros_like(count)
    share, gain = (np.cumsum(part, axis=-1) / count for part in (sums[..., :bins], sums[..., bins:]))
    return np.concatenate([start, share], axis=-1), np.concatenate([start, gain], axis=-1)


def _summary(sums: np.ndarray, bins: int) -> np.ndarray:
    """Return the gains at the cuts, the area under the curve, and the area above the straight line."""
    share, gain = _curve(sums, bins)
    area = integrate.trapezoid(gain, share, axis=-1)[..., None]
    return np.concatenate([gain[..., 1:], area, area - gain[..., -1:] / 2], axis=-1)
