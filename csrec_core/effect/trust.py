"""Trust over time: does the effect of the arm change within a user, and for how many?

A user's contrasts are D - m0 over their exposures by the arm, m0 the decision expected under the baseline at
that time. With chances the arm's effect is a shift of the log odds, and a constant one moves D - m0 most where m0
is near a half: it is taken out, q = expit(logit m0 + shift), so that a drift of m0 alone is no change. What is
left, over its standard deviation, comes in any order alike where the effect on a user stays as it is. The
statistic is the largest standardised CUSUM, for normal noise the likelihood ratio of one shift at an unknown
time (Hawkins 1977), and its law that over random orders of the user's own contrasts.

What else moves decisions over time moves the baseline's, too: all users together are judged by how the arm's
later exposures differ from the earlier ones beyond what the baseline's, weighted to look like them, do
(`later_less_earlier`). Where one phase follows the other the baseline's residuals are the only sign of drift: if
they drift, that cannot be told from trust, and no user is named.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import false_discovery_control

from csrec_core.effect.engine import Known
from csrec_core.effect.result import Effect
from csrec_core.errors import InputError
from csrec_core.metrics import resample
from csrec_core.numbers import interval, writer
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED, Verdict

FEWEST_ORDERED = 6  # exposures, below which a user's order says nothing
EDGE = 2  # exposures at least, before and after a change
SMALLEST_EXPECTED = 0.02  # an expected acceptance is kept this far from 0 and 1
LITTLE, SHARE = 0.02, 0.1  # a smaller change, or share of the mean decision, is none to speak of
RATE = 0.1  # expected share of users wrongly named among those named
TITLE = "trust changes over time"


def trust_changes(effect: Effect, *, permutations: int = 499, seed: int = 0) -> tuple[Verdict, pd.DataFrame]:
    """Look for a change of the arm's effect over time, and for the users on whom it changes.

    Of `permutations` random orders, at least 19, no p-value is below 1 / (permutations + 1).

    The verdict holds where the arm's decisions change beyond the baseline's; fails where by less than 2 points and a
    tenth of the mean decision; is undecided also where drift cannot be told from trust, and not tested where the status
    forbids it. The users, empty where none may be named, are sorted by `p` (by permutation): `user`, `exposures`,
    `changed` (at a false discovery rate of `RATE`, Benjamini and Hochberg 1995), `step` (the last exposure before the
    change), `before`, `after` (mean contrasts).
    """
    if permutations < 19:
        raise InputError(f"permutations = {permutations}; expected at least 19")
    nobody = pd.DataFrame(columns=["user", "p", "changed"])
    if not effect.identification.allows:
        return Verdict(TITLE, NOT_TESTED, effect.identification.reasons[0]), nobody
    cells = contrasts(effect.cells, binary=effect.known.binary)
    rows = cells[cells["arm"] == 1]
    rows = rows[_enough(rows, binary=effect.known.binary)]
    if rows.empty or (cells["arm"] == 1).all():
        why = f"no user has {FEWEST_ORDERED} exposures by the arm, {EDGE} of either decision, and some by the baseline"
        return Verdict(TITLE, NOT_TESTED, why), nobody
    found = later_less_earlier(cells, binary=effect.known.binary, level=effect.level, seed=seed)
    verdict, named = _judge_users(found, effect.known)
    return verdict, _test_users(rows, permutations, seed) if named else nobody


def _enough(rows: pd.DataFrame, *, binary: bool) -> np.ndarray:
    """Return which rows are of users to test: of decisions all alike the contrasts would move with m0 alone."""
    size, taken = (rows.groupby("user")["decision"].transform(how) for how in ("size", "sum"))
    either = np.minimum(taken, size - taken) >= EDGE if binary else True
    return ((size >= FEWEST_ORDERED) & either).to_numpy()


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
    kept = np.clip(expected, SMALLEST_EXPECTED, 1 - SMALLEST_EXPECTED)
    return cells.assign(contrast=decision - expected, spread=np.sqrt(kept * (1 - kept)))


def later_less_earlier(
    cells: pd.DataFrame, *, binary: bool, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return how the later half of the users' exposures, by either arm, differs from the earlier half.

    In each half the mean decision under the arm is that of its rows, y1, and under the baseline y0, the mean of
    m0 there with the residuals of the baseline's rows, weighted to look like them. `baseline` is the later less
    the earlier of these residuals; `beyond` the later y1 less what the earlier shift of the log odds (of the mean,
    where decisions are no yes or no) makes of the later y0. Each has `value`, `lower`, `upper`, by a bootstrap over
    users.
    """
    groups = cells.groupby(["user", "arm"])["arm"]
    late = groups.cumcount() + 0.5 > groups.transform("size") / 2
    side = late + 2 * (cells["arm"] == 1)  # 2, 3: the arm's
    weight = np.where(cells["arm"] == 1, cells["w1"], cells["w0"])
    parts = (weight, weight * cells["decision"], weight * cells["m0"])
    user = pd.factorize(cells["user"])[0]
    place, size = (user * 4 + side).to_numpy(), 4 * (user.max() + 1)
    values = np.hstack([np.bincount(place, part, size).reshape(-1, 4) for part in parts])

    def statistic(sums: np.ndarray) -> np.ndarray:
        mass, taken, expected = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, 4), -2, 0)
        mass = np.where(mass > 0, mass, np.nan)
        left = ((taken - expected) / mass)[..., :2]
        y1, y0 = (taken / mass)[..., 2:], (expected / mass)[..., 2:] + left
        if binary:
            y1, y0 = (np.clip(one, SMALLEST_EXPECTED / 100, 1 - SMALLEST_EXPECTED / 100) for one in (y1, y0))
            kept = expit(logit(y0[..., 1]) + logit(y1[..., 0]) - logit(y0[..., 0]))
        else:
            kept = y0[..., 1] + y1[..., 0] - y0[..., 0]
        return np.stack([left[..., 1] - left[..., 0], y1[..., 1] - kept], axis=-1)

    lower, upper = resample(values, statistic, level=level, seed=seed)
    found = {"value": statistic(values.sum(axis=0)), "lower": lower, "upper": upper}
    return pd.DataFrame(found, index=["baseline", "beyond"])


