"""The two regimes of a log as two sources of data: what users chose, and what the system drew at random."""

from collections.abc import Iterable
from pathlib import Path

import networkx as nx

from csrec_core.causal.search import Source
from csrec_core.data.loaders import make_dataset
from csrec_core.data.log import SELF, SYSTEM
from csrec_core.errors import InputError

__all__ = ["log_sources"]


def log_sources(graph: nx.DiGraph, path: str | Path, *, do: Iterable[str]) -> tuple[Source, ...]:
    """Return the sources of data that a log is for an effect of exposure.

    Self-chosen exposures are observed. Recommended ones whose chances are all logged are an experiment on
    `do`; others are a source of their own only by how they came about, and are left out. Nodes that R, the
    regime, acts on beside `do` are made in another way there.

    Raises
    ------
    InputError
        Where the log holds neither.
    """
    do, log = frozenset(do), make_dataset("log", path=str(path)).log
    rows = {source: log[log["source"] == source] for source in (SELF, SYSTEM)}
    own = frozenset(graph.succ["R"]) - do if "R" in graph else frozenset()
    sources = [Source(SELF)] if len(rows[SELF]) else []
    if len(rows[SYSTEM]) and "propensity" in log and rows[SYSTEM]["propensity"].notna().all():
        sources.append(Source(SYSTEM, do, own))
    if not sources:
        raise InputError(
            f"{path}: no self-chosen exposures, and recommended ones without their chances (`propensity`)"
        )
    return tuple(sources)
