"""SASRec: Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018).

Causal self-attention over the tokens (section III-B, equations 2 to 5 there), output weights tied to the item
embedding (equation 6). Blocks normalise after the residual, with GELU and an inner width of 4 hidden, as the
later benchmarks do.
"""

from csrec_core.models.backbones.encoder import Stack
from csrec_core.models.backbones.layers import Attention, Block


class SASRec(Stack):
    """Self-attentive encoder; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers, heads : int
        Number of blocks, and of attention heads in each.
    """

    def __init__(self, n_items: int, *, layers: int = 2, heads: int = 2, dropout: float = 0.5, **common):
        super().__init__(n_items, dropout=dropout, causal=True, **common)
        attention = (Attention(self.hidden, heads, causal=True) for _ in range(layers))
        self._stack(Block(mixer, self.hidden, dropout) for mixer in attention)
