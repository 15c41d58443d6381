"""The group of all commands; each command is in the module of its noun."""

from pathlib import Path

import click

from csrec_core import __version__
from csrec_core.errors import InputError

__all__ = ["FILE", "Program", "cli"]

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
