"""A log at a glance: sizes, rates, what explains the decisions, and warnings in plain words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import beta, f

from csrec_core.data.items import missing_values
from csrec_core.data.log import SELF, SOURCES, SYSTEM, Dataset
from csrec_core.data.repeat_exposure import FEWEST_USERS

WHOSE = {SELF: "of their own choice", SYSTEM: "by the system"}
FEW_USERS = 100  # fewer than these, and intervals over users are rough
OVERLAP = "share of exposures of {} of items also self-chosen"
DISTINCT = "distinct decision rows of {}"
LAST = 3  # exposures at the end of a user's sequence that the paper tests on
TELLING = 0.8  # share of decisions that a guess without the item must get right to be told of


@dataclass(frozen=True, eq=False)
class Profile:
    """What `profile_log` found."""

    name: str
    #: By arm: `rows`, `users`, `items`, `accept_rate`, `fewest`, `median`, `most` exposures a user, and `propensities`,
    #: the share of rows with a known propensity.
    sources: pd.DataFrame
    #: Users, items, item overlap, distinct decision rows, accuracy of the step alone.
    facts: dict[str, float]
    #: By factor (step, item, user, previous decision): the `share` of the variance of the decisions on what the
    #: user did not choose that its group means explain, the share expected by `chance` from groups of that size, and
    #: the `p` of the F test of the one against the other.
    explained: pd.DataFrame
    #: By `source` and exposure number `step`: `mean` acceptance, 95% interval `lower`, `upper`, and `rows`; of
    #: exposure numbers that `FEWEST_USERS` users have.
    steps: pd.DataFrame
    items: pd.DataFrame  # by `source` and `item`: the `share` of the source's exposures
    warnings: list[str]  # what to know before believing an effect from this log

    @property
    def facts_table(self) -> pd.DataFrame:
        """The facts, a row each: `fact`, `value` as text."""
        return pd.DataFrame(
            {"fact": list(self.facts), "value": [_short(value) for value in self.facts.values()]}
        )

    @property
    def headline(self) -> dict[str, float]:
        """The numbers of the finding."""
        rates = self.sources["accept_rate"].dropna()
        numbers = {f"accept_rate_{source}": float(rate) for source, rate in rates.items()}
        if "step majority, accuracy on all" in self.facts:
            numbers["position_accuracy"] = self.facts["step majority, accuracy on all"]
            numbers["position_accuracy_last"] = self.facts[f"step majority, accuracy on last {LAST}"]
            numbers["constant_accuracy_last"] = self.facts[f"one answer for all, accuracy on last {LAST}"]
        return numbers

    @property
    def finding(self) -> str:
        """The log in a sentence or two."""
        numbers = self.headline
        rates = [
            f"{numbers[f'accept_rate_{arm}']:.1%} of the exposures {_whose(arm)}" for arm in self._present
        ]
        text = f"{self.sources['rows'].sum():,.0f} exposures; users accepted {' and '.join(rates)}."
        if numbers.get("position_accuracy_last", 0) > TELLING:
            text += (
                f" The exposure number alone guesses {numbers['position_accuracy_last']:.1%} of each user's last "
                f"{LAST} decisions right (one answer for all: {numbers['constant_accuracy_last']:.1%})."
            )
        return text

    @property
    def _present(self) -> list[str]:
        return [source for source, rows in self.sources["rows"].items() if rows]

    def __str__(self) -> str:
        parts = [self.name, self.sources.to_string(float_format=_short)]
        width = max(map(len, self.facts)) + 2
        parts.append("\n".join(f"{name:<{width}}{_short(value):>8}" for name, value in self.facts.items()))
        if self.explained["share"].notna().any():
            shares = self.explained.to_string(float_format="{:.4f}".format)
            parts.append(
                f"share of the variance of the decisions explained, {_other_arms(self._present)}\n{shares}"
            )
        parts.append("\n".join(f"! {warning}" for warning in self.warnings) or "no warnings")
        return "\n\n".join(parts)


def _short(value: float) -> str:
    """Return a count as a whole number, a share with four decimals."""
    return "–" if np.isnan(value) else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}"


def _other_arms(arms: list[str]) -> str:
    """Return the names of the arms that are not the users' own choice."""
    return " and ".join(arm for arm in arms if arm != SELF)


def _whose(arm: str) -> str:
    return WHOSE.get(arm, f"of arm {arm}")


