"""Stages of work, each leaving a file a part; what is there under the same key is not done again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from csrec_core.cluster import run_tasks
from csrec_core.errors import InputError
from csrec_core.files import hash_files, whole_file

__all__ = ["Stages", "digest", "key_of"]

CODE = hash_files(Path(__file__).parents[1].rglob("*.py"))


def digest(*facts: object) -> str:
    """Return the hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def key_of(*facts: object) -> str:
    """Return the hash of what a result depends on: the facts, and the code of `effect`."""
    return digest(CODE, *facts)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stages:
    """Where the stages leave their files, and who does the work.

    Attributes
    ----------
    out : path
        Gets a folder for each stage, with its files, and a note of each in `done/`.
    scheduler : str
        Address of a Dask scheduler; empty for this process.
    """

    out: Path
    scheduler: str = ""

    def file(self, stage: str, name: str, ending: str = "parquet") -> Path:
        """Return where a stage leaves the file of a part."""
        return self.out / stage / f"{name}.{ending}"

    def run(
        self,
        stage: str,
        function: Callable,
        tasks: Mapping[str, tuple],
        keys: Mapping[str, str],
        *,
        ending: str = "parquet",
    ) -> dict:
        """Call the function for each task that is not done; return {name: result} of all, by name.

        Parameters
        ----------
        function : callable
            Takes the file to write, which it writes whole or not at all, and the arguments of the task;
            returns what JSON can hold.
        tasks : mapping
            {name: arguments}.
        keys : mapping
            {name: of everything that the result depends on}.

        Raises
        ------
        InputError
            The first by name, after the other tasks are done.
        """
        results, failures, todo = {}, {}, {}
        for name, arguments in tasks.items():
            target, note = self.file(stage, name, ending), self.out / "done" / stage / f"{name}.json"
            said = json.loads(note.read_text("utf-8")) if note.exists() and target.exists() else {}
            if said.get("key") == keys[name]:
                results[name] = said["result"]
            else:
                note.unlink(missing_ok=True)  # before the file changes that it speaks of
                todo[name] = (function, (target, *arguments), note, keys[name])
        for name, result in run_tasks(_work, todo, scheduler=self.scheduler, label=stage) if todo else ():
            (failures if isinstance(result, InputError) else results)[name] = result
        for path in (self.out / stage).glob("*"):
            if path.stem not in tasks:  # of parts that are gone, or left half-written by workers that died
                path.unlink()
        if failures:
            name = min(failures)
            raise InputError(f"{name}: {failures[name]}")
        return {name: results[name] for name in sorted(results)}


def _work(function: Callable, arguments: tuple, note: Path, key: str) -> object:
    """Do a task in one thread, so that sums come in the same order everywhere, then note that it is done."""
    with threadpool_limits(1):
        result = function(*arguments)
    with whole_file(note) as temporary:
        temporary.write_text(json.dumps({"key": key, "result": result}, sort_keys=True) + "\n", "utf-8")
    return result
