"""Graphs in GML, GraphML, JSON (plain lists, networkx' node-link, causalfusion) and as a table of edges."""

import csv
import html
import io
import json
from typing import Any
from xml.parsers import expat

from csrec_core.causal.drawing import Drawing
from csrec_core.causal.scanner import DEEPEST, Place, Scanner
from csrec_core.errors import InputError, nearest

QUOTED_TEXT = r'"(?:[^"\\]|\\.)*"'
ENDS = {"source": ("source", "from", "cause", "tail"), "target": ("target", "to", "effect", "head")}
EDGE_SIGNS = {"": "->", "directed": "->", "->": "->", "bidirected": "<->", "<->": "<->"}

Record = tuple[dict[str, str], Place]  # what a file says of a node or an edge
Entry = tuple[str, "str | list[Entry]", Place]  # of GML


def parse_gml(text: str) -> Drawing:
    """Read one graph in GML, the names of nodes from `label`, or `id` where there is none."""
    scanner = Scanner(text, r"(?:\s+|#[^\n]*)*")
    entries = _gml(scanner)
    if not scanner.is_done:
        raise scanner.place.wrong("a ] too many")
    graphs = [(value, place) for key, value, place in entries if key == "graph"]
    content, start = graphs[0] if graphs else ("", Place(1))
    if len(graphs) > 1 or not isinstance(content, list):
        raise (graphs[1][1] if len(graphs) > 1 else start).wrong("expected one graph [ … ]")
    if not any(key == "directed" and value == "1" for key, value, _ in content):
        raise start.wrong("the graph is undirected: a causal graph says directed 1")
    parts: dict[str, list[Record]] = {"node": [], "edge": []}
    for key, value, place in content:
        if key in parts:
            if not isinstance(value, list):
                raise place.wrong("expected [ … ]")
            # What is nested tells how it is drawn (`graphics`).
            flat = {name: "" if isinstance(inner, list) else inner for name, inner, _ in value}
            parts[key].append((flat, place))
    return _assembled(parts["node"], parts["edge"], name="label")


def parse_graphml(text: str) -> Drawing:
    """Read one graph in GraphML, the names of nodes from their ids, or from `name` and yEd's labels.

    No entity of the document is expanded.
    """
    reader = _GraphML()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        message = expat.ErrorString(error.code)
        raise Place(error.lineno, error.offset + 1).wrong(f"no XML: {message}") from error
    return _assembled(reader.parts["node"], reader.parts["edge"], name="name")


def parse_json(text: str) -> Drawing:
    """Read {"edges": [[a, b], …], "bidirected", "latent", "nodes"}, node-link data or causalfusion's form."""
    try:
        json.loads(text)
        content, start = _json(Scanner(text, r"\s*"))
    except json.JSONDecodeError as error:
        raise Place(error.lineno, error.colno).wrong(f"no JSON: {error.msg}") from error
    except RecursionError:
        raise InputError(f"no graph: nested more than {DEEPEST} deep") from None
    if not isinstance(content, dict):
        raise start.wrong('expected an object with the key "edges"')
    nodes = content.get("nodes", ([], start))[0]
    if isinstance(nodes, list) and any(isinstance(node, dict) for node, _ in nodes):
        return _object_drawing(content)
    return _lists(content, start)


def parse_csv(text: str) -> Drawing:
    """Read a table of edges: a header with source and target, and optionally type (directed, bidirected)."""
    rows = csv.reader(io.StringIO(text), strict=True)
    drawing = Drawing()
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        named = [next((end for end, words in ENDS.items() if name in words), name) for name in header]
        if sorted(named) not in (["source", "target"], ["source", "target", "type"]):
            raise Place(1).wrong("expected the header source,target or source,target,type")
        for row in filter(None, rows):
            place = Place(rows.line_num)
            if len(row) != len(header):
                raise place.wrong(f"expected {len(header)} cells, found {len(row)}")
            cells = dict(zip(named, map(str.strip, row), strict=True))
            kind = cells.get("type", "").lower()
            if kind not in EDGE_SIGNS:
                raise place.wrong(f"the type {kind!r}: expected directed or bidirected")
            for end in ENDS:
                drawing.add_node(cells[end], place)
            drawing.add_edge((cells["source"], cells["target"]), place, sign=EDGE_SIGNS[kind])
    except csv.Error as error:
        raise Place(rows.line_num).wrong(f"no CSV: {error}") from error
    return drawing


