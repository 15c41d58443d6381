"""Agreement with y0 and pgmpy on random graphs, and formulas beside those that R packages publish.

    python -m venv peers && peers/bin/pip install y0 pgmpy
    python benchmarks/causal_peers.py peers/bin/python [graphs]
    python benchmarks/causal_peers.py published

dosearch and causaleffect, which are R, are not run: `PUBLISHED` has the formulas that they print in public.

Random graphs of four to six measured nodes with up to three pairs of an unmeasured common cause. Prints, for
each question, how many verdicts were compared, how many differ and the first that do; and who is right: of
a separation by looking at every path, of an effect by the formula in models with known probabilities.
"""

import itertools
import json
import random
import subprocess
import sys
from collections import Counter

import networkx as nx

from csrec_core.causal.certificate import certify_formula
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import causal_graph
from csrec_core.causal.identify import identify

# What the peers' environment runs: cases as JSON lines in, verdicts as JSON lines out.
PEER = """
import json, sys, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
from y0.algorithm.identify import identify_outcomes
from y0.dsl import Variable
from y0.graph import NxMixedGraph
from pgmpy.base import DAG
from pgmpy.inference import CausalInference

def asked(function):
    try:
        return function()
    except Exception as error:
        return "raises " + type(error).__name__

for line in sys.stdin:
    case = json.loads(line)
    mixed = NxMixedGraph.from_str_edges(
        nodes=case["nodes"], directed=case["edges"], undirected=case["pairs"])
    x, y = Variable(case["x"]), Variable(case["y"])
    given = {Variable(name) for name in case["given"]}
    answer = {"y0 identifies": asked(lambda: identify_outcomes(
        mixed, treatments={x}, outcomes={y}, conditions=given or None) is not None)}
    hidden = {f"U{i}": pair for i, pair in enumerate(case["pairs"])}
    arrows = case["edges"] + [[u, end] for u, pair in hidden.items() for end in pair]
    dag = DAG(arrows, latents=set(hidden))
    dag.add_nodes_from(case["nodes"])
    answer["pgmpy separates"] = asked(
        lambda: not dag.is_dconnected(case["x"], case["y"], observed=case["given"], include_latents=True))
    answer["pgmpy adjusts"] = asked(lambda: bool(
        CausalInference(dag).is_valid_backdoor_adjustment_set(case["x"], case["y"], case["given"])))
    print(json.dumps(answer), flush=True)
"""


# arrows, confounded pairs, y, do, the names written in the published formula, and where it is published.
DOSEARCH = "dosearch's README (Tikka, Hyttinen and Karvanen 2021, JSS 99(5))"
CAUSALEFFECT = "causaleffect's help and vignettes (Tikka and Karvanen 2017, JSS 76(12))"
PUBLISHED = {
    "back door": ("xy zx zy", "", "y", "x", 5, DOSEARCH),
    "front door": ("xz zy", "xy", "y", "x", 8, DOSEARCH),
    "napkin": ("xy zx wz", "xw wy", "y", "x", 13, DOSEARCH),
    "pruning": ("x4 4y 1x 21 32 3x 51 54", "x2 32 2y 4y 54", "y", "x", 19, CAUSALEFFECT),
    "observed": ("xy wx wz zy", "", "y", "x", 5, CAUSALEFFECT),
    "Tian's graph": ("x1 1y 3y 23 21 2x", "x2 2y yx 3x", "123y", "x", 15, CAUSALEFFECT),
    "insertion": ("wx zx yz zw yx", "", "x", "w", 5, CAUSALEFFECT),
}


def print_published() -> None:
    """Print for each published example how many names its formula writes, ours beside it, and our gap."""
    for name, (arrows, pairs, y, do, names, source) in PUBLISHED.items():
        graph = causal_graph(map(tuple, arrows.split()), map(tuple, pairs.split()))
        found = identify(graph, y=list(y), do=do)
        gap = certify_formula(found, models=20).gap
        print(
            f"{name:14s} {names:3d} names, ours {found.formula.size:3d}, gap {gap:.0e}: "
            f"{found.formula.text()}  [{source}]"
        )


