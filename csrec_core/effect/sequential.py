"""The marginal effect by sequential inverse-propensity weights, for tastes that no one has written down."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.effect.contrast import interval
from csrec_core.errors import InputError

__all__ = ["Sequential", "sequential_effect"]

LONGEST = 6  # exposures that the weights may reach back
SETTLED = 5  # decisions before the weighted exposures, or a quarter of the phase: habits start from none
TOLERANCE = 2.0  # standard errors of a difference that may be noise
FEWEST = 500  # rows that weighted ones must be worth, for their normal intervals to hold


@dataclass(frozen=True, eq=False)
class Sequential:
    """Mean marginal effects at each exposure number of the system phase.

    Attributes
    ----------
    step : array (steps,)
        From 1.
    effect : array (steps,)
        Mean over users of P(D_t | do(S_{1:t})) under the system less that under own choice.
    influence : array (users, steps)
        See `csrec_core.effect.contrast.Contrast.groups`.
    k : int
        Exposures that the weights reach back.
    reach : DataFrame
        What k trades: `k`, `effect` (mean over steps), `lower`, `upper`, `error`, `ess` (rows that the
        weighted self-chosen ones are worth), `shift` from the effect at the largest k, with its standard
        error `shift_error`, and `chosen`.
    """

    step: np.ndarray
    effect: np.ndarray
    influence: np.ndarray
    k: int
    reach: pd.DataFrame


def sequential_effect(
    dataset: Dataset, expected: np.ndarray, *, k: int | None = None, level: float = 0.95
) -> Sequential:
    """Contrast the system phase with self-chosen exposures weighted as if they had been drawn uniformly.

    Each exposure weighs 1 / (N p), with p its logged propensity and N the size of the catalogue; a row of a
    sequence weighs the product over its last k exposures (over all of the phase where those are fewer).
    Products of more exposures leave less of the self-chosen history in the decision before, and vary more.
    By default k is the smallest from 2 on whose effect differs from that of no larger k, of those with enough
    rows, by more than two standard errors of the difference (Lepski's rule); k = 1 leaves the decision before
    to a self-chosen exposure. The effect is one of uniformly drawn exposures, which a randomised system phase
    shows. It takes the self-chosen phase for stationary but for its first decisions, which are only used as
    what lies before the weighted exposures.

    Parameters
    ----------
    expected : array (rows,)
        A guess of each row's acceptance from its item, from other users; taken off decisions in
        both regimes, which makes intervals narrower: its mean over uniform exposures is the same in both.
    k : int, optional
        At least 1.

    Raises
    ------
    InputError
        Where an exposure has no propensity, or a phase is too short.
    """
    log = dataset.log
    if "propensity" not in log.columns or log["propensity"].isna().any():
        raise InputError(
            f"{dataset.name}: the marginal effect needs the propensity of every exposure; "
            f"{log['propensity'].isna().sum() if 'propensity' in log.columns else len(log):,} have none"
        )
    if k is not None and k < 1:
        raise InputError(f"k = {k}; expected at least 1")
    known = log["item"] if dataset.items is None else pd.concat([log["item"], dataset.items["item"]])
    catalogue = known.nunique()
    user = np.unique(log["user"], return_inverse=True)[1]
    rows = pd.DataFrame(
        {
            "user": user,
            "log_weight": -np.log(catalogue * log["propensity"].to_numpy(dtype=float)),
            "residual": log["decision"].to_numpy(dtype=float) - expected,
            "source": log["source"].astype(str),
        }
    )
    rows["step"] = rows.groupby(["user", "source"]).cumcount() + 1
    chosen, shown = (_Phase.lay(rows[rows["source"] == source]) for source in (SELF, SYSTEM))
    settled = max(1, min(SETTLED, chosen.steps // 4))
    longest = min(LONGEST, chosen.steps - settled, shown.steps)
    if longest < 1:
        raise InputError(
            f"{dataset.name}: expected two self-chosen exposures and one by the system of a user"
        )
    users = user.max() + 1
    wanted = range(1, (longest if k is None else min(k, longest)) + 1)
    chosen_means = [chosen.mean(reach, users, settled=settled) for reach in wanted]
    ess = np.array([part[2] for part in chosen_means])
    trusted = int(max(1, (ess >= FEWEST).sum())) if k is None else len(wanted)
    tables = []
    for reach in list(wanted)[:trusted]:
        effect, influence = [], []
        for step in range(1, shown.steps + 1):
            back = min(reach, step)
            left, left_influence, _ = shown.mean(back, users, step=step)
            right, right_influence, _ = chosen_means[back - 1]
            effect.append(left - right)
            influence.append(left_influence - right_influence)
        tables.append((np.array(effect), np.stack(influence, axis=1)))
    means = np.array([table[0].mean() for table in tables])
    parts = np.stack([table[1].mean(axis=1) for table in tables], axis=1)
    picked = trusted if k is not None else _choose(means, parts)
    reach = interval(means, parts, level=level)
    reach.insert(0, "k", np.arange(1, trusted + 1))
    reach["ess"] = ess[:trusted]
    reach["shift"] = means - means[-1]
    reach["shift_error"] = np.sqrt(((parts - parts[:, [-1]]) ** 2).sum(axis=0))
    reach["chosen"] = reach["k"] == picked
    effect, influence = tables[picked - 1]
    return Sequential(np.arange(1, shown.steps + 1), effect, influence, picked, reach)


def _choose(means: np.ndarray, parts: np.ndarray) -> int:
    """Return the smallest k from 2 on that agrees with every larger one to `TOLERANCE` standard errors."""
    for place in range(1, len(means)):
        later = slice(place + 1, None)
        error = np.sqrt(((parts[:, later] - parts[:, [place]]) ** 2).sum(axis=0))
        if (np.abs(means[later] - means[place]) <= TOLERANCE * error).all():
            return place + 1
    return len(means)


@dataclass(frozen=True, eq=False)
class _Phase:
    """One source's rows by user and step, (users, steps); NaN is padding."""

    user: np.ndarray
    log_weight: np.ndarray
    residual: np.ndarray

    @classmethod
    def lay(cls, rows: pd.DataFrame) -> "_Phase":
        if rows.empty:
            return cls(np.zeros(0, dtype=int), np.zeros((0, 0)), np.zeros((0, 0)))
        user, row = np.unique(rows["user"], return_inverse=True)
        tables = []
        for name in ("log_weight", "residual"):
            table = np.full((len(user), rows["step"].max()), np.nan)
            table[row, rows["step"] - 1] = rows[name]
            tables.append(table)
        return cls(user, *tables)

    @property
    def steps(self) -> int:
        return self.residual.shape[1]

    def mean(
        self, back: int, users: int, *, step: int | None = None, settled: int = 0
    ) -> tuple[float, np.ndarray, float]:
        """Return the weighted mean of the residuals, each user's influence on it, and the rows it is worth.

        Of the row `step`, or of every row with `settled` decisions before the `back` exposures weighted.
        """
        total = np.cumsum(np.pad(self.log_weight, ((0, 0), (1, 0))), axis=1)
        product = np.exp(total[:, back:] - total[:, : total.shape[1] - back])  # ends at rows back - 1, ...
        residual = self.residual[:, back - 1 :]
        where = slice(settled, None) if step is None else slice(step - back, step - back + 1)
        weight, residual = (
            np.where(np.isnan(part), 0, part) for part in (product[:, where], residual[:, where])
        )
        mean = (weight * residual).sum() / weight.sum()
        influence = np.zeros(users)
        influence[self.user] = (weight * (residual - mean)).sum(axis=1) / weight.sum()
        return mean, influence, weight.sum() ** 2 / (weight**2).sum()
