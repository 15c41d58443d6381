"""The page of a run: the answer that can be repeated, what stands behind it, and where to read on."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from markupsafe import Markup

from csrec_core.effect.card import as_card
from csrec_core.numbers import count
from csrec_core.report.handover import picture
from csrec_core.report.markup import TEMPLATES
from csrec_core.report.provenance import facts, summary
from csrec_core.report.run import NOTEBOOK_ROLES, QUESTIONS, Run, of_kind
from csrec_core.verdict import FAILS, STATUSES, WORST

FOLDED = ("theorem", "reproduction")


def render_run(run: Run) -> str:
    """Return the page of a run."""
    manifest, (source, found) = run.manifest, run.answer
    names = sorted(manifest["notebooks"], key=lambda name: NOTEBOOK_ROLES.index(run.roles[name]))
    cards = [_card(run, name) for name in names]
    key = next((card for card in cards if card["name"] == source), {})
    return TEMPLATES.get_template("run.html.j2").render(
        run=manifest["run"],
        line=_run_line(manifest, found),
        answer=Markup(as_card(found, heading="h1")) if found else "",
        key=key,
        said=[card for card in cards if card["sentence"] and card["role"] not in FOLDED],
        tiles=_tiles(run),
        failed=[card["title"] for card in cards if card["status"] == "failed"],
        listed=[card for card in cards if card["role"] not in FOLDED],
        folded=[card for card in cards if card["role"] in FOLDED],
        warnings=_run_warnings(run),
        numbers=run.numbers.to_dict("records"),
        parameters=list(manifest["parameters"].items()),
        summary=summary(manifest, manifest),
        provenance=facts(manifest, manifest),
        history=(run.folder / "history.html").exists(),
    )


def _card(run: Run, name: str) -> dict:
    """Return a notebook as the run's page shows it: its question, light, headline and key figure."""
    entry, said = run.manifest["notebooks"][name], run.said[name]
    verdicts = of_kind(said, "verdict")
    worst = min((one["verdict"] for one in verdicts), key=WORST.index, default="")
    source, answer = run.answer
    word = light = worst
    if answer and name == source:  # as above it
        word, light = STATUSES[answer["status"]].heading, STATUSES[answer["status"]].word
    elif word == FAILS:  # which of them: the sentence below may be of another
        word += f": {', '.join(one['name'].replace('_', ' ') for one in verdicts if one['verdict'] == FAILS)}"
    findings = of_kind(said, "finding")
    return {
        "name": name,
        "page": f"{name}.html",
        "title": entry["title"],
        "status": entry["status"],
        "error": entry["error"],
        "role": run.roles[name],
        "verdicts": verdicts,
        "light": light,
        "word": word,
        "sentence": findings[0]["text"] if findings else "",
        **_key_figure(run, said),
    }


def _key_figure(run: Run, said: Sequence[Mapping]) -> dict:
    """Return the figure that a notebook declares as its key, and what it tells; nothing without one."""
    for figure in of_kind(said, "figure"):
        files = [run.folder / name for name in figure["files"][:2]]
        if figure.get("key") and len(files) == 2 and all(path.is_file() for path in files):
            png, svg = files
            return {"picture": Markup(picture(png, svg, figure["alt"])), "tells": figure["key"]}
    return {"picture": "", "tells": ""}


def _tiles(run: Run) -> list[dict]:
    """Return an answer to each of the questions beside the effect, or why there is none."""
    given = {
        tile["question"]: {**tile, "page": f"{name}.html"}
        for name, entries in run.said.items()
        for tile in of_kind(entries, "tile")
    }
    tiles = []
    for question, notebook in QUESTIONS.items():
        failed = run.manifest["notebooks"].get(notebook, {}).get("status") == "failed"
        why = "Its notebook failed." if failed else f"Notebook {notebook[3:].replace('_', ' ')} tells."
        missing = {"question": question, "title": "Not known" if failed else "Not asked", "text": why}
        tiles.append(missing if failed else given.get(question, missing))
    return tiles


def _run_warnings(run: Run) -> list[Mapping]:
    """Return what all notebooks warn of; what several say alike, once."""
    entries = [entry for entries in run.said.values() for entry in of_kind(entries, "warning")]
    return [entry for place, entry in enumerate(entries) if entry not in entries[:place]]


def _run_line(manifest: Mapping, found: Mapping) -> list[str]:
    """Return what a run is: its name, its log, how much of it, and when."""
    size = [f"{count(found['users'])} users, {count(found['exposures'])} exposures"] if found else []
    return [f"Run {manifest['run']}", log_name(manifest), *size, day(manifest["started"])]


def log_name(manifest: Mapping) -> str:
    """Return the name of a run's log: its file, or its simulated world."""
    path = manifest["data"]["path"]
    world = str(manifest["parameters"].get("data", "books"))
    return path.replace("\\", "/").rsplit("/", 1)[-1] if path else f"simulated {world} world"


def day(iso: str) -> str:
    """Return the day of a time of `now`, `28 Nov 2026`; the text itself where it is no time."""
    try:
        return f"{datetime.fromisoformat(iso):%-d %b %Y}"
    except ValueError:
        return iso
