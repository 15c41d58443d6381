"""The runs of one name over time: kept in a file that only grows, drawn as trends with an alert by a rule.

`history.parquet` in the run's folder has an entry for each data and settings that the name was used with. It is
written whole; one that cannot be read is set aside under another name, never written over.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from csrec_core.files import now, whole_file, write_text
from csrec_core.numbers import interval, writer
from csrec_core.report.compare import difference
from csrec_core.report.markup import TEMPLATES
from csrec_core.report.run import Run, of_kind
from csrec_core.report.table import table_html
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, STATUSES, UNDECIDED

HISTORY_FILE = "history.parquet"
TEXTS = ("entry", "started", "notebook", "kind", "name", "word", "unit", "data", "code")
MEASURED = ("value", "lower", "upper")
HISTORY_COLUMNS = (*TEXTS, *MEASURED)
#: What is followed: its title, and the kind and the names of the rows that tell it, the first that is there.
FOLLOWED = {
    "effect": ("Effect", "number", ("effect", "if_nothing_hidden")),
    "overlap": ("Exposures with nothing to compare them with", "verdict", ("the arms overlap",)),
    "drift": ("Drift, the effect of the later half of the baseline's exposures", "check", ("no drift",)),
}
RULE = (
    "An alert is raised where the 95% interval of the difference between a run and the mean of the earlier runs on "
    "other data leaves out 0, or where a word or the status gets worse. Runs are taken as independent: where they "
    "share users the interval is too wide, and an alert is the surer. One run in twenty raises one by chance."
)
WORSE = (*STATUSES, HOLDS, NOT_TESTED, UNDECIDED, FAILS)


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One thing followed over the entries of a history."""

    title: str
    # A row an entry: `started`, `data`, `code`, `value`, `lower`, `upper`, `word`, `earlier` (mean of the
    # earlier runs on other data), `difference`, `difference_lower`, `difference_upper`, `alert`.
    table: pd.DataFrame

    @property
    def unit(self) -> str:
        """The unit of the values, "points" or "units of the outcome"."""
        return "points" if self.table["unit"].iloc[-1] == "probability" else "units of the outcome"

    def write(self, value: float, *ends: float, sign: bool = False) -> str:
        """Return a value, and its interval where there is one."""
        write, _ = writer(self.unit == "points", sign=sign)
        told = f" {interval(ends[0], ends[1], write)}" if ends and pd.notna(ends[0]) else ""
        return f"{write(value)}{told}"

    @property
    def sentence(self) -> str:
        """What the last run says against the earlier ones."""
        last = self.table.iloc[-1]
        now = f"{self.title}: {self.write(last['value'], last['lower'], last['upper'])} {self.unit}, {last['word']}"
        if pd.isna(last["difference"]):
            return f"{now}; no earlier run on other data."
        moved = self.write(last["difference"], last["difference_lower"], last["difference_upper"], sign=True)
        return f"{now}; {moved} against the mean of the earlier runs, {self.write(last['earlier'])}."


def entry_of(run: Run) -> pd.DataFrame:
    """Return what a history keeps of a run: its headline numbers, verdicts and checks, a row each."""
    done = {name: entry for name, entry in run.manifest["notebooks"].items() if entry["status"] == "done"}
    keys = hashlib.sha256("".join(entry["key"] for entry in done.values()).encode()).hexdigest()[:16]
    rows = []
    for name, entry in done.items():
        about = {"entry": keys, "started": entry["started"], "notebook": name, "unit": "probability"}
        about |= {"data": entry.get("data_hash") or "", "code": entry.get("code_version") or ""}
        for finding in of_kind(run.said[name], "finding"):
            answer = finding.get("answer") or {}
            word, unit = answer.get("status", ""), answer.get("unit", "probability")
            for number, value in finding["numbers"].items():
                ends = {end: value.get(end) for end in MEASURED}
                rows.append({**about, "kind": "number", "name": number, "word": word, "unit": unit, **ends})
            checks = answer.get("checks", ())
            rows += [{**about, "unit": unit, "kind": "check", **_of_verdict(one)} for one in checks]
        rows += [
            {**about, "kind": "verdict", **_of_verdict(one)} for one in of_kind(run.said[name], "verdict")
        ]
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    numbers = frame[list(MEASURED)].apply(pd.to_numeric, errors="coerce").astype(float)
    return frame.astype(dict.fromkeys(TEXTS, str)).assign(**numbers)


def _of_verdict(one: Mapping) -> dict:
    return {"name": one.get("name", ""), "word": one["verdict"]} | {end: one.get(end) for end in MEASURED}


