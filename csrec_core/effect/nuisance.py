"""The nuisances of an effect: acceptance under either arm, and the arm, given what is known before the decision.

There are two learners, a logistic regression on piecewise linear functions and boosted trees; where networks were
trained (`csrec_core.effect.networks`), each of them with and without their logit. Which one a nuisance takes is
decided by the loss on held-out users, where that is told from chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from csrec_core.metrics import effective_size

#: Quantiles at which a slope may change, by how many rows of the rarer label there are at least.
KNOTS = {0: (), 300: (0.33, 0.67), 3000: (0.1, 0.3, 0.5, 0.7, 0.9)}
PAIRED = 4  # up to so many columns beside the log meet every other column in a product
CLIPPED_AT = 1e-4  # a probability is kept this far from 0 and 1
FEWEST_TREE_ROWS = 1000  # rows, below which trees are not tried
NETWORK = "network"  # a feature: the logit of a sequence model; and what the name of a learner that reads it ends in
AND_NETWORK = f" and {NETWORK}"
TOLD = 1.0  # standard errors over users, by which trees must have less loss than the regression


@dataclass(frozen=True, eq=False)
class Basis:
    """Piecewise linear functions of features, and products of a few with the others."""

    knots: dict[str, np.ndarray]  # by feature that varies, where its slope changes; none with two values
    products: list[tuple[str, str]]
    centre: np.ndarray  # (width,), of the columns of the design, which are standardised
    scale: np.ndarray

    @classmethod
    def fit(cls, features: pd.DataFrame, rows: float) -> tuple["Basis", np.ndarray]:
        """Place the knots at quantiles of the features, as many as `rows` of the rarer label can tell.

        Returns the design of these features as well.
        """
        columns, quantiles = cls._columns(features), KNOTS[max(least for least in KNOTS if least <= rows)]
        knots = {}
        for name, values in columns.items():
            if not len(values) or not np.ptp(values) > 0:
                continue
            inner = np.unique(np.quantile(values, quantiles))
            inner = inner[(inner > values.min()) & (inner < values.max())]
            knots[name] = inner if len(np.unique(values[:1000])) > 2 else inner[:0]
        beside = [name for name in knots if name.startswith(("feature_", "user: ", "preference"))]
        beside = beside if len(beside) <= PAIRED and quantiles else []
        products = [(one, other) for one in beside for other in knots if other not in beside]
        products = [pair for pair in products if not pair[1].startswith(("item", "missing"))]
        raw = cls._lay(columns, len(features), knots, products)
        spread = raw.std(axis=0, dtype=float)
        basis = cls(knots, products, raw.mean(axis=0, dtype=float), np.where(spread > 1e-6, spread, 1.0))
        return basis, basis._standardise(raw)

    def design(self, features: pd.DataFrame) -> np.ndarray:
        """Return the standardised design (rows, width), in single precision."""
        columns = self._columns(features)
        return self._standardise(self._lay(columns, len(features), self.knots, self.products))

    def _standardise(self, raw: np.ndarray) -> np.ndarray:
        raw -= self.centre.astype(np.float32)
        raw /= self.scale.astype(np.float32)
        return raw

    @staticmethod
    def _columns(features: pd.DataFrame) -> dict[str, np.ndarray]:
        # At once: a column of a frame at a time takes longer than what is done with it.
        return dict(zip(features.columns, features.to_numpy(dtype=np.float32).T, strict=True))

    @staticmethod
    def _lay(columns: dict[str, np.ndarray], rows: int, knots, products) -> np.ndarray:
        width = sum(1 + len(inner) for inner in knots.values()) + len(products)
        found, place = np.empty((rows, width), dtype=np.float32, order="F"), 0
        for name, inner in knots.items():
            values = columns[name]
            found[:, place] = values
            for number, knot in enumerate(inner, 1):
                found[:, place + number] = np.maximum(values - np.float32(knot), 0)
            place += 1 + len(inner)
        for number, (one, other) in enumerate(products):
            found[:, place + number] = columns[one] * columns[other]
        return found


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted nuisance: from features (rows,) to each row's probability, or the mean of an outcome of any number."""

    predict: Callable[[pd.DataFrame], np.ndarray]
    width: int = 0  # coefficients, or leaves of a tree, that were fitted


def _constant(value: float) -> Model:
    return Model(lambda features: np.full(len(features), value))


def _regression(features, target, weight, *, binary: bool, seed: int) -> Model:
    sides = (target > 0, target <= 0) if binary else (slice(None),)
    basis, design = Basis.fit(features, min(effective_size(weight[side]) for side in sides))
    if not basis.knots:
        return _constant(float(np.average(target, weights=weight)))
    # either is penalised by half the squared slopes, in rows
    kind = LogisticRegression(solver="newton-cholesky") if binary else Ridge()
    fitted = kind.fit(design, target, weight)

    def predict(rows: pd.DataFrame) -> np.ndarray:
        # In double precision, a column at a time: a product of matrices would round each row by how many others
        # there are, and parts of a log differ in that.
        total = np.full(len(rows), float(np.ravel(fitted.intercept_)[0]))
        for column, slope in zip(basis.design(rows).T, np.ravel(fitted.coef_).astype(float), strict=True):
            total += slope * column
        return expit(total) if binary else total

    return Model(predict, design.shape[1])


