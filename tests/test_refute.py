"""Refutations fire on what they are made for and stay silent otherwise; sensitivity as published."""

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect import refute as refutation
from csrec_core.effect.penalty import penalty_path
from csrec_core.effect.refute import CHECKS, PROBLEM, doubly_robust_effect, refute
from csrec_core.effect.sensitivity import e_value, sensitivity
from csrec_core.errors import InputError

sys.path.insert(0, str(PROJECT / "benchmarks"))
import refutations as cases

SIZE = {"users": 500, "items": 80, "steps": 15, "seed": 4}
FOR_JUDGING = ("E-value", "partial R2")


@pytest.fixture(scope="module")
def world():
    return simulate_books(**SIZE, drift=0.0)


@pytest.fixture(scope="module")
def table(world):
    return refute(world).set_index("check")


def problem(dataset: Dataset, check: str, estimate=doubly_robust_effect) -> bool:
    return refute(dataset, estimate=estimate, checks=(check,))["verdict"][0] == PROBLEM


def test_the_default_estimate_holds_the_truth(world):
    mean, low, high = doubly_robust_effect(world)
    truth = world.truth[world.truth["source"] == "system"]
    assert low < (truth["p_system"] - truth["p_self"]).mean() < high
    assert low < mean < high < low + 0.1


def test_no_effect_is_found_where_there_is_none():
    none = simulate_books(**SIZE, effect=0.0, trust_spread=0.0)
    _, low, high = doubly_robust_effect(none)
    assert low < 0 < high


def test_a_clean_world_passes(table):
    assert list(table.index) == list(CHECKS)
    assert (table["verdict"] != PROBLEM).all()
    assert (table.loc[list(FOR_JUDGING), "verdict"] == "for you to judge").all()
    assert (table.drop([*FOR_JUDGING])["verdict"] == "no problem found").all()
    assert table["expected"].str.len().min() > 10 and table["found"].str.len().min() > 3


@pytest.mark.parametrize(
    ("check", "case"),
    [
        ("both decisions in both sources", "accepted only (both)"),
        ("placebo regime", "f~ from liked (placebo)"),
        ("negative-control outcome", "start after yes (control)"),
        ("lag placebo", "amplification 0.5 (lag)"),
        ("dummy outcome", "difference (dummy)"),
        ("random common cause", "one neighbour (cause)"),
        ("data subset", "rows as users (subset)"),
    ],
)
def test_each_check_fires_where_it_should(check, case):
    assert cases.checks_of(case) == (check,)
    world, change, estimate = cases.CASES[case]
    dataset = simulate_books(**(SIZE | {"users": 1000, "seed": 3} | world))
    assert problem(change(dataset) if change else dataset, check, estimate)


def test_dowhy_leaves_the_global_generators_alone(world):
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (refute(world, checks=("dummy outcome, dowhy",), seed=3) for _ in range(2))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    pd.testing.assert_frame_equal(first, second)


def test_what_a_log_cannot_show_is_said(world):
    own = world.log["source"] == "self"
    short = Dataset(world.log[~own | (world.log["t"] <= 3)].reset_index(drop=True), items=world.items)
    row = refute(short, checks=("lag placebo",)).iloc[0]
    assert (
        row["verdict"] == "not possible on this log"
        and "too few users" in row["found"]
        and np.isnan(row["p"])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"checks": ("lag placbo",)}, "did you mean 'lag placebo'"), ({"alpha": 0}, "alpha = 0")],
)
def test_bad_input_is_refused(world, options, message):
    with pytest.raises(InputError, match=message):
        refute(world, **options)


def test_e_value_as_published():
    """VanderWeele and Ding 2017: a risk ratio of 3.9 [1.8, 8.7] has E-values of 7.26 and 3.0."""
    assert e_value(3.9, 1.8, 8.7) == pytest.approx((7.26, 3.0), abs=5e-3)
    assert e_value(1 / 3.9, 1 / 8.7, 1 / 1.8) == pytest.approx((7.26, 3.0), abs=5e-3)
    assert e_value(1.5, 0.8, 2.0)[1] == 1
    with pytest.raises(InputError, match="positive numbers in order"):
        e_value(2, 3, 1)


def regression(rows: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    d = (x + rng.normal(size=rows) > 0).astype(float)
    return 0.3 * d + 0.5 * x + rng.normal(size=rows), d, x


def left(values, *given):
    matrix = np.column_stack(given)
    return values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]


def test_a_hidden_cause_of_the_robustness_value_leaves_nothing():
    """Built to explain exactly that share of source and outcome, it takes the effect to 0."""
    y, d, x = regression()
    found, one = sensitivity(y, d, x), np.ones(len(y))
    source = left(d, one, x)
    outcome = left(left(y, one, x), source)
    other = left(np.random.default_rng(1).normal(size=len(y)), one, x, source, outcome)
    unit = [part / np.linalg.norm(part) for part in (source, outcome, other)]
    r = found.robustness
    parts = np.sqrt(r), np.sqrt(r * (1 - r)), (1 - r)
    z = sum(share * part for share, part in zip(parts, unit, strict=True))
    coefficients = np.linalg.lstsq(np.column_stack([d, one, x, z]), y, rcond=None)[0]
    assert found.effect > 0.1 and coefficients[0] == pytest.approx(0, abs=1e-9)


def test_sensitivity_as_published():
    """Cinelli and Hazlett 2020, Darfur: a partial R2 of 2.2% has a robustness value of 13.9%."""
    rng = np.random.default_rng(2)
    rows = 1000
    one, x = np.ones(rows), rng.normal(size=rows)
    d = rng.normal(size=rows)
    source = left(d, one, x)
    noise = left(rng.normal(size=rows), one, x, source)
    r2 = 0.02187
    y = source / np.linalg.norm(source) * np.sqrt(r2) + noise / np.linalg.norm(noise) * np.sqrt(1 - r2)
    found = sensitivity(y, d, x)
    assert found.partial_r2 == pytest.approx(r2) and found.robustness == pytest.approx(0.139, abs=1e-3)


def test_a_useless_covariate_takes_little_away():
    y, d, x = regression()
    noise = np.random.default_rng(3).normal(size=len(y))
    weak, strong = sensitivity(y, d, noise), sensitivity(y, d, x)
    assert 0.8 * weak.effect < weak.adjusted < weak.effect
    assert strong.adjusted < 0.5 * strong.effect
    with pytest.raises(InputError, match="determines the source"):
        sensitivity(y, d, 2 * d)


def test_the_penalty_shrinks_towards_nothing():
    """A squared penalty on the difference of two means has a closed form."""

    def estimate(penalty: float):
        mean = 0.1 / (1 + 2 * penalty * 0.25)
        return mean, mean - 0.01, mean + 0.01

    path = penalty_path(estimate, (2.0, 0.0, 10.0))
    assert path["penalty"].tolist() == [0, 2, 10]
    np.testing.assert_allclose(path["kept"], [1, 1 / 2, 1 / 6])
    with pytest.raises(InputError, match="with 0 among them"):
        penalty_path(estimate, (1.0,))


def test_the_placebo_leaves_a_margin():
    """Worst case of the null: the true shift lies at the margin's end."""
    error, margin = 0.002, 0.005
    for shift in (0.0, 0.004, 0.009, -0.02):
        found = refutation._zero((shift, shift - 1.96 * error, shift + 1.96 * error), margin=margin)
        draws = np.random.default_rng(0).normal(margin, error, 200_000)
        assert found.p == pytest.approx((np.abs(draws) >= abs(shift)).mean(), abs=3e-3)
