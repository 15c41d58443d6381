"""Segments: labels without decisions, Wald tests against hand-made ones, silence where the status forbids."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f as fisher
from worlds import WORLDS, World, simulate

from csrec_core.data.books import simulate_books
from csrec_core.effect import segments
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.segments import (
    THIRDS,
    _thirds,
    by_cohort,
    by_segment,
    segment_finding,
    segment_labels,
    segment_tests,
)


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=200, items=40, steps=6, seed=3)


@pytest.fixture(scope="module")
def effect(world):
    found = estimate_effect(world, splits=1)
    return replace(found, identification=replace(found.identification, status="identified"))


def synthetic(effect, gaps, *, rows=300, seed=0):
    """Return an effect whose scores are plain: a row a user, weights of one, no regression."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(gaps)), rows)
    arm = np.tile([1, 0], len(group) // 2)
    decision = (rng.random(len(group)) < 0.4 + arm * np.array(gaps)[group]).astype(float)
    place = np.arange(len(group))
    scores = pd.DataFrame({"place": place, "user": place, "arm": arm, "decision": decision, "step": 1})
    scores = scores.assign(tau=1.0 * arm, w1=1.0 * arm, w0=1.0 - arm, m1=0.0, m0=0.0)
    return replace(effect, scores=(scores,)), pd.DataFrame({"kind": group.astype(str)}), scores


def test_thirds_by_hand():
    low, middle, high = THIRDS
    assert _thirds(pd.Series([6.0, 1, 2, 5, 3, 4])).tolist() == [high, low, low, high, middle, middle]
    assert _thirds(pd.Series([1.0, 1, 1, 2, 3, 4])).tolist() == [low, low, low, middle, high, high]
    few = _thirds(pd.Series([0.0, 1, np.nan, 2.5]))
    assert few.dropna().tolist() == ["0", "1", "2.5"] and few.isna()[2]
    assert _thirds(pd.Series([3.0, 3])).isna().all()


def test_labels_know_nothing_of_decisions(world, effect):
    labels = segment_labels(world, effect)
    flipped = replace(world, log=world.log.assign(decision=1 - world.log["decision"]))
    pd.testing.assert_frame_equal(labels, segment_labels(flipped, effect))
    assert {"item popularity", "genre", "variety of own choices", "cohort"} <= set(labels.columns)
    thirds = world.log.loc[world.log["source"] == "self"].groupby(labels["item popularity"])["item"]
    rate = thirds.size() / thirds.nunique()
    assert rate["lowest third"] < rate["middle third"] < rate["highest third"]


def test_few_values_are_named_and_many_genres_put_together(world, effect):
    items = world.items.assign(genre=[f"g{number % 30}" for number in range(len(world.items))])
    log = world.log.assign(feature_member=(world.log["user"] % 2).astype(float))
    labels = segment_labels(replace(world, log=log, items=items), effect)
    assert set(labels["member"].unique()) == {"0", "1"}
    assert labels["genre"].nunique() == 13 and (labels["genre"] == "other genres").any()
    # Where no two items share a genre they are told as items.
    alone = world.items.assign(genre=[f"g{number}" for number in range(len(world.items))])
    assert "genre" not in segment_labels(replace(world, items=alone), effect)


def test_the_groups_effects_are_differences_of_means(effect):
    found, labels, scores = synthetic(effect, [0.1, 0.3])
    table = by_segment(found, labels).set_index("group")
    for group, rows in scores.groupby(labels["kind"]):
        means = rows.groupby("arm")["decision"].mean()
        assert table.loc[group, "effect"] == pytest.approx(means[1] - means[0])
        spread = rows.groupby("arm")["decision"].var(ddof=0) / rows.groupby("arm").size()
        half = (table.loc[group, "upper"] - table.loc[group, "lower"]) / 2
        assert (
            2.24 < half / np.sqrt(spread.sum()) / effect.inflation < 2.35
        )  # 97.5% on either side of two groups
    assert (table["users"] == 150).all()


def test_wald_by_hand(effect):
    found, labels, scores = synthetic(effect, [0.1, 0.3, 0.15])
    row = segment_tests(found, labels).iloc[0]
    parts = [rows.groupby("arm")["decision"] for _, rows in scores.groupby(labels["kind"])]
    gap = np.array([one.mean()[1] - one.mean()[0] for one in parts])
    variance = np.array([(one.var(ddof=0) / one.size()).sum() for one in parts])
    # Of independent groups the statistic is that of Cochran: weighted squares around the weighted mean.
    weight = 1 / variance / effect.inflation**2
    q = (weight * (gap - np.average(gap, weights=weight)) ** 2).sum()
    rarer = min(min(one.sum().min(), (one.size() - one.sum()).min()) for one in parts)
    assert row["p"] == pytest.approx(fisher.sf(q / 2, 2, rarer - 1), rel=1e-6)
    assert row["spread"] == pytest.approx(np.ptp(gap)) and row["groups"] == 3


def test_false_alarms_are_as_many_as_said(effect):
    p = [segment_tests(*synthetic(effect, [0.2, 0.2, 0.2], seed=seed)[:2])["p"].iloc[0] for seed in range(80)]
    assert (np.array(p) <= 0.05).sum() <= 10  # 99.5% of the time
    strong = segment_tests(*synthetic(effect, [0.0, 0.4])[:2])
    assert strong["adjusted"].iloc[0] < 1e-3 and "differs with kind" in segment_finding(effect, strong)[0]


def test_a_group_too_small_is_left_out(effect):
    found, labels, _ = synthetic(effect, [0.1, 0.3, 0.2])
    few = np.flatnonzero(labels["kind"] == "2")[12:]
    labels.loc[few, "kind"] = np.nan
    assert segment_tests(found, labels)["groups"].iloc[0] == 2
    assert "No segment is large enough" in segment_finding(found, segment_tests(found, labels[[]]))[0]


@pytest.mark.parametrize("status", ["bounded", "not identified"])
def test_silent_where_the_status_forbids(world, effect, status):
    silent = replace(effect, identification=replace(effect.identification, status=status))
    labels = segment_labels(world, silent)
    assert by_segment(silent, labels).empty and segment_tests(silent, labels).empty
    assert by_cohort(silent, labels["cohort"]).empty


def test_cohorts_add_up_to_the_effect_over_time(world, effect):
    """One cohort of all users has the effect over time that the estimate reports."""
    names = np.where(world.log["user"] % 2 == 0, "lowest third", "highest third")
    table = by_cohort(effect, pd.Series(names, index=world.log.index))
    assert table["cohort"].unique().tolist() == ["lowest third", "highest third"]
    halves = table.groupby("step").apply(lambda part: np.average(part["effect"], weights=part["users"]))
    np.testing.assert_allclose(halves, effect.over_time["effect"], atol=0.03)


def test_cohorts_meet_the_baseline_at_the_same_time_where_the_arms_share_a_clock():
    """Acceptance drifts in both arms: compared across times, the effect of each cohort would drift, too."""
    drifting = World(users=400, interleaved=True, drift=2.0, published=True)
    world, _ = simulate(drifting, 1)
    effect = estimate_effect(world, confounders=("feature_affinity",), splits=1)
    names = np.where(world.log["user"].astype(int) % 2 == 0, "lowest third", "highest third")
    table = by_cohort(effect, pd.Series(names, index=world.log.index), bins=100)
    halves = table.groupby("step").apply(lambda part: np.average(part["effect"], weights=part["users"]))
    steps = effect.over_time.set_index("step")["effect"].reindex(halves.index)
    assert (halves - steps).abs().median() < 0.01  # against the baseline of all times 0.04


def test_where_the_arm_is_drawn_groups_are_not_made_of_what_it_exposed():
    """Users who met few items by themselves liked what they met: their baseline is high with no effect at all."""
    world, declared = WORLDS["arm randomised"]
    dataset, _ = simulate(replace(world, users=150), 0)
    effect = estimate_effect(dataset, seed=0, splits=1, **declared)
    labels = segment_labels(dataset, effect)
    assert not {"item popularity", "genre", "variety of own choices"} & set(labels.columns)
    assert labels["cohort"].notna().all() and segment_tests(effect, labels).empty


class Plain:
    """An effect whose groups are known beforehand."""

    def __init__(self, tables, *, allows=True, status="identified", shown=(0, 1, 2, 3), step=1, known=None):
        self.identification = SimpleNamespace(allows=allows, status=status)
        scores = pd.DataFrame({"place": range(len(shown)), "user": range(len(shown)), "arm": 1, "step": step})
        scores["w1"] = [1.0 if place in shown else 0.0 for place in range(len(shown))]
        self.scores, self.tables, self.asked, self.against, self.known = (scores,), tables, [], "later", known

    def by(self, labels, **options):
        self.asked.append((labels, options))
        return self.tables[len(self.asked) - 1]


def groups(names, effects):
    table = pd.DataFrame({"group": names, "effect": effects})
    return table.assign(lower=-1.0, upper=1.0, exposures=5, users=4)


def test_all_intervals_of_a_table_hold_together():
    low, middle, high = THIRDS
    labels = pd.DataFrame(
        {"by age": [high, low, middle, low], "genre": list("abca"), "cohort": list("xyxy"), "one": "z"}
    )
    found = Plain([groups([high, low, middle], [0.3, 0.1, 0.2]), groups(list("abc"), [0.1, 0.3, 0.2])])
    table = by_segment(found, labels)
    assert table["group"].tolist() == [low, middle, high, "b", "c", "a"]  # thirds in order, others by effect
    assert table["segment"].tolist() == ["by age"] * 3 + ["genre"] * 3
    assert [options["level"] for _, options in found.asked] == pytest.approx([1 - 0.05 / 6] * 2)
    for silent in (Plain([], allows=False), Plain([], shown=(9, 9, 9, 9))):
        assert by_segment(silent, labels).empty and not silent.asked
    none = Plain([])
    none.scores = ()
    assert by_segment(none, labels).empty


A, B, C = (f"{name} (by up to {most} points)" for name, most in (("a", 12.3), ("b", 20.0), ("c", 30.0)))
NOT_APART = "No group stands out", "They are not told apart."
TOO_FEW = "Too few to tell", "No group is large enough to be compared."


def test_segments_of_money_are_told_in_its_unit():
    tests = pd.DataFrame({"segment": ["a"], "spread": [6.7187], "adjusted": [0.01]})
    said, _ = segment_finding(Plain([], known=SimpleNamespace(binary=False)), tests)
    assert said == "The effect differs with a (by up to 6.72)."


@pytest.mark.parametrize(
    ("adjusted", "sentence", "tile"),
    [
        ([0.2, 0.3, 0.1], "The effect is not found to differ with a, b, c.", NOT_APART),
        (
            [0.05, 0.051, 0.04],
            f"The effect differs with {A}, {C}.",
            ("Some more than others", "It differs with a and c."),
        ),
        (
            [0.01] * 3,
            f"The effect differs with {A}, {B}, {C}.",
            ("Some more than others", "It differs with a and b."),
        ),
        ([], "No segment is large enough to be compared.", TOO_FEW),
    ],
)
def test_segments_in_words(adjusted, sentence, tile):
    spread = [0.123, 0.2, 0.3]
    tests = (
        pd.DataFrame({"segment": list("abc"), "spread": spread})
        .iloc[: len(adjusted)]
        .assign(adjusted=adjusted)
    )
    assert segment_finding(Plain([], known=SimpleNamespace(binary=True)), tests) == (sentence, tile)
    silent = segment_finding(Plain([], allows=False, status="bounded"), tests)
    assert silent == ("", ("Not told", "An effect that is bounded has no groups."))


def test_cohorts_by_hand(monkeypatch):
    monkeypatch.setattr(segments, "step_of", lambda scores, known: scores["step"].to_numpy() - 1)
    cohort = pd.Series(["new", "old"] * 12 + ["new"])
    shown = tuple(range(25))
    tables = [groups([0.0, 1.0, 8.0], [0.1, 0.2, 0.3]), groups([2.0], [0.4])]
    found = Plain(tables, shown=shown, step=np.arange(1, 26))
    table = by_cohort(found, cohort)
    # 25 exposures in bins of three; the last has one.
    assert table["cohort"].tolist() == ["new"] * 3 + ["old"] and table["step"].tolist() == [
        2.0,
        5.0,
        25.0,
        8.0,
    ]
    label, options = found.asked[1]
    assert options == {"baseline": "later"}
    assert np.isnan(label[0]) and label[1] == 0 and label[3] == 1 and label[23] == 7
    assert found.asked[0][0][24] == 8
    assert by_cohort(Plain([], allows=False, shown=shown), cohort).empty
    assert by_cohort(Plain([], shown=shown), cohort.where(cohort == "new")).empty
    assert by_cohort(Plain([], shown=shown, step=np.ones(25, dtype=int)), cohort).empty  # one step is no time
    wide = Plain([groups([0.0], [0.1]), groups([0.0], [0.1])], shown=shown, step=np.arange(1, 26))
    assert by_cohort(wide, cohort, bins=2)["step"].tolist() == [7.0, 7.0]
