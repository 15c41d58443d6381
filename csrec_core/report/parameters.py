"""The typed parameters of a notebook, read from its parameters cell and checked before they are used.

A line of the cell reads `epochs: int = 10  # [1, 1000] passes over the log`: name, type, default, then
optionally a range `[lower, upper]` or choices `{a, b}`, or a table of them by its name, then what it is for.
"""

import ast
import io
import json
import math
import re
import tokenize
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csrec_core.errors import InputError, nearest, shown, unknown
from csrec_core.models.backbones import BACKBONES

TYPES = {"bool": bool, "float": float, "int": int, "str": str}
BOOLEAN_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
CHOICE_TABLES = {"BACKBONES": BACKBONES}  # choices that a cell need not list
LONGEST_TEXT = 4096  # characters of a text
COMMENT = re.compile(r"#\s*(?P<rule>\[[^\]]*\]|\{[^}]*\})?\s*(?P<help>.*)")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One declared parameter; `choices` and `bounds` are None where anything of the type goes."""

    name: str
    type: type
    default: object
    help: str = ""
    choices: tuple | None = None
    bounds: tuple[float, float] | None = None

    @property
    def expected(self) -> str:
        """What a valid value looks like, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        if self.bounds:
            return f"{self.type.__name__} in [{self.bounds[0]:,.10g}, {self.bounds[1]:,.10g}]"
        return {bool: "true or false", str: "text"}.get(self.type, self.type.__name__)


def notebooks_folder() -> Path:
    """Return the folder of the notebooks."""
    return shipped_folder("notebooks")


def shipped_folder(name: str) -> Path:
    """Return a folder that goes with the package: the checkout's, or its copy in the installed package."""
    package = Path(__file__).resolve().parents[1]
    return (package.parent if (package.parent / "pyproject.toml").is_file() else package) / name


def read_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Return the parameters that the cell tagged `parameters` declares, in order.

    Raises InputError, with the line, where the cell holds anything but typed literals.
    """
    path = Path(notebook)
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"cannot read the notebook {path}: {error}") from error
    for cell in cells:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            return _read_cell("".join(cell["source"]), where=path.name)
    return {}


def parse_value(parameter: Parameter, text: str):
    """Return the value that `text`, from the command line, stands for."""
    try:
        value = BOOLEAN_WORDS[text.strip().lower()] if parameter.type is bool else parameter.type(text)
    except (KeyError, ValueError):
        raise _wrong(parameter, text) from None
    return validate(parameter, value)


def validate(parameter: Parameter, value: Any) -> Any:
    """Return `value` in the parameter's type; raise InputError unless it is of that type and in range."""
    if parameter.type is float and type(value) is int:
        value = float(value)
    # bool is a kind of int to Python, but True is no number of users.
    if type(value) is not parameter.type or (isinstance(value, float) and not math.isfinite(value)):
        raise _wrong(parameter, value)
    if isinstance(value, str) and (len(value) > LONGEST_TEXT or any(map(_is_control, value))):
        raise _wrong(parameter, value)
    if parameter.choices is not None and value not in parameter.choices:
        raise _wrong(parameter, value)
    if parameter.bounds and isinstance(value, int | float):
        lower, upper = parameter.bounds
        if not lower <= value <= upper:
            raise _wrong(parameter, value)
    return value


def resolve(
    declared: Mapping[Path, Mapping[str, Parameter]], values: Mapping[str, object], texts: Mapping[str, str]
) -> dict[Path, dict[str, object]]:
    """Return for each notebook the checked parameters that it declares of those given.

    `values` are typed, as from YAML; `texts` are as written on the command line and go before them. A name
    that no notebook declares raises InputError; so does `out`, which the run sets.
    """
    names = sorted({name for parameters in declared.values() for name in parameters} - {"out"})
    for name in [*texts, *values]:
        if name == "out":
            raise InputError("the parameter 'out' is the run's own folder: use --out and --run")
        if name not in names:
            raise unknown("parameter", name, names)
    return {
        notebook: {name: validate(p, values[name]) for name, p in parameters.items() if name in values}
        | {name: parse_value(p, texts[name]) for name, p in parameters.items() if name in texts}
        for notebook, parameters in declared.items()
    }


def check_parameters(notebook: str, namespace: Mapping, *, folder: str | Path | None = None) -> dict:
    """Check a running notebook's parameters; return them, name to value.

    Called in the first code cell as `parameters = check_parameters("03_train", globals())`, it makes plain
    papermill safe, which only warns of a name that is not declared and takes a value of any type.
    """
    declared = read_parameters(Path(folder or notebooks_folder()) / f"{notebook}.ipynb")
    for source in namespace.get("In", []):
        if source.startswith("# Parameters"):
            for name in _assigned(source):
                if name not in declared:
                    raise unknown("parameter", name, declared, where=notebook)
    return {name: validate(p, namespace.get(name, p.default)) for name, p in declared.items()}


def _is_control(sign: str) -> bool:
    """Tell whether a sign is a control character or half of another: no path holds one, and some end a line."""
    return unicodedata.category(sign) in ("Cc", "Cs")


def _wrong(parameter: Parameter, value) -> InputError:
    close = nearest(value, map(str, parameter.choices or ()))
    hint = f"; did you mean {close!r}?" if close else ""
    return InputError(
        f"parameter {parameter.name!r}: expected {parameter.expected}, not {shown(value)}{hint}"
    )


def _assigned(source: str) -> list[str]:
    """Return the names that papermill's injected cell sets."""
    targets = (
        target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _read_cell(source: str, *, where: str) -> dict[str, Parameter]:
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"{where}, parameters cell, line {error.lineno}: {error.msg}") from None
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    declared = {}
    for node in statements:
        place = f"{where}, parameters cell, line {node.lineno}"
        try:
            match node:
                case ast.AnnAssign(ast.Name(name), ast.Name(word), ast.expr() as value):
                    kind, default = TYPES[word], ast.literal_eval(value)
                case _:
                    raise ValueError
        except (KeyError, ValueError):
            shape = "'name: type = literal' with type bool, float, int or str"
            raise InputError(f"{place}: expected {shape}, not {ast.unparse(node)!r}") from None
        comment = COMMENT.match(comments.get(node.end_lineno or node.lineno, "#"))
        assert comment is not None  # it begins with #, whatever follows
        rule, text = comment.group("rule", "help")
        plain = Parameter(name=name, type=kind, default=default, help=text)
        try:
            declared[name] = _ruled(plain, rule)
            validate(declared[name], default)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
    return declared


def _ruled(plain: Parameter, rule: str | None) -> Parameter:
    """Return the parameter with the range or the choices its comment begins with."""
    if not rule:
        return plain
    parts = CHOICE_TABLES.get(rule[1:-1]) or [part.strip() for part in rule[1:-1].split(",")]
    if rule.startswith("{"):
        return replace(plain, choices=tuple(parse_value(plain, part) for part in parts))
    try:
        lower, upper = map(float, parts)
    except ValueError:
        raise InputError(f"parameter {plain.name!r}: expected a range [lower, upper], not {rule!r}") from None
    return replace(plain, bounds=(lower, upper))
