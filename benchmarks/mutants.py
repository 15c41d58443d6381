"""How many small faults in the core the tests find: python benchmarks/mutants.py [--mutants 300] [--only FILE ...]

A mutant is a copy of the package in which one operator, constant, comparison or return value is another. It is
found where one of the tests that go with its file fails. Printed: a line a mutant that no test finds, and the
share that is found, by file. The tests are run in a copy of the tree, which stays as it is.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
#: The files that are mutated, and the tests that go with each, the quickest first.
TESTS = {
    "effect/ter.py": ["predictions"],
    "effect/score.py": ["engine", "answer", "segments"],
    "effect/users.py": ["users", "engine"],
    "effect/sensitivity.py": ["engine", "answer", "words"],
    "effect/segments.py": ["segments"],
    "effect/design.py": ["engine", "identification"],
    "effect/policy.py": ["policy"],
    "metrics.py": ["metrics", "words"],
    "numbers.py": ["metrics", "answer", "words", "docs"],
    "causal/identify.py": ["identify"],
    "causal/docalculus.py": ["docalculus", "theorem"],
    "report/history.py": ["history"],
    "cache.py": ["predictions", "faults"],
}
LONGEST = 240  # seconds of tests, after which a mutant counts as found: it does not end
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.USub: ast.UAdd,
}  # fmt: skip


def places(source: str) -> list[int]:
    """Return which nodes of a file, as they are walked, can be changed; not those that decide no result."""
    tree = ast.parse(source)
    decorated = [one for node in ast.walk(tree) for one in getattr(node, "decorator_list", [])]
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    silent = {node for part in (*decorated, *guards) for node in ast.walk(part)}
    nodes = list(ast.walk(tree))  # all of them, before any is changed
    return [at for at, node in enumerate(nodes) if node not in silent and _changed(node)]


def mutant(source: str, at: int) -> tuple[int, str, str]:
    """Return a file with one node changed: the line, what is changed, and the text."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[at]
    what = _changed(node)
    return getattr(node, "lineno", 0), what, ast.unparse(tree)


def _changed(node: ast.AST) -> str:
    """Change a node, and say how; nothing where it stays."""
    for name in ("op", "ops"):
        if (kind := getattr(node, name, None)) is None:
            continue
        old = kind[0] if isinstance(kind, list) else kind
        if new := SWAPS.get(type(old)):
            setattr(node, name, [new(), *kind[1:]] if isinstance(kind, list) else new())
            return f"{type(old).__name__} to {new.__name__}"
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        old, node.value = node.value, (not node.value) if isinstance(node.value, bool) else node.value + 1
        return f"{old} to {node.value}"
    if isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Constant(None)
        return "return None"
    return ""


def survives(copy: Path, file: str, text: str) -> bool:
    """Tell whether the tests of a file pass with another text in its place."""
    path = copy / "csrec_core" / file
    kept = path.read_text("utf-8")
    path.write_text(text, "utf-8")
    tests = [f"tests/test_{name}.py" for name in TESTS[file]]
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            words, cwd=copy, env=os.environ | own, capture_output=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(kept, "utf-8")
    return done.returncode == 0


def main() -> None:
    """Draw mutants, and print those that survive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=TESTS, default=list(TESTS))
    asked = parser.parse_args()
    rng, tried, alive = random.Random(asked.seed), Counter(), Counter()
    sources = {file: (ROOT / "csrec_core" / file).read_text("utf-8") for file in asked.only}
    every = {file: places(source) for file, source in sources.items()}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "csrec"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "reports", "__pycache__"))
        for number in tqdm(range(asked.mutants), unit=" mutants"):
            file = asked.only[number % len(asked.only)]
            line, what, text = mutant(sources[file], rng.choice(every[file]))
            if not tried[file] and not survives(copy, file, sources[file]):
                raise SystemExit(f"{file}: its tests fail as it is")
            tried[file] += 1
            if survives(copy, file, text):
                alive[file] += 1
                tqdm.write(f"{file}:{line}: {what}: not found")
    for file, count in tried.items():
        print(f"{file:24} {count - alive[file]:4} of {count}")
    print(f"{'all':24} {sum(tried.values()) - sum(alive.values()):4} of {sum(tried.values())}")


if __name__ == "__main__":
    main()
