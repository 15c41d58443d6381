"""The notebooks themselves, run small: by the suite, and alone by plain papermill from anywhere."""

import json
import re
import runpy
import subprocess
import sys

import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup
from conftest import PROJECT
from matplotlib.figure import Figure
from page_words import marks

from csrec_core.data.books import simulate_books
from csrec_core.data.log import read_log
from csrec_core.report.plan import RunSpec
from csrec_core.report.suite import run_suite
from csrec_core.suites import NOTEBOOKS, notebooks_of

SMALL = {"users": 300, "items": 30, "steps": 6, "epochs": 2, "hidden": 8, "worlds": 1, "seed": 1}
LESS = {"sample": 90, "passes": 2, "penalties": "3", "horizon": 2}  # of the paper's experiment and the graph


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run of the whole suite."""
    reports = tmp_path_factory.mktemp("reports")
    notebooks = [PROJECT / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]
    manifest = run_suite(RunSpec(run="small", notebooks=notebooks, reports=reports, values=SMALL | LESS))
    assert {name: entry["error"] for name, entry in manifest["notebooks"].items()} == dict.fromkeys(NOTEBOOKS)
    return reports / "small"


def test_every_page_says_what_it_found(run):
    for name in NOTEBOOKS:
        page = BeautifulSoup((run / f"{name}.html").read_text(), "html.parser")
        record = json.loads((run / "record" / f"{name}.json").read_text())
        findings = [entry for entry in record["entries"] if entry["kind"] == "finding"]
        assert findings
        # At the head of the page; page 04 opens with its answer card instead.
        top = page.find(class_="answer") if name == "04_treatment_effect" else page.find("header")
        assert findings[0]["text"].split("$")[0].strip()[:40] in top.get_text(" ", strip=True)
        assert all(image["src"].startswith("data:") and image["alt"] for image in page.find_all("img"))
        assert not page.find_all("script")
        ids = [tag["id"] for tag in page.find_all(id=True)]
        assert len(ids) == len(set(ids))
        assert page.find("a", href="reading.html") and (run / "reading.html").is_file()
        assert page.find_all("figure") or page.find_all("table")
        assert "$" not in page.find("main").get_text()


def test_every_figure_is_handed_over_and_its_data_alone_draw_it_again(run, monkeypatch):
    """Of the first figure the bitmap, too; the scripts of the others make theirs by the same lines, of one drawing."""
    folders = sorted(path for path in (run / "figures").glob("*/*") if path.is_dir())
    assert len(folders) >= 20
    save = Figure.savefig

    def leave_out_bitmap(figure, file, **options):
        return file.touch() if options["format"] == "png" else save(figure, file, **options)

    for folder in folders:
        names = {f"{folder.name}.{kind}" for kind in ("png", "svg", "csv")}
        beside = {"slide.png", "caption.txt", "alt.txt", "redraw.py"}
        assert {path.name for path in folder.iterdir()} == names | beside
        runpy.run_path(str(folder / "redraw.py"))
        again, drawn = folder / "redrawn.svg", folder / f"{folder.name}.svg"
        assert again.read_bytes() == drawn.read_bytes(), folder
        if folder == folders[0]:
            assert again.with_suffix(".png").read_bytes() == drawn.with_suffix(".png").read_bytes()
            monkeypatch.setattr(Figure, "savefig", leave_out_bitmap)
        # A caption says of how much it speaks.
        assert re.search(r"\d", (folder / "caption.txt").read_text()), folder
        again.unlink()
        again.with_suffix(".png").unlink()


def test_the_effect_over_time_is_handed_over_with_its_interval(run):
    folder = run / "figures" / "04_treatment_effect" / "over-time"
    over_time = pd.read_csv(folder / "over-time.csv")
    assert over_time["step"].iloc[0] == 1 and over_time["last"].iloc[-1] == SMALL["steps"]
    assert {"effect", "lower", "upper", "truth"} <= set(over_time.columns)
    assert ((over_time["lower"] < over_time["effect"]) & (over_time["effect"] < over_time["upper"])).all()


def test_no_page_has_anything_of_a_control(run):
    for name in NOTEBOOKS:
        html = (run / f"{name}.html").read_text()
        assert "explore(" not in html and "widget" not in html.lower()
        notebook = json.loads((run / "notebooks" / f"{name}.ipynb").read_text())
        assert "widgets" not in notebook["metadata"]


def test_no_page_has_what_is_written_for_machines(run):
    found = {path.name: marks(path.read_text()) for path in run.glob("*.html")}
    assert found == {name: [] for name in found}


def test_the_marks_of_machines_are_found():
    html = "<p>p = 1.9e-04</p><h2>accept_rate</h2><figcaption>11,894.711; 1 start(s)</figcaption>"
    assert len(marks(html + "<td>0.1 [0.1, 0.1]</td>")) == 5
    assert not marks("<p>Up by 13.7 points [12.7, 14.7] of 11,895.</p><code>a_b</code>")
    # Hashes that could be taken for powers of ten, as one in fifty of those in the table of a history is.
    assert not marks("<td>06830e8</td><p>commit 1234567e8 · data 12345678e901</p>")
    assert marks("<td>1e-07</td>") and marks("<p>At 06830e8.</p>")


def test_a_log_that_tells_no_effect_says_what_would_settle_it(tmp_path):
    world = simulate_books(users=150, items=20, steps=4, seed=2)
    log = world.log.assign(
        item=world.log["item"].where(world.log["source"] == "self", world.log["item"] + 1000)
    )
    log[["user", "t", "item", "decision", "source", "propensity"]].to_csv(tmp_path / "log.csv", index=False)
    notebooks = [PROJECT / "notebooks" / f"{name}.ipynb" for name in notebooks_of("shop")]
    given = {"data": "log", "path": str(tmp_path / "log.csv")}
    run_suite(
        RunSpec(run="open", notebooks=notebooks, reports=tmp_path, values=given, data=tmp_path / "log.csv")
    )
    page = BeautifulSoup((tmp_path / "open" / "04_treatment_effect.html").read_text(), "html.parser")
    text = page.main.get_text(" ", strip=True)
    assert "What would settle it" in text and re.search(r"[\d,]{4,} exposures at random", text)
    code = next(pre.text for pre in page.find_all("pre") if "def expose" in pre.text)
    logged = {}
    exec(code, logged)  # the lines that a reader copies
    rows = [logged["expose"](1, lambda arm, user: (7, 0.2)) | {"decision": 1, "t": t} for t in range(1, 41)]
    logged["write"](rows, tmp_path / "trial.csv")
    assert set(read_log(tmp_path / "trial.csv").log["source"]) == {"self", "system"}
    # Nothing of what the status forbids: no effect by exposure, estimator, group or user, no theorem, no AHR.
    assert "weights of whole sequences" not in text
    headings = " ".join(h.text for h in page.find_all("h2"))
    assert not re.search("For whom|estimators|hidden|paper", headings)
    for name in notebooks_of("shop"):
        html = (tmp_path / "open" / f"{name}.html").read_text()
        assert not marks(html) and not re.search(r"AHR|Theorem|simulated books world", html)
    front = BeautifulSoup((tmp_path / "open" / "index.html").read_text(), "html.parser")
    assert not re.search(r"\d", front.h1.text)
    assert front.header.details.has_attr("open") and front.header.summary.text == "What would settle it"


def test_the_models_are_trained_once(run):
    assert len(list((run / "models").iterdir())) == 1
    assert (run / "data" / "log.parquet").exists()
    verdicts = json.loads((run / "verdicts.json").read_text())
    assert verdicts["01_causal_graph"]["theorem"]["verdict"] == "holds"
    assert verdicts["02_data"]["effect estimable"]["verdict"] == "holds"


def test_a_notebook_alone_under_plain_papermill_draws_the_same_bytes(run, tmp_path):
    """Same seed, another folder, models trained anew: figures, tables and numbers of notebook 04."""
    name, alone = "04_treatment_effect", tmp_path / "run"
    source, given = PROJECT / "notebooks" / f"{name}.ipynb", SMALL | {"out": str(alone)}
    papermill.execute_notebook(source, tmp_path / "out.ipynb", given, progress_bar=False, cwd=tmp_path)
    for kind in ("figures", "tables"):
        again = sorted(path for path in (alone / kind / name).rglob("*") if path.is_file())
        assert again
        for path in again:
            assert path.read_bytes() == (run / path.relative_to(alone)).read_bytes(), path
    records = [json.loads((folder / "record" / f"{name}.json").read_text()) for folder in (alone, run)]
    numbers = [[entry["numbers"] for entry in record["entries"] if "numbers" in entry] for record in records]
    assert numbers[0] == numbers[1] and {"effect"} <= set(numbers[0][0])


def test_the_command_papermill_refuses_a_parameter_that_a_notebook_does_not_know(tmp_path):
    command = [sys.executable, "-m", "papermill", str(PROJECT / "notebooks" / "06_policy.ipynb")]
    command += [str(tmp_path / "out.ipynb"), "-p", "out", str(tmp_path / "run"), "-p", "epohcs", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "unknown parameter 'epohcs'" in done.stderr
    assert not (tmp_path / "run").exists()
