"""A run of an agent into a folder: settings, cache, log, quality report; resumed where it was left."""

import json
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from csrec_core.agent.cache import AnswerCache
from csrec_core.agent.catalogue import OWN, load_catalogue
from csrec_core.agent.collect import Collected, collect
from csrec_core.agent.design import check_size
from csrec_core.agent.endpoint import Endpoint, Stopped
from csrec_core.agent.page import render_quality
from csrec_core.agent.prompts import VERSION
from csrec_core.agent.questions import Agent
from csrec_core.agent.simulator import Simulator
from csrec_core.data.log import write_dataset
from csrec_core.data.profile import profile_log
from csrec_core.errors import InputError, unknown
from csrec_core.files import hash_files, read_json, room_for, whole_file, write_json, write_text

GUESSED = 0.2  # share of made-up books known from which on the rest is doubtful
AGENTS = ("simulator", "openai")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is asked, and of whom."""

    agent: str  # "simulator" or "openai"
    users: int  # readers
    steps: int = 20  # exposures of each reader by the system
    seed: int = 0
    catalogue: Path | None = None  # see `load_catalogue`
    effect: float = 0.6  # for the simulator: the mean source effect, in logits
    endpoint: Endpoint = field(default_factory=Endpoint)  # for openai
    prices: tuple[float, float] | None = None  # see `ChatAgent`

    @property
    def settings(self) -> dict:
        """What a run that goes on must have in common with the one that began; readers may be added."""
        own = {"model": self.endpoint.model} if self.agent == "openai" else {"effect": self.effect}
        return {
            "agent": self.agent,
            "steps": self.steps,
            "seed": self.seed,
            **own,
            "catalogue": hash_files([self.catalogue or OWN]),
            # Other words to the model are other questions, and all would be asked anew.
            "prompts": VERSION,
        }


def run_study(study: Study, out: str | Path, *, resume: bool = False, force: bool = False) -> Collected:
    """Ask an agent to be readers, and write what comes of it into a folder.

    `run.json` (settings), `cache.sqlite` (all prompts and answers; not for the simulator, whose answers cost
    nothing), `log`, `items`, `users` and `knowledge.parquet`, `quality.json` and `quality.html`. The log
    is written when all is answered, and the rest before it.

    Parameters
    ----------
    resume : bool
        Go on in a folder that holds a run of the same settings.
    force : bool
        Go on where the pilot fails the gate.

    Raises
    ------
    InputError
        On bad input, or where `out` holds a run that is not to be resumed, or is another's.
    Stopped
        Where the pilot fails the gate, a limit is reached, or the endpoint does not answer. All that was
        answered is kept.
    """
    out = Path(out)
    if study.agent not in AGENTS:
        raise unknown("agent", study.agent, AGENTS)
    catalogue = load_catalogue(study.catalogue)
    check_size(len(catalogue), study.steps)
    _check_folder(study, out, resume)
    sizes = {"users": study.users, "steps": study.steps, "seed": study.seed}
    with room_for(out / "cache.sqlite"), _agent(study, catalogue, out) as agent:
        write_json(out / "run.json", {"settings": study.settings, "users": study.users})
        collected = collect(agent, catalogue, **sizes, force=force)
        _write_quality(study, agent, collected, out)
    if collected.dataset is None:
        failures = "".join(f"\n  - {failure}" for failure in collected.quality.failures)
        raise Stopped(
            f"the pilot fails the quality gate, before the budget is spent:{failures}\n"
            f"see {out / 'quality.html'}; --resume --force goes on all the same"
        )
    write_dataset(collected.dataset, out)
    return collected


def _agent(study: Study, catalogue: pd.DataFrame, out: Path) -> AbstractContextManager[Agent]:
    if study.agent == "simulator":
        return nullcontext(Simulator(catalogue, seed=study.seed, effect=study.effect))
    from csrec_core.agent.chat import ChatAgent  # with httpx, which simulated readers do not need

    return ChatAgent(catalogue, study.endpoint, out / "cache.sqlite", prices=study.prices)


def _check_folder(study: Study, out: Path, resume: bool) -> None:
    """Check that the folder is free, or that the run in it is the one to resume.

    Where nothing is answered yet, as after a wrong name of a model, there is nothing to lose.
    """
    cache, path = out / "cache.sqlite", out / "run.json"
    if not (out / "log.parquet").exists():
        if not cache.exists():
            return
        with closing(AnswerCache(cache)) as known:
            if not known.answers:
                return
    if not path.exists():
        raise InputError(f"{out} holds data, but no run of an agent; expected another folder")
    if not resume:
        raise InputError(f"{out} holds a run already; --resume goes on with it, or name another folder")
    before = read_json(path, {"settings": dict})["settings"]
    for name, value in study.settings.items():
        if before.get(name) != value:
            raise InputError(f"{out}: its run has {name} = {before.get(name)!r}, not {value!r}")


def _write_quality(study: Study, agent: Agent, collected: Collected, out: Path) -> None:
    """Write the quality report as JSON and as a page, and what the agent knows of each book."""
    cache = getattr(agent, "cache", None)
    knowledge = collected.knowledge
    report = {
        **collected.quality.to_json(),
        "books": {
            "asked": len(knowledge),
            "kept": int(knowledge["kept"].sum()),
            "share_of_made_up_known": collected.made_up,
        },
        "questions_without_a_usable_answer": collected.silent,
        "requests": cache.outcomes if cache else {},
        "tokens": dict(zip(("prompts", "answers"), cache.tokens, strict=True)) if cache else {},
        "warnings": _collection_warnings(collected),
    }
    with whole_file(out / "knowledge.parquet") as temporary:
        knowledge.to_parquet(temporary, index=False)
    # What is no number is null in JSON.
    write_json(out / "quality.json", json.loads(json.dumps(report), parse_constant=lambda name: None))
    page = render_quality(
        collected.quality,
        report,
        knowledge,
        title=f"{study.users:,} readers by {study.endpoint.model if study.agent == 'openai' else 'the simulator'}",
        settings=study.settings,
    )
    write_text(out / "quality.html", page)


def _collection_warnings(collected: Collected) -> list[str]:
    """Return what to know before the log is used."""
    warnings = profile_log(collected.dataset).warnings if collected.dataset else []
    if collected.made_up > GUESSED:
        warnings.insert(
            0,
            f"The agent says that it knows {collected.made_up:.0%} of the made-up books: what it says of "
            "real ones may be guessed from their titles.",
        )
    return warnings
