"""Notebooks to pages: parameters, the run, the HTML."""
