"""Bias, coverage and type-I error of the effect's estimators in worlds: python benchmarks/effect_coverage.py

Each line of the output file is one estimate in one world, so that a study cut short goes on where it stopped;
the tables are printed from the file. The full study is 100 worlds of 10,000 users with 20 + 20 exposures,
some ten CPU seconds each; `--quick` is a few worlds of 600.

Scenarios: `published` (tastes are features: the filtered effect is identified; it rises over time),
`no effect`, `falling` and `flat` (over time), `tastes hidden` (the marginal effect by logged propensities),
`hidden 5`, `hidden 20`, `hidden 80` (tastes known through so many self-chosen exposures only: by
propensities, and, `without propensities`, where the log has none), `exposures 5` to `exposures 80` (users'
effects by the number of exposures of each phase; trust spread 0.7 and 1 as well).

`--figures FOLDER` draws bias against self-chosen exposures and users' ranks against exposures from the file.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from threadpoolctl import threadpool_limits

from csrec_core.effect.study import SCENARIOS, by_reach, estimate_world, summarise
from csrec_core.plots import plot_bias_by_history, plot_ranks_by_exposures
from csrec_core.report.report import STYLE

SOME = ("falling", "flat", "hidden", "exposures")  # scenarios that need fewer worlds
SLOW = ("joint", "two_model")  # estimators run in so many worlds only


def study_one(scenario: str, users: int, seed: int, folds: int, slow: bool) -> list[dict]:
    """Estimate the effect in one world by the estimators of its scenario; one record each."""
    threadpool_limits(1)  # worlds are what runs side by side
    names = [name for name in SCENARIOS[scenario][1] if slow or name not in SLOW]
    return estimate_world(scenario, users=users, seed=seed, folds=folds, estimators=names)


def draw(records: pd.DataFrame, folder: Path) -> None:
    """Save the figures that the file has the scenarios for."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    mpl.style.use(STYLE)
    for name, prefix, plot in (
        ("bias-by-history", "hidden ", plot_bias_by_history),
        ("ranks-by-exposures", "exposures ", plot_ranks_by_exposures),
    ):
        some = records[records["scenario"].str.startswith(prefix)]
        if len(some):
            plot(some).figure.savefig(folder / f"{name}.png", dpi=200)
            some.to_csv(folder / f"{name}.csv", index=False)


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--fewer", type=int, default=20, help=f"worlds of {', '.join(SOME + SLOW)}")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path("reports") / "effect_coverage.jsonl")
    parser.add_argument("--figures", type=Path, help="folder to draw into")
    parser.add_argument("--quick", action="store_true", help="5 worlds of 600 users, 2 of the long ones")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.users, arguments.worlds, arguments.fewer = 600, 5, 2
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {(line["scenario"], line["users"], line["seed"]) for line in map(json.loads, lines)}
    todo = [
        (scenario, arguments.users, seed, arguments.folds, seed < arguments.fewer)
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
    print(by_reach(records).to_string(index=False, float_format="{:.4f}".format))
    if arguments.figures:
        draw(records, arguments.figures)


if __name__ == "__main__":
    main()
