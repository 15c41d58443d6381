"""The estimation of an effect: what a log's rows tell of it, and the judgement of what that rests on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from csrec_core.data.log import Dataset
from csrec_core.data.options import ReadOptions
from csrec_core.effect.audit import audit_arms, audit_items, audit_reading
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import FOLDS, Engine, Known, look_over
from csrec_core.effect.folds import fold_of
from csrec_core.effect.identification import judge
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.nuisance import NETWORK
from csrec_core.effect.overlap import Overlap, measure_overlap, tally_overlap
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import lay_rows
from csrec_core.effect.score import Sums, group_rows, item_fifths, split_sums
from csrec_core.effect.sensitivity import strongest
from csrec_core.errors import InputError

if TYPE_CHECKING:
    from csrec_core.models.predictions import Settings

SPLITS = 3
MANY = 200_000  # rows, from which on the split of users into folds moves the effect too little to repeat it thrice


def estimate_effect(
    dataset: Dataset,
    *,
    design: Design | None = None,
    folds: int = FOLDS,
    splits: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    groups: bool = False,
    learners: dict[str, str] | None = None,
    networks: "Settings | None" = None,
    **declared: Any,
) -> Effect:
    """Estimate the mean effect of an arm against a baseline, and judge what it rests on.

    Parameters
    ----------
    design : Design, optional
        By default found from the log and from what is `declared` (`csrec_core.effect.design.find_design`).
    folds : int
        Of users, at least 3: item statistics leave out the fold of a row and the fold that is predicted.
    splits : int, optional
        Splits of users into folds; the median counts, and their spread is part of the error. By default 3, or
        2 for a large log.
    level : float
        Of the intervals, in (0, 1).
    seed : int
        Of the splits.
    groups : bool
        Whether the effect is summed by the groupings of every log (`csrec_core.effect.score.group_rows`), too.
    learners : dict, optional
        Those of an estimate that this one repeats on other data: none are chosen, and no `benchmark` is sought.
    networks : Settings, optional
        How networks are trained that the nuisances may read, such as `csrec_core.effect.networks.NETWORKS`; by
        default none is.

    Raises
    ------
    InputError
        With one arm, a number out of range, or networks where they have nothing to read.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> found = estimate_effect(simulate_books(users=200, seed=1))
    >>> found.identification.status
    'identified'
    >>> bool(found.mean["lower"] < 0.13 < found.mean["upper"])
    True
    """
    design = find_design(dataset, **declared) if design is None else design
    rows = lay_rows(dataset, design)
    exposures = [int((rows["arm"] == side).sum()) for side in (0, 1)]
    seeds = split_seeds(design, exposures, dataset.name, folds=folds, splits=splits, level=level, seed=seed)
    known = look_over(rows, catalogue=None if dataset.items is None else dataset.items["item"].nunique())
    user = rows["user"].to_numpy()
    counts = [ItemCounts.count(rows, fold_of(user, folds, one), folds) for one in seeds]
    features = known.describe(rows)
    tables = [features] * len(seeds)
    if networks is not None:
        if design.estimand == "arm" or not known.binary:
            raise InputError(
                f"{dataset.name}: networks read which items a user accepted; expected the same item under either "
                "arm (estimand exposure), and decisions of yes or no"
            )
        from csrec_core.effect.networks import network_logits  # PyTorch is not imported where none is trained

        laid = rows, dataset.items, known.clock, networks
        tables = [features.assign(**{NETWORK: network_logits(*laid, folds=folds, seed=one)}) for one in seeds]
    engines = learn_engines(rows, tables, design, known, counts, seeds=seeds, learners=learners)
    scores = tuple(engine.score(rows, table) for engine, table in zip(engines, tables, strict=True))
    codes, names = group_rows(rows, features, known, item_fifths(counts[0])) if groups else ({}, {})
    sums = [split_sums(one, known, codes) for one in scores]
    overlap = measure_overlap([tally_overlap(scores[0])], sums[0], counts[0], scores[0], design)
    about: dict[str, Any] = {"level": level, "name": dataset.name, "groups": names, "seed": seed}
    about |= {"scores": scores, "benchmark": ("", 1.0) if learners else None}
    return conclude(rows, features, engines, scores[0], sums, overlap, read=dataset.read, **about)


def split_seeds(
    design: Design,
    exposures: Sequence[int],
    name: str,
    *,
    folds: int,
    splits: int | None,
    level: float,
    seed: int,
) -> list[int]:
    """Return the seed of each split of users into folds.

    Refuses numbers out of range, and a log without exposures of the baseline, or of the arm.
    """
    if folds < 3:
        raise InputError(f"folds = {folds}; expected at least 3")
    if splits is not None and splits < 1:
        raise InputError(f"splits = {splits}; expected at least 1")
    if not 0 < level < 1:
        raise InputError(f"level = {level}; expected a share in (0, 1)")
    for count, arm in zip(exposures, (design.baseline, design.arm), strict=True):
        if not count:
            raise InputError(
                f"{name}: no exposure has source={arm!r}; expected exposures of two arms to compare"
            )
    by_default = SPLITS if sum(exposures) < MANY else 2
    return [seed * 1000 + number for number in range(splits or by_default)]


def learn_engines(
    rows: pd.DataFrame,
    tables: Sequence[pd.DataFrame],
    design: Design,
    known: Known,
    counts: Sequence[ItemCounts],
    *,
    seeds: Sequence[int],
    learners: dict[str, str] | None = None,
) -> list[Engine]:
    """Learn an engine for each split, from its table of features; learners are chosen in the first."""
    engines: list[Engine] = []
    for table, own, seed in zip(tables, counts, seeds, strict=True):
        engines.append(Engine.learn(rows, table, design, known, own, seed=seed, learners=learners))
        learners = engines[0].learners
    return engines


def conclude(
    rows: pd.DataFrame,
    features: pd.DataFrame,
    engines: Sequence[Engine],
    scored: pd.DataFrame,
    sums: list[Sums],
    overlap: Overlap,
    *,
    read: ReadOptions | None,
    benchmark: tuple[str, float] | None = None,
    **others: Any,
) -> Effect:
    """Return the effect that the sums of each split make, judged by what it rests on.

    `sums` and `overlap` are of all rows; `rows`, `features` and `scored` of the users that the engines learned from,
    by which the chances are audited and, unless it is given, the `benchmark` is found. `read` is how the log was read.
    """
    first = engines[0]
    design, known = first.design, first.known
    chance, given = first.arm_chance(rows, scored["e"].to_numpy())
    audit = [
        *audit_items(rows, design, catalogue=known.catalogue) * (design.estimand == "exposure"),
        *audit_arms(rows, design, chance if given else None),
    ]
    read_off = audit_reading(scored, rows, design) if "chance" in scored.columns else None
    about: dict[str, Any] = {"arm_given": given, "rows": rows, "binary": known.binary, "read_off": read_off}
    return Effect(
        design=design,
        identification=judge(design, first.chances(rows), overlap, audit, **about),
        known=known,
        splits=sums,
        benchmark=benchmark or (("", 1.0) if given else strongest(first, rows, features, scored)),
        learners=first.learners,
        width=max(one["m0"].width for one in first.models.values()),
        outcome=(read.map if read else {}).get("outcome", "acceptance" if known.binary else "outcome"),
        **others,
    )
