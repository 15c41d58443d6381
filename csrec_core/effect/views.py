"""An estimated effect seen from several sides: over time, by user, by segment, against the truth."""

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from csrec_core.data.log import KEY, SELF, SYSTEM, Dataset
from csrec_core.effect.contrast import interval
from csrec_core.effect.estimate import EffectEstimate
from csrec_core.effect.features import published_features
from csrec_core.metrics import holm

__all__ = [
    "by_cohort",
    "by_segment",
    "by_user",
    "effect_calibration",
    "over_time",
    "segment_finding",
    "segment_tests",
    "segments",
]

PARTS = ("lowest third", "middle third", "highest third")
COHORT = "breadth of own choices"  # the segment that cohorts are made of where no time is logged
NAMES = {"lower": "low", "upper": "high"}


def over_time(estimate: EffectEstimate, *, fewest: int = 1) -> pd.DataFrame:
    """Return the mean effect at each exposure number that at least `fewest` users reach.

    Returns
    -------
    DataFrame
        `step`, `mean`, `low`, `high`, `users`.
    """
    users = estimate.cells.groupby("step")["user"].nunique()
    table = estimate.by_step.rename(columns={"effect": "mean", **NAMES})
    table["users"] = table["step"].map(users).fillna(0).astype(int)
    return table[table["users"] >= fewest].reset_index(drop=True)


def by_user(estimate: EffectEstimate, *, level: float = 0.95) -> pd.DataFrame:
    """Return each user's partially pooled effect, sorted: `user`, `effect`, `low`, `high`, `exposures`.

    Takes an estimate with `pooled` users (`joint`, `doubly_robust`).
    """
    users = estimate.pooled.users
    half = norm.ppf((1 + level) / 2) * users["deviation"]
    table = users[["effect"]].assign(low=users["effect"] - half, high=users["effect"] + half)
    table["exposures"] = users["exposures"]
    return table.reset_index().sort_values("effect", ignore_index=True)


def segments(dataset: Dataset) -> pd.DataFrame:
    """Return labels of every row, for groups to be compared.

    None is made of decisions: the self-chosen rows of a group that accepts more would seem to leave less to
    the system.

    Returns
    -------
    DataFrame
        Indexed as the log: `item popularity` (thirds of the items by how often users chose them), `genre`
        where the items have one, `breadth of own choices` (thirds of the users by the number of genres, or
        items, for each own choice), thirds by each published feature, and `cohort`: thirds of the users by
        their first `timestamp`, or without timestamps by the breadth.
    """
    log, own = dataset.log, dataset.log["source"] == SELF
    labels = pd.DataFrame(index=log.index)
    chosen = log.loc[own, "item"].value_counts().reindex(log["item"].unique(), fill_value=0)
    labels["item popularity"] = log["item"].map(_thirds(chosen))
    kind = log["item"]
    if dataset.items is not None and "genre" in dataset.items.columns:
        kind = log["item"].map(dataset.items.drop_duplicates("item").set_index("item")["genre"])
        labels["genre"] = kind
    mine = kind[own].groupby(log.loc[own, "user"])
    labels[COHORT] = log["user"].map(_thirds(mine.nunique() / mine.size()))
    for name, values in published_features(dataset).items():
        if not name.startswith("item: "):
            labels[name.removeprefix("feature_")] = _thirds(values)
    first = log.groupby("user")["timestamp"].min() if "timestamp" in log.columns else None
    labels["cohort"] = labels[COHORT] if first is None else log["user"].map(_thirds(first))
    return labels


def _thirds(values: pd.Series) -> pd.Series:
    """Return for each entry which third of the entries it lies in; none where all are alike."""
    if values.nunique() < 2:
        return pd.Series(np.nan, index=values.index, dtype=object)
    part = np.minimum((values.rank(method="average", pct=True) * 3 - 1e-9).astype(int), 2)
    return part.map(dict(enumerate(PARTS)))


def _labels(estimate: EffectEstimate, dataset: Dataset, labels: pd.DataFrame) -> pd.DataFrame:
    """Align labels of the log's rows with the estimate's contrast, which may hold the system's alone."""
    if len(estimate.contrast.user) == len(labels):
        return labels
    keyed = labels.set_index(pd.MultiIndex.from_frame(dataset.log[KEY].astype({"source": str})))
    cells = estimate.cells[["user", "t"]].assign(source=SYSTEM)[KEY]
    return keyed.loc[pd.MultiIndex.from_frame(cells)].reset_index(drop=True)


def by_segment(
    estimate: EffectEstimate, dataset: Dataset, labels: pd.DataFrame, *, level: float = 0.95
) -> pd.DataFrame:
    """Return the effect in each group of each segment, with intervals that hold all together.

    Parameters
    ----------
    labels : DataFrame
        Of the log's rows, a column a segment (`segments`).
    level : float
        Probability that all intervals of the table hold their effects (Bonferroni over all groups).

    Returns
    -------
    DataFrame
        `segment`, `group`, `effect`, `low`, `high`, `exposures` (of the system); groups that the system
        showed nothing to are left out.
    """
    labels = _labels(estimate, dataset, labels).dropna(axis=1, how="all")
    names = [name for name in labels.columns if name != "cohort"]
    count = sum(labels[name].nunique() for name in names)
    parts = []
    for name in names:
        found = estimate.contrast.by(labels[name], level=1 - (1 - level) / max(1, count))
        parts.append(found.assign(segment=name))
    columns = ["segment", "group", "effect", "low", "high", "exposures"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True).rename(columns=NAMES)
    table = _sorted_thirds(table[table["exposures"] > 0])
    return table[columns].dropna(subset="effect").reset_index(drop=True)


