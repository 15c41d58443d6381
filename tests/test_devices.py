"""Training in several processes: as one would with the same batches, and one message where it fails."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PROJECT
from test_train import problem

from csrec_core.errors import InputError
from csrec_core.models.csrec import train_csrec
from csrec_core.models.next_item import train_next_item
from csrec_core.models.preference import read_out, train_preference
from csrec_core.models.sequences import to_sequences
from csrec_core.models.shares import draw, draw_rows
from csrec_core.models.train import Training, fit

BATCH = 48  # of 400 users, the last one of a pass is short
HYPER = {"hidden": 16, "dropout": 0.0}
ROWS = torch.arange(64)


@pytest.fixture(scope="module")
def sequences(books):
    return to_sequences(books, length=12)


@pytest.fixture(autouse=True)
def threads():
    """Let threads compute before this process is forked, as they have where somebody works."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(1000, 1000) @ torch.ones(1000, 1000)
    yield
    torch.set_num_threads(before)


def settings(devices, **options):
    return Training(epochs=3, batch=BATCH, seed=1, devices=devices, **options)


def regress(*, validated=None, failing=None, dropout=0.2, rows=ROWS, checkpoint=None, **options):
    """Train the small regression of the tests of the loop; return model and history.

    `validated` gets the validation loss and returns another, `failing` is called before each batch's loss.
    """
    model, loss, validate = problem()
    model[1].p = dropout
    training = Training(**{"epochs": 6, "batch": 20, "rate": 0.05, "seed": 3, "devices": 2, **options})
    history = fit(
        model,
        lambda rows: (failing and failing(), loss(rows))[1],
        lambda: validated(validate()) if validated else validate(),
        rows,
        training=training,
        label="small",
        checkpoint=checkpoint,
    )
    return model, history


def close(one, other, *, tolerance=2e-5):
    """Compare (model, history) of two runs up to the order of sums, which Adam's steps magnify."""
    curves = [history[["train", "validation"]].to_numpy() for _, history in (one, other)]
    np.testing.assert_allclose(*curves, rtol=tolerance)
    for mine, theirs in zip(one[0].state_dict().values(), other[0].state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_two_processes_learn_the_next_item_as_one_does(sequences, loss):
    one, two = (train_next_item(sequences, training=settings(n), loss=loss, **HYPER) for n in (1, 2))
    close(one, two)
    assert one[1]["train"].iloc[-1] < one[1]["train"].iloc[0]


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
def test_two_processes_learn_preferences_and_csrec_as_one_does(sequences, backbone):
    """Some prefixes and some users' decisions are drawn anew for every batch: for the whole of it."""
    f_tilde = [
        train_preference(sequences, training=settings(n, average=0.9), backbone=backbone, **HYPER)
        for n in (1, 2)
    ]
    close(*f_tilde)
    readouts = read_out(f_tilde[0][0], sequences)
    everyone = torch.arange(len(sequences.users))
    options = {"penalty": 1.0, "backbone": backbone, "start": f_tilde[0][0], **HYPER}
    close(*(train_csrec(sequences, readouts, everyone, training=settings(n), **options) for n in (1, 2)))


def test_more_processes_than_rows_learn_as_one_does():
    close(*(regress(devices=devices, batch=2, rows=ROWS[:7], dropout=0.0) for devices in (1, 3)))


def test_a_mean_over_terms_weighs_each_term_the_same():
    """Rows with more terms than others, all in one process's part: a mean of means would be another step."""

    def trained(devices):
        model, loss, validate = problem()
        model[1].p = 0.0
        terms = 1 + 9 * (ROWS < 5)

        def weighted(rows):
            each = torch.stack([loss(row[None]) for row in rows]) * terms[rows]
            return each.sum() / terms[rows].sum(), terms[rows].sum()

        training = Training(epochs=2, batch=64, rate=0.05, devices=devices)
        return model, fit(model, weighted, validate, ROWS, training=training, label="terms")

    close(trained(1), trained(2))


def test_with_dropout_the_curves_agree_but_for_its_noise():
    """Validation loss, mean over the passes and 12 seeds: apart by less than four standard errors of 2.6%."""
    found = {
        devices: np.array([regress(devices=devices, seed=seed)[1]["validation"].mean() for seed in range(12)])
        for devices in (1, 2)
    }
    error = np.sqrt(sum(losses.var(ddof=1) / len(losses) for losses in found.values()))
    assert not np.allclose(found[1], found[2])
    assert abs(found[1].mean() - found[2].mean()) < 4 * error
    assert error < 0.03 * found[1].mean()


def test_what_belongs_to_a_batch_is_shared_and_dropout_is_not(tmp_path):
    def noted(rows):
        value = problem_loss(rows)
        shared = draw(torch.rand, (3,), device=rows.device)
        per_row = draw_rows(torch.rand, (len(rows), 2), device=rows.device)
        np.savez(
            tmp_path / f"{os.environ['LOCAL_RANK']}-{len(list(tmp_path.iterdir()))}.npz",
            **{"shared": shared, "rows": per_row, "own": torch.rand(3), "number": rows},
        )
        return value

    model, problem_loss, validate = problem()
    fit(model, noted, validate, ROWS, training=Training(epochs=1, batch=64, devices=2), label="noted")
    first, second = (np.load(path) for path in sorted(tmp_path.iterdir()))
    stream = torch.Generator().manual_seed(0)
    order = torch.randperm(64, generator=stream).numpy()
    np.testing.assert_array_equal(np.concatenate([first["number"], second["number"]]), order)
    for side in (first, second):
        np.testing.assert_array_equal(side["shared"], first["shared"])
    np.testing.assert_array_equal(first["shared"], torch.rand((3,), generator=stream))
    whole = torch.rand((64, 2), generator=stream)
    np.testing.assert_array_equal(np.concatenate([first["rows"], second["rows"]]), whole)
    assert not np.array_equal(first["own"], second["own"])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_run_cut_short_goes_on_to_the_same_weights(tmp_path, monkeypatch, average):
    monkeypatch.setattr("csrec_core.models.train.SAVE_EVERY", 0.0)
    whole, expected = regress(average=average)
    path, calls = tmp_path / "part.safetensors", []

    def cut(value):
        calls.append(value)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        regress(average=average, validated=cut, checkpoint=path)
    assert path.exists()
    again, found = regress(average=average, checkpoint=path)
    assert found.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    for mine, theirs in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_and_the_best_weights_are_those_of_one_process():
    values = [3.0, 1.0, 2.0, 2.5, 2.0, 0.5]

    def trained(devices):
        left = iter(values)
        return regress(
            devices=devices, validated=lambda _: next(left), dropout=0.0, batch=16, patience=3, epochs=99
        )

    one, two = trained(1), trained(2)
    assert two[1]["validation"].tolist() == values[:5]
    assert not two[0].training
    assert (two[1]["seconds"] > 0).all()
    close(one, two)


def test_an_unknown_strategy_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"unknown strategy 'dpd_fork'.* did you mean 'ddp_fork'\?"):
        regress(strategy="dpd_fork")
    with pytest.raises(InputError, match="devices = 0; expected a whole number of at least 1"):
        regress(devices=0)
    with pytest.raises(InputError, match=r"threads = 4.* expected 1"):
        regress(threads=4)


