"""Partial pooling: each user's source effect, drawn towards that of all by as much as it is noise."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp

__all__ = ["Pooled", "pool_users"]

NODES = np.linspace(-4.5, 4.5, 37)  # of a user's deviation, in standard deviations
LOG_PRIOR = -(NODES**2) / 2 - logsumexp(-(NODES**2) / 2)
MOST_FITTED = 4000  # users that the population is learned from; all users are then estimated
BLOCK = 100_000  # rows laid out against the nodes at a time
SPREADS = (1e-3, 5.0)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Users' effects under a random-intercept logistic model with f~ as its offset.

    logit P(D = 1 | system) = logit f~ + level + trend * c + spread * z_u with z_u ~ N(0, 1) and c the step,
    centred and scaled to a standard deviation of 1. The three numbers maximise the marginal likelihood
    (empirical Bayes); the z_u are summed out on a grid.

    Attributes
    ----------
    level, trend, spread : float
        In logits.
    cells : DataFrame
        Indexed as the input: `effect`, the posterior mean of P(D = 1 | system) - f~, and `deviation`, its
        posterior standard deviation.
    users : DataFrame
        Indexed by user: the same of the user's mean effect, and `exposures`.
    """

    level: float
    trend: float
    spread: float
    cells: pd.DataFrame
    users: pd.DataFrame


def pool_users(cells: pd.DataFrame) -> Pooled:
    """Fit the model to the system's exposures.

    Parameters
    ----------
    cells : DataFrame
        `user`, `step`, `decision` (0 or 1) and `f_tilde` in [0, 1], taken as right.
    """
    code, users = pd.factorize(cells["user"], sort=True)
    order = np.argsort(code, kind="stable")
    code, decision = code[order], cells["decision"].to_numpy(dtype=float)[order]
    offset = logit(np.clip(cells["f_tilde"].to_numpy(dtype=float), 1e-4, 1 - 1e-4))[order]
    step = cells["step"].to_numpy(dtype=float)[order]
    step = (step - step.mean()) / (step.std() or 1.0)
    few = code < MOST_FITTED if len(users) <= MOST_FITTED else np.isin(code, _spread_out(len(users)))
    level, trend, spread = _fit(code[few], decision[few], offset[few], step[few])
    shift = offset + level + trend * step
    starts = np.flatnonzero(np.r_[True, np.diff(code) > 0])
    mean, deviation, user_mean, user_deviation = (
        np.empty(size) for size in (len(code),) * 2 + (len(users),) * 2
    )
    ends = np.r_[starts[1:], len(code)]
    for first, last in _blocks(starts, ends):
        rows = slice(starts[first], ends[last - 1])
        own = code[rows] - first
        probability = expit(shift[rows, None] + spread * NODES)
        posterior = _posterior(own, decision[rows], probability)
        effect = probability - expit(offset[rows, None])
        mean[rows], deviation[rows] = _moments(posterior[own], effect)
        total = np.add.reduceat(effect, starts[first:last] - starts[first], axis=0)
        size = (ends - starts)[first:last, None]
        user_mean[first:last], user_deviation[first:last] = _moments(posterior, total / size)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return Pooled(
        level,
        trend,
        spread,
        pd.DataFrame({"effect": mean[back], "deviation": deviation[back]}, index=cells.index),
        pd.DataFrame(
            {"effect": user_mean, "deviation": user_deviation, "exposures": ends - starts},
            index=pd.Index(users, name="user"),
        ),
    )


def _spread_out(users: int) -> np.ndarray:
    """Return users to learn the population from, evenly spread over their ids."""
    return np.linspace(0, users - 1, MOST_FITTED).astype(int)


def _fit(code, decision, offset, step) -> tuple[float, float, float]:
    """Maximise the marginal likelihood over level, trend and log spread."""
    code = np.unique(code, return_inverse=True)[1]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        level, trend, log_spread = parameters
        spread = np.exp(log_spread)
        probability = expit((offset + level + trend * step)[:, None] + spread * NODES)
        log_posterior, evidence = _log_posterior(code, decision, probability)
        expected = np.exp(log_posterior)[code] * (decision[:, None] - probability)
        residual = expected.sum(axis=1)
        gradient = [residual.sum(), residual @ step, spread * (expected @ NODES).sum()]
        return -evidence.sum() / len(code), -np.array(gradient) / len(code)

    start = np.array([0.0, 0.0, np.log(0.3)])
    bounds = [(-10, 10), (-10, 10), tuple(np.log(SPREADS))]
    level, trend, log_spread = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(level), float(trend), float(np.exp(log_spread))


def _log_posterior(code, decision, probability) -> tuple[np.ndarray, np.ndarray]:
    """Return the log posterior (users, nodes) and the log evidence (users,)."""
    rows = np.log(np.where(decision[:, None] == 1, probability, 1 - probability))
    starts = np.flatnonzero(np.r_[True, np.diff(code) > 0])
    joint = np.add.reduceat(rows, starts, axis=0) + LOG_PRIOR
    evidence = logsumexp(joint, axis=1)
    return joint - evidence[:, None], evidence


def _posterior(code, decision, probability) -> np.ndarray:
    return np.exp(_log_posterior(code, decision, probability)[0])


def _moments(posterior: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = (posterior * values).sum(axis=1)
    return mean, np.sqrt(np.maximum((posterior * values**2).sum(axis=1) - mean**2, 0))


def _blocks(starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """Cut the users into runs of some `BLOCK` rows."""
    cuts = np.unique(np.searchsorted(ends, np.arange(0, ends[-1], BLOCK), side="left"))
    return list(zip(cuts, np.r_[cuts[1:], len(starts)], strict=True))
