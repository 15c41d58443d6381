"""What several tests share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.models.predictions import Settings, predict
from csrec_core.models.train import Training

PROJECT = Path(__file__).parent.parent


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
