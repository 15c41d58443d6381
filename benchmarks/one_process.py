"""A benchmark's run in processes of its own, of one thread each: its CPU seconds and memory are its own."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

__all__ = ["ONE_THREAD", "peak_mib", "run_alone", "watch"]

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
EVERY = 0.2  # seconds between two looks at the memory


def run_alone(command: list[str]) -> dict:
    """Run a command and return the JSON of its last line; raises where it fails."""
    process = subprocess.run(
        command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout.splitlines()[-1])


def watch(command: list[str], meanwhile: Callable[[], object] = lambda: None) -> dict:
    """Run a command to its end and watch all processes that this one has started, and theirs.

    Parameters
    ----------
    meanwhile : callable
        Called between two looks.

    Returns
    -------
    dict
        `seconds`; `cpu`, seconds of the command and of what it started and saw end; `largest_mib` and
        `sum_mib`, the most resident memory of one process and of all together, shared pages counted in each.
    """
    clock, most, together = time.perf_counter(), 0, 0
    process = subprocess.Popen(command, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL)
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        sizes = [_resident(child) for child in psutil.Process().children(recursive=True)]
        most, together = max(most, *sizes, 0), max(together, sum(sizes))
        meanwhile()
        time.sleep(EVERY)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "seconds": time.perf_counter() - clock,
        "cpu": used.ru_utime + used.ru_stime,
        "largest_mib": most / 2**20,
        "sum_mib": together / 2**20,
    }


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has ended
        return 0


def peak_mib() -> float:
    """Return the largest memory that this process has held, in MiB."""
    unit = 1024 if sys.platform != "darwin" else 1024**2  # ru_maxrss counts KiB, on macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
