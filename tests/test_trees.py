"""The boosted trees: they read the past only, find what there is, and nothing in noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.reproduction.tables import predict_trees


def exposures(dataset):
    cells = dataset.log[dataset.log["source"] == "system"].reset_index(drop=True)
    cells["step"] = cells.groupby("user").cumcount() + 1
    return cells.assign(fold=cells["user"] % 2)


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=800, items=40, steps=10, seed=5)


def test_neither_later_decisions_nor_those_of_the_own_fold_are_read(world):
    """Turning a fold's late decisions over, in the log and in the cells, leaves its earlier predictions."""
    log = world.log.copy()
    late = (log["source"] == "system") & (log["t"] >= 6) & (log["user"] % 2 == 0)
    log.loc[late, "decision"] = 1 - log.loc[late, "decision"]
    turned = replace(world, log=log)
    cells = exposures(world)
    first, second = predict_trees(world, cells), predict_trees(turned, exposures(turned))
    mine, early = (cells["fold"] == 0).to_numpy(), (cells["t"] <= 6).to_numpy()
    np.testing.assert_array_equal(first[mine & early], second[mine & early])
    assert not np.allclose(first[mine & ~early], second[mine & ~early])
    assert not np.allclose(first[~mine], second[~mine])


def test_the_truth_of_a_simulated_world_is_not_read(world):
    cells = exposures(world)
    pd.testing.assert_series_equal(
        predict_trees(world, cells), predict_trees(replace(world, truth=None), cells)
    )


def test_trees_beat_the_item_rate_and_stay_below_the_oracle(world):
    cells = exposures(world)
    predicted = predict_trees(world, cells)
    truth = world.truth[world.truth["source"] == "system"]["p_system"].to_numpy()
    trees, oracle = (roc_auc_score(cells["decision"], score) for score in (predicted, truth))
    rate = cells.groupby("item")["decision"].transform("mean")
    assert roc_auc_score(cells["decision"], rate) < trees < oracle
    assert abs(predicted.mean() - cells["decision"].mean()) < 0.02


def test_a_pattern_of_position_is_learned(world):
    cells = exposures(world)
    accepted = cells["step"].isin((2, 5, 6, 9))
    log = world.log.copy()
    log.loc[log["source"] == "system", "decision"] = accepted.to_numpy(dtype="int8")
    assert (
        roc_auc_score(accepted, predict_trees(replace(world, log=log), cells.assign(decision=accepted))) == 1
    )


def test_trees_find_nothing_in_noise(world):
    """What others did with an item does not tell the decision that it was made of."""
    noise = np.random.default_rng(0).integers(0, 2, len(world.log)).astype("int8")
    drawn = replace(world, log=world.log.assign(decision=noise))
    cells = exposures(drawn)
    predicted = predict_trees(drawn, cells)
    assert roc_auc_score(cells["decision"], predicted) == pytest.approx(0.5, abs=0.025)
    assert predicted.std() < 0.1


def test_one_decision_only():
    frame = pd.DataFrame(
        {"user": np.repeat([1, 2], 5), "t": np.tile(range(1, 6), 2), "item": 1, "decision": 1}
    )
    dataset = Dataset(validate_log(frame.assign(source="system")))
    assert predict_trees(dataset, exposures(dataset)).eq(1).all()
