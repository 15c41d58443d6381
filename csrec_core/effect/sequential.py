"""The marginal effect (Definition 3.4) by sequential inverse-propensity weights, preferences unknown."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.data.log import Dataset
from csrec_core.effect.design import Design
from csrec_core.effect.rows import lay_rows
from csrec_core.errors import InputError
from csrec_core.metrics import effective_size

LONGEST_REACH = 6  # exposures that the weights may reach back
SETTLED = 5  # decisions before the weighted exposures, or a quarter of the phase: habits start from none
NOISE_ERRORS = 2.0  # standard errors of a difference that may be noise
FEWEST_WEIGHTED_ROWS = 500  # rows that weighted ones must be worth, for their normal intervals to hold


def sequential_effect(dataset: Dataset, design: Design) -> pd.DataFrame:
    """Contrast the arm's exposures with the baseline's weighted as if they had been drawn uniformly.

    Each exposure weighs 1 / (N p), with p its logged propensity and N the size of the catalogue; a row of a
    sequence weighs the product over its last k exposures (over all of the phase where those are fewer).
    Products of more exposures leave less of the baseline's history in the decision before, and vary more. The
    chosen k is the smallest from 2 on whose effect differs from that of no larger k, of those with enough
    rows, by more than two standard errors of the difference (Lepski's rule); k = 1 leaves the decision before
    to an exposure of the baseline. The effect is one of uniformly drawn exposures, which a randomised arm
    shows. It takes the baseline's phase for stationary but for its first decisions, which are only used as
    what lies before the weighted exposures.

    Returns what k trades: `k`, `effect` (mean over users and exposure numbers of P(D_t | do(S_{1:t})) under the arm
    less that under the baseline), `lower`, `upper`, `error`, `ess` (rows that the weighted ones of the baseline are
    worth), and `chosen`. An input error where an exposure has no propensity, or a phase is too short.
    """
    rows = lay_rows(dataset, design)
    rows = rows[rows["arm"] >= 0]
    if missing := int(rows["propensity"].isna().sum()):
        raise InputError(
            f"{dataset.name}: the marginal effect needs the propensity of every exposure; {missing:,} have none"
        )
    known = rows["item"] if dataset.items is None else pd.concat([rows["item"], dataset.items["item"]])
    user, names = pd.factorize(rows["user"])
    step = rows.groupby(["user", "arm"]).cumcount().to_numpy()
    # Taken off in both arms, the mean changes nothing but the width.
    residual = (rows["decision"] - rows["decision"].mean()).to_numpy()
    weight = -np.log(known.nunique() * rows["propensity"].to_numpy(dtype=float))
    chosen, shown = (
        _lay(user[side], step[side], weight[side], residual[side], len(names))
        for side in ((rows["arm"] == 0).to_numpy(), (rows["arm"] == 1).to_numpy())
    )
    steps = shown.shape[2]
    settled = max(1, min(SETTLED, chosen.shape[2] // 4))
    longest = min(LONGEST_REACH, chosen.shape[2] - settled, steps)
    if longest < 1:
        raise InputError(
            f"{dataset.name}: expected two exposures of the baseline and one of the arm of a user"
        )
    base = [_phase_mean(chosen, back, slice(settled, None)) for back in range(1, longest + 1)]
    ess = np.array([one[2] for one in base])
    trusted = max(1, int((ess >= FEWEST_WEIGHTED_ROWS).sum()))
    means, parts = np.zeros(trusted), np.zeros((len(names), trusted))
    for place in range(trusted):
        for number in range(1, steps + 1):
            back = min(place + 1, number)
            left, left_part, _ = _phase_mean(shown, back, slice(number - back, number - back + 1))
            means[place] += (left - base[back - 1][0]) / steps
            parts[:, place] += (left_part - base[back - 1][1]) / steps
    error = np.sqrt((parts**2).sum(axis=0))
    half = norm.ppf(0.975) * error
    numbers = np.arange(1, trusted + 1)
    table = pd.DataFrame({"k": numbers, "effect": means, "lower": means - half, "upper": means + half})
    return table.assign(error=error, ess=ess[:trusted], chosen=numbers == _choose(means, parts))


def _choose(means: np.ndarray, parts: np.ndarray) -> int:
    """Return the smallest k from 2 on that agrees with every larger one to `NOISE_ERRORS` standard errors."""
    for place in range(1, len(means)):
        error = np.sqrt(((parts[:, place + 1 :] - parts[:, [place]]) ** 2).sum(axis=0))
        if (np.abs(means[place + 1 :] - means[place]) <= NOISE_ERRORS * error).all():
            return place + 1
    return len(means)


def _lay(user, step, weight, residual, users: int) -> np.ndarray:
    """Return log weights and residuals by user and step, (2, users, steps); NaN is padding."""
    table = np.full((2, users, int(step.max(initial=-1)) + 1), np.nan)
    table[:, user, step] = weight, residual
    return table


def _phase_mean(phase: np.ndarray, back: int, where: slice) -> tuple[float, np.ndarray, float]:
    """Return the weighted mean residual of rows, each user's influence on it, and the rows it is worth.

    `where` are places among the rows with `back` exposures up to and with them, which are weighted.
    """
    total = np.cumsum(np.pad(phase[0], ((0, 0), (1, 0))), axis=1)
    product = np.exp(total[:, back:] - total[:, : total.shape[1] - back])[:, where]
    weight, residual = np.nan_to_num(product), np.nan_to_num(phase[1][:, back - 1 :][:, where])
    mean = (weight * residual).sum() / weight.sum()
    influence = (weight * (residual - mean)).sum(axis=1) / weight.sum()
    return mean, influence, effective_size(weight)
