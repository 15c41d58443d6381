"""Scores of rows, their sums by user and group, and what follows from them, against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import score
from csrec_core.effect.engine import Known
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.rows import POSITION, Clock
from csrec_core.effect.score import Effects, effects_of, group_rows, intervals, merged, split_sums, step_of

PHASED, TIMED, BETWEEN = Clock((), False), Clock(("seen", "time"), False), Clock(("step",), True)
KNOWN = Known(PHASED, True, 1.0, 0.5, 12, 5, 30)


@pytest.fixture
def scores():
    """Rows of users 4, 7, 8, 9 and 20, who have 3, 2, 4, 1 and 2; that of user 9 is of no arm, and one is trimmed."""
    rng = np.random.default_rng(5)
    arm = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, -1, 0, 1])
    frame = pd.DataFrame({"user": np.repeat([4, 7, 8, 9, 20], [3, 2, 4, 1, 2]), "arm": arm})
    frame["step"] = frame.groupby(["user", "arm"]).cumcount() + 1
    frame["decision"] = [1.0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]
    weight = rng.uniform(0.1, 0.6, 12) * (np.arange(12) != 6)
    frame["w1"], frame["w0"] = np.where(arm == 1, weight, 0), np.where(arm == 0, weight, 0)
    frame["tau"] = np.where(arm == 1, rng.uniform(0.1, 0.6, 12), 0)
    return frame.assign(m1=rng.uniform(0.2, 0.8, 12), m0=rng.uniform(0.2, 0.8, 12))


def plug_in(rows):
    """Return E_tau[m1 - m0] + E_w1[D - m1] - E_w0[D - m0]."""
    weights = rows["tau"], rows["w1"], rows["w0"]
    parts = rows["m1"] - rows["m0"], rows["decision"] - rows["m1"], rows["decision"] - rows["m0"]
    gap, shown, chosen = (np.average(x, weights=w) for x, w in zip(parts, weights, strict=True))
    return gap + shown - chosen


@pytest.mark.parametrize(("block", "sizes"), [(4, [5, 4, 3]), (5, [5, 5, 2]), (6, [9, 3]), (11, [12])])
def test_sums_are_of_whole_users_at_a_time(scores, monkeypatch, block, sizes):
    code = {"half": (np.arange(12) % 3 - 1, 2)}
    whole, seen, sums = split_sums(scores, KNOWN, code), [], score._block_sums
    monkeypatch.setattr(score, "BLOCK", block)
    monkeypatch.setattr(score, "_block_sums", lambda rows, *rest: seen.append(len(rows)) or sums(rows, *rest))
    found = split_sums(scores, KNOWN, code)
    assert seen == sizes and found.keys() == whole.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, whole[name], atol=1e-12)


@pytest.mark.parametrize(("binary", "by"), [(True, 1.0), (False, 4.0)])
def test_each_estimator_is_its_formula(scores, binary, by):
    """Decisions of 0 and 4, of which those above the mean of 2 count as accepted, are decisions all the same."""
    scores = scores.assign(**{name: by * scores[name] for name in ("decision", "m1", "m0")})
    scores.loc[2, "decision"] = by / 2  # is not above the middle
    sums = split_sums(scores, replace(KNOWN, binary=binary, rate=2.0))
    found = effects_of(sums, "estimators")
    weighted = scores.assign(m1=0.0, m0=0.0)
    own, other = (scores["arm"] == 1) * 1.0, (scores["arm"] == 0) * 1.0
    gap = np.average(scores["m1"] - scores["m0"], weights=scores["tau"])
    expected = [plug_in(scores), plug_in(weighted), gap, plug_in(weighted.assign(tau=own, w1=own, w0=other))]
    assert found.effect == pytest.approx(expected)
    # Whoever accepts does so whatever the estimator: users with an accepted exposure and without, on either side.
    for place, (w1, w0) in enumerate([*[(scores["w1"], scores["w0"])] * 3, (own, other)]):
        took = scores["decision"] > by / 2
        worth = []
        for weight in (w1 * took, w1 * ~took, w0 * took, w0 * ~took):
            each = weight.groupby(scores["user"]).sum()
            worth.append(each.sum() ** 2 / (each**2).sum())
        assert found.worth[place] == pytest.approx(min(worth))
    assert effects_of(sums, "all").effect == pytest.approx(expected[:1])


def test_residuals_of_the_baseline_are_counted_in_2000_bins_of_the_span(scores):
    scores = scores.assign(
        m0=scores["m0"].where(scores.index > 0, 0.0).where(scores.index != 3, 1.0)
    )  # at the ends
    found, residual = split_sums(scores, KNOWN)["band"], scores["decision"] - scores["m0"]
    for row, weight in zip(found, (scores["w0"], scores["w0"] * residual), strict=True):
        expected = np.histogram(residual, 2000, (-1, 1), weights=weight)[0]
        assert row == pytest.approx(expected) and np.count_nonzero(row) == 4


def test_exposures_from_the_hundredth_on_count_together(scores):
    long = pd.DataFrame(np.repeat(scores.to_numpy()[[1]], 103, axis=0), columns=scores.columns)
    rows = pd.concat([scores, long.assign(user=30, step=np.arange(1, 104), w1=1.0)])
    weight = split_sums(rows, KNOWN)["step"].reshape(-1, 7)[:, 3]
    assert len(weight) == 100 and weight[4:].tolist() == [*[1.0] * 95, 4.0]


def test_exposures_in_use_and_their_users_are_counted_by_group(scores):
    label = np.array([0, 0, 0, 1, 1, 2, 2, 2, -1, 2, 0, 2])
    found = score.sum_groups(
        scores.assign(w1=np.where(scores.index == 4, 0, scores["w1"])), KNOWN, {"g": (label, 4)}
    )
    assert found["g counts"].tolist() == [[2, 1], [0, 0], [2, 2], [0, 0]]
    assert found["g"].reshape(4, 7)[0, 3] == pytest.approx(scores["w1"][[1, 2]].sum())
    assert found["g events"][0, 0] == pytest.approx(scores["w1"][2] ** np.array([1, 2]))  # the accepted one
    plain = score.sum_scores(scores, {"g": (label, 4)})  # of yes and no a half is between
    assert plain["g events"][0] == pytest.approx(found["g events"][0])


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (BETWEEN, [0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0]),
        # The last step that the baseline's user reaches; the first of who reaches none.
        (PHASED, [1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0]),
        (TIMED, [0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
    ],
)
def test_which_step_a_row_is_compared_at(scores, clock, expected):
    assert step_of(scores, replace(KNOWN, clock=clock)).tolist() == expected
    turned = scores.iloc[[1, 0, 2, 4, 3, *range(5, 12)]].reset_index(
        drop=True
    )  # after one by the arm, and after all
    if clock is TIMED:
        assert step_of(turned, replace(KNOWN, clock=clock)).tolist()[:5] == [0, 1, 1, 0, 1]
    alone = scores[scores["arm"] == 0]
    assert step_of(alone, replace(KNOWN, clock=PHASED)).tolist() == [0] * 5


@pytest.mark.parametrize("items", [20, 21])
def test_fifths_are_of_the_arms_exposures(items):
    """Items 0, 1, ... are exposed as often by the baseline, and as the last of these by the arm."""
    shown = np.r_[np.full(items - 1, 2.0), 10]
    rows = np.stack([np.arange(items, dtype=float), shown], axis=1)[None]
    none = np.zeros((items, 3)), np.zeros(2), np.zeros((1, items, 0)), np.zeros((1, 2, 2, 2))
    fifth = score.item_fifths(ItemCounts(np.arange(items) + 5, rows, rows, *none))
    if items == 20:
        assert fifth is None
        return
    # Of 50 exposures by the arm 10, 20, 30, 40 are at an end: the items 4, 9, 14, 19.
    assert fifth.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4]
    assert fifth.index.tolist() == list(range(5, 26))


def test_rows_are_grouped_by_what_is_known_of_them():
    rows = pd.DataFrame({"item": [5, 6, 99, 5], POSITION: [0.0, 1.0, 10.0, 14.0]})
    features = pd.DataFrame({"first": [1, 0, 0, 0], "last": [0.0, 0.5, 0.6, 0], "shown_before": [0, 1, 2, 0]})
    codes, names = group_rows(rows, features, KNOWN, pd.Series([4, 0], index=[5, 6]))
    assert {name: code.tolist() for name, (code, _) in codes.items()} == {
        "popularity": [4, 0, -1, 4],
        "previous": [0, 1, 2, 1],
        "heard": [0, 1, 1, 0],
        "rank": [0, 0, 9, 9],
    }
    assert {name: groups for name, (_, groups) in codes.items()} == {
        "popularity": 5, "previous": 3, "heard": 2, "rank": 10,
    }  # fmt: skip
    assert names["rank"] == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10 and later")
    between = group_rows(rows.drop(columns=POSITION), features, replace(KNOWN, clock=BETWEEN), None)
    assert between == ({}, {})


TOTALS = np.array([[0.5, 0.3, 0.1, 0.25, 0.05, 0.4, 0.1], [0.2, 0.1, 0.04, 0.3, 0.06, 0.2, 0.08]])
EVENTS = np.array(
    [[[3, 1], [4, 2], [5, 5], [6, 9]], [[2, 1], [8, 4], [1, 0.5], [9, 3]]]
)  # by group: of the arm accepted and other, of the baseline accepted and other; sums of weights, of their squares


@pytest.mark.parametrize("unit", [1.0, 1e-3])
@pytest.mark.parametrize(("baseline", "met"), [("own", [[1, 0], [0, 1]]), ("later", [[1, 1], [0, 1]])])
def test_effects_of_sums_as_their_definition_says(baseline, met, unit):
    """Weights that add up to less than 1 are weights as others; errors by numeric derivatives (delta method)."""

    def effects(flat):
        own = flat.reshape(2, 7)
        side = np.array(met) @ own
        return (own[:, 1] - own[:, 2]) / own[:, 0] + own[:, 4] / own[:, 3] - side[:, 6] / side[:, 5]

    root = np.random.default_rng(0).normal(size=(14, 14))
    cross, flat, step, events = root @ root.T * 1e-4, TOTALS.ravel(), 1e-6, EVENTS * [unit, unit**2]
    found = effects_of({"g": flat, "g cross": cross, "g events": events}, "g", baseline=baseline)
    assert found.effect == pytest.approx(effects(flat))
    slopes = [(effects(flat + step * one) - effects(flat - step * one)) / (2 * step) for one in np.eye(14)]
    assert found.covariance == pytest.approx(np.transpose(slopes) @ cross @ slopes, rel=1e-5)
    chosen = (np.array(met) @ TOTALS)[:, 6] / (np.array(met) @ TOTALS)[:, 5]
    assert found.baseline == pytest.approx(TOTALS[:, 2] / TOTALS[:, 0] + chosen)
    sides = np.concatenate([EVENTS[:, :2], np.tensordot(met, EVENTS[:, 2:], 1)], axis=1)
    assert found.worth == pytest.approx((sides[..., 0] ** 2 / sides[..., 1]).min(axis=1))
    users = [(sides[:, part, 0].sum(1) ** 2 / sides[:, part, 1].sum(1)) for part in (slice(2), slice(2, 4))]
    assert found.size == pytest.approx(1 / (1 / users[0] + 1 / users[1]))


@pytest.mark.parametrize("empty", [0, 3, 5])
def test_a_group_without_weight_has_no_effect(empty):
    totals = TOTALS.copy()
    totals[0, empty] = 0
    found = effects_of({"g": totals.ravel(), "g cross": np.eye(14), "g events": EVENTS}, "g")
    assert np.isnan(found.effect).tolist() == [True, False] and found.size[0] == 0


def test_sums_of_groups_put_together_add_up():
    flat, cross = np.arange(21.0), np.random.default_rng(0).normal(size=(21, 21))
    events = np.arange(24.0).reshape(3, 4, 2)
    found = merged({"g": flat, "g cross": cross, "g events": events}, "g", np.array([1, 0, 1]))
    three = flat.reshape(3, 7)
    assert found["g"].reshape(2, 7).tolist() == [three[1].tolist(), (three[0] + three[2]).tolist()]
    assert found["g events"].tolist() == [events[1].tolist(), (events[0] + events[2]).tolist()]
    blocks = cross.reshape(3, 7, 3, 7)[[0, 2]][:, :, [0, 2]].sum(axis=(0, 2))
    assert found["g cross"][7:, 7:] == pytest.approx(blocks)
    assert found["g cross"][:7, :7] == pytest.approx(cross[7:14, 7:14])


def test_an_interval_is_students_of_the_users_less_one():
    """The 95th percentile of Student's law of 5 degrees of freedom is 2.015 (tables), of 4 2.132."""
    table = intervals([0.1, 0.2, 0.3], [0.01, 0.02, 0.02], [6.0, 5.0, 4.99], level=0.9)
    assert table.loc[0].tolist() == pytest.approx([0.1, 0.1 - 0.02015, 0.1 + 0.02015, 0.01], abs=1e-5)
    assert table.loc[1].tolist() == pytest.approx([0.2, 0.2 - 0.04264, 0.2 + 0.04264, 0.02], abs=1e-5)
    assert table.loc[2].isna().all()
    assert intervals(0.1, 0.01, 1e9)["upper"][0] == pytest.approx(0.1196, abs=1e-4)


