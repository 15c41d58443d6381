"""The documentation: its Python runs, its commands do what they say, its links and pictures are there."""

import doctest
import importlib
import inspect
import re
import shlex

import pytest
import yaml
from bs4 import BeautifulSoup
from click.testing import CliRunner
from conftest import PROJECT

import csrec_core
from csrec_core.cli import cli
from csrec_core.report.parameters import read_parameters
from csrec_core.suites import NOTEBOOKS

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
LARGEST = 150_000  # bytes of a picture


def blocks(text: str, *kinds: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of these kinds, in order, each with its kind."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.S | re.M)
    return [(kind, block) for kind, block in found if kind in kinds]


MODULES = [path for path in (PROJECT / "csrec_core").rglob("*.py") if "\n    >>> " in path.read_text()]
MODULES = [PROJECT / "csrec_core" / "__init__.py", *sorted(MODULES)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_examples_of_the_docstrings(path):
    name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert not found.failed


def test_the_reference_of_the_public_names(tmp_path):
    """The site that `make api` builds tells of every public name its parameters, or attributes, and what it returns."""
    pdoc = pytest.importorskip("pdoc", reason="pdoc is not installed: no reference is built")
    modules = re.search(r"pdoc .* -o api (.*)", (PROJECT / "Makefile").read_text())[1].split()
    public = {name: module for name, module in csrec_core.PUBLIC.items() if name != "effect"}
    assert set(modules) == set(public.values())
    pdoc.render.configure(docformat="numpy")
    pdoc.pdoc(*modules, output_directory=tmp_path)
    for name, module in public.items():
        page = BeautifulSoup((tmp_path / f"{module.replace('.', '/')}.html").read_text(), "html.parser")
        section = page.find(id=name)
        titles = [title.get_text() for title in section.parent.find_all(["h6", "h5"])]
        assert {"Parameters", "Attributes"} & set(titles) or name == "InputError", (name, titles)
        summary = inspect.getdoc(getattr(csrec_core, name)).splitlines()[0]
        assert re.sub(r"\W+", " ", summary) in re.sub(r"\W+", " ", section.parent.get_text())


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
            # One point of its grid shows what four do.
            few = block.replace("[sasrec, gru4rec]", "[gru4rec]").replace("seed: [1, 2]", "seed: [1]")
            (tmp_path / re.match(r"# ([\w-]+\.yaml)", block)[1]).write_text(few)
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
    assert (tmp_path / "reports" / "shop-grid" / "backbone-gru4rec_seed-1" / "index.html").is_file()


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


def test_every_picture_stands_on_a_page():
    shown = set(re.findall(r"pictures/([\w-]+\.png)\)", "".join(path.read_text() for path in PAGES)))
    assert shown == {path.name for path in (PROJECT / "docs" / "pictures").iterdir()}
