"""An estimated effect, whatever estimated it."""

from dataclasses import dataclass, replace

import pandas as pd

from csrec_core.effect.contrast import Contrast, average_intervals
from csrec_core.effect.overlap import Overlap
from csrec_core.effect.pooling import Pooled

__all__ = ["EffectEstimate", "average_estimates"]


@dataclass(frozen=True, eq=False)
class EffectEstimate:
    """An effect with what to know of it.

    Attributes
    ----------
    estimator, estimand : str
    cells : DataFrame
        A row for each exposure by the system: `user`, `t`, `step` (from 1), `item`, `effect` in [-1, 1], and
        the interval `lower`, `upper` (NaN where the estimator has none for a single cell).
    mean : Series
        `effect`, `lower`, `upper`, `error` (standard error) of the mean over the cells in use.
    by_step : DataFrame
        `step`, `effect`, `lower`, `upper`.
    trend : Series
        Change of the effect a step: `effect`, `lower`, `upper`, `error`.
    overlap : Overlap or None
        Whether the regimes can be compared; None where the estimator does not ask.
    pooled : Pooled or None
        The users' partially pooled effects.
    contrast : Contrast or None
        For other groups: `estimate.contrast.by(labels)`, labels aligned with the log's rows (`two_model` from
        models: with `cells`).
    band : Series or None
        Of `doubly_robust` where the effect is not identified: how far it could be off, `least`, `most`,
        `lower`, `upper`, if what is hidden made an exposure up to 1.5 times as likely or unlikely to be the
        system's (`csrec_core.effect.contrast.Contrast.band`).
    diagnostics : DataFrame
        `what`, `value`; for the sequential weights the table of k instead.
    identified : bool
        Filtered: whether features of users or exposures are published. That they hold all of the taste is
        an assumption. If False, `warnings` says why.
    warnings : list of str
    """

    estimator: str
    estimand: str
    cells: pd.DataFrame
    mean: pd.Series
    by_step: pd.DataFrame
    trend: pd.Series
    overlap: Overlap | None
    pooled: Pooled | None
    contrast: Contrast | None
    band: pd.Series | None
    diagnostics: pd.DataFrame
    identified: bool
    warnings: list[str]


def average_estimates(runs: list[EffectEstimate], level: float) -> EffectEstimate:
    """Average repeated cross-fittings; what is no effect is the first run's."""
    averaged = {
        name: average_intervals([getattr(run, name).to_frame().T for run in runs], level=level).iloc[0]
        for name in ("mean", "trend")
    }
    averaged["cells"] = average_intervals([run.cells for run in runs], level=level)
    steps = set.intersection(*(set(run.by_step["step"]) for run in runs))
    tables = [run.by_step[run.by_step["step"].isin(steps)].reset_index(drop=True) for run in runs]
    averaged["by_step"] = average_intervals(tables, level=level)
    averaged["warnings"] = list(dict.fromkeys(warning for run in runs for warning in run.warnings))
    return replace(runs[0], **averaged)
