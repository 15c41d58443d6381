"""f: CSRec, the acceptance of what the system exposes, tied to f~ by the recursion (Eq. 8 and 9).

With r_t = f~(D_t | S_t, D_{t-1} = 1, P_t) f_{t-1} + f~(D_t | S_t, D_{t-1} = 0, P_t) (1 - f_{t-1}) the loss of
an exposure is BCE(D_t, f_t) + penalty * (f_t - r_t)^2. Half of the users of a batch have their decisions
hidden, and the recursion above; the others keep them, D_{t-1} is then known, and r_t is the branch of f~
that it picks. So one network gives both estimands: the filtered one, P(D_t | do(S_{1:t}), H_{t-1}), and
the marginal one, P(D_t | do(S_{1:t}), P_{1:t}).

The penalty is the hypothesis TER = 0: it shrinks f - f~ by about 1 / (1 + 2 penalty f (1 - f)).
"""

from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.acceptance import Acceptance, build_model
from csrec_core.preference import Readouts
from csrec_core.ranking import READ_BATCH
from csrec_core.sequences import Sequences
from csrec_core.train import Training, batches, fit

__all__ = ["csrec_loss", "predict_csrec", "recursion", "train_csrec"]

HIDDEN_SHARE = 0.5  # users of a batch whose decisions in the system phase are hidden


def recursion(probability: Tensor, readouts: Readouts) -> Tensor:
    """Return the right side of Theorem 3.1 for f = `probability` (B, T); the first column is f~'s own."""
    before = probability[:, :-1]
    later = readouts.after_accept[:, 1:] * before + readouts.after_reject[:, 1:] * (1 - before)
    return torch.cat([readouts.filtered[:, :1], later], dim=1)


def csrec_loss(
    logits: Tensor, decisions: Tensor, real: Tensor, hidden: Tensor, readouts: Readouts, penalty: float
) -> Tensor:
    """Return Eq. (9), mean over the exposures that are `real`.

    Parameters
    ----------
    logits : Tensor (B, T)
        Of f.
    decisions : Tensor (B, T)
        In {0, 1}.
    real : Tensor (B, T) bool
        Exposures, as opposed to padding.
    hidden : Tensor (B,) bool
        Users whose decisions f did not see.
    readouts : Readouts
        Of the same users.
    penalty : float
        Weight of the constraint, at least 0.
    """
    fit_term = F.binary_cross_entropy_with_logits(logits, decisions.float(), reduction="none")
    probability = torch.sigmoid(logits)
    expected = torch.where(hidden[:, None], recursion(probability, readouts), readouts.filtered)
    return (fit_term + penalty * (probability - expected) ** 2)[real].mean()


def train_csrec(
    sequences: Sequences,
    readouts: Readouts,
    rows: Tensor,
    *,
    penalty: float,
    training: Training,
    backbone: str = "sasrec",
    start: Acceptance | None = None,
    checkpoint: str | Path | None = None,
    **hyper,
) -> tuple[Acceptance, pd.DataFrame]:
    """Train f on the system exposures of the users `rows`, every position in one pass.

    A tenth of the users is held out for early stopping, on Eq. (9) itself.

    Parameters
    ----------
    rows : Tensor (n,) int64
        Users, as rows of `sequences`.
    penalty : float
        Weight of the constraint of Eq. (9); 0 leaves it out.
    start : Acceptance, optional
        Model whose weights f starts from, such as f~.
    checkpoint : path, optional
        See `csrec_core.train.fit`.
    """
    model = build_model(sequences, backbone=backbone, seed=training.seed, **hyper)
    if start is not None:
        model.load_state_dict(start.state_dict())
        model.calibration.copy_(torch.tensor([1.0, 0.0]))
    generator = torch.Generator().manual_seed(training.seed)
    shuffled = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    held, learn = shuffled.tensor_split([max(1, len(rows) // 10)])

    def loss(batch: Tensor, hidden: Tensor) -> Tensor:
        decisions = sequences.decisions[batch].where(~hidden[:, None], sequences.masked_decisions[batch])
        return csrec_loss(
            _system_logits(model, sequences, batch, decisions),
            sequences.system_decisions[batch],
            sequences.system_items[batch] > 0,
            hidden,
            _select(readouts, batch),
            penalty,
        )

    def train_loss(batch: Tensor) -> Tensor:
        return loss(batch, torch.rand(len(batch), device=batch.device) < HIDDEN_SHARE)

    def validate() -> float:
        total = 0.0
        for batch in batches(held, READ_BATCH):
            for hidden in (
                torch.zeros_like(batch, dtype=torch.bool),
                torch.ones_like(batch, dtype=torch.bool),
            ):
                total += loss(batch, hidden).item() * len(batch) / 2
        return total / len(held)

    history = fit(
        model,
        train_loss,
        validate,
        learn,
        training=training,
        label=f"f, penalty {penalty:g}",
        checkpoint=checkpoint,
    )
    return model, history


@torch.no_grad()
def predict_csrec(model: Acceptance, sequences: Sequences, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return f of the users `rows` at every system exposure, filtered and marginal, (n, T) each."""
    filtered, marginal = [], []
    for batch in rows.split(READ_BATCH):
        for probability, decisions in (
            (filtered, sequences.decisions),
            (marginal, sequences.masked_decisions),
        ):
            probability.append(torch.sigmoid(_system_logits(model, sequences, batch, decisions[batch])))
    return torch.cat(filtered), torch.cat(marginal)


def _system_logits(model: Acceptance, sequences: Sequences, rows: Tensor, decisions: Tensor) -> Tensor:
    exposed = sequences.system_items[rows]
    first = decisions.shape[1] - exposed.shape[1]
    states = model.backbone.encode(sequences.items[rows], decisions, users=rows, first=first)
    return model(states[:, :-1], exposed)


def _select(readouts: Readouts, rows: Tensor) -> Readouts:
    return Readouts(**{name: values[rows] for name, values in vars(readouts).items()})
