"""The doubly robust score of every row, what is summed of it by user and group, and effects from these sums.

A row has a weight tau for the target, and weights w1, w0 that make the rows of the arm, and of the baseline,
look like the target. With m1, m0 the acceptance that other users lead to expect under either arm, the effect
in a group g of rows is

    theta_g = E_tau[m1 - m0] + E_w1[D - m1] - E_w0[D - m0],

each mean normalised by its weights (Robins, Rotnitzky and Zhao 1994; Hajek). It is right where the weights
are, or m1 and m0. At the exposures of the arm tau = w1, and m1 cancels.

For user u and group g let x_u hold the sums of tau, tau m1, tau m0, w1, w1 (D - m1), w0 and w0 (D - m0).
The effects are functions of the totals of x_u, and the variance of their influence functions is c' M c with
M the sum of x_u x_u' and c the derivative by the totals. So totals and M are all that a part of a log has to
tell; the sums of parts add up, and a log in memory is one part.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import t as student

from csrec_core.effect.engine import BLOCK, Known
from csrec_core.effect.item_counts import FEW_ITEMS, ItemCounts
from csrec_core.effect.rows import POSITION

USER_TERMS = 7  # of x_u
#: Effective users with, and without, an accepted exposure on either side, for an interval.
FEWEST_ACCEPTING = 5.0
RESIDUAL_BINS = 2000  # of the residuals of the baseline, for the sensitivity to hidden confounders
LAST_STEP = 100  # later exposures count with it
LAST_RANK = 10  # of a list; later ones count with it
FIFTHS = (0.2, 0.4, 0.6, 0.8)
#: The estimators that are shown beside each other, on the same rows; the first one is reported.
ESTIMATORS = {
    "doubly robust": "weights and regression together: right where either is",
    "weighting": "weights alone",
    "regression": "regressions of both arms alone",
    "observed": "the plain difference of the two acceptance rates",
}
#: How the rows of every log are grouped: the names of the groups, in the order of their codes.
GROUPS = {
    "popularity": ("1, least popular", "2", "3", "4", "5, most popular"),
    "previous": ("none", "rejected", "accepted"),
    "heard": ("for the first time", "before"),
    "rank": (*map(str, range(1, LAST_RANK)), f"{LAST_RANK} and later"),
}

#: Name to the code of each row's group (negative leaves it out) and the number of groups.
Groupings = Mapping[str, tuple[np.ndarray, int]]


class Sums(dict[str, np.ndarray]):
    """Arrays by name, that add up over parts.

    `band` (2, 2000): w0, and w0 times the residual of the baseline, by bin of that residual over the span.
    For a grouping of G groups: `<name>` (7 G,), `<name> cross` (7 G, 7 G), `<name> events` (G, 4, 2): what
    accepted and other rows of the arm, then of the baseline, weigh, summed over users, and summed squares; and
    `<name> counts` (G, 2): exposures of the arm in use, and their users.
    """

    def add(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        return Sums({name: value + other[name] for name, value in self.items()}) if self else other


def split_sums(scores: pd.DataFrame, known: Known, groupings: Groupings | None = None) -> Sums:
    """Return the sums that an `Effect` needs of the scores of one split, or of a part of the log.

    Some users are summed at a time, and their sums added up, so that memory does not grow with the log.
    """
    starts = np.flatnonzero(np.diff(scores["user"].to_numpy(), prepend=np.nan))
    places = np.arange(BLOCK, len(scores), BLOCK)
    edges = [0, *np.unique(starts[np.searchsorted(starts, places[places <= starts[-1]])]), len(scores)]
    total = Sums()
    for block in (slice(*pair) for pair in pairwise(edges)):
        own = {name: (code[block], groups) for name, (code, groups) in (groupings or {}).items()}
        total = total.add(_block_sums(scores.iloc[block], known, own))
    return total


def _block_sums(scores: pd.DataFrame, known: Known, groupings: Groupings) -> Sums:
    every = {
        "all": (np.zeros(len(scores), dtype=int), 1),
        "step": (np.minimum(step_of(scores, known), LAST_STEP - 1), LAST_STEP),
    }
    found = sum_scores(scores, every, span=known.span, value=known.middle)
    found.update(sum_groups(scores, known, groupings))
    variants = pd.concat(list(_variants(scores, known.middle)))
    label = np.repeat(np.arange(len(ESTIMATORS)), len(scores))
    found.update(sum_scores(variants, {"estimators": (label, len(ESTIMATORS))}))
    return found


def _variants(scores: pd.DataFrame, value: float) -> Iterator[pd.DataFrame]:
    """Yield the scores as each of `ESTIMATORS` has them."""
    own = scores[["user", "decision", "tau", "w1", "w0", "m1", "m0"]]
    shown = scores["arm"].to_numpy() == 1
    own = own.assign(accepted=own["decision"] > value)
    yield own
    yield own.assign(m1=0.0, m0=0.0)
    # A regression alone has no residuals: every row decides as it is expected to.
    yield own.assign(decision=np.where(shown, own["m1"], own["m0"]))
    one, nil = shown.astype(float), (scores["arm"] == 0).astype(float)
    yield own.assign(m1=0.0, m0=0.0, tau=one, w1=one, w0=nil)


def sum_groups(scores: pd.DataFrame, known: Known, groupings: Groupings) -> Sums:
    """Sum the scores by groups (`sum_scores`), with the `counts` of each group."""
    found = sum_scores(scores, groupings, value=known.middle)
    own = (scores["w1"].to_numpy() > 0) & (scores["arm"].to_numpy() == 1)
    for name, (label, groups) in groupings.items():
        used = own & (label >= 0)
        pairs = np.unique(np.column_stack([label[used], pd.factorize(scores["user"])[0][used]]), axis=0)
        counts = [np.bincount(one, minlength=groups) for one in (label[used], pairs[:, 0])]
        found[f"{name} counts"] = np.column_stack(counts).astype(int)
    return found


def sum_scores(
    scores: pd.DataFrame, groupings: Groupings, *, value: float = 0.5, span: float | None = None
) -> Sums:
    """Sum the scores of rows by user and group.

    Scores have `user`, `decision`, `tau`, `w1`, `w0`, `m1`, `m0`; optionally `accepted` (bool), without which decisions
    above `value` count as accepted. With `span`, within which residuals lie on either side of 0, `band` is summed, too.
    """
    users, user = np.unique(scores["user"].to_numpy(), return_inverse=True)
    names = ["decision", "tau", "w1", "w0", "m1", "m0"]
    decision, tau, w1, w0, m1, m0 = (scores[name].to_numpy(dtype=float) for name in names)
    terms = (tau, tau * m1, tau * m0, w1, w1 * (decision - m1), w0, w0 * (decision - m0))
    yes = scores["accepted"].to_numpy() if "accepted" in scores.columns else decision > value
    masses = (w1 * yes, w1 * ~yes, w0 * yes, w0 * ~yes)
    found = Sums()
    if span is not None:
        edges = np.linspace(-span, span, RESIDUAL_BINS + 1)
        at = np.clip(np.digitize(decision - m0, edges) - 1, 0, RESIDUAL_BINS - 1)
        found["band"] = np.stack([np.bincount(at, part, RESIDUAL_BINS) for part in terms[5:]])
    for name, (label, groups) in groupings.items():
        used = (label >= 0) & np.any((tau, w1, w0), axis=0)
        cell, at = np.unique(user[used] * groups + label[used].astype(np.int64), return_inverse=True)
        where = *np.divmod(cell, groups), (len(users), groups)
        table = _user_table([np.bincount(at, term[used], len(cell)) for term in terms], *where)
        found[name] = np.asarray(table.sum(axis=0)).ravel()
        found[f"{name} cross"] = (table.T @ table).toarray()
        mass = _user_table([np.bincount(at, one[used], len(cell)) for one in masses], *where)
        totals = [np.asarray(one.sum(axis=0)).ravel() for one in (mass, mass.multiply(mass))]
        found[f"{name} events"] = np.column_stack(totals).reshape(groups, 4, 2)
    return found


def _user_table(columns, user, group, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Return what each user and group that meet have, by column, as a matrix (users, groups * columns)."""
    width = len(columns)
    place = (group[:, None] * width + np.arange(width)).ravel()
    values = np.stack(columns, axis=1).ravel()
    return sparse.csr_matrix((values, (np.repeat(user, width), place)), shape=(shape[0], shape[1] * width))


