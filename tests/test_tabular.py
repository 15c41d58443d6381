"""The boosted trees: their columns know the past only; they find what there is, and nothing in noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.evaluation.tabular import predict_tabular, tabular_features


def exposures(dataset):
    cells = dataset.log[dataset.log["source"] == "system"].reset_index(drop=True)
    cells["step"] = cells.groupby("user").cumcount() + 1
    return cells.assign(fold=cells["user"] % 2)


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=800, items=40, steps=10, seed=5)


def test_the_columns_of_a_small_log_by_hand():
    frame = pd.DataFrame(
        {
            "user": 1,
            "t": [1, 2, 1, 2, 3, 4],
            "item": [10, 20, 10, 30, 20, 10],
            "decision": [1, 0, 0, 0, 1, 1],
            "source": ["self"] * 2 + ["system"] * 4,
        }
    )
    items = pd.DataFrame({"item": [10, 20, 30], "genre": ["a", "b", "a"]})
    dataset = Dataset(validate_log(frame), items=items)
    features = tabular_features(dataset, exposures(dataset))
    assert features["t"].to_list() == [1, 2, 3, 4]
    assert features["decided"].to_list() == [2, 3, 4, 5]
    assert features["rejections"].to_list() == [0, 1, 2, 0]
    np.testing.assert_equal(features["previous"].to_numpy(), [np.nan, 0, 0, 1])
    np.testing.assert_equal(features["before_previous"].to_numpy(), [np.nan, np.nan, 0, 0])
    np.testing.assert_allclose(features["accepted_here"], [np.nan, 0, 0, 1 / 3])
    np.testing.assert_allclose(features["genre_share"], [1, 1, 0, 0.5])  # item 10 accepted, then item 20
    np.testing.assert_allclose(features["popularity"], np.log1p([1, 0, 1, 1]))
    assert features["genre"].nunique() == 2


def test_the_columns_know_nothing_of_what_comes_later(world):
    cells = exposures(world)
    before = tabular_features(world, cells)
    log = world.log.copy()
    late = (log["source"] == "system") & (log["t"] >= 6)
    log.loc[late, "decision"] = 1 - log.loc[late, "decision"]
    after = tabular_features(replace(world, log=log), cells)
    early = (cells["t"] <= 6).to_numpy()
    # rates are drawn to the mean of the whole log, which the flip moves a little
    np.testing.assert_allclose(before[early], after[early], atol=0.15)
    exact = [name for name in before if not name.startswith("accepted") or name == "accepted_here"]
    np.testing.assert_allclose(before.loc[early, exact], after.loc[early, exact])


def test_the_truth_of_a_simulated_world_is_not_read(world):
    cells = exposures(world)
    pd.testing.assert_frame_equal(
        tabular_features(world, cells), tabular_features(replace(world, truth=None), cells)
    )


def test_what_is_predicted_comes_from_other_users(world):
    """Turning one fold's decisions over leaves its own predictions as they were."""
    cells = exposures(world)
    features = tabular_features(world, cells)
    mine = cells["fold"] == 0
    turned = cells.assign(decision=cells["decision"].where(~mine, 1 - cells["decision"]))
    first, second = predict_tabular(cells, features), predict_tabular(turned, features)
    np.testing.assert_array_equal(first[mine], second[mine])
    assert not np.allclose(first[~mine], second[~mine])


def test_trees_beat_the_item_rate_and_stay_below_the_oracle(world):
    cells = exposures(world)
    predicted = predict_tabular(cells, tabular_features(world, cells))
    truth = world.truth[world.truth["source"] == "system"]["p_system"].to_numpy()
    trees, oracle = (roc_auc_score(cells["decision"], score) for score in (predicted, truth))
    rate = cells.groupby("item")["decision"].transform("mean")
    assert roc_auc_score(cells["decision"], rate) < trees < oracle
    assert abs(predicted.mean() - cells["decision"].mean()) < 0.02


def test_trees_find_nothing_in_noise(world):
    """An item's own rate does not tell the decision that it was made of."""
    noise = np.random.default_rng(0).integers(0, 2, len(world.log)).astype("int8")
    drawn = replace(world, log=world.log.assign(decision=noise))
    cells = exposures(drawn)
    predicted = predict_tabular(cells, tabular_features(drawn, cells))
    assert roc_auc_score(cells["decision"], predicted) == pytest.approx(0.5, abs=0.025)
    assert predicted.std() < 0.1


def test_rows_that_may_not_be_learned_from_are_not(world):
    cells = exposures(world)
    features = tabular_features(world, cells)
    learn = (cells["step"] <= 7).to_numpy()
    turned = cells.assign(decision=cells["decision"].where(learn, 1 - cells["decision"]))
    first = predict_tabular(cells, features, learn=learn)
    second = predict_tabular(turned, features, learn=learn)
    pd.testing.assert_series_equal(first, second)


def test_one_decision_only():
    frame = pd.DataFrame(
        {"user": np.repeat([1, 2], 5), "t": np.tile(range(1, 6), 2), "item": 1, "decision": 1}
    )
    dataset = Dataset(validate_log(frame.assign(source="system")))
    cells = exposures(dataset)
    assert predict_tabular(cells, tabular_features(dataset, cells)).eq(1).all()
