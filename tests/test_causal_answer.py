"""All that is said of one effect on a graph: whole texts read against the textbooks, twins added up again."""

import itertools
import re
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from csrec_core.causal.answer import _titled_list, answer
from csrec_core.causal.certificate import Certificate, certify_formula
from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.expression import Conditional, product
from csrec_core.causal.graph import causal_graph, extend_graph, sequential_graph
from csrec_core.causal.identify import identify
from csrec_core.causal.repair import breaking_edges, identifying_changes
from csrec_core.causal.search import Source
from csrec_core.causal.simplify import simplify
from csrec_core.causal.twins import smallest_core


def pairs(text):
    return [tuple(pair) for pair in text.split()]


def asked(arrows, confounded="", *, do="x", y="y", certificate=False, **more):
    graph = causal_graph(pairs(arrows), pairs(confounded))
    return answer(graph, y=[y], do=list(do), certificate=certificate, **more)


BACK_DOOR = """\
P(y | do(x)): identifiable

Compare y between the values of x among cases with the same c, then average over how often each value of c \
occurs. No experiment is needed, if the graph is right.

P(y | do(x)) = Σ_c' P(c') P(y | x, c')

Derivation
1. total probability:
   Σ_{c} P(y | do(x), c) P(c | do(x))
2. drop the action:
   Σ_{c} P(y | do(x), c) P(c)
     rule 3: c ⊥ x in G with no arrows into x
       every path is blocked, the shortest at y (an unconditioned collider): c → y ← x
3. see in the place of setting:
   Σ_{c} P(y | c, x) P(c)
     rule 2: y ⊥ x | c in G with no arrows out of x
       every path is blocked, the shortest at c (conditioned on): y ← c → x
4. the same, simplified by the independences of the graph:
   Σ_c' P(c') P(y | x, c')

adjust for:
  {c}"""

FRONT_DOOR = """\
P(y | do(x)): identifiable

No set of measured nodes can be adjusted for, yet the formula gives the effect of x on y from data without an \
experiment, if the graph is right.

P(y | do(x)) = Σ_m' P(m' | x) Σ_x' P(x') P(y | m', x')

Derivation
1. factorise, and take apart what shares no unmeasured cause:
   Σ_{m} P(m | do(x, y)) P(y | do(m, x))
     rule 3: m ⊥ y | x in G with no arrows into x, y
       no path at all
     rule 2: y ⊥ m | x in G with no arrows into x or out of m
       no path at all
2. read from the data:
   P(m | do(x, y)) = P(m | x)
     rule 2: m ⊥ x in G with no arrows out of x
       every path is blocked, the shortest at y (an unconditioned collider): m → y ← U(x,y) → x
     rule 3: m ⊥ y | x in G with no arrows into x, y
       no path at all
3. read from the data:
   P(x, y | do(m)) = P(x) P(y | m, x)
     rule 3: x ⊥ m in G with no arrows into m
       every path is blocked, the shortest at y (an unconditioned collider): x ← U(x,y) → y ← m
     rule 2: y ⊥ m | x in G with no arrows out of m
       every path is blocked, the shortest at x (conditioned on): y ← U(x,y) → x → m
4. sum out x:
   P(y | do(m, x)) = Σ_x' P(x') P(y | m, x')
     rule 3: y ⊥ x | m in G with no arrows into m, x
       no path at all
5. the same, simplified by the independences of the graph:
   Σ_m' P(m' | x) Σ_x' P(x') P(y | m', x')

front door:
  {m}"""


@pytest.mark.parametrize(
    "graph,text", [(("cx cy xy",), BACK_DOOR), (("xm my", "xy"), FRONT_DOOR)], ids=["back door", "front door"]
)
def test_the_whole_answer_of_two_textbook_graphs(graph, text):
    assert asked(*graph).text() == text


def test_a_certificate_is_said_in_the_answer():
    text = asked("cx cy xy", certificate=True).text()
    assert re.search(
        r"\n\nCertificate: formula and effect differ by at most \de-1\d in 5 random models of the graph, all "
        r"probabilities exact\.\n\nadjust for:\n  \{c\}$",
        text,
    )
    bare = replace(asked("cx cy xy"), certificate=Certificate((), "not computed, because it is Sunday"))
    assert "\n\nCertificate: not computed, because it is Sunday\n\n" in bare.text()


