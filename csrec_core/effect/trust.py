"""Trust over time: does the effect of the arm change within a user, and for how many?

A user's contrasts are D - m0 over their exposures by the arm, m0 the decision expected under the baseline at
that time. With chances the arm's effect is a shift of the log odds, and a constant one moves D - m0 most where m0
is near a half: it is taken out, q = expit(logit m0 + shift), so that a drift of m0 alone is no change. What is
left, over its standard deviation, comes in any order alike where the effect on a user stays as it is. The
statistic is the largest standardised CUSUM, for normal noise the likelihood ratio of one shift at an unknown
time (Hawkins 1977), and its law that over random orders of the user's own contrasts.

What else moves decisions over time moves the baseline's, too: all users together are judged by the arm's later
less earlier contrast beyond that of the baseline. Where the arms share a clock the baseline's is near 0, as m0
knows the time. Where one phase follows the other it is the only sign of drift: if there is any, it cannot be
told from trust, and no user is named.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import false_discovery_control

from csrec_core.effect.estimate import Effect
from csrec_core.errors import InputError
from csrec_core.metrics import interval_text, resample
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict

__all__ = ["Trust", "later_less_earlier", "trust_changes"]

FEWEST = 6  # exposures, below which a user's order says nothing
EDGE = 2  # exposures at least, before and after a change
SMALLEST = 0.02  # an expected acceptance is kept this far from 0 and 1
LITTLE = 0.02  # change, in units of the decision, that is none to speak of
TITLE = "trust changes over time"


@dataclass(frozen=True, eq=False)
class Trust:
    """What `trust_changes` found.

    Attributes
    ----------
    verdict : Verdict
        Holds where the arm's contrasts change beyond the baseline's; fails where by less than `LITTLE`;
        undecided also where drift cannot be told from trust; not tested where the status forbids it.
    users : DataFrame
        Sorted by `p`: `user`, `exposures`, `p` (by permutation), `changed` (at the false discovery rate of
        Benjamini and Hochberg 1995), `step` (the last exposure before the change), `before`, `after` (mean
        contrasts). Empty where no user may be named.
    rate : float
        The false discovery rate asked for.
    """

    verdict: Verdict
    users: pd.DataFrame
    rate: float


def trust_changes(effect: Effect, *, permutations: int = 499, rate: float = 0.1, seed: int = 0) -> Trust:
    """Look for a change of the arm's effect over time, and for the users on whom it changes.

    Parameters
    ----------
    effect : Effect
        Of a log in memory.
    permutations : int
        Random orders, at least 19: no p-value is below 1 / (permutations + 1).
    rate : float
        Expected share of users wrongly named among those named, in (0, 1).
    """
    if permutations < 19 or not 0 < rate < 1:
        raise InputError(f"permutations = {permutations}, rate = {rate}; expected at least 19, and a share")
    nobody = pd.DataFrame(columns=["user", "p", "changed"])
    if not effect.identification.allows:
        return Trust(Verdict(TITLE, NOT_TESTED, effect.identification.reasons[0]), nobody, rate)
    cells = contrasts(effect.cells, binary=effect.known.binary)
    rows = cells[cells["arm"] == 1]
    rows = rows[rows.groupby("user")["user"].transform("size") >= FEWEST]
    if rows.empty or rows["arm"].size == len(cells):
        why = (
            f"no user has {FEWEST} exposures by the arm, beside some by the baseline to tell drift from trust"
        )
        return Trust(Verdict(TITLE, NOT_TESTED, why), nobody, rate)
    found = later_less_earlier(cells, level=effect.level, seed=seed)
    verdict, named = _judge(found, clock=bool(effect.known.clock.columns))
    return Trust(verdict, _test_users(rows, permutations, rate, seed) if named else nobody, rate)


def contrasts(cells: pd.DataFrame, *, binary: bool) -> pd.DataFrame:
    """Return the cells in time with `contrast`, the decision less that of a constant effect, and `spread`."""
    cells = cells.sort_values(["user", "arm", "step"], kind="stable")
    arm, decision, m0 = (cells[name].to_numpy(dtype=float) for name in ("arm", "decision", "m0"))
    weight = cells["w1"].to_numpy() * (arm == 1)
    if not binary:
        shift = np.average(decision - m0, weights=weight)
        return cells.assign(contrast=decision - m0 - shift * arm, spread=1.0)
    level = logit(np.clip(m0, 1e-4, 1 - 1e-4))
    shift = brentq(lambda one: (weight * (decision - expit(level + one))).sum(), -20, 20)
    expected = expit(level + shift * arm)
    kept = np.clip(expected, SMALLEST, 1 - SMALLEST)
    return cells.assign(contrast=decision - expected, spread=np.sqrt(kept * (1 - kept)))


def later_less_earlier(cells: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Return the mean over users of their `contrast` in the later half of their exposures less the earlier.

    Returns
    -------
    DataFrame
        `value`, `lower`, `upper`, by a bootstrap over users, of the `arm`, of the `baseline`, and of the arm
        `beyond` the baseline.
    """
    groups = cells.groupby(["user", "arm"])["contrast"]
    later = groups.cumcount() + 0.5 > groups.transform("size") / 2
    means = cells.assign(later=later).pivot_table(index="user", columns=["later", "arm"], values="contrast")
    means = means.reindex(columns=[(half, arm) for half in (True, False) for arm in (1, 0)]).to_numpy()
    gap = means[:, :2] - means[:, 2:]
    values = np.hstack([np.nan_to_num(gap), ~np.isnan(gap)])

    def statistic(sums: np.ndarray) -> np.ndarray:
        mean = sums[..., :2] / np.where(sums[..., 2:] > 0, sums[..., 2:], np.nan)
        return np.concatenate([mean, mean[..., :1] - mean[..., 1:]], axis=-1)

    lower, upper = resample(values, statistic, level=level, seed=seed)
    found = {"value": statistic(values.sum(axis=0)), "lower": lower, "upper": upper}
    return pd.DataFrame(found, index=["arm", "baseline", "beyond"])


