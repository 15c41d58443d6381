"""What an effect needs and is not itself: acceptance in each regime, and the regime, given what is known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from csrec_core.errors import InputError

__all__ = ["Basis", "Joint", "Nuisances", "fit_joint", "fit_nuisances", "fit_penalised", "fit_regime"]

KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles at which a slope may change
TASTES = ("taste", "feature_")  # columns that may meet every other column
NOT_FEATURES = ("fold", "seen")
CLOCK = ["step"]  # each regime has its own, and one lies before the other: exposures are not compared by it
HISTORY = ["fold", "first", "last", "before_last", "run"]  # of a user, whatever the item is
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
        columns = [name for name in features.columns if name not in NOT_FEATURES]
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
        centre, scale = (np.array([f(column, dtype=float) for column in raw.T]) for f in (np.mean, np.std))
        return cls(columns, knots, products, centre, np.where(scale > 1e-6, scale, 1.0))

    def design(self, features: pd.DataFrame) -> np.ndarray:
        """Return the standardised design (rows, width), in single precision."""
        found = self._lay(features, self.columns, self.knots, self.products)
        found -= self.centre.astype(np.float32)
        found /= self.scale.astype(np.float32)
        return found

    @staticmethod
    def _lay(features, columns, knots, products) -> np.ndarray:
        width = len(columns) + sum(map(len, knots.values())) + len(products)
        found, place = np.empty((len(features), width), dtype=np.float32, order="F"), 0
        values = {name: features[name].to_numpy(dtype=float) for name in columns}
        for name in columns:
            found[:, place] = values[name]
            for knot in knots[name]:
                place += 1
                found[:, place] = np.maximum(values[name] - knot, 0)
            place += 1
        for number, (one, other) in enumerate(products):
            found[:, place + number] = values[one] * values[other]
        return found


@dataclass(frozen=True, eq=False)
class Nuisances:
    """Predictions for every row of a log, each from users of the other folds.

    Attributes
    ----------
    f_tilde, f : array (rows,)
        Probability of acceptance were the exposure self-chosen, and were it the system's (None where not
        asked for).
    regime : array (rows,)
        Probability that an exposure of this kind is the system's.
    """

    f_tilde: np.ndarray
    f: np.ndarray | None
    regime: np.ndarray


def fit_nuisances(
    features: pd.DataFrame, decision: np.ndarray, system: np.ndarray, *, with_f: bool = True
) -> Nuisances:
    """Fit the three probabilities by ridge logistic regression on a `Basis`, cross-fitted over users.

    f knows the number of the exposure (`step`); f~ and the regime do not: an exposure by the system would
    else be compared with those of own choice that have its number, though these come with less history, and
    the first with none.

    Parameters
    ----------
    features : DataFrame (rows)
        Of `exposure_features`; `fold` is dealt over users.
    decision : array (rows,)
        0 or 1.
    system : array (rows,) bool
        Whether the system exposed the row.
    with_f : bool
        Whether f is wanted.

    Raises
    ------
    InputError
        Where a regime shows one decision only, outside some fold.
    """
    decision, fold = np.asarray(decision), features["fold"].to_numpy()
    compared, f = features.drop(columns=CLOCK, errors="ignore"), None
    design, everything = Basis.fit(compared).design(compared), np.ones(len(system), dtype=bool)
    f_tilde = _cross_fit(design, decision, fold, ~system, "the self-chosen exposures show one decision only")
    regime = _cross_fit(design, system, fold, everything, "all exposures are of one source")
    if with_f:
        design = Basis.fit(features).design(features)
        f = _cross_fit(design, decision, fold, system, "the system exposures show one decision only")
    return Nuisances(f_tilde, f, regime)


def fit_regime(features: pd.DataFrame, system: np.ndarray) -> np.ndarray:
    """Return the probability that an exposure is the system's given its user's last decisions.

    Cross-fitted as `fit_nuisances`. It knows nothing of the item: where propensities are logged, they
    tell how each source came to the item, whatever the taste.
    """
    features, fold = features[HISTORY], features["fold"].to_numpy()
    design, everything = Basis.fit(features).design(features), np.ones(len(fold), dtype=bool)
    return _cross_fit(design, system, fold, everything, "all exposures are of one source")


def fit_penalised(
    features: pd.DataFrame, decision: np.ndarray, f_tilde: np.ndarray, penalty: float
) -> np.ndarray:
    """Return f of exposures by the system under the constraint of Eq. (9), cross-fitted over users.

    A logistic regression on a `Basis` that minimises the mean of BCE(D, f) + penalty * (f - f~)^2, and the
    ridge of `fit_nuisances`.

    Parameters
    ----------
    features, decision, f_tilde
        Of the system's rows alone.
    penalty : float
        At least 0.

    Returns
    -------
    array (rows,)
    """
    if not penalty >= 0:
        raise InputError(f"penalty = {penalty}; expected a number of at least 0")
    design, fold = Basis.fit(features).design(features), features["fold"].to_numpy()
    design = np.column_stack([np.ones(len(design), dtype=np.float32), design])
    found, start = np.empty(len(fold)), np.zeros(design.shape[1])
    for number in np.unique(fold):
        held = fold == number
        x, d, target = design[~held], decision[~held], f_tilde[~held]

        def loss(w, x=x, d=d, target=target):
            z = x @ w.astype(np.float32)
            f = expit(z.astype(float))
            away, ridge = f - target, np.concatenate([[0.0], w[1:]]) / (STRENGTH * len(d))
            value = (np.logaddexp(0, z) - d * z + penalty * away**2).mean() + ridge @ w / 2
            slope = (f - d + 2 * penalty * away * f * (1 - f)) / len(d)
            return value, x.T @ slope.astype(np.float32) + ridge

        start = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
        found[held] = expit(design[held] @ start)
    return found


def _cross_fit(design, label, fold, learn, complaint: str) -> np.ndarray:
    """Return every row's probability of the label, by a regression on the rows to learn from of other folds.

    The design tells of features alone, so that one serves all folds; a fold starts where the one before it
    ended, which saves half of the steps.
    """
    found, model = np.empty(len(fold)), _regression(warm_start=True)
    for number in np.unique(fold):
        rows, held = learn & (fold != number), fold == number
        if len(np.unique(label[rows])) < 2:
            raise InputError(f"{complaint}, so nothing can be estimated from them")
        found[held] = model.fit(design[rows], label[rows]).predict_proba(design[held])[:, 1]
    return found


def _regression(**options) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=50, **options)


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
    model = _regression().fit(observed, decision)
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