def _sorted_thirds(table: pd.DataFrame) -> pd.DataFrame:
    """Put thirds in their order; other groups by effect, the largest first."""
    place = table["group"].map({name: number for number, name in enumerate(PARTS)})
    order = pd.DataFrame(
        {
            "segment": pd.factorize(table["segment"])[0],
            "place": place.fillna(len(PARTS)),
            "effect": -table["effect"],
        },
        index=table.index,
    )
    return table.loc[order.sort_values(["segment", "place", "effect"]).index]


def segment_tests(estimate: EffectEstimate, dataset: Dataset, labels: pd.DataFrame) -> pd.DataFrame:
    """Test whether the groups of each segment have one effect (Wald), p-values adjusted by Holm.

    Returns
    -------
    DataFrame
        `segment`, `groups`, `spread` (largest effect less smallest), `p`, `adjusted`.
    """
    labels, rows = _labels(estimate, dataset, labels), []
    for name in (column for column in labels.columns if column != "cohort"):
        code, groups = pd.factorize(labels[name], sort=True)
        if len(groups) < 2:
            continue
        effect, influence = estimate.contrast.groups(code)
        known = np.isfinite(effect)
        if known.sum() < 2:
            continue
        effect, influence = effect[known], influence[:, known]
        difference, part = effect[1:] - effect[0], influence[:, 1:] - influence[:, [0]]
        statistic = difference @ np.linalg.pinv(part.T @ part, hermitian=True) @ difference
        rows.append((name, len(effect), np.ptp(effect), float(chi2.sf(statistic, len(difference)))))
    table = pd.DataFrame(rows, columns=["segment", "groups", "spread", "p"])
    return table.assign(adjusted=holm(table["p"].to_numpy()))


def segment_finding(tests: pd.DataFrame, *, alpha: float = 0.05) -> str:
    """Say which segments differ in their effect."""
    found = tests[tests["adjusted"] <= alpha]
    if found.empty:
        return "No segment is found to differ in its effect (Holm)."
    names = ", ".join(f"{row.segment} (by up to {row.spread:.3f})" for row in found.itertuples())
    return f"The effect differs with {names} (Wald tests, Holm's adjustment)."


def by_cohort(
    estimate: EffectEstimate, dataset: Dataset, cohort: pd.Series, *, bins: int = 10, level: float = 0.95
) -> pd.DataFrame:
    """Return the effect over time of each cohort of users.

    Parameters
    ----------
    cohort : Series
        Of the log's rows.
    bins : int
        Exposure numbers are put together so that at most so many points are left.

    Returns
    -------
    DataFrame
        `cohort`, `step` (the middle of the exposure numbers put together), `mean`, `low`, `high`, `users`.
    """
    place = dataset.log.groupby(["user", "source"], observed=True).cumcount().to_numpy()
    frame = pd.DataFrame({"cohort": cohort.to_numpy(), "step": place + 1.0}, index=dataset.log.index)
    frame = _labels(estimate, dataset, frame)
    last = float(estimate.cells["step"].max())
    width = np.ceil(last / bins)
    frame["bin"] = (frame["step"] - 1) // width
    names = sorted(frame["cohort"].dropna().unique(), key=lambda name: (*PARTS, name).index(name))
    tables = []
    for name in names:
        code = np.where((frame["cohort"] == name) & (frame["step"] <= last), frame["bin"], -1).astype(int)
        effect, influence = estimate.contrast.groups(code, shared=True)
        table = interval(effect, influence, level=level).drop(columns="error")
        first = np.arange(len(effect)) * width + 1
        middle = (first + np.minimum(first + width - 1, last)) / 2
        table.insert(0, "step", middle)
        tables.append(table.assign(cohort=name, users=(np.abs(influence) > 0).any(axis=1).sum()))
    if not tables:
        return pd.DataFrame(columns=["cohort", "step", "mean", "low", "high", "users"])
    found = pd.concat(tables, ignore_index=True).rename(columns={"effect": "mean", **NAMES}).dropna()
    return found[["cohort", "step", "mean", "low", "high", "users"]].reset_index(drop=True)


def effect_calibration(effects: pd.DataFrame, truth: pd.DataFrame, *, bins: int = 10) -> pd.DataFrame:
    """Return estimated against true effect in bins of equal size by the estimate.

    Returns
    -------
    DataFrame
        `estimated` and `true` (means over the bin's cells), `rows`.
    """
    rank = effects["effect"].rank(method="first", pct=True).to_numpy()
    part = np.minimum((rank * bins - 1e-9).astype(int), bins - 1)
    frame = pd.DataFrame({"estimated": effects["effect"].to_numpy(), "true": truth["effect"].to_numpy()})
    groups = frame.groupby(part)
    return groups.mean().assign(rows=groups.size()).reset_index(drop=True)
