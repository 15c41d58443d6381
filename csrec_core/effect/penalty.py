"""How the penalty of Eq. (9), which is the hypothesis that there is no effect, shrinks one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.effect.result import Effect
from csrec_core.errors import InputError


def read_weights(text: str) -> tuple[float, ...]:
    """Return the weights that a text such as "0, 1, 10" holds; 0 must be among them."""
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"shrinkage = {text!r}; expected numbers with commas between, as 0, 1, 10") from None
    if 0 not in weights or not all(0 <= weight < np.inf for weight in weights):
        raise InputError(f"shrinkage = {text!r}; expected numbers of at least 0 with 0 among them")
    return weights


def constraint_path(effect: Effect, weights: Sequence[float]) -> pd.DataFrame:
    """Return the mean f - f~ at the arm's exposures by the weight of the constraint that f is under.

    f~ is the baseline's regression that the effect rests on, and f what the constraint leaves of the arm's, were f
    free at every exposure. The path falls towards 0 and crosses it nowhere.

    Returns `penalty`, `effect`, `lower`, `upper` (over users, at fixed models).
    """
    shown = (effect.scores[0]["arm"] == 1).to_numpy()
    m0, m1 = (
        np.mean([one[name].to_numpy()[shown] for one in effect.scores], axis=0) for name in ("m0", "m1")
    )
    user, found = pd.factorize(effect.scores[0]["user"][shown])[0], []
    for weight in sorted({0.0, *weights}):
        gap = shrunk(m1, m0, weight) - m0
        error = np.sqrt((np.bincount(user, gap - gap.mean()) ** 2).sum()) / len(gap)
        half = norm.ppf(0.975) * error
        found.append((weight, gap.mean(), gap.mean() - half, gap.mean() + half))
    return pd.DataFrame(found, columns=["penalty", "effect", "lower", "upper"])


def shrunk(rate: np.ndarray, f_tilde: np.ndarray, penalty: float) -> np.ndarray:
    """Return the f that minimises BCE(rate, f) + penalty (f - f~)^2, each for itself.

    Its slope is zero where f - f~ = (rate - f~) / (1 + 2 penalty f (1 - f)). The loss is convex in f, so that the
    share kept of rate - f~ is one number, between 0 and 1, and halving finds it.
    """
    low, high = np.zeros(len(rate)), np.ones(len(rate))
    for _ in range(40):
        kept = (low + high) / 2
        f = f_tilde + kept * (rate - f_tilde)
        above = kept * (1 + 2 * penalty * f * (1 - f)) > 1
        low, high = np.where(above, low, kept), np.where(above, kept, high)
    return f_tilde + high * (rate - f_tilde)
