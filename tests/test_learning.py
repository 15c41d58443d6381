"""How the engine learns and scores: which rows each nuisance learns from, by which weights, and who is told of whom."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import engine
from csrec_core.effect.design import Design
from csrec_core.effect.engine import Engine, Known, learned_rows, look_over
from csrec_core.effect.folds import fold_of, hashes
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.nuisance import Model
from csrec_core.effect.rows import Clock
from csrec_core.effect.weights import ItemChances

NAN = np.nan
KNOWN = Known(Clock((), False), True, 1.0, 0.5, 8, 8, 40)
HISTORY = ["first", "last", "before_last", "run", "user_rate"]
WITH_ITEM = ["genre_share", "genre_rate", "same_genre"]
TOLD = ["like_accepted", "like_seen", "network", "appeal", "fame", "push"]
BESIDE = ("feature_a", "item: b", "missing: item: b", "missing: feature_a")


def test_the_split_of_users_stays_as_it_was():
    """Published numbers rest on it; a fold is the remainder of the hash, and the numbers are draws apart."""
    assert fold_of(np.arange(12), 4, 0).tolist() == [1, 0, 2, 1, 3, 2, 0, 1, 2, 2, 0, 0]
    users = np.arange(4000)
    drawn = [hashes(users, *key) for key in ((0, 0), (0, 1), (1, 0))]
    assert (drawn[0] % np.uint64(4)).tolist() == fold_of(users, 4, 0).tolist()
    assert np.abs(np.corrcoef(np.array(drawn) / 2.0**64) - np.eye(3)).max() < 0.06


def test_a_log_is_looked_over():
    rows = pd.DataFrame({"user": [1, 1, 2, 3], "arm": [0, 1, 1, -1], "item": [5, 6, 5, 7], "time": NAN})
    known = look_over(rows.assign(decision=[1.0, 0, 1, 0]))
    expected = replace(KNOWN, rate=pytest.approx(2 / 3), rows=3, users=2, catalogue=3)
    assert vars(known) == vars(expected)
    assert known.middle == 0.5 and look_over(rows.assign(decision=1.0), catalogue=9).catalogue == 9
    number = look_over(
        rows.assign(decision=[1.0, 2.0, 6.0, -1.0]), catalogue=2
    )  # those of others are in the span
    assert (number.binary, number.span, number.catalogue, number.middle) == (False, 7.0, 3, 3.0)
    assert look_over(rows.assign(decision=4.0)).span == 1.0


def test_of_more_than_60000_rows_some_users_are_learned_from():
    users = np.arange(120_000) // 2
    drawn = learned_rows(pd.DataFrame({"user": users}), 3)
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert (drawn[::2] == drawn[1::2]).all()
    last = np.argmax(hashes(users, 3, 1))  # the first to be left out
    rows = pd.DataFrame({"user": np.full(60_001, users[last])})
    assert not learned_rows(rows, 3).any() and learned_rows(rows[1:], 3).all()


@pytest.mark.parametrize(
    ("clock", "estimand", "nuisance", "kind", "expected"),
    [
        ((), "arm", "m1", "none", [*HISTORY, "feature_a", "missing: feature_a"]),
        (("step",), "arm", "m0", "none", ["feature_a", "missing: feature_a", "step"]),
        (("seen", "time"), "exposure", "arm", "uniform", [*HISTORY, "feature_a", "missing: feature_a", "seen", "time"]),
        ((), "exposure", "arm", "none", [*HISTORY, *WITH_ITEM, "lift", *TOLD, *BESIDE]),
        ((), "exposure", "m0", "varying", [*HISTORY, *WITH_ITEM, "lift", *TOLD, *BESIDE]),
        ((), "exposure", "m1", "varying", [*HISTORY, *WITH_ITEM, "lift", *TOLD, *BESIDE, "step", "shown_before"]),
        (
            ("seen", "time"), "exposure", "m1", "none",
            [*HISTORY, *WITH_ITEM, "shown_before", *TOLD, *BESIDE, "seen", "time", "step"],
        ),
        (("step",), "exposure", "m1", "none", [*HISTORY, *WITH_ITEM, "shown_before", *TOLD, *BESIDE, "step"]),
        (
            ("step",), "exposure", "chance", "varying",
            [*HISTORY, *WITH_ITEM, "shown_before", *TOLD, *BESIDE, "step", "usual_chance"],
        ),
    ],
)  # fmt: skip
def test_what_a_nuisance_may_read(clock, estimand, nuisance, kind, expected):
    known = replace(KNOWN, clock=Clock(clock, clock == ("step",)))
    found = Engine(Design(estimand=estimand), known, None, 0, BESIDE).columns(nuisance, kind)
    assert found == expected


ROWS = pd.DataFrame(
    {"user": range(5, 13), "arm": [0, 0, 0, 1, 1, 1, -1, 0], "decision": [0.0, 1, 0, 1, 1, 0, 1, 1]}
)
TABLE = pd.DataFrame(
    {"run": np.arange(8.0), "genre_rate": 1.0, "usual_chance": 2.0, "item = 2": 3.0, "else": 4.0}
)
FOLD, OWN = np.array([0, 1, 2, 0, 1, 2, 0, 1]), np.array([0.5, 0.25, 0.1, 0.2, 0.0, 0.4, NAN, 0.5])
OTHER = np.array([0.025, 0.025, 0.03, NAN, NAN, NAN, NAN, NAN])
RATIO = np.array([0.5, 1, 3, 1, 1, 1, 1, 0]) / np.array(
    [1.125] * 3 + [1] * 4 + [1.125]
)  # those of the baseline to 1
ITEM = ["run", "genre_rate", "item = 2"]


@pytest.fixture
def fitted(monkeypatch):
    """Learn from `ROWS` with fold 1 held out, and return what was fitted, and chosen, by nuisance."""

    def learn(kind, learners, *, binary=True):
        fits, choices = [], []
        fit = lambda *given, **options: fits.append((*given, options)) or len(fits)  # noqa: E731
        choose = lambda *given, **options: choices.append((*given, options)) or "boosted"  # noqa: E731
        monkeypatch.setattr(engine, "fit_model", fit)
        monkeypatch.setattr(engine, "choose_learner", choose)
        own = Engine(Design(), replace(KNOWN, binary=binary), None, 5)
        models = own._fit(ROWS, TABLE, ItemChances(kind, OWN, OTHER, (0, 0)), FOLD, 1, learners)
        return dict(zip(models, fits, strict=True)), choices

    return learn


@pytest.mark.parametrize(
    ("kind", "ratio"),
    [("by item", RATIO), ("uniform", RATIO), ("frequency", RATIO), ("none", 1), ("varying", 1)],
)
def test_each_nuisance_learns_from_its_own_rows_and_weights(fitted, kind, ratio):
    weight, learners = ratio * np.ones(8), {"m0": "boosted"}
    fits, choices = fitted(kind, learners)
    shown, columns = ROWS["arm"] == 1, [*ITEM[:2], "item = 2"]
    expected = {
        "m0": ([0, 2], ROWS["decision"], weight, columns, "boosted", True),
        "m1": ([3, 5], ROWS["decision"], np.ones(8), columns, "boosted", True),
        "arm": ([0, 2, 3, 5], shown * 1.0, weight, columns if kind == "none" else ["run"], "logistic", True),
    }
    if kind == "none":
        expected["arm"] = (*expected["arm"][:4], "boosted", True)
    if kind == "varying":
        chance = [*ITEM[:2], "usual_chance", "item = 2"]
        even = np.log([1, 1, 1, 0.2 * 40, 1e-12 * 40, 0.4 * 40, 1, 1])
        expected["chance"] = ([3, 5], even, np.ones(8), chance, "boosted", False)
    assert list(fits) == list(expected)
    for name, (rows, target, weights, read, learner, binary) in expected.items():
        features, label, options = fits[name]
        assert features.index.tolist() == rows and list(features.columns) == read
        assert label.tolist() == pytest.approx(np.asarray(target)[rows])
        assert options.pop("weight").tolist() == pytest.approx(weights[rows])
        assert options == {"learner": learner, "binary": binary, "seed": 5}
    # Chosen is by the rows of all folds, of which one is held out; what is chosen already is not asked for again.
    asked = {"m1": [3, 4, 5]} | ({"arm": [0, 1, 2, 3, 4, 5, 7]} if kind == "none" else {})
    asked |= {"chance": [3, 4, 5]} if kind == "varying" else {}
    for (name, rows), (features, label, held, user, options) in zip(asked.items(), choices, strict=True):
        assert features["run"].tolist() == rows and features.index.tolist() == list(range(len(rows)))
        assert label.tolist() == pytest.approx(np.asarray(expected[name][1])[rows])
        assert held.tolist() == [FOLD[row] == 1 for row in rows]
        assert user.tolist() == ROWS["user"][rows].tolist()
        assert options.pop("weight").tolist() == pytest.approx(expected[name][2][rows])
        last = {"learners": ("logistic", "fine")} if name == "chance" else {}
        assert options == {"binary": name != "chance", "odds": name == "arm", "seed": 5} | last
    assert not fitted(kind, dict.fromkeys(("m0", "m1", "arm", "chance"), "logistic"))[1]


def test_numbers_are_learned_as_numbers(fitted):
    fits, _ = fitted("none", dict.fromkeys(("m0", "m1", "arm"), "logistic"), binary=False)
    assert [fits[name][2]["binary"] for name in ("m0", "m1", "arm")] == [False, False, True]


def lived(**columns):
    """Two rows, one by either arm, of 50 users and 25 items."""
    rows = pd.DataFrame({"place": np.arange(100), "user": np.repeat(np.arange(50) + 100, 2), "t": 1})
    rows["item"], rows["genre"], rows["arm"] = np.arange(100) * 7 // 2 % 25, 0, np.tile([0, 1], 50)
    rows["decision"], rows["time"] = np.arange(100) % 3 == 0, NAN
    return rows.assign(**{"propensity": NAN, "arm_propensity": NAN} | columns).astype({"decision": float})


def far(step):
    return np.select([step < 16, step < 32], [99.0, -99.0], 0.5)


@pytest.mark.parametrize("kind", ["none", "varying"])
def test_rows_are_scored_by_the_models_of_their_fold(monkeypatch, kind):
    """Each model is told of others than its fold; a modelled chance stays within factors of 10,000 of an even one."""
    rng = np.random.default_rng(0)
    rows = lived(propensity=rng.uniform(0.01, 0.5, 100) if kind == "varying" else NAN)
    fold = fold_of(rows["user"].to_numpy(), 3, 5)
    counts, known = ItemCounts.count(rows, fold, 3), replace(KNOWN, catalogue=50)
    steps = np.arange(100.0)
    features, seen = pd.DataFrame({"step": steps, "run": steps, "on_record": 0.0, "record": 0.0}), []

    def model(held, name):
        def predict(table):
            seen.append((held, name, table))
            step = table["run"]
            return far(step) if name == "chance" else 0.1 * held + {"arm": 0.5, "m0": 0.3, "m1": 0.4}[name]

        return Model(predict)

    names = ["arm", "m0", "m1"] + ["chance"] * (kind == "varying")
    models = {held: {name: model(held, name) for name in names} for held in range(3)}
    monkeypatch.setattr(engine, "BLOCK", 5)
    found = Engine(Design(), known, counts, 5, models=models).score(rows, features)
    assert found.columns[0] == "place" and found["fold"].tolist() == fold.tolist()
    assert found["step"].tolist() == list(range(1, 101))
    for name, start in (("e", 0.5), ("m0", 0.3), ("m1", 0.4)):
        assert found[name].tolist() == pytest.approx(start + 0.1 * fold)
    assert found["w1"].tolist() == found["arm"].tolist()
    odds = (0.5 + 0.1 * fold) / (0.5 - 0.1 * fold)
    if kind == "varying":
        bound = np.select([np.arange(100) < 16, np.arange(100) < 32], [1e4, 1e-4], np.exp(0.5))
        odds = odds * bound / 50 / rows["propensity"]
        assert (
            found["chance"].tolist()
            == np.where(np.arange(100) < 16, 99.0, np.where(np.arange(100) < 32, -99, 0.5)).tolist()
        )
    assert found["w0"].tolist() == pytest.approx(np.where(rows["arm"] == 0, odds, 0))
    assert ("chance" in found) == (kind == "varying")
    # In blocks of five, each row once by each of its models, with what the others' folds tell.
    for held in range(3):
        for name in names:
            tables = [table for own, of, table in seen if (own, of) == (held, name)]
            assert all(len(table) <= 5 for table in tables)
            steps = np.concatenate([table["run"] for table in tables]).astype(int)
            assert steps.tolist() == np.flatnonzero(fold == held).tolist()
            if name in ("m0", "m1"):
                told = counts.tell(rows["item"].to_numpy()[steps], fold[steps], held)["appeal"]
                assert np.concatenate([table["appeal"] for table in tables]).tolist() == told.tolist()
            assert ("usual_chance" in tables[0]) == (name == "chance")


def test_rows_beyond_comparison_are_kept_where_the_chance_is_known():
    rows = lived(feature_a=0.0)
    counts = ItemCounts.count(rows, fold_of(rows["user"].to_numpy(), 3, 5), 3)
    models = [{name: Model(lambda table: np.full(len(table), 0.99)) for name in ("arm", "m0", "m1")}] * 3
    features = pd.DataFrame({"step": np.zeros(100), "run": 0.0, "on_record": 0.0, "record": 0.0})
    for declared, trimmed in (({}, True), ({"arm_propensity": 0.99}, False)):
        design = Design(estimand="arm", **declared)
        assert (
            Engine(design, KNOWN, counts, 5, models=dict(enumerate(models)))
            .score(rows, features)["trimmed"]
            .eq(trimmed)
            .all()
        )


ARMS = pd.DataFrame({"user": [1, 1, 1, 1, 2, 3, 3], "arm": [1, 1, 0, 0, 0, 1, -1]})


def test_the_chance_of_the_arm_is_declared_logged_or_modelled():
    rows, model = ARMS.assign(arm_propensity=[0.3, 0.3, 0.6, 0.6, 0.6, 0.3, NAN]), np.full(7, 0.5)

    def asked(rows, **declared):
        chance, known = Engine.arm_chance(SimpleNamespace(design=Design(**declared)), rows, model)
        return chance.tolist(), known

    assert asked(rows) == (model.tolist(), False)
    logged, known = asked(rows, estimand="arm")
    assert logged[:6] == pytest.approx([0.3, 0.3, 0.4, 0.4, 0.4, 0.3]) and known
    assert asked(rows.assign(arm_propensity=NAN), estimand="arm") == (model.tolist(), False)
    for missing in (0, 2):
        gap = rows["arm_propensity"].where(np.arange(7) != missing)
        assert asked(rows.assign(arm_propensity=gap), estimand="arm") == (model.tolist(), False)
    assert asked(rows, estimand="arm", arm_propensity=0.25) == ([0.25] * 7, True)
    unequal = asked(rows, estimand="arm", arm_propensity={"system": 0.1, "self": 0.4})
    assert unequal == ([pytest.approx(0.2)] * 7, True)


def test_an_engine_learns_each_fold_from_the_users_that_are_drawn(monkeypatch):
    """Of each held-out fold the items are told without it; what is chosen at the first is kept."""
    rows = lived(feature_a=0.0)
    fold = fold_of(rows["user"].to_numpy(), 3, 5)
    counts, seen = ItemCounts.count(rows, fold, 3), []

    def fit(self, own, table, chances, folds, held, learners):
        seen.append((own, table, chances.kind, folds, held))
        learners[f"fold {held}"] = "logistic"
        return {"m0": held}

    monkeypatch.setattr(Engine, "_fit", fit)
    features = pd.DataFrame({"step": np.arange(100.0), "on_record": 0.0, "record": 0.0})
    drawn = (rows["user"] % 2 == 0).to_numpy()
    for some in (np.ones(100, bool), drawn):
        seen.clear()
        monkeypatch.setattr(engine, "learned_rows", lambda *_, some=some: some)
        given = {"arm": "boosted"}
        found = Engine.learn(rows, features, Design(), KNOWN, counts, seed=5, learners=given)
        assert found.models == {0: {"m0": 0}, 1: {"m0": 1}, 2: {"m0": 2}} and given == {"arm": "boosted"}
        assert found.learners == given | {f"fold {held}": "logistic" for held in range(3)}
        assert (found.covariates, found.seed) == (("feature_a",), 5)
        for own, table, kind, folds, held in seen:
            assert kind == "none" and folds.tolist() == fold[some].tolist()
            assert own["place"].tolist() == np.flatnonzero(some).tolist() == table["step"].tolist()
            told = counts.tell(own["item"].to_numpy(), folds, held)
            assert table[["appeal", "fame", "push"]].to_numpy().tolist() == told.to_numpy().tolist()
