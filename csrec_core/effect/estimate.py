"""The estimated effect of one arm against another, with what it rests on."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from csrec_core.data.log import Dataset
from csrec_core.effect.audit import audit_arms, audit_items
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import FOLDS, Engine, Known, look_over
from csrec_core.effect.identification import Identification, judge, measure_overlap
from csrec_core.effect.nuisance import fit_model
from csrec_core.effect.score import (
    FEWEST,
    Sums,
    combine_splits,
    effects_of,
    intervals,
    merged,
    slope_of,
    sum_scores,
)
from csrec_core.effect.sensitivity import benchmark, sensitivity_band, tipping_point
from csrec_core.effect.table import ItemCounts, fold_of, lay_rows
from csrec_core.effect.users import user_effects
from csrec_core.errors import InputError

__all__ = ["ESTIMATORS", "Effect", "estimate_effect"]

#: The estimators that are shown beside each other, on the same rows; the first one is reported.
ESTIMATORS = {
    "doubly robust": "weights and regression together: right where either is",
    "weighting": "weights alone",
    "regression": "regressions of both arms alone",
    "observed": "the plain difference of the two acceptance rates",
}
LAST_STEP = 100  # later exposures count with it
SPLITS = 3
MANY = 200_000  # rows, from which on the deal of users into folds moves the effect too little to repeat it thrice


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect, by whatever deals of users into folds it was estimated.

    Attributes
    ----------
    design : Design
    identification : Identification
    known : Known
    splits : list of Sums
        One of each deal: `all`, `estimators`, `step`, `band`; and groupings that a log in parts asked for.
    scores : tuple of DataFrame
        Of `Engine.score`, one of each deal, rows as in `lay_rows`; empty for a log in parts.
    benchmark : tuple of (str, float)
        The observed column that moves the odds of the arm most, and by which factor.
    level : float
        Of all intervals.
    name : str
    learners : dict
        By nuisance, the learner that was chosen.
    seed : int
        Of the deals.
    """

    design: Design
    identification: Identification
    known: Known
    splits: list[Sums]
    scores: tuple[pd.DataFrame, ...]
    benchmark: tuple[str, float]
    level: float
    name: str
    learners: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def mean(self) -> pd.Series:
        """The mean effect: `effect`, `lower`, `upper`, `error` (standard error)."""
        return self._grouped(self.splits, "all").iloc[0]

    @cached_property
    def baseline(self) -> float:
        """Mean decision at the target, had the baseline exposed."""
        return float(np.median([effects_of(sums, "all").baseline[0] for sums in self.splits]))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the mean effect over deals of users into folds."""
        return float(np.std([effects_of(sums, "all").effect[0] for sums in self.splits]))

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """The mean by each of `ESTIMATORS`: `name`, `effect`, `lower`, `upper`, `error`."""
        table = self._grouped(self.splits, "estimators")
        table.insert(0, "name", list(ESTIMATORS))
        return table

    @cached_property
    def over_time(self) -> pd.DataFrame:
        """The effect by number of the arm's exposure: `step`, `last` (of steps put together), `effect`, ...

        Steps are put together until an interval has enough users and accepted exposures to rest on.
        """
        worth = np.median([effects_of(sums, "step", shared=True).worth for sums in self.splits], axis=0)
        rows = np.median([sums["step"].reshape(len(worth), -1)[:, 3] for sums in self.splits], axis=0)
        into = _merge_small(worth, rows)
        if into is None:
            return pd.DataFrame(columns=["step", "last", "effect", "lower", "upper", "error"])
        table = self._grouped([merged(sums, "step", into) for sums in self.splits], "step", shared=True)
        steps = pd.Series(np.arange(1, len(into) + 1)).groupby(into)
        table.insert(0, "step", steps.min().to_numpy())
        table.insert(1, "last", steps.max().to_numpy())
        return table.dropna(ignore_index=True)

    @cached_property
    def trend(self) -> pd.Series:
        """Change of the effect an exposure, steps weighted by their information."""
        found = []
        for sums in self.splits:
            effects = effects_of(sums, "step", shared=True)
            found.append(slope_of(effects, np.arange(1.0, len(effects.effect) + 1)))
        effect, error, worth = np.array(found).T
        return intervals(*combine_splits(effect, error), np.median(worth), level=self.level).iloc[0]

    @cached_property
    def band(self) -> pd.DataFrame:
        """The effect if hidden causes move the odds of the arm (`sensitivity_band`); empty where none can.

        Nothing hidden moves an arm that was drawn with known chances.
        """
        if self.design.estimand == "arm" and self.identification.status == "identified":
            return pd.DataFrame(columns=["odds", "least", "most", "lower", "upper"])
        return sensitivity_band(self.splits, span=self.known.span, level=self.level)

    @cached_property
    def tipping(self) -> float:
        """The odds at which zero enters (`tipping_point`); NaN where nothing hidden can."""
        if self.band.empty:
            return float("nan")
        return tipping_point(self.splits, span=self.known.span, level=self.level)

    def by(
        self, labels: pd.Series | np.ndarray, *, shared: bool = False, level: float | None = None
    ) -> pd.DataFrame:
        """Return the effect in each group of rows.

        Parameters
        ----------
        labels : array (rows of the log,)
            A group for each; NaN leaves a row out.
        shared : bool
            Take the baseline's residuals over all groups: for labels that mean nothing there.
        level : float, optional
            Of the intervals; that of the effect by default.

        Returns
        -------
        DataFrame
            `group`, `effect`, `lower`, `upper`, `error`, `exposures`, `users` (of the arm). A group with too few
            users or accepted exposures for an interval is left out.
        """
        names, splits = self.group_sums(labels)
        found = self._grouped(splits, "groups", shared=shared, level=level)
        found.insert(0, "group", names)
        scores = self.scores[0]
        own = scores[(scores["w1"] > 0) & (scores["arm"] == 1)]
        group = pd.Series(np.asarray(labels), dtype=object).to_numpy()[own["place"]]
        counts = own.groupby(group)["user"].agg(["size", "nunique"])
        found["exposures"] = found["group"].map(counts["size"]).fillna(0).astype(int)
        found["users"] = found["group"].map(counts["nunique"]).fillna(0).astype(int)
        return found.dropna(subset="effect", ignore_index=True)

    def group_sums(self, labels: pd.Series | np.ndarray) -> tuple[list, list[Sums]]:
        """Return the groups of a label of the log's rows, and the sums by them, one of each deal."""
        if not self.scores:
            raise InputError("an effect of a log in parts has no rows; expected one of its groupings")
        code, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
        if not len(names):
            raise InputError("no row has a group; expected a label for some")
        return list(names), [
            sum_scores(scores, {"groups": (code[scores["place"].to_numpy()], len(names))}) for scores in self.scores
        ]

    @cached_property
    def users(self) -> pd.DataFrame:
        """The users' effects, partially pooled (`csrec_core.effect.users.user_effects`)."""
        return user_effects(self.scores[0], error=float(self.mean["error"]), level=self.level)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The rows of both arms with their scores, means over the deals of users into folds."""
        first = self.scores[0]
        names = ["e", "m1", "m0", "tau", "w1", "w0"]
        mean = np.mean([scores[names].to_numpy() for scores in self.scores], axis=0)
        return first.assign(**dict(zip(names, mean.T, strict=True)))[first["arm"] >= 0].reset_index(drop=True)

    def _grouped(self, splits, name, *, shared=False, level=None) -> pd.DataFrame:
        found = [effects_of(sums, name, shared=shared) for sums in splits]
        errors = np.array([np.sqrt(np.maximum(np.diag(one.covariance), 0)) for one in found])
        effect, error = combine_splits(np.array([one.effect for one in found]), errors)
        worth = np.median([one.worth for one in found], axis=0)
        return intervals(effect, error, worth, level=level or self.level)


def _merge_small(worth: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Return for each step its group: neighbours are put together until each group is worth an interval."""
    steps = int(np.flatnonzero(rows > 0).max()) + 1 if (rows > 0).any() else 0
    into, group, have = np.zeros(len(worth), dtype=int), 0, 0.0
    for step in range(steps):
        into[step] = group
        have += worth[step] if np.isfinite(worth[step]) else 0.0
        if have >= 2 * FEWEST:
            group, have = group + 1, 0.0
    if not group:
        return None
    return np.minimum(into, group - 1)[:steps] if steps == len(into) else np.r_[
        np.minimum(into[:steps], group - 1), np.full(len(into) - steps, group - 1)
    ]


