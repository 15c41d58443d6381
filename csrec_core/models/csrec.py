"""f: CSRec, the acceptance of what the system exposes, tied to f~ by the recursion (Eq. 8 and 9).

With r_t = f~(D_t | S_t, D_{t-1} = 1, P_t) f_{t-1} + f~(D_t | S_t, D_{t-1} = 0, P_t) (1 - f_{t-1}) the loss of
an exposure is BCE(D_t, f_t) + penalty * c(f_t - r_t), where c is the square or, as Eq. 9 is printed, the
absolute value (`CONSTRAINTS`). Where the decisions of a user are hidden from f, r_t is the recursion above;
where f sees them, D_{t-1} is known, and r_t is the branch of f~ that it picks. Hiding them from some users of
each batch gives both estimands by one network (`ESTIMANDS`): the filtered one, P(D_t | do(S_{1:t}), H_{t-1}),
and the marginal one, P(D_t | do(S_{1:t}), P_{1:t}).

The penalty is the hypothesis TER = 0: squared, it shrinks f - f~ by about 1 / (1 + 2 penalty f (1 - f));
unsquared, it makes it 0 once penalty * f (1 - f) exceeds it.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.errors import InputError, unknown
from csrec_core.models.acceptance import Acceptance, build_model, fit_acceptance
from csrec_core.models.cold import cold_items, scored_by_features
from csrec_core.models.preference import PREFIXES, Readouts, sample_positions
from csrec_core.models.ranking import READ_BATCH
from csrec_core.models.sequences import Sequences
from csrec_core.models.train import Training, batches

__all__ = [
    "CONSTRAINTS",
    "ESTIMANDS",
    "Objective",
    "constraint_target",
    "csrec_loss",
    "hold_out_users",
    "predict_csrec",
    "recursion",
    "train_csrec",
]

CONSTRAINTS = {
    "squared": "(f_t - r_t)^2, both branches of f~",
    "absolute": "|f_t - r_t|, both branches of f~",
    "printed": "Eq. 9 to the letter: |f_t - f~_1 f_{t-1}|, without the branch of a rejected exposure",
}
ESTIMANDS = {"both": 0.5, "filtered": 0.0, "marginal": 1.0}  # users of a batch whose decisions are hidden


def recursion(probability: Tensor, readouts: Readouts, *, constraint: str = "squared") -> Tensor:
    """Return the right side of Theorem 3.1 for f = `probability` (B, T); the first column is f~'s own.

    `constraint="printed"` leaves out the branch of a rejected exposure, as Eq. 9 does.
    """
    before = probability[:, :-1]
    later = readouts.after_accept[:, 1:] * before
    if constraint != "printed":
        later = later + readouts.after_reject[:, 1:] * (1 - before)
    return torch.cat([readouts.filtered[:, :1], later], dim=1)


def constraint_target(
    probability: Tensor, hidden: Tensor, readouts: Readouts, *, constraint: str = "squared"
) -> Tensor:
    """Return r_t, what f_t is drawn to, (B, T): the recursion for `hidden` users, f~ itself for the rest."""
    chained = recursion(probability, readouts, constraint=constraint)
    return torch.where(hidden[:, None], chained, readouts.filtered)


def csrec_loss(
    logits: Tensor,
    decisions: Tensor,
    real: Tensor,
    hidden: Tensor,
    readouts: Readouts,
    penalty: float,
    *,
    constraint: str = "squared",
) -> Tensor:
    """Return Eq. (9), mean over the exposures that are `real`.

    Parameters
    ----------
    logits : Tensor (B, T)
        Of f.
    decisions : Tensor (B, T)
        In {0, 1}.
    real : Tensor (B, T) bool
        Exposures to learn from, as opposed to padding and what is held out.
    hidden : Tensor (B,) bool
        Users whose decisions f did not see.
    readouts : Readouts
        Of the same users.
    penalty : float
        Weight of the constraint, at least 0.
    constraint : {"squared", "absolute", "printed"}
        See `CONSTRAINTS`.
    """
    if constraint not in CONSTRAINTS:
        raise unknown("constraint", constraint, CONSTRAINTS)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    fit_term = F.binary_cross_entropy_with_logits(logits, decisions.to(logits.dtype), reduction="none")
    probability = torch.sigmoid(logits)
    apart = probability - constraint_target(probability, hidden, readouts, constraint=constraint)
    distance = apart**2 if constraint == "squared" else apart.abs()
    return (fit_term + penalty * distance)[real].mean()


def hold_out_users(sequences: Sequences, rows: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Deal the users `rows` that the system exposed items to: those to learn from, and a tenth to stop on."""
    rows = rows[(sequences.system_items[rows] > 0).any(dim=1)]
    generator = torch.Generator().manual_seed(seed)
    shuffled = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    stopping, rows = shuffled.tensor_split([max(1, len(rows) // 10)])
    return rows, stopping


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What f is fitted to: Eq. (9), from the sides that an estimand asks for.

    Attributes
    ----------
    penalty : float
        Weight of the constraint, at least 0; 0 leaves it out.
    constraint : {"squared", "absolute", "printed"}
        Its form; see `CONSTRAINTS`.
    estimand : {"both", "filtered", "marginal"}
        Whether f sees the earlier decisions of the system phase: for half of the users of a batch, for all,
        for none.
    """

    penalty: float = 1.0
    constraint: str = "squared"
    estimand: str = "both"

    def __post_init__(self):
        if self.estimand not in ESTIMANDS:
            raise unknown("estimand", self.estimand, ESTIMANDS)
        if self.constraint not in CONSTRAINTS:
            raise unknown("constraint", self.constraint, CONSTRAINTS)
        if not self.penalty >= 0:
            raise InputError(f"penalty = {self.penalty}; expected a number of at least 0")

    def hide(self, rows: Tensor) -> Tensor:
        """Draw the users of a batch (B,) whose decisions are hidden, (B,) bool."""
        return torch.rand((len(rows),), device=rows.device) < ESTIMANDS[self.estimand]

    @property
    def sides(self) -> tuple[bool, ...]:
        """Whether decisions are hidden, of each side that f is validated from."""
        return {"both": (False, True), "filtered": (False,), "marginal": (True,)}[self.estimand]


@dataclass(frozen=True, eq=False)
class _Fit:
    """Eq. (9) of a model on the exposures (U, T) to `learn` from and those `held` out to stop on."""

    model: Acceptance
    sequences: Sequences
    readouts: Readouts
    objective: Objective
    learn: Tensor
    held: Tensor

    def loss(self, batch: Tensor, hidden: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of the users `batch` at the exposures `wanted`."""
        sequences = self.sequences
        decisions = sequences.decisions[batch].where(~hidden[:, None], sequences.masked_decisions[batch])
        return csrec_loss(
            _system_logits(self.model, sequences, batch, decisions, _with_previous(wanted, hidden)),
            sequences.system_decisions[batch],
            wanted,
            hidden,
            self.readouts.take(batch),
            self.objective.penalty,
            constraint=self.objective.constraint,
        )

    def from_sides(self, batch: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean loss over the sides, each of which sees every user of the batch."""
        sides = [torch.full_like(batch, side, dtype=torch.bool) for side in self.objective.sides]
        return sum(self.loss(batch, hidden, wanted) for hidden in sides) / len(sides)

    def step(self, batch: Tensor) -> Tensor:
        """Return the loss of a training step."""
        wanted = self.learn[batch]
        if "encoder" not in self.model.parts:  # cheap enough to see every user from each side
            return self.from_sides(batch, wanted)
        hidden = self.objective.hide(batch)
        if not self.model.backbone.causal:
            wanted = sample_positions(wanted, PREFIXES)
        return self.loss(batch, hidden, wanted)

    def validate(self, rows: Tensor) -> float:
        """Return the mean loss of the users `rows` at what is held out."""
        parts = batches(rows, READ_BATCH)
        return sum(self.from_sides(part, self.held[part]).item() * len(part) for part in parts) / len(rows)


def _split(
    sequences: Sequences, rows: Tensor, learn: Tensor | None, held: Tensor | None, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return users to train on and to stop on, and of the exposures (U, T) those to learn from and held."""
    exposed = sequences.system_items > 0
    learn = exposed if learn is None else learn & exposed
    if held is None:
        (rows, stopping), held = hold_out_users(sequences, rows, seed=seed), learn
    else:
        stopping, held = rows, held & exposed
    rows, stopping = (users[mask[users].any(dim=1)] for users, mask in ((rows, learn), (stopping, held)))
    if not len(rows) or not len(stopping):
        raise InputError("no system exposure is left to learn from, or none to stop training on")
    return rows, stopping, learn, held


def train_csrec(
    sequences: Sequences,
    readouts: Readouts,
    rows: Tensor,
    objective: Objective,
    *,
    training: Training,
    backbone: str = "sasrec",
    parts: str = "both",
    learn: Tensor | None = None,
    held: Tensor | None = None,
    start: Acceptance | None = None,
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[Acceptance, pd.DataFrame]:
    """Train f on the system exposures of the users `rows`.

    An exposure is read after all that came before it, of both sources, and after nothing else. Items that the
    system rarely exposed are scored by their features (`csrec_core.models.cold`).

    A causal backbone reads every position in one pass. One that looks ahead reads each prefix as a window of
    its own, and a step asks it for `PREFIXES` exposures a user, with the one before each where the recursion
    needs its f_{t-1}.

    Parameters
    ----------
    rows : Tensor (n,) int64
        Users, as rows of `sequences`.
    parts : {"both", "encoder", "user state"}
        What f is made of; see `csrec_core.models.acceptance.PARTS`.
    learn, held : Tensor (U, T) bool, optional
        Exposures to learn from and to stop training on; decisions of earlier exposures are input in either
        case. Without `learn`, all; without `held`, a tenth of the users stops the training, on Eq. (9).
    start : Acceptance, optional
        Model whose weights f starts from, such as f~.
    checkpoint : path, optional
        See `csrec_core.models.train.fit`.
    """
    rows, stopping, learn, held = _split(sequences, rows, learn, held, training.seed)
    model = build_model(sequences, backbone=backbone, seed=training.seed, **hyper)
    if start is not None:
        learned = start.state_dict()
        for own in ("calibration", "apart"):
            del learned[own]
        model.load_state_dict(learned, strict=False)
    fit = _Fit(model, sequences, readouts, objective, learn, held)
    shown = sequences.system_items[rows][learn[rows]]
    seen = torch.cat([shown, sequences.self_items[rows].flatten()])
    drawn = [model.backbone.item.weight] if start is None else []  # else the embeddings are those of f~
    label = f"f, penalty {objective.penalty:g}"
    with (
        scored_by_features(sequences, cold_items(sequences, shown), model.appeal.weight),
        scored_by_features(sequences, cold_items(sequences, seen), *drawn),
    ):
        history = fit_acceptance(
            model,
            fit.step,
            lambda: fit.validate(stopping),
            rows,
            training=training,
            parts=parts,
            label=label,
            checkpoint=checkpoint,
        )
    return model, history


@torch.no_grad()
def predict_csrec(
    model: Acceptance, sequences: Sequences, rows: Tensor, *, wanted: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return f of the users `rows` at every system exposure, filtered and marginal, (n, T) each.

    With `wanted` (U, T) bool, exposures outside of it may be left out and read 0.5: a backbone that looks
    ahead has that much less to do.
    """
    filtered, marginal = [], []
    for batch in rows.split(READ_BATCH):
        for probability, decisions in (
            (filtered, sequences.decisions),
            (marginal, sequences.masked_decisions),
        ):
            asked = None if wanted is None else wanted[batch]
            logits = _system_logits(model, sequences, batch, decisions[batch], asked)
            probability.append(torch.sigmoid(logits))
    return torch.cat(filtered), torch.cat(marginal)


def _system_logits(
    model: Acceptance, sequences: Sequences, rows: Tensor, decisions: Tensor, wanted: Tensor | None = None
) -> Tensor:
    """Return logits (n, T); a backbone that reads prefix by prefix leaves 0 where they are not `wanted`."""
    exposed, window = sequences.system_items[rows], sequences.window(rows, decisions)
    read = window.items, window.decisions
    if wanted is None or model.backbone.causal or "encoder" not in model.parts:
        logits = model.logits(*read, own=window.own, first=window.first, users=rows)
        return window.exposed(logits)
    marked = window.mark(wanted)
    states = model.backbone.encode_at(read[0], marked, read[1], users=rows)
    numbers = model.describe(*read, own=window.own)[marked]
    logits = model(states, exposed[wanted], numbers)
    return logits.new_zeros(exposed.shape).masked_scatter(wanted, logits)


def _with_previous(wanted: Tensor, hidden: Tensor) -> Tensor:
    """Return `wanted` (B, T) and, for `hidden` users, the exposure before each, for its f_{t-1}."""
    before = F.pad(wanted[:, 1:], (0, 1)) & hidden[:, None]
    return wanted | before
