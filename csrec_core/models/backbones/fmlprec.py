"""FMLPRec: Zhou et al., Filter-enhanced MLP is All You Need for Sequential Recommendation (WWW 2022).

A learnable complex filter W multiplies the spectrum of the window, channel by channel (equations 4 to 6
there): y = F^-1(W * F(x)). That is a circular convolution with the kernel F^-1(W), so it is computed as a
product with the Toeplitz matrix of that kernel, on the tokens there are and not on their padding.

The circular half of the matrix lets a position see its future, so the exact form reads each prefix as a
window of its own. The causal form leaves that half out. At the last position of a window both are the same
in the first layer.

The causal form is the default, since f~ and f are read at every position. On LastFM
(`benchmarks/backbones.py`) the exact form is better where both ask for the last 50 items of each user
(validation NDCG@10 .054 against .049, one seed), at 3.5 times the CPU for as many items. Asked for whole
histories, which one pass affords, the causal form does as well (.056, five seeds).
"""

import torch
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Stack
from csrec_core.models.backbones.layers import Block, Mixer, toeplitz


class FMLPRec(Stack):
    """Filter encoder; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers : int
        Number of blocks.
    causal : bool
        The causal form, one pass for all prefixes; else the exact one.
    """

    def __init__(self, n_items: int, *, layers: int = 2, dropout: float = 0.5, causal: bool = True, **common):
        super().__init__(n_items, dropout=dropout, causal=causal, **common)
        window = self.positions + 1
        filters = (_Filter(self.hidden, window, causal=causal) for _ in range(layers))
        self._stack(Block(mixer, self.hidden, dropout) for mixer in filters)


class _Filter(Mixer):
    """y = F^-1(W F(x)) over a window of `window` slots; see `csrec_core.models.backbones.layers`."""

    def __init__(self, hidden: int, window: int, *, causal: bool):
        super().__init__()
        self.window, self.causal = window, causal
        self.spectrum = nn.Parameter(torch.randn(window // 2 + 1, hidden, 2) * 0.02)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        matrix = toeplitz(self._kernel(), states.shape[1], causal=self.causal)
        return torch.einsum("ijh,bjh->bih", matrix, states)

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return torch.einsum("jh,bjh->bh", self._kernel()[: states.shape[1]].flip(0), states)

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        return self(states, None) + self._kernel()[0] * (others - states)

    def _kernel(self) -> Tensor:
        return torch.fft.irfft(torch.view_as_complex(self.spectrum), n=self.window, dim=0, norm="backward")
