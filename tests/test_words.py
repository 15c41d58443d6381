"""What is said of an effect: only what its status allows, and nothing that could be taken for markup."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.effect import words
from csrec_core.effect.answer import FEATURE_WORDS, column_words
from csrec_core.effect.card import as_card
from csrec_core.effect.estimate import estimate_effect
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=200, items=40, steps=6, seed=3)


@pytest.fixture(scope="module")
def effect(world):
    return estimate_effect(world, splits=1)


def judged(effect, status, **changes):
    return replace(effect, identification=replace(effect.identification, status=status, **changes))


@pytest.mark.parametrize("status", ["bounded", "not identified"])
def test_nothing_is_said_of_parts_where_the_status_forbids(effect, world, status):
    found = judged(effect, status)
    found.__dict__["trend"] = pd.Series({"effect": 0.01, "lower": 0.005, "upper": 0.015})
    assert words.over_time_sentence(found) == words.over_time_tile(found) == ""
    assert words.users_sentence(found) == ""
    assert words.sequence_sentence(found, world) == ""


def test_weights_of_sequences_are_told_where_every_exposure_has_its_chance_and_users_have_two(effect, world):
    found, log = judged(effect, "assumed"), world.log
    reach = r"is [+−]\d+\.\d points \[.*\]; the weights reach back (1 exposure|[2-6] exposures)\.$"
    assert re.search(reach, words.sequence_sentence(found, world))
    first = log[log.groupby(["user", "source"]).cumcount() == 0].reset_index(drop=True)
    gap = log.assign(propensity=log["propensity"].where(log.index > 0))
    for less in (first, log.drop(columns="propensity"), gap):
        assert words.sequence_sentence(found, replace(world, log=less)) == ""


def test_users_are_counted(effect):
    found = judged(effect, "assumed")
    lower = np.linspace(-0.5, 0.5, 11)
    found.__dict__["users"] = pd.DataFrame({"effect": lower, "lower": lower, "upper": lower + 0.3})
    said = words.users_sentence(found)
    assert "Of 11 users, 5 have an interval above zero and 2 one below" in said
    error = lower.std(ddof=1)  # of which the users' spread must be more than of noise
    for one, differs in ((error * 0.99, True), (error, False)):
        found.__dict__["mean"] = pd.Series({"error": one})
        assert words.users_sentence(found).startswith("Of 11") == differs
    found.users["effect"] = 0.1
    assert words.users_sentence(found) == "The effect is not found to differ between 11 users."


@pytest.mark.parametrize(
    ("status", "word"),
    [("identified", HOLDS), ("assumed", UNDECIDED), ("bounded", UNDECIDED), ("not identified", FAILS)],
)
def test_the_ladder_follows_the_status(effect, status, word):
    rungs = words.ladder(judged(effect, status))
    assert len(rungs) == 5 and rungs[0].word == word
    assert (rungs[4].word == NOT_TESTED) >= (status == "not identified")


@pytest.mark.parametrize(
    ("arm", "baseline", "trimmed", "word"),
    [(30, 31, 0.1, HOLDS), (29, 90, 0.0, FAILS), (90, 29, 0.0, FAILS), (90, 90, 0.11, FAILS)],
)
def test_arms_overlap_where_both_count_as_30_users_and_a_tenth_is_alone_at_most(
    effect, arm, baseline, trimmed, word
):
    overlap = replace(effect.identification.overlap, arm=arm, baseline=baseline, trimmed=trimmed)
    rung = words.ladder(judged(effect, "identified", overlap=overlap))[1]
    assert (rung.word, rung.value, rung.threshold) == (word, trimmed, 0.1)


def test_a_rung_is_as_bad_as_the_worst_of_its_checks(effect):
    good = Verdict("placebo arm", HOLDS, "nothing")
    for worse, word in (("dummy outcome", FAILS), ("no drift", UNDECIDED)):
        found = judged(effect, "identified", evidence=(good, Verdict(worse, word, "something")))
        rung = words.ladder(found)[2]
        assert rung.word == word and worse in rung.detail.lower()
    silent = judged(effect, "identified", evidence=(replace(good, word=NOT_TESTED),))
    assert words.ladder(silent)[2].word == NOT_TESTED
    assert words.ladder(silent)[3].word == NOT_TESTED


def test_the_audit_s_ratios_are_no_biases(effect):
    ratio = Verdict("chances add up", HOLDS, "x", 1.01, 0.9, 1.1, 1.0)
    bias = Verdict("placebo arm", HOLDS, "x", 0.01, -0.1, 0.1, 0.2)
    table = words.evidence_frame(judged(effect, "identified", evidence=(ratio, bias)).identification)
    assert table["lower"].isna().tolist() == [True, False]


def test_names_of_arms_and_reasons_are_escaped(effect):
    design = replace(effect.design, arm=EVIL, baseline=f"{EVIL}2")
    found = replace(
        judged(effect, "bounded", reasons=(EVIL,), remedies=(EVIL,), design=design), design=design
    )
    assert "<script" not in as_card(found.to_dict())


def test_columns_have_plain_words():
    assert column_words("run") == FEATURE_WORDS["run"]
    assert column_words("feature_spent_last_year") == "spent last year"
    assert column_words("missing: user: age") == "whether age is missing"
