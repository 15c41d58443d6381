"""The judge and the audit of chances, by hand: every status, obstacle and reason; ratios summed up user by user."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from csrec_core.effect import audit
from csrec_core.effect.audit import audit_arms, audit_items, audit_reading
from csrec_core.effect.design import Design
from csrec_core.effect.identification import judge
from csrec_core.effect.overlap import Overlap, measure_overlap, tally_overlap
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict

OVERLAP = Overlap(500.0, 400.0, 0.01, 0.0, 1.0, 0.6, (1000, 800), (200, 180), (0.2, 0.3))
ROWS = pd.DataFrame(
    {"user": 1, "arm": [0, 1, -1], "decision": [0.0, 2.0, 1.0], "arm_propensity": np.nan, "time": 0}
)
ARM = Design("b", "a", estimand="arm", target="everyone")
ITEM = Design("b", "a")


def chances(kind="none", own=(0.5, 0.5, np.nan), unlogged=(0, 0)):
    return SimpleNamespace(kind=kind, own=np.array(own), unlogged=unlogged)


def judged(design=ITEM, known=None, overlap=OVERLAP, found=(), *, given=False, rows=ROWS, **more):
    known, more = known or chances(), {"binary": True} | more
    return judge(design, known, overlap, found, arm_given=given, rows=rows, **more)


READ = Verdict("chances follow", HOLDS, "they do", severity="serious")
CLAIMED = {"confounders": ("x", "y")}


@pytest.mark.parametrize(
    ("design", "known", "more", "status", "reason", "remedy"),
    [
        (ARM, None, {"given": True}, "identified", "b and a were drawn with known chances", None),
        (
            replace(ARM, arm_chances="estimated"),
            None,
            {"given": True},
            "assumed",
            "the chances of the arms are estimates",
            "log the chance with",
        ),
        (ARM, None, {}, "bounded", "the choice of b follows preferences", "log the chance with"),
        (
            replace(ARM, **CLAIMED),
            None,
            {},
            "assumed",
            "x, y are declared to hold all that moves both the choice of b",
            "log the chance with",
        ),
        (
            ITEM,
            chances("uniform"),
            {},
            "identified",
            "the items of both arms were drawn with known chances",
            None,
        ),
        (
            ITEM,
            chances("by item"),
            {},
            "identified",
            "the items of both arms were drawn with known chances",
            None,
        ),
        (
            replace(ITEM, propensity="estimated"),
            chances("by item"),
            {},
            "assumed",
            "the chances of the items are estimates",
            "log the chances with which",
        ),
        (ITEM, chances("varying"), {"read_off": READ}, "identified", "the items of both arms", None),
        (
            ITEM,
            chances("varying"),
            {"read_off": replace(READ, word=UNDECIDED)},
            "assumed",
            "the chances of b vary, and at the exposures of a they are modelled",
            "log at every exposure of a",
        ),
        (
            ITEM,
            chances("varying"),
            {"read_off": replace(READ, word=FAILS)},
            "bounded",
            "the chances of b vary",
            "log at every exposure of a",
        ),
        (
            ITEM,
            chances("frequency", unlogged=(0, 1234)),
            {},
            "bounded",
            "the items of b have no logged chances",
            "log the propensity of 1,234 exposures by b",
        ),
        (
            replace(ITEM, **CLAIMED),
            chances("frequency", unlogged=(0, 2)),
            {},
            "assumed",
            "the items of b have no logged chances",
            "log the propensity of 2 exposures by b",
        ),
        (
            ITEM,
            chances(unlogged=(1500, 0)),
            {},
            "bounded",
            "what a and b expose follows preferences",
            "log the propensity of the 1,500 exposures of a that have none",
        ),
        (ITEM, chances(), {}, "bounded", "what a and b expose follows", "or declare the columns"),
        (
            replace(ITEM, propensity="unused"),
            chances(unlogged=(3, 0)),
            {},
            "bounded",
            "what a and b expose",
            "use the logged chances",
        ),
        # At uniformly drawn items the own chances of all rows of the two arms are enough.
        (replace(ITEM, target="uniform"), chances(), {}, "identified", "the items of both arms", None),
        (
            replace(ITEM, target="uniform"),
            chances(unlogged=(0, 4)),
            {},
            "bounded",
            "the items of b have no",
            "log the propensity of 4",
        ),
        (
            replace(ITEM, target="uniform"),
            chances(unlogged=(5, 0)),
            {},
            "bounded",
            "the items of b have no",
            "log the propensity of 0",
        ),
        (
            replace(ITEM, target="uniform"),
            chances(own=(0.5, np.nan, 0.5)),
            {},
            "bounded",
            "what a and b expose",
            "or declare",
        ),
    ],
)
def test_a_design_has_its_status_its_reason_and_its_remedy(design, known, more, status, reason, remedy):
    found = judged(design, known, **more)
    assert found.status == status
    assert found.reasons[0].startswith(reason)
    assert found.remedies[0].startswith(remedy) if remedy else not found.remedies
    assert found.sentence == f"{status.capitalize()}: {found.reasons[0]}."
    assert found.allows == (status in ("identified", "assumed"))
    assert len(found.assumptions) >= 1
    assert found.evidence == ((more["read_off"],) if "read_off" in more else ())


SOUND = chances("uniform")


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"accepted": (0.0, 0.3)}, "not identified", "the exposures of a are all rejected"),
        ({"accepted": (0.2, 1.0)}, "not identified", "the exposures of b are all accepted"),
        ({"support": 0.49}, "not identified", "51% of the exposures by b are of items that a never exposes, so"),
        ({"support": 0.5}, "assumed", "the items of both arms"),
        ({"support": 0.94}, "assumed", "the items of both arms"),
        ({"support": 0.95}, "identified", "the items of both arms"),
        ({"baseline": 29.9}, "not identified", "weighted to look like those of b, the exposures of a count as those"),
        ({"baseline": 30.0}, "identified", "the items of both arms"),
        ({"arm": 29.9}, "not identified", "the exposures of b count as those of 30 users"),
        ({"arm": 30.0}, "identified", "the items of both arms"),
        ({"trimmed": 0.51}, "not identified", "what is known before a decision tells the arms apart (AUC 0.60;"),
        ({"trimmed": 0.5}, "identified", "the items of both arms"),
        ({"auc": 0.981}, "not identified", "what is known before a decision tells the arms apart (AUC 0.98;"),
        ({"auc": 0.98}, "identified", "the items of both arms"),
    ],
)  # fmt: skip
def test_what_keeps_an_effect_from_being_told(changes, status, reason):
    found = judged(ITEM, SOUND, replace(OVERLAP, **changes))
    assert (found.status, found.reasons[0][: len(reason)]) == (status, reason)
    told = [one for one in found.reasons if "left to the model" in one]
    assert told == [
        f"{1 - changes.get('support', 1):.0%} of the exposures by b are of items that a never exposes: they "
        "are left to the model"
    ] * (status == "assumed")


#: Of the four users that the arm exposes two, or one, meet the baseline as well.
HALF = pd.DataFrame({
    "user": [1, 2, 3, 4, 1, 2, 9], "arm": [1, 1, 1, 1, 0, 0, 0], "decision": 1.0, "arm_propensity": np.nan,
})  # fmt: skip
FEW = HALF[HALF.index != 5]


@pytest.mark.parametrize(
    ("changes", "rows", "status"),
    [
        ({}, HALF, "identified"),
        ({}, FEW, "bounded"),
        ({"propensity": "estimated"}, HALF, "assumed"),
        ({"propensity": "estimated"}, FEW, "bounded"),
        ({"confounders": ("x",)}, FEW, "assumed"),
        ({"arm_propensity": 0.5}, FEW, "identified"),
        ({}, FEW.assign(arm_propensity=0.5), "identified"),
        ({"arm_chances": "estimated"}, FEW.assign(arm_propensity=0.5), "bounded"),
    ],
)
def test_chances_of_items_do_not_tell_who_is_of_which_arm(changes, rows, status):
    found = judged(replace(ITEM, **changes), SOUND, rows=rows)
    assert found.status == status
    lowered = rows is not HALF and status != "identified"
    assert lowered == found.reasons[0].startswith(
        "75% of the exposures by b are of users whom a never exposes"
    )
    if lowered:
        assert found.remedies[0].startswith("log the chance with which each exposure, or user, got b")
        assert found.assumptions[-1].startswith("which users are of b")
    # The items' chances say nothing of the arm, of which the effect at the same item is.
    assert any(one.startswith("at the same history, which arm exposes") for one in found.assumptions)


def marked(both=30, of=300, side=1, odd=0):
    """Rows of two arms; on one side a column ranks the decisions, but for `odd` of its rows, its first ones."""
    user = np.arange(2 * of)
    rows = pd.DataFrame({"user": user % of, "arm": user // of, "arm_propensity": np.nan, "time": 7.0})
    rows["decision"] = (user % of < both).astype(float)
    clear = (rows["arm"] == side) & (user % of >= odd)
    return rows.assign(feature_dwell=np.where(clear, rows["decision"], 0.0))


@pytest.mark.parametrize(
    ("rows", "auc"),
    [
        (marked(), 1.0),
        (marked(side=0), 1.0),
        (marked(of=50), None),  # too few were rejected
        (marked(both=29), None),
        (marked(odd=1), 59 / 60),  # half of a thirtieth of the pairs are ties
        (marked(odd=2), None),
        (marked().assign(feature_dwell=lambda one: -one["feature_dwell"]), 1.0),
        (marked().assign(feature_dwell=0.0), None),
    ],
)
def test_a_column_that_tells_the_decision_was_not_known_before(rows, auc):
    found = judged(ITEM, SOUND, rows=rows)
    assert found.status == ("identified" if auc is None else "not identified")
    if auc is not None:
        why = f"feature_dwell all but tells the decision (AUC {auc:.2f}), as what is measured after it does"
        assert found.reasons == (why,)
        assert found.remedies == ("leave feature_dwell out, unless it is known before the decision",)


def test_a_time_that_tells_the_decision_is_not_that_of_the_exposure():
    rows = marked().drop(columns="feature_dwell")
    found = judged(ITEM, SOUND, rows=rows.assign(time=rows["user"] + 1000 * rows["decision"]))
    assert found.status == "not identified" and found.reasons[0].startswith("the time all but tells")
    assert found.remedies == ("map the time of the exposure, not that of the decision",)


def test_an_outcome_is_told_by_its_larger_half():
    rows = marked(both=150).assign(decision=lambda one: 3.0 + one["decision"])
    assert judged(ITEM, SOUND, rows=rows, binary=False).status == "not identified"


def test_what_tells_the_arms_apart_is_named():
    rows = marked(of=40).rename(columns={"feature_dwell": "feature_noise"}).assign(feature_noise=0.0)
    rows["feature_page"] = 3.0 - rows["arm"]
    found = judged(ITEM, SOUND, replace(OVERLAP, auc=1.0), rows=rows)
    assert found.reasons[0].startswith(
        "what is known before a decision, feature_page, tells the arms apart (AUC 1"
    )
    # Items that one arm alone exposes are beyond comparison, but no column tells the arms apart.
    apart = judged(ITEM, SOUND, replace(OVERLAP, support=0.1, trimmed=0.9, auc=0.5), rows=rows)
    assert len(apart.reasons) == 1 and "nothing to compare" in apart.reasons[0]


def test_arms_that_a_column_tells_apart_may_have_been_drawn_before_it_was_measured():
    moved = Verdict("nothing known before tells the arms apart", FAILS, "x does", severity="decisive")
    found = judged(ARM, given=True, found=[moved])
    assert found.status == "not identified"
    assert (
        found.remedies[0] == "leave out columns that are measured after the arm was drawn, if there are such"
    )


def test_one_declared_column_is_one():
    found = judged(replace(ITEM, confounders=("x",)))
    assert found.reasons[0].startswith("x is declared to hold all that moves both")


def test_rates_of_no_yes_or_no_are_no_obstacle():
    assert judged(ITEM, SOUND, replace(OVERLAP, accepted=(0.0, 1.0)), binary=False).status == "identified"


@pytest.mark.parametrize(
    ("word", "severity", "status"),
    [
        (FAILS, "decisive", "not identified"), (FAILS, "serious", "identified"), (UNDECIDED, "decisive", "assumed"),
        (UNDECIDED, "serious", "identified"), (HOLDS, "decisive", "identified"),
    ],
)  # fmt: skip
def test_the_audit_has_its_say(word, severity, status):
    found = judged(ITEM, SOUND, found=[Verdict("adds up", word, "it does not", severity=severity)])
    assert found.status == status
    if status == "not identified":
        assert found.reasons == ("the logged chances do not fit the log, adds up: it does not",)
        declared = judged(
            replace(ARM, arm_propensity=0.5),
            found=[Verdict("comes", FAILS, "no", severity=severity)],
            given=True,
        )
        assert declared.reasons == ("the declared chances do not fit the log, comes: no",)
    if status == "assumed":
        assert found.reasons[0] == "the audit is undecided, adds up: it does not"


Z = norm.ppf(0.975)


@pytest.mark.parametrize(
    ("changes", "binary", "exposures", "within"),
    [
        # Half for each arm: the variance is 2 (p q + p' q') / n; 4.5 rows of a user, correlated .05.
        ({}, True, 2 * (0.16 + 0.21) * (1 + 0.05 * 3.5) * (Z / 0.01) ** 2, "a point"),
        ({"accepted": (0.0, 0.3)}, True, 2 * (0.25 + 0.21) * 1.175 * (Z / 0.01) ** 2, "a point"),
        ({"accepted": (0.2, 1.0)}, True, 2 * (0.16 + 0.25) * 1.175 * (Z / 0.01) ** 2, "a point"),
        ({"rows": (10, 10), "users": (20, 20)}, True, 2 * 0.37 * (Z / 0.01) ** 2, "a point"),
        ({"rows": (9, 9), "users": (1, 1)}, True, 2 * 0.37 * 1.4 * (Z / 0.01) ** 2, "a point"),
        ({"rows": (9, 9), "users": (0, 0)}, True, 2 * 0.37 * 1.4 * (Z / 0.01) ** 2, "a point"),
        # Of another outcome, to a twentieth of its spread, whatever that is.
        ({}, False, 2 * 2 * 1.175 * (20 * Z) ** 2, "0.0408"),
    ],
)
def test_how_many_exposures_of_a_trial_settle_it(changes, binary, exposures, within):
    remedies = judged(ITEM, SOUND, replace(OVERLAP, baseline=20.0, **changes), binary=binary).remedies
    # What was all accepted, or all rejected, comes before it.
    assert remedies[len(remedies) - 1 if remedies[0].startswith("log those") else 0] == (
        f"draw the arm of {exposures:,.0f} exposures at random, b or a with even chances: the effect is then known to "
        f"within {within}"
    )


def test_overlap_by_hand():
    scores = pd.DataFrame({
        "arm": [0, 0, 0, 1, 1, -1],
        "user": [1, 1, 2, 2, 3, 4],
        "decision": [1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
        "trimmed": [False, False, False, True, False, False],
        "w0": [1.0, 2.0, 2.5, 0.0, 0.0, 9.0],
        "e": [0.1, 0.6, 0.3, 0.6, 0.9, 0.0],
    })  # fmt: skip
    one, other = (tally_overlap(part) for part in (scores, scores.iloc[:0]))
    assert one["sides"].tolist() == [[3, 2, 2, 0], [2, 2, 1, 1]]
    assert (float(one["largest"]), float(other["largest"])) == (9.0, 0.0)
    sums = {"all": np.arange(7.0), "all cross": np.diag([1.0, 1, 1, 4, 1, 2, 1])}
    # Items: exposed twice by the baseline and thrice by the arm; never and once; once and once.
    counts = SimpleNamespace(rows=np.array([[[1, 3], [0, 1], [0, 1]], [[1, 0], [0, 0], [1, 0]]]))
    found = measure_overlap([one, other], sums, counts, scores, ITEM)
    assert found == Overlap(
        9 / 4,
        25 / 2,
        9 / 5,
        1 / 2,
        4 / 5,
        roc_auc_score([0, 0, 0, 1, 1], scores["e"][:5]),
        (3, 2),
        (2, 2),
        (2 / 3, 1 / 2),
    )
    assert np.isnan(measure_overlap([one], sums, counts, scores, ARM).support)
    assert measure_overlap([one], sums, counts, scores[:3], ITEM).auc == 1.0


BOUNDED = judged(ITEM, chances())
ASSUMED = judged(replace(ITEM, **CLAIMED), chances())
TOLD = judged(ITEM, SOUND)
UNTOLD = judged(ITEM, SOUND, replace(OVERLAP, auc=1.0))


@pytest.mark.parametrize(
    ("before", "word", "severity", "p", "status"),
    [
        (TOLD, FAILS, "serious", np.nan, "bounded"), (TOLD, FAILS, "serious", 0.0009, "bounded"),
        (TOLD, FAILS, "serious", 0.001, "identified"), (TOLD, FAILS, "decisive", np.nan, "not identified"),
        (TOLD, FAILS, "minor", np.nan, "identified"), (TOLD, UNDECIDED, "serious", 0.0001, "identified"),
        (ASSUMED, FAILS, "serious", 0.04, "bounded"), (ASSUMED, FAILS, "decisive", 0.04, "not identified"),
        (ASSUMED, HOLDS, "serious", 0.5, "assumed"), (BOUNDED, FAILS, "serious", 0.04, "bounded"),
        (UNTOLD, FAILS, "serious", 0.0001, "not identified"),
    ],
)  # fmt: skip
def test_what_checks_leave_of_a_status(before, word, severity, p, status):
    check = Verdict("placebo arm", word, "it does", severity=severity, p=p)
    found = before.after([check])
    assert found.status == status and found.evidence == (*before.evidence, check)
    lowered = severity != "minor" and word == FAILS and before is not UNTOLD and status != "identified"
    more = ("a check speaks against it, placebo arm: it does",) if lowered else ()
    assert found.reasons == (*more, *before.reasons)
    worse = replace(check, name="both", severity="decisive", word=FAILS, p=np.nan)
    both = before.after([check, worse])
    assert both.status == "not identified"
    first = "placebo arm" if severity == "decisive" else "both"  # the decisive ones come first
    assert before is UNTOLD or both.reasons[0] == f"a check speaks against it, {first}: it does"


@pytest.mark.parametrize("name", ["no drift", "negative control outcome", "users of either arm are alike"])
def test_what_no_chances_rule_out_is_open_to_its_checks_at_their_level(name):
    check = Verdict(name, FAILS, "it does", severity="serious", p=0.005)
    assert TOLD.after([check]).status == "bounded"
    assert TOLD.after([replace(check, word=UNDECIDED)]).status == "identified"
    assert judged(ARM, given=True).after([check]).status == "identified"


# --- the audit


def ratio(found, expected, user):
    """sum(found) / sum(expected), its standard error around 1, users' worth and p, added up user by user."""
    table = pd.DataFrame({"user": user, "found": found, "expected": expected}).groupby("user").sum()
    total = table["expected"].sum()
    value, error = (
        table["found"].sum() / total,
        np.sqrt(((table["found"] - table["expected"]) ** 2).sum()) / total,
    )
    worth = table["found"].sum() ** 2 / (table["found"] ** 2).sum()
    return value, error, worth, 2 * student.sf(abs(value - 1) / error, worth - 1) if error else 1.0


