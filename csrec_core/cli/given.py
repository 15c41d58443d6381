"""Parameters as they are given: words of the command line, and YAML that somebody else may have written."""

from pathlib import Path

from csrec_core.errors import InputError, shown
from csrec_core.files import read_mapping


def read_pairs(texts, option):
    """Return `name=value` words as a mapping."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{option}: expected name=value, not {shown(text)}")
        if option == "-g" and (name in pairs or not value):
            raise InputError(f"-g: expected name=value,value once for each parameter, not {shown(text)}")
        pairs[name] = value
    return pairs


def read_yaml(file: Path | None) -> tuple[dict, dict]:
    """Return the parameters that a YAML file sets, and the axes of its `grid`.

    A name that begins with a dot holds what other lines take from it by an anchor, and sets nothing.
    """
    if file is None:
        return {}, {}
    content = read_mapping(file)
    grid = content.pop("grid", None) or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise InputError(f"{file}: expected 'grid:' to hold lines 'name: [value, value]'")
    axes = {str(name): [_as_text(value) for value in values] for name, values in grid.items()}
    return {name: value for name, value in content.items() if not name.startswith(".")}, axes


def _as_text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
