"""How fast readers are simulated, and whom the quality gate stops: python benchmarks/agent.py [seeds].

First, seconds and peak memory of a study by simulated readers, in processes of their own, and how many times
those of the smallest they are. Then, by the weight of preferences in the decisions of simulated readers, the share
of seeds at which the pilot of 50 readers and 20 exposures is stopped (at weight 0 it should be, for preference
explains nothing), and what the stated preference explains of the decisions.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from csrec_core.agent.catalogue import genres_of, load_catalogue
from csrec_core.agent.collect import pilot_table
from csrec_core.agent.design import draw_blocks
from csrec_core.agent.quality import PILOT, judge_pilot
from csrec_core.agent.run import Study, run_study
from csrec_core.agent.simulator import Simulator

SIZES = (1_000, 10_000, 100_000)
WEIGHTS = (3.0, 1.5, 0.75, 0.0)


def measure(users: int) -> tuple[float, float]:
    """Return the seconds and the peak memory, in MB, of a study."""
    clock = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_study(Study(agent="simulator", users=users), folder)
    return time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stopped(affinity: float, seeds: int) -> tuple[float, float]:
    """Return the share of seeds at which the gate stops the pilot, and the mean share explained by preference."""
    catalogue = load_catalogue()
    genre, _ = genres_of(catalogue)
    stops, shares = [], []
    for seed in range(seeds):
        kept = np.arange(len(catalogue))
        block = next(draw_blocks(PILOT, genre=genre, kept=kept, steps=20, seed=seed))
        agent = Simulator(catalogue, seed=seed, affinity=affinity)
        quality = judge_pilot(pilot_table(agent, block, genre=genre, books=len(kept)), seed=seed)
        stops.append(not quality.passed)
        shares.append(quality.explained.loc["stated preference", "share"])
    return float(np.mean(stops)), float(np.mean(shares))


def main() -> None:
    """Print both tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"{'readers':>8} {'s':>7} {'MB':>7} {'times s':>8} {'times MB':>8}")
    first = None
    for users in SIZES:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, memory = pool.submit(measure, users).result()
        first = first or (seconds, memory)
        print(f"{users:8,} {seconds:7.2f} {memory:7.0f} {seconds / first[0]:8.1f} {memory / first[1]:8.1f}")
    print(f"\n{'weight of preferences':>16} {'stopped':>8} {'explained by preference':>19}   ({seeds} seeds)")
    for weight in WEIGHTS:
        share, preference = stopped(weight, seeds)
        print(f"{weight:16.2f} {share:8.1%} {preference:19.1%}")


if __name__ == "__main__":
    main()
