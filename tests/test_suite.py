"""Runs: papermill in a kernel of one's own, pages and manifest, failures, what is done is not done again."""

import json
import os
import re
import shutil
import sys

import pytest
from bs4 import BeautifulSoup
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from csrec_core.errors import InputError
from csrec_core.report import kernel
from csrec_core.report import plan as planning
from csrec_core.report.index import write_index
from csrec_core.report.plan import RunSpec, grid_points, plan
from csrec_core.report.suite import run_grid, run_suite
from csrec_core.suites import NOTEBOOKS, SUITES, notebooks_of

PARAMETERS = 'users: int = 5  # [1, 100] users\nseed: int = 1  # seed\nout: str = ""  # the run\n'
GOOD = """\
import sys
from tqdm import tqdm
from csrec_core.report.report import Report
report = Report("01_good", out=out, data_hash="abc")
for _ in tqdm(range(3), disable=None): pass
report.finding(f"There are {users} users.", users=users)
from csrec_core.verdict import HOLDS, Verdict
report.verdict(Verdict("interpreter", HOLDS, sys.executable))
import pandas as pd, matplotlib.pyplot as plt
frame = pd.DataFrame({"x": [1, 2]})
report.figure(plt.subplots()[0], "empty", data=frame, caption="Nothing.", alt="Empty axes.")
"""
BAD = """\
from csrec_core.report.report import Report
Report("02_bad", out=out).warning("Before.")
raise KeyError("gone")
"""


