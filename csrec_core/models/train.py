"""One training loop for every model, and checkpoints that hold weights only."""

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from csrec_core.errors import InputError
from csrec_core.files import whole_file

#: The mean loss of a batch of rows.
Loss = Callable[[Tensor], Tensor]
POOL = 16  # batches that are drawn together and sorted by length before they are cut
SAVE_EVERY = 20.0  # seconds of work that a run cut short may lose


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
        Rows a step: users, or prefixes where each is a window of its own.
    rate : float
        Learning rate of Adam.
    average : float
        In [0, 1), of the moving average of the weights over the steps, which is then what is validated and
        kept; 0 keeps the weights themselves. .99 remembers some hundred steps.
    seed : int
        Order of the batches, dropout, masks.
    threads : int, optional
        Threads of a matrix product; None leaves PyTorch's own choice.
    """

    epochs: int = 100
    patience: int = 10
    batch: int = 128
    rate: float = 1e-3
    average: float = 0.0
    seed: int = 0
    threads: int | None = None


def batches(rows: Tensor, size: int, *, lengths: Tensor | None = None) -> Iterator[Tensor]:
    """Yield `rows` (n,), shuffled, in pieces of at most `size`.

    With `lengths` (n,), those of each row's window, a piece holds rows of about equal length, so that little
    of a rectangular batch is padding.
    """
    order = torch.randperm(len(rows), device=rows.device)
    if lengths is None:
        yield from rows[order].split(size)
        return
    for pool in order.split(size * POOL):
        pieces = pool[lengths[pool].argsort()].split(size)
        for piece in torch.randperm(len(pieces)).tolist():
            yield rows[pieces[piece]]


def hold_out(rows: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return a tenth of `rows` (n,), at random and at least one, to stop a training by, and the others."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    stopping, others = rows[order.to(rows.device)].tensor_split([max(1, len(rows) // 10)])
    return stopping, others


def mean_loss(loss: Loss, rows: Tensor, size: int) -> float:
    """Return the mean loss of `rows` (n,), read `size` at a time."""
    return sum(loss(batch).item() * len(batch) for batch in rows.split(size)) / len(rows)


def fit(
    model: nn.Module,
    loss: Loss,
    validate: Callable[[], float],
    rows: Tensor,
    *,
    training: Training,
    label: str,
    lengths: Tensor | None = None,
    start: float = math.inf,
    checkpoint: str | Path | None = None,
) -> pd.DataFrame:
    """Train `model` in place with early stopping; it ends with its best weights, in evaluation mode.

    Parameters
    ----------
    loss : callable
        Mean loss of a batch of `rows`.
    validate : callable
        Loss on held-out data, called in evaluation mode without gradients; lower is better.
    rows : Tensor (n,) int64
        What to train on: users, or prefixes.
    label : str
        What the progress bar says.
    lengths : Tensor (n,), optional
        Length of each row's window, for batches with little padding.
    start : float
        Validation loss of the weights as they come, which are kept where no pass has a lower one.
    checkpoint : path, optional
        Where the state is kept while training; a later call goes on from it, to the same weights as one that
        was never cut short. Removed at the end.

    Returns
    -------
    DataFrame
        `epoch` (from 1), `train` and `validation` loss, CPU `seconds` of the pass without validation.
    """
    run = _Run(model, training, checkpoint, start)
    device = next(model.parameters()).device
    with (
        seeded(training.seed, device),
        _threads(training.threads),
        tqdm(total=training.epochs, desc=label, leave=False) as bar,
    ):
        run.resume()
        bar.update(len(run.history))
        while len(run.history) < training.epochs and run.waited < training.patience:
            started = time.process_time()
            model.train()
            total = 0.0
            for batch in batches(rows, training.batch, lengths=lengths):
                run.optimiser.zero_grad()
                value = loss(batch)
                value.backward()
                run.optimiser.step()
                if run.average:
                    run.average.update_parameters(model)
                total += value.item() * len(batch)
            seconds = time.process_time() - started
            model.eval()
            with torch.no_grad():
                run.record(total / len(rows), validate, seconds)
            run.save()
            bar.update()
            bar.set_postfix(validation=f"{run.history[-1][2]:.4f}")
    run.finish(label)
    return pd.DataFrame(run.history, columns=["epoch", "train", "validation", "seconds"])


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed the global generators within the block, and leave them as they were after it."""
    kind = torch.device(device).type
    with torch.random.fork_rng() if kind == "cpu" else torch.random.fork_rng(device_type=kind):
        torch.manual_seed(seed)
        yield


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights (Polyak and Juditsky 1992)."""

    def blend(means: PARAM_LIST, weights: PARAM_LIST, steps: Tensor | int) -> None:
        # The first ones count for little, as they are far from the rest.
        get_ema_multi_avg_fn(min(decay, int(steps) / (int(steps) + 10)))(means, weights, steps)

    average = AveragedModel(model, multi_avg_fn=blend)
    average.update_parameters(model)  # the start: a copy
    return average


class _Run:
    """The state of a training run: its history, its best weights, and how they are kept on disk."""

    def __init__(self, model: nn.Module, training: Training, path: str | Path | None, start: float):
        self.model, self.path = model, None if path is None else Path(path)
        self.optimiser = torch.optim.Adam(model.parameters(), lr=training.rate, fused=True)
        self.average = _averaged(model, training.average) if training.average else None
        self.history: list[tuple[int, float, float, float]] = []
        self.best_epoch, self.start = 0, start
        self.weights = self._copy() if start < math.inf else {}
        self.saved = time.monotonic()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    @property
    def best(self) -> float:
        """The best validation loss so far."""
        return self.history[self.best_epoch - 1][2] if self.best_epoch else self.start

    @property
    def waited(self) -> int:
        """Passes since the best one."""
        return len(self.history) - self.best_epoch

    def record(self, trained: float, validate: Callable[[], float], seconds: float) -> None:
        """Validate and note a pass, and keep its weights, or their average, where they are the best so far."""
        own = self._copy() if self.average else {}
        if self.average:
            self.model.load_state_dict(self.average.module.state_dict())
        validation = validate()
        better = validation < self.best
        self.history.append((len(self.history) + 1, trained, validation, seconds))
        if better:
            self.best_epoch = len(self.history)
            self.weights = self._copy()
        if self.average:
            self.model.load_state_dict(own)

    def save(self) -> None:
        """Save, if it is time to."""
        if self.path is None or time.monotonic() - self.saved < SAVE_EVERY:
            return
        parts = {"now": self.model.state_dict(), "best": self.weights}
        parts["mean"] = self.average.state_dict() if self.average else {}
        adam = self.optimiser.state_dict()["state"]
        parts |= {f"adam.{number}": state for number, state in adam.items()}
        parts["random"] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            parts["random"]["cuda"] = torch.cuda.get_rng_state()
        tensors = {f"{part}.{name}": value for part, of in parts.items() for name, value in of.items()}
        notes = {"history": self.history, "best": self.best_epoch}
        _write_tensors(self.path, tensors, notes | {"name": self.path.name})
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Go on from what is on disk; a state that is damaged, or another model's, is as good as none."""
        if self.path is None or not self.path.exists():
            return
        with suppress(InputError):
            tensors, notes = _read_tensors(self.path)
            parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
            for key, value in tensors.items():
                part, name = key.split(".", 1)
                parts[part][name] = value
            _check_shapes(self.model, parts["now"], self.path)
            if notes.get("name") == self.path.name:  # a state may fit another training
                self._restore(parts, notes)

    def _restore(self, parts: Mapping[str, dict[str, Tensor]], notes: Mapping) -> None:
        self.model.load_state_dict(parts["now"])
        self.weights = parts["best"]
        if self.average:
            self.average.load_state_dict(parts["mean"])
        state: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key, value in parts["adam"].items():
            number, name = key.split(".")
            state[int(number)][name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        torch.set_rng_state(parts["random"]["cpu"])
        if "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"])
        self.history = [tuple(row) for row in notes["history"]]
        self.best_epoch = notes["best"]

    def finish(self, label: str) -> None:
        """Give the model its best weights, and remove what is on disk."""
        if not self.weights:
            raise FloatingPointError(
                f"{label}: the validation loss was never a number; lower the learning rate"
            )
        self.model.load_state_dict(self.weights)
        self.model.eval()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save_weights(model: nn.Module, path: str | Path, **notes) -> None:
    """Write the weights as safetensors, with `notes` (JSON values) as metadata; whole or absent."""
    _write_tensors(path, model.state_dict(), notes)


