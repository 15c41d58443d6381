"""Next-item recommendation: a backbone trained on what users chose, tried by full ranking, leave one out."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from csrec_core.backbones import BACKBONES, Encoder
from csrec_core.errors import InputError, unknown
from csrec_core.losses import LOSSES
from csrec_core.metrics import ndcg
from csrec_core.ranking import HELD_OUT, leave_one_out
from csrec_core.sequences import ACCEPT, Sequences
from csrec_core.train import Training, fit, seeded

__all__ = ["SCHEMES", "build_backbone", "default_scheme", "rank_next_item", "train_next_item"]

Objective = Callable[[Encoder, Tensor, Tensor], Tensor]

CLOZE_SHARE = 0.2  # of the tokens of a window, hidden at random
CLOZE_LAST = 0.1  # of the windows, with the last token hidden alone, as when a recommendation is made


def build_backbone(
    sequences: Sequences, *, backbone: str = "sasrec", positions: int, seed: int = 0, **hyper
) -> Encoder:
    """Return an untrained backbone for the catalogue and users of `sequences`.

    Parameters
    ----------
    backbone : {"gru4rec", "caser", "sasrec", "bert4rec", "fmlprec", "bsarec"}
        A key of `csrec_core.backbones.BACKBONES`.
    positions : int
        Tokens that a state may depend on.
    **hyper
        Keyword defaults of the backbone, such as hidden, layers, heads, dropout.
    """
    if backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    with seeded(seed):
        model = BACKBONES[backbone](
            len(sequences.catalogue),
            positions=positions,
            users=len(sequences.users),
            features=sequences.features.cpu(),
            **hyper,
        )
    return model.to(sequences.self_items.device)


def train_next_item(
    sequences: Sequences,
    *,
    training: Training,
    backbone: str = "sasrec",
    scheme: str | None = None,
    loss: str = "softmax",
    negatives: int = 256,
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[Encoder, pd.DataFrame]:
    """Train a backbone to rank the next accepted item, and keep the weights with the best validation NDCG@10.

    It trains where the tensors are: see `csrec_core.sequences.Sequences.to`.

    Parameters
    ----------
    scheme : {"positions", "prefixes", "cloze"}, optional
        What is trained at once: all positions of a window in one pass (causal backbones), each prefix as a
        window with its last position, or tokens hidden at random (BERT4Rec). By default what the backbone
        was published with, in its fastest exact form: see `default_scheme`.
    loss : {"softmax", "sampled_softmax", "gbce", "bce"}
        A key of `csrec_core.losses.LOSSES`.
    negatives : int
        Items that a sampled loss draws for a batch.
    checkpoint : path, optional
        See `csrec_core.train.fit`.

    Returns
    -------
    model : Encoder
        In evaluation mode.
    history : DataFrame
        See `csrec_core.train.fit`; `validation` is the negative of NDCG@10.
    """
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    window = sequences.self_items.shape[1] - max(HELD_OUT.values())
    if window < 2:
        raise InputError(
            f"a next item needs users with at least {max(HELD_OUT.values()) + 2} self-chosen items"
        )
    model = build_backbone(sequences, backbone=backbone, positions=window - 1, seed=training.seed, **hyper)
    scheme = scheme or default_scheme(model)
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    if scheme == "positions" and not model.causal:
        raise InputError(f"scheme 'positions' needs a causal backbone; {backbone} looks ahead in its window")
    if scheme == "cloze" and not hasattr(model, "encode_masked"):
        raise InputError(f"scheme 'cloze' needs one that hides tokens, such as bert4rec; got {backbone}")

    def objective(encoder: Encoder, states: Tensor, targets: Tensor) -> Tensor:
        return LOSSES[loss](encoder, states, targets, negatives=negatives)

    rows, lengths, batch_loss = SCHEMES[scheme](model, sequences, window, objective)

    def validate() -> float:
        return -ndcg(rank_next_item(model, sequences, part="validation")["rank"], 10).mean()

    history = fit(
        model,
        batch_loss,
        validate,
        rows,
        lengths=lengths,
        training=training,
        label=f"{backbone}, {scheme}",
        checkpoint=checkpoint,
    )
    return model, history


def rank_next_item(model: Encoder, sequences: Sequences, *, part: str = "test") -> pd.DataFrame:
    """Rank the held-out item of each user; see `csrec_core.ranking.leave_one_out`."""

    def score(rows: Tensor, items: Tensor, decisions: Tensor) -> Tensor:
        return model.score(model.encode_end(items, decisions, users=rows))

    return leave_one_out(sequences, score, part=part)


def default_scheme(model: Encoder) -> str:
    """Return what a backbone is trained with unless told: all positions where one pass is exact."""
    if model.causal:
        return "positions"
    return "cloze" if hasattr(model, "encode_masked") else "prefixes"


def _positions(model: Encoder, sequences: Sequences, window: int, objective: Objective) -> tuple:
    """A row is a user, and every accepted item of the window is asked for in one pass."""
    items, decisions = sequences.self_items[:, :window], sequences.self_decisions[:, :window]
    wanted = (items > 0) & (decisions == ACCEPT)
    rows = wanted.any(dim=1).nonzero()[:, 0]

    def loss(batch: Tensor) -> Tensor:
        states = model.encode_at(items[batch], wanted[batch], decisions[batch], users=batch)
        return objective(model, states, items[batch][wanted[batch]])

    return rows, (items[rows] > 0).sum(dim=1), loss


def _prefixes(model: Encoder, sequences: Sequences, window: int, objective: Objective) -> tuple:
    """A row is an accepted item, asked for from a window that holds what came before it."""
    items, decisions = sequences.self_items[:, :window], sequences.self_decisions[:, :window]
    wanted = (items > 0) & (decisions == ACCEPT)
    user, place = wanted.nonzero(as_tuple=True)
    lengths = place - (items == 0).sum(dim=1)[user]

    def loss(batch: Tensor) -> Tensor:
        longest = int(lengths[batch].max())
        back = place[batch, None] - torch.arange(longest, 0, -1, device=items.device)
        row, column = user[batch, None], back.clamp(min=0)
        before = items[row, column] * (back >= 0)
        states = model.encode_end(before, decisions[row, column], users=user[batch])
        return objective(model, states, items[user[batch], place[batch]])

    return torch.arange(len(user), device=items.device), lengths, loss


def _cloze(model: Encoder, sequences: Sequences, window: int, objective: Objective) -> tuple:
    """A row is a user, with some accepted items hidden; a window in ten hides its last alone."""
    items, decisions = sequences.self_items[:, :window], sequences.self_decisions[:, :window]
    wanted = (items > 0) & (decisions == ACCEPT)
    wanted = wanted & (wanted.sum(dim=1, keepdim=True) > 1)
    rows = wanted.any(dim=1).nonzero()[:, 0]
    place = torch.arange(window, device=items.device)
    last = torch.where(wanted, place, -1).amax(dim=1, keepdim=True)

    def loss(batch: Tensor) -> Tensor:
        asked = wanted[batch]
        drawn = torch.rand(asked.shape, device=items.device).masked_fill(~asked, 2.0)
        hidden = (drawn < CLOZE_SHARE) | (drawn == drawn.amin(dim=1, keepdim=True))  # one at least
        alone = torch.rand(len(batch), 1, device=items.device) < CLOZE_LAST
        hidden = torch.where(alone, place == last[batch], hidden & asked)
        states = model.encode_masked(items[batch], hidden, decisions[batch])
        return objective(model, states, items[batch][hidden])

    return rows, (items[rows] > 0).sum(dim=1), loss


SCHEMES: dict[str, Callable[..., tuple]] = {
    "positions": _positions,
    "prefixes": _prefixes,
    "cloze": _cloze,
}
