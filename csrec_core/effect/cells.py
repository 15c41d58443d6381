"""Effects of single exposures: what they are, how well a score ranks them, and where to explore.

The doubly robust score is projected on what is known before each exposure (DR-learner).

With x what is known before an exposure and D the decision, beta solves G beta = b, where

    G = sum tau x x',    b = sum x [tau (m1 - m0) + w1 (D - m1) - w0 (D - m0)],

w1 and w0 scaled to the mass of tau: the best linear projection of the effect at the target (Semenova and
Chernozhukov 2021; Kennedy 2023), right where the weights are, or m1 and m0. Weights make b noisy, by a
covariance M, summed over users: beta is drawn towards no difference between exposures by as much as b is noise,
b ~ N(G beta, M), beta ~ N(0, s^2), s by maximum likelihood. A fold is read by the beta of the others.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import integrate
from scipy.stats import multivariate_normal, norm

from csrec_core.data.log import Dataset
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import lay_rows
from csrec_core.errors import InputError
from csrec_core.metrics import resample

RANDOM_SCORE = "random score"
QUANTILES = 50  # of the target, at which scores are cut
SPREADS = np.geomspace(1e-4, 0.3, 15)  # s, as a share of the span of decisions

#: What to do with a cell, by its interval.
ZONES = {
    "recommend": "the whole interval lies above the threshold",
    "explore": "the interval is wide and its upper end lies above the threshold",
    "undecided": "the interval is narrow and holds the threshold",
    "leave": "the whole interval lies at or below the threshold",
}


def gains(cells: pd.DataFrame) -> np.ndarray:
    """Return each row's doubly robust term of the effect, (rows,): their sum is the effect times that of tau."""
    names = ["tau", "w1", "w0", "m1", "m0", "decision"]
    tau, w1, w0, m1, m0, decision = cells[names].to_numpy(dtype=float).T
    return tau * (m1 - m0) + tau.sum() * (w1 / w1.sum() * (decision - m1) - w0 / w0.sum() * (decision - m0))


def cell_effects(effect: Effect, dataset: Dataset) -> pd.DataFrame:
    """Return the cells of an effect, of a log in memory, with the effect at each.

    To their columns come `effect`, in units of the decision, `lower` and `upper`: the mean effect over exposures that
    are alike in what is known before. What is not known moves single effects beyond the interval.
    """
    cells = effect.cells
    gain, tau, x = gains(cells), cells["tau"].to_numpy(dtype=float), known_before(effect, dataset)
    user, fold = pd.factorize(cells["user"])[0], cells["fold"].to_numpy()
    left = x * (gain - tau * gain.sum() / tau.sum())[:, None]
    found, error = np.empty(len(x)), np.empty(len(x))
    for one in np.unique(fold):
        other, here = fold != one, fold == one
        gram = x[other].T @ (x[other] * tau[other, None])
        by_user = np.stack([np.bincount(user[other], column) for column in left[other].T], axis=1)
        beta, covariance = _draw_in(gram, x[other].T @ gain[other], by_user.T @ by_user, effect.known.span)
        found[here] = x[here] @ beta
        error[here] = np.sqrt(np.einsum("rk,kl,rl->r", x[here], covariance, x[here]).clip(0))
    found += gain.sum() / tau.sum() - np.average(found, weights=tau)  # they average to the reported effect
    half = norm.ppf((1 + effect.level) / 2) * error
    return cells.assign(effect=found, lower=found - half, upper=found + half)


def _draw_in(gram, moment, noise, span) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of beta given the moment; its first entry, the constant, is not drawn in."""
    best = -np.inf
    for spread in SPREADS:
        prior = np.diag(np.r_[1.0, np.full(len(gram) - 1, spread**2)]) * span**2
        total = gram @ prior @ gram + noise
        likelihood = multivariate_normal.logpdf(moment, cov=total, allow_singular=True)
        if likelihood > best:
            best, weight = likelihood, prior @ gram @ np.linalg.pinv(total, hermitian=True)
            beta, covariance = weight @ moment, prior - weight @ gram @ prior
    return beta, covariance


def known_before(effect: Effect, dataset: Dataset) -> np.ndarray:
    """Return what is known before each cell's decision, (cells, 1 + k): ones, then standardised columns."""
    rows, scores, cells = lay_rows(dataset, effect.design), effect.scores[0], effect.cells
    fold, item = scores["fold"].to_numpy(), rows["item"].to_numpy()
    counts = ItemCounts.count(rows, fold, int(fold.max()) + 1)
    told = counts.tell(item, fold)
    features = effect.known.describe(rows)
    # Times that the arms do not share would compare the one's with none of the other's.
    features = features.drop(columns={"step", "seen", "time"}.difference(effect.known.clock.columns))
    features = pd.concat([features, told], axis=1)[(scores["arm"] >= 0).to_numpy()]
    features = features.assign(m0=cells["m0"].to_numpy(), gap=(cells["m1"] - cells["m0"]).to_numpy())
    weight, values = cells["tau"].to_numpy(dtype=float), features.to_numpy(dtype=float)
    values = values - np.average(values, axis=0, weights=weight)
    spread = np.sqrt(np.average(values**2, axis=0, weights=weight))
    used = spread > 1e-9
    return np.column_stack([np.ones(len(values)), values[:, used] / spread[used]])


