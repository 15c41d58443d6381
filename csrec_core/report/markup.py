"""The templates of all pages, and how values read in them."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from csrec_core.numbers import interval_text
from csrec_core.report.formula import prose
from csrec_core.report.terms import explain

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def short(number: Mapping[Any, float]) -> str:
    """Return a headline number, its `value`, `lower` and `upper` (NaN: none), with its interval; counts whole."""
    parts = [number[name] for name in ("value", "lower", "upper")]
    whole = all(part == int(part) for part in parts if math.isfinite(part))
    return interval_text(*parts, digits=0 if whole else 3)


def _written(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def file_label(name: str) -> str:
    """Return what a link to a file of a figure or table says: its format, or its name in the folder."""
    stem, _, kind = name.rsplit("/", 1)[-1].rpartition(".")
    return stem if kind in ("txt", "py") or stem == "slide" else kind.upper()


FILTERS: dict[str, Callable] = {
    "prose": lambda text: Markup(prose(text)),
    "short": short,
    "explain": lambda text: Markup(explain(escape(text))),
    "spaced": lambda name: name.replace("_", " "),
    "written": _written,
    "file_label": file_label,
}
TEMPLATES.filters |= FILTERS
