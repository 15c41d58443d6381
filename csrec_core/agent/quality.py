"""The quality gate: do decisions follow the book and the reader, or the exposure number and the order of answers?

A few pilot readers decide twice about the same books, the second time in another order. An agent that judges
books says much the same of a book wherever it stands; one that recites a pattern says the same at a step
whatever stands there. Shares of variance are biased upwards in a small sample, so each stands beside the mean
of the same share when decisions are permuted, with the permutation p-value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from csrec_core.data.profile import share_of_groups

PILOT = 50  # readers asked before the budget is spent
PERMUTATIONS = 500

# Facts of the pilot.
NAMED_FIRST = "acceptance added by naming it first"
ANCHORING = "anchoring: probability added by a preceding acceptance"

FEW_DECISIONS = 1000  # decisions below which a missing link to book or preference is held against nobody
BY_STEP = 0.2  # share of the variance, above chance, that a step may explain
RECITED = 0.1  # decisions alike, above chance, that a step may bring with it, whatever is shown there
ORDER = 0.2  # difference of acceptance that the order of the two answers may make
ANCHORED = 0.4  # probability that a preceding acceptance may add to the same book
SILENT_SHARE = 0.2  # share of questions that may go without a usable answer
DEFECT_P = 0.01  # p-value below which a defect is one
LINKED = 0.05  # p-value below which there is a link to book or preference


@dataclass(frozen=True, eq=False)
class Quality:
    """What `judge_pilot` found."""

    # By factor (step, item, stated preference, previous decision): the `share` of the variance of
    # decisions, in [0, 1], its mean by `chance` under permutation, and the permutation `p`.
    explained: pd.DataFrame
    # For the same book at another step, and for the same step with another book: the `share` of equal
    # decisions in the two rounds, by `chance`, and `p`; the `correlation` of the stated probabilities within
    # readers, and `p_stated`.
    agreement: pd.DataFrame
    # Sizes; distinct decision rows and how many are expected by chance; what naming acceptance first adds to
    # acceptance; the anchoring: what a preceding acceptance adds to the stated probability of the same book.
    facts: dict[str, float]
    verdicts: dict[str, dict]  # by name, `holds` and `detail`

    @property
    def passed(self) -> bool:
        """Whether every verdict holds."""
        return all(verdict["holds"] for verdict in self.verdicts.values())

    @property
    def failures(self) -> list[str]:
        """What does not hold, in words."""
        return [verdict["detail"] for verdict in self.verdicts.values() if not verdict["holds"]]

    def to_json(self) -> dict:
        """Return all of it as plain values."""
        tables = {name: getattr(self, name).to_dict(orient="index") for name in ("explained", "agreement")}
        return {**tables, "facts": self.facts, "verdicts": self.verdicts, "passed": self.passed}


def judge_pilot(pilot: pd.DataFrame, *, seed: int = 0) -> Quality:
    """Judge the decisions of pilot readers, a row for each question put.

    `round` (0, and 1 for the other order), `user`, `step`, `item`, `preference` (stated preference of the book's
    genre), `accept_first`, `answered`, `accepted`, `probability`.
    """
    rng = np.random.default_rng([seed, 3])
    rows = pilot[pilot["answered"]].sort_values(["round", "user", "step"], ignore_index=True)
    rows = rows.assign(
        accepted=rows["accepted"].astype(float),
        previous=rows.groupby(["round", "user"])["accepted"].shift().astype(float).fillna(-1),
    )
    explained = _permuted_shares(rows, rng)
    agreement = pd.DataFrame.from_dict(
        {
            "same book, other step": _round_agreement(rows, "item", rng),
            "same step, other book": _round_agreement(rows, "step", rng),
        },
        orient="index",
    )
    order, order_p = _answer_order(rows, rng)
    anchoring, anchoring_p = _anchoring(rows, rng)
    crossed = (rows["probability"] > 0.5) != (rows["accepted"] > 0.5)
    facts = {
        "pilot readers": int(pilot["user"].nunique()),
        "pilot decisions": len(rows),
        "share of questions without a usable answer": float(1 - pilot["answered"].mean()),
        "acceptance": float(rows["accepted"].mean()),
        **_distinct_decisions(rows, rng),
        NAMED_FIRST: order,
        f"{NAMED_FIRST}, p": order_p,
        ANCHORING: anchoring,
        f"{ANCHORING}, p": anchoring_p,
        "decisions on the other side of one half than their probability": float(crossed.mean()),
    }
    return Quality(explained, agreement, facts, _verdicts_on(explained, agreement, facts))


def _permuted_shares(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the shares of the variance of decisions beside those of permuted factors."""
    decision = rows["accepted"].to_numpy()
    row = np.arange(len(rows))
    # A book and its preference are permuted for both decisions of a reader at once: they are no two samples.
    pair = rows.groupby(["user", "item"], sort=False).ngroup().to_numpy()
    factors = {
        "step": (rows["step"], row, share_of_groups),
        "item": (pd.factorize(rows["item"])[0], pair, share_of_groups),
        "stated preference": (rankdata(rows["preference"]), pair, _share_of_slope),
        "previous decision": (pd.factorize(rows["previous"])[0], row, share_of_groups),
    }
    table = {}
    for name, (factor, unit, share) in factors.items():
        of_unit = np.asarray(factor)[np.unique(unit, return_index=True)[1]]
        by_chance = [share(rng.permutation(of_unit)[unit], decision) for _ in range(PERMUTATIONS)]
        found = share(np.asarray(factor), decision)
        table[name] = {"share": found, "chance": float(np.mean(by_chance)), "p": _p(found, by_chance)}
    return pd.DataFrame.from_dict(table, orient="index")


