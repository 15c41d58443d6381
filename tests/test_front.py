"""The page of a run: the effect first, in few words and numbers, and nothing that the status forbids."""

import json
import re
import shutil

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from run_files import TILES, answered, write_manifest, write_record
from test_page import EVIL, check_offline, check_structure

from csrec_core.cli.program import cli
from csrec_core.errors import InputError
from csrec_core.report.front import render_run
from csrec_core.report.report import Report
from csrec_core.report.run import read_run


def first_screen(tmp_path, said, **more):
    folder = tmp_path / "weekly"
    write_manifest(folder, ["02_data", "04_treatment_effect"], **more)
    write_record(folder, "04_treatment_effect", said, role="effect")
    soup = BeautifulSoup(render_run(read_run(folder)), "html.parser")
    check_offline(soup)
    check_structure(soup)
    return soup.header


def said_of(header):
    """Return what is read without a fold being opened."""
    for fold in header.find_all("details"):
        fold.decompose()
    return header.get_text(" ", strip=True)


@pytest.mark.parametrize("status", ["identified", "assumed", "bounded", "not identified"])
def test_the_first_screen_is_short(tmp_path, status):
    text = said_of(first_screen(tmp_path, [answered(status), *TILES])).replace("2 Jan 2026", "today")
    assert len(text.split()) < 120 and len(re.findall(r"\d[\d,.]*", text)) < 12


def test_an_identified_effect_is_told_with_interval_rates_and_lift(tmp_path):
    header = first_screen(tmp_path, [answered(), *TILES])
    assert " ".join(header.h1.text.split()) == "Recommending raises acceptance by 13.7 points"
    text = said_of(header)
    assert text.startswith("Run weekly · simulated books world · 2,000 users, 80,000 exposures · 2 Jan 2026")
    assert (
        "12.7 to 14.7" in text and "46% more, relatively" in text and "Identified: can be relied on." in text
    )
    bars = [[part.text for part in row.children] for row in header.select(".bar")]
    assert bars == [["recommended", "", "43.8%"], ["found by oneself", "", "30.1%"]]


@pytest.mark.parametrize(
    ("failed", "said"), [(0, ""), (1, "One check fails, too"), (3, "3 checks fail, too")]
)
def test_checks_that_fail_are_counted_under_known_chances(tmp_path, failed, said):
    check = {"name": "a", "verdict": "fails", "detail": "", "value": None, "lower": None, "upper": None}
    text = said_of(first_screen(tmp_path, [answered(checks=[check] * failed)]))
    assert said in text and ("fail" in text) == bool(failed)


def test_a_fall_and_an_effect_not_told_from_zero_are_not_called_a_rise(tmp_path):
    fall = answered(effect=-0.05, lower=-0.06, upper=-0.04, rates={"self": 0.3, "system": 0.25})
    text = said_of(first_screen(tmp_path, [fall]))
    assert (
        "Recommending lowers acceptance by 5.0 points 95% interval 4.0 to 6.0" in text and "17% less" in text
    )
    open_ = said_of(first_screen(tmp_path, [answered(effect=0.001, lower=-0.01, upper=0.012)]))
    assert "Recommending changes acceptance by +0.1 points" in open_ and "not told apart from zero" in open_
    whole = said_of(first_screen(tmp_path, [answered(estimand="arm")]))
    assert "46% more, relatively; same users." in whole
    few = said_of(first_screen(tmp_path, [answered(lower=None, upper=None)]))
    assert "changes acceptance" in few and "95% interval" not in few


def test_a_bounded_effect_is_a_range_and_has_no_bars(tmp_path):
    header = first_screen(tmp_path, [answered("bounded")])
    assert not header.select(".bar") and header.summary.text == "What would settle it"
    assert not header.details.has_attr("open")
    assert "−5.0 to +28.0 points" in header.h1.text and "13.7" not in said_of(header)


def test_without_identification_no_number_heads_the_page(tmp_path):
    header = first_screen(tmp_path, [answered("not identified")])
    assert not re.search(r"\d", header.h1.text) and "cannot be told from this log" in header.h1.text
    # What no assumption can widen: 17,520 of 40,000 were accepted, and the baseline is anything from 0 to 1.
    assert "anything from −56.2 to +43.8 points" in header.text and "13.7" not in header.text
    assert header.details.has_attr("open") and header.summary.text == "What would settle it"


