"""The part of `csrec data books` that asks an agent; what takes long to import is imported when it runs."""

from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path

import click
from click.core import ParameterSource

from csrec_core.cli.program import FILE
from csrec_core.errors import InputError, shown

AGENT_OPTIONS = (
    click.option("--agent", metavar="simulator|openai", help="Who answers for the readers."),
    click.option(
        "--catalogue",
        type=FILE,
        metavar="FILE",
        help="Your own books, a CSV with title, author, year, genre.  [default: 1,084 real books]",
    ),
    click.option("--model", metavar="NAME", help="openai: the model to ask."),
    click.option(
        "--base-url",
        metavar="URL",
        help="openai: the endpoint; the key is read from CSREC_API_KEY or OPENAI_API_KEY.",
    ),
    click.option(
        "--limit-requests", type=click.IntRange(1), metavar="K", help="openai: requests for DIR, in all runs."
    ),
    click.option(
        "--limit-tokens", type=click.IntRange(1), metavar="K", help="openai: tokens for DIR, in all runs."
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 256),
        default=8,
        show_default=True,
        help="openai: requests under way at a time.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="openai: the longest that a request may take.",
    ),
    click.option(
        "--price",
        metavar="IN,OUT",
        help="openai: dollars for a million tokens of prompts and of answers, to show the cost.",
    ),
    click.option(
        "--resume", is_flag=True, help="With --agent: go on with the run in DIR; it asks nothing twice."
    ),
    click.option(
        "--force", is_flag=True, help="With --agent: go on though the pilot fails the quality gate."
    ),
)


def agent_options(command: Callable) -> Callable:
    """Give a command the options of an agent."""
    for option in reversed(AGENT_OPTIONS):
        command = option(command)
    return command


def asks_agent(given: Mapping) -> bool:
    """Tell whether an agent is to be asked; refuse its options where none is, and others' where one is."""
    agent = given["agent"]
    idle = given if not agent else ["items", "effect"] if agent == "openai" else ["items"]
    who = f"not for --agent {agent}" if agent else "for --agent simulator or openai"
    for name in idle:
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(f"--{name.replace('_', '-')} is {who}")
    return bool(agent)


def ask_agent(given: Mapping, *, users: int, steps: int, effect: float, seed: int, out: Path) -> int:
    """Run an agent into the folder `out`; return the exit code."""
    from csrec_core.agent.endpoint import Endpoint, Stopped
    from csrec_core.agent.run import Study, run_study

    ways = ("base_url", "concurrency", "limit_requests", "limit_tokens", "timeout")
    study = Study(
        agent=given["agent"],
        users=users,
        steps=steps,
        seed=seed,
        effect=effect,
        catalogue=given["catalogue"],
        endpoint=Endpoint(model=given["model"] or "", **{name: given[name] for name in ways}),
        prices=_prices(given["price"]),
    )
    try:
        done = run_study(study, out, resume=given["resume"], force=given["force"])
    except Stopped as stopped:
        click.echo(f"csrec: stopped: {stopped}", err=True)
        return stopped.code
    except KeyboardInterrupt:
        click.echo("csrec: interrupted; what is answered is kept, and --resume goes on with it", err=True)
        return 130
    if not done.quality.passed:
        click.echo("csrec: warning: the pilot fails the quality gate; see quality.html", err=True)
    silent = f", {done.silent:,} questions without a usable answer" if done.silent else ""
    assert done.dataset is not None  # a run without one has stopped
    click.echo(f"{len(done.dataset.log):,} exposures, {done.knowledge['kept'].sum():,} books known{silent}")
    if done.cost:
        click.echo(f"{done.cost}, all runs of {out}")
    click.echo(out / "quality.html")
    return 0


def _prices(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        prompts, answers = (float(part) for part in text.split(","))
        if not (0 <= prompts < inf and 0 <= answers < inf):
            raise ValueError
    except ValueError:
        raise InputError(f"--price: expected two numbers such as 0.15,0.60, not {shown(text)}") from None
    return prompts, answers
