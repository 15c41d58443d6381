"""The group of all commands, each in the module of its noun, and the kinds of values that several take."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from csrec_core import __version__
from csrec_core.errors import InputError, one_line
from csrec_core.files import check_path


class FilePath(click.ParamType):
    """A path that a file can have; of an output, one that can be written, known before any work is done."""

    name = "path"

    def __init__(self, *, output: bool = False, folder: bool = False):
        self.output, self.folder = output, folder

    def convert(self, value, param, ctx) -> Path:
        """Return the path."""
        what = param.opts[0] if param else ""
        path = check_path(value, what=what, output=self.output)
        if self.output and path.exists() and path.is_dir() != self.folder:
            raise InputError(f"{what}: {path} is {'no folder' if self.folder else 'a folder'}")
        # As it was given, where that is enough: it is shown again.
        return path if str(value).startswith("~") else Path(value)


FILE, OUTPUT, FOLDER = FilePath(), FilePath(output=True), FilePath(output=True, folder=True)


class Program(click.Group):
    """A group that answers bad input, like bad usage, with one line and exit code 2."""

    def invoke(self, context):
        """Call the command; say in one line what is wrong with its input."""
        try:
            with _brief():
                return super().invoke(context)
        except InputError as error:
            click.echo(f"csrec: error: {error}", err=True)
            context.exit(2)
        except KeyboardInterrupt:
            click.echo("csrec: interrupted; what is done is kept, the same command goes on from it", err=True)
            context.exit(130)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads the output has seen enough
                raise
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"csrec: error: {one_line(f'{place}{error.strerror or error}')}", err=True)
            context.exit(2)

    def parse_args(self, context, args):
        """Parse the group's own options."""
        with _brief():
            return super().parse_args(context, args)


@contextmanager
def _brief() -> Iterator[None]:
    """Keep what click says of bad usage short: it repeats what was given."""
    try:
        yield
    except click.UsageError as error:
        # Said in full, as the option at fault and the nearest name are no part of the bare message.
        raise click.UsageError(one_line(error.format_message(), 300), error.ctx) from None


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csrec")
def cli():
    """How much does it change acceptance that the recommender, and not the user, chose the item?

    Example: csrec report --run first
    """
