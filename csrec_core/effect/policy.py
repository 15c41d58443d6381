"""When to use the arm: policies that choose between arm and baseline at an exposure, and what they are worth.

A policy pi gives the chance of the arm at a cell, an exposure with what is known before it. Its value is the
mean decision, less what using the arm costs, over the target of the effect:

    V(pi) = E[pi(X) (Y(1) - c) + (1 - pi(X)) Y(0)].

The history before is as it fell: a value says nothing of what a policy does to later histories.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from csrec_core.data.log import SELF, SYSTEM, Dataset
from csrec_core.effect.identification import Identification
from csrec_core.effect.off_policy import estimate_values
from csrec_core.errors import InputError
from csrec_core.numbers import in_units, writer
from csrec_core.verdict import HOLDS, NOT_TESTED, UNDECIDED, Verdict, against

ALWAYS, NEVER, RANDOM, RULE = "always", "never", "random, as often", "TER > c"
REPORTED = "doubly robust"
THRESHOLDS = 9  # at which the rule is valued
#: Name to the chance of the arm at each cell.
Policies = Mapping[str, np.ndarray]
#: Gains by name, as (value, lower, upper).
Gains = Mapping[str, tuple[float, ...]]


def with_truth(cells: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return the cells with the true `p1`, `p0` of either arm, where the world is simulated."""
    if dataset.truth is None:
        return cells
    truth = dataset.truth.iloc[cells["place"]]
    return cells.assign(p1=truth["p_system"].to_numpy(), p0=truth["p_self"].to_numpy())


def policies(cells: pd.DataFrame, *, cost: float = 0.0) -> dict[str, np.ndarray]:
    """Return the policies to compare, name to the chance of the arm at each cell, (rows,).

    Cells are of `csrec_core.effect.cells.cell_effects`: what it says of an exposure it learned from other users.
    Using the arm costs `cost`, in units of the decision, in [-1, 1].
    """
    if not -1 <= cost <= 1:
        raise InputError(f"cost = {cost}; expected a number in [-1, 1]")
    rule = (cells["effect"] > cost).to_numpy(dtype=float)
    share = np.average(rule, weights=cells["tau"])
    one = np.ones(len(cells))
    return {ALWAYS: one, NEVER: np.zeros_like(one), RANDOM: share * one, RULE: rule}


def policy_values(
    cells: pd.DataFrame, chosen: Policies, *, cost: float = 0.0, against: str | None = None, **options
) -> pd.DataFrame:
    """Return what each policy is worth, by the estimators of `csrec_core.effect.off_policy`.

    The weights are those of the effect: w1 for the arm's rows, w0 for the baseline's, each scaled to the mass of
    the target, so that always less never is the effect less the cost.

    Cells have `user`, `arm`, `decision`, `tau`, `w1`, `w0`, `m1`, `m0`, and the true `p1`, `p0` where known. With
    `against`, a name among the `chosen`, differences from it are returned; `options` go to
    `csrec_core.metrics.resample`.

    Returns `policy`, `estimator`, `share` (of the target, given to the arm), `value`, `lower`, `upper`, and
    `truth` where known.
    """
    arm = cells["arm"].to_numpy() == 1
    gain, m1 = cells["decision"] - cost * arm, cells["m1"] - cost
    rows = pd.DataFrame({"user": cells["user"], "side": arm.astype(int), "gain": gain})
    rows = rows.assign(
        target=cells["tau"],
        model=np.where(arm, m1, cells["m0"]),
        mass=np.where(arm, cells["w1"], cells["w0"]),
    )
    pairs = {}
    for name, chance in chosen.items():
        chance = np.asarray(chance, dtype=float)
        if chance.shape != (len(cells),) or not ((chance >= 0) & (chance <= 1)).all():
            raise InputError(f"policy {name!r}: expected a chance in [0, 1] for each of {len(cells)} cells")
        weight = rows["mass"] * np.where(arm, chance, 1 - chance)
        pairs[name] = weight, chance * m1 + (1 - chance) * cells["m0"]
    table = estimate_values(rows, pairs, against=against, **options)
    shares = {name: np.average(chance, weights=cells["tau"]) for name, chance in chosen.items()}
    table.insert(2, "share", table["policy"].map(shares))
    if "p1" not in cells.columns:
        return table
    truth = {name: _true_value(cells, chance, cost) for name, chance in chosen.items()}
    return table.assign(truth=table["policy"].map(truth) - (truth[against] if against else 0.0))


def _reported(cells: pd.DataFrame, chosen: Policies, base: str, **options) -> pd.DataFrame:
    """Return the doubly robust gains of policies over one of them, by policy."""
    table = policy_values(cells, chosen, against=base, **options)
    return table[table["estimator"] == REPORTED].set_index("policy").drop(columns="estimator")


def regret(cells: pd.DataFrame, chosen: Policies, *, cost: float = 0.0) -> pd.DataFrame:
    """Return what each policy of a simulated world loses against the oracle, which knows every effect.

    Returns `policy`, the oracle last, `value` (true, less cost), `regret` (at least 0), and `captured`, the
    share of the way from the better of always and never to the oracle; NaN where there is none.
    """
    if "p1" not in cells.columns:
        raise InputError("regret takes a simulated world: the true p1 and p0 are not known here")
    chosen = {**chosen, "oracle": (cells["p1"] - cells["p0"] - cost).to_numpy() > 0}
    value = [_true_value(cells, one, cost) for one in chosen.values()]
    table = pd.DataFrame({"policy": list(chosen), "value": value})
    best = value[-1]
    simple = max(_true_value(cells, one, cost) for one in (np.ones(len(cells)), np.zeros(len(cells))))
    way = best - simple if best - simple > 1e-12 else np.nan
    return table.assign(regret=best - table["value"], captured=(table["value"] - simple) / way)


