"""How far hidden causes move an effect, by trying every weighting; the strongest column, by its own regressions."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import sensitivity
from csrec_core.effect.nuisance import fit_model
from csrec_core.effect.sensitivity import LARGEST_ODDS, sensitivity_band, strongest, tipping_point
from csrec_core.errors import InputError

RESIDUALS = np.array([-0.6, -0.2, 0.1, 0.5, 0.9])
WEIGHTS = np.array([1.0, 3.0, 2.0, 4.0, 1.5])


@pytest.fixture
def sums(monkeypatch):
    """A split with an effect, and residuals of the baseline in bins, of which one is empty."""
    monkeypatch.setattr(
        sensitivity,
        "effects_of",
        lambda one, name: SimpleNamespace(effect=[one["effect"]]),
    )

    def make(effect=0.2, sign=1):
        residual, weight = sign * RESIDUALS[::sign], WEIGHTS[::sign]
        band = np.insert(np.array([weight, weight * residual]), 2, 0.0, axis=1)
        return {"effect": sign * effect, "band": band}

    return make


def ends(effect, odds, sign=1):
    """The extremes over every weighting of which each factor is the largest or the smallest."""
    residual, weight = sign * RESIDUALS, WEIGHTS
    middle = np.average(residual, weights=weight)
    found = [
        sign * effect + middle - np.average(residual, weights=weight * np.array(factor))
        for factor in itertools.product((1 / odds, odds), repeat=len(weight))
    ]
    return min(found), max(found)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("half", [0.02, 0.013])
def test_the_band_is_that_of_the_worst_weighting(sums, sign, half):
    odds = [1.0, 1.5, 4.0]
    table = sensitivity_band([sums(sign=sign)], odds, half=half)
    assert (
        list(table.columns) == ["odds", "least", "most", "lower", "upper"] and table["odds"].tolist() == odds
    )
    for row in table.itertuples():
        assert (row.least, row.most) == pytest.approx(ends(0.2, row.odds, sign))
        assert (row.least - row.lower, row.upper - row.most) == pytest.approx((half, half))


def test_the_median_of_the_splits_and_the_odds_by_default(sums):
    splits = [sums(effect) for effect in (0.1, 0.5, 0.2)]
    pd.testing.assert_frame_equal(sensitivity_band(splits, half=0.1), sensitivity_band([sums(0.2)], half=0.1))
    assert sensitivity_band(splits, half=0.1)["odds"].tolist() == [1.0, 1.25, 1.5, 2.0, 3.0]
    with pytest.raises(InputError, match="at least 1"):
        sensitivity_band(splits, [1.0, 0.99], half=0.1)


@pytest.mark.parametrize("broken", [{"band": np.zeros((2, 4))}, {"effect": np.nan}])
def test_without_weight_or_effect_there_is_no_band(sums, broken):
    table = sensitivity_band([sums() | broken], [2.0], half=0.1)
    assert table.iloc[0].isna().tolist() == [False, True, True, True, True]
    assert np.isnan(tipping_point([sums() | broken], half=0.1))


def test_an_effect_without_an_interval_has_no_tipping_point(sums):
    assert np.isnan(tipping_point([sums()], half=float("nan")))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_tipping_point_of_effects_of_either_sign(sums, sign):
    margin = 0.0196
    tipping = tipping_point([sums(0.2, sign=sign)], half=margin)
    assert 1 < tipping < 3
    low, high = ends(0.2, tipping, sign)
    assert (low if sign > 0 else -high) == pytest.approx(margin, abs=2e-3)
    assert tipping_point([sums(0.2, sign=sign)], half=0.01) > tipping
    assert tipping_point([sums(0.0195, sign=sign)], half=margin) == 1.0
    assert tipping_point([sums(0.0197, sign=sign)], half=margin) < 1.01
    # What 20 to 1 takes off at most: just less, and just more, than the effect less its margin.
    most = -ends(0.0, LARGEST_ODDS)[0]
    assert tipping_point([sums(most + margin + 1e-3, sign=sign)], half=margin) == np.inf
    assert 15 < tipping_point([sums(most + margin - 1e-3, sign=sign)], half=margin) <= 20


def told(rows=3000, seed=0):
    """Rows whose arm follows two columns; a constant; the weights of the baseline; some rows of no arm."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(
        {"x": rng.normal(size=rows), "y": rng.integers(2, size=rows).astype(float), "z": 1.0}
    )
    chance = 1 / (1 + np.exp(0.3 - 1.2 * features["x"] - 0.6 * features["y"]))
    arm = (rng.random(rows) < chance).astype(int)
    arm[::9] = -1
    weight = np.where(arm == 0, rng.random(rows), 0.0)
    frames = pd.DataFrame({"arm": arm}), features, pd.DataFrame({"w0": weight})
    engine = SimpleNamespace(
        seed=3, columns=lambda side, kind: ["x", "gone", "y", "z"] if (side, kind) == ("arm", "none") else [],
        chances=lambda rows: SimpleNamespace(kind="none"),
    )  # fmt: skip
    return engine, *frames


def factor(rows, features, scores, name, rest):
    """The 90th percentile, over the baseline's weight, of how the odds change where a column is left out."""
    own = (rows["arm"] >= 0).to_numpy()
    arm, weight = (rows["arm"][own] == 1).to_numpy(float), scores["w0"][own].to_numpy()

    def log_odds(names):
        table = features.loc[own, names].reset_index(drop=True)
        chance = fit_model(table, arm).predict(table) if names else np.full(own.sum(), arm.mean())
        chance = np.clip(chance, 1e-6, 1 - 1e-6)
        return np.log(chance) - np.log1p(-chance)

    moved = np.abs(log_odds([name, *rest]) - log_odds(rest))
    order = np.argsort(moved)
    share = np.cumsum(weight[order]) / weight.sum()
    return np.exp(moved[order][np.argmax(share >= 0.9)])


@pytest.mark.parametrize("alone", [False, True])
def test_the_strongest_column_by_its_own_regressions(alone):
    engine, rows, features, scores = told()
    features = features.drop(columns="y") if alone else features
    name, found = strongest(engine, rows, features, scores)
    assert name == "x"
    assert found == pytest.approx(factor(rows, features, scores, "x", [] if alone else ["y"]), rel=0.02)
    if not alone:
        assert found > factor(rows, features, scores, "y", ["x"])


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_a_certain_arm_is_told_by_odds_of_a_million(monkeypatch, certain):
    """Without the column that tells the arm for certain it is a half."""
    engine, rows, features, scores = told(200)

    def fitted(table, arm):
        assert "z" not in table  # the constant
        return SimpleNamespace(predict=lambda table: np.full(len(table), certain if "x" in table else 0.5))

    monkeypatch.setattr(sensitivity, "fit_model", fitted)
    name, found = strongest(engine, rows, features, scores)
    assert (name, found) == ("x", pytest.approx(999_999))


def test_without_columns_or_weight_nothing_is_strong():
    engine, rows, features, scores = told(200)
    assert strongest(engine, rows, features[["z"]], scores) == ("", 1.0)
    assert strongest(engine, rows, features, scores * 0) == ("", 1.0)