MEANINGS = {
    "Compare y between the values of x as they are: nothing else moves both.": ("xy",),
    "By this graph x is no cause of y: setting it changes nothing.": ("yx",),
    "No amount of data on the measured nodes tells what setting x does to y: ": ("xy", "xy"),
}


@pytest.mark.parametrize("words", MEANINGS)
def test_what_follows_for_who_has_data(words):
    assert asked(*MEANINGS[words]).meaning().startswith(words)


def test_two_actions_of_which_one_is_a_cause_are_a_cause():
    assert "no cause" not in asked("ay bc", do="ab").meaning()
    assert "a, b is no cause of y" in asked("ca cb", do="ab", y="c").meaning().replace("of c", "of y")


INSTRUMENT = """\
Hedge: what acts on {y} cannot be told apart from the unmeasured causes shared within {x, y}.

Two models, one law of what is measured (to _), two effects at x=1: _ and _. Nodes not named have no say.
_

identifiable, if you measure:
  U(x,y)

identifiable, if you rule out:
  x ↔ y

always: randomise x

instrument (with linear or monotone effects):
  z"""


def test_the_answer_where_an_instrument_is_all_there_is():
    told = asked("zx xy", "xy")
    text = re.sub(r"P\(.+\d(?=\n\n)", "_", told.text().partition("\n\nHedge")[2], flags=re.DOTALL)
    assert re.sub(r"\d(\.\d+|e-\d+)", "_", "Hedge" + text) == INSTRUMENT
    assert told.twins.difference == abs(told.twins.effects[0] - told.twins.effects[1]) > 0.1


def test_an_instrument_may_take_a_condition_and_a_trial_of_another_node_may_do():
    assert "\n  z given {w}" in asked("wz wy zx xy", "xy").text()
    text = asked("xm my", "xm my xy").text()
    assert "\n\nidentifiable, if you randomise:" not in text
    text = asked("xm my", "xm xy").text()  # of m, its own cause set, the rest is the front door's
    assert "identifiable, if you rule out:\n  m ↔ x\n" in text


@pytest.mark.parametrize(("common", "found"), [("v", ["z"]), ("vw", ["z"]), ("uvw", [])])
def test_an_instrument_is_told_with_two_conditions_at_most(common, found):
    arrows = [f"{one}{end}" for one in common for end in "zy"]
    told = asked(" ".join(["zx", "xy", *arrows]), "xy").instruments
    assert [node for node, given in told if len(given) == len(common)] == found


def test_sources_are_said_and_need_no_set_to_adjust_for():
    trial = Source("trial", frozenset("x"))
    text = asked("zx xy", "xy", sources=[Source(), trial]).text()
    assert "\n\nData: the data (as it came about); trial (x drawn at random)\n\n" in text
    assert "The sources together give the effect" in text
    assert "P(y | do(x)) = P[trial](y | x)" in text
    assert "read from trial:\n   P(y | do(x, z)) = P[trial](y | x)\n" in text
    two = asked("cx cy xy", sources=[Source(), Source("trial", frozenset("c"))]).text()
    assert "adjust for" not in two
    assert asked("xy", "xy", sources=[Source(), Source("other", frozenset("y"))]).twins is None


def test_a_list_has_twelve_entries_and_says_how_many_more():
    def listed(roots):
        arrows = [(f"a{i:02}", "x") for i in range(roots)] + [("x", "y")]
        return answer(causal_graph(arrows), y=["y"], do=["x"], certificate=False).text()

    # Of n roots n (n - 1) / 2 pairs are independent, and each of y given x.
    assert "more" not in listed(4)  # 6 + 4
    five = listed(5)  # 10 + 5
    assert five.endswith("\n  … and 3 more")
    assert five.count(" ⊥ ") - five.partition("testable")[0].count(" ⊥ ") == 12


@pytest.mark.parametrize(
    ("entries", "last"), [(1, "  0"), (12, "  11"), (13, "  … and 1 more"), (20, "  … and 8 more")]
)
def test_a_list_ends_with_what_it_leaves_out(entries, last):
    lines = _titled_list("title", list(map(str, range(entries)))).splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("title:", "  0", last)
    assert _titled_list("title", []) == ""


def test_a_large_graph_is_spared_what_takes_every_pair():
    def chain(nodes):
        arrows = [(f"v{i}", f"v{i + 1}") for i in range(nodes - 1)]
        return answer(causal_graph(arrows), y=["v2"], do=["v1"], certificate=False)

    small, large = chain(60), chain(61)
    assert small.instruments == [("v0", frozenset())]
    assert small.front_doors == []
    assert len(small.implications) == 100
    assert (large.instruments, large.front_doors, large.implications) == ([], [], [])


