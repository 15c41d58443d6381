"""A backbone with a Bernoulli head: P(D = 1 | exposed item, state). Both f~ and f are one."""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from csrec_core.models.backbones.encoder import Encoder
from csrec_core.models.next_item import build_backbone
from csrec_core.models.sequences import UNKNOWN, Sequences, Window
from csrec_core.models.train import Training, fit, seeded
from csrec_core.models.user_state import UserState

#: What a logit is made of, beside the item's own appeal.
LOGIT_PARTS = {"both": ("user state", "encoder"), "user state": ("user state",), "encoder": ("encoder",)}
# The user state alone: few weights and cheap passes take a larger rate and batch, more passes, and an average
# over some fifty steps.
STATE_RATE, STATE_BATCH, STATE_AVERAGE, STATE_PASSES, STATE_PATIENCE = 1e-2, 256, 0.98, 5, 3


class Acceptance(nn.Module):
    """Probability that the user accepts an exposed item, on the scale of a decision.

    logit P = scale * (record + <query(state), item> + leniency(state) + appeal(item)) + level, where `record`
    is what the user's past in numbers says (`UserState`), `state` the backbone's, and scale and level are 1
    and 0 until `calibrate` sets them. What the backbone adds starts at zero.

    Parameters
    ----------
    backbone : Encoder
    genres : Tensor (N + 1, G), optional
        By which items are alike; see `UserState`.
    apart : bool
        Whether decisions on what the system exposed are counted apart from the user's own (f), or are more of
        the same (f~, which has seen none).
    parts : {"both", "encoder", "user state"}
        What of the logit is read (`LOGIT_PARTS`); the rest is left out.
    """

    calibration: Tensor
    apart: Tensor

    def __init__(
        self, backbone: Encoder, *, genres: Tensor | None = None, apart: bool = True, parts: str = "both"
    ):
        super().__init__()
        self.backbone = backbone
        self.user_state = UserState(backbone.n_items, genres)
        self.query = nn.Linear(backbone.hidden, backbone.hidden)
        self.leniency = nn.Linear(backbone.hidden, 1)
        self.appeal = nn.Embedding(backbone.n_items + 1, 1)
        for weight in (self.query.weight, self.query.bias, self.leniency.weight, self.appeal.weight):
            nn.init.zeros_(weight)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        self.register_buffer("apart", torch.tensor(apart))
        self.parts = LOGIT_PARTS[parts]

    def calibrate(self, logits: Tensor, decisions: Tensor, **rows: Tensor) -> None:
        """Set scale and level; see `fit_calibration`."""
        self.calibration.copy_(torch.tensor(fit_calibration(logits, decisions, **rows)))

    def restricted(self, parts: str) -> "Acceptance":
        """Return a model of the same weights, of which only some `parts` are read."""
        part = copy(self)
        part.parts = LOGIT_PARTS[parts]
        return part

    def forward(self, states: Tensor | None, items: Tensor, numbers: Tensor) -> Tensor:
        """Return logits (...) of `items` (...), from `states` (..., hidden) and `numbers` of `describe`."""
        raw = self.appeal(items)[..., 0]
        if states is not None and "encoder" in self.parts:
            match = (self.query(states) * self.backbone.embed(items)).sum(-1)
            raw = raw + match + self.leniency(states)[..., 0]
        if "user state" in self.parts:
            raw = raw + self.user_state(numbers)
        return self.calibration[0] * raw + self.calibration[1]

    def describe(self, items: Tensor, decisions: Tensor, **options) -> Tensor:
        """Return the numbers (B, L, ...) of the exposures of a window; see `UserState.describe`."""
        return self.user_state.describe(items, decisions, apart=bool(self.apart), **options)

    def describe_exposed(self, window: Window, *, last: int | None = None) -> Tensor:
        """Return the numbers (B, T, ...) of the exposures asked for in windows; see `describe`."""
        read = window.items, window.decisions
        return window.exposed(self.describe(*read, own=window.own, last=last, first=window.first))

    def logits(
        self,
        window: Window,
        *,
        users: Tensor | None = None,
        last: int | None = None,
        numbers: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Return the logits (B, T) of the exposures asked for in windows, each from what lies before it.

        Parameters
        ----------
        users : Tensor (B,) int64, optional
            User numbers.
        last : int, optional
            Takes the place of the decision just before each.
        numbers : Tensor (B, T, ...), optional
            Of `describe_exposed`, where they are known already.
        wanted : Tensor (B, T) bool, optional
            A backbone that reads prefix by prefix leaves 0 where they are not; without `last`.
        """
        exposed = window.exposed(window.items[:, window.first :])
        numbers = self.describe_exposed(window, last=last) if numbers is None else numbers
        if "encoder" not in self.parts:
            return self(None, exposed, numbers)
        read: dict[str, Any] = {"decisions": window.decisions, "users": users}
        if wanted is None or self.backbone.causal:
            states = self.backbone.encode(window.items, **read, last=last, first=window.first)
            return self(window.exposed(states[:, :-1]), exposed, numbers)
        states = self.backbone.encode_at(window.items, window.mark(wanted), **read)
        logits = self(states, exposed[wanted], numbers[wanted])
        return logits.new_zeros(exposed.shape).masked_scatter(wanted, logits)

    def logits_after(self, items: Tensor, decisions: Tensor, asked: Tensor) -> Tensor:
        """Return the logits (B,) of one item each, `asked` (B,), after self-chosen windows (B, L)."""
        states, length = self.backbone.encode_end(items, decisions), items.shape[1]
        items = torch.cat([items, asked[:, None]], dim=1)
        decisions = torch.cat([decisions, torch.full_like(asked, UNKNOWN)[:, None]], dim=1)
        numbers = self.describe(items, decisions, own=length + 1, first=length)
        return self(states, asked, numbers[:, 0])

    def catalogue_logits(self, users: Tensor, items: Tensor, decisions: Tensor) -> Tensor:
        """Return the logits (B, N) of accepting each item after the self-chosen windows of `users` (B,)."""
        states = self.backbone.encode_end(items, decisions, users=users)
        numbers = self.user_state.describe_catalogue(items, decisions)
        every = torch.arange(1, self.backbone.n_items + 1, device=items.device).expand(len(items), -1)
        return self(states[:, None].expand(-1, every.shape[1], -1), every, numbers)


def fit_calibration(
    logits: Tensor, decisions: Tensor, *, weights: Tensor | None = None, held: Tensor | None = None
) -> tuple[float, float]:
    """Return scale and level from rows (n,) of which some, by default all, are `held` out of training.

    The scale comes from a logistic regression on the held-out rows alone, for a model is too sure on the
    rows it learned from. The level is set so that the mean probability of all rows is their accept rate:
    it is learned from far more rows, and fitting the training rows does not bias it. 1 and 0 where the
    held-out rows show one decision alone.
    """
    weights = torch.ones(len(logits), device=logits.device) if weights is None else weights
    some = torch.ones_like(weights, dtype=torch.bool) if held is None else held
    total, accepted = float(weights.sum()), float((weights * decisions).sum())
    if len(decisions[some].unique()) < 2 or not 0 < accepted < total:
        return 1.0, 0.0
    regression = LogisticRegression(C=1e6).fit(
        *(part[some].cpu().numpy() for part in (logits[:, None], decisions, weights))
    )
    # Held-out rows may speak against the model: it then knows nothing, and is not right when reversed.
    scale = max(0.0, float(regression.coef_[0, 0]))
    if held is None and scale > 0:  # the regression has seen the accept rate of all rows
        return scale, float(regression.intercept_[0])
    scaled = scale * logits.double()

    def excess(level: float) -> float:
        return float((weights * torch.sigmoid(scaled + level)).sum()) - accepted

    reach = 50 + float(scaled.abs().max())
    return scale, brentq(excess, -reach, reach)


def build_model(
    sequences: Sequences, *, apart: bool = True, parts: str = "both", seed: int = 0, **backbone
) -> Acceptance:
    """Return an untrained model for both phases of `sequences`; see `Acceptance` and `build_backbone`."""
    positions = sequences.items.shape[1]
    encoder = build_backbone(sequences, positions=positions, seed=seed, **backbone)
    genres = sequences.genres.cpu() if sequences.genres.shape[1] else None
    with seeded(seed):
        model = Acceptance(encoder, genres=genres, apart=apart, parts=parts)
    return model.to(sequences.self_items.device)


def fit_acceptance(
    model: Acceptance,
    loss: Callable[[Acceptance, Tensor], Tensor],
    validate: Callable[[Acceptance], float],
    rows: Tensor,
    *,
    training: Training,
    label: str,
    checkpoint: str | Path | None = None,
) -> pd.DataFrame:
    """Train a model's parts: of both, the user state alone first, then all with what the encoder adds.

    A second stage that comes to no better validation loss than the first is undone. Arguments are those of
    `csrec_core.models.train.fit`, with the model to read as a loss's first, and so is the result, with the
    `stage` of each pass.
    """
    path = None if checkpoint is None else Path(checkpoint)
    stages = []
    if "user state" in model.parts:
        part = model.restricted("user state")
        few = replace(
            training, rate=STATE_RATE, batch=max(STATE_BATCH, training.batch), average=STATE_AVERAGE
        )
        few = replace(few, epochs=STATE_PASSES * few.epochs, patience=STATE_PATIENCE * few.patience)
        state, name = path and path.with_suffix(".state.safetensors"), f"{label}, user state"
        calls = partial(loss, part), partial(validate, part)
        first = fit(part, *calls, rows, training=few, label=name, checkpoint=state)
        stages.append(first.assign(stage="user state"))
    if "encoder" in model.parts:
        calls = partial(loss, model), partial(validate, model)
        start = stages[0]["validation"].min() if stages else math.inf
        then = fit(model, *calls, rows, training=training, label=label, start=start, checkpoint=path)
        stages.append(then.assign(stage="encoder"))
    model.eval()  # as its parts are
    return pd.concat(stages, ignore_index=True)
