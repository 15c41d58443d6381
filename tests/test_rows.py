"""The rows of a log in the order in which they were lived, what stands beside it, and its clock."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.items import number_columns
from csrec_core.data.log import Dataset
from csrec_core.data.options import ReadOptions
from csrec_core.data.parted import PartedLog
from csrec_core.effect.design import Design
from csrec_core.effect.rows import POSITION, Clock, beside, covariates, find_clock, lay_rows, table_moments

LOG = pd.DataFrame(
    {
        "user": [2, 1, 1, 1, 2, 1],
        "t": [1, 2, 1, 1, 1, 3],
        "item": [7, 8, 7, 9, 8, 7],
        "decision": np.array([1, 0, 1, 0, 0, 1], dtype=np.int8),
        "source": ["system", "system", "system", "self", "self", "other"],
    }
)
USERS = pd.DataFrame(
    {"user": [1, 3], "age": [20.0, 40.0], "flat": 5.0, "preference: x": [0.4, 0.6], "name": "a"}
)
ITEMS = pd.DataFrame(
    {"item": [9, 7, 8], "genre": ["x", "x", "y"], "price": [1.0, 3.0, np.nan], "none": np.nan}
)


def test_moments_are_of_the_numbers_that_are_there():
    expected = {
        "user: age": (30.0, 10.0),
        "user: flat": (5.0, 1.0),
        "user: preference: x": (0.5, pytest.approx(0.1)),
        "item: price": (2.0, 1.0),
        "item: none": (0.0, 1.0),
    }
    assert table_moments([("users", USERS), ("items", ITEMS)]) == expected
    one_at_a_time = [("users", USERS[[name]]) for name in USERS] + [
        ("items", ITEMS[[name]]) for name in ITEMS
    ]
    assert table_moments(one_at_a_time) == expected  # as a log in parts has them
    assert table_moments([("users", None), ("items", None)]) == {}


def test_what_is_known_beside_a_log():
    """User 2 is in no table; the preference is that for the item's genre, and nobody has one for y."""
    found = covariates(Dataset(LOG.assign(feature_age=0.5, position=3), users=USERS, items=ITEMS))
    expected = {
        "feature_age": [0.5] * 6,
        POSITION: [3] * 6,
        "preference": [0.5, 0.5, 0.4, 0.4, 0.5, 0.4],
        "user: age": [30, 20, 20, 20, 30, 20],
        "user: flat": [5] * 6,
        "item: price": [1, 0, 1, -1, 0, 1],
        "item: none": [0] * 6,
    }
    assert {name: column.tolist() for name, column in found.items() if "missing" not in name} == {
        name: pytest.approx(column) for name, column in expected.items()
    }
    missing = {name[9:]: column.tolist() for name, column in found.items() if "missing: " in name}
    assert missing == {
        "preference": [1, 1, 0, 0, 1, 0],
        "user: age": [1, 0, 0, 0, 1, 0],
        "user: flat": [1, 0, 0, 0, 1, 0],
        "item: price": [0, 1, 0, 0, 1, 0],
        "item: none": [1] * 6,
    }
    # A part of a log is told the moments of the whole tables; an exposure without a place has none.
    part = Dataset(LOG.assign(position=[1, 2, 3, 4, 5, None]), items=ITEMS[:2])
    assert covariates(part, {"item: price": (0.0, 2.0), "item: none": (0.0, 1.0)})["item: price"].tolist() == [
        1.5, 0, 1.5, 0.5, 0, 1.5,
    ]  # fmt: skip
    assert POSITION not in covariates(part)
    assert not len(covariates(Dataset(LOG)).columns)
    gap = covariates(Dataset(LOG.assign(feature_age=[1.0, np.nan, 2, 3, 4, 5])))
    assert gap["feature_age"].tolist() == [1, 0, 2, 3, 4, 5]
    assert gap["missing: feature_age"].tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("columns", "places", "time"),
    [
        # Without a clock the baseline's rows come first, and the others by t.
        ({}, [3, 2, 1, 5, 4, 0], [np.nan] * 6),
        ({"timestamp": [3.0, 4, 5, 6, 7, 1]}, [5, 1, 2, 3, 0, 4], [1, 4, 5, 6, 3, 7]),
        ({"t": [1, 2, 1, 4, 2, 3]}, [2, 1, 5, 3, 0, 4], [1, 2, 3, 4, 1, 2]),
        # A clock that some rows lack, or that goes back from one t of an arm to the next, tells nothing.
        (
            {"t": [1, 2, 1, 4, 2, 3], "timestamp": [9.0, 8, 7, np.nan, 5, 4]},
            [2, 1, 5, 3, 0, 4],
            [1, 2, 3, 4, 1, 2],
        ),
        (
            {"t": [1, 2, 3, 4, 2, 5], "timestamp": [9.0, 8, 7, 6, 5, 4]},
            [1, 2, 3, 5, 0, 4],
            [2, 3, 4, 5, 1, 2],
        ),
        (
            {"timestamp": pd.to_datetime([3, 4, 5, 6, 7, 1], unit="s").as_unit("ns")},
            [5, 1, 2, 3, 0, 4],
            [1, 4, 5, 6, 3, 7],
        ),
    ],
)
def test_rows_lie_by_user_in_the_order_in_which_they_were_lived(columns, places, time):
    rows = lay_rows(Dataset(LOG.assign(**columns)), Design())
    assert rows["place"].tolist() == places
    np.testing.assert_array_equal(rows["time"], time)
    assert rows.columns[0] == "place" and rows.index.tolist() == list(range(6))
    for name in ("user", "item", "decision"):
        assert rows[name].tolist() == LOG[name].iloc[places].tolist()
    assert rows["arm"].tolist() == [
        {"self": 0, "system": 1, "other": -1}[LOG["source"][one]] for one in places
    ]


