"""A backbone with a Bernoulli head: P(D = 1 | exposed item, state). Both f~ and f are one."""

import torch
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from csrec_core.models.next_item import build_backbone
from csrec_core.models.sequences import Sequences
from csrec_core.models.train import seeded

__all__ = ["Acceptance", "build_model"]


class Acceptance(nn.Module):
    """Probability that the user accepts an exposed item, on the scale of a decision.

    logit P = scale * (<query(state), item> + leniency(state) + appeal(item)) + level, where scale and level
    are 1 and 0 until `calibrate` sets them.
    """

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.query = nn.Linear(backbone.hidden, backbone.hidden)
        self.leniency = nn.Linear(backbone.hidden, 1)
        self.appeal = nn.Embedding(backbone.n_items + 1, 1)
        nn.init.zeros_(self.appeal.weight)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward(self, states: Tensor, items: Tensor) -> Tensor:
        """Return logits (...) of accepting `items` (...) in `states` (..., hidden)."""
        match = (self.query(states) * self.backbone.embed(items)).sum(-1)
        raw = match + self.leniency(states)[..., 0] + self.appeal(items)[..., 0]
        return self.calibration[0] * raw + self.calibration[1]

    def logits(self, items: Tensor, decisions: Tensor, users: Tensor | None = None) -> Tensor:
        """Return the logits (B, L) of every exposure in a window, each from what lies before it."""
        states = self.backbone.encode(items, decisions, users=users)
        return self(states[:, :-1], items)

    def calibrate(self, logits: Tensor, decisions: Tensor, weights: Tensor, held: Tensor) -> None:
        """Set scale and level from rows (n,) of which some are `held` out of training.

        The scale comes from a logistic regression on the held-out rows alone, for a model is too sure on the
        rows it learned from. The level is set so that the mean probability of all rows is their accept rate:
        it is learned from far more rows, and fitting the training rows does not bias it.
        """
        regression = LogisticRegression(C=1e6).fit(
            *(part[held].cpu().numpy() for part in (logits[:, None], decisions, weights))
        )
        scaled = float(regression.coef_[0, 0]) * logits.double()
        total, accepted = float(weights.sum()), float((weights * decisions).sum())

        def excess(level: float) -> float:
            return float((weights * torch.sigmoid(scaled + level)).sum()) - accepted

        if 0 < accepted < total:
            self.calibration.copy_(torch.tensor([float(regression.coef_[0, 0]), brentq(excess, -50, 50)]))


def build_model(sequences: Sequences, *, backbone: str = "sasrec", seed: int = 0, **hyper) -> Acceptance:
    """Return an untrained model for both phases of `sequences`; see `build_backbone`."""
    positions = sequences.items.shape[1]
    encoder = build_backbone(sequences, backbone=backbone, positions=positions, seed=seed, **hyper)
    with seeded(seed):
        return Acceptance(encoder).to(sequences.self_items.device)
