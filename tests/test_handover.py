"""Figures handed over: listed, drawn again from their data, and in one archive."""

import re
import subprocess
import sys
import zipfile
from importlib import import_module
from pkgutil import iter_modules

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from PIL import Image
from run_files import write_manifest

from csrec_core import plots
from csrec_core.cli import cli
from csrec_core.plots.files import save_drawing
from csrec_core.plots.policy import plot_exploration
from csrec_core.plots.scores import plot_scores
from csrec_core.report.allowed import keep_allowed
from csrec_core.report.handover import inline_svg, picture
from csrec_core.report.redraw import redraw_script
from csrec_core.report.report import Report
from csrec_core.report.slide import split_caption

SCORES = pd.DataFrame(
    {"model": ["m", "c"], "metric": "AUC", "mean": [0.7, 0.6], "lower": [0.65, 0.5], "upper": [0.75, 0.7]}
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


def test_a_function_draws_from_the_csv_and_its_script_does_so_again_without_this_package(run):
    folder = run / "figures" / "03_train" / "scores"
    block = "import runpy, sys; sys.modules['csrec_core'] = None; runpy.run_path('redraw.py')"
    subprocess.run([sys.executable, "-I", "-c", block], cwd=folder, check=True)
    assert (folder / "redrawn.svg").read_bytes() == (folder / "scores.svg").read_bytes()
    assert (folder / "redrawn.png").read_bytes() == (folder / "scores.png").read_bytes()
    imported = re.findall(r"^(?:import|from) (\w+)", (folder / "redraw.py").read_text(), re.M)
    assert {name for name in imported if name not in sys.stdlib_module_names} <= {
        "matplotlib",
        "numpy",
        "pandas",
    }


def every_drawing():
    rooms = [import_module(f"{plots.__name__}.{room.name}") for room in iter_modules(plots.__path__)]
    return [
        value
        for room in rooms
        for name, value in vars(room).items()
        if name.startswith("plot_") and value.__module__ == room.__name__
    ]


@pytest.mark.parametrize("drawing", every_drawing(), ids=lambda drawing: drawing.__name__)
def test_every_drawing_can_be_written_out_as_a_script(drawing):
    text = redraw_script(drawing, slug="x", options={"seed": 1})
    names = {alias.split(".")[0] for alias in re.findall(r"^(?:import|from) (\S+)", text, re.M)}
    assert "csrec_core" not in names and "seed=1)" in text
    defined = {}
    exec(
        compile(text[: text.index("\nfolder = ")], drawing.__name__, "exec"), defined
    )  # a name left out raises here, or below
    code = [
        value.__code__ for value in defined.values() if hasattr(value, "__code__") and value.__module__ != "x"
    ]
    for one in code:
        free = {used for used in one.co_names if used in vars(sys.modules[drawing.__module__])}
        assert free <= defined.keys(), free - defined.keys()


def test_a_drawing_in_a_page_has_text_values_on_hover_and_ids_of_its_own(run):
    drawn = []
    for notebook in ("03_train", "04_effect"):
        svg = run / "figures" / notebook / "scores" / "scores.svg"
        drawn.append(
            BeautifulSoup(keep_allowed(inline_svg(svg.read_text(), notebook, 'Dots "<b>".')), "html.parser")
        )
    texts = [text.get_text() for text in drawn[0].find_all("text")]
    assert {"AUC", "m", "c", "0.700"} <= set(texts)
    assert [title.get_text() for title in drawn[0].find_all("title")] == [
        "c: 0.6000 [0.5000, 0.7000]",
        "m: 0.7000 [0.6500, 0.7500]",
    ]
    assert all(title.parent.name == "use" for title in drawn[0].find_all("title"))
    assert drawn[0].svg["aria-label"] == 'Dots "<b>".' and not drawn[0].find("b")
    ids = [{tag["id"] for tag in soup.find_all(id=True)} for soup in drawn]
    assert ids[0] and not ids[0] & ids[1]
    for soup, own in zip(drawn, ids, strict=True):
        used = {tag["href"][1:] for tag in soup.find_all("use")}
        used |= {
            found
            for tag in soup.find_all(attrs={"clip-path": True})
            for found in re.findall(r"#([\w-]+)", tag["clip-path"])
        }
        assert used == own
    # Nothing is painted behind it, so that a page may be dark.
    assert not drawn[0].find("path", fill="#ffffff") and not drawn[0].find("style")


def test_a_cloud_of_points_is_a_picture_within_the_drawing(tmp_path):
    rng = np.random.default_rng(0)
    cells = pd.DataFrame({"effect": rng.normal(size=9000), "width": rng.random(9000), "zone": "explore"})
    png, svg = save_drawing(plot_exploration(cells), tmp_path / "cells")
    html = picture(png, svg, "Cells.")
    assert len(html) < 250_000 and html.startswith("<svg") and "<text" in html
    assert BeautifulSoup(keep_allowed(html), "html.parser").image["href"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("caption", "title", "foot"),
    [
        (
            "It falls by 3.1 points. Doubly robust (9 users).",
            "It falls by 3.1 points.",
            "Doubly robust (9 users).",
        ),
        ("The scores (1,200 exposures).", "The scores.", "1,200 exposures."),
        (r"What $D_{t}$ costs: 5 \$.", "What D_t costs: 5 $.", ""),
    ],
)
def test_a_slide_has_the_finding_on_top_and_the_method_in_the_foot(run, caption, title, foot):
    assert split_caption(caption) == (title, foot)
    slide = run / "figures" / "03_train" / "scores" / "slide.png"
    with Image.open(slide) as image:
        assert image.size == (1920, 1080)


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
    assert len(names) == 15 and {"03_train/scores/scores.svg", "04_effect/scores/redraw.py"} <= names
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
