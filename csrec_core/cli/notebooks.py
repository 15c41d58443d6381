"""`csrec clean`: notebooks without what runs leave in them, and fit to be read."""

import sys

import click

from csrec_core.cli.program import FILE, cli

__all__ = ["clean"]


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
    from csrec_core.report.clean import find_faults, strip_notebook

    paths = notebooks or sorted(parameters.notebooks_folder().glob("*.ipynb"))
    if not check:
        for path in paths:
            if strip_notebook(path):
                click.echo(f"{path}: cleaned")
        return
    faults = [(path, fault) for path in paths for fault in find_faults(path)]
    for path, fault in faults:
        click.echo(f"{path}: {fault}")
    sys.exit(1 if faults else 0)
