"""Steps proved for every t, not up to a horizon: induction on the slice that a sequential graph repeats.

A way from Y to Z that conditioning leaves open is a walk on whose colliders, and on no other node, is
conditioned (Shachter 1998). Such a walk runs between slices over the few arrows that cross from one to the
next, so all that the first k slices have to say of a step at a later t is a relation: over which crossing a
walk that came in can leave. The relation of k + 1 slices follows from that of k. Where the two are equal and
the slices are alike, it stays as it is for ever, and with it the verdict.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise, takewhile

import networkx as nx

from csrec_core.causal.docalculus import RuleCheck
from csrec_core.causal.theorem import derive_theorem

_TIMES = re.compile(r"(?<=[PSD])\d+")
FURTHEST = 16  # slices laid out to look for the repetition

Crossing = tuple[str, str]  # an arrow as (tail, head), both named by how far they are from the cut


@dataclass(frozen=True)
class Proof:
    """What is proved of one step for every t."""

    fails_at: tuple[int, ...]  # the times among those checked one by one at which it fails
    # the t from which on the verdict is that of `always`, by induction; 0 where no induction was found
    from_t: int
    always: bool | None  # the verdict from there on

    @property
    def holds(self) -> bool | None:
        """Whether the step holds at every t; None where that is not proved."""
        return False if self.fails_at else self.always

    @property
    def words(self) -> str:
        """What is proved, in words."""
        if self.always is None:
            return "not proved beyond the single t"
        if self.holds:
            return "holds at every t"
        if self.always:
            return f"fails at t = {', '.join(map(str, self.fails_at))} only"
        first = min(self.fails_at, default=self.from_t)
        if self.fails_at == tuple(range(first, self.from_t)):
            return f"fails at every t from {first} on"
        return f"fails at t = {', '.join(map(str, self.fails_at))} and at every t from {self.from_t} on"


def prove_steps(make: Callable[[int], nx.DiGraph]) -> dict[str, Proof]:
    """Prove or refute each step of `derive_theorem` at every t >= 2, but H0, which speaks of t = 1.

    `make` returns the graph unrolled over a number of steps. A proof's `always` is None where `FURTHEST` slices
    show no repetition.
    """
    last = 2 + FURTHEST
    graph = make(last)
    derivations = {t: derive_theorem(graph, t) for t in range(2, last + 1)}
    proofs = {}
    for name, step in derivations[last].items():
        if name == "H0":
            continue
        verdicts = {t: bool(derivation[name].check) for t, derivation in derivations.items()}
        from_t = _repeats_from(step.check, last)
        if from_t is not None and len({verdicts[t] for t in range(from_t, last + 1)}) > 1:
            # A fault of this file, and of no input.
            raise AssertionError(f"step {name}: the induction denies the single checks")
        failing = (t for t, holds in verdicts.items() if not holds and (from_t is None or t < from_t))
        proofs[name] = Proof(tuple(failing), from_t or 0, None if from_t is None else verdicts[last])
    return proofs


def _repeats_from(check: RuleCheck, last: int) -> int | None:
    """Return the t from which on the verdict of a check is the same for ever, or None."""
    slices = _Slices(check, last)
    looks = [slices.look(t) for t in range(1, last + 1)]
    for far in range(last - 1):
        # Slices from `first` on are alike, but for the last `far`.
        alike = takewhile(looks[last - far - 1].__eq__, reversed(looks[: last - far]))
        first = last - far + 1 - len(list(alike))
        if last - far - first > slices.reach + 1:
            relations = [slices.relation(k) for k in range(max(first, slices.reach), last - far + 1)]
            same = (i for i, pair in enumerate(pairwise(relations)) if pair[0] == pair[1])
            start = next(same, None)
            return None if start is None else max(first, slices.reach) + start + far
    return None


class _Slices:
    """The mutilated graph of a check at time `last`, cut into time slices."""

    def __init__(self, check: RuleCheck, last: int):
        self.graph, self.check = check.mutilated, check
        # What has no time, such as R, is at hand in every slice: it counts as the last.
        self.timeless = {node for node in self.graph if not _TIMES.search(node)}
        self.time = {node: max(map(int, _TIMES.findall(node)), default=last) for node in self.graph}
        lags = [self.time[b] - self.time[a] for a, b in self.graph.edges if not {a, b} & self.timeless]
        self.reach = max(lags, default=1)

    def look(self, t: int) -> tuple[frozenset, frozenset]:
        """Return what slice t is: its nodes with their parts in the check, the arrows that end in it."""
        check, here = self.check, [node for node in self.graph if self.time[node] == t]
        parts = {
            (_relative(node, t), node in check.given, node in check.y, node in check.z)
            for node in here
            if node not in self.timeless
        }
        return frozenset(parts), frozenset(self.named(edge, t) for edge in self.graph.in_edges(here))

    def relation(self, k: int) -> frozenset[tuple[Crossing, Crossing]]:
        """Return over which crossings a walk can leave the slices up to k that came in over another.

        A walk that reaches Z in there leaves over the crossing ("z", "z").
        """
        found = set()
        for edge in self.graph.edges:
            inside = [self.time[node] <= k for node in edge]
            if inside[0] != inside[1]:
                inner = edge[inside.index(True)]
                ways = self.walk(inner, edge[1] == inner, k)
                found |= {(self.named(edge, k), self.named(way, k) if way else ("z", "z")) for way in ways}
        return frozenset(found)

    def walk(self, start: str, at_head: bool, k: int) -> Iterable[Crossing | None]:
        """Yield the crossings over which a walk leaves that arrives at `start`, None where it meets Z."""
        stack, seen, given = [(start, at_head)], {(start, at_head)}, self.check.given
        while stack:
            node, at_head = stack.pop()
            if node in self.check.z:
                yield None
            onward = []
            if (node in given) == at_head:
                onward += [((parent, node), (parent, False)) for parent in self.graph.pred[node]]
            if node not in given:
                onward += [((node, child), (child, True)) for child in self.graph.succ[node]]
            for edge, state in onward:
                if self.time[state[0]] > k:
                    yield edge
                elif state not in seen:
                    seen.add(state)
                    stack.append(state)

    def named(self, edge: Crossing, k: int) -> Crossing:
        """Name an arrow by how far its ends are from slice k; one of R by the row that it ends in."""
        if self.timeless & set(edge):
            return _TIMES.sub("", edge[0]), _TIMES.sub("", edge[1])
        return _relative(edge[0], k), _relative(edge[1], k)


def _relative(node: str, t: int) -> str:
    """Name a node by how far it is from slice t."""
    return _TIMES.sub(lambda n: f"[{int(n[0]) - t}]", node)
