"""Weeks: what a run name leaves behind it, when it raises an alert, and what a pipeline may require."""

import json

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from run_files import write_manifest, write_record

from csrec_core import files
from csrec_core.cli import cli
from csrec_core.data.books import simulate_books
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.words import ladder
from csrec_core.errors import InputError
from csrec_core.report.gate import REQUIREMENTS, gate, read_requirements
from csrec_core.report.history import add_to_history, read_history, trends, write_history
from csrec_core.report.run import read_run

EVIL = "<script>alert(1)</script>"
ANSWER = {
    "lower": None, "upper": None, "effect": None, "unit": "probability", "rates": None, "arm": "system",
    "baseline": "self", "reasons": [EVIL], "remedies": [], "band": [], "tipping": None,
    "benchmark": {"name": "", "odds": 1.0}, "users": 9, "exposures": 9, "arms": {}, "target": "arm",
}  # fmt: skip


def write_week(folder, week, effect, *, half=0.01, status="identified", drift=0.0, data=None, word="holds"):
    """Write a run of a week, in place of the one before."""
    check = {
        "name": "no drift",
        "verdict": "holds",
        "detail": EVIL,
        "value": drift,
        "lower": drift - 0.02,
        "upper": drift + 0.02,
    }
    number = {"value": effect, "lower": effect - half, "upper": effect + half}
    finding = {
        "kind": "finding",
        "text": EVIL,
        "numbers": {"effect": number},
        "answer": ANSWER | {"status": status, "checks": [check]},
    }
    overlap = {
        "kind": "verdict",
        "name": "the arms overlap",
        "verdict": word,
        "detail": "",
        "value": 0.01 * week,
    }
    write_record(folder, "04_effect", [finding, overlap])
    write_manifest(folder, ["04_effect"])
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["notebooks"]["04_effect"]
    entry |= {"key": f"key {week}", "started": f"2026-01-{week + 1:02}T03:00:00+00:00"}
    entry["data_hash"] = data or f"{week:064}"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return read_run(folder)


@pytest.fixture
def weekly(tmp_path):
    return tmp_path / "weekly"


def test_a_history_only_grows_and_the_same_run_is_kept_once(weekly):
    for week, effect in enumerate((0.10, 0.11, 0.09)):
        run = write_week(weekly, week, effect)
        before = read_history(weekly)[0]
        assert write_history(run) == "" == write_history(run)
        after, _ = read_history(weekly)
        pd.testing.assert_frame_equal(after.iloc[: len(before)], before.astype(after.dtypes))
    assert after["entry"].nunique() == 3
    effect = trends(after)["effect"].table
    np.testing.assert_allclose(effect["value"], [0.10, 0.11, 0.09])
    assert effect["word"].tolist() == ["identified"] * 3
    assert effect["alert"].tolist() == [False, False, True]
    # By hand: .09 less the mean of .10 and .11; half widths of .01, .01 and .01.
    last = effect.iloc[-1]
    half = np.sqrt(0.01**2 + (0.01**2 + 0.01**2) / 4)
    assert last["difference"] == pytest.approx(-0.015)
    assert (last["difference_lower"], last["difference_upper"]) == pytest.approx(
        (-0.015 - half, -0.015 + half)
    )


@pytest.mark.parametrize(
    ("last", "alerts"),
    [({}, set()), ({"effect": 0.2}, {"effect"}), ({"status": "bounded"}, {"effect"}), ({"drift": 0.1}, {"drift"}),
     ({"word": "fails"}, {"overlap"}), ({"half": 0.2, "effect": 0.2}, set())],
)  # fmt: skip
def test_an_alert_is_an_interval_without_zero_or_a_worse_word(weekly, last, alerts):
    for week in range(4):
        add_to_history(write_week(weekly, week, 0.10))
    add_to_history(write_week(weekly, 4, **{"effect": 0.10, **last}))
    found = trends(read_history(weekly)[0])
    assert {name for name, trend in found.items() if trend.table["alert"].iloc[-1]} == alerts


def test_runs_on_the_same_data_are_no_earlier_weeks(weekly):
    for week, effect in enumerate((0.10, 0.30)):
        write_history(write_week(weekly, week, effect, data="a" * 64))
    table = trends(read_history(weekly)[0])["effect"].table
    assert table["difference"].isna().all() and not table["alert"].any()


