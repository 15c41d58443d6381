"""`csrec report`: running the notebooks, once or over a grid."""

import math
import os
import shlex
import sys
import time
from pathlib import Path

import click

from csrec_core import suites
from csrec_core.cli.program import FILE, FOLDER, cli
from csrec_core.cli.reading import chosen_options, guessed_options, reading_options
from csrec_core.cli.runs import reports_folder
from csrec_core.errors import InputError, shown
from csrec_core.files import check_path, read_mapping

LONG_REPORT = 300  # expected seconds from which a sample is offered
SAMPLE = 500_000  # exposures of a sample, at most

EXAMPLES = """\
\b
Examples:
  csrec report --run shop --path shop.csv --as out/log.yaml -p seed=1
  csrec report --run sizes -g backbone=sasrec,bsarec -g seed=1,2,3 --jobs 2
  csrec report --run weekly -f params.yaml"""


@cli.command(epilog=EXAMPLES)
@click.option("--run", metavar="NAME", help="Name of the run and its folder.  [default: the suite's]")
@click.option(
    "--suite",
    metavar="shop|quick|full|effect|reproduction",
    help="What to do and how much.  [default: shop for a log, else quick]",
)
@click.option("-p", "texts", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("-f", "parameters", type=FILE, metavar="FILE", help="Parameters, and a grid, as YAML.")
@click.option(
    "-g", "axes", multiple=True, metavar="NAME=V1,V2,...", help="Run at each value; repeated, at each pair."
)
@click.option(
    "--data",
    metavar="KIND",
    help="Where the log comes from: books, gpt4books, ebnerd, mssd, sequences or log.",
)
@click.option("--path", type=FILE, help="The file or folder that holds the data.")
@reading_options
@click.option("--out", type=FOLDER, metavar="DIR", help="Folder of all runs.  [default: the clone's reports]")
@click.option("--force", is_flag=True, help="Run again what is up to date.")
@click.option("--notebook", "only", multiple=True, metavar="NAME", help="Run this one only; may be repeated.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes at once, sharing the cores.  [default: 2 where there are as many, 1 for a grid]",
)
@click.option(
    "--scheduler",
    default="",
    metavar="ADDRESS",
    help="A Dask cluster for the points of a grid: tcp://host:8786.",
)
@click.option(
    "--require", default="", metavar="NAME,NAME", help="Verdicts that must hold: effect, overlap, and others."
)
def report(
    run, suite, texts, parameters, axes, data, path, out, force, only, jobs, scheduler, require, **chosen
):
    """Run the notebooks and write their pages.

    Writes a page for each notebook of the suite, its figures with their data, and an index of all. What is
    up to date, and as it was written, is left as it is. Exits with 1 if a notebook failed or a required
    verdict fails, with 4 if one is undecided or not tested, with 2 if the input is wrong.
    """
    from csrec_core.report.gate import read_requirements
    from csrec_core.report.suite import run_grid, run_suite

    clock, required = time.perf_counter(), read_requirements(require)
    given, grid = read_yaml(parameters)
    grid |= {name: text.split(",") for name, text in read_pairs(axes, "-g").items()}
    if scheduler and not grid:
        raise InputError("--scheduler runs the points of a grid; expected -g name=value,value beside it")
    options, texts = chosen_options(**chosen), read_pairs(texts, "-p")
    if path and not {"data", "map"} & {*texts, *given} and data in (None, "log"):
        from csrec_core.data.check import find_kind

        data = find_kind(path)
        options = guessed_options(path, options) if data == "log" else options
    named = {"data": data, "path": path and str(path), "map": str(options) or None}
    texts = texts | {name: value for name, value in named.items() if value is not None}
    suite = suite or ("shop" if (given | texts).get("data") == "log" else "quick")
    jobs = jobs or (1 if grid else min(2, os.cpu_count() or 1))
    about = {"only": only, "force": force, "jobs": jobs, "reports": reports_folder(out)}
    spec = _spec(suite, run or (f"{suite}-grid" if grid else suite), given, texts, **about)
    if grid:
        points = run_grid(spec, grid, scheduler=scheduler, echo=click.echo)
        manifests = {spec.folder / name: manifest for name, manifest in points.items()}
    else:
        manifests = {spec.folder: run_suite(spec, echo=click.echo)}
    if str(options):
        from csrec_core.data.options import write_options

        write_options(options, spec.folder / "log.yaml")
    click.echo(f"wall time {time.perf_counter() - clock:.1f} s")
    click.echo(spec.folder / "index.html")
    complete = all(manifest["status"] == "complete" for manifest in manifests.values())
    codes = [_gate(folder, required) for folder in manifests if required]
    sys.exit(1 if not complete or 1 in codes else max(codes, default=0))


def _gate(folder, required):
    """Say which required verdicts of a run do not hold; return the exit code."""
    from csrec_core.report.gate import gate
    from csrec_core.report.run import read_run

    code, lines = gate(read_run(folder), required)
    for line in lines:
        click.echo(line, err=True)
    return code


def _spec(suite, run, given, texts, **about):
    """Return what a run is to be, its log and design read once before anything is done."""
    from csrec_core.report.parameters import notebooks_folder
    from csrec_core.report.plan import RunSpec

    names = suites.notebooks_of(suite)
    values = suites.SUITES[suite] | given
    # However the data are named, the notebooks need the whole path, and the run its hash.
    if path := texts.get("path", values.get("path")):
        path = check_path(str(path), what="path")
        texts["path"] = str(path)
    if design := texts.get("design", values.get("design")):
        texts["design"] = _in_a_line(str(design))
    dataset, lacks = _check_data(values | texts)
    if dataset is not None:
        asked = [name for name in names if name not in lacks and name in (about["only"] or names)]
        click.echo(_offer(dataset, [suites.NOTEBOOKS[name] for name in asked]), nl=False)
    for name in filter(lacks.get, names):
        click.echo(f"{name} is left out: it needs {lacks[name]}")
    notebooks = [notebooks_folder() / f"{name}.ipynb" for name in names if name not in lacks]
    return RunSpec(run=run, notebooks=notebooks, values=values, texts=texts, data=path or None, **about)


def _in_a_line(design):
    """Return a design, that may be in a file, as declarations in a line: a run is known by what it declares."""
    import yaml

    from csrec_core.effect.design import read_design

    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in read_design(design).items()
    }
    return yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10**6).strip()[1:-1]


