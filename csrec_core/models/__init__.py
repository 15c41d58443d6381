"""Sequence encoders, f~ and f, and how they are trained."""