def load_weights(model: nn.Module, path: str | Path) -> dict:
    """Read weights into a model of the same shape, set it to evaluation mode, and return the notes.

    Raises InputError where the file is not as it was written, or of another model.
    """
    weights, notes = _read_tensors(path)
    _check_shapes(model, weights, path)
    model.load_state_dict(weights)
    model.eval()
    return notes


def _write_tensors(path: str | Path, tensors: Mapping[str, Tensor], notes: Mapping) -> None:
    text = json.dumps(notes, sort_keys=True)
    with whole_file(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"notes": text, "sha256": _digest(tensors, text)})


def _read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            about = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from None
    # The format has no sum of its own: a flipped bit would be another weight.
    if about.get("sha256") != _digest(tensors, about.get("notes", "")):
        raise InputError(f"{path}: not as it was written: its sum is another")
    return tensors, json.loads(about["notes"])


def _check_shapes(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse another model's weights before any is taken over."""
    own, read = ({name: t.shape for name, t in of.items()} for of in (model.state_dict(), weights))
    if own != read:
        raise InputError(f"{path}: the weights of another model, or of another size")


def _digest(tensors: Mapping[str, Tensor], notes: str) -> str:
    return hashlib.sha256(notes.encode() + save(dict(tensors))).hexdigest()
