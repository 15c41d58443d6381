"""Parameters as they are given: words of the command line, and YAML that somebody else may have written."""

from pathlib import Path

from csrec_core.errors import InputError, one_line, shown

__all__ = ["read_pairs", "read_yaml"]

LARGEST = 2**17  # bytes of a file of parameters
MOST = 20_000  # values in it, each alias counted as all that it stands for


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
        content = _load(file)
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


def _load(file: Path) -> object:
    import yaml

    if file.stat().st_size > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    text = file.read_text("utf-8")
    # A few lines of aliases to aliases can stand for more than fits into memory, so they are counted first.
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    if tree is not None and _count(tree, {}) > MOST:
        raise ValueError(f"its aliases stand for more than {MOST:,} values")
    return yaml.safe_load(text)


def _count(node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, each alias written out."""
    if id(node) not in known:
        known[id(node)] = MOST + 1  # what holds itself has no end
        parts = node.value if isinstance(node.value, list) else []
        flat = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_count(part, known) for part in flat)
    return known[id(node)]


def _as_text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
