"""MSSD: its files become a log; what is wrong with them is said, counted and kept apart; nothing is lost."""

import gzip
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
from csrec_core.data.loaders import read_data
from csrec_core.data.mssd import part, reader, rows, sessions
from csrec_core.data.mssd.ingest import find_files, ingest
from csrec_core.data.mssd.rows import Options
from csrec_core.data.mssd.schema import TRACKS, whole_numbers
from csrec_core.data.mssd.simulate import World, simulate_mssd
from csrec_core.errors import InputError

# The header of the published files.
HEADER = (
    "session_id,session_position,session_length,track_id_clean,skip_1,skip_2,skip_3,not_skipped,"
    "context_switch,no_pause_before_play,short_pause_before_play,long_pause_before_play,"
    "hist_user_behavior_n_seekfwd,hist_user_behavior_n_seekback,hist_user_behavior_is_shuffle,hour_of_day,"
    "date,premium,context_type,hist_user_behavior_reason_start,hist_user_behavior_reason_end"
)
GOOD = (
    "0_a,1,3,t_1,false,true,true,false,0,1,0,0,2,1,true,16,2018-07-15,false,user_collection,clickrow,fwdbtn"
)
NAMES = HEADER.split(",")


def line(**changes):
    cells = dict(zip(NAMES, GOOD.split(","), strict=True))
    return ",".join((cells | changes).values())


def session(name, contexts, **changes):
    return [
        line(
            session_id=name,
            session_position=str(t),
            session_length=str(len(contexts)),
            context_type=context,
            **changes,
        )
        for t, context in enumerate(contexts, start=1)
    ]


USER, SYSTEM, RADIO = "user_collection", "personalized_playlist", "radio"
SOUND = [*session("0_a", [USER, SYSTEM, RADIO]), *session("0_b", [SYSTEM, USER], track_id_clean="t_2")]


@pytest.fixture
def tracks(tmp_path):
    names = ["track_id", *(column.name for column in TRACKS)]
    cells = ["minor" if name == "mode" else "0.5" for name in names[1:]]
    text = "\n".join(",".join(row) for row in (names, ["t_1", *cells], ["t_2", *cells]))
    (tmp_path / "tf.csv").write_text(text + "\n")
    return [tmp_path / "tf.csv"]


