"""One notebook, executed in a kernel of this very interpreter that ends when its runner does."""

import logging
import os
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import papermill
import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from csrec_core.errors import one_line
from csrec_core.files import UNDER_WAY
from csrec_core.report.plan import Task

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def share_cores(jobs: int) -> dict[str, str]:
    """Return the environment in which each of `jobs` computes on its share of the cores: as it is set, else equal."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    return {name: os.environ.get(name, threads) for name in THREADS}


class Kernels:
    """The kernels of a run in its `folder`, of which `jobs` compute at once, each on its share of the cores."""

    def __init__(self, folder: Path, jobs: int = 1):
        self._folder, self._jobs = folder, jobs
        self._pids: set[int] = set()
        self._killed = False

    def execute(self, task: Task, output: Path) -> str | None:
        """Run a notebook by papermill; return its error, if any. Several threads may call it."""
        # papermill's own parser of parameters warns of lines that it cannot read, which are checked already, and its
        # log says of every kernel that ends that it died: when interrupted, too. An error is returned below.
        logging.getLogger("papermill").setLevel(logging.CRITICAL)
        own: set[int] = set()
        given = {**task.parameters, **({"out": str(self._folder)} if "out" in task.declared else {})}
        try:
            papermill.execute_notebook(
                _papermill_path(task.path),
                _papermill_path(output),
                given,
                kernel_name="python3",
                language="python",
                kernel_manager_class=self._manager(own),
                # Bars of several notebooks would write over each other.
                progress_bar=sys.stderr.isatty() and self._jobs == 1,
                store_widget_state=False,
            )
        except PapermillExecutionError as error:
            return one_line(f"{error.ename}: {error.evalue}")
        except (CellExecutionError, RuntimeError) as error:
            # A kernel that died, or never came to life.
            return one_line(f"{type(error).__name__}: {error}")
        finally:
            self._pids -= own  # the system may give its number to another
        return None

    def kill(self) -> None:
        """End all kernels, those too that are about to start."""
        self._killed = True
        for pid in set(self._pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _started(self, pid: int, own: set[int]) -> None:
        own.add(pid)
        self._pids.add(pid)
        if self._killed:
            self.kill()

    def _manager(self, own: set[int]) -> type[AsyncKernelManager]:
        share = share_cores(self._jobs) if self._jobs > 1 else {}
        note, started = self._folder / f"{UNDER_WAY}kernel-{uuid.uuid4().hex}.json", self._started

        class Manager(AsyncKernelManager):
            """A kernel of this interpreter, whatever kernel may be registered under the name it goes by."""

            @property
            def kernel_spec(self) -> KernelSpec:
                # Quiet: the interrupt that ends every kernel is no error to be told of.
                # A kernel ends with its runner, but where that was killed before the kernel looked, it takes
                # whoever adopted it for its runner.
                alone = f"__import__('os').getppid() == {os.getpid()} or __import__('os')._exit(1)"
                words = ["--log-level=CRITICAL", f"--IPKernelApp.exec_lines={alone}"]
                return KernelSpec(**get_kernel_dict(words), env=share)

            @default("connection_file")
            def _beside_the_run(self) -> str:
                # In the home folder it would stay for good where the runner is killed.
                return str(note)

            @default("transport_encryption")
            def _encrypt_where_possible(self) -> str:
                return "auto" if zmq.has("curve") else "disabled"

            async def _async_post_start_kernel(self, **options) -> None:
                await super()._async_post_start_kernel(**options)
                started(self.provisioner.pid, own)  # type: ignore[union-attr]  # a local one, as launched

            post_start_kernel = _async_post_start_kernel

        return Manager


def _papermill_path(path: Path) -> str:
    """Return the path such that papermill, which formats it, leaves it as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")
