"""What a sequence model makes of a user's record: a feature of the nuisances, cross-fitted.

f~ (Eq. 7) learns from the baseline's decisions of some users, and is read at every exposure by the others, from
the same record that the table of features is made of (`csrec_core.effect.record.describe`), in its order: so it
means the same under either arm. Its logit is a feature, and held-out loss decides for each nuisance whether it is
read at all (`csrec_core.effect.nuisance.choose_learner`).
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from csrec_core.data.log import SELF, Dataset
from csrec_core.effect.engine import learned_rows
from csrec_core.effect.folds import fold_of
from csrec_core.effect.record import record_windows
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import Clock
from csrec_core.errors import InputError
from csrec_core.models.acceptance import Acceptance
from csrec_core.models.predictions import Settings
from csrec_core.models.preference import train_preference
from csrec_core.models.sequences import ACCEPT, to_sequences
from csrec_core.models.train import Training

#: Small, for many are trained; order is found late (a recurrent one of 2,500 users takes 40 passes), or not at all.
NETWORKS = Settings(
    backbone="gru4rec",
    length=30,
    preference=Training(epochs=40, patience=8, batch=64, rate=3e-3, threads=1),
    hyper={"hidden": 32, "dropout": 0.2},
)
FEWEST_NETWORK_USERS = 20  # users that a network learns from at least
READ = 4096  # windows read at a time


def network_gains(plain: Effect, read: Effect, truth: pd.Series | None = None) -> pd.DataFrame:
    """Return what an estimate gained from networks, beside the same without.

    Both are of one log, split and design; `truth` are the users' true mean effects at the arm's exposures. Returns
    a row for each: `networks`, the cross-fitted log losses `loss_baseline` and `loss_arm`, `effect`, `lower`, `upper`,
    `width` of the interval and, with the truth, `user_rank`: Spearman's correlation of the users' effects with it.
    """
    rows = []
    for name, effect in (("without", plain), ("with", read)):
        row = {"networks": name, "loss_baseline": effect.losses["m0"], "loss_arm": effect.losses["m1"]}
        row |= effect.mean[["effect", "lower", "upper"]].to_dict()
        row["width"] = row["upper"] - row["lower"]
        if truth is not None:
            users = effect.users.set_index("user")["effect"]
            row["user_rank"] = users.corr(truth.reindex(users.index), method="spearman")
        rows.append(row)
    return pd.DataFrame(rows)


def network_logits(
    rows: pd.DataFrame,
    items: pd.DataFrame | None,
    clock: Clock,
    settings: Settings = NETWORKS,
    *,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """Return the logit of accepting each row's item, (rows,) float32, by networks that did not see its fold of users.

    A network is trained for each fold, on the baseline's rows of the others. A regression that learns from these
    logits is told of a held-out fold's decisions by way of the other folds' networks alone: short-stacking
    (Ahrens, Hansen, Schaffer and Wiemann 2024, Model averaging and double machine learning).

    The rows are those of `lay_rows`, whole users, decisions in {0, 1}; `folds` and `seed` are of the split of users. An
    input error where a network would learn from fewer than 20 users.
    """
    windows = record_windows(rows, clock, settings.length)
    fold = fold_of(rows["user"].to_numpy(), folds, seed)
    arm = rows["arm"].to_numpy()
    # What others than the two arms exposed is read where it is on record, and not learned from.
    known = (arm == 0) | (arm < 0) & (not clock.phased)
    known &= rows.groupby("user")["arm"].transform("min").to_numpy() <= 0
    known &= learned_rows(rows, seed)
    catalogue = pd.DataFrame({"item": rows["item"].unique()})
    items = catalogue if items is None else items.merge(catalogue, how="outer")
    settings = replace(settings, preference=replace(settings.preference, seed=seed % 2**31))
    found = np.empty(len(rows), dtype=np.float32)
    for held in range(folds):
        model, numbers = _train(rows[known & (fold != held)], items, settings)
        here = np.flatnonzero(fold == held)
        found[here] = _read_logits(model, numbers, rows, windows, here)
    return found


def _train(rows: pd.DataFrame, items: pd.DataFrame, settings: Settings) -> tuple[Acceptance, np.ndarray]:
    """Train f~ on the baseline's rows; return it with the items, sorted, by whose places it knows them."""
    users, back = np.unique(rows["user"], return_inverse=True)
    if len(users) < FEWEST_NETWORK_USERS:
        raise InputError(
            f"networks: {len(users)} users to learn from; expected at least {FEWEST_NETWORK_USERS}"
        )
    place = rows.groupby("user").cumcount(ascending=False).to_numpy()  # from the end of each user's
    length = min(settings.length, int(place.max()) + 1)
    log = rows[["user", "item"]].assign(
        decision=rows["decision"].astype(np.int8), source=SELF, t=rows.groupby("user").cumcount()
    )
    sequences = to_sequences(Dataset(log.reset_index(drop=True), items=items), length=length)
    weights, read = sequences.self_weights.clone(), place < length
    weights[back[read], length - 1 - place[read]] = torch.tensor((rows["arm"].to_numpy() == 0)[read]).float()
    options = {"training": settings.preference, "backbone": settings.backbone, **settings.hyper}
    sequences = replace(sequences, self_weights=weights)
    return train_preference(sequences, **options)[0], sequences.catalogue


@torch.no_grad()
def _read_logits(
    model: Acceptance, catalogue: np.ndarray, rows: pd.DataFrame, windows: np.ndarray, here: np.ndarray
) -> np.ndarray:
    """Return the logits of some rows, each after the rows of its window."""
    item = np.searchsorted(catalogue, rows["item"].to_numpy()) + 1
    decision = rows["decision"].to_numpy().astype(np.int64)
    item, decision = np.append(item, 0), np.append(decision, ACCEPT)  # what -1 picks is padding
    order = here[np.argsort((windows[here] >= 0).sum(axis=1), kind="stable")]  # short windows together
    found = np.empty(len(item))
    for start in range(0, len(order), READ):
        some = order[start : start + READ]
        past = windows[some]
        past = past[:, (past >= 0).any(axis=0)]
        read = (item[past], decision[past], item[some])
        found[some] = model.logits_after(*map(torch.from_numpy, read)).numpy()
    return found[here]
