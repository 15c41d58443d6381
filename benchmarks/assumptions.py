"""How often the tests of assumptions fire, over seeds: python benchmarks/assumptions.py [seeds].

One line per world: the share of seeds at which each assumption is found violated at the level 0.05 of all
tests together, and of seeds at which any is. A world departs from the clean one, which has no source effect,
by what its line says. The last lines are of the clean world again: the share of p-values up to 0.05, before
Holm's correction, and the tests of the history model, when the log does not hold the preferences.
"""

import sys
import time

import numpy as np

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect.assumptions import ASSUMPTIONS, assumption_tests

ALPHA = 0.05
SIZE = {"users": 1000, "items": 100, "steps": 15, "effect": 0.0, "trust_spread": 0.0}
WORLDS = {
    "clean": {},
    "clean, drift=0.3": {"drift": 0.3},
    "carry_over_exposure=0.5": {"carry_over_exposure": 0.5},
    "second_order=0.5": {"second_order": 0.5},
    "lagged_preference=3, drift=0.3": {"lagged_preference": 3.0, "drift": 0.3},
    "amplification=0.2": {"amplification": 0.2},
    "confounder=1.5": {"confounder": 1.5},
    "trust_spread=0.5": {"trust_spread": 0.5},
    "effect=0.6": {"effect": 0.6},
}
NAMES = ("S→P", "S↔D", "S'→D", "D''→D", "P'→D", "D'↔D", "D'→P", "R→D", "dowhy")


def p_values(world: dict, seeds: int, *, hidden: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values, as they are and by Holm, (seeds, assumptions) each."""
    plain, holm = [], []
    for seed in range(seeds):
        dataset = simulate_books(seed=seed, **{**SIZE, **world})
        if hidden:
            dataset = Dataset(dataset.log, items=dataset.items)
        table = assumption_tests(dataset, alpha=ALPHA, seed=seed)
        plain.append(table["p"].to_numpy())
        holm.append(table["p_holm"].to_numpy())
    return np.array(plain), np.array(holm)


def print_rates(name: str, p: np.ndarray, *, any_of_them: bool = True) -> None:
    """Print the share of seeds at which each p-value is small; a dash for what is not tested."""
    rates = np.where(np.isnan(p).all(axis=0), np.nan, (p <= ALPHA).mean(axis=0))
    cells = "".join("      –" if np.isnan(rate) else f"{rate:7.2f}" for rate in rates)
    total = f"{(p <= ALPHA).any(axis=1).mean():7.2f}" if any_of_them else ""
    print(f"{name:28s}{cells}{total}", flush=True)


def main() -> None:
    """Print the table, and its cost."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    start = time.perf_counter()
    for name, assumption in zip(NAMES, ASSUMPTIONS, strict=True):
        print(f"{name:6s} {assumption.name}: {assumption.statement}")
    print(f"\n{seeds} seeds, {SIZE}\n{'world':28s}{''.join(f'{name:>7s}' for name in NAMES)}{'any':>7s}")
    clean = None
    for name, world in WORLDS.items():
        p, holm = p_values(world, seeds)
        clean = p if clean is None else clean
        print_rates(name, holm)
    print_rates("clean, before Holm", clean, any_of_them=False)
    print_rates("clean, preferences hidden", p_values({}, seeds, hidden=True)[1])
    tests = seeds * (len(WORLDS) + 1)
    print(f"{(time.perf_counter() - start) / tests:.2f} s a world and its tests")


if __name__ == "__main__":
    main()
