"""The command `csrec`. What takes long to import is imported by the command that needs it."""

import copy
import json
import sys
import time
from pathlib import Path

import click

from csrec_core import __version__
from csrec_core.agent.command import agent_options, ask_agent, named
from csrec_core.errors import InputError, unknown
from csrec_core.files import whole_file

__all__ = ["cli", "main"]

FILE = click.Path(path_type=Path)


class Program(click.Group):
    """A group that answers bad input, like bad usage, with one line and exit code 2."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except InputError as error:
            click.echo(f"csrec: error: {error}", err=True)
            context.exit(2)
        except KeyboardInterrupt:
            click.echo("csrec: interrupted; what is done is kept, the same command goes on from it", err=True)
            context.exit(130)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csrec")
def cli():
    """How much does it change acceptance that the recommender, and not the user, chose the item?

    Example: csrec report --run first
    """


@cli.command(epilog="Example: csrec report --data log --path shop.csv --map user=customer_id -p seed=1")
@click.option("--run", metavar="NAME", help="Name of the run and its folder.  [default: the suite's]")
@click.option(
    "--suite",
    default="quick",
    show_default=True,
    metavar="quick|full|effect|reproduction",
    help="What to do and how much.",
)
@click.option("-p", "texts", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("-f", "file", type=FILE, metavar="FILE", help="Parameters, as YAML.")
@click.option(
    "--data", metavar="KIND", help="Where the log comes from: books, gpt4books, ebnerd, sequences or log."
)
@click.option("--path", type=FILE, help="The file or folder that holds the data.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="OURS=YOURS,...",
    help="Which of your columns is which of ours.",
)
@click.option("--out", type=FILE, metavar="DIR", help="Folder of all runs.  [default: reports]")
@click.option("--force", is_flag=True, help="Run again what is up to date.")
@click.option("--notebook", "only", multiple=True, metavar="NAME", help="Run this one only; may be repeated.")
def report(run, suite, texts, file, data, path, columns, out, force, only):
    """Run the notebooks and write their pages.

    Writes a page for each notebook of the suite, its figures with their data, and an index of all. What is
    up to date is left as it is. Exits with 1 if a notebook failed, with 2 if the input is wrong.
    """
    from csrec_core.report.parameters import notebooks_folder
    from csrec_core.report.report import project_folder
    from csrec_core.report.suite import NOTEBOOKS, PARTS, SUITES, run_suite

    clock = time.perf_counter()
    if suite not in SUITES:
        raise unknown("suite", suite, SUITES)
    values = SUITES[suite] | _read_yaml(file)
    named = {"data": data, "path": path and str(path), "map": ",".join(columns) or None}
    texts = _pairs(texts) | {name: value for name, value in named.items() if value is not None}
    # However the data are named, the notebooks need the whole path, and the run its hash.
    if path := texts.get("path", values.get("path")):
        path = Path(str(path)).expanduser().resolve()
        texts["path"] = str(path)
    _check_data(values | texts)
    reports = (out or project_folder() / "reports").expanduser().resolve()
    manifest = run_suite(
        run or suite,
        [notebooks_folder() / f"{name}.ipynb" for name in PARTS.get(suite, NOTEBOOKS)],
        reports=reports,
        values=values,
        texts=texts,
        data=path or None,
        only=only,
        force=force,
        echo=click.echo,
    )
    click.echo(f"wall time {time.perf_counter() - clock:.1f} s")
    click.echo(reports / manifest["run"] / "index.html")
    sys.exit(0 if manifest["status"] == "complete" else 1)


@cli.command(epilog="Example: csrec clean --check")
@click.argument("notebooks", nargs=-1, type=FILE)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a notebook is not clean.")
def clean(notebooks, check):
    """Strip notebooks of their outputs.

    Strips NOTEBOOKS, or all of the suite's if none is named, of outputs and of the traces of runs.
    """
    from csrec_core.report.parameters import notebooks_folder

    paths = notebooks or sorted(notebooks_folder().glob("*.ipynb"))
    dirty = [path for path in paths if _clean(path, check)]
    for path in dirty:
        click.echo(f"{path}: {'not clean' if check else 'cleaned'}")
    sys.exit(1 if check and dirty else 0)


@cli.command(
    epilog="Example: csrec graph --extra 'S[t-1]->D[t]' --latent 'S2<->D2' --require theorem,recursion"
)
@click.option("--file", type=FILE, help="Your own graph (.gml, .dot or .json) in the place of Figure 1.")
@click.option("--horizon", default=3, show_default=True, type=click.IntRange(2, 8), help="Time steps.")
@click.option("--exposure", default="observational", show_default=True, help="observational or randomised.")
@click.option("--online", is_flag=True, help="The system learns from decisions.")
@click.option("--regime", default="none", show_default=True, help="What R acts on: exposure or acceptance.")
@click.option("--extra", default="", metavar="EDGES", help="Arrows to add, such as S1->P3,S[t-1]->D[t].")
@click.option("--latent", default="", metavar="EDGES", help="Pairs with an unmeasured cause: S[t]<->D[t].")
@click.option("--require", default="", metavar="NAMES", help="Verdicts that must hold, or exit with 1.")
@click.option("--verdicts", "target", type=FILE, metavar="FILE", help="Write the verdicts as JSON.")
def graph(file, horizon, exposure, online, regime, extra, latent, require, target):
    """Audit Theorem 3.1 on a causal graph: every step, its reason, and what is identifiable."""
    from csrec_core.causal import audit as audits
    from csrec_core.causal.graph import sequential_graph
    from csrec_core.causal.graph_input import make_graph

    given = {"extra_edges": extra, "latent_edges": latent, "file": str(file or "")}
    audited = make_graph(horizon, exposure=exposure, online=online, regime=regime, **given)
    checked = audits.audit(audited, horizon)
    plain = audits.audit(sequential_graph(horizon, exposure=exposure), horizon)
    verdicts = audits.verdicts(checked)
    required = [name.strip() for name in require.split(",") if name.strip()]
    for name in required:
        if name not in verdicts:
            raise unknown("verdict", name, verdicts, where="--require")
    table = audits.step_table(checked, baseline=plain).drop(columns="meaning")
    click.echo(table.to_string(index=False, formatters={"gap": "{:.1e}".format}))
    click.echo("\n" + "\n".join(f"{name:14}{'holds' if it else 'fails'}" for name, it in verdicts.items()))
    if target:
        with whole_file(target) as temporary:
            temporary.write_text(json.dumps(verdicts, indent=1) + "\n")
    sys.exit(0 if all(verdicts[name] for name in required) else 1)


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

    PATH is a Parquet or CSV file, a text file of sequences, a folder that csrec wrote,
    or the folder of the GPT4-books or EB-NeRD files.
    """
    from csrec_core.data.loaders import read_data
    from csrec_core.data.profile import profile_log

    own = (path / "log.parquet").exists() or (path / "log").is_dir()
    folder = "ebnerd" if (path / "behaviors.parquet").exists() else "log" if own else "gpt4books"
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


