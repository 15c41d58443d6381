import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from csrec_core.causal.diagram import _bend, _beside, _distance, graph_frame, stack_steps, verdict_grid
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, causal_graph, sequential_graph, variant_graph
from csrec_core.causal.theorem import derive_theorem
from csrec_core.errors import InputError
from csrec_core.plots.graphs import plot_graph, plot_panels
from csrec_core.plots.verdicts import plot_verdicts

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def graph_parts(graph, **check):
    """The nodes of a graph as they are drawn, and the arrows."""
    frame = graph_frame(graph, **check)
    return [frame[frame["part"] == part].dropna(axis=1, how="all") for part in ("node", "arrow")]


@pytest.mark.parametrize("name", VARIANTS)
def test_time_runs_left_to_right_and_nodes_keep_apart(name):
    nodes, _ = graph_parts(sequential_graph(4, regime="exposure", **VARIANTS[name]))
    place = nodes.set_index("name")[["x", "y"]]
    for row in "PSD":
        line = place.loc[[f"{row}{t}" for t in range(1, 5)]]
        assert line["x"].is_monotonic_increasing
        assert np.ptp(line["y"]) == 0
    for a, b in itertools.combinations(place.to_numpy(), 2):
        assert np.hypot(*(a - b)) > 0.5


def test_frames_carry_what_the_check_did():
    graph = variant_graph("latent D[t-1] ↔ D[t]", 3)
    check = derive_theorem(graph, 3)["A2"].check
    nodes, edges = graph_parts(graph, check=check)
    assert set(nodes["name"]) == set(graph)
    roles = {"S1": "do", "S2": "do", "P3": "given", "D2": "given", "D3": "y", "S3": "z"}
    assert dict(zip(nodes["name"], nodes["role"], strict=True)) == {**dict.fromkeys(graph, ""), **roles}
    cut = edges[edges["cut"]]
    assert set(zip(cut["source"], cut["target"], strict=True)) == {("P1", "S1"), ("P2", "S2"), ("S3", "D3")}
    assert set(edges["path"]) == {"", "blocked"}
    broken = graph_parts(graph, check=derive_theorem(graph, 3)["A3"].check)
    path = broken[1][broken[1]["path"] == "open"]
    assert set(zip(path["source"], path["target"], strict=True)) == {
        ("U(D2,D3)", "D3"), ("U(D2,D3)", "D2"), ("S2", "D2"),
    }  # fmt: skip
    assert broken[0].set_index("name").loc["D2", "mark"] == "collider"


def test_a_collider_that_blocks_is_called_so():
    graph = causal_graph([("a", "c"), ("b", "c")])
    nodes, _ = graph_parts(graph, check=check_rule(graph, 1, y="a", z="b"))
    assert nodes.set_index("name").loc["c", "mark"] == "collider, blocks"


def test_arrows_bend_around_nodes_only():
    _, edges = graph_parts(sequential_graph(3, extra=[("D[t-2]", "D[t]"), ("P[t-1]", "D[t]")]))
    bend = edges.set_index(["source", "target"])["bend"]
    assert bend["D1", "D3"] > 0
    assert bend["D1", "D2"] == 0
    assert bend["P1", "D1"] == 0


def test_every_node_and_arrow_is_drawn():
    graph = sequential_graph(3, online=True, latent=[("S[t]", "D[t]")], regime="exposure")
    nodes, edges = graph_parts(graph)
    ax = plot_graph(graph_frame(graph))
    assert len(ax.patches) == len(edges)
    assert sorted(text.get_text() for text in ax.texts) == sorted(nodes["label"])


def test_graphs_of_any_names_are_drawn():
    graph = causal_graph([("smoking", "tar"), ("tar", "cancer")], [("smoking", "cancer")])
    nodes, _ = graph_parts(graph)
    assert nodes.set_index("name").loc["cancer", "x"] > nodes.set_index("name").loc["smoking", "x"]
    assert len(plot_graph(graph_frame(graph)).patches) == 4


def test_panels_are_titled_and_share_a_legend():
    derivation = derive_theorem(sequential_graph(3), 3)
    figure = plot_panels(stack_steps(derivation.values()), columns=2)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    assert [title[:2] for title in titles] == list(derivation)
    assert ["holds" in title for title in titles] == [bool(step.check) for step in derivation.values()]
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"cut by the rule", "open path", "shortest path, blocked"} <= labels


def test_verdict_grid_and_its_heat_map():
    table = pd.DataFrame(
        [("a", 2, "A1", True), ("a", 3, "A1", False), ("b", 2, "A1", False), ("b", 3, "A1", False)],
        columns=["variant", "t", "step", "holds"],
    )
    table = pd.concat([table, table.assign(step="A2", holds=True)])
    grid = verdict_grid(table).set_index(["variant", "step"])
    assert grid.loc[("a", "A1")].tolist() == [3, False]
    assert grid.loc[("b", "A1")].tolist() == [2, True]
    assert np.isnan(grid.loc[("a", "A2"), "fails_from"])
    ax = plot_verdicts(grid.reset_index(), groups={"theorem": ["A1", "A2"]})
    assert [text.get_text() for text in ax.texts] == ["t≥3", "✕", "theorem"]
    with pytest.raises(InputError, match="A9"):
        plot_verdicts(grid.reset_index(), groups={"theorem": ["A9"]})


