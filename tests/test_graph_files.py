"""What is read from the files of other programs, and what is refused, with its place."""

import json
import random
import shutil
import subprocess

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrec_core.causal.audit import audit, verdicts
from csrec_core.causal.graph import latents, sequential_graph
from csrec_core.causal.graph_input import horizon_of, make_graph, read_drawing, read_graph
from csrec_core.errors import InputError


def drawing_of(tmp_path, text, name="g.dot"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_drawing(path)


def sorted_edges(drawing):
    """Arrows and pairs as (source, target, whether it is a pair)."""
    return sorted([(*edge, False) for edge in drawing.directed] + [(*edge, True) for edge in drawing.pairs])


# text, arrows, pairs
DOT = [
    ("digraph { a -> b -> c }", {"a>b", "b>c"}, set()),
    ("digraph { {a; b} -> {c d} }", {"a>c", "a>d", "b>c", "b>d"}, set()),
    ("digraph { a, b -> c }", {"a>c", "b>c"}, set()),
    ("digraph { a -> b [dir=back] }", {"b>a"}, set()),
    ("digraph { a -> b [dir=both] }", set(), {"a>b"}),
    ("digraph { a -> c; a <-> b; c <- b }", {"a>c", "b>c"}, {"a>b"}),
    ("digraph { edge [dir=both]; a -> b; edge [dir=forward] c -> d }", {"c>d"}, {"a>b"}),
    ("digraph { a -> b; subgraph s { edge [dir=back]; c -> d } e -> f }", {"a>b", "d>c", "e>f"}, set()),
    ("digraph { subgraph s { a b } subgraph s -> c }", {"a>c", "b>c"}, set()),
    ("digraph { subgraph s { edge [dir=both] } subgraph s { a -> b } }", set(), {"a>b"}),
    ("strict digraph { a -> b; a -> b [dir=both] }", set(), {"a>b"}),
    ("digraph { a -> b; a -> b [dir=both] }", {"a>b"}, {"a>b"}),
    ('digraph { a -> b [key=k]; a -> b [key=k, dir="back"] }', {"b>a"}, set()),
    ("digraph { a -> b [key=<k>]; a -> b [key=<l>, dir=both] }", {"a>b"}, {"a>b"}),
    ("DIGRAPH G { Node [shape=box]; A:n -> B:s:w [label=<x<b>y</b>>]; }", {"A>B"}, set()),
    ('digraph { "a b" -> "c\\"d" ; "x" + "y" -> 1.5 ; -2 -> .5 }', {'a b>c"d', "xy>1.5", "-2>.5"}, set()),
    ("// c\n# c\ndigraph { /* a -> z */ a -> b // c\n}", {"a>b"}, set()),
    ('digraph { rankdir=LR; graph [label="x -> y"]; a -> b }', {"a>b"}, set()),
    ("digraph { a -> {b -> c} }", {"b>c", "a>b", "a>c"}, set()),
    ("digraph { été -> naïve }", {"été>naïve"}, set()),
    ("digraph { a -> b [style=invis]; b -> c }", {"b>c"}, set()),
    ("dag { a [latent] b [outcome,pos=\"1,2\"] a -> b x.1 -> b }", {"a>b", "x.1>b"}, set()),
    ('dag{"my x" <-> y; y <- z}', {"z>y"}, {"my x>y"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "arrows", "pairs"), DOT)
def test_dot_is_read_as_it_is_meant(tmp_path, text, arrows, pairs):
    drawing = drawing_of(tmp_path, text)
    assert {">".join(edge) for edge in drawing.directed} == arrows
    assert {">".join(edge) for edge in drawing.pairs} == pairs


def test_defaults_hold_from_where_they_stand(tmp_path):
    text = "digraph { a; node [latent=true] u -> a; subgraph s { node [latent=false] b } c }"
    assert drawing_of(tmp_path, text).latent == {"u", "c"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfdigraph { a -> b }",
        "digraph { a -> b }".encode("utf-16"),
        b"digraph {\r\na -> b\r\n}\r\n",
        b"digraph {\ra -> b\r}",
    ],
)
@pytest.mark.parametrize("name", ["g.dot", "G.DOT", "g.gv", "g.txt"])
def test_encodings_line_ends_and_suffixes(tmp_path, content, name):
    assert drawing_of(tmp_path, content, name).directed == [("a", "b")]


REFUSED = [
    ("g.dot", "graph { a -- b }", "line 1, column 1: an undirected graph"),
    ("g.dot", "digraph {\n a -> b [dir=none] }", "line 2, column 2: .*dir=none"),
    ("g.dot", "digraph { edge [dir=none]; a -> b }", "dir=none"),
    ("g.dot", "digraph { a -- b }", "column 13: the edge -- has no single direction"),
    ("g.dot", "digraph { a -> b [arrowhead=none] }", "hides its arrowhead"),
    ("g.dot", "digraph { u [hidden=true]; u -> b }", "column 11: the attribute 'hidden' of the node 'u'"),
    ("g.dot", "digraph { a -> b [confounded=1] }", "attribute 'confounded'"),
    ("g.dot", "digraph { a -> b } digraph { c -> d }", "column 20: a second graph"),
    ("g.dot", "digraph { a -> b", "column 17: the text ends before the closing }"),
    ("g.dot", "digraph { a -> ; }", "column 16: expected a node"),
    ("g.dot", "digraph { a -> b /* }", "comment"),
    ("g.dot", "digraph { 1a -> b }", "column 11: expected a node"),
    ("g.dot", "digraph { <b>x</b> -> y }", "expected a node"),
    ("g.dot", "digraph { a -> edge }", "word of the language"),
    ("g.dot", "digraph { a -> b [lhead=cluster_x] }", "lhead"),
    ("g.dot", "digraph { {a b} [latent=true] a -> c }", "attributes of a group: expected a node"),
    ("g.dot", "digraph { {a b} = c }", "column 17: expected a node"),
    ("g.dot", "digraph { " + "{" * 5000, "nested more than 100 deep"),
    ("g.dot", "pag { a @-> b }", "equivalence class"),
    ("g.dot", "dag { a -> b\n s [selected] }", "line 2, column 2: the attribute 'selected'"),
    ("g.dot", "digraph { a -> b -> a }", "close a cycle: a → b → a"),
    ("g.dot", "digraph { a -> a }", "loop"),
    ("g.dot", 'digraph { "a\\\n\x07" -> b }', "printable"),
    ("g.dot", "", "expected digraph"),
    ("g.dot", "digraph { }", "names no node"),
    ("g.gml", "graph [ node [ id 1 ] ]", "undirected"),
    ("g.gml", "graph [ directed 1\n node [ label 1 ] ]", "line 2, column 2: a node without an id"),
    ("g.gml", "graph [ directed 1 node [ id 1 ] edge [ source 1 target 2 ] ]", "unknown node '2'"),
    ("g.gml", "graph [ directed 1 node [ id 1 ] node [ id 1 ] ]", "a second node with the id '1'"),
    ("g.gml", "graph [ directed 1 node [ id 1 hidden 1 ] ]", "attribute 'hidden'"),
    ("g.gml", "graph [ directed 1 node [ id 1 ]", "closing ]"),
    ("g.gml", "graph [ directed 1 node [ id 1 ] ] graph [ directed 1 ]", "expected one graph"),
    ("g.graphml", "<graphml><graph edgedefault='undirected'/></graphml>", "undirected"),
    ("g.graphml", "<graphml><graph edgedefault='directed'><node id='a'></graph></graphml>", "no XML"),
    ("g.graphml", "<graphml>" + 2 * "<graph edgedefault='directed'/>" + "</graphml>", "a second or nested graph"),
    ("g.graphml", "<!DOCTYPE x [<!ENTITY a 'b'>]><graphml>&a;</graphml>", "entity"),
    ("g.json", '{"edges": [["a", "b"]],\n "bidirected": [["a", "c"]]}', r"bidirected\[0\]: unknown node 'c'"),
    ("g.json", '{"edges": [["a", "b"], ["b"]]}', r"edges\[1\]: an edge is a pair"),
    ("g.json", '{"edges": [], "edges": []}', "stands twice"),
    ("g.json", '{"edges": [["a", "b"]], "latnet": ["a"]}', "unknown key 'latnet'.*mean 'latent'"),
    ("g.json", '{"edges": [["a", ["b"]]]}', "expected a name"),
    ("g.json", '{"nodes": [{"id": 1}], "edges": [{"source": 1, "target": 2}]}', "unknown node '2'"),
    ("g.json", '{"nodes": [{"id": 1, "type": "selection"}], "edges": []}', "of the type 'selection'"),
    ("g.csv", "a,b\nx,y\n", "line 1: expected the header source,target"),
    ("g.csv", "source,target\nx,y,z\n", "line 2: expected 2 cells, found 3"),
    ("g.csv", "source,target,type\nx,y,maybe\n", "line 2: the type 'maybe'"),
    ("g.dot", b"digraph {\n a -> \xff }", "line 2: no UTF-8"),
    ("g.dot", b"digraph {\n a\0 -> b }", "line 2: no text file"),
    ("g.dot", "digraph { a -> ?bcdefghijklmn }", r"column 16: expected a node, found '\?bcdefghijkl'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), REFUSED)
def test_what_is_not_understood_is_refused_with_its_place(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) - len(str(path)) < 400


def test_graphml_of_networkx_and_of_yed(tmp_path):
    graph = nx.DiGraph([("a", "b"), ("b", "c")])
    nx.write_graphml(graph, tmp_path / "n.graphml")
    assert set(read_drawing(tmp_path / "n.graphml").directed) == set(graph.edges)
    yed = """<graphml xmlns:y="http://www.yworks.com/xml/graphml">
      <key id="d0" for="node" yfiles.type="nodegraphics"/>
      <key id="d1" for="edge" yfiles.type="edgegraphics"/><graph edgedefault="directed">
      <node id="n0"><data key="d0"><y:NodeLabel>price</y:NodeLabel></data></node>
      <node id="n1"><data key="d0"><y:NodeLabel>sales</y:NodeLabel></data></node>
      <edge source="n0" target="n1"><data key="d1"><y:Arrows source="none" target="standard"/></data></edge>
      <edge source="n0" target="n1"><data key="d1"><y:Arrows source="white" target="standard"/></data></edge>
      </graph></graphml>"""
    drawing = drawing_of(tmp_path, yed, "y.graphml")
    assert (drawing.directed, drawing.pairs) == ([("price", "sales")], [("price", "sales")])


def test_node_link_data_of_networkx(tmp_path):
    graph = nx.DiGraph([(1, 2)])
    graph.nodes[1]["latent"] = True
    drawing = drawing_of(tmp_path, json.dumps(nx.node_link_data(graph, edges="links")), "g.json")
    assert (drawing.directed, drawing.latent) == ([("1", "2")], {"1"})


def test_gml_of_networkx_keeps_its_escapes(tmp_path):
    nx.write_gml(nx.DiGraph([("café", "b")]), tmp_path / "g.gml")
    assert read_drawing(tmp_path / "g.gml").directed == [("café", "b")]


def test_a_table_of_edges(tmp_path):
    drawing = drawing_of(tmp_path, "From,To,Type\na, b,\na,c,bidirected\n", "g.csv")
    assert (drawing.directed, drawing.pairs) == ([("a", "b")], [("a", "c")])


def test_what_was_read_is_told(tmp_path):
    summary = drawing_of(
        tmp_path, "dag { u [latent] u -> y; x <-> y; x -> y; y [outcome] x [exposure] }"
    ).summary()
    lines = {line.split()[0]: line for line in summary.splitlines()}
    assert lines["nodes"].split(None, 2)[1:] == ["2", "y, x"]
    assert lines["latent"].endswith("1  u")
    assert lines["arrows"].endswith("2  u -> y, x -> y")
    assert lines["pairs"].endswith("1  x <-> y")
    assert lines["outcome"].endswith("y")


# Figure 1's verdicts: theorem, equation_6, recursion, transport, identifiable, certificate.
FIGURE_1 = "101111"
SAID = {
    "dagitty_bidir2.dot": "000101",
    "cluster_carry.dot": "000011",
    "default_both.dot": "000101",
    "invis_carry.dot": FIGURE_1,
    "t5_carry.json": "000011",
    "group2.dot": FIGURE_1,
    "bom.dot": FIGURE_1,
}


@pytest.mark.parametrize("name", SAID)
def test_the_files_of_other_programs_give_their_verdicts(real_data, name):
    graph = make_graph(file=real_data / "graphs" / name)
    found = verdicts(audit(graph, horizon_of(graph)))
    assert "".join(str(int(holds)) for holds in found.values()) == SAID[name]


def test_templates_in_a_file_are_unrolled(tmp_path):
    text = """digraph { "P[t-1]" -> "P[t]" -> "S[t]" -> "D[t]"; "P[t]" -> "D[t]"; "D[t-1]" -> "D[t]" }"""
    (tmp_path / "t.dot").write_text(text)
    assert set(make_graph(4, file=tmp_path / "t.dot").edges) == set(sequential_graph(4).edges)
    (tmp_path / "t.dot").write_text('digraph { "P[t]" -> S1 }')
    with pytest.raises(InputError, match="mixes templates"):
        make_graph(4, file=tmp_path / "t.dot")


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ("P1->S1 S1->D1", {}, "csrec identify"),
        ("P1->S1 S1->D1 P2->S2", {}, "no node D2"),
        ("S1->D1 P2->S2 S2->D2", {}, "go to 2, but there is no node P1"),
        ("P1->S1 S1->D1 P2->S2 S2->D2", {"horizon": 3}, "steps are 1 to 2, the horizon given is 3"),
        ("P1->S1 S1->D1 P2->S2 S2->D2 D2->P1", {}, "back in time"),
        ("P1->S1 S1->D1 P2->S2 S2->D2", {"extra_edges": "S1<->D2"}, "belongs to the latent edges"),
        ("P1->S1 S1->D1 P2->S2 S2->D2", {"latent_edges": "S1->D2"}, "belongs to the extra edges"),
        ("P1->S1 S1->D1 P2->S2 S2->D2", {"extra_edges": "S1->D3"}, "unknown node 'D3'"),
        ("P1->S1 S1->D1 P2->S2 S2->D2", {"extra_edges": "S[t+1]->D[t]"}, "back in time"),
    ],
)
def test_graphs_that_are_no_steps_are_refused(tmp_path, edges, options, message):
    pairs = [edge.split("->") for edge in edges.split()]
    (tmp_path / "g.json").write_text(json.dumps({"edges": pairs}))
    with pytest.raises(InputError, match=message):
        make_graph(file=tmp_path / "g.json", **options)


def test_five_thousand_edges_are_read_in_a_moment(tmp_path):
    pairs = [[f"v{i}", f"v{j}"] for i in range(2500) for j in (i + 1, i + 2)]
    (tmp_path / "g.json").write_text(json.dumps({"edges": pairs}, indent=1))
    assert read_graph(tmp_path / "g.json").number_of_edges() == 5000
    (tmp_path / "g.dot").write_text("digraph {" + ";\n".join(f"{a} -> {b}" for a, b in pairs) + "}")
    assert len(read_drawing(tmp_path / "g.dot").directed) == 5000


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(alphabet='abdg{}[]<->="; ,:+#/*\n', max_size=60))
def test_no_text_does_anything_but_be_read_or_refused(tmp_path_factory, text):
    for name, whole in (("g.dot", f"digraph {{{text}}}"), ("g.dot", text), ("g.gml", text), ("g.csv", text)):
        path = tmp_path_factory.getbasetemp() / name
        path.write_text(whole)
        try:
            graph = read_graph(path)
        except InputError as error:
            assert len(str(error)) < 400 + len(str(path))
        else:
            assert nx.is_directed_acyclic_graph(graph)