@pytest.mark.parametrize(
    ("value", "error", "worth", "p", "word"),
    [
        (1.0, 0.01, 1000.0, 0.9, HOLDS),
        (1.09, 0.001, 1000.0, 0.9, HOLDS),
        (1.11, 0.001, 1000.0, 0.0005, FAILS),
        (0.89, 0.001, 1000.0, 0.0005, FAILS),
        (1.2, 0.001, 1000.0, 0.0011, UNDECIDED),  # one of many questions: a failure must be sure
        (1.2, 0.001, 49.9, 0.0005, UNDECIDED),
        (1.2, 0.001, 50.0, 0.0005, FAILS),
        (1.1, 0.1, 1000.0, 0.011, HOLDS),  # wide, and no sign against it
        (1.1, 0.1, 1000.0, 0.01, UNDECIDED),
        (1.2, 0.001, 1000.0, 0.001, FAILS),
        (1.0, 0.2539, 1000.0, 0.5, HOLDS),  # a half-width of .498
        (1.0, 0.2559, 1000.0, 0.5, NOT_TESTED),  # of .502
        (1.0, 0.05, 2.0, 0.5, NOT_TESTED),  # Student's t with one degree of freedom is 12.7 at 97.5%
        (1.0, 0.05, 0.5, 0.5, NOT_TESTED),
        (1.0, 0.05, 3.0, 0.5, HOLDS),  # with two it is 4.3
    ],
)
def test_a_ratio_is_judged(value, error, worth, p, word):
    found = audit._judge_ratio("name", audit._Ratio(value, error, worth, p), "it comes")
    assert (found.word, found.severity, found.p, found.threshold) == (word, "decisive", p, 1.0)
    half = student.ppf(0.975, max(worth - 1, 1)) * error
    assert (found.value, found.lower, found.upper) == pytest.approx((value, value - half, value + half))
    assert found.detail.startswith(
        f"it comes: {value:.2f} times what its chances say, from {value - half:.2f} to"
    )
    other = audit._judge_ratio("name", audit._Ratio(value, error, worth, p), "it comes", p=0.5)
    assert other.p == 0.5


