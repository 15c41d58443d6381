"""What a run leaves in its folder, written by hand."""

import json


def write_manifest(folder, notebooks, **more):
    """Write a manifest of notebooks that are done."""
    entry = {
        "status": "done", "error": None, "title": "T", "started": "2026-01-02T03:04:05+00:00", "seconds": 1.0,
        "key": "k", "files": {}, "data_hash": None,
    }  # fmt: skip
    manifest = {
        "run": folder.name, "status": "complete", "started": "2026-01-02T03:04:05+00:00", "seconds": 1.0,
        "parameters": {}, "data": {"path": None, "hash": None}, "versions": {},
        "code": {"version": "c0de" * 10, "git": None}, "notebooks": dict.fromkeys(notebooks, entry),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest | more))


def write_record(folder, notebook, entries, **parameters):
    """Write what a notebook said."""
    (folder / "record").mkdir(parents=True, exist_ok=True)
    record = {"notebook": notebook, "parameters": parameters, "data_hash": None, "entries": entries}
    (folder / "record" / f"{notebook}.json").write_text(json.dumps(record))
