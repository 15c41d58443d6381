"""The constraint of Eq. (9): against its closed form, and the path that falls by what it keeps."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import penalty as penalty_module
from csrec_core.effect.design import Design
from csrec_core.effect.engine import Known
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import fold_of
from csrec_core.effect.penalty import constraint_path, fit_penalised, read_weights
from csrec_core.effect.rows import find_clock, lay_rows
from csrec_core.errors import InputError


def test_the_penalised_fit_solves_its_equation():
    """Of a constant f the minimum is where f - D + 2 w (f - f~) f (1 - f) is zero."""
    features = pd.DataFrame({"x": np.zeros(4000, dtype=np.float32)})
    decision, fold = np.tile([1.0, 1, 0, 0, 1, 1, 0, 0, 1, 1], 400), np.arange(4000) % 2
    f_tilde = np.full(4000, 0.3)
    for penalty in (0.0, 1.0, 10.0):
        f = fit_penalised(features, decision, f_tilde, penalty, fold)
        right = brentq(lambda f, w=penalty: f - 0.6 + 2 * w * (f - 0.3) * f * (1 - f), 0.01, 0.99)
        assert f.mean() == pytest.approx(right, abs=2e-3)
    with pytest.raises(InputError):
        fit_penalised(features, decision, f_tilde, -1.0, fold)


def test_the_path_falls_as_the_shrinkage_says():
    world = simulate_books(users=300, items=60, steps=8, seed=3, publish="rows")
    effect = estimate_effect(world, splits=1, confounders=("feature_preference",), propensity="unused")
    path = constraint_path(effect, world, (1.0, 30.0))
    assert path["penalty"].to_list() == [0.0, 1.0, 30.0]
    assert path["effect"].is_monotonic_decreasing and (path["lower"] < path["effect"]).all()
    np.testing.assert_allclose(path["effect"], path["expected"], atol=0.004)
    regression = effect.estimates.set_index("name").loc["regression", "effect"]
    assert path["effect"][0] == pytest.approx(regression, abs=0.02)


@pytest.mark.parametrize("text", ["1, 2", "0, x", "0, -1", "0, inf", ""])
def test_weights_are_read_or_refused(text):
    assert read_weights("0, 1, 0.5") == (0.0, 1.0, 0.5)
    with pytest.raises(InputError, match="shrinkage"):
        read_weights(text)


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_the_penalised_fit_is_the_least_of_its_loss(penalty):
    """Of 800 rows 560 accept, so that the rarer 240 allow no knots; the ridge is half the squared slopes by rows."""
    rng = np.random.default_rng(0)
    features = pd.DataFrame({"x": rng.normal(size=800), "z": rng.normal(size=800)}).astype(np.float32)
    decision, fold = (rng.permutation(800) < 560) * 1.0, np.arange(800) % 2
    f_tilde = expit(features["x"]).to_numpy(float)
    found = fit_penalised(features, decision, f_tilde, penalty, fold)
    scaled = (features - features.mean()) / features.std(ddof=0)
    design = np.column_stack([np.ones(800), scaled]).astype(float)
    for held in (0, 1):
        x, d, target = design[fold != held], decision[fold != held], f_tilde[fold != held]

        def loss(w, x=x, d=d, target=target):
            f = expit(x @ w)
            fit = -(d * np.log(f) + (1 - d) * np.log(1 - f)) + penalty * (f - target) ** 2
            return fit.mean() + w[1:] @ w[1:] / 2 / len(d)

        best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
        assert found[fold == held] == pytest.approx(expit(design[fold == held] @ best), abs=1e-3)


def test_a_path_by_hand(monkeypatch):
    """f is .6 and .8 in turn without penalty, f~ .5 on average of two splits: they differ by .2, then by half of it."""
    log = pd.DataFrame(
        {"user": np.repeat([3, 5, 8, 9], 4), "t": np.tile(range(4), 4), "item": 0, "decision": 1}
    )
    log["source"] = np.where(log["t"] < 2, "self", "system")
    dataset, asked, free = Dataset(validate_log(log)), [], np.tile([0.6, 0.8], 4)

    def fit(features, decision, f_tilde, penalty, fold):
        asked.append((penalty, fold.tolist(), list(features["step"]), f_tilde.tolist()))
        return f_tilde + (free - f_tilde) / (1 + (penalty > 0))

    monkeypatch.setattr(penalty_module, "fit_penalised", fit)
    rows = lay_rows(dataset, Design())
    splits = [rows.assign(m0=np.where(rows["arm"] == 1, m0, 9.0)) for m0 in (0.4, 0.6)]
    known = Known(find_clock(rows), True, 1.0, 0.5, 16, 4, 1)
    path = constraint_path(SimpleNamespace(design=Design(), known=known, scores=splits), dataset, (30.0, 1.0))
    assert path["penalty"].tolist() == [0, 1, 30] == [one[0] for one in asked]
    fold = fold_of(np.repeat([3, 5, 8, 9], 2), 2, 0).tolist()
    assert all(one[1:] == (fold, [0, 1] * 4, pytest.approx([0.5] * 8)) for one in asked)
    assert path["effect"].tolist() == pytest.approx([0.2, 0.1, 0.1])
    left = [(0.1 / (1 + weight * 0.48) + 0.3 / (1 + weight * 0.32)) / 2 for weight in (0, 1, 30)]
    assert path["expected"].tolist() == pytest.approx(left)
    assert path["lower"].tolist() == pytest.approx([0.2, 0.1, 0.1])  # all users alike
    free[2:4] = 0.7, 0.9
    wide = constraint_path(
        SimpleNamespace(design=Design(), known=known, scores=splits), dataset, (0.0,)
    ).iloc[0]
    gap = free - 0.5
    error = np.sqrt(((gap - gap.mean()).reshape(4, 2).sum(axis=1) ** 2).sum()) / 8
    assert [wide["upper"] - wide["effect"], wide["effect"] - wide["lower"]] == pytest.approx(
        [1.959964 * error] * 2
    )
