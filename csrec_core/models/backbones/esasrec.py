"""eSASRec: Tikhonovich et al., Enhancing transformer-based recommendations in a modular fashion (RecSys 2025).

SASRec's causal attention in the blocks of LiGR (Borisyuk et al. 2025): each layer normalises what it reads, the
residual takes its output through a gate of the state itself, and the feed-forward layer is a SwiGLU (Shazeer
2020). Its authors train it by a softmax over many sampled negatives: `loss="sampled_softmax"`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Stack
from csrec_core.models.backbones.layers import Attention, Dropout, Mixer


class ESASRec(Stack):
    """Encoder of gated blocks; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers, heads : int
        Number of blocks, and of attention heads in each.
    """

    def __init__(self, n_items: int, *, layers: int = 2, heads: int = 2, dropout: float = 0.5, **common):
        super().__init__(n_items, dropout=dropout, causal=True, **common)
        # A residual that is never normalised grows with the layers.
        self.last_norm = nn.LayerNorm(self.hidden)
        self._stack(_GatedBlock(self.hidden, heads, dropout) for _ in range(layers))

    def mix(self, tokens: Tensor, users: Tensor | None) -> Tensor:
        return self.last_norm(super().mix(tokens, users))

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        return self.last_norm(super().end(tokens, real, users))

    def branch(self, tokens: Tensor, others: Tensor, users: Tensor | None) -> Tensor:
        return self.last_norm(super().branch(tokens, others, users))


class _GatedBlock(Mixer):
    """Attention and SwiGLU, each as x + sigmoid(G x) * layer(norm(x))."""

    def __init__(self, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.mixer = Attention(hidden, heads, causal=True)
        self.norm_mixer, self.norm_forward = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.gate_mixer, self.gate_forward = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 8 * hidden), nn.Linear(4 * hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self._feed(self._join(states, self.mixer(self.norm_mixer(states), real)))

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return self._feed(self._join(states[:, -1], self.mixer.end(self.norm_mixer(states), real)))

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        mixed = self.mixer.branch(self.norm_mixer(states), self.norm_mixer(others))
        return self._feed(self._join(others, mixed))

    def _join(self, states: Tensor, mixed: Tensor) -> Tensor:
        return states + torch.sigmoid(self.gate_mixer(states)) * self.dropout(mixed)

    def _feed(self, states: Tensor) -> Tensor:
        value, gate = self.up(self.norm_forward(states)).chunk(2, dim=-1)
        fed = self.dropout(self.down(value * F.silu(gate)))
        return states + torch.sigmoid(self.gate_forward(states)) * fed