def profile_log(dataset: Dataset) -> Profile:
    """Profile a log; see `Profile`."""
    log = dataset.log
    arms = list(log["source"].cat.categories)
    rows = [_describe(log[log["source"] == arm]) for arm in arms]
    sources = pd.DataFrame(rows, index=pd.Index(arms, name="source"))
    system = _number_steps(log.loc[log["source"] != SELF, ["user", "source", "item", "decision"]])
    facts = {"users": log["user"].nunique(), "items": log["item"].nunique()}
    if len(system) and SELF in arms and sources["rows"][SELF]:
        chosen = log.loc[log["source"] == SELF, "item"]
        facts[OVERLAP.format(_other_arms(arms))] = system["item"].isin(chosen.unique()).mean()
    if len(system) and system["left"].any():
        facts[DISTINCT.format(_other_arms(arms))] = _count_sequences(system)
        facts["step majority, accuracy on all"] = step_majority(system)
        ending = system[system["left"] < LAST]
        facts[f"step majority, accuracy on last {LAST}"] = step_majority(ending)
        facts[f"one answer for all, accuracy on last {LAST}"] = step_majority(ending.assign(step=1))
    explained = _explained(system)
    return Profile(
        dataset.name,
        sources,
        facts,
        explained,
        steps=_acceptance_by_step(log),
        items=_item_shares(log),
        warnings=[*_log_warnings(sources, facts, explained), *missing_values(dataset)],
    )


def _number_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Add `step`, an exposure's number within user and arm from 1, and `left`, how many follow it."""
    by_user = rows.groupby(["user", "source"], observed=True)
    return rows.assign(step=by_user.cumcount() + 1, left=by_user.cumcount(ascending=False))


def step_majority(system: pd.DataFrame) -> float:
    """Return the accuracy of guessing, at each `step`, what most users decide there; in [0, 1]."""
    rate = system.groupby("step")["decision"].agg(["mean", "size"])
    return float(np.average(np.maximum(rate["mean"], 1 - rate["mean"]), weights=rate["size"]))


def _describe(rows: pd.DataFrame) -> dict[str, float]:
    lengths = rows.groupby("user").size()
    median = float(lengths.median())
    known = rows["propensity"].notna().mean() if "propensity" in rows.columns else 0.0
    return {
        "rows": len(rows),
        "users": rows["user"].nunique(),
        "items": rows["item"].nunique(),
        "accept_rate": rows["decision"].mean(),
        "fewest": lengths.min(),
        "median": int(median) if median.is_integer() else median,  # whole, a table shows it without decimals
        "most": lengths.max(),
        "propensities": known,
    }


def _acceptance_by_step(log: pd.DataFrame) -> pd.DataFrame:
    """Return acceptance by source and exposure number, where enough users have it, with Jeffreys intervals."""
    rows = _number_steps(log[["user", "source", "decision"]])
    table = rows.groupby(["source", "step"], observed=True)["decision"].agg(["sum", "size"]).reset_index()
    table = table[table["size"] >= FEWEST_USERS].reset_index(drop=True)  # a row a user
    accepted = table.pop("sum")
    rejected = table["size"] - accepted
    lower, upper = (beta.ppf(tail, accepted + 0.5, rejected + 0.5) for tail in (0.025, 0.975))
    mean = accepted / table["size"]
    return table.rename(columns={"size": "rows"}).assign(
        mean=mean, lower=np.minimum(lower, mean), upper=np.maximum(upper, mean)
    )


