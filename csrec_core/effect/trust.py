"""Trust over time: does the effect of being recommended to change within a user, and for how many?

A user's contrasts are D_t - q_t over their exposures by the system, q_t the acceptance expected without its
recommendation. Where the effect on a user stays as it is, the contrasts, each over the standard deviation of
its decision, come in any order alike; where trust rises or is lost they do not. The statistic is the largest
standardised CUSUM, which for normal noise is the likelihood ratio of one shift at an unknown time (Hawkins
1977); its distribution without a change is that over random orders of the user's own contrasts, so the
rate of false alarms is set, not assumed. Exchangeable they are only if q_t knows what else changes over time,
as the previous decision and the items; a taste that drifts away from q_t is taken for trust.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from csrec_core.errors import InputError
from csrec_core.metrics import interval_text, resample_means

__all__ = ["Trust", "trust_changes"]

FEWEST = 6  # exposures, below which a user's order says nothing
EDGE = 2  # exposures at least, before and after a change
SMALLEST = 0.02  # an expected acceptance is kept this far from 0 and 1


@dataclass(frozen=True, eq=False)
class Trust:
    """What `trust_changes` found.

    Attributes
    ----------
    users : DataFrame
        Sorted by `p`: `user`, `exposures`, `statistic`, `p` (by permutation), `q` (Benjamini and Hochberg
        1995), `changed` (`q` at most the false discovery rate), `step` (the last exposure before the change),
        `before`, `after` (mean contrasts), `direction` (1 up, -1 down).
    paths : DataFrame
        Of the `shown` users with the smallest `p`: `user`, `step`, `contrast`, and `cusum`, the sum so far of
        the centred contrasts in standard deviations, with `low` and `high`, within which 95% of random orders
        of the user's contrasts lie at this step; on each row the user's `p`, `change` (its step) and
        `direction`.
    halves : tuple of float
        Mean over users of the contrast in the later half of their exposures less the earlier, with interval.
    changed : float
        Share of the users found to change, at the false discovery rate.
    at_least : float
        Estimated share that changes (Storey 2002: twice the share of p-values above a half, taken from 1):
        it counts changes too small to tell whose they are; 0 where there is no sign of any.
    rate : float
        The false discovery rate asked for.
    """

    users: pd.DataFrame
    paths: pd.DataFrame
    halves: tuple[float, float, float]
    changed: float
    at_least: float
    rate: float

    @property
    def sentence(self) -> str:
        """The finding in words."""
        low, high = self.halves[1:]
        moves = "rises" if low > 0 else "falls" if high < 0 else "does not detectably change"
        named, users = self.users["changed"].sum(), len(self.users)
        return (
            f"Over a user's exposures trust {moves}: later half less earlier {interval_text(*self.halves)} "
            f"in probability. {named:,} of {users:,} users are found to change (at most {self.rate:.0%} of "
            f"them wrongly), and some {self.at_least:.0%} are estimated to."
        )


def trust_changes(
    cells: pd.DataFrame,
    *,
    expected: str = "q_self",
    permutations: int = 499,
    rate: float = 0.1,
    shown: int = 6,
    draws: int = 1000,
    seed: int = 0,
) -> Trust:
    """Look for users on whom the effect of recommending changes.

    Parameters
    ----------
    cells : DataFrame
        Exposures by the system: `user`, `step`, `decision`, and `expected`.
    expected : str
        Column of the acceptance expected without the recommendation, in [0, 1].
    permutations : int
        Random orders, at least 19: no p-value is below 1 / (permutations + 1).
    rate : float
        Expected share of users wrongly named among those named, in (0, 1).
    shown : int
        Users whose paths are returned.
    draws, seed : int
        Of the bootstrap over users, and of the random streams.

    Raises
    ------
    InputError
        Where no user has enough exposures, or a number is out of range.
    """
    if permutations < 19:
        raise InputError(f"permutations = {permutations}; expected at least 19")
    if not 0 < rate < 1:
        raise InputError(f"rate = {rate}; expected a share in (0, 1)")
    cells = cells.sort_values(["user", "step"], kind="stable")
    cells = cells[cells.groupby("user")["user"].transform("size") >= FEWEST]
    if cells.empty:
        raise InputError(f"no user has {FEWEST} exposures by the system, the fewest that tell of a change")
    chance = cells[expected].clip(SMALLEST, 1 - SMALLEST)
    contrast = cells["decision"] - cells[expected]
    user, names = pd.factorize(cells["user"])
    place = cells.groupby("user").cumcount().to_numpy()
    length = np.bincount(user)
    shape = (len(names), length.max())
    scaled, plain = np.zeros(shape), np.full(shape, np.nan)
    scaled[user, place] = contrast / np.sqrt(chance * (1 - chance))
    plain[user, place] = contrast
    real = np.arange(shape[1]) < length[:, None]
    scaled = np.where(real, scaled - (scaled.sum(axis=1) / length)[:, None], 0.0)
    spread = np.sqrt((scaled**2).sum(axis=1) / length)
    scaled /= np.where(spread > 1e-9, spread, 1.0)[:, None]
    paths = np.cumsum(scaled, axis=1)
    factor = _factor(length, shape[1])
    statistic = np.abs(paths * factor).max(axis=1)
    above = np.zeros(len(names))
    for order in _orders(real, permutations, seed):
        above += np.abs(_walk(scaled, order) * factor).max(axis=1) >= statistic - 1e-9
    p = (1 + above) / (1 + permutations)
    step = np.abs(paths * factor).argmax(axis=1)
    early = np.arange(shape[1]) <= step[:, None]
    table = pd.DataFrame(
        {
            "user": names,
            "exposures": length,
            "statistic": statistic,
            "p": p,
            "q": false_discovery_control(p),
            "step": cells["step"].to_numpy()[np.cumsum(length) - length + step],
            "before": np.nanmean(np.where(early, plain, np.nan), axis=1),
            "after": np.nanmean(np.where(~early & real, plain, np.nan), axis=1),
        }
    )
    table["changed"] = table["q"] <= rate
    table["direction"] = np.sign(table["after"] - table["before"]).astype(int)
    table = table.sort_values(["p", "statistic"], ascending=[True, False])
    some = table.index[:shown].to_numpy()
    walks = [_walk(scaled[some], order) for order in _orders(real[some], permutations, seed)]
    drawn = np.isin(user, some)
    lines = pd.DataFrame({"user": cells["user"], "step": cells["step"], "contrast": contrast})[drawn]
    among = np.argsort(some)[np.searchsorted(np.sort(some), user[drawn])], place[drawn]
    low, high = np.quantile(walks, [0.025, 0.975], axis=0)
    lines["cusum"], lines["low"], lines["high"] = paths[some][among], low[among], high[among]
    about = table.iloc[:shown].rename(columns={"step": "change"})[["user", "p", "change", "direction"]]
    later = place >= length[user] / 2
    sides = [contrast[side].groupby(cells["user"][side]).mean() for side in (later, ~later)]
    gap = resample_means((sides[0] - sides[1]).to_frame("gap"), draws=draws, seed=seed)
    return Trust(
        table.reset_index(drop=True),
        about.merge(lines, on="user"),
        halves=tuple(float(value) for value in gap.iloc[0]),
        changed=float(table["changed"].mean()),
        at_least=float(max(0.0, 1 - (p > 0.5).mean() / 0.5)),
        rate=rate,
    )


def _orders(real: np.ndarray, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """Yield random orders of each user's exposures, (users, longest); what is not real stays at the end."""
    rng = np.random.default_rng([seed, 2])
    for _ in range(permutations):
        yield np.argsort(np.where(real, rng.random(real.shape), 2.0), axis=1)


def _walk(scaled: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.cumsum(np.take_along_axis(scaled, order, axis=1), axis=1)


def _factor(length: np.ndarray, longest: int) -> np.ndarray:
    """Return what standardises the CUSUM after each exposure, (users, longest); 0 near the ends."""
    number = np.arange(1, longest + 1)[None, :]
    rest = length[:, None] - number
    inside = (number >= EDGE) & (rest >= EDGE)
    return np.where(inside, np.sqrt(length[:, None] / np.maximum(number * rest, 1)), 0.0)
