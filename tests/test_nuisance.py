"""What an effect needs and is not itself: bases, learners and their choice, against scikit-learn, scipy and hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from csrec_core.effect import nuisance
from csrec_core.effect.nuisance import NETWORK, Basis, Model, choose_learner, fit_model


@pytest.mark.parametrize(("named", "rows", "products"), [(1, 300, 2), (4, 300, 8), (5, 300, 0), (4, 299, 0)])
def test_a_few_columns_beside_the_log_meet_the_others(named, rows, products):
    """Up to four columns meet each of two, and knots are placed, where 300 rows of the rarer label tell them."""
    columns = [*(f"feature_{number}" for number in range(named)), "step", "run", "item = 1", "constant"]
    features = pd.DataFrame(np.random.default_rng(0).normal(size=(600, len(columns))), columns=columns)
    features = features.assign(**{"item = 1": np.arange(600) % 2, "constant": 1.0})
    basis, design = Basis.fit(features, rows)
    assert len(basis.products) == products
    expected = np.quantile(features["step"].to_numpy(np.float32), [0.33, 0.67]) if rows >= 300 else []
    assert basis.knots["step"] == pytest.approx(expected) and not len(basis.knots["item = 1"])
    assert "constant" not in basis.knots
    # A column, and one from each knot on, standardised.
    step = features["step"].to_numpy()
    laid = np.column_stack([step, *(np.maximum(step - knot, 0) for knot in expected)])
    own = design[:, named * laid.shape[1] :][:, : laid.shape[1]]
    assert own == pytest.approx((laid - laid.mean(axis=0)) / laid.std(axis=0), abs=1e-4)
    assert basis.design(features) == pytest.approx(design, abs=1e-5)


def test_knots_lie_inside_and_where_there_are_more_than_two_values():
    many = np.random.default_rng(0).normal(size=3001)
    columns = {
        "many": many,
        "mostly low": np.where(np.arange(3001) % 10 < 8, 0.0, many + 9),
        "mostly high": np.where(np.arange(3001) % 10 < 8, 99.0, many + 9),
        "two, then a third": np.r_[np.arange(1000) % 2, np.arange(2001) % 7],
        "three": np.arange(3001) % 3,
        "narrow": np.arange(3001) % 2 * 1e-7,
    }
    features = pd.DataFrame(columns).astype(np.float32)
    basis, design = Basis.fit(features, 3000)
    places = (0.1, 0.3, 0.5, 0.7, 0.9)
    for name, used in (("many", places), ("mostly low", places[4:]), ("mostly high", places[:1])):
        assert basis.knots[name] == pytest.approx(np.quantile(features[name], used), rel=1e-5), name
    assert not len(basis.knots["two, then a third"])  # the first thousand rows tell
    assert basis.knots["three"].tolist() == [1]
    narrow = features["narrow"] - features["narrow"].mean()
    assert design[:, -1] == pytest.approx(narrow.to_numpy(), abs=1e-9)  # is not blown up
    assert len(Basis.fit(features, 2999)[0].knots["many"]) == 2


@pytest.fixture(scope="module")
def drawn():
    """Features, labels of one in three, numbers and uneven weights of 1,000 rows, some of them 0."""
    rng = np.random.default_rng(3)
    features = pd.DataFrame(
        {"x": rng.normal(size=1000), "feature_z": rng.normal(size=1000), NETWORK: rng.normal(size=1000)}
    )
    label = (rng.random(1000) < expit(features["x"] - 1)).to_numpy(dtype=float)
    number = (2 * features["x"] + rng.normal(size=1000)).to_numpy()
    return features, label, number, rng.choice([0.0, 2.0, 5.0], 1000)


def by_hand(features, target, weight, *, binary):
    """Return the predictions of a regression of a ridge of half the squared slopes, by scipy."""
    used = weight > 0
    weight = weight[used] / weight[used].mean()
    sides = (target > 0, target <= 0) if binary else (np.ones(len(target), bool),)
    rarer = min(weight[s[used]].sum() ** 2 / (weight[s[used]] ** 2).sum() for s in sides)
    basis, _ = Basis.fit(features[used], rarer)
    design = np.column_stack([np.ones(len(features)), basis.design(features).astype(float)])

    def loss(slopes):
        z, d = design[used] @ slopes, target[used]
        fit = np.logaddexp(0, z) - d * z if binary else (d - z) ** 2 / 2
        return weight @ fit + slopes[1:] @ slopes[1:] / 2

    slopes = minimize(loss, np.zeros(design.shape[1]), method="BFGS", options={"gtol": 1e-6}).x
    return expit(design @ slopes) if binary else design @ slopes, design.shape[1] - 1


@pytest.mark.parametrize("kind", ["fewer accepted", "fewer rejected", "number"])
def test_a_regression_is_the_one_of_its_basis(drawn, kind):
    """Of the rarer label there are not enough rows for a knot, of the other and of a number there are."""
    features, label, number, weight = drawn
    features, binary = features[["x", "feature_z"]], kind != "number"
    target = {"fewer accepted": label, "fewer rejected": 1 - label, "number": number}[kind]
    found = fit_model(features, target, weight=weight, binary=binary)
    expected, width = by_hand(features, target, weight, binary=binary)
    assert found.predict(features) == pytest.approx(expected, abs=1e-3) and found.width == width
    flat = fit_model(features * 0, target, weight=weight, binary=binary).predict(features)
    assert flat == pytest.approx(np.average(target, weights=weight))


SMALL = {"max_iter": 40, "max_leaf_nodes": 15, "min_samples_leaf": 40, "l2_regularization": 5.0}
FINE = {"max_iter": 200, "max_leaf_nodes": 63, "min_samples_leaf": 10, "l2_regularization": 1.0}


@threadpool_limits.wrap(limits=1)
@pytest.mark.parametrize(
    ("learner", "options", "binary", "even"),
    [("boosted", SMALL, True, True), ("boosted", SMALL, False, False), ("fine", FINE, False, True)],
)
def test_trees_are_those_of_scikit_learn(drawn, learner, options, binary, even):
    features, label, number, weight = drawn
    target, weight = label if binary else number, np.full(len(label), 3.0) if even else weight
    seed = 2**32 + 1
    found = fit_model(features, target, weight=weight, learner=learner, binary=binary, seed=seed)
    kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    used = weight > 0
    trees = kind(**options, learning_rate=0.1, early_stopping=False, random_state=1)
    columns = features[["x", "feature_z"]]
    trees.fit(columns[used].to_numpy(), target[used], None if even else weight[used] / weight[used].mean())
    expected = trees.predict_proba(columns.to_numpy())[:, 1] if binary else trees.predict(columns.to_numpy())
    assert found.predict(features) == pytest.approx(expected) and found.width == options["max_leaf_nodes"]


@pytest.mark.parametrize("learner", ["logistic", "boosted", "fine"])
@pytest.mark.parametrize("binary", [True, False])
def test_without_columns_every_learner_is_the_weighted_mean(learner, binary):
    """A learner that was chosen with columns is asked without them where a check leaves them out."""
    target, weight = np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0, 4.0, 1.0])
    bare = pd.DataFrame(index=range(5))
    found = fit_model(bare, target, weight=weight, learner=learner, binary=binary)
    assert found.predict(bare) == pytest.approx([3 / 8] * 5)


def test_what_is_all_alike_is_a_constant(drawn):
    features = drawn[0][:3]
    for target, weight, binary, expected in (
        ([1, 1, 1], [1, 2, 1], True, 1 - 1e-4),
        ([0, 0, 1], [1, 2, 0], True, 1e-4),  # the other counts for nothing
        ([7, 7, 7], [1, 1, 1], False, 7),
        ([0, 1, 1], [0, 0, 0], True, 2 / 3),
    ):
        found = fit_model(features, np.array(target), weight=np.array(weight), binary=binary)
        assert found.predict(features).tolist() == pytest.approx([expected] * 3) and found.width == 0
    assert fit_model(features[:0], np.zeros(0)).predict(features).tolist() == [0.5] * 3
    odd = fit_model(features, np.array([1.0, 2.0, 1.0]), binary=False)
    assert np.ptp(odd.predict(features)) > 0


@pytest.mark.parametrize("name", ["logistic", "boosted"])
def test_a_network_is_read_by_whose_name_says_so(drawn, name):
    features, label, *_ = drawn
    moved = features.assign(**{NETWORK: 3.0})
    for learner, reads in ((name, False), (f"{name} and network", True)):
        model = fit_model(features, label, learner=learner)
        assert (model.predict(moved) != model.predict(features)).any() == reads


ASKED = {"features": pd.DataFrame({"x": np.arange(1003.0)}), "held": np.arange(1003) >= 1000}


def choose(monkeypatch, target, found, *, features=ASKED["features"], user=(0, 0, 0), **options):
    """Return what is chosen where the learners predict these numbers for the three that are held out.

    They are of one user, so that nothing is told of chance, and the least loss decides.
    """
    asked = []

    def fit(seen, *rest, learner, **_):
        asked.append((learner, len(seen)))
        return Model(lambda rows: np.array(found[learner], dtype=float))

    monkeypatch.setattr(nuisance, "fit_model", fit)
    users = np.r_[np.arange(9, 1009), user]
    name = choose_learner(features, np.r_[np.zeros(1000), target], ASKED["held"], users, **options)
    assert asked == [(learner, 1000) for learner in found]
    return name


FAR = {"logistic": [2.0, 0, 0]}


@pytest.mark.parametrize(
    ("target", "found", "options", "chosen"),
    [
        # Squared errors of 4, and of a little less or more.
        ([0, 0, 0], FAR | {"boosted": [1.9999, 0, 0]}, {"binary": False}, "boosted"),
        ([0, 0, 0], FAR | {"boosted": [2.0001, 0, 0]}, {"binary": False}, "logistic"),
        ([0, 0, 0], FAR | {"boosted": [0, 2.0, 0]}, {"binary": False, "weight": [3, 2, 1]}, "boosted"),
        ([0, 0, 0], FAR | {"boosted": [0, 2.0, 0]}, {"binary": False, "weight": [2, 3, 1]}, "logistic"),
        ([0, 0, 0], FAR | {"fine": [0, 1.0, 0]}, {"binary": False, "learners": ("logistic", "fine")}, "fine"),
        ([1, 1, 1], {"logistic": [0, 1, 1], "boosted": [1, 1, 1]}, {"binary": False}, "boosted"),
        # Likelihoods: .5 .5 .5 against .8 .8 .1; certain and wrong is no infinity, but that of 1 in 10,000.
        ([1, 0, 1], {"logistic": [0.5, 0.5, 0.5], "boosted": [0.8, 0.2, 0.1]}, {}, "logistic"),
        ([1, 0, 1], {"logistic": [0.5, 0.5, 0.5], "boosted": [0.8, 0.2, 0.3]}, {}, "boosted"),
        ([1, 1, 1], {"logistic": [1e-5, 1, 1], "boosted": [9e-5, 1, 1]}, {}, "logistic"),
        ([0, 0, 0], {"logistic": [1, 0, 0], "boosted": [1 - 9e-5, 0, 0]}, {}, "logistic"),
        ([1, 1, 1], {"logistic": [1e-4, 1, 1], "boosted": [2e-4, 1, 1]}, {}, "boosted"),
    ],
)  # fmt: skip
def test_the_learner_of_the_least_loss_on_held_out_rows_is_chosen(
    monkeypatch, target, found, options, chosen
):
    if "weight" in options:
        options = options | {"weight": np.r_[np.ones(1000), options["weight"]]}
    assert choose(monkeypatch, target, found, **options) == chosen


@pytest.mark.parametrize(("odds", "chosen"), [(0.7918, "boosted"), (0.7916, "logistic")])
def test_for_odds_the_loss_is_that_of_their_ratio(monkeypatch, odds, chosen):
    """Odds of 1 everywhere have a loss of 1/2 - 1; of 1 / 2 and 1 among label 0 the ratios are 2/3 and 4/3.

    With odds r at label 1 theirs is 10/9 / 2 - r / .75, which is -.5 at r = .75 (5/9 + 1/2) = .7917.
    """
    found = {"logistic": [0.5] * 3, "boosted": [1 / 3, 0.5, odds / (1 + odds)]}
    assert choose(monkeypatch, [0, 0, 1], found, odds=True) == chosen


@pytest.mark.parametrize(
    ("gains", "user", "chosen"),
    [
        # Of n users with gains g the standard error of their sum is sqrt(n sum (g - mean)^2 / n).
        ([3, 3, 0], [1, 2, 3], "boosted"),  # 6, error sqrt(6)
        ([3, 0, 0], [1, 2, 3], "boosted"),  # 3, error sqrt(6)
        ([4, -1, -1], [1, 2, 3], "logistic"),  # 2, error sqrt(50 / 3)
        ([4, -1, -1], [1, 2, 1], "logistic"),  # 3 and -1: 2, error sqrt(2 * 8 / 2)
        ([4, -1, -1], [1, 1, 2], "logistic"),
        ([6, -1, -1], [1, 1, 1], "boosted"),
        ([4, 2, -3], [1, 2, 3], "logistic"),  # 3, error sqrt(26)
        ([4, -3, 2], [1, 1, 2], "boosted"),  # 1 and 2: 3, error sqrt(1 / 2)
        ([0, 0, 0], [1, 2, 3], "logistic"),
    ],
)
def test_trees_are_taken_where_their_gain_is_told_from_chance_over_users(monkeypatch, gains, user, chosen):
    found = {"logistic": np.full(3, 3.0), "boosted": np.sqrt(9 - np.array(gains))}
    assert choose(monkeypatch, [0, 0, 0], found, binary=False, user=user) == chosen


def test_every_learner_is_tried_with_networks_and_without(monkeypatch):
    features = ASKED["features"].assign(**{NETWORK: 0.0})
    found = {
        "logistic": [1, 0, 0],
        "logistic and network": [0.9, 0, 0],
        "boosted": [1, 0, 0],
        "boosted and network": [0.9, 0, 0],
    }
    name = choose(monkeypatch, [0, 0, 0], found, features=features, binary=False)
    assert name == "logistic and network"  # trees must be better than that


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, True),
        ({"features": pd.DataFrame(index=range(1003))}, False),
        ({"held": np.zeros(1003, bool)}, False),
        ({"weight": np.r_[np.ones(1000), np.zeros(3)]}, False),
        ({"weight": np.r_[np.zeros(1), np.ones(1002)]}, False),  # 999 rows to learn from
        ({"weight": np.r_[np.full(1000, 0.1), np.full(3, 0.1)]}, True),
    ],
)
def test_trees_are_tried_on_a_thousand_rows_at_least(monkeypatch, change, asked):
    monkeypatch.setattr(
        nuisance,
        "fit_model",
        lambda *_, learner, **__: Model(lambda rows: np.full(len(rows), 0.5 - 0.4 * (learner == "boosted"))),
    )
    asked_of = {**ASKED, "target": np.zeros(1003), "user": np.arange(1003), **change}
    assert choose_learner(**asked_of) == ("boosted" if asked else "logistic")


@pytest.mark.parametrize(
    ("label", "expected"), [([0, 0, 1], 0.5 * (0.5 * 4 / 9 + 0.5 * 16 / 9) - 2), ([0] * 3, 0), ([1] * 3, 0)]
)
@pytest.mark.parametrize("unit", [1.0, 0.1])
def test_the_loss_of_a_ratio_by_hand(label, expected, unit):
    found = nuisance._ratio_loss(np.array([1.0, 2, 3]), np.array(label), np.full(3, unit))
    assert found.sum() == pytest.approx(expected)
