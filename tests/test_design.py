"""The design that a log shows, and what may be declared of it."""

import pandas as pd
import pytest

from csrec_core.data.log import Dataset
from csrec_core.effect.design import CONTROL, Design, find_design, read_design
from csrec_core.errors import InputError


def log(sources, items=(1, 2), **columns):
    frame = pd.DataFrame({"source": list(sources)})
    return Dataset(
        frame.assign(item=[items[i % len(items)] for i in range(len(frame))], **columns), name="the log"
    )


@pytest.mark.parametrize(
    ("sources", "declared", "pair"),
    [
        (["system", "self"], {}, ("system", "self")),
        (["b", "b", "a"], {}, ("b", "a")),
        (["new", "new", "old", "other", "other", "other"], {}, ("other", "old")),
        (["x", "x", "y", "y", "y"], {}, ("x", "y")),  # none is named as a control: the most frequent is
        (["x", "x", "y", "y", "y"], {"arm": "y"}, ("y", "x")),
        (["x", "y", "y", "z", "z", "z"], {"baseline": "z"}, ("y", "z")),
        (["control", "self", "z"], {}, ("control", "self")),
        (["a", "system", "z", "z"], {"baseline": "a"}, ("system", "a")),
        (["a", "b"], {"arm": "a"}, ("a", "b")),
    ],
)
def test_the_arms_of_a_log(sources, declared, pair):
    found = find_design(log(sources), **declared)
    assert (found.arm, found.baseline) == pair


@pytest.mark.parametrize(
    ("name", "is_control"),
    [
        ("Control group", True), ("no_email", True), ("a", True), ("ab", False), ("off", True), ("offer", False),
        ("0", True), ("none", True), ("nonesuch", False), ("selfish", False), ("random2", True), ("b", False),
    ],
)  # fmt: skip
def test_what_is_named_as_a_control(name, is_control):
    assert bool(CONTROL.match(name)) == is_control


@pytest.mark.parametrize(
    ("data", "declared", "estimand", "target"),
    [
        (log("ab"), {}, "exposure", "exposed"),
        (log("ab", items=(1,)), {}, "arm", "everyone"),
        (log("ab", arm_propensity=0.5), {}, "arm", "everyone"),
        (log("ab"), {"arm_propensity": 0.5}, "arm", "everyone"),
        (log("ab", arm_propensity=0.5), {"estimand": "exposure"}, "exposure", "exposed"),
        (log("ab"), {"estimand": "arm"}, "arm", "everyone"),
        (log("ab"), {"target": "uniform"}, "exposure", "uniform"),
        (log("ab"), {"estimand": "arm", "target": "exposed"}, "arm", "exposed"),
    ],
)
def test_what_is_compared_and_where(data, declared, estimand, target):
    found = find_design(data, **declared)
    assert (found.estimand, found.target, found.unit) == (estimand, target, "exposures")


@pytest.mark.parametrize(
    ("data", "declared", "message"),
    [
        (log("bb"), {}, "the log: one arm alone, 'b'; expected exposures of two arms"),
        (log("ab"), {"arm": "c"}, "unknown arm of the design"),
        (log("ab"), {"baseline": "c"}, "unknown baseline of the design"),
        (log("ab"), {"target": "everyone"}, "target everyone goes with estimand arm"),
        (log("ab"), {"confounders": ("c",)}, "unknown confounder of the design"),
        (log("ab"), {"unit": "rows"}, "unknown unit of the design"),
    ],
)
def test_what_a_log_does_not_bear_out(data, declared, message):
    with pytest.raises(InputError, match=message):
        find_design(data, **declared)


def test_confounders_are_columns_of_any_table():
    users, items = pd.DataFrame({"user": [1], "age": 1}), pd.DataFrame({"item": [1], "price": 1})
    data = Dataset(log("ab", feature_x=1).log, users=users, items=items)
    assert find_design(data, confounders=("feature_x", "age", "price")).confounders == (
        "feature_x",
        "age",
        "price",
    )


@pytest.mark.parametrize("name", ["decision", "user", "item", "source", "t", "title", "nickname"])
def test_a_confounder_is_a_column_that_the_estimate_reads(name):
    users = pd.DataFrame({"user": [1], "age": 1, "nickname": "bo"})
    data = Dataset(log("ab").log, users=users, items=pd.DataFrame({"item": [1], "title": "x", "genre": "y"}))
    with pytest.raises(
        InputError, match=f"unknown confounder of the design '{name}': expected one of age, genre"
    ):
        find_design(data, confounders=(name,))


@pytest.mark.parametrize(
    ("given", "chances"),
    [
        (0.25, (0.25, 0.75)), ({"b": 0.5, "a": 0.5}, (0.5, 0.5)), ({"b": 0.3, "a": 0.2}, (0.3, 0.2)),
        ({"b": 0.7, "a": 0.3 + 1e-10}, (0.7, 0.3)),
    ],
)  # fmt: skip
def test_chances_of_arms(given, chances):
    design = Design("b", "a", arm_propensity=given)
    assert (design.chance("b"), design.chance("a")) == pytest.approx(chances)


@pytest.mark.parametrize(
    "given",
    [
        0,
        1,
        0.0,
        1.0,
        -0.1,
        {"b": 0.6, "a": 0.5},
        {"b": 0.0, "a": 0.5},
        {"b": 0.5, "a": 1.0},
        {"b": 0.5},
        True,
        "half",
    ],
)
def test_chances_that_are_none(given):
    with pytest.raises(InputError, match="arm_propensity"):
        Design("b", "a", arm_propensity=given)


def test_a_design_says_what_it_is_and_is_read_again(tmp_path):
    design = Design("b", "a", unit="users", confounders=("x",))
    assert str(design) == (
        "b against a: the same item at the same history, exposed by one arm or by the other; mean over the items that "
        "the arm exposed, every user equally."
    )
    path = tmp_path / "design.json"
    path.write_text(pd.Series(design.to_dict()).to_json())
    assert Design(**read_design(f" {path} ")) == design
    assert read_design("confounders: x") == {"confounders": ("x",)}
    for text in ("confounders: [1, x]", "confounders: {x: 1}"):
        with pytest.raises(InputError, match="expected a list of columns"):
            read_design(text)
    with pytest.raises(InputError, match="arm and baseline are both 'a'"):
        Design("a", "a")
