"""What a run is to do: the suites and their notebooks, the tasks with their keys, the points of a grid."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csrec_core.errors import InputError
from csrec_core.files import hash_files
from csrec_core.report.parameters import Parameter, read_parameters, resolve

__all__ = [
    "NOTEBOOKS",
    "PARTS",
    "READS",
    "SUITES",
    "Task",
    "grid_points",
    "package_files",
    "plan",
    "read_title",
]

NOTEBOOKS = ("01_causal_graph", "02_data", "03_train", "04_treatment_effect", "05_reproduction", "06_policy")
# What a suite sets where the command line says nothing.
SUITES: dict[str, dict[str, object]] = {
    "quick": {"users": 2000, "patience": 3},
    "full": {"users": 5000, "worlds": 50},
    "effect": {},
    "reproduction": {
        "sample": 3000,
        "backbones": "gru4rec, caser, sasrec, bert4rec, fmlprec, bsarec",
        "over": "sasrec, fmlprec, bsarec, bert4rec",
        "seeds": 3,
        "passes": 7,
        "jobs": 2,
    },
}
# The notebooks of a suite that leaves some out.
PARTS = {"effect": ("04_treatment_effect", "06_policy"), "reproduction": ("05_reproduction",)}
# Whose artefacts a notebook reads: it runs after them, and is redone when they are.
READS = {"03_train": ("02_data",), "04_treatment_effect": ("03_train",), "06_policy": ("03_train",)}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One notebook to run: where it is, what it declares and is given, and the key of its result."""

    path: Path
    declared: Mapping[str, Parameter]
    parameters: Mapping[str, object]
    code_version: str
    key: str

    @property
    def name(self) -> str:
        """The notebook's name, `03_train`."""
        return self.path.stem


def plan(
    notebooks: Sequence[Path],
    *,
    values: Mapping[str, object] | None = None,
    texts: Mapping[str, str] | None = None,
    data_hash: str | None = None,
    reads: Mapping[str, Sequence[str]] = READS,
) -> list[Task]:
    """Return the tasks of a run, all their parameters checked; raises InputError before anything is done.

    Parameters
    ----------
    notebooks : sequence of paths
        The notebooks, in the order they run.
    values : mapping, optional
        Parameters of any of them, typed, as from YAML.
    texts : mapping, optional
        Parameters as written on the command line; they go before `values`.
    data_hash : str, optional
        Hash of the data the notebooks are given.
    reads : mapping, optional
        Whose artefacts a notebook reads.
    """
    declared = {path: read_parameters(path) for path in notebooks}
    given = resolve(declared, values or {}, texts or {})
    package = package_files()
    keys: dict[str, str] = {}
    tasks = []
    for path, parameters in declared.items():
        version = hash_files([*package, path])
        before = [keys[name] for name in reads.get(path.stem, ()) if name in keys]
        content = json.dumps([given[path], data_hash, version, before], sort_keys=True)
        key = keys[path.stem] = hashlib.sha256(content.encode()).hexdigest()
        tasks.append(
            Task(path=path, declared=parameters, parameters=given[path], code_version=version, key=key)
        )
    return tasks


def grid_points(axes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Return every combination of the axes' values by its name, such as `backbone-sasrec_seed-1`.

    Raises InputError where an axis has no value, or two points would have the same name.
    """
    for name, values in axes.items():
        if not values:
            raise InputError(f"the grid's parameter {name!r} has no values; expected {name}=value,value")
    points: dict[str, dict[str, str]] = {}
    for combination in itertools.product(*axes.values()):
        point = dict(zip(axes, map(str, combination), strict=True))
        name = "_".join(f"{key}-{re.sub(r'[^A-Za-z0-9.]+', '-', value)}" for key, value in point.items())
        if name in points:
            raise InputError(f"the grid has two points of the name {name!r}: {points[name]} and {point}")
        points[name] = point
    return points


def package_files() -> list[Path]:
    """Return the sources of the package, without the notebooks that an installed one carries."""
    package = Path(__file__).resolve().parents[1]
    kinds = {".py", ".j2", ".css", ".json", ".mplstyle"}
    files = (path for path in package.rglob("*") if path.suffix in kinds)
    return sorted(path for path in files if "notebooks" not in path.relative_to(package).parts)


def read_title(notebook: Path) -> str:
    """Return the notebook's question, the bold sentence below its title; without one, the title."""
    text = "".join(json.loads(notebook.read_text("utf-8"))["cells"][0]["source"])
    question = re.search(r"\*\*(.+?)\*\*", text, re.S)
    return " ".join(question[1].split()) if question else text.partition("\n")[0].lstrip("# ")
