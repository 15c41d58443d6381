"""Weights that make rows look like the target, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect.design import Design
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.weights import ItemChances, item_chances, row_weights
from csrec_core.errors import InputError

NAN = np.nan
#: The baseline exposes items 3 and 8, the arm 3 once and 5 three times; what others exposed is in no count.
ROWS = pd.DataFrame({"arm": [0, 0, 1, 1, 1, 1, -1], "item": [3, 8, 3, 5, 5, 5, 9]})


def chances_of(logged, *, catalogue=4, **declared):
    rows = ROWS.assign(propensity=[*logged, 0.5], decision=1.0)
    counts = ItemCounts.count(rows, np.zeros(7, int), 1)
    return item_chances(rows, counts, Design(**declared), catalogue=catalogue)


@pytest.mark.parametrize(
    ("propensity", "declared", "kind", "own", "other", "unlogged"),
    [
        ([0.5] * 6, {"estimand": "arm"}, "none", [NAN] * 7, [NAN] * 7, (0, 0)),
        ([0.5] * 6, {"propensity": "unused"}, "none", [NAN] * 7, [NAN] * 7, (0, 0)),
        # What the arm's are not known of are its frequencies.
        ([NAN] * 6, {}, "none", [NAN, NAN, 0.25, 0.75, 0.75, 0.75, 0.5], [NAN] * 7, (2, 4)),
        ([NAN, 0.1, 0.2, 0.3, 0.4, 0.5], {}, "none", [NAN, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5], [NAN] * 7, (1, 0)),
        (
            [0.1, 0.2, 0.3, NAN, 0.4, 0.5], {}, "frequency",
            [0.1, 0.2, 0.3, 0.75, 0.4, 0.5, 0.5], [0.25, 0, *[NAN] * 5], (0, 1),
        ),
        # One chance of all is that of every item, unless that many would be more than there are.
        ([0.1, 0.2, *[0.25] * 4], {}, "uniform", [0.1, 0.2, *[0.25] * 4, 0.5], [0.25, 0.25, *[NAN] * 5], (0, 0)),
        (
            [0.1, 0.2, *[0.25] * 4], {"catalogue": 5}, "uniform",
            [0.1, 0.2, *[0.25] * 4, 0.5], [0.25, 0, *[NAN] * 5], (0, 0),
        ),
        (
            [0.1, 0.2, *[1 / 9] * 4], {"catalogue": 10}, "uniform",
            [0.1, 0.2, *[1 / 9] * 4, 0.5], [1 / 9, 0, *[NAN] * 5], (0, 0),
        ),
        (
            [0.1, 0.2, 0.2, *[0.2 * (1 + 0.9e-6)] * 3], {"catalogue": 9}, "uniform",
            [0.1, 0.2, 0.2, *[0.2 * (1 + 0.9e-6)] * 3, 0.5], [0.2, 0, *[NAN] * 5], (0, 0),
        ),
        (
            [0.1, 0.2, 0.2, *[0.2 * (1 + 1.1e-6)] * 3], {}, "by item",
            [0.1, 0.2, 0.2, *[0.2 * (1 + 1.1e-6)] * 3, 0.5], [0.2, 0, *[NAN] * 5], (0, 0),
        ),
        (
            [0.1, 0.2, 0.3, 0.1, 0.1 * (1 + 0.9e-6), 0.1], {}, "by item",
            [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.5], [0.3, 0, *[NAN] * 5], (0, 0),
        ),
        (
            [0.1, 0.2, 0.3, 0.1, 0.1 * (1 + 1.1e-6), 0.1], {}, "varying",
            [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.5], [NAN] * 7, (0, 0),
        ),
    ],
)  # fmt: skip
def test_what_is_known_of_the_items_chances(propensity, declared, kind, own, other, unlogged):
    found = chances_of(propensity, **declared)
    assert (found.kind, found.unlogged) == (kind, unlogged)
    assert found.own.tolist() == pytest.approx(own, nan_ok=True, rel=1e-5)
    assert found.other.tolist() == pytest.approx(other, nan_ok=True)


def test_the_chance_of_an_item_is_its_mean():
    """Item 5, which the arm exposes thrice, by chances that differ by a millionth of it at most."""
    step = 0.9e-6
    rows = ROWS.assign(propensity=[0.1, 0.2, 0.3, 0.1, 0.1 * (1 + step), 0.1, 0.5], decision=1.0)
    rows.loc[0, "item"] = 5
    found = item_chances(rows, ItemCounts.count(rows, np.zeros(7, int), 1), Design(), catalogue=4)
    assert found.other[0] == pytest.approx(0.1 * (1 + step / 3), rel=1e-9)


ARMS = pd.DataFrame({"user": [1, 1, 1, 1, 2, 3, 3], "arm": [1, 1, 0, 0, 0, 1, -1]})
UNLOGGED = ItemChances("none", np.full(7, np.nan), np.full(7, np.nan), (0, 0))


@pytest.mark.parametrize(
    ("declared", "w1", "w0"),
    [
        ({}, [1, 1, 0, 0, 0, 1, 0], [0, 0, 1 / 4, 49, 1, 0, 0]),
        ({"target": "everyone"}, [5, 50, 0, 0, 0, 2, 0], [0, 0, 5 / 4, 50, 2, 0, 0]),
        # Of user 2, who is shown nothing, no row is in the target; user 1's two rows share a weight of 1.
        ({"unit": "users"}, [1 / 2, 1 / 2, 0, 0, 0, 1, 0], [0, 0, 1 / 197, 196 / 197, 0, 0, 0]),
    ],
)
def test_weights_by_the_chance_of_the_arm_by_hand(declared, w1, w0):
    chance = np.array([0.2, 0.02, 0.2, 0.98, 0.5, 0.5, 0.5])
    design = replace(Design(target="exposed"), **declared)
    found = row_weights(ARMS, UNLOGGED, chance, design, catalogue=9)
    assert found["w1"].tolist() == pytest.approx(w1) and found["w0"].tolist() == pytest.approx(w0)
    everyone = design.target == "everyone"
    assert found["tau"].tolist() == pytest.approx([1] * 7 if everyone else w1)
    assert not found["trimmed"].any()
    beyond = np.where(np.isin(chance, [0.02, 0.98]), np.abs(chance - 0.001 * np.sign(0.5 - chance)), chance)
    found = row_weights(ARMS, UNLOGGED, beyond, design, catalogue=9)
    assert found["trimmed"].tolist() == [False, everyone, False, True, False, False, False]
    assert found["w0"][3] == 0 and (found["w1"][1] == 0) == everyone and (found["tau"][1] == 0) == everyone


def test_users_of_one_arm_each_weigh_the_same():
    """None of them is in the other arm's target by name: each counts once, in its own arm."""
    rows = pd.DataFrame({"user": [1, 1, 2, 2, 2], "arm": [1, 1, 0, 0, 0]})
    unlogged = ItemChances("none", np.full(5, np.nan), np.full(5, np.nan), (0, 0))
    found = row_weights(rows, unlogged, np.full(5, 0.5), Design(unit="users"), catalogue=9)
    assert found["w1"].tolist() == [0.5, 0.5, 0, 0, 0]
    assert found["w0"].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])


