"""Running the notebooks of a suite, each to a page; what is done already is not done again."""

import hashlib
import json
import logging
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import nbformat
import papermill
import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from csrec_core import __version__
from csrec_core.errors import InputError, unknown
from csrec_core.files import hash_files, whole_file
from csrec_core.report.page import of_kind, render_notebook, render_run, render_runs
from csrec_core.report.parameters import Parameter, read_parameters, resolve
from csrec_core.report.report import project_folder, run_folder

__all__ = ["NOTEBOOKS", "PARTS", "READS", "SUITES", "Task", "plan", "run_suite"]

NOTEBOOKS = ("01_causal_graph", "02_data", "03_train", "04_treatment_effect", "05_reproduction", "06_policy")
# What a suite sets where the command line says nothing.
SUITES: dict[str, dict[str, object]] = {
    "quick": {"users": 2000, "patience": 3},
    "full": {"users": 5000},
    "effect": {},
    "reproduction": {
        "sample": 3000,
        "backbones": "gru4rec, caser, sasrec, bert4rec, fmlprec, bsarec",
        "over": "fmlprec, sasrec, bsarec, bert4rec",
        "seeds": 3,
        "passes": 7,
        "prefix_users": 1000,
    },
}
# The notebooks of a suite that leaves some out.
PARTS = {"effect": ("04_treatment_effect", "06_policy"), "reproduction": ("05_reproduction",)}
# Whose artefacts a notebook reads: it is redone when they are.
READS = {"03_train": ("02_data",), "04_treatment_effect": ("03_train",), "06_policy": ("03_train",)}
PACKAGES = ("numpy", "pandas", "torch", "scikit-learn", "networkx", "dowhy", "matplotlib", "papermill")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One notebook to run: where it is, what it declares and is given, and the key of its result."""

    path: Path
    declared: Mapping[str, Parameter]
    parameters: Mapping[str, object]
    code_version: str
    key: str

    @property
    def name(self) -> str:
        """The notebook's name, `03_train`."""
        return self.path.stem


def plan(
    notebooks: Sequence[Path],
    *,
    values: Mapping[str, object] | None = None,
    texts: Mapping[str, str] | None = None,
    data_hash: str | None = None,
    reads: Mapping[str, Sequence[str]] = READS,
) -> list[Task]:
    """Return the tasks of a run, all their parameters checked; raises InputError before anything is done.

    Parameters
    ----------
    notebooks : sequence of paths
        The notebooks, in the order they run.
    values : mapping, optional
        Parameters of any of them, typed, as from YAML.
    texts : mapping, optional
        Parameters as written on the command line; they go before `values`.
    data_hash : str, optional
        Hash of the data the notebooks are given.
    reads : mapping, optional
        Whose artefacts a notebook reads.
    """
    declared = {path: read_parameters(path) for path in notebooks}
    given = resolve(declared, values or {}, texts or {})
    package = _package_files()
    keys: dict[str, str] = {}
    tasks = []
    for path, parameters in declared.items():
        version = hash_files([*package, path])
        before = [keys[name] for name in reads.get(path.stem, ()) if name in keys]
        content = json.dumps([given[path], data_hash, version, before], sort_keys=True)
        key = keys[path.stem] = hashlib.sha256(content.encode()).hexdigest()
        tasks.append(
            Task(path=path, declared=parameters, parameters=given[path], code_version=version, key=key)
        )
    return tasks


