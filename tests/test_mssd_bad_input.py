"""MSSD: what is wrong with its files is said, counted and kept apart; nothing is lost."""

import gzip

import numpy as np
import pytest
from click.testing import CliRunner
from mssd_files import (
    GOOD,
    HEADER,
    SOUND,
    USER,
    line,
    number,
    pack,
    quarantine,
    session,
    write,
)

from csrec_core.cli import cli
from csrec_core.data.loaders import read_data
from csrec_core.data.mssd import part, reader
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.schema import whole_numbers
from csrec_core.errors import InputError

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
    assert read_data("mssd", tmp_path / "out").log["item"].tolist() == [number("t_1")]
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
    broken = pack(many, tmp_path / f"log_1{ending}")
    broken.write_bytes(broken.read_bytes()[:-30])
    result = call("--logs", tmp_path / "log_*", "--tracks", tracks[0], "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"failed: {broken}: ends in the middle (truncated)" in result.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*log_1*")] == []
    assert len(read_data("mssd", tmp_path / "out").log) == 4
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


def test_sessions_that_lie_in_two_files_are_refused(tmp_path, tracks):
    one = write(tmp_path / "log_1.csv", SOUND)
    other = write(tmp_path / "log_2.csv", [*SOUND[2:3], *session("0_c", [USER])])
    words = "--tracks", tracks[0], "--out", tmp_path / "out"
    result = call("--logs", tmp_path / "log_*", *words)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert (
        "sessions that lie in several files: 1, most of them in log_1 and log_2; expected each in one"
        in result.stderr
    )
    assert not (tmp_path / "out" / "summary.json").exists()
    again = call("--logs", one, *words)  # a folder that holds both stays refused
    assert again.exit_code == 2 and again.stderr == result.stderr
    write(other, session("0_c", [USER]))  # until the file is mended
    assert call("--logs", tmp_path / "log_*", *words).exit_code == 0
    copies = [write(tmp_path / f"log_{copy}.csv", SOUND) for copy in (3, 4)]
    with pytest.raises(InputError, match="several files: 2, most of them in log_1 and log_3 and log_4;"):
        ingest([one, other, *copies], tracks, tmp_path / "out")


def test_a_session_scattered_in_a_file_comes_together(tmp_path, tracks, monkeypatch):
    monkeypatch.setattr(reader, "BLOCK_BYTES", 400)
    lines = [SOUND[0], *SOUND[3:], *session("0_c", [USER] * 20), *SOUND[1:3]]
    done = ingest([write(tmp_path / "log_0.csv", lines)], tracks, tmp_path / "out")
    assert (done.summary["sessions"], done.summary["incomplete"]) == (3, 0)
    assert len(read_data("mssd", tmp_path / "out").log) == 24


def test_ids_that_collide_are_refused(tmp_path, tracks, monkeypatch):
    def one_number(names, key):
        return np.where([name.startswith("0_") for name in names], 7, whole_numbers(names, key))

    monkeypatch.setattr(part, "whole_numbers", one_number)
    with pytest.raises(InputError, match="sessions 0_a and 0_c became one number; choose another --salt"):
        ingest([write(tmp_path / "log_0.csv", [*SOUND, *session("0_c", [USER])])], tracks, tmp_path / "out")
    monkeypatch.setattr(part, "whole_numbers", lambda names, key: np.full(len(names), 7))
    with pytest.raises(InputError, match="tracks t_1 and t_2 became one number"):
        ingest([tmp_path / "log_0.csv"], tracks, tmp_path / "other")
