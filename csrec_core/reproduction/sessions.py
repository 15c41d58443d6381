"""The sessions of MSSD as a log for the sequence models, and as candidates to rank: a session is a user."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.data.mssd.slots import SLOTS, Sessions
from csrec_core.errors import InputError
from csrec_core.models.sequences import UNKNOWN, Sequences, to_sequences

DEMONSTRATION = 500  # simulated sessions at most, where there are no real ones


def session_dataset(sessions: Sessions, own: np.ndarray, catalogue: np.ndarray) -> Dataset:
    """Return the slots by the system, and of those that the listener chose the ones in `own` (S, 20) bool.

    `t` is the slot, from 1, and `item` the row of the track in `sessions.features`; those in `catalogue` (N,) are
    items, in a slot or not.
    """
    shown = (sessions.source == SYSTEM) | ((sessions.source == SELF) & own)
    session, slot = np.nonzero(shown)
    frame = pd.DataFrame(
        {
            "user": sessions.users[session],
            "t": slot + 1,
            "item": sessions.track[shown],
            "decision": sessions.accepted[shown].astype(int),
            "source": sessions.source[shown],
        }
    )
    items = pd.DataFrame({"item": catalogue})
    return Dataset(validate_log(frame, where="sessions"), items=items, name="mssd")


@dataclass(frozen=True, eq=False)
class SessionLog:
    """Sessions as sequences; those with nothing to read are left out."""

    rows: np.ndarray  # (U,): which of the sessions they are
    # With the self-chosen tracks of whole sessions, of the tested ones of the first half: to learn from.
    learned: Sequences
    # With the self-chosen tracks of first halves alone: what an exposure of the second half is read after.
    read: Sequences
    tested: Tensor  # (U, T) bool: exposures by the system in the second halves of the tested sessions
    asked: Tensor  # (U, T) bool: the same of all sessions

    @classmethod
    def of(cls, sessions: Sessions, test: np.ndarray) -> "SessionLog":
        """Lay sessions out, of which those in `test` (S,) bool are tested."""
        seen = (sessions.source == SYSTEM) | ((sessions.source == SELF) & sessions.given)
        rows = np.flatnonzero(seen.any(axis=1))
        # Tracks of sessions without anything to read are candidates, too.
        some, test, catalogue = sessions.take(rows), test[rows, None], sessions.catalogue
        first_half = session_dataset(some, some.given, catalogue)
        learned, read = (
            to_sequences(dataset, length=SLOTS, horizon=SLOTS)
            for dataset in (session_dataset(some, some.given | ~test, catalogue), first_half)
        )
        user, step = np.nonzero(read.system_rows >= 0)
        slot = first_half.log["t"].to_numpy()[read.system_rows[user, step]] - 1
        asked = np.zeros(read.system_rows.shape, dtype=bool)
        asked[user, step] = some.asked[user, slot]
        return cls(rows, learned, read, torch.from_numpy(asked & test), torch.from_numpy(asked))

    @property
    def challenge(self) -> Sequences:
        """`read` with the decisions of second halves unknown, as in the challenge."""
        decisions = self.read.system_decisions.masked_fill(self.asked, UNKNOWN)
        return replace(self.read, system_decisions=decisions)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Tracks to rank for a slot each."""

    rows: np.ndarray  # (n,): the session
    slots: np.ndarray  # (n,): its slot
    # (n, C): the track that was there, first, and others drawn uniformly, with replacement, from those that
    # the session does not have
    tracks: np.ndarray


def draw_candidates(
    sessions: Sessions, test: np.ndarray, *, count: int = 100, largest: int = 500, seed: int = 0
) -> Candidates:
    """Draw `count` candidates, the true one included, for the last self-chosen track of second halves, if accepted.

    Asked are the sessions in `test` (S,) bool that accepted a self-chosen track of their first half, too; at most
    `largest`, at random.
    """
    catalogue = sessions.catalogue
    if len(catalogue) <= 2 * SLOTS:
        raise InputError(f"{len(catalogue)} tracks; expected more than {2 * SLOTS} to draw candidates from")
    own = (sessions.source == SELF) & sessions.accepted
    late = (sessions.source == SELF) & sessions.asked
    slot = SLOTS - 1 - late[:, ::-1].argmax(axis=1)
    last = late.any(axis=1) & sessions.accepted[np.arange(len(slot)), slot]
    rows = np.flatnonzero(test & last & (own & sessions.given).any(axis=1))
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(rows)[:largest])
    drawn = rng.choice(catalogue, size=(len(rows), count - 1))
    while (known := (drawn[:, :, None] == sessions.track[rows, None, :]).any(axis=2)).any():
        drawn[known] = rng.choice(catalogue, size=int(known.sum()))
    target = sessions.track[rows, slot[rows]]
    return Candidates(rows, slot[rows], np.column_stack([target, drawn]))


def rank_first(scores: np.ndarray) -> np.ndarray:
    """Return the rank, from 1, of the first in each row of scores (n, C), high first; ties count as half."""
    own, others = scores[:, :1], scores[:, 1:]
    return 1 + (others > own).sum(axis=1) + (others == own).sum(axis=1) / 2


def simulate_sessions(folder: str | Path, sessions: int, *, seed: int = 0, **world: Any) -> Path:
    """Simulate sessions for a demonstration, and return their folder; those that are there are read again.

    `world` is of `csrec_core.data.mssd.simulate.Listeners`.
    """
    named = "".join(f"-{name}-{value:g}" for name, value in sorted(world.items()))
    folder = Path(folder) / f"simulated-{sessions}-{seed}{named}"
    if not (folder / "summary.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # what a run cut short has left
        ingest(*simulate_mssd(folder / "csv", sessions, Listeners(seed=seed, **world)), folder)
    return folder
