"""What `csrec data check` guesses, finds and proposes."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
from csrec_core.data.books import simulate_books
from csrec_core.data.check import check_data, find_faults, find_kind, what_it_lacks
from csrec_core.data.guess import guess_options
from csrec_core.data.log import frame_to_dataset, read_log
from csrec_core.data.options import read_options
from csrec_core.data.tables import open_frame
from csrec_core.errors import InputError

RANDOM = np.random.default_rng(1)
N = 300
MS = 1_650_984_453_567


def guess(**columns):
    with open_frame(pd.DataFrame(columns)) as table:
        return guess_options(table)[0]


def drawn(*values):
    return RANDOM.choice(values, N)


def test_values_go_before_names():
    """Of KuaiRand's columns `is_hate` is no item and no decision, and `date` no clock beside `time_ms`."""
    options = guess(
        user_id=RANDOM.integers(0, 50, N),
        video_id=RANDOM.integers(0, 90, N),
        date=drawn(20220422, 20220423),
        hourmin=RANDOM.integers(0, 2359, N),
        time_ms=MS + RANDOM.integers(0, 10**9, N),
        is_click=drawn(0, 1),
        is_like=drawn(0, 0, 0, 1),
        is_hate=drawn(0, 0, 0, 1),
        is_rand=drawn(0, 1),
        tab=RANDOM.integers(0, 15, N),
    )
    assert options.map == {
        "user": "user_id",
        "item": "video_id",
        "decision": "is_click",
        "source": "is_rand",
        "timestamp": "time_ms",
    }
    assert options.arms == {"rand": ("1",), "not_rand": ("0",)}


def test_users_within_a_nested_column_are_said_not_to_be_read():
    frame = pd.DataFrame(
        {"sku": drawn("a", "b", "c"), "channel": drawn("organic", "ranker"), "clicked": drawn(0, 1)}
    )
    for nested in ({}, {"meta": [{"user_id": f"u{n // 3}"} for n in range(N)]}):
        with open_frame(frame.assign(**nested)) as table:
            options, reasons = guess_options(table)
        assert options.map["user"] == "*"
        rest = "; not read, as nested or binary: meta" if nested else ""
        assert reasons["user"] == f"no such column: each row is a user{rest}"


BASE = {
    "customer": RANDOM.choice([f"u{n}" for n in range(20)], N),
    "sku": RANDOM.choice([f"B{n}" for n in range(30)], N),
    "seen_at": pd.date_range("2026-01-01", periods=N, freq="h").astype(str),
    "channel": drawn("organic", "search", "recommended"),
    "clicked": drawn(0, 1),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            {"accept": "", "where": "", "arms": {"self": ("organic", "search"), "system": ("recommended",)}},
        ),
        ({"clicked": drawn("yes", "no")}, {"accept": "yes"}),
        ({"clicked": drawn("impression", "click", "purchase")}, {"accept": "click+purchase"}),
        ({"clicked": RANDOM.integers(1, 6, N)}, {"accept": "clicked >= 4"}),
        ({"clicked": [None, *drawn(0.0, 1.0)[1:]]}, {"where": "clicked is not null"}),
        ({"customer": ["", *BASE["customer"][1:]]}, {"where": "customer <> ''"}),
        ({"propensity": [0, *drawn(0.1, 0.2)[1:]]}, {"where": "propensity > 0"}),
        ({"channel": drawn("control", "model_a", "model_b")}, {"arms": {}}),
        ({"feature_country": drawn("FR", "DE")}, {"features": ("feature_country",)}),
        ({"sku": drawn("a1 a2", "a3 a4"), "clicked": drawn("0 1", "1 0")}, {"explode": ("sku", "clicked")}),
    ],
)
def test_the_guess_says_what_rows_mean(changes, expected):
    options = guess(**BASE | changes)
    assert {name: getattr(options, name) for name in expected} == expected
    frame_to_dataset(pd.DataFrame(BASE | changes), options=options)


def test_chances_of_zero_for_a_whole_arm_do_not_leave_it_out():
    """They stand for chances that are not known: the rows are the baseline."""
    chance = [0.1 if word == "recommended" else 0.0 for word in BASE["channel"]]
    log = BASE | {"propensity": chance}
    options = guess(**log)
    assert options.where == ""
    with pytest.raises(InputError, match=r"propensity = 0.*or nothing where it is not known"):
        frame_to_dataset(pd.DataFrame(log), options=options)


def test_an_experiment_without_users_and_items_is_known():
    options = guess(
        segment=drawn("Mens E-Mail", "Womens E-Mail", "No E-Mail"),
        channel=drawn("Web", "Phone"),
        visit=drawn(0, 1),
    )
    assert options.map == {"user": "*", "item": "*", "decision": "visit", "source": "segment"}


def test_faults_are_counted_by_hand():
    log = pd.DataFrame(
        {
            "user": [1, 1, 1, 2, 2, 3],
            "item": [1, 1, 2, 1, 2, 1],
            "decision": [1, 1, 0, 0, 1, 1],
            "source": ["a", "a", "a", "a", "a", "b"],
            "timestamp": [1, 1, 2, 3, 3, 4],
            "propensity": [1e-6, 1e-6, 0.5, 0.5, 0.5, None],
        }
    )
    found = {fault.what: fault.rows for fault in find_faults(frame_to_dataset(log))}
    assert found == {
        "exact repeats of another row": 1,
        "rows at one time as another of their user": 4,
        "exposures of b that are all accepted": 1,
        "propensities below 0.0001, down to 1e-06": 2,
        "exposures of b without a propensity": 1,
    }
    assert find_faults(simulate_books(users=20, items=10, steps=3)) == []
    (fault,) = find_faults(frame_to_dataset(log[["user", "item", "decision"]].assign(source=["a", "b"] * 3)))
    assert fault.what == "rows without time or order" and fault.rows == 6