def _assembled(nodes: list[Record], edges: list[Record], *, name: str) -> Drawing:
    """Return the drawing of nodes that have an id and a name, and of edges between ids."""
    drawing, names = Drawing(), {}
    for attributes, place in nodes:
        if "id" not in attributes:
            raise place.wrong("a node without an id")
        ident, kind = attributes.pop("id"), attributes.pop("type", "basic")
        if kind not in ("basic", "latent"):
            raise place.wrong(f"a node of the type {kind!r}: expected basic or latent")
        if ident in names:
            raise place.wrong(f"a second node with the id {ident!r}")
        names[ident] = attributes.get(name) or ident
        if names[ident] in drawing.nodes:
            raise place.wrong(f"a second node named {names[ident]!r}")
        hidden = {"latent": "true"} if kind == "latent" else {}
        drawing.add_node(names[ident], place, attributes | hidden)
    for attributes, place in edges:
        source, target = (names[_take_end(end, attributes, names, place)] for end in ENDS)
        drawing.add_edge((source, target), place, attributes)
    return drawing


def _take_end(end: str, attributes: dict[str, str], names: dict[str, str], place: Place) -> str:
    """Take the source or the target of an edge out of its attributes."""
    found = [attributes.pop(word) for word in ENDS[end][:2] if word in attributes]
    if len(found) != 1:
        raise place.wrong(f"an edge without its {end}")
    return _known_name(found[0], names, place)


def _known_name(name: str, known: dict, place: Place) -> str:
    """Return a name that is known, or raise InputError with the nearest one."""
    if name not in known:
        hint = nearest(name, known)
        raise place.wrong(f"unknown node {name!r}" + (f"; did you mean {hint!r}?" if hint else ""))
    return name


def _gml(text: Scanner, *, depth: int = 0) -> list[Entry]:
    """Return (key, value, place) up to the closing ]; a value is text, or such a list."""
    entries: list[Entry] = []
    value: str | list[Entry]
    while not text.is_done and not text.is_next("]"):
        place, key = text.place, text.take(r"[a-z][\w.]*")
        if not key:
            raise place.wrong("expected a key")
        if text.take(r"\["):
            if depth == DEEPEST:
                raise place.wrong(f"nested more than {DEEPEST} deep")
            value = _gml(text, depth=depth + 1)
            if not text.take("]"):
                raise text.place.wrong("the text ends before the closing ]")
        elif found := text.take(r'[-+]?\d[\d.e+-]*|"[^"]*"'):
            value = html.unescape(found[0].strip('"'))  # GML writes é as &#233;
        else:
            raise text.place.wrong(f"expected a number, a quoted text or [ after {key[0]}")
        entries.append((key[0], value, place))
    return entries


