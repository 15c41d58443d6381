"""Running the notebooks of a suite, each to a page; what is done already is not done again."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import nbformat
from tqdm import tqdm

from csrec_core.cluster import run_tasks
from csrec_core.errors import InputError
from csrec_core.files import (
    file_hash,
    hash_files,
    locked,
    now,
    sweep,
    sweep_scratch,
    versions,
    whole_file,
    write_json,
    write_text,
)
from csrec_core.report.front import render_run
from csrec_core.report.history import write_history
from csrec_core.report.index import write_index
from csrec_core.report.kernel import Kernels, share_cores
from csrec_core.report.page import render_guide, render_notebook
from csrec_core.report.plan import PACKAGES, RunSpec, Task, package_files, plan
from csrec_core.report.provenance import about_data, git_state
from csrec_core.report.run import changed_files, read_manifest, read_record, read_run

Echo = Callable[[str], object]


def run_suite(spec: RunSpec, *, echo: Echo = print) -> dict:
    """Run the notebooks, write their pages and the run's index, and return the run's manifest.

    A notebook that fails is rendered up to its error and the rest goes on. One whose parameters, data, code
    and versions are what they were when it last succeeded, and whose files are what they were then, is left
    as it is, unless `force`. After each notebook the manifest and the index are written, so that an
    interrupted run keeps what it has; `echo` receives a line.

    Raises InputError before anything is done; also where another process is at work on the run.
    """
    about = about_data(spec.data)
    tasks = plan(spec, data_hash=about["hash"])
    if (spec.folder / "grid.json").exists():
        raise InputError(f"{spec.run!r} is a grid of runs: expected another name")
    with locked(spec.folder):
        sweep(spec.folder)
        sweep_scratch()
        run = _Running(spec, tasks, about, echo)
        run.work_off()
        return run.manifest


def run_grid(
    spec: RunSpec, axes: Mapping[str, Sequence[str]], *, scheduler: str = "", echo: Echo = print
) -> dict[str, dict]:
    """Run the suite at every combination of the axes' values, and return `{point: its manifest}`.

    The points are runs in a folder of their own, `reports/run/<point>`, beside a page that compares them. The axes
    are parameters, each with the values it takes, as written on the command line. Workers of a Dask `scheduler`, by
    its address, run the points in the place of processes here: they need this package and must see all files under
    the same paths; one thread a worker.
    """
    if (spec.folder / "manifest.json").exists():
        raise InputError(f"{spec.run!r} is a run and no grid: expected another name")
    points = spec.points(axes)
    for point in points.values():
        plan(point)  # before the first point runs, all are known to be right
    set_in = {name: {axis: point.texts[axis] for axis in axes} for name, point in points.items()}
    about = {"run": spec.run, "started": now(), "axes": dict(axes), "points": set_in}
    write_json(spec.folder / "grid.json", about)
    here = spec.jobs == 1 and not scheduler
    # Dask gives its workers one thread each; the kernels that they start are to use all cores.
    share = {} if here or scheduler else share_cores(spec.jobs)
    tasks = {name: (point, share, echo if here else None) for name, point in points.items()}
    found: dict[str, Any] = dict(
        run_tasks(_run_point, tasks, scheduler=scheduler, workers=spec.jobs, label="points")
    )
    for name in points:
        if isinstance(found[name], InputError):
            raise found[name]
    write_index(spec.folder)
    write_index(spec.reports)
    return {name: found[name] for name in points}


def _run_point(spec: RunSpec, share: Mapping[str, str], echo: Echo | None) -> dict:
    """Run a point of a grid, in this process or in a worker, which speaks where its client is."""
    os.environ.update(share)
    if echo is None:
        from distributed import print as tell

        echo = partial(tell, flush=True)
    return run_suite(spec, echo=lambda line: echo(f"{spec.run}  {line}"))


class _Running:
    """A run under way: what is done and what is to do, and how both are written down."""

    def __init__(self, spec: RunSpec, tasks: Sequence[Task], data: Mapping, echo: Echo):
        self.spec, self.echo, self.folder = spec, echo, spec.folder
        self.tasks = {task.name: task for task in tasks}
        self.kernels = Kernels(self.folder, spec.jobs)
        self.manifest: dict[str, Any] = {
            "run": spec.run,
            "status": "incomplete",
            "started": now(),
            "parameters": {**spec.values, **spec.texts},  # what is set, of all notebooks
            "data": data,
            "code": {"version": hash_files(package_files()), "git": git_state()},
            "versions": versions(PACKAGES),
        }
        self.entries = self._intact()
        self.todo = {}
        for name, task in self.tasks.items():
            if spec.only and name not in spec.only:
                continue
            entry = self.entries.get(name)
            if entry and not spec.force and entry["status"] == "done" and entry["key"] == task.key:
                echo(f"{name:24} unchanged")
            else:
                self.todo[name] = task

    def _intact(self) -> dict[str, dict]:
        """Return the manifest's entries of an earlier run whose files are still what they were."""
        if not (self.folder / "manifest.json").exists():
            return {}
        try:
            entries = read_manifest(self.folder)["notebooks"]
        except InputError as error:
            self.echo(f"{error}; all is made anew")
            return {}
        return {
            name: entry for name, entry in entries.items() if not changed_files(self.folder, entry["files"])
        }

    def work_off(self) -> None:
        """Run what is to do, `jobs` at once, a notebook after those that it reads; write down what comes."""
        write_text(self.folder / "reading.html", render_guide(self.spec.run))
        running: dict[Future, Task] = {}
        quiet = self.spec.jobs == 1 or not sys.stderr.isatty()  # one at a time has a bar of its own cells
        bar = tqdm(total=len(self.todo), desc="notebooks", disable=quiet, leave=False)
        with ThreadPoolExecutor(self.spec.jobs) as pool, bar:
            try:
                while self.todo or running:
                    pending = {*self.todo, *(task.name for task in running.values())}
                    free = [
                        task
                        for name, task in self.todo.items()
                        if not pending & set(self.spec.reads.get(name, ()))
                    ]
                    for task in free[: self.spec.jobs - len(running)]:
                        self._begin(task)
                        running[pool.submit(self._execute, task)] = task
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        with tqdm.external_write_mode():
                            self._end(running.pop(future), *future.result())
                        bar.update()
            except BaseException:
                self.kernels.kill()
                raise
        statuses = {entry["status"] for entry in self.entries.values()}
        self.manifest["status"] = "failed" if "failed" in statuses else "complete"
        if said := write_history(read_run(self.folder)):
            self.echo(said)
        self._write()

    def _begin(self, task: Task) -> None:
        """Remove what an earlier run of the notebook left, so that nothing of it is taken for the new."""
        self.todo.pop(task.name)
        self.entries.pop(task.name, None)
        for path in (f"{task.name}.html", f"notebooks/{task.name}.ipynb", f"record/{task.name}.json"):
            (self.folder / path).unlink(missing_ok=True)
        for kind in ("figures", "tables"):
            rmtree(self.folder / kind / task.name, ignore_errors=True)
        self._write()

    def _execute(self, task: Task) -> tuple[str, float, str | None]:
        started, clock = now(), time.perf_counter()
        with whole_file(self._executed(task)) as temporary:
            error = self.kernels.execute(task, temporary)
        return started, round(time.perf_counter() - clock, 2), error

    def _end(self, task: Task, started: str, seconds: float, error: str | None) -> None:
        """Write the page of a notebook that has run, and its entry in the manifest."""
        name = task.name
        try:
            record = read_record(self.folder, name)
        except InputError as broken:
            record, error = {"data_hash": None, "entries": []}, error or str(broken)
        entry: dict[str, Any] = {
            "name": name,
            "error": error,
            "started": started,
            "seconds": seconds,
            "parameters": dict(task.parameters),
            "data_hash": record["data_hash"] or self.manifest["data"]["hash"],
            "code_version": task.code_version,
            "versions": self.manifest["versions"],
            "key": task.key,
        }
        render = partial(
            render_notebook,
            declared=task.declared,
            said=record["entries"],
            folder=task.path.parent,
            manifest=self.manifest,
            entry=entry,
        )
        try:
            page = render(nbformat.read(self._executed(task), as_version=4))
        except ValueError as broken:
            entry["error"] = f"no page: {broken}"
            page = render(nbformat.v4.new_notebook())
        write_text(self.folder / f"{name}.html", page.html)
        files = [f"{name}.html", f"notebooks/{name}.ipynb", f"record/{name}.json"]
        files += [file for item in record["entries"] for file in item.get("files", [])]
        hashes = {file: sha for file in files if (sha := file_hash(self.folder / file))}
        status = "failed" if entry["error"] else "done"
        self.entries[name] = entry | {"status": status, "title": page.title, "files": hashes}
        self._write()
        self.echo(f"{name:24} {status:9} {seconds:6.1f} s  {entry['error'] or ''}".rstrip())

    def _executed(self, task: Task) -> Path:
        return self.folder / "notebooks" / f"{task.name}.ipynb"

    def _write(self) -> None:
        """Write the manifest, the verdicts, the run's page and the list of runs beside it."""
        self.manifest["notebooks"] = {name: self.entries[name] for name in self.tasks if name in self.entries}
        seconds = sum(entry["seconds"] for entry in self.manifest["notebooks"].values())
        self.manifest["seconds"] = round(seconds, 2)
        write_json(self.folder / "manifest.json", self.manifest)
        run = read_run(self.folder)
        write_json(self.folder / "verdicts.json", run.verdicts)
        write_text(self.folder / "index.html", render_run(run))
        write_index(self.spec.reports)
