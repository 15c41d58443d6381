"""How like an item is to those before it, against a correspondence analysis of the whole table."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import likeness
from csrec_core.effect.folds import hashes
from csrec_core.effect.likeness import choice_likeness


def drawn():
    """A hundred users of two kinds and fifty items; one item of four is exposed by the arm, to which one is new."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(100), 12)
    arm = np.where(rng.random(1200) < 0.25, rng.choice([1, -1], 1200), 0)
    item = (
        rng.integers(25, size=1200) + 25 * (user % 2) + (rng.random(1200) < 0.3) * rng.integers(50, size=1200)
    ) % 50
    return pd.DataFrame(
        {"user": user + 7, "item": np.where((arm == 1) & (rng.random(1200) < 0.1), 99, item), "arm": arm}
    )


def test_likeness_is_the_product_of_principal_coordinates():
    rows = drawn()
    found, items = choice_likeness(rows, seed=3), np.unique(rows["item"])
    half = (hashes(rows["user"].to_numpy(), 3, 4) % np.uint64(2)).astype(int)
    expected, (user, item, arm) = np.full(1200, np.nan), rows.to_numpy().T
    for one in (0, 1):
        others = rows[(half != one) & (rows["arm"] == 0)]
        table = (
            pd.crosstab(others["user"], others["item"]).reindex(columns=items, fill_value=0).to_numpy(float)
        )
        total, by_user, by_item = table.sum(), table.sum(axis=1, keepdims=True), table.sum(axis=0)
        even = by_user * by_item / total
        centred = np.divide(
            table - even, np.sqrt(by_user * by_item), out=np.zeros(table.shape), where=by_item > 0
        )
        _, size, axes = np.linalg.svd(centred)
        place = dict(
            zip(items, (axes[:4].T * size[:4]) * np.sqrt(total / (by_item + 5))[:, None], strict=True)
        )
        for row in np.flatnonzero(half == one):
            past = np.flatnonzero((user[:row] == user[row]) & (arm[:row] == 0))
            if len(past):
                expected[row] = np.mean([place[one] for one in item[past]], axis=0) @ place[item[row]]
    assert np.isnan(found).tolist() == np.isnan(expected).tolist()
    np.testing.assert_allclose(found, expected / np.nanstd(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("users", "items", "known"), [(40, 40, True), (39, 40, False), (40, 39, False), (0, 40, False)]
)
def test_forty_users_and_items_are_the_fewest(users, items, known):
    """Of 41 items that there are the last is exposed to nobody, and has no place."""
    user = np.repeat(np.arange(users) * 3, items)
    item = np.tile(np.arange(items), users)[np.random.default_rng(0).permutation(users * items)]
    place = likeness._coordinates(user, item, 41, 0)
    assert (place is not None) == (users + items == 80)
    if place is not None:
        assert place.shape == (41, 4) and not place[-1].any()


def test_what_does_not_vary_says_nothing(monkeypatch):
    rows = drawn()
    for place in (np.ones((51, 4)), None):
        monkeypatch.setattr(likeness, "_coordinates", lambda *_, place=place: place)
        assert np.isnan(choice_likeness(rows)).all()
