"""Bias, coverage and type I error of `csrec effect` in worlds like MSSD: python benchmarks/mssd_coverage.py

Each line of the output file is one world, so that a study cut short goes on where it stopped; the table is
printed from the file: bias with its standard error, the standard deviation of the estimates beside the stated
error, coverage of the 95% intervals with its own, and how often zero is rejected. The truth is the mean of
p_system - p_self over the world's exposures by the system. A world of 2,000 sessions takes some 15 CPU
seconds, one split of sessions into folds.

Scenarios: `known` (preferences move no decision, so nothing is hidden), `no effect` (nor does the system), and
`hidden` (the default world: preferences move decisions and choices, and no one has written them down).
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.data.parted import PartedLog
from csrec_core.effect.parts import estimate_parts
from csrec_core.effect.study import summarise_study

SCENARIOS = {"known": {"affinity": 0.0}, "no effect": {"affinity": 0.0, "effect": 0.0, "trust_spread": 0.0}}
SCENARIOS["hidden"] = {}
SHOWN = (
    "scenario",
    "worlds",
    "truth",
    "bias",
    "bias_error",
    "sd",
    "stated",
    "coverage",
    "at_least",
    "at_most",
)


def estimate_world(scenario: str, sessions: int, seed: int, folds: int) -> dict:
    """Simulate, read and estimate one world."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = Listeners(tracks=500, seed=seed, **SCENARIOS[scenario])
        ingest(*simulate_mssd(folder, sessions, world), folder / "data")
        log = PartedLog.find(folder / "data")
        found, _ = estimate_parts(log, folder / "effect", folds=folds, splits=1, seed=seed)
        rows, index, truth = (
            pd.concat(map(pd.read_parquet, sorted(folder.glob(pattern))))
            for pattern in ("effect/parts/*/*.parquet", "data/index/*.parquet", "truth_*.parquet")
        )
    truth = truth.merge(index[["user", "session"]], on="session")
    used = rows[rows["w1"] > 0].merge(truth, on=["user", "t"], validate="one_to_one")
    record = {"scenario": scenario, "sessions": sessions, "seed": seed, "folds": folds}
    record |= {"estimator": "doubly robust", "truth": (used["p_system"] - used["p_self"]).mean()}
    record |= found.mean.to_dict() | {f"slope_{name}": value for name, value in found.trend.items()}
    observed = found.estimates.set_index("name").loc["observed", "effect"]
    band = found.band.set_index("odds").loc[2.0]
    return (
        record
        | {"observed": observed, "status": found.identification.status, "tipping": found.tipping}
        | {f"band_{name}": band[name] for name in ("lower", "upper")}
    )


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path("reports") / "mssd_coverage.jsonl")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {
        tuple(line[name] for name in ("scenario", "sessions", "seed", "folds"))
        for line in map(json.loads, lines)
    }
    with arguments.out.open("a") as file:
        for seed in range(arguments.worlds):
            for scenario in arguments.scenarios:
                if (scenario, arguments.sessions, seed, arguments.folds) not in done:
                    record = estimate_world(scenario, arguments.sessions, seed, arguments.folds)
                    plain = {key: float(x) if isinstance(x, np.floating) else x for key, x in record.items()}
                    file.write(json.dumps(plain) + "\n")
                    file.flush()
    records = pd.DataFrame(map(json.loads, arguments.out.read_text().splitlines()))
    records = records[(records["sessions"] == arguments.sessions) & (records["folds"] == arguments.folds)]
    table = summarise_study(records)
    print(table[[*SHOWN, "rejects_zero", "band_covers"]].to_string(index=False, float_format="{:.4f}".format))
    means = records.groupby("scenario", sort=False)[["observed", "tipping"]].mean()
    print(means.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
