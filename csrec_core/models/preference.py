"""f~: what the user's own choices say about acceptance (Eq. 7), and its readouts at system exposures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.errors import InputError
from csrec_core.models.acceptance import Acceptance, build_model, fit_acceptance
from csrec_core.models.backbones.encoder import ACCEPT, REJECT, UNKNOWN
from csrec_core.models.cold import score_by_features
from csrec_core.models.losses import softmax
from csrec_core.models.ranking import HELD_OUT, READ_USERS, leave_one_out
from csrec_core.models.sequences import Sequences, Window
from csrec_core.models.train import Training, fit, load_weights, mean_loss, save_weights, seeded

NEXT_ITEM = 0.2  # weight of the cross-entropy of next items while decisions are learned
SHIFTED = 0.5  # share of the users of a batch whose windows are moved to later positions
FORGET = 0.5  # share of them whose decisions after a random point are hidden
PREFIXES = 4  # positions of a user that a step asks for, where each is a window of its own


@dataclass(frozen=True, eq=False)
class Readouts:
    """What the frozen f~ says of every system exposure, (U, T) each, computed once.

    Attributes
    ----------
    filtered : Tensor
        P(D_t | S_t, H_{t-1}): the earlier decisions as they fell.
    after_reject, after_accept : Tensor
        P(D_t | S_t, D_{t-1} = 0 or 1, P_t): the decisions before t - 1 in the system phase unknown.
    marginal : Tensor
        The recursion of Theorem 3.1 with f~ itself in both places: f under the hypothesis TER = 0.
    rank : Tensor
        Rank share of S_t in the catalogue by next-item score, in (0, 1]; small is liked (for Eq. 20).
    """

    filtered: Tensor
    after_reject: Tensor
    after_accept: Tensor
    marginal: Tensor
    rank: Tensor

    def take(self, rows: Tensor) -> "Readouts":
        """Return those of some users."""
        return Readouts(**{name: values[rows] for name, values in vars(self).items()})


def chain(after_reject: Tensor, after_accept: Tensor) -> Tensor:
    """Return `Readouts.marginal` (U, T) from its branches, which agree at the first exposure."""
    marginal = after_reject.clone()
    for t in range(1, marginal.shape[1]):
        before = marginal[:, t - 1]
        marginal[:, t] = after_accept[:, t] * before + after_reject[:, t] * (1 - before)
    return marginal


def train_preference(
    sequences: Sequences, *, training: Training, checkpoint: str | Path | None = None, **model
) -> tuple[Acceptance, pd.DataFrame]:
    """Train f~ on self-chosen rows, every position in one pass, and calibrate it on held-out rows.

    The backbone learns the next accepted item, by cross-entropy over the whole catalogue. Then what the user did
    so far is fitted to the decisions, by binary cross-entropy weighted by inverse propensity where the log knows
    it, and all weights with it: `NEXT_ITEM` of the first loss keeps what the backbone knows of next items, and
    where held-out decisions are not predicted better, the backbone stays as it was. Where
    the phase holds accepted items only, one uniform negative for each item stands for the rejections, and the
    level of f~ means nothing. Items with few rows are scored by their features (`csrec_core.models.cold`).

    Parameters
    ----------
    checkpoint : path, optional
        See `csrec_core.models.train.fit`.
    **model
        Of `csrec_core.models.acceptance.build_model`: the backbone and its hyperparameters.

    Returns
    -------
    model : Acceptance
        Frozen, in evaluation mode.
    history : DataFrame
        See `csrec_core.models.train.fit`; `stage` is "next item", "user state" or "encoder".
    """
    f = build_model(sequences, apart=False, seed=training.seed, **model)
    learn, held = _split(sequences)
    losses = _PreferenceFit(sequences, learn, held, training.seed)
    rows = sequences.everyone[learn.any(dim=1)]
    first_file = None if checkpoint is None else Path(checkpoint).with_suffix(".next.safetensors")
    first = _read_stage(f, first_file)
    if first is None:
        calls = partial(losses.step, _next_item_loss, f), partial(losses.validate, _next_item_loss, f)
        first = fit(f, *calls, rows, training=training, label="f~, next item", checkpoint=checkpoint)
        if first_file is not None:
            save_weights(f, first_file, curve=first.to_dict("list"))
    both = partial(_decision_loss, next_item=NEXT_ITEM)
    steps = partial(losses.step, both), partial(losses.validate, _decision_loss)
    then = fit_acceptance(f, *steps, rows, training=training, label="f~", checkpoint=checkpoint)
    own = f.backbone.item.weight, f.backbone.bias, f.appeal.weight
    score_by_features(sequences, sequences.self_items[learn], *own)
    if first_file is not None:
        first_file.unlink(missing_ok=True)
    if not sequences.accepted_only:
        _calibrate(f, sequences, held)
    return f.requires_grad_(False), pd.concat([first.assign(stage="next item"), then], ignore_index=True)


def _read_stage(model: Acceptance, path: Path | None) -> pd.DataFrame | None:
    """Return the curve of the first stage, its weights read into the model; None where none is on disk whole."""
    try:
        return None if path is None else pd.DataFrame(load_weights(model, path)["curve"])
    except InputError:
        return None


@dataclass(frozen=True, eq=False)
class _PreferenceFit:
    """The losses of f~ on self-chosen rows (U, L): those to `learn` from, those `held` out."""

    sequences: Sequences
    learn: Tensor
    held: Tensor
    seed: int

    def step(self, loss: Callable[..., Tensor], model: Acceptance, rows: Tensor) -> Tensor:
        """Return the loss of a training step."""
        room = self.sequences.system_items.shape[1]
        shift = torch.randint(room + 1, (len(rows),), device=rows.device)
        # Where a user is shifted, what hangs on the place itself, such as the first items, cannot be learned.
        shift = shift * (torch.rand(len(rows), device=rows.device) < SHIFTED)
        wanted = self.learn if model.backbone.causal else sample_positions(self.learn, PREFIXES)
        known = _forget_tail(self.sequences.self_decisions[rows])
        return loss(model, self.sequences, rows, wanted[rows], known, shift)

    def validate(self, loss: Callable[..., Tensor], model: Acceptance) -> float:
        """Return the mean loss at what is held out, by the same negatives at every epoch."""

        def held(rows: Tensor) -> Tensor:
            return loss(model, self.sequences, rows, self.held[rows], self.sequences.self_decisions[rows])

        rows = self.sequences.everyone[self.held.any(dim=1)]
        with seeded(self.seed, rows.device):
            return mean_loss(held, rows, READ_USERS)


@torch.no_grad()
def read_out(model: Acceptance, sequences: Sequences) -> Readouts:
    """Read f~ at every system exposure; see `Readouts`."""
    parts = [_read_batch(model, sequences, rows) for rows in sequences.everyone.split(READ_USERS)]
    filtered, after_reject, after_accept, rank = (torch.cat(part) for part in zip(*parts, strict=True))
    return Readouts(filtered, after_reject, after_accept, chain(after_reject, after_accept), rank)


@torch.no_grad()
def rank_by_acceptance(model: Acceptance, sequences: Sequences) -> pd.DataFrame:
    """Rank the last self-chosen item of each user by the probability of accepting items now; see `leave_one_out`."""
    return leave_one_out(sequences, model.catalogue_logits)


def _split(sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Return masks (U, L) of the rows to learn from and to validate on; the last row is for the test."""
    real = sequences.self_items > 0
    enough = real.sum(dim=1) > max(HELD_OUT.values())
    learn, held = real.clone(), torch.zeros_like(real)
    learn[enough, -HELD_OUT["validation"] :] = False
    held[enough, -HELD_OUT["validation"]] = True
    return learn, held


