"""Graphs in GML, GraphML, JSON (plain lists, networkx' node-link, causalfusion) and as a table of edges."""

import csv
import io
import json
import re
from collections.abc import Iterable
from xml.parsers import expat

from csrec_core.causal.drawing import Drawing, name_of
from csrec_core.causal.scanner import Place, Scanner
from csrec_core.errors import InputError, nearest

__all__ = ["parse_csv", "parse_gml", "parse_graphml", "parse_json"]

GML_SKIPPED = re.compile(r"(?:\s+|#[^\n]*)+")
GML_KEY = re.compile(r"[A-Za-z][\w.]*")
GML_VALUE = re.compile(r'[-+]?\d[\d.eE+-]*|"[^"]*"')
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
SOURCES, TARGETS = ("source", "from", "cause", "tail"), ("target", "to", "effect", "head")
DEEPEST = 100


def parse_gml(text: str) -> Drawing:
    """Read one graph in GML, the names of nodes from `label`, or `id` where there is none."""
    scanner = Scanner(text, GML_SKIPPED)
    entries = _gml_entries(scanner)
    if not scanner.is_done:
        raise scanner.wrong("a ] too many")
    graphs = [(value, place) for key, value, place in entries if key == "graph"]
    if len(graphs) != 1 or not isinstance(graphs[0][0], list):
        raise (graphs[1][1] if len(graphs) > 1 else Place(1)).wrong("expected one graph [ … ]")
    content = graphs[0][0]
    if not any(key == "directed" and value == "1" for key, value, _ in content):
        raise graphs[0][1].wrong("the graph is undirected: a causal graph says directed 1")
    drawing, names = Drawing(), {}
    for key, value, place in content:
        if key == "node":
            attributes = _flat(value, place)
            if "id" not in attributes:
                raise place.wrong("a node without an id")
            _name(drawing, names, attributes.pop("id"), attributes, "label", place)
    for key, value, place in content:
        if key == "edge":
            _edge(drawing, names, _flat(value, place), place)
    return drawing


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
    drawing, names = Drawing(), {}
    for ident, attributes, place in reader.nodes:
        _name(drawing, names, ident, attributes, "name", place)
    for attributes, place in reader.edges:
        _edge(drawing, names, attributes, place)
    return drawing


def parse_json(text: str) -> Drawing:
    """Read {"edges": [[a, b], …], "bidirected", "latent", "nodes"}, node-link data or causalfusion's form."""
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Place(error.lineno, error.colno).wrong(f"no JSON: {error.msg}") from error
    except RecursionError:
        raise InputError(f"no graph: nested more than {DEEPEST} deep") from None
    if not isinstance(content, dict):
        raise Place(1, 1).wrong('expected an object with the key "edges"')
    listed, places = content.get("nodes", []), _places(text)
    if isinstance(listed, list) and any(isinstance(node, dict) for node in listed):
        return _objects(content, places)
    return _lists(content, places)


def parse_csv(text: str) -> Drawing:
    """Read a table of edges: a header with source and target, and optionally type (directed, bidirected)."""
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        ends = [
            next((i for i, name in enumerate(header) if name in known), None) for known in (SOURCES, TARGETS)
        ]
        kinds = [i for i, name in enumerate(header) if name == "type"]
        if None in ends or len(header) != 2 + len(kinds):
            raise Place(1).wrong("expected the header source,target or source,target,type")
        drawing = Drawing()
        for row in rows:
            place = Place(rows.line_num)
            if not row:
                continue
            if len(row) != len(header):
                raise place.wrong(f"expected {len(header)} cells, found {len(row)}")
            source, target = (row[i].strip() for i in ends)
            for name in (source, target):
                drawing.add_node(name, place)
            signs = {"": "->", "directed": "->", "->": "->", "bidirected": "<->", "<->": "<->"}
            kind = row[kinds[0]].strip().lower() if kinds else ""
            if kind not in signs:
                raise place.wrong(f"the type {kind!r}: expected directed or bidirected")
            drawing.add_edge(source, target, {}, place, sign=signs[kind])
    except csv.Error as error:
        raise Place(rows.line_num).wrong(f"no CSV: {error}") from error
    return drawing