class _GraphML:
    """Collects nodes and edges of a GraphML document, each with its attributes and place."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Record]] = {"node": [], "edge": []}
        self.keys: dict[str, str] = {}
        self.owner: dict[str, str] = {}  # the node or edge that is open
        self.key: str | None = None
        self.graphs = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self.start, self.end
        self.parser.CharacterDataHandler, self.parser.EntityDeclHandler = self.text, self.entity

    @property
    def place(self) -> Place:
        return Place(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def entity(self, *_) -> None:
        raise self.place.wrong("the document declares an entity, which no graph needs")

    def start(self, tag: str, found: dict[str, str]) -> None:
        tag = tag.split(" ")[-1]
        if tag == "graph":
            self.graphs += 1
            if self.graphs > 1:
                raise self.place.wrong("a second or nested graph: save each in a file of its own")
            if found.get("edgedefault") != "directed":
                raise self.place.wrong('the graph is undirected: a causal graph has edgedefault="directed"')
        elif tag == "key":
            drawn = "graphics" if "yfiles.type" in found else found.get("id", "")  # yEd's, read below
            self.keys[found.get("id", "")] = found.get("attr.name", drawn)
        elif tag == "Arrows":
            ways = {"01": "forward", "10": "back", "11": "both", "00": "none"}
            self.owner["dir"] = ways["".join(str(int(found.get(e, "none") != "none")) for e in ENDS)]
        elif tag == "NodeLabel":
            self.key = "name"
            self.owner.setdefault("name", "")
        elif tag in self.parts:
            if found.pop("directed", "true") != "true":
                raise self.place.wrong("an undirected edge: what causes what?")
            unread = {"sourceport", "targetport"} | ({"id"} if tag == "edge" else set())
            self.owner = {key: value for key, value in found.items() if key not in unread}
            self.parts[tag].append((self.owner, self.place))
        elif tag == "data":
            self.key = self.keys.get(found.get("key", ""), found.get("key", ""))
            self.owner[self.key] = ""
        elif tag in ("hyperedge", "port"):
            raise self.place.wrong(f"a {tag}, which is no arrow")

    def text(self, text: str) -> None:
        if self.key is not None and text.strip():
            self.owner[self.key] += text.strip()

    def end(self, tag: str) -> None:
        tag = tag.split(" ")[-1]
        self.key = None if tag == "data" else self.key
        self.owner = {} if tag in self.parts else self.owner


def _json(text: Scanner) -> tuple[Any, Place]:
    """Return what a text, known to be JSON, says next: the value and its place, so for every value within."""
    place = text.place
    found: Any = {}
    if text.take(r"\["):
        found = []
        while not text.take("]"):
            found.append(_json(text))
            text.take(",")
    elif text.take("{"):
        while not text.take("}"):
            key = _python_literal(text)
            if key in found:
                raise place.wrong(f"the key {key!r} stands twice in one object")
            text.take(":")
            found[key] = _json(text)
            text.take(",")
    else:
        found = _python_literal(text)
    return found, place


def _python_literal(text: Scanner) -> Any:
    found = text.take(rf"{QUOTED_TEXT}|[^\s\[\]{{}},:]+")
    return json.loads(found[0]) if found else None


def _lists(content: dict, start: Place) -> Drawing:
    """Read an object of lists of names and pairs."""
    allowed = ("edges", "bidirected", "latent", "nodes")
    for key, (value, place) in content.items():
        if key not in allowed:
            hint = nearest(key, allowed)
            suggestion = f"; did you mean {hint!r}?" if hint else ""
            raise place.wrong(f"unknown key {key!r}: expected {', '.join(allowed)}{suggestion}")
        if not isinstance(value, list):
            raise place.wrong("expected a list")
    if "edges" not in content:
        raise start.wrong('expected an object with the key "edges"')
    drawing = Drawing()
    listed = {key: content.get(key, ([], start))[0] for key in allowed}
    for name, place in listed["nodes"]:
        drawing.add_node(_value_text(name, place), place)
    for key, sign in (("edges", "->"), ("bidirected", "<->")):
        for pair, place in listed[key]:
            if not isinstance(pair, list) or len(pair) != 2:
                raise place.wrong("an edge is a pair of names [a, b]")
            source, target = (_value_text(*end) for end in pair)
            for name in (source, target):
                if key == "edges":
                    drawing.add_node(name, place)
                _known_name(name, drawing.nodes, place)
            drawing.add_edge((source, target), place, sign=sign)
    drawing.latent |= {
        _known_name(_value_text(name, place), drawing.nodes, place) for name, place in listed["latent"]
    }
    return drawing


def _object_drawing(content: dict) -> Drawing:
    """Read nodes and edges that are objects: networkx' node-link data, causalfusion."""
    is_directed, place = content.get("directed", (True, Place(1)))
    if is_directed is not True:
        raise place.wrong("the graph is undirected: a causal graph needs arrows")
    parts: list[list[Record]] = []
    for key in ("nodes", "edges" if "edges" in content else "links"):
        listed, place = content.get(key, ([], Place(1)))
        if not isinstance(listed, list):
            raise place.wrong("expected a list of objects")
        parts.append([])
        for entry, place in listed:
            if not isinstance(entry, dict):
                raise place.wrong("expected an object")
            said = {name: one for name, one in entry.items() if one[0] is not None}
            flat = {
                name: "" if isinstance(one[0], (dict, list)) else _value_text(*one)
                for name, one in said.items()
            }
            parts[-1].append((flat, place))
    return _assembled(*parts, name="name")


def _value_text(value: Any, place: Place) -> str:
    if isinstance(value, (dict, list)):
        raise place.wrong("expected a name, found a list or an object")
    return value if isinstance(value, str) else str(value).lower()
