"""The command line: help, exit codes, one line for bad input."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from nbformat import read, write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import csrec_core
from csrec_core import suites
from csrec_core.cli import cli
from csrec_core.data import check  # noqa: F401  which keeps the true table of notebooks
from csrec_core.data.books import simulate_books
from csrec_core.data.log import read_log
from csrec_core.data.options import ReadOptions
from csrec_core.report import kernel, parameters, suite
from csrec_core.suites import Notebook

CELL = """\
users: int = 5  # [1, 100] users
path: str = ""  # the data
data: str = "books"  # {books, log} kind
map: str = ""
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one notebook, whose run is pretended."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cell = new_code_cell(CELL, metadata={"tags": ["parameters"]})
    write(new_notebook(cells=[cell]), folder / "01_a.ipynb")
    given = []

    def execute(source, output, parameters, **options):
        given.append(parameters)
        write(new_notebook(), output)

    monkeypatch.setattr(parameters, "notebooks_folder", lambda: folder)
    monkeypatch.setattr(suites, "NOTEBOOKS", {"01_a": Notebook(seconds=60)})
    monkeypatch.setattr(suites, "SUITES", {"quick": {"users": 3}, "shop": {"users": 3}, "full": {}})
    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    monkeypatch.chdir(tmp_path)
    return given


def call(*words):
    return CliRunner().invoke(cli, list(words))


def report(*words):
    return call("report", "--out", "reports", *words)


