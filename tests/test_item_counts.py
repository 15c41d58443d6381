"""What users did with each item, and what it tells, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect.item_counts import ItemCounts


def drawn(items, size=60):
    rng = np.random.default_rng(1)
    table = {
        "item": rng.choice(items, size),
        "arm": rng.integers(-1, 2, size),
        "decision": rng.integers(0, 2, size),
    }
    propensity = np.where(rng.random(size) < 0.3, np.nan, rng.uniform(0.1, 0.5, size))
    table["feature_age"], table["user: visits"] = rng.normal(size=size), rng.integers(9, size=size)
    return pd.DataFrame(table).assign(propensity=propensity), rng.integers(0, 3, size)


def test_rows_are_counted_and_parts_add_up():
    rows, fold = drawn([2, 5, 8, 11])
    rows = rows[(rows["item"] != 11) | (rows["arm"] == 0)]  # which the arm never exposes
    fold = fold[rows.index]
    whole = ItemCounts.count(rows, fold, 3)
    assert whole.item.tolist() == [2, 5, 8, 11] and whole.folds == 3
    for place, item in enumerate(whole.item):
        for arm in (0, 1):
            for number in range(3):
                own = rows[(rows["item"] == item) & (rows["arm"] == arm) & (fold == number)]
                assert whole.rows[number, place, arm] == len(own)
                assert whole.accepted[number, place, arm] == own["decision"].sum()
        known = rows[(rows["item"] == item) & (rows["arm"] == 1)]["propensity"].dropna()
        ends = [known.min(), known.max(), known.sum()] if len(known) else [np.inf, -np.inf, 0]
        assert whole.chance[place].tolist() == pytest.approx(ends)
    unlogged = [(rows["propensity"].isna() & (rows["arm"] == arm)).sum() for arm in (0, 1)]
    assert whole.unlogged.tolist() == unlogged
    rates = rows[rows["arm"] >= 0].groupby("arm")["decision"].mean()
    assert whole.rates.tolist() == pytest.approx(rates.tolist())
    first = rows["item"].isin([5, 11]).to_numpy()  # parts know other items
    for some in (first, rows.index < 20):
        both = ItemCounts.count(rows[some], fold[some], 3).add(ItemCounts.count(rows[~some], fold[~some], 3))
        for name, value in vars(whole).items():
            np.testing.assert_allclose(getattr(both, name), value, err_msg=name)


def test_an_arm_of_one_row_or_none_has_its_rate():
    rows = pd.DataFrame({"item": 4, "arm": [0], "decision": [1.0], "propensity": 0.5})
    counts = ItemCounts.count(rows, np.zeros(1, int), 1)
    assert counts.rates.tolist() == [1, 0]
    # The arm's is kept a thousandth from 0, the variance of the baseline's from 0.
    other = counts.measure(np.array([4]), np.array([0])).iloc[0]
    assert other.tolist() == [0, 0, 0]  # of other folds, of which there is none
    two = ItemCounts.count(pd.concat([rows, rows.assign(arm=1, decision=0.0)]), np.zeros(2, int), 2)
    appeal = two.measure(np.array([4]), np.array([1]))["appeal"][0]
    assert appeal == pytest.approx((1 - 1 - 0.001) / (0.001 + 0.000999 + 4), rel=1e-4)


def test_the_usual_chance_is_the_log_of_the_mean_of_an_items_exposures_by_the_arm():
    rows = pd.DataFrame({"item": [3, 3, 5, 7, 7], "arm": [1, 1, 0, 1, 0], "decision": 0.0})
    counts = ItemCounts.count(rows.assign(propensity=[0.2, 0.4, 0.9, 0.5, 0.9]), np.zeros(5, int), 1)
    found = counts.usual_chance(np.array([3, 7, 5, 3, 99]))
    assert found.tolist() == pytest.approx(np.log([0.3, 0.5, 1.0, 0.3, 0.5]), rel=1e-6)
    assert found.dtype == np.float32


def test_appeal_fame_and_push_by_hand():
    rows, fold = drawn([2, 5, 8])
    own_arms = (rows["arm"] >= 0).to_numpy()
    rows, fold = rows[own_arms].drop(columns=["feature_age", "user: visits"]), fold[own_arms]
    counts = ItemCounts.count(rows, fold, 3)
    for held in (2, None):
        found = counts.measure(np.array([8, 2, 9]), np.array([0, 1, 0]), held)
        for place, (item, own) in enumerate([(8, 0), (2, 1)]):
            known = rows[(fold != own) & (fold != (own if held is None else held))]
            rate = known["arm"].map(rows.groupby("arm")["decision"].mean())
            mine = known["item"] == item
            appeal = (known["decision"] - rate)[mine].sum() / ((rate * (1 - rate))[mine].sum() + 4)
            often = [np.log((mine & (known["arm"] == a)).sum() + 1) for a in (0, 1)]
            even = [np.log((known["arm"] == a).sum() / 3 + 1) for a in (0, 1)]
            assert found.iloc[place].tolist() == pytest.approx([appeal, *np.subtract(often, even)], rel=1e-5)
        assert found.iloc[2].tolist() == [0, 0, 0]  # of an item that is not known


def test_appeal_is_beyond_what_the_covariates_of_an_exposure_lead_to_expect():
    """As the residuals of a regression on arms and covariates have it, of folds that are neither own nor held."""
    rows, fold = drawn([2, 5, 8], size=400)
    rows["decision"] = rows["decision"] + rows["feature_age"]
    rows["user: always"], rows["item: price"], rows["missing: feature_age"] = 1e6, rows["item"] * 2.0, 0.0
    rows["user: visits again"] = 3 * rows["user: visits"]  # tells nothing more
    found = ItemCounts.count(rows, fold, 3).measure(np.array([2, 5, 8]), np.zeros(3, int), 1)["appeal"]
    both = rows[rows["arm"] >= 0]
    rate = both["arm"].map(np.clip(both.groupby("arm")["decision"].mean(), 1e-3, None))
    variance = rate * np.maximum(1 - rate, 1e-3)
    known = both[fold[both.index] == 2]
    design = pd.get_dummies(known["arm"], dtype=float).join(known[["feature_age", "user: visits"]])
    slopes = np.linalg.lstsq(design.to_numpy(), known["decision"].to_numpy())[0]
    by_arm = known["decision"].groupby(known["arm"]).transform("mean")
    beyond = known["decision"] - rate[known.index] - (design @ slopes - by_arm)
    for place, item in enumerate([2, 5, 8]):
        mine = known.index[known["item"] == item]
        expected = beyond[mine].sum() / (variance[mine].sum() + 4)
        assert found[place] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("items", [20, 21])
def test_twenty_items_come_as_columns(items):
    rows = pd.DataFrame({"item": np.arange(items), "arm": 0, "decision": 1.0, "propensity": np.nan})
    told = ItemCounts.count(rows, np.arange(items) % 3, 3).tell(np.array([2, 0, 2]), np.zeros(3, int), 1)
    if items > 20:
        assert list(told.columns) == ["appeal", "fame", "push"]
    else:
        assert list(told.columns) == [f"item = {one}" for one in range(1, 20)]
        assert told["item = 2"].tolist() == [1, 0, 1] and told.to_numpy().sum() == 2