def _share_of_slope(rank: np.ndarray, values: np.ndarray) -> float:
    """Return the squared correlation with the rank; 0 where the more liked is accepted less."""
    if len(values) < 2 or values.var() == 0 or rank.var() == 0:
        return 0.0
    return float(max(0.0, np.corrcoef(rank, values)[0, 1]) ** 2)


def _round_agreement(rows: pd.DataFrame, on: str, rng: np.random.Generator) -> dict[str, float]:
    """Compare a reader's two rounds at the same book, or step, where the other of the two differs.

    By chance: with the reader's second round permuted, of what differs in the other all the same; so that
    books that matter do not pass for chance where steps are compared, nor the other way round.
    """
    both = _rounds_side_by_side(rows, on).sort_values(["user", on])
    user = both["user"].to_numpy()
    (a, b), (p, q), (before, after) = (
        (both[f"{name}_first"].to_numpy(), both[f"{name}_second"].to_numpy())
        for name in ("accepted", "probability", "step" if on == "item" else "item")
    )

    def alike(order: np.ndarray) -> tuple[float, float]:
        told = before != after[order]
        if told.sum() < 2:
            return float("nan"), float("nan")
        return float((a == b[order])[told].mean()), _correlation_within(user[told], p[told], q[order][told])

    share, correlation = alike(np.arange(len(both)))
    if np.isnan(share):
        return {"share": share, "chance": share, "p": 1.0, "correlation": share, "p_stated": 1.0}
    by_chance = [alike(np.lexsort((rng.random(len(user)), user))) for _ in range(PERMUTATIONS)]
    shares, correlations = np.nan_to_num(by_chance).T
    return {
        "share": share,
        "chance": float(np.mean(shares)),
        "p": _p(share, shares),
        "correlation": correlation,
        "p_stated": _p(correlation, correlations),
    }


def _rounds_side_by_side(rows: pd.DataFrame, on: str) -> pd.DataFrame:
    """Return a reader's rows of the first round beside those of the second, at the same book or step."""
    first, second = (rows[rows["round"] == number] for number in (0, 1))
    return first.merge(second, on=["user", on], suffixes=("_first", "_second"))


def _correlation_within(user: np.ndarray, *values: np.ndarray) -> float:
    """Return the correlation of two columns of values less their reader's means; 0 where one does not vary."""
    codes = pd.factorize(user)[0]
    a, b = (column - (np.bincount(codes, column) / np.bincount(codes))[codes] for column in values)
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def _answer_order(rows: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float]:
    """Return what naming acceptance first adds to acceptance, and the two-sided p-value."""
    accepted, first = rows["accepted"].to_numpy(), rows["accept_first"].to_numpy(bool)
    if first.all() or not first.any():
        return 0.0, 1.0
    return _two_sided(lambda mark: accepted[mark].mean() - accepted[~mark].mean(), first, rng)


def _anchoring(rows: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float]:
    """Return what a preceding acceptance adds to what the same reader says of the same book, and its p-value."""
    both = _rounds_side_by_side(rows[rows["previous"] >= 0], "item")
    change, before = (
        (both[f"{name}_second"] - both[f"{name}_first"]).to_numpy() for name in ("probability", "previous")
    )
    if not (before != 0).any():
        return 0.0, 1.0
    return _two_sided(lambda order: (change * order).sum() / (before**2).sum(), before, rng)


