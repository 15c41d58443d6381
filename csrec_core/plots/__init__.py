"""Drawings of tidy frames: each function takes a frame and an axes, and returns the axes."""
