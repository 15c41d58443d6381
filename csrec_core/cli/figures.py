"""`csrec figures`: what a run drew, to be handed over."""

import click

from csrec_core.cli.program import FILE, cli

__all__ = ["figures"]


@cli.command(epilog="Example: csrec figures weekly --notebook 04_treatment_effect --zip figures.zip")
@click.argument("run")
@click.option("--notebook", metavar="NAME", help="Of this notebook only.")
@click.option(
    "--zip", "archive", type=FILE, metavar="FILE", help="Write them, with their data, as one archive."
)
@click.option("--out", type=FILE, metavar="DIR", help="Folder of all runs.  [default: reports]")
def figures(run, notebook, archive, out):
    """List the figures of RUN, or hand them over in one archive.

    Each figure has a folder: PNG (200 dots an inch), SVG, the data it draws as CSV, caption and
    alternative text, and the script that draws it again from the CSV.
    """
    from csrec_core.report.handover import list_figures, zip_figures
    from csrec_core.report.report import project_folder
    from csrec_core.report.runs import find_run

    folder = find_run((out or project_folder() / "reports").expanduser().resolve(), run)
    found = list_figures(folder, notebook=notebook)
    if archive:
        click.echo(f"{len(found)} figures in {zip_figures(folder, found, archive)}")
        return
    for figure in found:
        click.echo(f"{(folder / figure['files'][0]).parent}\n    {figure['caption']}")
