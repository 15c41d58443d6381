"""Report: what is shown, what is recorded, what is saved."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from csrec_core.report import report as module
from csrec_core.report.formula import prose, to_mathml
from csrec_core.report.report import Report, project_folder, run_folder
from csrec_core.verdict import FAILS, HOLDS, UNDECIDED, Verdict

FRAME = pd.DataFrame({"t": [0, 1, 2], "ter": [0.1, -0.05, 1e-7]})
EVIL = "<script>alert('x')</script> & co"


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would display: the output's data and metadata, in order."""
    outputs = []
    monkeypatch.setattr(module, "get_ipython", lambda: object())
    monkeypatch.setattr(
        module, "display", lambda data, raw, metadata: outputs.append((data, metadata["csrec"]))
    )
    return outputs


@pytest.fixture
def report(tmp_path):
    return Report("03_train", out=tmp_path, parameters={"seed": 1}, data_hash="sha256:ab")


def record(report):
    return json.loads((report.folder / "record" / "03_train.json").read_text())


def draw(report, slug="over-time", **changes):
    _, ax = plt.subplots()
    ax.plot(FRAME.t, FRAME.ter)
    about = {"data": FRAME, "caption": "The effect.", "alt": "A falling line."} | changes
    report.figure(ax, slug, **about)


def test_records_in_order_what_was_said(report):
    report.finding("It rises by 0.1.", ter=(0.1, 0.0, np.float32(0.2)), users=np.int64(5), lost=float("nan"))
    report.warning("Few users.")
    report.verdict(Verdict("overlap", UNDECIDED, "few users", np.float64(0.4), 0.2, 0.6, 0.5, "decisive"))
    content = record(report)
    assert content["notebook"] == "03_train" and content["parameters"] == {"seed": 1}
    assert content["data_hash"] == "sha256:ab"
    finding, warning, verdict = content["entries"]
    assert finding["numbers"]["ter"] == {"value": 0.1, "lower": 0.0, "upper": pytest.approx(0.2)}
    assert finding["numbers"]["users"] == {"value": 5.0} and finding["numbers"]["lost"] == {"value": None}
    assert warning == {"kind": "warning", "text": "Few users."}
    assert verdict == {
        "kind": "verdict", "name": "overlap", "verdict": "undecided", "detail": "few users", "value": 0.4,
        "lower": 0.2, "upper": 0.6, "threshold": 0.5, "severity": "decisive", "p": None,
    }  # fmt: skip


def test_a_new_report_starts_a_new_record(report, tmp_path):
    report.warning("Old.")
    Report("03_train", out=tmp_path)
    assert record(report)["entries"] == []


@pytest.mark.parametrize("number", ["0.1", (1, 2), None, (1, "a", 2)])
def test_refuses_what_is_no_number(report, number):
    with pytest.raises(ValueError, match="'ter'"):
        report.finding("It rises.", ter=number)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_refuses_an_empty_sentence(report, text):
    with pytest.raises(ValueError, match="sentence"):
        report.finding(text)
    with pytest.raises(ValueError, match="sentence"):
        draw(report, alt=text)


def test_refuses_the_same_number_verdict_or_slug_twice(report):
    report.finding("One.", ter=1)
    with pytest.raises(ValueError, match="'ter' was reported before"):
        report.finding("Two.", ter=2)
    report.verdict(Verdict("theorem", HOLDS, "x"))
    with pytest.raises(ValueError, match="'theorem' was given before"):
        report.verdict(Verdict("theorem", FAILS, "x"))
    draw(report)
    with pytest.raises(ValueError, match="'over-time' is taken"):
        report.table(FRAME, "over-time", caption="The same name.")


def test_a_cell_run_again_replaces_what_it_said(report, monkeypatch):
    running = [("cell-1", "execution-1")]
    monkeypatch.setattr(module, "_running_cell", lambda: running[0])
    report.finding("First.", ter=1)
    report.table(FRAME, "numbers", caption="Numbers.")
    running[0] = ("cell-2", "execution-2")
    report.warning("Of another cell.")
    running[0] = ("cell-1", "execution-3")
    report.table(FRAME, "numbers", caption="Better numbers.")
    entries = record(report)["entries"]
    assert [e.get("caption", e.get("text")) for e in entries] == ["Of another cell.", "Better numbers."]


@pytest.mark.parametrize("slug", ["", "Over Time", "../x", "a/b", "<b>"])
def test_refuses_a_slug_that_is_no_file_name(report, slug):
    with pytest.raises(ValueError, match="slug"):
        draw(report, slug)
    plt.close("all")


@pytest.mark.parametrize("name", ["", "../03", "a\\b"])
def test_refuses_a_name_that_leads_elsewhere(tmp_path, name):
    with pytest.raises(ValueError, match="named after its notebook"):
        Report(name, out=tmp_path)


def test_a_figure_is_saved_with_its_data_and_words_and_closed(report):
    draw(report)
    folder = report.folder / "figures" / "03_train" / "over-time"
    names = ["over-time.png", "over-time.svg", "over-time.csv", "slide.png", "caption.txt", "alt.txt"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "over-time.csv"), FRAME)
    assert (folder / "caption.txt").read_text() == "The effect.\n"
    assert (folder / "alt.txt").read_text() == "A falling line.\n"
    assert record(report)["entries"][0]["files"] == [f"figures/03_train/over-time/{name}" for name in names]
    assert plt.get_fignums() == []