def estimate_effect(
    dataset: Dataset,
    *,
    design: Design | None = None,
    folds: int = FOLDS,
    splits: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    learners: dict[str, str] | None = None,
    **declared,
) -> Effect:
    """Estimate the mean effect of an arm against a baseline, and judge what it rests on.

    Parameters
    ----------
    dataset : Dataset
    design : Design, optional
        By default found from the log and from what is `declared` (`csrec_core.effect.design.find_design`).
    folds : int
        Of users, at least 3: item statistics leave out the fold of a row and the fold that is predicted.
    splits : int, optional
        Deals of users into folds; the median counts, and their spread is part of the error. By default 3, or
        2 for a large log.
    level : float
        Of the intervals, in (0, 1).
    seed : int
        Of the deals.
    learners : dict, optional
        Those of an estimate that this one repeats on other data: none are chosen, and no `benchmark` is sought.

    Raises
    ------
    InputError
        With one arm, or a number out of range.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> found = estimate_effect(simulate_books(users=200, seed=1))
    >>> found.identification.status
    'identified'
    >>> bool(found.mean["lower"] < 0.13 < found.mean["upper"])
    True
    """
    if folds < 3:
        raise InputError(f"folds = {folds}; expected at least 3")
    if splits is not None and splits < 1:
        raise InputError(f"splits = {splits}; expected at least 1")
    if not 0 < level < 1:
        raise InputError(f"level = {level}; expected a share in (0, 1)")
    design = find_design(dataset, **declared) if design is None else design
    rows = lay_rows(dataset, design)
    _check_arms(rows, design, dataset)
    known = look_over(rows, catalogue=None if dataset.items is None else dataset.items["item"].nunique())
    splits = splits or (SPLITS if known.rows < MANY else 2)
    engines, scores, features = [], [], None
    for engine, features in _engines(rows, design, known, folds, splits, seed, learners):
        engines.append(engine)
        scores.append(engine.score(rows, features=features))
    first = engines[0]
    chance, given = first.arm_chance(rows, scores[0]["e"].to_numpy())
    audit = [
        *audit_items(rows, design, catalogue=known.catalogue) * (design.estimand == "exposure"),
        *audit_arms(scores[0], rows, design, chance if given else None),
    ]
    overlap = measure_overlap(scores[0], design)
    identification = judge(design, first.chances(rows), overlap, audit, arm_given=given, rows=rows)
    sums = [split_sums(one, known) for one in scores]
    return Effect(
        design=design,
        identification=identification,
        known=known,
        splits=sums,
        scores=tuple(scores),
        benchmark=("", 1.0) if given or learners else strongest(first, rows, features, scores[0]),
        level=level,
        name=dataset.name,
        learners=first.learners,
        seed=seed,
    )


