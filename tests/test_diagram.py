import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from csrec_core.causal.audit import audit, breaking_table
from csrec_core.causal.diagram import graph_frame, stack_steps, verdict_grid
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, causal_graph, sequential_graph, variant_graph
from csrec_core.causal.theorem import derive_theorem
from csrec_core.errors import InputError
from csrec_core.plots import plot_breaking, plot_graph, plot_panels, plot_verdicts

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
    figure = plot_panels(stack_steps(derivation), columns=2)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    assert [title[:2] for title in titles] == [step.name for step in derivation]
    assert ["holds" in title for title in titles] == [bool(step.check) for step in derivation]
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


def test_breaking_edges_are_counted_in_their_cells():
    table = breaking_table(audit(sequential_graph(2), 2))
    figure = plot_breaking(table)
    directed, bidirected = figure.axes
    rows = [label.get_text() for label in directed.get_yticklabels()]
    assert rows == ["$R$", *(f"${row}_{{{t}}}$" for t in (1, 2) for row in "PSD")]
    counts = table.groupby("kind")["breaks"].agg(lambda breaks: (breaks > 0).sum())
    assert len(directed.texts) == counts["directed"]
    assert len(bidirected.texts) == 2 * counts["bidirected"]


def test_a_long_name_stands_beside_its_node_and_a_hidden_cause_keeps_its_name():
    graph = causal_graph([("household_income", "x"), ("age", "x")], [("age", "x")], latent=["age"])
    nodes, _ = graph_parts(graph)
    labels = nodes.set_index("name")["label"]
    assert labels["U(age,x)"] == "U" and labels["age"] == "age"
    ax = plot_graph(graph_frame(graph))
    assert {text.get_text() for text in ax.texts if isinstance(text, Annotation)} == {"household_income"}
