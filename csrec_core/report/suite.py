"""Running the notebooks of a suite, each to a page; what is done already is not done again."""

import hashlib
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import parent_process
from operator import call
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

from csrec_core.cluster import run_tasks
from csrec_core.errors import InputError, unknown
from csrec_core.files import hash_files, whole_file
from csrec_core.report.handover import write_text
from csrec_core.report.page import render_notebook
from csrec_core.report.plan import READS, Task, grid_points, package_files, plan
from csrec_core.report.provenance import about_data, git_state, now, versions
from csrec_core.report.record import read_json, read_said
from csrec_core.report.report import run_folder
from csrec_core.report.runs import write_index, write_json, write_run
from csrec_core.report.workers import work_off, workers

__all__ = ["run_grid", "run_suite"]


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
    jobs: int = 1,
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
    jobs : int
        Notebooks run at once, each in a process of its own with its share of the cores; one that reads what
        another leaves runs after it. papermill is one to a process.
    echo : callable
        Receives a line for each notebook done.
    """
    _check_name(run)
    for name in only:
        if name not in (stems := [path.stem for path in notebooks]):
            raise unknown("notebook", name, stems)
    about = about_data(data)
    tasks = plan(notebooks, values=values, texts=texts, data_hash=about["hash"], reads=reads)
    if (Path(reports) / run / "grid.json").exists():
        raise InputError(f"{run!r} is a grid of runs: expected another name")
    folder = run_folder(Path(reports) / run)
    entries = dict(read_json(folder / "manifest.json").get("notebooks", {}))
    manifest = {
        "run": run,
        "status": "incomplete",
        "started": now(),
        "parameters": {**(values or {}), **(texts or {})},
        "data": about,
        "code": {"version": hash_files(package_files()), "git": git_state()},
        "versions": versions(),
    }
    todo = {}
    for task in tasks:
        if only and task.name not in only:
            continue
        if not force and _is_done(folder, entries.get(task.name), task):
            echo(f"{task.name:24} unchanged")
            continue
        todo[task.name] = task
    names = [task.name for task in tasks]

    def begin(task: Task) -> None:
        _discard(folder, task.name)
        entries.pop(task.name, None)
        write_run(folder, manifest, entries, names)

    def end(entry: dict) -> None:
        name, error = entry["name"], entry["error"] or ""
        entries[name] = entry
        write_run(folder, manifest, entries, names)
        echo(f"{name:24} {entry['status']:9} {entry['seconds']:6.1f} s  {error}".rstrip())

    with workers(jobs) as pool:
        work = partial(_run_task, folder=folder, manifest=dict(manifest))
        work_off(pool, todo, work, after=reads, jobs=jobs, begin=begin, end=end)
    statuses = {entry["status"] for entry in entries.values()}
    manifest["status"] = "failed" if "failed" in statuses else "complete"
    write_run(folder, manifest, entries, names)
    return manifest


def run_grid(
    run: str,
    notebooks: Sequence[Path],
    *,
    axes: Mapping[str, Sequence[str]],
    reports: Path,
    texts: Mapping[str, str] | None = None,
    jobs: int = 1,
    scheduler: str = "",
    echo: Callable[[str], object] = print,
    **options,
) -> dict:
    """Run the suite at every combination of the axes' values, and return `{point: its manifest}`.

    The points are runs in a folder of their own, `reports/run/<point>`, beside a page that compares them.

    Parameters
    ----------
    axes : mapping
        Parameters, each to the values it takes, as written on the command line.
    jobs : int
        Points run at once, each in a process of its own with its share of the cores.
    scheduler : str
        Address of a Dask scheduler, whose workers run the points in the place of processes here. They need
        this package and must see all files under the same paths; one thread a worker, as papermill is one
        to a process.
    notebooks, reports, texts, echo, **options
        As for `run_suite`.
    """
    _check_name(run)
    parent = Path(reports) / run
    if (parent / "manifest.json").exists():
        raise InputError(f"{run!r} is a run and no grid: expected another name")
    points = grid_points(axes)
    if both := sorted(set(axes) & set(texts or {})):
        raise InputError(
            f"the parameter {both[0]!r} is set, and is an axis of the grid: expected one of them"
        )
    for point in points.values():
        # Before the first point runs, all are known to be right.
        plan(notebooks, values=options.get("values"), texts={**(texts or {}), **point})
    run_folder(parent)
    write_json(parent / "grid.json", {"run": run, "started": now(), "axes": dict(axes), "points": points})
    calls = {}
    for name, point in points.items():
        say = lambda line, name=name: echo(f"{name}  {line}")  # noqa: E731
        if jobs > 1 or scheduler:
            say = partial(_echo_from_afar if scheduler else _echo_point, name)
        own = {"reports": parent, "texts": {**(texts or {}), **point}, "echo": say}
        calls[name] = partial(run_suite, name, notebooks, **own, **options)
    manifests = _on_cluster(calls, scheduler) if scheduler else _in_processes(calls, jobs)
    write_index(parent)
    write_index(Path(reports))
    return manifests


def _in_processes(calls: Mapping[str, Callable[[], dict]], jobs: int) -> dict:
    with workers(jobs) as pool:
        running = {name: pool.submit(work) for name, work in calls.items()}
        return {name: future.result() for name, future in running.items()}


def _on_cluster(calls: Mapping[str, Callable[[], dict]], scheduler: str) -> dict:
    """Call each on a worker; what is wrong with one is raised when the others are done."""
    tasks = {name: (work,) for name, work in calls.items()}
    found = dict(run_tasks(call, tasks, scheduler=scheduler, label="points"))
    for name in calls:
        if isinstance(found[name], InputError):
            raise found[name]
    return {name: found[name] for name in calls}


def _echo_point(name: str, line: str) -> None:
    print(f"{name}  {line}", flush=True)


def _echo_from_afar(name: str, line: str) -> None:
    """Print a line where the worker's client is."""
    from distributed import print as tell

    tell(f"{name}  {line}", flush=True)


class _OwnKernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernel may be registered under the name it goes by."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # Quiet: the interrupt that ends every kernel is no error to be told of.
        return KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]))

    @default("transport_encryption")
    def _encrypt_where_possible(self) -> str:
        return "auto" if zmq.has("curve") else "disabled"


def _run_task(task: Task, *, folder: Path, manifest: Mapping) -> dict:
    """Execute one notebook, write its page, and return its entry in the manifest."""
    started, clock = now(), time.perf_counter()
    executed = folder / "notebooks" / f"{task.name}.ipynb"
    with whole_file(executed) as temporary:
        error = _execute(task, folder, temporary)
    record, said = read_json(folder / "record" / f"{task.name}.json"), read_said(folder, task.name)
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
    write_text(folder / f"{task.name}.html", page.html)
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
            # Bars of several processes would write over each other.
            progress_bar=sys.stderr.isatty() and parent_process() is None,
            store_widget_state=False,
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


def _check_name(run: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*", run):
        raise InputError(f"a run's name is made of letters, digits, '_', '-' and '.', not {run!r}")
