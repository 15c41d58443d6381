"""How the penalty of Eq. (9), which is the hypothesis that there is no effect, shrinks one."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from csrec_core.data.log import SYSTEM, Dataset
from csrec_core.effect.contrast import Contrast, interval
from csrec_core.effect.features import exposure_features
from csrec_core.effect.nuisance import fit_nuisances, fit_penalised
from csrec_core.effect.sensitivity import Estimate
from csrec_core.errors import InputError

__all__ = ["constraint_path", "penalty_path", "read_weights"]

WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def read_weights(text: str) -> tuple[float, ...]:
    """Return the weights that a text such as "0, 1, 10" holds; 0 must be among them."""
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"shrinkage = {text!r}; expected numbers with commas between, as 0, 1, 10") from None
    if 0 not in weights or not all(0 <= weight < np.inf for weight in weights):
        raise InputError(f"shrinkage = {text!r}; expected numbers of at least 0 with 0 among them")
    return weights


def penalty_path(estimate: Callable[[float], Estimate], penalties: tuple[float, ...]) -> pd.DataFrame:
    """Return the effect by the weight of the penalty of Eq. (9), which is the hypothesis that there is none.

    Parameters
    ----------
    estimate : callable
        From a weight, at least 0, to (mean, low, high): such as the mean of f - f~, f fitted with it.
    penalties : tuple of float
        With 0 among them.

    Returns
    -------
    DataFrame
        `penalty`, `mean`, `low`, `high`, `kept`: the mean over that without penalty. A squared penalty keeps
        1 / (1 + 2 penalty f (1 - f)) of a small effect, so the path falls towards 0 and crosses it nowhere.
    """
    if 0 not in penalties or min(penalties) < 0:
        raise InputError(f"penalties {penalties}; expected numbers of at least 0 with 0 among them")
    rows = [(float(penalty), *estimate(penalty)) for penalty in sorted(penalties)]
    table = pd.DataFrame(rows, columns=["penalty", "mean", "low", "high"])
    return table.assign(kept=table["mean"] / table["mean"].iloc[0])


def constraint_path(
    dataset: Dataset, penalties: tuple[float, ...] = WEIGHTS, *, folds: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Return the path of f - f~ by regressions of `exposure_features`, f fitted under the constraint.

    Parameters
    ----------
    penalties : tuple of float
        With 0 among them.
    folds, seed
        Of the cross-fitting.

    Returns
    -------
    DataFrame
        As `penalty_path`, its intervals over users at fixed models, and `expected`, what the shrinkage
        1 / (1 + 2 penalty f (1 - f)) of every exposure's effect without penalty would leave.
    """
    features = exposure_features(dataset, folds=folds, seed=seed)
    system = (dataset.log["source"] == SYSTEM).to_numpy()
    decision = dataset.log["decision"].to_numpy(dtype=float)
    f_tilde = fit_nuisances(features, decision, system, with_f=False).f_tilde[system]
    features, decision = features[system], decision[system]
    user = np.unique(dataset.log.loc[system, "user"], return_inverse=True)[1]
    free = fit_penalised(features, decision, f_tilde, 0.0)

    def mean(penalty: float) -> Estimate:
        f = fit_penalised(features, decision, f_tilde, penalty) if penalty else free
        contrast = Contrast(user, f - f_tilde, np.ones(len(user)), np.zeros(len(user)), one_sided=True)
        found = interval(*contrast.groups()).iloc[0]
        return found["effect"], found["lower"], found["upper"]

    table, odds = penalty_path(mean, penalties), free * (1 - free)
    left = [((free - f_tilde) / (1 + 2 * weight * odds)).mean() for weight in table["penalty"]]
    return table.assign(expected=left)
