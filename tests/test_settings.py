"""The choice of benchmarks/settings.py: what helps is taken, noise is not, and the test item is not read."""

from dataclasses import replace

import numpy as np
import pytest
import settings
from conftest import accepted_log
from settings import choose_settings

from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training

CHOICES = {"rate": (1e-6, 1e-2), "dropout": (0.1, 0.2), "causal": (True, False)}
TRAINING = Training(epochs=6, patience=3, batch=8, threads=1)


def world(rule: bool, *, last: int = 0):
    """Users whose next item is the one after, or any; `last` moves their last items."""
    rng = np.random.default_rng(0)
    steps = np.ones((40, 8), dtype=int) if rule else rng.integers(30, size=(40, 8))
    items = (rng.integers(30, size=(40, 1)) + steps.cumsum(axis=1)) % 30
    items[:, -1] = (items[:, -1] + last) % 30
    return to_sequences(accepted_log(items), length=8, horizon=1)


@pytest.fixture(autouse=True)
def few_choices(monkeypatch):
    monkeypatch.setattr(settings, "CHOICES", CHOICES)


def choose(sequences, folder, **options):
    return choose_settings(sequences, training=TRAINING, folder=folder, hidden=16, **options)


def test_what_helps_is_taken_and_noise_is_not(tmp_path):
    chosen, trials = choose(world(True), tmp_path)
    assert chosen["rate"] == 1e-2 and "causal" not in chosen  # SASRec has no such choice
    assert list(trials["taken"][:2]) == [True, True] and len(trials) == 3
    assert trials["gain"][1] == pytest.approx(trials["ndcg"][1] - trials["ndcg"][0])
    chosen, trials = choose(world(False), tmp_path)
    assert chosen == {"rate": 1e-6, "dropout": 0.1}
    assert not trials["taken"][1:].any()


@pytest.mark.parametrize(("gain", "taken"), [(2.1, False), (2.2, True)])
def test_of_three_trials_a_gain_of_2_13_errors_is_no_chance(gain, taken, tmp_path, monkeypatch):
    # one-sided, .05 / 3: the normal distribution's 2.13
    size, error = 400, np.tile([1.0, -1.0], 200)
    error *= np.sqrt(size - 1) / np.linalg.norm(error) * np.sqrt(size)  # its mean has a standard error of 1
    found = {(1e-6, 0.1): np.zeros(size), (1e-2, 0.1): error + gain}
    monkeypatch.setitem(CHOICES, "dropout", (0.1, 0.2, 0.3))
    monkeypatch.setattr(
        settings,
        "_try",
        lambda _, tried, *rest, epochs: (found.get((tried["rate"], tried["dropout"]), -error), 1),
    )
    _, trials = choose_settings(world(True), training=TRAINING, folder=tmp_path)
    assert trials["error"][1] == pytest.approx(1) and len(trials) == 4
    assert bool(trials["taken"][1]) is taken


def test_the_budget_bounds_the_passes_and_what_is_fixed_is_not_searched(tmp_path):
    _, trials = choose(world(True), tmp_path, passes=8)
    assert trials["passes"].sum() == 8 and len(trials) == 2
    chosen, trials = choose(world(True), tmp_path, backbone="fmlprec", dropout=0.3)
    assert list(chosen) == ["rate", "causal"] and len(trials) == 3


def test_trials_are_read_again_and_the_last_items_are_not_read(tmp_path, monkeypatch):
    expected = choose(world(True), tmp_path)
    moved = choose(world(True, last=3), tmp_path / "moved")
    monkeypatch.setattr(settings, "train_next_item", None)  # to call it would fail
    for chosen, trials in (choose(world(True), tmp_path), moved):
        assert chosen == expected[0]
        assert trials.equals(expected[1])
    with pytest.raises(TypeError):
        choose_settings(world(True), training=replace(TRAINING, seed=1), folder=tmp_path, hidden=16)