def step_of(scores: pd.DataFrame, known: Known) -> np.ndarray:
    """Return how many exposures by the arm lie before each row; of the baseline's where they can be compared.

    Where the arms share a clock, a step is compared with the baseline's rows between the same exposures by the
    arm, or of the same number: what changes with time is then in both, whatever its form. Where one phase
    follows the other the steps mean nothing in the baseline: its rows are labelled by the last step that their
    user reaches, and a step is compared with those of the users who get there.
    """
    own, shown = scores["step"].to_numpy() - 1, (scores["arm"] == 1).groupby(scores["user"])
    if known.clock.between:
        return own
    before = np.maximum(shown.transform("sum"), 1) - 1 if known.clock.phased else shown.cumsum()
    return np.where(scores["arm"] == 0, before, own)


def item_fifths(counts: ItemCounts) -> pd.Series | None:
    """Return each item's fifth (0 to 4) of the arm's exposures, by how often the baseline exposes the item.

    None with too few items to rank.
    """
    if len(counts.item) <= FEW_ITEMS:
        return None
    often, shown = counts.rows.sum(axis=0).T
    order = np.argsort(often, kind="stable")
    share = np.cumsum(shown[order]) / shown.sum()
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
    names = {name: GROUPS[name] for name in codes}
    return {name: (code, len(names[name])) for name, code in codes.items()}, names


