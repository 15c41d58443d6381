"""Graphs in Graphviz' DOT language and in DAGitty's text, which looks like it.

A parser of its own, by the grammar that Graphviz publishes: pydot, which networkx reads DOT with, drops the
defaults of nodes and edges, subgraphs, groups, `dir` and places; DAGitty's text is no DOT to any of them.
"""

import re
from collections import ChainMap
from dataclasses import dataclass, field

from csrec_core.causal.drawing import Drawing
from csrec_core.causal.scanner import Place, Scanner

__all__ = ["parse_dot"]

SKIPPED = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|^#[^\n]*)+", re.DOTALL | re.MULTILINE)
NAMES = {
    "dot": re.compile(r"[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*|-?(?:\.\d+|\d+(?:\.\d*)?)(?![\w.])"),
    "dag": re.compile(r"[\w\x80-\U0010ffff.]+"),
}
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
SIGN = re.compile(r"<->|->|<-")
FOREIGN_SIGN = re.compile(r"[-o@<>]-[-o@<>]?")
WORDS = ("graph", "node", "edge", "subgraph", "digraph", "strict")
DEEPEST = 100  # nested groups


@dataclass
class _Scope:
    """A graph or subgraph: the defaults in force there, and the nodes written in it."""

    parent: "_Scope | None" = None
    node: ChainMap = field(default_factory=ChainMap)
    edge: ChainMap = field(default_factory=ChainMap)
    nodes: dict[str, None] = field(default_factory=dict)
    groups: dict[str, "_Scope"] = field(default_factory=dict)
    depth: int = 0

    def open(self, name: str | None) -> "_Scope":
        """Return the group of that name, which may be there already."""
        if name is None or name not in self.groups:
            inner = _Scope(self, self.node.new_child(), self.edge.new_child(), depth=self.depth + 1)
            self.groups[name or f"\0{len(self.groups)}"] = inner
            return inner
        return self.groups[name]


def parse_dot(text: str) -> Drawing:
    """Read one graph in DOT (`digraph`) or DAGitty's text (`dag`).

    Raises
    ------
    InputError
        With line and column: what is no DOT, an edge without direction, an attribute that is not understood,
        a second graph.
    """
    return _Parser(text).graph()


