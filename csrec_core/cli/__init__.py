"""The command `csrec`. What takes long to import is imported by the command that needs it."""

import signal

from csrec_core.cli import data, effect, graph, notebooks, report, runs  # noqa: F401  each adds its commands
from csrec_core.cli.program import cli

__all__ = ["cli", "main"]


def main():
    """Run the command line."""
    # Asked to end, a program does as when it is interrupted: it ends what it started and tidies up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="csrec")
