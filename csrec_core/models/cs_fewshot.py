"""CS-Few-Shot: CSRec (Eq. 8 and 9) over Few-Shot, on the second halves of sessions.

f~ is a Few-Shot network that learns from the tracks that the listener chose (`self`), f one that learns from
those that the system did, tied to f~ by Eq. 9 (`csrec_core.models.csrec.csrec_loss`). Beside what Few-Shot
reads, either may read decisions of the second half. With all earlier ones it is the filtered estimand,
P(D_t | do(S_{1:t}), H_{t-1}); with none, as in the challenge, the marginal one,
P(D_t | do(S_{1:t}), P_{1:t}), the first half being what is known of P. Both are exact with `norm="causal"`
alone: the published norm sees the tracks after t as well.

The recursion of Theorem 3.1 goes from a slot by the system to the next. Where the slot before is none, its
decision is known (the first half), or f says nothing of it: there r_t is f~ itself, that decision as it is
known to who sees the first half alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from csrec_core.data.mssd.slots import Sessions
from csrec_core.models.csrec import Objective, csrec_loss
from csrec_core.models.fewshot import FewShot, Slots, build_fewshot, calibrate, fit_sessions, predict_skips
from csrec_core.models.preference import Readouts, chain
from csrec_core.models.train import Training


@torch.no_grad()
def read_branches(model: FewShot, sessions: Sessions) -> Readouts:
    """Read the frozen f~ at every slot of the second half; see `csrec_core.models.preference.Readouts`.

    Where the slot before is no slot by the system of the second half, both branches are f~ with the
    decisions of the first half alone. Nothing is ranked: `rank` is NaN.
    """
    slots = Slots.of(sessions, model.calibration.device)
    nothing = torch.zeros_like(slots.given)
    filtered, first_half = (torch.sigmoid(slots.logits(model, decided)) for decided in (~nothing, nothing))
    reject, accept = first_half.clone(), first_half.clone()
    chained = slots.chained
    for slot in chained.any(dim=0).nonzero()[:, 0].tolist():
        rows = chained[:, slot].nonzero()[:, 0]
        part, decided = slots.take(rows), nothing[rows]
        decided[:, slot - 1] = True
        for decision, branch in enumerate((reject, accept)):
            part.accepted[:, slot - 1] = decision  # `take` copies
            branch[rows, slot] = torch.sigmoid(part.logits(model, decided))[:, slot]
    return Readouts(filtered, reject, accept, chain(reject, accept), torch.full_like(filtered, torch.nan))


def cs_fewshot_loss(
    model: FewShot, slots: Slots, readouts: Readouts, hidden: Tensor, objective: Objective
) -> Tensor:
    """Return Eq. (9) over the slots by the system of second halves, of which `hidden` (S,) bool read no decision."""
    logits = slots.logits(model, ~hidden[:, None].expand_as(slots.given))
    return csrec_loss(logits, slots.accepted, slots.exposed, hidden, readouts, objective)


def train_cs_fewshot(
    sessions: Sessions,
    readouts: Readouts,
    objective: Objective,
    *,
    training: Training,
    start: FewShot | None = None,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    **size,
) -> tuple[FewShot, pd.DataFrame]:
    """Train f on the system's tracks of second halves, and calibrate it on held-out sessions.

    The decisions of the second half are hidden from f where the objective says so. The readouts are of f~ for the
    same sessions (`read_branches`); f starts from the weights of `start`, such as f~; `size` is of `FewShot`. Training
    goes on from the file `checkpoint`, if there is one, and keeps its state there (`csrec_core.models.train.fit`).
    """
    model, slots = build_fewshot(sessions, training.seed, device, **size)
    if start is not None:
        model.load_state_dict(start.state_dict() | {"calibration": model.calibration})

    def loss(batch: Tensor, hidden: Tensor) -> Tensor:
        return cs_fewshot_loss(model, slots.take(batch), readouts.take(batch), hidden, objective)

    label = f"f, CS-Few-Shot, penalty {objective.penalty:g}"
    call: dict[str, Any] = {"training": training, "label": label, "checkpoint": checkpoint}
    history, stopping = fit_sessions(model, slots.exposed, loss, objective.hide, objective.sides, **call)
    calibrate(model, slots.take(stopping), slots.exposed[stopping])
    return model, history


def predict_cs_fewshot(model: FewShot, sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of acceptance of each slot, filtered and marginal, (S, 20); NaN in first halves.

    What f says of slots that are not by the system is what it would be, were they.
    """
    filtered, marginal = (predict_skips(model, sessions, decided=decided) for decided in (True, False))
    return filtered.astype(np.float32), marginal.astype(np.float32)
