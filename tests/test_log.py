"""The interaction log: what is accepted comes back typed, what is not is refused with its place."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from csrec_core.data.books import simulate_books
from csrec_core.data.log import (
    SOURCES,
    Dataset,
    parse_map,
    read_dataset,
    read_log,
    validate_log,
    write_dataset,
    write_log,
)
from csrec_core.errors import InputError


def small_log(**changes) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user": [2, 1, 1, 1],
            "t": [1, 2, 1, 1],
            "item": [7, 8, 9, 9],
            "decision": [1, 0, 1, 1],
            "source": ["self", "self", "self", "system"],
        }
    )
    return frame.assign(**changes)


def test_validation_sorts_and_types():
    expected = pd.DataFrame(
        {
            "user": np.array([1, 1, 2, 1], dtype=np.int64),
            "t": np.array([1, 2, 1, 1], dtype=np.int32),
            "item": np.array([9, 8, 7, 9], dtype=np.int64),
            "decision": np.array([1, 0, 1, 1], dtype=np.int8),
            "source": pd.Categorical(["self", "self", "self", "system"], categories=SOURCES),
        }
    )
    assert_frame_equal(validate_log(small_log(other="dropped")), expected)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"decision": [1, 2, 1, 0]}, ["row 2", "decision = 2", "0 (rejected) or 1 (accepted)"]),
        ({"decision": [1, 0, None, 1]}, ["row 3", "no value in column 'decision'"]),
        ({"decision": ["1", "no", "1", "1"]}, ["row 2", "'no'"]),
        ({"item": [7, 8, np.nan, 9]}, ["row 3", "no value in column 'item'"]),
        ({"item": [7, 8.5, 9, 9]}, ["row 2", "8.5", "whole number"]),
        ({"t": [1, 2, 3, 2**40]}, ["row 4", "at most"]),
        ({"t": [1, 1, 1, 1]}, ["row 3", "second row for (user, t, source) = (1, 1, 'self')"]),
        ({"source": ["self", "self", "sytem", "self"]}, ["row 3", "'sytem'", "did you mean 'system'"]),
        ({"propensity": [0.1, 0.0, 1, 1]}, ["row 2", "(0, 1]"]),
        ({"propensity": [0.1, 0.2, 1.5, 1]}, ["row 3", "(0, 1]"]),
        ({"probability": [0.0, -0.1, 1, 1]}, ["row 2", "[0, 1]"]),
    ],
)
def test_bad_values_are_refused_with_their_place(changes, parts):
    with pytest.raises(InputError) as error:
        validate_log(small_log(**changes), where="shop.csv")
    for part in ["shop.csv", *parts]:
        assert part in str(error.value)


def test_several_bad_rows_are_counted():
    with pytest.raises(InputError, match="row 1 and 2 more"):
        validate_log(small_log(decision=[3, 3, 1, 3]))


def test_missing_column_names_the_nearest():
    with pytest.raises(InputError, match=r"missing column user; .*--map user=user_id"):
        validate_log(small_log().rename(columns={"user": "user_id"}))
    with pytest.raises(InputError, match="no rows"):
        validate_log(small_log().iloc[:0])


def test_suggestions_keep_what_is_known_and_see_times(tmp_path):
    path = tmp_path / "shop.csv"
    frame = small_log().rename(columns={"user": "customer", "source": "shown_by"}).drop(columns="t")
    frame.assign(created_at="2026-01-01").to_csv(path, index=False)
    message = "missing columns t, source; found .* --map user=customer,timestamp=created_at,source=shown_by"
    with pytest.raises(InputError, match=message):
        read_log(path, columns={"user": "customer"})
    with pytest.raises(InputError, match="missing columns user, source"):
        read_log(path, columns={"timestamp": "created_at"})


def test_messages_call_a_column_by_its_own_name(tmp_path):
    path = tmp_path / "shop.csv"
    small_log(decision=[0, 1, 2, 1]).rename(columns={"decision": "bought"}).to_csv(path, index=False)
    with pytest.raises(InputError, match="row 3: bought = 2"):
        read_log(path, columns={"decision": "bought"})


def test_times_sort_as_times_or_are_refused():
    mixed = ["2026-01-02T00:00", "2026-01-02", "2026-01-01T23:59:00+02:00", "2026-01-03"]
    log = validate_log(small_log(timestamp=mixed).drop(columns="t"))
    own = log[(log["user"] == 1) & (log["source"] == "self")]
    assert own["item"].to_list() == [9, 8]
    for bad in ("02/01/2026", "yesterday", "n/a?"):
        with pytest.raises(InputError, match=r"row 2: timestamp = '.*ISO 8601"):
            validate_log(small_log(timestamp=["2026-01-02", bad, "2026-01-01", "2026-01-03"]))


def test_order_is_derived_from_timestamps():
    log = validate_log(small_log(timestamp=[10, 20, 5, 1]).drop(columns="t"))
    own = log[(log["user"] == 1) & (log["source"] == "self")]
    assert own["item"].to_list() == [9, 8]
    assert own["t"].to_list() == [0, 1]
    with pytest.raises(InputError, match="no value in column 'timestamp'"):
        validate_log(small_log(timestamp=[10, None, 5, 1]).drop(columns="t"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_round_trip(tmp_path, suffix):
    log = validate_log(small_log(propensity=[0.5, 0.25, 1.0, 0.125]))
    path = write_log(log, tmp_path / f"log{suffix}")
    assert_frame_equal(read_log(path).log, log)
    assert Dataset(log).fingerprint == read_log(path).fingerprint
    assert Dataset(log).fingerprint != Dataset(log.assign(item=1)).fingerprint


def test_text_names_are_numbered_and_kept(tmp_path):
    path = tmp_path / "shop.csv"
    small_log(user=["bo", "al", "al", "al"], item=["x<b>", "y", "z", "z"]).rename(
        columns={"user": "customer", "item": "asin"}
    ).to_csv(path, index=False)
    dataset = read_log(path, columns=parse_map("user=customer, item=asin"))
    assert dataset.users.to_dict("list") == {"user": [1, 2], "label": ["al", "bo"]}
    assert dataset.items["title"].to_list() == ["x<b>", "y", "z"]
    assert dataset.log["user"].to_list() == [1, 1, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user", "'user' is no pair"),
        ("usr=a", "unknown log column 'usr'.*did you mean 'user'"),
        ("user=a,user=b", "given twice"),
        ("user=a,item=a", "your column 'a' stands for two"),
    ],
)
def test_bad_map(text, message):
    with pytest.raises(InputError, match=message):
        parse_map(text)


def test_bad_files(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("user,t,item,decision,source\n")
    (tmp_path / "latin.csv").write_bytes(
        "user,t,item,decision,source\n1,1,caf\xe9,1,self\n".encode("latin-1")
    )
    (tmp_path / "no.parquet").write_text("hello")
    (tmp_path / "ragged.csv").write_text("user,t\n1,2,3,4\n1\n1,2,3,4,5,6\n")
    for name, message in {
        "empty.csv": "is empty",
        "header.csv": "no rows",
        "latin.csv": "line 2: not UTF-8",
        "no.parquet": "not a Parquet table",
        "ragged.csv": "not a CSV table",
        "absent.csv": "no such file",
        "log.xlsx": "ends in .parquet or .csv",
    }.items():
        with pytest.raises(InputError, match=message):
            read_log(tmp_path / name)
    (tmp_path / "good.csv").write_text("customer,t\n1,2\n")
    with pytest.raises(InputError, match=r"unknown column 'custmer'.*did you mean 'customer'"):
        read_log(tmp_path / "good.csv", columns={"user": "custmer"})


def test_failed_write_leaves_nothing(tmp_path):
    log = validate_log(small_log())
    with pytest.raises(Exception, match="object"):
        write_log(log.assign(bad=[object()] * 4), tmp_path / "log.parquet")
    assert list(tmp_path.iterdir()) == []


def test_dataset_round_trip(tmp_path, books):
    again = read_dataset(write_dataset(books, tmp_path / "data"), name="books")
    assert_frame_equal(again.log, books.log)
    assert_frame_equal(again.items, books.items)
    assert_frame_equal(again.truth, books.truth, check_categorical=False, check_dtype=False)
    assert again.users is None


def test_features_of_exposures_survive_a_write_and_a_read(tmp_path):
    log = simulate_books(users=20, publish="rows").log
    for name in ("log.parquet", "log.csv"):
        again = read_log(write_log(log, tmp_path / name)).log
        np.testing.assert_allclose(again["feature_taste"], log["feature_taste"])


def test_a_feature_that_is_no_number_is_refused():
    log = simulate_books(users=20, publish="rows").log
    log["feature_taste"] = log["feature_taste"].astype(object)
    log.loc[3, "feature_taste"] = "much"
    with pytest.raises(InputError, match=r"row 4: feature_taste = 'much'; expected a finite number"):
        validate_log(log)


WORDS = ["organic", "organic", "search", "recommended"]


def own_names() -> pd.DataFrame:
    """The small log as a shop may keep it."""
    frame = small_log(source=WORDS).rename(
        columns={"user": "customer_id", "item": "asin", "source": "channel"}
    )
    return frame.rename(columns={"decision": "purchased", "t": "event_time"})


def test_what_is_missing_is_suggested_so_that_it_can_be_pasted(tmp_path):
    path = tmp_path / "shop.csv"
    own_names().to_csv(path, index=False)
    with pytest.raises(InputError, match="Name yours with --map ") as refused:
        read_log(path)
    suggestion = str(refused.value).split("--map ")[1]
    assert suggestion == (
        "user=customer_id,timestamp=event_time,item=asin,decision=purchased,source=channel,"
        "self=organic+search,system=recommended"
    )
    log = read_log(path, columns=parse_map(suggestion)).log
    assert log["source"].tolist() == ["self", "self", "self", "system"]


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({}, "", r"'organic'; name the words with --map self=organic\+search,system=recommended; expected"),
        ({}, "self=organic", r"row 3 .*'search'; name the words with --map self=search,system=recommended"),
        ({}, "self=organik", "unknown word 'organik' in .*did you mean 'organic'"),
        ({"source": [0, 0, 0, 1]}, "", "0; name the words with --map self=0,system=1"),
        ({"source": ["x", "x", "y", "z"]}, "", "name the words with --map self=...,system=..."),
    ],
)
def test_words_that_are_no_sources(tmp_path, changes, text, message):
    path = tmp_path / "log.csv"
    small_log(**({"source": WORDS} | changes)).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        read_log(path, columns=parse_map(text))
