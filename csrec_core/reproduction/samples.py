"""Logs made from a log: some of its users, or its exposures in another order."""

from dataclasses import replace

import numpy as np

from csrec_core.data.log import SYSTEM, Dataset, validate_log


def shuffle_exposures(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """Shuffle each user's exposures by the system together with their decisions: the position is hidden.

    What a user decides on an item is kept, and so is the self phase; a simulated world loses its truth.
    """
    log = dataset.log.copy()
    rng = np.random.default_rng(seed)
    system = (log["source"] == SYSTEM).to_numpy()
    user, t = log.loc[system, "user"].to_numpy(), log.loc[system, "t"].to_numpy()
    order = np.lexsort((rng.random(len(user)), user))  # a random order within each user
    shuffled = np.empty_like(t)
    shuffled[order] = t[np.lexsort((t, user))]
    log.loc[system, "t"] = shuffled
    return replace(dataset, log=validate_log(log), truth=None, name=f"{dataset.name}, shuffled")


def sample_users(dataset: Dataset, users: int, *, seed: int = 0) -> Dataset:
    """Return the log of that many users, at random; of all where there are no more."""
    everyone = dataset.log["user"].unique()
    if users >= len(everyone):
        return dataset
    chosen = np.random.default_rng(seed).permutation(everyone)[:users]
    log = dataset.log[dataset.log["user"].isin(chosen)].reset_index(drop=True)
    return replace(dataset, log=log)
