"""Values of logged policies by Open Bandit Pipeline, for tests/test_policy.py to compare with.

    pip install --no-deps obp==0.4.1 pyieoe pingouin mypy-extensions --target PEER
    PYTHONPATH=PEER:. python benchmarks/obp_peer.py .../experiments/open_bandit_men.parquet

The uniform policy is valued from the rows of the Bernoulli-TS one, and that one, as often as it shows an item
at a position, from the uniform one's. The model is an item's mean click among the users of the other fold,
drawn to the mean of all items as by 50 exposures.
"""

import json
import sys

import numpy as np
import pandas as pd
from obp.ope import (
    DoublyRobust,
    InverseProbabilityWeighting,
    SelfNormalizedInverseProbabilityWeighting,
    SwitchDoublyRobust,
)

from csrec_core.effect.folds import fold_of

ESTIMATORS = {
    "IPS": InverseProbabilityWeighting(),
    "SNIPS": SelfNormalizedInverseProbabilityWeighting(),
    "doubly robust": DoublyRobust(),
    "switch-DR": SwitchDoublyRobust(tau=10.0),
}


def values(rows: pd.DataFrame, chances: np.ndarray, items: int) -> dict[str, float]:
    """Return obp's values of a policy with the chances (rows, items), from logged rows."""
    fold = fold_of(rows["user"].to_numpy(), 2, 0)
    model = np.empty((len(rows), items))
    for side in (0, 1):
        learned = rows[fold != side]
        clicks = np.bincount(learned["item_id"], learned["click"], items)
        shown = np.bincount(learned["item_id"], minlength=items)
        model[fold == side] = (clicks + 50 * learned["click"].mean()) / (shown + 50)
    given = {
        "reward": rows["click"].to_numpy(),
        "action": rows["item_id"].to_numpy(),
        "pscore": rows["propensity_score"].to_numpy(),
        "action_dist": chances[:, :, None],
        "position": np.zeros(len(rows), dtype=int),
    }
    plain = ("IPS", "SNIPS")
    return {
        name: float(
            estimator.estimate_policy_value(
                **given, **({} if name in plain else {"estimated_rewards_by_reg_model": model[:, :, None]})
            )
        )
        for name, estimator in ESTIMATORS.items()
    }


def main() -> None:
    """Print the values as JSON."""
    log = pd.read_parquet(sys.argv[1])
    items = int(log["item_id"].max()) + 1
    arms = {name: rows.reset_index(drop=True) for name, rows in log.groupby("policy")}
    counts = np.zeros((4, items))
    np.add.at(counts, (arms["bts"]["position"], arms["bts"]["item_id"]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    found = {
        "random": values(arms["bts"], np.full((len(arms["bts"]), items), 1 / items), items),
        "bts": values(arms["random"], shares[arms["random"]["position"]], items),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
