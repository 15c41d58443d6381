"""Skip prediction on MSSD: the measures of the WSDM Cup, beside what a lookup of one thing reaches."""

import numpy as np
import pandas as pd

from csrec_core.data.mssd.slots import Sessions
from csrec_core.metrics import (
    accept_by_probability,
    auc_by_user,
    average_accuracy,
    first_accuracy,
    resample_means,
)

__all__ = ["SKIP_CONTROLS", "predict_skip_controls", "score_skips"]

SKIP_CONTROLS = {
    "majority": "the accept rate of the training sessions",
    "position": "the accept rate at this place of the session",
    "track": "the accept rate of this track",
    "last decision": "the accept rate, so far from it, after the same last decision of the first half",
    "first half": "the accept rate after as many accepted in the first half",
}
PRIOR = 20.0  # slots at the overall rate that a rate starts from


def predict_skip_controls(
    train: Sessions, test: Sessions, *, learned: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Predict the slots asked of `test` from one thing each.

    Parameters
    ----------
    learned : array (S, 20) bool, optional
        Slots of `train` that the rates are learned from; by default those asked.

    Returns
    -------
    dict of arrays (S, 20)
        Probabilities of acceptance, a key of `SKIP_CONTROLS` each; NaN where nothing is asked.
    """
    learned = train.asked if learned is None else learned
    known, new = _keys(train, learned), _keys(test, test.asked)
    accepted = train.accepted[learned].astype(float)
    overall = accepted.mean()
    predictions = {}
    for name, key in known.items():
        counts = pd.Series(accepted).groupby(key).agg(["sum", "size"])
        rate = (counts["sum"] + PRIOR * overall) / (counts["size"] + PRIOR)
        predictions[name] = np.full(test.asked.shape, np.nan)
        predictions[name][test.asked] = rate.reindex(new[name]).fillna(overall).to_numpy()
    return predictions


def score_skips(test: Sessions, predictions: dict[str, np.ndarray], **options) -> pd.DataFrame:
    """Score predictions of the slots asked of `test`.

    Parameters
    ----------
    predictions : dict of arrays (S, 20)
        Probabilities of acceptance by name.
    **options
        Of the bootstrap over sessions, see `csrec_core.metrics.resample`.

    Returns
    -------
    DataFrame
        A row for each prediction and measure: `prediction`, `measure`, `mean` with its interval `lower`,
        `upper`. Measures are `MAA` and `first` (mean average and first-prediction accuracy, accepted from a
        probability of one half on), `AHR@0.2`, `AHR@0.5` (share of decisions that Eq. 19 gets right), `AUC`.
    """
    frames = []
    for name, probability in predictions.items():
        measures = _by_session(test, probability)
        table = resample_means(measures, **options).rename_axis("measure").reset_index()
        frames.append(table.assign(prediction=name))
    columns = ["prediction", "measure", "mean", "lower", "upper"]
    return pd.concat(frames, ignore_index=True)[columns]


def _by_session(test: Sessions, probability: np.ndarray) -> pd.DataFrame:
    asked = test.asked
    filled = np.where(asked, probability, 0)
    right = (filled >= 0.5) == test.accepted
    measures = {"MAA": average_accuracy(right, asked), "first": first_accuracy(right, asked)}
    for alpha in (0.2, 0.5):
        hits = (accept_by_probability(filled, alpha) == test.accepted) & asked
        measures[f"AHR@{alpha}"] = hits.sum(axis=1) / asked.sum(axis=1)
    session = np.repeat(np.arange(len(asked)), asked.sum(axis=1))
    auc = auc_by_user(test.accepted[asked], probability[asked], session)
    return pd.DataFrame(measures).assign(AUC=auc.to_numpy())


def _keys(sessions: Sessions, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each control, what it looks up for each slot `asked`."""
    half = sessions.length // 2
    session, slot = np.nonzero(asked)
    last = sessions.accepted[np.arange(len(half)), half - 1]
    share = (sessions.accepted & sessions.given).sum(axis=1) * 100 + half
    return {
        "majority": np.zeros(len(slot), dtype=int),
        "position": slot,
        "track": sessions.track[asked],
        "last decision": last[session] * 100 + slot - half[session],
        "first half": share[session],
    }
