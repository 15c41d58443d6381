"""The pages above the notebooks': of a run, of all runs, of a grid of runs, of two runs side by side."""

from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from csrec_core.report.markup import TEMPLATES, short
from csrec_core.report.provenance import facts, moment, seconds, summary
from csrec_core.report.record import all_of_kind, of_kind
from csrec_core.report.table import table_html

__all__ = ["numbers_shown", "render_comparison", "render_grid", "render_run", "render_runs"]

WORLD = ("users", "items", "steps", "effect")  # parameters of the simulated books world


def render_run(manifest: Mapping, said: Mapping[str, Sequence[Mapping]]) -> str:
    """Return the page of a run from its manifest and what each notebook said."""
    rows = [
        {
            **entry,
            "page": f"{name}.html",
            "seconds": seconds(entry),
            "findings": of_kind(said[name], "finding"),
        }
        for name, entry in manifest["notebooks"].items()
    ]
    last = next((row for row in reversed(rows) if row["status"] == "done"), None)
    return TEMPLATES.get_template("run.html.j2").render(
        run=manifest["run"],
        rows=rows,
        # The suite leads up to its last notebook, so what that one found comes first.
        telling=sorted(rows, key=lambda row: row is not last),
        failed=[row["title"] for row in rows if row["status"] == "failed"],
        warnings=all_of_kind(said, "warning"),
        verdicts=all_of_kind(said, "verdict"),
        numbers=[
            {"name": number, "number": value, "row": row}
            for row in rows
            for finding in row["findings"]
            for number, value in finding["numbers"].items()
        ],
        parameters=list(manifest["parameters"].items()),
        summary=summary(manifest, manifest),
        provenance=facts(manifest, manifest),
    )


def render_runs(
    runs: Sequence[Mapping], *, grids: Sequence[Mapping] = (), comparisons: Sequence[Mapping] = ()
) -> str:
    """Return the list of all runs, newest first, of grids and of comparisons.

    Parameters
    ----------
    runs : sequence of mappings
        Manifests, with the `finding` and the `numbers` of the run's last notebook.
    grids, comparisons : sequence of mappings
        What `grid.json` and `comparison.json` hold; of a grid also how many points are `done` and `failed`.
    """
    return TEMPLATES.get_template("runs.html.j2").render(
        runs=[_card(manifest) for manifest in _newest_first(runs)],
        grids=_newest_first(grids),
        comparisons=_newest_first(comparisons),
    )


def render_grid(grid: Mapping, runs: Sequence[Mapping], numbers: pd.DataFrame) -> str:
    """Return the page that compares the points of a grid.

    Parameters
    ----------
    grid : mapping
        `run`, `started`, `axes`, `points`, as `run_grid` writes it.
    runs : sequence of mappings
        The points that have run, as for `render_runs`.
    numbers : DataFrame
        Headline numbers: `point`, a column an axis, `notebook`, `number`, `value`, `low`, `high`.
    """
    cards = {manifest["run"]: _card(manifest) for manifest in runs}
    text = numbers.assign(text=[short(row) for row in _bounds(numbers, "")])
    wide = text.pivot_table("text", ["notebook", "number"], "point", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[name for name in grid["points"] if name in wide]).fillna("–").reset_index()
    caption = "Every headline number at every point, with its 95% interval where it has one."
    return TEMPLATES.get_template("grid.html.j2").render(
        run=grid["run"],
        started=moment(grid["started"]),
        axes=grid["axes"],
        points=[
            {"name": name, "values": point, "card": cards.get(name)} for name, point in grid["points"].items()
        ],
        names=list(dict.fromkeys(name for manifest in runs for name in manifest["numbers"])),
        table=Markup(table_html(wide.rename_axis(columns=None), "numbers", caption=caption)),
    )


def render_comparison(comparison) -> str:
    """Return the page of a `csrec_core.report.compare.Comparison`."""
    numbers, shown = comparison.numbers, numbers_shown(comparison)
    sides = {"first": comparison.first, "second": comparison.second}
    tables = {
        "parameters": (comparison.parameters.rename(columns=sides), "Parameters that differ."),
        "numbers": (shown, "Headline numbers with their 95% intervals; the second run less the first."),
        "verdicts": (comparison.verdicts.rename(columns=sides), "Verdicts that differ."),
        "about": (comparison.facts.rename(columns=sides), "Where the two runs come from."),
    }
    return TEMPLATES.get_template("compare.html.j2").render(
        first=comparison.first,
        second=comparison.second,
        moved=numbers[numbers["verdict"] == "moved"]["number"].tolist(),
        told=int(numbers["low"].notna().sum()),
        parameters=comparison.parameters["parameter"].unique().tolist(),
        tables={
            name: Markup(table_html(frame, name, caption=caption)) if len(frame) else ""
            for name, (frame, caption) in tables.items()
        },
    )


def numbers_shown(comparison) -> pd.DataFrame:
    """Return the numbers of a comparison as they are read, each with its interval in one text."""
    numbers = comparison.numbers
    sides = {comparison.first: "first", comparison.second: "second", "difference": "difference"}
    texts = {side: [short(row) for row in _bounds(numbers, name)] for side, name in sides.items()}
    return numbers[["notebook", "number"]].assign(**texts, verdict=numbers["verdict"])


def _bounds(numbers: pd.DataFrame, name: str) -> list[dict]:
    """Return the numbers of a column with their intervals as mappings, what is missing left out."""
    ends = {"": ("value", "low", "high"), "difference": ("difference", "low", "high")}
    columns = numbers[list(ends.get(name, (name, f"{name}_low", f"{name}_high")))]
    rows = columns.set_axis(["value", "low", "high"], axis="columns").to_dict("records")
    return [{"value": None} | {key: value for key, value in row.items() if pd.notna(value)} for row in rows]


def _card(manifest: Mapping) -> dict:
    """Return what the list of runs says of one."""
    data = manifest["data"]
    # What a log of one's own is, and how large the simulated world would be, are no choices of the run.
    left_out = ("path", "map", "data", *(WORLD if data["path"] else ()))
    return {
        "name": manifest["run"],
        "status": manifest["status"],
        "started": moment(manifest["started"]),
        "seconds": seconds(manifest),
        "finding": manifest["finding"],
        "numbers": manifest["numbers"],
        "data": data["path"].replace("\\", "/").rsplit("/", 1)[-1] if data["path"] else "books, simulated",
        "parameters": {k: value for k, value in manifest["parameters"].items() if k not in left_out},
    }


def _newest_first(entries: Sequence[Mapping]) -> list[Mapping]:
    return sorted(entries, key=lambda entry: entry["started"], reverse=True)
