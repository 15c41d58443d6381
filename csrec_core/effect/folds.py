"""The folds of users, by hashes of their ids: the same in whatever part of a log a user is."""

import numpy as np
import pandas as pd


def hashes(user: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Return a hash in [0, 2**64) for each user: the `number`-th, the same in whatever part they are."""
    key = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return pd.util.hash_array(np.asarray(user).astype(np.uint64) ^ key)


def fold_of(user: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each user, from 0: of their hash, so that every part splits them alike."""
    return (hashes(user, seed, 0) % np.uint64(folds)).astype(np.int64)