def test_a_long_name_stands_beside_its_node_and_a_hidden_cause_keeps_its_name():
    graph = causal_graph([("household_income", "x"), ("age", "x")], [("age", "x")], latent=["age"])
    nodes, _ = graph_parts(graph)
    labels = nodes.set_index("name")["label"]
    assert labels["U(age,x)"] == "U" and labels["age"] == "age"
    ax = plot_graph(graph_frame(graph))
    assert {text.get_text() for text in ax.texts if isinstance(text, Annotation)} == {"household_income"}


def places(graph):
    nodes, _ = graph_parts(graph)
    return {
        name: (round(x, 4), round(y, 4)) for name, x, y in nodes[["name", "x", "y"]].itertuples(index=False)
    }


def test_places_worked_out_by_hand():
    steps = places(sequential_graph(2, regime="exposure"))
    assert steps == {
        "P1": (2.6, 2.5), "S1": (1.7, 1.25), "D1": (2.6, 0.0), "P2": (5.2, 2.5), "S2": (4.3, 1.25), "D2": (5.2, 0.0),
        "R": (3.6, 3.6),  # above the middle of all steps
    }  # fmt: skip
    # Without steps: a column a generation, nodes of one generation around the middle.
    assert places(causal_graph([("a", "d"), ("b", "d"), ("c", "d"), ("d", "e")])) == {
        "a": (0.0, -1.3), "b": (0.0, 0.0), "c": (0.0, 1.3), "d": (1.8, 0.0), "e": (3.6, 0.0),
    }  # fmt: skip
    assert places(causal_graph([("a", "c"), ("b", "c")])) == {
        "a": (0.0, -0.65),
        "b": (0.0, 0.65),
        "c": (1.8, 0.0),
    }
    # Beside steps, other nodes stand in a row above; a hidden cause beside the middle of what it acts on.
    more = places(causal_graph([("P1", "D1"), ("S1", "D1"), ("age", "P1")]))
    assert more["age"] == (0.0, 3.6)
    assert places(causal_graph([("a", "b")], [("a", "b")]))["U(a,b)"] == (2.7, 1.0)


@pytest.mark.parametrize(
    "ends,taken,lines,place",
    [
        ([], [], [], (0.0, 0.75)),
        ([(2, 3)], [], [], (2.0, 3.75)),
        ([(0, 0), (3, 4)], [], [], (0.9, 2.45)),  # 0.75 to the left of the way from the one to the other
        ([(0, 0), (2, 0)], [(1, 0.75)], [], (1.0, -0.75)),
        ([(0, 0), (2, 0)], [(0, 0), (2, 0)], [((0, 0), (2, 0))], (1.0, 1.0)),
        ([(0, 0), (2, 0)], [(1, 1)], [((0, 0), (2, 0))], (1.0, -1.0)),
        # Beyond 0.8 from every node it is the arrows that decide.
        ([(0, 0), (2, 0)], [(0, 0), (2, 0)], [((0, y), (2, y)) for y in (1.2, -1.2)], (1.0, 0.75)),
    ],
)
def test_a_hidden_cause_finds_room(ends, taken, lines, place):
    assert _beside(ends, taken, lines) == pytest.approx(place)


@pytest.mark.parametrize(
    "place,far",
    [((1, 1), 1.0), ((0.5, -2), 2.0), ((3, 0), 1.0), ((-3, 4), 5.0), ((5, 4), 5.0), ((0, 0), 0.0)],
)
def test_how_far_a_place_is_from_a_line(place, far):
    assert _distance(place, (0, 0), (2, 0)) == pytest.approx(far)


def test_kinds_labels_and_bends_by_hand():
    arrows = [("R", "S1"), ("S1", "D1"), ("x", "y_2"), ("P1", "P2"), ("P2", "P3"), ("P1", "P3")]
    nodes, drawn = graph_parts(causal_graph(arrows, [("x", "S1")]))
    kinds = dict(zip(nodes["name"], nodes["kind"], strict=True))
    assert kinds == {
        "R": "R", "S1": "S", "D1": "D", "x": "other", "y_2": "other", "P1": "P", "P2": "P", "P3": "P",
        "U(x,S1)": "latent",
    }  # fmt: skip
    labels = dict(zip(nodes["name"], nodes["label"], strict=True))
    assert graph_frame(causal_graph(arrows)).index.is_unique
    assert (labels["S1"], labels["y_2"], labels["U(x,S1)"]) == ("$S_{1}$", "y_2", "U")
    bend = drawn.set_index(["source", "target"])["bend"]
    assert (bend["P1", "P3"], bend["P1", "P2"]) == (-0.28, 0.0)
    below = graph_parts(causal_graph([("D1", "D2"), ("D2", "D3"), ("D1", "D3")]))[1]
    long = (below["x1"] - below["x0"] > 3).to_list()
    assert below["bend"].tolist() == [0.28 if one else 0.0 for one in long]
    assert sum(long) == 1


@pytest.mark.parametrize(("start", "end", "bend"), [(0.0, 0.0, 0.28), (0.5, 0.0, -0.28), (0.0, 0.5, -0.28)])
def test_only_an_arrow_along_the_lowest_row_bends_below(start, end, bend):
    assert _bend("a", "c", {"a": (0.0, start), "b": (1.0, (start + end) / 2), "c": (2.0, end)}) == bend
