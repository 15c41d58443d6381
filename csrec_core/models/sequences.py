"""The interaction log as rectangular tensors: what the models read."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from csrec_core.data.items import genre_columns, number_columns
from csrec_core.data.log import SELF, SYSTEM, Dataset, order_clues, order_column
from csrec_core.models.backbones.encoder import ACCEPT, UNKNOWN

LARGEST_WEIGHT = 20.0  # an inverse propensity above this is cut: one row must not outweigh twenty


@dataclass(frozen=True, eq=False)
class Sequences:
    """One row a user: the `self` phase right-aligned, then the `system` phase left-aligned.

    Item k of the catalogue is written k + 1; 0 is padding. U users, L slots of history, T exposures.

    Attributes
    ----------
    users : array (U,)
        User ids, sorted.
    catalogue : array (N,)
        Item ids, sorted: those of the log and of the item table.
    self_items, self_decisions : Tensor (U, L) int64
        The last L self-chosen exposures; decisions in {REJECT, ACCEPT}.
    self_weights : Tensor (U, L) float32
        Inverse propensities towards uniform exposure, mean 1; all 1 where the log knows none.
    chosen_items, chosen_decisions : Tensor (E,) int64
        All self-chosen exposures, user after user, in time order, whether they fit the L slots or not.
    chosen_count : Tensor (U,) int64
        How many of them are a user's.
    system_items, system_decisions : Tensor (U, T) int64
        The first T exposures by the system.
    system_rows : array (U, T) int64
        Row of the log of each system exposure; -1 is padding.
    turns : Tensor (U, L + T) int64 or None
        Where the sources take turns: the slot, of both phases side by side, that comes at each place of the
        whole order, padding at either end. None where no exposure by the system is followed by a self-chosen
        one (`csrec_core.data.log.order_column`).
    genres : Tensor (N + 1, G) float32
        One column a genre; G = 0 where the items have none.
    features : Tensor (N + 1, F) float32
        The genres, then the numbers of the item table (`csrec_core.data.items`); F = 0 where there are none.
    """

    users: np.ndarray
    catalogue: np.ndarray
    self_items: Tensor
    self_decisions: Tensor
    self_weights: Tensor
    chosen_items: Tensor
    chosen_decisions: Tensor
    chosen_count: Tensor
    system_items: Tensor
    system_decisions: Tensor
    system_rows: np.ndarray
    genres: Tensor
    features: Tensor
    turns: Tensor | None = None

    def to(self, device: torch.device | str) -> "Sequences":
        """Return the same with its tensors on a device, such as "cuda" or "mps"."""
        moved: dict[str, Any] = {
            name: part.to(device) for name, part in vars(self).items() if isinstance(part, Tensor)
        }
        return replace(self, **moved)

    @property
    def everyone(self) -> Tensor:
        """All users as rows, (U,)."""
        return torch.arange(len(self.users), device=self.self_items.device)

    @property
    def items(self) -> Tensor:
        """Both phases side by side, (U, L + T)."""
        return torch.cat([self.self_items, self.system_items], dim=1)

    @property
    def decisions(self) -> Tensor:
        """The realised decisions of both phases, (U, L + T)."""
        return torch.cat([self.self_decisions, self.system_decisions], dim=1)

    def window(self, rows: Tensor, hidden: Tensor | bool = False) -> "Window":
        """Lay the exposures of users out in the order in which a model reads them.

        Parameters
        ----------
        rows : Tensor (n,) int64
            Users.
        hidden : Tensor (n,) bool, or one for all
            Of which of them the decisions of the system phase are UNKNOWN.
        """
        length = self.self_items.shape[1]
        masked = torch.as_tensor(hidden, device=rows.device).expand(len(rows))[:, None]
        items = torch.cat([self.self_items[rows], self.system_items[rows]], dim=1)
        decided = self.system_decisions[rows].masked_fill(masked, UNKNOWN)
        decisions = torch.cat([self.self_decisions[rows], decided], dim=1)
        if self.turns is None:
            return Window(items, decisions, own=length, first=length)
        turns = self.turns[rows]
        place = turns.argsort(dim=1)[:, length:]
        return Window(items.gather(1, turns), decisions.gather(1, turns), own=turns < length, place=place)

    def cells(self, log: pd.DataFrame, **values: Tensor | np.ndarray) -> pd.DataFrame:
        """Return a row for each system exposure, by user and step: of the `log`, its `step` (from 1), and `values`.

        Of the log `user`, `t`, `item`, `decision`; values are (U, T), or (U, 1) of users.
        """
        real = self.system_rows >= 0
        cells = log.loc[self.system_rows[real], ["user", "t", "item", "decision"]].reset_index(drop=True)
        tables = {
            name: np.broadcast_to(torch.as_tensor(value).cpu(), real.shape) for name, value in values.items()
        }
        columns = {name: table[real] for name, table in tables.items()}
        return cells.assign(step=np.nonzero(real)[1] + 1, **columns)

    @cached_property
    def accepted_only(self) -> bool:
        """Whether the self phase holds no rejection, so that it cannot tell liking from looking."""
        return bool((self.self_decisions[self.self_items > 0] == ACCEPT).all())


@dataclass(frozen=True, eq=False)
class Window:
    """The exposures of some users in the order in which a model reads them, and which of them it is asked for.

    Those are, of `Sequences.window`, the exposures by the system; of a window of one source, all.

    Attributes
    ----------
    items, decisions : Tensor (n, L + T)
    own : int or Tensor (n, L + T) bool
        How many of the first slots are self-chosen, or which slots are.
    first : int
        Slot from which on there are exposures asked for.
    place : Tensor (n, T) int64 or None
        Where they are; None: from there to the end.
    """

    items: Tensor
    decisions: Tensor
    own: int | Tensor
    first: int = 0
    place: Tensor | None = None

    def exposed(self, values: Tensor) -> Tensor:
        """Return the values (n, T, ...) of the exposures asked for, of those (n, L + T - first, ...)."""
        if self.place is None:
            return values
        return values[torch.arange(len(values), device=values.device)[:, None], self.place]

    def mark(self, wanted: Tensor) -> Tensor:
        """Return which slots (n, L + T) hold the exposures that are `wanted` (n, T)."""
        if self.place is None:
            return F.pad(wanted, (self.first, 0))
        return torch.zeros_like(self.items, dtype=torch.bool).scatter(1, self.place, wanted)

    @property
    def direct(self) -> Tensor | None:
        """Whether each exposure asked for follows a self-chosen one, or none, (n, T)."""
        if isinstance(self.own, int):
            return None
        return self.exposed(F.pad(self.own, (1, 0), value=True)[:, :-1])


def to_sequences(dataset: Dataset, *, length: int = 50, horizon: int = 100) -> Sequences:
    """Lay a log out as tensors.

    Parameters
    ----------
    length : int
        Slots of self-chosen history: the last `length` rows of a user. Where the sources take turns, an
        exposure that lies before them all is read without any.
    horizon : int
        The first `horizon` system exposures of a user are read.
    """
    log = dataset.log
    users = np.unique(log["user"])
    known = log["item"] if dataset.items is None else pd.concat([log["item"], dataset.items["item"]])
    catalogue = np.unique(known)
    genres = genre_columns(dataset.items, catalogue)
    numbers = number_columns(dataset.items, catalogue, where=f"{dataset.name}: items")
    rows = _number_rows(log, users, catalogue)
    chosen, exposed = (rows[rows["source"] == source].copy() for source in (SELF, SYSTEM))
    chosen = chosen.sort_values("user", kind="stable")
    every = {name: torch.tensor(chosen[name].to_numpy()) for name in ("item", "decision")}
    count = np.bincount(chosen["user"], minlength=len(users))
    chosen["slot"] = length - 1 - chosen.groupby("user").cumcount(ascending=False)
    chosen = chosen[chosen["slot"] >= 0]
    exposed["slot"] = exposed.groupby("user").cumcount()
    exposed = exposed[exposed["slot"] < horizon]
    width = int(exposed["slot"].max()) + 1 if len(exposed) else 0
    own = partial(_slot_table, chosen, (len(users), length))
    system = partial(_slot_table, exposed, (len(users), width))
    ends = np.iinfo(np.int64)  # padding comes before all, or after all
    turns = np.hstack([own("turn", ends.min), system("turn", ends.max)]).argsort(axis=1, kind="stable")
    in_turn = (turns != np.arange(length + width)).any()
    return Sequences(
        users=users,
        catalogue=catalogue,
        self_items=torch.from_numpy(own("item")),
        self_decisions=torch.from_numpy(own("decision")),
        self_weights=torch.from_numpy(own("weight")),
        chosen_items=every["item"],
        chosen_decisions=every["decision"],
        chosen_count=torch.from_numpy(count),
        system_items=torch.from_numpy(system("item")),
        system_decisions=torch.from_numpy(system("decision")),
        system_rows=system("row", -1),
        genres=_padded(genres),
        features=_padded(pd.concat([genres, numbers], axis=1)),
        turns=torch.from_numpy(turns) if in_turn else None,
    )


def _number_rows(log: pd.DataFrame, users: np.ndarray, catalogue: np.ndarray) -> pd.DataFrame:
    """Return the log with users and items as numbers, each row's weight, and its place in the whole order."""
    order = order_column([order_clues(log)])
    columns = {
        "user": np.searchsorted(users, log["user"]),
        "item": np.searchsorted(catalogue, log["item"]) + 1,
        "decision": log["decision"].astype(np.int64),
        "weight": _weights(log, len(catalogue)),
        "row": np.arange(len(log)),
        "source": log["source"],
        "turn": pd.factorize(log[order], sort=True)[0] if order else 0,
    }
    return pd.DataFrame(columns)


