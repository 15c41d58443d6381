"""What a file says of a graph, each part with its place in the text; the causal graph is made of it."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

import networkx as nx

from csrec_core.causal.graph import Edge, causal_graph, find_cycle
from csrec_core.errors import InputError

# What tells how a node or an arrow is drawn, and nothing of what causes what: of Graphviz and of editors.
LAYOUT_WORDS = """
    area arrowsize bb beta bgcolor class color colorscheme comment constraint decorate distortion fillcolor
    fixedsize fontcolor fontname fontsize fontpath gradientangle graphics group head_lp headclip headlabel
    headport headurl height href id image imagepos imagescale key label labelangle labeldistance labelfloat
    labelfontcolor labelfontname labelfontsize labelgraphics labelloc labeljust labeltooltip labelurl layer
    len lp margin metadata minlen name nojustify ordering orientation penwidth peripheries pin pos position
    rank regular samehead sametail shape shapefile showboxes sides skew sortv style tail_lp tailclip taillabel
    tailport tailurl target tooltip url vertices weight width x xlabel xlp y z
"""
LAYOUT = frozenset(LAYOUT_WORDS.split())
YES, NO = {"1", "true", "yes"}, {"0", "false", "no", ""}
NODE_ROLES = {"exposure": "exposure", "e": "exposure", "outcome": "outcome", "o": "outcome"}
ADJUSTED = {"adjusted", "a"}
EDGE_SIGNS = {"": "->", "directed": "->", "->": "->", "bidirected": "<->", "<->": "<->"}
LONGEST_NODE = 100  # characters of a name
DEEPEST = 100  # groups within groups, of a graph in any language


class Place(str):
    """A place in a file, such as `line 3, column 7`, or `edges[2]` in JSON."""

    def wrong(self, message: str) -> InputError:
        """Return the error that says what is wrong here."""
        return InputError(f"{self}: {message}")


class Scanner:
    """A text and how far it is read; what `skipped` matches may stand between any two tokens."""

    def __init__(self, text: str, skipped: str):
        self.text, self.skipped = text, re.compile(skipped, re.DOTALL | re.MULTILINE)
        self.lines = [0, *(end.end() for end in re.finditer("\n", text))]
        self.go_to(0)

    def take(self, pattern: str) -> re.Match | None:
        """Read what matches next, in any case of letters; None where it does not."""
        if found := re.compile(pattern, re.DOTALL | re.IGNORECASE).match(self.text, self.at):
            self.go_to(found.end())
        return found

    def go_to(self, at: int) -> None:
        """Read on from there, past what says nothing."""
        nothing = self.skipped.match(self.text, at)
        self.at = nothing.end() if nothing else at

    def is_next(self, sign: str) -> bool:
        """Whether a sign is next."""
        return self.text.startswith(sign, self.at)

    @property
    def is_done(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    @property
    def place(self) -> Place:
        """The place of the next token."""
        line = bisect_right(self.lines, self.at)
        return Place(f"line {line}, column {self.at - self.lines[line - 1] + 1}")


@dataclass
class Drawing:
    """What a file says: filled by a parser, then made into a graph."""

    # each name with the place where it is first written
    nodes: dict[str, Place] = field(default_factory=dict)
    latent: set[str] = field(default_factory=set)  # names that are not measured
    directed: list[Edge] = field(default_factory=list)  # the arrows proper, in the order of the file
    pairs: list[Edge] = field(default_factory=list)  # of nodes with an unmeasured common cause
    places: dict[Edge, Place] = field(default_factory=dict)  # of arrows and pairs
    # "exposure" and "outcome", each with the nodes so marked (DAGitty)
    roles: dict[str, list[str]] = field(default_factory=lambda: {"exposure": [], "outcome": []})
    notes: list[str] = field(default_factory=list)  # what was left aside, in words

    def add_node(self, name: str, place: Place, attributes: Mapping[str, str]) -> None:
        """Note a node; an attribute that is neither understood nor layout is refused."""
        self.nodes.setdefault(name, place)
        for written, value in attributes.items():
            key = written.lower()
            if key in ("latent", "unobserved", "observed"):
                if value.lower() not in YES | NO:
                    raise place.wrong(f"{key}={value!r}: expected true or false")
                if (value.lower() in YES) != (key == "observed"):
                    self.latent.add(name)
            elif key in NODE_ROLES and not value:
                self.roles[NODE_ROLES[key]].append(name)
            elif key in ADJUSTED and not value:
                self.notes.append(f"{name} is marked as adjusted for, which is no part of a graph")
            elif key == "style" and "invis" in value:
                self.notes.append(f"the node {name} is invisible in the drawing, but read")
            elif key not in LAYOUT:
                raise place.wrong(
                    f"the attribute {written!r} of the node {name!r} is not understood: an unmeasured node "
                    'is marked latent="true"; take other attributes out'
                )

    def add_edge(self, ends: Edge, place: Place, attributes: Mapping[str, str], *, sign: str = "->") -> None:
        """Read one edge with its attributes; `sign` is ->, <- or <->."""
        known = {key.lower(): value for key, value in attributes.items()}
        edge = f" {sign} ".join(ends)
        for key in known.keys() - LAYOUT - {"dir", "arrowhead", "arrowtail", "type"}:
            raise place.wrong(f"the attribute {key!r} of the edge {edge} is not understood; take it out")
        if "invis" in known.get("style", ""):
            self.notes.append(f"{edge} is invisible: layout, and no cause ({place})")
            return
        kind = known.get("type", "").lower()
        if kind not in EDGE_SIGNS:
            raise place.wrong(f"the type {kind!r}: expected directed or bidirected")
        is_pair = "<->" in (sign, EDGE_SIGNS[kind])
        way = known.get("dir") or ("both" if is_pair else "forward")
        if way not in ("forward", "back", "both") or (is_pair and way != "both"):
            raise place.wrong(
                f"the edge {edge} has dir={way}: an arrow has a direction (forward, back), "
                "and an unmeasured common cause is dir=both"
            )
        heads = {"forward": ["arrowhead"], "back": ["arrowtail"], "both": ["arrowhead", "arrowtail"]}[way]
        if any(known.get(head) in ("none", "nonenone") for head in heads):
            raise place.wrong(f"the edge {edge} hides its arrowhead: what does it mean?")
        source, target = ends[::-1] if (sign == "<-") != (way == "back") else ends
        (self.pairs if way == "both" else self.directed).append((source, target))
        self.places.setdefault((source, target), place)

    def graph(self) -> nx.DiGraph:
        """Return the causal graph; raises InputError, with the place, on a bad name, a loop or a cycle."""
        if not self.nodes:
            raise InputError("the file names no node")
        for name, place in self.nodes.items():
            if not name.strip() or len(name) > LONGEST_NODE or not name.isprintable():
                raise place.wrong(
                    f"the name {name[:20]!r}: expected 1 to {LONGEST_NODE} printable characters"
                )
        for (source, target), place in self.places.items():
            if source == target:
                raise place.wrong(f"a loop at {source!r}: an edge is a pair of two different nodes")
        if cycle := find_cycle(nx.DiGraph(self.directed)):
            raise self.places[cycle[0], cycle[1]].wrong(f"the arrows close a cycle: {' → '.join(cycle)}")
        return causal_graph(self.directed, self.pairs, latent=sorted(self.latent), nodes=list(self.nodes))

    def parts(self) -> list[tuple[str, int, str]]:
        """Return what was read: (word, how many, which), nodes, latent ones, arrows, pairs and the rest."""
        measured = [name for name in self.nodes if name not in self.latent]
        parts = [
            ("nodes", measured),
            ("latent", sorted(self.latent)),
            ("arrows", [f"{a} -> {b}" for a, b in dict.fromkeys(self.directed)]),
            ("pairs", [f"{a} <-> {b}" for a, b in dict.fromkeys(self.pairs)]),
            *((role, names) for role, names in self.roles.items() if names),
            *([("left aside", self.notes)] if self.notes else []),
        ]
        return [(word, len(what), ", ".join(what)) for word, what in parts]

    def summary(self) -> str:
        """Say what was read, in lines of text."""
        return "\n".join(f"{word:11}{count:5}  {which}".rstrip() for word, count, which in self.parts())
