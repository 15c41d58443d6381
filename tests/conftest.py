"""What several tests share."""

import gc
import os
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import torch
from agent_study import KEY, ask
from chat_server import ChatServer, serving
from distributed import LocalCluster
from mssd_files import write_tracks
from threadpoolctl import threadpool_limits
from warm import do_not_wait, warm_starts

from csrec_core.agent.catalogue import load_catalogue
from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.models.predictions import Settings, predict
from csrec_core.models.train import Training

PROJECT = Path(__file__).parent.parent
#: The files of tests of `pytest -m quick`: they train nothing, start nothing, and take seconds.
QUICK = {
    "aa",
    "advice",
    "agent_catalogue",
    "cells",
    "compare",
    "formula",
    "graph",
    "item_counts",
    "items",
    "learning",
    "log",
    "metrics",
    "parameters",
    "project",
    "read",
    "record",
    "result",
    "rows",
    "score",
    "table",
    "trust",
    "users",
    "weights",
    "words",
}
#: The files of tests that take longest, the longest first.
LONGEST = (
    "notebooks",
    "parts",
    "docs",
    "identification",
    "reproduction",
    "mssd",
    "suite",
    "faults",
    "backbones",
    "shapes",
    "mssd_trials",
    "mssd_bad_input",
    "agent_run",
    "assumptions",
    "agent_quality",
    "cluster",
)


def pytest_xdist_auto_num_workers():
    """Start as many workers as there are cores: each of them collects all tests, and warms a process of its own."""
    return os.cpu_count() or 1


def pytest_configure():
    """Give each of several workers its share of the cores: threads in each other's way take twice the time."""
    if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # of the processes that tests start
        torch.set_num_threads(threads)
        threadpool_limits(threads)


def pytest_ignore_collect(collection_path, config):
    """Import for the inner loop no file that it leaves out."""
    named = collection_path.stem.removeprefix("test_")
    if config.getoption("markexpr") == "quick" and collection_path.suffix == ".py" and named not in QUICK:
        return True
    return None


def pytest_collection_modifyitems(items):
    """Mark the tests of the inner loop by their file; begin with the longest, for no worker to end with one alone."""
    longest = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: longest.get(item.path.stem, len(longest)))
    for item in items:
        if item.path.stem.removeprefix("test_") in QUICK:
            item.add_marker("quick")


def pytest_collection_finish():
    """Keep what is imported and collected by now out of collections of garbage: a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def warm():
    """Fork kernels and workers from a process that has imported what they need; wait for no disk."""
    with warm_starts(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", do_not_wait)
        yield


@pytest.fixture(scope="session")
def real_data():
    """The folder of real logs, which is not part of the project: CSREC_DATA, or ../shared/data."""
    folder = Path(os.environ.get("CSREC_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real logs at {folder}; set CSREC_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def books():
    """A small books world with its truth."""
    return simulate_books(users=400, items=60, steps=12, seed=3)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder where `predictions` left its models."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def settings():
    training = Training(epochs=4, patience=4, batch=64)
    return Settings(preference=training, csrec=training, hyper={"hidden": 16, "dropout": 0.1})


@pytest.fixture(scope="session")
def predictions(books, settings, models):
    """Quickly fitted models of the small world."""
    return predict(books, settings, folder=models)


@pytest.fixture(scope="session")
def scheduler():
    """The address of a scheduler and its two workers, processes of their own that speak TCP."""
    # While they wait for work they are to leave the cores to the other tests.
    idle = {"worker.profile.enabled": False, "admin.tick.interval": "1s", "admin.tick.cycle": "10s"}
    idle |= {"admin.system-monitor.interval": "10s"}
    here = {"host": "127.0.0.1", "dashboard_address": None}
    with (
        dask.config.set({f"distributed.{name}": value for name, value in idle.items()}),
        LocalCluster(n_workers=2, threads_per_worker=1, **here) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def api_key(monkeypatch):
    """The key of the agent's tests, in the environment."""
    monkeypatch.setenv("CSREC_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="session")
def catalogue():
    """The real books that readers are asked about."""
    return load_catalogue()


@pytest.fixture(scope="session")
def few_books(catalogue, tmp_path_factory):
    """A catalogue of six books of each genre, as a file."""
    path = tmp_path_factory.mktemp("catalogue") / "books.csv"
    catalogue.groupby("genre").head(6).drop(columns="item").to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def chat(few_books):
    """Make servers that know those books."""
    books = load_catalogue(few_books)
    known = {
        "genre_of": dict(zip(books["title"], books["genre"], strict=True)),
        "authors_of": dict(zip(books["title"], books["author"], strict=True)),
    }
    return lambda **options: ChatServer(**known, **options)


@pytest.fixture(scope="session")
def good(chat, few_books, tmp_path_factory):
    """A run of 200 readers against a server that behaves; its folder and its server."""
    out, server = tmp_path_factory.mktemp("good") / "run", chat()
    with pytest.MonkeyPatch.context() as patch, serving(server) as url:
        patch.setenv("CSREC_API_KEY", KEY)
        ask(out, url, few_books)
    return out, server


def accepted_log(walk):
    """Return a log of users who chose, and accepted, the items of a row each."""
    users, length = walk.shape
    frame = pd.DataFrame(
        {
            "user": np.repeat(np.arange(users), length),
            "t": np.tile(np.arange(length), users),
            "item": walk.ravel(),
            "decision": 1,
            "source": "self",
        }
    )
    return Dataset(validate_log(frame))


@pytest.fixture
def tracks(tmp_path):
    """A file of two tracks' features, as MSSD has them."""
    return [write_tracks(tmp_path)]