class _Parser(Scanner):
    def __init__(self, text: str):
        super().__init__(text, SKIPPED)
        self.drawing = Drawing()
        self.dialect, self.strict = "dot", False
        self.edges: dict[tuple, tuple[dict, Place, str]] = {}
        self.marks: dict[str, tuple[dict, Place]] = {}

    def graph(self) -> Drawing:
        self.strict = self.word("strict")
        if self.word("graph"):
            raise self.wrong(
                "an undirected graph: a causal graph is a digraph, its edges are ->", of_last=True
            )
        if self.take(re.compile(r"(?:mag|pdag|pag)\b")):
            raise self.wrong("an equivalence class of graphs (mag, pdag, pag): expected a dag", of_last=True)
        if self.take(re.compile(r"dag\b")):
            self.dialect = "dag"
        elif not self.word("digraph"):
            raise self.wrong("expected digraph { … } or dag { … }")
        if not self.is_next("{"):
            self.value()
        if not self.taken("{"):
            raise self.wrong("expected {")
        self.statements(_Scope())
        if not self.is_done:
            second = re.match(r"(strict|digraph|graph|dag)\b", self.text[self.at :], re.IGNORECASE)
            raise self.wrong(
                "a second graph begins: save each in a file of its own" if second else "text after the graph"
            )
        for name, (attributes, place) in self.marks.items():
            self.drawing.mark_node(name, attributes, place)
        for (source, target, *_), (attributes, place, sign) in self.edges.items():
            self.drawing.add_edge(source, target, attributes, place, sign=sign)
        return self.drawing

    def statements(self, scope: _Scope) -> None:
        while not self.taken("}"):
            if self.is_next("/*"):
                raise self.wrong("the comment that begins here is not closed by */")
            if self.is_done:
                raise self.wrong("the text ends before the closing }")
            if not self.taken(";"):
                self.statement(scope)

    def statement(self, scope: _Scope) -> None:
        for word in ("graph", "node", "edge"):
            if self.word(word):
                if not self.is_next("["):
                    raise self.wrong(f"expected [ after {word}")
                attributes, _ = self.attributes()
                if word != "graph":
                    getattr(scope, word).update(attributes)
                return
        start = self.place()
        ends, named = self.operand(scope)
        if named and self.taken("="):  # an attribute of the graph
            self.value()
            return
        self.create(scope, ends, start)
        if not self.edge(scope, ends, start) and self.is_next("["):
            attributes, place = self.attributes()
            if not named:
                raise place.wrong("attributes after a group: they belong to a node, an edge or a default")
            for name in ends:
                self.marks[name][0].update(attributes)

    def edge(self, scope: _Scope, ends: list[str], start: Place) -> bool:
        """Read the rest of a chain such as a -> b -> {c d} [attributes], if there is one."""
        chain = []
        while sign := self.take(SIGN):
            onward, _ = self.operand(scope)
            self.create(scope, onward, start)
            chain.append((ends, sign[0], onward))
            ends = onward
        if foreign := self.take(FOREIGN_SIGN):
            raise self.wrong(
                f"the edge {foreign[0]} has no single direction: expected ->, <- or <->", of_last=True
            )
        if not chain:
            return False
        attributes = self.attributes()[0] if self.is_next("[") else {}
        for sources, sign, targets in chain:
            for source in sources:
                for target in targets:
                    self.link(scope, source, target, sign, attributes, start)
        return True

    def link(self, scope, source, target, sign, attributes, place) -> None:
        """Add an edge; in a strict graph, and under the same key, it is the edge that is there already."""
        key = (source, target, "" if self.strict else attributes.get("key", len(self.edges)))
        if key in self.edges:
            self.edges[key][0].update(attributes)
        else:
            self.edges[key] = ({**scope.edge, **attributes}, place, sign)

    def operand(self, scope: _Scope) -> tuple[list[str], bool]:
        """Return the nodes of a list a, b or of a group, and whether it was a list."""
        grouped = self.word("subgraph")
        name = self.value() if grouped and not self.is_next("{") else None
        if not grouped and not self.is_next("{"):
            names = [self.node()]
            while self.dialect == "dot" and self.taken(","):
                names.append(self.node())
            return names, True
        inner = scope.open(name)
        if inner.depth > DEEPEST:
            raise self.wrong(f"groups nested more than {DEEPEST} deep")
        if self.taken("{"):
            self.statements(inner)
        return list(inner.nodes), False

    def node(self) -> str:
        name = self.value(is_node=True)
        while self.dialect == "dot" and self.taken(":"):  # where the arrow docks
            self.value()
        return name

    def create(self, scope: _Scope, names: list[str], place: Place) -> None:
        for name in names:
            if name not in self.marks:
                self.marks[name] = (dict(scope.node), place)
                self.drawing.add_node(name, place)
            inner = scope
            while inner is not None:
                inner.nodes[name] = None
                inner = inner.parent

    def attributes(self) -> tuple[dict[str, str], Place]:
        place, found = self.place(), {}
        while self.taken("["):
            while not self.taken("]"):
                key = self.value()
                found[key] = self.value() if self.taken("=") else "" if self.dialect == "dag" else "true"
                self.take(re.compile("[;,]"))
        return found, place

    def value(self, *, is_node: bool = False) -> str:
        """Read an identifier: a word, a number, a quoted text or, but for a node's name, markup in <…>."""
        if quoted := self.take(QUOTED):
            parts = [quoted[1]]
            while self.taken("+"):
                if not (more := self.take(QUOTED)):
                    raise self.wrong("expected a quoted text after +")
                parts.append(more[1])
            return re.sub(r"\\\r?\n", "", "".join(parts)).replace('\\"', '"')
        if self.is_next("<") and not is_node:
            return self.markup()
        start = self.at
        if found := self.take(NAMES[self.dialect]):
            if is_node and found[0].lower() in WORDS and self.dialect == "dot":
                self.at = start
                raise self.wrong(
                    f"{found[0]!r} is a word of the language: write a node of that name in quotes"
                )
            return found[0]
        kind = "a node" if is_node else "a name or a value"
        found = self.text[self.at : self.at + 12].split("\n")[0]
        raise self.wrong(f"expected {kind}, found {found!r}" if found else f"expected {kind}, the text ends")

    def markup(self) -> str:
        start, depth = self.at, 0
        for at in range(start, len(self.text)):
            depth += {"<": 1, ">": -1}.get(self.text[at], 0)
            if depth == 0:
                self.at = at + 1
                return self.text[start : at + 1]
        raise self.wrong("the markup that begins here is not closed by >")

    def word(self, word: str) -> bool:
        """Take a word of the language, in any case."""
        return bool(self.take(re.compile(rf"{word}(?![\w\x80-\U0010ffff])", re.IGNORECASE)))
