"""What the item table tells the models: numbers on one scale, missing ones average, hidden ones left out."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from csrec_core.data.books import simulate_books
from csrec_core.data.items import genre_columns, missing_values, number_columns
from csrec_core.data.loaders import load_mssd
from csrec_core.data.log import Dataset, frame_to_dataset
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.schema import TRACKS
from csrec_core.data.mssd.simulate import Listeners, Tracks, simulate_mssd
from csrec_core.data.profile import profile_log
from csrec_core.errors import InputError
from csrec_core.models.acceptance import build_model
from csrec_core.models.predictions import predict
from csrec_core.models.sequences import to_sequences

CATALOGUE = np.arange(1, 5)


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"item": [3, 1, 4, 2], **columns})


def test_numbers_have_mean_0_and_deviation_1_over_the_catalogue():
    items = table(
        title=["c", "a", "d", "b"],
        genre=[1, 1, 2, 2],
        tempo=[120.0, 90.0, 180.0, 100.0],
        live=[True, False, False, False],
        label=["w", "x", "y", "z"],
        added=pd.to_datetime("2026-01-01"),
        constant=7,
        _quality=[0.1, 0.2, 0.3, 0.4],
    )
    numbers = number_columns(items, CATALOGUE)
    assert list(numbers) == ["tempo", "live"]
    by_item = np.array([90.0, 100.0, 120.0, 180.0])
    np.testing.assert_allclose(numbers["tempo"], (by_item - by_item.mean()) / by_item.std(), rtol=1e-6)
    np.testing.assert_allclose(numbers["live"], np.array([-1, -1, 3, -1]) / np.sqrt(3), rtol=1e-6)
    assert genre_columns(items, CATALOGUE).to_numpy().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_a_missing_value_is_the_mean_and_is_told():
    items = table(tempo=[120.0, None, 180.0, 90.0], plays=pd.array([1, 2, None, None], dtype="Int64"))
    with warnings.catch_warnings():  # one would stand on a page, with a path of the machine
        warnings.simplefilter("error")
        numbers = number_columns(items, np.arange(1, 6))
    log = pd.DataFrame({"user": [1, 2, 2, 1], "item": [1, 2, 3, 5], "decision": [0, 1, 0, 1]})
    log = frame_to_dataset(log.assign(source=["self", "self", "system", "system"], t=range(4))).log
    users = pd.DataFrame({"user": [1, 2, 3], "age": [30, None, None], "label": ["a", None, "c"]})
    said = [
        "Of 5 items some have no value, and count as average: tempo of 2, plays of 3.",
        "Of 3 users some have no value, and count as average: age of 2.",
    ]
    lacking = Dataset(log, items=items, users=users)
    assert missing_values(lacking) == said and profile_log(lacking).warnings[-2:] == said
    assert missing_values(Dataset(log)) == []
    assert numbers.loc[[1, 5], "tempo"].eq(0).all()
    np.testing.assert_allclose(numbers.mean(), 0, atol=1e-7)
    np.testing.assert_allclose(numbers.std(ddof=0), 1, rtol=1e-6)


def test_an_infinite_value_is_refused():
    with pytest.raises(InputError, match=r"^shop: items: row 3: tempo = -inf; expected a finite number"):
        number_columns(table(tempo=[1, 2, -np.inf, np.nan]), CATALOGUE, where="shop: items")


def test_the_models_know_of_a_book_what_a_reader_may_know():
    """The genre and nothing else: quality and fame, which the world hides, are in no column."""
    world = simulate_books(users=20, items=30, steps=4, genres=5, seed=1)
    assert list(world.items) == ["item", "title", "genre"]
    sequences = to_sequences(world)
    assert sequences.features.shape == (31, 5)
    assert torch.equal(sequences.features, sequences.genres)
    assert sequences.features[1:].sum(dim=1).eq(1).all() and not sequences.features[0].any()


def test_the_models_know_of_a_track_what_the_files_tell(tmp_path):
    """The 29 columns of MSSD, on one scale; the appeal of a simulated track is none of them."""
    world = Listeners(tracks=200)
    ingest(*simulate_mssd(tmp_path / "csv", 100, world), tmp_path)
    dataset = load_mssd(tmp_path)
    numbers = number_columns(dataset.items, np.unique(dataset.items["item"]))
    assert list(numbers) == [column.name for column in TRACKS] and len(TRACKS) == 29
    sequences = to_sequences(dataset, length=20)
    assert sequences.features.shape == (len(dataset.items) + 1, 29) and not sequences.genres.shape[1]
    np.testing.assert_allclose(sequences.features[1:].mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(sequences.features[1:].std(dim=0, correction=0), 1, atol=1e-4)
    tracks = Tracks.draw(world)
    appeal = dataset.items["title"].map(dict(zip(tracks.table["track_id"], tracks.appeal, strict=True)))
    assert dataset.items[list(numbers)].corrwith(appeal).abs().max() < 0.9
    # The places of a session are the order of its tracks, whoever chose them.
    window = sequences.window(sequences.everyone)
    told = dataset.log.sort_values(["user", "t"])["item"]
    assert (sequences.catalogue[window.items[window.items > 0] - 1] == told).all()


def test_encoders_project_what_the_user_state_does_not_count():
    world = simulate_books(users=20, items=30, steps=4, genres=5, seed=1)
    year = np.random.default_rng(0).integers(1900, 2020, 30)
    sequences = to_sequences(Dataset(world.log, items=world.items.assign(year=year)))
    assert sequences.features.shape == (31, 6) and sequences.genres.shape == (31, 5)
    model = build_model(sequences, hidden=8)
    assert model.backbone.feature.weight.shape == (8, 6)
    assert torch.equal(model.user_state.features, sequences.genres)


def test_a_log_with_a_column_that_is_infinite_is_not_fitted(books, settings, tmp_path):
    items = books.items.assign(weight=np.inf)
    with pytest.raises(InputError, match="books: items: row 1: weight = inf"):
        predict(Dataset(books.log, items=items, name="books"), settings, folder=tmp_path)
