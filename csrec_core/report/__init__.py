"""Notebooks to pages: parameters, the run, the HTML."""

import sys

# Where it is installed, jsonschema, which nbformat loads, spends two seconds on the grammar of addresses.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None: as if it were not there