def _slot_table(rows: pd.DataFrame, shape: tuple[int, int], column: str, fill: int = 0) -> np.ndarray:
    """Return a column of rows at their user and slot."""
    values = np.full(shape, fill, dtype=rows[column].to_numpy().dtype)
    values[rows["user"], rows["slot"]] = rows[column]
    return values


def _weights(log: pd.DataFrame, n_items: int) -> np.ndarray:
    """Weigh self-chosen rows as if every item had been looked at equally often (Horvitz-Thompson).

    Conditional on a propensity that knows the preference, the weighted rows carry no trace of who chooses what.
    """
    rows = (log["source"] == SELF).to_numpy()
    weights = np.ones(len(log), dtype=np.float32)
    if "propensity" not in log.columns or not rows.any() or log.loc[rows, "propensity"].isna().any():
        return weights
    inverse = 1 / (n_items * log.loc[rows, "propensity"].to_numpy())
    inverse = np.minimum(inverse / inverse.mean(), LARGEST_WEIGHT)
    weights[rows] = inverse / inverse.mean()
    return weights


def _padded(columns: pd.DataFrame) -> Tensor:
    """Return a row for each item (N, columns) after one of zeros, which is padding."""
    return F.pad(torch.tensor(columns.to_numpy(dtype=np.float32)), (0, 0, 1, 0))