def _judge_users(found: pd.DataFrame, known: Known) -> tuple[Verdict, bool]:
    """Return the verdict on all users together, and whether users may be named."""
    value, lower, upper = map(float, found.loc["beyond"])
    drift, clock = found.loc["baseline"], bool(known.clock.columns)
    if np.isnan(value):
        why = "no user has two exposures by the baseline, to tell drift from trust"
        return Verdict(TITLE, NOT_TESTED, why), False
    if not clock and (drift["lower"] > 0 or drift["upper"] < 0):
        word, says = UNDECIDED, "the baseline drifts, and as one phase follows the other that may be all"
    elif lower > 0 or upper < 0:
        word, says = HOLDS, "it rises" if value > 0 else "it falls"
    else:
        little = max(-lower, upper) < min(LITTLE, SHARE * abs(known.rate))
        word, says = FAILS if little else UNDECIDED, "no change is seen"
    write, unit = writer(known.binary, sign=True)
    shift = f"{write(value)}{unit} {interval(lower, upper, write)}"
    text = f"{says}; later half less earlier, beyond the baseline's: {shift}"
    # Without a common clock a user's change is told from drift only by that of all, beyond the baseline's.
    return Verdict(TITLE, word, text, value, lower, upper, threshold=0.0), clock or word == HOLDS


def _test_users(rows: pd.DataFrame, permutations: int, seed: int) -> pd.DataFrame:
    """Test the order of every user's contrasts, sorted by user and step, against random orders of the same."""
    user, names = pd.factorize(rows["user"])
    place, length = rows.groupby("user").cumcount().to_numpy(), np.bincount(user)
    number = np.arange(1, length.max() + 1)
    real = number <= length[:, None]
    scaled, plain, step = (np.zeros(real.shape) for _ in range(3))
    scaled[user, place] = rows["contrast"] / rows["spread"]
    plain[user, place], step[user, place] = rows["contrast"], rows["step"]
    scaled -= (scaled.sum(axis=1) / length)[:, None]
    rest = length[:, None] - number
    inside = (number >= EDGE) & (rest >= EDGE)
    factor = np.where(inside, np.sqrt(length[:, None] / np.maximum(number * rest, 1)), 0.0)
    reach = np.abs(np.cumsum(scaled, axis=1) * factor)
    above, rng = np.zeros(len(names)), np.random.default_rng([seed, 2])
    for _ in range(permutations):
        # What is not real stays at the end.
        order = np.argsort(np.where(real, rng.random(real.shape), np.inf), axis=1)
        walk = np.cumsum(np.take_along_axis(scaled, order, axis=1), axis=1)
        above += np.abs(walk * factor).max(axis=1) >= reach.max(axis=1) - 1e-9
    p, last = (1 + above) / (1 + permutations), reach.argmax(axis=1)
    early = np.where(number <= last[:, None] + 1, plain, 0.0).sum(axis=1)
    table = pd.DataFrame({"user": names, "exposures": length, "p": p})
    table["changed"] = false_discovery_control(p) <= RATE
    table["step"] = step[np.arange(len(names)), last].astype(int)
    table["before"], table["after"] = early / (last + 1), (plain.sum(axis=1) - early) / (length - last - 1)
    return table.sort_values("p", kind="stable", ignore_index=True)
