"""What notebooks said in a run: the records that `csrec_core.report.report.Report` writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["all_of_kind", "of_kind", "read_json", "read_said"]


def read_json(path: Path) -> dict:
    """Return a JSON file's content; of a file that is not there, nothing."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def read_said(folder: Path, name: str) -> list[dict]:
    """Return what a notebook said in the run in `folder`, in order."""
    return read_json(folder / "record" / f"{name}.json").get("entries", [])


def of_kind(entries: Sequence[Mapping], kind: str) -> list[Mapping]:
    """Return the entries of a record of one kind: findings, warnings, verdicts, figures or tables."""
    return [entry for entry in entries if entry["kind"] == kind]


def all_of_kind(said: Mapping[str, Sequence[Mapping]], kind: str) -> list[Mapping]:
    """Return what all notebooks said of one kind; what several said alike, once."""
    entries = [entry for entries in said.values() for entry in of_kind(entries, kind)]
    return [entry for i, entry in enumerate(entries) if entry not in entries[:i]]
