"""The processes that train one model together, started and ended by Lightning Fabric.

On the CPU they are forked from this one: closures and notebooks work, and one thread computes in each, since
the threads of a forked process's parent are gone. A process that has used CUDA cannot be forked, so on GPUs
the script itself runs once for each (`ddp`): it must put its tensors on `cuda:$LOCAL_RANK`, and do the same
in all of them. `torchrun` may start it, too. Tested are both ways on CPUs, by gloo; that the same calls go
through NCCL on GPUs is Fabric's promise, and was not tried.
"""

import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from csrec_core.errors import InputError, unknown
from csrec_core.files import whole_file
from csrec_core.models.shares import Alone, Group, PeerLost

__all__ = ["STRATEGIES", "run_together"]

STRATEGIES = {
    "auto": "ddp_fork on the CPU, ddp on GPUs and where the processes are there already",
    "ddp": "the script is run once for each device",
    "ddp_fork": "processes forked from this one, on the CPU",
    "ddp_notebook": "ddp_fork by the name Lightning has for it in notebooks",
}
FORKS = ("ddp_fork", "ddp_notebook")
INTERRUPTED = 128 + signal.SIGINT  # exit code
RAISED = {"FloatingPointError": FloatingPointError, "InputError": InputError}  # raised here as there
QUIET = {"lightning_fabric": logging.WARNING, "torch.multiprocessing.spawn": logging.ERROR}


def run_together(
    work: Callable[[Alone], None],
    model: nn.Module,
    *,
    devices: int,
    strategy: str,
    threads: int | None,
    seed: int,
    label: str,
) -> bool:
    """Do `work`, which trains `model`, in as many processes as there are devices.

    Parameters
    ----------
    work : callable
        Called in each process with its `Group`.
    devices : int
        Processes on this machine, each with a CPU core or a GPU; GPUs where the model is on one.
    strategy : str
        A key of `STRATEGIES`.
    threads : int, optional
        That each of them is asked to compute with.
    seed : int
        Of what they draw.
    label : str
        What errors begin with.

    Returns
    -------
    bool
        Whether this process did part of the work. Otherwise forked ones did, and left this one's model as it
        was.

    Raises
    ------
    InputError
        Where the devices cannot be had, or the work raised it.
    FloatingPointError
        Where the work raised it.
    ChildProcessError
        Where a process died, or raised anything else.
    """
    here = next(model.parameters()).device
    fabric, forks = _join(devices, strategy, here)
    if forks and threads not in (None, 1):
        raise InputError(f"threads = {threads} in {devices} forked processes; expected 1, or None")

    def begin(fabric) -> None:
        if fabric.device.type == "cuda" and fabric.device != here:
            raise InputError(
                f"{label}: process {fabric.local_rank} has its tensors on {here}; expected {fabric.device}: "
                "put them on cuda:$LOCAL_RANK"
            )
        group = Group(fabric, model, seed)
        work(group)
        with suppress(PeerLost):  # whoever has left by now has done its work
            group.wait()

    with _quiet():
        if forks:
            _fork(fabric, begin, label)
            return False
        try:
            fabric.launch(begin)
        except PeerLost as error:
            raise ChildProcessError(f"{label}: one of {fabric.world_size} processes died ({error})") from None
    return True


def _join(devices: int, strategy: str, here: torch.device):
    """Return the Fabric of the processes, not yet launched, and whether they are to be forked."""
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices = {devices!r}; expected a whole number of at least 1")
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError:
        raise InputError(
            f"devices = {devices}, strategy = {strategy!r}: training on more than one device needs Lightning "
            "Fabric; pip install lightning-fabric"
        ) from None
    if strategy == "auto":
        strategy = "ddp" if here.type != "cpu" or "LOCAL_RANK" in os.environ else "ddp_fork"
    if strategy in FORKS and here.type != "cpu":
        raise InputError(
            f"strategy = {strategy!r}: a process that uses {here.type} cannot be forked; use 'ddp'"
        )
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))  # set by torchrun
    try:
        fabric = Fabric(accelerator=here.type, devices=devices, strategy=strategy, num_nodes=nodes)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        where = f"devices = {devices}, strategy = {strategy!r}"
        raise InputError(f"{where} on {here.type}: {' '.join(str(error).split())}") from None
    return fabric, strategy in FORKS


def _fork(fabric, begin: Callable, label: str) -> None:
    """Run `begin` in forked processes, and raise here what one of them raised first."""
    others, port = set(multiprocessing.active_children()), os.environ.get("MASTER_PORT")
    with tempfile.TemporaryDirectory(prefix="csrec-") as folder:
        try:
            fabric.launch(_guarded, begin, Path(folder))
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise _reason(error, Path(folder), fabric.world_size, label) from None
        finally:
            for child in set(multiprocessing.active_children()) - others:  # this process was interrupted
                child.kill()
            if port is None:  # the next training finds a free one of its own
                os.environ.pop("MASTER_PORT", None)


def _guarded(fabric, begin: Callable, folder: Path) -> None:
    """Do the work in a forked process, and leave word of what went wrong."""
    torch.set_num_threads(1)
    try:
        begin(fabric)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except PeerLost as error:
        with (folder / "lost").open("a") as file:
            print(f"process {fabric.global_rank}: {error}", file=file)
        sys.exit(1)
    except Exception as error:
        told = {"type": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
        with whole_file(folder / f"{time.monotonic_ns()}-{fabric.global_rank}.json") as note:
            note.write_text(json.dumps(told))
        sys.exit(1)


def _reason(error: Exception, folder: Path, size: int, label: str) -> BaseException:
    """Return what to raise for a process that failed, by what the first of them wrote down."""
    if getattr(error, "exit_code", None) == INTERRUPTED:
        return KeyboardInterrupt()
    notes = sorted(folder.glob("[!.]*.json"), key=lambda path: int(path.stem.split("-")[0]))
    if notes:
        told = json.loads(notes[0].read_text())
        if told["type"] in RAISED:
            return RAISED[told["type"]](told["message"])
        rank = notes[0].stem.split("-")[1]
        return ChildProcessError(f"{label}: process {rank} of {size} failed.\n{told['trace']}")
    how = getattr(error, "signal_name", None)
    died = (
        f"process {error.error_index} of {size} was ended by {how}"
        if how
        else f"one of {size} processes died"
    )
    lost = folder / "lost"
    seen = f" ({lost.read_text().splitlines()[0]})" if lost.exists() and not how else ""
    return ChildProcessError(f"{label}: {died}{seen}; it may lack memory")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from telling what they start and end."""
    before = {name: logging.getLogger(name).level for name in QUIET}
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
