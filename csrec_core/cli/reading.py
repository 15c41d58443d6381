"""The options that say how a log is read, the same for every command that reads one."""

from dataclasses import fields

import click

from csrec_core.cli.program import FILE
from csrec_core.data.options import ReadOptions, from_content, read_options

#: What the command line makes of a kind of option beside text.
CLICK_KINDS = {
    "seconds": {"type": click.FloatRange(0)},
    "truth": {"is_flag": True},
    **{kind: {"multiple": True} for kind in ("columns", "arms", "words")},
}


def reading_options(command):
    """Add the options to a command, which passes them to `chosen_options`."""
    command = click.option("--as", "file", type=FILE, metavar="FILE", help="All these, from a log.yaml.")(
        command
    )
    for each in reversed(fields(ReadOptions)):
        about = dict(each.metadata)
        more = CLICK_KINDS.get(about.pop("kind"), {})
        flag, metavar = about.pop("flag") or f"--{each.name}", about.pop("metavar") or None
        command = click.option(flag, each.name, metavar=metavar, **about, **more)(command)
    return command


def chosen_options(map, arms, file, **others):
    """Return the `ReadOptions` that the options of a command say, over those of a file."""
    content = {name: _names(value) if isinstance(value, tuple) else value for name, value in others.items()}
    # By `is`: --merge 0 is set, and equal to False.
    content = {name: one for name, one in content.items() if not (one is None or one is False or one == [])}
    given = from_content(content, "options").over(ReadOptions.parse(",".join(map)).with_arms(_names(arms)))
    return given.over(read_options(file)) if file else given


def guessed_options(path, options):
    """Return the options, or, where none are given, all of them guessed by the values of the file; and say so."""
    from csrec_core.data.check import guess_log

    if str(options):
        return options
    guessed = guess_log(path)[1]
    if str(guessed):
        click.echo(f"read with {guessed.command()}\n(guessed; csrec data check says by what)\n")
    return guessed


def read_guessed(path, options):
    """Return the log at a path, read by the options or by all of them guessed, and these options."""
    from csrec_core.data.check import find_kind
    from csrec_core.data.items import missing_values
    from csrec_core.data.loaders import read_data

    options = guessed_options(path, options)
    dataset = read_data(find_kind(path), path, options)
    for reason, rows in dataset.left_out.items():
        click.echo(f"left out: {rows:,} rows ({reason})")
    for said in missing_values(dataset):
        click.echo(said)
    return dataset, options


def _names(texts):
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]