def sampled(users=60, rows=8, items=10, seed=3):
    """A log of two arms: the baseline's items by unequal chances, the arm's by even ones; a genre for two items."""
    rng = np.random.default_rng(seed)
    chance = np.linspace(1, 3, items)
    chance /= chance.sum()
    count = users * rows
    arm = (np.arange(count) % rows + np.arange(count) // rows) % 2
    item = np.where(arm == 1, rng.integers(items, size=count), rng.choice(items, size=count, p=chance))
    known = np.where(arm == 1, 1 / items, chance[item])
    return pd.DataFrame({
        "user": np.repeat(np.arange(users), rows), "arm": arm, "item": 100 + item, "genre": item // 2,
        "propensity": known,
    })  # fmt: skip


def test_the_audit_of_items_by_hand():
    rows = sampled(users=150)
    found = audit_items(rows, ITEM, catalogue=10)
    assert [one.name for one in found] == [
        f"chances of {arm} {what}"
        for arm in "ab"
        for what in ("add up", "predict its items", "know what users prefer")
    ]
    before = rows.groupby("user")["genre"].shift()
    for side in (0, 1):
        own = rows[rows["arm"] == side]
        user, inverse = own["user"].to_numpy(), 1 / own["propensity"].to_numpy()
        adds, items, prefers = found[3 * side : 3 * side + 3]
        value, _, _, p = ratio(inverse, np.full(len(own), 10.0), user)
        assert (adds.value, adds.p) == pytest.approx((value, p))
        assert not (adds.word == FAILS or prefers.word == FAILS)
        # Popularity, by every second user; the fifths hold two items each.
        code = pd.factorize(own["user"])[0]
        often = own[code % 2 == 0]["item"].value_counts().reindex(range(100, 110), fill_value=0)
        fifths = often.sort_values(kind="stable").index.to_numpy().reshape(5, 2)
        rest, weight = own[code % 2 == 1], inverse[code % 2 == 1]
        parts = [
            ratio(weight * rest["item"].isin(fifth), np.full(len(rest), weight.mean() / 5), rest["user"])
            for fifth in fifths
        ]
        worst = min(parts, key=lambda one: one[3])
        assert items.value == pytest.approx(worst[0])
        assert items.p == pytest.approx(min(1, 5 * worst[3]))
        # The genre before, by any arm: each genre is a fifth of the items.
        had = before[own.index]
        known = had.notna().to_numpy()
        again = (inverse * (own["genre"] == had))[known]
        value, _, _, p = ratio(again, np.full(known.sum(), inverse[known].mean() / 5), user[known])
        assert (prefers.value, prefers.p) == pytest.approx((value, p))


def test_chances_of_a_part_of_the_catalogue_are_audited_against_it():
    def adds_up(rows, catalogue):
        return audit_items(rows, ITEM, catalogue=catalogue)[3]

    rows = sampled()
    assert adds_up(rows, 13).value == pytest.approx(10 / 13)  # ten items are more than three quarters of 13
    assert adds_up(rows, 14).value == pytest.approx(1.0)  # and fewer than those of 14
    # The arm draws from five of the ten items: its chances say so, and it has shown no others.
    few = rows[(rows["arm"] == 0) | (rows["item"] < 105)].assign(
        propensity=lambda one: one["propensity"].where(one["arm"] == 0, 0.2)
    )
    assert adds_up(few, 10).value == pytest.approx(1.0)
    # Where the whole is smaller than what is implied it is no failure: users may have been offered some items only.
    wrong = rows.assign(propensity=rows["propensity"].where(rows["arm"] == 0, 0.125))
    found = adds_up(wrong, 10)
    assert (found.word, found.severity, found.value) == (UNDECIDED, "minor", pytest.approx(0.8))
    over = adds_up(rows.assign(propensity=rows["propensity"].where(rows["arm"] == 0, 0.05)), 10)
    assert (over.word, over.severity, over.value) == (FAILS, "decisive", pytest.approx(2.0))


@pytest.mark.parametrize(("slate", "severity"), [(0.1, "decisive"), (0.12, "minor"), (0.11, "decisive")])
def test_a_baseline_that_implies_fewer_items_than_the_arm_is_not_let_pass(slate, severity):
    """Eight of ten items by the baseline's chances; the arm's imply ten, eight and a third, or nine."""
    rows = sampled(users=400)
    even = np.where(rows["arm"] == 1, slate, rows["propensity"] / 0.8)
    found = audit_items(rows.assign(propensity=even), ITEM, catalogue=10)[0]
    own = rows[rows["arm"] == 0]
    assert found.value == pytest.approx(0.8 * (1 / own["propensity"]).mean() / 10)
    assert (found.word, found.severity) == (UNDECIDED, severity)


@pytest.mark.parametrize(("offered", "word"), [(4, UNDECIDED), (12, FAILS)])
def test_of_few_items_that_a_user_is_offered_a_genre_comes_again_more_often(offered, word):
    """By right chances, even among four of twelve items; or by ones that claim all twelve for the same four."""
    rng = np.random.default_rng(5)
    users, length = 150, 12
    slate = np.array([rng.permutation(12)[:4] for _ in range(users)])
    user = np.repeat(np.arange(users), length)
    item = slate[user, rng.integers(4, size=users * length)]
    rows = pd.DataFrame({"user": user, "arm": np.arange(len(user)) % 2, "item": item, "genre": item})
    found = audit_items(rows.assign(propensity=1 / offered), ITEM, catalogue=12)
    assert [found[at].word for at in (2, 5)] == [word, word]
    # One of four, where one of twelve was to be expected.
    assert [found[at].value for at in (2, 5)] == pytest.approx([3, 3], abs=0.5)


def test_what_chances_imply_decides_whether_other_arms_items_count():
    rows = sampled()
    # Five of ten items were shown by the arm, by chances of one in ten: the others were offered as well.
    few = rows[(rows["arm"] == 0) | (rows["item"] < 105)]
    assert audit_items(few, ITEM, catalogue=10)[3].value == pytest.approx(1.0)
    # Six of eight are three quarters, and no part.
    assert audit_items(sampled(items=6), ITEM, catalogue=8)[3].value == pytest.approx(0.75)


def test_what_is_too_little_for_the_audit_is_not_tested():
    few = audit_items(sampled(users=19), ITEM, catalogue=10)
    assert [(one.name, one.word) for one in few] == [
        (f"chances of {a} predict its items", NOT_TESTED) for a in "ab"
    ]
    assert len(audit_items(sampled(users=20), ITEM, catalogue=10)) == 6
    rows = sampled()
    assert audit_items(rows.assign(propensity=np.nan), ITEM, catalogue=10) == []
    assert len(audit_items(rows[rows["arm"] == 1], ITEM, catalogue=10)) == 3
    four = audit_items(sampled(items=4), ITEM, catalogue=4)[1]
    assert (four.word, four.detail) == (NOT_TESTED, "the log has 4 items")
    assert audit_items(sampled(items=5), ITEM, catalogue=5)[1].word != NOT_TESTED
    short = audit_items(sampled(users=40, rows=2), ITEM, catalogue=10)[2]
    assert (short.word, short.detail) == (NOT_TESTED, "too few users have two exposures")


def repeats(again, users=30, follows=100):
    """Exposures that follow another, of which so many are of its genre."""
    user, before = np.arange(follows) % users, np.zeros(follows, dtype=np.int64)
    genre = np.where(np.arange(follows) < again, 0, 1)
    return audit._genre_repeats(np.full(follows, 2.0), user, genre, before, pd.Series([0, 1]), "a")


def test_a_genre_must_come_again_thirty_times_in_a_hundred_of_twenty_users():
    assert repeats(30).word != NOT_TESTED
    assert repeats(30).value == pytest.approx(0.3 / 0.5)
    assert repeats(29).detail == "the same genre, or item, hardly ever comes twice in a row"
    assert repeats(40, follows=99).detail == "too few users have two exposures"
    assert repeats(40, users=19).detail == "too few users have two exposures"
    assert repeats(40, users=20).word != NOT_TESTED


def test_a_genre_alone_comes_again_each_time():
    user, same = np.arange(200) % 40, np.zeros(200, dtype=np.int64)
    assert audit._genre_repeats(np.ones(200), user, same, same, pd.Series([0]), "a").value == pytest.approx(1)


def reading(share, *, gone=0.0, users=40, rows=10, seed=0):
    """Logged chances of which a share of the variance is found again, and decisions that go with the rest."""
    rng = np.random.default_rng(seed)
    count = users * rows
    rest, found = (rng.normal(size=count) for _ in range(2))
    rest -= np.polyval(np.polyfit(found, rest, 1), found)
    logged = np.sqrt(share) * found / found.std() + np.sqrt(1 - share) * rest / rest.std()
    table = pd.DataFrame(
        {"user": np.repeat(np.arange(users), rows), "arm": 1, "propensity": np.exp(logged - 5)}
    )
    scores = pd.DataFrame({"trimmed": False, "decision": rng.normal(size=count) + gone * rest})
    scores["m1"] = 0.1 + 0.2 * rng.random(count)
    return table, scores.assign(chance=np.sqrt(share) * found / found.std() + 3.0)


@pytest.mark.parametrize(
    ("share", "gone", "word"),
    [(0.81, 0.0, HOLDS), (0.79, 0.0, UNDECIDED), (0.81, 1.0, FAILS), (0.2, 0.0, UNDECIDED)],
)
def test_chances_that_follow_from_the_log_are_read_off(share, gone, word):
    rows, scores = reading(share, gone=gone)
    found = audit_reading(scores, rows, ITEM)
    assert (found.word, found.severity, found.threshold) == (word, "serious", 0.8)
    assert found.value == pytest.approx(share, abs=1e-9)
    left = np.log(rows["propensity"]) - scores["chance"]
    surprise = scores["decision"] - scores["m1"]
    by_user = ((left - left.mean()) * (surprise - surprise.mean())).groupby(rows["user"]).sum()
    assert found.p == pytest.approx(2 * norm.sf(abs(by_user.sum()) / np.sqrt((by_user**2).sum())))
    assert found.detail.endswith("and the rest goes with the decisions") == (found.p <= 0.01)
    assert found.detail.startswith(f"{share:.0%} of how they vary")


def test_chances_that_are_found_worse_than_by_their_mean_follow_to_no_part():
    rows, scores = reading(0.5)
    found = audit_reading(scores.assign(chance=-scores["chance"]), rows, ITEM)
    assert found.value < 0 and found.word != HOLDS and found.detail.startswith("0% of how they vary follows")


def test_chances_follow_from_the_share_on_that_is_asked(monkeypatch):
    rows, scores = reading(0.7)
    share = audit_reading(scores, rows, ITEM).value
    for least, word in ((share, HOLDS), (np.nextafter(share, 1), UNDECIDED)):
        monkeypatch.setattr(audit, "FOLLOWS", least)
        assert audit_reading(scores, rows, ITEM).word == word


def test_reading_takes_the_arms_own_rows_that_are_not_trimmed():
    rows, scores = reading(0.9)
    more = pd.concat([rows, rows.assign(arm=0), rows.assign(propensity=1e-9)], ignore_index=True)
    also = pd.concat([scores, scores.assign(chance=0.0), scores.assign(trimmed=True)], ignore_index=True)
    assert audit_reading(also, more, ITEM) == audit_reading(scores, rows, ITEM)
    assert audit_reading(*reading(0.9, users=19)[::-1], ITEM).word == NOT_TESTED
    assert audit_reading(*reading(0.9, users=20)[::-1], ITEM).word != NOT_TESTED
    assert audit_reading(scores, rows.assign(arm=0), ITEM).word == NOT_TESTED


def arms_drawn(lean=0.0, seed=1):
    """Arms drawn with chance .4, or by a column; three columns, of which one is constant; rows of no arm."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 600))
    table = pd.DataFrame(
        {"user": np.arange(600) // 3, "arm": (rng.random(600) < 0.4 + lean * (x > 0)).astype(int)}
    )
    table = table.assign(arm_propensity=0.4, time=0.0, feature_x=x, feature_y=y, feature_z=1.0)
    table.loc[::10, "arm"] = -1
    return table


@pytest.mark.parametrize("lean", [0.0, 0.18, 0.5])
def test_given_chances_of_an_arm_are_audited_by_hand(lean):
    rows = arms_drawn(lean)
    often, apart = audit_arms(rows, ARM, np.full(600, 0.4))
    own = rows[rows["arm"] >= 0]
    value, _, _, p = ratio(own["arm"], np.full(len(own), 0.4), own["user"])
    assert (often.value, often.p) == pytest.approx((value, p))
    assert often.name == "b comes as often as its chances say"
    ps = {}
    for name in ("feature_x", "feature_y"):
        scaled = (own[name] - own[name].mean()) / own[name].std(ddof=0)
        by_user = ((own["arm"] - 0.4) * scaled).groupby(own["user"]).sum()
        ps[name] = 2 * norm.sf(abs(by_user.sum()) / np.sqrt((by_user**2).sum()))
    name = min(ps, key=ps.get)
    p = min(1.0, 2 * ps[name])
    assert apart.p == pytest.approx(p)
    assert apart.word == (FAILS if p < 0.001 else HOLDS if p > 0.05 else UNDECIDED)
    assert apart.word == {0.0: HOLDS, 0.18: UNDECIDED, 0.5: FAILS}[lean]
    said = {0.0: "p = ", 0.18: "p = .0", 0.5: "p < .001 of them all"}[
        lean
    ]  # none is written as what it is not
    assert apart.detail.startswith(f"of 2 columns {name} differs most beyond the chances, {said}")
    assert apart.severity == "decisive"


@pytest.mark.parametrize(
    ("logged", "word"), [((0.2, 0.8), HOLDS), ((0.35, 0.65), FAILS), ((0.8, 0.2), FAILS)]
)
def test_the_arm_comes_more_often_where_its_chance_is_higher(logged, word):
    """Drawn with .2 or .8. Flattened chances, and those of other users, are met on the whole as well."""
    rng = np.random.default_rng(4)
    likely = np.arange(800) % 2 == 1
    rows = pd.DataFrame(
        {"user": np.arange(800), "arm": (rng.random(800) < np.where(likely, 0.8, 0.2)).astype(int)}
    )
    given = np.where(likely, logged[1], logged[0])
    often, apart = audit_arms(rows.assign(time=0.0), ARM, given)
    assert (often.word, apart.word) == (HOLDS, word)
    left = (rows["arm"] - given) * np.sign(given - given.mean())  # standardised, it is one of two values
    assert apart.p == pytest.approx(2 * norm.sf(abs(left.sum()) / np.sqrt((left**2).sum())))
    assert apart.detail.startswith("of 1 column the chance itself differs")


@pytest.mark.parametrize(("late", "stays", "word"), [(0, 0, HOLDS), (0, 9, HOLDS), (9, 0, FAILS)])
def test_an_arm_that_starts_later_does_not_come_by_its_chance(late, stays, word):
    """When users of an arm came counts, not how long they stay, which the arm may have done."""
    rng = np.random.default_rng(6)
    arm = np.repeat(rng.integers(2, size=300), 2)
    came = np.repeat(rng.uniform(0, 20, 300), 2) + late * arm
    time = came + np.tile([0, 1], 300) * (1 + stays * arm)
    rows = pd.DataFrame({"user": np.arange(600) // 2, "arm": arm, "time": time})
    apart = audit_arms(rows, ARM, np.full(600, 0.5))[1]
    assert apart.word == word and apart.detail.startswith("of 1 column the time differs")
    by_user = 2 * ((rows["arm"] - 0.5) * (came - came.mean()) / came.std())[::2]
    assert apart.p == pytest.approx(2 * norm.sf(abs(by_user.sum()) / np.sqrt((by_user**2).sum())))


@pytest.mark.parametrize(
    ("shown", "users", "word"), [(4700, 10_000, UNDECIDED), (4700, 1000, HOLDS), (4955, 100_000, HOLDS)]
)
def test_an_arm_that_comes_a_little_too_seldom_is_no_accident_among_many(shown, users, word):
    """6% too few may be rows lost for what was decided; up to 1% is a chance that was rounded."""
    arm = (np.arange(users) < shown / 10_000 * users).astype(int)
    rows = pd.DataFrame({"user": np.arange(users), "arm": arm, "time": 0.0})
    often = audit_arms(rows, ARM, np.full(users, 0.5))[0]
    assert often.word == word and often.value == pytest.approx(shown / 5000)
    error = np.sqrt(users * 0.25) / (users * 0.5)  # of a share of one half
    assert often.p == pytest.approx(2 * norm.sf((1 - shown / 5000) / error), rel=0.1)


def test_the_least_of_two_p_values_counts_twice_and_is_no_more_than_one():
    assert max(audit_arms(arms_drawn(seed=seed), ARM, np.full(600, 0.4))[1].p for seed in range(12)) == 1.0


def test_without_chances_or_columns_there_is_nothing_to_audit():
    rows = arms_drawn()
    assert audit_arms(rows, ARM, None) == []
    bare = audit_arms(rows[["user", "arm", "arm_propensity", "time"]], ARM, np.full(600, 0.4))
    assert [one.word for one in bare[1:]] == [NOT_TESTED]
