"""The clock that the arms of a log share, or do not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Clock", "find_clock"]


@dataclass(frozen=True)
class Clock:
    """Which times the arms share, so that both are compared at the same one; `between`: every user is of one arm.

    `columns` are the features of time that the nuisances may read: `seen` and `time` where the arms alternate within
    users, `step` where every user is of one arm, none where one phase follows the other.
    """

    columns: tuple[str, ...]
    between: bool

    @property
    def phased(self) -> bool:
        """Whether one phase follows the other."""
        return not (self.columns or self.between)


def find_clock(rows: pd.DataFrame) -> Clock:
    """Find the clock of rows of `lay_rows`."""
    own = rows[rows["arm"] >= 0]
    arms = own.groupby("user")["arm"].agg(["min", "max"])
    time = rows["time"].to_numpy()
    timed = ("time",) if np.ptp(np.nan_to_num(time)) > 0 else ()
    if (arms["min"] == arms["max"]).all():
        return Clock(("step", *timed) if own["user"].duplicated().any() else timed, True)
    if not timed:
        return Clock((), False)
    low, high = np.quantile(own.loc[own["arm"] == 0, "time"], [0.01, 0.99])
    inside = own.loc[own["arm"] == 1, "time"].between(low, high).mean()
    return Clock(("seen", "time") if inside > 0.5 else (), False)
