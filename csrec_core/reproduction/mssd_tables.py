"""Table 2: the trials on sessions scored like their controls, and set beside the published figures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from csrec_core.data.log import SYSTEM
from csrec_core.evaluation.scores import MEAN_COLUMNS, RANDOM_RANKING, chance_scores
from csrec_core.evaluation.skips import predict_skip_controls, skip_scores
from csrec_core.metrics import brier, resample
from csrec_core.numbers import interval_text
from csrec_core.reproduction.experiment import Trial
from csrec_core.reproduction.mssd import SYSTEMS, SessionTrials
from csrec_core.reproduction.published import MSSD_METRICS, MSSD_PUBLISHED
from csrec_core.reproduction.tables import DRAWS, ORACLE, auc_gain, model_scores, rank_scores

PLAYLIST_LEVEL = "Few-Shot, level of playlists"
BY_EFFECT = ", by effect"
SKIP_ROWS = ("majority", "step", "track")  # controls of `csrec_core.evaluation.skips`
REFERENCE_ROWS = (*SKIP_ROWS, RANDOM_RANKING, PLAYLIST_LEVEL, ORACLE)
#: Why a cell is empty, as the notes of `table_two` have it.
EMPTY_MARKS = (
    "a, published of the real sessions, and these are simulated",
    "b, not in the paper",
    "c, ranks no tracks",
    "d, ranks tracks and decides nothing",
    "e, not run",
)


def run_systems(
    trials: SessionTrials, *, seeds: Sequence[int], systems: Sequence[str] = SYSTEMS
) -> pd.DataFrame:
    """Run, or read from the cache, every trial, and score it: `model`, `metric`, `mean`, `lower`, `upper`, `seed`.

    Decisions are scored by AHR (Eq. 19 of a probability, Eq. 20 of a ranking) and AUC, probabilities by
    BCE, Brier, ECE, and by MAA and first accuracy over the exposures by the system, ranks by HR and NDCG.
    Intervals are over sessions.
    """
    wanted = [(seed, system) for seed in seeds for system in systems]
    parts = []
    for seed, system in tqdm(wanted, desc="Table 2", disable=None, leave=False):
        parts.append(_trial_scores(trials.trial(system, seed=seed), system).assign(seed=seed))
    return pd.concat(parts, ignore_index=True)


def _trial_scores(trial: Trial, system: str) -> pd.DataFrame:
    cells, ranks = trial.cells, trial.ranks
    if "rank_share" in cells:
        return model_scores(trial, system)
    names = {"f_marginal": system, "f_level": PLAYLIST_LEVEL}
    predicted = cells.filter(list(names)).rename(columns=names)
    parts = [skip_scores(cells, predicted, draws=DRAWS), rank_scores(ranks, system)]
    if "rank_effect" in ranks:
        parts.append(rank_scores(ranks.assign(rank=ranks["rank_effect"]), f"{system}{BY_EFFECT}"))
    return pd.concat(parts, ignore_index=True)


def session_references(trials: SessionTrials, *, truth: np.ndarray | None = None) -> pd.DataFrame:
    """Score the controls, a ranking at random, and in a simulated world the oracle; as `run_systems`.

    `truth` (test sessions, 20) is the true probability at exposures by the system, all earlier decisions given.
    """
    learned = trials.train.asked & (trials.train.source == SYSTEM)
    controls = predict_skip_controls(trials.train, trials.test, learned=learned)
    columns = {name: controls[name][trials.exposed] for name in SKIP_ROWS}
    if truth is not None:
        columns[ORACLE] = truth[trials.exposed]
    predicted = pd.DataFrame(columns, index=trials.cells.index)
    scores = skip_scores(trials.cells, predicted, draws=DRAWS)
    ranks = pd.DataFrame({"user": trials.sessions.users[trials.candidates.rows]})
    chance = chance_scores(trials.cells, ranks.assign(candidates=trials.effort.candidates))
    return pd.concat([scores, chance], ignore_index=True).assign(seed=0)


def table_two(summary: pd.DataFrame | None, *, simulated: bool) -> pd.DataFrame:
    """Set the reproduced figures beside the published ones, a row a system.

    For each of `MSSD_METRICS` what is `published` and `reproduced` (text, with its interval) and, of real sessions,
    their `difference`: the published figures are of other data than simulated ones. `note` has the marks of what is
    empty (`MARKS`). The summary is of `csrec_core.reproduction.tables.summarise`; None where nothing was run.
    """
    if summary is None:
        summary = pd.DataFrame(columns=["model", "metric", *MEAN_COLUMNS])
    own = summary.set_index(["model", "metric"])[MEAN_COLUMNS]
    present = summary["model"].unique()
    rows = []
    for system in dict.fromkeys([*SYSTEMS, *present]):
        known, ran = system in MSSD_PUBLISHED.index, system in present
        row: dict[str, object] = {"system": system}
        marks = set("a" * (known and ran and simulated) + "b" * (not known) + "e" * (not ran))
        for metric in MSSD_METRICS:
            published = MSSD_PUBLISHED.loc[system, metric] if known else np.nan
            here = (system, metric) in own.index
            values = own.loc[(system, metric)].to_numpy() if here else np.full(3, np.nan)
            row[f"{metric} published"] = published
            row[f"{metric} reproduced"] = interval_text(*values)
            if not simulated:
                row[f"{metric} difference"] = values[0] - published
            if ran and not here:
                marks.add("c" if metric == "HR@10" else "d")
        rows.append(row | {"note": ", ".join(sorted(marks))})
    return pd.DataFrame(rows)


def source_effect(cells: pd.DataFrame, *, estimand: str = "filtered") -> tuple[float, float, float]:
    """Return the mean of f - f~ over the exposures by the system: mean, lower, upper, by session.

    The interval is that of sampling sessions, not of the models: where preferences are hidden, f~
    extrapolates from tracks that were chosen to those that were played.
    """
    ending = {"filtered": "", "marginal": "_marginal"}[estimand]
    apart = cells[f"f{ending}"] - cells[f"f_tilde{ending}"]
    return _bootstrap_mean(apart, cells["user"])


def session_gain(cells: pd.DataFrame, own: pd.Series, other: pd.Series) -> pd.DataFrame:
    """Return by how much probabilities beat others: `metric` (AUC, Brier), `mean`, `lower`, `upper`.

    The interval is a bootstrap over sessions of the paired difference; positive is better.
    """
    error = brier(cells["decision"], other) - brier(cells["decision"], own)
    rows = {"AUC": auc_gain(cells, own, other), "Brier": _bootstrap_mean(pd.Series(error), cells["user"])}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=MEAN_COLUMNS)
    return table.reset_index(names="metric")


def _bootstrap_mean(values: pd.Series, user: pd.Series) -> tuple[float, float, float]:
    """Return the mean of the rows' values, with a bootstrap over users."""
    sums = pd.DataFrame({"x": values.to_numpy(), "rows": 1.0}).groupby(user.to_numpy()).sum().to_numpy()
    lower, upper = resample(sums, lambda total: total[..., :1] / total[..., 1:], draws=DRAWS)
    total = sums.sum(axis=0)
    return float(total[0] / total[1]), float(lower[0]), float(upper[0])