@pytest.mark.parametrize("command", [[], ["report"], ["clean"]])
def test_every_command_explains_itself_with_an_example(command):
    result = call(*command, "--help")
    assert result.exit_code == 0 and re.search(r"Examples?:\s+csrec", result.output)


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "csrec_core", "report", "--suite", "quik"], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr
        == "csrec: error: unknown suite 'quik': expected one of shop, quick, full, effect, reproduction; "
        "did you mean 'quick'?\n"
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys, csrec_core.cli; print({'torch', 'papermill', 'matplotlib', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_a_report_ends_with_the_time_and_the_index(project, tmp_path):
    result = report()
    assert result.exit_code == 0, result.output
    index = tmp_path / "reports" / "quick" / "index.html"
    *_, wall, last = result.output.splitlines()
    assert wall.startswith("wall time ") and last == str(index) and index.is_file()
    assert project == [{"users": 3}]


def test_parameters_come_from_the_suite_the_file_and_the_command_line(project, tmp_path):
    (tmp_path / "p.yaml").write_text("users: 4\n")
    (tmp_path / "log.csv").write_text(
        "id,step,item,decision,source\n"
        + "".join(f"1,{d},5,{d},{arm}\n" for d in (0, 1) for arm in ("self", "system"))
    )
    report("-f", "p.yaml")
    report("-f", "p.yaml", "-p", "users=6", "--data", "log", "--path", "log.csv", "--map", "user=id,t=step")
    assert project[0] == {"users": 4}
    assert project[1] == {
        "users": 6,
        "data": "log",
        "path": str(tmp_path / "log.csv"),
        "map": "user=id,t=step",
    }


@pytest.mark.parametrize("how", [["-p", "path=log.csv"], ["-f", "p.yaml"]])
def test_data_named_otherwise_are_known_as_well(project, tmp_path, how):
    (tmp_path / "p.yaml").write_text("path: log.csv\n")
    for item in (5, 6):
        rows = "".join(f"1,{d},{item},{d},{arm}\n" for d in (0, 1) for arm in ("self", "system"))
        (tmp_path / "log.csv").write_text("user,t,item,decision,source\n" + rows)
        report("--data", "log", *how)
    assert [given["path"] for given in project] == [str(tmp_path / "log.csv")] * 2


def test_a_grid_comes_from_the_command_line_and_the_file(project, tmp_path):
    (tmp_path / "p.yaml").write_text(
        ".sizes: &sizes [4, 5]\n.common: &common\n  data: books\n<<: *common\ngrid:\n  users: *sizes\n"
    )
    result = report("-f", "p.yaml")
    assert result.exit_code == 0, result.output
    assert [given["users"] for given in project] == [4, 5]
    assert all(given["data"] == "books" for given in project)
    assert result.output.splitlines()[-1] == str(tmp_path / "reports" / "quick-grid" / "index.html")
    project.clear()
    result = report("--run", "g", "-g", "users=7,8,9")
    assert [given["users"] for given in project] == [7, 8, 9]
    assert (tmp_path / "reports" / "g" / "users-9" / "index.html").is_file()


def test_the_list_shows_every_parameter(project):
    result = call("list")
    assert result.exit_code == 0 and project == []
    assert re.search(r"^01_a: ", result.output, re.M)
    assert re.search(r"^  users +int +5 +users \(int in \[1, 100\]\)$", result.output, re.M)
    assert re.search(r"^  data +str +books +kind \(one of books, log\)$", result.output, re.M)


def test_two_runs_are_compared(project, tmp_path):
    report("--run", "a")
    report("--run", "b", "-p", "users=6")
    result = call("compare", "a", "b", "--out", "reports")
    assert result.exit_code == 0 and "All settings are the same." in result.output
    assert result.output.splitlines()[-1] == str(tmp_path / "reports" / "compare-a-b" / "index.html")
    assert call("compare", "a", "c", "--out", "reports").exit_code == 2


def test_a_failure_is_exit_code_1(project, monkeypatch):
    def execute(*args, **options):
        raise RuntimeError("Kernel died")

    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    monkeypatch.setattr(suite.nbformat, "read", lambda *a, **k: new_notebook())
    result = report()
    assert result.exit_code == 1 and "failed" in result.output and "Kernel died" in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "userz=3"], "unknown parameter 'userz'.*did you mean 'users'"),
        (["-p", "users=x"], "parameter 'users': expected int in"),
        (["-p", "users=0"], "parameter 'users': expected int in"),
        (["-p", "users"], "expected name=value"),
        (["--data", "boks"], "did you mean 'books'"),
        (["--data", "boks", "--path", "x"], "unknown data 'boks'.*did you mean 'books'"),
        (["--data", "log"], "data=log needs path"),
        (["--data", "log", "--path", "absent.csv"], "absent.csv: no such file"),
        (["--data", "books", "--path", "shop.csv"], "books is simulated"),
        (["--path", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--suite", "qick"], "unknown suite 'qick'.*did you mean 'quick'"),
        (["--notebook", "01_b"], "unknown notebook '01_b'.*did you mean '01_a'"),
        (["--run", "../x"], "run's name"),
        (["-f", "nowhere.yaml"], "cannot be read"),
        (["-f", "list.yaml"], "list.yaml: list; expected lines 'name: value'"),
        (["-f", "bad.yaml"], "line 2: no YAML"),
        (["-f", "latin.yaml"], "cannot be read"),
        (["-f", "grid.yaml"], "expected 'grid:' to hold"),
        (["--scheduler", "tcp://host:8786"], "--scheduler runs the points of a grid"),
        (["-g", "users"], "-g: expected name=value"),
        (["-g", "users="], "-g: expected name=value,value once"),
        (["-g", "users=1", "-g", "users=2"], "-g: expected name=value,value once"),
        (["-g", "users=1,101"], "parameter 'users': expected int"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(project, tmp_path, words, says):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "grid.yaml").write_text("grid: [1]\n")
    (tmp_path / "bad.yaml").write_text("a: [1\nb")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    result = report(*words)
    assert result.exit_code == 2 and re.search(says, result.stderr)
    assert result.stderr.startswith("csrec: error: ") and len(result.stderr.splitlines()) == 1
    assert project == [] and not (tmp_path / "reports").exists()


@pytest.fixture
def kept(tmp_path):
    """A notebook as it is kept, for `add` to make otherwise."""
    path = tmp_path / "a.ipynb"
    cells = [
        new_markdown_cell("# What?"),
        new_code_cell(CELL.splitlines()[0], metadata={"tags": ["parameters"]}),
    ]

    def add(*more, **metadata):
        write(new_notebook(cells=[*cells, *more], metadata=metadata), path)
        return str(path)

    return add


def test_clean_strips_what_a_run_leaves(kept):
    cell = new_code_cell("1", outputs=[new_output("stream", text="x")], execution_count=3,
                         metadata={"tags": ["x"], "papermill": {}, "execution": {}})  # fmt: skip
    path = kept(cell, papermill={})
    before = Path(path).read_bytes()
    checked = call("clean", "--check", path)
    assert checked.exit_code == 1 and "csrec clean strips them" in checked.output
    assert Path(path).read_bytes() == before
    assert call("clean", path).exit_code == 0
    cleaned = read(path, as_version=4)
    assert cleaned.cells[2].outputs == [] and cleaned.cells[2].execution_count is None
    assert cleaned.cells[2].metadata == {"tags": ["x"]} and "papermill" not in cleaned.metadata
    assert call("clean", "--check", path).exit_code == 0


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (new_code_cell("1\n" * 26), "cell 3: 26 lines; expected at most 25"),
        (new_code_cell("a: int = 1  # x", metadata={"tags": ["parameters"]}), "2 cells tagged 'parameters'"),
    ],
)
def test_clean_checks_that_a_notebook_can_be_read(kept, cell, says):
    result = call("clean", "--check", kept(cell))
    assert result.exit_code == 1 and says in result.output


