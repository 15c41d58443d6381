"""How strong a hidden cause would have to be to explain an effect away."""

from dataclasses import dataclass

import numpy as np

from csrec_core.errors import InputError

__all__ = ["Estimate", "Sensitivity", "e_value", "sensitivity"]

Estimate = tuple[float, float, float]  # mean, low, high


def e_value(ratio: float, low: float, high: float) -> tuple[float, float]:
    """Return the E-value of a risk ratio, and of the end of its interval nearer to 1.

    How many times as often, at least, a hidden cause must occur with one source as with the other, and raise
    acceptance, to explain the ratio away (VanderWeele and Ding 2017): R + sqrt(R (R - 1)), R the ratio or
    its inverse, whichever is above 1. 1 where the interval holds 1.
    """
    if not 0 < low <= ratio <= high:
        raise InputError(f"risk ratio {ratio} [{low}, {high}]; expected positive numbers in order")

    def from_null(value: float) -> float:
        value = max(value, 1 / value)
        return float(value + np.sqrt(value * (value - 1)))

    nearer = 1.0 if low <= 1 <= high else low if ratio > 1 else high
    return from_null(ratio), from_null(nearer)


@dataclass(frozen=True)
class Sensitivity:
    """How an effect by regression would fare with a hidden cause (Cinelli and Hazlett 2020).

    Attributes
    ----------
    effect : float
        The coefficient of the source.
    partial_r2 : float
        Share of the outcome's variance left by the covariates that the source explains.
    robustness : float
        A hidden cause explaining this share of what is left of both source and outcome makes it nothing.
    outcome_r2, source_r2 : float
        What the measured covariate explains of what is left of either.
    adjusted : float
        The effect, were there a hidden cause as strong as that covariate, against it.
    """

    effect: float
    partial_r2: float
    robustness: float
    outcome_r2: float
    source_r2: float
    adjusted: float


def sensitivity(outcome: np.ndarray, source: np.ndarray, covariate: np.ndarray) -> Sensitivity:
    """Measure the sensitivity of a least-squares effect; see `Sensitivity`.

    Parameters
    ----------
    outcome, source, covariate : arrays (rows,)
        The decision, whether the system exposed (0 or 1), and what is measured, such as a prognostic score.

    Raises
    ------
    InputError
        When the covariate determines the source.
    """
    y, d, x = (np.asarray(part, dtype=float) for part in (outcome, source, covariate))
    one = np.ones(len(y))

    def left(values: np.ndarray, *given: np.ndarray) -> np.ndarray:
        matrix = np.column_stack(given)
        return values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]

    def partial(a: np.ndarray, b: np.ndarray) -> float:
        size = (a @ a) * (b @ b)
        return float((a @ b) ** 2 / size) if size > 1e-12 else 0.0

    y_left, d_left = left(y, one, x), left(d, one, x)
    if d_left @ d_left < 1e-9:
        raise InputError("the covariate determines the source: no effect is left to be sensitive")
    effect = float(y_left @ d_left / (d_left @ d_left))
    r2 = partial(y_left, d_left)
    f2 = r2 / max(1 - r2, 1e-12)
    robustness = 0.5 * (np.sqrt(f2**2 + 4 * f2) - f2)
    source_r2 = partial(left(d, one), left(x, one))
    outcome_r2 = partial(left(y, one, d), left(x, one, d))
    hidden_source = min(source_r2 / (1 - source_r2), 1 - 1e-9)
    shared = source_r2**2 / (1 - source_r2) ** 2  # of the hidden cause and the covariate, given the source
    hidden_outcome = 1.0
    if shared < 1:
        rise = (1 + np.sqrt(shared)) / np.sqrt(1 - shared)
        hidden_outcome = min(rise**2 * outcome_r2 / (1 - outcome_r2), 1.0)
    rest = y_left - effect * d_left
    scale = np.sqrt((rest @ rest) / (d_left @ d_left))
    bias = scale * np.sqrt(hidden_outcome * hidden_source / (1 - hidden_source))
    adjusted = effect - np.sign(effect) * bias
    return Sensitivity(effect, r2, float(robustness), outcome_r2, source_r2, float(adjusted))
