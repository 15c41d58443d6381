"""Bias, coverage and type-I error of the effect's estimators in worlds: python benchmarks/effect_coverage.py

Each line of the output file is one estimate in one world, so that a study cut short goes on where it stopped;
the tables are printed from the file. The full study is 100 worlds of 10,000 users with 20 + 20 exposures,
half a CPU minute each; `--quick` is a few worlds of 600.

Scenarios: `published` (tastes are features: the filtered effect is identified; it rises over time),
`no effect`, `falling` and `flat` (over time), `hidden 5`, `hidden 20`, `hidden 80` (tastes known through so
many self-chosen exposures only: by propensities, and, `without propensities`, where the log has none),
`exposures 5` to `exposures 80` (users' effects by the number of exposures of each phase; trust spread 0.7 as
well).
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import beta
from threadpoolctl import threadpool_limits

from csrec_core.data.books import simulate_books
from csrec_core.data.log import SELF, Dataset
from csrec_core.effect.estimators import ESTIMATORS, estimate_effect
from csrec_core.effect.pooling import pool_users
from csrec_core.effect.ter import against_truth, true_effects

EXPOSURES = 20  # by the system, where a scenario says nothing else
ALL = ("two_model", "joint", "doubly_robust", "marginal")
HIDDEN = ("two_model", "joint", "without propensities", "doubly_robust", "marginal")
SCENARIOS = {
    "published": ({"publish": "rows"}, ALL),
    "no effect": ({"publish": "rows", "effect": 0.0, "trust_spread": 0.0}, ("doubly_robust", "marginal")),
    "falling": ({"publish": "rows", "trend": -0.5}, ("doubly_robust",)),
    "flat": ({"publish": "rows", "trend": 0.0}, ("doubly_robust",)),
    **{f"hidden {chosen}": ({"trend": 0.0, "steps": 80, "keep": chosen}, HIDDEN) for chosen in (5, 20, 80)},
    **{
        f"exposures {shown}{name}": ({"publish": "rows", "steps": shown, **spread}, ("doubly_robust",))
        for name, spread in (("", {}), (", spread 0.7", {"trust_spread": 0.7}))
        for shown in (5, 10, 20, 40, 80)
    },
}
SOME = ("hidden", "exposures")  # scenarios that need fewer worlds


def world_of(scenario: str, users: int, seed: int) -> Dataset:
    """Simulate; `keep` cuts a long log to the last self-chosen and the first system exposures."""
    knobs = {"steps": EXPOSURES} | SCENARIOS[scenario][0]
    keep = knobs.pop("keep", None)
    world = simulate_books(users=users, seed=seed, **knobs)
    if keep is None:
        return world
    chosen = world.log["source"] == SELF
    kept = np.where(chosen, world.log["t"] > knobs["steps"] - keep, world.log["t"] <= EXPOSURES)
    log, truth = (table[kept].reset_index(drop=True) for table in (world.log, world.truth))
    return replace(world, log=log, truth=truth)


def study_one(scenario: str, users: int, seed: int, folds: int) -> list[dict]:
    """Estimate the effect in one world by the estimators of its scenario; one record each."""
    threadpool_limits(1)  # worlds are what runs side by side
    world, records = world_of(scenario, users, seed), []
    for name in SCENARIOS[scenario][1]:
        started = time.process_time()
        marginal = name == "marginal"
        estimate = estimate_effect(
            world,
            estimator=name if name in ESTIMATORS else "doubly_robust",
            estimand="marginal" if marginal else "filtered",
            weights="exposed" if name == "without propensities" else None,
            folds=folds,
            seed=seed,
        )
        seconds = time.process_time() - started
        truth = true_effects(world.truth, estimate.cells, estimand=estimate.estimand)
        by_step = truth.groupby("step")["effect"].mean()
        record = {"scenario": scenario, "users": users, "seed": seed, "estimator": name, "seconds": seconds}
        record |= {"truth": truth["effect"].mean(), "true_slope": np.polyfit(by_step.index, by_step, 1)[0]}
        record |= estimate.mean.to_dict()
        record |= {f"slope_{key}": value for key, value in estimate.trend.to_dict().items()}
        if marginal:
            reach = estimate.diagnostics
            record["k"] = int(reach.loc[reach["chosen"], "k"].iloc[0])
            record["by_k"] = reach[["k", "effect", "error", "ess"]].round(6).to_dict("list")
        else:
            record |= against_truth(estimate.cells, truth)
            inside = (estimate.cells["lower"] <= truth["effect"]) & (
                truth["effect"] <= estimate.cells["upper"]
            )
            record["cell_coverage"] = float(inside.mean()) if estimate.cells["lower"].notna().all() else None
        if name == "doubly_robust":
            record["ceiling"] = oracle_correlation(world, estimate.cells, truth)
            record["ess_share"] = estimate.overlap.table.loc["self", "ess_share"]
        records.append({key: _plain(value) for key, value in record.items()})
    return records


def oracle_correlation(world: Dataset, cells: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Rank correlation with the users' true effects of who knows every p_self and pools as we do."""
    known = world.truth[world.truth["source"] == "system"]["p_self"].to_numpy()
    decision = world.log.loc[world.log["source"] == "system", "decision"].to_numpy()
    pooled = pool_users(cells.assign(f_tilde=known, decision=decision))
    means = truth.groupby("user")["effect"].mean()
    return pooled.users["effect"].corr(means, method="spearman") if np.ptp(means) > 0 else float("nan")


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each scenario and estimator: bias, coverage and more over the worlds."""
    rows = []
    for (scenario, estimator), group in records.groupby(["scenario", "estimator"], sort=False):
        error = group["effect"] - group["truth"]
        covered = (group["lower"] <= group["truth"]) & (group["truth"] <= group["upper"])
        count = int(covered.sum())
        rising, falling = group["slope_lower"] > 0, group["slope_upper"] < 0
        rows.append(
            {
                "scenario": scenario,
                "estimator": estimator,
                "worlds": len(group),
                "truth": group["truth"].mean(),
                "bias": error.mean(),
                "bias_error": error.std() / np.sqrt(len(group)),
                "sd": error.std(),
                "stated": group["error"].mean(),
                "coverage": covered.mean(),
                "at_least": beta.ppf(0.025, count + 0.5, len(group) - count + 0.5),
                "at_most": beta.ppf(0.975, count + 0.5, len(group) - count + 0.5),
                "rejects_zero": ((group["lower"] > 0) | (group["upper"] < 0)).mean(),
                "wrong_sign": (group["effect"] * group["truth"] < 0).mean(),
                "user_rank": group.get("user_correlation", pd.Series(dtype=float)).mean(),
                "ceiling": group.get("ceiling", pd.Series(dtype=float)).mean(),
                "cell_rmse": group.get("rmse", pd.Series(dtype=float)).mean(),
                "constant": group.get("constant_rmse", pd.Series(dtype=float)).mean(),
                "rising": rising.mean(),
                "falling": falling.mean(),
                "seconds": group["seconds"].mean(),
            }
        )
    return pd.DataFrame(rows)


def by_k(records: pd.DataFrame) -> pd.DataFrame:
    """Return bias and width of the marginal effect against k, and how often each k was chosen."""
    rows = []
    for record in records[records["estimator"] == "marginal"].to_dict("records"):
        for k, effect, error in zip(
            *(record["by_k"][name] for name in ("k", "effect", "error")), strict=True
        ):
            chosen = k == record["k"]
            difference = effect - record["truth"]
            covered = abs(difference) <= 1.96 * error
            rows.append((record["scenario"], k, difference, 2 * 1.96 * error, covered, chosen))
    table = pd.DataFrame(rows, columns=["scenario", "k", "bias", "width", "coverage", "chosen"])
    return table.groupby(["scenario", "k"], sort=False).mean().reset_index()


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--fewer", type=int, default=20, help="worlds of the scenarios hidden and exposures")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path("reports") / "effect_coverage.jsonl")
    parser.add_argument("--quick", action="store_true", help="5 worlds of 600 users, 2 of the long ones")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.users, arguments.worlds, arguments.fewer = 600, 5, 2
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {(line["scenario"], line["users"], line["seed"]) for line in map(json.loads, lines)}
    todo = [
        (scenario, arguments.users, seed, arguments.folds)
        for seed in range(arguments.worlds)
        for scenario in arguments.scenarios
        if seed < (arguments.fewer if scenario.startswith(SOME) else arguments.worlds)
        and (scenario, arguments.users, seed) not in done
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool, arguments.out.open("a") as file:
        for records in pool.map(study_one, *zip(*todo, strict=True)) if todo else ():
            file.writelines(json.dumps(record) + "\n" for record in records)
            file.flush()
    records = pd.DataFrame(map(json.loads, arguments.out.read_text().splitlines()))
    records = records[records["users"] == arguments.users]
    print(summarise(records).to_string(index=False, float_format="{:.4f}".format))
    print(by_k(records).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
