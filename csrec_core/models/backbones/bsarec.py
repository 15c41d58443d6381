"""BSARec: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention
(AAAI 2024).

A layer mixes self-attention with a frequency rescaling (equations 6 to 9 there):
alpha (LFC(x) + beta^2 HFC(x)) + (1 - alpha) attention(x). LFC keeps the lowest frequencies of the window, HFC
is the rest, beta is learned. The low pass is a circular convolution with a Dirichlet kernel, computed as one
product with its Toeplitz matrix.

The low pass over the whole window lets a position see its future, so the exact form reads each prefix as a
window of its own. The causal form leaves later tokens out of the low pass. At the last position of a window
both are the same in the first layer.

The causal form is the default, since f~ and f are read at every position. On LastFM
(`benchmarks/backbones.py`) the exact form is better where both ask for the last 50 items of each user
(validation NDCG@10 .052 against .048, one seed), at 4 times the CPU for as many items. Asked for whole
histories, which one pass affords, the causal form is the better one (.058, five seeds).
"""

import math

import torch
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Stack
from csrec_core.models.backbones.layers import Attention, toeplitz

__all__ = ["BSARec"]


class BSARec(Stack):
    """Attentive encoder with a frequency bias; as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers, heads : int
        Number of blocks, and of attention heads in each.
    alpha : float
        Share of the frequency rescaling, in [0, 1]; the rest is attention.
    cutoff : int
        Frequencies that the low pass keeps, the constant one included, at least 1.
    causal : bool
        The causal form, one pass for all prefixes; else the exact one.
    """

    def __init__(
        self,
        n_items: int,
        *,
        layers: int = 2,
        heads: int = 2,
        alpha: float = 0.7,
        cutoff: int = 5,
        dropout: float = 0.5,
        causal: bool = True,
        **common,
    ):
        super().__init__(n_items, dropout=dropout, causal=causal, **common)
        mixers = [
            _Mixer(
                _Rescaling(self.hidden, self.positions + 1, cutoff, dropout, causal=causal),
                Attention(self.hidden, heads, causal=True),
                alpha,
            )
            for _ in range(layers)
        ]
        self._stack(mixers, dropout)


class _Mixer(nn.Module):
    """alpha times the rescaling and 1 - alpha times the attention."""

    def __init__(self, rescaling: nn.Module, attention: nn.Module, alpha: float):
        super().__init__()
        self.rescaling, self.attention, self.alpha = rescaling, attention, alpha

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return torch.lerp(self.attention(states, real), self.rescaling(states, real), self.alpha)

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return torch.lerp(self.attention.end(states, real), self.rescaling.end(states, real), self.alpha)

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        return torch.lerp(
            self.attention.branch(states, others), self.rescaling.branch(states, others), self.alpha
        )


class _Rescaling(nn.Module):
    """norm(x + low + beta^2 (x - low)), low being the low pass of x over a window of `window` slots."""

    def __init__(self, hidden: int, window: int, cutoff: int, dropout: float, *, causal: bool):
        super().__init__()
        self.causal = causal
        self.beta = nn.Parameter(torch.randn(hidden))
        self.norm, self.dropout = nn.LayerNorm(hidden), nn.Dropout(dropout)
        place = torch.arange(window)
        waves = torch.cos(2 * math.pi / window * torch.arange(1, cutoff)[:, None] * place)
        self.register_buffer("kernel", (1 + 2 * waves.sum(dim=0)) / window, persistent=False)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self._rescale(states, toeplitz(self.kernel, states.shape[1], causal=self.causal) @ states)

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        low = self.kernel[: states.shape[1]].flip(0) @ states
        return self._rescale(states[:, -1], low)

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        low = toeplitz(self.kernel, states.shape[1], causal=True) @ states
        return self._rescale(others, low + self.kernel[0] * (others - states))

    def _rescale(self, states: Tensor, low: Tensor) -> Tensor:
        return self.norm(states + self.dropout(low + self.beta**2 * (states - low)))
