"""How often the checks of an effect fire, and A/A: python benchmarks/checks.py [seeds] [file] [words of names].

Worlds of `worlds.py` of 10,000 rows, with their effect and without. The first table gives for each the share of
seeds at which the status, after the checks, lets the number be believed (identified or assumed); at which the
interval leaves out zero; of those without an effect, at which a check or the audit fires; and by check how
often it fails. The second gives false alarms of relabelled logs (`csrec_core.effect.aa`), over books worlds,
Hillstrom's control arm and Open Bandit where these are at hand. Results are kept as JSON lines in `file`
(checks.jsonl in the working directory): a run that was cut short goes on from it.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from worlds import UNTOLD, WORLDS, simulate, without_effect

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect.aa import false_alarms
from csrec_core.effect.checks import CHECKS, check_effect
from csrec_core.effect.design import find_design
from csrec_core.effect.estimate import estimate_effect
from csrec_core.verdict import FAILS

ROWS, TIMES = 10_000, 60
EXPERIMENTS = Path(__file__).parents[2] / "shared" / "data" / "experiments"


def checks_of(name: str, seed: int) -> dict:
    """Return what the checks say of a world."""
    plain = name.removesuffix(", no effect")
    world, declared = WORLDS.get(plain) or (UNTOLD[plain], {})
    world = without_effect(world) if plain != name else world
    each = world.mean * 0.9 if world.heavy else world.mean
    dataset, _ = simulate(replace(world, users=round(ROWS / 2 / each)), seed)
    effect = estimate_effect(dataset, **declared)
    start = time.process_time()
    checks = check_effect(effect, dataset, seed=seed)
    seconds = time.process_time() - start
    return {
        "status": effect.identification.after(checks).status,
        "audit": any(one.word == FAILS for one in effect.identification.evidence),
        "failed": [one.name for one in checks if one.word == FAILS],
        "significant": bool(effect.mean["lower"] > 0 or effect.mean["upper"] < 0),
        "seconds": seconds,
        "rows": len(dataset.log),
    }


def relabelled() -> Iterator[tuple[str, Dataset, dict]]:
    """Yield logs to relabel, and what is declared of them."""
    books = {
        "books": {},
        "books, one item": {"items": 1},
        "books, 5 items": {"items": 5},
        "books, drift": {"drift": 1.0},
        "books, targeted": {"targeting": 0.5},
    }
    for name, knobs in books.items():
        yield name, simulate_books(**{"users": 400, "items": 100, "steps": 12, "seed": 5} | knobs), {}
    for name, (world, declared) in WORLDS.items():
        if name in ("logged, interleaved, drift", "published, personal policy", "arm randomised"):
            yield name, simulate(replace(world, users=416), 5)[0], declared
    if (EXPERIMENTS / "hillstrom.parquet").exists():
        frame = pd.read_parquet(EXPERIMENTS / "hillstrom.parquet")
        frame = frame[frame["segment"] == "No E-Mail"].reset_index(drop=True)
        names = ("recency", "history", "mens", "womens", "newbie")
        log = pd.DataFrame({"user": np.arange(len(frame)), "t": 1, "item": 0, "decision": frame["visit"]})
        log = log.assign(**{f"feature_{name}": frame[name].astype(float) for name in names})
        arm = np.random.default_rng(0).random(len(log)) < 0.5
        log["source"] = np.where(arm, "system", "self")
        yield "Hillstrom, control arm", Dataset(validate_log(log)), {"arm_propensity": 0.5}
    if (EXPERIMENTS / "open_bandit_men.parquet").exists():
        yield "Open Bandit, men", open_bandit(pd.read_parquet(EXPERIMENTS / "open_bandit_men.parquet")), {}


def open_bandit(frame: pd.DataFrame) -> Dataset:
    """Return the rows of both policies as a log of one exposure a user: the random policy is the baseline."""
    policy = next(name for name in frame.columns if set(frame[name].astype(str)) == {"random", "bts"})
    log = pd.DataFrame(
        {
            "user": np.arange(len(frame)),
            "t": 1,
            "item": frame["item_id"],
            "decision": frame["click"],
            "source": frame[policy].astype(str).map({"random": "self", "bts": "system"}),
            "propensity": frame["propensity_score"],
        }
    )
    return Dataset(validate_log(log), name="Open Bandit")


def print_checks(lines: list[dict]) -> None:
    """Print a row a world: what is believed, and what fires."""
    width = max(len(line["case"]) for line in lines)
    print(
        f"{'':{width}s} seeds believed  zero_out fires_then any    s | "
        + " ".join(f"{n:>3d}" for n in range(len(CHECKS)))
    )
    for case in dict.fromkeys(line["case"] for line in lines):
        own = [line for line in lines if line["case"] == case]
        fired = [bool(one["failed"]) or one["audit"] for one in own]
        false = [fire for fire, one in zip(fired, own, strict=True) if one["significant"]]
        believed = np.mean([one["status"] in ("identified", "assumed") for one in own])
        then = f"{np.mean(false):10.2f}" if false else f"{'':10s}"
        rates = " ".join(f"{np.mean([check in one['failed'] for one in own]) * 100:3.0f}" for check in CHECKS)
        print(
            f"{case:{width}s} {len(own):5d} {believed:8.2f} "
            f"{len(false) / len(own):9.2f} {then} {np.mean(fired):4.2f} "
            f"{np.median([one['seconds'] for one in own]):4.1f} | {rates}"
        )
    print("columns:", ", ".join(f"{number} {name}" for number, name in enumerate(CHECKS)))


def main() -> None:
    """Measure what is missing, and print the tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    path = Path(sys.argv[2] if len(sys.argv) > 2 else "checks.jsonl")
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {(line["case"], line["seed"]) for line in lines}
    names = [*WORLDS, *UNTOLD, *(f"{name}, no effect" for name in UNTOLD)]
    with path.open("a", encoding="utf-8") as file:
        for seed in range(seeds):
            for case in names:
                if (case, seed) in done or wanted not in case:
                    continue
                lines.append({"case": case, "seed": seed, **checks_of(case, seed)})
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
        for case, dataset, declared in relabelled():
            if (case, -1) in done or wanted not in case:
                continue
            found = false_alarms(dataset, design=find_design(dataset, **declared), times=TIMES)
            lines.append({"case": case, "seed": -1, "alarms": found.to_dict("records")})
            file.write(json.dumps(lines[-1]) + "\n")
            file.flush()
    if checked := [line for line in lines if line["seed"] >= 0]:
        print_checks(checked)
    for line in lines:
        if line["seed"] < 0:
            cells = (
                f"{one['finding']} {one['rate']:.3f} [{one['lower']:.3f}, {one['upper']:.3f}]"
                for one in line["alarms"]
            )
            print(f"{line['case']:40s}", "; ".join(cells))


if __name__ == "__main__":
    main()