def random_dot(rng, depth=0):
    """Statements of DOT, every construct that the grammar has: nodes, chains, groups, defaults, both ways."""
    names = ["a", "b", "c", '"d e"', "1", '"q"', "f_1"]
    ways = ["forward", "back", "both"]
    parts = []
    for _ in range(rng.randint(1, 5)):
        kind = rng.choice(["edge", "edge", "edge", "node", "default", "group", "sub", "comment", "attribute"])
        if kind == "edge":
            ends = [rng.choice(names) for _ in range(rng.randint(2, 3))]
            if rng.random() < 0.3:
                ends[0] = "{" + " ".join(rng.sample(names, 2)) + "}"
            if rng.random() < 0.2:
                ends[-1] += ":n"
            mark = f" [dir={rng.choice(ways)} label=<x<b>y</b>>]" if rng.random() < 0.4 else ""
            parts.append(" -> ".join(ends) + mark)
        elif kind == "node":
            parts.append(f"{rng.choice(names)} [latent={rng.choice(['true', 'false'])}]")
        elif kind == "default":
            parts.append(
                rng.choice(
                    [f"edge [dir={rng.choice(ways)}]", f"node [latent={rng.choice(['true', 'false'])}]"]
                )
            )
        elif kind in ("group", "sub") and depth < 2:
            name = rng.choice(["", f"subgraph s{rng.randint(1, 3)} ", "subgraph cluster_x ", "subgraph "])
            parts.append(name + "{" + random_dot(rng, depth + 1) + "}")
        elif kind == "comment":
            parts.append("/* a -> b */ a // c\n")
        else:
            parts.append("rankdir=LR")
    return rng.choice([";", "\n", " ; "]).join(parts)


