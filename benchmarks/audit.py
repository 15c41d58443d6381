"""Times the causal audit: python benchmarks/audit.py. Prints one line per task, with its limit.

Then the same separation by this package and by networkx, on sparse graphs (trees: on denser ones networkx
3.6 takes time exponential in the number of diamonds) and on a chain of diamonds. Times are of the processor.
"""

import random
import time
from collections.abc import Callable

import networkx as nx

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


def large_graph(nodes: int = 5_000, causes: int = 3):
    """A random graph, each node with some causes among the fifty before it."""
    rng = random.Random(0)
    names = [f"v{i}" for i in range(nodes)]
    return causal_graph(
        [(names[rng.randrange(max(0, i - 50), i)], names[i]) for i in range(1, nodes) for _ in range(causes)]
    )


def diamonds(number: int):
    """A chain of diamonds: 2^number paths lead from one end to the other."""
    edges = [(f"a{i}", f"{side}{i}") for i in range(number) for side in "bc"]
    return causal_graph(edges + [(f"{side}{i}", f"a{i + 1}") for i in range(number) for side in "bc"])


def print_against_networkx(name: str, graph, y: str, z: str, given: list[str]) -> None:
    """Print the time of one check, and that of networkx."""
    tasks = {
        "rule": lambda: check_rule(graph, 1, y=y, z=z, w=given),
        "networkx": lambda: nx.is_d_separator(graph, {y}, {z}, set(given)),
    }
    seconds = {key: timed(task) for key, task in tasks.items()}
    cells = ", ".join(
        f"{key} {1000 * value:.3f} ms ({value / seconds['networkx']:.2f}x)" for key, value in seconds.items()
    )
    print(f"{name}: {cells}", flush=True)


def check_large(graph, rule: int) -> None:
    """One rule with its witness, on sets of up to sixty nodes."""
    names = sorted(graph, key=lambda name: int(name[1:]))
    check = check_rule(graph, rule, y=names[-1], x=names[10:20], z=names[30:33], w=names[100:160])
    assert check.witness


def full_audit(t: int) -> None:
    """Every check and table of one graph."""
    checked = audit(sequential_graph(t, online=True), t, unroll=lambda n: sequential_graph(n, online=True))
    step_table(checked), breaking_table(checked), repair_table(checked)


def steps_only(t: int) -> None:
    """Every step, its certificate and its proof for every t."""
    step_table(audit(sequential_graph(t), t, unroll=sequential_graph))


def timed(task: Callable[[], None]) -> float:
    """Seconds of the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        task()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Time each task and print it beside its limit."""
    large = large_graph()
    tasks = [
        (f"rule {rule} on 5,000 nodes", 1, lambda rule=rule: check_large(large, rule)) for rule in (1, 2, 3)
    ]
    tasks.append(("audit, certificates and induction, T = 8", 1, lambda: steps_only(8)))
    tasks += [
        (f"with all tables, T = {t}", limit, lambda t=t: full_audit(t)) for t, limit in ((5, 5), (8, 30))
    ]
    broken = sequential_graph(5, latent=[("S[t]", "D[t]"), ("D[t-1]", "D[t]")])
    tasks.append(("repairs of a graph broken throughout, T = 5", 60, lambda: repair_table(audit(broken, 5))))
    tasks.append((f"{len(VARIANTS)} variants x 13 verdicts, T = 2..6", 60, variant_table))
    tasks.append(("assumption table, T = 3", 60, lambda: assumption_table(3)))
    for name, limit, task in tasks:
        print(f"{name:48s} {timed(task):7.2f} s   (limit {limit} s)", flush=True)
    for nodes in (10, 500, 5_000):
        tree, middle = large_graph(nodes, causes=1), f"v{nodes // 2}"
        print_against_networkx(f"{nodes:,} nodes", tree, f"v{nodes - 1}", "v1", [middle])
    print_against_networkx("12 diamonds", diamonds(12), "a12", "a0", ["a11"])
    start = time.process_time()
    assert check_rule(diamonds(20), 1, y="a20", z="a0", w=["a19"]).witness
    print(f"20 diamonds, with the witness: {time.process_time() - start:.3f} s", flush=True)


if __name__ == "__main__":
    main()