def _check_arms(rows: pd.DataFrame, design: Design, dataset: Dataset) -> None:
    for side, name in ((0, design.baseline), (1, design.arm)):
        if not (rows["arm"] == side).any():
            raise InputError(
                f"{dataset.name}: no exposure has source={name!r}; expected exposures of two arms to compare"
            )


def _engines(rows, design, known, folds, splits, seed, learners) -> Iterator[tuple[Engine, pd.DataFrame]]:
    """Yield an engine for each deal of users, and the features, which are the same for all."""
    features = None
    for number in range(splits):
        own = seed * 1000 + number
        counts = ItemCounts.count(rows, fold_of(rows["user"].to_numpy(), folds, own), folds)
        options = {"folds": folds, "seed": own, "learners": learners}
        if features is None:
            features = Engine(design, known, counts, folds, own).describe(rows)
        engine = Engine.learn(rows, design, known, counts, features=features, **options)
        learners = engine.learners
        yield engine, features


def split_sums(scores: pd.DataFrame, known: Known, **groupings: tuple[np.ndarray, int]) -> Sums:
    """Return the sums that an `Effect` needs of the scores of one deal, or of a part of it."""
    one = np.zeros(len(scores), dtype=int)
    step = np.where(scores["arm"] == 0, 0, np.minimum(scores["step"].to_numpy(), LAST_STEP) - 1)
    value = 0.5 if known.binary else known.rate
    found = sum_scores(
        scores, {"all": (one, 1), "step": (step, LAST_STEP), **groupings}, span=known.span, value=value
    )
    variants = pd.concat(list(_variants(scores, value)), ignore_index=True)
    label = np.repeat(np.arange(len(ESTIMATORS)), len(scores))
    found.update(sum_scores(variants, {"estimators": (label, len(ESTIMATORS))}))
    return found


