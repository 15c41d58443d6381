"""What the transformers and filters are built of: attention, a Toeplitz filter, a feed-forward block.

A layer that mixes tokens has three calls, all on (B, l, H):

- `forward(states, real)`: every position. `real` (B, l) says which tokens are no padding; None says all that
  come before a real one are, as in left-aligned windows of a causal layer.
- `end(states, real)`: the last position alone, (B, H), for windows aligned to the right.
- `branch(states, others)`: every position i with the token i taken from `others` and the earlier ones from
  `states`, for causal layers; one pass reads all prefixes under another last token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.errors import InputError


class Dropout(nn.Dropout):
    """Dropout from a random byte for each value, drawn eight at a time: a quarter of the time on a CPU.

    The share that is dropped is rounded to a multiple of 1/256, and the others are scaled by what it is then.
    """

    def forward(self, states: Tensor) -> Tensor:
        if not (self.training and self.p) or states.device.type != "cpu":
            return super().forward(states)
        words = torch.empty(-(-states.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        drawn = words.view(torch.uint8)[: states.numel()].view(states.shape)
        dropped = min(255, round(256 * self.p))
        return states * (drawn >= dropped).to(states.dtype).mul_(256 / (256 - dropped))


class Mixer(nn.Module):
    """A layer that mixes tokens, alone or with what follows it: the calls above."""

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        raise NotImplementedError

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        raise NotImplementedError


class Attention(Mixer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2), fused."""

    def __init__(self, hidden: int, heads: int, *, causal: bool):
        super().__init__()
        if hidden % heads:
            raise InputError(f"hidden = {hidden}; expected a multiple of the {heads} attention heads")
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        query, key, value = (self._heads(part) for part in self.qkv(states).chunk(3, dim=-1))
        visible = None
        if real is not None:
            visible = real[:, None, None, :]
            if self.causal:  # a padded query sees itself, so that no row is empty
                visible = (visible & _triangle(real)) | torch.eye(
                    real.shape[1], dtype=torch.bool, device=real.device
                )
        fused = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=self.causal and real is None
        )
        return self.out(_merge(fused))

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return self.read(states[:, -1:], states, real)[:, 0]

    def read(self, queries: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Return what `queries` (B, m, H), some of the positions, see of all the states, (B, m, H)."""
        hidden = states.shape[-1]
        weight, bias = self.qkv.weight.split([hidden, 2 * hidden]), self.qkv.bias.split([hidden, 2 * hidden])
        query = F.linear(queries, weight[0], bias[0])
        key, value = F.linear(states, weight[1], bias[1]).chunk(2, dim=-1)
        fused = F.scaled_dot_product_attention(
            self._heads(query), self._heads(key), self._heads(value), attn_mask=real[:, None, None, :]
        )
        return self.out(_merge(fused))

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        _, key, value = self.qkv(states).chunk(3, dim=-1)
        query, own_key, own_value = self.qkv(others).chunk(3, dim=-1)
        own = torch.eye(states.shape[1], dtype=torch.bool, device=states.device)
        visible = torch.cat([_triangle(states) & ~own, own], dim=1)
        keys, values = torch.cat([key, own_key], dim=1), torch.cat([value, own_value], dim=1)
        fused = F.scaled_dot_product_attention(
            self._heads(query), self._heads(keys), self._heads(values), attn_mask=visible
        )
        return self.out(_merge(fused))

    def _heads(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(Mixer):
    """A mixing layer and a feed-forward layer, each with dropout, a residual and a norm after it."""

    def __init__(self, mixer: Mixer, hidden: int, dropout: float):
        super().__init__()
        self.mixer = mixer
        self.forward_layer = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden)
        )
        self.norm_mixer, self.norm_forward = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self._feed(self._join(states, self.mixer(states, real)))

    def end(self, states: Tensor, real: Tensor) -> Tensor:
        return self._feed(self._join(states[:, -1], self.mixer.end(states, real)))

    def read(self, places: Tensor, wanted: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Return the `wanted` (B, m) of the positions `places` (B, m) alone, (n, H); attention only."""
        assert isinstance(self.mixer, Attention)
        queries = states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))
        return self._feed(self._join(queries[wanted], self.mixer.read(queries, states, real)[wanted]))

    def branch(self, states: Tensor, others: Tensor) -> Tensor:
        return self._feed(self._join(others, self.mixer.branch(states, others)))

    def _join(self, states: Tensor, mixed: Tensor) -> Tensor:
        return self.norm_mixer(states + self.dropout(mixed))

    def _feed(self, states: Tensor) -> Tensor:
        return self.norm_forward(states + self.dropout(self.forward_layer(states)))


def toeplitz(kernel: Tensor, length: int, *, causal: bool) -> Tensor:
    """Return the matrix that convolves a window with a circular `kernel`: (N, ...) to (length, length, ...).

    Entry (i, j) is kernel[(i - j) mod N]: what token j adds to position i. A circular filter over a window of
    N slots, zero before its tokens, is this matrix on the tokens. The causal one leaves out j > i; its last
    row is the same.
    """
    place = torch.arange(length, device=kernel.device)
    lag = place[:, None] - place
    matrix = kernel[lag % len(kernel)]
    if causal:
        matrix = matrix * (lag >= 0).reshape(length, length, *[1] * (kernel.dim() - 1))
    return matrix


def initialise(module: nn.Module) -> None:
    """Set weights as BERT does: normal with deviation 0.02, biases 0; padding stays 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])


def _triangle(tokens: Tensor) -> Tensor:
    """Return which positions (l, l) see which tokens of windows (B, l, ...): themselves and earlier ones."""
    length = tokens.shape[1]
    return torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()


def _merge(states: Tensor) -> Tensor:
    return states.transpose(1, 2).flatten(2)
