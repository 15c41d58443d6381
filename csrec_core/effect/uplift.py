"""How well a score ranks the effect: gain curves, AUUC and Qini, with intervals over users."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import integrate

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
        `score`, `share` of the system's exposures that are recommended, those of the highest score first, in
        [0, 1], and their `gain` in acceptance per exposure (recommended or not) with its interval `low`,
        `high`.
    areas : DataFrame
        A row a score: `auuc`, the area under the gain curve, and `qini`, that area less the area under the
        straight line to its end, which a random score has on average; each with `_low` and `_high`.
    """

    curves: pd.DataFrame
    areas: pd.DataFrame


def uplift(
    cells: pd.DataFrame,
    scores: Mapping[str, np.ndarray],
    *,
    bins: int = 50,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Uplift:
    """Rank the contexts of the system's exposures by each score, and sum up the effect from the top.

    A row of the system adds D - q_self, one of the user's own choice odds (q_self - D): the doubly robust
    terms of the effect on the system's exposures. With rows of the system alone the curve rests on q_self
    being right. Curves and Qini follow Radcliffe (2007) and Devriendt et al. (2020), per exposure.

    Parameters
    ----------
    cells : DataFrame
        `user`, `decision`, `system`, `odds`, `q_self` (see `csrec_core.effect.contexts.Contexts`).
    scores : mapping
        Name to a score for each row, larger where recommending should help more. It must not have seen the
        decision of its own row. A score of random numbers is put beside them.
    bins : int
        The scores are cut at this many quantiles, at least 2; equal scores stay together.
    draws, level, seed
        Of the bootstrap over users, and of the random score.

    Raises
    ------
    InputError
        When no row is the system's, or a score is not a finite number at every row.
    """
    system = cells["system"].to_numpy(dtype=bool)
    if not system.any():
        raise InputError("the gain is that of the system's exposures, and the cells hold none")
    if bins < 2:
        raise InputError(f"bins = {bins}; expected at least 2")
    noise = np.random.default_rng([seed, 1]).random(len(cells))
    residual = cells["decision"].to_numpy(dtype=float) - cells["q_self"].to_numpy()
    gain = residual * np.where(system, 1.0, -cells["odds"])
    curves, areas = [], []
    for name, score in {**scores, RANDOM: noise}.items():
        score = np.asarray(score, dtype=float)
        if score.shape != (len(cells),) or not np.isfinite(score).all():
            raise InputError(f"score {name!r}: expected a finite number for each of {len(cells)} cells")
        edges = np.quantile(-score[system], np.linspace(0, 1, bins + 1)[1:-1])
        place = np.searchsorted(edges, -score)
        user = pd.factorize(cells["user"])[0]
        shape = (user.max() + 1, bins)
        values = np.hstack(
            [
                np.bincount(user * bins + place, part, minlength=shape[0] * bins).reshape(shape)
                for part in (system, gain)
            ]
        )
        share, height = _curve(values.sum(axis=0), bins)
        found = _summary(values.sum(axis=0), bins)
        low, high = resample(values, lambda sums: _summary(sums, bins), draws=draws, level=level, seed=seed)
        curves.append(
            pd.DataFrame(
                {
                    "score": name,
                    "share": share,
                    "gain": height,
                    "low": np.concatenate([[0.0], low[:bins]]),
                    "high": np.concatenate([[0.0], high[:bins]]),
                }
            )
        )
        numbers = {"score": name}
        for column, at in (("auuc", bins), ("qini", bins + 1)):
            numbers |= {column: found[at], f"{column}_low": low[at], f"{column}_high": high[at]}
        areas.append(numbers)
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
