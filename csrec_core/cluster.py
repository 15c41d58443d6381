"""Work in parts, on Dask: in this process, on the cores of this machine, or on a cluster."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from csrec_core.errors import InputError

SCHEDULER_PATIENCE = 10.0  # seconds in which a scheduler has to answer
#: The least that a worker which is to `reuse` memory asks the system for, and gives back.
LARGE_BYTES = 2**25


def run_tasks(
    function: Callable,
    tasks: Mapping[str, tuple],
    *,
    common: tuple = (),
    scheduler: str = "",
    workers: int = 1,
    label: str = "",
    reuse: bool = False,
) -> Iterator[tuple[str, object]]:
    """Call a function for each task, and yield (name of the task, result) as they finish.

    A task that raises `InputError` yields that error, and the others go on; any other error is raised. Dask
    starts a task again when its worker dies, so a task must leave either all of its output or none.

    The function is importable by the workers. `tasks` are arguments by name, and `common` are further ones, the same
    for all: they are sent to each worker once. `workers` are processes on this machine, of which 1 is this one; where
    `scheduler` is the address of a Dask scheduler, such as `tcp://host:8786`, its workers do it, which need this
    package and must see the files under the same paths. With `reuse` processes here keep the memory of freed arrays up
    to 32 MiB: they hold more of it, and training many small tensors no longer asks the system for each anew, a fifth
    of the time. The progress bar says `label`.
    """
    with (
        tqdm(total=len(tasks), desc=label, disable=None, leave=False, unit="file") as bar,
        work_place(scheduler, min(workers, len(tasks)), reuse=reuse) as address,
    ):
        done = _on_dask(function, tasks, common, address) if address else _run_here(function, tasks, common)
        for name, result in done:
            bar.update()
            yield name, result


@contextmanager
def work_place(scheduler: str = "", workers: int = 1, *, reuse: bool = False) -> Iterator[str]:
    """Yield the address of a scheduler: the one that is given, else of so many processes here.

    Empty for one process, which is this one.
    """
    if scheduler or workers <= 1:
        yield scheduler
        return
    import dask
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    before = "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_"
    with (
        dask.config.set({before: LARGE_BYTES} if reuse else {}),
        LocalCluster(n_workers=workers, **options) as cluster,
    ):
        yield cluster.scheduler_address


def _run_here(function: Callable, tasks: Mapping[str, tuple], common: tuple) -> Iterator[tuple[str, object]]:
    for name, arguments in tasks.items():
        try:
            yield name, function(*arguments, *common)
        except InputError as error:
            yield name, error


def _given(value):
    return value


def _on_dask(
    function: Callable, tasks: Mapping[str, tuple], common: tuple, scheduler: str
) -> Iterator[tuple[str, object]]:
    from distributed import Client, KilledWorker, as_completed

    try:
        client = Client(scheduler, set_as_default=False, timeout=SCHEDULER_PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler at {scheduler!r}: {str(error).splitlines()[0]}") from None
    with client:
        # Each is the result of a task: what is scattered is lost with the last worker that holds it, and all
        # that waits for it is cancelled; a result is made again.
        sent = [client.submit(_given, value, pure=False) for value in common]
        futures = {
            client.submit(function, *arguments, *sent, pure=False): name for name, arguments in tasks.items()
        }
        for future in as_completed(futures, loop=client.loop):
            try:
                yield futures[future], future.result()
            except InputError as error:
                yield futures[future], error
            except KilledWorker as error:
                message = f"{futures[future]}: its workers died, the last at {error.last_worker.address}"
                yield futures[future], InputError(f"{message}; they may lack memory")
            future.release()
