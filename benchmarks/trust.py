"""How often trust is found to change where it does, and where only acceptance drifts: python benchmarks/trust.py

A line a world: the share of replications with each verdict of `csrec_core.effect.trust`, those in which a user is
named, and the mean contrast. In the worlds without a change of the effect, "holds" is a false alarm.
"""

import argparse
from dataclasses import replace

import pandas as pd
from worlds import PUBLISHED, WORLDS, World, simulate

from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.trust import trust_changes

CLAIM = {"confounders": ("feature_affinity",)}
STUDIED: dict[str, tuple[World, dict]] = {
    "shared clock, drift": WORLDS["logged, interleaved, drift"],
    "shared clock, drift, published": (World(interleaved=True, drift=1.0, **PUBLISHED), CLAIM),
    "shared clock, drift, users differ": (World(interleaved=True, drift=1.0, spread=0.5, **PUBLISHED), CLAIM),
    "shared clock, drift, growing": (World(interleaved=True, drift=1.0, growth=1.5, **PUBLISHED), CLAIM),
    "shared clock, growing": (World(interleaved=True, growth=1.5, **PUBLISHED), CLAIM),
    "phases, nothing": (World(**PUBLISHED), CLAIM),
    "phases, drift": (World(drift=1.0, **PUBLISHED), CLAIM),
    "phases, growing": (World(growth=1.5, **PUBLISHED), CLAIM),
    "arm randomised, drift": (replace(WORLDS["arm randomised"][0], drift=1.0), {"arm_propensity": 0.4}),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--worlds", nargs="*", default=list(STUDIED))
    asked = parser.parse_args()
    records = []
    for name in asked.worlds:
        for seed in range(asked.seeds):
            world, declared = STUDIED[name]
            effect = estimate_effect(simulate(world, seed)[0], splits=1, seed=seed, **declared)
            verdict, users = trust_changes(effect, permutations=199, seed=seed)
            named = bool(users["changed"].any())
            records.append((name, verdict.word, named, verdict.value, effect.identification.status))
    table = pd.DataFrame(records, columns=["world", "word", "named", "value", "status"])
    found = pd.crosstab(table["world"], table["word"], normalize="index").reindex(asked.worlds)
    by_world = table.groupby("world")
    found = found.assign(named=by_world["named"].mean(), contrast=by_world["value"].mean())
    print(found.assign(status=by_world["status"].agg(lambda one: one.mode()[0])).round(3).to_string())


if __name__ == "__main__":
    main()