def random_case(rng: random.Random) -> dict:
    """A graph, an action, an outcome and what is conditioned on."""
    names = [f"V{i}" for i in range(rng.randint(4, 6))]
    every = list(itertools.combinations(names, 2))
    given = [name for name in names if rng.random() < 0.25]
    x, y = rng.sample(names, 2)
    return {
        "nodes": names,
        "edges": [pair for pair in every if rng.random() < 0.45],
        "pairs": rng.sample(every, rng.randint(0, 3)),
        "x": x,
        "y": y,
        "given": [name for name in given if name not in (x, y)],
    }


def ours(case: dict) -> dict:
    """Our verdicts on a case, named as the peers'."""
    graph = causal_graph(case["edges"], case["pairs"], nodes=case["nodes"])
    x, y, given = case["x"], case["y"], case["given"]
    is_before = not nx.descendants(graph, x) & set(given)
    return {
        "y0 identifies": bool(identify(graph, y=y, do=x, given=given)),
        "pgmpy separates": bool(check_rule(graph, 1, y=y, z=x, w=given)),
        "pgmpy adjusts": is_before and bool(check_rule(graph, 2, y=y, z=x, w=given)),
    }


def certified(case: dict) -> bool:
    """Whether our formula is the effect in random models, all probabilities exact."""
    graph = causal_graph(case["edges"], case["pairs"], nodes=case["nodes"])
    return bool(certify_formula(identify(graph, y=case["y"], do=case["x"], given=case["given"])).agrees)


def every_path_is_blocked(case: dict) -> bool:
    """Whether x and y are separated, by looking at every path."""
    graph = causal_graph(case["edges"], case["pairs"], nodes=case["nodes"])
    given = set(case["given"])
    opens = given.union(*(nx.ancestors(graph, node) for node in given))
    for path in nx.all_simple_paths(graph.to_undirected(), case["x"], case["y"]):
        inner = zip(path, path[1:], path[2:], strict=False)
        if all(
            (node in opens if graph.has_edge(a, node) and graph.has_edge(b, node) else node not in given)
            for a, node, b in inner
        ):
            return False
    return True


def main() -> None:
    """Compare, and print a line for each question and for the first differences."""
    if sys.argv[1] == "published":
        print_published()
        return
    python, number = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    rng = random.Random(0)
    cases = [random_case(rng) for _ in range(number)]
    lines = "\n".join(map(json.dumps, cases)) + "\n"
    done = subprocess.run([python, "-c", PEER], input=lines, capture_output=True, text=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) < number:
        sys.exit(f"the peers stopped after {len(answers)} cases: {done.stderr[-400:]}")
    found = [ours(case) for case in cases]
    for question in found[0]:
        raised = [a[question] for a in answers if isinstance(a[question], str)]
        pairs = [
            (case, mine[question], theirs[question])
            for case, mine, theirs in zip(cases, found, answers, strict=True)
            if not isinstance(theirs[question], str)
        ]
        differing = [pair for pair in pairs if pair[1] != pair[2]]
        print(
            f"{question:18s} {len(pairs)} compared, {len(differing)} differ; raised: {dict(Counter(raised))}"
        )
        if question == "pgmpy separates":
            right = sum(
                mine[question] == every_path_is_blocked(case) for case, mine in zip(cases, found, strict=True)
            )
            print(f"{'':18s} by every path we are right in {right} of {number}")
        if question == "y0 identifies":
            formulas = [certified(case) for case, mine, _ in differing if mine]
            print(f"{'':18s} where we alone find a formula it is exact in {sum(formulas)} of {len(formulas)}")
        for case, mine, theirs in differing[:3]:
            print(f"{'':18s} {json.dumps(case)}: {mine} / {theirs}")


if __name__ == "__main__":
    main()
