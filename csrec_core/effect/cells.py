"""Effects of single exposures: the doubly robust score, projected on what is known before each (DR-learner).

With x what is known before an exposure and D the decision, beta solves G beta = b, where

    G = sum tau x x',    b = sum x [tau (m1 - m0) + w1 (D - m1) - w0 (D - m0)],

w1 and w0 scaled to the mass of tau: the best linear projection of the effect at the target (Semenova and
Chernozhukov 2021; Kennedy 2023), right where the weights are, or m1 and m0. Weights make b noisy, by a
covariance M, summed over users: beta is drawn towards no difference between exposures by as much as b is noise,
b ~ N(G beta, M), beta ~ N(0, s^2), s by maximum likelihood. A fold is read by the beta of the others.
"""

import numpy as np
import pandas as pd
from scipy.stats import multivariate_normal, norm

from csrec_core.data.log import Dataset
from csrec_core.effect.engine import Engine
from csrec_core.effect.estimate import Effect
from csrec_core.effect.table import ItemCounts, lay_rows

__all__ = ["cell_effects", "gains", "known_before"]

SPREADS = np.geomspace(1e-4, 0.3, 15)  # s, as a share of the span of decisions


def gains(cells: pd.DataFrame) -> np.ndarray:
    """Return each row's doubly robust term of the effect, (rows,): their sum is the effect times that of tau."""
    names = ["tau", "w1", "w0", "m1", "m0", "decision"]
    tau, w1, w0, m1, m0, decision = cells[names].to_numpy(dtype=float).T
    return tau * (m1 - m0) + tau.sum() * (w1 / w1.sum() * (decision - m1) - w0 / w0.sum() * (decision - m0))


def cell_effects(effect: Effect, dataset: Dataset) -> pd.DataFrame:
    """Return the cells of an effect, of a log in memory, with the effect at each.

    Beside them stand `effect`, in units of the decision, `lower` and `upper`: of the mean effect over exposures
    alike in what is known before. What is not known moves single effects beyond it.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> from csrec_core.effect.estimate import estimate_effect
    >>> log = simulate_books(users=200, seed=1)
    >>> cells = cell_effects(estimate_effect(log, splits=1), log)
    >>> bool((cells["lower"] < cells["effect"]).all())
    True
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
    folds = int(fold.max()) + 1
    counts = ItemCounts.count(rows, fold, folds)
    own = [np.flatnonzero(fold == one) for one in range(folds)]
    told = pd.concat([counts.tell(item[here], fold[here], one) for one, here in enumerate(own)])
    told = told.set_axis(np.concatenate(own)).sort_index()
    features = Engine(effect.design, effect.known, counts, folds, 0).describe(rows)
    # Times that the arms do not share would compare the one's with none of the other's.
    features = features.drop(columns={"step", "seen", "time"}.difference(effect.known.clock.columns))
    features = pd.concat([features, told], axis=1)[(scores["arm"] >= 0).to_numpy()]
    features = features.assign(m0=cells["m0"].to_numpy(), gap=(cells["m1"] - cells["m0"]).to_numpy())
    values, weight = features.to_numpy(dtype=float), cells["tau"].to_numpy(dtype=float)
    values = values - np.average(values, axis=0, weights=weight)
    spread = np.sqrt(np.average(values**2, axis=0, weights=weight))
    used = spread > 1e-9
    return np.column_stack([np.ones(len(values)), values[:, used] / spread[used]])
