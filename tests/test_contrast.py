"""Contrasts against exact expectations and cluster-robust regressions; pooling against integration."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from csrec_core.effect.contrast import Contrast, average_intervals, interval, slope
from csrec_core.effect.pooling import pool_users
from csrec_core.errors import InputError


def test_a_contrast_of_means_is_a_clustered_regression():
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(80, size=900))
    system = rng.random(900) < 0.4
    value = rng.normal(size=80)[user] + 0.3 * system + rng.normal(size=900)
    found = interval(*Contrast(user, value, system * 1.0, ~system * 1.0).groups()).iloc[0]
    fitted = sm.OLS(value, sm.add_constant(system.astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": user, "use_correction": False}
    )
    assert found["effect"] == pytest.approx(fitted.params[1])
    assert found["error"] == pytest.approx(fitted.bse[1])
    weight = rng.random(900)
    found = interval(*Contrast(user, value, weight * system, weight * ~system).groups()).iloc[0]
    fitted = sm.WLS(value, sm.add_constant(system.astype(float)), weights=weight).fit(
        cov_type="cluster", cov_kwds={"groups": user, "use_correction": False}
    )
    assert found["effect"] == pytest.approx(fitted.params[1])
    assert found["error"] == pytest.approx(fitted.bse[1])


@pytest.mark.parametrize(("wrong_f", "wrong_e"), [(False, False), (True, False), (False, True), (True, True)])
def test_one_of_two_models_right_is_enough(wrong_f, wrong_e):
    """An enumerated world of one feature: kinds of rows, their probability, and the exact expectation."""
    share, regime = {0: 0.7, 1: 0.3}, {0: 0.2, 1: 0.6}
    accept = {(0, 0): 0.1, (0, 1): 0.2, (1, 0): 0.5, (1, 1): 0.8}  # by kind and source
    rows = []
    for kind, system, decision in itertools.product((0, 1), repeat=3):
        chance = share[kind] * (regime[kind] if system else 1 - regime[kind])
        p = accept[kind, system]
        rows.append((kind, system, decision, chance * (p if decision else 1 - p)))
    kind, system, decision, chance = np.array(rows).T
    f_tilde = 0.3 if wrong_f else np.where(kind == 1, 0.5, 0.1)
    e = 0.5 if wrong_e else np.where(kind == 1, 0.6, 0.2)
    control = chance * (1 - system) * e / (1 - e)
    effect, _ = Contrast(np.arange(8), decision - f_tilde, chance * system, control).groups()
    exposed = np.array([share[k] * regime[k] for k in (0, 1)])
    truth = np.average([0.1, 0.3], weights=exposed)
    assert (abs(effect[0] - truth) < 1e-12) != (wrong_f and wrong_e)


def test_a_shared_control_is_that_of_all_groups():
    rng = np.random.default_rng(3)
    user, group = np.repeat(np.arange(40), 8), rng.integers(-1, 3, size=320)
    system, value = rng.random(320) < 0.5, rng.normal(size=320)
    effect, influence = Contrast(user, value, system * 1.0, ~system * 1.0).groups(group, shared=True)
    for number in range(3):
        rows = (group == number) & system
        others = (group >= 0) & ~system
        assert effect[number] == pytest.approx(value[rows].mean() - value[others].mean())
        part = Contrast(user, value, rows * 1.0, others * 1.0).groups()[1]
        np.testing.assert_allclose(influence[:, number], part[:, 0])


def test_groups_and_their_slope():
    user = np.repeat(np.arange(50), 6)
    group = np.tile(np.repeat([0, 1, 2], 2), 50)
    system = np.tile([1.0, 0.0], 150)
    rng = np.random.default_rng(3)
    value = 0.1 * group * system + rng.normal(0, 0.1, 300)
    contrast = Contrast(user, value, system, 1 - system)
    effect, influence = contrast.groups(group)
    for g in range(3):
        own = group == g
        plain = value[own & (system == 1)].mean() - value[own & (system == 0)].mean()
        assert effect[g] == pytest.approx(plain)
    line = slope(np.arange(3), effect, influence)
    assert line["effect"] == pytest.approx((effect[2] - effect[0]) / 2)
    assert line["lower"] < 0.1 < line["upper"]
    table = contrast.by(pd.Series(group).map({0: "a", 1: "b", 2: np.nan}))
    assert table["group"].to_list() == ["a", "b"]
    np.testing.assert_allclose(table["effect"], effect[:2])
    assert table["exposures"].to_list() == [50, 50]
    wide = contrast.by(pd.Series(group), simultaneous=True)
    narrow = contrast.by(pd.Series(group))
    ratio = (wide["upper"] - wide["lower"]) / (narrow["upper"] - narrow["lower"])
    np.testing.assert_allclose(ratio, norm.ppf(1 - 0.025 / 3) / norm.ppf(0.975))
    with pytest.raises(InputError, match="no row has a group"):
        contrast.by(pd.Series(np.full(300, np.nan)))


def test_a_group_without_controls_has_no_estimate():
    contrast = Contrast(np.arange(4), np.ones(4), np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1.0]))
    effect, influence = contrast.groups(np.array([0, 0, 1, 1]))
    assert np.isnan(effect[0])
    assert effect[1] == 0
    assert np.isnan(slope(np.arange(2), effect, influence)["effect"])  # of one step there is none


def test_repeats_are_averaged_with_their_spread():
    tables = [pd.DataFrame({"effect": [m], "lower": [m - 1.96], "upper": [m + 1.96]}) for m in (0.0, 2.0)]
    found = average_intervals(tables).iloc[0]
    assert found["effect"] == 1
    assert found["upper"] - 1 == pytest.approx(1.96 * np.sqrt(1 + 1), rel=1e-4)


def draw_users(spread, *, users=1500, rows=15, level=0.5, seed=0):
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame({"user": np.repeat(np.arange(users), rows), "step": np.tile(np.arange(rows), users)})
    cells["f_tilde"] = expit(rng.normal(-1, 1, len(cells)))
    own = level + spread * rng.normal(size=users)
    shifted = np.log(cells["f_tilde"] / (1 - cells["f_tilde"])) + own[cells["user"]]
    cells["truth"] = expit(shifted) - cells["f_tilde"]
    cells["decision"] = (rng.random(len(cells)) < expit(shifted)).astype(int)
    return cells


def test_pooling_finds_the_spread_between_users():
    found = pool_users(draw_users(0.7))
    assert found.spread == pytest.approx(0.7, abs=0.1)
    assert found.level == pytest.approx(0.5, abs=0.07)
    assert found.trend == pytest.approx(0, abs=0.05)
    assert pool_users(draw_users(0.0)).spread < 0.2


def test_pooled_effects_cover_and_beat_one_effect_for_all():
    cells = draw_users(0.7).sample(frac=1, random_state=0)
    found = pool_users(cells)
    error = found.cells["effect"] - cells["truth"]
    assert np.sqrt((error**2).mean()) < 0.85 * cells["truth"].std()
    users = found.users.join(cells.groupby("user")["truth"].mean())
    inside = (users["effect"] - users["truth"]).abs() < 1.96 * users["deviation"]
    assert 0.92 < inside.mean() < 0.975


def test_a_posterior_is_its_integral():
    cells = draw_users(0.7, users=300)
    found = pool_users(cells)
    step = (cells["step"] - cells["step"].mean()) / cells["step"].std(ddof=0)
    for user in (0, 7):
        own = cells["user"] == user
        shift = np.log(cells["f_tilde"] / (1 - cells["f_tilde"])) + found.level + found.trend * step

        def weigh(z, times, own=own, shift=shift):
            p = expit(shift[own] + found.spread * z)
            likelihood = np.where(cells.loc[own, "decision"] == 1, p, 1 - p).prod()
            return likelihood * norm.pdf(z) * ((p - cells.loc[own, "f_tilde"]).mean() ** times)

        total, first, second = (quad(weigh, -6, 6, args=(times,))[0] for times in (0, 1, 2))
        assert found.users.loc[user, "effect"] == pytest.approx(first / total, abs=1e-4)
        deviation = np.sqrt(second / total - (first / total) ** 2)
        assert found.users.loc[user, "deviation"] == pytest.approx(deviation, abs=1e-4)


def test_the_band_is_the_worst_of_all_weights():
    """Every way to multiply ten weights by gamma or its inverse, enumerated."""
    rng = np.random.default_rng(5)
    value, control = rng.normal(size=14), np.r_[np.zeros(4), rng.random(10)]
    treated = np.r_[np.ones(4), np.zeros(10)]
    contrast = Contrast(np.arange(14), value, treated, control)
    found = contrast.band(1.7)
    factors = np.array(list(itertools.product((1.7, 1 / 1.7), repeat=10)))
    weights = factors * control[4:]
    every = value[:4].mean() - (weights @ value[4:]) / weights.sum(axis=1)
    assert found["least"] == pytest.approx(every.min())
    assert found["most"] == pytest.approx(every.max())
    assert found["lower"] < found["least"] < contrast.groups()[0][0] < found["most"] < found["upper"]
    still = contrast.band(1.0)
    assert still["least"] == pytest.approx(still["most"]) == pytest.approx(contrast.groups()[0][0])
    with pytest.raises(InputError, match=r"gamma = 0\.5"):
        contrast.band(0.5)
