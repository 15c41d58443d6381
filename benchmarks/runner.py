"""What `csrec report` costs over plain papermill on the same notebook, and how large the pages are.

    python benchmarks/runner.py [--repeats 5] [--notebook 02_data] [--run reports/quick]

The notebook runs small, alternately by `run_suite` and by papermill's own function in this process, kernels
included. Printed is the ratio of the medians, of CPU seconds, which other work on the machine disturbs less
than those of the clock. With `--run`, a finished run's seconds and page sizes are listed.
"""

import argparse
import json
import logging
import resource
import statistics
import tempfile
from pathlib import Path

import papermill

from csrec_core.report.parameters import notebooks_folder
from csrec_core.report.plan import RunSpec
from csrec_core.report.suite import run_suite

SMALL = {"users": 200, "items": 60, "steps": 8}


def cpu() -> float:
    """Return the CPU seconds of this process and of all that it has started and seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def seconds(work, *args, **options) -> float:
    """Return the CPU seconds the work takes."""
    before = cpu()
    work(*args, **options)
    return cpu() - before


def compare(name: str, repeats: int) -> None:
    """Print the seconds of both, and their ratio."""
    notebook = notebooks_folder() / f"{name}.ipynb"
    times: dict[str, list[float]] = {"papermill": [], "csrec": []}
    logging.getLogger("papermill").setLevel(logging.ERROR)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            given = {**SMALL, "out": str(Path(folder) / "plain")}
            plain = {"kernel_name": "python3", "progress_bar": False}
            times["papermill"].append(
                seconds(papermill.execute_notebook, notebook, f"{folder}/out.ipynb", given, **plain)
            )
            spec = RunSpec(run="run", notebooks=[notebook], reports=Path(folder), values=SMALL)
            times["csrec"].append(seconds(run_suite, spec, echo=lambda line: None))
    plain, ours = (statistics.median(times[name]) for name in ("papermill", "csrec"))
    print(f"{name}, median of {repeats}: papermill {plain:.2f} CPU s, csrec {ours:.2f}: {ours / plain:.3f}")


def list_run(folder: Path) -> None:
    """Print seconds and size of every notebook of a run."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["notebooks"].items():
        size = (folder / f"{name}.html").stat().st_size / 1e6
        figures = sum(1 for file in entry["files"] if file.endswith(".svg"))
        print(f"{name:22} {entry['seconds']:7.1f} s  {size:5.2f} MB  {figures:2} figures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--notebook", default="02_data")
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    compare(given.notebook, given.repeats)
    if given.run:
        list_run(given.run)
