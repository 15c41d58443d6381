"""What a user did so far in a few numbers, and what they say of the next decision.

Each exposure is described by what lies before it: in either phase, how many decisions there were and what
share was accepted; the same of items like the exposed one; how much of what the user chose, and of what they
accepted, was like it; the last two decisions and the run of rejections that ends there. Items are alike by
the product of their features, here 1 for the same genre; without features an item is like itself alone. A
decision that is UNKNOWN counts as none, so the same numbers serve where decisions are given and where they
are summed out.

A sequence encoder has to learn such counts from scratch, token by token, and on some ten thousand users it
learns their noise first. Given to the head, they leave it to learn what they do not say.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import ACCEPT, REJECT, UNKNOWN

SHARE_PRIOR = 3.0  # exposures, spread over the catalogue evenly, that a share starts from
RUN_CAP = 5  # rejections in a row, of which more count as so many
STATE_WIDTH = 32  # of either layer of the network that reads an exposure's numbers
STATE_NUMBERS = 22  # of an exposure, each with its name in `_state_numbers`


class UserState(nn.Module):
    """The numbers of each exposure, and the logit that a line and a small network make of them.

    Parameters
    ----------
    n_items : int
        Size of the catalogue, N.
    features : Tensor (N + 1, F), optional
        Of the items, at least 0; row 0 is padding.
    """

    features: Tensor | None

    def __init__(self, n_items: int, features: Tensor | None = None):
        super().__init__()
        self.n_items = n_items
        self.register_buffer("features", features, persistent=False)
        self.line = nn.Linear(STATE_NUMBERS, 1)
        first, second = nn.Linear(STATE_NUMBERS, STATE_WIDTH), nn.Linear(STATE_WIDTH, STATE_WIDTH)
        last = nn.Linear(STATE_WIDTH, 1)
        self.network = nn.Sequential(first, nn.GELU(), second, nn.GELU(), last)
        for layer in (self.line, last):
            nn.init.zeros_(layer.weight)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits (...) of `numbers` (..., NUMBERS)."""
        return (self.line(numbers) + self.network(numbers))[..., 0]

    def describe(
        self,
        items: Tensor,
        decisions: Tensor,
        *,
        own: int | Tensor,
        asked: Tensor | None = None,
        last: int | None = None,
        first: int = 0,
        apart: bool = True,
    ) -> Tensor:
        """Return the numbers (B, L - first, NUMBERS) of exposures, each from what lies before it.

        Parameters
        ----------
        items, decisions : Tensor (B, L) int64
            0 is padding; decisions in {REJECT, ACCEPT, UNKNOWN}.
        own : int or Tensor (B, L) bool
            How many of the first slots are self-chosen, or which are; the others are the system's.
        asked : Tensor (B, L) int64, optional
            Items exposed instead of those of the window; what lies before stays.
        last : int, optional
            Takes the place of the decision just before each exposure.
        first : int
            Exposures before this slot are left out.
        apart : bool
            Whether the decisions of the two phases are counted apart. One who only ever saw the first takes
            those of the second for more of the same.
        """
        asked = (items if asked is None else asked)[:, first:]
        chosen = own if isinstance(own, Tensor) else _first(items, own)
        counts, turned = _slot_counts(items, decisions, chosen, apart), None
        if last is not None:
            turned = _slot_counts(items, torch.full_like(decisions, last), chosen, apart)
        total = _before(counts.new_ones(1, asked.shape[1], items.shape[1]), counts, turned, first)
        alike = _before(self._alike(asked, items), counts, turned, first)
        known = decisions.masked_fill(items == 0, UNKNOWN)
        latest, second = (F.pad(known, (back, 0), value=UNKNOWN)[:, : items.shape[1]] for back in (1, 2))
        if last is not None:
            latest = torch.where(F.pad(items, (1, 0))[:, :-1] > 0, last, latest)
        run = (F.pad(_rejection_runs(known), (2, 0))[:, : items.shape[1]] + 1) * (latest == REJECT)
        step = (~chosen).cumsum(dim=-1) * apart
        late = (part[:, first:] for part in (latest, second, run, step.expand_as(items)))
        return _state_numbers(total, alike, self._even(asked), *late)

    def describe_catalogue(self, items: Tensor, decisions: Tensor) -> Tensor:
        """Return the numbers (B, N, NUMBERS) of every item, exposed after a window that is self-chosen."""
        counts = _slot_counts(items, decisions, _first(items, items.shape[1]), True)
        every = torch.arange(1, self.n_items + 1, device=items.device)
        if self.features is None:
            alike = counts.new_zeros(len(items), self.n_items + 1, counts.shape[2])
            alike = alike.scatter_add(1, items[:, :, None].expand_as(counts), counts)[:, 1:]
        else:
            alike = self.features[1:] @ (self.features[items].transpose(1, 2) @ counts)
        known = decisions.masked_fill(items == 0, UNKNOWN)
        known = F.pad(known, (2, 0), value=UNKNOWN)
        shape = (len(items), self.n_items)
        latest, second, run = (
            part[:, None].expand(shape)
            for part in (known[:, -1], known[:, -2], _rejection_runs(known)[:, -1])
        )
        total = counts.sum(dim=1, keepdim=True).expand_as(alike)
        even = self._even(every).expand(shape)
        return _state_numbers(total, alike, even, latest, second, run, torch.zeros_like(run))

    def _alike(self, items: Tensor, others: Tensor) -> Tensor:
        """Return how alike the items (B, l) and others (B, L) are, (B, l, L)."""
        if self.features is None:
            return (items[:, :, None] == others[:, None]).float()
        return self.features[items] @ self.features[others].transpose(1, 2)

    def _even(self, items: Tensor) -> Tensor:
        """Return how much of the catalogue is like each item."""
        if self.features is None:
            return torch.full(items.shape, 1 / self.n_items, device=items.device)
        return self.features[items] @ self.features[1:].mean(dim=0)


