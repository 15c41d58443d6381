"""Causal analysis of sequential recommendation: graph, models, treatment effect, report."""

__version__ = "0.1.0"
