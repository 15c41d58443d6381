"""The effect of one column of a table on another, adjusted for what a causal graph says, by the one engine."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from csrec_core.data.log import FEATURE, Dataset
from csrec_core.data.options import ReadOptions
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.independence import covariance_test
from csrec_core.effect.result import Effect
from csrec_core.errors import InputError, listed, shown, unknown
from csrec_core.metrics import holm
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, Verdict

LEVEL = 0.05  # of all tests together (Holm)
FEWEST_TESTED_ROWS = 50  # rows, below which nothing is tested
#: Rows that independences are tested on: more would only find ever smaller dependences.
MOST_TESTED_ROWS = 5000


def estimate_adjusted(
    table: pd.DataFrame, *, y: str, do: str, adjust: Iterable[str] = (), seed: int = 0
) -> Effect:
    """Estimate the mean of y under do = its larger value less that under its smaller one.

    Parameters
    ----------
    table : DataFrame
        A row a unit; columns of numbers, of which `do` has two values.
    adjust : iterable of str
        Columns that hold all that moves both, by a graph.

    Raises
    ------
    InputError
        On a column that is not there, not of numbers, has gaps, or for `do` has other than two values.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> age, noise = rng.normal(size=(2, 4000))
    >>> course = (rng.random(4000) < 1 / (1 + np.exp(-age))).astype(float)
    >>> table = pd.DataFrame({"age": age, "course": course, "wage": course + 2 * age + noise})
    >>> found = estimate_adjusted(table, y="wage", do="course", adjust=["age"])
    >>> bool(found.mean["lower"] < 1 < found.mean["upper"])
    True
    """
    adjust = list(adjust)
    numbers = _numeric_columns(table, [y, do, *adjust])
    values = np.unique(numbers[do])
    if len(values) != 2:
        raise InputError(f"{do}: {len(values)} values; expected two, as of an action that is taken or not")
    names = [f"{do} = {value:g}" for value in values]
    outcome = numbers[y].to_numpy()
    binary = set(np.unique(outcome)) <= {0.0, 1.0}
    log = pd.DataFrame({"user": np.arange(len(table)), "t": np.int32(1), "item": 0})
    log["decision"] = (outcome if binary else outcome > np.median(outcome)).astype(np.int8)
    if not binary:
        log["outcome"] = outcome
    log["source"] = pd.Categorical(np.where(numbers[do] == values[1], names[1], names[0]), categories=names)
    for name in adjust:
        log[FEATURE + name] = numbers[name].to_numpy()
    declared: dict[str, Any] = {"confounders": tuple(FEATURE + name for name in adjust)}
    if not adjust:  # nothing moves both: the share of the action is its chance, which is an estimate
        share = float((numbers[do] == values[1]).mean())
        declared = {"arm_propensity": share, "arm_chances": "estimated"}
    dataset = Dataset(log, name=y, read=ReadOptions(map={"outcome": y}))
    return estimate_effect(dataset, arm=names[1], baseline=names[0], seed=seed, **declared)


def check_implications(
    table: pd.DataFrame, implied: Sequence[tuple[str, str, frozenset[str]]], *, seed: int = 0
) -> list[Verdict]:
    """Test on data the independences (a, b, given) that a graph implies; no sign against one is no proof of it.

    See `csrec_core.causal.adjustment.implications`. Those with a column that the table lacks are not tested; where
    there are many rows some are drawn.
    """
    some = table.sample(min(len(table), MOST_TESTED_ROWS), random_state=seed)
    found = []
    for a, b, given in implied:
        name = f"{a} ⊥ {b}" + (f" | {', '.join(sorted(given))}" if given else "")
        missing = sorted({a, b, *given} - set(map(str, table.columns)))
        if missing or len(some) < FEWEST_TESTED_ROWS:
            why = f"the data lack {listed(missing)}" if missing else f"{len(some)} rows"
            found.append(Verdict(name, NOT_TESTED, why))
            continue
        numbers = _numeric_columns(some, [a, b, *given])
        rest = numbers[sorted(given)] if given else pd.DataFrame({"one": np.zeros(len(some))})
        p = covariance_test(*(part.to_numpy(dtype=float) for part in (numbers[[a]], numbers[[b]], rest)))
        found.append(Verdict(name, NOT_TESTED, "one of them does not vary beyond the rest", p=p))
    for number, p in enumerate(holm(np.array([one.p for one in found]))):
        if not np.isnan(p):
            detail = f"p {max(p, 0.001):.3f} of all tests together"
            found[number] = replace(found[number], word=FAILS if p <= LEVEL else HOLDS, detail=detail)
    return found


def _numeric_columns(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    for name in columns:
        if name not in table.columns:
            raise unknown("column", name, map(str, table.columns), where="the data")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    gaps = ~np.isfinite(numbers.to_numpy(dtype=float))
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        value = table[columns].astype(object).iloc[row, column]
        raise InputError(f"the data: row {row + 1}: {columns[column]} = {shown(value)}; expected a number")
    return numbers.astype(float)