def write(path, lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def quarantine(folder, name="log_0"):
    path = folder / "quarantine" / f"{name}.csv"
    return pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()


def contents(folder):
    """Return all that an ingestion says of the data, whatever the order of rows and files."""
    frames = {}
    for table in part.TABLES:
        paths = sorted((folder / table).glob("*.parquet"))
        frame = pd.concat([pd.read_parquet(path).assign(part=path.stem) for path in paths])
        keys = ["user", "t"] if "t" in frame else ["user", "session"]
        frames[table] = frame.sort_values(keys).astype(dict.fromkeys(frame.select_dtypes("category"), str))
    summary = json.loads((folder / "summary.json").read_text())
    return {name: frame.to_csv(index=False) for name, frame in frames.items()} | summary


def siphash(message: bytes, key: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein 2012), written from its definition."""
    mask = 2**64 - 1

    def turn(value, by):
        return (value << by | value >> 64 - by) & mask

    def rounds(v, number):
        for _ in range(number):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    one, other = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    constants = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    v = [constant ^ half for constant, half in zip(constants, [one, other, one, other], strict=True)]
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def number(name, salt=0):
    """What an id becomes: SipHash, then the finalizer of SplitMix64, then 63 of the 64 bits."""
    value = siphash(name.encode(), Options(salt=salt).key.encode())
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        value = (value ^ value >> shift) * factor % 2**64
    return value >> 1


def test_siphash_is_that_of_its_authors():
    assert siphash(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5  # their test vector


def test_ids_are_siphash_and_say_nothing_of_order():
    names = np.array(["0_a", "t_é", "0_00006f66-33e5-4de7-a324-2d18e439fc1e"], dtype=object)
    assert whole_numbers(names, Options().key).tolist() == [number(name) for name in names]
    assert whole_numbers(names[::-1], Options().key).tolist() == [number(name) for name in names[::-1]]
    assert whole_numbers(names, Options(salt=1).key).tolist() == [number(name, 1) for name in names]


def test_a_file_becomes_a_log(tmp_path, tracks):
    done = ingest([write(tmp_path / "log_0.csv", SOUND)], tracks, tmp_path / "out")
    dataset = read_data("log", tmp_path / "out")
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
    apart = pd.read_parquet(tmp_path / "out" / "apart" / "log_0.parquet")
    assert apart["source"].isna().all() and apart["context_type"].tolist() == [RADIO]
    kept = apart[["t", "session_length", "n_seekfwd", "n_seekback", "reason_start", "reason_end"]]
    assert kept.to_numpy().tolist() == [[3, 3, 2, 1, "clickrow", "fwdbtn"]]
    assert str(apart["date"][0]) == "2018-07-15"
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
    assert read_data("log", tmp_path / "out").log["decision"].tolist() == [accepted, 1]


def test_contexts_are_mapped_as_asked(tmp_path, tracks):
    options = Options(self_contexts=(USER, RADIO), system_contexts=())
    done = ingest([write(tmp_path / "log_0.csv", SOUND)], tracks, tmp_path / "out", options)
    assert done.summary["rows"] == {"self": 3}
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
    path = tmp_path / f"log_0{ending}"
    if ending == ".csv.gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tracks[0], "README")
            archive.add(plain, "training_set/log_0.csv")
    ingest([path], tracks, tmp_path / "packed")
    assert contents(tmp_path / "packed") == contents(tmp_path / "plain")


BAD = {
    "session_position": ("0", "session_position = '0'; expected a whole number from 1 to 1000"),
    "skip_2": ("maybe", "skip_2 = 'maybe'; expected true or false"),
    "context_switch": ("2", "context_switch = '2'; expected 0 or 1"),
    "hour_of_day": ("24", "hour_of_day = '24'; expected a whole number from 0 to 23"),
    "date": ("2018-02-30", "date = '2018-02-30'; expected a day such as 2018-07-15"),
    "context_type": ("podcast", "context_type = 'podcast'; expected one of user_collection, "),
    "session_id": ("", "session_id = ''; expected an id"),
    "track_id_clean": ("t_9", "no such track in the files of --tracks"),
    "hist_user_behavior_reason_end": ("", "hist_user_behavior_reason_end = ''; expected a reason"),
}


@pytest.mark.parametrize("column", BAD)
def test_a_bad_cell_is_quarantined_with_its_line(tmp_path, tracks, column):
    cell, says = BAD[column]
    bad = line(**{"session_position": "2", column: cell})
    done = ingest([write(tmp_path / "log_0.csv", [GOOD, bad, *SOUND[3:]])], tracks, tmp_path / "out")
    (row,) = quarantine(tmp_path / "out").to_dict("records")
    assert (row["file"], row["line"], row["text"]) == ("log_0.csv", 3, bad)
    assert row["detail"].startswith(says)
    facts = done.summary
    assert facts["problems"] == {row["problem"]: 1} and (facts["read"], facts["incomplete"]) == (4, 1)
    assert sum(facts["contexts"].values()) == 3


def test_rows_of_another_shape_are_quarantined(tmp_path, tracks):
    path = tmp_path / "log_0.csv"
    latin = line(session_position="3").encode().replace(b"clickrow", b"click\xe9")
    lines = [HEADER.encode(), SOUND[0].encode(), b"0_a,2", b"", latin, (GOOD + ",1\xe9").encode("latin-1")]
    path.write_bytes(
        b"\n".join([*lines, line(session_position="9").encode(), *(s.encode() for s in SOUND[3:])])
    )
    done = ingest([path], tracks, tmp_path / "out")
    found = quarantine(tmp_path / "out")
    assert found.sort_values("line")[["line", "problem"]].to_numpy().tolist() == [
        [3, "number of columns"],
        [4, "blank line"],
        [5, "hist_user_behavior_reason_start"],
        [6, "number of columns"],
        [7, "session_position"],
    ]
    assert done.summary["read"] == 8 and sum(done.summary["contexts"].values()) == 3
    path.write_bytes(b"\n".join([HEADER.encode(), line(session_id="0_X").encode().replace(b"X", b"\xe9")]))
    (said,) = ingest([path], tracks, tmp_path / "other").failures.values()
    assert "line 2: session_id = '0_\ufffd'; expected an id" in said


def test_a_duplicated_position_keeps_the_first_row(tmp_path, tracks):
    again = line(track_id_clean="t_2")
    done = ingest([write(tmp_path / "log_0.csv", [GOOD, again])], tracks, tmp_path / "out")
    (row,) = quarantine(tmp_path / "out").to_dict("records")
    assert (row["line"], row["problem"], row["text"]) == (3, "duplicated position", again)
    assert read_data("log", tmp_path / "out").log["item"].tolist() == [number("t_1")]
    assert done.summary["problems"] == {"duplicated position": 1}


def test_bad_tracks_are_quarantined(tmp_path, tracks):
    lines = tracks[0].read_text().splitlines()
    lines += [lines[1], lines[2].replace("t_2", "t_3").replace("0.5", "nan", 1), "t_4,1"]
    tracks[0].write_text("\n".join(lines) + "\n")
    done = ingest([write(tmp_path / "log_0.csv", SOUND)], tracks, tmp_path / "out")
    found = quarantine(tmp_path / "out", "items").sort_values("line")
    assert found[["line", "problem"]].to_numpy().tolist() == [
        [4, "duplicated track"],
        [5, "duration"],
        [6, "number of columns"],
    ]
    assert done.summary["tracks"] == 2


def call(*words):
    return CliRunner().invoke(cli, ["data", "mssd", *map(str, words)])


@pytest.mark.parametrize("ending", [".csv.gz", ".tar.gz"])
def test_a_truncated_file_leaves_nothing_and_the_others_stay(tmp_path, tracks, ending):
    write(tmp_path / "log_0.csv", SOUND)
    many = write(tmp_path / "many.csv", [s for n in range(3000) for s in session(f"1_{n}", [USER] * 10)])
    broken = tmp_path / f"log_1{ending}"
    if ending == ".csv.gz":
        broken.write_bytes(gzip.compress(many.read_bytes()))
    else:
        with tarfile.open(broken, "w:gz") as archive:
            archive.add(many, "log_1.csv")
    broken.write_bytes(broken.read_bytes()[:-30])
    result = call("--logs", tmp_path / "log_*", "--tracks", tracks[0], "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"failed: {broken}: ends in the middle (truncated)" in result.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*log_1*")] == []
    assert len(read_data("log", tmp_path / "out").log) == 4
    broken.write_bytes(gzip.compress(many.read_bytes()))
    if ending == ".csv.gz":  # a whole copy of it is then read, and nothing else again
        result = call("--logs", tmp_path / "log_*", "--tracks", tracks[0], "--out", tmp_path / "out")
        assert result.exit_code == 0 and "2 files (1 read now), 30,005 rows" in result.output


def test_a_file_without_a_good_row_fails(tmp_path, tracks):
    path = write(tmp_path / "log_0.csv", [line(skip_1="x")])
    done = ingest([path, write(tmp_path / "log_1.csv", SOUND)], tracks, tmp_path / "out")
    assert list(done.failures) == ["log_0"]
    assert "no good row; the first: log_0.csv: line 2: skip_1 = 'x'" in done.failures["log_0"]
    assert (
        "no good row"
        in ingest([write(tmp_path / "log_2.csv", [])], tracks, tmp_path / "out").failures["log_2"]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda path: path.write_text(HEADER.replace("skip_2", "skipped_2") + "\n" + GOOD),
            "no column skip_2",
        ),
        (lambda path: path.write_text(HEADER + ",premium\n" + GOOD), "premium more than once"),
        (lambda path: path.rename(path.with_suffix(".txt")), "no file matches"),
    ],
)
def test_a_wrong_header_is_one_line_and_writes_nothing(tmp_path, tracks, change, says):
    change(write(tmp_path / "log_0.csv", SOUND))
    result = call("--logs", tmp_path / "log_0.csv", "--tracks", tracks[0], "--out", tmp_path / "out")
    assert result.exit_code == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_other_wrong_files_are_refused(tmp_path, tracks):
    path = write(tmp_path / "log_0.csv", SOUND)
    plain = tmp_path / "log_1.csv.gz"
    plain.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="damaged, or not what its name says"):
        ingest([plain], tracks, tmp_path / "out")
    copy = tmp_path / "log_0.csv.gz"
    copy.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="would both be the part log_0"):
        ingest([path, copy], tracks, tmp_path / "out")
    with pytest.raises(InputError, match=r"expected a file that ends in .csv, .csv.gz, .tar.gz"):
        ingest([path.rename(tmp_path / "log_0.parquet")], tracks, tmp_path / "out")


def test_a_session_split_over_two_files_comes_together(tmp_path, tracks):
    one = write(tmp_path / "log_1.csv", [SOUND[0], *SOUND[3:]])
    other = write(tmp_path / "log_2.csv", [line(track_id_clean="t_2"), *SOUND[1:3]])
    done = ingest([other, one], tracks, tmp_path / "out")
    index = pd.read_parquet(tmp_path / "out" / "index" / "log_1.parquet").set_index("session")
    assert index.loc["0_a", ["rows", "length"]].tolist() == [3, 3]
    assert len(pd.read_parquet(tmp_path / "out" / "index" / "log_2.parquet")) == 0
    log = read_data("log", tmp_path / "out").log
    assert log.loc[log["user"] == number("0_a"), ["t", "item"]].to_numpy().tolist() == [
        [1, number("t_1")],
        [2, number("t_1")],
    ]
    assert quarantine(tmp_path / "out", "log_2")["text"].tolist() == ["0_a,1"]
    facts = done.summary
    assert facts["problems"] == {"duplicated position": 1}
    assert (facts["read"], facts["sessions"], facts["incomplete"], facts["merged"]) == (6, 2, 0, 1)
    assert facts["contexts"] == {USER: 2, SYSTEM: 2, RADIO: 1}
    # The same again changes nothing; a file that has changed does those it shares sessions with anew.
    before = contents(tmp_path / "out")
    again = ingest([one, other], tracks, tmp_path / "out")
    assert (again.done, again.kept) == (0, 2) and contents(tmp_path / "out") == before
    write(other, SOUND[1:2])
    with pytest.raises(InputError, match="merged with those of log_1"):
        ingest([other], tracks, tmp_path / "out")
    ingest([one, other], tracks, tmp_path / "out")
    ingest([one, other], tracks, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_session_scattered_in_a_file_comes_together(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(reader.read_blocks, "__kwdefaults__", {"block_size": 400})
    lines = [SOUND[0], *SOUND[3:], *session("0_c", [USER] * 20), *SOUND[1:3]]
    done = ingest([write(tmp_path / "log_0.csv", lines)], tracks, tmp_path / "out")
    assert (done.summary["sessions"], done.summary["merged"], done.summary["incomplete"]) == (3, 1, 0)
    assert len(read_data("log", tmp_path / "out").log) == 24


def test_a_file_given_twice_is_refused(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(sessions, "FEW", 1)
    for name in ("log_1", "log_2"):
        write(tmp_path / f"{name}.csv", SOUND)
    with pytest.raises(
        InputError, match="2 of 4 sessions lie in several places, most of them in log_1 and log_2"
    ):
        ingest([tmp_path / "log_1.csv", tmp_path / "log_2.csv"], tracks, tmp_path / "out")


def test_ids_that_collide_are_refused(tmp_path, tracks, monkeypatch):
    def one_number(names, key):
        return np.where([name.startswith("0_") for name in names], 7, whole_numbers(names, key))

    monkeypatch.setattr(rows, "whole_numbers", one_number)
    with pytest.raises(InputError, match="sessions 0_a and 0_b became one number; choose another --salt"):
        ingest([write(tmp_path / "log_0.csv", [*SOUND, *session("0_c", [USER])])], tracks, tmp_path / "out")
    monkeypatch.setattr(rows, "whole_numbers", lambda names, key: np.full(len(names), 7))
    with pytest.raises(InputError, match="tracks t_1 and t_2 became one number"):
        ingest([tmp_path / "log_0.csv"], tracks, tmp_path / "other")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return simulate_mssd(folder, 3000, World(tracks=200, seed=5), per_file=1000)


@pytest.fixture(scope="module")
def ingested(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingested")
    ingest(*world, folder)
    return folder


@pytest.mark.parametrize("how", ["blocks", "order", "ranges", "processes"])
def test_the_result_does_not_depend_on(world, ingested, tmp_path, monkeypatch, how):
    logs, tracks = world
    if how == "blocks":
        monkeypatch.setattr(reader.read_blocks, "__kwdefaults__", {"block_size": 10_000})
    if how == "ranges":
        monkeypatch.setattr(sessions.split_sessions, "__kwdefaults__", {"at_once": 100})
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
    assert (done.done, done.kept) == (2, 1) and contents(tmp_path) == contents(ingested)
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
    whole = read_data("log", ingested).log
    sample = sessions.sample_sessions(ingested, 100, seed=3)
    assert sample.log["user"].nunique() == 100 == len(sample.users)
    mine = whole[whole["user"].isin(sample.log["user"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(sample.log, mine)
    assert set(sample.items["item"]) == set(sample.log["item"])
    (tmp_path / "log_x.csv").write_bytes(
        logs[0].read_bytes() + b"".join(path.read_bytes().partition(b"\n")[2] for path in logs[1:])
    )
    ingest([tmp_path / "log_x.csv"], tracks, tmp_path / "one")
    assert sessions.sample_sessions(tmp_path / "one", 100, seed=3).fingerprint == sample.fingerprint
    other = sessions.sample_sessions(ingested, 100, seed=4)
    assert 0 < len(set(other.log["user"]) & set(sample.log["user"])) < 30


def test_the_command_simulates_reads_samples_and_is_read(tmp_path):
    out = tmp_path / "out"
    result = call("--simulate", 300, "--out", out, "--sessions", 50, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert "300 sessions, 0 of them with rows missing" in result.output
    for path in (out, out / "sample"):
        checked = CliRunner().invoke(cli, ["data", "check", str(path)])
        assert checked.exit_code == 0 and "share of system exposures" in checked.output
    assert read_data("log", out / "sample").truth["p_self"].between(0, 1).all()
    assert call("--simulate", 5, "--logs", "x", "--out", out).exit_code == 2
    assert call("--out", out).exit_code == 2
    assert call("--logs", "nowhere_*.csv", "--tracks", "x", "--out", out).exit_code == 2
    write(tmp_path / "log_0.csv", [line(skip_1="x")])
    result = call(
        "--logs", tmp_path / "log_0.csv", "--tracks", out / "csv" / "tf_*", "--out", tmp_path / "bad"
    )
    assert result.exit_code == 1 and "0 files (0 read now), 0 rows" in result.output
    with pytest.raises(InputError, match="no session of the log to draw"):
        sessions.sample_sessions(tmp_path / "bad", 5)
    with pytest.raises(InputError, match="no file matches"):
        find_files(["nowhere"], "--logs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no log here"):
        read_data("log", tmp_path / "empty")


def test_a_block_holds_no_cells_of_earlier_ones(world, monkeypatch):
    monkeypatch.setattr(reader.read_blocks, "__kwdefaults__", {"block_size": 20_000})
    blocks = list(rows.whole_sessions(reader.read_blocks(world[0][0], ())))
    held = [len(block.rows["session_id"].dictionary) for block in blocks]
    assert len(blocks) > 100 and max(held) <= 20  # sessions of at least ten rows of at least 100 bytes
    assert sum(len(block.lines) for block in blocks) == len(pd.read_csv(world[0][0]))


def test_a_session_without_end_is_not_held_in_memory(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(rows, "HELD", 8)
    monkeypatch.setattr(reader.read_blocks, "__kwdefaults__", {"block_size": 400})
    many = session("0_z", [USER] * 40)
    sizes = [
        len(block.lines)
        for block in rows.whole_sessions(reader.read_blocks(write(tmp_path / "log_0.csv", many), ()))
    ]
    assert sum(sizes) == 40 and max(sizes) <= 8 + 4
    done = ingest([tmp_path / "log_0.csv"], tracks, tmp_path / "out")
    assert (done.summary["sessions"], done.summary["incomplete"], done.summary["merged"]) == (1, 0, 1)


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
    log = read_data("log", ingested).log[list(expected)].astype({"source": object})
    pd.testing.assert_frame_equal(log, expected, check_dtype=False)
    facts = json.loads((ingested / "summary.json").read_text())
    assert facts["contexts"] == frame["context_type"].value_counts().to_dict()
    assert facts["skip_rate"]["skip_1"] == pytest.approx(frame["skip_1"].mean())
    for name, own in expected.groupby("source"):
        assert facts["accept_rate"][name] == pytest.approx(own["decision"].mean())


@pytest.mark.parametrize("after", range(7))
def test_a_merge_cut_short_is_done_anew(tmp_path, tracks, monkeypatch, after):
    logs = [
        write(tmp_path / "log_1.csv", [SOUND[0], *SOUND[3:]]),
        write(tmp_path / "log_2.csv", [line(track_id_clean="t_2"), *SOUND[1:3]]),
    ]
    ingest(logs, tracks, tmp_path / "whole")
    rewrite, done = sessions._rewrite, []

    def cut(*arguments):
        if len(done) == after:
            raise KeyboardInterrupt
        rewrite(*arguments)
        done.append(arguments)

    monkeypatch.setattr(sessions, "_rewrite", cut)
    try:
        ingest(logs, tracks, tmp_path / "out")
    except KeyboardInterrupt:
        assert not list((tmp_path / "out" / "done").iterdir())
    monkeypatch.undo()
    ingest(logs, tracks, tmp_path / "out")
    assert len(done) == min(after, 6) and contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert quarantine(tmp_path / "out", "log_2")["text"].tolist() == ["0_a,1"]
