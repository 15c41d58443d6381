"""SASRec: Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018), with decisions.

Causal self-attention over the tokens (section III), output weights tied to the item embedding
(equation 6 there). Added here: a token also carries the decision, items may have features, a learned start
token stands for the empty history, and `encode_last` reads every position under a set previous decision in
one pass.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SASRec"]


class SASRec(nn.Module):
    """Self-attentive sequence encoder; see `csrec_core.backbones.Backbone` for the methods.

    Parameters
    ----------
    n_items : int
        Size of the catalogue, N.
    positions : int
        Largest number of tokens in a window, L.
    features : Tensor (N + 1, F), optional
        Item features, projected and added to the item embedding; row 0 is padding.
    hidden, layers, heads : int
        Width, number of blocks, attention heads.
    dropout : float
        In [0, 1).
    """

    def __init__(
        self,
        n_items: int,
        *,
        positions: int = 50,
        features: Tensor | None = None,
        hidden: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.n_items, self.hidden = n_items, hidden
        self.item = nn.Embedding(n_items + 1, hidden, padding_idx=0)
        self.decision = nn.Embedding(3, hidden)
        self.position = nn.Embedding(positions, hidden)
        self.start = nn.Parameter(torch.empty(hidden))
        self.bias = nn.Parameter(torch.zeros(n_items))
        has_features = features is not None and features.shape[1] > 0
        self.register_buffer("features", features if has_features else None, persistent=False)
        self.feature = nn.Linear(features.shape[1], hidden, bias=False) if has_features else None
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.apply(_initialise)
        nn.init.normal_(self.start, std=0.02)

    def encode(
        self, items: Tensor, decisions: Tensor | None = None, *, shift: Tensor | None = None
    ) -> Tensor:
        if decisions is None:
            decisions = torch.ones_like(items)
        states = self._tokens(items, decisions, shift)
        visible = _causal(items)
        for block in self.blocks:
            states = block(states, visible)
        return states

    def encode_last(self, items: Tensor, decisions: Tensor, last: int) -> Tensor:
        # Two streams of the same tokens: the first with the given decisions, the second with `last`. A token
        # of the second sees the first stream strictly before it, and itself: one pass for all prefixes.
        first = self._tokens(items, decisions, None)
        states = torch.cat([first, self._tokens(items, torch.full_like(decisions, last), None)], dim=1)
        causal = _causal(items)
        own = causal & torch.eye(causal.shape[-1], dtype=torch.bool, device=items.device)
        visible = torch.cat(
            [torch.cat([causal, torch.zeros_like(causal)], dim=-1), torch.cat([causal & ~own, own], dim=-1)],
            dim=-2,
        )
        for block in self.blocks:
            states = block(states, visible)
        return states[:, first.shape[1] :]

    def embed(self, items: Tensor) -> Tensor:
        embedded = self.item(items)
        return embedded if self.feature is None else embedded + self.feature(self.features[items])

    def score(self, states: Tensor, candidates: Tensor | None = None) -> Tensor:
        if candidates is None:
            every = torch.arange(1, self.n_items + 1, device=states.device)
            return states @ self.embed(every).T + self.bias
        return (states * self.embed(candidates)).sum(-1) + self.bias[(candidates - 1).clamp(min=0)]

    def _tokens(self, items: Tensor, decisions: Tensor, shift: Tensor | None) -> Tensor:
        place = torch.arange(items.shape[1], device=items.device)
        place = place if shift is None else place + shift[:, None]
        tokens = self.embed(items) + self.decision(decisions) + self.position(place)
        tokens = torch.cat([self.start.expand(len(items), 1, -1), tokens], dim=1)
        return self.dropout(self.norm(tokens))


class _Block(nn.Module):
    """Attention and a feed-forward layer, each with a residual and a norm after it."""

    def __init__(self, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.forward_layer = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden), nn.Dropout(dropout)
        )
        self.norm_attention, self.norm_forward = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        batch, length, hidden = states.shape
        qkv = self.qkv(states).view(batch, length, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        mixed = mixed.transpose(1, 2).reshape(batch, length, hidden)
        states = self.norm_attention(states + self.dropout(self.out(mixed)))
        return self.norm_forward(states + self.forward_layer(states))


def _causal(items: Tensor) -> Tensor:
    """Which tokens a token sees, (B, 1, L + 1, L + 1): itself, the start and the earlier ones, no padding."""
    real = F.pad(items > 0, (1, 0), value=True)
    length = real.shape[1]
    triangle = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()
    return (triangle & real[:, None, :])[:, None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])
