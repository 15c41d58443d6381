"""Graphs in Graphviz' DOT language and in DAGitty's text, which looks like it.

A parser of its own, by the grammar that Graphviz publishes: pydot, which networkx reads DOT with, drops the
defaults of nodes and edges, subgraphs, groups, `dir` and places; DAGitty's text is no DOT to any of them.
"""

import re
from collections import ChainMap
from dataclasses import dataclass, field

from csrec_core.causal.drawing import DEEPEST, Drawing, Place, Scanner

SKIPPED = r"(?:\s+|//[^\n]*|/\*.*?\*/|^#[^\n]*)*"
LETTER = r"[\w\x80-\U0010ffff]"
NAME = {"dot": rf"(?!\d){LETTER}+|-?(?:\.\d+|\d+(?:\.\d*)?)(?![\w.])", "dag": rf"(?:{LETTER}|\.)+"}
QUOTED = r'"((?:[^"\\]|\\.)*)"'
DOT_WORDS = ("graph", "node", "edge", "subgraph", "digraph", "strict")
LATENT_WORDS = ("latent", "unobserved", "l", "u")  # DAGitty's words


@dataclass
class _Scope:
    """A graph or subgraph: the defaults in force there, and the nodes written in it."""

    node: ChainMap = field(default_factory=ChainMap)
    edge: ChainMap = field(default_factory=ChainMap)
    nodes: dict[str, None] = field(default_factory=dict)
    groups: dict[str, "_Scope"] = field(default_factory=dict)

    def group(self, name: str) -> "_Scope":
        """Return the group of that name, which may be there already; one without a name is new."""
        inner = _Scope(self.node.new_child(), self.edge.new_child())
        return self.groups.setdefault(name, inner) if name else inner


def parse_dot(text: str) -> Drawing:
    """Read one graph in DOT (`digraph`) or DAGitty's text (`dag`).

    Raises InputError, with line and column, on what is no DOT, an edge without direction, an attribute that
    is not understood, a second graph.
    """
    return _Parser(text, SKIPPED).graph()


