"""What a run has left in its folder, read back and checked: its manifest, and what each notebook said.

`manifest.json` says which notebooks ran, how they ended, and the hash of every file that they left;
`record/<notebook>.json` is what `csrec_core.report.report.Report` wrote down. Both may have been cut off by a
crash, or edited, so nothing of them is believed that is not of its shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from csrec_core.errors import InputError, listed, shown, unknown
from csrec_core.files import check_path, check_shape, file_hash, read_json
from csrec_core.verdict import FAILS, HOLDS, STATUSES, WORDS, Verdict

NUMBER_COLUMNS = ["notebook", "number", "value", "lower", "upper"]
#: What a notebook is for, in the order in which a run's page has them; the last two it folds.
NOTEBOOK_ROLES = ("effect", "log", "models", "policy", "", "theorem", "reproduction")
#: The questions beside the effect, and the notebook that answers each (`Report.tile`).
QUESTIONS = {
    "For whom?": "04_treatment_effect",
    "What to do?": "06_policy",
    "Is the log fit?": "02_data",
    "Do the models know anything?": "03_train",
}
NUMBER, NONE = (int, float), type(None)
INTERVAL_ENDS = {"lower": (NONE, *NUMBER), "upper": (NONE, *NUMBER)}
#: Of `csrec_core.effect.answer.as_dict`, what the pages of runs read.
ANSWER = {
    **INTERVAL_ENDS, "effect": (NONE, *NUMBER), "unit": str, "rates": (NONE, {...: NUMBER}), "arm": str,
    "baseline": str, "status": str, "reasons": [str], "remedies": [str], "band": [{"odds": NUMBER, **INTERVAL_ENDS}],
    "tipping": (NONE, *NUMBER), "benchmark": {"name": str, "odds": NUMBER}, "checks": [{"verdict": str}],
    "users": int, "exposures": int, "arms": {...: {"exposures": int, "accepted": NUMBER}}, "target": str,
    "estimand": (NONE, str), "outcome": (NONE, str), "level": (NONE, *NUMBER),
}  # fmt: skip
NOTEBOOK = {
    "status": str, "error": (NONE, str), "title": str, "started": str, "seconds": NUMBER, "key": str,
    "files": {...: str},
}  # fmt: skip
MANIFEST = {
    "status": str, "started": str, "seconds": NUMBER, "parameters": dict, "versions": {...: str},
    "data": {"path": (NONE, str), "hash": (NONE, str)},
    "code": {"version": str, "git": (NONE, {"commit": str, "dirty": bool})},
    "notebooks": {...: NOTEBOOK},
}  # fmt: skip
FIGURE_ENTRY = {"slug": str, "caption": str, "files": [str]}
#: What is written down of each kind of thing said.
SAID = {
    "finding": {"text": str, "numbers": {...: {...: (NONE, *NUMBER)}}, "answer": (NONE, ANSWER)},
    "tile": {"question": str, "title": str, "text": str},
    "warning": {"text": str},
    "verdict": {"name": str, "verdict": str, "detail": str},
    "figure": {**FIGURE_ENTRY, "alt": str, "key": (NONE, str)},
    "table": FIGURE_ENTRY,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, as its folder tells it."""

    folder: Path
    manifest: Mapping  # `manifest.json`; its `run` is the folder's name
    said: Mapping[str, Sequence[Mapping]]  # what each notebook said, in order
    # every notebook's, given or default, but the folder that it wrote to
    parameters: Mapping[str, Mapping[str, object]]
    roles: Mapping[str, str]  # what each notebook is for: one of `NOTEBOOK_ROLES`

    @property
    def answer(self) -> tuple[str, Mapping]:
        """The notebook that says what the effect is, and its answer (`as_dict`); two empty ones without."""
        for name, entry in self.manifest["notebooks"].items():
            for finding in of_kind(self.said[name], "finding") if entry["status"] == "done" else ():
                if finding.get("answer"):
                    return name, finding["answer"]
        return "", {}

    @property
    def numbers(self) -> pd.DataFrame:
        """The headline numbers: `notebook`, `number`, `value`, `lower`, `upper` (NaN: none)."""
        rows = [
            (name, number, *(value.get(end) for end in NUMBER_COLUMNS[2:]))
            for name, entry in self.manifest["notebooks"].items()
            if entry["status"] == "done"
            for finding in of_kind(self.said[name], "finding")
            for number, value in finding["numbers"].items()
        ]
        return pd.DataFrame(rows, columns=NUMBER_COLUMNS).astype(dict.fromkeys(NUMBER_COLUMNS[2:], float))

    @property
    def verdicts(self) -> dict[str, dict[str, dict]]:
        """By notebook and name, a verdict (`Verdict.to_dict`); each notebook has at least `finished`."""
        # A notebook that failed must not pass a gate by having said nothing.
        return {
            name: {"finished": _finished(entry).to_dict()}
            | {
                verdict["name"]: {key: value for key, value in verdict.items() if key != "kind"}
                for verdict in of_kind(self.said[name], "verdict")
            }
            for name, entry in self.manifest["notebooks"].items()
        }

    def figures(self, notebook: str | None = None) -> list[dict]:
        """Return the figures in order: `notebook`, `slug`, `caption`, `alt`, `files` (from the run on)."""
        if notebook is not None and notebook not in self.said:
            raise unknown("notebook", notebook, self.said, where=self.folder.name)
        return [
            {"notebook": name, **entry}
            for name, entries in self.said.items()
            if notebook in (None, name)
            for entry in of_kind(entries, "figure")
        ]


