"""The constraint of Eq. (9): against its loss, and the path that falls by what it keeps."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from csrec_core.effect.penalty import constraint_path, read_weights, shrunk
from csrec_core.errors import InputError


@pytest.mark.parametrize("penalty", [0.0, 0.3, 2.0, 30.0])
def test_what_the_constraint_leaves_is_the_least_of_its_loss(penalty):
    cases = [(0.6, 0.3), (0.02, 0.9), (0.999, 0.001), (0.4, 0.4)]
    found = shrunk(*np.array(cases).T, penalty)
    for f, (rate, f_tilde) in zip(found, cases, strict=True):

        def loss(f, rate=rate, f_tilde=f_tilde):
            return -rate * np.log(f) - (1 - rate) * np.log(1 - f) + penalty * (f - f_tilde) ** 2

        best = minimize_scalar(loss, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}).x
        assert f == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("text", ["1, 2", "0, x", "0, -1", "0, inf", ""])
def test_weights_are_read_or_refused(text):
    assert read_weights("0, 1, 0.5") == (0.0, 1.0, 0.5)
    with pytest.raises(InputError, match="shrinkage"):
        read_weights(text)


def test_a_path_by_hand():
    """f is .5 under a weight of 2 where the rates are .6 and .45: it keeps half of .2, of .1 from below."""
    user, arm = [3, 3, 3, 5, 5, 8], [0, 1, 1, 1, 0, 1]
    m1, m0 = np.array([9, 0.6, 0.6, 0.45, 9, 0.6]), np.array([9, 0.4, 0.4, 0.55, 9, 0.4])
    splits = [pd.DataFrame({"user": user, "arm": arm, "m1": m1 + d, "m0": m0 - d}) for d in (0.1, -0.1)]
    path = constraint_path(SimpleNamespace(scores=splits), (2.0,))
    assert path["penalty"].tolist() == [0, 2]
    assert path["effect"].tolist() == pytest.approx([0.125, 0.0625])  # of gaps .2, .2, -.1, .2
    half = 1.959964 * np.linalg.norm([0.15, -0.225, 0.075]) / 4
    assert (path["upper"] - path["effect"]).tolist() == pytest.approx([half, half / 2])
    assert (path["effect"] - path["lower"]).tolist() == pytest.approx([half, half / 2])
