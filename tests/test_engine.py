"""The one engine: features, scores, sums and intervals, against numbers computed by hand or enumerated."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from worlds import World, simulate, without_effect

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect.design import Design, find_design, read_design
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import fold_of
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.record import describe
from csrec_core.effect.rows import find_clock, lay_rows
from csrec_core.effect.score import (
    effects_of,
    merged,
    sum_scores,
)
from csrec_core.errors import InputError


def make_log(rows: list[tuple], columns: str = "user t item decision source") -> Dataset:
    return Dataset(validate_log(pd.DataFrame(rows, columns=columns.split())))


@pytest.fixture(scope="module")
def world():
    return simulate(World(users=300, mean=8), seed=3)


@pytest.fixture(scope="module")
def effect(world):
    return estimate_effect(world[0], splits=2)


@pytest.fixture
def scores():
    """Scores of 40 users, drawn; weights and models are any numbers."""
    rng = np.random.default_rng(5)
    n = 400
    arm = rng.integers(0, 2, n)
    frame = pd.DataFrame({"user": rng.integers(0, 40, n), "decision": rng.integers(0, 2, n), "arm": arm})
    frame["tau"] = frame["w1"] = np.where(arm == 1, rng.uniform(0.5, 2, n), 0)
    frame["w0"] = np.where(arm == 0, rng.uniform(0.5, 2, n), 0)
    return frame.assign(m1=rng.uniform(0.2, 0.8, n), m0=rng.uniform(0.2, 0.8, n), step=rng.integers(1, 6, n))


# --- features


def test_features_of_a_log_laid_out_by_hand():
    rows = [
        (1, 1, 5, 1, "self"),
        (1, 2, 6, 0, "self"),
        (1, 3, 5, 0, "self"),
        (1, 1, 7, 1, "system"),
        (1, 2, 5, 0, "system"),
    ]
    rows = lay_rows(make_log(rows), Design())
    found = describe(rows, find_clock(rows), rate=0.5)
    assert found["first"].tolist() == [1, 0, 0, 0, 0]
    assert found["last"].tolist() == [0, 1, 0, 0, 1]
    assert found["before_last"].tolist() == [0, 0, 1, 0, 0]
    assert found["run"].tolist() == [0, 0, 1, 2, 0]
    assert found["step"].tolist() == [0, 1, 2, 0, 1]
    assert found["shown_before"].tolist() == [0, 0, 1, 0, 2]
    # of all own choices but the row and the next
    assert found["on_record"].tolist() == [1, 0, 1, 0, 1] and found["record"].tolist() == [1, 1, 2, 1, 2]
    # One phase follows the other: the record is of the own choices but the row and the next, (taken + 1) / (met + 2).
    assert found["user_rate"].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 4, 1 / 3, 2 / 4])


def test_a_record_is_as_long_under_either_arm(world):
    rows = lay_rows(world[0], Design())
    found = describe(rows, find_clock(rows), rate=0.5)
    # user_rate is (taken + 1) / (met + 2) with met = 6 of 8: its denominator tells the arms in no way.
    eighths = (found["user_rate"] * 8)[
        found["step"] < 7
    ]  # at the last of a phase there is no next to leave out
    np.testing.assert_allclose(eighths, eighths.round(), atol=1e-4)


def test_where_one_phase_follows_the_other_an_item_is_on_record_as_often_under_either_arm():
    """Both arms pick items by preference: what is shown before counts up all the same."""
    dataset, _ = simulate(World(users=400, items=20, policy="as chosen", heavy=True), seed=3)
    rows = lay_rows(dataset, Design())
    found = describe(rows, find_clock(rows), rate=0.5).assign(user=rows["user"], arm=rows["arm"])
    means = found.groupby(["arm", "user"])[["on_record", "shown_before"]].mean()
    apart = means.loc[1] - means.loc[0]
    assert abs(apart["on_record"].mean()) < 2 * apart["on_record"].sem()
    assert apart["shown_before"].mean() > 10 * apart["shown_before"].sem()


def test_arms_that_alternate_are_told_by_their_clock():
    dataset, _ = simulate(World(users=60, mean=6, interleaved=True), seed=1)
    clock = find_clock(lay_rows(dataset, Design()))
    assert clock.columns == ("seen", "time") and not clock.phased
    one_arm_each = make_log(
        [(u, t, 1, u % 2, "self" if u < 5 else "system") for u in range(10) for t in (1, 2)]
    )
    assert find_clock(lay_rows(one_arm_each, Design())).between


def test_steps_are_compared_at_the_same_time_where_the_arms_share_a_clock():
    """Acceptance drifts up in both arms: against the baseline of all times the effect would seem to grow."""
    world = without_effect(World(users=600, mean=8, drift=3.0, interleaved=True))
    found = estimate_effect(simulate(world, seed=2)[0], splits=1)
    assert len(found.over_time) >= 6
    assert found.trend["lower"] < 0 < found.trend["upper"]
    rise = simulate(world, seed=2)[0].log.groupby("t")["decision"].mean()
    assert rise.iloc[-1] - rise.iloc[0] > 0.2  # which is no effect


def test_what_is_told_of_an_item_knows_nothing_of_the_held_out_fold():
    rng = np.random.default_rng(0)
    rows = [(u, t, int(rng.integers(30)), int(rng.integers(2)), "self") for u in range(60) for t in range(5)]
    rows += [
        (u, t, int(rng.integers(30)), int(rng.integers(2)), "system") for u in range(60) for t in range(5)
    ]
    rows = lay_rows(make_log(rows), Design())
    fold = fold_of(rows["user"].to_numpy(), 4, 0)
    held = fold == 2
    other = rows.assign(decision=np.where(held, 1 - rows["decision"], rows["decision"]))
    item = rows["item"].to_numpy()
    one, two = (ItemCounts.count(part, fold, 4) for part in (rows, other))
    # The shrinkage target is the mean of all rows; the counts themselves leave the held-out fold out.
    two = replace(two, accepted=np.where(np.arange(4)[:, None, None] == 2, one.accepted, two.accepted))
    pd.testing.assert_frame_equal(one.tell(item, fold, 2), two.tell(item, fold, 2))
    by_hand = rows[(fold != 2) & (fold != fold[0]) & (rows["item"] == item[0]) & (rows["arm"] == 0)]
    total = rows[(fold != 2) & (fold != fold[0]) & (rows["arm"] == 0)]
    expected = np.log((len(by_hand) + 1) * 30 / (len(total) + 30))
    assert one.tell(item, fold, 2)["fame"].iloc[0] == pytest.approx(expected, rel=1e-5)


def test_the_lift_of_an_item_by_hand():
    rows = [(u, t, item, 1, "self") for u in range(3) for t, item in enumerate((5, 5, 6))]
    counts = ItemCounts.count(lay_rows(make_log(rows), Design()), np.repeat(np.arange(3), 3), 3)
    features = pd.DataFrame({"on_record": [2, 0, 0], "record": [6, 6, 0]})
    # Another fold has shown 5 twice and 6 once: with one added to each of both, 3 of 5 and 2 of 5.
    expected = np.log([3 / (6 * 3 / 5 + 1), 1 / (6 * 2 / 5 + 1), 1])
    fame = counts.measure(np.array([5, 6, 6]), np.array([0, 0, 1]), 1)["fame"]
    found = counts.lift(features, fame)
    assert found[:2] == pytest.approx(expected[:2], rel=1e-5) and found[2] == 0


def test_a_regression_reads_no_preference_from_how_long_a_record_is():
    """Users differ in activity alone, and nothing has an effect: what is expected of them is the same."""
    world = World(users=1500, heavy=True, effect=0.0)
    dataset, truth = simulate(world, seed=501)
    chosen = dict.fromkeys(("m0", "m1", "arm"), "logistic")
    scores = estimate_effect(dataset, splits=1, learners=chosen).scores[0]
    shown = scores[scores["arm"] == 1].merge(truth[["user", "t", "p0"]], on=["user", "t"])
    size = shown.groupby("user")["t"].transform("size")
    off = (shown["m0"] - shown["p0"]).groupby(size > 20).mean()
    assert abs(off[True] - off[False]) < 0.01


# --- scores, sums, intervals


def test_the_effect_and_its_variance_by_hand(scores):
    found = effects_of(sum_scores(scores, {"all": (np.zeros(len(scores), int), 1)}), "all")
    one, nil = scores[scores["arm"] == 1], scores[scores["arm"] == 0]
    residual = one["decision"] - one["m0"], nil["decision"] - nil["m0"]
    means = [
        np.average(part, weights=weight)
        for part, weight in zip(residual, (one["w1"], nil["w0"]), strict=True)
    ]
    assert found.effect[0] == pytest.approx(means[0] - means[1])
    influence = pd.concat(
        [
            (one["w1"] * (residual[0] - means[0]) / one["w1"].sum()),
            -(nil["w0"] * (residual[1] - means[1]) / nil["w0"].sum()),
        ]
    )
    by_user = influence.groupby(scores["user"]).sum()
    assert found.covariance[0, 0] == pytest.approx((by_user**2).sum())
    shown = np.average(one["decision"], weights=one["w1"])
    assert found.baseline[0] == pytest.approx(shown - found.effect[0])


def test_sums_of_parts_are_the_sums_of_the_whole(scores):
    label = {"groups": (scores["step"].to_numpy() - 1, 5)}
    whole = sum_scores(scores, label, span=1.0)
    part = scores["user"] < 20
    parts = [
        sum_scores(scores[side], {"groups": (scores["step"].to_numpy()[side] - 1, 5)}, span=1.0)
        for side in (part, ~part)
    ]
    both = parts[0].add(parts[1])
    for name in whole:
        np.testing.assert_allclose(both[name], whole[name], atol=1e-10)


@pytest.mark.parametrize("baseline", ["own", "later"])
def test_groups_put_together_are_the_groups_of_the_whole(scores, baseline):
    fine = sum_scores(scores, {"step": (scores["step"].to_numpy() - 1, 5)})
    into = np.array([0, 0, 1, 1, 1])
    coarse = sum_scores(scores, {"step": (into[scores["step"].to_numpy() - 1], 2)})
    one, two = (effects_of(part, "step", baseline=baseline) for part in (merged(fine, "step", into), coarse))
    np.testing.assert_allclose(one.effect, two.effect)
    np.testing.assert_allclose(one.covariance, two.covariance)


# --- sensitivity


def test_the_benchmark_is_the_column_whose_loss_moves_the_odds_most():
    """The odds of the arm are 4 where the column is 1, 1 elsewhere, and .65 / .35 without it."""
    rng = np.random.default_rng(1)
    known = np.arange(4000) % 2
    arm = np.where(rng.random(4000) < np.where(known, 0.8, 0.5), "system", "self")
    log = pd.DataFrame({"user": np.arange(4000), "t": 1, "item": rng.integers(5, size=4000), "source": arm})
    log = log.assign(decision=rng.integers(2, size=4000), feature_known=known, feature_noise=rng.random(4000))
    found = estimate_effect(Dataset(validate_log(log)), splits=1)
    assert found.benchmark == ("feature_known", pytest.approx(4 / (0.65 / 0.35), rel=0.15))


# --- the estimate


def test_an_enumerated_model():
    """Two items, a hidden preference that moves choice and decision: the effect is a sum of four terms."""
    rng = np.random.default_rng(11)
    accept = {
        (0, 0): (0.2, 0.3),
        (0, 1): (0.5, 0.55),
        (1, 0): (0.6, 0.75),
        (1, 1): (0.1, 0.3),
    }  # (preference, item)
    truth = np.mean([after - before for before, after in accept.values()])
    rows = []
    for user in range(1500):
        preference = user % 2
        likes = 0.8 if preference else 0.3  # chance of item 0 by own choice
        for t in range(4):
            item = int(rng.random() > likes)
            chance = likes if item == 0 else 1 - likes
            rows.append((user, t, item, int(rng.random() < accept[preference, item][0]), "self", chance))
            item = int(rng.random() > 0.5)
            rows.append((user, t, item, int(rng.random() < accept[preference, item][1]), "system", 0.5))
    found = estimate_effect(make_log(rows, "user t item decision source propensity"), splits=1)
    assert found.identification.status == "identified"
    assert abs(found.mean["effect"] - truth) < 3 * found.mean["error"]
    assert found.mean["error"] < 0.02


def test_same_seed_same_numbers(world):
    one, two = (estimate_effect(world[0], splits=1, seed=4) for _ in range(2))
    assert one.mean.equals(two.mean) and one.users.equals(two.users)


def test_the_truth_is_in_the_intervals(world, effect):
    _, truth = world
    gain = truth["p1"] - truth["p0"]
    assert effect.mean["lower"] < gain.mean() < effect.mean["upper"]
    users = effect.users.set_index("user")
    mine = gain.groupby(truth["user"]).mean().reindex(users.index)
    assert ((users["lower"] <= mine) & (mine <= users["upper"])).mean() > 0.85
    assert effect.spread < effect.mean["error"]


def test_groups_average_to_the_whole(world, effect):
    labels = world[0].log["item"] % 2
    table = effect.by(labels)
    assert list(table["group"]) == [0, 1]
    assert table["exposures"].sum() == (world[0].log["source"] == "system").sum()
    # Each group has its own mean residual of the baseline, so the whole is their mean but for that.
    assert np.average(table["effect"], weights=table["exposures"]) == pytest.approx(
        effect.mean["effect"], abs=0.01
    )


# --- the design


def test_a_design_is_found_and_declared(tmp_path):
    dataset = make_log([(u, 1, u % 5, u % 2, "self" if u < 5 else "system") for u in range(10)])
    assert find_design(dataset) == Design()
    (tmp_path / "d.yaml").write_text("unit: users\nconfounders: [feature_age]\n")
    assert read_design(str(tmp_path / "d.yaml")) == {"unit": "users", "confounders": ("feature_age",)}
    with pytest.raises(InputError, match="feature_age"):
        find_design(dataset, confounders=("feature_age",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: 2", "did you mean 'arm'"),
        ("[1, 2", "no YAML"),
        ("unit: 2026-01-02 10:00:00+25:00", "no YAML"),  # a time that is none
        ("unit: 0000-00-00", "no YAML"),
        ("confounders: 3", "expected a list"),
        (
            ", ".join(
                [f"a0: &a0 [{'x, ' * 50}]", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 50}]" for n in (1, 2, 3))]
            ),
            "its aliases stand",
        ),
        ("nothing.yaml", "cannot be read: No such file"),
    ],
)
def test_what_is_no_design_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_design(text)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"target": "exposd"}, "did you mean 'exposed'"),
        ({"arm": "self", "baseline": "self"}, "both"),
        ({"arm_propensity": 1.2}, "expected chances in"),
        ({"arm_propensity": {"system": 0.3}}, "arm in arm_propensity"),
        ({"arm": "sytem"}, "did you mean 'system'"),
    ],
)
def test_a_design_that_cannot_be_is_refused(declared, message):
    dataset = make_log([(u, 1, u % 5, u % 2, "self" if u < 5 else "system") for u in range(10)])
    with pytest.raises(InputError, match=message):
        find_design(dataset, **declared)