def read_history(folder: Path) -> tuple[pd.DataFrame, str]:
    """Return a run's history, and what is to be said of it: where one that cannot be read was put."""
    path = folder / HISTORY_FILE
    empty = pd.DataFrame(columns=list(HISTORY_COLUMNS))
    if not path.exists():
        return empty, ""
    try:
        frame = pd.read_parquet(path, columns=list(HISTORY_COLUMNS))
        if {frame[name].dtype.kind for name in MEASURED} != {"f"}:
            raise TypeError
        return frame, ""
    except Exception as error:  # whatever a reader of Parquet finds in a broken file
        aside = path.with_name(f"history-broken-{now().replace(':', '').replace('+0000', '')}.parquet")
        path.rename(aside)
        why = f"{path}: cannot be read ({type(error).__name__})"
        return empty, f"{why}; set aside as {aside.name}, a new one begins"


def add_to_history(run: Run) -> tuple[pd.DataFrame, str]:
    """Add a run to the history in its folder, unless it has an entry of the same data, settings and code."""
    history, said = read_history(run.folder)
    entry = entry_of(run)
    if len(entry) and entry["entry"].iloc[0] not in set(history["entry"]):
        history = pd.concat([history, entry], ignore_index=True) if len(history) else entry
        with whole_file(run.folder / HISTORY_FILE) as temporary:
            history.to_parquet(temporary, index=False)
    return history, said


def trends(history: pd.DataFrame) -> dict[str, Trend]:
    """Return what is followed, each over the entries that tell it."""
    found = {}
    for key, (title, kind, names) in FOLLOWED.items():
        rows = history[(history["kind"] == kind) & history["name"].isin(names)]
        rows = rows.sort_values("started", kind="stable").drop_duplicates("entry", keep="first")
        if len(rows):
            found[key] = Trend(title=title, table=_against_earlier(rows.reset_index(drop=True)))
    return found


def _against_earlier(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare each row with the mean of the earlier rows on other data, of each data the last."""
    data = rows["data"].to_numpy()
    earlier = []
    for place in range(len(rows)):
        last = {data[i]: i for i in range(place) if data[i] != data[place]}  # of each data
        earlier.append(sorted(last.values()))
    mean = pd.DataFrame(
        [_pooled_mean(rows.iloc[before]) for before in earlier], columns=["value", "lower", "upper"]
    )
    found = difference(mean, rows)
    ranks = [WORSE.index(word) if word in WORSE else 0 for word in rows["word"]]
    worse = pd.Series(
        [bool(before) and rank > ranks[before[-1]] for rank, before in zip(ranks, earlier, strict=True)]
    )
    found.insert(0, "earlier", mean["value"])
    alert = worse | (found["difference_lower"] > 0) | (found["difference_upper"] < 0)
    return rows.join(found.assign(alert=alert))


def _pooled_mean(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean of independent values, and its interval put together from theirs."""
    value = rows["value"].mean()
    below, above = (
        ((rows["value"] - rows[end]) ** 2).sum(min_count=1) ** 0.5 / max(len(rows), 1)
        for end in ("lower", "upper")
    )
    return value, value - below, value + above


def write_history(run: Run) -> str:
    """Add a run to its history and write the page of its trends; return what is to be said of it, if anything."""
    history, said = add_to_history(run)
    found = trends(history)
    page = TEMPLATES.get_template("history.html.j2").render(
        run=run.folder.name,
        count=history["entry"].nunique(),
        rule=RULE,
        said=said,
        trends=[
            {
                "key": key,
                "trend": trend,
                "picture": Markup(_trend_picture(trend, key)),
                "table": Markup(table_html(_readable_trend(trend), key, caption=f"{trend.title}, by run.")),
            }
            for key, trend in found.items()
        ],
    )
    write_text(run.folder / "history.html", page)
    return said


def _trend_picture(trend: Trend, key: str) -> str:
    """Return the drawing of a trend; of a single run there is none."""
    if len(trend.table) < 2:
        return ""
    # Drawing is left to runs that have a history: it takes a second to be loaded.
    import matplotlib.pyplot as plt

    from csrec_core.plots.files import use_style
    from csrec_core.plots.svg import drawing_svg
    from csrec_core.plots.trend import plot_trend
    from csrec_core.report.handover import inline_svg

    use_style()
    figure = plot_trend(trend.table, unit=trend.unit).figure
    svg = drawing_svg(figure)
    plt.close(figure)
    return inline_svg(svg, key, trend.sentence)


def _readable_trend(trend: Trend) -> pd.DataFrame:
    """Return a trend's table as it is read, the newest first."""
    rows = []
    for row in trend.table.iloc[::-1].itertuples():
        value = trend.write(row.value, row.lower, row.upper)
        moved = trend.write(row.difference, row.difference_lower, row.difference_upper, sign=True)
        word = f"{row.word or '–'}{', alert' if row.alert else ''}"
        rows.append([row.started[:10], value, moved, word, row.data[:7] or "–", row.code[:7] or "–"])
    names = ["run", "value", "against earlier", "status or verdict", "data", "code"]
    return pd.DataFrame(rows, columns=names)
