"""`csrec identify --data`: the effect under an adjustment set, and what data say of a graph."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
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
    assert "course = 1, against course = 0, raises" in found.output
