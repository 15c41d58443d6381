"""The effect by segment: groups of users, items and exposures, none of them made of decisions."""

import numpy as np
import pandas as pd
from scipy.stats import f as fisher

from csrec_core.data.log import Dataset
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import covariates, genres
from csrec_core.effect.score import effects_of, step_of
from csrec_core.metrics import holm
from csrec_core.numbers import writer

THIRDS = ("lowest third", "middle third", "highest third")
BREADTH = "variety of own choices"  # what cohorts are made of where no time is logged
SEGMENT_WORDS = {"preference": "preference for the item's genre"}
GENRES = 12  # told apart
MOST_COLUMNS = 6  # columns of the log's owner that become segments; declared confounders go first
SEGMENTS_ALPHA = 0.05  # of the tests of all segments together
FEWEST_SEGMENT_USERS = 20.0  # effective users of a group with, and without, an accepted exposure


def segment_labels(dataset: Dataset, effect: Effect) -> pd.DataFrame:
    """Return labels of every row of the log, for groups to be compared.

    None is made of decisions: the baseline's rows of a group that accepts more would seem to leave less to
    the arm.

    Indexed as the log: `item popularity` (thirds of the items by how often the baseline exposes them), `genre`
    where the items have one, `variety of own choices` (thirds of the users by the number of genres, or items, an
    exposure of the baseline), thirds by columns of the log's owner, or their values where there are few, and
    `cohort`: thirds of the users by their first `timestamp`, or by that variety.
    Where the arm as a whole is compared, there are none that are made of items.
    """
    # What an arm exposes is part of its effect: groups made of it would compare what came of the arms.
    labels = pd.DataFrame(index=dataset.log.index)
    if effect.design.estimand == "exposure":
        labels = _labels_of_items(dataset, effect.design.baseline)
    known = covariates(dataset)
    first = [name for name in known.columns if name.split(": ")[-1] in effect.design.confounders]
    for name in list(dict.fromkeys([*first, *known.columns]))[: MOST_COLUMNS + len(first)]:
        if not name.startswith(("item: ", "missing: ")):
            plain = name.removeprefix("feature_").removeprefix("user: ")
            labels[SEGMENT_WORDS.get(plain, plain)] = _thirds(known[name])
    if "timestamp" in dataset.log.columns:
        first_seen = dataset.log.groupby("user")["timestamp"].min()
        return labels.assign(cohort=dataset.log["user"].map(_thirds(first_seen)))
    return labels.assign(cohort=labels.get(BREADTH, pd.Series(np.nan, labels.index, dtype=object)))


def _labels_of_items(dataset: Dataset, baseline: str) -> pd.DataFrame:
    """Return the labels of every row that are made of what was exposed."""
    log, own = dataset.log, dataset.log["source"].astype(str) == baseline
    labels = pd.DataFrame(index=log.index)
    chosen = log.loc[own, "item"].value_counts().reindex(log["item"].unique(), fill_value=0)
    labels["item popularity"] = log["item"].map(_thirds(chosen))
    kind = genres(dataset)
    if kind.nunique() < log["item"].nunique():
        common = kind.value_counts().index[:GENRES]
        labels["genre"] = kind.where(kind.isin(common) | kind.isna(), "other genres")
    mine = kind[own].groupby(log.loc[own, "user"])
    labels[BREADTH] = log["user"].map(_thirds(mine.nunique() / mine.size()))
    return labels