def _name(drawing, names, ident: str, attributes: dict[str, str], label: str, place: Place) -> None:
    """Note a node under the name it goes by."""
    if ident in names:
        raise place.wrong(f"a second node with the id {ident!r}")
    kind = attributes.pop("type", "basic")
    if kind not in ("basic", "latent"):
        raise place.wrong(f"a node of the type {kind!r}: expected basic or latent")
    name = attributes.get(label) or ident
    if name in drawing.nodes:
        raise place.wrong(f"a second node named {name!r}")
    names[ident] = name
    drawing.add_node(name, place)
    drawing.mark_node(name, attributes | ({"latent": "true"} if kind == "latent" else {}), place)


def _edge(drawing, names, attributes: dict[str, str], place: Place) -> None:
    """Note an edge between nodes that the file declares."""
    ends = []
    for words in (SOURCES[:2], TARGETS[:2]):
        found = [attributes.pop(word) for word in words if word in attributes]
        if len(found) != 1:
            raise place.wrong(f"an edge without its {words[0]}")
        ends.append(name_of(found[0], names, place))
    drawing.add_edge(*ends, attributes, place)


def _flat(value, place: Place) -> dict[str, str]:
    """Return the keys of a GML list; what is nested tells how it is drawn (`graphics`)."""
    if not isinstance(value, list):
        raise place.wrong("expected [ … ]")
    return {key: "" if isinstance(inner, list) else inner for key, inner, _ in value}


def _gml_entries(text: Scanner, *, depth: int = 0) -> list:
    """Return (key, value, place) up to the closing ]; a value is text, or such a list."""
    entries = []
    while not text.is_done and not text.is_next("]"):
        place, key = text.place(), text.take(GML_KEY)
        if not key:
            raise place.wrong("expected a key")
        if text.taken("["):
            if depth == DEEPEST:
                raise place.wrong(f"nested more than {DEEPEST} deep")
            value = _gml_entries(text, depth=depth + 1)
            if not text.taken("]"):
                raise text.wrong("the text ends before the closing ]")
        elif found := text.take(GML_VALUE):
            value = _unescape(found[0].strip('"'))
        else:
            raise text.wrong(f"expected a number, a quoted text or [ after {key[0]}")
        entries.append((key[0], value, place))
    return entries


def _unescape(text: str) -> str:
    """Read the characters that GML writes as &#233;."""
    return re.sub(r"&#(\d+);", lambda code: chr(min(int(code[1]), 0x10FFFF)), text).replace("&amp;", "&")