def _check_data(given):
    """Return a log of one's own, and what it lacks for notebooks; refuse what cannot be read before anything runs."""
    from csrec_core.data.check import what_it_lacks
    from csrec_core.data.loaders import make_dataset

    kind, path, columns = (str(given.get(name, "")) for name in ("data", "path", "map"))
    if kind in ("", "books") and not (path or columns):
        return None, {}
    dataset = make_dataset(kind or "books", path=path, map=columns)
    return (dataset, what_it_lacks(dataset)) if kind == "log" else (None, {})


def _offer(dataset, notebooks):
    """Return how long a large log will take, and the option that reads whole histories of some of its users."""
    from csrec_core.data.options import ABSENT
    from csrec_core.data.tables import quoted

    rows, seconds = len(dataset.log), suites.expected_seconds(notebooks, len(dataset.log))
    if seconds < LONG_REPORT:
        return ""
    said = f"{rows:,} exposures: expect about {seconds / 60:.0f} minutes of one core"
    user, where = dataset.read.map.get("user", "user"), dataset.read.where
    if user != ABSENT:
        part = 10 ** math.ceil(math.log10(rows / SAMPLE))
        some = f"hash({quoted(user)}) % {part} = 0"
        some = shlex.quote(f"({where}) and {some}" if where else some)
        less = suites.expected_seconds(notebooks, rows // part) / 60
        said += f"; with one user in {part:,}, about {less:.0f}: --where {some}"
    return f"{said}\n\n"


def read_pairs(texts, option):
    """Return `name=value` words as a mapping."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{option}: expected name=value, not {shown(text)}")
        if option == "-g" and (name in pairs or not value):
            raise InputError(f"-g: expected name=value,value once for each parameter, not {shown(text)}")
        pairs[name] = value
    return pairs


def read_yaml(file: Path | None) -> tuple[dict, dict]:
    """Return the parameters that a YAML file sets, and the axes of its `grid`.

    A name that begins with a dot holds what other lines take from it by an anchor, and sets nothing.
    """
    if file is None:
        return {}, {}
    content = read_mapping(file)
    grid = content.pop("grid", None) or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise InputError(f"{file}: expected 'grid:' to hold lines 'name: [value, value]'")
    axes = {str(name): [_as_text(value) for value in values] for name, values in grid.items()}
    return {name: value for name, value in content.items() if not name.startswith(".")}, axes


def _as_text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
