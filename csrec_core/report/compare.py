"""Two runs side by side: which parameters differ, and which headline numbers moved beyond their intervals."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.csvfile import save_csv
from csrec_core.errors import InputError
from csrec_core.files import now, write_json, write_text
from csrec_core.report.index import numbers_shown, render_comparison, write_index
from csrec_core.report.run import Run, find_run, of_kind

__all__ = ["Comparison", "compare_runs", "comparison_text", "write_comparison"]


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs.

    Attributes
    ----------
    first, second : str
        The runs' names.
    facts : DataFrame
        `fact`, `first`, `second`, `same`: data, code, commit, status, time.
    parameters : DataFrame
        Those that differ: `parameter`, `first`, `second`, `notebooks` (a dash: not declared there).
    numbers : DataFrame
        Headline numbers: `notebook`, `number`, `first`, `first_low`, `first_high`, the same of `second`,
        `difference`, `low`, `high` and `verdict` (moved, not told apart, differs, equal, only in one).
    verdicts : DataFrame
        Checks that differ: `notebook`, `verdict`, `first`, `second` (their words, or a dash).
    """

    first: str
    second: str
    facts: pd.DataFrame
    parameters: pd.DataFrame
    numbers: pd.DataFrame
    verdicts: pd.DataFrame


def compare_runs(reports: Path, first: str, second: str) -> Comparison:
    """Compare two runs of a folder of runs.

    The interval of a difference is put together from those of its two sides as if the runs were independent
    (Zou and Donner 2008, Statistics in Medicine 27, eq. 3); of runs on the same users it is too wide, so that
    what it calls moved did move.

    Raises InputError where a run is not there, cannot be read, or is compared with itself.
    """
    if first == second:
        raise InputError(f"the run {first!r} is compared with itself: expected two runs")
    sides = [find_run(reports, name) for name in (first, second)]
    return Comparison(
        first,
        second,
        _facts(*(run.manifest for run in sides)),
        _parameters(*(run.parameters for run in sides)),
        _numbers(*(run.numbers for run in sides)),
        _verdicts(*map(_given_verdicts, sides)),
    )


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison for a terminal."""
    sides = {"first": comparison.first, "second": comparison.second}
    shown = numbers_shown(comparison)
    parts = {
        "Parameters that differ": comparison.parameters.rename(columns=sides),
        "Headline numbers, second less first": shown,
        "Verdicts that differ": comparison.verdicts.rename(columns=sides),
    }
    return "\n\n".join(
        f"{title}:\n{frame.to_string(index=False) if len(frame) else 'none'}"
        for title, frame in parts.items()
    )


def write_comparison(comparison: Comparison, reports: Path) -> Path:
    """Write the page of a comparison and its tables as CSV; return the page."""
    names = [name.replace("/", "-") for name in (comparison.first, comparison.second)]
    folder = reports / "compare-{}-{}".format(*names)
    save_csv(comparison.numbers, folder / "numbers.csv")
    save_csv(comparison.parameters, folder / "parameters.csv")
    about = {"first": comparison.first, "second": comparison.second, "folder": folder.name, "started": now()}
    write_json(folder / "comparison.json", about)
    write_text(folder / "index.html", render_comparison(comparison))
    write_index(reports)
    return folder / "index.html"


def _facts(first: dict, second: dict) -> pd.DataFrame:
    rows = []
    for fact, read in {
        "status": lambda manifest: manifest["status"],
        "data": lambda manifest: (manifest["data"]["hash"] or "simulated in the run")[:20],
        "code": lambda manifest: manifest["code"]["version"][:12],
        "commit": lambda manifest: (manifest["code"]["git"] or {"commit": "–"})["commit"][:9],
        "notebooks": lambda manifest: ", ".join(manifest["notebooks"]),
        "started": lambda manifest: manifest["started"],
        "run time, s": lambda manifest: f"{manifest['seconds']:.1f}",
    }.items():
        values = read(first), read(second)
        rows.append((fact, *values, values[0] == values[1]))
    return pd.DataFrame(rows, columns=["fact", "first", "second", "same"])


def _parameters(first: dict[str, dict], second: dict[str, dict]) -> pd.DataFrame:
    """Return the parameters that differ in a notebook of both runs; notebooks that agree share a row."""
    rows: dict[tuple, list[str]] = {}
    for notebook in (name for name in first if name in second):
        sides = first[notebook], second[notebook]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            values = tuple(str(side.get(name, "–")) for side in sides)
            if values[0] != values[1]:
                rows.setdefault((name, *values), []).append(notebook)
    listed = [(*key, ", ".join(notebooks)) for key, notebooks in rows.items()]
    return pd.DataFrame(listed, columns=["parameter", "first", "second", "notebooks"])


def _numbers(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    both = first.merge(
        second, on=["notebook", "number"], how="outer", suffixes=("", "_second"), indicator=True, sort=False
    )
    order = pd.concat([first, second])[["notebook", "number"]].drop_duplicates()
    both = order.merge(both, on=["notebook", "number"])
    a, a_low, a_high = (both[name] for name in ("value", "low", "high"))
    b, b_low, b_high = (both[f"{name}_second"] for name in ("value", "low", "high"))
    gap = b - a
    # A number without an interval is taken as exact; that of the other side is all there is.
    below = np.hypot((b - b_low).fillna(0), (a_high - a).fillna(0))
    above = np.hypot((b_high - b).fillna(0), (a - a_low).fillna(0))
    known = a_low.notna() | b_low.notna()
    low, high = (gap - below).where(known), (gap + above).where(known)
    verdict = np.select(
        [both["_merge"] == "left_only", both["_merge"] == "right_only", gap.isna(), gap == 0, ~known],
        ["only in the first", "only in the second", "not known", "equal", "differs"],
        np.where((low > 0) | (high < 0), "moved", "not told apart"),
    )
    sides = {"first": a, "first_low": a_low, "first_high": a_high}
    sides |= {"second": b, "second_low": b_low, "second_high": b_high}
    return both[["notebook", "number"]].assign(**sides, difference=gap, low=low, high=high, verdict=verdict)


def _given_verdicts(run: Run) -> dict[tuple[str, str], str]:
    return {
        (name, entry["name"]): entry["verdict"]
        for name, entries in run.said.items()
        for entry in of_kind(entries, "verdict")
    }


def _verdicts(first: dict, second: dict) -> pd.DataFrame:
    keys = dict.fromkeys([*first, *second])
    rows = [(*key, first.get(key, "–"), second.get(key, "–")) for key in keys]
    return pd.DataFrame(
        [row for row in rows if row[2] != row[3]], columns=["notebook", "verdict", "first", "second"]
    )