def effect_and_law(tables, parents, order, query):
    """P(y = 1 | do(x = 1)), and the law of what is measured, every assignment added up."""
    law, effect, setting = {}, 0.0, 0.0
    for values in itertools.product(*(range(tables[node].shape[-1]) for node in order)):
        state = dict(zip(order, values, strict=True))
        chance = {n: tables[n][(*(state[p] for p in parents[n]), state[n])] for n in order}
        seen = tuple(state[n] for n in order if not n.startswith("U("))
        law[seen] = law.get(seen, 0.0) + np.prod(list(chance.values()))
        if all(state[n] == 1 for n in query["do"]):
            weight = np.prod([p for n, p in chance.items() if n not in query["do"]])
            setting += weight
            effect += weight * all(state[n] == 1 for n in query["y"])
    return effect / setting, np.array(list(law.values()))


@pytest.mark.parametrize(
    "arrows,confounded", [("xy", "xy"), ("zx xy", "xy"), ("xm my", "xm"), ("cx xy", "cy xc")]
)
def test_twins_added_up_by_hand(arrows, confounded):
    twins = asked(arrows, confounded).twins
    order = list(twins.tables)
    parents = {node: sorted(twins.core.pred[node], key=order.index) for node in order}
    laws = []
    for side in (0, 1):
        tables = {node: pair[side] for node, pair in twins.tables.items()}
        for table in tables.values():
            np.testing.assert_allclose(table.sum(axis=-1), 1, atol=1e-12)
            assert 0.01 - 1e-9 <= table.min() <= table.max() <= 0.99 + 1e-9
        effect, law = effect_and_law(tables, parents, order, {"y": "y", "do": "x"})
        assert effect == pytest.approx(twins.effects[side], abs=1e-12)
        laws.append(law)
    assert np.abs(laws[0] - laws[1]).max() == pytest.approx(twins.law_gap, abs=1e-15)
    assert twins.law_gap < 1e-12
    assert twins.effects[0] < twins.effects[1]
    # The one table that differs is moved until a probability is at its end.
    moved = [pair for pair in twins.tables.values() if not np.array_equal(*pair)]
    assert len(moved) == 1
    for table in moved[0]:
        assert min(abs(table.min() - 0.01), abs(table.max() - 0.99)) < 1e-9
    at_half = twins.text().splitlines()
    assert sum("  vs  " in line for line in at_half) == sum(
        f"{a:.4f}" != f"{b:.4f}"
        for a, b in zip(
            *(side[..., 1:].reshape(-1, side.shape[-1] - 1).sum(axis=1) for side in moved[0]), strict=True
        )
    )


def test_the_core_is_as_small_as_can_be():
    rng = np.random.default_rng(2)
    cores = 0
    for _ in range(25):
        names = [f"v{i}" for i in range(5)]
        every = list(itertools.combinations(names, 2))
        edges = [pair for pair in every if rng.random() < 0.6]
        latent = [every[i] for i in rng.permutation(len(every))[:3]]
        found = identify(causal_graph(edges, latent, nodes=names), y="v4", do="v1")
        if found:
            continue
        core = smallest_core(found)
        cores += 1
        assert set(core.edges) <= set(found.graph.edges)
        assert not found.on(core)
        assert {node for node in core if not core.degree(node)} <= {"v1", "v4"}
        for edge in list(core.edges):
            fewer = core.copy()
            fewer.remove_edge(*edge)
            assert found.on(fewer), (edges, latent, edge)
    assert cores > 5


def changes(arrows, confounded, **query):
    found = identify(causal_graph(pairs(arrows), pairs(confounded)), y="y", do="x", **query)
    return identifying_changes(found, smallest_core(found))