def uplift(
    cells: pd.DataFrame, scores: Mapping[str, np.ndarray], *, seed: int = 0, **options
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the cells by each score, and sum up the effect from the top: gain curves, AUUC and Qini.

    `scores` are, by name, a number for each row, larger where the arm should help more, that has not seen the decision
    of its own row; random numbers are put beside them. They are cut at quantiles of the target, equal ones together.
    Each row adds its doubly robust term (`gains`). Curves and Qini follow Radcliffe (2007) and Devriendt et al. (2020),
    per exposure; `options` go to `csrec_core.metrics.resample`.

    Returns the curves: `score`, `share` of the target that goes to the arm, highest score first, in [0, 1], and the
    `gain` in the mean decision of the whole target, with `lower`, `upper`; and, a row a score, `auuc`, the area under
    the gain curve, and `qini`, that area less the one under the straight line to its end, which a random score has on
    average; with `qini_lower`, `qini_upper`.
    """
    user, tau, gain = pd.factorize(cells["user"])[0], cells["tau"].to_numpy(dtype=float), gains(cells)
    noise = np.random.default_rng([seed, 1]).random(len(cells))
    curves, areas = [], []
    for name, score in {**scores, RANDOM_SCORE: noise}.items():
        score = np.asarray(score, dtype=float)
        if score.shape != (len(cells),) or not np.isfinite(score).all():
            raise InputError(f"score {name!r}: expected a finite number for each of {len(cells)} cells")
        edges = np.quantile(-score[tau > 0], np.linspace(0, 1, QUANTILES + 1)[1:-1])
        place = user * QUANTILES + np.searchsorted(edges, -score)
        size = (user.max() + 1) * QUANTILES
        values = np.hstack([np.bincount(place, part, size).reshape(-1, QUANTILES) for part in (tau, gain)])
        lower, upper = resample(values, _curve_summary, seed=seed, **options)
        share, height = _curve(values.sum(axis=0))
        found = _curve_summary(values.sum(axis=0))
        curve = pd.DataFrame({"score": name, "share": share, "gain": height})
        curves.append(curve.assign(lower=np.r_[0.0, lower[:QUANTILES]], upper=np.r_[0.0, upper[:QUANTILES]]))
        qini = {"qini": found[-1], "qini_lower": lower[-1], "qini_upper": upper[-1]}
        areas.append({"score": name, "auuc": found[-2], **qini})
    return pd.concat(curves, ignore_index=True), pd.DataFrame(areas)


def _curve(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return share and gain from 0 on, (..., QUANTILES + 1) each, from the sums of the bins."""
    mass, gained = sums[..., :QUANTILES], sums[..., QUANTILES:]
    count = mass.sum(axis=-1, keepdims=True)
    start = np.zeros_like(count)
    share, gain = (np.cumsum(part, axis=-1) / count for part in (mass, gained))
    return np.concatenate([start, share], axis=-1), np.concatenate([start, gain], axis=-1)


def _curve_summary(sums: np.ndarray) -> np.ndarray:
    """Return the gains at the cuts, the area under the curve, and the area above the straight line."""
    share, gain = _curve(sums)
    area = integrate.trapezoid(gain, share, axis=-1)[..., None]
    return np.concatenate([gain[..., 1:], area, area - gain[..., -1:] / 2], axis=-1)


def exploration(cells: pd.DataFrame, *, threshold: float = 0.0) -> pd.DataFrame:
    """Return cells (`effect`, `lower`, `upper`) with their `width` and `zone`, a key of `ZONES`.

    An interval as wide as the median, or wider, is uncertain.
    """
    width = cells["upper"] - cells["lower"]
    promising, above = cells["upper"] > threshold, cells["lower"] > threshold
    zone = np.select([above, promising & (width >= width.median()), promising], list(ZONES)[:3], "leave")
    return cells.assign(width=width, zone=pd.Categorical(zone, categories=list(ZONES)))


def zone_table(explored: pd.DataFrame) -> pd.DataFrame:
    """Return a row a zone: what it `means`, `cells`, `users`, `share`, mean `effect`, median `width`."""
    groups = explored.groupby("zone", observed=False)
    table = pd.DataFrame({"means": pd.Series(ZONES), "cells": groups.size()})
    table["users"] = groups["user"].nunique()
    table["share"] = table["cells"] / max(1, len(explored))
    table["effect"], table["width"] = groups["effect"].mean(), groups["width"].median()
    return table.rename_axis("zone").reset_index()
