"""The score tables: every model beside every control, each figure with its interval over users."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from csrec_core.evaluation.controls import CONTROLS, predict_controls
from csrec_core.metrics import (
    SMALL_IS_GOOD,
    accept_by_probability,
    accept_by_rank,
    auc_by_user,
    brier,
    calibration_bin,
    cross_entropy,
    hit_rate,
    ndcg,
    resample,
    resample_means,
)
from csrec_core.numbers import interval_text

__all__ = [
    "MODELS",
    "RANDOM",
    "best_words",
    "compare_with_controls",
    "decision_scores",
    "knowledge",
    "predictors",
    "ranking_scores",
    "score_table",
]

MODELS = {
    "CSRec": "f",
    "CSRec, no penalty": "f_free",
    "f~ acceptance": "f_tilde",
}
RANKED = "f~ ranking"
RANDOM = "random ranking"
BINS = 10


def predictors(cells: pd.DataFrame, popularity: pd.Series) -> pd.DataFrame:
    """Return the probabilities of every model and control, a column each, indexed as `cells`.

    Parameters
    ----------
    cells : DataFrame
        See `csrec_core.models.predictions.Predictions`.
    popularity : Series
        Self-chosen rows by item.
    """
    models = pd.DataFrame({name: cells[column] for name, column in MODELS.items()})
    return pd.concat([models, predict_controls(cells, popularity)], axis=1)


def decision_scores(
    cells: pd.DataFrame,
    predicted: pd.DataFrame,
    *,
    alphas: Sequence[float] = (0.2, 0.5),
    ranked: str = RANKED,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predictions of the decisions, per user first, then averaged over users.

    Parameters
    ----------
    cells : DataFrame
        The exposures to score: `user`, `decision` and, where a ranking decides too, `rank_share`.
    predicted : DataFrame
        A column of probabilities for each predictor, indexed as `cells`.
    alphas : sequence of float
        Of AHR: Eq. (19) for probabilities, Eq. (20) for the ranking.
    ranked : str
        What the ranking is called.

    Returns
    -------
    DataFrame
        `model`, `metric`, `mean`, `lower`, `upper`. ECE and AUC pool the rows; their intervals resample users.
    """
    by_user = _by_user(cells, predicted, alphas, ranked)
    scores = resample_means(by_user, draws=draws, seed=seed).reset_index(names=["model", "metric"])
    if not predicted.shape[1]:
        return scores
    return pd.concat([scores, _calibration_errors(cells, predicted, draws, seed)], ignore_index=True)


