"""The way from a log to an effect: splits of users, what is refused, and what is handed on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect import estimate
from csrec_core.effect.design import Design
from csrec_core.effect.estimate import conclude, estimate_effect, learn_engines, split_seeds
from csrec_core.effect.score import effects_of
from csrec_core.errors import InputError

ASKED = {"folds": 3, "splits": None, "level": 0.9, "seed": 2}


@pytest.mark.parametrize(
    ("exposures", "change", "seeds"),
    [
        ([1, 1], {}, [2000, 2001, 2002]),
        ([100_000, 99_999], {}, [2000, 2001, 2002]),
        ([100_000, 100_000], {}, [2000, 2001]),
        ([1, 1], {"splits": 1, "seed": 0}, [0]),
        ([1, 1], {"splits": 4}, [2000, 2001, 2002, 2003]),
    ],
)
def test_each_split_has_its_seed(exposures, change, seeds):
    assert split_seeds(Design(), exposures, "log", **ASKED | change) == seeds


@pytest.mark.parametrize(
    ("exposures", "change", "message"),
    [
        ([1, 1], {"folds": 2}, "folds = 2; expected at least 3"),
        ([1, 1], {"splits": 0}, "splits = 0; expected at least 1"),
        ([1, 1], {"level": 0}, r"level = 0; expected a share in \(0, 1\)"),
        ([1, 1], {"level": 1}, r"level = 1; expected a share in \(0, 1\)"),
        ([0, 1], {}, "no exposure has source='self'"),
        ([1, 0], {}, "no exposure has source='system'"),
    ],
)
def test_numbers_out_of_range_are_refused(exposures, change, message):
    with pytest.raises(InputError, match=message):
        split_seeds(Design(), exposures, "log", **ASKED | change)


def test_learners_are_chosen_in_the_first_split(monkeypatch):
    asked = []

    def learn(rows, table, design, known, counts, *, seed, learners):
        asked.append((table, counts, seed, learners))
        return SimpleNamespace(learners={"m0": f"of {seed}"})

    monkeypatch.setattr(estimate.Engine, "learn", learn)
    engines = learn_engines(None, ["a", "b", "c"], None, None, [1, 2, 3], seeds=[7, 8, 9])
    assert [one.learners["m0"] for one in engines] == ["of 7", "of 8", "of 9"]
    assert asked == [("a", 1, 7, None), ("b", 2, 8, {"m0": "of 7"}), ("c", 3, 9, {"m0": "of 7"})]
    learn_engines(None, ["a"], None, None, [1], seeds=[7], learners={"m0": "given"})
    assert asked[-1][3] == {"m0": "given"}


@pytest.mark.parametrize("estimand", ["exposure", "arm"])
@pytest.mark.parametrize("given", [True, False])
def test_what_the_verdict_rests_on(monkeypatch, estimand, given):
    seen = {}
    monkeypatch.setattr(estimate, "audit_items", lambda *_, catalogue: ["items", catalogue])
    monkeypatch.setattr(estimate, "audit_arms", lambda rows, design, chance: ["arms", chance])
    monkeypatch.setattr(estimate, "audit_reading", lambda *_: "read off")
    monkeypatch.setattr(
        estimate, "judge", lambda *_, **about: seen.update(about, audit=_[3], overlap=_[2]) or "judged"
    )
    monkeypatch.setattr(estimate, "strongest", lambda *_: ("age", 2.0))
    known = SimpleNamespace(catalogue=9, binary=True)
    models = {0: {"m0": SimpleNamespace(width=4)}, 1: {"m0": SimpleNamespace(width=7)}}
    engine = SimpleNamespace(
        design=Design(estimand=estimand), known=known, learners={"m0": "boosted"}, models=models,
        arm_chance=lambda rows, e: ("chance", given), chances=lambda rows: "chances",
    )  # fmt: skip
    scored = pd.DataFrame({"e": [0.5], "chance": [0.1]})
    about = {"level": 0.9, "name": "log"}
    found = conclude(None, None, [engine, None], scored, ["sums"], "overlap", read=None, **about)
    assert seen["audit"] == [*["items", 9] * (estimand == "exposure"), "arms", "chance" if given else None]
    assert (seen["overlap"], seen["read_off"], seen["arm_given"], seen["binary"]) == (
        "overlap",
        "read off",
        given,
        True,
    )
    assert found.benchmark == (("", 1.0) if given else ("age", 2.0)) and found.identification == "judged"
    assert (found.width, found.outcome, found.learners, found.splits) == (
        7,
        "acceptance",
        {"m0": "boosted"},
        ["sums"],
    )
    read = SimpleNamespace(map={"outcome": "minutes"})
    named = conclude(None, None, [engine], scored[["e"]], [], "", read=read, benchmark=("x", 3.0), **about)
    assert named.outcome == "minutes" and named.benchmark == ("x", 3.0) and seen["read_off"] is None
    assert (
        conclude(None, None, [engine], scored, [], "", read=SimpleNamespace(map={}), **about).outcome
        == "acceptance"
    )
    known.binary = False
    assert conclude(None, None, [engine], scored, [], "", read=None, **about).outcome == "outcome"


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=60, items=30, steps=4, seed=1)


def test_a_log_is_estimated_by_what_was_asked(world):
    found = estimate_effect(world, seed=2, splits=2, groups=True)
    log = world.log.merge(found.scores[0][["place", "m0"]], left_index=True, right_on="place")
    assert len(log) == len(world.log) and found.level == 0.95 and found.seed == 2
    assert (
        sorted(found.scores[0]["fold"].unique()) == [0, 1, 2, 3]
        and len(found.scores) == len(found.splits) == 2
    )
    assert found.known.catalogue == 30 and "popularity" in found.groups
    again = estimate_effect(world, seed=2, splits=1)
    assert again.groups == {} and again.mean["effect"] == effects_of(found.splits[0], "all").effect[0]
    other = estimate_effect(Dataset(world.log), splits=1, learners=found.learners, level=0.5, folds=3)
    assert (
        other.benchmark == ("", 1.0)
        and (other.level, other.seed) == (0.5, 0)
        and other.scores[0]["fold"].max() == 2
    )
    shown = found.scores[0]
    assert found.identification.overlap.rows == tuple((shown["arm"] == arm).sum() for arm in (0, 1))


@pytest.mark.parametrize("declared", [{"estimand": "arm", "target": "everyone"}, {"outcome": True}])
def test_networks_read_yes_and_no_of_the_same_items(world, declared):
    if declared.pop("outcome", False):
        world = Dataset(world.log.assign(outcome=np.arange(len(world.log)) / 7.0))
    with pytest.raises(InputError, match="networks read which items a user accepted"):
        estimate_effect(world, networks=object(), splits=1, **declared)
