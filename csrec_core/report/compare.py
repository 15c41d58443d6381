"""Runs side by side: whether the data changed, which settings did, and what differs beyond its error."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from csrec_core.csvfile import save_csv
from csrec_core.errors import InputError
from csrec_core.files import now, write_json, write_text
from csrec_core.report.index import write_index
from csrec_core.report.markup import TEMPLATES, short
from csrec_core.report.run import Run, find_run
from csrec_core.report.table import table_html

ALIKE_WORDS = ("equal", "not told apart")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between runs; the others are compared with the first."""

    runs: Sequence[str]  # their names
    facts: pd.DataFrame  # `fact` and a column a run: data, code, commit, status, time
    # those that differ: `parameter`, a column a run (a dash: not declared there), `notebooks`
    parameters: pd.DataFrame
    # Every headline number of every run but the first: `notebook`, `number`, `run`, `first`, `first_lower`,
    # `first_upper`, `value`, `lower`, `upper`, `difference`, `difference_lower`, `difference_upper` and
    # `verdict` (moved, not told apart, differs, equal, only here, only in the first).
    numbers: pd.DataFrame
    # checks that differ: `notebook`, `verdict`, and a column a run (their words, or a dash)
    verdicts: pd.DataFrame

    @property
    def sentences(self) -> list[str]:
        """Whether the data changed, whether the settings did, what moved and what is not told apart."""
        logs = self.facts.set_index("fact").loc["data"]
        same = len(set(logs)) == 1
        changed = ", ".join(f"{name} {log}" for name, log in logs.items())
        data = "All runs read the same data." if same else f"The data changed: {changed}."
        names = self.parameters["parameter"].unique().tolist()
        settings = f"Settings that differ: {', '.join(names)}." if names else "All settings are the same."
        counts = self.numbers["verdict"].value_counts()
        moved = self.numbers.loc[self.numbers["verdict"] == "moved", "number"].unique().tolist()
        told = int(counts.get("moved", 0) + counts.get("not told apart", 0))
        beyond = (
            f"{counts['moved']} of {told} move beyond it: {', '.join(moved)}"
            if moved
            else "none moves beyond it"
        )
        return [data, settings, f"Of the numbers with an error, {beyond}."]

    @property
    def shown(self) -> pd.DataFrame:
        """The numbers that differ beyond their error as they are read: a row each, a column a run."""
        rows = self.numbers[~self.numbers["verdict"].isin(ALIKE_WORDS)]
        texts = pd.DataFrame(columns=["notebook", "number", *self.runs, "difference", "verdict"])
        for (notebook, number), some in rows.groupby(["notebook", "number"], sort=False):
            row = {"notebook": notebook, "number": number, self.runs[0]: _number_text(some.iloc[0], "first")}
            every = self.numbers[(self.numbers["notebook"] == notebook) & (self.numbers["number"] == number)]
            row |= {one["run"]: _number_text(one, "") for _, one in every.iterrows()}
            row["difference"] = "; ".join(_number_text(one, "difference") for _, one in some.iterrows())
            row["verdict"] = "; ".join(dict.fromkeys(some["verdict"]))
            texts.loc[len(texts)] = row
        return texts


