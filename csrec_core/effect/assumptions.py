"""The independences that Theorem 3.1 rests on, tested on a log.

Figure 1 says nothing of a log but independences. Each assumption of the theorem is stated as one and tested;
what no log can show is said to be so. A p-value above the level means that the log shows no sign against the
assumption, never that it holds.

The tests are those of `csrec_core.effect.independence`: of decisions the score test with users as clusters,
and of one row a user dowhy's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np
import pandas as pd
from scipy.stats import chi2

from csrec_core.data.log import KEY, SYSTEM, Dataset
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.folds import fold_of
from csrec_core.effect.independence import clustered_score, covariance_test, local_markov
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.record import describe
from csrec_core.effect.rows import Clock, lay_rows
from csrec_core.errors import InputError
from csrec_core.metrics import holm

NO_SIGN, VIOLATED, UNTESTED = "no sign against it", "violated", "cannot be tested on this log"
RARE = 50  # items with fewer rows share one intercept a genre
FEWEST_TEST_USERS = 100  # users, below which the distributions of the tests are not to be trusted
LONG_RECORD = 50  # exposures, after which a step has no intercept of its own
USER_PARTS = 10  # of the users: the appeal of an item is told by the other nine
RECORDED = ("user_rate", "genre_rate", "genre_share", "seen")
PAST = ("step", "last", "before_last", "same_genre", *RECORDED)
NOISE = 1e-9  # below it, a change of preference is rounding

DECISION_STEPS = ("A3", "H4", "H5", "T1")
PREFERENCES_NEEDED = "no: it needs measured preferences, which this log does not hold"
PREFERENCES_HIDDEN = (
    "no: propensities given preferences do not show it; the two sources would (T1), but mixed with the effect"
)
OF_THE_RECORD = (
    "of the history model, not of the graph: preferences are not measured, the user's record stands in"
)
RECORD = "no: preferences are not measured, and the user's record that stands in holds these decisions"


@dataclass(frozen=True)
class Assumption:
    """What the theorem takes for granted."""

    name: str
    steps: tuple[str, ...]  # of the derivation, that fail without it (`theorem.derive_theorem`)
    statement: str  # the independence of Figure 1 to test a log for


SHAPING = Assumption(
    "an exposure does not change today's preference",
    ("A1",),
    "P[t] ⊥ S[t]",
)
CONFOUNDING = Assumption(
    "nothing hidden moves both exposure and decision",
    ("A2", "H3", "H0", "T1"),
    "no independence follows: S[t] → D[t] joins the two anyway",
)
CARRY_OVER = Assumption(
    "the last exposure acts through the last decision only",
    DECISION_STEPS,
    "D[t] ⊥ S[t-1] | S[t], D[t-1], P[t]",
)
SECOND_ORDER = Assumption(
    "of the decisions, only the last one acts",
    DECISION_STEPS,
    "D[t] ⊥ D[t-2] | S[t], D[t-1], P[t]",
)
LAGGED_PREFERENCE = Assumption(
    "only today's preference acts",
    ("A3", "H5", "T1"),
    "D[t] ⊥ P[t-1] | S[t], D[t-1], P[t]",
)
TRAIT = Assumption(
    "no lasting trait beside preference moves the decisions on the system's exposures",
    DECISION_STEPS,
    "D[t] ⊥ D[t-2], D[t-3] | S[t], D[t-1], P[t]",
)
AMPLIFICATION = Assumption(
    "a decision does not change the preference",
    ("E2", "H2"),
    "P[t] ⊥ D[t-1] | P[t-1], S[t-1]",
)
TRANSPORT = Assumption("who chose the exposure does not matter", ("T1",), "D[t] ⊥ R | S[t], D[t-1], P[t]")
MARKOV = Assumption(
    "all that acts on a decision is in the graph",
    DECISION_STEPS,
    "D[t] ⊥ D[t-2], S[t-1], P[t-1] | S[t], D[t-1], P[t]",
)


@dataclass(frozen=True)
class _Rows:
    """The exposures of both arms with what lies before each.

    Columns are those of `lay_rows`; of `describe`, `PAST`; `genre_size` (items of the genre in the catalogue, NaN
    without genres), `earlier` (share accepted in the arm up to the last but one), `appeal`, `last_appeal`, those of
    `preferences`, and `preference_before` where preferences are measured.
    """

    frame: pd.DataFrame
    #: What stands for P_t: the preference, if the truth of a world has it, or `RECORDED`.
    preferences: tuple[str, ...]
    measured: bool
    names: tuple[str, str]  # of the baseline and of the arm

    @property
    def arm(self) -> int:
        """The arm to test decisions on: the baseline, as f~ learns from it, if it holds both decisions."""
        mixed = self.frame.groupby("arm")["decision"].nunique() == 2
        return next((arm for arm in (0, 1) if mixed.get(arm, False)), 0)

    def of(self, arm: int) -> pd.DataFrame:
        """Return the rows of one arm whose user has two earlier ones there."""
        return self.frame[(self.frame["arm"] == arm) & (self.frame["step"] > 1)]

    @classmethod
    def of_log(cls, dataset: Dataset) -> "_Rows":
        """Lay out the exposures of a log."""
        arms = dataset.log["source"].astype(str).unique()
        alone = {} if SYSTEM in arms else {"baseline": arms[0]}
        design = find_design(dataset) if len(arms) > 1 else Design(**alone)
        rows = lay_rows(dataset, design)
        rows["decision"] = dataset.log["decision"].to_numpy(dtype=float)[rows["place"]]  # not the outcome
        rows = rows[rows["arm"] >= 0].reset_index(drop=True)
        # As if users were of one arm each: the record is of all that came before, whichever arm exposed it.
        known = describe(rows, Clock((), True), rate=rows["decision"].mean())[list(PAST)]
        known["seen"] = np.log1p(known["seen"])  # itself, it would tell the arm once the step is given
        fold = fold_of(rows["user"].to_numpy(), USER_PARTS, 0)
        told = ItemCounts.count(rows, fold, USER_PARTS).measure(rows["item"].to_numpy(), fold)
        frame = pd.concat([rows, known, told["appeal"]], axis=1).astype({"decision": int})
        frame["genre_size"] = _genre_sizes(dataset, frame["item"])
        frame["last_appeal"] = frame.groupby("user")["appeal"].shift()
        own = frame.groupby(["user", "arm"])["decision"]
        frame["earlier"] = (own.cumsum() - frame["decision"] - own.shift()) / np.maximum(frame["step"] - 1, 1)
        truth, names = dataset.truth, (design.baseline, design.arm)
        if truth is None or not {"preference", "preference_before"} <= set(truth.columns):
            return cls(frame, RECORDED, False, names)
        key = dataset.log[KEY].iloc[rows["place"]].astype({"source": str}).reset_index(drop=True)
        known = key.merge(truth.astype({"source": str}), on=KEY, how="left", validate="one_to_one")
        frame[["preference", "preference_before"]] = known[["preference", "preference_before"]]
        frame["preference_squared"] = frame["preference"] ** 2
        return cls(frame, ("preference", "preference_squared"), True, names)


def _genre_sizes(dataset: Dataset, item: pd.Series) -> pd.Series | float:
    if dataset.items is None or "genre" not in dataset.items:
        return np.nan
    genre = dataset.items.set_index("item")["genre"]
    return item.map(genre.map(genre.value_counts()))


class _Outcome(NamedTuple):
    """What became of one assumption; `p` is NaN where it was not tested, and `testable` says why."""

    testable: str
    statistic: float = float("nan")
    p: float = float("nan")


def assumption_tests(dataset: Dataset, *, alpha: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Test every assumption of the theorem that the log lets one test.

    Preferences are measured where `truth` has `preference` and `preference_before`; else the user's record so far
    stands in for them, and a test is one of that history model. `alpha` is the level of all tests together (Holm),
    `seed` that of the choice of one row a user, for dowhy.

    Returns a row for each of `ASSUMPTIONS`: `assumption`, `steps` it guards, `statement`, `testable` (on what, or why
    not), `statistic` (of a score test: chi-squared), `p`, `p_holm`, and `verdict`: "no sign against it", "violated" or
    "cannot be tested on this log".
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha = {alpha}; expected a level between 0 and 1")
    rows, found = _Rows.of_log(dataset), []
    for number, (assumption, test) in enumerate(_TESTS.items()):
        outcome = test(rows, np.random.default_rng([seed, number]))
        found.append((assumption.name, ", ".join(assumption.steps), assumption.statement, *outcome))
    columns = ["assumption", "steps", "statement", "testable", "statistic", "p"]
    table = pd.DataFrame(found, columns=columns)
    adjusted = holm(table["p"].to_numpy())
    verdict = np.select([table["p"].isna(), adjusted <= alpha], [UNTESTED, VIOLATED], NO_SIGN)
    return table.assign(p_holm=adjusted, verdict=verdict)


def _score_test(rows: _Rows, frame: pd.DataFrame, columns: list[str], where: str) -> _Outcome:
    """Test the columns on the decisions of `frame`, given item, step, last decision and preference."""
    if frame["user"].nunique() < FEWEST_TEST_USERS:
        return _Outcome(f"no: too few users with a past on {where}, it takes {FEWEST_TEST_USERS}")
    step = np.minimum(frame["step"], LONG_RECORD - 1)
    # A step at which all users decide alike has no finite intercept, and its rows say nothing.
    frame = frame[frame.groupby(step)["decision"].transform("nunique") == 2]
    step = np.unique(step[frame.index], return_inverse=True)[1]
    given = np.column_stack([frame[["last", *rows.preferences]], np.eye(step.max(initial=-1) + 1)[step]])
    count = frame.groupby("item")["item"].transform("size")
    level = frame["item"].where(count >= RARE, -1 - frame["genre"])
    statistic, p = clustered_score(frame["decision"], frame[columns], given, level, frame["user"])
    if np.isnan(p):
        return _Outcome(
            f"no: item, exposure number, last decision and preference leave nothing open on {where}"
        )
    return _Outcome(_tested_on(rows, where), statistic, p)


def _tested_on(rows: _Rows, where: str) -> str:
    """Say on what a test rests, and what of."""
    return f"yes, on {where}" if rows.measured else f"{OF_THE_RECORD} (on {where})"


def _on_decisions(*columns: str, arm: int | None = None) -> Callable:
    """Return the test of columns on the decisions of one arm."""

    def test(rows: _Rows, rng: np.random.Generator) -> _Outcome:
        used = rows.arm if arm is None else arm
        frame, name = rows.of(used), rows.names[used]
        if frame["decision"].nunique() < 2:
            return _Outcome(f"no: the decisions on {name} exposures are all alike")
        return _score_test(rows, frame, list(columns), f"{len(frame):,} {name} exposures")

    return test


def _needs_preferences(test: Callable, why: str = PREFERENCES_NEEDED) -> Callable:
    """Return the test, not done where preferences are not measured."""
    return lambda rows, rng: test(rows, rng) if rows.measured else _Outcome(why)


def _test_transport(rows: _Rows, rng: np.random.Generator) -> _Outcome:
    frame = rows.frame[rows.frame["step"] > 0]
    if (frame.groupby("arm")["decision"].nunique() == 2).sum() < 2:
        return _Outcome("no: it takes both decisions on both sources")
    where = f"{len(frame):,} exposures of both sources, where an effect of the source denies it as well"
    return _score_test(rows, frame, ["arm"], where)


def _test_shaping(rows: _Rows, rng: np.random.Generator) -> _Outcome:
    """Weigh the preferences of exposed genres by 1 / chance: those of all genres sum to 1, if all have items."""
    frame = rows.frame[rows.frame["arm"] == 1]
    chance = frame["genre_size"] * frame["propensity"]
    if chance.isna().any() or frame["user"].nunique() < FEWEST_TEST_USERS:
        return _Outcome(
            f"no: it takes genres, and system exposures of {FEWEST_TEST_USERS} users with known propensities"
        )
    error = frame["preference"] / chance - 1
    by_user = error.groupby(frame["user"]).sum()
    statistic = float(by_user.sum() ** 2 / (by_user**2).sum())
    where = f"{len(frame):,} system exposures"
    return _Outcome(_tested_on(rows, where), statistic, float(chi2.sf(statistic, 1)))


def _test_amplification(rows: _Rows, rng: np.random.Generator) -> _Outcome:
    """Does the preference of a genre grow after it was accepted? On system exposures, as they ignore preferences."""
    frame = rows.of(1)
    frame = _one_a_user(frame[frame["same_genre"] == 1], rng)
    if len(frame) < FEWEST_TEST_USERS or frame["last"].std() == 0:
        return _Outcome("no: too few users met the same genre twice in a row, by the system")
    growth = np.log(frame["preference"]) - np.log(frame["preference_before"])
    if growth.std() < NOISE:
        return _Outcome("no: preferences stay as they are")
    p = covariance_test(*(part.to_numpy() for part in (frame["last"], growth, frame[["preference_before"]])))
    return _Outcome(_tested_on(rows, f"one system exposure of {len(frame):,} users, by dowhy"), p=p)


def _test_markov(rows: _Rows, rng: np.random.Generator) -> _Outcome:
    """Test D[t] against each of what it does not descend from, given its parents; Bonferroni over these."""
    frame = _one_a_user(rows.of(rows.arm), rng)
    if len(frame) < FEWEST_TEST_USERS or frame["decision"].std() == 0:
        return _Outcome("no: too few users, or decisions that are all alike")
    parents = ["appeal", "step", "last", *rows.preferences]
    others = [name for name in ("before_last", "same_genre") if frame[name].std() > 0]
    if rows.measured and (frame["preference"] - frame["preference_before"]).std() > NOISE:
        others.append("preference_before")
    nodes = [*others, *parents]  # all joined, so that D[t] is the one node with something to test
    graph = nx.DiGraph([(a, b) for i, a in enumerate(nodes) for b in nodes[i + 1 :]])
    graph.add_edges_from((parent, "decision") for parent in parents)
    ps = local_markov(graph, frame[[*nodes, "decision"]].astype(float))
    if not ps:
        return _Outcome("no: the decision, or all that may not matter to it, is determined by the rest")
    p = len(ps) * min(ps)
    where = f"one {rows.names[rows.arm]} exposure of {len(frame):,} users, by dowhy"
    return _Outcome(_tested_on(rows, where), p=min(p, 1.0))


def _one_a_user(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row of each user, drawn at random: these rows are independent of each other."""
    return frame.iloc[rng.permutation(len(frame))].drop_duplicates("user")


_TESTS = {
    SHAPING: _needs_preferences(_test_shaping),
    CONFOUNDING: lambda rows, rng: _Outcome(PREFERENCES_HIDDEN),
    CARRY_OVER: _on_decisions("same_genre", "last_appeal"),
    SECOND_ORDER: _on_decisions("before_last"),
    LAGGED_PREFERENCE: _needs_preferences(_on_decisions("preference_before")),
    TRAIT: _needs_preferences(_on_decisions("earlier", arm=1), RECORD),
    AMPLIFICATION: _needs_preferences(_test_amplification),
    TRANSPORT: _test_transport,
    MARKOV: _test_markov,
}
#: The assumptions, in the order of the table.
ASSUMPTIONS = tuple(_TESTS)
