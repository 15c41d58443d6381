"""Caser: Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding
(WSDM 2018).

The last few tokens as an image: horizontal filters of every height with the maximum over places (equations 4
to 6 there), vertical filters that weigh the tokens (equations 7 and 8), and a user embedding joined to them
(equations 9 and 10). All horizontal filters at all their places are one product with the unfolded windows.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Encoder


class Caser(Encoder):
    """Convolutional encoder; parameters and methods as `csrec_core.models.backbones.encoder.Encoder`, and:

    Parameters
    ----------
    order : int
        Tokens that a state depends on, the Markov order L of the paper.
    horizontal, vertical : int
        Filters of each height, and filters over the tokens.
    """

    def __init__(
        self,
        n_items: int,
        *,
        order: int = 5,
        horizontal: int = 16,
        vertical: int = 4,
        users: int = 0,
        dropout: float = 0.5,
        **common,
    ):
        super().__init__(n_items, dropout=dropout, causal=True, **common)
        self.order, self.horizontal = order, horizontal
        heights = (nn.Linear(height * self.hidden, horizontal) for height in range(1, order + 1))
        self.heights: Sequence[nn.Linear] = nn.ModuleList(heights)  # type: ignore[assignment]  # as in `Stack`
        self.vertical = nn.Linear(order, vertical)
        self.join = nn.Linear(order * horizontal + vertical * self.hidden, self.hidden)
        self.user = nn.Embedding(users + 1, self.hidden, padding_idx=0)
        self.out = nn.Linear(2 * self.hidden, self.hidden)
        self._initialise()

    def mix(self, tokens: Tensor, users: Tensor | None) -> Tensor:
        return self._read(_windows(tokens, self.order), users)

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        return self._read(_windows(tokens, self.order)[:, -1:], users)[:, 0]

    def branch(self, tokens: Tensor, others: Tensor, users: Tensor | None) -> Tensor:
        windows = torch.cat([_windows(tokens, self.order)[:, :, :-1], others[:, :, None]], dim=2)
        return self._read(windows, users)

    def _read(self, windows: Tensor, users: Tensor | None) -> Tensor:
        """Return states (B, l, hidden) of windows (B, l, order, hidden)."""
        places = F.relu(F.linear(windows.flatten(2), *self._banded()))
        sizes = [self.horizontal * (self.order - height) for height in range(self.order)]
        peaks = [
            part.unflatten(-1, (-1, self.horizontal)).amax(dim=2) for part in places.split(sizes, dim=-1)
        ]
        weighed = self.vertical(windows.transpose(2, 3)).flatten(2)
        joined = F.relu(self.join(self.dropout(torch.cat([*peaks, weighed], dim=-1))))
        number = torch.zeros(len(windows), dtype=torch.long, device=windows.device)
        user = self.user(number if users is None else users + 1)
        return self.out(torch.cat([joined, user[:, None].expand_as(joined)], dim=-1))

    def _banded(self) -> tuple[Tensor, Tensor]:
        """Return one weight for all horizontal filters at all their places, zero around each, and bias."""
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for height, filters in enumerate(self.heights, start=1):
            for place in range(self.order - height + 1):
                outside = (place * self.hidden, (self.order - height - place) * self.hidden)
                weights.append(F.pad(filters.weight, outside))
                biases.append(filters.bias)
        return torch.cat(weights), torch.cat(biases)


def _windows(tokens: Tensor, order: int) -> Tensor:
    """Return the last `order` tokens at each position, (B, l, order, hidden); zero before the first."""
    return F.pad(tokens, (0, 0, order - 1, 0)).unfold(1, order, 1).transpose(2, 3)
