"""Few-Shot: Chang et al., Sequential Skip Prediction with Few-shot in Streamed Music Contents (2019).

The first half of a session, the support, is given with all that was logged and its decisions; of the second
half, the query, only the acoustic features are known. A stack of causal highway convolutions reads both in
order, and says of each query slot how likely its track is accepted.

Each convolution is normalised before its gate. As published, over the slots of the session: the mean and
spread of a channel then tell an early query slot what tracks come later, so the answers are right for the
challenge, which gives all query tracks at once, and wrong for a decision that is to be foreseen from the past
alone. `norm="causal"` normalises each slot over its channels instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.data.log import SELF, SYSTEM
from csrec_core.data.mssd.slots import LOG_FEATURES, Sessions
from csrec_core.errors import InputError, unknown
from csrec_core.models.acceptance import fit_calibration
from csrec_core.models.train import Training, fit, hold_out, seeded

READ_SESSIONS = 1024  # sessions a batch where no gradient is kept
# Of the query's decisions f~ of CS-Few-Shot reads one of these shares in training, a session each.
READ_SHARES = (0.0, 0.5, 1.0)
KERNELS, DILATIONS = (2, 2, 2, 2, 2, 1, 1), (1, 2, 4, 8, 16, 1, 1)
NORMS = ("instance", "causal")


class FewShot(nn.Module):
    """Logits of acceptance for the slots of a session, scale * raw + level: 1 and 0 until they are calibrated.

    Parameters
    ----------
    features : Tensor (N + 1, F)
        Acoustic features of the tracks; row 0 is padding.
    channels : int
        Width of the stack.
    norm : {"instance", "causal"}
        Over the slots of a session, as published, or over the channels of a slot.
    """

    features: Tensor
    calibration: Tensor

    def __init__(
        self, features: Tensor, *, channels: int = 256, norm: str = "instance", dropout: float = 0.1
    ):
        super().__init__()
        if norm not in NORMS:
            raise unknown("norm", norm, NORMS)
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        self.dropout = nn.Dropout(dropout)
        # Beside the logs and the features: the decision just before, and whether the slot is of the support.
        self.first = nn.Linear(len(LOG_FEATURES) + features.shape[1] + 2, channels)
        self.stack = nn.ModuleList(
            _Highway(channels, kernel, dilation, norm)
            for kernel, dilation in zip(KERNELS, DILATIONS, strict=True)
        )
        self.last = nn.Linear(channels, 1)

    def forward(self, log: Tensor, track: Tensor, accepted: Tensor, given: Tensor, decided: Tensor) -> Tensor:
        """Return logits (B, L).

        Parameters
        ----------
        log : Tensor (B, L, 41)
        track : Tensor (B, L) int64
            0 after the end of a session.
        accepted : Tensor (B, L) float
        given : Tensor (B, L) bool
            The support. Logs of other slots are not read.
        decided : Tensor (B, L) bool
            Slots whose decision is read.
        """
        known, real = given[..., None].float(), (track > 0)[..., None]
        signed = (2 * accepted - 1) * decided  # accepted 1, rejected -1, not known 0
        before = F.pad(signed, (1, 0))[:, :-1, None]
        states = torch.cat([log * known, self.features[track], before, known], dim=-1)
        states = self.first(states) * real
        for block in self.stack:
            states = block(self.dropout(states), real)
        return self.calibration[0] * self.last(states)[..., 0] + self.calibration[1]


class _Highway(nn.Module):
    """x + gate * (candidate - x), both from one causal dilated convolution, normalised."""

    def __init__(self, channels: int, kernel: int, dilation: int, norm: str):
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.conv = nn.Conv1d(channels, 2 * channels, kernel, dilation=dilation)
        self.norm: nn.Module = (_SlotNorm if norm == "instance" else nn.LayerNorm)(2 * channels)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        mixed = self.conv(F.pad(states.transpose(1, 2), (self.reach, 0))).transpose(1, 2)
        mixed = self.norm(mixed, real) if isinstance(self.norm, _SlotNorm) else self.norm(mixed)
        gate, candidate = mixed.chunk(2, dim=-1)
        return torch.lerp(states, F.relu(candidate), torch.sigmoid(gate)) * real


class _SlotNorm(nn.Module):
    """Instance norm over the real slots of a session, each channel by itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        count = real.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (states * real).sum(dim=1, keepdim=True) / count
        spread = ((states - mean).square() * real).sum(dim=1, keepdim=True) / count
        return (states - mean) * torch.rsqrt(spread + 1e-5) * self.scale + self.shift


