"""The pages above those of runs: of all runs, of a grid of runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from csrec_core.csvfile import save_csv
from csrec_core.effect.answer import amount_and_interval
from csrec_core.errors import InputError
from csrec_core.files import locked, read_json, sweep, write_text
from csrec_core.report.front import day, log_name
from csrec_core.report.markup import TEMPLATES, short
from csrec_core.report.run import NUMBER_COLUMNS, Run, read_run
from csrec_core.report.table import table_html
from csrec_core.verdict import STATUSES

GRID = {"run": str, "started": str, "axes": {...: [str]}, "points": {...: {...: str}}}
COMPARISON = {"runs": [str], "started": str}


def write_index(reports: Path) -> None:
    """Write the page that lists the runs in a folder or, where they are a grid's points, compares them.

    What is broken is named there, and keeps nothing else from being listed.
    """
    with locked(reports, wait=True):
        sweep(reports, "")
        broken: list[str] = []
        pairs = _read_all(reports, "manifest.json", lambda path: _run_and_card(path.parent), broken)
        cards, path = {card["name"]: card for _, card in pairs}, reports / "grid.json"
        about: dict[str, Any] = {"grid": {}}
        if path.exists():
            grid = read_json(path, GRID) | {"run": reports.name}
            about |= {"grid": grid, "table": _numbers_of_points(grid, [run for run, _ in pairs], reports)}
            about["runs"] = [cards[name] for name in grid["points"] if name in cards]
        else:
            about["runs"] = _newest_first(list(cards.values()))
            about["grids"] = _newest_first(_read_all(reports, "grid.json", _grid_card, broken))
            about["comparisons"] = _newest_first(_read_all(reports, "comparison.json", _comparison, broken))
        page = TEMPLATES.get_template("runs.html.j2").render(**about, broken=broken)
        write_text(reports / "index.html", page)


def _read_all(reports: Path, name: str, read: Callable[[Path], object], broken: list[str]) -> list:
    """Return what `read` makes of each file of a name, a folder down; what cannot be read is `broken`."""
    found = []
    for path in sorted(reports.glob(f"*/{name}")):
        try:
            found.append(read(path))
        except (InputError, ValueError) as error:  # of an edited record, a formula may not be one
            broken.append(f"{path.parent.name}: {str(error).replace(f'{reports}/', '')}")
    return found


def _run_and_card(folder: Path) -> tuple[Run, dict]:
    """Return a run, and what the list of runs says of it."""
    run = read_run(folder)
    manifest, (_, found) = run.manifest, run.answer
    value, ends = amount_and_interval(found) if found else ("", "")
    return run, {
        "name": manifest["run"],
        "status": manifest["status"],
        "started": manifest["started"],
        "day": day(manifest["started"]),
        "log": log_name(manifest),
        "effect": value or "–",
        "interval": ends or "–",
        "light": STATUSES[found["status"]].word if found else "not-tested",
        "sure": STATUSES[found["status"]].heading if found else "Not asked",
    }


def _grid_card(path: Path) -> dict:
    states = [read_json(at, {"status": str})["status"] for at in path.parent.glob("*/manifest.json")]
    counts = {"done": states.count("complete"), "failed": states.count("failed")}
    return read_json(path, GRID) | counts | {"run": path.parent.name}


def _comparison(path: Path) -> dict:
    return read_json(path, COMPARISON) | {"folder": path.parent.name}


def _numbers_of_points(grid: Mapping, runs: Sequence[Run], reports: Path) -> Markup:
    """Return the headline numbers of a grid's points side by side, and write them as CSV."""
    tables = [run.numbers.assign(point=run.folder.name) for run in runs]
    points = pd.DataFrame.from_dict(grid["points"], orient="index").rename_axis("point").reset_index()
    empty = pd.DataFrame(columns=[*NUMBER_COLUMNS, "point"])
    numbers = points.merge(pd.concat(tables, ignore_index=True) if tables else empty, on="point")
    save_csv(numbers, reports / "numbers.csv")
    text = numbers.assign(text=[short(row) for row in numbers.to_dict("records")])
    wide = text.pivot_table("text", ["notebook", "number"], "point", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[name for name in grid["points"] if name in wide]).fillna("–").reset_index()
    caption = "Every headline number at every point, with its 95% interval where it has one."
    return Markup(table_html(wide.rename_axis(columns=None), "numbers", caption=caption))


def _newest_first(entries: Sequence[Mapping]) -> list[Mapping]:
    return sorted(entries, key=lambda entry: entry["started"], reverse=True)
