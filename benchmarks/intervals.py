"""How often 95% intervals hold the truth: python benchmarks/intervals.py [--seeds N] [--file F] [--worlds NAME ...]

Worlds of `worlds.py`, with their effect: coverage of the mean, the last step, the trend, the groups of items by
popularity, and the users. The same worlds without any effect, whose name is followed by an asterisk: how often
mean, trend, first step and groups are found to be other than zero, or to differ. Results are kept as JSON lines;
a run that was cut short goes on from them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from worlds import WORLDS, simulate, without_effect

from csrec_core.data.log import Dataset
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.result import Effect
from csrec_core.effect.segments import segment_labels, segment_tests

GROUPS = "item popularity"


def study(name: str, seed: int) -> dict:
    """Return of one log which intervals hold the truth, or find an effect where there is none."""
    world, declared = WORLDS[name.removesuffix("*")]
    none = name.endswith("*")
    dataset, truth = simulate(without_effect(world) if none else world, seed)
    effect = estimate_effect(dataset, seed=seed, **declared)
    found = {"status": effect.identification.status}
    return found | (alarms(effect, dataset) if none else covered(effect, dataset, truth))


def holds(row, value: float) -> float:
    """Return 1 where an interval holds a value, 0 where not, NaN where there is no interval."""
    lower, upper = row["lower"], row["upper"]
    return float("nan") if np.isnan(lower) else float(lower <= value <= upper)


def covered(effect: Effect, dataset: Dataset, truth: pd.DataFrame) -> dict:
    """Return whether each interval holds the truth; of groups and users the share that do."""
    gain, step = (truth["p1"] - truth["p0"]).to_numpy(), truth["step"].to_numpy()
    found = {
        "mean": holds(effect.mean, gain.mean()),
        "error": float(effect.mean["effect"] - gain.mean()),
        "stated": float(effect.mean["error"]),
    }
    over_time = effect.over_time
    if len(over_time) > 1:
        last = over_time.iloc[-1]
        found["last step"] = holds(last, gain[(step >= last["step"]) & (step <= last["last"])].mean())
        number = np.arange(1, step.max() + 1)
        size = np.bincount(step, minlength=step.max() + 1)[1:]
        means = np.bincount(step, gain)[1:] / np.maximum(size, 1)
        found["trend"] = holds(effect.trend, np.polyfit(number, means, 1, w=np.sqrt(size))[0])
    if effect.design.estimand == "exposure":
        key = ["user", "t", "source"]
        log = dataset.log.assign(
            source=dataset.log["source"].astype(str), group=segment_labels(dataset, effect)[GROUPS]
        )
        true = truth.assign(gain=gain).merge(log[[*key, "group"]], on=key).groupby("group")["gain"].mean()
        found["groups"] = np.nanmean(
            [holds(row, true[row["group"]]) for _, row in effect.by(log["group"]).iterrows()]
        )
    users = effect.users.set_index("user").join(
        truth.assign(gain=gain).groupby("user")["gain"].mean(), how="inner"
    )
    found["users"] = float(((users["lower"] <= users["gain"]) & (users["gain"] <= users["upper"])).mean())
    return found


def alarms(effect: Effect, dataset: Dataset) -> dict:
    """Return what is found of an effect that is none."""
    found = {"mean": 1 - holds(effect.mean, 0.0)}
    if len(effect.over_time) > 1:
        found["first step"] = 1 - holds(effect.over_time.iloc[0], 0.0)
        found["trend"] = 1 - holds(effect.trend, 0.0)
    if len(tests := segment_tests(effect, segment_labels(dataset, effect))):
        found["groups"] = float(tests["adjusted"].min() <= 0.05)
    return found


def main() -> None:
    """Study what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--file", type=Path, default=Path("intervals.jsonl"))
    parser.add_argument("--worlds", nargs="*", default=[*WORLDS, *(f"{name}*" for name in WORLDS)])
    asked = parser.parse_args()
    lines = (
        [json.loads(line) for line in asked.file.read_text("utf-8").splitlines()]
        if asked.file.exists()
        else []
    )
    done = {(line["world"], line["seed"]) for line in lines}
    with asked.file.open("a", encoding="utf-8") as file:
        for seed in range(asked.seeds):
            for world in asked.worlds:
                if (world, seed) not in done:
                    lines.append({"world": world, "seed": seed, **study(world, seed)})
                    print(json.dumps(lines[-1]), file=file, flush=True)
    asked_for = [line for line in lines if line["world"] in asked.worlds]
    shares = ["mean", "first step", "last step", "trend", "groups", "users", "error", "stated"]
    table = pd.DataFrame(asked_for, columns=["world", "status", *shares]).groupby("world", sort=False)
    shown = table[shares[:-2]].mean().round(3)
    shown["error sd / stated"] = (table["error"].std() / table["stated"].mean()).round(2)
    shown["believed"] = table["status"].agg(lambda one: one.isin(["identified", "assumed"]).mean())
    print(shown.assign(seeds=table.size()).to_string(na_rep=""))


if __name__ == "__main__":
    main()
