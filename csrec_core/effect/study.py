"""Estimators of the effect in simulated worlds, again and again: bias, coverage, type I error."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import beta
from tqdm import tqdm

from csrec_core.data.books import simulate_books
from csrec_core.data.log import SELF, Dataset
from csrec_core.effect.estimators import ESTIMATORS, estimate_effect
from csrec_core.effect.pooling import pool_users
from csrec_core.effect.ter import against_truth, true_effects

__all__ = ["SCENARIOS", "by_reach", "estimate_world", "simulate_scenario", "study_table", "summarise"]

EXPOSURES = 20  # of each phase, where a scenario says nothing else
ALL = ("two_model", "joint", "doubly_robust", "marginal")
HIDDEN = ("two_model", "joint", "without propensities", "doubly_robust", "marginal")
#: Arguments of `simulate_books`, and estimators: keys of `ESTIMATORS`, "marginal" (sequential weights), or
#: "without propensities" (doubly robust, the logged ones ignored). `keep` cuts a long log to the last
#: self-chosen and the first `EXPOSURES` system exposures.
SCENARIOS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "published": ({"publish": "rows"}, ALL),
    "no effect": ({"publish": "rows", "effect": 0.0, "trust_spread": 0.0}, ("doubly_robust", "marginal")),
    "falling": ({"publish": "rows", "trend": -0.5}, ("doubly_robust",)),
    "flat": ({"publish": "rows", "trend": 0.0}, ("doubly_robust",)),
    "tastes hidden": ({}, ("marginal",)),
    **{f"hidden {chosen}": ({"trend": 0.0, "steps": 80, "keep": chosen}, HIDDEN) for chosen in (5, 20, 80)},
    **{
        f"exposures {shown}{name}": ({"publish": "rows", "steps": shown, **spread}, ("doubly_robust",))
        for name, spread in (
            ("", {}),
            (", spread 0.7", {"trust_spread": 0.7}),
            (", spread 1", {"trust_spread": 1.0}),
        )
        for shown in (5, 10, 20, 40, 80)
    },
}


def simulate_scenario(scenario: str, *, users: int, seed: int) -> Dataset:
    """Simulate a world of a key of `SCENARIOS`."""
    knobs = {"steps": EXPOSURES} | SCENARIOS[scenario][0]
    keep = knobs.pop("keep", None)
    world = simulate_books(users=users, seed=seed, **knobs)
    if keep is None:
        return world
    chosen = world.log["source"] == SELF
    kept = np.where(chosen, world.log["t"] > knobs["steps"] - keep, world.log["t"] <= EXPOSURES)
    log, truth = (table[kept].reset_index(drop=True) for table in (world.log, world.truth))
    return replace(world, log=log, truth=truth)


def estimate_world(
    scenario: str, *, users: int, seed: int, folds: int = 5, estimators: Sequence[str] | None = None
) -> list[dict]:
    """Estimate the effect in one world by the estimators of its scenario, or some; one record each.

    Returns
    -------
    list of dict
        `scenario`, `users`, `seed`, `folds`, `estimator`, CPU `seconds`, `truth`, `true_slope`; of estimates
        `effect`, `lower`, `upper`, `error` and `slope_...`; of filtered effects what `against_truth` says; of
        marginal ones `k` and `by_k`; of the doubly robust one the sensitivity band where there is one, and
        in the scenarios `exposures` the `ceiling` (`oracle_correlation`).
    """
    world, records = simulate_scenario(scenario, users=users, seed=seed), []
    for name in SCENARIOS[scenario][1] if estimators is None else estimators:
        marginal, started = name == "marginal", time.process_time()
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
        record = {"scenario": scenario, "users": users, "seed": seed, "folds": folds}
        record |= {"estimator": name, "seconds": seconds}
        record |= {"truth": truth["effect"].mean(), "true_slope": np.polyfit(by_step.index, by_step, 1)[0]}
        record |= estimate.mean.to_dict()
        record |= {f"slope_{key}": value for key, value in estimate.trend.to_dict().items()}
        if marginal:
            reach = estimate.diagnostics
            record["k"] = int(reach.loc[reach["chosen"], "k"].iloc[0])
            record["by_k"] = reach[["k", "effect", "error", "ess"]].round(6).to_dict("list")
        else:
            about = against_truth(estimate.cells, truth)
            record |= {("cell_" + key if key in ("coverage", "width") else key): about[key] for key in about}
        if estimate.band is not None:
            record |= {f"band_{key}": estimate.band[key] for key in ("lower", "upper")}
        if name == "doubly_robust":
            record["ess_share"] = estimate.overlap.table.loc["self", "ess_share"]
        if name == "doubly_robust" and scenario.startswith("exposures"):
            record["ceiling"] = oracle_correlation(world, estimate.cells, truth)
        records.append({key: _plain(value) for key, value in record.items()})
    return records


def oracle_correlation(world: Dataset, cells: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Rank correlation with the users' true effects of who knows every p_self and pools as we do."""
    known = world.truth[world.truth["source"] == "system"]["p_self"].to_numpy()
    decision = world.log.loc[world.log["source"] == "system", "decision"].to_numpy()
    means = truth.groupby("user")["effect"].mean()
    if not np.ptp(means) > 0:
        return float("nan")
    pooled = pool_users(cells.assign(f_tilde=known, decision=decision))
    return pooled.users["effect"].corr(means, method="spearman")


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each scenario and estimator.

    Returns
    -------
    DataFrame
        `worlds`, mean `truth`, `bias` with its standard error `bias_error`, `sd` of the error over worlds,
        `stated` (mean standard error), `coverage` of the 95% intervals with its own 95% interval (Jeffreys)
        `at_least`, `at_most`, `rejects_zero` (where the truth is 0: the type I error), `user_rank` and its
        `ceiling`, `cell_rmse` beside `constant`, shares of worlds found `rising` and `falling`.
    """
    rows = []
    for (scenario, estimator), group in records.groupby(["scenario", "estimator"], sort=False):
        error = group["effect"] - group["truth"]
        covered = (group["lower"] <= group["truth"]) & (group["truth"] <= group["upper"])
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
            "at_least": beta.ppf(0.025, count + 0.5, len(group) - count + 0.5),
            "at_most": beta.ppf(0.975, count + 0.5, len(group) - count + 0.5),
            "rejects_zero": ((group["lower"] > 0) | (group["upper"] < 0)).mean(),
            "rising": (group["slope_lower"] > 0).mean(),
            "falling": (group["slope_upper"] < 0).mean(),
        }
        names = {"user_correlation": "user_rank", "ceiling": "ceiling", "rmse": "cell_rmse"}
        names |= {"constant_rmse": "constant"}
        row |= {new: group[old].mean() if old in group else np.nan for old, new in names.items()}
        if "band_lower" in group:
            inside = (group["band_lower"] <= group["truth"]) & (group["truth"] <= group["band_upper"])
            row["band_covers"] = inside.mean() if group["band_lower"].notna().any() else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def by_reach(records: pd.DataFrame) -> pd.DataFrame:
    """Return bias, width and coverage of the marginal effect against k, and how often each k was chosen."""
    rows = []
    for record in records[records["estimator"] == "marginal"].to_dict("records"):
        reach = record["by_k"]
        for k, effect, error in zip(reach["k"], reach["effect"], reach["error"], strict=True):
            off = effect - record["truth"]
            covered = abs(off) <= 1.96 * error
            rows.append((record["scenario"], k, off, 2 * 1.96 * error, covered, k == record["k"]))
    table = pd.DataFrame(rows, columns=["scenario", "k", "bias", "width", "coverage", "chosen"])
    means = table.groupby(["scenario", "k"], sort=False).agg(
        worlds=("bias", "size"),
        bias=("bias", "mean"),
        width=("width", "mean"),
        coverage=("coverage", "mean"),
        chosen=("chosen", "mean"),
    )
    return means.reset_index()


def study_table(
    worlds: int, *, users: int, estimators: Sequence[str] = ("two_model", "doubly_robust"), seed: int = 0
) -> pd.DataFrame:
    """Run a small study of worlds with published tastes, with the effect and without.

    Returns
    -------
    DataFrame
        `world`, `estimator`, `worlds`, `truth`, `bias` with its standard error `bias_error`, `sd` of the
        error beside the mean `stated` one, `coverage` with its 95% interval `at_least`, `at_most`, and
        `rejects_zero`, which without an effect is the type I error.
    """
    seeds = [int(part.generate_state(1)[0]) for part in np.random.SeedSequence(seed).spawn(worlds)]
    records = [
        record
        for scenario in ("published", "no effect")
        for number in tqdm(seeds, desc=f"worlds, {scenario}", leave=False, disable=None)
        for record in estimate_world(scenario, users=users, seed=number, estimators=estimators)
    ]
    table = summarise(pd.DataFrame(records)).rename(columns={"scenario": "world"})
    columns = ["world", "estimator", "worlds", "truth", "bias", "bias_error", "sd", "stated"]
    return table[[*columns, "coverage", "at_least", "at_most", "rejects_zero"]]
