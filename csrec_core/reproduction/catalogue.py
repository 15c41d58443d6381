"""f~ as published: the softmax over the catalogue of a next-item model that knows accepted items only.

P(D_t = 1 | S_t = s, D_{t-1} = d, P_t) is read as the probability that s is the next item, after the user's
accepted self-chosen items and, where d = 1, the item exposed at t - 1 as one more accepted item; where d = 0
that item leaves no trace (Eq. 7). The earlier decisions of the system phase are unknown and leave none. The
probabilities of a catalogue of N items average 1 / N, while f is a Bernoulli probability: the two sides
of Eq. 9 are on different scales. The acceptance readout (`csrec_core.models.preference`) is on that of f.
"""

from dataclasses import replace

import torch
from torch import Tensor

from csrec_core.models.backbones.encoder import Encoder
from csrec_core.models.preference import Readouts, chain
from csrec_core.models.ranking import users_at_once
from csrec_core.models.sequences import ACCEPT, Sequences
from csrec_core.models.train import seeded

SCORED_WINDOWS = 2048  # windows read at a time


def accepted_history(sequences: Sequences, rows: Tensor) -> Tensor:
    """Return the self-chosen items (n, L) that the users `rows` accepted, aligned to the right."""
    items = sequences.self_items[rows] * (sequences.self_decisions[rows] == ACCEPT)
    order = (items > 0).int().argsort(dim=1, stable=True)
    return items.gather(1, order)


@torch.no_grad()
def softmax_readouts(model: Encoder, sequences: Sequences, *, wanted: Tensor | None = None) -> Readouts:
    """Read a frozen next-item model at every system exposure; see `csrec_core.models.preference.Readouts`.

    `after_accept` takes a window for each exposure: where `wanted` (U, T) bool is given, exposures not in it are left
    at `after_reject`. `filtered` keeps the realised decision before each exposure alone.
    """
    parts = []
    for rows in sequences.everyone.split(users_at_once(len(sequences.catalogue))):
        scores = model.score(model.encode_end(accepted_history(sequences, rows), users=rows))
        exposed = (sequences.system_items[rows] - 1).clamp(min=0)
        share = _shares(scores, scores.gather(1, exposed))
        parts.append((torch.softmax(scores, dim=1).gather(1, exposed), share))
    reject, rank = (torch.cat(part) for part in zip(*parts, strict=True))
    accept = _after_accepted(model, sequences, reject, wanted)
    before = sequences.system_decisions[:, :-1] == ACCEPT
    filtered = torch.cat([reject[:, :1], torch.where(before, accept[:, 1:], reject[:, 1:])], dim=1)
    return Readouts(filtered, reject, accept, chain(reject, accept), rank)


@torch.no_grad()
def rank_shares(model: Encoder, sequences: Sequences, *, last: int, seed: int = 0) -> Tensor:
    """Return the rank share in (0, 1] of the last exposures by a model of accepted items, (U, T), for Eq. 20.

    Each of the `last` exposures is ranked in the catalogue after all items that the user accepted before it,
    self-chosen or exposed; the other cells are NaN. Items that score alike share their ranks at random.
    """
    share = torch.full(sequences.system_items.shape, torch.nan, device=sequences.system_items.device)
    length, size = sequences.self_items.shape[1], users_at_once(len(sequences.catalogue))
    count = (sequences.system_items > 0).sum(dim=1)
    with seeded(seed, share.device):
        for rows in sequences.everyone.split(size):
            items = sequences.items[rows] * (sequences.decisions[rows] == ACCEPT)
            for back in range(last, 0, -1):
                place = (count[rows] - back).clamp(min=0)
                seen = torch.arange(items.shape[1], device=share.device) < length + place[:, None]
                window = items * seen
                window = window.gather(1, (window > 0).int().argsort(dim=1, stable=True))
                scores = model.score(model.encode_end(window, users=rows))
                exposed = sequences.system_items[rows].gather(1, place[:, None])
                own = scores.gather(1, (exposed - 1).clamp(min=0))
                there, found = count[rows] >= back, _shares(scores, own)[:, 0]
                share[rows[there], place[there]] = found[there]
    return share


def with_repeats(sequences: Sequences) -> Sequences:
    """Return the sequences such that `leave_one_out` leaves no item out as seen before.

    On GPT4-books three in ten of the last items were chosen before, and the published HR@k are k / 99: they
    rank among the whole catalogue.
    """
    return replace(sequences, chosen_count=torch.ones_like(sequences.chosen_count))


def _shares(scores: Tensor, own: Tensor) -> Tensor:
    """Return rank / catalogue of each `own` score (n, k) among `scores` (n, N); ties at a random place."""
    catalogue = scores.shape[1]
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, own.contiguous())
    level = torch.searchsorted(ordered, own.contiguous(), right=True) - below
    place = (torch.rand(own.shape, device=own.device) * level).long()
    return (catalogue - below - level + place + 1) / catalogue


def _after_accepted(model: Encoder, sequences: Sequences, reject: Tensor, wanted: Tensor | None) -> Tensor:
    """Return the readout after the exposure before was accepted, (U, T), a window for each cell wanted."""
    exposed = sequences.system_items
    asked = (exposed > 0) if wanted is None else wanted & (exposed > 0)
    asked[:, 0] = False  # nothing was exposed before the first
    accept = reject.clone()
    rows, steps = asked.nonzero(as_tuple=True)
    for part in torch.arange(len(rows), device=rows.device).split(SCORED_WINDOWS):
        row, step = rows[part], steps[part]
        window = torch.cat([accepted_history(sequences, row), exposed[row, step - 1][:, None]], dim=1)
        scores = model.score(model.encode_end(window[:, 1:], users=row))
        own = scores.gather(1, exposed[row, step][:, None] - 1)[:, 0]
        accept[row, step] = torch.exp(own - scores.logsumexp(dim=1))
    return accept
