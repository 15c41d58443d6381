"""The order of a user's exposures over both sources: what came before an exposure, whoever chose it."""

import numpy as np
import pandas as pd


def whole_order(log: pd.DataFrame) -> np.ndarray | None:
    """Return a number for each row by which the rows of a user sort, over both sources, or None.

    It is the `timestamp`, where every row has one and no user's go back from one t of a source to the next;
    else t, where no user has the same t in both sources. Of rows at one time the self-chosen come first.
    Where neither tells, None: the self phase counts as the earlier one.
    """
    if "timestamp" in log.columns and log["timestamp"].notna().all():
        time = pd.factorize(log["timestamp"], sort=True)[0]
        user, source = log["user"].to_numpy(), log["source"].cat.codes.to_numpy()
        follows = (np.diff(user) == 0) & (np.diff(source) == 0)
        if (np.diff(time)[follows] >= 0).all():
            return time
    if not log.duplicated(["user", "t"]).any():
        return log["t"].to_numpy(dtype=np.int64)
    return None
