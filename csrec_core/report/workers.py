"""Work done several things at a time, each in a process of its own with its share of the cores."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

__all__ = ["work_off", "workers"]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class _Here(Executor):
    """An executor that runs what is submitted at once and in this process."""

    def submit(self, work, /, *args, **options) -> Future:
        future = Future()
        future.set_result(work(*args, **options))
        return future


def workers(jobs: int) -> Executor:
    """Return what runs `jobs` things at once: this process for one, else processes that share the cores."""
    if jobs == 1:
        return _Here()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_limit_threads, initargs=(threads,)
    )


def _limit_threads(threads: int) -> None:
    """Let the kernels that this process starts compute on so many threads, unless told otherwise."""
    for name in THREADS:
        os.environ.setdefault(name, str(threads))


def work_off(
    pool: Executor,
    todo: Mapping[str, object],
    work: Callable,
    *,
    after: Mapping[str, Sequence[str]],
    jobs: int,
    begin: Callable[[object], None],
    end: Callable[[object], None],
) -> None:
    """Do `work` on each task of `todo` in `pool`, at most `jobs` at once.

    A task starts when none is left to do of those it comes `after`. `begin` gets each task before it
    starts, `end` what came of it, both in this process and one at a time.
    """
    todo = dict(todo)
    running: dict[Future, str] = {}
    while todo or running:
        pending = {*todo, *running.values()}
        ready = [name for name in todo if not pending & set(after.get(name, ()))]
        for name in ready[: jobs - len(running)]:
            task = todo.pop(name)
            begin(task)
            running[pool.submit(work, task)] = name
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            del running[future]
            end(future.result())
