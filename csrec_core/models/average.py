"""The moving average of a model's weights over the steps of its training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The exponential moving average of a model's weights (Polyak and Juditsky 1992); without decay, none."""

    def __init__(self, model: nn.Module, decay: float):
        self.weights = dict(model.named_parameters())
        self.decay, self.steps = decay, 0
        self.means = {name: weight.detach().clone() for name, weight in self.weights.items() if decay}

    @torch.no_grad()
    def step(self) -> None:
        """Take the weights in; the first ones count for little, as they are far from the rest."""
        if self.decay:
            self.steps += 1
            blend = get_ema_multi_avg_fn(min(self.decay, self.steps / (self.steps + 10)))
            blend(list(self.means.values()), list(self.weights.values()), self.steps)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model its averaged weights within the block."""
        own = {name: self.weights[name].detach().clone() for name in self.means}
        self._set(self.means)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.weights[name].copy_(value)
