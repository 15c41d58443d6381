"""`csrec list` and `csrec clean`: what the notebooks take, and notebooks that are fit to be read."""

import sys

import click

from csrec_core.cli.program import FILE, cli
from csrec_core.suites import notebooks_of


@cli.command("list", epilog="Example: csrec list --suite effect")
@click.option(
    "--suite", default="quick", show_default=True, metavar="NAME", help="Of this suite's notebooks."
)
def show(suite):
    """Show what each notebook asks, and its parameters."""
    from csrec_core.report.parameters import notebooks_folder, read_parameters
    from csrec_core.report.plan import read_title

    for name in notebooks_of(suite):
        path = notebooks_folder() / f"{name}.ipynb"
        click.secho(f"{name}: {read_title(path)}", bold=True)
        for parameter in read_parameters(path).values():
            if parameter.name == "out":
                continue
            default = str(parameter.default) if parameter.default != "" else '""'
            kind = f"{parameter.type.__name__:5} {default:10}"
            rule = "" if parameter.expected in ("text", "true or false") else f" ({parameter.expected})"
            click.echo(f"  {parameter.name:14} {kind} {parameter.help}{rule}")
        click.echo()


@cli.command(epilog="Example: csrec clean --check")
@click.argument("notebooks", nargs=-1, type=FILE)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a notebook is not clean.")
def clean(notebooks, check):
    """Strip notebooks of their outputs.

    Strips NOTEBOOKS, or all of the suite's if none is named, of outputs and of the traces of runs. With
    --check it also says where a notebook is not fit to be read: a cell of more than 25 lines, parameters
    without type or comment, no title.
    """
    from csrec_core.report import parameters
    from csrec_core.report.clean import notebook_faults, strip_notebook

    paths = notebooks or sorted(parameters.notebooks_folder().glob("*.ipynb"))
    if not check:
        for path in paths:
            if strip_notebook(path):
                click.echo(f"{path}: cleaned")
        return
    faults = [(path, fault) for path in paths for fault in notebook_faults(path)]
    for path, fault in faults:
        click.echo(f"{path}: {fault}")
    sys.exit(1 if faults else 0)