@data.command(
    epilog="Example: csrec data mssd --logs 'training_set/log_*.csv.gz' --tracks 'tf_*.csv' --out data/mssd"
)
@click.option("--logs", multiple=True, metavar="GLOB", help="Session logs: .csv, .csv.gz or .tar.gz.")
@click.option("--tracks", multiple=True, metavar="GLOB", help="Track features, the same kinds of files.")
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder to write to, or to go on with.")
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
@click.option("--sessions", type=click.IntRange(1), metavar="K", help="Also write DIR/sample, K sessions.")
@click.option("--simulate", type=click.IntRange(1), metavar="N", help="First simulate N sessions, DIR/csv.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
def mssd(logs, tracks, out, label, own, system, salt, workers, scheduler, sessions, simulate, seed):
    """Read Spotify's Music Streaming Sessions Dataset into partitioned Parquet.

    A session is a user. Rows of other contexts lie apart, rows that are malformed in DIR/quarantine with
    file and line. Files that are done are not read again. Exits with 1 if a file could not be read to its
    end (the others are kept), with 2 if the input is wrong.
    """
    from csrec_core.data.log import write_dataset
    from csrec_core.data.mssd.ingest import find_files, ingest
    from csrec_core.data.mssd.rows import Options
    from csrec_core.data.mssd.sessions import sample_sessions
    from csrec_core.data.mssd.simulate import World, simulate_mssd

    contexts = [tuple(name.strip() for name in names.split(",") if name.strip()) for names in (own, system)]
    options = Options(label=label, self_contexts=contexts[0], system_contexts=contexts[1], salt=salt)
    if simulate:
        if logs or tracks:
            raise InputError("--simulate makes its own files; expected no --logs and --tracks beside it")
        files = simulate_mssd(out / "csv", simulate, World(seed=seed))
    else:
        files = find_files(logs, "--logs"), find_files(tracks, "--tracks")
    done = ingest(*files, out, options, workers=workers, scheduler=scheduler)
    click.echo(done)
    for message in done.failures.values():
        click.echo(f"csrec: failed: {message}", err=True)
    if sessions:
        sample = sample_sessions(out, sessions, seed=seed, truth=sorted((out / "csv").glob("truth_*")))
        click.echo(f"{len(sample.log):,} exposures in {write_dataset(sample, out / 'sample')}")
    sys.exit(1 if done.failures else 0)


def _check_data(given):
    """Refuse a log that cannot be read before anything runs."""
    from csrec_core.data.loaders import make_dataset

    kind, path, columns = (str(given.get(name, "")) for name in ("data", "path", "map"))
    if kind not in ("", "books") or path or columns:
        make_dataset(kind or "books", path=path, map=columns)


def _pairs(texts):
    """Return `name=value` words as a mapping."""
    for text in texts:
        if "=" not in text:
            raise InputError(f"-p: expected name=value, not {text!r}")
    return dict(text.split("=", 1) for text in texts)


def _read_yaml(file):
    """Return the parameters that a YAML file sets."""
    import yaml

    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{file}: expected lines 'name: value', not {type(content).__name__}")
    return content


def _clean(path, check):
    """Strip the notebook, unless it is only to be checked; tell whether there was anything to strip."""
    import nbformat

    traces = {"papermill", "execution", "ExecuteTime", "collapsed", "scrolled", "widgets"}
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise InputError(f"cannot read the notebook {path}: {error}") from None
    before = copy.deepcopy(notebook)
    for part in [notebook, *notebook.cells]:
        for trace in traces & part.metadata.keys():
            del part.metadata[trace]
        if part.get("cell_type") == "code":
            part.outputs, part.execution_count = [], None
    dirty = notebook != before
    if dirty and not check:
        with whole_file(path) as temporary:
            nbformat.write(notebook, temporary)
    return dirty


def main():
    """Run the command line."""
    cli(prog_name="csrec")
