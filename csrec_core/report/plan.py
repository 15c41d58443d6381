"""What a run is to do: its tasks with their keys, the points of a grid."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from csrec_core.errors import InputError, shown, unknown
from csrec_core.files import COMPUTING, hash_files, versions
from csrec_core.report.parameters import Parameter, read_parameters, resolve
from csrec_core.suites import NOTEBOOKS

#: Whose versions decide what a page says and shows.
PACKAGES = (*COMPUTING, "networkx", "dowhy", "matplotlib", "papermill")
MOST_POINTS, LONGEST_NAME = 10_000, 100


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is to be."""

    run: str  # its name: its folder in `reports`
    notebooks: Sequence[Path]  # in the order they run
    reports: Path  # the folder of all runs
    # parameters of any of the notebooks: typed, as from YAML
    values: Mapping[str, object] = field(default_factory=dict)
    # the same as written on the command line, which go before
    texts: Mapping[str, str] = field(default_factory=dict)
    data: Path | None = None  # the file, or the folder of files, that the run is about
    only: Sequence[str] = ()  # the notebooks to run, if not all; the rest is left as it is
    force: bool = False  # run again what is up to date
    # Notebooks run at once, with equal shares of the cores; one that reads what another leaves runs after it.
    # Of a grid, points run at once, each in a process of its own.
    jobs: int = 1
    # whose artefacts a notebook reads
    reads: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {name: book.reads for name, book in NOTEBOOKS.items()}
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.run) or len(self.run.encode()) > LONGEST_NAME:
            rule = f"letters, digits, '_', '-' and '.', at most {LONGEST_NAME}"
            raise InputError(f"a run's name is made of {rule}, not {shown(self.run)}")
        stems = [path.stem for path in self.notebooks]
        for name in self.only:
            if name not in stems:
                raise unknown("notebook", name, stems)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.reports / self.run

    def points(self, axes: Mapping[str, Sequence[str]]) -> dict[str, "RunSpec"]:
        """Return the runs of a grid, in a folder of the run's name; raises InputError."""
        if both := sorted(set(axes) & set(self.texts)):
            raise InputError(
                f"the parameter {both[0]!r} is set, and is an axis of the grid: expected one of them"
            )
        return {
            name: replace(self, run=name, reports=self.folder, texts={**self.texts, **point}, jobs=1)
            for name, point in grid_points(axes).items()
        }


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


def plan(spec: RunSpec, *, data_hash: str | None = None) -> list[Task]:
    """Return the tasks of a run, all their parameters checked; raises InputError before anything is done.

    A task's key is the hash of all that decides its result: parameters, data, code, the versions of what
    computes and draws, and the keys of the tasks whose artefacts it reads.
    """
    declared = {path: read_parameters(path) for path in spec.notebooks}
    given = resolve(declared, spec.values, spec.texts)
    package, with_versions = package_files(), versions(PACKAGES)
    keys: dict[str, str] = {}
    tasks = []
    for path, parameters in declared.items():
        code = hash_files([*package, path])
        before = [keys[name] for name in spec.reads.get(path.stem, ()) if name in keys]
        content = json.dumps([given[path], data_hash, code, with_versions, before], sort_keys=True)
        key = keys[path.stem] = hashlib.sha256(content.encode()).hexdigest()
        tasks.append(Task(path=path, declared=parameters, parameters=given[path], code_version=code, key=key))
    return tasks


def grid_points(axes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Return every combination of the axes' values by its name, such as `backbone-sasrec_seed-1`.

    Raises InputError where an axis has no value, two points would have the same name, or one too long a name.
    """
    for name, values in axes.items():
        if not values:
            raise InputError(f"the grid's parameter {name!r} has no values; expected {name}=value,value")
    if (size := math.prod(map(len, axes.values()))) > MOST_POINTS:
        raise InputError(f"the grid has {size:,} points; expected at most {MOST_POINTS:,}")
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
    kinds = {".py", ".j2", ".css", ".json"}
    files = (path for path in package.rglob("*") if path.suffix in kinds)
    return sorted(path for path in files if "notebooks" not in path.relative_to(package).parts)


def read_title(notebook: Path) -> str:
    """Return the notebook's question, the bold sentence below its title; without one, the title."""
    text = "".join(json.loads(notebook.read_text("utf-8"))["cells"][0]["source"])
    question = re.search(r"\*\*(.+?)\*\*", text, re.S)
    return " ".join(question[1].split()) if question else text.partition("\n")[0].lstrip("# ")
