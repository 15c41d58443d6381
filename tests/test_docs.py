"""The documentation: its Python runs, its commands do what they say, its links and pictures are there."""

import re
import shlex

import pytest
import yaml
from click.testing import CliRunner
from conftest import PROJECT

from csrec_core.cli import cli
from csrec_core.report.parameters import read_parameters
from csrec_core.report.plan import NOTEBOOKS

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
LARGEST = 150_000  # bytes of a picture


def blocks(text: str, *kinds: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of these kinds, in order, each with its kind."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.S | re.M)
    return [(kind, block) for kind, block in found if kind in kinds]


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.stem != "gallery"], ids=lambda path: path.stem
)
def test_python_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _, block in blocks(path.read_text(), "python"):
        exec(compile(block, path.name, "exec"), {})


def test_the_tutorial_does_what_it_says(tmp_path, monkeypatch):
    """Every command, in order; of a report only the notebook on the log, which takes seconds."""
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "docs" / "tutorial.md").read_text()
    ran = []
    for kind, block in blocks(text, "python", "sh", "yaml"):
        if kind == "python":
            exec(compile(block, "tutorial.md", "exec"), {})
        elif kind == "yaml":
            (tmp_path / re.match(r"# ([\w-]+\.yaml)", block)[1]).write_text(block)
    for _, block in blocks(text, "sh"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)[1:]
            if words[0] == "report":
                words += ["--out", "reports", "--notebook", "02_data"]
            if words[0] == "figures":
                words += ["--out", "reports"]
            result = CliRunner().invoke(cli, words)
            assert result.exit_code == 0, f"{line}\n{result.output}{result.exception!r}"
            ran.append(result)
    # The guess that the page shows is the one that is made.
    shown = next(block for _, block in blocks(text, "text") if block.startswith("read as"))
    assert ran[0].stdout.startswith(shown)
    assert (tmp_path / "shop-figures.zip").is_file()
    assert (tmp_path / "reports" / "shop-grid" / "backbone-gru4rec_seed-2" / "index.html").is_file()


#: What each command of the gallery must show: arms, and what else tells that the rows were understood.
GALLERY = (
    ("Mens E-Mail", "No E-Mail", "without time or order"),
    ("bts", "random", "propensities"),
    ("feed", "rand"),
    ("system  10000", "needs a second arm beside system"),
    ("self", "system", "left out: "),
)


def test_the_gallery_can_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "docs" / "gallery.md").read_text()
    for _, block in blocks(text, "python"):
        exec(compile(block, "gallery.md", "exec"), {})
    commands = [shlex.split(block)[1:] for _, block in blocks(text, "sh")]
    for words, shown in zip(commands, GALLERY, strict=True):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0 and all(part in result.stdout for part in shown), result.output


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_parameter_files_set_parameters_that_exist(path):
    known = {
        name
        for notebook in NOTEBOOKS
        for name in read_parameters(PROJECT / "notebooks" / f"{notebook}.ipynb")
    }
    for _, block in blocks(path.read_text(), "yaml"):
        content = yaml.safe_load(block)
        names = {*content, *content.get("grid", {})} - {"grid"}
        assert {name for name in names if not name.startswith(".")} <= known


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere_and_pictures_are_small_and_described(path):
    text = path.read_text()
    for picture, words, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        if target.startswith(("http", "#")):
            continue
        file = path.parent / target
        assert file.exists(), target
        if picture:
            assert len(words) > 20 and file.stat().st_size < LARGEST, target