def test_chances_of_0_and_1_are_kept_a_millionth_away():
    rows = ARMS.iloc[[0, 2]]
    unlogged = ItemChances("none", np.full(2, np.nan), np.full(2, np.nan), (0, 0))
    found = row_weights(
        rows, unlogged, np.array([0.0, 1.0]), Design(target="everyone"), catalogue=9, trim=0.0
    )
    assert found["w1"].tolist() == pytest.approx([1e6, 0]) and found["w0"].tolist() == pytest.approx([0, 1e6])


@pytest.mark.parametrize(
    ("target", "w1", "w0"),
    [
        ("exposed", [1, 1, 0, 0, 0, 1, 0], [0, 0, 0.2 / 0.1 / 4, 0, 0.3, 0, 0]),
        ("uniform", [2, 4, 0, 0, 0, 1, 0], [0, 0, 1 / (5 * 0.1) / 4, 1 / (5 * 0.4) / 4, 1 / 5, 0, 0]),
    ],
)
def test_weights_by_the_chances_of_the_items_by_hand(target, w1, w0):
    """An exposure of the baseline stands for p1 / p0 of the arm's; drawn uniformly of five each stands for 1 / 5p."""
    own, other = np.array([0.1, 0.05, 0.1, 0.4, 1.0, 0.2, NAN]), np.array([NAN, NAN, 0.2, NAN, 0.3, NAN, NAN])
    chance = np.array([0.5, 0.5, 0.2, 0.2, 0.5, 0.5, 0.5])
    chances = ItemChances("varying", own, other, (0, 0))
    found = row_weights(ARMS, chances, chance, Design(target=target), catalogue=5)
    assert found["w1"].tolist() == pytest.approx(w1) and found["w0"].tolist() == pytest.approx(w0)


def test_an_exposure_without_a_chance_cannot_be_weighed_to_the_uniform_target():
    own = np.array([0.1, NAN, 0.1, NAN, 1.0, 0.2, NAN])
    chances = ItemChances("frequency", own, own, (1, 1))
    with pytest.raises(InputError, match="needs the propensity of every exposure; 2 have none"):
        row_weights(ARMS, chances, np.full(7, 0.5), Design(target="uniform"), catalogue=5)
