"""What each part of CSRec contributes: the constraint, the decisions, the data; and what AHR hides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from csrec_core.evaluation.controls import ALWAYS
from csrec_core.evaluation.scores import ALPHAS
from csrec_core.metrics import (
    accept_by_probability,
    accept_by_rank,
    auc_by_user,
    calibration_curve,
)
from csrec_core.reproduction.experiment import Reproduction
from csrec_core.reproduction.presets import PRESETS, Preset

EVERY_ALPHA = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2))


def penalty_path(
    bench: Reproduction, backbone: str, *, preset: Preset, penalties: Sequence[float], seed: int = 0
) -> pd.DataFrame:
    """Fit f under several weights of the constraint, and set accuracy and effect side by side, a row each.

    `penalty`, `AHR@0.2`, `AHR@0.5`, `AUC`, `effect` (mean f - f~ over the tested exposures) and `expected`: the
    effect of the fit without penalty, each cell shrunk by 1 / (1 + 2 penalty f (1 - f)). That is exact for a small
    effect and an f that is free in every cell; a network shares its weights.
    """
    own, other = preset.columns
    free, rows = None, []
    weights = sorted({0.0, *penalties})
    presets = [replace(preset, penalty=penalty, calibrated=False) for penalty in weights]
    for penalty, (cells, row) in zip(weights, _fitted(bench, backbone, presets, seed), strict=True):
        free = cells if free is None else free
        shrunk = (free[own] - free[other]) / (1 + 2 * penalty * free[own] * (1 - free[own]))
        effect = {"effect": (cells[own] - cells[other]).mean(), "expected": shrunk.mean()}
        rows.append({"penalty": penalty, **row, **effect})
    return pd.DataFrame(rows)


def learning_curve(
    bench: Reproduction, backbone: str, *, preset: Preset, shares: Sequence[float], seed: int = 0
) -> pd.DataFrame:
    """Fit f on the exposures of several `shares` of the users, a row each, and test it on those of all.

    `share`, `users` (of a fold, where the preset is crossed), `AHR@0.2`, `AHR@0.5`, `AUC`.
    """
    rows = []
    presets = [replace(preset, share=share) for share in shares]
    for share, (cells, row) in zip(shares, _fitted(bench, backbone, presets, seed), strict=True):
        users = round(share * cells["user"].nunique() / (2 if preset.crossed else 1))
        rows.append({"share": share, "users": users, **row})
    return pd.DataFrame(rows)


def decisions_as_input(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of one f with the earlier decisions given and summed out: `input`, scores."""
    named = {"given": "f", "summed out": "f_marginal"}
    return pd.DataFrame([{"earlier decisions": name, **_accuracy(cells, own)} for name, own in named.items()])


def calibration_by_preset(fitted: Mapping[str, pd.DataFrame], presets: Sequence[str]) -> pd.DataFrame:
    """Return `csrec_core.metrics.calibration_curve` of the tested cells of each preset, with `model`."""
    curves = []
    for name in presets:
        curve = calibration_curve(fitted[name]["decision"], fitted[name][PRESETS[name].columns[0]])
        curves.append(curve.assign(model=f"CSRec, {name}"))
    return pd.concat(curves, ignore_index=True)


def alpha_sweep(
    cells: pd.DataFrame,
    probabilities: Mapping[str, np.ndarray | pd.Series],
    rankings: Mapping[str, np.ndarray | pd.Series],
) -> pd.DataFrame:
    """Return AHR@alpha over alpha, for probabilities (Eq. 19), rankings (Eq. 20) and two that know nothing.

    A ranking at random is right with probability alpha p + (1 - alpha) (1 - p), where p is the accept rate:
    at p = 0.93 a line from 0.07 to 0.93, whatever the items. One that always accepts scores p at every alpha.
    `probabilities` and `rankings` (rank shares) are by name, in the order of the tested exposures `cells`, of which
    `decision` and `user` are read. Columns `model`, `alpha`, `AHR`.
    """
    decision = cells["decision"].to_numpy()
    rate = cells.groupby("user")["decision"].mean().mean()
    rows = []
    for alpha in EVERY_ALPHA:
        for accept, said in ((accept_by_probability, probabilities), (accept_by_rank, rankings)):
            rows += [
                (name, alpha, (accept(values, alpha) == decision).mean()) for name, values in said.items()
            ]
        rows.append(("ranking at random", alpha, alpha * rate + (1 - alpha) * (1 - rate)))
        rows.append((ALWAYS, alpha, rate))
    return pd.DataFrame(rows, columns=["model", "alpha", "AHR"])


def _accuracy(cells: pd.DataFrame, column: str) -> dict[str, float]:
    right = {
        f"AHR@{alpha:g}": (accept_by_probability(cells[column], alpha) == cells["decision"]).mean()
        for alpha in ALPHAS
    }
    return right | {"AUC": auc_by_user(cells["decision"], cells[column], cells["user"]).mean()}


def _fitted(
    bench: Reproduction, backbone: str, presets: Sequence[Preset], seed: int
) -> Iterator[tuple[pd.DataFrame, dict[str, float]]]:
    """Yield the tested cells under each preset, and the accuracy of the f that it reports."""
    trials = bench.trials([(backbone, seed, preset) for preset in presets])
    for preset, trial in zip(presets, trials, strict=True):
        yield trial.cells, _accuracy(trial.cells, preset.columns[0])
