"""The protocol of every backbone: tokens in, states out, items scored against them.

B windows of L tokens; a token is an item (1..N, 0 is padding before or after the window, never within) with a
decision (0 rejected, 1 accepted, 2 unknown). A learned start token stands before the first. A state
summarises the tokens before a position: row i of the L + 1 rows is what may be known when exposure i is
decided, and the last row knows the whole window.

A causal backbone reads all prefixes of a window in one pass. One that looks ahead within its window reads
each prefix as a window of its own, which is exact and L times the work.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.models.backbones.layers import Dropout, Mixer, initialise

REJECT, ACCEPT, UNKNOWN = 0, 1, 2
READ_WINDOWS = 1024  # prefixes read at a time where no gradient is kept


class Encoder(nn.Module):
    """What backbones share: embeddings, alignment of windows, scores tied to the item embedding.

    A subclass says how tokens become states, in three calls on (B, l, hidden) tokens: `mix` (every position
    of left-aligned windows, causal backbones only), `end` (the last position of right-aligned windows) and
    `branch` (every position with its own token replaced; causal backbones only).

    Parameters
    ----------
    n_items : int
        Size of the catalogue, N.
    positions : int
        Largest number of tokens in a window; of a longer one the last are read.
    users : int
        Users known by number; only backbones with a user embedding use them.
    features : Tensor (N + 1, F), optional
        Item features, projected and added to the item embedding; row 0 is padding.
    hidden : int
        Width of states.
    dropout : float
        In [0, 1).
    causal : bool
        Whether a state never depends on later tokens of the window it is read in.
    """

    features: Tensor | None

    def __init__(
        self,
        n_items: int,
        *,
        positions: int = 50,
        users: int = 0,
        features: Tensor | None = None,
        hidden: int = 64,
        dropout: float = 0.5,
        causal: bool = True,
    ):
        super().__init__()
        self.n_items, self.positions, self.hidden, self.causal = n_items, positions, hidden, causal
        self.item = nn.Embedding(n_items + 1, hidden, padding_idx=0)
        self.decision = nn.Embedding(3, hidden)
        self.position = nn.Embedding(positions, hidden)
        self.start = nn.Parameter(torch.empty(hidden))
        self.bias = nn.Parameter(torch.zeros(n_items))
        features = features if features is not None and features.shape[1] else None
        self.register_buffer("features", features, persistent=False)
        self.feature = None if features is None else nn.Linear(features.shape[1], hidden, bias=False)
        self.norm, self.dropout = nn.LayerNorm(hidden), Dropout(dropout)

    @property
    def schemes(self) -> tuple[str, ...]:
        """How it can be trained on next items (`csrec_core.models.next_item.SCHEMES`), the best first."""
        return ("positions", "prefixes") if self.causal else ("prefixes",)

    def _initialise(self) -> None:
        """Set the weights; a subclass calls it at the end of its constructor."""
        self.apply(initialise)
        nn.init.normal_(self.start, std=0.02)

    def mix(self, tokens: Tensor, users: Tensor | None) -> Tensor:
        """Return the states (B, l, hidden) of all positions of left-aligned windows."""
        raise NotImplementedError

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        """Return the last state (B, hidden) of right-aligned windows, zero where they are not `real`."""
        raise NotImplementedError

    def branch(self, tokens: Tensor, others: Tensor, users: Tensor | None) -> Tensor:
        """As `mix`, each position with its own token from `others` and the earlier ones from `tokens`."""
        raise NotImplementedError

    def encode(
        self,
        items: Tensor,
        decisions: Tensor | None = None,
        *,
        users: Tensor | None = None,
        shift: Tensor | None = None,
        last: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """Return the states (B, L + 1, hidden); without `decisions` every item counts as accepted.

        `users` (B,) are user numbers; `shift` (B,) moves a causal backbone's windows to later positions, for
        training on all of them. `last` takes the place of the decision just before each state, the earlier ones
        stay. States before the row `first` are left out.
        """
        decisions = torch.ones_like(items) if decisions is None else decisions
        if not self.causal:
            ends = []
            for i in range(first, items.shape[1] + 1):
                known = decisions[:, :i].clone()
                if last is not None:
                    known[:, -1:] = last
                ends.append(self.encode_end(items[:, :i], known, users=users))
            return torch.stack(ends, dim=1)
        window = _align_left(items)
        packed, before = items.gather(1, window), decisions.gather(1, window)
        tokens = self._from_start(packed, before, shift)
        if last is None:
            states = self.mix(tokens, users)
        else:
            others = self._from_start(packed, torch.full_like(before, last), shift)
            states = self.branch(tokens, others, users)
        return _spread(states, items)[:, first:]

    def encode_end(
        self, items: Tensor, decisions: Tensor | None = None, *, users: Tensor | None = None
    ) -> Tensor:
        """Return the last state alone, (B, hidden), with no work for the others in the last layer."""
        decisions = torch.ones_like(items) if decisions is None else decisions
        return self.end(*self._to_end(items, decisions), users)

    def encode_at(
        self,
        items: Tensor,
        wanted: Tensor,
        decisions: Tensor | None = None,
        *,
        users: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """Return the states (n, hidden) before the n positions `wanted` (B, L) bool, in row-major order."""
        # Where a user is asked for one place, as in validation, the last layer need not read the others.
        if self.causal and (self.training or wanted.sum() > len(wanted)):
            known = decisions if decisions is None else decisions[:, :-1]
            return self.encode(items[:, :-1], known, users=users, shift=shift)[wanted]
        row, column = wanted.nonzero(as_tuple=True)
        return self.encode_prefixes(items, row, column, decisions, users=users)

    def encode_prefixes(
        self,
        items: Tensor,
        row: Tensor,
        column: Tensor,
        decisions: Tensor | None = None,
        *,
        users: Tensor | None = None,
    ) -> Tensor:
        """Return the states (n, hidden) before the places (`row`, `column`), each prefix its own window."""
        if len(row) > READ_WINDOWS and not torch.is_grad_enabled():
            some = zip(row.split(READ_WINDOWS), column.split(READ_WINDOWS), strict=True)
            return torch.cat([self.encode_prefixes(items, *at, decisions, users=users) for at in some])
        longest = int(column.max()) if len(column) else 0
        place = column[:, None] - torch.arange(longest, 0, -1, device=items.device)
        at = row[:, None], place.clamp(min=0)
        return self.encode_end(
            items[at] * (place >= 0),
            None if decisions is None else decisions[at],
            users=None if users is None else users[row],
        )

    def embed(self, items: Tensor) -> Tensor:
        """Return item embeddings (..., hidden)."""
        return self._add_features(self.item(items), items)

    def score(self, states: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return ranking logits of the next item: (..., N) over the catalogue, or of `candidates` (...)."""
        if candidates is None:
            every = self._add_features(self.item.weight[1:], slice(1, None))
            return F.linear(states, every, self.bias)
        return (states * self.embed(candidates)).sum(-1) + self.bias[(candidates - 1).clamp(min=0)]

    def _add_features(self, embedded: Tensor, items: Tensor | slice) -> Tensor:
        if self.feature is None or self.features is None:
            return embedded
        return embedded + self.feature(self.features[items])

    def _from_start(self, items: Tensor, decisions: Tensor, shift: Tensor | None) -> Tensor:
        place = torch.arange(items.shape[1], device=items.device)
        place = place if shift is None else place + shift[:, None]
        tokens = self._embed(items, decisions, place)
        tokens = torch.cat([self.start.expand(len(items), 1, -1), tokens], dim=1)
        return self.dropout(self.norm(tokens))

    def _to_end(self, items: Tensor, decisions: Tensor) -> tuple[Tensor, Tensor]:
        """Return right-aligned tokens (B, l, hidden), zero where they are not real, and which are (B, l)."""
        items, decisions = items[:, -self.positions :], decisions[:, -self.positions :]
        window, real = align_right(items)
        items, decisions = items.gather(1, window) * real, decisions.gather(1, window)
        slot = torch.arange(items.shape[1] + 1, device=items.device)
        first = items.shape[1] - real.sum(dim=1, keepdim=True)  # where the start token stands
        place = slot[:-1] - first if self.causal else (slot[-1] - 1 - slot[:-1]).expand_as(items)
        tokens = F.pad(self._embed(items, decisions, place.clamp(min=0)), (0, 0, 1, 0))
        tokens = torch.where((slot == first)[..., None], self.start, tokens)
        real = slot >= first
        return self.dropout(self.norm(tokens)) * real[..., None], real

    def _embed(self, items: Tensor, decisions: Tensor, place: Tensor) -> Tensor:
        return self.embed(items) + self.decision(decisions) + self.position(place)


