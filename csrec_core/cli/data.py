"""`csrec data`: looking at logs, and making them."""

import sys

import click

from csrec_core.agent.command import agent_options, ask_agent, named
from csrec_core.cli.program import FILE, cli

__all__ = ["data"]


@cli.group()
def data():
    """Look at logs, and make them."""


@data.command(epilog="Example: csrec data check shop.csv --map user=customer_id,item=asin")
@click.argument("path", type=FILE)
@click.option(
    "--data", "kind", metavar="KIND", help="gpt4books, ebnerd, sequences or log.  [default: by the path]"
)
@click.option(
    "--map", "columns", multiple=True, metavar="OURS=YOURS,...", help="Which of your columns is which."
)
def check(path, kind, columns):
    """Check the log at PATH and profile it on one screen.

    PATH is a Parquet or CSV file, a text file of sequences, or the folder of the
    GPT4-books or EB-NeRD files, or of a log.parquet.
    """
    from csrec_core.data.loaders import read_data
    from csrec_core.data.profile import profile_log

    if kind in (None, "log") and (path / "log.parquet").exists():
        path = path / "log.parquet"
    folder = "ebnerd" if (path / "behaviors.parquet").exists() else "gpt4books"
    kind = kind or (folder if path.is_dir() else "sequences" if path.suffix == ".txt" else "log")
    click.echo(profile_log(read_data(kind, path, map=",".join(columns))))


@data.command(epilog="Example: csrec data books --agent simulator --users 10000 --out data/books")
@click.option("--users", default=2000, show_default=True, type=click.IntRange(1), help="Readers.")
@click.option("--items", default=200, show_default=True, type=click.IntRange(1), help="Books.")
@click.option(
    "--steps", default=20, show_default=True, type=click.IntRange(1), help="Exposures of each phase."
)
@click.option("--effect", default=0.6, show_default=True, help="Mean source effect, in logits.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder to write to.")
@agent_options
def books(users, items, steps, effect, seed, out, **of_agent):
    """Make a log of readers and books.

    By default the books world is simulated: a log, its items, and the true probability of every decision.
    With --agent, readers of real books are played by an agent, a simulated one or a language model, asked
    question by question. Exits with 1 if a pilot of its answers fails the quality gate or the endpoint does
    not answer, with 3 at a limit; what is answered is kept, and --resume goes on with it.
    """
    if named(of_agent):
        sys.exit(ask_agent(of_agent, users=users, steps=steps, effect=effect, seed=seed, out=out))
    from csrec_core.data.books import simulate_books
    from csrec_core.data.log import write_dataset

    dataset = simulate_books(users=users, items=items, steps=steps, effect=effect, seed=seed)
    click.echo(f"{len(dataset.log):,} exposures in {write_dataset(dataset, out)}")
