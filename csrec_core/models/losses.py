"""Losses of the next item: what a state should score above the rest of the catalogue.

Each takes a model, states (n, hidden) and the items (n,) that followed, and returns a mean over the n. Those
that sample take uniform negatives, shared by the batch, so that time and memory do not grow with the
catalogue.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.models.backbones.encoder import Encoder

GBCE_CALIBRATION = 0.75  # t of gSASRec: 0 is BCE, 1 undoes the overconfidence of sampling in full


def softmax(model: Encoder, states: Tensor, targets: Tensor, *, negatives: int = 0) -> Tensor:
    """Cross-entropy over the whole catalogue; nothing is sampled."""
    return F.cross_entropy(model.score(states), targets - 1)


def sampled_softmax(model: Encoder, states: Tensor, targets: Tensor, *, negatives: int = 256) -> Tensor:
    """Cross-entropy against `negatives` items, each counted for the catalogue's share it stands for.

    Bengio and Senecal, Quick training of probabilistic neural nets by importance sampling (2003).
    """
    positive, negative = _sampled(model, states, targets, negatives)
    negative = negative + math.log(model.n_items / negatives)
    logits = torch.cat([positive[:, None], negative], dim=1)
    return F.cross_entropy(logits, torch.zeros_like(targets))


def gbce(model: Encoder, states: Tensor, targets: Tensor, *, negatives: int = 256) -> Tensor:
    """Generalised binary cross-entropy (Petrov and Macdonald, gSASRec, RecSys 2023, equation 17)."""
    positive, negative = _sampled(model, states, targets, negatives)
    share = min(1.0, negatives / max(model.n_items - 1, 1))
    power = share * (GBCE_CALIBRATION * (1 - 1 / share) + 1 / share)
    return (F.softplus(-positive) * power + F.softplus(negative).sum(dim=1)).mean() / (negatives + 1)


def bce(model: Encoder, states: Tensor, targets: Tensor, *, negatives: int = 1) -> Tensor:
    """Binary cross-entropy of each item against one drawn for it, as SASRec was published."""
    drawn = torch.randint_like(targets, 1, model.n_items + 1)
    positive, negative = model.score(states, targets), model.score(states, drawn)
    return (F.softplus(-positive) + F.softplus(negative)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    loss.__name__: loss for loss in (softmax, sampled_softmax, gbce, bce)
}


def _sampled(model: Encoder, states: Tensor, targets: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """Return logits of the targets (n,) and of shared uniform negatives (n, negatives), a hit at -inf."""
    drawn = torch.randint(1, model.n_items + 1, (negatives,), device=targets.device)
    negative = F.linear(states, model.embed(drawn), model.bias[drawn - 1])
    return model.score(states, targets), negative.masked_fill(drawn == targets[:, None], -torch.inf)
