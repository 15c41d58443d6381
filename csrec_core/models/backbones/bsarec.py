"""BSARec: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention
(AAAI 2024).

A layer mixes self-attention with a frequency rescaling (equations 6 to 9 there):
alpha (LFC(x) + beta^2 HFC(x)) + (1 - alpha) attention(x). LFC keeps the lowest frequencies of the window, HFC
is the rest, beta is learned. The low pass is a circular convolution with a Dirichlet kernel, computed as one
product with its Toeplitz matrix. As in the authors' code, either half has its residual, dropout and norm
before they are mixed, and the mixture goes to the feed-forward layer as it is.

The low pass over the whole window lets a position see its future, so the exact form reads each prefix as a
window of its own. The causal form leaves later tokens out of the low pass. At the last position of a window
both are the same in the first layer.

The causal form is the default, since f~ and f are read at every position. On LastFM
(`benchmarks/backbones.py`, validation NDCG@10, CPU seconds to the best weights; one seed each): exact, asked
for the last 50 items of each user, .061 in 283 s; exact, asked for whole histories, .066 in 242 s; causal,
asked for whole histories, .064 in 95 s. The exact form is best at the authors' alpha .9 and c 3; the causal
one wants more attention, alpha .5 and c 5 (.9 and 3: .056; .3 and 9: .062), since less of the window is left
to its low pass.
"""

import math

import torch
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Stack
from csrec_core.models.backbones.layers import Attention, Block, Dropout, Mixer, toeplitz


class BSARec(Stack):
    """Attentive encoder with a frequency bias; as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers, heads : int
        Number of blocks, and of attention heads in each.
    alpha : float
        Share of the frequency rescaling, in [0, 1]; the rest is attention.
    cutoff : int
        Components of the window's spectrum that the low pass keeps, c of the paper, odd: the constant one
        and (c - 1) / 2 pairs of conjugate frequencies.
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
        window = self.positions + 1
        self._stack(
            _Block(
                _Rescaling(self.hidden, window, cutoff, dropout, causal=causal),
                Attention(self.hidden, heads, causal=True),
                alpha,
                self.hidden,
                dropout,
            )
            for _ in range(layers)
        )


class _Block(Block):
    """alpha times the rescaling, 1 - alpha times the attention, each with a residual and norm of its own."""

    def __init__(self, rescaling: Mixer, attention: Mixer, alpha: float, hidden: int, dropout: float):
        super().__init__(attention, hidden, dropout)
        self.rescaling, self.alpha = rescaling, alpha

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self._mix(states, self.mixer(states, real), self.rescaling(states, real))

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return self._mix(states[:, -1], self.mixer.end(states, real), self.rescaling.end(states, real))

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        return self._mix(others, self.mixer.branch(states, others), self.rescaling.branch(states, others))

    def _mix(self, states: Tensor, attended: Tensor, rescaled: Tensor) -> Tensor:
        return self._feed(torch.lerp(self._join(states, attended), rescaled, self.alpha))


class _Rescaling(Mixer):
    """norm(x + low + beta^2 (x - low)), low being the low pass of x over a window of `window` slots."""

    kernel: Tensor

    def __init__(self, hidden: int, window: int, cutoff: int, dropout: float, *, causal: bool):
        super().__init__()
        self.causal = causal
        self.beta = nn.Parameter(torch.randn(hidden))
        self.norm, self.dropout = nn.LayerNorm(hidden), Dropout(dropout)
        place = torch.arange(window)
        waves = torch.cos(2 * math.pi / window * torch.arange(1, cutoff // 2 + 1)[:, None] * place)
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
