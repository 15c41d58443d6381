import itertools
import random

import networkx as nx
import pytest

from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import causal_graph, extend_graph, observed
from csrec_core.causal.repair import breaking_edges, find_repairs
from csrec_core.errors import InputError


def random_graph(rng, *, most=8):
    """A random acyclic graph of measured nodes and latent causes."""
    names = [f"v{i}" for i in range(rng.randint(2, most))]
    density = rng.random()
    edges = [pair for pair in itertools.combinations(names, 2) if rng.random() < density]
    latent = [pair for pair in itertools.combinations(names, 2) if rng.random() < 0.12]
    return causal_graph(edges, latent, nodes=names)


def random_query(rng, graph):
    """Disjoint y, x, z, w, the first and the third with something in them."""
    first, second, *others = rng.sample(sorted(observed(graph)), k=len(observed(graph)))
    sets = {"y": [first], "x": [], "z": [second], "w": [], "unused": []}
    for node in others:
        sets[rng.choice(list(sets))].append(node)
    del sets["unused"]
    return sets


def separated_by_moralisation(edges, y, z, given):
    """d-separation without arrows: cut `given` out of the moral graph of the ancestors, look for a way."""
    keep = set(y) | set(z) | set(given)
    while grown := {a for a, b in edges if b in keep} - keep:
        keep |= grown
    links = {frozenset(edge) for edge in edges if set(edge) <= keep}
    for child in keep:
        parents = [a for a, b in edges if b == child]
        links |= {frozenset(pair) for pair in itertools.combinations(parents, 2)}
    reached = set(y)
    while grown := {b for link in links for b in link - set(given) if link & reached} - reached:
        reached |= grown
    return not reached & set(z)


def rule_by_hand(graph, rule, y, x, z, w):
    """The three rules on plain edge lists, written apart from the module."""
    edges = [edge for edge in graph.edges if edge[1] not in x]
    if rule == 2:
        edges = [edge for edge in edges if edge[0] not in z]
    if rule == 3:
        above = set(w)
        while grown := {a for a, b in edges if b in above} - above:
            above |= grown
        edges = [edge for edge in edges if edge[1] not in set(z) - above]
    return separated_by_moralisation(edges, y, z, set(x) | set(w))


def additions(graph):
    """Every single directed or bidirected edge that fits, with the graph that has it."""
    for a, b in itertools.combinations(sorted(observed(graph)), 2):
        yield ("bidirected", a, b), extend_graph(graph, latent=[(a, b)])
        for source, target in ((a, b), (b, a)):
            if not graph.has_edge(source, target) and not nx.has_path(graph, target, source):
                yield ("directed", source, target), extend_graph(graph, extra=[(source, target)])


def test_ten_thousand_random_rules_agree_with_moralisation_and_networkx():
    rng = random.Random(1)
    verdicts = []
    for _ in range(10_000):
        graph = random_graph(rng)
        sets, rule = random_query(rng, graph), rng.choice([1, 2, 3])
        check = check_rule(graph, rule, **sets)
        assert bool(check) == rule_by_hand(graph, rule, **sets), (list(graph.edges), rule, sets)
        cut, query = check.mutilated, (check.y, check.z, check.given)
        assert bool(check) == nx.is_d_separator(cut, *map(set, query))
        verdicts.append(bool(check))
    assert 2_000 < sum(verdicts) < 8_000  # both verdicts are well represented


def assert_path_is_real(path, check):
    assert len(set(path.nodes)) == len(path.nodes)
    assert path.nodes[0] in check.y
    assert path.nodes[-1] in check.z
    assert set(path.edges) <= set(check.mutilated.edges)
    for left, node, right in zip(path.nodes, path.nodes[1:], path.nodes[2:], strict=False):
        into = check.mutilated.has_edge(left, node) and check.mutilated.has_edge(right, node)
        assert (node in path.colliders) == into
        below = {node} | nx.descendants(check.mutilated, node)
        closes = not below & check.given if into else node in check.given
        assert closes == (node in path.blockers)


def test_witness_is_an_open_path_or_the_shortest_with_its_blockers():
    rng = random.Random(2)
    kinds = set()
    for _ in range(1_500):
        graph = random_graph(rng)
        check = check_rule(graph, rng.choice([1, 2, 3]), **random_query(rng, graph))
        if path := check.witness:
            assert_path_is_real(path, check)
            assert path.is_open != bool(check)
            kinds |= {"open with a collider"} if path.is_open and path.colliders else set()
            kinds |= {
                f"blocked at {'collider' if b in path.colliders else 'non-collider'}" for b in path.blockers
            }
        assert check or check.witness
    assert len(kinds) == 3


def test_the_first_blocked_path_is_the_shortest_between_any_two_nodes():
    rng = random.Random(6)
    compared = 0
    while compared < 200:
        graph = random_graph(rng)
        check = check_rule(graph, 1, **random_query(rng, graph))
        skeleton = check.mutilated.to_undirected()
        pairs = [(a, b) for a in check.y for b in check.z if nx.has_path(skeleton, a, b)]
        if check and pairs:
            shortest = min(nx.shortest_path_length(skeleton, a, b) for a, b in pairs)
            assert len(check.witness.nodes) == shortest + 1
            compared += 1


