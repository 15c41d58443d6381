"""The settings of a ranking that matter, chosen for a data set by the items before the last, which are for the test.

They are tried one at a time, each against the best so far, and changed only where NDCG@10 rises by more than the
best of as many trials without any effect would by chance, so that the search does not choose noise.
"""

import hashlib
import inspect
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from torch import Tensor

from csrec_core.cache import Cache
from csrec_core.metrics import ndcg
from csrec_core.models.backbones import backbone_class
from csrec_core.models.next_item import rank_next_item, train_next_item
from csrec_core.models.sequences import Sequences
from csrec_core.models.train import Training

#: What is tried of each setting, in this order; the first is the default. A whole window is for filters only.
CHOICES: dict[str, tuple] = {
    "dropout": (0.5, 0.2),
    "rate": (2e-3, 1e-3, 4e-3),
    "loss": ("softmax", "sampled_softmax"),
    "average": (0.0, 0.99),
    "causal": (True, False),
}
BY_CHANCE = 0.05  # how often a search takes anything where nothing helps, at most (Bonferroni)


def choose_settings(
    sequences: Sequences,
    *,
    training: Training,
    folder: str | Path,
    backbone: str = "sasrec",
    passes: int = 300,
    **fixed,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the chosen value of each of `CHOICES`, and the trials, each kept in `folder` when it is done.

    Parameters
    ----------
    passes : int
        Of all trials together, at least 1: the budget. What is not tried by then stays as it is.
    **fixed
        Arguments of `csrec_core.models.next_item.train_next_item`; what they set is not searched.

    Returns
    -------
    chosen : dict
        `rate` and `average` are of `Training`, the others of `train_next_item`.
    trials : DataFrame
        Settings, `passes`, validation `ndcg`, `gain` on the best before, its standard `error` over users, and `taken`.
    """
    fixed["backbone"] = backbone
    choices = {name: values for name, values in CHOICES.items() if name not in fixed}
    if "causal" not in inspect.signature(backbone_class(backbone)).parameters:
        choices.pop("causal", None)
    chosen, best = {name: values[0] for name, values in choices.items()}, np.zeros(1)
    changes = [{name: value} for name, values in choices.items() for value in values[1:]]
    errors = norm.isf(BY_CHANCE / max(len(changes), 1))
    rows: list[dict[str, Any]] = []
    for change in [{}, *changes]:
        if (left := passes - sum(row["passes"] for row in rows)) < 1:
            break
        settings = chosen | change
        found, spent = _try(sequences, settings | fixed, training, folder, epochs=min(training.epochs, left))
        gain = found - best
        numbers = {"ndcg": found.mean(), "gain": gain.mean(), "error": gain.std(ddof=1) / len(gain) ** 0.5}
        taken = not rows or numbers["gain"] > errors * numbers["error"]
        rows.append(settings | {"passes": spent, **numbers, "taken": taken})
        if taken:
            chosen, best = settings, found
    return chosen, pd.DataFrame(rows)


def _try(
    sequences: Sequences, settings: dict, training: Training, folder: str | Path, *, epochs: int
) -> tuple[np.ndarray, int]:
    """Return the validation NDCG@10 of each user under some settings, and the passes that it took."""
    rates = {name: settings.pop(name) for name in ("rate", "average") if name in settings}
    training = replace(training, epochs=epochs, **rates)

    def run() -> tuple[pd.DataFrame]:
        model, history = train_next_item(sequences, training=training, **settings)
        ranks = rank_next_item(model, sequences, part="validation")
        return (ranks.assign(passes=len(history)),)

    parts = [part.cpu().numpy() for part in vars(sequences).values() if isinstance(part, Tensor)]
    data = [hashlib.sha256(part.tobytes()).hexdigest() for part in parts]
    cache = Cache.of(folder, "settings", [data, asdict(training), settings])
    ranks, _ = cache.tables("trial", run, ("ranks",))
    return ndcg(ranks["rank"], 10), int(ranks["passes"].iloc[0])
