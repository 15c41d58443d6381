"""A/A: how often effects are found where there is none, on the log's own exposures with arms dealt at random."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import beta

from csrec_core.data.log import Dataset
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import hashes
from csrec_core.effect.rows import lay_rows
from csrec_core.errors import InputError

SEGMENTS = 4  # groups of users, drawn at random, that a finding by segment is looked for in


def in_order(dataset: Dataset, design: Design) -> pd.DataFrame:
    """Return the rows of both arms by user, in the order in which they were lived."""
    rows = lay_rows(replace(dataset, users=None, items=None), design)
    return dataset.log.iloc[rows.loc[rows["arm"] >= 0, "place"]].reset_index(drop=True)


def relabel(
    dataset: Dataset, design: Design, log: pd.DataFrame, arm: np.ndarray, *, phased: bool = False
) -> tuple[Dataset, Design]:
    """Return rows of a log (`in_order`) with other arms, and the design that is left of one for them.

    Logged chances were those of the arms that the rows had, and are dropped. `arm` (rows,) is whether a row is the
    arm's; with `phased` it follows the baseline, and is compared with it as where no clock is shared.
    """
    log = log.drop(columns=["propensity", "arm_propensity"], errors="ignore")
    names = [design.baseline, design.arm]
    log["source"] = pd.Categorical(np.where(arm, design.arm, design.baseline), categories=names)
    # Numbered by user, t is a clock that both arms share; numbered by user and arm, it is none.
    place = log.groupby(["user", "source"] if phased else "user", observed=True).cumcount()
    log["t"] = (place + 1).astype(np.int32)
    if phased:
        log, design = log.drop(columns="timestamp", errors="ignore"), replace(design, arm_propensity=None)
    if design.target == "uniform":  # takes the chances of the items
        design = replace(design, target="exposed")
    return replace(dataset, log=log, truth=None), design


def permute_arms(dataset: Dataset, design: Design, rng: np.random.Generator) -> tuple[Dataset, Design]:
    """Deal the arms at random: to each user the share of rows that are the arm's of another, at random rows.

    Dealt among a user's own rows, users who had the arm more often than others would keep that, and with it what
    the arm did to them: where arms come in whole lists, an effect would be found again in what should have none.
    """
    log = in_order(dataset, design)
    arm, user = (log["source"].astype(str) == design.arm).to_numpy(), pd.factorize(log["user"])[0]
    share = rng.permutation(np.bincount(user, arm) / np.bincount(user))
    return relabel(dataset, design, log, rng.random(len(log)) < share[user])


def false_alarms(
    dataset: Dataset, *, design: Design | None = None, times: int = 60, seed: int = 0
) -> pd.DataFrame:
    """Measure on a log how often an effect is found though there is nothing to find.

    The log's own arms are dealt at random, `times` times, and the effect is estimated each time as it would be
    of the log, with one split of users into folds. A finding is a 95% interval without zero.

    Returns `finding` (the mean, the trend over exposures, the effect at the arm's first exposures, that in a
    segment), `rate`, `lower`, `upper` (Jeffreys 95%), `asked`: how often there was an interval.

    Examples
    --------
    >>> from csrec_core.data.books import simulate_books
    >>> found = false_alarms(simulate_books(users=100, steps=6, seed=1), times=3)
    >>> list(found["finding"])
    ['mean', 'trend', 'first step', 'segment']
    """
    if times < 1:
        raise InputError(f"times = {times}; expected at least 1")
    design = find_design(dataset) if design is None else design
    tables, learners = [], None
    for number in range(times):
        placebo, left = permute_arms(dataset, design, np.random.default_rng([seed, number]))
        drawn = seed * times + number
        effect = estimate_effect(placebo, design=left, splits=1, seed=drawn, learners=learners)
        learners = effect.learners
        segment = hashes(placebo.log["user"].to_numpy(), seed, number + 2) % np.uint64(SEGMENTS)
        found = {
            "mean": effect.mean.to_frame().T,
            "trend": effect.trend.to_frame().T,
            "first step": effect.over_time.head(1),
            "segment": effect.by(segment),
        }
        tables += [table[["lower", "upper"]].assign(finding=name) for name, table in found.items()]
    every = pd.concat(tables).astype({"lower": float, "upper": float})
    every["alarm"] = (every["lower"] > 0) | (every["upper"] < 0)
    rows = []
    for name in found:
        asked = every[every["finding"] == name].dropna()
        rows.append((name, *_rate(int(asked["alarm"].sum()), len(asked)), len(asked)))
    return pd.DataFrame(rows, columns=["finding", "rate", "lower", "upper", "asked"])


def _rate(count: int, asked: int) -> tuple[float, float, float]:
    """Return a share with Jeffreys's interval, which holds the ends where none, or all, were counted."""
    if not asked:
        return (float("nan"),) * 3
    ends = beta.ppf([0.025, 0.975], count + 0.5, asked - count + 0.5)
    return count / asked, float(ends[0]) if count else 0.0, float(ends[1]) if count < asked else 1.0