def test_truth_values_are_numbers(tmp_path):
    users = pd.DataFrame(
        {"user": [1, 2], "paying": [True, False], "asked": [None, True], "flag": ["a", None]}
    )
    found = covariates(Dataset(LOG, users=users, items=ITEMS[["item"]].assign(new=[True, False, True])))
    assert found["user: paying"].tolist() == [0, 1, 1, 1, 0, 1]
    assert found["user: asked"].tolist() == [1] * 6 and found["missing: user: asked"].tolist() == [
        0,
        1,
        1,
        1,
        0,
        1,
    ]
    new = np.array([0, 1, 0, 1, 1, 0])  # of mean 2/3 over the table
    assert found["item: new"].tolist() == pytest.approx((new - 2 / 3) / np.sqrt(2 / 9), rel=1e-6)
    assert not any("flag" in name for name in found)
    paying = users[["user", "paying"]].rename(columns={"user": "item"})
    assert number_columns(paying, np.array([1, 2]))["paying"].tolist() == [1, -1]
    users.to_parquet(tmp_path / "users.parquet")
    parted = PartedLog(tmp_path, (), ReadOptions())
    assert table_moments(parted.columns()) == {"user: paying": (0.5, 0.5), "user: asked": (1.0, 1.0)}


def test_a_row_has_its_genre_chances_and_what_stands_beside_it():
    log = LOG.assign(outcome=np.arange(6.0), propensity=0.1, feature_age=2.0, position=1)
    rows = lay_rows(Dataset(log, items=ITEMS[["item", "genre"]]), Design())
    assert rows["genre"].tolist() == [0, 0, 1, 0, 1, 0] and rows["decision"].tolist() == [3, 2, 1, 5, 4, 0]
    assert rows["propensity"].eq(0.1).all() and rows["arm_propensity"].isna().all()
    assert beside(rows) == ["feature_age", POSITION]
    # What an arm does with its lists is part of it.
    assert beside(lay_rows(Dataset(log), Design(estimand="arm"))) == ["feature_age"]
    # Without genres an item is its own; one that is in no table has that of none.
    assert lay_rows(Dataset(LOG), Design())["genre"].tolist() == [2, 0, 1, 0, 1, 0]
    odd = lay_rows(Dataset(LOG, items=ITEMS[["item", "genre"]][:2]), Design())["genre"]
    assert odd.tolist() == [0, 0, 1, 0, 1, 0]
    one = lay_rows(Dataset(LOG[:1]), Design())
    assert one["time"].isna().all()  # a user with a single row tells no order


def timed(arms: list[list[int]], times: list[list[float]] | None = None) -> pd.DataFrame:
    user = np.repeat(np.arange(len(arms)), [len(own) for own in arms])
    time = np.concatenate(times) if times else np.full(len(user), np.nan)
    return pd.DataFrame({"user": user, "arm": np.concatenate(arms), "time": time})


@pytest.mark.parametrize(
    ("rows", "clock"),
    [
        (timed([[0, 0], [1, 1]]), Clock(("step",), True)),
        (timed([[0], [1]]), Clock((), True)),
        (timed([[0, -1], [1, -1]], [[1, 2], [3, 4]]), Clock(("time",), True)),
        (timed([[0, 0], [1]], [[1, 1.5], [1]]), Clock(("step", "time"), True)),
        (timed([[0, 1], [0]]), Clock((), False)),
        (timed([[0, 1], [0]], [[4, 4], [4]]), Clock((), False)),
        # The arm's rows are inside the baseline's times by half, or by more.
        (timed([[0, 1, 0, 1]], [[1, 2, 3, 4]]), Clock((), False)),
        (timed([[0, 1, 1, 0, 1]], [[1, 2, 2, 3, 4]]), Clock(("seen", "time"), False)),
    ],
)
def test_a_clock_is_shared_where_the_arms_alternate(rows, clock):
    assert find_clock(rows) == clock
    assert clock.phased == (clock == Clock((), False))


def test_the_baselines_times_go_from_their_first_to_their_last_percentile():
    """Of 0 to 1000 from 10 to 990: of the arm's rows at 9, 10 and 990 two are inside, of those at 991 none."""
    base, times = [0] * 1001, list(range(1001))
    for own, shared in (([9, 10, 990], True), ([9, 10, 991], False), ([9, 990, 991], False)):
        rows = timed([[*base, 1, 1, 1]], [[*times, *own]])
        assert bool(find_clock(rows).columns) == shared


def test_parts_of_a_log_lie_as_the_whole_says():
    assert lay_rows(Dataset(LOG), Design(), order="t")["time"].tolist() == [1, 1, 2, 3, 1, 1]
    moments = {"user: age": (7.0, 1.0), "user: flat": (0.0, 1.0), "user: preference: x": (0.0, 1.0)}
    rows = lay_rows(replace(Dataset(LOG), users=USERS), Design(), moments=moments)
    assert rows["user: age"].tolist() == [20, 20, 20, 20, 7, 7] and "preference" not in rows
