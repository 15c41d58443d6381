"""How like an item is to what its user chose before, by what other users choose together."""

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

from csrec_core.effect.folds import hashes

AXES = 4  # of the correspondence analysis
LIKENESS_PRIOR = 5.0  # exposures that an item's coordinates are shrunk by
FEWEST_LIKE_USERS = 40  # users of a half, and items, below which nothing can be learned


def choice_likeness(rows: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Return for every row the likeness of its item to what the baseline exposed to its user before.

    Items get coordinates by a correspondence analysis of users by items, of the baseline's exposures (Greenacre
    1984): by its reconstitution formula their product with the mean of a user's items says how much more often
    than others the user gets an item. Coordinates are learned from the half of the users that the row's user
    is not in. Rows have `user`, `item`, `arm` (0 for the baseline), by user and in the order in which they were lived.

    Returns (rows,), in standard deviations; NaN where nothing came before, or nothing could be learned.
    """
    user, users = pd.factorize(rows["user"])
    item, items = pd.factorize(rows["item"])
    chosen = rows["arm"].to_numpy() == 0
    half = (hashes(np.asarray(users), seed, 4) % np.uint64(2)).astype(int)[user]
    found = np.full(len(rows), np.nan)
    begins = np.r_[True, user[1:] != user[:-1]]
    first = np.flatnonzero(begins)[begins.cumsum() - 1]
    for one in (0, 1):
        place = _coordinates(user[chosen & (half != one)], item[chosen & (half != one)], len(items), seed)
        if place is None:
            continue
        own = place[item] * chosen[:, None]
        before = np.cumsum(own, axis=0) - own
        count = np.cumsum(chosen) - chosen
        count = count - count[first]
        mean = (before - before[first]) / np.maximum(count, 1)[:, None]
        used = (half == one) & (count > 0)
        found[used] = np.einsum("rk,rk->r", mean[used], place[item[used]])
    if not np.isfinite(found).any():
        return found
    spread = np.nanstd(found)
    return found / spread if spread > 0 else np.full(len(rows), np.nan)


def _coordinates(user: np.ndarray, item: np.ndarray, items: int, seed: int) -> np.ndarray | None:
    """Return the coordinates of the items, (items, AXES), each axis by its singular value."""
    if not len(user):
        return None
    user = pd.factorize(user)[0]
    table = sparse.coo_matrix((np.ones(len(user)), (user, item)), shape=(user.max() + 1, items)).tocsr()
    by_user, by_item = np.asarray(table.sum(axis=1)).ravel(), np.asarray(table.sum(axis=0)).ravel()
    if len(by_user) < FEWEST_LIKE_USERS or (by_item > 0).sum() < FEWEST_LIKE_USERS:
        return None
    left, right = 1 / np.sqrt(by_user), 1 / np.sqrt(np.maximum(by_item, 1))
    scaled = sparse.diags(left) @ table @ sparse.diags(right)
    rows, columns, total = np.sqrt(by_user), np.sqrt(by_item), by_user.sum()
    centred = LinearOperator(  # without what is expected of popularity alone
        scaled.shape,
        matvec=lambda x: scaled @ x.ravel() - rows * (columns @ x.ravel()) / total,
        rmatvec=lambda x: scaled.T @ x.ravel() - columns * (rows @ x.ravel()) / total,
        dtype=float,
    )
    start = np.random.default_rng(seed).normal(size=min(scaled.shape))
    _, size, axes = svds(centred, k=AXES, v0=start)
    return axes.T * size * np.sqrt(total / (by_item + LIKENESS_PRIOR))[:, None]
