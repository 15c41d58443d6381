"""Skip prediction on MSSD: the measures of the WSDM Cup, beside what a lookup of one thing reaches."""

import numpy as np
import pandas as pd

from csrec_core.data.mssd.slots import Sessions
from csrec_core.evaluation.scores import decision_scores
from csrec_core.metrics import average_accuracy, first_accuracy, resample_means

SKIP_CONTROLS = {
    "majority": "the accept rate of the training sessions",
    "step": "the accept rate at this place of the session",
    "track": "the accept rate of this track",
    "last decision": "the accept rate, so far from it, after the same last decision of the first half",
    "first half": "the accept rate after as many accepted in the first half",
}
RATE_PRIOR = 20.0  # slots at the overall rate that a rate starts from


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
        rate = (counts["sum"] + RATE_PRIOR * overall) / (counts["size"] + RATE_PRIOR)
        predictions[name] = np.full(test.asked.shape, np.nan)
        predictions[name][test.asked] = rate.reindex(new[name]).fillna(overall).to_numpy()
    return predictions


def skip_scores(cells: pd.DataFrame, predicted: pd.DataFrame, *, draws: int = 1000) -> pd.DataFrame:
    """Score columns of probabilities of acceptance, as `csrec_core.evaluation.scores.decision_scores`.

    Further metrics are `MAA` and `first`: mean average and first-prediction accuracy, accepted from a
    probability of one half on.

    Parameters
    ----------
    cells : DataFrame
        Slots in the order of each session: `user` (the session), `decision`.
    """
    session, place = np.unique(cells["user"], return_inverse=True)
    number = cells.groupby("user").cumcount().to_numpy()
    asked = np.zeros((len(session), number.max() + 1), dtype=bool)
    asked[place, number] = True
    parts = [decision_scores(cells, predicted, draws=draws)]
    for name in predicted.columns:
        right = np.zeros_like(asked)
        right[place, number] = (predicted[name] >= 0.5).to_numpy() == cells["decision"].to_numpy()
        measures = {"MAA": average_accuracy(right, asked), "first": first_accuracy(right, asked)}
        means = resample_means(pd.DataFrame(measures), draws=draws).reset_index(names="metric")
        parts.append(means.assign(model=name))
    return pd.concat(parts, ignore_index=True)


def challenge_scores(
    test: Sessions, predictions: dict[str, np.ndarray], *, draws: int = 1000
) -> pd.DataFrame:
    """Score predictions (S, 20) of all slots asked of `test`, as in the WSDM Cup 2019; see `skip_scores`."""
    cells = pd.DataFrame({"user": np.nonzero(test.asked)[0], "decision": test.accepted[test.asked]})
    predicted = pd.DataFrame({name: values[test.asked] for name, values in predictions.items()})
    scores = skip_scores(cells, predicted, draws=draws).set_index("metric")
    return scores.loc[["MAA", "first", "AHR@0.2", "AHR@0.5", "AUC"]].reset_index()


def _keys(sessions: Sessions, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each control, what it looks up for each slot `asked`."""
    half = sessions.length // 2
    session, slot = np.nonzero(asked)
    last = sessions.accepted[np.arange(len(half)), half - 1]
    share = (sessions.accepted & sessions.given).sum(axis=1) * 100 + half
    return {
        "majority": np.zeros(len(slot), dtype=int),
        "step": slot,
        "track": sessions.track[asked],
        "last decision": last[session] * 100 + slot - half[session],
        "first half": share[session],
    }
