"""Two runs side by side: what differs, what moved, and its page."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from run_files import write_manifest, write_record

from csrec_core.errors import InputError
from csrec_core.report.compare import compare_runs, comparison_text, write_comparison


def write_run(reports, name, *, numbers, parameters, verdict="holds", log="a" * 64):
    """Write what a run of one notebook leaves; `numbers` as (value, lower, upper) or (value,)."""
    folder = reports / name
    said = [
        {"kind": "finding", "text": "It is.", "numbers": {
            key: dict(zip(("value", "lower", "upper"), value, strict=False)) for key, value in numbers.items()
        }},
        {"kind": "verdict", "name": "estimable", "verdict": verdict, "detail": ""},
    ]  # fmt: skip
    write_record(folder, "04_effect", said, out=str(folder), **parameters)
    write_manifest(folder, ["04_effect"], parameters=parameters, data={"path": None, "hash": log})


@pytest.fixture
def reports(tmp_path):
    first = {"effect": (0.10, 0.08, 0.12), "auc": (0.60, 0.50, 0.70), "users": (100.0,), "gone": (1.0,)}
    second = {"effect": (0.20, 0.17, 0.23), "auc": (0.62, 0.52, 0.72), "users": (200.0,), "new": (2.0,)}
    write_run(tmp_path, "a", numbers=first, parameters={"seed": 1, "users": 100})
    write_run(tmp_path, "b", numbers=second, parameters={"seed": 1, "users": 200}, verdict="undecided")
    write_run(
        tmp_path,
        "c",
        numbers=first | {"effect": (0.11, 0.09, 0.13)},
        parameters={"seed": 2, "users": 100},
        log="f" * 64,
    )
    return tmp_path


def test_what_moved_beyond_its_interval(reports):
    found = compare_runs(reports, ["a", "b"])
    numbers = found.numbers.set_index("number")
    assert numbers["verdict"].to_dict() == {
        "effect": "moved", "auc": "not told apart", "users": "differs",
        "gone": "only in the first", "new": "only here",
    }  # fmt: skip
    # Zou and Donner (2008): each end from the near ends of the two intervals, in squares.
    effect = numbers.loc["effect"]
    assert effect["difference"] == pytest.approx(0.10)
    assert effect["difference_lower"] == pytest.approx(0.10 - np.hypot(0.03, 0.02))
    assert effect["difference_upper"] == pytest.approx(0.10 + np.hypot(0.03, 0.02))
    assert numbers.loc["users", ["difference_lower", "difference_upper"]].isna().all()
    assert found.parameters.to_dict("records") == [
        {"parameter": "users", "a": "100", "b": "200", "notebooks": "04_effect"}
    ]
    assert found.verdicts.to_dict("records") == [
        {"notebook": "04_effect", "verdict": "estimable", "a": "holds", "b": "undecided"}
    ]


def test_the_data_come_first_then_settings_then_what_differs_beyond_error(reports):
    same = compare_runs(reports, ["a", "b"]).sentences
    assert same == ["All runs read the same data.", "Settings that differ: users.",
                    "Of the numbers with an error, 1 of 2 move beyond it: effect."]  # fmt: skip
    found = compare_runs(reports, ["a", "b", "c"])
    assert found.sentences[:2] == [
        "The data changed: a aaaaaaaaaaaa, b aaaaaaaaaaaa, c ffffffffffff.", "Settings that differ: seed, users.",
    ]  # fmt: skip
    assert found.parameters.to_dict("list") == {
        "parameter": ["seed", "users"], "a": ["1", "100"], "b": ["1", "200"], "c": ["2", "100"],
        "notebooks": ["04_effect"] * 2,
    }  # fmt: skip
    # c is within error of a in everything, so that what is shown is b's, with c beside it.
    effect = found.shown.set_index("number").loc["effect"]
    assert (effect["a"], effect["b"], effect["c"]) == (
        "0.100 [0.080, 0.120]",
        "0.200 [0.170, 0.230]",
        "0.110 [0.090, 0.130]",
    )
    assert effect["difference"] == "0.100 [0.064, 0.136]" and effect["verdict"] == "moved"
    assert "auc" not in set(found.shown["number"])


def test_of_runs_that_agree_nothing_is_shown(reports):
    found = compare_runs(reports, ["a", "c"])
    assert found.shown.empty and found.verdicts.empty
    assert found.sentences[2] == "Of the numbers with an error, none moves beyond it."
    page = write_comparison(found, reports).read_text()
    assert "No headline number does." in page


def test_its_page_stands_in_the_index_and_says_what_moved(reports):
    page = write_comparison(compare_runs(reports, ["a", "b"]), reports)
    assert page == reports / "compare-a-b" / "index.html"
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert not soup.find_all("script") and [link["href"] for link in soup.h1.find_all("a")] == [
        "../a/index.html", "../b/index.html",
    ]  # fmt: skip
    assert [found.text for found in soup.find_all(class_="finding")] == compare_runs(
        reports, ["a", "b"]
    ).sentences
    row = next(row for row in soup.find(id="table-numbers").find_all("tr") if "effect" in row.text)
    cells = [cell.text for cell in row.find_all("td")][1:]
    assert cells == [
        "effect",
        "0.100 [0.080, 0.120]",
        "0.200 [0.170, 0.230]",
        "0.100 [0.064, 0.136]",
        "moved",
    ]
    assert 'href="compare-a-b/index.html"' in (reports / "index.html").read_text()
    assert pd.read_csv(page.with_name("numbers.csv"))["verdict"][0] == "moved"


def test_a_terminal_gets_the_same(reports):
    text = comparison_text(compare_runs(reports, ["a", "b"]))
    assert (
        text.startswith("All runs read the same data.")
        and "0.100 [0.064, 0.136]" in text
        and "estimable" in text
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [(("a", "bb"), "unknown run 'bb'.*did you mean 'b'"), (("a", "a"), "each once"), (("a",), "two or more")],
)
def test_refuses_what_cannot_be_compared(reports, names, says):
    with pytest.raises(InputError, match=says):
        compare_runs(reports, names)
