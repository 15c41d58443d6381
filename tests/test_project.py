"""The project's own files agree with each other: requirements, notebooks, README, CI."""

import ast
import dataclasses
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import nbformat
import pytest
import yaml
from click.testing import CliRunner
from conftest import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from csrec_core.cli import cli
from csrec_core.report.clean import notebook_faults
from csrec_core.report.parameters import read_parameters
from csrec_core.suites import NOTEBOOKS, SUITES

NOTEBOOK_FILES = sorted((PROJECT / "notebooks").glob("*.ipynb"))
README = (PROJECT / "README.md").read_text()


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def test_conda_and_pip_install_the_same(project):
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    required = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert pip == ["-c constraints.txt", *required, "-e ."]
    python = next(e for e in environment["dependencies"] if str(e).startswith("python"))
    assert python == f"python{project['requires-python']}"


def pins(name):
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (PROJECT / name).read_text(), re.M))


def test_every_requirement_has_a_tested_version(project):
    pinned = {canonicalize_name(name): version for name, version in pins("constraints.txt").items()}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), text


def test_every_tested_version_but_torch_is_locked_by_hash():
    assert pins("requirements.lock") | {"torch": pins("constraints.txt")["torch"]} == pins("constraints.txt")
    packages = re.split(r"^(?=[\w.-]+==)", (PROJECT / "requirements.lock").read_text(), flags=re.M)[1:]
    assert all(re.search(r"^    --hash=sha256:[0-9a-f]{64}", package, re.M) for package in packages)


def test_every_requirement_has_a_reason():
    block = re.search(r"^dependencies = \[\n(.*?)^\]", (PROJECT / "pyproject.toml").read_text(), re.M | re.S)
    for line in block[1].splitlines():
        assert re.fullmatch(r'    "[^"]+",\s+# .+', line), line


def test_the_page_on_supply_has_a_licence_of_every_requirement(project):
    rows = re.findall(
        r"^\| ([\w-]+) \| (.+) \| (running|development) \|$",
        (PROJECT / "docs" / "supply.md").read_text(),
        re.M,
    )
    wanted = {"running": project["dependencies"], "development": project["optional-dependencies"]["dev"]}
    expected = [(Requirement(text).name, use) for use, texts in wanted.items() for text in texts]
    assert [(name, use) for name, _, use in rows] == expected
    assert not {"not stated", "not installed here"} & {licence for _, licence, _ in rows}


def test_every_import_is_required(project):
    """What the package imports by name is asked for by name, not left to another package."""
    trees = [ast.parse(path.read_text()) for path in (PROJECT / "csrec_core").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"csrec_core"}
    distributions = packages_distributions()
    imported = {canonicalize_name(distributions[root][0]) for root in roots}
    required = {Requirement(text).name for text in project["dependencies"]}
    extras = {name: texts for name, texts in project["optional-dependencies"].items() if name != "dev"}
    optional = {Requirement(text).name for texts in extras.values() for text in texts}
    assert imported - required == optional
    assert required - imported == {"jupyterlab", "seaborn"}  # used by hand


def test_ci_runs_the_readmes_test_command():
    assert "make test" in README
    assert (PROJECT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")


def test_suites_know_their_notebooks():
    assert [path.stem for path in NOTEBOOK_FILES] == sorted(NOTEBOOKS)
    declared = {name for path in NOTEBOOK_FILES for name in read_parameters(path)}
    for values in SUITES.values():
        assert set(values) <= declared


@pytest.mark.parametrize("path", NOTEBOOK_FILES, ids=lambda path: path.stem)
def test_notebooks_are_clean_and_readable(path):
    assert notebook_faults(path) == []


@pytest.mark.parametrize("path", NOTEBOOK_FILES, ids=lambda path: path.stem)
def test_parameters_are_typed_and_explained(path):
    source = next(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse(source).body)
    parameters = read_parameters(path)
    assert len(parameters) == len(source.splitlines())
    for parameter in parameters.values():
        assert parameter.help
    # papermill's own parser drops a typed line with a second equals sign, even in the comment
    assert all(line.count("=") == 1 for line in source.splitlines())


def test_the_same_parameter_means_the_same_everywhere():
    seen = {}
    for path in NOTEBOOK_FILES:
        for name, parameter in read_parameters(path).items():
            bare = dataclasses.replace(parameter, help="")
            assert seen.setdefault(name, bare) == bare, f"{path.stem}: {name}"


def commands(text: str) -> list[str]:
    """Return the lines that call csrec in the README's blocks of shell."""
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("csrec ")]


def test_the_readme_calls_commands_that_exist():
    assert commands(README)
    for line in commands(README):
        words = line.split()[1:]
        command, path = cli, []
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
            path.append(command.name)
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("-"):
                assert word.split("=")[0] in options, f"{line}: {word}"
        shown = CliRunner().invoke(cli, [*path, "--help"])
        assert shown.exit_code == 0
        assert "Example" in shown.output