def notebook(folder, name, source, parameters=PARAMETERS):
    cells = [
        new_markdown_cell(f"# About {name}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(source),
    ]
    path = folder / f"{name}.ipynb"
    write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def pretend(monkeypatch):
    """Replace the kernel by a list of the notebooks it would have run."""
    ran = []

    def execute(source, output, parameters, **options):
        ran.append(source.rsplit("/", 1)[1][:2])
        write(new_notebook(cells=[new_code_cell("1", execution_count=1)]), output)

    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    return ran


@pytest.fixture
def three(tmp_path):
    return [notebook(tmp_path, name, "pass") for name in ("01_a", "02_b", "03_c")]


def run(paths, tmp_path, **options):
    return run_suite(spec("run", paths, tmp_path, **options), echo=lambda line: None)


def spec(name, paths, tmp_path, **options):
    return RunSpec(run=name, notebooks=paths, **({"reports": tmp_path / "reports", "reads": {}} | options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One real run: a notebook that fails and one that does not, awkward characters, a broken kernel."""
    folder = tmp_path_factory.mktemp("a b {c} é")
    paths = [notebook(folder, "02_bad", BAD), notebook(folder, "01_good", GOOD)]
    lines = []
    wrong = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    given = {"values": {"seed": 3}, "texts": {"users": "7"}}
    manifest = run_suite(spec("run", paths, folder, **given), echo=lines.append)
    monkeypatch.undo()
    return folder / "reports", manifest, lines


def test_a_run_gives_pages_records_and_a_manifest(finished):
    reports, manifest, _ = finished
    folder = reports / "run"
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    entry = manifest["notebooks"]["01_good"]
    assert (entry["status"], entry["error"], entry["title"]) == ("done", None, "About 01_good")
    assert entry["parameters"] == {"users": 7, "seed": 3} and entry["data_hash"] == "abc"
    assert entry["seconds"] > 0 and manifest["seconds"] >= entry["seconds"]
    assert {"01_good.html", "notebooks/01_good.ipynb", "figures/01_good/empty/empty.svg"} <= entry[
        "files"
    ].keys()
    assert all((folder / name).is_file() and len(sha) == 64 for name, sha in entry["files"].items())
    assert "There are 7 users." in (folder / "01_good.html").read_text()
    assert "There are 7 users." in (folder / "index.html").read_text()
    assert manifest["versions"]["python"] and manifest["code"]["version"]
    assert 'href="run/index.html"' in (reports / "index.html").read_text()
    assert not [path for path in reports.rglob("*") if path.name.startswith(".")]


def test_the_kernel_is_this_interpreter_whatever_is_registered(finished):
    reports, _, _ = finished
    verdicts = json.loads((reports / "run" / "verdicts.json").read_text())
    said = {
        (name, one["name"]): (one["verdict"], one["detail"])
        for name, given in verdicts.items()
        for one in given.values()
    }
    assert said == {
        ("02_bad", "finished"): ("fails", "KeyError: 'gone'"),
        ("01_good", "finished"): ("holds", ""),
        ("01_good", "interpreter"): ("holds", sys.executable),
    }


def test_a_failure_is_shown_and_the_rest_goes_on(finished):
    reports, manifest, lines = finished
    assert manifest["status"] == "failed"
    entry = manifest["notebooks"]["02_bad"]
    assert entry["status"] == "failed" and entry["error"] == "KeyError: 'gone'"
    page = BeautifulSoup((reports / "run" / "02_bad.html").read_text(), "html.parser")
    assert "FAILED" in page.header.text and "Before." in page.header.text
    assert "KeyError" in page.find(id="failure").find("pre").text
    assert re.match(r"02_bad +failed +[\d.]+ s  KeyError: 'gone'$", lines[0])
    assert re.match(r"01_good +done +[\d.]+ s$", lines[1])


def test_nothing_of_a_progress_bar_or_of_papermill_is_in_the_page(finished):
    reports, _, _ = finished
    for name in ("01_good", "02_bad"):
        html = (reports / "run" / f"{name}.html").read_text()
        assert "it/s" not in html and "papermill" not in html.replace("papermill 2", "").lower()


def test_what_is_done_is_not_done_again(pretend, three, tmp_path):
    run(three, tmp_path)
    run(three, tmp_path)
    assert pretend == ["01", "02", "03"]


@pytest.mark.parametrize("change", ["force", "parameter", "data", "missing page", "notebook", "code"])
def test_what_has_changed_is_done_again(pretend, three, tmp_path, monkeypatch, change):
    data = tmp_path / "log.csv"
    data.write_text("1")
    run(three, tmp_path, data=data)
    options = {"data": data}
    expected = ["01", "02", "03"]
    if change == "force":
        options["force"] = True
    elif change == "parameter":
        options["texts"] = {"users": "6"}
    elif change == "data":
        data.write_text("2")
    elif change == "missing page":
        (tmp_path / "reports" / "run" / "02_b.html").unlink()
        expected = ["02"]
    elif change == "notebook":
        notebook(tmp_path, "03_c", "1 + 1")
        expected = ["03"]
    else:
        monkeypatch.setattr(planning, "package_files", lambda: [data])
    pretend.clear()
    run(three, tmp_path, **options)
    assert pretend == expected


def test_a_notebook_is_redone_when_one_it_reads_is(pretend, three, tmp_path):
    run(three, tmp_path, reads={"03_c": ["01_a"]})
    notebook(tmp_path, "01_a", "1 + 1")
    pretend.clear()
    run(three, tmp_path, reads={"03_c": ["01_a"]})
    assert pretend == ["01", "03"]


def test_only_the_notebooks_asked_for_are_run(pretend, three, tmp_path):
    run(three, tmp_path)
    pretend.clear()
    manifest = run(three, tmp_path, only=["02_b"], force=True)
    assert pretend == ["02"] and list(manifest["notebooks"]) == ["01_a", "02_b", "03_c"]


def test_an_interrupted_run_keeps_what_it_has(pretend, three, tmp_path, monkeypatch):
    execute = kernel.papermill.execute_notebook

    def interrupted(source, *args, **options):
        if "02_b" in source:
            raise KeyboardInterrupt
        execute(source, *args, **options)

    monkeypatch.setattr(kernel.papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(three, tmp_path)
    folder = tmp_path / "reports" / "run"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "incomplete" and list(manifest["notebooks"]) == ["01_a"]
    assert (
        not list((folder / "notebooks").glob("*02_b*")) and "01_a.html" in (folder / "index.html").read_text()
    )
    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    pretend.clear()
    assert run(three, tmp_path)["status"] == "complete"
    assert pretend == ["02", "03"]


def test_a_page_that_cannot_be_rendered_is_a_failure(pretend, three, tmp_path, monkeypatch):
    def execute(source, output, parameters, **options):
        cell = new_markdown_cell("$\\unknown$" if "02_b" in source else "fine")
        write(new_notebook(cells=[cell]), output)

    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    manifest = run(three, tmp_path)
    assert [entry["status"] for entry in manifest["notebooks"].values()] == ["done", "failed", "done"]
    assert "unknown command" in manifest["notebooks"]["02_b"]["error"]
    assert "FAILED" in (tmp_path / "reports" / "run" / "02_b.html").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"texts": {"userz": "7"}}, "unknown parameter 'userz'.*did you mean 'users'"),
        ({"values": {"userz": 7}}, "unknown parameter 'userz'"),
        ({"texts": {"users": "many"}}, "'users': expected int"),
        ({"values": {"users": 101}}, "'users': expected int in"),
        ({"texts": {"out": "x"}}, "--out"),
        ({"only": ["02_c"]}, "unknown notebook '02_c'.*did you mean"),
        ({"data": "nowhere.csv"}, "no such file or folder"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_done(pretend, three, tmp_path, options, says):
    if "data" in options:
        options = {"data": tmp_path / options["data"]}
    with pytest.raises(InputError, match=says):
        run(three, tmp_path, **options)
    assert pretend == [] and not (tmp_path / "reports").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_run_is_named_like_a_folder(three, tmp_path, name):
    with pytest.raises(InputError, match="run's name"):
        spec(name, three, tmp_path)


def test_text_goes_before_values_and_each_notebook_gets_what_it_declares(tmp_path):
    paths = [
        notebook(tmp_path, "01_a", "pass"),
        notebook(tmp_path, "02_b", "pass", parameters="alpha: float = 0.5  # [0, 1] level\n"),
    ]
    given = {"values": {"users": 8, "alpha": 1}, "texts": {"users": "9"}}
    first, second = plan(spec("run", paths, tmp_path, **given))
    assert first.parameters == {"users": 9} and second.parameters == {"alpha": 1.0}


def test_the_suites_name_notebooks_in_order():
    assert list(NOTEBOOKS) == sorted(NOTEBOOKS)
    assert {"shop", "quick", "full", "effect", "reproduction"} == SUITES.keys()
    assert set().union(*(book.suites for book in NOTEBOOKS.values())) <= SUITES.keys()
    assert notebooks_of("shop") == ["02_data", "04_treatment_effect", "06_policy"]
    assert notebooks_of("quick") == list(NOTEBOOKS)
    assert all(
        set(book.reads) <= set(list(NOTEBOOKS)[:place]) for place, book in enumerate(NOTEBOOKS.values())
    )


def grid(paths, tmp_path, axes, echo=lambda line: None, **options):
    return run_grid(spec("sizes", paths, tmp_path, **options), axes, echo=echo)


def test_a_grid_runs_every_combination_in_a_folder_of_its_own(pretend, three, tmp_path):
    lines = []
    manifests = grid(three, tmp_path, {"users": ["7", "8"], "seed": ["1", "2"]}, echo=lines.append)
    assert list(manifests) == ["users-7_seed-1", "users-7_seed-2", "users-8_seed-1", "users-8_seed-2"]
    assert len(pretend) == 12 and lines[0].startswith("users-7_seed-1  01_a")
    entry = manifests["users-8_seed-1"]["notebooks"]["02_b"]
    assert entry["parameters"] == {"users": 8, "seed": 1}
    parent = tmp_path / "reports" / "sizes"
    page = BeautifulSoup((parent / "index.html").read_text(), "html.parser")
    assert [cell.text for cell in page.find("table").find_all("th", scope="row")] == list(manifests)
    assert "users-8_seed-2/index.html" in {link["href"] for link in page.find_all("a")}
    assert [cell["data-name"] for cell in page.find("td").parent.find_all("td")][:2] == ["users", "seed"]
    assert "4 points: users: 7, 8; seed: 1, 2." in page.text and "Not run" not in page.text
    index = BeautifulSoup((tmp_path / "reports" / "index.html").read_text(), "html.parser")
    assert "4 of 4 points complete" in index.text and index.find("a", href="sizes/index.html")
    # What is done is not done again, and a point more is one more run.
    pretend.clear()
    grid(three, tmp_path, {"users": ["7", "8"], "seed": ["1", "2", "3"]})
    assert len(pretend) == 6
    shutil.rmtree(parent / "users-8_seed-1")
    write_index(parent)
    assert "Not run: users-8_seed-1." in (parent / "index.html").read_text()


@pytest.mark.parametrize(
    ("axes", "options", "says"),
    [
        ({"userz": ["7"]}, {}, "unknown parameter 'userz'"),
        ({"users": ["7", "many"]}, {}, "'users': expected int"),
        ({"users": []}, {}, "has no values"),
        ({"users": ["7", "7"]}, {}, "two points of the name 'users-7'"),
        ({"users": ["7"]}, {"texts": {"users": "8"}}, "'users' is set, and is an axis"),
    ],
)
def test_a_wrong_grid_is_refused_before_its_first_point(pretend, three, tmp_path, axes, options, says):
    with pytest.raises(InputError, match=says):
        grid(three, tmp_path, axes, **options)
    assert pretend == [] and not (tmp_path / "reports").exists()


def test_a_run_and_a_grid_do_not_share_a_name(pretend, three, tmp_path):
    grid(three, tmp_path, {"users": ["7"]})
    with pytest.raises(InputError, match="is a grid"):
        run_suite(spec("sizes", three, tmp_path))
    run(three, tmp_path)
    with pytest.raises(InputError, match="is a run"):
        run_grid(spec("run", three, tmp_path), {"users": ["7"]})


def test_points_are_named_so_that_they_are_folders():
    assert list(grid_points({"extra_edges": ["S1->P3", ""], "rate": ["0.1"]})) == [
        "extra_edges-S1-P3_rate-0.1", "extra_edges-_rate-0.1",
    ]  # fmt: skip


TIMED = """\
import os, time
from csrec_core.report.report import Report
report = Report("{name}", out=out)
report.finding("It ran.", began=time.time(), threads=int(os.environ["OMP_NUM_THREADS"]))
time.sleep(1)
"""


def test_jobs_run_at_once_in_processes_of_their_own_and_after_what_they_read(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ("01_a", "02_b", "03_c")
    paths = [notebook(tmp_path, name, TIMED.replace("{name}", name)) for name in names]
    lines = []
    manifest = run_suite(spec("run", paths, tmp_path, jobs=2, reads={"03_c": ["01_a"]}), echo=lines.append)
    assert manifest["status"] == "complete" and list(manifest["notebooks"]) == list(names)
    records = [json.loads((tmp_path / "reports/run/record" / f"{name}.json").read_text()) for name in names]
    numbers = [record["entries"][0]["numbers"] for record in records]
    began = [number["began"]["value"] for number in numbers]
    # The third reads what the first leaves, which was still at work for a second after it began.
    assert began[2] >= began[0] + 1
    assert {number["threads"]["value"] for number in numbers} == {max(1, os.cpu_count() // 2)}
    assert len(lines) == 3


def test_a_grid_on_a_cluster_leaves_the_files_of_one_here(scheduler, tmp_path, capfd):
    good, axes = notebook(tmp_path, "01_good", GOOD), {"users": ["7"]}
    found = {
        name: run_grid(spec("sizes", [good], tmp_path / name), axes, **how)
        for name, how in (("here", {}), ("there", {"scheduler": scheduler}))
    }
    assert list(found["there"]) == list(found["here"]) == ["users-7"]
    assert found["there"]["users-7"]["status"] == "complete"
    assert "users-7  01_good                  done" in capfd.readouterr().out
    files = {
        name: {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*")} for name in found
    }
    assert files["here"] == files["there"]
    for path in (tmp_path / "here").rglob("*"):
        if path.suffix in (".csv", ".svg", ".png") or path.name == "verdicts.json":
            other = tmp_path / "there" / path.relative_to(tmp_path / "here")
            assert other.read_bytes() == path.read_bytes()
    with pytest.raises(InputError, match="no such file"):
        run_grid(spec("far", [good], tmp_path, data=tmp_path / "no"), {"users": ["7"]}, scheduler=scheduler)
