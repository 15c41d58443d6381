"""`csrec brief`, `compare`, `figures`, `verify`: what runs have left in the folder of all runs."""

import os
import shutil
import subprocess
import sys

import click

from csrec_core.cli.program import FOLDER, OUTPUT, cli
from csrec_core.errors import InputError

OUT = click.option(
    "--out", type=FOLDER, metavar="DIR", help="Folder of all runs.  [default: the clone's reports]"
)


def reports_folder(out):
    """Return the folder of all runs."""
    from csrec_core.report.report import project_folder

    return (out or project_folder() / "reports").resolve()


BROWSER_SECONDS = 120  # seconds that a browser may take
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@cli.command(epilog="Example: csrec brief weekly --pdf weekly.pdf")
@click.argument("run")
@click.option(
    "--pdf", "target", type=OUTPUT, metavar="FILE", help="Where to.  [default: brief.pdf of the run]"
)
@OUT
def brief(run, target, out):
    """Print the page of RUN as a PDF of one page, by a Chromium on the PATH."""
    from csrec_core.files import whole_file
    from csrec_core.report.run import find_folder

    folder = find_folder(reports_folder(out), run)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise InputError(f"no browser to print with: expected one of {', '.join(BROWSERS)} on the PATH")
    target = (target or folder / "brief.pdf").resolve()
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # it refuses root in one
    with whole_file(target) as temporary:
        command = [browser, "--headless", "--disable-gpu", *root, "--no-pdf-header-footer"]
        command += [f"--print-to-pdf={temporary}", (folder / "index.html").as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_SECONDS)
        except subprocess.TimeoutExpired:
            raise InputError(f"{browser} printed nothing within {BROWSER_SECONDS} s") from None
        if not temporary.exists() or not temporary.stat().st_size:
            raise InputError(f"{browser} printed nothing: {done.stderr.strip()[-200:] or done.returncode}")
    click.echo(target)


@cli.command(epilog="Example: csrec compare weekly weekly-2 weekly-3")
@click.argument("runs", nargs=-1, required=True)
@OUT
def compare(runs, out):
    """Say what differs between RUNS, the first and the others, and write the page that does.

    First whether the data changed, then which settings did, then what differs beyond its error.
    """
    from csrec_core.report.compare import compare_runs, comparison_text, write_comparison

    reports = reports_folder(out)
    comparison = compare_runs(reports, runs)
    click.echo(comparison_text(comparison))
    click.echo(write_comparison(comparison, reports))


@cli.command(epilog="Example: csrec figures weekly --notebook 04_treatment_effect --zip figures.zip")
@click.argument("run")
@click.option("--notebook", metavar="NAME", help="Of this notebook only.")
@click.option(
    "--zip", "archive", type=OUTPUT, metavar="FILE", help="Write them, with their data, as one archive."
)
@OUT
def figures(run, notebook, archive, out):
    """List the figures of RUN, or hand them over in one archive.

    Each figure has a folder: PNG (300 dots an inch), SVG, the data it draws as CSV, a slide, caption
    and alternative text, and a script that draws it again with matplotlib and pandas alone.
    """
    from csrec_core.report.handover import zip_figures
    from csrec_core.report.run import find_run

    found = find_run(reports_folder(out), run)
    drawn = found.figures(notebook)
    if archive:
        click.echo(f"{len(drawn)} figures in {zip_figures(found, drawn, archive)}")
        return
    for figure in drawn:
        click.echo(
            f"{found.folder / 'figures' / figure['notebook'] / figure['slug']}\n    {figure['caption']}"
        )


@cli.command(epilog="Example: csrec verify weekly")
@click.argument("run")
@OUT
def verify(run, out):
    """Say which files of RUN are as they were written, by the hashes kept of them; exit with 1 if not all.

    What is not, `csrec report` with the same options makes anew.
    """
    from csrec_core.report.run import find_folder, verify_run

    intact = True
    for name, count, changed in verify_run(find_folder(reports_folder(out), run)):
        intact &= not changed
        click.echo(f"{name:24} {count:4} files  {', '.join(changed) + ' changed' if changed else 'intact'}")
    sys.exit(0 if intact else 1)
