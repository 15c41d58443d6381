"""`csrec identify`: the answer as a whole, the two models, what would help, and the command."""

import numpy as np
import pytest
from click.testing import CliRunner

from csrec_core.causal.answer import answer
from csrec_core.causal.graph import causal_graph, sequential_graph
from csrec_core.causal.identify import identify
from csrec_core.causal.twins import Twins, smallest_core, twin_models
from csrec_core.cli import cli

BOW = causal_graph([("x", "y")], [("x", "y")])


def enumerated(core, tables, *, do=()):
    """The distribution of all nodes from the tables, added up state by state."""
    order = list(tables)
    states = [tables[node].shape[-1] for node in order]
    joint = np.zeros(states)
    for index in np.ndindex(*states):
        state = dict(zip(order, index, strict=True))
        chances = (
            tables[node][(*(state[p] for p in sorted(core.pred[node])), state[node])]
            for node in order
            if node not in do
        )
        joint[index] = np.prod(list(chances))
    return order, joint


@pytest.mark.parametrize(
    ("arrows", "confounded", "given"),
    [
        ("xy", ["xy"], ()),
        ("cx cy xy", ["xy"], "c"),
        ("cx xy", ["cy", "xc"], ()),
        ("zx xy", ["xy"], ()),
        ("xz", ["xz", "zy"], "z"),
    ],
)
def test_two_models_look_the_same_and_act_differently(arrows, confounded, given):
    graph = causal_graph([tuple(a) for a in arrows.split()], [tuple(c) for c in confounded], nodes="xy")
    found = identify(graph, y="y", do="x", given=given)
    assert not found
    twins = twin_models(found, core=smallest_core(found))
    assert isinstance(twins, Twins)
    laws, effects = [], []
    for which in (0, 1):
        tables = {node: pair[which] for node, pair in twins.tables.items()}
        assert all(np.allclose(table.sum(axis=-1), 1) for table in tables.values())
        order, joint = enumerated(twins.core, tables)
        hidden = tuple(i for i, node in enumerate(order) if node.startswith("U("))
        laws.append(joint.sum(axis=hidden))
        order, cut = enumerated(twins.core, tables, do=["x"])
        fixed = {"x", *given}
        at = cut[tuple(1 if node in fixed else slice(None) for node in order)].sum()
        both = cut[tuple(1 if node in fixed | {"y"} else slice(None) for node in order)].sum()
        effects.append(both / at)
    assert np.abs(laws[0] - laws[1]).max() < 1e-12
    assert abs(effects[0] - effects[1]) > 0.05
    assert effects == pytest.approx(twins.effects, abs=1e-9)
    assert set(twins.core.edges) <= set(graph.edges)


def test_the_core_is_what_stands_in_the_way():
    graph = sequential_graph(3, latent=[("S[t]", "D[t]")])
    found = identify(graph, y="D3", do=["S1", "S2", "S3"], given=["P1", "P2", "P3"])
    core = smallest_core(found)
    assert set(core.edges) == {("S3", "D3"), ("U(S3,D3)", "S3"), ("U(S3,D3)", "D3")}


def test_what_would_help_is_named():
    told = answer(BOW, y=["y"], do=["x"])
    assert told.changes["measure"] == (frozenset({"U(x,y)"}),)
    assert frozenset({("x", "↔y")}) in told.changes["rule out"]
    assert told.changes["randomise"] == ()
    # an experiment on the mediator gives the effect of what it is told by
    graph = causal_graph([("x", "m"), ("m", "y")], [("m", "y"), ("x", "m")])
    assert "always: randomise x" in answer(graph, y=["y"], do=["x"]).text()


@pytest.fixture
def ask(tmp_path):
    def run(text, *words, name="g.dot"):
        (tmp_path / name).write_text(text)
        return CliRunner().invoke(cli, ["identify", str(tmp_path / name), *words])

    return run


def test_the_command_says_yes(ask):
    done = ask("dag { c -> {x y} x -> y x [exposure] y [outcome] }", "--read", "--latex", "--python")
    assert done.exit_code == 0, done.output
    assert "P(y | do(x)) = Σ_c' P(c') P(y | x, c')" in done.output
    assert "rule 2: y ⊥ x | c in G with no arrows out of x" in done.output
    assert "adjust for:\n  {c}" in done.output
    assert "arrows         3" in done.output
    assert r"\sum_{c'} P(c')" in done.output
    assert "def effect(joint):" in done.output
    assert "Certificate: formula and effect differ by at most" in done.output


def test_the_command_says_no(ask):
    done = ask("digraph { z -> x; x -> y; x <-> y }", "--y", "y", "--do", "x")
    assert done.exit_code == 1
    for words in ("not identifiable", "Hedge", "two effects", "measure:\n  U(x,y)", "randomise x"):
        assert words in done.output
    assert "instrument (with linear or monotone effects):\n  z" in done.output


LOG = """user,t,item,decision,source,propensity
1,0,5,1,self,
1,1,6,0,self,
1,0,7,1,system,0.5
2,0,5,1,self,
2,0,8,0,system,0.5
"""
HIDDEN_TASTE = "taste [latent=true]; taste -> {S D}; S -> D"


def test_the_regimes_of_a_log_are_sources(ask, tmp_path):
    query = ["--y", "D", "--do", "S"]
    assert ask(f"digraph {{ {HIDDEN_TASTE} }}", *query).exit_code == 1
    (tmp_path / "log.csv").write_text(LOG)
    query += ["--log", str(tmp_path / "log.csv")]
    both = ask(f"digraph {{ {HIDDEN_TASTE} }}", *query)
    assert both.exit_code == 0, both.output
    assert "P(D | do(S)) = P[system](D | S)" in both.output
    assert "Certificate: formula and effect differ by at most" in both.output
    # where being recommended acts on the decision itself, the trial says nothing of self-chosen exposures
    assert ask(f"digraph {{ {HIDDEN_TASTE}; R -> S; R -> D }}", *query).exit_code == 1
    (tmp_path / "log.csv").write_text(LOG.replace("0.5", ""))
    assert ask(f"digraph {{ {HIDDEN_TASTE} }}", *query).exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--y", "y"], "--do is missing"),
        (["--y", "yy", "--do", "x"], "unknown node 'yy' in the set y; did you mean 'y'?"),
        (["--y", "y", "--do", "x", "--given", "x"], "overlap"),
        (["--y", "y", "--do", "u"], "latent node 'u'"),
    ],
)
def test_the_command_refuses(ask, words, message):
    done = ask("digraph { u [latent=1]; u -> {x y}; x -> y }", *words)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output) < 400


def test_two_hundred_nodes_are_answered(ask):
    rng = np.random.default_rng(0)
    arrows = {(int(rng.integers(max(0, i - 9), i)), i) for i in range(1, 200) for _ in range(2)}
    text = "digraph {" + ";".join(f"v{a} -> v{b}" for a, b in sorted(arrows)) + "}"
    done = ask(text, "--y", "v199", "--do", "v100")
    assert done.exit_code == 0, done.output
    assert len(done.output) < 20_000
