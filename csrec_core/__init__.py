"""Causal analysis of sequential recommendation: graph, models, treatment effect, report."""

import os

# Before torch loads OpenMP: waiting threads that spin make training many times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
