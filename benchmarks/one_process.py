"""A benchmark's run in a process of its own with one thread: its CPU seconds and its memory are its own."""

import json
import os
import resource
import subprocess
import sys

__all__ = ["peak_mib", "run_alone"]

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def run_alone(command: list[str]) -> dict:
    """Run a command and return the JSON of its last line; raises where it fails."""
    process = subprocess.run(
        command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout.splitlines()[-1])


def peak_mib() -> float:
    """Return the largest memory that this process has held, in MiB."""
    unit = 1024 if sys.platform != "darwin" else 1024**2  # ru_maxrss counts KiB, on macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
