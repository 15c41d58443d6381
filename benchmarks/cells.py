"""Effects of single exposures against the truth of foreign worlds: python benchmarks/cells.py [--seeds N]

A line a world: rank correlation of estimated and true effect at the arm's exposures; how often the 95%
intervals hold the best linear projection of the true effects, which is what they are for, and the effects
themselves; the root mean squared error, beside that of the mean effect given to all; and the status.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from worlds import WORLDS, simulate

from csrec_core.effect.cells import cell_effects, known_before
from csrec_core.effect.estimate import estimate_effect


def study(name: str, seed: int) -> dict:
    """Return what the cells of one world are worth."""
    world, declared = WORLDS[name]
    dataset, truth = simulate(world, seed)
    effect = estimate_effect(dataset, splits=1, seed=seed, **declared)
    cells = cell_effects(effect, dataset)
    x, shown = known_before(effect, dataset)[cells["arm"] == 1], cells[cells["arm"] == 1]
    truth = truth.loc[truth["source"] == "system", ["user", "t", "p1", "p0"]]
    cells = shown.merge(truth, on=["user", "t"], how="left")
    true, found = cells["p1"] - cells["p0"], cells["effect"]
    projected = x @ np.linalg.lstsq(x, true.to_numpy(), rcond=None)[0]
    held = {"projection": projected, "effect": true}
    return {
        "world": name,
        "rank": spearmanr(true, found).statistic,
        "rank of the projection": spearmanr(true, projected).statistic,
        **{
            f"{what} held": cells["upper"].ge(one).mul(cells["lower"].le(one)).mean()
            for what, one in held.items()
        },
        "error": np.sqrt(((found - true) ** 2).mean()),
        "of the mean": np.sqrt(((effect.mean["effect"] - true) ** 2).mean()),
        "status": effect.identification.status,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    asked = parser.parse_args()
    records = pd.DataFrame([study(name, seed) for name in asked.worlds for seed in range(asked.seeds)])
    table = records.groupby("world", sort=False)
    found = table[records.columns.drop(["world", "status"])].mean().round(4)
    print(found.assign(status=table["status"].agg(lambda one: one.mode()[0])).to_string())


if __name__ == "__main__":
    main()