class _Parser(Scanner):
    nodes: dict[str, tuple[dict[str, str], Place]]  # what is told of each
    edges: dict[tuple, tuple[dict[str, str], Place, str]]

    def graph(self) -> Drawing:
        self.strict, start = self.word("strict"), self.place
        found = self.take(rf"(digraph|graph|dag|mag|pdag|pag)(?!{LETTER})")
        if not found:
            raise start.wrong("expected digraph { … } or dag { … }")
        kind = found[1].lower()
        if kind == "graph":
            raise start.wrong("an undirected graph: a causal graph is a digraph, its edges are ->")
        if kind.endswith("ag") and kind != "dag":
            raise start.wrong("an equivalence class of graphs (mag, pdag, pag): expected a dag")
        self.dialect = "dag" if kind == "dag" else "dot"
        self.nodes, self.edges = {}, {}
        if not self.take("{"):
            self.value()  # its name
            if not self.take("{"):
                raise self.place.wrong("expected {")
        self.statements(_Scope())
        if not self.is_done:
            start, second = self.place, self.take(r"(strict|digraph|graph|dag)\b")
            raise start.wrong("a second graph: save each in a file of its own" if second else "text after }")
        drawing = Drawing()
        for name, (attributes, place) in self.nodes.items():
            drawing.add_node(name, place, attributes)
        for (source, target, *_), (attributes, place, sign) in self.edges.items():
            drawing.add_edge((source, target), place, attributes, sign=sign)
        return drawing

    def statements(self, scope: _Scope) -> None:
        while not self.take("}"):
            if self.is_next("/*"):
                raise self.place.wrong("the comment that begins here is not closed by */")
            if self.is_done:
                raise self.place.wrong("the text ends before the closing }")
            if not self.take(";"):
                self.statement(scope)

    def statement(self, scope: _Scope) -> None:
        for word in ("graph", "node", "edge"):
            if self.word(word):
                if not self.is_next("["):
                    raise self.place.wrong(f"expected [ after {word}")
                attributes = self.attributes()
                if word != "graph":
                    getattr(scope, word).update(attributes)
                return
        start = self.place
        ends, is_group = self.operand(scope)
        if not is_group and self.take("="):  # an attribute of the graph
            self.value()
            return
        self.create(scope, ends, start)
        if not self.chain(scope, ends, start) and self.is_next("["):
            if is_group:
                raise self.place.wrong("attributes of a group: expected a node, an edge, a default")
            attributes = self.attributes()
            for name in ends:
                self.nodes[name][0].update(attributes)

    def chain(self, scope: _Scope, ends: list[str], start: Place) -> bool:
        """Read the rest of a chain such as a -> b -> {c d} [attributes], if there is one."""
        links = []
        while sign := self.take("<->|->|<-"):
            onward, _ = self.operand(scope)
            self.create(scope, onward, start)
            links += [(source, sign[0], target) for source in ends for target in onward]
            ends = onward
        at = self.place
        if foreign := self.take("[-o@<>]-[-o@<>]?"):
            raise at.wrong(f"the edge {foreign[0]} has no single direction: expected ->, <- or <->")
        attributes = self.attributes() if links else {}
        for source, sign, target in links:
            # In a strict graph, and under the same key, it is the edge that is there already.
            key = (source, target, "" if self.strict else attributes.get("key", len(self.edges)))
            if key in self.edges:
                self.edges[key][0].update(attributes)
            else:
                self.edges[key] = ({**scope.edge, **attributes}, start, sign)
        return bool(links)

    def operand(self, scope: _Scope) -> tuple[list[str], bool]:
        """Return the nodes of a list a, b or of a group, and whether it was a group."""
        is_named = self.word("subgraph")
        name = self.value() if is_named and not self.is_next("{") else ""
        if not is_named and not self.is_next("{"):
            names = [self.node()]
            while self.dialect == "dot" and self.take(","):
                names.append(self.node())
            return names, False
        inner = scope.group(name)
        if len(inner.node.maps) > DEEPEST:
            raise self.place.wrong(f"groups nested more than {DEEPEST} deep")
        if self.take("{"):
            self.statements(inner)
        scope.nodes |= inner.nodes
        return list(inner.nodes), True

    def node(self) -> str:
        name = self.value(is_node=True)
        while self.dialect == "dot" and self.take(":"):  # where the arrow docks
            self.value()
        return name

    def create(self, scope: _Scope, names: list[str], place: Place) -> None:
        for name in names:
            self.nodes.setdefault(name, (dict(scope.node), place))
            scope.nodes[name] = None

    def attributes(self) -> dict[str, str]:
        found = {}
        while self.take(r"\["):
            while not self.take("]"):
                key = self.value()
                flag = "true" if self.dialect == "dot" or key.lower() in LATENT_WORDS else ""
                key = "latent" if self.dialect == "dag" and key.lower() in LATENT_WORDS else key
                found[key] = self.value() if self.take("=") else flag
                self.take("[;,]")
        return found

    def value(self, *, is_node: bool = False) -> str:
        """Read an identifier: a word, a number, a quoted text or, but for a node's name, markup in <…>."""
        if quoted := self.take(QUOTED):
            text = quoted[1]
            while self.take(r"\+"):
                if not (more := self.take(QUOTED)):
                    raise self.place.wrong("expected a quoted text after +")
                text += more[1]
            return text.replace("\\\n", "").replace('\\"', '"')
        if self.is_next("<") and not is_node:
            return self.markup()
        start = self.place
        if not (found := self.take(NAME[self.dialect])):
            rest = self.text[self.at : self.at + 12].split("\n")[0]
            kind = "a node" if is_node else "a name or a value"
            raise start.wrong(f"expected {kind}, " + (f"found {rest!r}" if rest else "the text ends"))
        if is_node and found[0].lower() in DOT_WORDS and self.dialect == "dot":
            raise start.wrong(f"{found[0]!r} is a word of the language: write a node of that name in quotes")
        return found[0]

    def markup(self) -> str:
        start, depth = self.at, 0
        for sign in re.finditer("[<>]", self.text[start:]):
            depth += 1 if sign[0] == "<" else -1
            if depth == 0:
                self.go_to(start + sign.end())
                return self.text[start : start + sign.end()]
        raise self.place.wrong("the markup that begins here is not closed by >")

    def word(self, word: str) -> bool:
        return bool(self.take(rf"{word}(?!{LETTER})"))
