"""The estimated effect of one arm against another, with what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from csrec_core.effect import answer
from csrec_core.effect.card import as_card
from csrec_core.effect.design import Design
from csrec_core.effect.engine import Known
from csrec_core.effect.identification import Identification
from csrec_core.effect.score import (
    ESTIMATORS,
    FEWEST_ACCEPTING,
    Sums,
    combine_splits,
    effects_of,
    intervals,
    merged,
    slope_of,
    sum_groups,
)
from csrec_core.effect.sensitivity import sensitivity_band, tipping_point
from csrec_core.effect.users import user_effects
from csrec_core.errors import InputError, unknown
from csrec_core.verdict import Verdict

__all__ = ["Effect", "merge_small"]


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect, and how it was estimated.

    Attributes
    ----------
    design, identification, known : Design, Identification, Known
        What is compared, how far the effect may be believed, and what the log holds.
    splits : list of Sums
        One of each split of users into folds.
    benchmark : tuple of (str, float)
        The observed column that moves the odds of the arm most, and by which factor.
    level : float
        Of all intervals.
    scores : tuple of DataFrame
        Of `Engine.score`, one of each split, rows as in `lay_rows`; empty for a log in parts.
    groups : dict of str to tuple of str
        The groupings that were summed, and their groups.
    learners : dict
        By nuisance, the learner that was chosen.
    seed : int
        Of the splits.
    width : int
        Coefficients of the regression of the baseline's decisions.
    outcome : str
        What is caused: acceptance, or an outcome by its name in the file.
    """

    design: Design
    identification: Identification
    known: Known
    splits: list[Sums]
    benchmark: tuple[str, float]
    level: float
    name: str
    scores: tuple[pd.DataFrame, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    learners: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    width: int = 0
    outcome: str = "acceptance"

    @cached_property
    def inflation(self) -> float:
        """sqrt(n / (n - p)), n effective users of the rarer decision, p coefficients of the baseline's regression.

        The influence function takes the nuisances as given. With as many coefficients as a tenth of these users
        its errors are some 5% too short; among many users nothing is left of that.
        """
        users = float(np.median([effects_of(sums, "all").worth[0] for sums in self.splits]))
        return float(np.sqrt(users / (users - min(self.width, users / 2)))) if users > 0 else 1.0

    @cached_property
    def mean(self) -> pd.Series:
        """The mean effect: `effect`, `lower`, `upper`, `error` (standard error)."""
        return self._grouped(self.splits, "all").iloc[0]

    @cached_property
    def baseline(self) -> float:
        """Mean decision at the target, had the baseline exposed."""
        return float(np.median([effects_of(sums, "all").baseline[0] for sums in self.splits]))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the mean effect over splits of users into folds."""
        return float(np.std([effects_of(sums, "all").effect[0] for sums in self.splits]))

    @cached_property
    def losses(self) -> pd.Series:
        """Cross-fitted log loss of `m0` at the baseline's rows, and of `m1` at the arm's; of yes and no alone."""
        found = {}
        for name, arm in (("m0", 0), ("m1", 1)):
            own = [scores[scores["arm"] == arm] for scores in self.scores]
            found[name] = np.mean([log_loss(one["decision"], one[name], labels=[0, 1]) for one in own])
        return pd.Series(found)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """The mean by each of `ESTIMATORS`: `name`, `effect`, `lower`, `upper`, `error`."""
        table = self._grouped(self.splits, "estimators")
        table.insert(0, "name", list(ESTIMATORS))
        return table

    @property
    def against(self) -> str:
        """Which of the baseline's rows a step meets (`by`): those of the step, or without a common clock its users'."""
        return "later" if self.known.clock.phased else "own"

    @cached_property
    def over_time(self) -> pd.DataFrame:
        """The effect by number of the arm's exposure: `step`, `last` (of steps put together), `effect`, ...

        Steps are put together until an interval has enough users and accepted exposures to rest on.
        """
        found = [effects_of(sums, "step", baseline=self.against) for sums in self.splits]
        size = np.median([one.size for one in found], axis=0)
        into = merge_small(size, float(np.median([one.worth.sum() for one in found])))
        if into is None:
            return pd.DataFrame(columns=["step", "last", "effect", "lower", "upper", "error"])
        sums = [merged(one, "step", into) for one in self.splits]
        table = self._grouped(sums, "step", baseline=self.against)
        steps = pd.Series(np.arange(1, len(into) + 1)).groupby(into)
        table.insert(0, "step", steps.min().to_numpy())
        table.insert(1, "last", np.minimum(steps.max(), np.flatnonzero(size > 0).max() + 1).to_numpy())
        return table.dropna(ignore_index=True)

    @cached_property
    def trend(self) -> pd.Series:
        """Change of the effect an exposure, steps weighted by their information."""
        found = []
        for sums in self.splits:
            effects = effects_of(sums, "step", baseline=self.against)
            found.append(slope_of(effects, np.arange(1.0, len(effects.effect) + 1)))
        effect, error, worth = np.array(found).T * np.array([[1.0], [self.inflation], [1.0]])
        return intervals(*combine_splits(effect, error), np.median(worth), level=self.level).iloc[0]

    @property
    def _half(self) -> float:
        """Half the width of the interval of the mean."""
        return float(self.mean["upper"] - self.mean["lower"]) / 2

    @cached_property
    def band(self) -> pd.DataFrame:
        """The effect if hidden causes move the odds of the arm (`sensitivity_band`); empty where none can.

        Nothing hidden moves an arm that was drawn with known chances.
        """
        if self.design.estimand == "arm" and self.identification.status == "identified":
            return pd.DataFrame(columns=["odds", "least", "most", "lower", "upper"])
        return sensitivity_band(self.splits, half=self._half)

    @cached_property
    def tipping(self) -> float:
        """The odds at which zero enters (`tipping_point`); NaN where nothing hidden can."""
        if self.band.empty:
            return float("nan")
        return tipping_point(self.splits, half=self._half)

    def by(
        self, labels: str | pd.Series | np.ndarray, *, baseline: str = "own", level: float | None = None
    ) -> pd.DataFrame:
        """Return the effect in each group of rows.

        Parameters
        ----------
        labels : array (rows of the log,) or str
            A group for each; NaN leaves a row out. Or one of `groups`.
        baseline : str
            Which of the baseline's residuals a group meets (`csrec_core.effect.score.effects_of`).
        level : float, optional
            Of the intervals; that of the effect by default.

        Returns
        -------
        DataFrame
            `group`, `effect`, `lower`, `upper`, `error`, `exposures`, `users` (of the arm). A group with too few
            users or accepted exposures for an interval is left out.
        """
        names: Sequence
        if isinstance(labels, str):
            if labels not in self.groups:
                raise unknown("grouping", labels, self.groups)
            names, splits, key = self.groups[labels], self.splits, labels
        else:
            (names, splits), key = self.group_sums(labels), "groups"
        found = self._grouped(splits, key, baseline=baseline, level=level)
        found.insert(0, "group", list(names))
        found[["exposures", "users"]] = splits[0][f"{key} counts"]
        return found.dropna(subset="effect", ignore_index=True)

    def group_sums(self, labels: pd.Series | np.ndarray) -> tuple[list, list[Sums]]:
        """Return the groups of a label of the log's rows, and the sums by them, one of each split."""
        self._needs_rows()
        code, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
        if not len(names):
            raise InputError("no row has a group; expected a label for some")
        return list(names), [
            sum_groups(scores, self.known, {"groups": (code[scores["place"].to_numpy()], len(names))})
            for scores in self.scores
        ]

    def _needs_rows(self) -> None:
        if not self.scores:
            raise InputError(
                f"an effect of a log in parts holds no rows; expected one of its groupings, "
                f"{', '.join(self.groups)}, or a log in memory"
            )

    @cached_property
    def users(self) -> pd.DataFrame:
        """The users' effects, partially pooled (`csrec_core.effect.users.user_effects`)."""
        self._needs_rows()
        return user_effects(self.scores[0], error=float(self.mean["error"]), level=self.level)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The rows of both arms with their scores, means over the splits of users into folds."""
        self._needs_rows()
        first = self.scores[0]
        names = ["e", "m1", "m0", "tau", "w1", "w0"]
        mean = np.mean([scores[names].to_numpy() for scores in self.scores], axis=0)
        return first.assign(**dict(zip(names, mean.T, strict=True)))[first["arm"] >= 0].reset_index(drop=True)

    def _grouped(self, splits, name, *, baseline="own", level=None) -> pd.DataFrame:
        found = [effects_of(sums, name, baseline=baseline) for sums in splits]
        errors = np.array([np.sqrt(np.maximum(np.diag(one.covariance), 0)) for one in found]) * self.inflation
        effect, error = combine_splits(np.array([one.effect for one in found]), errors)
        worth = np.median([one.worth for one in found], axis=0)
        return intervals(effect, error, worth, level=level or self.level)

    def after(self, checks: Sequence[Verdict]) -> "Effect":
        """Return the effect judged again once checks are in (`csrec_core.effect.checks.check_effect`)."""
        return replace(self, identification=self.identification.after(checks))

    def to_dict(self) -> dict:
        """Return what `effect.json` holds (`csrec_core.effect.answer.as_dict`)."""
        return answer.as_dict(self)

    def summary(self) -> str:
        """Return the answer on one screen (`csrec_core.effect.answer.as_text`)."""
        return answer.as_text(self)

    def _repr_html_(self) -> str:
        return as_card(self.to_dict())

    __repr__ = summary

    def plot(self, *, ax=None):
        """Draw the estimates beside each other or, where the band is the answer, the band."""
        from csrec_core.plots.effect import plot_estimates, plot_sensitivity

        if self.identification.status == "bounded":
            return plot_sensitivity(self.band, tipping=self.tipping, ax=ax)
        return plot_estimates(self.estimates.dropna(subset="lower"), ax=ax)


def merge_small(size: np.ndarray, worth: float) -> np.ndarray | None:
    """Return for each step its group: neighbours are put together until a group should be worth an interval.

    Groups are cut by the sizes of steps, so that what was decided at one says nothing of where it is cut. None
    where all of them together are `worth` too little for two groups.
    """
    groups = worth / (3 * FEWEST_ACCEPTING)  # expected of each, so that hardly any falls short
    if groups < 1 or not size.sum() > 0:
        return None
    middle = (np.cumsum(size) - size / 2) / size.sum()
    return np.unique(np.minimum(middle * groups, groups - 1e-9).astype(int), return_inverse=True)[1]
