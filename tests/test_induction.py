import random

import pytest

from csrec_core.causal.docalculus import check_rule
from csrec_core.causal.graph import VARIANTS, causal_graph, sequential_graph, variant_graph
from csrec_core.causal.graph_input import make_graph, repeating
from csrec_core.causal.induction import FURTHEST, Proof, _Slices, prove_steps
from csrec_core.causal.theorem import derive_theorem

FAR = FURTHEST + 9  # beyond what the induction looked at


def assert_holds_far_out(make, times):
    """Compare what is claimed of every t with single checks at times that the induction never saw."""
    proofs = prove_steps(make)
    graph = make(max(times))
    for t in times:
        for name, step in derive_theorem(graph, t).items():
            if name == "H0":  # which speaks of t = 1
                continue
            proof = proofs[name]
            assert proof.always is not None, name
            expected = proof.always if t >= proof.from_t else t not in proof.fails_at
            assert bool(step.check) == expected, (t, name, proof)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_proved_for_every_t(name):
    assert_holds_far_out(lambda t: variant_graph(name, t), (2, 3, 4, FAR))


def test_random_departures_are_proved_for_every_t():
    rng = random.Random(5)
    rows, compared = "PSD", 0
    while compared < 12:
        pairs = [
            (f"{rng.choice(rows)}[t-{rng.randint(1, 3)}]", f"{rng.choice(rows)}[t]")
            for _ in range(rng.randint(1, 3))
        ]
        latent = [pair for pair in pairs if rng.random() < 0.3 and pair[0] != pair[1]]
        extra = [pair for pair in pairs if pair not in latent]
        options = {
            "exposure": rng.choice(["observational", "randomised"]),
            "regime": rng.choice(["none", "exposure", "acceptance"]),
        }
        if rng.random() < 0.4:  # an arrow at one time only
            extra.append(("S1", "P3"))
        assert_holds_far_out(
            lambda t, o=options, e=extra, u=latent: sequential_graph(max(t, 4), **o, extra=e, latent=u),
            (2, 3, 5, 8, FAR),
        )
        compared += 1


def test_over_which_arrows_a_walk_leaves_the_first_slices():
    chain = causal_graph([("P1", "P2"), ("P2", "P3"), ("P3", "P4")])
    over = ("P[0]", "P[1]")  # the arrow from the slice of the cut to the next
    for given, ways in (((), {over, ("z", "z")}), (("P2",), set()), (("P1",), {over})):
        z = {"P1"} - set(given)
        slices = _Slices(check_rule(chain, 1, y="P4", z=z, w=given), last=4)
        # Coming in over P2 -> P3 it goes back over it, or up to P1; not where P2, or P1, is conditioned.
        assert slices.relation(2) == {(over, way) for way in ways}


def test_what_repeats_is_recognised():
    own = make_graph(3, online=True, extra_edges="S[t-1]->D[t]", latent_edges="D[t-1]<->D[t]")
    assert set(repeating(own)(5).edges) == set(
        make_graph(5, online=True, extra_edges="S[t-1]->D[t]", latent_edges="D[t-1]<->D[t]").edges
    )
    assert set(repeating(make_graph(3, regime="acceptance"))(4).edges) == set(
        make_graph(4, regime="acceptance").edges
    )
    assert repeating(make_graph(4, extra_edges="S3->D4")) is None
    assert repeating(make_graph(4, latent_edges="S3<->D4")) is None


@pytest.mark.parametrize(
    "fails_at,from_t,always,holds,words",
    [
        ((), 3, True, True, "holds at every t"),
        ((), 0, None, None, "not proved beyond the single t"),
        ((2, 4), 0, None, False, "not proved beyond the single t"),
        ((2,), 3, True, False, "fails at t = 2 only"),
        ((2, 3), 4, True, False, "fails at t = 2, 3 only"),
        ((), 3, False, False, "fails at every t from 3 on"),
        ((2, 3), 4, False, False, "fails at every t from 2 on"),
        ((2,), 4, False, False, "fails at t = 2 and at every t from 4 on"),
    ],
)
def test_what_is_proved_in_words(fails_at, from_t, always, holds, words):
    proof = Proof(fails_at, from_t, always)
    assert (proof.words, proof.holds) == (words, holds)
