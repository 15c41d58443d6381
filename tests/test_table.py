"""Tables: what is the best, and what is not told apart from it."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from csrec_core.metrics import directions
from csrec_core.report.table import table_html

SCORES = pd.DataFrame(
    {
        "AUC": ["0.70 [0.66, 0.74]", "0.68 [0.63, 0.72]", "0.55 [0.50, 0.60]", "0.90 [0.88, 0.92]", "–"],
        "BCE": ["0.61 [0.60, 0.62]", "0.61 [0.60, 0.62]", "−0.05 [−0.06, −0.04]", "0.40 [0.39, 0.41]", "0.7"],
    },
    index=pd.Index(["CSRec", "trees", "step", "oracle", "ranking"], name="model"),
)


def marks(html: str) -> dict[str, list[str]]:
    """Return for each row what its cells bear: best, alike or nothing."""
    soup = BeautifulSoup(html, "html.parser")
    rows = {}
    for row in soup.tbody.find_all("tr"):
        rows[row.th.text] = [
            "best" if cell.strong else "alike" if cell.find(class_="alike") else ""
            for cell in row.find_all("td")
        ]
    return rows


def test_the_best_is_marked_with_what_overlaps_it():
    html = table_html(SCORES, "s", caption="c", best=directions(SCORES), apart=["oracle"])
    assert marks(html) == {
        "CSRec": ["best", ""],
        "trees": ["alike", ""],
        "step": ["", "best"],
        "oracle": ["", ""],
        "ranking": ["", ""],
    }
    soup = BeautifulSoup(html, "html.parser")
    assert soup.strong.text == "0.70" and soup.find(class_="interval").text == "[0.66, 0.74]"
    # A reader who hears the table is told, too; the caption explains the marks.
    assert "0.70 (best) [0.66, 0.74]" in soup.text and "not told apart from the best" in soup.figcaption.text


def test_ties_are_all_the_best_and_numbers_alone_have_no_interval():
    frame = pd.DataFrame({"model": ["a", "b", "c"], "NDCG": [0.3, 0.3, 0.299]})
    html = table_html(frame.set_index("model"), "s", caption="c", best={"NDCG": "high"})
    assert marks(html) == {"a": ["best"], "b": ["best"], "c": [""]}


def test_the_interval_of_a_mean_is_in_the_columns_beside_it():
    frame = pd.DataFrame(
        {"mean": [0.1, 0.3], "lower": [0.0, 0.15], "upper": [0.2, 0.4]}, index=pd.Index(["a", "b"])
    )
    html = table_html(frame, "s", caption="c", best={"mean": "high"})
    assert marks(html) == {"a": ["alike", "", ""], "b": ["best", "", ""]}


@pytest.mark.parametrize("best", [None, {}, {"AUC": "high"}])
def test_nothing_is_marked_unasked_or_without_a_rival(best):
    html = table_html(SCORES.iloc[:1], "s", caption="c", best=best)
    assert marks(html) == {"CSRec": ["", ""]}
    assert "Bold" not in html


@pytest.mark.parametrize(
    ("texts", "number"),
    [(["12", "−3"], True), (["0.1 [0.0, 0.2]", "–"], True), (["< 1e-16", ""], True), (["1,234", "5%"], True),
     (["04_effect", "05_x"], False), (["3 of 4", "x"], False), (["", "–"], False)],
)  # fmt: skip
def test_texts_that_are_numbers_stand_on_the_right(texts, number):
    soup = BeautifulSoup(table_html(pd.DataFrame({"x": texts}), "s", caption="c"), "html.parser")
    assert bool(soup.td.get("class")) == number
