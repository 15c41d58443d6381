"""TER, the treatment effect of recommending: f - f~ at the exposures by the system (Definition 3.4).

TER*(user, t) = P(D_t = 1 | S_t = s, H_{t-1}; R = system) - P(D_t = 1 | S_t = s, H_{t-1}; R = self)

at the item s that was exposed. Of the two estimands, `filtered` keeps the history H as it fell, `marginal`
sums out the earlier decisions of the system phase: P(D_t | do(S_{1:t}), P_{1:t}).
"""

import numpy as np
import pandas as pd
from scipy.stats import norm

from csrec_core.effect.pooling import pool_users
from csrec_core.errors import unknown
from csrec_core.metrics import interval_text, resample_means

__all__ = [
    "ESTIMANDS",
    "add_estimate",
    "against_truth",
    "effect_by_group",
    "effect_by_user",
    "effect_estimates",
    "effect_sentence",
    "observed_contrast",
    "true_effects",
    "two_model",
]

ESTIMANDS = {"filtered": "", "marginal": "_marginal"}


def two_model(cells: pd.DataFrame, *, estimand: str = "filtered", penalised: bool = False) -> pd.DataFrame:
    """Estimate TER at every system exposure as the difference of two models, f - f~ (the paper's estimator).

    Parameters
    ----------
    cells : DataFrame
        See `csrec_core.models.predictions.Predictions`.
    estimand : {"filtered", "marginal"}
    penalised : bool
        Use the f of Eq. (9), whose penalty shrinks TER towards 0, instead of the f without it.

    Returns
    -------
    DataFrame
        `user`, `t`, `step`, `item`, `effect` in [-1, 1].
    """
    if estimand not in ESTIMANDS:
        raise unknown("estimand", estimand, ESTIMANDS)
    suffix = ESTIMANDS[estimand]
    effect = cells[f"{'f' if penalised else 'f_free'}{suffix}"] - cells[f"f_tilde{suffix}"]
    return cells[["user", "t", "step", "item"]].assign(effect=effect)


def observed_contrast(cells: pd.DataFrame) -> pd.DataFrame:
    """Return D_t - f~ in place of f - f~: noisy in a cell, and in a mean free of the errors of f.

    Its mean is that of f - f~ plus the mean residual D - f of users f was not trained on, so its interval
    holds the noise of the decisions, which that of f - f~ does not.
    """
    return cells[["user", "t", "step", "item"]].assign(effect=cells["decision"] - cells["f_tilde"])


def true_effects(truth: pd.DataFrame, cells: pd.DataFrame, *, estimand: str = "filtered") -> pd.DataFrame:
    """Return the true effect of every cell of a simulated world, shaped as `two_model` does."""
    names = {"filtered": ("p_system", "p_self"), "marginal": ("marginal_system", "marginal_self")}
    system, chosen = names[estimand]
    known = truth[truth["source"] == "system"].set_index(["user", "t"])
    effect = (known[system] - known[chosen]).loc[pd.MultiIndex.from_frame(cells[["user", "t"]])]
    return cells[["user", "t", "step", "item"]].assign(effect=effect.to_numpy())


