"""How the penalty of Eq. (9), which is the hypothesis that there is no effect, shrinks one."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from csrec_core.data.log import Dataset
from csrec_core.effect.folds import fold_of
from csrec_core.effect.nuisance import Basis
from csrec_core.effect.record import describe
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import lay_rows
from csrec_core.errors import InputError

PENALTY_FOLDS = 2


def read_weights(text: str) -> tuple[float, ...]:
    """Return the weights that a text such as "0, 1, 10" holds; 0 must be among them."""
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"shrinkage = {text!r}; expected numbers with commas between, as 0, 1, 10") from None
    if 0 not in weights or not all(0 <= weight < np.inf for weight in weights):
        raise InputError(f"shrinkage = {text!r}; expected numbers of at least 0 with 0 among them")
    return weights


def constraint_path(
    effect: Effect,
    dataset: Dataset,
    weights: tuple[float, ...],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the mean f - f~ at the arm's exposures by the weight of the constraint that f is fitted under.

    f~ is the baseline's regression that the effect rests on, f one of what lies before each exposure. A
    squared penalty keeps 1 / (1 + 2 weight f (1 - f)) of a small difference, so the path falls towards 0 and
    crosses it nowhere.

    Returns `penalty`, `effect`, `lower`, `upper` (over users, at fixed models), and `expected`, what that shrinkage of
    every exposure's difference without penalty would leave.
    """
    rows = lay_rows(dataset, effect.design)
    known = effect.known
    features = describe(rows, known.clock, rate=known.rate)
    shown = (rows["arm"] == 1).to_numpy()
    f_tilde = np.mean([scores["m0"].to_numpy()[shown] for scores in effect.scores], axis=0)
    user = pd.factorize(rows["user"][shown])[0]
    fold = fold_of(rows["user"].to_numpy()[shown], PENALTY_FOLDS, seed)
    features, decision = features[shown].reset_index(drop=True), rows["decision"].to_numpy()[shown]
    read, found = (features, decision, f_tilde), []
    free = fit_penalised(*read, 0.0, fold)
    for weight in sorted({0.0, *weights}):
        f = fit_penalised(*read, weight, fold) if weight else free
        gap = f - f_tilde
        error = np.sqrt((np.bincount(user, gap - gap.mean()) ** 2).sum()) / len(gap)
        half = norm.ppf(0.975) * error
        left = ((free - f_tilde) / (1 + 2 * weight * free * (1 - free))).mean()
        found.append((weight, gap.mean(), gap.mean() - half, gap.mean() + half, left))
    return pd.DataFrame(found, columns=["penalty", "effect", "lower", "upper", "expected"])


def fit_penalised(
    features: pd.DataFrame, decision: np.ndarray, f_tilde: np.ndarray, penalty: float, fold: np.ndarray
) -> np.ndarray:
    """Return f of the arm's exposures under the constraint of Eq. (9), each by the rows of other folds.

    A logistic regression on a `csrec_core.effect.nuisance.Basis` that minimises the mean of
    BCE(D, f) + penalty * (f - f~)^2, and a ridge. Arrays are of the arm's rows alone.
    """
    if not penalty >= 0:
        raise InputError(f"penalty = {penalty}; expected a number of at least 0")
    rarer = min(decision.sum(), len(decision) - decision.sum())
    _, design = Basis.fit(features, rarer)
    design = np.column_stack([np.ones(len(design), dtype=np.float32), design])
    found, start = np.empty(len(fold)), np.zeros(design.shape[1])
    for number in np.unique(fold):
        held = fold == number
        x, d, target = design[~held], decision[~held], f_tilde[~held]

        def loss(w, x=x, d=d, target=target):
            z = x @ w.astype(np.float32)
            f = expit(z.astype(float))
            away, ridge = f - target, np.concatenate([[0.0], w[1:]]) / len(d)
            value = (np.logaddexp(0, z) - d * z + penalty * away**2).mean() + ridge @ w / 2
            slope = (f - d + 2 * penalty * away * f * (1 - f)) / len(d)
            return value, x.T @ slope.astype(np.float32) + ridge

        start = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
        found[held] = expit(design[held] @ start)
    return found