def _thirds(values: pd.Series) -> pd.Series:
    """Return for each entry which third of the entries it lies in, or its value where there are few."""
    if values.nunique() < 2:
        return pd.Series(np.nan, index=values.index, dtype=object)
    if values.nunique() <= len(THIRDS):
        return values.map("{:g}".format).where(values.notna())
    part = np.minimum((values.rank(method="average", pct=True) * 3 - 1e-9) // 1, 2)
    return part.map(dict(enumerate(THIRDS)))


def _segments(effect: Effect, labels: pd.DataFrame) -> list[str]:
    """Return the segments of which the arm has two groups; none where the status allows no such statement."""
    if not effect.identification.allows or not effect.scores:
        return []
    scores = effect.scores[0]
    shown = labels.iloc[scores.loc[scores["w1"] > 0, "place"].to_numpy()]
    return [name for name in labels.columns if name != "cohort" and len(shown[name].dropna().unique()) > 1]


def by_segment(effect: Effect, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the effect in each group of each segment, with intervals that hold all together.

    All intervals of the table hold their effects with a chance of 95% (Bonferroni over all groups). Thirds are in
    their order, other groups by effect, the largest first.

    Returns `segment`, `group`, `effect`, `lower`, `upper`, `exposures`, `users` (of the arm). Groups too small
    for an interval are left out; empty where the status allows no statement on parts.
    """
    names, parts = _segments(effect, labels), []
    single = 1 - 0.05 / max(1, sum(labels[name].nunique() for name in names))
    for name in names:
        table = effect.by(labels[name], level=single).assign(segment=name)
        table["place"] = table["group"].map({part: number for number, part in enumerate(THIRDS)})
        parts.append(table.sort_values(["place", "effect"], ascending=[True, False]))
    columns = ["segment", "group", "effect", "lower", "upper", "exposures", "users"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def segment_tests(effect: Effect, labels: pd.DataFrame) -> pd.DataFrame:
    """Test whether the groups of each segment have one effect, p-values adjusted by Holm.

    Wald's statistic of the differences of the groups' effects, with a covariance that holds the spread over
    splits of users into folds, against F with as many degrees of freedom as effective users stand behind the
    rarer decision of the smallest group. Groups worth fewer than 20 such users are left out.

    Returns `segment`, `groups`, `spread` (largest effect less smallest), `p`, `adjusted`.
    """
    rows = []
    for name in _segments(effect, labels):
        _, splits = effect.group_sums(labels[name])
        found = [effects_of(sums, "groups") for sums in splits]
        worth = np.median([one.worth for one in found], axis=0)
        known = np.isfinite(found[0].effect) & (worth >= FEWEST_SEGMENT_USERS)
        if known.sum() < 2:
            continue
        effects = np.array([one.effect[known] for one in found])
        centre = np.median(effects, axis=0)
        away = effects - centre
        within = np.mean([one.covariance[np.ix_(known, known)] for one in found], axis=0)
        covariance = within * effect.inflation**2 + away.T @ away / len(away)
        turn = np.eye(len(centre))[1:] - np.eye(len(centre))[0]  # each group less the first
        gap = turn @ centre
        wald = gap @ np.linalg.pinv(turn @ covariance @ turn.T, hermitian=True) @ gap
        p = fisher.sf(wald / len(gap), len(gap), worth[known].min() - 1)
        rows.append((name, len(centre), np.ptp(centre), float(p)))
    table = pd.DataFrame(rows, columns=["segment", "groups", "spread", "p"])
    return table.assign(adjusted=holm(table["p"].to_numpy()))


def segment_finding(effect: Effect, tests: pd.DataFrame) -> tuple[str, tuple[str, str]]:
    """Say which segments differ in their effect: with numbers; and for a tile, in a few words and in a sentence."""
    if not effect.identification.allows:
        return "", ("Not told", f"An effect that is {effect.identification.status} has no groups.")
    if tests.empty:
        few = "Too few to tell", "No group is large enough to be compared."
        return "No segment is large enough to be compared.", few
    found = tests[tests["adjusted"] <= SEGMENTS_ALPHA]
    if found.empty:
        all_alike = f"The effect is not found to differ with {', '.join(tests['segment'])}."
        return all_alike, ("No group stands out", "They are not told apart.")
    write, unit = writer(effect.known.binary)
    names = ", ".join(f"{row.segment} (by up to {write(row.spread)}{unit})" for row in found.itertuples())
    some = "Some more than others", f"It differs with {' and '.join(found['segment'][:2])}."
    return f"The effect differs with {names}.", some


def by_cohort(effect: Effect, cohort: pd.Series, *, bins: int = 10) -> pd.DataFrame:
    """Return the effect over time of each cohort of users.

    `cohort` labels the log's rows; exposure numbers are put together so that at most `bins` points are left.

    Returns `cohort`, `step` (the middle of the exposure numbers put together), `effect`, `lower`, `upper`,
    `users`; empty where the status allows no statement on parts, or the arm has one exposure a user.
    """
    columns = ["cohort", "step", "effect", "lower", "upper", "users"]
    names = sorted(cohort.dropna().unique(), key=lambda name: (*THIRDS, name).index(name))
    if not effect.identification.allows or not effect.scores or len(names) < 2:
        return pd.DataFrame(columns=columns)
    scores = effect.scores[0]
    last = int(scores["step"][scores["arm"] == 1].max())
    if last < 2:
        return pd.DataFrame(columns=columns)
    width = int(np.ceil(last / bins))
    # In the order of the log's rows.
    step = pd.Series(step_of(scores, effect.known), index=scores["place"]).sort_index()
    label = (step // width).where(step < last).to_numpy(dtype=float)
    tables = []
    for name in names:
        table = effect.by(np.where(cohort == name, label, np.nan), baseline=effect.against)
        first = table["group"].astype(float) * width + 1
        tables.append(table.assign(cohort=name, step=(first + np.minimum(first + width - 1, last)) / 2))
    return pd.concat(tables, ignore_index=True)[columns]
