"""GRU4Rec: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks (ICLR 2016).

Gated recurrent units over the tokens (section 3.1 there). A state is projected to the width of the item
embedding, with which it shares the output weights; trained with the full softmax by default.
"""

import torch
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Encoder


class GRU4Rec(Encoder):
    """Recurrent encoder; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    layers : int
        Number of recurrent layers, each as wide as the states.
    """

    def __init__(self, n_items: int, *, layers: int = 1, dropout: float = 0.5, **common):
        super().__init__(n_items, dropout=dropout, causal=True, **common)
        self.layers = nn.ModuleList(nn.GRU(self.hidden, self.hidden, batch_first=True) for _ in range(layers))
        self.out = nn.Linear(self.hidden, self.hidden)
        self._initialise()

    def mix(self, tokens: Tensor, users: Tensor | None) -> Tensor:
        for layer in self.layers:
            tokens = self.dropout(layer(tokens)[0])
        return self.out(tokens)

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        # Windows come aligned to the right; a recurrence starts at the first token, so turn them.
        first = real.int().argmax(dim=1, keepdim=True)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        turned = (place + first).clamp(max=tokens.shape[1] - 1)
        left = tokens.gather(1, turned[..., None].expand_as(tokens))
        states = self.mix(left, users)
        return states[torch.arange(len(states)), real.sum(dim=1) - 1]

    def branch(self, tokens: Tensor, others: Tensor, users: Tensor | None) -> Tensor:
        for layer in self.layers:
            states = layer(tokens)[0]
            before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
            step, _ = layer(others.flatten(0, 1)[:, None], before.flatten(0, 1)[None].contiguous())
            tokens, others = self.dropout(states), self.dropout(step.view_as(states))
        return self.out(others)