def test_a_question_whose_notebook_did_not_run_says_so(tmp_path):
    tiles = first_screen(tmp_path, [answered(), TILES[0]]).select(".tiles li")
    assert [" ".join(tile.text.split()) for tile in tiles] == [
        "For whom? Yes So it is.",
        "What to do? Not asked Notebook policy tells.",
        "Is the log fit? Not asked Notebook data tells.",
        "Do the models know anything? Not asked Notebook train tells.",
    ]


def test_without_an_answer_every_notebook_says_its_headline(tmp_path):
    finding = {"kind": "finding", "text": f"All hold {EVIL}.", "numbers": {}}
    header = first_screen(tmp_path, [finding, {**finding, "text": "More."}])
    assert [" ".join(p.text.split()) for p in header.select(".finding")] == [f"All hold {EVIL}. T"]


def test_text_of_a_record_is_escaped_and_its_shape_checked(tmp_path):
    evil = answered("assumed", reasons=[EVIL], remedies=[EVIL], arm=EVIL, rates={"self": 0.3, EVIL: 0.4})
    assert "<script" not in str(first_screen(tmp_path, [evil, {**TILES[0], "title": EVIL}]))
    wrongs = [
        {"status": "sure"},
        {"effect": "13.7"},
        {"arms": {"self": 7}},
        {"effect": None},
        {"lower": None},
    ]
    for wrong in (*wrongs, {"reasons": []}, {"baseline": "nobody"}, {"rates": {"self": 0.3}}):
        with pytest.raises(InputError, match="answer"):
            first_screen(tmp_path, [answered(**wrong)])
    with pytest.raises(InputError, match="verdict is 'maybe'; expected holds, fails, undecided, not tested"):
        first_screen(tmp_path, [{"kind": "verdict", "name": "n", "verdict": "maybe", "detail": ""}])


def test_a_report_refuses_roles_and_questions_that_no_page_has(tmp_path):
    with pytest.raises(InputError, match=r"unknown role 'efect'.*'effect'"):
        Report("04", out=tmp_path, role="efect")
    with pytest.raises(InputError, match="unknown question"):
        Report("04", out=tmp_path).tile("Why?", "So", "It is.")


def test_brief_prints_one_page_or_says_what_it_lacks(tmp_path, monkeypatch):
    first_screen(tmp_path, [answered("assumed"), *TILES])
    folder = tmp_path / "weekly"
    (folder / "index.html").write_text(render_run(read_run(folder)))
    call = ["brief", "weekly", "--out", str(tmp_path), "--pdf", str(tmp_path / "weekly.pdf")]
    if shutil.which("chromium"):
        done = CliRunner().invoke(cli, call)
        assert done.exit_code == 0, done.output
        assert re.findall(rb"/Type /Pages\s*/Count (\d+)", (tmp_path / "weekly.pdf").read_bytes()) == [b"1"]
        (tmp_path / "weekly.pdf").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(cli, call)
    assert done.exit_code == 2 and "no browser to print with" in done.output
    assert not (tmp_path / "weekly.pdf").exists()


def test_a_name_that_may_be_nothing_may_be_missing(tmp_path):
    first_screen(tmp_path, [answered("assumed"), *TILES])
    path = tmp_path / "weekly" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["data"]["path"], manifest["code"]["git"]
    path.write_text(json.dumps(manifest))
    assert "simulated books world" in render_run(read_run(tmp_path / "weekly"))


def test_a_card_says_what_fails_where_its_sentence_is_of_something_else(tmp_path):
    said = [
        {"kind": "finding", "text": "The arms can be compared.", "numbers": {}},
        {"kind": "verdict", "name": "theorem", "verdict": "holds", "detail": ""},
        {"kind": "verdict", "name": "equation_6", "verdict": "fails", "detail": ""},
    ]
    write_manifest(tmp_path / "weekly", ["01_causal_graph"])
    write_record(tmp_path / "weekly", "01_causal_graph", said, role="theorem")
    soup = BeautifulSoup(render_run(read_run(tmp_path / "weekly")), "html.parser")
    assert "fails: equation 6" in soup.get_text(" ", strip=True)