class Stack(Encoder):
    """An encoder made of blocks."""

    blocks: Sequence[Mixer]

    def _stack(self, blocks: Iterable[Mixer]) -> None:
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]  # a list of modules of one kind
        self._initialise()

    def mix(self, tokens: Tensor, users: Tensor | None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, None)
        return tokens

    def end(self, tokens: Tensor, real: Tensor, users: Tensor | None) -> Tensor:
        for block in self.blocks[:-1]:
            tokens = block(tokens, real) * real[..., None]
        return self.blocks[-1].end(tokens, real)

    def branch(self, tokens: Tensor, others: Tensor, users: Tensor | None) -> Tensor:
        for block in self.blocks:
            tokens, others = block(tokens, None), block.branch(tokens, others)
        return others


def align_right(items: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (B, l) that move the tokens of each window to the back, and which are real."""
    first, count = _extent(items)
    place = first + count - _longest(count) + torch.arange(_longest(count), device=items.device)
    return place.clamp(min=0), place >= first


def _align_left(items: Tensor) -> Tensor:
    """Return the indices (B, l) that move the tokens of each window to the front."""
    first, count = _extent(items)
    place = first + torch.arange(_longest(count), device=items.device)
    return place.clamp(max=max(items.shape[1] - 1, 0))


def _spread(states: Tensor, items: Tensor) -> Tensor:
    """Put the states (B, l + 1, hidden) of left-aligned windows back at the L + 1 places they belong to."""
    first, count = _extent(items)
    place = torch.arange(items.shape[1] + 1, device=items.device) - first
    place = place.clamp(min=0).minimum(count)
    return states.gather(1, place[..., None].expand(-1, -1, states.shape[-1]))


def _extent(items: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the tokens of each window begin, and how many they are, (B, 1) each."""
    real = items > 0
    first = real.int().argmax(dim=1, keepdim=True) if items.shape[1] else items.sum(dim=1, keepdim=True)
    return first, real.sum(dim=1, keepdim=True)


def _longest(count: Tensor) -> int:
    return int(count.max()) if count.numel() else 0
