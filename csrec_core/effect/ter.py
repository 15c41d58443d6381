"""TER, the treatment effect of recommending: f - f~ at the exposures by the system (Definition 3.4).

TER*(user, t) = P(D_t = 1 | S_t = s, H_{t-1}; R = system) - P(D_t = 1 | S_t = s, H_{t-1}; R = self)

at the item s that was exposed. Of the two estimands, `filtered` keeps the history H as it fell, `marginal`
sums out the earlier decisions of the system phase: P(D_t | do(S_{1:t}), P_{1:t}). Here are the paper's own
estimates, by the two networks; how far an effect may be believed is judged by
`csrec_core.effect.identification`.
"""

import numpy as np
import pandas as pd

from csrec_core.effect.result import Effect
from csrec_core.metrics import resample_means

#: By estimand, the end of a network's columns, and the columns of the truth under either arm.
ESTIMAND_COLUMNS = {
    "filtered": ("", "p_system", "p_self"),
    "marginal": ("_marginal", "marginal_system", "marginal_self"),
}


def true_effects(truth: pd.DataFrame, cells: pd.DataFrame, *, estimand: str = "filtered") -> pd.DataFrame:
    """Return the true effect of every cell of a simulated world: `user`, `t`, `step`, `item`, `effect`."""
    _, system, chosen = ESTIMAND_COLUMNS[estimand]
    known = truth[truth["source"] == "system"].set_index(["user", "t"])
    effect = (known[system] - known[chosen]).loc[pd.MultiIndex.from_frame(cells[["user", "t"]])]
    return cells[["user", "t", "step", "item"]].assign(effect=effect.to_numpy())


def true_mean(truth: pd.DataFrame, effect: Effect) -> float:
    """Return the mean of `true_effects` of the arm's `effect.cells` at the target of the effect."""
    weight = effect.cells.loc[effect.cells["arm"] == 1, "w1"]
    return float(np.average(truth["effect"], weights=weight))


def true_over_time(truth: pd.DataFrame, steps: pd.DataFrame) -> list[float]:
    """Return the mean of `true_effects` at each row of `Effect.over_time`."""
    ends = zip(steps["step"], steps["last"], strict=True)
    return [truth.loc[truth["step"].between(*pair), "effect"].mean() for pair in ends]


def effect_estimates(
    cells: pd.DataFrame, truth: pd.DataFrame | None = None, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return the mean effect over users by every estimate of the networks, with user-bootstrap intervals.

    Cells are of `csrec_core.models.predictions.Predictions`. The estimates: `two-model`, the paper's, is f - f~ without
    penalty; `two-model, with penalty` takes the f of Eq. (9), whose penalty shrinks it towards 0; `residual-corrected`
    is D - f~, noisy in a cell, and in a mean free of the errors of f: that of f - f~ plus the mean residual D - f of
    users f was not trained on, so its interval holds the noise of the decisions as well.

    Returns `estimate`, `estimand`, `effect`, `lower`, `upper` (95%; they hold the sampling of users, not the error of
    the models) and, where the world is simulated, `truth`.
    """
    found = {}
    for estimand, (end, _, _) in ESTIMAND_COLUMNS.items():
        f_tilde = cells[f"f_tilde{end}"]
        found["two-model", estimand] = cells[f"f_free{end}"] - f_tilde
        found["two-model, with penalty", estimand] = cells[f"f{end}"] - f_tilde
        if estimand == "filtered":
            found["residual-corrected", estimand] = cells["decision"] - f_tilde
    table = resample_means(pd.DataFrame(found).groupby(cells["user"]).mean(), draws=draws, seed=seed)
    table = table.set_axis(["effect", "lower", "upper"], axis="columns")
    table = table.reset_index(names=["estimate", "estimand"])
    if truth is None:
        return table
    true = [true_effects(truth, cells, estimand=estimand) for estimand in table["estimand"]]
    return table.assign(truth=[frame.groupby("user")["effect"].mean().mean() for frame in true])
