"""Whether the two regimes can be compared: weights, how much they leave, and calibration."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from csrec_core.errors import InputError, unknown

__all__ = [
    "CALIBRATIONS",
    "WEIGHTS",
    "Overlap",
    "calibrate",
    "overlap_report",
    "overlap_warnings",
    "overlap_weights",
]

#: Whose mean effect the weights ask for.
WEIGHTS = {
    "exposed": "the exposures by the system",
    "overlap": "the exposures that either source could have made",
    "logged": "exposures drawn uniformly from the catalogue, at the system's histories",
}
CALIBRATIONS = ("none", "platt", "isotonic")
TRIM = 0.02  # odds of the system above 49 to 1 count as beyond comparison
SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class Overlap:
    """How comparable the regimes are.

    Attributes
    ----------
    table : DataFrame
        By `source`: `rows`, `ess` (the number of equally weighted rows that the weighted ones are worth),
        `ess_share`, `largest` (share of the total weight on one row), quantiles `q05`, `q50`, `q95` of the
        regime propensity.
    trimmed : float
        Share of the system's exposures left out, as hardly any self-chosen one is like them.
    auc : float
        How well the regimes are told apart by what is known before a decision; .5 is not at all.
    target : str
        Whose mean effect is estimated, in words.
    warnings : list of str
        In plain words; empty where nothing speaks against comparing.
    """

    table: pd.DataFrame
    trimmed: float
    auc: float
    target: str
    warnings: list[str]


def overlap_weights(
    regime: np.ndarray,
    system: np.ndarray,
    *,
    weights: str = "exposed",
    trim: float = TRIM,
    inverse: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights that make the self-chosen exposures look like those of the system.

    Parameters
    ----------
    regime : array (rows,)
        e, the probability that a row of this kind is the system's.
    system : array (rows,) bool
    weights : {"exposed", "overlap", "logged"}
        1 for the system's rows and e / (1 - e) for the others: the mean effect at the system's exposures; or
        1 - e and e: overlap weights (Li, Morgan and Zaslavsky 2018), the mean where both sources reach; or,
        with e given the history alone, both times `inverse`: the mean at the system's histories and uniform
        items, which is that at its exposures where it draws them uniformly. What a user chose for a taste
        that no one has written down is then weighted away.
    trim : float
        But for "overlap", rows with e > 1 - trim are left out, in [0, 0.5).
    inverse : array (rows,), optional
        For "logged": 1 / (N p), p the logged propensity of the exposure and N the size of the catalogue.

    Returns
    -------
    treated, control : array (rows,)
        0 on the rows of the other source.
    """
    if weights not in WEIGHTS:
        raise unknown("weights", weights, WEIGHTS)
    if not 0 <= trim < 0.5:
        raise InputError(f"trim = {trim}; expected a probability in [0, 0.5)")
    regime = np.clip(regime, SMALLEST, 1 - SMALLEST)
    if weights == "overlap":
        return np.where(system, 1 - regime, 0.0), np.where(system, 0.0, regime)
    if weights == "logged" and inverse is None:
        raise InputError("weights=logged needs the propensity of every exposure; some or all have none")
    times = inverse if weights == "logged" else np.ones(len(regime))
    kept = regime <= 1 - max(trim, SMALLEST)
    return np.where(system & kept, times, 0.0), np.where(~system & kept, times * regime / (1 - regime), 0.0)


def overlap_report(
    regime: np.ndarray,
    system: np.ndarray,
    treated: np.ndarray,
    control: np.ndarray,
    *,
    weights: str = "exposed",
) -> Overlap:
    """Judge the overlap of the regimes from propensities and weights of `overlap_weights`."""
    rows = {}
    for source, side, weight in (("self", ~system, control), ("system", system, treated)):
        own = weight[side]
        ess = own.sum() ** 2 / max((own**2).sum(), 1e-300)
        quantiles = np.quantile(regime[side], [0.05, 0.5, 0.95])
        rows[source] = [side.sum(), ess, ess / side.sum(), own.max() / max(own.sum(), 1e-300), *quantiles]
    names = ["rows", "ess", "ess_share", "largest", "q05", "q50", "q95"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("source")
    trimmed = float((treated[system] == 0).mean())
    auc = float(roc_auc_score(system, regime))
    own = table.loc["self"]
    warnings = overlap_warnings(trimmed, own["rows"], own["ess"], own["largest"])
    if auc > 0.95:
        warnings.append(
            f"What is known before a decision tells the two sources apart almost always (AUC {auc:.2f}): the "
            "sources show different things, and the effect rests on extrapolation."
        )
    return Overlap(table, trimmed, auc, WEIGHTS[weights], warnings)


def overlap_warnings(trimmed: float, rows: float, ess: float, largest: float) -> list[str]:
    """Say in plain words what speaks against comparing the sources.

    Parameters
    ----------
    trimmed : float
        Share of the system's exposures left out.
    rows, ess, largest : float
        Of the self-chosen exposures: see `Overlap`.
    """
    warnings = []
    if trimmed > 0.05:
        warnings.append(
            f"{trimmed:.0%} of the system's exposures are unlike anything users chose themselves: they are "
            "left out, and the effect says nothing of them."
        )
    if ess < 200:
        warnings.append(
            f"Weighted to look like the system's, the {rows:,.0f} self-chosen exposures "
            f"are worth {ess:,.0f}: f~ extrapolates, and the effect rests on it."
        )
    elif largest > 0.02:
        warnings.append(
            f"One self-chosen exposure carries {largest:.1%} of the comparison: another "
            "sample of users could give another effect."
        )
    return warnings


def calibrate(
    probability: np.ndarray,
    decision: np.ndarray,
    fold: np.ndarray,
    learn: np.ndarray,
    *,
    method: str = "platt",
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Calibrate cross-fitted probabilities, a fold by what the rows of the other folds decided.

    Parameters
    ----------
    probability : array (rows,)
        Each from a model that did not see the row's fold.
    decision : array (rows,)
        0 or 1.
    fold : array (rows,)
        Dealt over users.
    learn : array (rows,) bool
        Rows to learn from: those of the regime that the probability is about. All rows are calibrated.
    method : {"none", "platt", "isotonic"}
        A logistic regression on the logit, or a monotone step function.
    weight : array (rows,), optional
        Such as the odds of the regime, to be right on average where the system exposes.
    """
    if method not in CALIBRATIONS:
        raise unknown("calibration", method, CALIBRATIONS)
    if method == "none":
        return probability
    raw = logit(np.clip(probability, SMALLEST, 1 - SMALLEST))
    weight = np.ones(len(raw)) if weight is None else weight
    found = np.empty(len(raw))
    for number in np.unique(fold):
        held, rows = fold == number, learn & (fold != number) & (weight > 0)
        labels = decision[rows]
        if len(np.unique(labels)) < 2:
            raise InputError(f"fold {number}: the exposures to calibrate by show one decision only")
        if method == "platt":
            model = LogisticRegression(C=1e6).fit(raw[rows, None], labels, weight[rows] / weight[rows].mean())
            found[held] = expit(raw[held] * model.coef_[0, 0] + model.intercept_[0])
        else:
            model = IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip")
            found[held] = model.fit(raw[rows], labels, weight[rows]).predict(raw[held])
    return found
