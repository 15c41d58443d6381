"""From the files of MSSD to a folder of Parquet, a part for each file, in bounded memory.

The folder holds

- `log/`: exposures in the shape of `csrec_core.data.log`, of the source `other` where neither the listener nor the
  system chose; what is known before a track is heard is a `feature_...`, what the listener did stands beside it
  under its own name;
- `items.parquet`: the tracks and their features; `index/`: the id of each session and its `user` number;
- `quarantine/`: rows that are kept out, with file, line and why; `done/`: a note for each file that is done;
- `summary.json`: counts of all of it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from csrec_core.cluster import run_tasks
from csrec_core.data.log import SOURCES
from csrec_core.data.mssd.part import (
    LOG_COLUMNS,
    TABLES,
    TRACK_COLUMNS,
    identity,
    ingest_file,
    ingest_tracks,
    note_file,
    one,
    open_database,
    part_name,
    parts_of,
    rows_of,
)
from csrec_core.data.mssd.reader import read_header
from csrec_core.data.mssd.schema import CONTEXTS, LABELS, OTHER, Options
from csrec_core.errors import InputError
from csrec_core.files import read_json, write_json


@dataclass(frozen=True)
class Ingestion:
    """What an ingestion did."""

    #: Counts of everything in the folder: `files`, `read` rows, `rows` and `accept_rate` by source, `contexts`,
    #: `problems`, `skip_rate` by label, `sessions`, `incomplete` ones (rows are missing), `tracks`.
    summary: dict
    done: int  # files that were read now
    failures: dict[str, str]  # by part: what is wrong with its file

    def __str__(self) -> str:
        facts, lines = self.summary, []
        files = f"{facts['files']:,} files ({self.done:,} read now)"
        lines.append(f"{files}, {facts['read']:,} rows, {facts['tracks']:,} tracks")
        for source in (*SOURCES, OTHER):
            rate = facts["accept_rate"].get(source)
            shown = "" if rate is None else f", accept rate {rate:.3f}"
            lines.append(f"  {source:24}{facts['rows'].get(source, 0):>14,} rows{shown}")
        lines.append("by context_type")
        lines += [f"  {name:24}{facts['contexts'].get(name, 0):>14,}" for name in CONTEXTS]
        lines.append(f"quarantined{sum(facts['problems'].values()):>29,} rows")
        lines += [f"  {problem:24}{count:>14,}" for problem, count in facts["problems"].items()]
        lines.append(f"{facts['sessions']:,} sessions, {facts['incomplete']:,} of them with rows missing")
        return "\n".join(lines)


def match_files(patterns: Sequence[str], what: str) -> list[Path]:
    """Return the files that the patterns match, by name; refuse a pattern that matches none."""
    found: set[Path] = set()
    for pattern in patterns:
        whole = Path(pattern).expanduser().absolute()
        paths = list(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
        if not paths:
            raise InputError(f"{what}: no file matches {pattern}")
        found |= {path.resolve() for path in paths}
    return sorted(found, key=lambda path: (path.name, path))


def ingest(
    logs: Sequence[Path],
    tracks: Sequence[Path],
    folder: str | Path,
    options: Options | None = None,
    *,
    scheduler: str = "",
    workers: int = 1,
) -> Ingestion:
    """Read files of session logs and of track features into `folder`.

    Files that are in the folder already, by name, size and time, are not read again; a run that was cut
    short goes on where it stopped. The result does not depend on the order of the files, nor on how many
    processes read them.

    Files are `.csv`, `.csv.gz` or `.tar.gz` of such tables; each log becomes a part named after it. `scheduler` and
    `workers` are those of `csrec_core.cluster.run_tasks`.

    Raises InputError before anything is read on a wrong header, two files of one name, or a folder that was made with
    other options or tracks; at the end, on ids that collide, or sessions that lie in several files.
    """
    folder, options = Path(folder).resolve(), options or Options()
    for path in logs:
        read_header(path, LOG_COLUMNS)
    files = _by_part(logs)
    for path in tracks:
        read_header(path, TRACK_COLUMNS)
    _prepare(folder, list(tracks), options)
    fresh = _fresh(folder, files)
    tasks = {part: (path, folder, options) for part, path in files.items() if part not in fresh}
    failures = {}
    for part, result in run_tasks(ingest_file, tasks, scheduler=scheduler, workers=workers, label="MSSD"):
        if isinstance(result, InputError):
            failures[part] = str(result)
    parts = parts_of(folder)
    _sweep(folder, parts)
    if parts:
        _refuse_repeated(folder, parts)
    summary = _ingest_summary(folder, options)
    write_json(folder / "summary.json", summary)
    return Ingestion(summary, len(tasks) - len(failures), dict(sorted(failures.items())))


def _by_part(logs: Sequence[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in logs:
        part = part_name(path)
        if part in files:
            raise InputError(
                f"{files[part]} and {path} would both be the part {part}; expected one name each"
            )
        files[part] = path
    return files


def _prepare(folder: Path, tracks: list[Path], options: Options) -> None:
    """Write the item table of a new folder; refuse one that was made otherwise."""
    made = {"options": json.loads(json.dumps(asdict(options))), "tracks": [identity(path) for path in tracks]}
    note = folder / "options.json"
    if not note.exists():
        ingest_tracks(tracks, folder, options)
        write_json(note, made)
        return
    before = read_json(note)
    for name, value in made["options"].items():
        if before["options"].get(name) != value:
            was = before["options"].get(name)
            raise InputError(f"{folder} was made with {name} = {was}, not {value}; choose another --out")
    if before["tracks"] != made["tracks"]:
        raise InputError(f"{folder} was made with other files of --tracks; choose another --out")


def _fresh(folder: Path, files: dict[str, Path]) -> set[str]:
    """Return the parts of `files` that are done, and take back the notes of those to be done again."""
    done = set(parts_of(folder)) & set(files)
    fresh = {part for part in done if read_json(note_file(folder, part))["input"] == identity(files[part])}
    for part in done - fresh:
        note_file(folder, part).unlink()
    return fresh


def _sweep(folder: Path, parts: list[str]) -> None:
    """Remove what workers that died left half-written, and files of parts that are not whole."""
    for name in (*TABLES, "quarantine", "done"):
        for path in (folder / name).glob("*"):
            if path.name.startswith(".") or (name in TABLES and path.stem not in parts):
                path.unlink()


def _refuse_repeated(folder: Path, parts: list[str]) -> None:
    """Raise InputError on sessions of one number, and on those that lie in several files."""
    with open_database() as base:
        base.execute(f"CREATE VIEW places AS FROM {rows_of(folder, parts, 'index')}")
        base.execute("CREATE TABLE again AS SELECT user FROM places GROUP BY user HAVING count(*) > 1")
        base.execute("CREATE TABLE lie AS SELECT user, session, part FROM places WHERE user IN (FROM again)")
        alike = "SELECT min(session), max(session) FROM lie GROUP BY user HAVING min(session) <> max(session)"
        if pair := base.execute(f"{alike} ORDER BY user LIMIT 1").fetchone():
            raise InputError(
                f"sessions {pair[0]} and {pair[1]} became one number; choose another --salt and --out"
            )
        files = "SELECT string_agg(part, ' and ' ORDER BY part) AS files FROM lie GROUP BY user"
        split, most = one(base, f"SELECT count(*), mode(files) FROM ({files})")
    if split:
        raise InputError(
            f"sessions that lie in several files: {split:,}, most of them in {most}; expected each in one: put these "
            "files together, or leave out a copy, and choose another --out"
        )


def _ingest_summary(folder: Path, options: Options) -> dict:
    parts = parts_of(folder)
    notes = [read_json(note_file(folder, part)) for part in parts]
    problems = sum((Counter(note["problems"]) for note in notes), Counter())
    counts = pd.DataFrame(columns=["context_type", "source", "rows", "accepted", *LABELS])
    sessions = incomplete = 0
    if parts:
        skipped = ", ".join(
            f"count_if({'NOT ' * (name == 'not_skipped')}{name}) AS {name}" for name in LABELS
        )
        said = f"context_type, source, count(*) AS rows, sum(decision) AS accepted, {skipped}"
        whole = "SELECT count(*), count_if(rows <> length)"
        with open_database() as base:
            kept = rows_of(folder, parts, "log")
            counts = base.execute(f"SELECT {said} FROM {kept} GROUP BY context_type, source").df()
            sessions, incomplete = one(base, f"{whole} FROM {rows_of(folder, parts, 'index')}")
    good, by_source = counts["rows"].sum(), counts.groupby("source")[["rows", "accepted"]].sum()
    return {
        "options": asdict(options),
        "files": len(parts),
        "read": sum(note["read"] for note in notes),
        "rows": by_source["rows"].to_dict(),
        "accept_rate": (by_source["accepted"] / by_source["rows"]).to_dict(),
        "contexts": counts.groupby("context_type")["rows"].sum().to_dict(),
        "problems": dict(sorted(problems.items())),
        "skip_rate": {name: float(counts[name].sum() / good) for name in LABELS if good},
        "sessions": sessions,
        "incomplete": incomplete,
        "tracks": pq.read_metadata(folder / "items.parquet").num_rows,
    }
