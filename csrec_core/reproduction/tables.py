"""The tables of the reproduction: trials, controls and chance scored alike, and put together over seeds."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.ensemble import HistGradientBoostingClassifier

from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log
from csrec_core.effect.design import Design
from csrec_core.effect.folds import fold_of
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.record import describe
from csrec_core.effect.rows import Clock, lay_rows
from csrec_core.errors import unknown
from csrec_core.evaluation.controls import (
    CONTROLS,
    HISTORY_CONTROLS,
    predict_controls,
    predict_history_controls,
)
from csrec_core.evaluation.scores import (
    MEAN_COLUMNS,
    RANDOM_RANKING,
    chance_scores,
    decision_scores,
    ranking_scores,
)
from csrec_core.metrics import auc_by_user, resample_means
from csrec_core.models.backbones import BACKBONES
from csrec_core.reproduction.experiment import Reproduction, Trial, Wanted
from csrec_core.reproduction.presets import Preset

ORACLE = "oracle"
TABULAR = "boosted trees"  # on what is known before each exposure: what a sequence model has to beat
REFERENCES = (*CONTROLS, *HISTORY_CONTROLS, TABULAR, RANDOM_RANKING, ORACLE)
DECISION_METRICS = ("AHR@0.2", "AHR@0.5", "AUC", "Brier", "ECE")
DRAWS = 300  # resamples of users
TREE_PARTS = 5  # of the users that trees are fitted on: item statistics are cross-fitted between them


def csrec_name(backbone: str) -> str:
    """Return the name of CSRec on a backbone, `CSRec (SASRec)`."""
    return f"CSRec ({BACKBONES[backbone]})"


def experiment(bench: Reproduction, wanted: Sequence[Wanted]) -> pd.DataFrame:
    """Run trials, or read them from the cache, and score them: as `model_scores`.

    With `seed`, `preset` ("" for a baseline) and CPU `seconds` of each trial.
    """
    for backbone, _, _ in wanted:
        if backbone not in BACKBONES:
            raise unknown("backbone", backbone, BACKBONES)
    parts = []
    for (backbone, seed, preset), trial in zip(wanted, bench.trials(wanted), strict=True):
        if preset is None:
            scores = model_scores(trial, BACKBONES[backbone]).assign(preset="")
        else:
            scores = model_scores(trial, csrec_name(backbone), preset.columns[0]).assign(preset=preset.name)
        parts.append(scores.assign(seed=seed, seconds=trial.seconds))
    return pd.concat(parts, ignore_index=True)


def run_presets(
    bench: Reproduction,
    *,
    backbones: Sequence[str],
    over: Sequence[str],
    presets: Mapping[str, Preset],
    seeds: Sequence[int],
) -> pd.DataFrame:
    """Run baselines and CSRec under every preset; under those of users never seen on the first of `over` alone."""
    timed, across = ([each for each in presets.values() if each.crossed is side] for side in (False, True))
    wanted: list[Wanted] = [(name, seed, None) for seed in seeds for name in backbones]
    wanted += [*itertools.product(over, seeds, timed), *itertools.product(over[:1], seeds, across)]
    return experiment(bench, wanted)


def summarise_presets(
    trials: pd.DataFrame, references: pd.DataFrame, presets: Iterable[str]
) -> dict[str, pd.DataFrame]:
    """Return `summarise` of each preset, with the baselines and the references in each."""
    parts = {name: trials[trials["preset"].isin(["", name])] for name in presets}
    return {name: summarise(pd.concat([part, references], ignore_index=True)) for name, part in parts.items()}


def name_by_preset(trials: pd.DataFrame) -> pd.Series:
    """Return each row's model with its preset, `CSRec (SASRec), paper`; a baseline has none."""
    return trials["model"].str.cat(trials["preset"], sep=", ").str.removesuffix(", ")


def reference_scores(
    bench: Reproduction, probabilities: pd.DataFrame, *, backbone: str, seed: int
) -> pd.DataFrame:
    """Score what is set beside the models: columns of probabilities, and a ranking at random.

    The probabilities are those of the tested exposures, as of `control_probabilities`; the ranking at random has the
    candidates of the baseline `backbone`.
    """
    tested = bench.cells[bench.cells["tested"]]
    chance = chance_scores(tested, bench.trial(backbone, seed).ranks)
    parts = [decision_scores(tested, probabilities, draws=DRAWS), chance]
    return pd.concat(parts, ignore_index=True).assign(seed=0)


