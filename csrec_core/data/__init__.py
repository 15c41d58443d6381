"""Interaction logs of every source in one shape, and what they say against the graph."""
