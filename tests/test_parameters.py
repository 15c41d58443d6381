"""Notebook parameters: read from the cell, checked from the command line, YAML and inside a notebook."""

import nbformat
import pytest

from csrec_core.errors import InputError
from csrec_core.report.parameters import Parameter, check_parameters, parse_value, read_parameters, validate

CELL = """\
users: int = 5000  # [10, 1000000] simulated users
effect: float = 0.5  # [-3, 3] effect of the system, in logits
world: str = "books"  # {books, log} where the data come from
path: str = ""  # the file; "a = b" in it does not matter
fresh: bool = False  # train again
name: str = (
    "a"
)  # over several lines
bare: int = 1
"""


def write(folder, source, name="03_train", tags=("parameters",)):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


@pytest.fixture
def declared(tmp_path):
    return read_parameters(write(tmp_path, CELL))


def test_reads_types_ranges_choices_and_help(declared):
    assert list(declared) == ["users", "effect", "world", "path", "fresh", "name", "bare"]
    users, world = declared["users"], declared["world"]
    assert (users.type, users.default, users.bounds) == (int, 5000, (10, 1_000_000))
    assert users.help == "simulated users"
    assert (world.choices, world.help) == (("books", "log"), "where the data come from")
    assert declared["path"].help == 'the file; "a = b" in it does not matter'
    assert declared["name"].help == "over several lines"
    assert declared["bare"] == Parameter(name="bare", type=int, default=1)


def test_a_notebook_without_a_parameters_cell_declares_nothing(tmp_path):
    assert read_parameters(write(tmp_path, "x = 1", tags=())) == {}


@pytest.mark.parametrize(
    "source", ["users = 5", "users: list = [1]", "users: int = f()", "import os", "users: int =",
               "a: int = 0  # [1, 2]", "a: int = 1  # [one, two]", "a: str = 'x'  # {b, c}", "a: int = 1.5"]
)  # fmt: skip
def test_refuses_a_cell_that_declares_otherwise(tmp_path, source):
    with pytest.raises(InputError, match=r"03_train\.ipynb, parameters cell, line 1"):
        read_parameters(write(tmp_path, source))


@pytest.mark.parametrize("content", [None, "", "{}", "[]"])
def test_refuses_what_is_no_notebook(tmp_path, content):
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="cannot read the notebook"):
        read_parameters(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("users", "20", 20), ("effect", "1", 1.0), ("effect", "-1e-1", -0.1), ("world", "log", "log"),
     ("fresh", "yes", True), ("fresh", "False", False), ("path", "12", "12")],
)  # fmt: skip
def test_parses_text(declared, name, text, value):
    parsed = parse_value(declared[name], text)
    assert parsed == value and type(parsed) is declared[name].type


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("users", "2k", r"'users': expected int in \[10, 1,000,000\], not '2k'"), ("users", "9", r"not 9"),
     ("users", "20.0", "expected int"), ("effect", "nan", "expected float"), ("effect", "inf", "float in"),
     ("fresh", "maybe", "true or false"), ("world", "bokos", "one of books, log, .*did you mean 'books'")],
)  # fmt: skip
def test_refuses_text(declared, name, text, says):
    with pytest.raises(InputError, match=says):
        parse_value(declared[name], text)


@pytest.mark.parametrize(
    ("name", "value"), [("users", True), ("users", 20.0), ("users", None), ("fresh", 1), ("path", 1),
                        ("effect", "1"), ("effect", True)]
)  # fmt: skip
def test_refuses_a_value_of_another_type(declared, name, value):
    with pytest.raises(InputError, match=name):
        validate(declared[name], value)


def test_takes_an_int_for_a_float(declared):
    assert type(validate(declared["effect"], 1)) is float


def namespace(injected="", **values):
    base = {
        "users": 5000,
        "effect": 0.5,
        "world": "books",
        "path": "",
        "fresh": False,
        "name": "a",
        "bare": 1,
    }
    return {**base, **values, "In": ["", CELL, f"# Parameters\n{injected}" if injected else "1 + 1"]}


def test_checks_a_running_notebook(tmp_path):
    write(tmp_path, CELL)
    checked = check_parameters("03_train", namespace("users = 20", users=20), folder=tmp_path)
    assert checked["users"] == 20 and next(iter(checked)) == "users" and "In" not in checked


def test_a_running_notebook_refuses_an_injected_name_it_does_not_declare(tmp_path):
    write(tmp_path, CELL)
    with pytest.raises(InputError, match=r"unknown parameter 'user' in 03_train.*did you mean 'users'"):
        check_parameters("03_train", namespace("user = 20", user=20), folder=tmp_path)


def test_a_running_notebook_refuses_a_wrong_value(tmp_path):
    write(tmp_path, CELL)
    with pytest.raises(InputError, match="'users'"):
        check_parameters("03_train", namespace(users="20"), folder=tmp_path)