def _boosted(
    features, target, weight, *, binary: bool, seed: int, trees=40, leaves=15, smallest=40, ridge=5.0
) -> Model:
    kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    even = np.ptp(weight) == 0  # bins of weighted rows take scikit-learn several times as long as the trees
    size = {"max_iter": trees, "max_leaf_nodes": leaves, "min_samples_leaf": smallest}
    fixed = {"learning_rate": 0.1, "early_stopping": False, "l2_regularization": ridge}
    model = kind(**size, **fixed, random_state=seed % 2**32)
    fitted = model.fit(features.to_numpy(), target, None if even else weight)
    if not binary:
        return Model(lambda rows: fitted.predict(rows.to_numpy()), leaves)
    return Model(lambda rows: fitted.predict_proba(rows.to_numpy())[:, 1], leaves)


#: How a nuisance may be learned, by name.
LEARNERS: dict[str, Callable[..., Model]] = {
    "logistic": _regression,
    "boosted": _boosted,
    # For what is logged without noise, such as a chance: there is nothing to overfit but the rows' finest detail.
    "fine": partial(_boosted, trees=200, leaves=63, smallest=10, ridge=1.0),
}
DECIDED = ("logistic", "boosted")  # learners of what is decided or drawn


def fit_model(
    features: pd.DataFrame,
    target: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    learner: str = "logistic",
    binary: bool = True,
    seed: int = 0,
) -> Model:
    """Fit one nuisance.

    The target is 0 or 1, or with `binary` false any number; of weights, at least 0, only the ratios matter. The learner
    is a key of `LEARNERS`, followed by " and network" where it reads that feature; the seed is of its trees.
    """
    target = np.asarray(target, dtype=float)
    weight = np.ones(len(target)) if weight is None else np.asarray(weight, dtype=float)
    used = weight > 0
    if not used.any():
        return _constant(float(target.mean()) if len(target) else 0.5)
    if not used.all():
        features, target, weight = features[used], target[used], weight[used]
    weight = weight / weight.mean()
    if np.ptp(target) == 0:  # all alike: nothing to learn, and no probability of exactly 0 or 1
        value = float(target[0])
        return _constant(min(max(value, CLIPPED_AT), 1 - CLIPPED_AT) if binary else value)
    if not len(features.columns):  # trees, which were chosen with columns, want some
        return _constant(float(np.average(target, weights=weight)))
    name = learner.removesuffix(AND_NETWORK)
    columns = features.columns if learner != name else features.columns.drop(NETWORK, errors="ignore")
    model = LEARNERS[name](features[columns], target, weight, binary=binary, seed=seed)
    return replace(model, predict=lambda rows: model.predict(rows[columns]))


def choose_learner(
    features: pd.DataFrame,
    target: np.ndarray,
    held: np.ndarray,
    user: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    binary: bool = True,
    odds: bool = False,
    learners: Sequence[str] = DECIDED,
    seed: int = 0,
) -> str:
    """Return the learner whose loss on the held-out rows is smallest: log loss, or squared error.

    A regression is passed over only for a loss that is smaller by a standard error (Breiman et al. 1984), the rows of
    a `user` as one draw: where it is right, trees are ahead by chance now and then, and take most of the time. Where
    the features have what networks make of a record, each learner is tried with it and without.

    With `odds`, the odds are what is wanted, as weights of the rows of label 0: then the loss is that of their density
    ratio r, E0[r^2] / 2 - E1[r] (Kanamori, Hido and Sugiyama 2009). Where one label is rare the weights are largest,
    and there log loss hardly minds odds that are far off.
    """
    weight = np.ones(len(target)) if weight is None else weight
    if not len(features.columns):
        return "logistic"  # a constant
    if (~held & (weight > 0)).sum() < FEWEST_TREE_ROWS or not held.any() or not weight[held].sum() > 0:
        return "logistic"
    if NETWORK in features.columns:
        learners = [name + end for name in learners for end in ("", AND_NETWORK)]
    losses, seen = {}, (features[~held], target[~held])
    for name in learners:
        model = fit_model(*seen, weight=weight[~held], learner=name, binary=binary, seed=seed)
        found = model.predict(features[held])
        found = np.clip(found, CLIPPED_AT, 1 - CLIPPED_AT) if binary else found
        if odds:
            losses[name] = _ratio_loss(found / (1 - found), target[held], weight[held])
        elif binary:
            likely = np.where(target[held] == 1, np.log(found), np.log1p(-found))
            losses[name] = -likely * weight[held]
        else:
            losses[name] = (target[held] - found) ** 2 * weight[held]
    plain = min((name for name in losses if name.startswith("logistic")), key=lambda one: losses[one].sum())
    best = min(losses, key=lambda one: losses[one].sum())
    gain = np.bincount(np.unique(user[held], return_inverse=True)[1], losses[plain] - losses[best])
    return best if gain.sum() > TOLD * np.sqrt(len(gain)) * gain.std() else plain


def _ratio_loss(ratio: np.ndarray, label: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return what each row adds to the loss of a density ratio, scaled to a mean of 1 over the rows of label 0."""
    own, other = weight * (label == 0), weight * (label == 1)
    if not (own.sum() > 0 and other.sum() > 0):
        return np.zeros(len(ratio))
    ratio = ratio / np.average(ratio, weights=own)
    return own / own.sum() * ratio**2 / 2 - other / other.sum() * ratio
