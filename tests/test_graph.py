import json

import networkx as nx
import pytest

from csrec_core.causal.graph import (
    VARIANTS,
    causal_graph,
    edge_changes,
    extend_graph,
    latents,
    observed,
    require_nodes,
    sequential_graph,
    variant_graph,
)
from csrec_core.causal.graph_input import make_graph, parse_edges, read_graph
from csrec_core.errors import InputError


def edges(graph):
    return set(graph.edges)


def test_figure_1_over_two_steps():
    expected = {("P1", "P2"), ("D1", "D2")}
    expected |= {(f"{row}{t}", f"D{t}") for row in "PS" for t in (1, 2)}
    observational = expected | {("P1", "S1"), ("P2", "S2")}
    assert edges(sequential_graph(2)) == observational
    assert edges(sequential_graph(2, exposure="randomised")) == expected
    assert edges(sequential_graph(2, online=True)) == observational | {("D1", "S2")}
    assert edges(sequential_graph(2, regime="exposure")) == observational | {("R", "S1"), ("R", "S2")}
    assert edges(sequential_graph(2, regime="acceptance")) >= {("R", "S1"), ("R", "D1"), ("R", "D2")}


def test_templates_unroll_wherever_both_ends_exist():
    graph = sequential_graph(4, extra=[("D[t-2]", "D[t]"), ("S1", "P3")])
    added = edges(graph) - edges(sequential_graph(4))
    assert added == {("D1", "D3"), ("D2", "D4"), ("S1", "P3")}
    assert {graph.edges[edge]["role"] for edge in added} == {"extra"}


def test_a_bidirected_edge_becomes_a_latent_node():
    graph = causal_graph([("a", "b")], [("a", "b")])
    assert edges(graph) == {("a", "b"), ("U(a,b)", "a"), ("U(a,b)", "b")}
    assert latents(graph) == {"U(a,b)"}
    assert observed(graph) == {"a", "b"}
    assert latents(sequential_graph(3, latent=[("D[t-1]", "D[t]")])) == {"U(D1,D2)", "U(D2,D3)"}


def test_extending_leaves_the_graph_as_it_was():
    graph = sequential_graph(2)
    before = edges(graph)
    extend_graph(graph, extra=[("S1", "D2")], latent=[("S1", "D1")])
    assert edges(graph) == before


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_an_acyclic_graph(name):
    for horizon in range(1, 7):
        assert nx.is_directed_acyclic_graph(variant_graph(name, horizon))


def test_there_are_twenty_variants_and_no_two_are_the_same():
    assert len(VARIANTS) >= 20
    assert len({frozenset(variant_graph(name, 4).edges) for name in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: causal_graph([("a", "b"), ("b", "a")]), "cycle: .* → .* →"),
        (lambda: causal_graph([("a", "a")]), "loop"),
        (lambda: causal_graph(["ab"]), "pair"),
        (lambda: causal_graph([("a", "b")], [("a", "a")]), "two different"),
        (lambda: causal_graph([("a", "b")], latent=["c"]), "unknown latent node 'c'"),
        (lambda: sequential_graph(0), "horizon"),
        (lambda: sequential_graph(3, exposure="randomized"), "did you mean 'randomised'"),
        (lambda: sequential_graph(3, regime="exposures"), "did you mean 'exposure'"),
        (lambda: sequential_graph(3, extra=[("D3", "P1")]), "cycle"),
        (lambda: sequential_graph(3, extra=[("S9", "D3")]), "unknown node 'S9'"),
        (lambda: sequential_graph(3, extra=[("S[t]", "D3")]), "mixes a template"),
        (lambda: sequential_graph(3, latent=[("S1", "X1")]), "unknown node 'X1'"),
        (lambda: variant_graph("carry-over", 3), "unknown variant"),
    ],
)
def test_bad_graphs_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


SIMPLE = json.dumps({"edges": [["u", "x"], ["u", "y"], ["x", "y"]], "latent": ["u"]})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.gml", """graph [ directed 1
  node [ id 0 label "u" latent 1 ] node [ id 1 label "x" ] node [ id 2 label "y" ]
  edge [ source 0 target 1 ] edge [ source 0 target 2 ] edge [ source 1 target 2 ] ]"""),
        ("g.dot", 'digraph { u [latent=true]; u -> x; u -> "y"; x -> "y"; }'),
        ("g.dot", "dag { u [latent] u -> {x y} x -> y }"),
        ("g.json", SIMPLE),
        ("g.json", json.dumps({
            "nodes": [{"id": "u", "latent": True}, {"id": "x"}, {"id": "y"}],
            "edges": [{"source": a, "target": b} for a, b in ("ux", "uy", "xy")],
        })),
    ],
)  # fmt: skip
def test_every_file_format_gives_the_same_graph(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    graph = read_graph(tmp_path / name)
    assert edges(graph) == {("u", "x"), ("u", "y"), ("x", "y")}
    assert latents(graph) == {"u"}


def test_edges_are_read_from_text():
    assert parse_edges("") == []
    assert parse_edges("S1->P2, S[t-1] --> D[t],") == [("S1", "P2"), ("S[t-1]", "D[t]")]
    assert parse_edges("a → b, my-name->c") == [("a", "b"), ("my-name", "c")]
    assert parse_edges("S[t]<->D[t], a ↔ b", pairs=True) == [("S[t]", "D[t]"), ("a", "b")]
    for text in ("S1", "S1->", "a->b->c", "S1-D1", "S1<-D1"):
        with pytest.raises(InputError, match="cannot read the edge"):
            parse_edges(text)


def test_a_graph_from_text_parameters(tmp_path):
    graph = make_graph(3, online=True, extra_edges="S[t-1]->D[t]", latent_edges="S1<->D1")
    same = sequential_graph(3, online=True, extra=[("S[t-1]", "D[t]")], latent=[("S1", "D1")])
    assert edges(graph) == edges(same)
    assert edges(make_graph(2, regime="acceptance")) == edges(sequential_graph(2, regime="acceptance"))
    own = {"edges": [*same.edges, ("u", "S1")], "latent": list(latents(same))}
    (tmp_path / "g.json").write_text(json.dumps(own), encoding="utf-8")
    graph = make_graph(file=tmp_path / "g.json", latent_edges="u<->P1")
    assert latents(graph) == {"U(S1,D1)", "U(u,P1)"}
    assert graph.edges["u", "S1"]["role"] == graph.edges["S1", "D2"]["role"] == "extra"
    assert graph.edges["S1", "D1"]["role"] == "given"


def test_what_a_graph_changes_is_named():
    figure_1 = sequential_graph(2)
    graph = sequential_graph(2, exposure="randomised", extra=[("S1", "P2")], latent=[("D2", "D1")])
    assert edge_changes(graph, figure_1) == (["D1 ↔ D2", "S1 → P2"], ["P1 → S1", "P2 → S2"])
    assert edge_changes(figure_1, figure_1) == ([], [])


def test_the_nodes_are_listed_where_one_is_unknown():
    graph = causal_graph([("a1", "b2")], nodes=["c3"])
    with pytest.raises(InputError, match=r"unknown node 'somewhere else' in the query: .* a1, b2, c3$"):
        require_nodes(graph, ["somewhere else"])
