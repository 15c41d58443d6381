"""What f and f~ say of every exposure by the system: trained once, cross-fitted over users, cached on disk."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from csrec_core.cache import Cache
from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.errors import InputError
from csrec_core.models.acceptance import Acceptance, build_model
from csrec_core.models.csrec import Objective, predict_csrec, train_csrec
from csrec_core.models.next_item import rank_next_item
from csrec_core.models.preference import rank_by_acceptance, read_out, train_preference
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training

PREDICTION_TABLES = ("cells", "curves", "ranks")  # in the order of `Predictions`


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How f~ and f are fitted.

    Attributes
    ----------
    backbone : str
        A key of `csrec_core.models.backbones.BACKBONES`.
    penalty : float
        Weight of the constraint of Eq. (9). f is always fitted without it, too.
    folds : int
        f of a user is trained on the users of the other folds.
    length, horizon : int
        Self-chosen exposures remembered, and system exposures read, a user.
    preference, csrec : Training
        Of f~ and of f.
    hyper : dict
        Keyword arguments of the backbone.
    """

    backbone: str = "sasrec"
    penalty: float = 1.0
    folds: int = 2
    length: int = 50
    horizon: int = 100
    preference: Training = field(default_factory=Training)
    csrec: Training = field(default_factory=Training)
    hyper: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The fitted models' view of a log.

    Attributes
    ----------
    cells : DataFrame
        One row for each system exposure, sorted by user and step: `user`, `t`, `step` (from 1), `item`,
        `decision`, `fold`; the probabilities `f`, `f_marginal` (with the penalty), `f_free`,
        `f_free_marginal` (without it), `f_tilde`, `f_tilde_marginal`; `rank_share` of the item under f~.
        f of a user comes from models that never saw that user's system exposures.
    curves : DataFrame
        `model`, `stage`, `epoch`, `train` and `validation` loss. f~ is two: its next items, its decisions.
    ranks : DataFrame
        `model`, `user`, `rank`, `candidates` of the last self-chosen item, left out of all training.
    """

    cells: pd.DataFrame
    curves: pd.DataFrame
    ranks: pd.DataFrame


def predict(dataset: Dataset, settings: Settings, *, folder: str | Path) -> Predictions:
    """Fit f~ and f, or read what an earlier call with the same data, settings and code left in `folder`.

    Every model is written as soon as it is trained, and its state during training, so that a run cut short
    goes on where it stopped.
    """
    _check_sources(dataset)
    items = None if dataset.items is None else dataset.items.to_csv(index=False)
    cache = Cache.of(folder, "models", [dataset.fingerprint, items, asdict(settings)])
    *tables, _ = cache.tables("predictions", lambda: _predict(dataset, settings, cache), PREDICTION_TABLES)
    return Predictions(*tables)


def unread_warnings(dataset: Dataset, cells: pd.DataFrame, settings: Settings) -> list[str]:
    """Say how many system exposures lie beyond the window of the models; empty where none does."""
    unread = (dataset.log["source"] == SYSTEM).sum() - len(cells)
    text = f"{unread:,} system exposures beyond a user's first {settings.horizon} are not read by the models."
    return [text] if unread else []


def _check_sources(dataset: Dataset) -> None:
    for source, meaning in ((SELF, "chosen by the user, to train f~"), (SYSTEM, "by the system, to train f")):
        users = dataset.log.loc[dataset.log["source"] == source, "user"].nunique()
        if users < 20:
            raise InputError(
                f"{dataset.name}: {users} users have exposures with source={source!r}; expected at least 20 "
                f"({meaning})"
            )


def draw_folds(users: int, folds: int, *, seed: int) -> np.ndarray:
    """Return the fold, from 0, of each user, (users,): of equal size, at random."""
    return np.random.default_rng(seed).permutation(np.arange(users) % folds)


def _predict(dataset: Dataset, settings: Settings, cache: Cache) -> tuple[pd.DataFrame, ...]:
    history = dataset.log.loc[dataset.log["source"] == SELF].groupby("user").size().max()
    sequences = to_sequences(dataset, length=min(settings.length, int(history)), horizon=settings.horizon)
    common: dict[str, Any] = {"backbone": settings.backbone, **settings.hyper}
    curves = []

    def trained(name: str, train: Callable[..., tuple]) -> Acceptance:
        model = cache.model(name, partial(build_model, sequences, **common), train)
        curve = pd.DataFrame((cache.about(name) or {})["curve"])
        model_of = curve["stage"].map({"next item": f"{name}, next item"}).fillna(name)
        curves.append(curve.assign(model=model_of, epoch=curve.groupby(model_of).cumcount() + 1))
        return model

    preference = trained(
        "f_tilde", partial(train_preference, sequences, training=settings.preference, **common)
    )
    readouts = read_out(preference, sequences)
    fold = draw_folds(len(sequences.users), settings.folds, seed=settings.csrec.seed)
    said = {"f_tilde": readouts.filtered, "f_tilde_marginal": readouts.marginal, "rank_share": readouts.rank}
    ranks = [rank_next_item(preference.backbone, sequences).assign(model="f~ ranking")]
    ranks.append(rank_by_acceptance(preference, sequences).assign(model="f~ acceptance"))
    options: dict[str, Any] = {"training": settings.csrec, "start": preference, **common}
    for column, penalty in (("f", settings.penalty), ("f_free", 0.0)):
        objective = Objective(penalty=penalty)
        filtered, marginal = (torch.zeros_like(readouts.filtered) for _ in range(2))
        said |= {column: filtered, f"{column}_marginal": marginal}
        for number in range(settings.folds):
            own = torch.from_numpy(fold == number)
            learn, held = (~own).nonzero()[:, 0], own.nonzero()[:, 0]
            train = partial(train_csrec, sequences, readouts, learn, objective, **options)
            model = trained(f"{column}-{number + 1}", train)
            filtered[held], marginal[held] = predict_csrec(model, sequences, held)
            if column == "f":
                rank = rank_by_acceptance(model, sequences)
                ranks.append(rank[rank["user"].isin(sequences.users[held])].assign(model="CSRec"))
    cells = sequences.cells(dataset.log, fold=fold[:, None] + 1, **said)
    return cells, *(pd.concat(parts, ignore_index=True) for parts in (curves, ranks))