def test_false_alarms_of_the_rule_are_about_one_in_twenty():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(60):
        value = rng.normal(0.1, 0.01, 6)
        rows = pd.DataFrame({"value": value, "lower": value - 0.0196, "upper": value + 0.0196})
        rows = rows.assign(
            entry=range(6), started=[f"{week}" for week in range(6)], data=[f"{week}" for week in range(6)]
        )
        rows = rows.assign(
            kind="number", name="effect", word="identified", unit="probability", notebook="n", code=""
        )
        # What a week differs by from the mean of those before is independent of what each of those does.
        alarms.extend(trends(rows)["effect"].table["alert"].iloc[1:])
    assert len(alarms) == 300 and 0.02 < np.mean(alarms) < 0.09


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 999, "other"])
def test_a_broken_history_is_set_aside_and_named(weekly, content):
    write_history(write_week(weekly, 0, 0.1))
    path = weekly / "history.parquet"
    whole = path.read_bytes()
    if content == "other":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    else:
        path.write_bytes(content or whole[: len(whole) // 2])
    broken = path.read_bytes()
    said = write_history(write_week(weekly, 1, 0.1))
    aside = list(weekly.glob("history-broken-*.parquet"))
    assert len(aside) == 1 and aside[0].read_bytes() == broken and aside[0].name in said and len(said) <= 400
    assert len(set(read_history(weekly)[0]["entry"])) == 1
    assert aside[0].name in (weekly / "history.html").read_text()


def test_a_crash_while_it_is_written_loses_nothing(weekly, monkeypatch):
    write_history(write_week(weekly, 0, 0.1))
    before = (weekly / "history.parquet").read_bytes()
    run = write_week(weekly, 1, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_to_disk", lambda path: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            write_history(run)
    assert (weekly / "history.parquet").read_bytes() == before
    write_history(run)
    assert read_history(weekly)[0]["entry"].nunique() == 2


def test_the_page_of_trends_says_them_and_draws_them(weekly):
    for week, effect in enumerate((0.10, 0.11, 0.20)):
        write_history(write_week(weekly, week, effect))
    html = (weekly / "history.html").read_text()
    soup = BeautifulSoup(html, "html.parser")
    assert "default-src 'none'" in html and not soup.find("script") and "<script" not in html
    first = soup.find(class_="finding").text
    assert first.startswith("Effect: 20.0 [19.0, 21.0] points, identified; +9.5") and "alert" in first
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)) and len(soup.find_all("svg")) == 3
    titles = [title.text for title in soup.find_all("title")[1:]]
    assert "2026-01-03: +20.0 [+19.0, +21.0] points, identified" in titles
    assert {link["href"] for link in soup.find_all("a")} >= {"../index.html", "index.html", "history.parquet"}


def test_requirements_are_names_of_verdicts():
    effect = estimate_effect(simulate_books(users=60, items=20, steps=4, seed=1))
    assert {one.name for one in ladder(effect)} <= set(REQUIREMENTS.values())
    with pytest.raises(InputError, match=r"unknown requirement .efect.*did you mean .effect"):
        read_requirements("overlap,efect")
    with pytest.raises(InputError, match="unknown requirement"):
        read_requirements(EVIL)


@pytest.mark.parametrize(
    ("words", "names", "code"),
    [
        (
            {"the effect is identified": "holds", "the arms overlap": "holds"},
            ["effect", "overlap", "finished"],
            0,
        ),
        ({"the effect is identified": "undecided", "the arms overlap": "holds"}, ["effect", "overlap"], 4),
        ({"the effect is identified": "undecided", "the arms overlap": "fails"}, ["effect", "overlap"], 1),
        ({"the effect is identified": "fails", "the arms overlap": "undecided"}, ["effect", "overlap"], 1),
        ({"the effect is identified": "not tested"}, ["effect"], 4),
        ({}, ["effect"], 4),
        ({"the effect is identified": "fails"}, [], 0),
    ],
)
def test_a_gate_is_1_on_failure_and_4_on_no_decision(tmp_path, words, names, code):
    verdicts = [
        {"kind": "verdict", "name": name, "verdict": word, "detail": "Why."} for name, word in words.items()
    ]
    write_record(tmp_path / "r", "04_effect", verdicts)
    write_manifest(tmp_path / "r", ["04_effect"])
    found, lines = gate(read_run(tmp_path / "r"), names)
    assert found == code and bool(lines) == bool(code)


def test_a_requirement_that_is_none_is_refused_before_anything_runs(tmp_path):
    result = CliRunner().invoke(cli, ["report", "--require", "overlp", "--out", str(tmp_path / "reports")])
    assert (
        result.exit_code == 2 and "did you mean 'overlap'" in result.stderr and not list(tmp_path.iterdir())
    )