def _true_value(cells: pd.DataFrame, chance: np.ndarray, cost: float) -> float:
    return float(np.average(chance * (cells["p1"] - cost) + (1 - chance) * cells["p0"], weights=cells["tau"]))


def threshold_values(cells: pd.DataFrame, *, cost: float = 0.0, **options) -> pd.DataFrame:
    """Return what the rule gains over never, by its threshold, over the range of the effects; doubly robust.

    Each interval is for its threshold alone: the best of them is no estimate of what the best rule is worth.

    Returns `threshold`, `share`, `value`, `lower`, `upper`, and `truth` where known.
    """
    least, most = cells["effect"].quantile([0.02, 0.98])
    thresholds = np.unique(np.linspace(least, most, THRESHOLDS))
    chosen = {str(c): (cells["effect"] > c).to_numpy(dtype=float) for c in thresholds}
    table = _reported(cells, {NEVER: np.zeros(len(cells)), **chosen}, NEVER, cost=cost, **options)
    table = table.drop(index=NEVER).reset_index(drop=True)
    table.insert(0, "threshold", thresholds)
    return table


def policy_gains(cells: pd.DataFrame, *, cost: float = 0.0, **options) -> dict[str, tuple[float, ...]]:
    """Return what the rule gains over never, always and random, and always over never; doubly robust."""
    chosen, numbers = policies(cells, cost=cost), {}
    for base in (NEVER, ALWAYS, RANDOM):
        table = _reported(cells, chosen, base, cost=cost, **options)[["value", "lower", "upper"]]
        numbers[f"rule_over_{base.split(',')[0]}"] = tuple(map(float, table.loc[RULE]))
        if base == NEVER:
            numbers["always_over_never"] = tuple(map(float, table.loc[ALWAYS]))
    return numbers


def policy_finding(
    numbers: Gains, identification: Identification, *, cost: float = 0.0, binary: bool = True
) -> tuple[str, Verdict, tuple[str, str]]:
    """Say which of always, never and the rule to take; the rule only where it is sure to beat the better one.

    The numbers are of `policy_gains`, and not read where the status forbids them; `binary`: decisions are yes or no.
    Returns a claim in a sentence; whether it is known which to take; what to do, in a few words and in a sentence.
    """
    design, title = identification.design, "it is known when to use the arm"
    do = "recommend" if (design.arm, design.baseline) == (SYSTEM, SELF) else f"use {design.arm}"
    first = do[0].upper() + do[1:]
    if not identification.allows:
        text = f"This log cannot say when to {do}: the effect is {identification.status}."
        tile = "Not known", f"The effect is {identification.status}, so no rule is valued."
        return text, Verdict(title, NOT_TESTED, identification.reasons[0]), tile
    always = numbers["always_over_never"]
    better, worse = (ALWAYS, NEVER) if always[0] > 0 else (NEVER, ALWAYS)
    rule, less = numbers[f"rule_over_{better}"], "" if cost == 0 else ", cost paid"
    write, unit = writer(binary)
    gain, found, word = write(abs(always[0])) + unit, always, HOLDS
    if rule[1] > 0:
        where, found = "is positive" if cost == 0 else "exceeds the cost", rule
        text = f"{first} where the effect {where}: that gains {write(rule[0])}{unit} over {better}{less}."
        tile = f"{first} where it helps", f"Choosing by the estimated effect surely gains over {better}."
    elif against(always[1], always[2], 0.0) == UNDECIDED:
        word = UNDECIDED
        text = f"It is open whether to {do}: {better} seems {gain} above {worse}{less}, within error."
        tile = "It is open", "Neither always nor never surely gains."
    else:
        text = (
            f"{first} {better}: that gains {gain} over {worse}{less}, and no finer choice surely gains more."
        )
        tile = f"{first} {better}", "No finer choice surely gains more."
    value, lower, upper = found
    return text, Verdict(title, word, text, value, lower, upper, threshold=0.0), tile


def gain_table(numbers: Gains, *, binary: bool) -> tuple[pd.DataFrame, str, int]:
    """Return the numbers of `policy_gains` as a table, what they are in, and with how many decimals to write them.

    A row a choice over another, `gain`, `lower`, `upper`: in points where decisions are yes or no, else in units
    of the outcome.
    """
    names = pd.Index([name.replace("_", " ") for name in numbers], name="choice")
    table = pd.DataFrame(list(numbers.values()), index=names, columns=["gain", "lower", "upper"])
    return in_units(table, binary)


def break_even(numbers: Gains, cost: float) -> str:
    """Say up to which cost of an exposure always is better than never, so that no cost decides unseen."""
    if not numbers:
        return ""
    most = max(0.0, numbers["always_over_never"][0] + cost)
    return f"At a cost of {cost:g}; always is better than never up to a cost of {most:.3f} an exposure."