def by_graphviz(text):
    """What Graphviz' own parser makes of a text: its canonical JSON."""
    done = subprocess.run(["dot", "-Tdot_json"], input=text, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    groups = said.get("_subgraph_cnt", 0)  # which come first
    nodes = {thing["_gvid"]: thing for thing in said.get("objects", []) if thing["_gvid"] >= groups}
    edges = []
    for edge in said.get("edges", []):
        ends = nodes[edge["tail"]]["name"], nodes[edge["head"]]["name"]
        way = edge.get("dir", "forward") or "forward"
        edges.append((*(ends[::-1] if way == "back" else ends), way == "both"))
    return {thing["name"]: thing.get("latent") == "true" for thing in nodes.values()}, sorted(edges)


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_random_dot_is_read_as_graphviz_reads_it(tmp_path):
    rng = random.Random(7)
    compared = 0
    for number in range(60):
        strict = "strict " if rng.random() < 0.3 else ""
        text = f"{strict}digraph {{ {random_dot(rng)} }}"
        nodes, edges = by_graphviz(text)
        (tmp_path / f"{number}.dot").write_text(text)
        drawing = read_drawing(tmp_path / f"{number}.dot")
        found = sorted_edges(drawing)
        assert {name: name in drawing.latent for name in drawing.nodes} == nodes, text
        assert found == edges, text
        compared += len(edges)
    assert compared > 120


VARIED = [
    'digraph { a [label=<x<b>y<i>z</i></b>>]; a -> b }',
    'digraph { a [label=<<table><tr><td port="p">x</td></tr></table>>]; a:p -> b }',
    'digraph { a:p1:se -> b:p2:nw }',
    'digraph { "a":"p q":n -> "b":s }',
    'strict digraph { a->b; a->b; a->b [dir=back] }',
    'STRICT DIGRAPH { A->B }',
    'Digraph "my graph" { a -> b }',
    'digraph 12 { a -> b }',
    'digraph { {a b} -> {c d} -> {e f} [dir=both] }',
    'digraph { a -> b -> c -> d [dir=back, color=red] }',
    'digraph { a -> b -> c [label="x"; dir=both] }',
    'digraph { subgraph s { node [latent=true]; u; v } w; u -> w; v -> w }',
    'digraph { node [latent=true]; u; node [latent=false]; u -> a -> b }',
    'digraph { subgraph s { edge [dir=both]; a -> b; subgraph t { edge[dir=back]; c -> d } e -> f } g -> h }',
    'digraph { node [shape=box] edge [color=red] GRAPH [rankdir=LR] a -> b }',
    'digraph { /* a -> z \n b -> y */ a -> b /**/ -> c }',
    '# first\ndigraph {\n# second -> third\na -> b\n}',
    'digraph { a -> b // c -> d\n; c -> e }',
    'digraph { "a" + "b" + "c" -> d }',
    'digraph { "long\\\n name" -> b }',
    'digraph { "say \\"hi\\"" -> b }',
    'digraph { "back\\\\slash" -> b }',
    'digraph { "new\\nline" -> b }',
    'digraph { -.5 -> .5 -> 1. -> -3.25 }',
    'digraph { 1 -> 2; 2 -> 03 }',
    'digraph { _a1 -> b_2 }',
    'digraph { é -> ü; 日本 -> é }',
    'digraph { a; b; c; a -> c; b -> c; }',
    'digraph { a b c a->c }',
    'digraph { x=1; y="2"; a -> b }',
    'digraph { {a} -> b; {} -> c }',
    'digraph { subgraph { a } subgraph { b } a -> b }',
    'digraph { a -> b [weight=2][color=red][dir=back] }',
    'digraph { a -> b [key=1]; a -> b [key=2, dir=both] }',
    'digraph { a -> b [tailport=n headport=s] }',
    'digraph{a->b;b->c;a->c[style=dashed]}',
    'digraph { a\n->\nb }',
    'digraph { a -> b [label="-> c"] }',
    'digraph { edge [dir=both] a -> b; edge [dir=""] c -> d }',
    'digraph { a -> subgraph s { b c } -> d }',
    'digraph { a -> b -> {c d} -> e }',
    'digraph { a [latent=1]; a [latent=0]; a -> b }',
    'digraph { "" -> b }',
    '/* x */ // y\n digraph g { a -> b }',
    '\n\n\n digraph { a -> b }',
    'digraph { a -> b [arrowhead=normal arrowtail=none] }',
    'digraph { "a b" -> "a b2"; "1a" -> x }',
]  # fmt: skip


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
@pytest.mark.parametrize("text", VARIED)
def test_every_way_to_write_dot_is_read_as_graphviz_reads_it(tmp_path, text):
    drawing = drawing_of(tmp_path, text)
    found = sorted_edges(drawing)
    assert ({name: name in drawing.latent for name in drawing.nodes}, found) == by_graphviz(text)


HIDDEN_XML = """<graphml><key id="k" for="node" attr.name="latent"/><graph edgedefault="directed">
    <node id="u"><data key="k">{}</data></node><node id="a"/><edge source="u" target="a"/></graph></graphml>"""
TWO_NODES = '"nodes": [{"id": "u", "latent": %s}, {"id": "a"}], "%s": [{"source": "u", "target": "a"}]'
# name, text, arrows and pairs, latent nodes; or the word that refuses it
OTHERS = [
    ("t.txt", 'dag { bb="0,0,1,1" a [pos="0,0",exposure] b [outcome] a -> b }', "a>b", ""),
    ("t.txt", "dag { a [adjusted] b [O] a -> b [beta=.5] }", "a>b", ""),
    ("t.txt", "DAG { u [L] v [unobserved] u->a v->a }", "u>a v>a", "u v"),
    ("t.txt", "dag { a <-> b; b -> c }", "a<>b b>c", ""),
    ("t.txt", "dag { a -- b }", "no single direction", None),
    ("t.txt", "mag { a <-> b }", "equivalence class", None),
    ("t.txt", "pdag { a -- b }", "equivalence class", None),
    ("t.txt", "dag {\na 1 @0.1,0.2\n}", "line 2, column 5: expected a node", None),
    ("g.graphml", HIDDEN_XML.format("true"), "u>a", "u"),
    ("g.graphml", HIDDEN_XML.format("1").encode("utf-16"), "u>a", "u"),
    ("g.graphml", HIDDEN_XML.format(""), "u>a", ""),
    ("g.graphml", HIDDEN_XML.format("maybe"), "expected true or false", None),
    ("g.graphml", HIDDEN_XML.replace("attr.name", "name").format("1"), "attribute 'k'", None),
    ("n.json", "{" + TWO_NODES % ("true", "links") + ', "directed": true, "multigraph": true}', "u>a", "u"),
    ("n.json", "{" + TWO_NODES % ("null", "edges") + "}", "u>a", ""),
    ("n.json", "{" + TWO_NODES % ("1", "edges") + ', "directed": false}', "undirected", None),
    ("n.json", '[["a", "b"]]', "an object with the key", None),
    ("n.json", '\ufeff{"edges": [[1, 2]]}', "1>2", ""),
    ("e.csv", "type,to,from\nbidirected,b,a\n,c,b\n", "a<>b b>c", ""),
    ("e.csv", "\ufeffTarget,Source\r\nb,a\r\n", "a>b", ""),
    ("e.csv", "source,target\na,b\n".encode("utf-16"), "a>b", ""),
    ("e.csv", "source;target\na;b\n", "expected the header", None),
    ("g.gml", 'graph [ directed 1 node [ id -1 label "&quot;u" latent 1 ] ]', "", '"u'),
    ("g.gml", "graph [ directed 0 node [ id 1 ] ]", "undirected", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "arrows", "latent"), OTHERS)
def test_every_other_form_is_read_or_refused(tmp_path, name, text, arrows, latent):
    if latent is None:
        with pytest.raises(InputError, match=arrows):
            drawing_of(tmp_path, text, name)
        return
    drawing = drawing_of(tmp_path, text, name)
    told = [f"{source}{'<' if pair else ''}>{target}" for source, target, pair in sorted_edges(drawing)]
    assert (sorted(told), drawing.latent) == (arrows.split(), set(latent.split()))


def test_a_latent_name_is_kept(tmp_path):
    assert latents(drawing_of(tmp_path, "digraph { u [latent=true]; u -> {x y} }").graph()) == {"u"}


@pytest.mark.parametrize("name", ["g.gml", "g.dot"])
@pytest.mark.parametrize("depth", [100, 101])
def test_groups_lie_a_hundred_deep_and_no_deeper(tmp_path, name, depth):
    if name == "g.gml":  # the graph and its node are the first two
        text = "graph [ directed 1 node [ id 1 " + "graphics [ " * (depth - 2) + " ]" * depth
    else:
        text = "digraph " + "{" * depth + "a" + "}" * depth
    (tmp_path / name).write_text(text)
    if depth == 100:
        assert len(read_drawing(tmp_path / name).nodes) == 1
    else:
        with pytest.raises(InputError, match="nested more than 100 deep"):
            read_drawing(tmp_path / name)


def test_what_is_left_aside_is_said_and_nothing_else(tmp_path):
    (tmp_path / "g.dot").write_text(
        "digraph { a [style=filled, label=invis]; b [style=invis]; a -> b [style=dashed]; b -> c }"
    )
    found = read_drawing(tmp_path / "g.dot")
    assert found.notes == ["the node b is invisible in the drawing, but read"]
    assert found.parts() == [
        ("nodes", 3, "a, b, c"), ("latent", 0, ""), ("arrows", 2, "a -> b, b -> c"), ("pairs", 0, ""),
        ("left aside", 1, found.notes[0]),
    ]  # fmt: skip
