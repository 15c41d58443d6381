"""Next-item recommendation: a backbone trained on what users chose, tried by full ranking, leave one out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from csrec_core.errors import InputError, unknown
from csrec_core.metrics import ndcg
from csrec_core.models.backbones import backbone_class
from csrec_core.models.backbones.bert4rec import BERT4Rec
from csrec_core.models.backbones.encoder import Encoder
from csrec_core.models.cold import score_by_features
from csrec_core.models.losses import LOSSES
from csrec_core.models.ranking import HELD_OUT, leave_one_out
from csrec_core.models.sequences import ACCEPT, Sequences
from csrec_core.models.train import Loss, Training, fit, seeded

ItemLoss = Callable[..., Tensor]  # of `csrec_core.models.losses`: from a model, states and targets
#: What is trained on: rows, the length of the window of each, and the loss of a batch of them.
Scheme = tuple[Tensor, Tensor, Loss]


def build_backbone(
    sequences: Sequences, *, backbone: str = "sasrec", positions: int | None = None, seed: int = 0, **hyper
) -> Encoder:
    """Return an untrained backbone for the catalogue and users of `sequences`.

    Parameters
    ----------
    backbone : str
        A key of `csrec_core.models.backbones.BACKBONES`.
    positions : int, optional
        Tokens that a state may depend on; by default those before the last item that is trained on.
    **hyper
        Keyword defaults of the backbone, such as hidden, layers, heads, dropout.
    """
    positions = sequences.self_items.shape[1] - max(HELD_OUT.values()) - 1 if positions is None else positions
    known = {"users": len(sequences.users), "features": sequences.features.cpu()}
    build = backbone_class(backbone)
    with seeded(seed):
        model = build(len(sequences.catalogue), positions=positions, **known, **hyper)
    return model.to(sequences.self_items.device)


def train_next_item(
    sequences: Sequences,
    *,
    training: Training,
    backbone: str = "sasrec",
    scheme: str | None = None,
    loss: str = "softmax",
    negatives: int = 256,
    whole: bool = True,
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[Encoder, pd.DataFrame]:
    """Train a backbone to rank the next accepted item, and keep the weights with the best validation NDCG@10.

    Items with few rows are scored by their features (`csrec_core.models.cold`). It trains where the tensors
    are: see `csrec_core.models.sequences.Sequences.to`.

    Parameters
    ----------
    scheme : {"positions", "prefixes", "cloze"}, optional
        What is trained at once: all positions of a window in one pass (causal backbones), each prefix as a
        window with its last position, or tokens hidden at random (BERT4Rec). By default the first of the
        backbone's `schemes`.
    loss : {"softmax", "sampled_softmax", "gbce", "bce"}
        A key of `csrec_core.models.losses.LOSSES`.
    negatives : int
        Items that a sampled loss draws for a batch.
    whole : bool
        Ask for every item of a long history, in overlapping windows; else for those of the last window alone.
    checkpoint : path, optional
        See `csrec_core.models.train.fit`.

    Returns
    -------
    model : Encoder
        In evaluation mode.
    history : DataFrame
        See `csrec_core.models.train.fit`; `validation` is the negative of NDCG@10.
    """
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    window = sequences.self_items.shape[1] - max(HELD_OUT.values())
    if window < 2:
        raise InputError(
            f"a next item needs users with at least {max(HELD_OUT.values()) + 2} self-chosen items"
        )
    model = build_backbone(sequences, backbone=backbone, seed=training.seed, **hyper)
    scheme = scheme or model.schemes[0]
    if scheme not in model.schemes:
        raise unknown("scheme", scheme, model.schemes, where=backbone)

    windows = cut_windows(sequences, window, whole=whole)
    rows, lengths, batch_loss = SCHEMES[scheme](model, windows, partial(LOSSES[loss], negatives=negatives))
    if not len(rows):
        raise InputError("no user has a self-chosen item to learn from besides the two that are held out")

    def validate() -> float:
        return -ndcg(rank_next_item(model, sequences, part="validation")["rank"], 10).mean()

    call: dict[str, Any] = {"training": training, "label": f"{backbone}, {scheme}", "checkpoint": checkpoint}
    history = fit(model, batch_loss, validate, rows, lengths=lengths, **call)
    score_by_features(sequences, windows.items[windows.wanted], model.item.weight, model.bias)
    return model, history


def rank_next_item(model: Encoder, sequences: Sequences, *, part: str = "test") -> pd.DataFrame:
    """Rank the held-out item of each user; see `csrec_core.models.ranking.leave_one_out`."""

    def score(rows: Tensor, items: Tensor, decisions: Tensor) -> Tensor:
        return model.score(model.encode_end(items, decisions, users=rows))

    return leave_one_out(sequences, score, part=part)


@dataclass(frozen=True, eq=False)
class Windows:
    """What is trained on: windows of the users' histories, aligned to the right.

    Attributes
    ----------
    users : Tensor (W,) int64
        Row of `Sequences` that each window is from.
    items, decisions : Tensor (W, L) int64
        Tokens; 0 is padding.
    wanted : Tensor (W, L) bool
        Accepted items to ask for; each is wanted in one window, and the tokens before it are its context.
    """

    users: Tensor
    items: Tensor
    decisions: Tensor
    wanted: Tensor

    @property
    def lengths(self) -> Tensor:
        """Tokens of each window, (W,)."""
        return (self.items > 0).sum(dim=1)

    def before(self, row: Tensor, place: Tensor) -> Tensor:
        """Return how many tokens come before each `place` of the windows `row`, (n,)."""
        return place - (self.items.shape[1] - self.lengths[row])

    def select(self, rows: Tensor) -> "Windows":
        """Return some of the windows."""
        return Windows(**{name: part[rows] for name, part in vars(self).items()})


def cut_windows(sequences: Sequences, length: int, *, whole: bool = True) -> Windows:
    """Cut the history of each user, but for what is held out, into windows of at most `length` tokens.

    Windows of a long history overlap by half, so that each of their wanted items has that much context.
    Without `whole` there is one window a user, the last.
    """
    stride = max(1, length // 2)
    tokens = (sequences.chosen_count - max(HELD_OUT.values())).clamp(min=0)
    count = ((tokens - length + stride - 1) // stride).clamp(min=0, max=None if whole else 0) + 1
    users = torch.repeat_interleave(count)
    back = torch.arange(len(users), device=users.device) - (count.cumsum(0) - count)[users]
    end = (tokens[users] - back * stride)[:, None]
    place = end - length + torch.arange(length, device=users.device)
    first = (sequences.chosen_count.cumsum(0) - sequences.chosen_count)[users, None]
    at, real = (first + place.clamp(min=0)).clamp(max=len(sequences.chosen_items) - 1), place >= 0
    items, decisions = sequences.chosen_items[at] * real, sequences.chosen_decisions[at] * real
    fresh = (place >= end - stride) | (end <= length) | (not whole)  # not asked for in a window before
    return Windows(users, items, decisions, real & fresh & (decisions == ACCEPT))


def _window_scheme(model: Encoder, windows: Windows, objective: ItemLoss) -> Scheme:
    """A row is a window, and all it wants is asked for in one pass."""
    rows = windows.wanted.any(dim=1).nonzero()[:, 0]

    def loss(batch: Tensor) -> Tensor:
        part = windows.select(batch)
        states = model.encode_at(part.items, part.wanted, part.decisions, users=part.users)
        return objective(model, states, part.items[part.wanted])

    return rows, windows.lengths[rows], loss


def _prefixes(model: Encoder, windows: Windows, objective: ItemLoss) -> Scheme:
    """A row is a wanted item, asked for from a window that holds what came before it."""
    row, place = windows.wanted.nonzero(as_tuple=True)

    def loss(batch: Tensor) -> Tensor:
        at = row[batch], place[batch]
        states = model.encode_prefixes(windows.items, *at, windows.decisions, users=windows.users)
        return objective(model, states, windows.items[at])

    return torch.arange(len(row), device=row.device), windows.before(row, place), loss


def _cloze(model: BERT4Rec, windows: Windows, objective: ItemLoss) -> Scheme:
    """A row is a wanted item, hidden after what came before it, of which a share is hidden as well."""
    row, place = windows.wanted.nonzero(as_tuple=True)

    def loss(batch: Tensor) -> Tensor:
        end = place[batch, None]
        back = end - torch.arange(int(end.max()), -1, -1, device=row.device)
        at = row[batch, None], back.clamp(min=0)
        items, decisions = windows.items[at] * (back >= 0), windows.decisions[at]
        drawn = torch.rand(items.shape, device=row.device) < model.masked
        hidden = (drawn & (items > 0) & (decisions == ACCEPT)) | (back == end)
        states = model.encode_masked(items, hidden, decisions)
        return objective(model, states, items[hidden])

    return torch.arange(len(row), device=row.device), windows.before(row, place), loss


SCHEMES: dict[str, Callable[..., Scheme]] = {
    "positions": _window_scheme,
    "prefixes": _prefixes,
    "cloze": _cloze,
}
