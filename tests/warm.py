"""Kernels and Dask's workers forked from one process that has imported what all of them do, seconds for each.

How a process of either kind starts by itself is tested where a command starts it: `tests/test_faults.py`,
`tests/test_installed.py`, plain papermill in `tests/test_notebooks.py`, `tests/test_cluster.py`.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import dask
import distributed.utils
from jupyter_client.provisioning import local_provisioner

#: What the process imports that all are forked from.
IMPORTED = (
    "distributed",
    "dowhy.gcm.falsify",
    "torch._dynamo",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.debugger",  # which every kernel imports
    "csrec_core.agent.chat",
    "csrec_core.agent.run",
    "csrec_core.plots",
    "csrec_core.report.opening",
    "csrec_core.effect.parts",
    "csrec_core.effect.study",
    "csrec_core.evaluation.skips",
    "csrec_core.models.predictions",
    "csrec_core.reproduction.mssd_tables",
    "frozen",  # the last
)
CONTEXT = multiprocessing.get_context("forkserver")


@contextmanager
def warm_starts():
    """Fork what is started from here on, as a kernel of this interpreter or as a worker of Dask on this machine."""
    start = local_provisioner.launch_kernel

    def launch(command, *, env, cwd=None, **options):
        ours = command[0] == sys.executable and "ipykernel_launcher" in command
        return _Kernel(command, env, cwd) if ours else start(command, env=env, cwd=cwd, **options)

    CONTEXT.set_forkserver_preload(list(IMPORTED))
    with (
        patch.object(local_provisioner, "launch_kernel", launch),
        patch.object(distributed.utils, "_forkserver_preload_set", True),
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
    ):
        yield


class _Kernel:
    """A kernel that is forked, as what holds it knows a process: a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, command, env, cwd):
        arguments = command[command.index("ipykernel_launcher") :]
        env = env | {"JPY_PARENT_PID": str(os.getpid())}
        told = arguments, env, cwd or Path.cwd(), os.getpid()
        self._process = CONTEXT.Process(target=_serve, args=told, daemon=True)
        self._process.start()
        self.pid = self._process.pid
        with suppress(ProcessLookupError):  # it has ended
            while os.getpgid(self.pid) != self.pid:  # its group is asked for next
                time.sleep(0.005)

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def do_not_wait(handle):
    """In the place of `os.fsync`: what a test reads it reads from memory, and no test cuts the power."""


def _if_there(process):
    """Return a process where it still runs, else the first of the system, as a kernel is told of its parent."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return 1
    return process


def _serve(arguments, env, cwd, runner):
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = arguments
    os.fsync = do_not_wait
    os.getppid = lambda: _if_there(runner)
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    atexit._run_exitfuncs()