def effect_estimates(
    cells: pd.DataFrame, truth: pd.DataFrame | None = None, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return the mean effect over users by every estimate at hand, with user-bootstrap intervals.

    Returns
    -------
    DataFrame
        `estimate` (`two-model` is f - f~ without penalty, `two-model, with penalty` that of Eq. 9,
        `residual-corrected` is D - f~), `estimand`, `mean`, `low`, `high` (95%; they hold the sampling of
        users, not the error of the models) and, where the world is simulated, `truth`.
    """
    rows, truths = {}, []
    for estimand in ESTIMANDS:
        effects = {
            "two-model": two_model(cells, estimand=estimand),
            "two-model, with penalty": two_model(cells, estimand=estimand, penalised=True),
        }
        if estimand == "filtered":
            effects["residual-corrected"] = observed_contrast(cells)
        for name, frame in effects.items():
            rows[name, estimand] = frame.groupby("user")["effect"].mean()
            if truth is not None:
                truths.append(
                    true_effects(truth, cells, estimand=estimand).groupby("user")["effect"].mean().mean()
                )
    table = resample_means(pd.DataFrame(rows), draws=draws, seed=seed).reset_index(
        names=["estimate", "estimand"]
    )
    return table if truth is None else table.assign(truth=truths)


def add_estimate(
    table: pd.DataFrame, mean: pd.Series, *, estimate: str, estimand: str = "filtered"
) -> pd.DataFrame:
    """Put a mean effect (`effect`, `lower`, `upper`) first in a table of `effect_estimates`."""
    first = pd.DataFrame(
        [(estimate, estimand, *mean[["effect", "lower", "upper"]])], columns=table.columns[:5]
    )
    if "truth" in table.columns:
        first["truth"] = table.loc[table["estimand"] == estimand, "truth"].iloc[0]
    return pd.concat([first, table], ignore_index=True)


def effect_sentence(estimate: tuple[float, float, float], *, users: int, identified: bool) -> str:
    """Say the mean effect (mean, low, high) in words, or that it is none."""
    mean, low, high = estimate
    text = f"{interval_text(mean, low, high)} in probability, averaged over {users:,} users"
    if not identified:
        return f"This log does not identify the effect: f − f~ differ by {text}, which is no causal effect."
    change = "raises" if low > 0 else "lowers" if high < 0 else "does not detectably change"
    return f"That the system exposed the item {change} its acceptance: by {text} (filtered TER*)."


def effect_by_user(cells: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Estimate each user's mean effect, drawn towards the mean of all by as much as it is noise.

    A random-intercept logistic model with f~ as its offset, and a line over time common to all; its spread
    between users is learned from all of them (empirical Bayes, `csrec_core.effect.pooling`). The interval
    takes f~ as right.

    Returns
    -------
    DataFrame
        Sorted by `effect`: `user`, `effect`, `low`, `high`, `observed` (the mean of D - f~), `model` (mean
        f - f~), `exposures`.
    """
    pooled = pool_users(cells).users
    half = norm.ppf((1 + level) / 2) * pooled["deviation"]
    table = pooled[["effect"]].assign(low=pooled["effect"] - half, high=pooled["effect"] + half)
    table["observed"] = observed_contrast(cells).groupby("user")["effect"].mean()
    table["model"] = two_model(cells).groupby("user")["effect"].mean()
    table["exposures"] = pooled["exposures"]
    return table.reset_index().sort_values("effect", ignore_index=True)


def effect_by_group(effects: pd.DataFrame, *, groups: int = 20) -> pd.DataFrame:
    """Return the mean effect by group of users and step, users grouped by their mean effect.

    Returns
    -------
    DataFrame
        Index `group` (1 has the largest effect), columns the steps, mean effects as values.
    """
    order = effects.groupby("user")["effect"].mean().rank(method="first", ascending=False)
    group = np.ceil(order / len(order) * min(groups, len(order))).astype(int)
    return (
        effects.assign(group=effects["user"].map(group))
        .pivot_table(index="group", columns="step", values="effect")
        .rename_axis(columns="step")
    )


def against_truth(effects: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Compare estimated with true effects of the same cells (`true_effects`).

    Returns
    -------
    dict
        `bias` of the mean, `rmse` over cells (the PEHE), `constant_rmse` (of the true mean at every cell),
        `user_correlation`, Spearman's, of the users' mean effects, `slope` (of true on estimated effects: 1
        is calibrated, below 1 the estimate spreads too much), and of the cells' intervals `coverage` and mean
        `width` (NaN where there are none).
    """
    found, true = effects["effect"].to_numpy(), truth["effect"].to_numpy()
    means = [frame.groupby("user")["effect"].mean() for frame in (effects, truth)]
    spread = found.var()
    numbers = {
        "bias": (found - true).mean(),
        "rmse": np.sqrt(((found - true) ** 2).mean()),
        "constant_rmse": true.std(),
        "user_correlation": means[0].corr(means[1], method="spearman") if np.ptp(means[1]) > 0 else np.nan,
        "slope": np.cov(found, true, ddof=0)[0, 1] / spread if spread > 1e-12 else np.nan,
        "coverage": np.nan,
        "width": np.nan,
    }
    if "lower" in effects.columns and effects["lower"].notna().any():
        lower, upper = effects["lower"].to_numpy(), effects["upper"].to_numpy()
        numbers["coverage"] = ((lower <= true) & (true <= upper)).mean()
        numbers["width"] = np.nanmean(upper - lower)
    return numbers
