"""The folders of runs: what a run has left, and the pages that list it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from csrec_core.errors import unknown
from csrec_core.report.handover import save_csv, write_text
from csrec_core.report.index import render_grid, render_run, render_runs
from csrec_core.report.page import render_guide
from csrec_core.report.record import of_kind, read_json, read_said

__all__ = ["find_run", "run_numbers", "run_parameters", "write_index", "write_json", "write_run"]

NUMBERS = ["notebook", "number", "value", "low", "high"]


def write_json(path: Path, content: Mapping) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def run_numbers(folder: Path) -> pd.DataFrame:
    """Return the headline numbers of a run: `notebook`, `number`, `value`, `low`, `high` (NaN: none)."""
    manifest = read_json(folder / "manifest.json")
    rows = [
        (name, number, value["value"], value.get("low"), value.get("high"))
        for name, entry in manifest.get("notebooks", {}).items()
        if entry["status"] == "done"
        for finding in of_kind(read_said(folder, name), "finding")
        for number, value in finding["numbers"].items()
    ]
    return pd.DataFrame(rows, columns=NUMBERS).astype(dict.fromkeys(NUMBERS[2:], float))


def run_parameters(folder: Path) -> dict[str, dict[str, object]]:
    """Return every notebook's parameters in the run, given or default, but the folder it wrote to."""
    names = read_json(folder / "manifest.json").get("notebooks", {})
    read = {name: read_json(folder / "record" / f"{name}.json").get("parameters", {}) for name in names}
    return {name: {key: value for key, value in of.items() if key != "out"} for name, of in read.items()}


def write_run(folder: Path, manifest: dict, entries: Mapping[str, dict], names: Sequence[str]) -> None:
    """Write the manifest, the verdicts, the run's page and the list of runs beside it."""
    manifest["notebooks"] = {name: entries[name] for name in names if name in entries}
    manifest["seconds"] = round(sum(entry["seconds"] for entry in manifest["notebooks"].values()), 2)
    said = {name: read_said(folder, name) for name in manifest["notebooks"]}
    # A notebook that failed must not pass a gate by having said nothing.
    verdicts = {
        name: {"finished": {"holds": entry["status"] == "done", "detail": entry["error"] or ""}}
        | {
            verdict["name"]: {"holds": verdict["holds"], "detail": verdict["detail"]}
            for verdict in of_kind(said[name], "verdict")
        }
        for name, entry in manifest["notebooks"].items()
    }
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "verdicts.json", verdicts)
    write_text(folder / "reading.html", render_guide(manifest["run"]))
    write_text(folder / "index.html", render_run(manifest, said))
    write_index(folder.parent)


def write_index(reports: Path) -> None:
    """Write the page that lists the runs in a folder or, where they are a grid's points, compares them."""
    folders = {path.parent.name: path.parent for path in sorted(reports.glob("*/manifest.json"))}
    runs = [_about(folder) for folder in folders.values()]
    if grid := read_json(reports / "grid.json"):
        tables = [run_numbers(folder).assign(point=name) for name, folder in folders.items()]
        numbers = (
            pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*NUMBERS, "point"])
        )
        points = pd.DataFrame.from_dict(grid["points"], orient="index").rename_axis("point").reset_index()
        numbers = points.merge(numbers, on="point")
        save_csv(numbers, reports / "numbers.csv")
        write_text(reports / "index.html", render_grid(grid, runs, numbers))
        return
    grids = []
    for path in sorted(reports.glob("*/grid.json")):
        states = [read_json(at)["status"] for at in path.parent.glob("*/manifest.json")]
        grids.append({**read_json(path), "done": states.count("complete"), "failed": states.count("failed")})
    comparisons = [read_json(path) for path in sorted(reports.glob("*/comparison.json"))]
    write_text(reports / "index.html", render_runs(runs, grids=grids, comparisons=comparisons))


def find_run(reports: Path, name: str) -> Path:
    """Return the folder of a run by its name, or of a grid's point as `grid/point`; raises InputError."""
    folder = reports / name
    if not (folder / "manifest.json").is_file():
        known = [path.parent.relative_to(reports).as_posix() for path in _manifests(reports)]
        raise unknown("run", name, known, where=str(reports))
    return folder


def _manifests(reports: Path) -> list[Path]:
    return sorted([*reports.glob("*/manifest.json"), *reports.glob("*/*/manifest.json")])


def _about(folder: Path) -> dict:
    """Return a run's manifest with what it found: the sentence and the numbers of its last notebook."""
    manifest = read_json(folder / "manifest.json")
    telling = {"finding": None, "numbers": {}}
    for name, entry in manifest["notebooks"].items():
        found = of_kind(read_said(folder, name), "finding")
        if found and entry["status"] == "done":
            # The last notebook has the last word: the effect.
            numbers = {key: value for finding in found for key, value in finding["numbers"].items()}
            telling = {"finding": found[0]["text"], "numbers": numbers}
    return manifest | telling
