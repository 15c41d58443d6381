"""How comparable the two arms of a log are, as weighted: what the judge reads, and pages show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from csrec_core.effect.design import Design
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.score import Sums


@dataclass(frozen=True)
class Overlap:
    """How comparable the arms are."""

    arm: float  # effective sample size, in users, as weighted
    baseline: float
    largest: float  # share of the baseline's weight on one user, in [0, 1]
    trimmed: float  # share of the arm's exposures left out, as hardly any of the baseline is like them
    #: Share of the arm's exposures whose item the baseline exposes; NaN where items are not compared.
    support: float
    auc: float  # how well a model tells the arms apart; .5 is not at all
    rows: tuple[int, ...]  # exposures of the baseline, then of the arm
    users: tuple[int, ...]
    accepted: tuple[float, ...]  # share accepted (mean outcome)


def tally_overlap(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return by side (baseline, arm) rows, users, decisions summed, rows trimmed; and the largest user's w0."""
    sides = [scores[scores["arm"] == side] for side in (0, 1)]
    table = [[len(s), s["user"].nunique(), s["decision"].sum(), s["trimmed"].sum()] for s in sides]
    largest = scores["w0"].groupby(scores["user"].to_numpy()).sum().max() if len(scores) else 0.0
    return {"sides": np.array(table, dtype=float), "largest": np.array(largest)}


def measure_overlap(
    tallies: Sequence[dict[str, np.ndarray]],
    sums: Sums,
    counts: ItemCounts,
    scores: pd.DataFrame,
    design: Design,
) -> Overlap:
    """Measure the overlap of a log by what its parts sum up to (`tally_overlap`, one of each).

    How well a model tells the arms apart is by `scores`: of all rows, or of some users.
    """
    rows, users, decisions, trimmed = np.sum([one["sides"] for one in tallies], axis=0).T
    total, cross = sums["all"], sums["all cross"]
    arm, baseline = (float(total[at] ** 2 / max(cross[at, at], 1e-300)) for at in (3, 5))
    often, shown = counts.rows.sum(axis=0).T
    own = scores[scores["arm"] >= 0]
    return Overlap(
        arm,
        baseline,
        float(max(one["largest"] for one in tallies) / max(total[5], 1e-300)),
        float(trimmed[1] / rows[1]),
        float(shown[often > 0].sum() / shown.sum()) if design.estimand == "exposure" else float("nan"),
        float(roc_auc_score(own["arm"] == 1, own["e"])) if own["arm"].nunique() == 2 else 1.0,
        tuple(map(int, rows)),
        tuple(map(int, users)),
        tuple(map(float, decisions / rows)),
    )
