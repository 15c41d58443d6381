"""What an effect needs and is not itself: acceptance in each regime, and the regime, given what is known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from csrec_core.errors import InputError

__all__ = ["Basis", "Joint", "Nuisances", "fit_joint", "fit_nuisances", "fit_regime"]

KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles at which a slope may change
TASTES = ("taste", "feature_")  # columns that may meet every other column
NOT_COMPARED = ("fold", "seen")  # of the two regimes one may lie before the other for every user
HISTORY = ("fold", "first", "last", "before_last", "run", "step")  # of a user, whatever the item is
STRENGTH = 1.0  # inverse weight of the ridge penalty, in rows


@dataclass(frozen=True, eq=False)
class Basis:
    """Piecewise linear functions of features, and products of tastes with the other features.

    Attributes
    ----------
    columns : list of str
        Features in use: those that vary.
    knots : dict of str to array
        By feature, where its slope changes; none for a feature of two values.
    products : list of (str, str)
    centre, scale : arrays (width,)
        Of the columns of the design, which are standardised by them.
    """

    columns: list[str]
    knots: dict[str, np.ndarray]
    products: list[tuple[str, str]]
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: pd.DataFrame) -> "Basis":
        """Place the knots at quantiles of the features."""
        columns = [name for name in features.columns if name not in NOT_COMPARED]
        columns = [name for name in columns if np.ptp(features[name].to_numpy()) > 0]
        knots = {}
        for name in columns:
            values = features[name].to_numpy()
            inner = np.unique(np.quantile(values, KNOTS))
            inner = inner[(inner > values.min()) & (inner < values.max())]
            knots[name] = inner if features[name].nunique() > 2 else inner[:0]
        tastes = [name for name in columns if name.startswith(TASTES)]
        products = [(one, other) for one in tastes for other in columns if other not in tastes]
        raw = cls._lay(features, columns, knots, products)
        scale = raw.std(axis=0)
        return cls(columns, knots, products, raw.mean(axis=0), np.where(scale > 1e-9, scale, 1.0))

    def design(self, features: pd.DataFrame) -> np.ndarray:
        """Return the standardised design (rows, width)."""
        return (self._lay(features, self.columns, self.knots, self.products) - self.centre) / self.scale

    @staticmethod
    def _lay(features, columns, knots, products) -> np.ndarray:
        parts = []
        for name in columns:
            values = features[name].to_numpy(dtype=float)
            parts.append(values[:, None])
            parts.append(np.maximum(values[:, None] - knots[name], 0))
        parts += [(features[one] * features[other]).to_numpy(dtype=float)[:, None] for one, other in products]
        return np.hstack(parts)


@dataclass(frozen=True, eq=False)
class Nuisances:
    """Predictions for every row of a log, each from users of the other folds.

    Attributes
    ----------
    f_tilde, f : array (rows,)
        Probability of acceptance were the exposure self-chosen, and were it the system's.
    regime : array (rows,)
        Probability that an exposure of this kind is the system's.
    """

    f_tilde: np.ndarray
    f: np.ndarray
    regime: np.ndarray


def fit_nuisances(features: pd.DataFrame, decision: np.ndarray, system: np.ndarray) -> Nuisances:
    """Fit the three probabilities by ridge logistic regression on a `Basis`, cross-fitted over users.

    Parameters
    ----------
    features : DataFrame (rows)
        Of `exposure_features`; `fold` is dealt over users.
    decision : array (rows,)
        0 or 1.
    system : array (rows,) bool
        Whether the system exposed the row.

    Raises
    ------
    InputError
        Where a regime shows one decision only, outside some fold.
    """
    decision, fold = np.asarray(decision), features["fold"].to_numpy()
    found = np.zeros((3, len(fold)))
    for number in np.unique(fold):
        held = fold == number
        basis = Basis.fit(features[~held])
        design, target = basis.design(features[~held]), basis.design(features[held])
        learn, labels = system[~held], decision[~held]
        for row, name, rows, label in (
            (0, "self-chosen", ~learn, labels),
            (1, "system", learn, labels),
            (2, "all", np.ones_like(learn), learn),
        ):
            if len(np.unique(label[rows])) < 2:
                raise InputError(
                    f"the {name} exposures show one decision only, so acceptance there cannot be estimated"
                    if row < 2
                    else "all exposures are of one source; expected self and system"
                )
            found[row, held] = _logistic(design[rows], label[rows]).predict_proba(target)[:, 1]
    return Nuisances(*found)


def fit_regime(features: pd.DataFrame, system: np.ndarray) -> np.ndarray:
    """Return the probability that an exposure is the system's given its user's last decisions and its step.

    Cross-fitted as `fit_nuisances`. It knows nothing of the item: where propensities are logged, they
    tell how each source came to the item, whatever the taste.
    """
    features, fold = features[list(HISTORY)], features["fold"].to_numpy()
    found = np.empty(len(fold))
    for number in np.unique(fold):
        held = fold == number
        basis = Basis.fit(features[~held])
        model = _logistic(basis.design(features[~held]), system[~held])
        found[held] = model.predict_proba(basis.design(features[held]))[:, 1]
    return found


def _logistic(design: np.ndarray, label: np.ndarray) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=50).fit(design, label)


@dataclass(frozen=True, eq=False)
class Joint:
    """One outcome model read under both sources.

    Attributes
    ----------
    shown, chosen : array (rows,)
        Probability of acceptance, the source set to the system and to the user.
    gradient : array (rows, p)
        Derivative of their difference by the coefficients.
    parameters : array (users, p)
        Influence of each user on the coefficients, H^-1 times the sum of the user's scores (M-estimation).
    """

    shown: np.ndarray
    chosen: np.ndarray
    gradient: np.ndarray
    parameters: np.ndarray


def fit_joint(features: pd.DataFrame, decision: np.ndarray, system: np.ndarray, user: np.ndarray) -> Joint:
    """Fit a logistic regression of the decision on a `Basis`, the source, and the source times each feature.

    Parameters
    ----------
    features, decision, system
        See `fit_nuisances`.
    user : array (rows,) int
        From 0.

    Raises
    ------
    InputError
        Where only one decision or one source occurs.
    """
    decision = np.asarray(decision, dtype=float)
    if len(np.unique(decision)) < 2 or len(np.unique(system)) < 2:
        raise InputError("expected both decisions and both sources, self and system")
    basis = Basis.fit(features)
    shared = basis.design(features)
    plain = features[basis.columns].to_numpy(dtype=float)
    plain = (plain - plain.mean(axis=0)) / plain.std(axis=0)
    own = np.column_stack([np.ones(len(plain)), plain])  # what the source may change

    def design(source: np.ndarray) -> np.ndarray:
        return np.hstack([shared, own * source[:, None]])

    observed = design(system.astype(float))
    model = _logistic(observed, decision)
    chances = [model.predict_proba(design(np.full(len(plain), side)))[:, 1] for side in (1.0, 0.0)]
    slopes = [
        (p * (1 - p))[:, None] * np.column_stack([design(np.full(len(plain), side)), np.ones(len(plain))])
        for p, side in zip(chances, (1.0, 0.0), strict=True)
    ]
    fitted = model.predict_proba(observed)[:, 1]
    observed = np.column_stack([observed, np.ones(len(plain))])
    ridge = np.eye(observed.shape[1]) / STRENGTH
    ridge[-1, -1] = 0  # the intercept is free
    hessian = (observed * (fitted * (1 - fitted))[:, None]).T @ observed + ridge
    score = np.zeros((user.max() + 1, observed.shape[1]))
    np.add.at(score, user, observed * (decision - fitted)[:, None])
    return Joint(*chances, slopes[0] - slopes[1], score @ np.linalg.inv(hessian))
