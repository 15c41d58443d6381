"""The reported effect in simulated worlds, again and again: bias, coverage, type I error."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import beta
from tqdm import tqdm

from csrec_core.data.books import simulate_books
from csrec_core.effect.estimate import Effect, estimate_effect
from csrec_core.effect.ter import true_effects

__all__ = ["SCENARIOS", "estimate_world", "study_table", "summarise"]

#: What is asked of a world: arguments of `simulate_books`, and the design. In the first two the preferences
#: are hidden and the chances of the items logged; in the third the preferences are published instead.
SCENARIOS: dict[str, tuple[dict, dict]] = {
    "with an effect": ({}, {}),
    "without an effect": ({"effect": 0.0, "trust_spread": 0.0}, {}),
    "preferences published": (
        {"publish": "rows"},
        {"confounders": ("feature_taste",), "propensity": "unused"},
    ),
    "falling": ({"trend": -0.5}, {}),
    "flat": ({"trend": 0.0}, {}),
}


def estimate_world(scenario: str, *, users: int, seed: int, **options) -> list[dict]:
    """Estimate the effect in one world of a key of `SCENARIOS`; `options` go to `estimate_effect`.

    Returns
    -------
    list of dict
        One for each estimator that is shown beside the reported one: `scenario`, `users`, `seed`, `status`,
        `estimator`, CPU `seconds` of all, `truth`, `effect`, `lower`, `upper`, `error`. With the reported
        one: `true_slope` and `slope_...` an exposure; `users_covered`, the share of the users' intervals that
        hold their mean effects, and `user_rank`, the rank correlation of the two.
    """
    knobs, design = SCENARIOS[scenario]
    world, started = simulate_books(users=users, seed=seed, **knobs), time.process_time()
    found = estimate_effect(world, seed=seed, **design, **options)
    shown = found.scores[0].query("arm == 1")
    truth = true_effects(world.truth, shown)
    about = {"scenario": scenario, "users": users, "seed": seed, "status": found.identification.status}
    about |= {"seconds": time.process_time() - started, "truth": float(truth["effect"].mean())}
    records = [about | {"estimator": row.pop("name"), **row} for row in found.estimates.to_dict("records")]
    records[0] |= _parts(found, truth)
    return records


def _parts(found: Effect, truth: pd.DataFrame) -> dict[str, float]:
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


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each scenario and estimator.

    Returns
    -------
    DataFrame
        `worlds`, mean `truth`, `bias` with its standard error `bias_error`, `sd` of the error over worlds,
        `stated` (mean standard error), `coverage` of the 95% intervals with its own 95% interval (Jeffreys)
        `lower`, `upper`, and `rejects_zero` (where the truth is 0: the type I error); of the reported
        estimator also `slope_coverage`, the shares of worlds found `rising` and `falling`, `users_covered`
        and `user_rank`.
    """
    rows = []
    for (scenario, estimator), group in records.groupby(["scenario", "estimator"], sort=False):
        error = group["effect"] - group["truth"]
        covered = group["truth"].between(group["lower"], group["upper"])
        count = int(covered.sum())
        row = {
            "scenario": scenario,
            "estimator": estimator,
            "worlds": len(group),
            "truth": group["truth"].mean(),
            "bias": error.mean(),
            "bias_error": error.std() / np.sqrt(len(group)),
            "sd": error.std(),
            "stated": group["error"].mean(),
            "coverage": covered.mean(),
            "lower": beta.ppf(0.025, count + 0.5, len(group) - count + 0.5),
            "upper": beta.ppf(0.975, count + 0.5, len(group) - count + 0.5),
            "rejects_zero": ((group["lower"] > 0) | (group["upper"] < 0)).mean(),
        }
        if "slope_lower" in group and group["slope_lower"].notna().any():
            row["rising"], row["falling"] = (
                (group["slope_lower"] > 0).mean(),
                (group["slope_upper"] < 0).mean(),
            )
        if "true_slope" in group and group["true_slope"].notna().any():
            row["slope_coverage"] = (
                group["true_slope"].between(group["slope_lower"], group["slope_upper"]).mean()
            )
            row |= {name: group[name].mean() for name in ("users_covered", "user_rank")}
        rows.append(row)
    return pd.DataFrame(rows)


def study_table(
    worlds: int, *, users: int, scenarios: Sequence[str] = tuple(SCENARIOS)[:2], seed: int = 0
) -> pd.DataFrame:
    """Run a small study and return what `summarise` makes of it."""
    seeds = [int(part.generate_state(1)[0]) for part in np.random.SeedSequence(seed).spawn(worlds)]
    records = [
        record
        for scenario in scenarios
        for number in tqdm(seeds, desc=f"worlds {scenario}", leave=False, disable=None)
        for record in estimate_world(scenario, users=users, seed=number)
    ]
    return summarise(pd.DataFrame(records))