def test_the_same_figure_is_the_same_bytes(report, tmp_path):
    draw(report)
    again = Report("03_train", out=tmp_path / "again")
    draw(again)
    for name in record(report)["entries"][0]["files"]:
        assert (report.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_a_figure_has_an_image_its_alternative_and_its_caption(report, shown):
    draw(report, caption="The effect of $D_t$.", alt='A "falling" line.')
    data, about = shown[-1]
    figure = BeautifulSoup(data["text/html"], "html.parser").figure
    assert figure["id"] == "figure-over-time" and about == {"kind": "figure", "slug": "over-time"}
    assert figure.svg["role"] == "img" and figure.svg["aria-label"] == 'A "falling" line.'
    assert figure.figcaption.math and "$" not in figure.figcaption.get_text()


@pytest.mark.parametrize("thing", ["axes", "figure", "not"])
def test_a_figure_is_drawn_on_axes_or_a_figure(report, thing):
    figure, ax = plt.subplots()
    drawing = {"axes": ax, "figure": figure, "not": [1]}[thing]
    if thing == "not":
        with pytest.raises(TypeError, match="matplotlib"):
            report.figure(drawing, "x", data=FRAME, caption="c", alt="a")
    else:
        report.figure(drawing, "x", data=FRAME, caption="c", alt="a")
    plt.close("all")


def test_a_table_aligns_its_numbers(report, shown):
    frame = pd.DataFrame(
        {
            "model": ["a", "b"],
            "auc": [0.51234, np.nan],
            "small": [-1e-7, 0.0],
            "n": [10_000, -1],
            "interval": ["0.12 [0.10, 0.14]", "–"],
            "ok": [True, False],
        }
    ).set_index("model")
    report.table(frame, "metrics", caption="Metrics.", digits=2)
    soup = BeautifulSoup(shown[-1][0]["text/html"], "html.parser")
    first, second = (row.find_all(["th", "td"]) for row in soup.tbody.find_all("tr"))
    assert [c.text for c in first] == ["a", "0.51", "0.00", "10,000", "0.12 [0.10, 0.14]", "yes"]
    assert [c.text for c in second] == ["b", "–", "0.00", "−1", "–", "no"]
    assert soup.find(class_="interval").text == "[0.10, 0.14]"
    assert [c.get("class") for c in first] == [None, *[["number"]] * 4, None]
    assert first[0].name == "th" and first[0]["scope"] == "row"
    assert soup.find(class_="table-box")["tabindex"] == "0"
    saved = pd.read_csv(report.folder / "tables" / "03_train" / "metrics.csv", index_col="model")
    pd.testing.assert_frame_equal(saved, frame)


def test_everything_said_is_escaped(report, shown):
    report.finding(EVIL)
    report.warning(EVIL)
    report.verdict(Verdict(EVIL, FAILS, EVIL))
    report.text(EVIL)
    draw(report, caption=EVIL, alt=EVIL + '"')
    report.table(pd.DataFrame({EVIL: [EVIL]}, index=pd.Index([EVIL], name=EVIL)), "t", caption=EVIL)
    html = "".join(data["text/html"] for data, _ in shown)
    soup = BeautifulSoup(html, "html.parser")
    assert soup.script is None
    assert soup.get_text().count("alert('x')") == 11
    assert soup.svg["aria-label"] == EVIL + '"'


def test_says_nothing_outside_of_a_notebook(report, capsys):
    report.finding("Quiet.")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("latex", [r"\frac{a}{b}", r"\tilde f_\eta", r"\{0,1\}", r"D \perp\!\!\!\perp S"])
def test_renders_formulas(latex):
    mathml = to_mathml(latex)
    assert mathml.startswith("<math") and "\\" not in mathml and "http" not in mathml
    assert 'tabindex="0"' in to_mathml(latex, display=True)


def test_lines_over_and_under_a_formula_are_borders():
    mathml = to_mathml(r"G_{\overline{S_{1:2}}, \underline{S_3}}")
    assert mathml.count("border-top") == mathml.count("border-bottom") == 1 and "―" not in mathml


@pytest.mark.parametrize("latex", ["", r"\frac{a", "a_", r"\unknown{x}", r"\left( a", "a & b", "a}"])
def test_refuses_formulas_that_would_come_out_broken(report, latex):
    with pytest.raises(ValueError, match="cannot render the formula"):
        report.formula(latex)


def test_what_is_no_formula_in_a_sentence_stands_as_it_is(report, shown):
    """A name in the data may look like one, and must not end a run; a formula on its own must be one."""
    report.finding(r"It rises for $\frac{$ & co.")
    assert shown[-1][0]["text/html"] == r'<p class="finding">It rises for $\frac{$ &amp; co.</p>'
    with pytest.raises(ValueError, match="cannot render"):
        report.formula(r"\frac{")


def test_sentences_hold_formulas():
    assert prose("a < $x$ and $y$").count("<math") == 2
    assert prose("costs 5 $ < 6") == "costs 5 $ &lt; 6"


def test_the_run_folder_is_the_projects_unless_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_folder("here") == tmp_path / "here" and (tmp_path / "here").is_dir()
    monkeypatch.setattr(module, "project_folder", lambda: tmp_path / "project")
    assert run_folder() == tmp_path / "project" / "reports" / "notebook"
    assert (project_folder() / "pyproject.toml").is_file()
