"""The command `csrec`. What takes long to import is imported by the command that needs it."""

from csrec_core.cli import data, effect, figures, graph, notebooks, report  # noqa: F401  each adds its commands
from csrec_core.cli.program import cli

__all__ = ["cli", "main"]


def main():
    """Run the command line."""
    cli(prog_name="csrec")