def test_witness_names_the_collider_opened_by_its_descendant():
    graph = causal_graph([("a", "c"), ("b", "c"), ("c", "d")])
    check = check_rule(graph, 1, y="a", z="b", w="d")
    assert not check
    assert str(check.witness) == "a → c ← b"
    assert check.witness.colliders == ("c",)
    assert check.witness.blockers == ()


def test_z_of_w_leaves_ancestors_of_w_alone():
    graph = causal_graph([("z1", "w"), ("z2", "y"), ("w", "y"), ("x", "w"), ("z3", "x")])
    check = check_rule(graph, 3, y="y", x="x", z=["z1", "z2", "z3"], w="w")
    # z3 is an ancestor of w in G, but only through x, whose arrows in are cut
    assert check.z_of_w == {"z2", "z3"}
    assert check.removed_edges == {("z3", "x")}


def test_rule_2_needs_the_underline():
    graph = causal_graph([("z", "y")])
    assert check_rule(graph, 2, y="y", z="z")
    assert check_rule(graph, 2, y="y", z="z").removed_edges == {("z", "y")}
    assert not check_rule(causal_graph([("z", "y")], [("z", "y")]), 2, y="y", z="z")


def test_nothing_to_drop_holds():
    check = check_rule(causal_graph([("z", "y")]), 1, y="y")
    assert check
    assert check.open_path == ()
    assert "graph" not in repr(check)


@pytest.mark.parametrize(
    ("rule", "sets", "message"),
    [
        (4, {"y": "y"}, "rule must be 1, 2 or 3"),
        (1, {"y": ()}, "y is empty"),
        (1, {"y": "y", "z": "Z"}, "unknown node 'Z' in the set z"),
        (1, {"y": "y", "z": "y"}, "y and z overlap"),
        (2, {"y": "y", "x": "x", "w": ["x"]}, "x and w overlap"),
        (2, {"y": "y", "z": "U(x,y)"}, "latent node"),
    ],
)
def test_bad_queries_are_refused(rule, sets, message):
    with pytest.raises(InputError, match=message):
        check_rule(causal_graph([("x", "y")], [("x", "y")]), rule, **sets)


def test_a_cycle_is_refused():
    graph = nx.DiGraph([("a", "b"), ("b", "a")])
    with pytest.raises(InputError, match="cycle"):
        check_rule(graph, 1, y="a", z="b")


def test_breaking_edges_are_all_of_them_and_no_other():
    rng = random.Random(3)
    compared = 0
    while compared < 60:
        graph = random_graph(rng, most=6)
        sets, rule = random_query(rng, graph), rng.choice([1, 2, 3])
        check = check_rule(graph, rule, **sets)
        if not check:
            assert breaking_edges(check) == []
            continue
        expected = [edge for edge, grown in additions(graph) if not rule_by_hand(grown, rule, **sets)]
        assert breaking_edges(check) == sorted(expected)
        compared += 1


def test_repairs_mend_and_are_as_small_as_can_be():
    chain = causal_graph([("z", "m"), ("m", "y"), ("c", "z"), ("c", "y")])
    repairs = find_repairs(check_rule(chain, 1, y="y", z="z"))
    assert repairs["condition on"] == (frozenset({"m", "c"}),)
    assert frozenset({"m → y", "c → y"}) in repairs["rule out"]
    assert all(len(arrows) == 2 for arrows in repairs["rule out"])


def test_a_latent_cause_is_ruled_out_as_one():
    repairs = find_repairs(check_rule(causal_graph([("z", "y")], [("z", "y")]), 2, y="y", z="z"))
    assert repairs["condition on"] == ()
    assert repairs["rule out"] == (frozenset({"y ↔ z"}),)


def test_nothing_is_repaired_that_is_not_broken():
    assert find_repairs(check_rule(causal_graph([("z", "y")]), 2, y="y", z="z")) == {}


def test_five_thousand_nodes_are_checked():
    rng = random.Random(4)
    names = [f"v{i}" for i in range(5_000)]
    edges = [(names[rng.randrange(max(0, i - 50), i)], names[i]) for i in range(1, 5_000) for _ in range(3)]
    graph = causal_graph(edges)
    for rule in (1, 2, 3):
        check = check_rule(graph, rule, y=names[-1], x=names[10:20], z=names[30:33], w=names[100:160])
        assert check.witness


def test_of_countless_paths_one_is_shown_at_once():
    # 2^40 paths lead from one end to the other
    edges = [(f"{a}{i}", f"{b}{i + 1}") for i in range(40) for a in "ab" for b in "ab"]
    check = check_rule(causal_graph(edges), 1, y="a40", z="a0", w=["a39", "b39"])
    assert check and len(check.witness.nodes) == 41
    assert check.witness.blockers[0] in ("a39", "b39")
