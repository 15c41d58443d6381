"""The training loop: early stopping, batches of like length, and going on where a run was cut."""

from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from torch import nn

from csrec_core.errors import InputError
from csrec_core.models.train import (
    POOL,
    Training,
    batches,
    fit,
    load_weights,
    mean_loss,
    save_weights,
    seeded,
)


def problem(seed=0):
    """Return a small regression with dropout, so that every random number counts."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 5, generator=generator)
    targets = inputs @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))

    def loss(rows):
        return ((model(inputs[rows])[:, 0] - targets[rows]) ** 2).mean()

    return model, loss, lambda: loss(torch.arange(64)).item()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_run_cut_short_ends_as_one_that_was_not(tmp_path, monkeypatch, average):
    monkeypatch.setattr("csrec_core.models.train.SAVE_EVERY", 0.0)
    training = Training(epochs=12, batch=16, rate=0.05, seed=3, average=average)
    whole, loss, validate = problem()
    expected = fit(whole, loss, validate, torch.arange(64), training=training, label="whole")

    model, loss, validate = problem()
    path, calls = tmp_path / "part.safetensors", []

    def cut():
        calls.append(None)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return validate()

    with pytest.raises(KeyboardInterrupt):
        fit(model, loss, cut, torch.arange(64), training=training, label="cut", checkpoint=path)
    assert path.exists()

    again, loss, validate = problem()
    found = fit(again, loss, validate, torch.arange(64), training=training, label="again", checkpoint=path)
    assert found.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    for mine, theirs in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert not path.exists()


def test_weights_that_no_pass_betters_are_kept_as_they_came():
    model, loss, validate = problem()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = Training(epochs=9, patience=2, batch=16, rate=0.05)
    call = {"training": training, "label": "start"}
    history = fit(model, loss, validate, torch.arange(64), start=0.0, **call)
    assert len(history) == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    history = fit(model, loss, validate, torch.arange(64), start=history["validation"].max(), **call)
    assert validate() == pytest.approx(history["validation"].min()) and len(history) > 2


def test_the_best_weights_are_kept_and_patience_ends_the_run():
    model, loss, _ = problem()
    values = iter([3.0, 1.0, 2.0, 2.5, 2.0, 0.5])
    seen = []

    def validate():
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(values)

    history = fit(
        model, loss, validate, torch.arange(64), training=Training(patience=3, batch=16), label="stops"
    )
    assert history["validation"].tolist() == [3.0, 1.0, 2.0, 2.5, 2.0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[1][name])
    assert not model.training


def test_averaged_weights_are_validated_and_kept_and_the_others_trained():
    """Against the same run without averaging, whose weights after each step are averaged here."""
    steps = []

    def trained(average):
        model, loss, _ = problem()

        def noted(rows):
            steps.append([weight.detach().clone() for weight in model.parameters()])
            return loss(rows)

        values = iter([2.0, 1.0])
        training = Training(epochs=2, batch=16, rate=0.05, average=average)
        fit(model, noted, lambda: next(values), torch.arange(64), training=training, label="mean")
        return model

    last = list(trained(0.0).parameters())
    every = [*steps, last]  # before each of the 8 steps, and after the last
    expected = every[0]
    for step, weights in enumerate(every[1:], start=1):
        share = min(0.7, step / (step + 10))
        expected = [share * a + (1 - share) * b for a, b in zip(expected, weights, strict=True)]
    steps.clear()
    for mine, theirs in zip(trained(0.7).parameters(), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(steps[-1], every[-2], strict=True):
        assert torch.equal(mine, theirs)


def test_a_validation_that_is_no_number_is_an_error():
    model, loss, _ = problem()
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fit(
            model,
            loss,
            lambda: float("nan"),
            torch.arange(64),
            training=Training(epochs=3),
            label="f",
        )


def test_batches_are_each_row_once_and_of_like_length():
    torch.manual_seed(0)
    rows = torch.arange(100, 2148)
    lengths = torch.randint(1, 50, (2048,))
    pieces = list(batches(rows, 32, lengths=lengths))
    assert torch.cat(pieces).sort().values.equal(rows)
    spread = [int(lengths[piece - 100].max() - lengths[piece - 100].min()) for piece in pieces]
    assert sum(spread) / len(spread) < 8  # of 48, were they drawn at random
    plain = torch.cat(list(batches(rows, 32)))
    assert plain.sort().values.equal(rows)
    assert not plain.equal(rows)


def test_the_history_by_hand():
    """A model of one number: what a pass says of itself is the mean over its rows, however they are cut."""
    model = nn.Linear(1, 1, bias=False)
    rows = torch.arange(10)

    def loss(batch):
        return model.weight.sum() * 0 + batch.float().mean()

    values = iter([3.0, 2.0, 5.0, 4.0])
    history = fit(model, loss, lambda: next(values), rows, training=Training(epochs=4, batch=4), label="h")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["train"].tolist() == pytest.approx([4.5] * 4)
    assert history["validation"].tolist() == [3.0, 2.0, 5.0, 4.0]
    assert (history["seconds"] >= 0).all()
    assert mean_loss(lambda batch: batch.float().mean(), rows, 4) == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("best", "patience", "passes"), [(1, 1, 2), (2, 1, 3), (1, 3, 4), (2, 3, 5), (6, 9, 6)]
)
def test_patience_counts_passes_since_the_best(best, patience, passes):
    model, loss, _ = problem()
    values = iter([2.0] * (best - 1) + [1.0] + [1.0] * 20)  # one that is as good is no better
    training = Training(epochs=6, patience=patience, batch=32)
    history = fit(model, loss, lambda: next(values), torch.arange(64), training=training, label="p")
    assert len(history) == passes


def test_random_numbers_outside_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(1):
        assert torch.equal(torch.rand(3), inside)
    threads = torch.get_num_threads()
    model, loss, validate = problem()
    used = []

    def noted():
        used.append(torch.get_num_threads())
        return validate()

    fit(model, loss, noted, torch.arange(64), training=Training(epochs=1, threads=threads + 1), label="t")
    assert (used, torch.get_num_threads()) == ([threads + 1], threads)


def test_a_state_of_another_name_or_damaged_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("csrec_core.models.train.SAVE_EVERY", 0.0)
    training = Training(epochs=3, batch=16, rate=0.05)

    def run(path, cut=False):
        model, loss, validate = problem()
        calls = []

        def watched():
            calls.append(None)
            if cut and len(calls) == 3:
                raise KeyboardInterrupt
            return validate()

        with suppress(KeyboardInterrupt):
            fit(model, loss, watched, torch.arange(64), training=training, label="c", checkpoint=path)
        return len(calls)

    first, other = tmp_path / "first.safetensors", tmp_path / "other.safetensors"
    run(first, cut=True)
    other.write_bytes(first.read_bytes())
    assert run(other) == 3
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    other.rename(tmp_path / "damaged.safetensors")
    first.rename(tmp_path / "kept")
    (tmp_path / "damaged.safetensors").rename(first)
    assert run(first) == 3
    (tmp_path / "kept").rename(first)
    assert run(first) == 1  # two passes were made
    monkeypatch.setattr("csrec_core.models.train.SAVE_EVERY", 3600.0)
    run(first, cut=True)
    assert not first.exists()


def test_weights_are_read_as_they_were_written_or_refused(tmp_path):
    model, path = nn.Linear(2, 1), tmp_path / "weights"
    save_weights(model, path, name="a", number=3)
    other = nn.Linear(2, 1).train()
    assert load_weights(other, path) == {"name": "a", "number": 3}
    assert torch.equal(other.weight, model.weight) and not other.training
    for shape in (nn.Linear(3, 1), nn.Linear(2, 1, bias=False)):
        with pytest.raises(InputError, match="the weights of another model, or of another size"):
            load_weights(shape, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not as it was written"):
        load_weights(other, path)
    path.write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_weights(other, path)


def test_pools_of_sixteen_batches_are_sorted_by_length():
    torch.manual_seed(1)
    lengths = torch.randperm(160)
    pieces = list(batches(torch.arange(160) + 1000, 5, lengths=lengths))
    assert [len(piece) for piece in pieces] == [5] * 32
    for pool in (pieces[:POOL], pieces[POOL:]):
        spans = sorted(
            (lengths[piece - 1000].min().item(), lengths[piece - 1000].max().item()) for piece in pool
        )
        assert all(last < first for (_, last), (first, _) in pairwise(spans))
    firsts = [lengths[piece - 1000].min().item() for piece in pieces[:POOL]]
    assert firsts != sorted(firsts)