def _variants(scores: pd.DataFrame, value: float) -> Iterator[pd.DataFrame]:
    """Yield the scores as each of `ESTIMATORS` has them."""
    names = ["user", "decision", "tau", "w1", "w0", "m1", "m0"]
    own, arm = scores[names], scores["arm"].to_numpy()
    own = own.assign(accepted=own["decision"] > value)
    yield own
    yield own.assign(m1=0.0, m0=0.0)
    # A regression alone has no residuals: every row decides as it is expected to.
    yield own.assign(decision=np.where(arm == 1, own["m1"], own["m0"]))
    plain = {"tau": (arm == 1) * 1.0, "w1": (arm == 1) * 1.0, "w0": (arm == 0) * 1.0}
    yield own.assign(m1=0.0, m0=0.0, **plain)


def strongest(
    engine: Engine, rows: pd.DataFrame, features: pd.DataFrame, scores: pd.DataFrame, *, most: int = 12
) -> tuple[str, float]:
    """Return the observed column whose loss moves the odds of the arm most (`benchmark`).

    All are regressions on some of the rows, none of them cross-fitted: it is a measure of strength, no part of
    the estimate.
    """
    kind = engine.chances(rows).kind
    names = [name for name in engine.columns("arm", kind) if name in features.columns]
    own = np.flatnonzero((rows["arm"] >= 0).to_numpy())
    own = own[np.random.default_rng(engine.seed).permutation(len(own))[:10_000]]
    table = features[names].iloc[own].reset_index(drop=True)
    names = [name for name in names if np.ptp(table[name].to_numpy()) > 0]
    if not names:
        return "", 1.0
    arm, weight = (rows["arm"].to_numpy()[own] == 1).astype(float), scores["w0"].to_numpy()[own]
    full = fit_model(table[names], arm).predict(table[names])
    away = {name: abs(np.corrcoef(table[name], arm)[0, 1]) for name in names}
    without = {}
    for name in sorted(names, key=away.get, reverse=True)[:most]:
        rest = [other for other in names if other != name]
        found = fit_model(table[rest], arm).predict(table[rest]) if rest else np.full(len(arm), arm.mean())
        without[name] = found
    return benchmark(full, without, weight)


def with_checks(effect: Effect, checks: list) -> Effect:
    """Return the effect with its identification judged again once the checks are in."""
    return replace(effect, identification=effect.identification.after(checks))
