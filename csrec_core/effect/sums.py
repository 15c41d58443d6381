"""What is summed of the scores of a deal, or of a part of it: by estimator, by step and by group."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from csrec_core.effect.engine import BLOCK, Known
from csrec_core.effect.score import Sums, sum_scores
from csrec_core.effect.table import FEW_ITEMS, POSITION, ItemCounts

__all__ = ["ESTIMATORS", "group_rows", "group_scores", "item_fifths", "split_sums", "step_of"]

#: The estimators that are shown beside each other, on the same rows; the first one is reported.
ESTIMATORS = {
    "doubly robust": "weights and regression together: right where either is",
    "weighting": "weights alone",
    "regression": "regressions of both arms alone",
    "observed": "the plain difference of the two acceptance rates",
}
LAST_STEP = 100  # later exposures count with it
LAST_RANK = 10  # of a list; later ones count with it
FIFTHS = (0.2, 0.4, 0.6, 0.8)
#: How the rows of every log are grouped: the names of the groups, in the order of their codes.
GROUPS = {
    "popularity": ("1, least popular", "2", "3", "4", "5, most popular"),
    "previous": ("none", "rejected", "accepted"),
    "heard": ("for the first time", "before"),
    "rank": (*map(str, range(1, LAST_RANK)), f"{LAST_RANK} and later"),
}


def split_sums(
    scores: pd.DataFrame, known: Known, groupings: Mapping[str, tuple[np.ndarray, int]] | None = None
) -> Sums:
    """Return the sums that an `Effect` needs of the scores of one deal, or of a part of it.

    They are of some users at a time, as sums of parts add up: memory does not grow with the log.
    """
    starts = np.flatnonzero(np.diff(scores["user"].to_numpy(), prepend=np.nan))
    places = np.arange(BLOCK, len(scores), BLOCK)
    edges = [0, *np.unique(starts[np.searchsorted(starts, places[places <= starts[-1]])]), len(scores)]
    total = Sums()
    for block in (slice(*pair) for pair in pairwise(edges)):
        own = {name: (code[block], groups) for name, (code, groups) in (groupings or {}).items()}
        total = total.add(_block_sums(scores.iloc[block], known, own))
    return total


def _block_sums(scores: pd.DataFrame, known: Known, groupings: Mapping[str, tuple[np.ndarray, int]]) -> Sums:
    one = np.zeros(len(scores), dtype=int)
    step = np.minimum(step_of(scores, known), LAST_STEP - 1)
    value = known.middle
    found = sum_scores(scores, {"all": (one, 1), "step": (step, LAST_STEP)}, span=known.span, value=value)
    found.update(group_scores(scores, known, groupings))
    variants = pd.concat(list(_variants(scores, value)), ignore_index=True)
    label = np.repeat(np.arange(len(ESTIMATORS)), len(scores))
    found.update(sum_scores(variants, {"estimators": (label, len(ESTIMATORS))}))
    return found


def group_scores(scores: pd.DataFrame, known: Known, groupings: Mapping[str, tuple[np.ndarray, int]]) -> Sums:
    """Return the sums by groups, and `<name> counts` (G, 2): exposures of the arm in use, and their users."""
    found = sum_scores(scores, groupings, value=known.middle)
    own = (scores["w1"].to_numpy() > 0) & (scores["arm"].to_numpy() == 1)
    for name, (label, groups) in groupings.items():
        used = own & (label >= 0)
        pairs = np.unique(np.column_stack([label[used], pd.factorize(scores["user"])[0][used]]), axis=0)
        counts = [np.bincount(one, minlength=groups) for one in (label[used], pairs[:, 0])]
        found[f"{name} counts"] = np.column_stack(counts).astype(int)
    return found


def step_of(scores: pd.DataFrame, known: Known) -> np.ndarray:
    """Return how many exposures by the arm lie before each row; of the baseline's where they can be compared.

    Where the arms share a clock, a step is compared with the baseline's rows between the same exposures by the
    arm, or of the same number: what changes with time is then in both, whatever its form. Where one phase
    follows the other the steps mean nothing in the baseline: its rows are labelled by the last step that their
    user reaches, and a step is compared with those of the users who get there.
    """
    own, shown = scores["step"].to_numpy() - 1, scores["arm"] == 1
    if known.clock.between:
        return own
    before = (
        _steps_reached(scores) - 1
        if known.clock.phased
        else shown.groupby(scores["user"]).cumsum().to_numpy()
    )
    return np.where(scores["arm"] == 0, before, own)


def _steps_reached(scores: pd.DataFrame) -> np.ndarray:
    """Return the last step, from 1, that each row's user reaches, (rows,); 1 without any exposure by the arm."""
    shown = scores["arm"] == 1
    return np.maximum(shown.groupby(scores["user"]).transform("sum").to_numpy(), 1)


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


def item_fifths(counts: ItemCounts) -> pd.Series | None:
    """Return each item's fifth (0 to 4) of the arm's exposures, by how often the baseline exposes the item.

    None with too few items to rank.
    """
    if len(counts.item) <= FEW_ITEMS:
        return None
    often, shown = counts.rows.sum(axis=0).T
    order = np.argsort(often, kind="stable")
    share = np.cumsum(shown[order]) / max(shown.sum(), 1)
    edges = often[order][np.searchsorted(share, FIFTHS)]
    return pd.Series(np.searchsorted(edges, often, side="left"), index=counts.item)


def group_rows(
    rows: pd.DataFrame, features: pd.DataFrame, known: Known, fifths: pd.Series | None
) -> tuple[dict[str, tuple[np.ndarray, int]], dict[str, tuple[str, ...]]]:
    """Return the groupings of rows, as `split_sums` takes them, and the names of their groups.

    Where every user is of one arm, what was decided before follows from the arm: only the items group them.
    """
    codes = {}
    if fifths is not None:
        codes["popularity"] = fifths.reindex(rows["item"]).fillna(-1).to_numpy().astype(int)
    if not known.clock.between:
        first = features["first"].to_numpy() == 1
        codes["previous"] = np.where(first, 0, 1 + (features["last"].to_numpy() > known.middle))
        codes["heard"] = (features["shown_before"].to_numpy() > 0).astype(int)
    if POSITION in rows.columns:
        codes["rank"] = np.clip(rows[POSITION].to_numpy().astype(int), 1, LAST_RANK) - 1
    return {name: (code, len(GROUPS[name])) for name, code in codes.items()}, {
        name: GROUPS[name] for name in codes
    }
