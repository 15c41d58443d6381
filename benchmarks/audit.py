"""Times the causal audit: python benchmarks/audit.py. Prints one line per task, with its limit."""

import random
import time
from collections.abc import Callable

from csrec_core.causal.audit import (
    assumption_table,
    audit,
    breaking_table,
    repair_table,
    step_table,
    variant_table,
)
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, causal_graph, sequential_graph


def large_graph(nodes: int = 5_000):
    """A random graph, each node with three causes among the fifty before it."""
    rng = random.Random(0)
    names = [f"v{i}" for i in range(nodes)]
    return causal_graph(
        [(names[rng.randrange(max(0, i - 50), i)], names[i]) for i in range(1, nodes) for _ in range(3)]
    )


def check_large(graph, rule: int) -> None:
    """One rule with its witness, on sets of up to sixty nodes."""
    names = sorted(graph, key=lambda name: int(name[1:]))
    check = check_rule(graph, rule, y=names[-1], x=names[10:20], z=names[30:33], w=names[100:160])
    assert check.witness


def full_audit(t: int) -> None:
    """Every check and table of one graph."""
    checked = audit(sequential_graph(t, online=True), t)
    step_table(checked), breaking_table(checked), repair_table(checked)


def timed(task: Callable[[], None]) -> float:
    """Seconds of the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Time each task and print it beside its limit."""
    large = large_graph()
    tasks = [
        (f"rule {rule} on 5,000 nodes", 1, lambda rule=rule: check_large(large, rule)) for rule in (1, 2, 3)
    ]
    tasks += [(f"whole audit, T = {t}", limit, lambda t=t: full_audit(t)) for t, limit in ((5, 10), (8, 60))]
    broken = sequential_graph(5, latent=[("S[t]", "D[t]"), ("D[t-1]", "D[t]")])
    tasks.append(("repairs of a graph broken throughout, T = 5", 60, lambda: repair_table(audit(broken, 5))))
    tasks.append((f"{len(VARIANTS)} variants x 13 verdicts, T = 2..6", 60, variant_table))
    tasks.append(("assumption table, T = 3", 60, assumption_table))
    for name, limit, task in tasks:
        print(f"{name:48s} {timed(task):7.2f} s   (limit {limit} s)", flush=True)


if __name__ == "__main__":
    main()