def hidden_step(
    bench: Reproduction,
    trials: pd.DataFrame,
    *,
    backbone: str,
    presets: Sequence[Preset],
    seeds: Sequence[int],
) -> tuple[pd.DataFrame, float]:
    """Score the decisions as they fell and after each user's exposures are shuffled with their decisions.

    Return `summarise` of both, a model's name ending in its preset and, after shuffling, in `shuffled`; and the
    accept rate of the exposures then tested. `trials` are of `experiment`, as they fell.
    """
    hidden = replace(bench, dataset=shuffle_exposures(bench.dataset, seed=seeds[0]))
    again = experiment(hidden, [*itertools.product([backbone], seeds, presets)])
    tested = hidden.cells[hidden.cells["tested"]]
    controls = decision_scores(tested, control_probabilities(hidden), draws=DRAWS).assign(seed=0)
    fell = trials[trials["preset"].isin([preset.name for preset in presets])]
    parts = [
        again.assign(model=name_by_preset(again) + ", shuffled"),
        fell.assign(model=name_by_preset(fell)),
        controls.assign(model=controls["model"] + ", shuffled"),
    ]
    table = summarise(pd.concat(parts, ignore_index=True))
    return table[table["metric"].isin(DECISION_METRICS)], float(tested["decision"].mean())


