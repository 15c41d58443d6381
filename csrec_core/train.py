"""One training loop for every model, and checkpoints that hold weights only."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from csrec_core.files import whole_file

__all__ = ["Training", "batches", "fit", "load_weights", "save_weights"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Attributes
    ----------
    epochs : int
        At most this many passes.
    patience : int
        Stop after this many passes without a better validation loss; the best weights are kept.
    batch : int
        Users a step.
    rate : float
        Learning rate of Adam.
    seed : int
        Order of the batches, dropout, masks.
    """

    epochs: int = 100
    patience: int = 10
    batch: int = 128
    rate: float = 1e-3
    seed: int = 0


def batches(rows: Tensor, size: int, *, shuffle: bool = False) -> Iterator[Tensor]:
    """Yield `rows` (n,) in pieces of at most `size`, shuffled by the global generator if asked."""
    order = rows[torch.randperm(len(rows))] if shuffle else rows
    yield from order.split(size)


def fit(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], float],
    rows: Tensor,
    *,
    training: Training,
    label: str,
) -> pd.DataFrame:
    """Train `model` in place with early stopping; it ends with its best weights, in evaluation mode.

    Parameters
    ----------
    loss : callable
        Mean loss of the users in a batch of `rows`.
    validate : callable
        Loss on held-out data, called in evaluation mode without gradients; lower is better.
    rows : Tensor (n,) int64
        Users to train on.
    label : str
        What the progress bar says.

    Returns
    -------
    DataFrame
        `epoch` (from 1), `train` and `validation` loss.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=training.rate)
    best, best_weights, history = float("inf"), None, []
    with torch.random.fork_rng(), tqdm(total=training.epochs, desc=label, disable=None, leave=False) as bar:
        torch.manual_seed(training.seed)
        for epoch in range(1, training.epochs + 1):
            trained = _one_pass(model, loss, rows, training.batch, optimiser)
            model.eval()
            with torch.no_grad():
                validation = validate()
            history.append((epoch, trained, validation))
            bar.update()
            bar.set_postfix(validation=f"{validation:.4f}")
            if validation < best:
                best, best_epoch = validation, epoch
                best_weights = {name: value.clone() for name, value in model.state_dict().items()}
            elif epoch - best_epoch >= training.patience:
                break
    if best_weights is None:
        raise FloatingPointError(f"{label}: the validation loss was never a number; lower the learning rate")
    model.load_state_dict(best_weights)
    model.eval()
    return pd.DataFrame(history, columns=["epoch", "train", "validation"])


def _one_pass(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    rows: Tensor,
    size: int,
    optimiser: torch.optim.Optimizer,
) -> float:
    model.train()
    total = 0.0
    for batch in batches(rows, size, shuffle=True):
        optimiser.zero_grad()
        value = loss(batch)
        value.backward()
        optimiser.step()
        total += value.item() * len(batch)
    return total / len(rows)


def save_weights(model: nn.Module, path: str | Path, **notes) -> None:
    """Write the weights as safetensors, with `notes` (JSON values) as metadata; whole or absent."""
    with whole_file(path) as temporary:
        save_file(model.state_dict(), temporary, metadata={"notes": json.dumps(notes, sort_keys=True)})


def load_weights(model: nn.Module, path: str | Path) -> dict:
    """Read weights into a model of the same shape, set it to evaluation mode, and return the notes."""
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        model.load_state_dict({name: file.get_tensor(name) for name in names})
        notes = json.loads(file.metadata()["notes"])
    model.eval()
    return notes
