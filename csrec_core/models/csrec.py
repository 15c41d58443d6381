"""f: CSRec, the acceptance of what the system exposes, tied to f~ by the recursion (Eq. 8 and 9).

With r_t = f~(D_t | S_t, D_{t-1} = 1, P_t) f_{t-1} + f~(D_t | S_t, D_{t-1} = 0, P_t) (1 - f_{t-1}) the loss of
an exposure is BCE(D_t, f_t) + penalty * c(f_t - r_t), where c is the square or, as Eq. 9 is printed, the
absolute value (`CONSTRAINTS`). Where the decisions of a user are hidden from f, r_t is the recursion above;
where f sees them, D_{t-1} is known, and r_t is the branch of f~ that it picks. Hiding them from some users of
each batch gives both estimands by one network (`HIDES_DECISIONS`): the filtered one, P(D_t | do(S_{1:t}), H_{t-1}),
and the marginal one, P(D_t | do(S_{1:t}), P_{1:t}).

The penalty is the hypothesis TER = 0: squared, it shrinks f - f~ by about 1 / (1 + 2 penalty f (1 - f));
unsquared, it makes it 0 once penalty * f (1 - f) exceeds it.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.errors import InputError, unknown
from csrec_core.models.acceptance import Acceptance, build_model, fit_acceptance
from csrec_core.models.cold import score_by_features
from csrec_core.models.preference import PREFIXES, Readouts, sample_positions
from csrec_core.models.ranking import READ_USERS
from csrec_core.models.sequences import Sequences
from csrec_core.models.train import Training, hold_out, mean_loss

CONSTRAINTS = {
    "squared": "(f_t - r_t)^2, both branches of f~",
    "absolute": "|f_t - r_t|, both branches of f~",
    "printed": "Eq. 9 to the letter: |f_t - f~_1 f_{t-1}|, without the branch of a rejected exposure",
}
#: Whether the decisions of users are hidden from f, of each side that it is fitted and validated from.
HIDES_DECISIONS = {"both": (False, True), "filtered": (False,), "marginal": (True,)}


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
        for name, valid in (("estimand", HIDES_DECISIONS), ("constraint", CONSTRAINTS)):
            if getattr(self, name) not in valid:
                raise unknown(name, getattr(self, name), valid)
        if not self.penalty >= 0:
            raise InputError(f"penalty = {self.penalty}; expected a number of at least 0")

    def hide(self, rows: Tensor) -> Tensor:
        """Draw the users of a batch (B,) whose decisions are hidden, (B,) bool."""
        sides = HIDES_DECISIONS[self.estimand]
        return torch.rand((len(rows),), device=rows.device) < sum(sides) / len(sides)

    def sides(self, rows: Tensor) -> list[Tensor]:
        """Return, of each side, from which of the users (B,) decisions are hidden: all of them or none."""
        return [torch.full_like(rows, side, dtype=torch.bool) for side in HIDES_DECISIONS[self.estimand]]


def recursion(probability: Tensor, readouts: Readouts, *, constraint: str = "squared") -> Tensor:
    """Return the right side of Theorem 3.1 for f = `probability` (B, T); the first column is f~'s own.

    `constraint="printed"` leaves out the branch of a rejected exposure, as Eq. 9 does.
    """
    before = probability[:, :-1]
    later = readouts.after_accept[:, 1:] * before
    if constraint != "printed":
        later = later + readouts.after_reject[:, 1:] * (1 - before)
    return torch.cat([readouts.filtered[:, :1], later], dim=1)


def csrec_loss(
    logits: Tensor, decisions: Tensor, real: Tensor, hidden: Tensor, readouts: Readouts, objective: Objective
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
        Users whose decisions f did not see: f_t is drawn to the recursion, of the others to f~ itself.
    readouts : Readouts
        Of the same users.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    fit_term = F.binary_cross_entropy_with_logits(logits, decisions.to(logits.dtype), reduction="none")
    probability = torch.sigmoid(logits)
    chained = recursion(probability, readouts, constraint=objective.constraint)
    apart = probability - torch.where(hidden[:, None], chained, readouts.filtered)
    distance = apart**2 if objective.constraint == "squared" else apart.abs()
    return (fit_term + objective.penalty * distance)[real].mean()


def split_exposures(
    sequences: Sequences, rows: Tensor, learn: Tensor | None, held: Tensor | None, *, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return which of the users `rows` to train on and to stop on, and at which exposures (U, T) of theirs.

    Without `learn`, at all; without `held`, a tenth of the users stops the training. See `train_csrec`.
    """
    exposed = sequences.system_items > 0
    learn = exposed if learn is None else learn & exposed
    stopping = rows
    if held is None:
        stopping, rows = hold_out(rows[exposed[rows].any(dim=1)], seed=seed)
    held = learn if held is None else held & exposed
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
    learn: Tensor | None = None,
    held: Tensor | None = None,
    start: Acceptance | None = None,
    checkpoint: str | Path | None = None,
    **model,
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
    learn, held : Tensor (U, T) bool, optional
        Exposures to learn from and to stop training on; decisions of earlier exposures are input in either
        case. Without `learn`, all; without `held`, a tenth of the users stops the training, on Eq. (9).
    start : Acceptance, optional
        Model whose weights f starts from, such as f~.
    checkpoint : path, optional
        See `csrec_core.models.train.fit`.
    **model
        Of `csrec_core.models.acceptance.build_model`: the backbone and its hyperparameters, `parts`.
    """
    rows, stopping, learn, held = split_exposures(sequences, rows, learn, held, seed=training.seed)
    f = build_model(sequences, seed=training.seed, **model)
    if start is not None:
        training = replace(training, patience=-(-training.patience // 2))  # near its end from the start
        own = ("calibration", "apart")
        learned = {name: value for name, value in start.state_dict().items() if name not in own}
        f.load_state_dict(learned, strict=False)
    batches = sequences.everyone.split(READ_USERS)
    numbers = torch.stack(
        [
            torch.cat([f.describe_exposed(sequences.window(batch, hidden)) for batch in batches])
            for hidden in (False, True)
        ]
    )
    fit = _Fit(sequences, readouts, numbers, objective, learn, held, stopping)
    calls, label = (fit.step, fit.validate), f"f, penalty {objective.penalty:g}"
    history = fit_acceptance(f, *calls, rows, training=training, label=label, checkpoint=checkpoint)
    shown = sequences.system_items[rows][learn[rows]]
    score_by_features(sequences, shown, f.appeal.weight)
    if start is None:  # else the embeddings are those of f~
        seen = torch.cat([shown, sequences.self_items[rows].flatten()])
        score_by_features(sequences, seen, f.backbone.item.weight)
    return f, history


@dataclass(frozen=True, eq=False)
class _Fit:
    """Eq. (9) on the exposures (U, T) to `learn` from, and on those `held` out of the users `stopping`.

    The `numbers` (2, U, T, ...) of all exposures hang on no weight, and are described once.
    """

    sequences: Sequences
    readouts: Readouts
    numbers: Tensor
    objective: Objective
    learn: Tensor
    held: Tensor
    stopping: Tensor

    def loss(self, model: Acceptance, batch: Tensor, hidden: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of the users `batch` at the exposures `wanted`."""
        # The recursion of a hidden user needs f_{t-1}: the exposure before is read, too.
        read = wanted | (F.pad(wanted[:, 1:], (0, 1)) & hidden[:, None])
        window, numbers = self.sequences.window(batch, hidden), self.numbers[hidden.long(), batch]
        logits = model.logits(window, users=batch, numbers=numbers, wanted=read)
        known = self.sequences.system_decisions[batch], wanted, hidden, self.readouts.take(batch)
        return csrec_loss(logits, *known, self.objective)

    def from_sides(self, model: Acceptance, wanted: Tensor, batch: Tensor) -> Tensor:
        """Return the mean loss over the sides, each of which sees every user of the batch."""
        sides = self.objective.sides(batch)
        every = batch.repeat(len(sides))
        return self.loss(model, every, torch.cat(sides), wanted[every])

    def step(self, model: Acceptance, batch: Tensor) -> Tensor:
        """Return the loss of a training step."""
        if "encoder" not in model.parts:  # cheap enough to see every user from each side
            return self.from_sides(model, self.learn, batch)
        hidden, wanted = self.objective.hide(batch), self.learn[batch]
        if not model.backbone.causal:
            wanted = sample_positions(wanted, PREFIXES)
        return self.loss(model, batch, hidden, wanted)

    def validate(self, model: Acceptance) -> float:
        """Return the mean loss at what is held out."""
        return mean_loss(partial(self.from_sides, model, self.held), self.stopping, READ_USERS)


@torch.no_grad()
def predict_csrec(
    model: Acceptance, sequences: Sequences, rows: Tensor, *, wanted: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return f of the users `rows` at every system exposure, filtered and marginal, (n, T) each.

    With `wanted` (U, T) bool, exposures outside of it may be left out and read 0.5: a backbone that looks
    ahead has that much less to do.
    """
    found = []
    for batch in rows.split(READ_USERS):
        read = None if wanted is None else wanted[batch]
        sides = (sequences.window(batch, hidden) for hidden in (False, True))
        logits = [model.logits(window, users=batch, wanted=read) for window in sides]
        found.append(torch.sigmoid(torch.stack(logits)))
    filtered, marginal = torch.cat(found, dim=1)
    return filtered, marginal
