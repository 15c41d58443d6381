"""A causal graph as lists of whole numbers, compiled once: what every separation is decided on."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import networkx as nx

from csrec_core.errors import InputError

__all__ = ["Adjacency", "compile_graph"]


class Adjacency:
    """The parents and children of each node, nodes being numbers in the order of the graph.

    Cutting the arrows into some nodes and out of others, as the rules of do-calculus do, copies nothing: a
    mutilated graph is this one with two sets of flags.
    """

    def __init__(self, graph: nx.DiGraph):
        self.names = list(graph)
        self.index = {name: i for i, name in enumerate(self.names)}
        index = self.index
        self.parents = [[index[a] for a in causes] for causes in graph._pred.values()]
        self.children = [[index[b] for b in effects] for effects in graph._succ.values()]
        self._require_acyclic()

    def flags(self, nodes: Iterable[str]) -> bytearray:
        """Return one byte a node: 1 for those named."""
        flags = bytearray(len(self.names))
        for node in nodes:
            flags[self.index[node]] = 1
        return flags

    def ancestors(self, nodes: Iterable[str], cut_into: bytearray, cut_out: bytearray) -> bytearray:
        """Flag `nodes` and their ancestors in the graph without the arrows that are cut."""
        found = self.flags(nodes)
        stack = [self.index[node] for node in nodes]
        while stack:
            node = stack.pop()
            if not cut_into[node]:
                for parent in self.parents[node]:
                    if not found[parent] and not cut_out[parent]:
                        found[parent] = 1
                        stack.append(parent)
        return found

    def separated(
        self,
        y: Iterable[str],
        z: Iterable[str],
        given: Iterable[str],
        cut_into: bytearray,
        cut_out: bytearray,
    ) -> bool:
        """Decide d-separation in the graph without the arrows that are cut, in linear time.

        Shachter's (1998) ball runs from `y`: state 2 v arrived at v from a child, 2 v + 1 from a parent.
        """
        parents, children = self.parents, self.children
        closed, opens = self.flags(given), self.ancestors(given, cut_into, cut_out)
        targets = self.flags(z)
        stack = [2 * self.index[node] for node in y]
        seen = bytearray(2 * len(self.names))
        for state in stack:
            seen[state] = 1
        while stack:
            state = stack.pop()
            node, at_head = state >> 1, state & 1
            if targets[node]:
                return False
            if (opens[node] if at_head else not closed[node]) and not cut_into[node]:
                for parent in parents[node]:
                    if not seen[2 * parent] and not cut_out[parent]:
                        seen[2 * parent] = 1
                        stack.append(2 * parent)
            if not closed[node] and not cut_out[node]:
                for child in children[node]:
                    if not seen[2 * child + 1] and not cut_into[child]:
                        seen[2 * child + 1] = 1
                        stack.append(2 * child + 1)
        return True

    def _require_acyclic(self) -> None:
        waiting = [len(causes) for causes in self.parents]
        ready = [node for node, count in enumerate(waiting) if not count]
        done = 0
        while ready:
            node = ready.pop()
            done += 1
            for child in self.children[node]:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        if done < len(self.names):
            raise InputError("the graph has a cycle: do-calculus is defined on acyclic graphs")


_COMPILED: WeakKeyDictionary = WeakKeyDictionary()


def compile_graph(graph: nx.DiGraph) -> Adjacency:
    """Return the graph compiled; a frozen one, which cannot change, is compiled once.

    Raises
    ------
    InputError
        On a cycle.
    """
    if not nx.is_frozen(graph) or type(graph._adj) is not dict:  # a view is frozen, what it shows may not be
        return Adjacency(graph)
    if graph not in _COMPILED:
        _COMPILED[graph] = Adjacency(graph)
    return _COMPILED[graph]