def _judge(found: pd.DataFrame, *, clock: bool) -> tuple[Verdict, bool]:
    """Return the verdict on all users together, and whether users may be named."""
    value, lower, upper = map(float, found.loc["beyond"])
    drift = found.loc["baseline"]
    if np.isnan(value):
        return Verdict(
            TITLE, NOT_TESTED, "no user has two exposures by the baseline, to tell drift from trust"
        ), False
    text = f"later half less earlier, beyond the baseline's: {interval_text(value, lower, upper)}"
    if not clock and (drift["lower"] > 0 or drift["upper"] < 0):
        word, says = (
            UNDECIDED,
            "the baseline drifts, and as one phase follows the other that is not told from trust",
        )
    elif lower > 0 or upper < 0:
        word, says = HOLDS, "it rises" if value > 0 else "it falls"
    else:
        word, says = FAILS if max(-lower, upper) < LITTLE else UNDECIDED, "no change is seen"
    drifts = "drifts" in says
    return Verdict(TITLE, word, f"{says}; {text}", value, lower, upper, threshold=0.0), not drifts


def _test_users(rows: pd.DataFrame, permutations: int, rate: float, seed: int) -> pd.DataFrame:
    """Test the order of every user's contrasts, sorted by user and step, against random orders of the same."""
    user, names = pd.factorize(rows["user"])
    place, length = rows.groupby("user").cumcount().to_numpy(), np.bincount(user)
    number = np.arange(1, length.max() + 1)
    real = number <= length[:, None]
    scaled, plain, step = (np.zeros(real.shape) for _ in range(3))
    scaled[user, place] = rows["contrast"] / rows["spread"]
    plain[user, place], step[user, place] = rows["contrast"], rows["step"]
    scaled = np.where(real, scaled - (scaled.sum(axis=1) / length)[:, None], 0.0)
    rest = length[:, None] - number
    factor = np.where(
        (number >= EDGE) & (rest >= EDGE), np.sqrt(length[:, None] / np.maximum(number * rest, 1)), 0.0
    )
    reach = np.abs(np.cumsum(scaled, axis=1) * factor)
    above, rng = np.zeros(len(names)), np.random.default_rng([seed, 2])
    for _ in range(permutations):
        order = np.argsort(
            np.where(real, rng.random(real.shape), 2.0), axis=1
        )  # what is not real stays at the end
        walk = np.cumsum(np.take_along_axis(scaled, order, axis=1), axis=1)
        above += np.abs(walk * factor).max(axis=1) >= reach.max(axis=1) - 1e-9
    p, last = (1 + above) / (1 + permutations), reach.argmax(axis=1)
    early = np.where(number <= last[:, None] + 1, plain, 0.0).sum(axis=1)
    table = pd.DataFrame(
        {"user": names, "exposures": length, "p": p, "changed": false_discovery_control(p) <= rate}
    )
    table["step"] = step[np.arange(len(names)), last].astype(int)
    table["before"], table["after"] = early / (last + 1), (plain.sum(axis=1) - early) / (length - last - 1)
    return table.sort_values("p", kind="stable", ignore_index=True)
