"""The constraint of Eq. (9): against its closed form, and the path that falls by what it keeps."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from csrec_core.data.books import simulate_books
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.penalty import constraint_path, fit_penalised, read_weights
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
