"""The score tables: every model beside every control, each figure with its interval over users."""

import numpy as np
import pandas as pd

from csrec_core.evaluation.controls import CONTROLS, predict_controls
from csrec_core.metrics import (
    CALIBRATION_BINS,
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

ALPHAS = (0.2, 0.5)  # of AHR
MEAN_COLUMNS = ["mean", "lower", "upper"]
MODELS = {"CSRec": "f", "CSRec, no penalty": "f_free", "f~ acceptance": "f_tilde"}
RANKED = "f~ ranking"
RANDOM_RANKING = "random ranking"
KS = (5, 10, 20)  # places of HR and NDCG


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
    cells: pd.DataFrame, predicted: pd.DataFrame, *, ranked: str = RANKED, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Score predictions of the decisions, per user first, then averaged over users.

    Parameters
    ----------
    cells : DataFrame
        The exposures to score: `user`, `decision` and, where a ranking decides too, `rank_share`.
    predicted : DataFrame
        A column of probabilities for each predictor, indexed as `cells`.
    ranked : str
        What the ranking is called.

    Returns
    -------
    DataFrame
        `model`, `metric`, `mean`, `lower`, `upper`. AHR is by Eq. (19) of probabilities, by Eq. (20) of the
        ranking. ECE and AUC pool the rows; their intervals resample users.
    """
    by_user = _user_means(cells, predicted, ranked)
    scores = resample_means(by_user, draws=draws, seed=seed).reset_index(names=["model", "metric"])
    if not predicted.shape[1]:
        return scores
    return pd.concat([scores, _calibration_errors(cells, predicted, draws, seed)], ignore_index=True)


def compare_with_controls(
    cells: pd.DataFrame, predicted: pd.DataFrame, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return by how much CSRec is better than the best control, metric by metric.

    Returns
    -------
    DataFrame
        `metric`, `control` (the best), and the paired difference `mean`, `lower`, `upper`, signed so that
        positive is better.
    """
    by_user = _user_means(cells, predicted)
    rows = {}
    for metric in by_user.columns.get_level_values(1).unique():
        sign = -1 if metric in SMALL_IS_GOOD else 1
        controls = sign * by_user.loc[:, [(name, metric) for name in CONTROLS]]
        best = controls.mean().idxmax()
        rows[metric, best[0]] = sign * by_user["CSRec", metric] - controls[best]
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


def ranking_scores(ranks: pd.DataFrame, *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
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
        values = {f"HR@{k}": hit_rate(rows["rank"], k) for k in KS}
        values |= {f"NDCG@{k}": ndcg(rows["rank"], k) for k in KS}
        means = resample_means(pd.DataFrame(values), draws=draws, seed=seed).reset_index(names="metric")
        tables.append(means.assign(model=model))
    table = pd.concat([*tables, _exact(_random_ranking(ranks))], ignore_index=True)
    return table[["model", "metric", *MEAN_COLUMNS]]


def chance_scores(cells: pd.DataFrame, ranks: pd.DataFrame) -> pd.DataFrame:
    """Return the exact scores of a ranking at random, of decisions and of left-out items; as `ranking_scores`.

    It accepts an item with probability alpha, so its AHR is alpha p + (1 - alpha) (1 - p) at accept rate p.
    """
    rate = cells.groupby("user")["decision"].mean().mean()
    chance = {f"AHR@{alpha:g}": alpha * rate + (1 - alpha) * (1 - rate) for alpha in ALPHAS}
    return _exact(chance | {"AUC": 0.5} | _random_ranking(ranks))


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Lay scores out for reading: a row a model, controls and chance last, an interval in each cell."""
    text = scores.assign(text=[interval_text(*row) for row in scores[MEAN_COLUMNS].itertuples(index=False)])
    table = text.pivot_table(index="model", columns="metric", values="text", aggfunc="first", sort=False)
    last = [name for name in (*CONTROLS, RANDOM_RANKING) if name in table.index]
    first = [name for name in table.index if name not in last]
    return table.loc[[*first, *last]].fillna("–")


def _exact(means: dict[str, float]) -> pd.DataFrame:
    """Return scores of the random ranking, by metric, that need no interval."""
    table = pd.DataFrame({"metric": list(means), "mean": list(means.values()), "model": RANDOM_RANKING})
    return table.assign(lower=table["mean"], upper=table["mean"])


def _random_ranking(ranks: pd.DataFrame) -> dict[str, float]:
    """Return the expected HR@k and NDCG@k where each of the candidates is as likely at each rank."""
    candidates = ranks.drop_duplicates("user")["candidates"].to_numpy()
    chance = {f"HR@{k}": np.minimum(1, k / candidates).mean() for k in KS}
    for k in KS:
        gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))])
        chance[f"NDCG@{k}"] = float((gain[np.minimum(k, candidates)] / candidates).mean())
    return chance


def _user_means(cells: pd.DataFrame, predicted: pd.DataFrame, ranked: str = RANKED) -> pd.DataFrame:
    """Return one row a user and a column for each (model, metric): means of the user's rows; AUC shares."""
    decision, user = cells["decision"].to_numpy(), cells["user"].to_numpy()
    columns, auc = {}, {}
    for name in predicted.columns:
        probability = predicted[name].to_numpy()
        for alpha in ALPHAS:
            columns[name, f"AHR@{alpha:g}"] = accept_by_probability(probability, alpha) == decision
        columns[name, "BCE"] = cross_entropy(decision, probability)
        columns[name, "Brier"] = brier(decision, probability)
        auc[name, "AUC"] = auc_by_user(decision, probability, user)
    for alpha in ALPHAS if "rank_share" in cells else ():
        accepted = accept_by_rank(cells["rank_share"], alpha)
        columns[ranked, f"AHR@{alpha:g}"] = accepted == decision
    means = pd.DataFrame(columns).astype(float).groupby(user).mean()
    return means.join(pd.DataFrame(auc)) if auc else means


def _calibration_errors(cells: pd.DataFrame, predicted: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Return the expected calibration error of each predictor with an interval that resamples users.

    Resampling adds noise to every bin and so lifts the error; an interval is widened to hold the estimate.
    """
    users, user = np.unique(cells["user"], return_inverse=True)
    decision, count = cells["decision"].to_numpy(), predicted.shape[1]
    excess = np.zeros((len(users), count, CALIBRATION_BINS))
    for place, name in enumerate(predicted.columns):
        probability = predicted[name].to_numpy()
        where = (user, np.full(len(user), place), calibration_bin(probability))
        np.add.at(excess, where, probability - decision)
    values = np.column_stack([excess.reshape(len(users), -1), np.bincount(user)])

    def error(sums: np.ndarray) -> np.ndarray:
        by_bin = sums[..., :-1].reshape(*sums.shape[:-1], count, CALIBRATION_BINS)
        return np.abs(by_bin).sum(axis=-1) / sums[..., -1:]

    lower, upper = resample(values, error, draws=draws, seed=seed)
    mean = error(values.sum(axis=0))
    ends = {"mean": mean, "lower": np.minimum(lower, mean), "upper": upper}
    return pd.DataFrame({"model": predicted.columns, "metric": "ECE", **ends})
