"""A script that draws a figure again from its data, and needs matplotlib and pandas alone."""

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

from csrec_core.csvfile import read_csv
from csrec_core.plots.files import draw_files, use_style

SCRIPT_HEAD = '"""Draw this figure again from its data alone; matplotlib and pandas are all that it needs."""'
CALL = """\
folder = Path(__file__).parent
use_style()
drawing = {function}(read_csv(folder / "{slug}.csv"){options})
draw_files(drawing, folder / "redrawn.png", folder / "redrawn.svg")
"""
OURS = __name__.partition(".")[0]


def redraw_script(function: Callable, *, slug: str, options: Mapping[str, object]) -> str:
    """Return the script: the function, and all of this package that it needs, written out.

    The function is at the top of a module and draws a frame, with `options` that are literals; `slug` names the
    CSV beside the script.
    """
    found = _Sources()
    for one in (use_style, draw_files, read_csv, function):
        found.add(one.__name__, sys.modules[one.__module__])
    words = "".join(f", {name}={value!r}" for name, value in options.items())
    call = CALL.format(function=function.__name__, slug=slug, options=words)
    imports = sorted({*found.imports, "from pathlib import Path"})
    return "\n".join([SCRIPT_HEAD, "", *imports, "", "", "\n\n\n".join([*found.parts.values(), call])])


class _Sources:
    """Statements at the top of modules, each after those that it needs."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.parts: dict[tuple[str, str], str] = {}

    def add(self, name: str, module: ModuleType) -> None:
        """Add what binds a name in a module, and first what that needs; built-in names are bound nowhere."""
        source, statements = _read_module(module)
        for statement in statements:
            if name not in _bound(statement):
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._add_import(name, statement)
            elif (key := (module.__name__, _segment(source, statement))) not in self.parts:
                self.parts[key] = ""  # so that what calls itself is not added again
                for needed in sorted(_read_names(statement)):
                    self.add(needed, module)
                del self.parts[key]
                self.parts[key] = key[1]

    def _add_import(self, name: str, statement: ast.Import | ast.ImportFrom) -> None:
        origin = getattr(statement, "module", None) or ""
        if origin.partition(".")[0] == OURS:
            self.add(name, importlib.import_module(origin))
        else:
            alone = [alias for alias in statement.names if name in (alias.asname, alias.name.split(".")[0])]
            kind = ast.ImportFrom(origin, alone, 0) if origin else ast.Import(alone)
            self.imports.add(ast.unparse(kind))


def _read_names(statement: ast.AST) -> set[str]:
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


@functools.cache
def _read_module(module: ModuleType) -> tuple[str, list[ast.stmt]]:
    source = inspect.getsource(module)
    return source, ast.parse(source).body


@functools.cache
def _segment(source: str, statement: ast.stmt) -> str:
    return ast.get_source_segment(source, statement) or ""


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return {
        node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)
    }