def compare_runs(reports: Path, names: Sequence[str]) -> Comparison:
    """Compare runs of a folder of runs with the first of them.

    Raises InputError where a run is not there, cannot be read, or is named twice, or fewer than two are.
    """
    if len(set(names)) < max(2, len(names)):
        raise InputError(f"runs to compare: {', '.join(names) or 'none'}; expected two or more, each once")
    runs = {name: find_run(reports, name) for name in names}
    first, *others = runs.values()
    numbers = [
        _compared_numbers(first.numbers, run.numbers).assign(run=name)
        for name, run in zip(names[1:], others, strict=True)
    ]
    return Comparison(
        runs=list(names),
        facts=pd.DataFrame({name: _facts(run) for name, run in runs.items()})
        .rename_axis("fact")
        .reset_index(),
        parameters=_parameters(runs),
        numbers=pd.concat(numbers, ignore_index=True),
        verdicts=_verdict_table(runs),
    )


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison for a terminal."""
    tables = {
        "Settings": comparison.parameters,
        "What differs": comparison.shown,
        "Verdicts": comparison.verdicts,
    }
    parts = [f"{name}:\n{frame.to_string(index=False)}" for name, frame in tables.items() if len(frame)]
    return "\n\n".join(["\n".join(comparison.sentences), *parts])


def write_comparison(comparison: Comparison, reports: Path) -> Path:
    """Write the page of a comparison and its tables as CSV; return the page."""
    folder = reports / f"compare-{'-'.join(comparison.runs).replace('/', '-')}"[:120]
    save_csv(comparison.numbers, folder / "numbers.csv")
    save_csv(comparison.parameters, folder / "parameters.csv")
    write_json(folder / "comparison.json", {"runs": comparison.runs, "started": now()})
    tables = {
        "parameters": (comparison.parameters, "Settings that differ."),
        "numbers": (comparison.shown, f"With their 95% intervals; each run less {comparison.runs[0]}."),
        "verdicts": (comparison.verdicts, "Verdicts that differ."),
        "about": (comparison.facts, "Where the runs come from."),
    }
    page = TEMPLATES.get_template("compare.html.j2").render(
        runs=comparison.runs,
        sentences=comparison.sentences,
        tables={
            name: Markup(table_html(frame, name, caption=caption)) if len(frame) else ""
            for name, (frame, caption) in tables.items()
        },
    )
    write_text(folder / "index.html", page)
    write_index(reports)
    return folder / "index.html"


def difference(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return second less first, with an interval as if both were independent.

    It is put together from those of the two sides (Zou and Donner 2008, Statistics in Medicine 27, eq. 3). Of
    runs on the same users it is too wide, so that what it tells apart did move. Either side has `value`, `lower`
    and `upper`, and one without an interval is taken as exact; the difference has `difference`, and
    `difference_lower` and `difference_upper`, NaN where neither side has them.
    """
    gap = second["value"] - first["value"]
    known = first["lower"].notna() | second["lower"].notna()
    below = np.hypot(
        (second["value"] - second["lower"]).fillna(0), (first["upper"] - first["value"]).fillna(0)
    )
    above = np.hypot(
        (second["upper"] - second["value"]).fillna(0), (first["value"] - first["lower"]).fillna(0)
    )
    lower, upper = (gap - below).where(known), (gap + above).where(known)
    return pd.DataFrame({"difference": gap, "difference_lower": lower, "difference_upper": upper})


def _facts(run: Run) -> dict[str, str]:
    manifest = run.manifest
    logs = [entry.get("data_hash") for entry in manifest["notebooks"].values()]
    git = manifest["code"]["git"] or {"commit": "–"}
    return {
        "data": next((log[:12] for log in [*logs, manifest["data"]["hash"]] if log), "–"),
        "code": manifest["code"]["version"][:12],
        "commit": git["commit"][:9],
        "status": manifest["status"],
        "notebooks": ", ".join(manifest["notebooks"]),
        "started": manifest["started"],
        "run time, s": f"{manifest['seconds']:.1f}",
    }


def _parameters(runs: dict[str, Run]) -> pd.DataFrame:
    """Return the parameters that differ in a notebook that all have; notebooks that agree share a row."""
    first, *others = (run.parameters for run in runs.values())
    rows: dict[tuple, list[str]] = {}
    for notebook in (name for name in first if all(name in other for other in others)):
        sides = [run.parameters[notebook] for run in runs.values()]
        for name in dict.fromkeys(name for side in sides for name in side):
            values = tuple(str(side.get(name, "–")) for side in sides)
            if len(set(values)) > 1:
                rows.setdefault((name, *values), []).append(notebook)
    listed = [(*key, ", ".join(notebooks)) for key, notebooks in rows.items()]
    return pd.DataFrame(listed, columns=["parameter", *runs, "notebooks"])


def _compared_numbers(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    keys = ["notebook", "number"]
    sides = [side.set_index(keys) for side in (first, second)]
    order = pd.MultiIndex.from_tuples(dict.fromkeys([*sides[0].index, *sides[1].index]), names=keys)
    a, b = (side.reindex(order) for side in sides)
    found = difference(a, b)
    gap, lower, upper = (found[name] for name in found)
    there = [order.isin(side.index) for side in sides]
    verdict = np.select(
        [~there[1], ~there[0], gap.isna(), gap == 0, lower.isna(), (lower > 0) | (upper < 0)],
        ["only in the first", "only here", "not known", "equal", "differs", "moved"],
        "not told apart",
    )
    a = a.add_prefix("first_").rename(columns={"first_value": "first"})
    return pd.concat([a, b, found], axis=1).assign(verdict=verdict).reset_index()


def _verdict_table(runs: dict[str, Run]) -> pd.DataFrame:
    words = {
        run: {
            (name, key): one["verdict"]
            for name, given in found.verdicts.items()
            for key, one in given.items()
        }
        for run, found in runs.items()
    }
    keys = dict.fromkeys(key for given in words.values() for key in given)
    rows = [(*key, *(given.get(key, "–") for given in words.values())) for key in keys]
    return pd.DataFrame(
        [row for row in rows if len(set(row[2:])) > 1], columns=["notebook", "verdict", *runs]
    )


def _number_text(row: pd.Series, name: str) -> str:
    """Return a number of a row with its interval: of `name`, or where that is empty of the run itself."""
    ends = {end: row[f"{name}_{end}".lstrip("_")] for end in ("lower", "upper")}
    return short({"value": row[name or "value"], **ends})
