"""How often the refutations fire, over seeds: python benchmarks/refutations.py [seeds] [file].

A row of the table is a case: a world, and an estimator. The first two are clean, and in the third tastes
drift as they do by default: they get all checks, adjusted for their number as in a report. Every other one
is made to violate the check in brackets, and gets that one. The table gives the share of seeds at which each
check finds a problem; E-value and partial R2 are for judging and find none.
Results are kept as JSON lines, one for each case and seed, in `file` (refutations.jsonl in the working
directory): a run that was cut short goes on from it, and more seeds are added to it.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from csrec_core.data.books import simulate_books
from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.effect.refute import CHECKS, PROBLEM, doubly_robust_effect, refute

SIZE = {"users": 600, "items": 100, "steps": 15}
NAMES = ("both", "placebo", "control", "lag", "dummy", "dowhy", "cause", "subset", "E", "R2")  # of CHECKS


def difference(dataset: Dataset) -> tuple[float, float, float]:
    """Return the plain difference of acceptance, with an interval that takes rows for independent."""
    sides = [dataset.log.loc[dataset.log["source"] == source, "decision"] for source in (SYSTEM, SELF)]
    mean = sides[0].mean() - sides[1].mean()
    half = norm.ppf(0.975) * np.sqrt(sum(side.var() / len(side) for side in sides))
    return mean, mean - half, mean + half


def from_liked(dataset: Dataset) -> tuple[float, float, float]:
    """Return the paper's way: f~ from accepted own choices against random items, read at what is exposed."""
    log = dataset.log
    liked = log[(log["source"] == SELF) & (log["decision"] == 1)]
    counts = liked["item"].value_counts()
    feature = np.log1p(log["item"].map(counts).fillna(0)).to_numpy()[:, None]
    catalogue = np.log1p(pd.Series(log["item"].unique()).map(counts).fillna(0)).to_numpy()[:, None]
    drawn = np.random.default_rng(0).choice(len(catalogue), len(liked))
    positive = np.log1p(liked["item"].map(counts)).to_numpy()[:, None]
    target = np.repeat([1, 0], len(liked))
    model = LogisticRegression().fit(np.concatenate([positive, catalogue[drawn]]), target)
    contrast = log["decision"] - model.predict_proba(feature)[:, 1]
    means = contrast[log["source"] == SYSTEM].groupby(log["user"]).mean()
    half = norm.ppf(0.975) * means.std() / np.sqrt(len(means))
    return means.mean(), means.mean() - half, means.mean() + half


def matching(dataset: Dataset) -> tuple[float, float, float]:
    """Return the contrast to the one nearest own choice, by item rate and any feature: fragile."""
    log = dataset.log.assign(rate=dataset.log.groupby("item")["decision"].transform("mean"))
    columns = ["rate", *(name for name in log if name.startswith("feature_"))]
    place = (log[columns] / log[columns].std()).to_numpy()
    system = (log["source"] == SYSTEM).to_numpy()
    nearest = NearestNeighbors(n_neighbors=1).fit(place[~system][::40]).kneighbors(place[system])[1][:, 0]
    contrast = log.loc[system, "decision"] - log.loc[~system, "decision"].to_numpy()[::40][nearest]
    means = contrast.groupby(log.loc[system, "user"]).mean()
    half = norm.ppf(0.975) * means.std() / np.sqrt(len(means))
    return means.mean(), means.mean() - half, means.mean() + half


def start_after_acceptance(dataset: Dataset) -> Dataset:
    """Let the system start with each user right after one of their acceptances."""
    log = dataset.log
    accepted = log.index.to_series().where((log["decision"] == 1) & (log["source"] == SELF))
    last = accepted.groupby(log["user"]).transform("max")
    return replace(dataset, log=log[(log["source"] == SYSTEM) | (log.index <= last)].reset_index(drop=True))


def accepted_only(dataset: Dataset) -> Dataset:
    """Leave out what users rejected by themselves."""
    log = dataset.log
    return replace(
        dataset, log=log[(log["source"] == SYSTEM) | (log["decision"] == 1)].reset_index(drop=True)
    )


Case = tuple[dict, Callable[[Dataset], Dataset] | None, Callable]
CASES: dict[str, Case] = {
    "clean, effect 0.6": ({"drift": 0.0}, None, doubly_robust_effect),
    "clean, no effect": ({"drift": 0.0, "effect": 0.0, "trust_spread": 0.0}, None, doubly_robust_effect),
    "tastes drift, effect 0.6": ({}, None, doubly_robust_effect),
    "accepted only (both)": ({}, accepted_only, doubly_robust_effect),
    "f~ from liked (placebo)": ({}, None, from_liked),
    "start after yes (control)": ({}, start_after_acceptance, doubly_robust_effect),
    "amplification 0.5 (lag)": ({"amplification": 0.5}, None, doubly_robust_effect),
    "difference (dummy)": ({"quality_spread": 4.0, "items": 15, "browsing": 0.0}, None, difference),
    "one neighbour (cause)": ({}, None, matching),
    "rows as users (subset)": ({"trust_spread": 4.0, "affinity": 8.0, "steps": 40}, None, difference),
}


def checks_of(case: str) -> tuple[str, ...]:
    """Return the check that a case is made to violate, or all."""
    name = case.rpartition("(")[2].removesuffix(")")
    return (list(CHECKS)[NAMES.index(name)],) if name in NAMES else tuple(CHECKS)


def measure(case: str, seed: int) -> dict:
    """Return one line: the case, the seed, and the verdicts of all checks."""
    world, change, estimate = CASES[case]
    dataset = simulate_books(seed=seed, **{**SIZE, **world})
    dataset = change(dataset) if change else dataset
    table = refute(dataset, estimate=estimate, checks=checks_of(case), seed=seed)
    verdicts = dict(zip(table["check"], table["verdict"], strict=True))
    return {"case": case, "seed": seed, "size": SIZE, "verdicts": verdicts}


def main() -> None:
    """Measure what is missing, and print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    path = Path(sys.argv[2] if len(sys.argv) > 2 else "refutations.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {(line["case"], line["seed"]) for line in lines if line["size"] == SIZE}
    start = time.perf_counter()
    todo = [(case, seed) for case in CASES for seed in range(seeds) if (case, seed) not in done]
    for case, seed in todo:
        line = measure(case, seed)
        lines.append(line)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    print(f"{SIZE}\n{'case':28s}{'seeds':>6s}{''.join(f'{name:>8s}' for name in NAMES)}")
    for case in CASES:
        found = [line["verdicts"] for line in lines if line["case"] == case and line["size"] == SIZE]
        asked = checks_of(case)
        rates = [
            f"{np.mean([one[c] == PROBLEM for one in found]):8.2f}" if c in asked else f"{'':8s}"
            for c in CHECKS
        ]
        print(f"{case:28s}{len(found):6d}{''.join(rates)}" if found else f"{case:28s}     0")
    if todo:
        print(f"{(time.perf_counter() - start) / len(todo):.1f} s a case and seed")


if __name__ == "__main__":
    main()
