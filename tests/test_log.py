"""The interaction log: what is accepted comes back typed, what is not is refused with its place."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import csrec_core
from csrec_core.data.books import simulate_books
from csrec_core.data.log import (
    SOURCES,
    Dataset,
    find_files,
    frame_to_dataset,
    read_log,
    validate_log,
    write_dataset,
)
from csrec_core.data.options import ReadOptions
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


def read(path, text=""):
    return read_log(path, options=ReadOptions.parse(text))


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
        ({"t": [1, 2, 3, 2**40]}, ["row 4", "t = 1099511627776", "a whole number within 32 bits"]),
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
    message = "missing column source; found .* --map user=customer,source=shown_by,timestamp=created_at"
    with pytest.raises(InputError, match=message):
        read(path, "user=customer")
    with pytest.raises(InputError, match="missing columns user, source"):
        read(path, "timestamp=created_at")


def test_a_message_is_short_whatever_the_file_holds(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("user,item,decision,source\n1,2," + "x" * 100_000 + ",self\n")
    for text in ("", "user=" + "y" * 100_000, "z" * 100_000 + "=user"):
        with pytest.raises(InputError) as refused:
            read(path, text)
        assert len(str(refused.value)) <= 400
    path.write_text(",".join(f"column_{n}" for n in range(2000)) + "\n" + ",".join("1" * 2000) + "\n")
    with pytest.raises(InputError) as refused:
        read(path)
    assert len(str(refused.value)) <= 400


def test_messages_call_a_column_by_its_own_name(tmp_path):
    path = tmp_path / "shop.csv"
    small_log(decision=[0, 1, 2, 1]).rename(columns={"decision": "bought"}).to_csv(path, index=False)
    with pytest.raises(InputError, match="row 3: bought = 2"):
        read(path, "decision=bought")


def test_times_sort_as_times_or_are_refused():
    mixed = ["2026-01-02T00:00", "2026-01-02", "2026-01-01T23:59:00+02:00", "2026-01-03"]
    log = validate_log(small_log(timestamp=mixed).drop(columns="t"))
    own = log[(log["user"] == 1) & (log["source"] == "self")]
    assert own["item"].to_list() == [9, 8]
    for bad in ("02/01/2026", "yesterday", "n/a?"):
        with pytest.raises(InputError, match=r"row 2: timestamp = .*a time such as 2026"):
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
    path = tmp_path / f"log{suffix}"
    {".csv": log.to_csv, ".parquet": log.to_parquet}[suffix](path, index=False)
    assert_frame_equal(read_log(path).log, log)
    assert Dataset(log).fingerprint == read_log(path).fingerprint
    assert Dataset(log).fingerprint != Dataset(log.assign(item=1)).fingerprint


def test_text_names_are_numbered_and_kept(tmp_path):
    path = tmp_path / "shop.csv"
    small_log(user=["bo", "al", "al", "al"], item=["x<b>", "y", "z", "z"]).rename(
        columns={"user": "customer", "item": "asin"}
    ).to_csv(path, index=False)
    dataset = read_log(path, options=ReadOptions.parse("user=customer, item=asin"))
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
        ReadOptions.parse(text)


def test_bad_files(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("user,t,item,decision,source\n")
    (tmp_path / "broken.csv").write_bytes(b"user,t,item,decision,source\n1,1,caf\xe9,1,s\xc3\xa9lf\n")
    (tmp_path / "no.parquet").write_text("hello")
    (tmp_path / "log.xlsx").write_bytes(b"PK\x03\x04 and more")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no end")
    (tmp_path / "zeros.csv").write_bytes(b"user,item\n1,\0\n")
    (tmp_path / "twice.csv").write_text("user,user,t,item,decision,source\n1,9,1,1,1,self\n")
    (tmp_path / "values.csv").write_text("1,2014-04-07T10:51:09.277Z,214536502,0\n")
    (tmp_path / "ragged.csv").write_text("user,item,decision,source\n1,2,0\n1,2,0,self\n")
    for name, message in {
        "empty.csv": "is empty",
        "header.csv": "no rows",
        "broken.csv": "line 2: not UTF-8",
        "no.parquet": "not a CSV table; expected columns between",
        "ragged.csv": "line 2: not a CSV table: 3 columns; expected 4",
        "absent.csv": "no such file",
        "log.xlsx": "a zip archive or an Excel file; save the table as CSV",
        "cut.parquet": "not a Parquet table",
        "zeros.csv": "zero bytes",
        "twice.csv": "two columns are named 'user'",
        "values.csv": "line 1 holds values such as '1', and no names; expected a header, .*--header",
        "n" * 256: "cannot be read: File name too long",
        "a\0b": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=message):
            read_log(tmp_path / name)
    (tmp_path / "good.csv").write_text("customer,t\n1,2\n")
    with pytest.raises(InputError, match=r"unknown column 'custmer'.*did you mean 'customer'"):
        read(tmp_path / "good.csv", "user=custmer")


def test_failed_write_leaves_nothing(tmp_path):
    log = validate_log(small_log())
    with pytest.raises(Exception, match="object"):
        write_dataset(Dataset(log.assign(bad=[object()] * 4)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_dataset_round_trip(tmp_path, books):
    again = read_log(write_dataset(books, tmp_path / "books"))
    assert again.name == "books"
    assert_frame_equal(again.log, books.log)
    assert_frame_equal(again.items, books.items)
    assert_frame_equal(again.truth, books.truth, check_categorical=False, check_dtype=False)
    assert again.users is None


def test_features_of_exposures_survive_a_write_and_a_read(tmp_path):
    log = simulate_books(users=20, publish="rows").log
    log.to_parquet(tmp_path / "log.parquet", index=False)
    log.to_csv(tmp_path / "log.csv", index=False)
    for name in ("log.parquet", "log.csv"):
        again = read_log(tmp_path / name).log
        np.testing.assert_allclose(again["feature_preference"], log["feature_preference"])


def test_a_feature_that_is_no_number_is_refused():
    log = simulate_books(users=20, publish="rows").log
    log["feature_preference"] = log["feature_preference"].astype(object)
    log.loc[3, "feature_preference"] = "much"
    with pytest.raises(InputError, match=r"row 4: feature_preference = 'much'; expected a finite number"):
        validate_log(log)


def test_a_decimal_comma_is_told_what_to_be():
    log = small_log(outcome=["0,5", "1", "2", "3"])
    with pytest.raises(InputError, match="expected a finite number; decimals stand after a point"):
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
        read(path)
    suggestion = str(refused.value).split("--map ")[1]
    assert suggestion == (
        "user=customer_id,item=asin,decision=purchased,source=channel,timestamp=event_time,"
        "self=organic+search,system=recommended"
    )
    assert read(path, suggestion).log["source"].tolist() == ["self", "self", "self", "system"]
    for log in (path, own_names()):  # in Python no option is named, and what is can be pasted as well
        with pytest.raises(InputError) as refused:
            csrec_core.effect(log)
        said = str(refused.value)
        assert said.endswith(f"Name yours with csrec_core.read(log, map={suggestion!r})") and "--" not in said
    with pytest.raises(
        InputError, match=r"\(no column says .*: map='source=...', or arms=\{'NAME'"
    ) as refused:
        csrec_core.read(small_log().drop(columns="source"))
    assert "--" not in str(refused.value)


def test_who_has_an_outcome_needs_no_decision():
    frame = small_log(spent=[0.5, 0.0, 2.25, 0.0]).drop(columns="decision")
    with pytest.raises(InputError, match=r"missing column decision \(or outcome\); found .*outcome=spent"):
        csrec_core.read(frame)
    assert csrec_core.read(frame, map={"outcome": "spent"}).log["decision"].sum() == 2


@pytest.mark.parametrize(
    ("source", "text", "arms", "rows"),
    [
        (["system"] * 4, "", ["self", "system"], 4),  # the arms of the paper, one of them empty
        (WORDS, "", ["organic", "recommended", "search"], 4),
        (WORDS, "self=organic+search,system=recommended", ["self", "system"], 4),
        (WORDS, "self=organic", ["self", "system"], 2),  # others are left out
        (WORDS, "{arms: {shop: [search, organic], ads: recommended}}", ["ads", "shop"], 4),
        ([0, 0, 0, 1], "self=0,system=1", ["self", "system"], 4),
        ([2.0, 2.0, 2.0, 1.0], "", ["1", "2"], 4),
        ([True, False, True, True], "", ["false", "true"], 4),
    ],
)
def test_arms(source, text, arms, rows):
    dataset = frame_to_dataset(small_log(source=source, t=[1, 2, 1, 3]), options=ReadOptions.parse(text))
    assert dataset.log["source"].cat.categories.tolist() == arms and len(dataset.log) == rows
    assert dataset.left_out == ({"other arms": 4 - rows} if rows < 4 else {})
    # Sorted by arm, user and t.
    assert dataset.log[["source", "user", "t"]].apply(tuple, axis=1).is_monotonic_increasing


def test_arms_that_are_none():
    with pytest.raises(InputError, match=r"unknown word 'organik' in log, source.*did you mean 'organic'"):
        frame_to_dataset(small_log(source=WORDS), options=ReadOptions.parse("self=organik"))
    with pytest.raises(InputError, match=r"missing column source; .*or --arms NAME if one arm made all"):
        validate_log(small_log().drop(columns="source"))
    one = frame_to_dataset(
        small_log(t=[1, 2, 1, 3]).drop(columns="source"), options=ReadOptions(arms={"app": ("app",)})
    )
    assert one.log["source"].eq("app").all()
    many = pd.DataFrame({"user": range(60), "item": 1, "decision": 0, "source": [f"w{n}" for n in range(60)]})
    with pytest.raises(
        InputError, match="'source' holds 60 words or more, such as 'w0'; expected at most 50 arms"
    ):
        validate_log(many)


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["01", "1", "2"], ["01", "1", "2"]),
        (["1e3", "1000", "5"], ["1000", "1e3", "5"]),
        (["12e5", "1200000", "+3"], ["+3", "1200000", "12e5"]),
        (["9007199254740993", "9007199254740992", "1"], None),  # 2^53 and its neighbour
        (
            ["18446744073709551615", "18446744073709551614", "7"],
            ["18446744073709551614", "18446744073709551615", "7"],
        ),
        (["NA", "null", "nan"], ["NA", "nan", "null"]),
        (["-5", "0", "9223372036854775807"], None),
        (["-0", "0", "1"], ["-0", "0", "1"]),
    ],
)
def test_ids_are_text_until_all_are_proved_numbers(tmp_path, ids, labels):
    frame = pd.DataFrame({"user": ids, "item": ids, "decision": [0, 1, 0], "source": "self"})
    path = tmp_path / "ids.csv"
    frame.to_csv(path, index=False)
    for dataset in (read(path), frame_to_dataset(frame)):
        log = dataset.log
        assert log["user"].nunique() == log["item"].nunique() == 3
        if labels is None:
            assert log["user"].tolist() == sorted(map(int, ids)) and dataset.users is None
        else:
            assert dataset.users["label"].tolist() == dataset.items["title"].tolist() == labels
            assert dataset.users["user"].tolist() == [1, 2, 3]


def test_ids_of_frames_keep_their_type():
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "decision": [0, 1], "source": "self"})
    large = frame.assign(user=np.array([2**64 - 1, 2**63], dtype=np.uint64))
    assert frame_to_dataset(large).users["label"].tolist() == [str(2**64 - 1), str(2**63)]
    mixed = frame_to_dataset(frame.assign(user=[1, "1a"]))
    assert mixed.users["label"].tolist() == ["1", "1a"]
    with pytest.raises(
        InputError, match=r"row 2: user = 9007199254740994.0; expected a whole number or text"
    ):
        validate_log(frame.assign(user=[1.0, 2.0**53 + 2]))
    with pytest.raises(
        InputError, match="column 'item' holds lists; expected a whole number or text; --explode item"
    ):
        validate_log(frame.assign(item=[[1], [2]]))
    with pytest.raises(InputError, match="column 'user' holds values of a nested or binary type"):
        validate_log(frame.assign(user=[b"a", b"b"]))


def test_new_columns_are_kept_with_their_types():
    frame = small_log(
        arm_propensity=[0.5, 0.5, 0.25, 1],
        outcome=[0.0, 3.5, -1.0, 2.0],
        position=[0, 1, 2, 3],
        propensity=1e-7,
    ).drop(columns="decision")
    log = validate_log(frame)
    assert log["decision"].tolist() == [0, 1, 0, 1]  # outcome > 0, by source, user and t
    assert log["position"].dtype == np.int32 and log["position"].tolist() == [3, 2, 1, 4]  # from 1
    assert log["arm_propensity"].tolist() == [0.25, 0.5, 0.5, 1.0] and log["propensity"].eq(1e-7).all()
    own = validate_log(frame.assign(decision=[1, 1, 1, 0]))
    assert own["decision"].tolist() == [1, 1, 1, 0] and own["outcome"].tolist() == [-1.0, 3.5, 0.0, 2.0]
    dates = pd.to_datetime(["2026-01-01"] * 4)
    for column in ("propensity", "arm_propensity", "outcome", "decision"):
        with pytest.raises(InputError, match=f"column '{column}' holds times; expected"):
            validate_log(small_log(**{column: dates}))
    with pytest.raises(InputError, match=r"row 2: arm_propensity = 0.0; expected a probability in \(0, 1\]"):
        validate_log(small_log(arm_propensity=[1, 0.0, 1, 1]))


def test_a_log_without_time_is_in_the_order_of_its_rows():
    frame = pd.DataFrame({"user": [3, 1, 3], "item": [1, 1, 2], "decision": [0, 1, 1], "source": "self"})
    dataset = frame_to_dataset(frame)
    assert not dataset.ordered and dataset.log["t"].tolist() == [0, 0, 1]
    assert dataset.log["item"].tolist() == [1, 1, 2]
    assert frame_to_dataset(frame.assign(timestamp=[1, 2, 3])).ordered
    absent = frame_to_dataset(frame[["decision", "source"]], options=ReadOptions.parse("user=*,item=*"))
    assert absent.log["user"].tolist() == [1, 2, 3] and absent.log["item"].eq(1).all()


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["2026-01-02 10:00:00+01:00", "2026-01-02T08:30:00Z", "2026-01-03"], "2026-01-02 08:30"),
        (["04/17/2026 09:22:00 PM", "04/17/2026 09:21:00 AM", "04/18/2026 01:00:00 AM"], "2026-04-17 09:21"),
        (["17.04.2026 21:22", "17.04.2026 09:21", "18.04.2026 01:00"], "2026-04-17 09:21"),
        (["Fri, 17 Apr 2026 21:22:00 +0200", "Fri, 17 Apr 2026 09:21:00 -0100", 
          "Sat, 18 Apr 2026 01:00:00 +0000"],
         "2026-04-17 10:21"),
        (["2026-01-02 10:00 Europe/Berlin", "2026-01-02 09:30Z", "2026-01-03 01:00Z"], "2026-01-02 09:00"),
    ],
)  # fmt: skip
def test_times_of_common_forms_are_read_as_utc(times, first):
    frame = pd.DataFrame(
        {"user": 1, "item": [1, 2, 3], "decision": [0, 1, 1], "source": "self", "timestamp": times}
    )
    log = validate_log(frame)
    assert (
        log["timestamp"].iloc[0] == pd.Timestamp(first, tz="UTC") and log["timestamp"].is_monotonic_increasing
    )


def test_a_time_of_two_readings_is_asked_for():
    frame = pd.DataFrame(
        {
            "user": 1,
            "item": [1, 2],
            "decision": [0, 1],
            "source": "self",
            "timestamp": ["02/01/2026", "01/03/2026"],
        }
    )
    with pytest.raises(InputError, match="can be read as %m/%d/%Y or %d/%m/%Y; say which by --time"):
        validate_log(frame)
    log = frame_to_dataset(frame, options=ReadOptions(time="%d/%m/%Y")).log
    assert log["timestamp"].iloc[0] == pd.Timestamp("2026-01-02", tz="UTC")


def test_whole_clocks_pass_through_no_float():
    frame = small_log(timestamp=np.array([10, 11, 12, 13]) + 2**60).drop(columns="t")
    log = validate_log(frame)
    assert log["timestamp"].dtype == np.int64 and log["timestamp"].max() == 2**60 + 13
    text = validate_log(frame.assign(timestamp=frame["timestamp"].astype(str)))
    assert text["timestamp"].tolist() == log["timestamp"].tolist()
    nanoseconds = pd.to_datetime(np.array([5, 7, 6, 8]) + 2**60)
    assert validate_log(frame.assign(timestamp=nanoseconds))["timestamp"].dtype == "datetime64[ns, UTC]"
    holes = validate_log(small_log(timestamp=[None, "2026-01-02", "2026-01-01", "2026-01-03"]))
    assert holes["timestamp"].isna().sum() == 1 and holes["timestamp"].max() == pd.Timestamp(
        "2026-01-03", tz="UTC"
    )


@pytest.mark.parametrize(
    ("names", "files", "called"),
    [
        (["log.csv", "items.csv"], ["log.csv"], "d"),
        (["log.yaml", "log.parquet"], ["log.parquet"], "d"),
        (["log/b.parquet", "log/a.parquet", "log/_c.parquet", "log/.d.parquet", "log.csv", "log.parquet"],
         ["log/a.parquet", "log/b.parquet"], "d"),
        (["x/b.parquet", "a.parquet", "items.parquet", "users.parquet", "truth.parquet", "_x.parquet"],
         ["a.parquet", "x/b.parquet"], "d"),
    ],
)  # fmt: skip
def test_which_files_of_a_folder_are_the_log(tmp_path, names, files, called):
    for name in names:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).touch()
    found, name = find_files(tmp_path / "d")
    assert ([str(file.relative_to(tmp_path / "d")) for file in found], name) == (files, called)


def test_a_file_is_named_up_to_its_first_dot_and_two_logs_are_one_too_many(tmp_path):
    assert find_files(tmp_path / "my.log.csv.gz") == ([tmp_path / "my.log.csv.gz"], "my")
    assert find_files(tmp_path / ".csv")[1] == ".csv"
    for name in ("log.csv", "log.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"log\.csv and log\.parquet; expected one log"):
        find_files(tmp_path)
    for name in ("log.csv", "log.parquet"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="no log here"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("again", "more"), [([1, 1], ""), ([1, 1, 1], " and 1 more"), ([1, 2, 2, 1], " and 1 more")]
)
def test_rows_that_are_there_twice_are_counted(again, more):
    table = pd.DataFrame(
        {"user": ["bo"] * len(again), "t": again, "item": 7, "decision": 1, "source": "self"}
    )
    with pytest.raises(InputError) as caught:
        validate_log(table)
    row = {"": 2, " and 1 more": 2 if len(again) == 3 else 3}[more]
    t = 1 if len(again) < 4 else 2
    assert (
        f"row {row}{more}: a second row for (user, t, source) = ('bo', {t}, 'self'); expected one for each"
        in str(caught.value)
    )
    assert "--distinct keeps the first" in str(caught.value)


def test_positions_count_from_one_and_t_within_user_and_arm():
    table = pd.DataFrame({
        "user": [2, 1, 1, 1, 2], "item": 7, "decision": 1, "source": ["b", "a", "b", "b", "b"],
        "position": [0, 1, 2, 3, np.nan],
    })  # fmt: skip
    log = validate_log(table)
    assert log["t"].tolist() == [0, 0, 1, 0, 1]
    assert log["user"].tolist() == [1, 1, 1, 2, 2]
    assert log["position"].tolist()[:4] == [2, 3, 4, 1]
    assert validate_log(table.assign(position=[1, 1, 2, 3, 4]))["position"].tolist() == [1, 2, 3, 1, 4]


def test_a_side_table_has_a_row_for_all_of_the_log(tmp_path):
    validate_log(small_log()).to_csv(tmp_path / "log.csv", index=False)

    def items(ids):
        pd.DataFrame({"item": ids, "price": 1}).to_csv(tmp_path / "items.csv", index=False)
        return read(tmp_path).items

    assert items([9, 8, 7, 6])["item"].tolist() == [9, 8, 7, 6]
    with pytest.raises(InputError, match=r"knows no item 8 of the log's 3.*; expected a row for each item"):
        items([9, 7, 80])
    with pytest.raises(InputError, match="knows no item 7, 8, 9 of the log's 3"):
        items([1])
    with pytest.raises(InputError, match="row 2: no value in column 'item'"):
        items([9, None, 7])
    (tmp_path / "items.csv").write_text("thing,price\n7,1\n")
    with pytest.raises(InputError, match="no column 'item'; found"):
        read(tmp_path)
    for empty in ("item,price\n", "item,title\n"):
        (tmp_path / "items.csv").write_text(empty)
        with pytest.raises(InputError, match="knows no item 7, 8, 9 of the log's 3"):
            read(tmp_path)
    many = small_log().loc[[0] * 5].assign(item=range(5), t=range(5))
    validate_log(many).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(InputError, match="knows no item 0, 1, 2 and 1 more of the log's 5"):
        items([4])


def test_a_side_table_of_named_items_keeps_the_logs_codes(tmp_path):
    small_log(item=["pear", "fig", "kiwi", "kiwi"]).to_csv(tmp_path / "log.csv", index=False)
    pd.DataFrame({"item": ["kiwi", "apple", "pear", "fig"], "price": [1, 2, 3, 4]}).to_csv(
        tmp_path / "items.csv", index=False
    )
    found = read(tmp_path)
    assert found.names("item").to_dict() == {2: "kiwi", 4: "apple", 3: "pear", 1: "fig"}
    assert found.items["price"].tolist() == [1, 2, 3, 4]
    assert list(found.items.columns) == ["item", "title", "price"]
    assert found.names("user") is None


def side_table(folder, text, **changes):
    """Return what is read of a log of the items 7, 8 and 9, with this text as its table of items."""
    small_log(**changes).to_csv(folder / "log.csv", index=False)
    (folder / "items.csv").write_text(text)
    return read(folder)


def test_a_side_table_is_read_as_the_columns_of_a_log_are(tmp_path):
    text = 'item,title,genre,price,new,tags,empty\n7,01,1,1.5,true,a,\n8,2,2,n/a,False,"1,5",\n9,,1,-2,,b,\n'
    items = side_table(tmp_path, text).items
    assert items["item"].tolist() == [7, 8, 9]
    assert items["title"].tolist()[:2] == ["01", "2"] and items["genre"].tolist() == ["1", "2", "1"]
    np.testing.assert_array_equal(items["price"], [1.5, np.nan, -2])
    np.testing.assert_array_equal(items["new"], [1, 0, np.nan])
    assert items["tags"].tolist() == ["a", "1,5", "b"] and items["empty"].isna().all()
    with pytest.raises(InputError, match=r"items.csv: row 2: price = 1,5; .*decimals stand after a point"):
        side_table(tmp_path, 'item,price\n7,2\n8,"1,5"\n9,\n')
    with pytest.raises(
        InputError, match=r"items.csv: row 3 and 1 more: price = 'inf'; expected a finite number"
    ):
        side_table(tmp_path, "item,price\n7,2\n8,3\n9,inf\n10,-inf\n")


def test_an_id_with_zeros_before_it_is_no_number_of_the_log(tmp_path):
    expected = "expected a whole number such as the log's 9"
    with pytest.raises(InputError, match=f"items.csv: row 2: item = 0008; {expected}"):
        side_table(tmp_path, "item,price\n7,1\n0008,1\n9,1\n")
    found = side_table(tmp_path, "item,price\n07,1\n8,2\n7,3\n9,4\n", item=["07", "8", "9", "9"])
    assert found.names("item").to_dict() == {1: "07", 2: "8", 4: "7", 3: "9"}
    assert found.items.set_index("item")["price"].to_dict() == {1: 1, 2: 2, 4: 3, 3: 4}


def test_an_item_listed_twice_says_the_same_or_is_refused(tmp_path):
    found = side_table(tmp_path, "item,price,name\n7,1,\n8,2,b\n7,1,\n9,3,c\n7,1,\n")
    assert found.items["item"].tolist() == [7, 8, 9] and found.left_out == {"items.csv: repeats": 2}
    with pytest.raises(InputError, match=r"items.csv: row 4: another price of item '8' than in a row before"):
        side_table(tmp_path, "item,price\n7,1\n8,2\n9,3\n8,4\n")
    with pytest.raises(
        InputError, match="log: users: row 3: a second row for user 1; expected one row for each"
    ):
        Dataset(validate_log(small_log()), users=pd.DataFrame({"user": [1, 2, 1]}))
    with pytest.raises(InputError, match="log: items: no column 'item'; found price"):
        Dataset(validate_log(small_log()), items=pd.DataFrame({"price": [1]}))
