"""`csrec effect`: the effect of recommending over a folder in parts, on one machine or past it."""

import click

from csrec_core.cli.program import FILE, cli

__all__ = ["effect"]


@cli.command(epilog="Example: csrec effect data/mssd --out data/mssd-effect --workers 8")
@click.argument("folder", type=FILE)
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder to write to, or to go on with.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes here.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="A Dask cluster: tcp://host:8786.")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2), help="Of sessions.")
@click.option(
    "--drawn", default=50_000, show_default=True, type=click.IntRange(1), help="Sessions to learn from."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
def effect(folder, out, workers, scheduler, folds, drawn, seed):
    """Estimate the mean effect of recommending over all sessions of FOLDER, which csrec data mssd wrote.

    Writes effect.csv, by group, effect.json, and the scores of every exposure, a file a part. What is done is
    not done again. The result does not depend on who did the work.
    """
    from csrec_core.effect.parts.run import estimate_parts

    found = estimate_parts(
        folder, out, scheduler=scheduler, workers=workers, folds=folds, drawn=drawn, seed=seed
    )
    click.echo(found)
    click.echo(out / "effect.json")
