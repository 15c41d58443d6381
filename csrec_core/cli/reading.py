"""The options that say how a log is read, the same for every command that reads one."""

import click

from csrec_core.cli.program import FILE

__all__ = ["chosen_options", "guessed_options", "read_guessed", "reading_options"]

OPTIONS = (
    click.option(
        "--map", "map_", multiple=True, metavar="OURS=YOURS,...", help="Which of your columns is which."
    ),
    click.option(
        "--arms", multiple=True, metavar="NAME[=WORD+WORD],...", help="The arms; others are left out."
    ),
    click.option("--where", metavar="SQL", help="The rows to keep: \"channel != 'search'\"."),
    click.option("--accept", metavar="WORDS|SQL", help='What is accepted: yes, click+buy, "rating >= 4".'),
    click.option("--explode", multiple=True, metavar="COLUMN,...", help="Lists, a row for each element."),
    click.option("--feature", "features", multiple=True, metavar="COLUMN,...", help="What else to keep."),
    click.option("--header", multiple=True, metavar="NAME,...", help="Names for a file without a header."),
    click.option("--separator", metavar="TEXT", help="Between the columns.  [default: found]"),
    click.option("--time", metavar="FORMAT", help="How times are written, such as %d/%m/%Y."),
    click.option(
        "--merge", type=click.FloatRange(0), metavar="SECONDS", help="A click belongs to its exposure."
    ),
    click.option("--distinct", is_flag=True, help="Keep the first of rows that are alike."),
    click.option("--as", "file", type=FILE, metavar="FILE", help="All these, from a log.yaml."),
)


def reading_options(command):
    """Add the options to a command, which passes them to `chosen_options`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def chosen_options(map_, arms, file, **others):
    """Return the `ReadOptions` that the options of a command say, over those of a file."""
    from csrec_core.data.options import ReadOptions, from_content, read_options

    content = {name: _names(value) if isinstance(value, tuple) else value for name, value in others.items()}
    content = {name: value for name, value in content.items() if value not in (None, [], False)}
    given = from_content(content, "options").over(ReadOptions.parse(",".join(map_)).with_arms(_names(arms)))
    return given.over(read_options(file)) if file else given


def guessed_options(path, options):
    """Return the options, or, where none are given, all of them guessed by the values of the file; and say so."""
    from csrec_core.data.check import guess_log

    if str(options):
        return options
    guessed = guess_log(path)[1].options
    if str(guessed):
        click.echo(f"read with {guessed.command()}\n(guessed; csrec data check says by what)\n")
    return guessed


def read_guessed(path, options):
    """Return the log at a path, read by the options or by all of them guessed, and these options."""
    from csrec_core.data.check import find_kind
    from csrec_core.data.loaders import read_data

    options = guessed_options(path, options)
    dataset = read_data(find_kind(path), path, map=str(options))
    for reason, rows in dataset.left_out.items():
        click.echo(f"left out: {rows:,} rows ({reason})")
    return dataset, options


def _names(texts):
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]
