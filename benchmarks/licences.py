"""The licences of what the package asks for by name, as the installed versions state them: a table for docs/supply.md.

python benchmarks/licences.py
"""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]
LONGEST = 40  # characters of a licence's name; a longer one is its text
GROUP = "License :: OSI Approved :: "


def licence_of(name: str) -> str:
    """Return the licence that an installed distribution states: its expression, its name, or its classifiers."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return expression
    stated = about.get("License") or ""
    if stated and "\n" not in stated and len(stated) <= LONGEST:
        return stated
    groups = [one.removeprefix(GROUP) for one in about.get_all("Classifier", []) if one.startswith(GROUP)]
    return ", ".join(groups) or stated.splitlines()[0][:LONGEST] or "not stated"


def table() -> str:
    """Return a row of Markdown for each direct dependency, those of the package before those of its development."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    dev = project["optional-dependencies"]["dev"]
    rows = ["| package | licence | for |", "|---|---|---|"]
    for use, texts in (("running", project["dependencies"]), ("development", dev)):
        for name in (Requirement(text).name for text in texts):
            try:
                rows.append(f"| {name} | {licence_of(name)} | {use} |")
            except metadata.PackageNotFoundError:
                rows.append(f"| {name} | not installed here | {use} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
