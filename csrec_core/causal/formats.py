"""Graphs in GML, GraphML, JSON (plain lists, networkx' node-link, causalfusion) and as a table of edges."""

import csv
import html
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from csrec_core.causal.drawing import DEEPEST, Drawing, Place, Scanner
from csrec_core.errors import InputError, unknown
from csrec_core.files import check_shape

ENDS = {"source": ("source", "from", "cause", "tail"), "target": ("target", "to", "effect", "head")}
GRAPH_KEYS = ("edges", "bidirected", "latent", "nodes")

Record = tuple[dict[str, str], Place]  # what a file says of a node or an edge
Entry = tuple[str, "str | list[Entry]", Place]  # of GML


def parse_gml(text: str) -> Drawing:
    """Read one graph in GML, the names of nodes from `label`, or `id` where there is none."""
    scanner = Scanner(text, r"(?:\s+|#[^\n]*)*")
    entries = _gml(scanner)
    if not scanner.is_done:
        raise scanner.place.wrong("a ] too many")
    graphs = [(value, place) for key, value, place in entries if key == "graph"]
    content, start = graphs[-1] if graphs else ("", scanner.place)
    if len(graphs) > 1 or not isinstance(content, list):
        raise start.wrong("expected one graph [ … ]")
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
    """Read one graph in GraphML, the names of nodes from their ids, or from `name` and yEd's labels."""
    if "<!ENTITY" in text:
        raise InputError("the document declares an entity, which no graph needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        place = Place(f"line {line}, column {column + 1}")
        raise place.wrong(f"no XML: {expat.ErrorString(error.code)}") from error
    parts: dict[str, list[ElementTree.Element]] = {"graph": [], "key": [], "node": [], "edge": []}
    for element in root.iter():
        parts.setdefault(_tag(element), []).append(element)
    if {"hyperedge", "port"} & parts.keys():
        raise InputError("a hyperedge or a port, which is no arrow")
    if len(parts["graph"]) > 1:
        raise InputError("a second or nested graph: save each in a file of its own")
    if any(graph.get("edgedefault") != "directed" for graph in parts["graph"]):
        raise InputError('the graph is undirected: a causal graph has edgedefault="directed"')
    keys = {}
    for key in parts["key"]:
        drawn = "graphics" if key.get("yfiles.type") else key.get("id", "")  # yEd's, read below
        keys[key.get("id", "")] = key.get("attr.name", drawn)
    nodes, edges = (
        [_graphml_record(each, keys, Place(f"{kind} {i}")) for i, each in enumerate(parts[kind], start=1)]
        for kind in ("node", "edge")
    )
    return _assembled(nodes, edges, name="name")


def parse_json(text: str) -> Drawing:
    """Read {"edges": [[a, b], …], "bidirected", "latent", "nodes"}, node-link data or causalfusion's form."""
    try:
        content = json.loads(text, object_pairs_hook=_object_once)
    except json.JSONDecodeError as error:
        place = Place(f"line {error.lineno}, column {error.colno}")
        raise place.wrong(f"no JSON: {error.msg}") from error
    except RecursionError:
        raise InputError("no graph: nested too deep") from None
    if not isinstance(content, dict):
        raise InputError('expected an object with the key "edges"')
    nodes = content.get("nodes", [])
    are_objects = isinstance(nodes, list) and any(isinstance(node, dict) for node in nodes)
    return _object_drawing(content) if are_objects else _lists(content)


def parse_csv(text: str) -> Drawing:
    """Read a table of edges: a header with source and target, and optionally type (directed, bidirected)."""
    rows = csv.reader(io.StringIO(text), strict=True)
    drawing = Drawing()
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        named = [next((end for end, words in ENDS.items() if name in words), name) for name in header]
        if sorted(named) not in (["source", "target"], ["source", "target", "type"]):
            raise Place("line 1").wrong("expected the header source,target or source,target,type")
        for row in filter(None, rows):
            place = Place(f"line {rows.line_num}")
            if len(row) != len(header):
                raise place.wrong(f"expected {len(header)} cells, found {len(row)}")
            cells = dict(zip(named, map(str.strip, row), strict=True))
            source, target = (cells.pop(end) for end in ENDS)
            for name in (source, target):
                drawing.add_node(name, place, {})
            drawing.add_edge((source, target), place, cells)
    except csv.Error as error:
        raise Place(f"line {rows.line_num}").wrong(f"no CSV: {error}") from error
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
        raise place.wrong(str(unknown("node", name, known)))
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


def _graphml_record(element: ElementTree.Element, keys: Mapping[str, str], place: Place) -> Record:
    """Return what is said of a node or an edge, and of how yEd draws it what tells name and direction."""
    found = {key: value for key, value in element.items() if key not in ("sourceport", "targetport")}
    if found.pop("directed", "true") != "true":
        raise place.wrong("an undirected edge: what causes what?")
    ways = {"01": "forward", "10": "back", "11": "both", "00": "none"}
    for part in element.iter():
        text, key = (part.text or "").strip(), part.get("key", "")
        if _tag(part) == "data":
            found[keys.get(key, key)] = text
        elif _tag(part) == "NodeLabel":
            found["name"] = found.get("name", "") + text
        elif _tag(part) == "Arrows":
            found["dir"] = ways["".join(str(int(part.get(end, "none") != "none")) for end in ENDS)]
    return found, place


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _object_once(pairs: list[tuple[str, Any]]) -> dict:
    """Return the object of these pairs; InputError where a key has two."""
    if len(dict(pairs)) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InputError(f"the key {twice!r} stands twice in one object")
    return dict(pairs)


def _json_entries(content: dict, key: str) -> Iterator[tuple[Any, Place]]:
    for number, entry in enumerate(content.get(key, ())):
        yield entry, Place(f"{key}[{number}]")


def _lists(content: dict) -> Drawing:
    """Read an object of lists of names and pairs."""
    for key in content:
        if key not in GRAPH_KEYS:
            raise unknown("key", key, GRAPH_KEYS)
    if "edges" not in content:
        raise InputError('expected an object with the key "edges"')
    check_shape(content, {...: list}, "the graph")
    drawing = Drawing()
    for name, place in _json_entries(content, "nodes"):
        drawing.add_node(_value_text(name, place), place, {})
    for key, sign in (("edges", "->"), ("bidirected", "<->")):
        for pair, place in _json_entries(content, key):
            if not isinstance(pair, list) or len(pair) != 2:
                raise place.wrong("an edge is a pair of names [a, b]")
            source, target = (_value_text(end, place) for end in pair)
            for name in (source, target):
                if key == "edges":
                    drawing.add_node(name, place, {})
                _known_name(name, drawing.nodes, place)
            drawing.add_edge((source, target), place, {}, sign=sign)
    hidden = _json_entries(content, "latent")
    drawing.latent |= {_known_name(_value_text(name, place), drawing.nodes, place) for name, place in hidden}
    return drawing


def _object_drawing(content: dict) -> Drawing:
    """Read nodes and edges that are objects: networkx' node-link data, causalfusion."""
    if content.get("directed", True) is not True:
        raise InputError("the graph is undirected: a causal graph needs arrows")
    parts: list[list[Record]] = []
    for key in ("nodes", "edges" if "edges" in content else "links"):
        check_shape(content.get(key, []), [dict], key)
        parts.append([])
        for entry, place in _json_entries(content, key):
            said = {name: one for name, one in entry.items() if one is not None}
            # What is nested tells how it is drawn.
            flat = {
                name: "" if isinstance(one, dict | list) else _value_text(one, place)
                for name, one in said.items()
            }
            parts[-1].append((flat, place))
    return _assembled(*parts, name="name")


def _value_text(value: Any, place: Place) -> str:
    if isinstance(value, (dict, list)):
        raise place.wrong("expected a name, found a list or an object")
    return value if isinstance(value, str) else str(value).lower()