def _next_item_loss(
    model: Acceptance,
    sequences: Sequences,
    rows: Tensor,
    wanted: Tensor,
    known: Tensor,
    shift: Tensor | None = None,
) -> Tensor:
    """Return the mean cross-entropy of what the users `rows` accepted where `wanted`, by decisions `known`."""
    items, accepted = sequences.self_items[rows], wanted & (sequences.self_decisions[rows] == ACCEPT)
    states = model.backbone.encode_at(items, accepted, known, users=rows, shift=shift)
    return softmax(model.backbone, states, items[accepted]) if len(states) else states.sum()


def _decision_loss(
    model: Acceptance,
    sequences: Sequences,
    rows: Tensor,
    wanted: Tensor,
    known: Tensor,
    shift: Tensor | None = None,
    *,
    next_item: float = 0.0,
) -> Tensor:
    """Return the weighted mean binary cross-entropy of the `wanted` decisions, and `next_item` that of next items."""
    items, decisions, states = sequences.self_items[rows], sequences.self_decisions[rows][wanted], None
    if "encoder" in model.parts:
        states = model.backbone.encode_at(items, wanted, known, users=rows, shift=shift)

    # Where one row a user is held out, those before the first of them are not asked for.
    first = int(wanted.any(dim=0).byte().argmax())

    def logits_of(asked: Tensor) -> Tensor:
        numbers = model.describe(items, known, own=items.shape[1], asked=asked, first=first)
        return model(states, asked[wanted], numbers[wanted[:, first:]])

    logits, labels, weights = logits_of(items), decisions.float(), sequences.self_weights[rows][wanted]
    if sequences.accepted_only:
        negatives = torch.randint(1, model.backbone.n_items + 1, items.shape, device=items.device)
        logits = torch.cat([logits, logits_of(negatives)])
        labels = torch.cat([labels, torch.zeros_like(labels)])
        weights = torch.cat([weights, weights])
    found = F.binary_cross_entropy_with_logits(logits, labels, weights)
    if states is not None and next_item and (accepted := decisions == ACCEPT).any():
        found = found + next_item * softmax(model.backbone, states[accepted], items[wanted][accepted])
    return found