def shuffle_exposures(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """Shuffle each user's exposures by the system together with their decisions: the step is hidden.

    What a user decides on an item is kept, and so is the self phase; a simulated world loses its truth.
    """
    log = dataset.log.copy()
    rng = np.random.default_rng(seed)
    system = (log["source"] == SYSTEM).to_numpy()
    user, t = log.loc[system, "user"].to_numpy(), log.loc[system, "t"].to_numpy()
    order = np.lexsort((rng.random(len(user)), user))  # a random order within each user
    shuffled = np.empty_like(t)
    shuffled[order] = t[np.lexsort((t, user))]
    log.loc[system, "t"] = shuffled
    return replace(dataset, log=validate_log(log), truth=None, name=f"{dataset.name}, shuffled")


def model_scores(trial: Trial, name: str, column: str = "") -> pd.DataFrame:
    """Score a trial: `model`, `metric`, `mean`, `lower`, `upper` (over users).

    Decisions are those of a column of probabilities (Eq. 19); without one of a ranking (Eq. 20), whose AUC is
    of the rank.
    """
    cells = trial.cells
    predicted = cells[[column]].set_axis([name], axis=1) if column else cells[[]]
    parts = [decision_scores(cells, predicted, ranked=name, draws=DRAWS)]
    if not column:
        auc = auc_by_user(cells["decision"], -cells["rank_share"], cells["user"]).to_frame("AUC")
        parts.append(resample_means(auc, draws=DRAWS).reset_index(names="metric").assign(model=name))
    return pd.concat([*parts, rank_scores(trial.ranks, name)], ignore_index=True)


def rank_scores(ranks: pd.DataFrame, name: str) -> pd.DataFrame:
    """Score a model's `rank` of left-out items; as `model_scores`."""
    scores = ranking_scores(ranks.assign(model=name), draws=DRAWS)
    return scores[scores["model"] == name]


def control_probabilities(bench: Reproduction) -> pd.DataFrame:
    """Return what the controls, and in a simulated world the oracle, say of the tested exposures, a column each.

    All are fitted on the users of the other half, from whole sequences: they may know what CSRec of the
    presets over time may not, the decisions of others on the tested exposures.
    """
    cells, log, truth = bench.cells, bench.dataset.log, bench.dataset.truth
    popularity = log[log["source"] == SELF].groupby("item").size()
    columns = [predict_controls(cells, popularity), predict_history_controls(cells, last=bench.last)]
    columns.append(predict_trees(bench.dataset, cells).to_frame())
    if truth is not None:
        known = truth[truth["source"] == SYSTEM].set_index(["user", "t"])["p_system"]
        oracle = known.loc[pd.MultiIndex.from_frame(cells[["user", "t"]])].to_numpy()
        columns.append(pd.DataFrame({ORACLE: oracle}, index=cells.index))
    return pd.concat(columns, axis=1)[cells["tested"].to_numpy()]


def predict_trees(dataset: Dataset, cells: pd.DataFrame) -> pd.Series:
    """Predict the acceptance of exposures by boosted trees that were fitted on the users of the other folds.

    They read what is known before the decision (`csrec_core.effect.record`), and what the users whom they are
    fitted on did with the item. Nothing is taken from a simulated world's truth. Of `cells`, exposures by the
    system, `user`, `t`, `decision` and `fold` are read.
    """
    rows, known, place = _known_before(dataset, cells)
    decision, part = cells["decision"].to_numpy(), fold_of(rows["user"].to_numpy(), TREE_PARTS, 0)
    predicted = np.empty(len(cells))
    for held in cells["fold"].unique():
        own = (cells["fold"] == held).to_numpy()
        if len(np.unique(decision[~own])) < 2:
            predicted[own] = decision[~own].mean() if len(decision[~own]) else 0.5
            continue
        counted = ~rows["user"].isin(cells["user"][own]).to_numpy()
        counts = ItemCounts.count(rows[counted], part[counted], TREE_PARTS)
        item = counts.measure(rows["item"].to_numpy()[place], part[place])
        features = pd.concat([known, item], axis=1)
        many = len(decision[~own]) >= 1000
        trees = HistGradientBoostingClassifier(
            learning_rate=0.06, max_iter=300, l2_regularization=1.0, early_stopping=many, random_state=0
        ).fit(features[~own], decision[~own])
        predicted[own] = trees.predict_proba(features[own])[:, 1]
    return pd.Series(predicted, index=cells.index, name=TABULAR)


def _known_before(dataset: Dataset, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return the log's rows, what is known before each of `cells`, and the place of these among the rows."""
    rows = lay_rows(dataset, Design())
    # As if users were of one arm each: the record is of all that came before.
    known = describe(rows, Clock((), True), rate=0.5)
    rows["accepted"] = rows.groupby(["user", "arm"])["decision"].cumsum() - rows["decision"]
    known["accepted"] = rows["accepted"] / known["step"].where(known["step"] > 0)
    known["rejections"] = rows.groupby(["user", "arm", "accepted"]).cumcount()  # `run` ends at a few
    shown = np.flatnonzero(rows["arm"] == 1)
    key = ["user", "t"]
    of_rows, of_cells = (pd.MultiIndex.from_frame(frame[key]) for frame in (rows.iloc[shown], cells))
    place = shown[of_rows.get_indexer(of_cells)]
    return rows, known.iloc[place].reset_index(drop=True), place


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Put the scores of several seeds together: `mean` over seeds, `lower`, `upper`, `seeds`, and their `spread`.

    The scores have `model`, `metric`, `mean`, `lower`, `upper` (over users) and `seed`; the spread is the standard
    deviation over seeds, NaN of one. The interval's variance is that over users, the mean of the seeds', plus that of
    the mean over seeds (Student's t), for the two vary independently. It ends where the metric does: all are in
    [0, 1] but the cross-entropy, which has no upper end.
    """
    half = (scores["upper"] - scores["lower"]) / 2
    groups = scores.assign(half=half).groupby(["model", "metric"], sort=False)
    table = groups.agg(mean=("mean", "mean"), spread=("mean", "std"), users=("half", "mean"))
    table["seeds"] = groups["seed"].nunique()
    several = table["seeds"] > 1
    quantile = student.ppf(0.975, np.maximum(table["seeds"] - 1, 1))
    over_seeds = np.where(several, quantile * table["spread"] / np.sqrt(table["seeds"]), 0.0)
    wide = np.hypot(table.pop("users"), over_seeds)
    ends = np.where(table.index.get_level_values("metric") == "BCE", np.inf, 1.0)
    table["lower"] = np.maximum(table["mean"] - wide, 0.0)
    table["upper"] = np.minimum(table["mean"] + wide, ends)
    one = ~several  # a single seed keeps the bootstrap's own interval, which need not be symmetric
    first = groups[["lower", "upper"]].first()
    table.loc[one, ["lower", "upper"]] = first.loc[one, ["lower", "upper"]]
    return table.reset_index()[["model", "metric", *MEAN_COLUMNS, "seeds", "spread"]]


def auc_gain(cells: pd.DataFrame, own: pd.Series, other: pd.Series) -> tuple[float, float, float]:
    """Return by how much the AUC of probabilities exceeds that of others: mean, lower, upper.

    Both are on the same rows, so the interval, a bootstrap over users, is that of their difference.
    """
    of_own, of_other = (auc_by_user(cells["decision"], said, cells["user"]) for said in (own, other))
    gain = resample_means((of_own - of_other).to_frame("gain"), draws=DRAWS).loc["gain"]
    mean, lower, upper = (float(gain[name]) for name in MEAN_COLUMNS)
    return mean, lower, upper


def margin_of_oracle(summary: pd.DataFrame, models: Sequence[str]) -> dict[str, float]:
    """Return each model's share of the oracle's AUC above one half; 1 is as good as the truth."""
    auc = summary[summary["metric"] == "AUC"].set_index("model")["mean"]
    return {model: float((auc[model] - 0.5) / (auc[ORACLE] - 0.5)) for model in models}
