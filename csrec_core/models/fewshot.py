"""Few-Shot: Chang et al., Sequential Skip Prediction with Few-shot in Streamed Music Contents (2019).

The first half of a session, the support, is given with all that was logged and its decisions; of the second
half, the query, only the acoustic features are known. A stack of causal highway convolutions reads both in
order, and says of each query slot how likely its track is accepted.

Each convolution is normalised before its gate. As published, over the slots of the session: the mean and
spread of a channel then tell an early query slot what tracks come later, so the answers are right for the
challenge, which gives all query tracks at once, and wrong for a decision that is to be foreseen from the past
alone. `norm="causal"` normalises each slot over its channels instead.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from csrec_core.data.mssd.slots import LOG_FEATURES, Sessions
from csrec_core.errors import unknown
from csrec_core.models.train import Training, fit, seeded

__all__ = ["NORMS", "FewShot", "hold_out", "predict_skips", "session_tensors", "train_fewshot"]

KERNELS, DILATIONS = (2, 2, 2, 2, 2, 1, 1), (1, 2, 4, 8, 16, 1, 1)
NORMS = ("instance", "causal")


class FewShot(nn.Module):
    """Logits of acceptance for the slots of a session.

    Parameters
    ----------
    features : Tensor (N + 1, F)
        Acoustic features of the tracks; row 0 is padding.
    channels : int
        Width of the stack.
    norm : {"instance", "causal"}
        Over the slots of a session, as published, or over the channels of a slot.
    """

    def __init__(
        self, features: Tensor, *, channels: int = 256, norm: str = "instance", dropout: float = 0.1
    ):
        super().__init__()
        if norm not in NORMS:
            raise unknown("norm", norm, NORMS)
        self.register_buffer("features", features, persistent=False)
        self.dropout = nn.Dropout(dropout)
        # Beside the logs and the features: the decision just before, and whether the slot is of the support.
        self.first = nn.Linear(len(LOG_FEATURES) + features.shape[1] + 2, channels)
        self.stack = nn.ModuleList(
            _Highway(channels, kernel, dilation, norm)
            for kernel, dilation in zip(KERNELS, DILATIONS, strict=True)
        )
        self.last = nn.Linear(channels, 1)

    def forward(
        self, log: Tensor, track: Tensor, accepted: Tensor, given: Tensor, decided: Tensor | None = None
    ) -> Tensor:
        """Return logits (B, L).

        Parameters
        ----------
        log : Tensor (B, L, 41)
        track : Tensor (B, L) int64
            0 after the end of a session.
        accepted : Tensor (B, L) float
        given : Tensor (B, L) bool
            The support. Logs of other slots are not read.
        decided : Tensor (B, L) bool, optional
            Slots whose decision is read; the support by default.
        """
        known, real = given[..., None].float(), (track > 0)[..., None]
        decided = given if decided is None else decided
        signed = (2 * accepted - 1) * decided  # accepted 1, rejected -1, not known 0
        before = F.pad(signed, (1, 0))[:, :-1, None]
        states = torch.cat([log * known, self.features[track], before, known], dim=-1)
        states = self.first(states) * real
        for block in self.stack:
            states = block(self.dropout(states), real)
        return self.last(states)[..., 0]


class _Highway(nn.Module):
    """x + gate * (candidate - x), both from one causal dilated convolution, normalised."""

    def __init__(self, channels: int, kernel: int, dilation: int, norm: str):
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.conv = nn.Conv1d(channels, 2 * channels, kernel, dilation=dilation)
        self.norm = nn.LayerNorm(2 * channels) if norm == "causal" else _SlotNorm(2 * channels)

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


def train_fewshot(
    sessions: Sessions,
    *,
    training: Training,
    held: float = 0.1,
    channels: int = 256,
    norm: str = "instance",
    dropout: float = 0.1,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
) -> tuple[FewShot, pd.DataFrame]:
    """Train on the query halves of sessions, of which a share is held out to stop by; returns model, history.

    The loss is the cross-entropy of the real query slots, each counting the same.
    """
    tensors = session_tensors(sessions, device)
    with seeded(training.seed, device):
        features = torch.from_numpy(sessions.features)
        model = FewShot(features, channels=channels, norm=norm, dropout=dropout).to(device)
    tested, rows = (part.to(device) for part in hold_out(len(sessions.users), held, seed=training.seed))

    def loss(batch: Tensor) -> Tensor:
        *inputs, asked = (part[batch] for part in tensors)
        return F.binary_cross_entropy_with_logits(model(*inputs)[asked], inputs[2][asked])

    common = {"training": training, "label": "Few-Shot", "checkpoint": checkpoint}
    history = fit(model, loss, lambda: loss(tested).item(), rows, **common)
    return model, history


def hold_out(count: int, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows of `count` sessions that stop the training, at least one, and those to learn from."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    split = max(1, int(share * count))
    return order[:split], order[split:]


def predict_skips(model: FewShot, sessions: Sessions, *, batch: int = 1024) -> np.ndarray:
    """Return the probability of acceptance of each slot, (S, 20); NaN where nothing is asked."""
    device = model.features.device
    probability = np.full(sessions.track.shape, np.nan)
    model.eval()
    with torch.no_grad():
        for rows in np.array_split(np.arange(len(sessions.users)), -(-len(sessions.users) // batch)):
            *inputs, asked = session_tensors(sessions.take(rows), device)
            chance = torch.sigmoid(model(*inputs)).masked_fill(~asked, torch.nan)
            probability[rows] = chance.cpu().numpy()
    return probability


def session_tensors(sessions: Sessions, device: str | torch.device) -> tuple[Tensor, ...]:
    """Return what `FewShot.forward` reads, and which slots are asked."""
    parts = (
        sessions.log,
        sessions.track,
        sessions.accepted.astype(np.float32),
        sessions.given,
        sessions.asked,
    )
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)