def test_what_makes_an_effect_identifiable():
    one = changes("xy", "xy")
    assert one == {
        "measure": (frozenset(["U(x,y)"]),),
        "rule out": (frozenset(["x ↔ y"]),),  # not x → y, the effect itself
        "randomise": (),
    }
    # x ↔ m and m ↔ y: one of the two is enough; the arrow m → y is a way of the effect; z has no say.
    two = changes("xm my zx", "xm")
    assert two["measure"] == (frozenset(["U(x,m)"]),)
    assert two["rule out"] == (frozenset(["m ↔ x"]),)
    # Either hidden cause of c closes the way x ← c → y once c can be adjusted for; the arrow c → x does, too.
    three = changes("cx xy", "cy xc")
    assert set(three["measure"]) == {frozenset(["U(c,y)"]), frozenset(["U(x,c)"])}
    assert frozenset(["c ↔ y"]) in three["rule out"]
    assert frozenset(["c ↔ x"]) in three["rule out"]
    # A trial of w takes it out of the two confounded pairs (Bareinboim and Pearl 2012, figure 1).
    four = changes("wx xy", "wx wy xy")
    assert four["randomise"] == ()


def test_an_added_edge_breaks_a_step_only_where_it_is_told():
    graph = extend_graph(sequential_graph(2), extra=[("S1", "S2")])
    check = check_rule(graph, 2, y="D2", z="S2", w=["P2", "D1", "S1"])
    told = set(breaking_edges(check))
    measured = sorted(node for node in graph if not graph.nodes[node]["latent"])
    for a, b in itertools.permutations(measured, 2):
        grown = graph.copy()
        for kind, cause in (("directed", a), ("bidirected", "U")):
            grown = graph.copy()
            grown.add_edges_from([(a, b)] if kind == "directed" else [(cause, a), (cause, b)])
            if kind == "directed" and (
                graph.has_edge(a, b) or not nx.is_directed_acyclic_graph(grown) or a[1:] > b[1:]
            ):
                continue
            key = (kind, *sorted((a, b))) if kind == "bidirected" else (kind, a, b)
            assert (not check.on(grown)) == (key in told), key


FORMULAS = [
    # The napkin (Pearl and Mackenzie 2018).
    ("wr rx xy", "wx wy", "x", "",
     "[Σ_w' P(w') P(x | r, w') P(y | r, x, w')] / [Σ_{w', y'} P(w') P(x | r, w') P(y' | r, x, w')]",
     "[Σ_w' P(w') P(x, y | r, w')] / [Σ_w' P(w') P(x | r, w')]"),
    ("xa ab by", "xb ay", "x", "", "Σ_{a', b'} P(a' | x) P(y | x, a', b') Σ_x' P(x') P(b' | a', x')", None),
    ("xa ab bc cy", "xb ac ay", "x", "",
     "Σ_{a', b', c'} P(a' | x) P(c' | x, a', b') P(y | x, a', b', c') Σ_x' P(x') P(b' | a', x')",
     "Σ_{a', b'} P(a' | x) P(y | x, a', b') Σ_x' P(x') P(b' | a', x')"),
    ("xm my", "xy", "x", "m", "Σ_x' P(x') P(y | m, x')", None),
    ("cx cy xy", "", "x", "c", "P(y | c, x)", None),
    # Of formulas of one length that of the algorithm comes first: adjustment would sum over P(a, b).
    ("ay bx by xy", "ax", "x", "", "Σ_b' P(b') Σ_a' P(a') P(y | x, a', b')", None),
    # What sums to one is left out at once: P(x | a), and P(y | a, x) below.
    ("ay xy", "ax", "x", "", "Σ_a' P(a') P(y | x, a')", None),
    ("xy", "ay", "x", "a", "P(y | a, x)", None),
    ("xy yz", "xz", "x", "z",
     "[P(y | x) Σ_x' P(x') P(z | y, x')] / [Σ_y' P(y' | x) Σ_x' P(x') P(z | x', y')]", None),
]  # fmt: skip


@pytest.mark.parametrize(("arrows", "confounded", "do", "given", "found", "shorter"), FORMULAS)
def test_formulas_as_they_are_found_and_made_shorter(arrows, confounded, do, given, found, shorter):
    effect = identify(causal_graph(pairs(arrows), pairs(confounded)), y="y", do=do, given=list(given))
    assert effect.found.text() == found
    assert effect.formula.text() == (shorter or found)
    assert certify_formula(effect, models=2).agrees


def test_conditionals_are_joined_only_where_that_is_shorter():
    """P(a, b) names as many nodes as P(a) P(b), and fewer than P(a | b) P(b)."""
    a, b = Conditional(frozenset("a")), Conditional(frozenset("b"))
    for first, joined in ((a, False), (Conditional(frozenset("a"), given=frozenset("b")), True)):
        term = product([first, b])
        expected = Conditional(frozenset("ab")) if joined else term
        assert simplify(term, lambda *_, apart=not joined: apart) == expected
