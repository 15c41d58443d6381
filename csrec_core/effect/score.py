"""The doubly robust score of every row, its sums by user, and effects with intervals from these.

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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import t as student

__all__ = [
    "FEWEST",
    "Effects",
    "Sums",
    "combine_splits",
    "effects_of",
    "intervals",
    "merged",
    "slope_of",
    "sum_scores",
]

TERMS = 7  # of x_u
FEWEST = 5.0  # effective users with, and without, an accepted exposure on either side, for an interval
BINS = 2000  # of the residuals of the baseline, for the sensitivity to hidden confounders


class Sums(dict):
    """Arrays by name, that add up over parts.

    `band` (2, 2000): w0, and w0 times the residual of the baseline, by bin of that residual over `span`.
    For a grouping of G groups: `<name>` (7 G,), `<name> cross` (7 G, 7 G), and `<name> events` (G, 4, 2): what
    accepted and other rows of the arm, then of the baseline, weigh, summed over users, and summed squares.
    """

    def add(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        if not self:
            return other
        return Sums({name: value + other[name] for name, value in self.items()})


def sum_scores(
    scores: pd.DataFrame,
    groupings: Mapping[str, tuple[np.ndarray, int]],
    *,
    value: float = 0.5,
    span: float | None = None,
) -> Sums:
    """Sum the scores of rows by user and group.

    Parameters
    ----------
    scores : DataFrame (rows,)
        `user`, `decision`, `tau`, `w1`, `w0`, `m1`, `m0`; optionally `accepted` (bool).
    groupings : mapping
        Name to the code of each row's group (negative leaves it out) and the number of groups.
    value : float
        Without `accepted`, decisions above it count as accepted.
    span : float, optional
        With it `band` is summed, too: residuals lie within it on either side of 0.
    """
    users, user = np.unique(scores["user"].to_numpy(), return_inverse=True)
    tau, w1, w0, m1, m0 = (scores[name].to_numpy(dtype=float) for name in ("tau", "w1", "w0", "m1", "m0"))
    decision = scores["decision"].to_numpy(dtype=float)
    terms = (tau, tau * m1, tau * m0, w1, w1 * (decision - m1), w0, w0 * (decision - m0))
    yes = scores["accepted"].to_numpy() if "accepted" in scores.columns else decision > value
    masses = (w1 * yes, w1 * ~yes, w0 * yes, w0 * ~yes)
    found = Sums()
    if span is not None:
        edges = np.linspace(-span, span, BINS + 1)
        at = np.clip(np.digitize(decision - m0, edges) - 1, 0, BINS - 1)
        used = w0 > 0
        parts = [np.bincount(at[used], w, BINS) for w in (w0[used], (w0 * (decision - m0))[used])]
        found["band"] = np.stack(parts)
    for name, (label, groups) in groupings.items():
        used = (label >= 0) & (tau + w1 + w0 > 0)
        cell, at = np.unique(user[used] * groups + label[used].astype(np.int64), return_inverse=True)
        where = *np.divmod(cell, groups), (len(users), groups)
        table = _table([np.bincount(at, term[used], len(cell)) for term in terms], *where)
        found[name] = np.asarray(table.sum(axis=0)).ravel()
        found[f"{name} cross"] = (table.T @ table).toarray()
        mass = _table([np.bincount(at, one[used], len(cell)) for one in masses], *where)
        totals = [np.asarray(one.sum(axis=0)).ravel() for one in (mass, mass.multiply(mass))]
        found[f"{name} events"] = np.stack(totals, axis=-1).reshape(groups, 4, 2)
    return found


def _table(columns, user, group, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Return what each user and group that meet have, by column, as a matrix (users, groups * columns)."""
    width = len(columns)
    place = (group[:, None] * width + np.arange(width)).ravel()
    values = np.stack(columns, axis=1).ravel()
    return sparse.csr_matrix((values, (np.repeat(user, width), place)), shape=(shape[0], shape[1] * width))


def merged(sums: Sums, name: str, into: np.ndarray) -> Sums:
    """Return the sums of a grouping with its groups put together: group g becomes `into[g]`."""
    count = int(into.max()) + 1
    turn = np.zeros((count, len(into)))
    turn[into, np.arange(len(into))] = 1
    wide = np.kron(turn, np.eye(TERMS))
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
    """Effects of the groups of a grouping.

    Attributes
    ----------
    effect : array (G,)
        NaN where a side has no weight.
    covariance : array (G, G)
    worth : array (G,)
        The least of the effective numbers of users with an accepted exposure, and with another, on either
        side: what a normal interval rests on.
    baseline : array (G,)
        Mean of the baseline at the target: what the effect comes on top of.
    size : array (G,)
        Effective users of the arm and of the baseline that it meets, as a harmonic sum. What they decided is
        not in it.
    """

    effect: np.ndarray
    covariance: np.ndarray
    worth: np.ndarray
    baseline: np.ndarray
    size: np.ndarray


def effects_of(sums: Sums, name: str, *, baseline: str = "own") -> Effects:
    """Return the effects of a grouping.

    Parameters
    ----------
    baseline : {"own", "all", "later"}
        The residuals of the baseline that a group meets: those of its own group; of all, for labels that mean
        nothing there; or of its own and later ones, where each baseline's row is labelled by the last step that
        its user reaches, so that a step is compared within the users who get there.
    """
    totals, groups = sums[name].reshape(-1, TERMS), len(sums[name]) // TERMS
    effect, without = np.full(groups, np.nan), np.full(groups, np.nan)
    derivative = np.zeros((groups, groups, TERMS))
    every = np.ones((groups, groups))
    met = {"own": np.eye(groups), "all": every, "later": np.triu(every)}[baseline]  # rows: groups of the arm
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
    enough = worth >= FEWEST
    half = student.ppf((1 + level) / 2, np.maximum(worth - 1, 1)) * error
    table = pd.DataFrame({"effect": effect, "lower": effect - half, "upper": effect + half, "error": error})
    return table.where(np.repeat(enough[:, None], table.shape[1], axis=1))


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
    """Return the median effect over splits, and an error that holds their spread (Chernozhukov et al. 2018).

    Parameters
    ----------
    effect, error : arrays (splits, ...)
    """
    centre = np.median(effect, axis=0)
    return centre, np.sqrt(np.median(error**2 + (effect - centre) ** 2, axis=0))