def test_a_check_proposes_what_reads_the_log(tmp_path):
    path = tmp_path / "shop.csv"
    pd.DataFrame(BASE).to_csv(path, index=False)
    result = CliRunner().invoke(cli, ["data", "check", str(path), "--save", str(tmp_path / "log.yaml")])
    assert result.exit_code == 0, result.output
    assert "customer: 20 words" in result.stdout and "to go on\n  csrec effect " in result.stdout
    log = read_log(path, options=read_options(tmp_path / "log.yaml")).log
    assert log["source"].value_counts()["self"] == np.isin(BASE["channel"], ["organic", "search"]).sum()
    given = CliRunner().invoke(
        cli, ["data", "check", str(path), "--arms", "organic,search", "--where", "clicked >= 0"]
    )
    assert given.exit_code == 0 and "left out: " in given.stdout and "organic" in given.stdout


def test_a_check_proposes_the_file_of_options_where_it_reads_the_same_and_is_shorter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(BASE).to_csv("shop.csv", index=False)

    def proposed(*words):
        result = CliRunner().invoke(cli, ["data", "check", "shop.csv", *words])
        assert result.exit_code == 0, result.output
        return result.stdout.split("to go on\n  ")[1].splitlines()[0]

    long = proposed()
    assert long.startswith("csrec effect shop.csv --map user=customer,")
    assert (
        proposed("--save", "log.yaml")
        == proposed("--as", "log.yaml")
        == "csrec effect shop.csv --as log.yaml"
    )
    assert proposed("--save", f"{'long' * 50}.yaml") == long
    more = proposed("--as", "log.yaml", "--where", "clicked >= 0")  # not what the file says
    assert more.startswith("csrec effect shop.csv --map user=customer,") and "--where" in more


def test_kinds_of_data(tmp_path):
    assert find_kind(tmp_path) == "log"
    (tmp_path / "log.txt").write_text("user,item\n")
    (tmp_path / "sequences.txt").write_text("1 2 3\n")
    assert find_kind(tmp_path / "log.txt") == "log" and find_kind(tmp_path / "sequences.txt") == "sequences"
    (tmp_path / "observation.txt").touch()
    assert find_kind(tmp_path) == "gpt4books"
    with pytest.raises(InputError, match="cannot be read"):
        find_kind(tmp_path / ("n" * 300 + ".txt"))


#: Of each file of the reference data: users, and what else is to be seen.
FORMATS = {
    "leading_zeros.csv": (31, ""),
    "ids_like_floats.csv": (34, ""),
    "anon.csv": (15, "left out: 5 rows"),
    "uint64.csv": (15, ""),
    "zerop.csv": (15, "left out: 1 rows"),
    "tinyp.csv": (15, "164 propensities below 0.0001"),
    "stars.csv": (15, "clicked >= 4"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_shapes_that_people_have(real_data, name):
    checked = check_data(real_data / "formats" / name)
    users, said = FORMATS[name]
    assert checked.profile.facts["users"] == users and said in str(checked)


@pytest.mark.parametrize("name", ["users-leading-zeros.csv", "users-like-floats.csv", "user-named-NA.csv"])
def test_ids_that_were_merged(real_data, name):
    text = pd.read_csv(real_data / "faults" / name, dtype=str, keep_default_na=False)
    assert read_log(real_data / "faults" / name).log["user"].nunique() == text["user"].nunique() == 3


def test_what_a_log_lacks_is_left_out_of_its_report():
    """One arm has no effect; two arms of one's own have one, and no f~ that was trained on what users chose."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user": np.arange(40) % 8, "item": np.arange(40) % 5, "t": np.arange(40)})
    log["decision"], log["source"] = rng.integers(0, 2, 40), np.where(np.arange(40) % 2, "bts", "random")
    assert set(what_it_lacks(frame_to_dataset(log))) == {"03_train", "05_reproduction", "07_table_2"}
    alone = what_it_lacks(frame_to_dataset(log.assign(source="system")))
    assert alone["04_treatment_effect"] == alone["06_policy"] == "a second arm beside system"
    both = frame_to_dataset(log.replace({"bts": "self", "random": "system"}))
    assert set(what_it_lacks(both)) == {"07_table_2"}


def test_the_agent_and_mssd_are_imported_when_asked_for():
    code = "import sys, csrec_core.cli, csrec_core.data.loaders, csrec_core.data.parted, csrec_core.effect.estimate"
    code += "; seldom = ('csrec_core.agent', 'csrec_core.data.mssd', 'torch')"
    code += "; print([name for name in sys.modules if name.startswith(seldom)])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_column_of_a_dozen_numbers_is_no_user(real_data):
    """Hillstrom's customers have no id: months since the last purchase tell none of them apart."""
    guess = check_data(real_data / "experiments" / "hillstrom.parquet").options.map
    assert guess == {"user": "*", "item": "*", "decision": "visit", "source": "segment"}
