"""The paper's estimates of TER on cells that are written down, against differences worked out by hand."""

from types import SimpleNamespace

import pandas as pd
import pytest

from csrec_core.effect.ter import effect_estimates, true_effects, true_mean, true_over_time

CELLS = pd.DataFrame(
    {
        "user": [1, 1, 2],
        "t": [2, 3, 2],
        "step": [1, 2, 1],
        "item": [7, 8, 7],
        "decision": [1, 0, 1],
        "f": [0.5, 0.4, 0.9],
        "f_free": [0.6, 0.4, 1.0],
        "f_tilde": [0.2, 0.3, 0.5],
        "f_marginal": [0.5, 0.6, 0.7],
        "f_free_marginal": [0.6, 0.7, 0.8],
        "f_tilde_marginal": [0.4, 0.4, 0.5],
    }
)
#: Of each cell, in another order, and of one that the user chose.
TRUTH = pd.DataFrame(
    {
        "user": [2, 1, 1, 1],
        "t": [2, 3, 2, 1],
        "source": ["system", "system", "system", "self"],
        "p_system": [0.9, 0.5, 0.4, 0.0],
        "p_self": [0.4, 0.4, 0.2, 1.0],
        "marginal_system": [0.8, 0.5, 0.6, 0.0],
        "marginal_self": [0.7, 0.2, 0.4, 1.0],
    }
)


def test_what_is_true_by_hand():
    truth = true_effects(TRUTH, CELLS)
    assert truth["effect"].tolist() == pytest.approx([0.2, 0.1, 0.5])
    assert truth[["user", "t", "step", "item"]].equals(CELLS[["user", "t", "step", "item"]])
    assert true_effects(TRUTH, CELLS, estimand="marginal")["effect"].tolist() == pytest.approx(
        [0.2, 0.3, 0.1]
    )
    weights = pd.DataFrame({"arm": [1, 0, 1, 1], "w1": [1.0, 9.0, 2.0, 1.0]})
    assert true_mean(truth, SimpleNamespace(cells=weights)) == pytest.approx((0.2 + 2 * 0.1 + 0.5) / 4)
    truth = pd.DataFrame({"step": [1, 2, 3, 5, 6], "effect": [1.0, 2, 4, 6, 100]})
    assert true_over_time(truth, pd.DataFrame({"step": [1, 2], "last": [1, 5]})) == [1.0, 4.0]


def test_each_estimate_is_a_mean_over_users():
    table = effect_estimates(CELLS, TRUTH, draws=50).set_index(["estimate", "estimand"])
    expected = {
        ("two-model", "filtered"): (0.375, 0.325),
        ("two-model, with penalty", "filtered"): (0.3, 0.325),
        ("residual-corrected", "filtered"): (0.375, 0.325),
        ("two-model", "marginal"): (0.275, 0.175),
        ("two-model, with penalty", "marginal"): (0.175, 0.175),
    }
    assert list(table.index) == list(expected)
    assert table[["effect", "truth"]].to_numpy().tolist() == [
        pytest.approx(pair) for pair in expected.values()
    ]
    # Two users: a resample has either twice, or both.
    assert table.loc[("two-model", "filtered"), ["lower", "upper"]].tolist() == pytest.approx([0.25, 0.5])
    assert "truth" not in effect_estimates(CELLS, draws=50)
    many = pd.concat([CELLS.assign(user=CELLS["user"] + 2 * k, f=CELLS["f"] + 0.03 * k) for k in range(6)])
    pd.testing.assert_frame_equal(effect_estimates(many), effect_estimates(many, draws=1000, seed=0))
