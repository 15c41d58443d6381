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


def write_record(folder, notebook, entries, role="", **parameters):
    """Write what a notebook said."""
    (folder / "record").mkdir(parents=True, exist_ok=True)
    record = {
        "notebook": notebook,
        "parameters": parameters,
        "data_hash": None,
        "role": role,
        "entries": entries,
    }
    (folder / "record" / f"{notebook}.json").write_text(json.dumps(record))


def answered(status="identified", **more):
    """Return a finding with an answer as `csrec_core.effect.answer.as_dict` has it: 30.1% to 43.8%."""
    told = status != "not identified"
    band = [{"odds": 1.0, "lower": 0.127, "upper": 0.147}, {"odds": 2.0, "lower": -0.05, "upper": 0.28}]
    answer = {
        "effect": 0.137, "lower": 0.127, "upper": 0.147, "unit": "probability", "arm": "system", "baseline": "self",
        "rates": {"self": 0.301, "system": 0.438}, "target": "exposed", "status": status,
        "reasons": ["what self and system expose follows preferences that the log knows only through the history"],
        "remedies": [] if status == "identified" else ["log the propensity of 4,000 exposures by system"],
        "band": band if told else [], "tipping": 1.4, "benchmark": {"name": "run", "odds": 1.3},
        "checks": [{"name": "placebo arm", "verdict": "holds"}], "users": 2000, "exposures": 80_000,
        "arms": {
            "self": {"exposures": 40_000, "accepted": 12_040}, "system": {"exposures": 40_000, "accepted": 17_520},
        },
    }  # fmt: skip
    if not told:
        answer |= {"effect": None, "lower": None, "upper": None, "rates": None, "tipping": None}
    return {"kind": "finding", "text": "It rises.", "numbers": {}, "answer": answer | more}


TILES = [
    {"kind": "tile", "question": question, "title": "Yes", "text": "So it is."}
    for question in ("For whom?", "What to do?", "Is the log fit?", "Do the models know anything?")
]
