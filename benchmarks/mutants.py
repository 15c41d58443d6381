"""How many small faults in the core the tests find: python benchmarks/mutants.py --out FOLDER [--mutants 300]

A mutant is a file of the core in which one operator, constant, comparison or return value is another, drawn from all
places of all files. First every file of tests is run once, which tells the seconds of each test and the functions
that it calls. A mutant is found where one of the tests that call its function fails: those of its namesake first, then
quick files, up to --seconds of tests, each mutant in a fork of this process, which has done the imports. FOLDER keeps
a line a mutant, so that the same command goes on where it was cut; --again tries those that no test found once more.
Printed are these, and the share by file.
"""

import argparse
import ast
import copy
import gc
import hashlib
import importlib.machinery
import json
import os
import pkgutil
import random
import re
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path

import coverage
import pytest
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "csrec_core"
#: What is mutated: rooms and files of the package.
CORE = ("causal", "effect", "metrics.py", "numbers.py", "data/log.py", "models/csrec.py", "models/train.py")
#: Tests of other processes, where a mutant does not reach.
ELSEWHERE = {"faults", "installed", "notebooks", "project", "suite"}
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.USub: ast.UAdd,
}  # fmt: skip


def trees() -> dict[str, ast.Module]:
    """Return what each file of the package says."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}


def places(tree: ast.Module) -> list[int]:
    """Return which nodes of a file, as they are walked, can be changed; not those that decide no result."""
    tree = copy.deepcopy(tree)
    decorated = [one for node in ast.walk(tree) for one in getattr(node, "decorator_list", [])]
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    silent = {node for part in (*decorated, *guards) for node in ast.walk(part)}
    nodes = list(ast.walk(tree))  # all of them, before any is changed
    return [at for at, node in enumerate(nodes) if node not in silent and change(node)]


def change(node: ast.AST) -> str:
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
    if isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None"):
        node.value = ast.copy_location(ast.Constant(None), node)
        return "return None"
    return ""


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Return the functions and the methods of a file by their names."""
    found = {}
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef):
                found[part.name if part is node else f"{node.name}.{part.name}"] = part
    return found


def callers(package: dict[str, ast.Module], file: str, line: int) -> list[str]:
    """Return the function that holds a line; for a constant those that name it; else those of the whole file."""
    own = functions(package[file])
    for name, node in own.items():
        if node.lineno <= line <= node.end_lineno:
            return [f"{file}:{name}"]
    held = [node for node in package[file].body if node.lineno <= line <= node.end_lineno]
    sets = {
        part.id
        for node in held
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
    named = [
        f"{other}:{name}"
        for other, tree in package.items()
        for name, node in functions(tree).items()
        if sets & {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}
    ]
    return named or [f"{file}:{name}" for name in own]


class Chosen:
    """Runs tests in an order, if one is given; takes down their seconds, and has the tracer know which is run."""

    def __init__(self, order: list[str] | None = None, tracer: coverage.Coverage | None = None):
        self.order, self.tracer, self.seconds, self.failed = order, tracer, Counter(), ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            of_name = {item.nodeid: item for item in items}
            items[:] = [of_name[name] for name in self.order]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.tracer:
            self.tracer.switch_context("fixtures")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        if self.tracer:
            self.tracer.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed = report.nodeid

    def run(self, files: list[str]) -> str:
        """Run tests of some files in this process; return one that fails."""
        code = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *files], plugins=[self])
        return self.failed or ("" if code == pytest.ExitCode.OK else pytest.ExitCode(code).name)


