"""How a notebook opens: its parameters checked, its log read, its report begun."""

from collections.abc import Mapping

from csrec_core.data.loaders import make_dataset
from csrec_core.data.log import Dataset
from csrec_core.effect.design import read_design
from csrec_core.report.parameters import check_parameters
from csrec_core.report.report import Report

LOG_PARAMETERS = ("path", "map", "users", "items", "steps", "effect", "seed")


def open_notebook(notebook: str, namespace: Mapping, *, role: str = "") -> tuple[Report, Dataset, dict]:
    """Return the report of a running notebook, the log that its parameters name, and what they declare of it.

    The namespace is `globals()` of the notebook after its parameters cell. Raises InputError where a parameter is not
    of its type or range, or the log or the design cannot be read.
    """
    parameters = check_parameters(notebook, namespace)
    dataset = make_dataset(parameters["data"], **{name: parameters[name] for name in LOG_PARAMETERS})
    out, seen = str(parameters["out"]), dataset.fingerprint
    report = Report(notebook, out=out, parameters=parameters, data_hash=seen, role=role)
    return report, dataset, read_design(parameters.get("design", ""))