def _two_sided(
    of: Callable[[np.ndarray], float], values: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Return a statistic of values, and how often it is as far from 0 when they are permuted."""
    found = float(of(values))
    return found, _p(abs(found), [abs(of(rng.permutation(values))) for _ in range(PERMUTATIONS)])


def _distinct_decisions(rows: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Count readers' distinct rows of decisions, and those of decisions shuffled over readers by step."""
    table = rows[rows["round"] == 0].pivot_table(index="user", columns="step", values="accepted")
    decisions = table.dropna(axis=1).to_numpy()
    if not decisions.size:
        return {"distinct decision rows": 0, "distinct decision rows by chance": 0.0}
    by_chance = [len(np.unique(rng.permuted(decisions, axis=0), axis=0)) for _ in range(PERMUTATIONS // 5)]
    found = len(np.unique(decisions, axis=0))
    return {"distinct decision rows": found, "distinct decision rows by chance": float(np.mean(by_chance))}


def _p(found: float, by_chance: list[float] | np.ndarray) -> float:
    """Return the share of permutations that come out at least as large, the observed one among them."""
    return float((1 + np.sum(np.asarray(by_chance) >= found - 1e-12)) / (1 + len(by_chance)))


def _verdicts_on(
    explained: pd.DataFrame, agreement: pd.DataFrame, facts: dict[str, float]
) -> dict[str, dict]:
    """Return for each demand whether it `holds`, and the `detail` in words: what would spoil the log, and when."""
    step, preference = explained.loc["step"], explained.loc["stated preference"]
    book, place = agreement.loc["same book, other step"], agreement.loc["same step, other book"]
    enough = facts["pilot decisions"] >= FEW_DECISIONS
    excess = step["share"] - step["chance"]
    pattern = excess > BY_STEP and step["p"] < DEFECT_P
    alike = place["share"] - place["chance"]
    recited = place["p"] < DEFECT_P and alike > max(RECITED, book["share"] - book["chance"])
    as_book = min(book["p"], book["p_stated"])
    silent = facts["share of questions without a usable answer"]
    distinct, expected = facts["distinct decision rows"], facts["distinct decision rows by chance"]
    order, order_p = (facts[f"{NAMED_FIRST}{end}"] for end in ("", ", p"))
    anchoring, anchoring_p = facts[ANCHORING], facts[f"{ANCHORING}, p"]
    rate = facts["acceptance"]
    checks = {
        "usable": (silent <= SILENT_SHARE, f"{silent:.0%} of the questions had no usable answer"),
        "both decisions": (0 < rate < 1, f"{rate:.1%} of the exposures were accepted"),
        "not by step": (
            not (pattern or recited),
            f"the exposure number explains {step['share']:.1%} of the decisions ({step['chance']:.1%} by "
            f"chance); the same number with another book is decided alike in {place['share']:.0%} "
            f"({place['chance']:.0%} by chance), the same book at another number in {book['share']:.0%} "
            f"({book['chance']:.0%})",
        ),
        "by book": (
            not enough or as_book < LINKED,
            f"the same book at another number is decided alike in {book['share']:.0%} of the cases "
            f"({book['chance']:.0%} by chance), its stated probabilities correlate by "
            f"{book['correlation']:.2f} (p = {as_book:.3f}){_few(as_book, enough)}",
        ),
        "by preference": (
            not enough or preference["p"] < LINKED,
            f"the stated preference explains {preference['share']:.1%} of the decisions ({preference['chance']:.1%} by "
            f"chance, p = {preference['p']:.3f}){_few(preference['p'], enough)}",
        ),
        "rows differ": (
            distinct >= expected / 2,
            f"{distinct:,} distinct rows of decisions; {expected:,.0f} by chance",
        ),
        "not by answer order": (
            not (abs(order) > ORDER and order_p < DEFECT_P),
            f"naming acceptance first changes acceptance by {order:+.1%} (p = {order_p:.3f})",
        ),
        "not anchored": (
            not (abs(anchoring) > ANCHORED and anchoring_p < DEFECT_P),
            f"a preceding acceptance changes the stated probability of the same book by {anchoring:+.2f} "
            f"(p = {anchoring_p:.3f})",
        ),
    }
    return {name: {"holds": bool(holds), "detail": detail} for name, (holds, detail) in checks.items()}


def _few(p: float, enough: bool) -> str:
    return "" if enough or p < LINKED else "; too few decisions to hold it against the agent"