class _GraphML:
    """Collects nodes and edges of a GraphML document, each with its attributes and place."""

    def __init__(self):
        self.nodes, self.edges, self.keys = [], [], {}
        self.graphs, self.owner, self.key = 0, None, None
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self.start, self.end
        self.parser.CharacterDataHandler, self.parser.EntityDeclHandler = self.text, self.entity

    @property
    def place(self) -> Place:
        return Place(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def entity(self, *_) -> None:
        raise self.place.wrong("the document declares an entity, which no graph needs")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.split(" ")[-1]
        if tag == "graph":
            self.graphs += 1
            if self.graphs > 1:
                raise self.place.wrong("a second or nested graph: save each in a file of its own")
            if attributes.get("edgedefault") != "directed":
                raise self.place.wrong('the graph is undirected: a causal graph has edgedefault="directed"')
        elif tag == "key":
            drawn = "graphics" if "yfiles.type" in attributes else ""  # yEd's, read below
            self.keys[attributes.get("id", "")] = attributes.get("attr.name", drawn) or attributes.get(
                "id", ""
            )
        elif tag == "Arrows" and self.owner is not None:
            back, forth = (attributes.get(end, "none") != "none" for end in ("source", "target"))
            self.owner["dir"] = {(0, 1): "forward", (1, 0): "back", (1, 1): "both", (0, 0): "none"}[
                back, forth
            ]
        elif tag == "NodeLabel" and self.owner is not None:
            self.key = "name"
            self.owner.setdefault("name", "")
        elif tag == "node":
            if "id" not in attributes:
                raise self.place.wrong("a node without an id")
            self.owner = {}
            self.nodes.append((attributes["id"], self.owner, self.place))
        elif tag == "edge":
            if attributes.pop("directed", "true") != "true":
                raise self.place.wrong("an undirected edge: what causes what?")
            ports = {"id", "sourceport", "targetport"}
            self.owner = {key: value for key, value in attributes.items() if key not in ports}
            self.edges.append((self.owner, self.place))
        elif tag == "data":
            self.key = self.keys.get(attributes.get("key", ""), attributes.get("key", ""))
            if self.owner is not None:
                self.owner[self.key] = ""
        elif tag in ("hyperedge", "port"):
            raise self.place.wrong(f"a {tag}, which is no arrow")

    def text(self, text: str) -> None:
        if self.owner is not None and self.key is not None and text.strip():
            self.owner[self.key] += text.strip()

    def end(self, tag: str) -> None:
        tag = tag.split(" ")[-1]
        self.key = None if tag == "data" else self.key
        self.owner = None if tag in ("node", "edge") else self.owner


def _lists(content: dict, places: dict[tuple, Place]) -> Drawing:
    """Read an object of lists of names and pairs."""
    allowed = ("edges", "bidirected", "latent", "nodes")
    for key in content:
        if key not in allowed:
            hint = nearest(key, allowed)
            suggestion = f"; did you mean {hint!r}?" if hint else ""
            raise places[key,].wrong(f"unknown key {key!r}: expected {', '.join(allowed)}{suggestion}")
        if not isinstance(content[key], list):
            raise places[key,].wrong("expected a list")
    if "edges" not in content:
        raise Place(1, 1).wrong('expected an object with the key "edges"')
    drawing = Drawing()
    for i, name in enumerate(content.get("nodes", [])):
        drawing.add_node(_text(name, places["nodes", i]), places["nodes", i])
    for key, sign in (("edges", "->"), ("bidirected", "<->")):
        for i, pair in enumerate(content.get(key, [])):
            place = places[key, i]
            if not isinstance(pair, list) or len(pair) != 2:
                raise place.wrong(f"an edge is a pair of names [a, b], not {json.dumps(pair)[:60]}")
            ends = [_text(name, place) for name in pair]
            for name in ends:
                if key == "edges":
                    drawing.add_node(name, place)
                elif name not in drawing.nodes:
                    name_of(name, dict.fromkeys(drawing.nodes), place)
            drawing.add_edge(*ends, {}, place, sign=sign)
    for i, name in enumerate(content.get("latent", [])):
        if _text(name, places["latent", i]) not in drawing.nodes:
            name_of(str(name), dict.fromkeys(drawing.nodes), places["latent", i])
        drawing.latent.add(str(name))
    return drawing


def _objects(content: dict, places: dict[tuple, Place]) -> Drawing:
    """Read nodes and edges that are objects: networkx' node-link data, causalfusion."""
    if content.get("directed", True) is not True:
        raise places["directed",].wrong("the graph is undirected: a causal graph needs arrows")
    listed = "edges" if "edges" in content else "links"
    drawing, names = Drawing(), {}
    for where in ("nodes", listed):
        if not isinstance(content.get(where, []), list):
            raise places[where,].wrong("expected a list of objects")
        for i, entry in enumerate(content.get(where, [])):
            place = places[where, i]
            if not isinstance(entry, dict):
                raise place.wrong(f"expected an object, found {json.dumps(entry)[:40]}")
            attributes = {
                key: "" if isinstance(value, (dict, list)) else _text(value, place)
                for key, value in entry.items()
            }
            if where == listed:
                _edge(drawing, names, attributes, place)
            elif "id" in attributes:
                _name(drawing, names, attributes.pop("id"), attributes, "name", place)
            else:
                raise place.wrong("a node without an id")
    return drawing


def _text(value, place: Place) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    if not isinstance(value, (str, int, float)):
        raise place.wrong(f"expected a name, found {json.dumps(value)[:40]}")
    return str(value)


def _unique(pairs: Iterable[tuple[str, object]]) -> dict:
    found: dict = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _places(text: str) -> dict[tuple, Place]:
    """Return where each value of the two outer levels of a JSON text, which is in order, begins."""
    places, stack, is_key = {}, [], False  # in the stack for each open object or list the key at hand
    for found in JSON_TOKEN.finditer(text):
        token = found[0]
        if token in "]}":
            stack.pop()
        elif token == ",":
            is_key = isinstance(stack[-1], str)
            stack[-1] = "" if is_key else stack[-1] + 1
        elif is_key and token != ":":
            stack[-1], is_key = json.loads(token), False
        elif token != ":":
            if len(stack) <= 2:
                places[tuple(stack)] = _place(text, found.start())
            if token in "[{":
                is_key = token == "{"
                stack.append("" if is_key else 0)
    return places


def _place(text: str, at: int) -> Place:
    return Place(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