def run_suite(
    run: str,
    notebooks: Sequence[Path],
    *,
    reports: Path,
    values: Mapping[str, object] | None = None,
    texts: Mapping[str, str] | None = None,
    data: Path | None = None,
    only: Sequence[str] = (),
    force: bool = False,
    reads: Mapping[str, Sequence[str]] = READS,
    echo: Callable[[str], object] = print,
) -> dict:
    """Run the notebooks, write their pages and the run's index, and return the run's manifest.

    A notebook that fails is rendered up to its error and the rest goes on. One whose parameters, data and
    code are what they were when it last succeeded is left as it is, unless `force`. After each notebook
    the manifest and the index are written, so that an interrupted run keeps what it has.

    Parameters
    ----------
    run : str
        The run's name: its folder in `reports`.
    notebooks, values, texts, reads
        As for `plan`.
    reports : path
        The folder of all runs.
    data : path, optional
        The file, or the folder of files, that the run is about.
    only : sequence of str, optional
        The notebooks to run; the rest is left as it is.
    echo : callable
        Receives a line for each notebook done.
    """
    if not re.fullmatch(r"\w[\w.-]*", run):
        raise InputError(f"a run's name is made of letters, digits, '_', '-' and '.', not {run!r}")
    for name in only:
        if name not in (stems := [path.stem for path in notebooks]):
            raise unknown("notebook", name, stems)
    about = _about_data(data)
    tasks = plan(notebooks, values=values, texts=texts, data_hash=about["hash"], reads=reads)
    folder = run_folder(Path(reports) / run)
    entries = dict(_read(folder / "manifest.json").get("notebooks", {}))
    manifest = {
        "run": run,
        "status": "incomplete",
        "started": _now(),
        "parameters": {**(values or {}), **(texts or {})},
        "data": about,
        "code": {"version": hash_files(_package_files()), "git": _git()},
        "versions": _versions(),
    }
    for task in tasks:
        if only and task.name not in only:
            continue
        if not force and _is_done(folder, entries.get(task.name), task):
            echo(f"{task.name:24} unchanged")
            continue
        _discard(folder, task.name)
        entries.pop(task.name, None)
        _write_run(folder, manifest, entries, tasks)
        entries[task.name] = entry = _run_task(task, folder, manifest)
        _write_run(folder, manifest, entries, tasks)
        echo(f"{task.name:24} {entry['status']:9} {entry['seconds']:6.1f} s  {entry['error'] or ''}".rstrip())
    statuses = {entry["status"] for entry in entries.values()}
    manifest["status"] = "failed" if "failed" in statuses else "complete"
    _write_run(folder, manifest, entries, tasks)
    return manifest


class _OwnKernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernel may be registered under the name it goes by."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # Quiet: the interrupt that ends every kernel is no error to be told of.
        return KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]))

    @default("transport_encryption")
    def _encrypt_where_possible(self) -> str:
        return "auto" if zmq.has("curve") else "disabled"


def _run_task(task: Task, folder: Path, manifest: Mapping) -> dict:
    """Execute one notebook, write its page, and return its entry in the manifest."""
    started, clock = _now(), time.perf_counter()
    executed = folder / "notebooks" / f"{task.name}.ipynb"
    with whole_file(executed) as temporary:
        error = _execute(task, folder, temporary)
    record, said = _read(folder / "record" / f"{task.name}.json"), _said(folder, task.name)
    entry = {
        "name": task.name,
        "status": "failed" if error else "done",
        "error": error,
        "started": started,
        "seconds": round(time.perf_counter() - clock, 2),
        "parameters": dict(task.parameters),
        "data_hash": record.get("data_hash") or manifest["data"]["hash"],
        "code_version": task.code_version,
        "key": task.key,
    }
    notebook = nbformat.read(executed, as_version=4)
    about = {"declared": task.declared, "said": said, "manifest": manifest, "folder": task.path.parent}
    try:
        page = render_notebook(notebook, entry=entry, **about)
    except ValueError as broken:
        entry |= {"status": "failed", "error": f"no page: {broken}"}
        page = render_notebook(nbformat.v4.new_notebook(), entry=entry, **about)
    _write(folder / f"{task.name}.html", page.html)
    files = [f"{task.name}.html", f"notebooks/{task.name}.ipynb"]
    files += [name for item in said for name in item.get("files", [])]
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    return entry | {"title": page.title, "files": hashes}


