"""`csrec data`: looking at logs, and making them."""

import sys
from dataclasses import replace

import click

from csrec_core.cli.agent import agent_options, ask_agent, asks_agent
from csrec_core.cli.program import FILE, FOLDER, OUTPUT, cli
from csrec_core.cli.reading import chosen_options, reading_options
from csrec_core.errors import InputError


@cli.group()
def data():
    """Look at logs, and make them."""


@data.command(epilog="Example: csrec data check shop.csv --save log.yaml")
@click.argument("path", type=FILE)
@click.option(
    "--data",
    "kind",
    metavar="KIND",
    help="gpt4books, ebnerd, mssd, sequences or log.  [default: by the path]",
)
@reading_options
@click.option("--save", type=OUTPUT, metavar="FILE", help="Write how it is read, for --as.")
def check(path, kind, save, **chosen):
    """Say how the log at PATH can be read, what is in it, and what it can carry.

    PATH is a file or folder in any common form. What the options leave open is guessed from the values; the
    command that reads it so is printed.
    """
    from csrec_core.data.check import check_data
    from csrec_core.data.options import read_options, write_options

    checked = check_data(path, kind, chosen_options(**chosen))
    if save:
        write_options(checked.options, save)
    saved = save or chosen["file"]
    if saved and read_options(saved) == checked.options:
        checked = replace(checked, saved=saved)
    click.echo(checked)


@data.command(epilog="Example: csrec data books --agent simulator --users 10000 --out data/books")
@click.option("--users", default=2000, show_default=True, type=click.IntRange(1), help="Readers.")
@click.option("--items", default=200, show_default=True, type=click.IntRange(1), help="Books.")
@click.option(
    "--steps", default=20, show_default=True, type=click.IntRange(1), help="Exposures of each phase."
)
@click.option("--effect", default=0.6, show_default=True, help="Mean source effect, in logits.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option("--out", required=True, type=FOLDER, metavar="DIR", help="Folder to write to.")
@agent_options
def books(users, items, steps, effect, seed, out, **of_agent):
    """Make a log of readers and books.

    By default the books world is simulated: a log, its items, and the true probability of every decision.
    With --agent, readers of real books are played by an agent, a simulated one or a language model, asked
    question by question. Exits with 1 if a pilot of its answers fails the quality gate or the endpoint does
    not answer, with 3 at a limit; what is answered is kept, and --resume goes on with it.
    """
    if asks_agent(of_agent):
        sys.exit(ask_agent(of_agent, users=users, steps=steps, effect=effect, seed=seed, out=out))
    from csrec_core.data.books import simulate_books
    from csrec_core.data.log import write_dataset

    dataset = simulate_books(users=users, items=items, steps=steps, effect=effect, seed=seed)
    click.echo(f"{len(dataset.log):,} exposures in {write_dataset(dataset, out)}")


@data.command(
    epilog="Example: csrec data mssd --logs 'training_set/log_*.csv.gz' --tracks 'tf_*.csv' --out data/mssd"
)
@click.option("--logs", multiple=True, metavar="GLOB", help="Session logs: .csv, .csv.gz or .tar.gz.")
@click.option("--tracks", multiple=True, metavar="GLOB", help="Track features, the same kinds of files.")
@click.option(
    "--out", required=True, type=FOLDER, metavar="DIR", help="Folder to write to, or to go on with."
)
@click.option("--label", default="skip_2", show_default=True, help="skip_1, skip_2, skip_3 or not_skipped.")
@click.option(
    "--self",
    "own",
    default="user_collection",
    show_default=True,
    metavar="CONTEXT,...",
    help="Whose rows are the listener's own choice.",
)
@click.option(
    "--system",
    default="personalized_playlist",
    show_default=True,
    metavar="CONTEXT,...",
    help="Whose rows are the system's.",
)
@click.option("--salt", default=0, show_default=True, help="Number ids otherwise, should two collide.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes here.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="A Dask cluster: tcp://host:8786.")
@click.option("--simulate", type=click.IntRange(1), metavar="N", help="First simulate N sessions, DIR/csv.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
def mssd(logs, tracks, out, label, own, system, salt, workers, scheduler, simulate, seed):
    """Read Spotify's Music Streaming Sessions Dataset into partitioned Parquet.

    A session is a user. Rows of other contexts are of the source other, rows that are malformed lie in
    DIR/quarantine with file and line. Files that are done are not read again. Exits with 1 if a file could
    not be read to its end (the others are kept), with 2 if the input is wrong.
    """
    from csrec_core.data.mssd.ingest import ingest, match_files
    from csrec_core.data.mssd.schema import Options
    from csrec_core.data.mssd.simulate import Listeners, simulate_mssd

    contexts = [tuple(name.strip() for name in names.split(",") if name.strip()) for names in (own, system)]
    options = Options(label=label, self_contexts=contexts[0], system_contexts=contexts[1], salt=salt)
    if simulate:
        if logs or tracks:
            raise InputError("--simulate makes its own files; expected no --logs and --tracks beside it")
        files = simulate_mssd(out / "csv", simulate, Listeners(seed=seed))
    else:
        files = match_files(logs, "--logs"), match_files(tracks, "--tracks")
    done = ingest(*files, out, options, workers=workers, scheduler=scheduler)
    click.echo(done)
    for message in done.failures.values():
        click.echo(f"csrec: failed: {message}", err=True)
    sys.exit(1 if done.failures else 0)
