"""Parameters as they are given: words of the command line, and YAML that somebody else may have written."""

from pathlib import Path

from csrec_core.errors import InputError, one_line, shown
from csrec_core.files import load_yaml

__all__ = ["read_pairs", "read_yaml"]

LARGEST_PARAMETERS = 2**17  # bytes of a file of parameters


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
    try:
        if file.stat().st_size > LARGEST_PARAMETERS:
            raise ValueError(f"more than {LARGEST_PARAMETERS:,} bytes")
        content = load_yaml(file.read_text("utf-8"))
    # Whatever is raised, the file is why: PyYAML lets out errors of Python's own as well, RecursionError too.
    except Exception as error:
        raise InputError(f"cannot read {file}: {one_line(str(error)) or type(error).__name__}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{file}: expected lines 'name: value', not {type(content).__name__}")
    grid = content.pop("grid", None) or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise InputError(f"{file}: expected 'grid:' to hold lines 'name: [value, value]'")
    axes = {str(name): [_as_text(value) for value in values] for name, values in grid.items()}
    return {name: value for name, value in content.items() if not name.startswith(".")}, axes


def _as_text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