def _item_shares(log: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each item among the exposures of each source."""
    items = log.groupby("source", observed=True)["item"]
    counts, shares = (items.value_counts(sort=False, normalize=share) for share in (False, True))
    return pd.DataFrame({"rows": counts, "share": shares}).reset_index()


def _count_sequences(system: pd.DataFrame) -> int:
    """Count the distinct sequences of decisions, each by the sum of a random number a step and decision."""
    steps = system["step"].to_numpy()
    numbers = np.random.default_rng(0).integers(2**64, size=(steps.max() + 1, 2), dtype=np.uint64)
    marks = pd.Series(numbers[steps, system["decision"].to_numpy()], index=system.index)
    return int(marks.groupby([system["user"], system["source"]], observed=True).sum().nunique())


def _explained(system: pd.DataFrame) -> pd.DataFrame:
    previous = system.groupby(["user", "source"], observed=True)["decision"].shift(fill_value=-1)
    within = system["decision"] - system.groupby("step")["decision"].transform("mean")
    factors = {
        "step": (system["step"], system["decision"]),
        "item": (system["item"], system["decision"]),
        "item, within step": (system["item"], within),
        "user, within step": (system["user"], within),
        "previous decision": (previous, system["decision"]),
    }
    rows = {name: _variance_share(key, values) for name, (key, values) in factors.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["share", "chance", "p"])


def share_of_groups(codes: np.ndarray, values: np.ndarray) -> float:
    """Return eta squared: the share of the variance of values between groups numbered from 0."""
    if not len(values) or values.var() == 0:
        return 0.0
    counts = np.bincount(codes)
    means = np.bincount(codes, values) / np.maximum(counts, 1)
    return min(1.0, float(np.average((means - values.mean()) ** 2, weights=counts) / values.var()))


def _variance_share(key: pd.Series, values: pd.Series) -> tuple[float, float, float]:
    """Return eta squared of the groups, its mean (groups - 1) / (rows - 1) under noise, and the p-value."""
    rows, groups = len(values), key.nunique()
    if groups < 2 or rows <= groups or values.var() == 0:
        return float("nan"), float("nan"), float("nan")
    share = share_of_groups(pd.factorize(key)[0], values.to_numpy())
    odds = share / (1 - share) if share < 1 else np.inf
    ratio = odds * (rows - groups) / (groups - 1)
    return share, (groups - 1) / (rows - 1), float(f.sf(ratio, groups - 1, rows - groups))


def _log_warnings(sources: pd.DataFrame, facts: dict[str, float], explained: pd.DataFrame) -> list[str]:
    rows, paper = sources["rows"], tuple(sources.index) == SOURCES
    found = _paper_warnings(sources) if paper else {}
    alone = f"One arm alone, {rows.idxmax()}: no effect of an arm can be estimated."
    found[alone] = not paper and (rows > 0).sum() == 1
    for arm, users in sources["users"].items():
        rough = "intervals over so few users are rough, and a model learns little."
        found[f"Only {users} users have exposures {_whose(arm)}: {rough}"] = 0 < users < FEW_USERS
    if paper and rows[SYSTEM]:
        found |= _system_warnings(sources, facts, explained)
    return [warning for warning, holds in found.items() if holds]


def _paper_warnings(sources: pd.DataFrame) -> dict[str, bool]:
    """Return what the paper's two arms may lack, and whether they do."""
    own, system = sources.loc[SELF], sources.loc[SYSTEM]
    none = "No row has source={}: {} and the treatment effect cannot be estimated."
    accepted = (
        "The self-chosen rows hold accepted items only: how likely users are to accept by themselves is not "
        "identified, so the level of f~ and of the treatment effect means nothing."
    )
    unknown = (
        "The self-chosen rows have no exposure propensity: acceptance is learned at what users like and read at what "
        "the system shows, so the effect rests on extrapolation."
    )
    alone = bool(own["rows"]) and own["accept_rate"] == 1
    return {
        none.format(SYSTEM, "f"): not system["rows"],
        none.format(SELF, "f~"): not own["rows"],
        accepted: alone,
        unknown: bool(own["rows"] and system["rows"] and own["propensities"] < 1) and not alone,
    }


def _system_warnings(
    sources: pd.DataFrame, facts: dict[str, float], explained: pd.DataFrame
) -> dict[str, bool]:
    """Return what may be wrong with the decisions on what the system exposed, and whether it is."""
    users, distinct = sources["users"][SYSTEM], facts.get(DISTINCT.format(SYSTEM), np.inf)
    copied = (
        f"Only {distinct:,} distinct rows of decisions for {users:,.0f} users: the decisions look copied from "
        "templates, and a model can score by recognising the template."
    )
    share = explained["share"]["step"]
    place = (
        f"The exposure number alone explains {share:.1%} of the variance of the decisions, and guesses "
        f"{facts.get(f'step majority, accuracy on last {LAST}', np.nan):.1%} of the last {LAST} right: a good "
        "score on them says nothing about items."
    )
    item = explained.loc["item, within step"]
    overlap = facts.get(OVERLAP.format(SYSTEM), 1)
    return {
        copied: sources["median"][SYSTEM] >= 10 and distinct < 0.01 * users,
        place: share > 0.2,
        # Where an item has few exposures, noise has a large share itself: 1.5 times it is too much to ask for.
        "The item explains no more of the decisions than noise would, once the exposure number is known.": not (
            item["share"] > 1.5 * item["chance"] or item["share"] > item["chance"] + 0.01
        ),
        f"Only {overlap:.0%} of the system's exposures are of items that users also chose themselves.": overlap
        < 0.9,
    }
