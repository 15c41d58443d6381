"""A study of a few books that the tests of the agent share: asked of a local server."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner

from csrec_core.agent.design import Readers
from csrec_core.agent.endpoint import Endpoint
from csrec_core.agent.run import Study, run_study
from csrec_core.cli import cli

KEY = "sk-Zm9yIHlvdXIgZXllcw-0123456789"
USERS, STEPS = 200, 3
NOWHERE = "http://127.0.0.1:9/v1"


def ask(out, url, books, *, users=USERS, steps=STEPS, resume=False, force=False, **options):
    """Run the study against a server; also what the processes of the kill test do."""
    given = {"timeout": 5.0, "backoff": 0.01} | options
    endpoint = Endpoint(model="m", base_url=url, **given)
    study = Study(agent="openai", users=users, steps=steps, seed=1, catalogue=books, endpoint=endpoint)
    return run_study(study, out, resume=resume, force=force)


def some_readers(preference, *, steps=1, **draws):
    """Readers of these preferences; what is not given of their draws is the same for all."""
    n = len(preference)
    plain = {
        "reader": np.arange(1, n + 1),
        "shelf": np.zeros((n, 1), dtype=int),
        "count": np.ones(n, dtype=int),
        "candidates": np.zeros((n, 2), dtype=int),
        "time": np.full((n, 2 * steps), np.datetime64("2024-01-01")),
        "accept_first": np.zeros((n, steps), dtype=bool),
        "other_order": np.zeros((n, steps), dtype=int),
    }
    return Readers(preference=preference, **plain | draws)


def call(out, url, books, *words, users=25):
    """Run the same study by the command."""
    fixed = ["--agent", "openai", "--model", "m", "--base-url", url, "--catalogue", str(books)]
    sizes = ["--users", str(users), "--steps", str(STEPS), "--seed", "1", "--out", str(out)]
    return CliRunner().invoke(cli, ["data", "books", *fixed, *sizes, *words])


def log_of(folder, users=USERS):
    """The log in a folder, of its first readers."""
    log = pd.read_parquet(Path(folder) / "log.parquet")
    return log[log["user"] <= users].reset_index(drop=True)


def requests_of(folder):
    """The requests written down in a folder's cache, and the keys of its answers."""
    with closing(sqlite3.connect(Path(folder) / "cache.sqlite")) as base:
        requests = pd.read_sql_query("SELECT * FROM requests", base)
        answers = pd.read_sql_query("SELECT key, answer FROM answers", base)
    return requests, answers
