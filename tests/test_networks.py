"""Networks as a feature of the nuisances: what they read, whom they learn from, and when they are used."""

import numpy as np
import pandas as pd
import pytest
import torch

from csrec_core.data.books import simulate_books
from csrec_core.effect import networks
from csrec_core.effect.design import Design
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import fold_of
from csrec_core.effect.networks import network_gains, network_logits
from csrec_core.effect.nuisance import NETWORK, choose_learner, fit_model
from csrec_core.effect.rows import find_clock, lay_rows
from csrec_core.errors import InputError
from csrec_core.models.acceptance import build_model
from csrec_core.models.predictions import Settings
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training

SMALL = Settings(
    backbone="gru4rec",
    length=8,
    preference=Training(epochs=1, batch=64, threads=1),
    hyper={"hidden": 8, "dropout": 0.0},
)


@pytest.fixture(scope="module")
def books():
    return simulate_books(users=80, items=20, steps=6, seed=1)


def test_the_logit_after_a_window_is_that_at_its_end(books):
    sequences = to_sequences(books, length=6)
    model = build_model(sequences, backbone="gru4rec", hidden=8, dropout=0.0, apart=False)
    with torch.no_grad():
        for weight in (model.query.weight, model.appeal.weight, model.user_state.line.weight):
            weight.normal_()
        items, decisions = sequences.self_items, sequences.self_decisions
        whole = model.eval().logits(items, decisions, own=items.shape[1])[:, -1]
        found = model.logits_after(items[:, :-1], decisions[:, :-1], items[:, -1])
    assert torch.allclose(found, whole, atol=1e-5)


def test_no_network_learns_from_those_it_is_read_for(books, monkeypatch):
    rows = lay_rows(books, Design())
    fold, learned = fold_of(rows["user"].to_numpy(), 3, 5), []
    train = networks._train
    monkeypatch.setattr(networks, "_train", lambda part, *rest: learned.append(part) or train(part, *rest))
    logits = network_logits(rows, books.items, find_clock(rows), SMALL, folds=3, seed=5)
    assert np.isfinite(logits).all() and len(logits) == len(rows)
    for held, part in enumerate(learned):
        assert set(part["user"]).isdisjoint(rows["user"][fold == held])
        assert (part["arm"] == 0).all()
    again = network_logits(rows, books.items, find_clock(rows), SMALL, folds=3, seed=5)
    assert (again == logits).all()


@pytest.mark.parametrize("tells", [True, False])
def test_a_network_is_read_where_it_tells_something(tells):
    rng = np.random.default_rng(0)
    features = pd.DataFrame({"x": rng.normal(size=4000), NETWORK: rng.normal(size=4000)})
    target = (rng.random(4000) < 1 / (1 + np.exp(-features["x"] - tells * features[NETWORK]))).astype(float)
    held = np.arange(4000) >= 3000
    name = choose_learner(features, target, held)
    assert name == ("logistic and network" if tells else "logistic")
    model = fit_model(features, target, learner=name)
    moved = model.predict(features.assign(**{NETWORK: 3.0})) - model.predict(features)
    assert (np.abs(moved).max() > 0.1) == tells


def test_an_estimate_with_networks_stands_beside_one_without(books):
    plain, read = (estimate_effect(books, splits=1, networks=how) for how in (None, SMALL))
    truth = books.truth[books.truth["source"] == "system"]
    gain = (truth["p_system"] - truth["p_self"]).groupby(truth["user"]).mean()
    table = network_gains(plain, read, gain).set_index("networks")
    assert table.loc["without", "effect"] == plain.mean["effect"]
    assert (table["width"] > 0).all()
    scores = plain.scores[0].query("arm == 0")
    likely = np.where(scores["decision"] == 1, scores["m0"], 1 - scores["m0"])
    assert table.loc["without", "loss_baseline"] == pytest.approx(-np.log(likely).mean())


def test_networks_have_nothing_to_read_of_an_arm_as_a_whole(books):
    with pytest.raises(InputError, match="the same item under either arm"):
        estimate_effect(books, splits=1, networks=SMALL, estimand="arm", target="everyone")