def test_one_process_needs_no_fabric_and_more_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    regress(devices=1)
    with pytest.raises(InputError, match="pip install lightning-fabric"):
        regress()


def at_second_batch(how, rank):
    """Return what does that in one of the processes, when it is called for the second time."""
    calls = []

    def fails():
        calls.append(None)
        if len(calls) == 2 and os.environ["LOCAL_RANK"] == rank:
            how()

    return fails


def raising(error):
    def raises():
        raise error

    return raises


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        (raising(InputError("row 3 is bad")), InputError, "^row 3 is bad$"),
        (raising(ZeroDivisionError("by nought")), ChildProcessError, r"(?s)process . of 2 failed.*by nought"),
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            ChildProcessError,
            "process(es)?.* it may lack memory",
        ),
        (lambda: draw(torch.rand, (1,), device=ROWS.device), ChildProcessError, "a loss drew"),
    ],
)
def test_what_fails_in_a_process_is_said_once_and_ends_the_others(how, error, message, rank):
    before = {name: os.environ.get(name) for name in ("MASTER_PORT", "LOCAL_RANK")}
    with pytest.raises(error, match=message):
        regress(failing=at_second_batch(how, rank))
    assert multiprocessing.active_children() == []
    assert {name: os.environ.get(name) for name in before} == before


def test_a_validation_that_is_no_number_is_the_same_error_as_in_one_process():
    with pytest.raises(FloatingPointError, match=r"small: .* lower the learning rate"):
        regress(validated=lambda _: float("nan"))


SCRIPT = """
import os, sys
from test_devices import regress
model, history = regress(strategy="ddp")
history.to_parquet(sys.argv[1] + "/" + os.environ["LOCAL_RANK"])
"""


def test_a_script_run_once_for_each_device_learns_what_forked_processes_do(tmp_path):
    """The way that GPUs take; here with gloo."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    expected = regress()[1]["validation"]
    for rank in ("0", "1"):
        assert pd.read_parquet(tmp_path / rank)["validation"].equals(expected), done.stderr
