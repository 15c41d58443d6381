"""CS-Few-Shot: CSRec (Eq. 8 and 9) over Few-Shot, on the second halves of sessions.

f~ is a Few-Shot network that learns from the tracks that the listener chose (`self`), f one that learns from
those that the system did, tied to f~ by Eq. 9 (`csrec_core.models.csrec.csrec_loss`). Beside what Few-Shot
reads, either may be told decisions of the second half. With all earlier ones it is the filtered estimand,
P(D_t | do(S_{1:t}), H_{t-1}); with none, as in the challenge, the marginal one,
P(D_t | do(S_{1:t}), P_{1:t}), the first half being what is known of P. Both are exact with `norm="causal"`
alone: the published norm sees the tracks after t as well.

The recursion of Theorem 3.1 goes from a slot by the system to the next. Where the slot before is none, its
decision is known (the first half), or f says nothing of it: there r_t is f~ itself, that decision as it is
known to who sees the first half alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from csrec_core.data.log import SELF, SYSTEM
from csrec_core.data.mssd.slots import Sessions
from csrec_core.errors import InputError
from csrec_core.models.csrec import csrec_loss
from csrec_core.models.fewshot import FewShot, hold_out, session_tensors
from csrec_core.models.preference import Readouts, chain
from csrec_core.models.train import Loss, Training, fit, seeded

__all__ = [
    "CSFewShot",
    "Slots",
    "cs_fewshot_loss",
    "fit_calibration",
    "predict_cs_fewshot",
    "read_branches",
    "train_cs_fewshot",
    "train_fewshot_preference",
]

READ_BATCH = 1024  # sessions a batch where no gradient is kept
SHARES = (0.0, 0.5, 1.0)  # of the second half's decisions that f~ is told in training, a session each


class CSFewShot(nn.Module):
    """A Few-Shot network with calibrated logits, scale * logit + level: both f~ and f are one.

    Parameters are those of `csrec_core.models.fewshot.FewShot`.
    """

    def __init__(self, features: Tensor, **hyper):
        super().__init__()
        self.network = FewShot(features, **hyper)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B, L); see `FewShot.forward`."""
        return self.calibration[0] * self.network(*inputs) + self.calibration[1]


@dataclass(frozen=True, eq=False)
class Slots:
    """Sessions as tensors, (S, 20, 41) and (S, 20).

    Attributes
    ----------
    log, track, accepted, given
        What `FewShot.forward` reads.
    chosen, exposed : Tensor (S, 20) bool
        Slots of the second half by the listener and by the system.
    """

    log: Tensor
    track: Tensor
    accepted: Tensor
    given: Tensor
    chosen: Tensor
    exposed: Tensor

    @classmethod
    def of(cls, sessions: Sessions, device: str | torch.device = "cpu") -> "Slots":
        """Return the sessions' slots on a device."""
        *inputs, asked = session_tensors(sessions, device)
        sources = (torch.from_numpy(sessions.source == source).to(device) for source in (SELF, SYSTEM))
        return cls(*inputs, *(asked & mine for mine in sources))

    def take(self, rows: Tensor) -> "Slots":
        """Return some of the sessions."""
        return Slots(**{name: part[rows] for name, part in vars(self).items()})

    def logits(self, model: CSFewShot, decided: Tensor) -> Tensor:
        """Return the model's logits (S, 20), told the decisions of the first half and those `decided`."""
        return model(self.log, self.track, self.accepted, self.given, self.given | decided)

    @property
    def chained(self) -> Tensor:
        """Slots by the system that come right after another one of the second half, (S, 20) bool."""
        return self.exposed & F.pad(self.exposed, (1, 0))[:, :-1]


