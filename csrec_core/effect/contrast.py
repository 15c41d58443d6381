"""A weighted contrast of two regimes with intervals clustered by user."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.errors import InputError

__all__ = ["Contrast", "average_intervals", "interval", "slope"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Values of rows, averaged with the weights of the system's rows less with those of the self-chosen.

    For a group g of rows, theta_g = sum a v / sum a - sum b v / sum b, and the influence of user u on it is
    sum over the user's rows of a (v - theta_1) / sum a - b (v - theta_0) / sum b, plus the user's part in the
    error of fitted parameters, where values depend on any.

    Attributes
    ----------
    user : array (rows,) int
        From 0, in [0, users).
    value : array (rows,)
        What is averaged, such as D - f~.
    treated, control : array (rows,)
        The weights a and b, at least 0. Where a group has no b > 0, and `one_sided`, its second mean is 0;
        else it has no estimate (NaN).
    one_sided : bool
        Whether the values are effects already, and no control is wanted.
    gradient : array (rows, p) or None
        Derivative of the value by the fitted parameters.
    parameters : array (users, p) or None
        Influence of each user on the fitted parameters.
    """

    user: np.ndarray
    value: np.ndarray
    treated: np.ndarray
    control: np.ndarray
    one_sided: bool = False
    gradient: np.ndarray | None = None
    parameters: np.ndarray | None = None

    def groups(
        self, label: np.ndarray | None = None, *, shared: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the contrast of each group and the users' influence on it.

        Parameters
        ----------
        label : array (rows,) int, optional
            Group of each row, from 0; negative leaves a row out. One group of all by default.
        shared : bool
            Compare every group with the control of all of them: for labels that the control has not in the
            same sense, such as the number of the exposure.

        Returns
        -------
        effect : array (groups,)
        influence : array (users, groups)
            Of which the sum of squares is the sampling variance.
        """
        label = np.zeros(len(self.user), dtype=int) if label is None else np.asarray(label)
        count = label.max() + 1
        effect, influence = np.zeros(count), np.zeros((self.user.max() + 1, count))
        for sign, weight in ((1, self.treated), (-1, self.control)):
            if sign < 0 and self.one_sided:
                continue
            used = (label >= 0) & (weight > 0)
            if sign < 0 and shared:
                alone = replace(self, treated=self.control * used, control=0 * weight, one_sided=True)
                mean, part = replace(alone, gradient=None).groups()
                effect, influence = effect - mean, influence - part
                continue
            group, share = label[used], weight[used]
            total = np.bincount(group, share, minlength=count)
            with np.errstate(invalid="ignore"):
                mean = np.bincount(group, share * self.value[used], minlength=count) / total
            part = share * (self.value[used] - mean[group]) / total[group]
            cell = np.bincount(self.user[used] * count + group, part, minlength=influence.size)
            effect, influence = effect + sign * mean, influence + sign * cell.reshape(influence.shape)
            if sign > 0 and self.gradient is not None:
                slopes = np.zeros((count, self.gradient.shape[1]))
                np.add.at(slopes, group, self.gradient[used] * (share / total[group])[:, None])
                influence = influence + self.parameters @ slopes.T
        return effect, influence

    def band(self, gamma: float, *, level: float = 0.95) -> pd.Series:
        """Return how far the contrast could move if what is hidden moved the weights of the control.

        Each weight b may be wrong by a factor in [1 / gamma, gamma] (the marginal sensitivity model of Tan
        2006); the extremes give the rows above a threshold of value the one factor, those below the other.

        Parameters
        ----------
        gamma : float
            At least 1.

        Returns
        -------
        Series
            `least`, `most` (the contrast at the extremes), `lower`, `upper` (with their sampling intervals).
        """
        if not gamma >= 1:
            raise InputError(f"gamma = {gamma}; expected at least 1")
        order = np.argsort(self.value, kind="stable")
        weight, value = self.control[order], self.value[order]
        below, worth = np.cumsum(weight), np.cumsum(weight * value)
        ends = []
        for first, last in ((gamma, 1 / gamma), (1 / gamma, gamma)):  # factors of low and of high values
            total = first * below + last * (below[-1] - below)
            mean = (first * worth + last * (worth[-1] - worth)) / np.maximum(total, 1e-300)
            cut = (mean.argmin() if first > last else mean.argmax()) + 1
            factor = np.empty(len(order))
            factor[order] = np.where(np.arange(len(order)) < cut, first, last)
            ends.append(interval(*replace(self, control=self.control * factor).groups(), level=level).iloc[0])
        most, least = ends  # a low mean of the control is a large contrast
        return pd.Series(
            {
                "least": least["effect"],
                "most": most["effect"],
                "lower": least["lower"],
                "upper": most["upper"],
            }
        )

    def by(self, label: pd.Series, *, level: float = 0.95, simultaneous: bool = False) -> pd.DataFrame:
        """Return the contrast of each value of a label.

        Parameters
        ----------
        label : Series (rows,)
            Such as the genre of each row, or a segment of its user; NaN leaves the row out.
        simultaneous : bool
            Widen the intervals so that all of them hold together with the probability `level` (Bonferroni).

        Returns
        -------
        DataFrame
            `group`, `effect`, `lower`, `upper`, `exposures` (of the system).
        """
        code, names = pd.factorize(label, sort=True)
        if not len(names):
            raise InputError("no row has a group; expected a label for some")
        effect, influence = self.groups(code)
        level = 1 - (1 - level) / len(names) if simultaneous else level
        rows = np.bincount(code[(code >= 0) & (self.treated > 0)], minlength=len(names))
        table = interval(effect, influence, level=level).drop(columns="error")
        return pd.concat([pd.DataFrame({"group": names}), table], axis=1).assign(exposures=rows)


def interval(effect: np.ndarray, influence: np.ndarray, *, level: float = 0.95) -> pd.DataFrame:
    """Return `effect`, `lower`, `upper`, `error` (standard error) of each of the groups."""
    error = np.sqrt((influence**2).sum(axis=0))
    half = norm.ppf((1 + level) / 2) * error
    return pd.DataFrame({"effect": effect, "lower": effect - half, "upper": effect + half, "error": error})


def slope(place: np.ndarray, effect: np.ndarray, influence: np.ndarray, *, level: float = 0.95) -> pd.Series:
    """Return the least-squares slope of effects over places, such as steps; NaN with fewer than two."""
    known = np.isfinite(effect)
    centred = place[known] - place[known].mean() if known.any() else np.zeros(0)
    square = (centred**2).sum()
    if not square > 0:
        return pd.Series(np.nan, index=["effect", "lower", "upper", "error"])
    weight = centred / square
    return interval(
        np.array([weight @ effect[known]]), (influence[:, known] @ weight)[:, None], level=level
    ).iloc[0]


def average_intervals(tables: list[pd.DataFrame], *, level: float = 0.95) -> pd.DataFrame:
    """Average `effect` over repeated fits of one log; the error adds the spread between the fits.

    Returns
    -------
    DataFrame
        The first table with `effect`, `lower`, `upper` and, where it has it, `error` replaced.
    """
    stack = np.stack([table[["effect", "lower", "upper"]].to_numpy(dtype=float) for table in tables])
    quantile, mean = norm.ppf((1 + level) / 2), stack[:, :, 0].mean(axis=0)
    error = (stack[:, :, 2] - stack[:, :, 1]) / 2 / quantile
    error = np.sqrt((error**2).mean(axis=0) + stack[:, :, 0].var(axis=0))
    found = tables[0].assign(effect=mean, lower=mean - quantile * error, upper=mean + quantile * error)
    return found.assign(error=error) if "error" in found.columns else found