def _first(items: Tensor, own: int) -> Tensor:
    """Return which slots (L,) are among the first `own`."""
    return torch.arange(items.shape[1], device=items.device) < own


def _slot_counts(items: Tensor, decisions: Tensor, chosen: Tensor, apart: bool) -> Tensor:
    """Return what each slot counts for, (B, L, 5): chosen, accepted, rejected, and by the system the two."""
    here = chosen if apart else torch.ones_like(chosen)
    real, accepted, rejected = items > 0, decisions == ACCEPT, decisions == REJECT
    parts = (chosen, accepted & here, rejected & here, accepted & ~here, rejected & ~here)
    return torch.stack([real & part for part in parts], dim=2).float()


def _before(alike: Tensor, counts: Tensor, turned: Tensor | None, first: int) -> Tensor:
    """Return the counts (B, L - first, 5) before each slot, weighted by `alike` (B, L - first, L).

    `turned` (B, L, 5) takes the place of the slot just before.
    """
    sums = alike.tril(first - 1) @ counts
    if turned is None:
        return sums
    newest = alike.diagonal(first - 1, 1, 2)[..., None]
    gained = newest * (turned - counts)[:, max(first - 1, 0) : counts.shape[1] - 1]
    return sums + F.pad(gained, (0, 0, 0 if first else 1, 0))


def _rejection_runs(known: Tensor) -> Tensor:
    """Return how many rejections in a row end at each slot, (B, L)."""
    place = torch.arange(1, known.shape[1] + 1, device=known.device).expand_as(known)
    return place - torch.where(known == REJECT, 0, place).cummax(dim=1).values


def _state_numbers(
    total: Tensor, alike: Tensor, even: Tensor, latest: Tensor, second: Tensor, run: Tensor, step: Tensor
) -> Tensor:
    """Put the numbers of exposures together, by name: rates start from one half, shares from an even one."""
    chosen, *by_phase = total.unbind(-1)
    alike_chosen, *alike_by_phase = alike.unbind(-1)
    named = {
        "chosen": torch.log1p(chosen) / 3,
        "chosen alike": (alike_chosen + SHARE_PRIOR * even) / (chosen + SHARE_PRIOR),
    }
    counts = {"own": by_phase[:2], "system": by_phase[2:]}
    counts |= {"own alike": alike_by_phase[:2], "system alike": alike_by_phase[2:]}
    for name, (accepted, rejected) in counts.items():
        named[f"{name}: rate"] = (accepted + 0.5) / (accepted + rejected + 1)
        named[f"{name}: accepted"] = torch.log1p(accepted) / 3
        named[f"{name}: rejected"] = torch.log1p(rejected) / 3
    accepted = by_phase[0] + by_phase[2]
    named["accepted alike"] = (alike_by_phase[0] + alike_by_phase[2] + SHARE_PRIOR * even) / (
        accepted + SHARE_PRIOR
    )
    for name, decision in {"last": latest, "last but one": second}.items():
        named |= {
            f"{name} accepted": (decision == ACCEPT).float(),
            f"{name} rejected": (decision == REJECT).float(),
        }
    named["rejections in a row"] = run.clamp(max=RUN_CAP) / RUN_CAP
    named["by the system"] = (step > 0).float()
    named["step"] = torch.log1p(step.float()) / 3
    return torch.stack(list(named.values()), dim=-1)