def train_fewshot_preference(
    sessions: Sessions,
    *,
    training: Training,
    held: float = 0.1,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[CSFewShot, pd.DataFrame]:
    """Train f~ on the self-chosen tracks of second halves, calibrate it on held-out sessions, and freeze it.

    Of the decisions of the second half it is told none, half or all, a third of the sessions each.

    Parameters
    ----------
    held : float
        Share of the sessions that stops the training and calibrates.
    checkpoint : path, optional
        See `csrec_core.models.train.fit`.
    **hyper
        Of `csrec_core.models.fewshot.FewShot`.
    """
    model = _build(sessions, training.seed, device, hyper)
    slots, shares = Slots.of(sessions, device), torch.tensor(SHARES, device=device)

    def told_loss(batch: Tensor, told: Tensor) -> Tensor:
        part = slots.take(batch)
        logits, wanted = part.logits(model, told), part.chosen
        return F.binary_cross_entropy_with_logits(logits[wanted], part.accepted[wanted])

    def loss(batch: Tensor) -> Tensor:
        drawn = (torch.rand((len(batch), 1), device=batch.device) * len(SHARES)).long()
        draws = torch.rand(slots.track[batch].shape, device=batch.device)
        return told_loss(batch, draws < shares[drawn])

    def validate(rows: Tensor) -> float:
        sides = (torch.full_like(slots.given[rows], side) for side in (False, True))
        return sum(told_loss(rows, side).item() for side in sides) / 2

    options = {"training": training, "held": held, "label": "f~, Few-Shot", "checkpoint": checkpoint}
    return _fit(model, slots, slots.chosen, loss, validate, **options)


@torch.no_grad()
def read_branches(model: CSFewShot, sessions: Sessions) -> Readouts:
    """Read the frozen f~ at every slot of the second half; see `csrec_core.models.preference.Readouts`.

    Where the slot before is no slot by the system of the second half, both branches are f~ with the
    decisions of the first half alone. Nothing is ranked: `rank` is NaN.
    """
    parts = [_read_batch(model, slots) for slots in _pieces(sessions, model.calibration.device)]
    filtered, reject, accept = (torch.cat(part) for part in zip(*parts, strict=True))
    return Readouts(filtered, reject, accept, chain(reject, accept), torch.full_like(filtered, torch.nan))


def cs_fewshot_loss(
    model: CSFewShot,
    slots: Slots,
    readouts: Readouts,
    hidden: Tensor,
    *,
    penalty: float,
    constraint: str = "squared",
) -> Tensor:
    """Return Eq. (9) over the slots by the system of second halves.

    Parameters
    ----------
    slots : Slots
    readouts : Readouts
        Of f~ for the same sessions.
    hidden : Tensor (S,) bool
        Sessions of whose second half no decision is told.
    penalty, constraint
        See `csrec_core.models.csrec.csrec_loss`.
    """
    logits = slots.logits(model, ~hidden[:, None].expand_as(slots.given))
    return csrec_loss(logits, slots.accepted, slots.exposed, hidden, readouts, penalty, constraint=constraint)


def train_cs_fewshot(
    sessions: Sessions,
    readouts: Readouts,
    *,
    penalty: float,
    training: Training,
    constraint: str = "squared",
    start: CSFewShot | None = None,
    held: float = 0.1,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[CSFewShot, pd.DataFrame]:
    """Train f on the system's tracks of second halves, and calibrate it on held-out sessions.

    The decisions of the second half are hidden from f in half of the sessions of a batch.

    Parameters
    ----------
    readouts : Readouts
        Of f~ for the same sessions, as `read_branches` returns them.
    penalty : float
        Weight of the constraint of Eq. (9), at least 0.
    start : CSFewShot, optional
        Model whose network f starts from, such as f~.
    held, checkpoint, **hyper
        See `train_fewshot_preference`.
    """
    if not penalty >= 0:
        raise InputError(f"penalty = {penalty}; expected a number of at least 0")
    model = _build(sessions, training.seed, device, hyper)
    if start is not None:
        model.network.load_state_dict(start.network.state_dict())
    slots = Slots.of(sessions, device)

    def hidden_loss(batch: Tensor, hidden: Tensor) -> Tensor:
        options = {"penalty": penalty, "constraint": constraint}
        return cs_fewshot_loss(model, slots.take(batch), readouts.take(batch), hidden, **options)

    def loss(batch: Tensor) -> Tensor:
        return hidden_loss(batch, torch.rand((len(batch),), device=batch.device) < 0.5)

    def validate(rows: Tensor) -> float:
        sides = (torch.full_like(rows, side, dtype=torch.bool) for side in (False, True))
        return sum(hidden_loss(rows, side).item() for side in sides) / 2

    label = f"f, CS-Few-Shot, penalty {penalty:g}"
    options = {"training": training, "held": held, "label": label, "checkpoint": checkpoint}
    return _fit(model, slots, slots.exposed, loss, validate, **options)


@torch.no_grad()
def predict_cs_fewshot(model: CSFewShot, sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of acceptance of each slot, filtered and marginal, (S, 20); NaN in first halves.

    What f says of slots that are not by the system is what it would be, were they.
    """
    parts = [[], []]
    for slots in _pieces(sessions, model.calibration.device):
        for part, told in zip(parts, (True, False), strict=True):
            logits = slots.logits(model, torch.full_like(slots.given, told))
            part.append(torch.sigmoid(logits).cpu().numpy())
    filtered, marginal = (np.where(sessions.asked, np.concatenate(part), np.nan) for part in parts)
    return filtered, marginal


def fit_calibration(logits: Tensor, decisions: Tensor) -> tuple[float, float]:
    """Return the scale, at least 0, and the level of a logistic regression of decisions on logits (n,).

    1 and 0 where one decision alone occurs.
    """
    if len(decisions.unique()) < 2:
        return 1.0, 0.0
    regression = LogisticRegression(C=1e6).fit(logits[:, None].cpu().numpy(), decisions.cpu().numpy())
    if regression.coef_[0, 0] < 0:  # it knows nothing, and is not right when reversed
        rate = float(decisions.double().mean())
        return 0.0, float(np.log(rate / (1 - rate)))
    return float(regression.coef_[0, 0]), float(regression.intercept_[0])


def _build(sessions: Sessions, seed: int, device: str, hyper: dict) -> CSFewShot:
    with seeded(seed, device):
        return CSFewShot(torch.from_numpy(sessions.features), **hyper).to(device)


def _fit(
    model: CSFewShot,
    slots: Slots,
    wanted: Tensor,
    loss: Loss,
    validate: Callable[[Tensor], float],
    *,
    training: Training,
    held: float,
    label: str,
    checkpoint: str | Path | None,
) -> tuple[CSFewShot, pd.DataFrame]:
    """Train on the sessions with a slot `wanted`, and calibrate on the held-out ones, from both sides."""
    split = hold_out(len(wanted), held, seed=training.seed)
    stopping, rows = (part.to(wanted.device)[wanted[part].any(dim=1)] for part in split)
    if not len(rows) or not len(stopping):
        raise InputError(f"{label}: no session is left to learn from, or none to stop training on")
    common = {"training": training, "label": label, "checkpoint": checkpoint}
    history = fit(model, loss, lambda: validate(stopping), rows, **common)
    with torch.no_grad():
        part, asked = slots.take(stopping), wanted[stopping]
        sides = [part.logits(model, torch.full_like(part.given, told))[asked] for told in (False, True)]
        decisions = part.accepted[asked]
        model.calibration.copy_(
            torch.tensor(fit_calibration(torch.cat(sides), torch.cat([decisions, decisions])))
        )
    return model.requires_grad_(False), history


def _pieces(sessions: Sessions, device: torch.device) -> Iterator[Slots]:
    rows = np.array_split(np.arange(len(sessions.users)), -(-len(sessions.users) // READ_BATCH))
    return (Slots.of(sessions.take(piece), device) for piece in rows)


def _read_batch(model: CSFewShot, slots: Slots) -> tuple[Tensor, Tensor, Tensor]:
    nothing = torch.zeros_like(slots.given)
    filtered, first_half = (torch.sigmoid(slots.logits(model, told)) for told in (~nothing, nothing))
    branches = [first_half.clone(), first_half.clone()]
    for slot in slots.chained.any(dim=0).nonzero()[:, 0].tolist():
        rows = slots.chained[:, slot].nonzero()[:, 0]
        part, told = slots.take(rows), nothing[rows]
        told[:, slot - 1] = True
        for decision, branch in enumerate(branches):
            part.accepted[:, slot - 1] = decision  # `take` copies
            branch[rows, slot] = torch.sigmoid(part.logits(model, told))[:, slot]
    return filtered, *branches