def compare_with_controls(
    cells: pd.DataFrame,
    predicted: pd.DataFrame,
    *,
    model: str = "CSRec",
    alphas: Sequence[float] = (0.2, 0.5),
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return by how much a model is better than the best control, metric by metric.

    Returns
    -------
    DataFrame
        `metric`, `control` (the best), and the paired difference `mean`, `lower`, `upper`, signed so that
        positive is better.
    """
    by_user = _by_user(cells, predicted, alphas)
    rows = {}
    for metric in by_user.columns.get_level_values(1).unique():
        sign = -1 if metric in SMALL_IS_GOOD else 1
        controls = sign * by_user.loc[:, [(name, metric) for name in CONTROLS]]
        best = controls.mean().idxmax()
        rows[metric, best[0]] = sign * by_user[model, metric] - controls[best]
    table = resample_means(pd.DataFrame(rows), draws=draws, seed=seed)
    return table.reset_index(names=["metric", "control"])


def best_words(scores: pd.DataFrame, metric: str) -> str:
    """Return which of the rows `model`, `mean` is best in a metric, as a dot plot's text."""
    best = scores.loc[scores["mean"].idxmin() if metric in SMALL_IS_GOOD else scores["mean"].idxmax()]
    return f"Dot plot. The best {metric} is that of {best['model']}, {best['mean']:.3f}."


def knowledge(margin: pd.Series) -> tuple[str, str]:
    """Say whether a model ranks better than the best control, by a row of `compare_with_controls`: short, and long."""
    if margin["lower"] > 0:
        return "Yes", "They rank better than any lookup."
    if margin["upper"] < 0:
        return "No", "A lookup ranks decisions better."
    return "No more than a lookup", "The best lookup ranks decisions as well, within error."


def ranking_scores(
    ranks: pd.DataFrame, *, ks: Sequence[int] = (5, 10, 20), draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Score rankings of the left-out self-chosen item by HR@k and NDCG@k, beside a random ranking.

    Parameters
    ----------
    ranks : DataFrame
        `model`, `user`, `rank` (from 1), `candidates`.

    Returns
    -------
    DataFrame
        `model`, `metric`, `mean`, `lower`, `upper`; the random ranking is exact, with no interval to speak of.
    """
    tables = []
    for model, rows in ranks.groupby("model", sort=False):
        values = {f"HR@{k}": hit_rate(rows["rank"], k) for k in ks}
        values |= {f"NDCG@{k}": ndcg(rows["rank"], k) for k in ks}
        tables.append(resample_means(pd.DataFrame(values), draws=draws, seed=seed).assign(model=model))
    candidates = ranks.drop_duplicates("user")["candidates"].to_numpy()
    chance = {f"HR@{k}": np.minimum(1, k / candidates).mean() for k in ks}
    chance |= {f"NDCG@{k}": _random_ndcg(candidates, k) for k in ks}
    random = pd.DataFrame({"mean": chance, "lower": chance, "upper": chance}).assign(model=RANDOM)
    table = pd.concat([*tables, random]).reset_index(names="metric")
    return table[["model", "metric", "mean", "lower", "upper"]]


def score_table(scores: pd.DataFrame, *, digits: int = 3) -> pd.DataFrame:
    """Lay scores out for reading: a row a model, controls and chance last, an interval in each cell."""
    text = scores.assign(
        text=[
            interval_text(*row, digits=digits)
            for row in scores[["mean", "lower", "upper"]].itertuples(index=False)
        ]
    )
    table = text.pivot_table(index="model", columns="metric", values="text", aggfunc="first", sort=False)
    last = [name for name in (*CONTROLS, RANDOM) if name in table.index]
    first = [name for name in table.index if name not in last]
    return table.loc[[*first, *last]].fillna("–")


def _random_ndcg(candidates: np.ndarray, k: int) -> float:
    """Return the expected NDCG@k where each of the candidates is as likely at each rank."""
    gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))])
    return float((gain[np.minimum(k, candidates)] / candidates).mean())


def _by_user(
    cells: pd.DataFrame, predicted: pd.DataFrame, alphas: Sequence[float], ranked: str = RANKED
) -> pd.DataFrame:
    """Return one row a user and a column for each (model, metric): means of the user's rows; AUC shares."""
    decision, user = cells["decision"].to_numpy(), cells["user"].to_numpy()
    columns, auc = {}, {}
    for name in predicted.columns:
        probability = predicted[name].to_numpy()
        for alpha in alphas:
            columns[name, f"AHR@{alpha:g}"] = accept_by_probability(probability, alpha) == decision
        columns[name, "BCE"] = cross_entropy(decision, probability)
        columns[name, "Brier"] = brier(decision, probability)
        auc[name, "AUC"] = auc_by_user(decision, probability, user)
    for alpha in alphas if "rank_share" in cells else ():
        accepted = accept_by_rank(cells["rank_share"], alpha)
        columns[ranked, f"AHR@{alpha:g}"] = accepted == decision
    means = pd.DataFrame(columns).astype(float).groupby(user).mean()
    return means.join(pd.DataFrame(auc)) if auc else means


def _calibration_errors(cells: pd.DataFrame, predicted: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Return the expected calibration error of each predictor with an interval that resamples users.

    Resampling adds noise to every bin and so lifts the error; an interval is widened to hold the estimate.
    """
    users, user = np.unique(cells["user"], return_inverse=True)
    excess = np.zeros((len(users), predicted.shape[1], BINS))
    for place, name in enumerate(predicted.columns):
        probability = predicted[name].to_numpy()
        np.add.at(
            excess,
            (user, place, calibration_bin(probability, BINS)),
            probability - cells["decision"].to_numpy(),
        )
    values = np.column_stack([excess.reshape(len(users), -1), np.bincount(user)])

    def error(sums: np.ndarray) -> np.ndarray:
        by_bin = sums[..., :-1].reshape(*sums.shape[:-1], predicted.shape[1], BINS)
        return np.abs(by_bin).sum(axis=-1) / sums[..., -1:]

    lower, upper = resample(values, error, draws=draws, seed=seed)
    mean = error(values.sum(axis=0))
    return pd.DataFrame(
        {
            "model": predicted.columns,
            "metric": "ECE",
            "mean": mean,
            "lower": np.minimum(lower, mean),
            "upper": upper,
        }
    )