def sample_positions(wanted: Tensor, count: int) -> Tensor:
    """Return at most `count` of each row's `wanted` positions (U, L), at random."""
    drawn = torch.rand(wanted.shape, device=wanted.device).masked_fill(~wanted, 2.0)
    largest, _ = drawn.kthvalue(min(count, wanted.shape[1]), dim=1, keepdim=True)
    return wanted & (drawn <= largest)


def _forget_tail(decisions: Tensor) -> Tensor:
    """Hide the decisions after a random point, for `FORGET` of the users, as the marginal readout does."""
    (users, length), device = decisions.shape, decisions.device
    cut = torch.randint(length + 1, (users, 1), device=device)
    cut = cut.where(torch.rand((users, 1), device=device) < FORGET, length)
    return decisions.masked_fill(torch.arange(length, device=device) >= cut, UNKNOWN)


@torch.no_grad()
def _calibrate(model: Acceptance, sequences: Sequences, held: Tensor) -> None:
    """Set scale and level of f~; see `csrec_core.models.acceptance.fit_calibration`."""
    items, decisions = sequences.self_items, sequences.self_decisions
    windows = (
        (Window(items[rows], decisions[rows], own=items.shape[1]), rows)
        for rows in sequences.everyone.split(READ_USERS)
    )
    logits = torch.cat([model.logits(window, users=rows) for window, rows in windows])
    real = items > 0
    weights = sequences.self_weights[real]
    model.calibrate(logits[real], decisions[real], weights=weights, held=held[real])


def _read_batch(model: Acceptance, sequences: Sequences, rows: Tensor) -> tuple[Tensor, ...]:
    exposed = sequences.system_items[rows]
    realised, masked = (sequences.window(rows, hidden) for hidden in (False, True))
    states = model.backbone.encode(realised.items, realised.decisions, users=rows, first=realised.first)
    seen = realised.exposed(states[:, :-1])
    filtered = torch.sigmoid(model(seen, exposed, model.describe_exposed(realised)))
    after = [torch.sigmoid(model.logits(masked, users=rows, last=last)) for last in (REJECT, ACCEPT)]
    if masked.direct is not None:  # where the user's own choice came between, its decision is a known one
        known = torch.sigmoid(model.logits(masked, users=rows))
        after = [torch.where(masked.direct, known, probability) for probability in after]
    for probability in after:  # and so is the decision before the first exposure
        probability[:, :1] = filtered[:, :1]
    scores = model.backbone.score(seen)
    own = scores.gather(2, (exposed - 1).clamp(min=0)[:, :, None])
    rank = ((scores > own).float().mean(dim=2) + 1 / scores.shape[2]).clamp(max=1)
    return filtered, *after, rank
