"""The reported effect in simulated worlds, again and again: bias, coverage, type I error."""

import time

import numpy as np
import pandas as pd
from scipy.stats import beta
from tqdm import tqdm

from csrec_core.data.books import simulate_books
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.result import Effect
from csrec_core.effect.ter import true_effects

#: What is asked of a world: arguments of `simulate_books`. Preferences are hidden, the chances of the items logged.
SCENARIOS: dict[str, dict] = {"with an effect": {}, "without an effect": {"effect": 0.0, "trust_spread": 0.0}}


def estimate_world(scenario: str, *, users: int, seed: int, **options) -> list[dict]:
    """Estimate the effect in one world of a key of `SCENARIOS`; `options` go to `estimate_effect`.

    Returns a mapping for each of `ESTIMATORS`, the reported one first: `scenario`, `users`, `seed`, `status`,
    `estimator`, CPU `seconds` of all, `truth`, `effect`, `lower`, `upper`, `error`. With the reported one:
    `true_slope` and `slope_...` an exposure; `users_covered`, the share of the users' intervals that hold their mean
    effects, and `user_rank`, the rank correlation of the two.
    """
    world, started = simulate_books(users=users, seed=seed, **SCENARIOS[scenario]), time.process_time()
    found = estimate_effect(world, seed=seed, **options)
    truth = true_effects(world.truth, found.scores[0].query("arm == 1"))
    about = {"scenario": scenario, "users": users, "seed": seed, "status": found.identification.status}
    about |= {"seconds": time.process_time() - started, "truth": float(truth["effect"].mean())}
    records = [about | {"estimator": row.pop("name"), **row} for row in found.estimates.to_dict("records")]
    records[0] |= _study_parts(found, truth)
    return records


def _study_parts(found: Effect, truth: pd.DataFrame) -> dict[str, float]:
    by_step = truth.groupby("step")["effect"].mean()
    users = found.users.set_index("user")
    true = truth.groupby("user")["effect"].mean().reindex(users.index)
    spread = np.ptp(true) > 0
    return {
        "true_slope": float(np.polyfit(by_step.index, by_step, 1)[0]),
        **{f"slope_{name}": float(value) for name, value in found.trend.items()},
        "users_covered": float(true.between(users["lower"], users["upper"]).mean()),
        "user_rank": float(users["effect"].corr(true, method="spearman")) if spread else np.nan,
    }


def summarise_study(records: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each scenario and estimator.

    Returns `worlds`, mean `truth`, `bias` with its standard error `bias_error`, `sd` of the error over worlds,
    `stated` (mean standard error), `coverage` of the 95% intervals with its own 95% interval (Jeffreys) `lower`,
    `upper`, and `rejects_zero` (where the truth is 0: the type I error); of the reported estimator also
    `slope_coverage`, the shares of worlds found `rising` and `falling`, `users_covered` and `user_rank`.
    """
    rows = []
    for (scenario, estimator), group in records.groupby(["scenario", "estimator"], sort=False):
        error = group["effect"] - group["truth"]
        covered = group["truth"].between(group["lower"], group["upper"])
        count, worlds = int(covered.sum()), len(group)
        row = {"scenario": scenario, "estimator": estimator, "worlds": worlds, "truth": group["truth"].mean()}
        row |= {"bias": error.mean(), "bias_error": error.std() / np.sqrt(worlds), "sd": error.std()}
        row |= {"stated": group["error"].mean(), "coverage": covered.mean()}
        ends = beta.ppf([0.025, 0.975], count + 0.5, worlds - count + 0.5)
        row |= dict(zip(("lower", "upper"), ends, strict=True))
        row["rejects_zero"] = ((group["lower"] > 0) | (group["upper"] < 0)).mean()
        if group["true_slope"].notna().any():
            lower, upper = group["slope_lower"], group["slope_upper"]
            row |= {"rising": (lower > 0).mean(), "falling": (upper < 0).mean()}
            row["slope_coverage"] = group["true_slope"].between(lower, upper).mean()
            row |= {name: group[name].mean() for name in ("users_covered", "user_rank")}
        rows.append(row)
    return pd.DataFrame(rows)


def study_table(worlds: int, *, users: int, seed: int = 0) -> pd.DataFrame:
    """Run a small study and return what `summarise_study` makes of it."""
    seeds = [int(part.generate_state(1)[0]) for part in np.random.SeedSequence(seed).spawn(worlds)]
    records = []
    for scenario in SCENARIOS:
        for number in tqdm(seeds, desc=f"worlds {scenario}", leave=False, disable=None):
            records += estimate_world(scenario, users=users, seed=number)
    return summarise_study(pd.DataFrame(records))
