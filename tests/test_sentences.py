"""The answer in words, from dictionaries and stand-ins: every case of a sentence, each number where it belongs."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import answer, words
from csrec_core.effect.answer import (
    amount_and_interval,
    as_dict,
    as_text,
    possible_range,
    sentences,
    tipping_sentence,
)
from csrec_core.effect.card import _bars, as_card
from csrec_core.effect.design import Design
from csrec_core.effect.overlap import Overlap
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, STATUSES, UNDECIDED, Verdict

BAND = [{"odds": odds, "lower": 0.1 - odds / 10, "upper": odds / 10} for odds in (1.0, 1.5, 2.0, 3.0)]
BASE = {
    "effect": 0.0766, "lower": 0.07, "upper": 0.083, "unit": "probability", "outcome": "acceptance", "arm": "b",
    "baseline": "a", "rates": {"a": 0.1062, "b": 0.1828}, "status": "identified",
    "reasons": ["drawn", "and more"], "band": [], "tipping": None, "benchmark": {"name": "", "odds": 1.0}, "checks": [],
    "remedies": [], "target": "exposed",
    "arms": {"a": {"exposures": 100, "accepted": 10}, "b": {"exposures": 200, "accepted": 30}},
}  # fmt: skip
SPENT = {
    "unit": "amount_spent",
    "outcome": "amount_spent",
    "rates": {"a": 10.26, "b": 13.5},
    "effect": 3.25,
    "lower": 1.0,
    "upper": 5.5,
}
DEFAULT = {"arm": "system", "baseline": "self"}
UNTOLD = {"effect": None, "lower": None, "upper": None, "rates": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "b, against a, raises acceptance by 7.7 points [7.0, 8.3], from 10.6% to 18.3%."),
        (DEFAULT, "Recommending raises acceptance by 7.7 points [7.0, 8.3], from 10.6% to 18.3%."),
        ({"arm": "system"}, "system, against a, raises acceptance by 7.7 points [7.0, 8.3], from 10.6% to 18.3%."),
        (
            {"status": "assumed", "effect": -0.03, "lower": -0.04, "upper": -0.02},
            "b, against a, lowers acceptance by 3.0 points [2.0, 4.0], from 10.6% to 18.3%, if its assumptions hold.",
        ),
        (
            {"lower": 0.0},
            "b, against a, changes acceptance by 7.7 points [0.0, 8.3], from 10.6% to 18.3%, not told "
            "apart from zero.",
        ),
        (
            {"effect": -0.01, "lower": -0.02, "upper": 0.0},
            "b, against a, changes acceptance by −1.0 points [−2.0, 0.0], from 10.6% to 18.3%, not told "
            "apart from zero.",
        ),
        (
            {"effect": 0.001, "lower": -0.01, "upper": 0.012},
            "b, against a, changes acceptance by 0.1 points [−1.0, 1.2], from 10.6% to 18.3%, not told "
            "apart from zero.",
        ),
        (
            {"lower": None, "upper": None},
            "b, against a, changes acceptance by 7.7 points (too few accepted for an interval), from 10.6% to 18.3%, "
            "not told apart from zero.",
        ),
        (SPENT, "b, against a, raises amount spent by 3.25 [1.00, 5.50], from 10.3 to 13.5."),
        (SPENT | {"outcome": None}, "b, against a, raises amount spent by 3.25 [1.00, 5.50], from 10.3 to 13.5."),
        ({"outcome": None}, "b, against a, raises acceptance by 7.7 points [7.0, 8.3], from 10.6% to 18.3%."),
        ({"outcome": "cured"}, "b, against a, raises cured by 7.7 points [7.0, 8.3], from 10.6% to 18.3%."),
        (
            {"status": "bounded", "band": BAND},
            "b, against a, changes acceptance by between −10.0 and 20.0 points if what is hidden moves the odds "
            "twofold; by 7.7 points [7.0, 8.3] if nothing is hidden.",
        ),
        (
            {"status": "bounded", "band": [{"odds": 2.0, "lower": None, "upper": None}]},
            "b, against a, changes acceptance by 7.7 points [7.0, 8.3] if nothing is hidden.",
        ),
        (
            {"status": "bounded", "band": BAND[:2]},
            "b, against a, changes acceptance by 7.7 points [7.0, 8.3] if nothing is hidden.",
        ),
        (
            UNTOLD | DEFAULT | {"status": "not identified"},
            "What recommending does to acceptance cannot be told from this log.",
        ),
        (UNTOLD, "What b, against a, does to acceptance cannot be told: too little was accepted in either arm."),
    ],
)  # fmt: skip
def test_the_headline_in_every_case(changes, said):
    assert sentences(BASE | changes)["headline"] == said


@pytest.mark.parametrize(
    ("changes", "letters"),
    [
        ({}, ("+7.7 points", "+7.0 to +8.3")), (UNTOLD, ("", "")), (SPENT, ("+3.25", "+1.00 to +5.50")),
        ({"status": "bounded", "band": BAND}, ("−10.0 to +20.0 points", "")), ({"lower": None}, ("+7.7 points", "")),
        ({"status": "bounded"}, ("+7.7 points", "+7.0 to +8.3")), ({"band": BAND}, ("+7.7 points", "+7.0 to +8.3")),
    ],
)  # fmt: skip
def test_the_largest_letters(changes, letters):
    assert amount_and_interval(BASE | changes) == letters


HIDDEN = {"band": BAND, "benchmark": {"name": "last", "odds": 1.456}}
BESIDE = " The decision before, the strongest column observed, moves them by 1.46."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (UNTOLD, "There is no effect to be explained away."),
        ({}, "The arm was drawn with known chances: nothing hidden can move it."),
        (
            HIDDEN,
            f"No hidden cause that moves the odds of an exposure by up to 20 explains the effect away.{BESIDE}",
        ),
        (HIDDEN | {"tipping": 1.0}, f"Zero is within the interval already, with nothing hidden.{BESIDE}"),
        (
            HIDDEN | {"tipping": 1.01},
            f"A hidden cause that moves the odds of an exposure by 1.01 would let zero in.{BESIDE}",
        ),
        (
            {"band": BAND, "tipping": 1.7},
            "A hidden cause that moves the odds of an exposure by 1.70 would let zero in.",
        ),
    ],
)
def test_how_strong_a_hidden_cause_would_have_to_be(changes, said):
    assert tipping_sentence(BASE | changes) == said


def test_band_checks_and_remedy_are_said_where_there_are():
    checks = [{"verdict": word} for word in (FAILS, HOLDS, HOLDS, NOT_TESTED, UNDECIDED)]
    said = sentences(BASE | HIDDEN | {"checks": checks, "remedies": ["log it", "or so"]})
    assert said["checks"] == "Checks: 2 hold, 1 undecided, 1 fails, 1 not tested."
    assert said["remedy"] == "What would settle it: log it."
    assert said["status"] == "Identified: drawn."
    start = (
        "If something hidden moves the odds of an exposure, the effect lies, in points, within [−5.0, 15.0] at "
        "1.5 times, [−10.0, 20.0] at 2 times, "
    )
    assert said["band"].startswith(start) and said["band"].endswith(BESIDE)
    assert set(sentences(BASE)) == {"headline", "status"}
    spent = sentences(BASE | SPENT | {"band": [*BAND[:2], {"odds": 2.0, "lower": None, "upper": None}]})
    assert spent["band"].startswith(
        "If something hidden moves the odds of an exposure, the effect lies, in its unit, within [−0.0500, 0.150] at "
        "1.5 times. "
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "anything from −85.0 to +15.0 points"), (SPENT, ""), ({"target": "uniform"}, ""), ({"arm": "c"}, ""),
        ({"arms": {"b": {"exposures": 0, "accepted": 0}}}, ""),
        ({"arms": {"b": {"exposures": 1, "accepted": 1}}}, "anything from 0.0 to +100.0 points"),
    ],
)  # fmt: skip
def test_an_arms_rate_alone_bounds_the_effect(changes, said):
    assert possible_range(BASE | changes) == said


def test_bars_are_as_long_as_their_rates():
    bars = _bars({"self": 0.1, "<b>": 0.4})
    assert ["width:100%" in bars[0], "width:25%" in bars[1]] == [True, True]
    texts = [re.sub("<[^>]*>", " ", bar).split() for bar in bars]
    assert texts == [["&lt;b&gt;", "40.0%"], ["found", "by", "oneself", "10.0%"]]
    assert all("width:0%" in bar for bar in _bars({"a": 0.0, "b": -0.1}))


# --- from an effect

REASONS = ("drawn", "two", "three", "four")


class Reported:
    """An effect as its answer reads one: six points, of 4 to 8, of the arm b against a."""

    def __init__(self, status="identified", **more):
        overlap = Overlap(50.0, 40.0, 0.125, 0.05, 0.75, 0.6, (1000, 600), (90, 80), (0.2, 0.301))
        evidence = (
            Verdict("placebo arm", HOLDS, "none", 0.01, -0.1, 0.1, 0.2),
            Verdict("no drift", FAILS, "some"),
        )
        self.design = Design("b", "a")
        self.identification = SimpleNamespace(
            status=status, reasons=REASONS, assumptions=("that",),
            remedies=("one", "two", "three", "four"), evidence=evidence, overlap=overlap, design=self.design,
            allows=status in ("identified", "assumed"), sentence="Identified: drawn.",
        )  # fmt: skip
        self.known = SimpleNamespace(binary=True, users=123, rows=1600)
        self.mean = pd.Series({"effect": 0.06, "lower": 0.04, "upper": 0.08, "error": 0.01})
        self.baseline, self.outcome, self.name, self.level = 0.2, "acceptance", "log", 0.95
        self.estimates = pd.DataFrame(
            {
                "name": ["doubly robust", "observed"],
                "effect": [0.06, 0.1],
                "lower": [0.04, 0.08],
                "upper": [0.08, 0.12],
            }
        )
        self.band = pd.DataFrame(
            {"odds": [1.0, 2.0], "lower": [0.04, -0.02], "upper": [0.08, 0.14], "least": 0.0}
        )
        self.tipping, self.benchmark = 1.5, ("last", 1.25)
        self.groups = {}
        self.over_time = pd.DataFrame(
            {"step": [1, 2], "last": [1, 5], "effect": [0.05, 0.07], "exposures": [80, 520]}
        )
        self.__dict__.update(more)

    def by(self, name):
        table = {"group": ["1", "2"], "effect": [0.1, 0.2], "lower": [0.05, np.nan], "upper": [0.15, np.nan]}
        return pd.DataFrame(table).assign(exposures=7)

    def to_dict(self):
        return as_dict(self)


def test_the_dictionary_of_an_answer_by_hand():
    found = as_dict(Reported())
    assert (found["effect"], found["lower"], found["upper"], found["unit"]) == (
        0.06,
        0.04,
        0.08,
        "probability",
    )
    assert found["rates"] == pytest.approx({"a": 0.2, "b": 0.26})
    assert found["arms"] == {
        "a": {"exposures": 1000, "accepted": 200},
        "b": {"exposures": 600, "accepted": 181},
    }
    assert (found["users"], found["exposures"], found["tipping"]) == (123, 1600, 1.5)
    assert found["benchmark"] == {"name": "last", "odds": 1.25}
    assert found["band"][1] == {"odds": 2.0, "lower": -0.02, "upper": 0.14}
    assert [one["effect"] for one in found["estimates"]] == [0.06, 0.1]
    assert found["checks"][1] == {
        "name": "no drift", "verdict": FAILS, "detail": "some", "value": None, "lower": None, "upper": None,
        "threshold": None,
    }  # fmt: skip


def test_what_is_not_identified_keeps_the_plain_difference_alone():
    found = as_dict(Reported("not identified"))
    assert [found[name] for name in ("effect", "lower", "upper", "rates", "tipping", "band")] == [
        None
    ] * 5 + [[]]
    assert [one["effect"] for one in found["estimates"]] == [None, 0.1]


def test_other_outcomes_are_summed_and_other_arms_told():
    spent = Reported(known=SimpleNamespace(binary=False, users=1, rows=2), outcome="spend")
    assert as_dict(spent)["arms"]["b"]["accepted"] == pytest.approx(600 * 0.301)
    assert as_dict(spent)["unit"] == "spend"
    empty = Reported()
    empty.identification.overlap = Overlap(0, 0, 0, 0, 0, 0, (0, 600), (0, 80), (np.nan, 0.5))
    assert as_dict(empty)["arms"]["a"] == {"exposures": 0, "accepted": 0}
    other = Reported("assumed", design=Design("c", "a"))
    other.identification.design = other.design
    found = as_dict(Reported(), [other])
    assert list(found["arms"]) == ["a", "c", "b"]
    assert found["pairs"] == [
        {"arm": "c", "effect": 0.06, "lower": 0.04, "upper": 0.08, "status": "assumed", "reasons": list(REASONS)}
    ]  # fmt: skip


def test_a_screen_lists_three_of_each():
    effect = Reported(groups={"rank": None})
    lines = as_text(effect, [Reported("assumed")]).splitlines()
    assert lines[0].startswith(
        "b, against a, raises acceptance by 6.0 points [4.0, 8.0], from 20.0% to 26.0%"
    )
    assert lines[2:4] == ["  also: two.", "  also: three."]
    assert "  fails: no drift: some" in lines and "  - three" in lines and "  - four" not in lines
    also = next(
        line for line in lines if line.startswith("Also: b, against a, raises acceptance by 6.0 points")
    )
    assert also.endswith("if its assumptions hold. Assumed.")
    assert "By rank in the list: 1: 10.0 [5.0, 15.0]." in lines
    assert lines[-1] == (
        "1,600 exposures of 123 users (a 1,000, b 600). The mean is of the same item at the same history, exposed by "
        "one arm or by the other; the items that the arm exposed, every exposure equally."
    )
    other = Reported("assumed", design=Design("c", "a"))
    other.identification.design = other.design
    assert "1,600 exposures of 123 users (a 1,000, b 600)." in as_text(
        effect, [other]
    )  # c's are none of them
    bounded = as_text(Reported("bounded", groups={"rank": None}))
    assert "By rank" not in bounded
    assert "By rank" not in as_text(Reported())


def test_the_table_of_an_answer_by_hand():
    table = answer._as_table(Reported(groups={"genre": None, "step": None}))
    assert table[["grouping", "group"]].to_numpy().tolist() == [
        ["overall", "all"], ["exposure number", "1"], ["exposure number", "2 to 5"], ["genre", "1"], ["genre", "2"],
        ["step", "1"], ["step", "2"],
    ]  # fmt: skip
    assert table.index.tolist() == [0, 1, 2, 3, 4, 5, 6]  # the rows' numbers, which its file leaves out
    assert table["exposures"].tolist() == [600, 80, 520, 7, 7, 7, 7]
    assert table["effect"].tolist() == [0.06, 0.05, 0.07, 0.1, 0.2, 0.1, 0.2]
    assert len(answer._as_table(Reported("bounded", groups={"genre": None}))) == 1
    untold = answer._as_table(Reported("not identified"))
    assert untold["effect"].isna().all() and untold["exposures"].tolist() == [600]


@pytest.mark.parametrize(
    ("lower", "upper", "word"),
    [
        (0.1, 0.2, "grows"), (-0.2, -0.1, "falls"), (0.0, 0.2, "is not found to change"),
        (-0.2, 0.0, "is not found to change"), (-0.1, 0.2, "is not found to change"),
    ],
)  # fmt: skip
def test_the_trend_in_a_word_and_in_a_sentence(lower, upper, word):
    effect = Reported(trend=pd.Series({"effect": (lower + upper) / 2, "lower": lower, "upper": upper}) / 100)
    assert words.over_time_tile(effect) == f"It {word} over exposures (band: its interval)."
    said = words.over_time_sentence(effect)
    assert said.startswith(f"The effect {word} by ") if "found" not in word else said == ""
    if word == "falls":
        assert said == (
            "The effect falls by 1.5 points [1.0, 2.0] every ten exposures: from +5.0 at the first to "
            "+7.0 at exposure 2."
        )
    once = Reported(trend=effect.trend, over_time=effect.over_time[:1])
    assert words.over_time_sentence(once) == words.over_time_tile(once) == ""  # one step is nothing over time
    assert words.tells_over_time(effect) and not words.tells_over_time(once)


def test_a_status_heads_pages_with_its_own_word_and_two_let_parts_be_told():
    assert all(one.heading.startswith(f"{name.capitalize()}: ") for name, one in STATUSES.items())
    assert [name for name, one in STATUSES.items() if one.parts] == ["identified", "assumed"]


def test_what_stands_behind_an_effect_by_hand(monkeypatch):
    effect = Reported()
    assert words.rows_behind(effect) == "600 exposures of 80 users against 1,000"
    table = words.overlap_rows(effect.identification).set_index("what")
    assert table.to_numpy().tolist() == [
        ["1,000", "600"], ["90", "80"], ["20.0%", "30.1%"], ["40", "50"], ["12.5%", "–"], ["–", "5.0%"], ["–", "75.0%"],
    ]  # fmt: skip
    assert list(table.columns) == ["a", "b"]
    spent = words.overlap_rows(effect.identification, binary=False).set_index("what")
    assert spent.loc["mean outcome"].tolist() == ["0.200", "0.301"]
    reach = {"effect": [0.0, 0.05], "lower": 0.01, "upper": 0.09, "k": [1, 3], "chosen": [False, True]}
    monkeypatch.setattr(words, "sequential_effect", lambda dataset, design: pd.DataFrame(reach))
    said = words.sequence_sentence(effect, None)
    assert said.endswith(
        "at uniformly drawn items is +5.0 points [+1.0, +9.0]; the weights reach back 3 exposures."
    )


@pytest.mark.parametrize(
    ("status", "tipping", "word", "value"),
    [
        ("bounded", 1.26, HOLDS, 1.26), ("bounded", 1.25, UNDECIDED, 1.25), ("bounded", 1.0, NOT_TESTED, 1.0),
        ("bounded", 1.01, UNDECIDED, 1.01), ("bounded", np.inf, HOLDS, 20.0), ("identified", np.nan, HOLDS, None),
        ("not identified", 3.0, NOT_TESTED, None),
    ],
)  # fmt: skip
def test_the_last_rung_compares_a_hidden_cause_with_the_strongest_column(status, tipping, word, value):
    rung = words.ladder(Reported(status, tipping=tipping))[4]
    assert rung.word == word
    if value:
        assert (rung.value, rung.threshold) == (value, 1.25)


def test_the_rungs_by_hand():
    rungs = words.ladder(Reported())
    assert [one.severity for one in rungs] == ["decisive", "decisive", "serious", "minor", "minor"]
    assert rungs[1].detail == (
        "Weighted to be alike, the arms count as 50 and 40 users; 5% of the exposures have nothing to be compared with."
    )
    assert (rungs[2].word, rungs[2].detail) == (FAILS, "No drift: some")
    assert (rungs[3].word, rungs[3].detail) == (NOT_TESTED, "No check was made.")
    table = words.evidence_frame(Reported().identification)
    assert table["value"].tolist()[0] == 0.01 and len(table) == 2


@pytest.mark.parametrize(
    ("status", "letters", "bars"),
    [
        ("identified", "6.0 points", 2), ("assumed", "6.0 points", 2),
        ("bounded", "−2.0 to +14.0 points", 0), ("not identified", "", 0),
    ],
)  # fmt: skip
def test_the_card_of_every_status(status, letters, bars):
    effect = Reported(status, level=0.9)
    card = as_card(effect.to_dict())
    assert (f">{letters}</span>" in card) == ("amount" in card) == bool(letters)
    assert ("90% interval 4.0 to 8.0" in card) == (bars == 2) == ("30% more, relatively; same" in card)
    assert card.count('class="bar"') == bars
    assert f"<strong>{STATUSES[status].heading}.</strong> Drawn." in card
    assert card.count("<li>") == 4 and sentences(effect.to_dict())["headline"].replace("'", "&#x27;") in card
    assert ("If something hidden" in card) == (status != "not identified")
    spent = Reported(status, known=SimpleNamespace(binary=False, users=1, rows=2))
    assert 'class="bar"' not in as_card(spent.to_dict())
