"""Figures handed over: listed, drawn again from their data, and in one archive."""

import re
import runpy
import zipfile

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from click.testing import CliRunner
from run_files import write_manifest

from csrec_core.cli import cli
from csrec_core.plots import plot_scores
from csrec_core.report.report import Report

SCORES = pd.DataFrame(
    {"model": ["m", "c"], "metric": "AUC", "mean": [0.7, 0.6], "low": [0.65, 0.5], "high": [0.75, 0.7]}
)


@pytest.fixture
def run(tmp_path):
    """A run of two notebooks, a figure each."""
    for name in ("03_train", "04_effect"):
        report = Report(name, out=tmp_path / "weekly")
        about = {"data": SCORES, "caption": f"Scores of {name}.", "alt": "Dots."}
        report.figure(plot_scores, "scores", **about, metric="AUC", controls=["c"])
    write_manifest(tmp_path / "weekly", ["03_train", "04_effect"])
    return tmp_path / "weekly"


def test_a_function_draws_from_the_csv_and_its_script_does_so_again(run):
    folder = run / "figures" / "03_train" / "scores"
    drawn = runpy.run_path(str(folder / "redraw.py"))["drawing"]
    assert [text.get_text() for text in drawn.texts] == ["0.600", "0.700"]
    assert (folder / "redrawn.svg").read_bytes() == (folder / "scores.svg").read_bytes()
    assert (folder / "redrawn.png").read_bytes() == (folder / "scores.png").read_bytes()


@pytest.mark.parametrize(
    ("drawing", "options", "says"),
    [
        (plot_scores, {"metric": object()}, "metric: expected a plain value"),
        (lambda frame: 1, {}, "figure 'x': expected a matplotlib Axes or Figure"),
        (plt.figure, {}, None),
    ],
)
def test_refuses_what_a_script_cannot_hold(run, drawing, options, says):
    report = Report("05_x", out=run)
    if says is None:
        with pytest.raises(TypeError, match="are for a function that draws"):
            report.figure(plt.figure(), "x", data=SCORES, caption="c", alt="a", metric="AUC")
    else:
        with pytest.raises(TypeError, match=says):
            report.figure(drawing, "x", data=SCORES, caption="c", alt="a", **options)
    plt.close("all")


def call(run, *words):
    return CliRunner().invoke(cli, ["figures", *words, "--out", str(run.parent)])


def test_figures_are_listed(run):
    result = call(run, "weekly", "--notebook", "04_effect")
    folder = run / "figures" / "04_effect" / "scores"
    assert result.exit_code == 0 and result.output == f"{folder}\n    Scores of 04_effect.\n"


def test_figures_are_zipped_with_a_list_the_same_bytes_again(run, tmp_path):
    targets = [tmp_path / name for name in ("a.zip", "b.zip")]
    for target in targets:
        assert call(run, "weekly", "--zip", str(target)).output == f"2 figures in {target}\n"
    assert targets[0].read_bytes() == targets[1].read_bytes()
    with zipfile.ZipFile(targets[0]) as archive:
        names = set(archive.namelist())
        assert archive.read("03_train/scores/scores.csv").decode() == SCORES.to_csv(index=False)
        listed = pd.read_csv(archive.open("figures.csv"))
    assert len(names) == 13 and {"03_train/scores/scores.svg", "04_effect/scores/redraw.py"} <= names
    assert listed["caption"].tolist() == ["Scores of 03_train.", "Scores of 04_effect."]


@pytest.mark.parametrize(
    ("words", "says"),
    [(["weakly"], "unknown run 'weakly'.*did you mean 'weekly'"),
     (["weekly", "--notebook", "04"], "unknown notebook '04'")],
)  # fmt: skip
def test_refuses_what_is_not_there(run, words, says):
    result = call(run, *words)
    assert result.exit_code == 2
    assert re.search(says, result.stderr)
