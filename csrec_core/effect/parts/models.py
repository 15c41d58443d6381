"""Boosted trees for what an effect needs and is not itself, kept as arrays of numbers.

The files hold the nodes of the trees and nothing that could run, so workers may read them from anywhere.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from csrec_core.effect.parts.features import FEATURES
from csrec_core.errors import InputError
from csrec_core.files import whole_file

__all__ = ["NUISANCES", "Trees", "fit_fold", "load_fold"]

#: f~ and f, acceptance were the exposure self-chosen or the system's; the regime, whether it is the system's.
NUISANCES = ("f_tilde", "f", "regime")
FEWEST = 20  # rows of a source and decision
PLAIN = np.zeros((0, 8), dtype=np.uint32)  # scikit-learn's sets of categories: there are none


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of regression trees on the logit.

    Attributes
    ----------
    nodes : structured array
        Of all trees, one after the other, as scikit-learn lays them out.
    ends : array (trees,) int64
        Where each tree's nodes end.
    start : float
        What the trees add to.
    """

    nodes: np.ndarray
    ends: np.ndarray
    start: float

    @classmethod
    def of(cls, model: HistGradientBoostingClassifier) -> "Trees":
        """Take the trees of a fitted model of two classes."""
        nodes = [predictor.nodes for (predictor,) in model._predictors]
        ends = np.cumsum([len(tree) for tree in nodes])
        return cls(np.concatenate(nodes), ends, float(model._baseline_prediction.item()))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities (rows,), those of the model that the trees were taken of."""
        features, logit = np.asarray(features, dtype=np.float64), np.full(len(features), self.start)
        names = np.zeros(features.shape[1], dtype=np.uint32)
        for nodes in np.split(self.nodes, self.ends[:-1]):
            logit += TreePredictor(nodes, PLAIN, PLAIN).predict(features, PLAIN, names, 1)
        return expit(logit)


def fit_fold(target: Path, fold: int, draws: list[Path], *, seed: int) -> int:
    """Fit the nuisances on the drawn rows of the other folds, and write their trees.

    The rows are put in the order of users first, so that it does not matter how they lay in files.

    Returns
    -------
    int
        The rows that were learned from.

    Raises
    ------
    InputError
        Where fewer than 20 rows of a source, or of a decision in it, were drawn.
    """
    rows = pd.concat([pd.read_parquet(path, filters=[("fold", "!=", fold)]) for path in draws])
    rows = rows.sort_values(["user", "t"], kind="stable")
    features = rows[list(FEATURES)].to_numpy(dtype=np.float32)
    system, decision = rows["system"].to_numpy(), rows["decision"].to_numpy()
    everything = np.ones(len(rows), dtype=bool)
    found = {}
    asked = {
        "f_tilde": (decision, ~system),
        "f": (decision, system),
        "regime": (system.astype(int), everything),
    }
    for name, (label, learn) in asked.items():
        rarer = np.bincount(label[learn], minlength=2).min()
        if rarer < FEWEST:
            raise InputError(
                f"{name} without fold {fold}: {rarer} drawn rows have the rarer value; expected at least "
                f"{FEWEST} of both values: draw more sessions"
            )
        model = HistGradientBoostingClassifier(
            learning_rate=0.1,
            max_iter=200,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=1.0,
            early_stopping=True,
            random_state=seed,
        ).fit(features[learn], label[learn])
        found |= {f"{name}_{part}": value for part, value in vars(Trees.of(model)).items()}
    with whole_file(target) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **found)
    return len(rows)


def load_fold(path: Path) -> dict[str, Trees]:
    """Read what `fit_fold` wrote, by name of the nuisance."""
    with np.load(path, allow_pickle=False) as found:
        return {
            name: Trees(found[f"{name}_nodes"], found[f"{name}_ends"], float(found[f"{name}_start"]))
            for name in NUISANCES
        }
