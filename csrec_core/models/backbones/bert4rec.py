"""BERT4Rec: Sun et al., Sequential Recommendation with Bidirectional Encoder Representations (CIKM 2019).

Bidirectional attention over the window and a mask token at its end, whose state stands for the next item
(section 3.5 there). A state passes one more layer, with GELU, before it is scored (equation 7). Positions
count from the end of the window, so that the mask is always in the same place. Every state depends on its
whole window, so each prefix is read as a window of its own.

Training hides a share of the tokens at random and asks for them (cloze, section 3.6). The paper adds
windows with the last token alone hidden, as a recommendation is made; here that token is hidden in every
prefix, beside the share of the others. On LastFM (`benchmarks/backbones.py`, one seed, validation NDCG@10):
tokens hidden at random in whole windows alone .028, in half of the windows only .043, the last token alone
of every prefix .046, both together .056.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import UNKNOWN, Stack, align_right
from csrec_core.models.backbones.layers import Attention, Block


class BERT4Rec(Stack):
    """Bidirectional encoder; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers, heads : int
        Number of blocks, and of attention heads in each.
    masked : float
        Share of the earlier tokens that training hides at random beside the last one, in [0, 1).
    """

    blocks: Sequence[Block]

    def __init__(
        self,
        n_items: int,
        *,
        positions: int = 50,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.5,
        masked: float = 0.2,
        **common,
    ):
        # One position more than tokens, for the mask at the end.
        super().__init__(n_items, positions=positions + 1, dropout=dropout, causal=False, **common)
        self.masked = masked
        self.mask = nn.Parameter(torch.empty(self.hidden))
        self.out = nn.Sequential(nn.Linear(self.hidden, self.hidden), nn.GELU(), nn.LayerNorm(self.hidden))
        attention = (Attention(self.hidden, heads, causal=False) for _ in range(layers))
        self._stack(Block(mixer, self.hidden, dropout) for mixer in attention)
        nn.init.normal_(self.mask, std=0.02)

    @property
    def schemes(self) -> tuple[str, ...]:
        return ("cloze", "prefixes")

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        return self.out(super().end(tokens, real, users))

    def encode_end(
        self, items: Tensor, decisions: Tensor | None = None, *, users: Tensor | None = None
    ) -> Tensor:
        decisions = torch.ones_like(items) if decisions is None else decisions
        window, real = align_right(items)
        items, decisions = items.gather(1, window) * real, decisions.gather(1, window)
        items = F.pad(items, (0, 1), value=self.n_items + 1)
        return super().encode_end(items, F.pad(decisions, (0, 1), value=UNKNOWN), users=users)

    def encode_masked(self, items: Tensor, masked: Tensor, decisions: Tensor | None = None) -> Tensor:
        """Return the states (n, hidden) of the n `masked` tokens (B, L) bool, in row-major order.

        Each is read from the whole window around it, in which all masked tokens are hidden.
        """
        decisions = torch.ones_like(items) if decisions is None else decisions
        items = items.masked_fill(masked, self.n_items + 1)
        tokens, real = self._to_end(items, decisions.masked_fill(masked, UNKNOWN))
        for block in self.blocks[:-1]:
            tokens = block(tokens, real)
        window, aligned = align_right(items)
        hidden = F.pad(masked.gather(1, window) & aligned, (1, 0))
        places = hidden.byte().argsort(dim=1, descending=True, stable=True)[:, : int(hidden.sum(1).max())]
        return self.out(self.blocks[-1].read(places, hidden.gather(1, places), tokens, real))

    def embed(self, items: Tensor) -> Tensor:
        embedded = super().embed(items.clamp(max=self.n_items))
        return torch.where((items > self.n_items)[..., None], self.mask, embedded)
