"""Time and memory of training as users and catalogue grow: python benchmarks/growth.py

One pass over synthetic histories of 20 items with a sampled loss, then one evaluation pass, each size in a
process of its own with one thread. The last columns divide by the size before: where they stay at or below
the growth of the size, time and memory grow linearly.
"""

import argparse
import json
import sys
import time

import numpy as np
import pandas as pd
from one_process import peak_mib, run_alone

USERS = (1_000, 10_000, 100_000)
ITEMS = (1_000, 10_000, 100_000, 1_000_000)
STEPS = 20


def histories(users: int, items: int):
    """Users who mostly take the item after their last one; every item of the catalogue is in it."""
    from csrec_core.data.log import Dataset, validate_log

    rng = np.random.default_rng(0)
    steps = np.where(rng.random((users, STEPS)) < 0.7, 1, rng.integers(1, items, (users, STEPS)))
    frame = pd.DataFrame(
        {
            "user": np.repeat(np.arange(users), STEPS),
            "t": np.tile(np.arange(STEPS), users),
            "item": (steps.cumsum(axis=1) % items).ravel(),
            "decision": 1,
            "source": "self",
        }
    )
    return Dataset(validate_log(frame), items=pd.DataFrame({"item": np.arange(items)}))


def run_one(users: int, items: int) -> dict:
    """Train one pass and evaluate once, in this process."""
    from csrec_core.models.next_item import rank_next_item, train_next_item
    from csrec_core.models.sequences import to_sequences
    from csrec_core.models.train import Training

    sequences = to_sequences(histories(users, items), length=STEPS, horizon=1)
    before = peak_mib()
    started = time.process_time()
    training = Training(epochs=1, batch=64, threads=1)
    model, history = train_next_item(sequences, training=training, loss="sampled_softmax", negatives=256)
    train_and_validate = time.process_time() - started
    started = time.process_time()
    rank_next_item(model, sequences)
    return {
        "users": users,
        "items": items,
        "cpu_epoch": float(history["seconds"].iloc[0]),
        "cpu_evaluation": time.process_time() - started,
        "cpu_train_and_validate": train_and_validate,
        "data_mib": before,
        "peak_mib": peak_mib(),
    }


def sweep(sizes: list[tuple[int, int]]) -> pd.DataFrame:
    """Run each (users, items) and return a row for each."""
    table = pd.DataFrame(
        [run_alone([sys.executable, __file__, "--one", str(users), str(items)]) for users, items in sizes]
    )
    for column in ("cpu_epoch", "cpu_evaluation", "peak_mib"):
        table[f"{column}, times"] = table[column] / table[column].shift()
    return table.round(2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", nargs=2, type=int, metavar=("USERS", "ITEMS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one(*args.one)))
        return
    print(sweep([(users, 5_000) for users in USERS]).to_string(index=False))
    print(sweep([(2_000, items) for items in ITEMS]).to_string(index=False))


if __name__ == "__main__":
    main()
