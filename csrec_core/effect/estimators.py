"""TER* by several estimators behind one function, with intervals clustered by user.

The mean effect is that at the system's exposures: the counterfactual is the same user, history and item, come
upon by their own choice. Which estimand a log identifies, and how:

- `filtered`, P(D_t | S_t, H_{t-1}; R = system) - P(D_t | S_t, H_{t-1}; R = self), where tastes are published
  as features of users or exposures. With tastes known only through the history it is not: the item that a
  user chose says more of their taste than the history does.
- `marginal`, P(D_t | do(S_{1:t}), P_{1:t}) of the one less of the other regime (Definition 3.4), also with
  tastes hidden, where every exposure has its propensity (`csrec_core.effect.sequential`).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm, t

from csrec_core.data.log import SOURCES, SYSTEM, Dataset
from csrec_core.effect.contrast import Contrast, interval, slope
from csrec_core.effect.estimate import EffectEstimate, average_estimates
from csrec_core.effect.features import exposure_features, published_features
from csrec_core.effect.nuisance import fit_joint, fit_nuisances, fit_regime
from csrec_core.effect.overlap import WEIGHTS, calibrate, overlap_report, overlap_weights
from csrec_core.effect.pooling import Pooled, pool_users
from csrec_core.effect.sequential import sequential_effect
from csrec_core.effect.ter import ESTIMANDS
from csrec_core.effect.ter import two_model as difference
from csrec_core.errors import InputError, unknown

__all__ = ["ESTIMATORS", "EffectEstimate", "estimate_effect"]

ESTIMATORS = {
    "two_model": "difference of two models, f - f~ (the paper's)",
    "joint": "one model of both regimes, with the source as input",
    "doubly_robust": "cross-fitted augmented inverse-propensity weights over the regime",
}
GAMMA = 1.5  # a hidden taste's factor on the odds of the regime, for the band of what is not identified
CELL = ["user", "t", "step", "item"]


def estimate_effect(
    dataset: Dataset,
    *,
    estimator: str = "doubly_robust",
    estimand: str = "filtered",
    cells: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    weights: str | None = None,
    trim: float = 0.02,
    calibration: str = "platt",
    k: int | None = None,
    folds: int = 5,
    repeats: int = 1,
    level: float = 0.95,
    seed: int = 0,
) -> EffectEstimate:
    """Estimate the effect of recommending at every exposure by the system, and its mean.

    Parameters
    ----------
    dataset : Dataset
        Both sources, both decisions in each. Features: see `csrec_core.effect.features.exposure_features`.
    estimator : str
        A key of `ESTIMATORS`.

        - `two_model` takes the `cells` of `csrec_core.models.predictions.Predictions`, of one run, or of
          several with different seeds; the interval of a cell is where one more run would fall. Without
          `cells`, f and f~ are logistic regressions of the features, fitted a regime each. The interval of
          its mean holds the sampling of users and not the error of the models.
        - `joint` is one logistic regression; its interval holds the error of the model (clustered sandwich),
          not that the model is wrong.
        - `doubly_robust` is right where either f~ or the regime propensity is; its interval is that of the
          influence function, clustered by user.
    estimand : {"filtered", "marginal"}
        `marginal` by `doubly_robust` (sequential weights) or by `two_model` with `cells`.
    weights, trim
        Of `doubly_robust`: see `csrec_core.effect.overlap.overlap_weights`. By default `logged` where tastes
        are hidden and every exposure has its propensity, else `exposed`.
    calibration : {"none", "platt", "isotonic"}
        Of f~ and f by regressions of the features, on held-out users, before they are subtracted.
    k : int, optional
        Exposures that sequential weights reach back; chosen by rule by default.
    folds, repeats : int
        Folds of users; the cross-fitting of `doubly_robust` is repeated with other folds, and the mean
        taken, so that the result depends less on how users were dealt.
    level : float
        Of the intervals, in (0, 1).
    seed : int
        Of the folds.

    Returns
    -------
    EffectEstimate

    Raises
    ------
    InputError
        On an unknown name, a log of one source, missing propensities (marginal), or one decision only.
    """
    _check(dataset, estimator, estimand, cells, repeats, level)
    common = {"dataset": dataset, "level": level}
    if cells is not None:
        frames = [cells] if isinstance(cells, pd.DataFrame) else list(cells)
        return _from_models(frames, estimand=estimand, **common)
    if estimand == "marginal":
        return _marginal(k=k, folds=folds, seed=seed, **common)
    runs = []
    for number in range(repeats if estimator == "doubly_robust" else 1):
        features = exposure_features(dataset, folds=folds, seed=seed + number)
        if estimator == "joint":
            runs.append(_joint(features, **common))
        else:
            runs.append(_regressions(features, estimator, weights, trim, calibration, **common))
    return runs[0] if len(runs) == 1 else average_estimates(runs, level)


def _check(dataset, estimator, estimand, cells, repeats, level) -> None:
    if estimator not in ESTIMATORS:
        raise unknown("estimator", estimator, ESTIMATORS)
    if estimand not in ESTIMANDS:
        raise unknown("estimand", estimand, ESTIMANDS)
    if cells is not None and estimator != "two_model":
        raise InputError(f"estimator={estimator} takes no cells of models; expected estimator=two_model")
    if estimand == "marginal" and cells is None and estimator != "doubly_robust":
        raise InputError(
            f"estimator={estimator} has no marginal effect without models; expected doubly_robust, or "
            "two_model with cells"
        )
    if repeats < 1:
        raise InputError(f"repeats = {repeats}; expected at least 1")
    if not 0 < level < 1:
        raise InputError(f"level = {level}; expected a share in (0, 1)")
    for source in SOURCES:
        users = dataset.log.loc[dataset.log["source"] == source, "user"].nunique()
        if users < 20:
            raise InputError(
                f"{dataset.name}: {users} users have exposures with source={source!r}; expected at least 20"
            )


def _regressions(features, estimator, weights, trim, calibration, *, dataset, level) -> EffectEstimate:
    """Estimate by cross-fitted regressions: their difference, or that corrected by the weighted residuals."""
    system, decision, user = _parts(dataset)
    fold = features["fold"].to_numpy()
    robust, inverse = estimator == "doubly_robust", _inverse(dataset)
    fitted = fit_nuisances(features, decision, system, with_f=not robust)
    regime = fitted.regime
    if weights is None:
        weights = "exposed" if inverse is None or _published(dataset) else "logged"
    if weights == "logged":
        regime = fit_regime(features, system)
    treated, control = overlap_weights(regime, system, weights=weights, trim=trim, inverse=inverse)
    overlap = overlap_report(regime, system, treated, control, weights=weights)
    f_tilde = calibrate(
        fitted.f_tilde, decision, fold, ~system, method=calibration, weight=control if robust else None
    )
    step = features["step"].to_numpy().astype(int)
    cells = _cells(dataset, step)
    if robust:
        contrast = Contrast(user, decision - f_tilde, treated, control)
        pooled, cells = _pool(cells, decision[system], f_tilde[system], level)
    else:
        f = calibrate(fitted.f, decision, fold, system, method=calibration)
        contrast = Contrast(user, f - f_tilde, system.astype(float), np.zeros(len(user)), one_sided=True)
        cells = cells.assign(effect=(f - f_tilde)[system], lower=np.nan, upper=np.nan)
        pooled = None
    diagnostics = {
        "self-chosen exposures, weighted, are worth": overlap.table.loc["self", "ess"],
        "system exposures left out (share)": overlap.trimmed,
        "regimes told apart (AUC)": overlap.auc,
        "accepted at system exposures": decision[system].mean(),
        "expected there of own choice (mean f~)": f_tilde[system].mean(),
        "weighted residual of f~ at own choices": float(np.average(decision - f_tilde, weights=control)),
    }
    return _estimate(
        estimator, "filtered", cells, contrast, step, level, dataset, overlap, pooled, diagnostics
    )


def _joint(features, *, dataset, level) -> EffectEstimate:
    """Estimate by one logistic regression of both regimes (g-formula)."""
    system, decision, user = _parts(dataset)
    fitted = fit_joint(features, decision, system, user)
    step = features["step"].to_numpy().astype(int)
    contrast = Contrast(
        user,
        fitted.shown - fitted.chosen,
        system.astype(float),
        np.zeros(len(user)),
        one_sided=True,
        gradient=fitted.gradient,
        parameters=fitted.parameters,
    )
    pooled, cells = _pool(_cells(dataset, step), decision[system], fitted.chosen[system], level)
    return _estimate("joint", "filtered", cells, contrast, step, level, dataset, None, pooled, {})


def _marginal(*, dataset, k, folds, seed, level) -> EffectEstimate:
    """Estimate by sequential weights; a cell has the effect of its step."""
    features = exposure_features(dataset, folds=folds, seed=seed)
    rate = np.clip(dataset.log["decision"].mean(), 0.01, 0.99)
    found = sequential_effect(dataset, expit(logit(rate) + features["appeal"].to_numpy()), k=k, level=level)
    table = interval(found.effect, found.influence, level=level).drop(columns="error")
    by_step = pd.concat([pd.DataFrame({"step": found.step}), table], axis=1)
    cells = _cells(dataset, features["step"].to_numpy().astype(int))
    cells = cells.merge(by_step, on="step", how="left")
    mean = interval(np.array([found.effect.mean()]), found.influence.mean(axis=1, keepdims=True), level=level)
    warnings = []
    if found.reach.loc[found.reach["chosen"], "ess"].iloc[0] < 500:
        warnings.append(
            "Weighted by their propensities, the self-chosen exposures are worth fewer than 500: the "
            "interval is rough."
        )
    if found.k < 2:
        warnings.append(
            "Sequences of two exposures could not be weighted (too few are left): the decision before still "
            "follows a self-chosen exposure, and the marginal effect is biased by what it carries over."
        )
    return EffectEstimate(
        "doubly_robust",
        "marginal",
        cells,
        mean.iloc[0],
        by_step,
        slope(found.step, found.effect, found.influence, level=level),
        None,
        None,
        None,
        None,
        found.reach,
        True,
        warnings,
    )


def _from_models(frames, *, estimand, dataset, level) -> EffectEstimate:
    """Take the difference of sequence models' predictions; the runs' spread is the interval of a cell."""
    effects = [difference(frame, estimand=estimand) for frame in frames]
    keys = [frame[CELL].to_numpy() for frame in effects]
    if any(key.shape != keys[0].shape or (key != keys[0]).any() for key in keys):
        raise InputError("the cells of the runs differ; expected the same exposures in the same order")
    values = np.stack([frame["effect"].to_numpy() for frame in effects])
    half = np.full(values.shape[1], np.nan)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(values))
        half = t.ppf((1 + level) / 2, len(values) - 1) * spread
    mean = values.mean(axis=0)
    cells = effects[0].assign(effect=mean, lower=mean - half, upper=mean + half)
    user = np.unique(cells["user"], return_inverse=True)[1]
    contrast = Contrast(user, mean, np.ones(len(user)), np.zeros(len(user)), one_sided=True)
    step = cells["step"].to_numpy() - 1
    diagnostics = {"runs with different seeds": len(values)}
    if len(values) > 1:
        diagnostics["spread of the mean over seeds"] = values.mean(axis=1).std(ddof=1)
    return _estimate("two_model", estimand, cells, contrast, step, level, dataset, None, None, diagnostics)


def _estimate(
    estimator, estimand, cells, contrast, step, level, dataset, overlap, pooled, diagnostics
) -> EffectEstimate:
    """Put an estimate together from its contrast."""
    mean = interval(*contrast.groups(), level=level).iloc[0]
    used = contrast.treated + contrast.control > 0
    effect, influence = contrast.groups(np.where(used, step, -1), shared=True)
    place = np.arange(1, len(effect) + 1)
    by_step = pd.concat([pd.DataFrame({"step": place}), interval(effect, influence, level=level)], axis=1)
    by_step = by_step.drop(columns="error").dropna(ignore_index=True)
    known, band = _published(dataset), None
    if estimator == "doubly_robust" and not known:
        band = contrast.band(GAMMA, level=level)
    warnings = [] if overlap is None else list(overlap.warnings)
    if not known:
        warnings.insert(
            0,
            "Tastes are known only through the history: the items that users chose themselves say more of "
            "their tastes than that, so the effect at fixed history is not identified, and this estimate is "
            "biased"
            + (
                "; by the logged propensities, less than without them."
                if overlap is not None and overlap.target == WEIGHTS["logged"]
                else "."
            ),
        )
    if band is not None:
        ends = f"{band['lower']:.3f} and {band['upper']:.3f}".replace("-", "−")
        warnings.insert(
            1,
            f"If hidden tastes make an exposure up to {GAMMA:g} times as likely or unlikely to be the "
            f"system's, the mean effect lies anywhere between {ends}.",
        )
    if estimator == "two_model":
        warnings.append("The interval holds the sampling of users, not the errors of f and f~.")
    table = pd.DataFrame({"what": list(diagnostics), "value": list(diagnostics.values())})
    trend = slope(place, effect, influence, level=level)
    return EffectEstimate(
        estimator,
        estimand,
        cells,
        mean,
        by_step,
        trend,
        overlap,
        pooled,
        contrast,
        band,
        table,
        known,
        warnings,
    )


def _published(dataset: Dataset) -> bool:
    """Whether anything is published of users or exposures; features of items tell of no taste."""
    return any(not name.startswith("item: ") for name in published_features(dataset).columns)


def _inverse(dataset: Dataset) -> np.ndarray | None:
    """Return 1 / (N p) of each row, N the size of the catalogue; None where a propensity is missing."""
    log = dataset.log
    if "propensity" not in log.columns or log["propensity"].isna().any():
        return None
    known = log["item"] if dataset.items is None else pd.concat([log["item"], dataset.items["item"]])
    return 1 / (known.nunique() * log["propensity"].to_numpy(dtype=float))


def _parts(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    log = dataset.log
    user = np.unique(log["user"], return_inverse=True)[1]
    return (log["source"] == SYSTEM).to_numpy(), log["decision"].to_numpy(dtype=float), user


def _cells(dataset: Dataset, step: np.ndarray) -> pd.DataFrame:
    system = (dataset.log["source"] == SYSTEM).to_numpy()
    return (
        dataset.log.loc[system, ["user", "t", "item"]]
        .assign(step=step[system] + 1)[CELL]
        .reset_index(drop=True)
    )


def _pool(cells, decision, f_tilde, level) -> tuple[Pooled, pd.DataFrame]:
    """Give every cell the posterior mean of its effect, users drawn together."""
    pooled = pool_users(cells.assign(decision=decision, f_tilde=f_tilde))
    effect, half = pooled.cells["effect"], norm.ppf((1 + level) / 2) * pooled.cells["deviation"]
    return pooled, cells.assign(effect=effect, lower=effect - half, upper=effect + half)
