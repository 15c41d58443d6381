"""Notebooks as they are kept: no trace of a run, and fit to be read."""

import copy
from pathlib import Path

import nbformat

from csrec_core.errors import InputError, one_line
from csrec_core.files import whole_file
from csrec_core.report.parameters import read_parameters

TRACES = {"papermill", "execution", "ExecuteTime", "collapsed", "scrolled", "widgets"}
LONGEST_CELL = 25  # lines of a cell


def strip_notebook(path: str | Path) -> bool:
    """Strip a notebook of outputs and of the traces of runs; return whether there was anything to strip."""
    before = _read_notebook(path)
    after = _stripped(before)
    if after != before:
        with whole_file(path) as temporary:
            nbformat.write(after, temporary)
    return after != before


def notebook_faults(path: str | Path) -> list[str]:
    """Return what keeps a notebook from being clean and readable, each in a few words; changes nothing."""
    notebook = _read_notebook(path)
    faults = []
    if _stripped(notebook) != notebook:
        faults.append("not clean: outputs, numbers of execution or traces of a run; csrec clean strips them")
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        faults.append("cell 1: expected a title, '# ...', and what the notebook answers")
    for number, cell in enumerate(notebook.cells, 1):
        if (lines := len(cell.source.splitlines())) > LONGEST_CELL:
            faults.append(f"cell {number}: {lines} lines; expected at most {LONGEST_CELL}")
    return faults + _parameter_faults(path, notebook)


def _parameter_faults(path: str | Path, notebook: nbformat.NotebookNode) -> list[str]:
    cells = list(enumerate(notebook.cells, 1))
    tagged = [number for number, cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        return [f"{len(tagged)} cells tagged 'parameters'; expected one"]
    code = [number for number, cell in cells if cell.cell_type == "code"]
    faults = [] if tagged[0] == code[0] else [f"cell {tagged[0]}: parameters come before all other code"]
    try:
        declared = read_parameters(path)
    except InputError as error:
        return [*faults, str(error)]
    return faults + [f"parameter {name!r}: no comment" for name, it in declared.items() if not it.help]


def _read_notebook(path: str | Path) -> nbformat.NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)  # to read it only warns
    except Exception as error:  # nbformat looks into what it has not checked
        raise InputError(one_line(f"cannot read the notebook {path}: {error}")) from None
    return notebook


def _stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    notebook = copy.deepcopy(notebook)
    for part in [notebook, *notebook.cells]:
        for trace in TRACES & part.metadata.keys():
            del part.metadata[trace]
        if part.get("cell_type") == "code":
            part.outputs, part.execution_count = [], None
    return notebook