def test_a_slope_is_least_squares_weighted_by_size():
    """Steps 1, 3 and 4 of sizes 1, 2 and 3; the second has none."""
    size, place = np.array([1.0, 0, 2, 3]), np.array([1.0, 2, 3, 4])
    root = np.random.default_rng(1).normal(size=(4, 4))
    found = Effects(np.array([0.1, np.nan, 0.4, 0.2]), root @ root.T, np.array([2.0, 9, 3, 4]), size, size)
    slope, error, worth = score.slope_of(found, place)
    design = np.column_stack([np.ones(3), [1.0, 3, 4]])
    solve = np.linalg.solve(design.T @ (design * [[1], [2], [3]]), design.T * [1, 2, 3])[1]
    assert slope == pytest.approx(solve @ [0.1, 0.4, 0.2]) and worth == 9
    assert error == pytest.approx(np.sqrt(solve @ (root @ root.T)[np.ix_([0, 2, 3], [0, 2, 3])] @ solve))
    two = score.slope_of(replace(found, size=size * [1, 1, 0, 1]), place)
    assert two[0] == pytest.approx(0.1 / 3) and two[2] == 6
    one = score.slope_of(replace(found, size=size * [0, 1, 0, 1]), place)
    assert np.isnan(one[:2]).all() and one[2] == 0


def test_the_spread_over_splits_is_in_the_error_of_each_group():
    effect = np.array([[0.1, 1.0], [0.12, 1.0], [0.2, 3.0]])
    centre, error = score.combine_splits(effect, np.array([[0.01, 0.2], [0.01, 0.3], [0.03, 0.1]]))
    assert centre == pytest.approx([0.12, 1.0])
    # Medians of .0005, .0001, .0073 and of .04, .09, 4.01.
    assert error == pytest.approx(np.sqrt([0.0005, 0.09]))
