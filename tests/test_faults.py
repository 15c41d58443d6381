"""What is broken, cut off, swapped or left by a crash: said, made anew, and nothing else is touched."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook
from run_files import write_manifest, write_record
from test_suite import notebook, spec
from torch import nn

from csrec_core import cache as cache_module
from csrec_core import files
from csrec_core.cache import Cache
from csrec_core.cli import cli
from csrec_core.errors import InputError
from csrec_core.files import Scratch, locked, sweep, sweep_scratch, whole_file
from csrec_core.models.train import Training, fit
from csrec_core.report import kernel, plan
from csrec_core.report.index import write_index
from csrec_core.report.run import find_run
from csrec_core.report.suite import run_suite


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: done.append(os.fstat(handle).st_size))
    with whole_file(tmp_path / ("n" * 240 + ".txt")) as temporary:
        temporary.write_text("whole")
        assert temporary.name.startswith(files.UNDER_WAY)
    assert done == [5]
    (tmp_path / "deep").mkdir()
    for path in (temporary, tmp_path / "deep" / temporary.name):
        path.write_text("half")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["n" * 240 + ".txt"]


@pytest.mark.parametrize(
    "library", [OSError, RuntimeError]
)  # safetensors and DuckDB raise errors of their own
def test_a_full_disk_is_named_and_leaves_nothing_half_written(library, tmp_path, monkeypatch):
    def full(frame, path, **options):
        try:
            Path("/dev/full").write_bytes(b"as on a disk without room")
        except OSError as error:
            raise (
                error if library is OSError else library(f"I/O error: {error.strerror} (os error 28)")
            ) from None

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    command = ["data", "books", "--users", "5", "--steps", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2 and not list(tmp_path.iterdir())
    assert result.stderr == f"csrec: error: {tmp_path / 'items.parquet'}: No space left on device\n"


def hold(folder, ready, release):
    with locked(folder):
        ready.set()
        release.wait(60)


def test_a_lock_says_who_and_since_when_and_a_dead_one_is_taken_over(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready, release))
    holder.start()
    ready.wait(60)
    with (
        pytest.raises(InputError, match=rf"process {holder.pid} on .* since 20.*; wait for it"),
        locked(tmp_path),
    ):
        pass
    holder.kill()
    holder.join()
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()
    assert not list(tmp_path.iterdir())


def leave_scratch(tell):
    held = Scratch()
    tell.send(held.name)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_temporary_folder_of_a_killed_process_goes_and_a_held_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    hear, tell = context.Pipe()
    killed = context.Process(target=leave_scratch, args=(tell,))
    killed.start()
    left = Path(hear.recv())
    killed.join()
    assert left.is_dir()
    with Scratch() as held:
        assert [str(path) for path in tmp_path.iterdir()] == [held]
        sweep_scratch()
        assert Path(held).is_dir()
    assert not list(tmp_path.iterdir())


def test_a_kernel_ends_whose_runner_was_gone_before_it_looked(tmp_path):
    argv = kernel.Kernels(tmp_path)._manager(set())().kernel_spec.argv
    argv = [word.replace("{connection_file}", str(tmp_path / "kernel.json")) for word in argv]
    script = f"import os, subprocess, sys; sys.exit(subprocess.run({argv!r}).returncode)"  # not its runner
    ended = subprocess.run([sys.executable, "-c", script], timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert ended.returncode == 1


def flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) * 3 // 4] ^= 1
    return bytes(changed)


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped": flip,
    "garbage": lambda content: b"\0[{",
    "other": lambda content: b"[]",
}


@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
@pytest.mark.parametrize("ending", ["", "-cells.parquet"])
def test_a_broken_entry_of_a_cache_is_made_anew(tmp_path, damage, ending):
    kept, made = Cache(tmp_path), []

    def tables():
        made.append("tables")
        return pd.DataFrame({"user": range(100)}), pd.DataFrame({"rank": [1.5]})

    def model(checkpoint):
        made.append("model")
        return nn.Linear(200, 1), pd.DataFrame({"train": [0.5]})

    def read():
        return kept.tables("t", tables)[0], kept.model("m", lambda: nn.Linear(200, 1), model)

    read()
    for name in (f"t{ending or '.json'}", f"m{'.safetensors' if ending else '.json'}"):
        path = tmp_path / name
        path.unlink() if damage == "gone" else path.write_bytes(DAMAGES[damage](path.read_bytes()))
    cells, _ = read()
    assert made == ["tables", "model"] * 2 and cells["user"].tolist() == list(range(100))
    read()
    assert len(made) == 4


def test_models_that_change_places_are_made_anew(tmp_path):
    kept, made = Cache(tmp_path), []

    def train(checkpoint):
        made.append(checkpoint.name)
        return nn.Linear(2, 1), pd.DataFrame()

    models = {name: kept.model(name, lambda: nn.Linear(2, 1), train) for name in "ab"}
    assert not torch.equal(models["a"].weight, models["b"].weight)
    names = [tmp_path / f"{name}.safetensors" for name in "ab"]
    contents = [path.read_bytes() for path in names]
    for path, content in zip(names, contents[::-1], strict=True):
        path.write_bytes(content)
    for name in "ab":
        kept.model(name, lambda: nn.Linear(2, 1), train)
    assert len(made) == 4


def test_a_cache_is_of_the_versions_that_computed_it(tmp_path, monkeypatch):
    before = Cache.of(tmp_path, "models", ["x"])
    assert Cache.of(tmp_path, "models", ["x"]) == before != Cache.of(tmp_path, "models", ["y"])
    monkeypatch.setattr(cache_module, "versions", lambda: {"numpy": "1.0"})
    assert Cache.of(tmp_path, "models", ["x"]) != before


@pytest.mark.parametrize("damage", [*DAMAGES, "another's"])
def test_a_broken_state_of_a_training_is_as_good_as_none(tmp_path, damage):
    rows = torch.arange(40)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))

    def train(checkpoint, stop=False):
        torch.manual_seed(0)
        model, calls = nn.Linear(3, 1), []

        def validate():
            calls.append(1)
            if stop and len(calls) == 3:
                raise KeyboardInterrupt
            return model(x).square().mean().item()

        fit(model, lambda batch: model(x[batch]).square().mean(), validate, rows,
            training=Training(epochs=5, batch=8), label="x", checkpoint=checkpoint)  # fmt: skip
        return model

    whole = train(None)
    path = tmp_path / "a.part.safetensors"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("csrec_core.models.train.SAVE_EVERY", 0.0)
        train(path, stop=True)
    if damage == "another's":
        path = path.rename(tmp_path / "b.part.safetensors")
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert torch.equal(train(path).weight, whole.weight) and not path.exists()


SAYS = """\
from csrec_core.report.report import Report
report = Report("{name}", out=out)
report.finding("It is.", number=users)
report.table(__import__("pandas").DataFrame({{"x": [1]}}), "t", caption="T.")
"""


@pytest.fixture
def pretend(monkeypatch):
    """Notebooks whose code runs in this process; the names of those that ran."""
    ran = []

    def execute(source, output, parameters, **options):
        name = Path(source).stem
        ran.append(name)
        exec(SAYS.format(name=name), {"users": 5, **parameters})
        write(new_notebook(cells=[new_code_cell("1", execution_count=1)]), output)

    monkeypatch.setattr(kernel.papermill, "execute_notebook", execute)
    return ran


@pytest.fixture
def two(tmp_path):
    return [notebook(tmp_path, name, "pass") for name in ("01_a", "02_b")]


def run(two, tmp_path, **options):
    lines = []
    run_suite(spec("run", two, tmp_path, **options), echo=lines.append)
    return tmp_path / "reports" / "run", lines


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["02_b.html", "record/02_b.json", "tables/02_b/t.csv"])
def test_a_broken_file_of_a_run_is_known_and_made_anew(pretend, two, tmp_path, damage, file):
    folder, _ = run(two, tmp_path)
    before = (folder / "tables/02_b/t.csv").read_bytes()
    (folder / file).write_bytes(DAMAGES[damage]((folder / file).read_bytes()))
    shown = verify(tmp_path)
    assert shown.exit_code == 1
    assert f"{file} changed" in shown.output and "intact" in shown.output
    pretend.clear()
    run(two, tmp_path)
    assert pretend == ["02_b"] and (folder / "tables/02_b/t.csv").read_bytes() == before
    assert verify(tmp_path).exit_code == 0


def verify(tmp_path):
    return CliRunner().invoke(cli, ["verify", "run", "--out", str(tmp_path / "reports")])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_manifest_is_said_and_all_made_anew(pretend, two, tmp_path, damage):
    folder, _ = run(two, tmp_path)
    path = folder / "manifest.json"
    path.write_bytes(DAMAGES[damage](path.read_bytes().replace(b'"status": "done"', b'"status": 3')))
    pretend.clear()
    _, lines = run(two, tmp_path)
    assert pretend == ["01_a", "02_b"] and "manifest.json" in lines[0] and "all is made anew" in lines[0]
    assert json.loads(path.read_text())["status"] == "complete"


def test_another_version_is_another_result_and_each_page_says_its_own(pretend, two, tmp_path, monkeypatch):
    run(two, tmp_path)
    newer = {**plan.versions(plan.PACKAGES), "numpy": "9.9"}
    monkeypatch.setattr(plan, "versions", lambda packages: newer)
    monkeypatch.setattr("csrec_core.report.suite.versions", lambda packages: newer)
    pretend.clear()
    folder, _ = run(two, tmp_path, only=["02_b"])
    assert pretend == ["02_b"]
    entries = json.loads((folder / "manifest.json").read_text())["notebooks"]
    assert entries["02_b"]["versions"]["numpy"] == "9.9" != entries["01_a"]["versions"]["numpy"]
    assert "numpy 9.9" in (folder / "02_b.html").read_text()
    assert "numpy 9.9" not in (folder / "01_a.html").read_text()


def test_what_a_killed_run_left_half_written_is_removed(pretend, two, tmp_path):
    folder, _ = run(two, tmp_path)
    left = [folder / ".csrec-x.ipynb", folder / "record" / ".csrec-y.json", folder.parent / ".csrec-z.html"]
    for path in left:
        path.write_text("half")
    run(two, tmp_path)
    assert not any(path.exists() for path in left)


def test_two_runs_do_not_share_a_folder(pretend, two, tmp_path):
    folder, _ = run(two, tmp_path)
    with locked(folder), pytest.raises(InputError, match=f"process {os.getpid()} .* is at work in it"):
        run(two, tmp_path, force=True)
    assert len(pretend) == 2


BROKEN = {
    "garbage": "\0{",
    "a list": "[]",
    "no notebooks": '{"status": "complete"}',
    "deep": '{"notebooks": ' + "[" * 100_000,
    "a name that leads out": json.dumps({"notebooks": {"../../x": {}}}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["manifest.json", "grid.json", "comparison.json"])
def test_a_broken_sibling_is_named_and_skipped(tmp_path, name, content):
    write_manifest(tmp_path / "good", ["01_a"])
    write_manifest(tmp_path / "bad", ["01_a"])
    (tmp_path / "bad" / name).write_text(content)
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert 'href="good/index.html"' in page and "Cannot be read" in page and f"bad: bad/{name}" in page


ENTRIES = {
    "finding": {"kind": "finding", "text": "It is.", "numbers": {"x": {"value": 1.0}}},
    "formula": {"kind": "finding", "text": "It is $\\frac{a$.", "numbers": {}},
    "numbers": {"kind": "finding", "text": "It is.", "numbers": {"x": {"value": "high"}}},
    "files": {"kind": "table", "slug": "t", "caption": "T.", "files": ["../../../../etc/passwd"]},
    "kind": {"text": "It is."},
    "list": [],
}


@pytest.mark.parametrize("kind", [kind for kind in ENTRIES if kind != "finding"])
def test_a_broken_record_is_refused_by_name(tmp_path, kind):
    for name in ("good", "bad"):
        write_manifest(tmp_path / name, ["01_a"])
        write_record(
            tmp_path / name, "01_a", [ENTRIES["finding"], ENTRIES[kind if name == "bad" else "finding"]]
        )
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert 'href="good/index.html"' in page and "bad: " in page
    if kind == "formula":
        return
    for words in (["figures", "bad"], ["compare", "good", "bad"]):
        result = CliRunner().invoke(cli, [*words, "--out", str(tmp_path)])
        assert result.exit_code == 2 and result.stderr.startswith("csrec: error: ")
        assert len(result.stderr.splitlines()) == 1 and len(result.stderr) < 420
    assert find_run(tmp_path, "good").numbers["value"].tolist() == [1.0, 1.0]


SLOW = """\
import time
from csrec_core.report.report import Report
report = Report("01_slow", out=out)
(report.folder / "begun").touch()
time.sleep(120)
"""
RUNNER = """\
import sys
from pathlib import Path
from csrec_core.cli import main
from csrec_core import suites
from csrec_core.report import parameters
parameters.notebooks_folder = lambda folder=Path(sys.argv[1]): folder
suites.NOTEBOOKS, suites.SUITES = {"01_slow": suites.Notebook()}, {"quick": {}}
sys.argv[1:] = ["report", "--run", "r", "--out", sys.argv[2]]
main()
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_kernel_ends_with_its_runner(tmp_path, sign):
    notebook(tmp_path, "01_slow", SLOW)
    reports = tmp_path / "reports"
    words = [sys.executable, "-c", RUNNER, str(tmp_path), str(reports)]
    runner = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    patience = time.monotonic() + 120
    while not (reports / "r" / "begun").exists():
        assert time.monotonic() < patience and runner.poll() is None
        time.sleep(0.1)
    assert kernels(reports)
    runner.send_signal(sign)
    said = runner.communicate(timeout=30)[1]
    assert runner.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    assert "interrupted" in said or sign == signal.SIGKILL
    time.sleep(3.0 if sign == signal.SIGKILL else 0.5)
    assert not kernels(reports)
    if sign == signal.SIGTERM:
        assert not [path for path in reports.rglob(".*") if path.name != ".lock"]
        assert not list(reports.rglob(".lock"))


def kernels(reports):
    """The kernels that work on these reports."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended in the meantime
            words = path.read_text(errors="replace")
            found += [words] if "ipykernel_launcher" in words and str(reports) in words else []
    return found
