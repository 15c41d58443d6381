"""A batch that several processes share: whose rows are whose, one gradient for all, the same random numbers.

Each process holds the whole model and takes its rows of every batch. The gradients are put together so that
the step is the one that a single process makes with the whole batch, however uneven the parts are. What a
loss draws with `draw` and `draw_rows` is drawn by every process for the whole batch, and each takes what
belongs to its rows; dropout, and what a loss draws by itself, is another in each process.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Alone", "Group", "Loss", "PeerLost", "draw", "draw_rows"]

#: Of a batch of rows: their mean loss, and over how many terms the mean is, where that is not the rows.
Loss = Callable[[Tensor], Tensor | tuple[Tensor, Tensor | int]]


class PeerLost(ConnectionError):
    """Another process of the group is gone, or does not answer."""


@dataclass(frozen=True)
class _Share:
    """The batch at hand: its rows, the first one of this process, and what all draw from, by device type."""

    rows: int
    first: int
    streams: Mapping[str, torch.Generator]


_share: ContextVar[_Share | None] = ContextVar("share", default=None)


def draw(kind: Callable[..., Tensor], size: tuple[int, ...], *, device: torch.device) -> Tensor:
    """Draw numbers that serve a whole batch, such as negatives: the same in all processes that share it.

    Parameters
    ----------
    kind : callable
        `torch.rand`, or `torch.randint` with its bounds by `functools.partial`.
    size : tuple of int
    device : torch.device
    """
    share = _share.get()
    stream = None if share is None else share.streams[device.type]
    return kind(size, device=device, generator=stream)


def draw_rows(kind: Callable[..., Tensor], size: tuple[int, ...], *, device: torch.device) -> Tensor:
    """Draw numbers for the rows of a batch, size[0] of them: the same ones whoever the rows belong to."""
    share = _share.get()
    if share is None:
        return kind(size, device=device)
    whole = draw(kind, (share.rows, *size[1:]), device=device)
    return whole[share.first : share.first + size[0]]


class Alone:
    """One process that does everything."""

    main = True
    streams: Mapping[str, torch.Generator] = {}

    def begin(self, epoch: int) -> None:
        """Prepare for a pass over the rows."""

    def backward(self, loss: Loss, batch: Tensor) -> Tensor:
        """Set the gradients of the mean loss of a batch, and return that loss."""
        value, _ = _counted(loss(batch), batch)
        value.backward()
        return value.detach()

    def total(self, seconds: float) -> float:
        """Return the sum over all processes."""
        return seconds

    def once(self, function: Callable[[], float]) -> float:
        """Return what a function says that one process calls for all."""
        return function()

    def wait(self) -> None:
        """Wait for the other processes."""

    def random_states(self) -> dict[str, Tensor]:
        """Return the states of what is drawn from, for a later run to go on from."""
        states = {"random": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            states["random.cuda"] = torch.cuda.get_rng_state()
        return states

    def set_random_states(self, states: Mapping[str, Tensor]) -> None:
        """Go on from states that `random_states` returned, here or in a group."""
        torch.set_rng_state(states["random"])
        if "random.cuda" in states:
            torch.cuda.set_rng_state(states["random.cuda"])


@dataclass(eq=False)
class Group(Alone):
    """One of several processes that train a model, joined by Lightning Fabric.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
        Launched.
    model : nn.Module
        With the same weights in all processes.
    seed : int
        Of all random numbers. What the processes share begins as the global generator of a single one, and
        what each draws for itself is seeded for every pass, so that nothing of it need be kept.
    """

    fabric: object
    model: nn.Module
    seed: int
    streams: dict[str, torch.Generator] = field(init=False)

    def __post_init__(self):
        kinds = {"cpu", next(self.model.parameters()).device.type}
        self.streams = {kind: torch.Generator(kind).manual_seed(self.seed) for kind in kinds}

    @property
    def main(self) -> bool:
        """Whether this is the process that validates, and writes what is kept."""
        return self.fabric.global_rank == 0

    def begin(self, epoch: int) -> None:
        own = np.random.SeedSequence([self.seed, epoch, self.fabric.global_rank])
        torch.manual_seed(int(own.generate_state(1, np.uint64)[0] >> 1))

    def backward(self, loss: Loss, batch: Tensor) -> Tensor:
        size, rank = self.fabric.world_size, self.fabric.global_rank
        first, last = len(batch) * rank // size, len(batch) * (rank + 1) // size
        # Whoever is left without a row goes through one for nothing, to draw what the others draw.
        idle = first == last
        first = min(first, len(batch) - 1)
        with self._sharing(len(batch), first):
            part = batch[first : max(last, first + 1)]
            value, count = _counted(loss(part), part)
        count = 0 if idle else int(count)
        if count:
            (value * count).backward()
        return self._put_together(value.item() * count if count else 0.0, count)

    def total(self, seconds: float) -> float:
        """Return the sum over all processes; raises RuntimeError where they have not drawn the same."""
        states = sum(zlib.crc32(stream.get_state().numpy()) for stream in self.streams.values())
        mine = torch.tensor([seconds, states], dtype=torch.float64, device=self.fabric.device)
        seconds, all_states = self._sum(mine).tolist()
        if all_states != states * self.fabric.world_size:
            raise RuntimeError("a loss drew with `draw` or `draw_rows` in some processes and not in others")
        return seconds

    def once(self, function: Callable[[], float]) -> float:
        value = function() if self.main else None
        with _peers():
            return self.fabric.broadcast(value)

    def wait(self) -> None:
        with _peers():
            self.fabric.barrier()

    def random_states(self) -> dict[str, Tensor]:
        return {_state_name(kind): stream.get_state() for kind, stream in self.streams.items()}

    def set_random_states(self, states: Mapping[str, Tensor]) -> None:
        for kind, stream in self.streams.items():
            if _state_name(kind) in states:
                stream.set_state(states[_state_name(kind)])

    @contextmanager
    def _sharing(self, rows: int, first: int) -> Iterator[None]:
        token = _share.set(_Share(rows, first, self.streams))
        try:
            yield
        finally:
            _share.reset(token)

    def _put_together(self, loss: float, count: int) -> Tensor:
        """Give every process the gradient of the mean over all terms; return that mean.

        A weight that got no gradient in any process keeps none, as in a single process, where Adam leaves it
        as it is.
        """
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        known = [float(weight.grad is not None) for weight in weights]
        told = torch.tensor([loss, count, *known], dtype=torch.float64, device=self.fabric.device)
        loss, count, *known = self._sum(told).tolist()
        moved = [weight for weight, times in zip(weights, known, strict=True) if times]
        if moved:
            parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in moved]
            flat = self._sum(torch.cat([part.flatten() for part in parts])) / count
            for weight, part in zip(moved, flat.split([each.numel() for each in moved]), strict=True):
                weight.grad = part.view_as(weight)
        return torch.tensor(loss / max(count, 1))

    def _sum(self, values: Tensor) -> Tensor:
        with _peers():
            return self.fabric.all_reduce(values, reduce_op="sum")


def _state_name(kind: str) -> str:
    return "random" if kind == "cpu" else f"random.{kind}"


def _counted(result: Tensor | tuple, batch: Tensor) -> tuple[Tensor, Tensor | int]:
    return result if isinstance(result, tuple) else (result, len(batch))


@contextmanager
def _peers() -> Iterator[None]:
    """Tell an error of the connection between processes from the others."""
    try:
        yield
    except RuntimeError as error:  # all that the backends raise: a closed connection, a time-out
        raise PeerLost(str(error).splitlines()[0]) from error