def _execute(task: Task, folder: Path, output: Path) -> str | None:
    """Run the notebook by papermill in a kernel of this interpreter; return its error, if any."""
    # papermill's own parser of parameters warns of lines that it cannot read; they are checked already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    given = {**task.parameters, **({"out": str(folder)} if "out" in task.declared else {})}
    try:
        papermill.execute_notebook(
            _literal(task.path),
            _literal(output),
            given,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_OwnKernel,
            progress_bar=sys.stderr.isatty(),
        )
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (CellExecutionError, RuntimeError) as error:
        # A kernel that died, or never came to life.
        return f"{type(error).__name__}: {error}"
    return None


def _literal(path: Path) -> str:
    """Return the path such that papermill, which formats it, leaves it as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _said(folder: Path, name: str) -> list[dict]:
    """Return what the notebook said in the run, in order."""
    return _read(folder / "record" / f"{name}.json").get("entries", [])


def _is_done(folder: Path, entry: Mapping | None, task: Task) -> bool:
    return bool(
        entry
        and entry["status"] == "done"
        and entry["key"] == task.key
        and all((folder / name).is_file() for name in entry["files"])
    )


def _discard(folder: Path, name: str) -> None:
    """Remove what an earlier run of the notebook left, so that nothing of it is taken for the new one's."""
    for path in (
        folder / f"{name}.html",
        folder / "notebooks" / f"{name}.ipynb",
        folder / "record" / f"{name}.json",
    ):
        path.unlink(missing_ok=True)
    for kind in ("figures", "tables"):
        shutil.rmtree(folder / kind / name, ignore_errors=True)


def _write_run(folder: Path, manifest: dict, entries: Mapping[str, dict], tasks: Sequence[Task]) -> None:
    """Write the manifest, the verdicts, the run's page and the list of runs."""
    manifest["notebooks"] = {task.name: entries[task.name] for task in tasks if task.name in entries}
    manifest["seconds"] = round(sum(entry["seconds"] for entry in manifest["notebooks"].values()), 2)
    said = {name: _said(folder, name) for name in manifest["notebooks"]}
    # A notebook that failed must not pass a gate by having said nothing.
    verdicts = {
        name: {"finished": {"holds": entry["status"] == "done", "detail": entry["error"] or ""}}
        | {
            verdict["name"]: {"holds": verdict["holds"], "detail": verdict["detail"]}
            for verdict in of_kind(said[name], "verdict")
        }
        for name, entry in manifest["notebooks"].items()
    }
    _write_json(folder / "manifest.json", manifest)
    _write_json(folder / "verdicts.json", verdicts)
    _write(folder / "index.html", render_run(manifest, said))
    _write_runs(folder.parent)


def _write_runs(reports: Path) -> None:
    manifests = [_read(path) for path in sorted(reports.glob("*/manifest.json"))]
    findings = {}
    for manifest in manifests:
        for name, entry in manifest["notebooks"].items():
            found = of_kind(_said(reports / manifest["run"], name), "finding")
            if found and entry["status"] == "done":
                # The last notebook has the last word: the effect.
                findings[manifest["run"]] = found[0]["text"]
    _write(reports / "index.html", render_runs(manifests, findings))


def _about_data(path: Path | None) -> dict:
    """Return where the data lies and its hash; both are None for a run that makes its own."""
    if path is None:
        return {"path": None, "hash": None}
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {"path": str(path), "hash": hash_files(files)}


def _package_files() -> list[Path]:
    """Return the sources of the package, without the notebooks that an installed one carries."""
    package = Path(__file__).resolve().parents[1]
    kinds = {".py", ".j2", ".css", ".json", ".mplstyle"}
    files = (path for path in package.rglob("*") if path.suffix in kinds)
    return sorted(path for path in files if "notebooks" not in path.relative_to(package).parts)


def _git() -> dict | None:
    """Return the checkout's commit, and whether anything in it is not committed; None outside of one."""
    root = project_folder()
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "csrec-core": __version__}
    return own | {name: metadata.version(name) for name in PACKAGES}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path: Path) -> dict:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_json(path: Path, content: Mapping) -> None:
    _write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
