"""A backbone with a Bernoulli head: P(D = 1 | exposed item, state). Both f~ and f are one."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from csrec_core.backbones import BACKBONES
from csrec_core.errors import unknown
from csrec_core.sequences import Sequences

__all__ = ["Acceptance", "build_model"]


class Acceptance(nn.Module):
    """Probability that the user accepts an exposed item, on the scale of a decision.

    logit P = scale * (<query(state), item> + leniency(state) + appeal(item)) + level, where scale and level
    are 1 and 0 until `calibrate` sets them (Platt).
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

    def logits(self, items: Tensor, decisions: Tensor, *, shift: Tensor | None = None) -> Tensor:
        """Return the logits (B, L) of every exposure in a window, each from what lies before it."""
        states = self.backbone.encode(items, decisions, shift=shift)
        return self(states[:, :-1], items)

    def calibrate(self, logits: Tensor, decisions: Tensor, weights: Tensor | None = None) -> None:
        """Set scale and level by logistic regression on held-out rows (n,), which need both decisions."""
        model = LogisticRegression(C=1e6).fit(
            logits.numpy()[:, None], decisions.numpy(), None if weights is None else weights.numpy()
        )
        scale, level = self.calibration.tolist()
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        self.calibration.copy_(torch.tensor([scale * slope, level * slope + intercept]))


def build_model(sequences: Sequences, *, backbone: str = "sasrec", seed: int = 0, **hyper) -> Acceptance:
    """Return an untrained model for the catalogue and windows of `sequences`.

    Parameters
    ----------
    backbone : {"sasrec"}
        A key of `csrec_core.backbones.BACKBONES`.
    **hyper
        Keyword defaults of the backbone: hidden, layers, heads, dropout.
    """
    if backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = BACKBONES[backbone](
            len(sequences.catalogue),
            positions=sequences.items.shape[1],
            features=sequences.features,
            **hyper,
        )
        return Acceptance(encoder)
