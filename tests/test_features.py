"""Features of exposures against values worked out by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect.features import exposure_features, published_features
from csrec_core.errors import InputError


@pytest.fixture(scope="module")
def small():
    """Two users; user 1 sees items 1 2 | 1 3, accepts 1 0 | 0 1, of genres a b | a b."""
    rows = [
        (1, 1, 1, 1, "self"),
        (1, 2, 2, 0, "self"),
        (1, 1, 1, 0, "system"),
        (1, 2, 3, 1, "system"),
        (2, 1, 2, 0, "self"),
        (2, 1, 2, 1, "system"),
    ]
    log = validate_log(pd.DataFrame(rows, columns=["user", "t", "item", "decision", "source"]))
    items = pd.DataFrame({"item": [1, 2, 3], "genre": ["a", "b", "b"], "pages": [100, 200, 300]})
    return Dataset(log, items=items)


def test_the_past_of_each_exposure(small):
    features = exposure_features(small, folds=2)
    own = features[small.log["user"] == 1]  # self first, then system, as the log is sorted
    assert own["first"].to_list() == [1, 0, 0, 0]
    assert own["last"].to_list() == [0, 1, 0, 0]
    assert own["before_last"].to_list() == [0, 0, 1, 0]
    assert own["run"].to_list() == [0, 0, 1, 2]
    assert own["step"].to_list() == [0, 1, 0, 1]
    assert own["seen"].to_list() == [0, 1, 2, 3]
    assert own["same_genre"].to_list() == [0, 0, 0, 0]
    mean = 3 / 6
    rate = [mean, (1 + 2 * mean) / 3, (1 + 2 * mean) / 4, (1 + 2 * mean) / 5]
    np.testing.assert_allclose(own["user_rate"], rate)
    np.testing.assert_allclose(own["genre_share"], [0.5, 0.5 / 2, 1.5 / 3, 1.5 / 3])
    np.testing.assert_allclose(own["genre_rate"], [rate[0], rate[1], (1 + rate[2]) / 2, rate[3] / 2])


def test_items_are_told_of_by_the_other_fold(small):
    features = exposure_features(small, folds=2)
    one = features[small.log["user"] == 1].iloc[1]  # item 2: user 2 rejected it once, and accepted it once
    chosen, shown = 1 / 3, 2 / 3  # accept rates of the sources
    weight = chosen * (1 - chosen) + shown * (1 - shown)
    assert one["appeal"] == pytest.approx((0 - chosen + 1 - shown) / (weight + 4))
    assert one["fame"] == pytest.approx(np.log((1 + 1) * 3 / (1 + 3)))
    item_1 = features[small.log["user"] == 1].iloc[0]  # user 2 never met it
    assert item_1["appeal"] == 0
    assert item_1["push"] == pytest.approx(np.log(1 * 3 / (1 + 3)))


def test_own_decisions_say_nothing_of_an_item():
    world = simulate_books(users=60, items=20, steps=5, seed=1)
    before = exposure_features(world, folds=3, seed=2)
    log = world.log.copy()
    mine = before["fold"] == 0
    log.loc[mine, "decision"] = 1 - log.loc[mine, "decision"]
    after = exposure_features(dataclasses.replace(world, log=log), folds=3, seed=2)
    others = ["fame", "push"]
    pd.testing.assert_frame_equal(before.loc[mine, others], after.loc[mine, others])
    weight = after.loc[mine, "appeal"] - before.loc[mine, "appeal"]
    assert weight.abs().max() < 0.35  # the source's mean moves; the item's own count of others does not
    assert not np.allclose(before.loc[~mine, "appeal"], after.loc[~mine, "appeal"])


def test_nothing_of_an_exposure_depends_on_its_own_or_later_decisions():
    """Flip the last decision of every user: no feature of a user's own past changes."""
    world = simulate_books(users=30, items=20, steps=5, seed=1)
    log = world.log.copy()
    final = (log["source"] == "system") & (log["t"] == 5)
    log.loc[final, "decision"] = 1 - log.loc[final, "decision"]
    before, after = (
        exposure_features(dataclasses.replace(world, log=table), folds=3) for table in (world.log, log)
    )
    for column in ("first", "last", "before_last", "run", "step", "seen", "genre_share", "same_genre"):
        pd.testing.assert_series_equal(before[column], after[column])


def test_a_timestamp_orders_the_sources(small):
    times = small.log.assign(timestamp=[3, 4, 9, 1, 2, 3])  # user 1 meets the system first
    features = exposure_features(Dataset(times, items=small.items), folds=2)
    own = features[small.log["user"] == 1]
    assert own["seen"].to_list() == [2, 3, 0, 1]
    assert own["last"].to_list() == [1, 1, 0, 0]


def test_published_features_by_row_user_and_item(small):
    log = small.log.assign(feature_mood=np.arange(6.0))
    users = pd.DataFrame({"user": [2, 1], "taste: a": [0.2, 0.9], "taste: b": [0.8, 0.1], "age": [20, 30]})
    known = published_features(Dataset(log, items=small.items, users=users))
    assert known["feature_mood"].to_list() == [0, 1, 2, 3, 4, 5]
    # The log is sorted by source: user 1 a, b; user 2 b; then user 1 a, b; user 2 b.
    np.testing.assert_allclose(known["taste"], [0.9, 0.1, 0.8, 0.9, 0.1, 0.8])
    np.testing.assert_allclose(known["user: age"], [30, 30, 20, 30, 30, 20])
    np.testing.assert_allclose(known["item: pages"], [100, 200, 200, 100, 300, 200])


def test_published_tastes_are_those_of_the_world():
    world = simulate_books(users=30, items=20, steps=4, drift=0, publish="users")
    np.testing.assert_allclose(published_features(world)["taste"], world.truth["taste"])
    bare = published_features(simulate_books(users=30, items=20, steps=4))
    assert bare.shape == (240, 0)


def test_bad_features(small):
    users = pd.DataFrame({"user": [1], "age": [30]})
    with pytest.raises(InputError, match=r"row 3 has no value of the published feature 'user: age'"):
        published_features(Dataset(small.log, users=users))
    with pytest.raises(InputError, match="folds = 9"):
        exposure_features(small, folds=9)