@pytest.mark.parametrize(
    ("source", "says"),
    [("users = 5", "expected 'name: type = literal'"), ("users: int = 5", "parameter 'users': no comment")],
)
def test_clean_checks_the_parameters(tmp_path, source, says):
    path = tmp_path / "a.ipynb"
    write(new_notebook(cells=[new_code_cell(source, metadata={"tags": ["parameters"]})]), path)
    result = call("clean", "--check", str(path))
    assert result.exit_code == 1 and says in result.output and "cell 1: expected a title" in result.output


NO_SOURCE = (
    '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}}]}'
)


@pytest.mark.parametrize("options", [[], ["--check"]])
@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{}",
        NO_SOURCE,
        "[]",
        "3",
        '{"cells": 3}',
        "[" * 100_000,
        "\0",
        '{"cells": [{"metadata": 3}]}',
    ],
)
def test_clean_refuses_what_is_no_notebook(tmp_path, content, options):
    path = tmp_path / "a.ipynb"
    if content is not None:
        path.write_text(content)
    result = call("clean", *options, str(path))
    assert result.exit_code == 2 and "cannot read the notebook" in result.stderr, result.exception
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_version_is_the_packages():
    assert csrec_core.__version__ in call("--version").output


def audit(*words):
    return CliRunner().invoke(cli, ["graph", *words])


def test_graph_gates_on_verdicts(tmp_path):
    required = ["--require", "theorem,recursion"]
    assert audit(*required).exit_code == 0
    broken = audit("--extra", "S[t-1]->D[t]", *required, "--verdicts", str(tmp_path / "verdicts.json"))
    assert broken.exit_code == 1
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert verdicts["theorem"] is False and verdicts["identifiable"] is True
    assert "breaks" in broken.stdout
    # Without a requirement it is the theorem that must hold; what nothing was computed of is undecided.
    assert audit("--extra", "S[t-1]->D[t]").exit_code == 1
    assert audit("--extra", "D[t-1]->P[t]").exit_code == 0
    assert audit("--require", "certificate", "--without-certificate").exit_code == 3
    # It holds up to t = 3, and at every t it does not.
    late = audit("--extra", "S[t-3]->D[t]")
    assert late.exit_code == 1 and "fails at a t beyond 3" in late.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [("report --sute quick", "--suite"), ("report --sweet", "No such option '--sweet'"), ("reprot", "'report'"),
     ("report --jobs x", "Invalid value for '--jobs'")],
)  # fmt: skip
def test_bad_usage_names_the_option_and_the_nearest_one(words, said):
    result = call(*words.split())
    assert result.exit_code == 2 and said in result.stderr


def test_a_large_log_is_told_its_time_and_offered_whole_histories_of_some_users(
    project, tmp_path, monkeypatch
):
    log = simulate_books(users=300, items=20, steps=2, seed=0).log.rename(columns={"user": "the user"})
    log.to_csv(tmp_path / "big.csv", index=False)
    words = ["--path", str(tmp_path / "big.csv"), "--map", "user=the user"]
    assert "expect" not in report(*words).output
    module = sys.modules["csrec_core.cli.report"]
    monkeypatch.setattr(module, "LONG_REPORT", 1)
    monkeypatch.setattr(module, "SAMPLE", 400)
    said = re.search(r"1,200 exposures: expect about .* minutes.*; with one user in 10, about .*: (--where .*)",
                     report("--run", "all", *words).output)  # fmt: skip
    _, where = shlex.split(said[1])
    options = ReadOptions(map={"user": "the user"}, where=where)
    some = read_log(tmp_path / "big.csv", options=options).log
    assert 10 < some["user"].nunique() < 60
    assert len(some) == 4 * some["user"].nunique()
    assert project


def test_graph_reads_a_file(tmp_path):
    edges = [("P1", "P2"), *((f"{a}{t}", f"D{t}") for a in "PS" for t in (1, 2)), ("D1", "D2")]
    (tmp_path / "own.dot").write_text("digraph {" + "; ".join(f"{a} -> {b}" for a, b in edges) + "}")
    result = audit("--file", str(tmp_path / "own.dot"), "--horizon", "2", "--require", "theorem")
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--require", "theorm"], "unknown verdict 'theorm' in --require.*did you mean 'theorem'"),
        (["--extra", "S9->P1"], "unknown node 'S9'"),
        (["--extra", "D2->D1"], "cycle"),
        (["--exposure", "random"], "unknown exposure 'random'.*did you mean 'randomised'"),
        (["--file", "absent.gml"], "absent.gml"),
    ],
)
def test_graph_refuses_bad_input(words, message):
    result = audit(*words)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
