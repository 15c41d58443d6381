"""A log looked at before anything is made of it: how it is read, what is wrong with it, what it can carry."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from csrec_core.data.columns import COLUMNS
from csrec_core.data.guess import guess_options
from csrec_core.data.loaders import read_data
from csrec_core.data.log import SELF, SYSTEM, Dataset, find_files
from csrec_core.data.options import ReadOptions
from csrec_core.data.parted import PartedLog
from csrec_core.data.profile import Profile, profile_log
from csrec_core.data.tables import Table, open_frame, open_table, quoted
from csrec_core.errors import unreadable
from csrec_core.suites import NOTEBOOKS

TINY = 1e-4  # a propensity below which a row weighs more than 10,000 others


@dataclass(frozen=True)
class Fault:
    """Something that may mislead: what, in how many rows, and what can be done."""

    what: str
    rows: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.rows:,} {self.what}: {self.remedy}"


@dataclass(frozen=True, eq=False)
class LogCheck:
    """What `check_data` found."""

    path: Path
    kind: str
    options: ReadOptions
    profile: Profile
    faults: list[Fault]
    carries: list[str]
    reasons: dict[str, str]
    left_out: dict[str, int]
    saved: Path | None = None  # a file that holds these options

    @property
    def commands(self) -> list[str]:
        """The commands that give the effect, and make the report; the options in whichever form is shorter."""
        path, options = shlex.quote(str(self.path)), self.options.command()
        if self.saved:
            options = min(options, f"--as {shlex.quote(str(self.saved))}", key=len)
        report = f"csrec report --data {self.kind} --path {path} {options}".strip()
        if len(self.profile.sources) < 2:
            return [report]
        in_parts = self.path.is_dir() and PartedLog.find(self.path)  # what is done of one is kept
        return [
            " ".join(filter(None, ["csrec effect", path, options, "--out effect" * bool(in_parts)])),
            report,
        ]

    def __str__(self) -> str:
        parts = []
        if self.reasons:
            width = max(map(len, self.reasons)) + 2
            guessed = [f"  {role:<{width}}{reason}" for role, reason in self.reasons.items()]
            parts.append("read as (guessed by the values)\n" + "\n".join(guessed))
        for reason, rows in self.left_out.items():
            parts.append(f"left out: {rows:,} rows ({reason})")
        parts.append(str(self.profile))
        if self.faults:
            parts.append("to look at\n" + "\n".join(f"  {fault}" for fault in self.faults))
        parts.append("it can carry\n" + "\n".join(f"  {line}" for line in self.carries))
        return "\n\n".join([*parts, "\n  ".join(["to go on", *self.commands])])


def check_data(path: str | Path, kind: str | None = None, options: ReadOptions | None = None) -> LogCheck:
    """Read a log, guessing what the options leave open, and look at it.

    Parameters
    ----------
    kind : str, optional
        As in `csrec_core.data.loaders.read_data`; by default what the files at `path` are.

    Raises
    ------
    InputError
        Where it cannot be read, even so.
    """
    path, options = Path(path), options or ReadOptions()
    kind, guess, reasons = guess_log(path, options, kind=kind)
    dataset = read_data(kind, path, guess)
    own = guess.map.keys() - options.map.keys()
    found = {name: reasons.get(name, name) for name in COLUMNS if name in own}
    for name, value in guess.content().items():
        if name != "map" and name not in options.content():
            words = [f"{arm}={'+'.join(one)}" for arm, one in value.items()] if name == "arms" else value
            found[name] = reasons.get(name) or (words if isinstance(words, str) else ", ".join(words))
    faults, carries = find_faults(dataset), what_it_carries(dataset, kind)
    return LogCheck(path, kind, guess, profile_log(dataset), faults, carries, found, dataset.left_out)


def guess_log(
    path: str | Path, options: ReadOptions | None = None, *, kind: str | None = None
) -> tuple[str, ReadOptions, dict[str, str]]:
    """Return the kind of data at a path, how to read them, and why: what the options leave open is guessed."""
    path, options = Path(path), options or ReadOptions()
    kind = kind or find_kind(path)
    if kind != "log":
        return kind, options, {}
    with open_table(find_files(path)[0], header=options.header, separator=options.separator) as table:
        guess, reasons = guess_options(table)
    return kind, options.over(guess), reasons


def find_kind(path: Path) -> str:
    """Return the kind of data at a path: `log`, unless its files are those of another kind."""
    known = {
        "options.json": "mssd",
        "log": "log",
        "behaviors.parquet": "ebnerd",
        "observation.txt": "gpt4books",
    }
    try:
        if path.is_dir():
            return next((kind for name, kind in known.items() if (path / name).exists()), "log")
        if path.suffix == ".txt" and path.is_file():
            with path.open("rb") as stream:
                return "log" if re.search(rb"[,;\t|]", stream.readline(1000)) else "sequences"
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return "log"


def find_faults(dataset: Dataset) -> list[Fault]:
    """Return what in a log may mislead, with the number of rows and what can be done.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> find_faults(simulate_books(users=20, items=10, steps=3))
    []
    """
    names = dataset.read.map if dataset.read else {}
    with open_frame(dataset.log, dataset.name) as table:
        propensity = names.get("propensity", "propensity")
        faults = [*_alike(table), *_one_sided(table), *_propensities(table, propensity)]
    lost = dataset.left_out.get("accepted without an exposure", 0)
    faults.append(Fault("clicks without an exposure", lost, "left out; a longer --merge may find theirs"))
    if not dataset.ordered:
        remedy = "the order of the file is taken; nothing over time can be said"
        faults.append(Fault("rows without time or order", len(dataset.log), remedy))
    return [fault for fault in faults if fault.rows]


def _alike(table: Table) -> list[Fault]:
    """Count rows that say the same of the same moment, and those of a time whose order the file alone tells."""
    if "timestamp" not in table.types:
        return []
    same = ", ".join(quoted(name) for name in table.types if name != "t")
    repeats = table.one("coalesce(sum(n - 1), 0)", f"(SELECT count(*) AS n FROM file GROUP BY {same})")
    faults = [Fault("exact repeats of another row", int(repeats), "--distinct leaves them out")]
    if "position" not in table.types:
        rows = "SELECT count(*) AS n FROM file WHERE timestamp IS NOT NULL GROUP BY user, source, timestamp"
        ties = table.one("coalesce(sum(n), 0)", f"({rows}) WHERE n > 1")
        remedy = "their order is that of the file; map a finer time, a t, or the position in the list"
        faults.append(Fault("rows at one time as another of their user", int(ties), remedy))
    return faults


def _one_sided(table: Table) -> list[Fault]:
    remedy = "log what was shown and not taken as well; no effect can be had against this arm"
    arms = "SELECT source, count(*), avg(decision) AS rate FROM file GROUP BY 1 HAVING rate IN (0, 1)"
    return [
        Fault(f"exposures of {arm} that are all {'accepted' if rate else 'rejected'}", rows, remedy)
        for arm, rows, rate in table.query(f"{arms} ORDER BY 1")
    ]


def _propensities(table: Table, own: str) -> list[Fault]:
    if "propensity" not in table.types or not table.one("count(propensity)"):
        return []
    faults = []
    tiny, least = table.query(f"SELECT count_if(propensity < {TINY}), min(propensity) FROM file")[0]
    if tiny:
        weight = f"a row weighs up to {1 / least:,.0f} others"
        remedy = f"{weight}; --where '{own} >= {TINY}' asks another question"
        faults.append(Fault(f"propensities below {TINY}, down to {least:.1g}", tiny, remedy))
    without = "SELECT source, count(*) - count(propensity) AS n, count(*) FROM file GROUP BY 1 HAVING n > 0"
    for arm, unknown, rows in table.query(f"{without} ORDER BY 1"):
        remedy = f"of {rows:,}; where they are unknown the effect is bounded, not identified"
        faults.append(Fault(f"exposures of {arm} without a propensity", unknown, remedy))
    return faults


def what_it_lacks(dataset: Dataset, kind: str = "log") -> dict[str, str]:
    """Return {notebook: what a log of this kind lacks for it}, without those that it can carry."""
    sides = dataset.log.groupby("source", observed=True)["decision"].agg(["min", "max"])
    arms, mixed = set(sides.index), (sides["min"] < sides["max"]).sum()
    two = "" if len(arms) > 1 else f"a second arm beside {', '.join(arms)}"
    effect = two or ("" if mixed > 1 or "outcome" in dataset.log else "both decisions in two arms")
    paper = "" if {SELF, SYSTEM} <= arms else "the arms self and system (--map self=...,system=...)"
    paper = paper or ("" if dataset.ordered else "a time or an order")
    lacks: dict[str | None, str] = {"effect": effect, "arms": two, "phases": paper}
    lacks["sessions"] = "" if kind == "mssd" else "whole sessions, read by csrec data mssd (--data mssd)"
    found = {name: lacks.get(book.needs, "") for name, book in NOTEBOOKS.items()}
    return {name: lack for name, lack in found.items() if lack}


def what_it_carries(dataset: Dataset, kind: str) -> list[str]:
    """Return a line for each notebook: yes, or what the log lacks for it."""
    log, lacks = dataset.log, what_it_lacks(dataset, kind)
    others = " and ".join(arm for arm in log["source"].unique() if arm != SELF)
    logged = "propensity" in log.columns and log.loc[log["source"] != SELF, "propensity"].notna().all()
    sure = "" if logged else f"; to be sure of the value, log a propensity of each exposure of {others}"
    names = [name for name, book in NOTEBOOKS.items() if book.needs]
    said = {name: f"needs {lacks[name]}" if name in lacks else "yes" for name in names}
    said["06_policy"] += sure * ("06_policy" not in lacks)
    return [f"{name:<21}{text}" for name, text in said.items()]
