"""`csrec identify --data`: the effect under an adjustment set, and what data say of a graph."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
from csrec_core.effect import adjusted
from csrec_core.effect.adjusted import check_implications, estimate_adjusted
from csrec_core.errors import InputError
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED


@pytest.fixture(scope="module")
def table():
    """Age moves course and wage; the course adds 1 to the wage; luck moves the wage alone."""
    rng = np.random.default_rng(3)
    age, luck, noise = rng.normal(size=(3, 3000))
    course = (rng.random(3000) < 1 / (1 + np.exp(-1.5 * age))).astype(int)
    return pd.DataFrame({"age": age, "luck": luck, "course": course, "wage": course + 2 * age + luck + noise})


def test_the_effect_is_that_of_least_squares_on_the_true_form(table):
    found = estimate_adjusted(table, y="wage", do="course", adjust=["age"])
    design = np.column_stack([np.ones(len(table)), table["course"], table["age"]])
    by_hand = np.linalg.lstsq(design, table["wage"], rcond=None)[0][1]
    assert found.mean["effect"] == pytest.approx(by_hand, abs=2 * found.mean["error"])
    assert found.mean["lower"] < 1 < found.mean["upper"]
    assert found.identification.status == "assumed"


def test_without_the_confounder_it_is_the_difference_of_means(table):
    found = estimate_adjusted(table, y="wage", do="course")
    means = table.groupby("course")["wage"].mean()
    assert found.mean["effect"] == pytest.approx(means[1] - means[0], abs=0.01)


def test_independences_are_tested(table):
    none = frozenset()
    implied = [
        ("luck", "age", none),
        ("age", "wage", none),
        ("luck", "course", frozenset(["age"])),
        ("a", "b", none),
    ]
    assert [one.word for one in check_implications(table, implied)] == [HOLDS, FAILS, HOLDS, NOT_TESTED]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"course": 3.5}, "expected two"),
        ({"age": "x"}, r"row 1: age = 'x'; expected a number"),
    ],
)
def test_data_that_do_not_fit_are_refused(table, change, message):
    name, value = next(iter(change.items()))
    odd = table.astype({name: object})
    odd.loc[0, name] = value
    with pytest.raises(InputError, match=message):
        estimate_adjusted(odd, y="wage", do="course", adjust=["age"])


def test_the_command_estimates_and_tests(table, tmp_path):
    table.to_csv(tmp_path / "trial.csv", index=False)
    (tmp_path / "g.dot").write_text("digraph { age -> course; age -> wage; course -> wage; luck -> wage }")
    words = ["identify", str(tmp_path / "g.dot"), "--y", "wage", "--do", "course", "--data"]
    found = CliRunner().invoke(cli, [*words, str(tmp_path / "trial.csv")])
    assert found.exit_code == 0, found.output
    assert "adjusted for age" in found.output and "age ⊥ luck" in found.output
    assert "course = 1, against course = 0, raises wage by" in found.output


def test_the_command_reads_a_log_by_names_of_its_own(tmp_path):
    """Guessed or said; refused by an option that the command has."""
    (tmp_path / "g.dot").write_text("digraph { P -> D; E -> D; R -> E }")
    who = [f"u{n % 9}" for n in range(40)]
    log = pd.DataFrame({"customer": who, "sku": [f"b{n % 7}" for n in range(40)], "clicked": [0, 1] * 20})
    log["channel"] = ["organic"] * 20 + ["recommended"] * 20
    log.assign(propensity=1 / 7).to_csv(tmp_path / "shop.csv", index=False)
    words = [
        "identify",
        str(tmp_path / "g.dot"),
        "--y",
        "D",
        "--do",
        "E",
        "--log",
        str(tmp_path / "shop.csv"),
    ]
    names = "user=customer,item=sku,decision=clicked,source=channel,self=organic,system=recommended"
    for more in ([], ["--map", names]):
        found = CliRunner().invoke(cli, [*words, *more])
        assert "Data: self (as it came about); system (E drawn at random)" in found.output, found.output
    found = CliRunner().invoke(cli, [*words, "--map", "user=customer"])
    assert f"Name yours with --map {names}" in found.output
    assert {"--map", "--as"} <= {one for each in cli.commands["identify"].params for one in each.opts}


UNITS = pd.DataFrame({"age": [1.5, 2, 3, 4], "do": [3, 8, 3, 8], "y": [1.0, 0, 0, 1], "wage": [1.0, 2, 2, 9]})


@pytest.mark.parametrize(
    ("y", "adjust", "decision", "outcome", "declared"),
    [
        ("y", ["age"], [1, 0, 0, 1], None, {"confounders": ("feature_age",)}),
        ("wage", ["age"], [0, 0, 0, 1], [1, 2, 2, 9], {"confounders": ("feature_age",)}),
        ("wage", [], [0, 0, 0, 1], [1, 2, 2, 9], {"arm_propensity": 0.5, "arm_chances": "estimated"}),
    ],
)
def test_a_table_is_read_as_a_log(monkeypatch, y, adjust, decision, outcome, declared):
    """A row is a user with one exposure; of other numbers than 0 and 1 those above the median are accepted."""
    monkeypatch.setattr(adjusted, "estimate_effect", lambda dataset, **options: (dataset, options))
    dataset, options = estimate_adjusted(UNITS, y=y, do="do", adjust=adjust, seed=6)
    log = dataset.log
    assert (
        dataset.name == dataset.read.map["outcome"] == y
        and log["user"].tolist() == [0, 1, 2, 3]
        and log["decision"].tolist() == decision
    )
    assert log["source"].astype(str).tolist() == ["do = 3", "do = 8"] * 2
    assert set(log["t"]) == {1} and set(log["item"]) == {0}
    assert (log["outcome"].tolist() if outcome else None) == outcome and ("outcome" in log) == bool(outcome)
    assert [name for name in log if name.startswith("feature_")] == [f"feature_{name}" for name in adjust]
    assert not adjust or log["feature_age"].tolist() == UNITS["age"].tolist()
    assert options == {"arm": "do = 8", "baseline": "do = 3", "seed": 6} | declared


def test_a_share_of_the_action_is_its_chance(monkeypatch):
    monkeypatch.setattr(adjusted, "estimate_effect", lambda dataset, **options: options)
    options = estimate_adjusted(UNITS.assign(do=[8, 8, 8, 3]), y="y", do="do")
    assert options["arm_propensity"] == 0.75 and options["seed"] == 0


@pytest.mark.parametrize(
    ("do", "adjust", "message"),
    [
        ("wage", [], "wage: 3 values; expected two"),
        ("do", ["agg"], "unknown column 'agg'.*did you mean 'age'"),
    ],
)
def test_what_is_no_action_or_no_column_is_refused(do, adjust, message):
    with pytest.raises(InputError, match=message):
        estimate_adjusted(UNITS, y="y", do=do, adjust=adjust)
    with pytest.raises(InputError, match=r"row 3: age = inf; expected a number"):
        estimate_adjusted(UNITS.assign(age=[1, 2, np.inf, 3]), y="y", do="do", adjust=["age"])


def test_independences_are_judged_together(monkeypatch):
    """Holm: of three p-values the least counts thrice, the next twice; the fourth cannot be tested."""
    seen, given = [], iter([0.016, 0.01666, np.nan, 0.9])
    monkeypatch.setattr(adjusted, "covariance_test", lambda *parts: seen.append(parts) or next(given))
    table = pd.DataFrame({name: np.arange(50.0) + place for place, name in enumerate("abcd")})
    none, pair = frozenset(), frozenset({"d", "c"})
    found = check_implications(
        table, [("a", "b", none), ("c", "d", none), ("b", "c", none), ("a", "b", pair)]
    )
    assert [one.word for one in found] == [FAILS, FAILS, NOT_TESTED, HOLDS]
    assert [one.name for one in found] == ["a ⊥ b", "c ⊥ d", "b ⊥ c", "a ⊥ b | c, d"]
    assert [one.detail[:7] for one in found] == ["p 0.048", "p 0.048", "one of ", "p 0.900"]
    assert found[0].p == 0.016 and np.isnan(found[2].p)
    assert [part.shape for part in seen[0]] == [(50, 1)] * 3 and not seen[0][2].any()
    assert seen[3][2][:, 0].tolist() != seen[3][2][:, 1].tolist() and seen[3][2].shape == (50, 2)
    given = iter([0.0501, 0.0001])
    missing = [("a", "e", none), ("f", "e", frozenset("g"))]
    close = check_implications(table, [("a", "b", none), ("c", "d", none), *missing])
    assert [one.word for one in close] == [HOLDS, FAILS, NOT_TESTED, NOT_TESTED]
    assert close[1].detail.startswith("p 0.001") and close[3].detail == "the data lack e, f, g"
    few = check_implications(table[:49], [("a", "b", none)])[0]
    assert (few.word, few.detail) == (NOT_TESTED, "49 rows")


def test_five_thousand_rows_are_drawn_to_be_tested(monkeypatch):
    seen = []
    monkeypatch.setattr(
        adjusted, "covariance_test", lambda *parts: seen.append(parts[0][:, 0].tolist()) or 0.05
    )
    table = pd.DataFrame({"a": np.arange(5001.0), "b": 0.0})
    for rows, seed in ((5000, 0), (5001, 0), (5001, 0), (5001, 1)):
        assert check_implications(table[:rows], [("a", "b", frozenset())], seed=seed)[0].word == FAILS
    assert [len(one) for one in seen] == [5000] * 4 and sorted(seen[0]) == table["a"][:5000].tolist()
    assert seen[1] == seen[2] != seen[3]
    check_implications(table, [("a", "b", frozenset())])
    assert seen[4] == seen[1]
