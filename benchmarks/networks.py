"""What networks add to the effect: python benchmarks/networks.py [--worlds N] [--kinds NAME ...] [--file F]

Worlds with a known effect, each estimated without networks and with what they make of a user's record as one more
feature of the nuisances. Printed by kind of world, means over the worlds, without and with: the cross-fitted log
loss of the baseline's regression, the width of the 95% interval, its coverage, the rank correlation of the users'
effects with the true ones, and CPU seconds. Results are kept as JSON lines; a run that was cut short goes on.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import order
import pandas as pd
from scipy.special import expit
from worlds import WORLDS, simulate

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.networks import NETWORKS, network_gains

#: Kinds whose users have a record that a network could read; the names of `WORLDS` do as well.
KINDS = ("order", "books", "logged, logit", "published, personal policy", "logged, interleaved, drift")


def order_log(users: int, seed: int) -> tuple[Dataset, pd.DataFrame]:
    """Return the log of `order.World`, its two arms mixed in time after the library, and the true effects.

    The library is of neither arm, and on record. Decisions are independent given what it tells, so the times of the
    others may be dealt anew.
    """
    world, rng = order.World.draw(users, seed=seed), np.random.default_rng([seed, 5])
    data, length = world.dataset(), world.item.shape[1]
    place = rng.random((users, length)).argsort(axis=1).argsort(axis=1) + order.LIBRARY
    place[:, : order.LIBRARY] = np.arange(order.LIBRARY) - length
    slot = data.log["t"] + np.where(data.log["source"] == "system", order.LIBRARY + order.CHOSEN, 0)
    source = data.log["source"].astype(str).mask(slot < order.LIBRARY, "library")
    log = data.log.assign(source=source, timestamp=place[data.log["user"], slot])
    log["t"] = log.sort_values("timestamp").groupby(["user", "source"]).cumcount()
    known = (world.genre[:, [at]] for at in (order.LIBRARY - 1, order.LIBRARY - 2, 0))
    logit = order.decision_logits(world.genre, *known) + order.TYPES[world.kind, None]
    gain = (expit(logit + order.EFFECT) - expit(logit))[:, order.LIBRARY + order.CHOSEN :]
    truth = pd.DataFrame({"user": np.repeat(np.arange(users), gain.shape[1]), "effect": gain.ravel()})
    return Dataset(validate_log(log), items=data.items, name="order"), truth


def draw(kind: str, seed: int, users: int) -> tuple[Dataset, pd.DataFrame, dict]:
    """Return a log, the true effect at each row of the target (`user`, `effect`), and what is declared."""
    if kind == "order":
        return *order_log(users, seed), {}
    if kind == "books":
        data = simulate_books(users=users, seed=seed)
        truth = data.truth[data.truth["source"] == "system"]
        return data, truth.assign(effect=truth["p_system"] - truth["p_self"]), {}
    world, declared = WORLDS[kind]
    data, truth = simulate(world, seed)
    return data, truth.assign(effect=truth["p1"] - truth["p0"]), declared


def study(kind: str, seed: int, users: int, splits: int) -> list[dict]:
    """Return a row without and a row with networks."""
    data, truth, declared = draw(kind, seed, users)
    found, seconds = [], []
    for networks in (None, NETWORKS):
        started = time.process_time()
        found.append(estimate_effect(data, seed=seed, splits=splits, networks=networks, **declared))
        seconds.append(time.process_time() - started)
    table = network_gains(*found, truth.groupby("user")["effect"].mean())
    true = truth["effect"].mean()
    table["covers"] = (table["lower"] <= true) & (true <= table["upper"])
    table["error"], table["seconds"] = table["effect"] - true, seconds
    table["read"] = ["", ", ".join(name for name, how in found[1].learners.items() if "network" in how)]
    return table.assign(kind=kind, seed=seed).to_dict("records")


def summarise(lines: list[dict]) -> pd.DataFrame:
    """Return means by kind, without and with; and `narrower`, the mean change of the width in percent."""
    table = pd.DataFrame(lines)
    width = table.pivot_table(index=["kind", "seed"], columns="networks", values="width")
    narrower = 100 * (width["with"] / width["without"] - 1)
    by_kind = narrower.groupby("kind").agg(["mean", "sem"]).add_prefix("width, % ")
    names = ["loss_baseline", "loss_arm", "width", "covers", "user_rank", "seconds"]
    groups = table.groupby(["kind", "networks"], sort=False)
    shown = groups[names].mean().assign(bias=groups["error"].mean(), sd=groups["error"].std())
    return shown.join(by_kind, on="kind").assign(worlds=groups.size())


def main() -> None:
    """Study what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--file", type=Path, default=Path("networks.jsonl"))
    asked = parser.parse_args()
    text = asked.file.read_text("utf-8") if asked.file.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    done = {(line["kind"], line["seed"]) for line in lines}
    with asked.file.open("a", encoding="utf-8") as file:
        for seed in range(asked.worlds):
            for kind in asked.kinds:
                if (kind, seed) not in done:
                    rows = study(kind, seed, asked.users, asked.splits)
                    lines += rows
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                    file.flush()
    print(summarise(lines).round(4).to_string())


if __name__ == "__main__":
    main()