def merged(sums: Sums, name: str, into: np.ndarray) -> Sums:
    """Return the sums of a grouping with its groups put together: group g becomes `into[g]`."""
    count = int(into.max()) + 1
    turn = np.zeros((count, len(into)))
    turn[into, np.arange(len(into))] = 1
    wide = np.kron(turn, np.eye(USER_TERMS))
    # A user in two groups that become one has both of them in the squares: an upper bound on their worth.
    return Sums(
        {
            name: wide @ sums[name],
            f"{name} cross": wide @ sums[f"{name} cross"] @ wide.T,
            f"{name} events": np.einsum("cg,gkl->ckl", turn, sums[f"{name} events"]),
        }
    )


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of the G groups of a grouping, NaN where a side has no weight, and their covariance.

    `worth` is the least of the effective numbers of users with an accepted exposure, and with another, on either
    side: what a normal interval rests on. `baseline` is the mean at the target that the effect comes on top of.
    `size` are the effective users of the arm and of the baseline that it meets, as a harmonic sum; what they
    decided is not in it.
    """

    effect: np.ndarray
    covariance: np.ndarray
    worth: np.ndarray
    baseline: np.ndarray
    size: np.ndarray


def effects_of(sums: Sums, name: str, *, baseline: str = "own") -> Effects:
    """Return the effects of a grouping, by the residuals of the baseline that a group meets.

    "own" are those of its own group; "later" of its own and later ones, where each baseline's row is labelled by the
    last step that its user reaches, so that a step is compared within the users who get there.
    """
    totals, groups = sums[name].reshape(-1, USER_TERMS), len(sums[name]) // USER_TERMS
    effect, without = np.full(groups, np.nan), np.full(groups, np.nan)
    derivative = np.zeros((groups, groups, USER_TERMS))
    # Rows are groups of the arm.
    met = {"own": np.eye(groups), "later": np.triu(np.ones((groups, groups)))}[baseline]
    sides = met @ totals
    for group, (own, side) in enumerate(zip(totals, sides, strict=True)):
        if not (own[0] > 0 and own[3] > 0 and side[5] > 0):
            continue
        gap, shown, chosen = (own[1] - own[2]) / own[0], own[4] / own[3], side[6] / side[5]
        effect[group], without[group] = gap + shown - chosen, own[2] / own[0] + chosen
        derivative[group, group, :5] = -gap / own[0], 1 / own[0], -1 / own[0], -shown / own[3], 1 / own[3]
        derivative[group, met[group] > 0, 5:] += np.array([chosen / side[5], -1 / side[5]])
    flat = derivative.reshape(groups, -1)
    covariance = flat @ sums[f"{name} cross"] @ flat.T
    events = sums[f"{name} events"]
    events = np.concatenate([events[:, :2], np.einsum("gh,hkl->gkl", met, events[:, 2:])], axis=1)
    mass = events.reshape(groups, 2, 2, 2).sum(axis=2)  # accepted and other rows of either side together
    inverse = (mass[..., 1] / np.maximum(mass[..., 0] ** 2, 1e-300)).sum(axis=1)
    worth = (events[..., 0] ** 2 / np.maximum(events[..., 1], 1e-300)).min(axis=1)
    return Effects(effect, covariance, worth, without, np.isfinite(effect) / np.maximum(inverse, 1e-300))


def intervals(effect, error, worth, *, level: float = 0.95) -> pd.DataFrame:
    """Return `effect`, `lower`, `upper`, `error` of each group; NaN where an interval would rest on too few.

    The quantile is Student's with as many degrees of freedom as effective users stand behind the rarer
    decision, less one: with a handful of accepted exposures a normal interval is too narrow.
    """
    effect, error, worth = (np.atleast_1d(np.asarray(part, dtype=float)) for part in (effect, error, worth))
    half = student.ppf((1 + level) / 2, worth - 1) * error
    table = pd.DataFrame({"effect": effect, "lower": effect - half, "upper": effect + half, "error": error})
    return table.where(np.repeat(worth[:, None] >= FEWEST_ACCEPTING, table.shape[1], axis=1))


def slope_of(found: Effects, place: np.ndarray) -> tuple[float, float, float]:
    """Return the slope of effects over places weighted by their information, its error, and what it is worth.

    The information of a step is its size. An estimated variance would not do: of rare decisions it is small
    where few happened to accept, and so would be the weight of the others.
    """
    known = found.size > 0
    if known.sum() < 2:
        return np.nan, np.nan, 0.0
    weight = found.size[known]
    centred = place[known] - np.average(place[known], weights=weight)
    share = weight * centred / (weight * centred**2).sum()
    variance = share @ found.covariance[np.ix_(known, known)] @ share
    return float(share @ found.effect[known]), float(np.sqrt(variance)), float(found.worth[known].sum())


def combine_splits(effect: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median effect over splits (first axis), and an error that holds their spread (Chernozhukov 2018)."""
    centre = np.median(effect, axis=0)
    return centre, np.sqrt(np.median(error**2 + (effect - centre) ** 2, axis=0))