def watch(file: str) -> dict[str, object]:
    """Run a file of tests; return the seconds of each, and which tests, or "fixtures", call each function."""
    tracer = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}/*"])
    tracer.start()
    chosen = Chosen(tracer=tracer)
    failed = chosen.run([file])
    tracer.stop()
    data, called = tracer.get_data(), {}
    for path, tree in trees().items():
        tests = data.contexts_by_lineno(str(PACKAGE / path))
        for name, node in functions(tree).items():
            lines = range(node.body[0].lineno, node.end_lineno + 1)
            if found := {test for line in lines for test in tests.get(line, ()) if test}:
                called[f"{path}:{name}"] = sorted(found)
    return {"failed": failed, "seconds": chosen.seconds, "called": called}


def first_failing(file: str, tree: ast.Module, order: list[str]) -> str:
    """Return the first of some tests that fails with another tree in the place of a file."""
    loader = importlib.machinery.SourceFileLoader
    real = loader.get_code
    loader.get_code = lambda self, name: (
        compile(tree, self.path, "exec") if Path(self.path) == PACKAGE / file else real(self, name)
    )
    return Chosen(order).run(list(dict.fromkeys(test.partition("::")[0] for test in order)))


def in_fork(work: Callable[[], object], seconds: float) -> object:
    """Return what a function does in a fork, which is the head of a group; None where it does not end."""
    with tempfile.TemporaryFile("w+") as said:
        if not (pid := os.fork()):
            os.setsid()
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(silent, stream)
            try:
                said.write(json.dumps(work()))
                said.flush()
            finally:
                os._exit(0)
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
        signal.alarm(int(seconds))
        os.waitpid(pid, 0)
        signal.alarm(0)
        said.seek(0)
        return json.loads(said.read() or "null")


class Tests:
    """How long each test takes, and which call a function; kept in a folder until their file changes."""

    def __init__(self, out: Path):
        self.seconds, self.whole, self.of = {}, {}, defaultdict(set)
        modules = "|".join(name.removesuffix(".py").replace("/", ".") for name in CORE)
        for path in sorted(ROOT.glob("tests/test_*.py")):
            names_any = re.search(rf"csrec_core\.({modules})\b", path.read_text("utf-8"))
            if not names_any or path.stem.removeprefix("test_") in ELSEWHERE:
                continue
            kept = out / f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.json"
            if not kept.exists():
                print(path.name, flush=True)
                kept.write_text(json.dumps(in_fork(partial(watch, f"tests/{path.name}"), 1800)))
            seen = json.loads(kept.read_text())
            if not seen or seen["failed"]:
                print(f"{path.name} is left out: {seen and seen['failed']}")
                continue
            self.seconds |= seen["seconds"]
            self.whole[f"tests/{path.name}"] = sum(seen["seconds"].values())  # with fixtures of all
            for function, tests in seen["called"].items():
                self.of[function] |= set(seen["seconds"] if "fixtures" in tests else tests)

    def calling(self, functions: list[str], most: float, home: str) -> list[str]:
        """Return the tests that call any of some functions, as many as fit into seconds.

        Half of these go to the quick ones of `home`, the file of tests that is named after the functions' own; then
        come those of all files, quick files first.
        """
        found = set().union(*map(self.of.__getitem__, functions))
        own = [test for test in found if test.startswith(f"{home}::")]
        first = self.within(sorted(own, key=lambda test: (self.seconds[test], test)), most / 2)
        rest = sorted(
            found.difference(first),
            key=lambda test: (self.whole[test.partition("::")[0]], self.seconds[test], test),
        )
        return self.within([*first, *rest], most)

    def within(self, tests: list[str], most: float) -> list[str]:
        """Return the first of some tests, as many as fit into seconds."""
        total = accumulate(map(self.seconds.get, tests))
        return [test for test, so_far in zip(tests, total, strict=True) if so_far <= most]


def main() -> None:
    """Draw mutants, and print those that no test finds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", nargs="*", default=CORE)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    for module in pkgutil.walk_packages([str(PACKAGE)], "csrec_core."):  # for what they import
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in [name for name in sys.modules if name.startswith("csrec_core")]:
        del sys.modules[name]
    pytest.main(["--version"])  # for its plugins
    gc.freeze()
    asked.out.mkdir(parents=True, exist_ok=True)
    tests, package, kept = Tests(asked.out), trees(), asked.out / "mutants.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    if asked.again:
        done = [one for one in done if one["found"]]
        kept.write_text("".join(json.dumps(one) + "\n" for one in done))
    every = [
        (file, at) for file in package if file.startswith(tuple(asked.only)) for at in places(package[file])
    ]
    random.Random(asked.seed).shuffle(every)
    tried = {(one["file"], one["at"]) for one in done}
    for file, at in tqdm([place for place in every[: asked.mutants] if place not in tried], unit=" mutants"):
        tree = copy.deepcopy(package[file])
        node = list(ast.walk(tree))[at]
        home = f"tests/test_{Path(file).stem}.py"
        what, order = change(node), tests.calling(callers(package, file, node.lineno), asked.seconds, home)
        seconds = 60 + 20 * sum(map(tests.seconds.get, order))
        found = in_fork(partial(first_failing, file, tree, order), seconds) if order else ""
        one = {"file": file, "at": at, "line": node.lineno, "what": what, "tests": len(order)}
        done.append(one | {"found": "it does not end" if found is None else found})
        with kept.open("a") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
    count, alive = Counter(one["file"] for one in done), [one for one in done if not one["found"]]
    for one in alive:
        print(f"{one['file']}:{one['line']}: {one['what']}: not found by {one['tests']} tests")
    lost = Counter(one["file"] for one in alive)
    for file, drawn in sorted(count.items()):
        print(f"{file:28} {drawn - lost[file]:4} of {drawn}")
    print(f"{'all':28} {len(done) - len(alive):4} of {len(done)}")


if __name__ == "__main__":
    main()