@dataclass(frozen=True, eq=False)
class Slots:
    """Sessions as tensors, (S, 20, 41) and (S, 20).

    Attributes
    ----------
    log, track, accepted, given
        What `FewShot.forward` reads.
    asked : Tensor (S, 20) bool
        The query.
    chosen, exposed : Tensor (S, 20) bool
        Slots of the query by the listener and by the system.
    """

    log: Tensor
    track: Tensor
    accepted: Tensor
    given: Tensor
    asked: Tensor
    chosen: Tensor
    exposed: Tensor

    @classmethod
    def of(cls, sessions: Sessions, device: str | torch.device = "cpu") -> "Slots":
        """Return the sessions' slots on a device."""
        by_source = [sessions.asked & (sessions.source == source) for source in (SELF, SYSTEM)]
        accepted = sessions.accepted.astype(np.float32)
        parts = (sessions.log, sessions.track, accepted, sessions.given, sessions.asked, *by_source)
        return cls(*(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts))

    def take(self, rows: Tensor) -> "Slots":
        """Return some of the sessions."""
        return Slots(**{name: part[rows] for name, part in vars(self).items()})

    @property
    def chained(self) -> Tensor:
        """Slots by the system that come right after another one of the query, (S, 20) bool."""
        return self.exposed & F.pad(self.exposed, (1, 0))[:, :-1]

    def logits(self, model: nn.Module, decided: Tensor | None = None) -> Tensor:
        """Return the model's logits (S, 20), which reads the decisions of the support and those `decided`."""
        known = self.given if decided is None else self.given | decided
        # Where no gradient is kept, memory does not grow with the sessions.
        size = len(known) if torch.is_grad_enabled() else READ_SESSIONS
        parts = (self.log, self.track, self.accepted, self.given, known)
        return torch.cat([model(*some) for some in zip(*(part.split(size) for part in parts), strict=True)])


def build_fewshot(sessions: Sessions, seed: int, device: str, **size) -> tuple[FewShot, Slots]:
    """Return an untrained network, `size` of `FewShot`, and the sessions' slots."""
    with seeded(seed, device):
        model = FewShot(torch.from_numpy(sessions.features), **size).to(device)
    return model, Slots.of(sessions, device)


def train_fewshot(
    sessions: Sessions,
    *,
    training: Training,
    preference: bool = False,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    **size,
) -> tuple[FewShot, pd.DataFrame]:
    """Train on the query halves of sessions, of which a share is held out to stop by; returns model, history.

    The loss is the cross-entropy of the real query slots, each counting the same; `size` is of `FewShot`. As f~ of
    CS-Few-Shot (`preference`) it learns from the self-chosen ones alone, reads none, half or all of the query's
    decisions, a third of the sessions each, and is calibrated on the sessions held out and frozen.
    """
    model, slots = build_fewshot(sessions, training.seed, device, **size)
    wanted = slots.chosen if preference else slots.asked
    shares = torch.tensor(READ_SHARES if preference else READ_SHARES[:1], device=device)

    def loss(batch: Tensor, decided: Tensor) -> Tensor:
        part, asked = slots.take(batch), wanted[batch]
        return F.binary_cross_entropy_with_logits(part.logits(model, decided)[asked], part.accepted[asked])

    def draw(batch: Tensor) -> Tensor:
        drawn = (torch.rand((len(batch), 1), device=batch.device) * len(shares)).long()
        return torch.rand(slots.track[batch].shape, device=batch.device) < shares[drawn]

    def sides(rows: Tensor) -> list[Tensor]:
        nothing = torch.zeros_like(slots.given[rows])
        return [nothing, ~nothing] if preference else [nothing]

    label = "f~, Few-Shot" if preference else "Few-Shot"
    call: dict[str, Any] = {"training": training, "label": label, "checkpoint": checkpoint}
    history, stopping = fit_sessions(model, wanted, loss, draw, sides, **call)
    if preference:
        calibrate(model, slots.take(stopping), wanted[stopping])
    return model, history


def fit_sessions(
    model: nn.Module,
    wanted: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    draw: Callable[[Tensor], Tensor],
    sides: Callable[[Tensor], Sequence[Tensor]],
    *,
    training: Training,
    label: str,
    checkpoint: str | Path | None,
) -> tuple[pd.DataFrame, Tensor]:
    """Train on the sessions with a slot `wanted` (S, 20), but for those held out; return history and the latter.

    `loss` is of rows of sessions and of what is read of their decisions: in training what `draw` says of the rows, in
    validation each of the `sides`, of which the mean counts. See `csrec_core.models.train.fit`.
    """
    sessions = torch.arange(len(wanted), device=wanted.device)
    stopping, rows = (part[wanted[part].any(dim=1)] for part in hold_out(sessions, seed=training.seed))
    if not len(rows) or not len(stopping):
        raise InputError(f"{label}: no session is left to learn from, or none to stop training on")

    def validate() -> float:
        return float(np.mean([loss(stopping, side).item() for side in sides(stopping)]))

    call = (model, lambda batch: loss(batch, draw(batch)), validate, rows)
    return fit(*call, training=training, label=label, checkpoint=checkpoint), stopping


@torch.no_grad()
def calibrate(model: FewShot, slots: Slots, wanted: Tensor) -> None:
    """Calibrate a model at the slots `wanted`, with the other decisions read and without, and freeze it."""
    sides = [slots.logits(model, torch.full_like(slots.given, side))[wanted] for side in (False, True)]
    decisions = slots.accepted[wanted].repeat(2)
    model.calibration.copy_(torch.tensor(fit_calibration(torch.cat(sides), decisions)))
    model.requires_grad_(False)


@torch.no_grad()
def predict_skips(model: nn.Module, sessions: Sessions, *, decided: bool = False) -> np.ndarray:
    """Return the probability of acceptance of each slot, (S, 20); NaN where nothing is asked.

    If `decided`, the decisions of earlier slots of the query are read, too.
    """
    model.eval()
    slots = Slots.of(sessions, next(model.parameters()).device)
    chance = torch.sigmoid(slots.logits(model, torch.full_like(slots.given, decided)))
    return chance.masked_fill(~slots.asked, torch.nan).cpu().numpy().astype(float)
