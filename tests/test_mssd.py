"""MSSD: its files become a log that depends on nothing but what is in them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mssd_files import GOOD, RADIO, SOUND, SYSTEM, USER, contents, line, number, pack, session, siphash, write

from csrec_core.cli import cli
from csrec_core.data.loaders import read_data
from csrec_core.data.mssd import part, reader
from csrec_core.data.mssd.ingest import ingest, match_files
from csrec_core.data.mssd.schema import Options, whole_numbers
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.data.mssd.slots import read_sessions
from csrec_core.data.options import ReadOptions
from csrec_core.errors import InputError


def test_siphash_is_that_of_its_authors():
    assert siphash(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5  # their test vector


def test_ids_are_siphash_and_say_nothing_of_order():
    names = np.array(["0_a", "t_é", "0_00006f66-33e5-4de7-a324-2d18e439fc1e"], dtype=object)
    assert whole_numbers(names, Options().key).tolist() == [number(name) for name in names]
    assert whole_numbers(names[::-1], Options().key).tolist() == [number(name) for name in names[::-1]]
    assert whole_numbers(names, Options(salt=1).key).tolist() == [number(name, 1) for name in names]


def test_a_file_becomes_a_log(tmp_path, tracks):
    done = ingest([write(tmp_path / "log_0.csv", SOUND)], tracks, tmp_path / "out")
    dataset = read_data("mssd", tmp_path / "out")
    log = dataset.log.astype({"source": str})
    expected = {
        (number("0_a"), 1, number("t_1"), 0, "self"),
        (number("0_b"), 2, number("t_2"), 0, "self"),
        (number("0_a"), 2, number("t_1"), 0, "system"),
        (number("0_b"), 1, number("t_2"), 0, "system"),
    }
    found = log[["user", "t", "item", "decision", "source"]]
    assert len(log) == 4 and set(found.itertuples(index=False, name=None)) == expected
    features = log.filter(like="feature_").drop_duplicates()
    assert (
        features.iloc[0].to_dict()
        == {
            "feature_context_switch": 0,
            "feature_no_pause_before_play": 1,
            "feature_short_pause_before_play": 0,
            "feature_long_pause_before_play": 0,
            "feature_is_shuffle": 1,
            "feature_hour_of_day": 16,
            "feature_premium": 0,
        }
        and len(features) == 1
    )
    assert dataset.items["title"].tolist() == ["t_1", "t_2"] and (dataset.items["mode"] == 0).all()
    whole = pd.read_parquet(tmp_path / "out" / "log" / "log_0.parquet")
    other = whole[whole["source"] == "other"]
    kept = other[
        ["context_type", "t", "session_length", "n_seekfwd", "n_seekback", "reason_start", "reason_end"]
    ]
    assert kept.to_numpy().tolist() == [[RADIO, 3, 3, 2, 1, "clickrow", "fwdbtn"]]
    assert len(whole) == 5 and str(whole["date"][0]) == "2018-07-15" and dataset.left_out == {"--where": 1}
    facts = done.summary
    assert (facts["read"], facts["sessions"], facts["incomplete"], facts["problems"]) == (5, 2, 0, {})
    assert facts["contexts"] == {USER: 2, SYSTEM: 2, RADIO: 1}
    assert facts["skip_rate"] == {"skip_1": 0, "skip_2": 1, "skip_3": 1, "not_skipped": 1}


@pytest.mark.parametrize(
    ("label", "accepted"), [("skip_1", 1), ("skip_2", 0), ("skip_3", 0), ("not_skipped", 0)]
)
def test_accepted_is_not_skipped(tmp_path, tracks, label, accepted):
    played = line(session_position="2", skip_2="false", skip_3="false", not_skipped="true")
    path = write(tmp_path / "log_0.csv", [GOOD, played])
    ingest([path], tracks, tmp_path / "out", Options(label=label))
    assert read_data("mssd", tmp_path / "out").log["decision"].tolist() == [accepted, 1]


def test_contexts_are_mapped_as_asked(tmp_path, tracks):
    options = Options(self_contexts=(USER, RADIO), system_contexts=())
    done = ingest([write(tmp_path / "log_0.csv", SOUND)], tracks, tmp_path / "out", options)
    assert done.summary["rows"] == {"other": 2, "self": 3}
    for wrong in (
        {"self_contexts": (SYSTEM,)},
        {"system_contexts": ("chart",)},
        {"label": "skip"},
        {"salt": -1},
    ):
        with pytest.raises(InputError):
            Options(**wrong)


@pytest.mark.parametrize("ending", [".csv.gz", ".tar.gz"])
def test_packed_files_hold_the_same(tmp_path, tracks, ending):
    plain = write(tmp_path / "log_0.csv", SOUND)
    ingest([plain], tracks, tmp_path / "plain")
    ingest([pack(plain, tmp_path / f"log_0{ending}", tracks[0])], tracks, tmp_path / "packed")
    assert contents(tmp_path / "packed") == contents(tmp_path / "plain")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return simulate_mssd(folder, 3000, Listeners(tracks=200, seed=5), per_file=1000)


@pytest.fixture(scope="module")
def ingested(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingested")
    ingest(*world, folder)
    return folder


@pytest.mark.parametrize("how", ["blocks", "order", "processes"])
def test_the_result_does_not_depend_on(world, ingested, tmp_path, monkeypatch, how):
    logs, tracks = world
    if how == "blocks":
        monkeypatch.setattr(reader, "BLOCK_BYTES", 100_000)
    ingest(logs[::-1] if how == "order" else logs, tracks, tmp_path, workers=2 if how == "processes" else 1)
    assert contents(tmp_path) == contents(ingested)


def test_a_run_cut_short_goes_on(world, ingested, tmp_path, monkeypatch):
    logs, tracks = world
    calls = []

    def cut(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return part.ingest_file(*arguments)

    monkeypatch.setattr("csrec_core.data.mssd.ingest.ingest_file", cut)
    with pytest.raises(KeyboardInterrupt):
        ingest(logs, tracks, tmp_path)
    (tmp_path / "log" / ".log_2-half.parquet").write_text("half a file")
    monkeypatch.undo()
    done = ingest(logs, tracks, tmp_path)
    assert done.done == 2 and contents(tmp_path) == contents(ingested)
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_made_otherwise_is_refused(world, ingested, tmp_path):
    logs, tracks = world
    with pytest.raises(InputError, match="was made with label = skip_2, not skip_1; choose another --out"):
        ingest(logs, tracks, ingested, Options(label="skip_1"))
    other = tmp_path / "tf_000000000000.csv"
    other.write_bytes(tracks[0].read_bytes())
    with pytest.raises(InputError, match="other files of --tracks"):
        ingest(logs, [other], ingested)


def test_samples_are_of_sessions_and_know_no_files(world, ingested, tmp_path):
    logs, tracks = world
    whole = read_data("mssd", ingested).log
    some = ReadOptions(where="hash(user) % 30 = 0")
    sample = read_data("mssd", ingested, some)
    users = set(sample.log["user"])
    assert 50 < len(users) < 150
    pd.testing.assert_frame_equal(sample.log, whole[whole["user"].isin(users)].reset_index(drop=True))
    assert set(sample.items["item"]) == set(sample.log["item"])
    (tmp_path / "log_x.csv").write_bytes(
        logs[0].read_bytes() + b"".join(path.read_bytes().partition(b"\n")[2] for path in logs[1:])
    )
    ingest([tmp_path / "log_x.csv"], tracks, tmp_path / "one")
    assert read_data("mssd", tmp_path / "one", some).fingerprint == sample.fingerprint
    drawn = [read_sessions(folder, sessions=100, seed=3).users for folder in (tmp_path / "one", ingested)]
    assert len(drawn[0]) == 100 and drawn[0].tolist() == drawn[1].tolist()
    assert 0 < len(np.intersect1d(read_sessions(ingested, sessions=100, seed=4).users, drawn[0])) < 30


def call(*words):
    return CliRunner().invoke(cli, ["data", *map(str, words)])


def test_the_command_simulates_reads_and_is_read(tmp_path):
    out = tmp_path / "out"
    result = call("mssd", "--simulate", 300, "--out", out, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert "300 sessions, 0 of them with rows missing" in result.output
    checked = call("check", out)
    assert checked.exit_code == 0 and "share of exposures of system" in checked.output
    assert f"csrec effect {out} --out effect\n  csrec report --data mssd --path {out}" in checked.output
    assert re.search("07_table_2 +yes", checked.output)
    assert call("mssd", "--simulate", 5, "--logs", "x", "--out", out).exit_code == 2
    assert call("mssd", "--out", out).exit_code == 2
    assert call("mssd", "--logs", "nowhere_*.csv", "--tracks", "x", "--out", out).exit_code == 2
    write(tmp_path / "log_0.csv", [line(skip_1="x")])
    result = call(
        "mssd", "--logs", tmp_path / "log_0.csv", "--tracks", out / "csv" / "tf_*", "--out", tmp_path / "bad"
    )
    assert result.exit_code == 1 and "0 files (0 read now), 0 rows" in result.output
    with pytest.raises(InputError, match="no file matches"):
        match_files(["nowhere"], "--logs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no log here"):
        read_data("log", tmp_path / "empty")


def test_more_rows_than_memory_are_sorted_on_disk(world, ingested, tmp_path, monkeypatch):
    monkeypatch.setattr(part, "PART_MEMORY", "30MB")
    ingest(*world, tmp_path)
    assert contents(tmp_path) == contents(ingested)


def test_a_session_longer_than_a_block_is_one(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(reader, "BLOCK_BYTES", 400)
    many = write(tmp_path / "log_0.csv", session("0_z", [USER] * 40))
    assert len(list(reader.read_blocks(many, ()))) > 10
    facts = ingest([many], tracks, tmp_path / "out").summary
    assert (facts["sessions"], facts["incomplete"]) == (1, 0)


def test_the_log_is_what_pandas_reads(world, ingested):
    frame = pd.concat([pd.read_csv(path) for path in world[0]])
    source = frame["context_type"].map({USER: "self", SYSTEM: "system"})
    expected = pd.DataFrame(
        {
            "user": frame["session_id"].map({name: number(name) for name in frame["session_id"].unique()}),
            "t": frame["session_position"],
            "item": frame["track_id_clean"].map(
                {name: number(name) for name in frame["track_id_clean"].unique()}
            ),
            "decision": 1 - frame["skip_2"].astype(int),
            "source": source,
            "feature_hour_of_day": frame["hour_of_day"].astype(float),
            "feature_is_shuffle": frame["hist_user_behavior_is_shuffle"].astype(float),
        }
    )
    expected = expected[source.notna()].sort_values(["source", "user", "t"], ignore_index=True)
    log = read_data("mssd", ingested).log[list(expected)].astype({"source": object})
    pd.testing.assert_frame_equal(log, expected, check_dtype=False)
    facts = json.loads((ingested / "summary.json").read_text())
    assert facts["contexts"] == frame["context_type"].value_counts().to_dict()
    assert facts["skip_rate"]["skip_1"] == pytest.approx(frame["skip_1"].mean())
    for name, own in expected.groupby("source"):
        assert facts["accept_rate"][name] == pytest.approx(own["decision"].mean())
