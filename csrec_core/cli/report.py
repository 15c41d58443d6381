"""`csrec report`: running the notebooks, once or over a grid, and comparing what they found."""

import sys
import time
from pathlib import Path

import click

from csrec_core.cli.program import FILE, cli
from csrec_core.cli.reading import chosen_options, reading_options
from csrec_core.errors import InputError, unknown

__all__ = ["report"]

EXAMPLES = """\
\b
Examples:
  csrec report --data log --path shop.csv --map user=customer_id -p seed=1
  csrec report --run sizes -g backbone=sasrec,bsarec -g seed=1,2,3 --jobs 2
  csrec report --compare weekly weekly-2
Example: csrec report --list"""


@cli.command(epilog=EXAMPLES)
@click.option("--run", metavar="NAME", help="Name of the run and its folder.  [default: the suite's]")
@click.option(
    "--suite",
    default="quick",
    show_default=True,
    metavar="quick|full|effect|reproduction",
    help="What to do and how much.",
)
@click.option("-p", "texts", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("-f", "parameters", type=FILE, metavar="FILE", help="Parameters, and a grid, as YAML.")
@click.option(
    "-g", "axes", multiple=True, metavar="NAME=V1,V2,...", help="Run at each value; repeated, at each pair."
)
@click.option(
    "--data", metavar="KIND", help="Where the log comes from: books, gpt4books, ebnerd, sequences or log."
)
@click.option("--path", type=FILE, help="The file or folder that holds the data.")
@reading_options
@click.option("--out", type=FILE, metavar="DIR", help="Folder of all runs.  [default: reports]")
@click.option("--force", is_flag=True, help="Run again what is up to date.")
@click.option("--notebook", "only", multiple=True, metavar="NAME", help="Run this one only; may be repeated.")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Processes at once, sharing the cores.",
)
@click.option(
    "--scheduler",
    default="",
    metavar="ADDRESS",
    help="A Dask cluster for the points of a grid: tcp://host:8786.",
)
@click.option("--compare", nargs=2, metavar="RUN RUN", help="Run nothing; say what differs between two runs.")
@click.option("--list", "listed", is_flag=True, help="Run nothing; show all notebooks and their parameters.")
def report(
    run,
    suite,
    texts,
    parameters,
    axes,
    data,
    path,
    out,
    force,
    only,
    jobs,
    scheduler,
    compare,
    listed,
    **chosen,
):
    """Run the notebooks and write their pages.

    Writes a page for each notebook of the suite, its figures with their data, and an index of all. What is
    up to date is left as it is. Exits with 1 if a notebook failed, with 2 if the input is wrong.
    """
    from csrec_core.report import plan
    from csrec_core.report.parameters import notebooks_folder
    from csrec_core.report.report import project_folder
    from csrec_core.report.suite import run_grid, run_suite

    clock = time.perf_counter()
    if suite not in plan.SUITES:
        raise unknown("suite", suite, plan.SUITES)
    notebooks = [notebooks_folder() / f"{name}.ipynb" for name in plan.PARTS.get(suite, plan.NOTEBOOKS)]
    reports = (out or project_folder() / "reports").expanduser().resolve()
    if listed:
        _list(notebooks)
        return
    if compare:
        _compare(reports, *compare)
        return
    given, grid = _read_yaml(parameters)
    values = plan.SUITES[suite] | given
    named = {"data": data, "path": path and str(path), "map": str(chosen_options(**chosen)) or None}
    texts = _pairs(texts, "-p") | {name: value for name, value in named.items() if value is not None}
    grid |= {name: text.split(",") for name, text in _pairs(axes, "-g").items()}
    # However the data are named, the notebooks need the whole path, and the run its hash.
    if path := texts.get("path", values.get("path")):
        path = Path(str(path)).expanduser().resolve()
        texts["path"] = str(path)
    _check_data(values | texts)
    options = {"reports": reports, "values": values, "texts": texts, "data": path or None, "only": only}
    options |= {"force": force, "jobs": jobs, "echo": click.echo}
    name = run or (f"{suite}-grid" if grid else suite)
    if grid:
        manifests = list(run_grid(name, notebooks, axes=grid, scheduler=scheduler, **options).values())
    elif scheduler:
        raise InputError("--scheduler runs the points of a grid; expected -g name=value,value beside it")
    else:
        manifests = [run_suite(name, notebooks, **options)]
    click.echo(f"wall time {time.perf_counter() - clock:.1f} s")
    click.echo(reports / name / "index.html")
    sys.exit(0 if all(manifest["status"] == "complete" for manifest in manifests) else 1)


def _list(notebooks):
    """Show what each notebook asks, and its parameters."""
    from csrec_core.report.parameters import read_parameters
    from csrec_core.report.plan import read_title

    for path in notebooks:
        click.secho(f"{path.stem}: {read_title(path)}", bold=True)
        for parameter in read_parameters(path).values():
            if parameter.name == "out":
                continue
            default = str(parameter.default) if parameter.default != "" else '""'
            kind = f"{parameter.type.__name__:5} {default:10}"
            rule = "" if parameter.expected in ("text", "true or false") else f" ({parameter.expected})"
            click.echo(f"  {parameter.name:14} {kind} {parameter.help}{rule}")
        click.echo()


def _compare(reports, first, second):
    """Show what differs between two runs, and write the page that does."""
    from csrec_core.report.compare import compare_runs, comparison_text, write_comparison

    comparison = compare_runs(reports, first, second)
    click.echo(comparison_text(comparison))
    click.echo(write_comparison(comparison, reports))


def _check_data(given):
    """Refuse a log that cannot be read before anything runs."""
    from csrec_core.data.loaders import make_dataset

    kind, path, columns = (str(given.get(name, "")) for name in ("data", "path", "map"))
    if kind not in ("", "books") or path or columns:
        make_dataset(kind or "books", path=path, map=columns)


def _pairs(texts, option):
    """Return `name=value` words as a mapping."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{option}: expected name=value, not {text!r}")
        if option == "-g" and (name in pairs or not value):
            raise InputError(f"-g: expected name=value,value once for each parameter, not {text!r}")
        pairs[name] = value
    return pairs


def _read_yaml(file):
    """Return the parameters that a YAML file sets, and the axes of its `grid`.

    A name that begins with a dot holds what other lines take from it by an anchor, and sets nothing.
    """
    import yaml

    if file is None:
        return {}, {}
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{file}: expected lines 'name: value', not {type(content).__name__}")
    grid = content.pop("grid", None) or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise InputError(f"{file}: expected 'grid:' to hold lines 'name: [value, value]'")
    axes = {name: [_as_text(value) for value in values] for name, values in grid.items()}
    return {name: value for name, value in content.items() if not name.startswith(".")}, axes


def _as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