def _finished(entry: Mapping) -> Verdict:
    return Verdict("finished", HOLDS if entry["status"] == "done" else FAILS, entry["error"] or "")


def read_run(folder: Path) -> Run:
    """Return the run in a folder; raises InputError where its manifest or a record is not as a run has it."""
    manifest = read_manifest(folder)
    records = {name: read_record(folder, name) for name in manifest["notebooks"]}
    parameters = {
        name: {key: value for key, value in record["parameters"].items() if key != "out"}
        for name, record in records.items()
    }
    said = {name: record["entries"] for name, record in records.items()}
    roles = {
        name: role if (role := record.get("role")) in NOTEBOOK_ROLES else ""
        for name, record in records.items()
    }
    return Run(folder=folder, manifest=manifest, said=said, parameters=parameters, roles=roles)


def read_manifest(folder: Path) -> dict:
    """Return a run's manifest; its notebooks are named like files of the run."""
    manifest = read_json(folder / "manifest.json", MANIFEST)
    for name in manifest["notebooks"]:
        _inside(folder, f"{name}.html")
    return manifest | {"run": folder.name}


def _check_answer(answer: Mapping, where: str) -> None:
    """Raise InputError, which says where, unless the parts of an answer go together."""
    if (status := answer["status"]) not in STATUSES:
        raise InputError(f"{where}.status is {shown(status)}; expected {', '.join(STATUSES)}")
    if not answer["reasons"]:
        raise InputError(f"{where}.reasons is empty; expected why the effect is {status}")
    for one in (answer, *answer["band"]):
        if (one["lower"] is None) != (one["upper"] is None):
            raise InputError(f"{where}: an interval has one end; expected lower and upper, or neither")
    rates = answer["rates"]
    if (answer["effect"] is None) != (not rates) or (not rates and answer["lower"] is not None):
        raise InputError(
            f"{where}: an effect has rates, and an interval has an effect; expected all, or none"
        )
    if rates and not {answer["arm"], answer["baseline"]} <= rates.keys():
        raise InputError(f"{where}.rates are of {listed(rates)}; expected those of its arm and baseline")


def read_record(folder: Path, name: str) -> dict:
    """Return what a notebook wrote down: its `parameters` and `entries`; of one without a record, nothing."""
    path = folder / "record" / f"{name}.json"
    if not path.exists():
        return {"parameters": {}, "data_hash": None, "entries": []}
    record = read_json(path, {"parameters": dict, "data_hash": (NONE, str), "entries": [{"kind": str}]})
    for place, entry in enumerate(record["entries"]):
        check_shape(entry, SAID.get(entry["kind"], {}), where := f"{path}: entries[{place}]")
        if entry.get("answer"):
            _check_answer(entry["answer"], f"{where}: answer")
        for one in (entry, *(entry.get("answer") or {}).get("checks", ())):
            if (word := one.get("verdict", HOLDS)) not in WORDS:
                raise InputError(f"{where}: verdict is {shown(word)}; expected {', '.join(WORDS)}")
        for file in entry.get("files", ()):
            _inside(folder, file)
    return record


def find_run(reports: Path, name: str) -> Run:
    """Return a run by its name, or a grid's point as `grid/point`; raises InputError."""
    return read_run(find_folder(reports, name))


def find_folder(reports: Path, name: str) -> Path:
    """Return the folder of a run, whether or not it can be read; raises InputError where there is none."""
    folder = check_path(reports / name)
    if not (folder / "manifest.json").is_file():
        paths = sorted([*reports.glob("*/manifest.json"), *reports.glob("*/*/manifest.json")])
        known = [path.parent.relative_to(reports).as_posix() for path in paths]
        raise unknown("run", name, known, where=str(reports))
    return folder


def changed_files(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return which of `files`, name to hash, are not there as they were written."""
    return [name for name, sha in files.items() if file_hash(_inside(folder, name)) != sha]


def verify_run(folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Yield for each notebook, and for each cache in the run, how many files it has and which are changed."""
    for name, entry in read_manifest(folder)["notebooks"].items():
        yield name, len(entry["files"]), changed_files(folder, entry["files"])
    notes: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*-????????????/*.json")):
        name = path.parent.name
        try:
            files = read_json(path, {"files": {...: str}})["files"]
        except InputError:
            files = {path.name: ""}
        notes[name] = notes.get(name, {}) | files
    for name, files in notes.items():
        yield name, len(files), changed_files(folder / name, files)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a run's file; raises InputError for a name that leads out of the run."""
    if not check_path(folder / name).is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: it names a file outside of it, {shown(name)}")
    return folder / name


def of_kind(entries: Sequence[Mapping], kind: str) -> list[Mapping]:
    """Return what was said of one kind: findings, warnings, verdicts, figures or tables."""
    return [entry for entry in entries if entry["kind"] == kind]
