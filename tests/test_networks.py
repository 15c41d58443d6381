"""Networks as a feature of the nuisances: what they read, whom they learn from, and when they are used."""

from dataclasses import replace
from types import SimpleNamespace

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
from csrec_core.effect.rows import Clock, find_clock, lay_rows
from csrec_core.errors import InputError
from csrec_core.models.acceptance import build_model
from csrec_core.models.predictions import Settings
from csrec_core.models.sequences import Window, to_sequences
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
        whole = model.eval().logits(Window(items, decisions, own=items.shape[1]))[:, -1]
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
    name = choose_learner(features, target, held, np.arange(4000))
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


def test_gains_stand_beside_each_other():
    """Of three users the ranks are those of their true effects with networks, and turned without."""
    users = pd.DataFrame({"user": [3, 1, 2], "effect": [0.3, 0.1, 0.2], "lower": 0.0})
    mean = pd.Series({"effect": 0.1, "lower": 0.05, "upper": 0.25, "error": 0.05})
    losses = pd.Series({"m0": 0.5, "m1": 0.6})
    read = SimpleNamespace(losses=losses, mean=mean, users=users)
    plain = SimpleNamespace(losses=losses / 2, mean=mean * 2, users=users.assign(effect=-users["effect"]))
    table = network_gains(plain, read, pd.Series([0.1, 0.2, 0.4], index=[1, 2, 3])).set_index("networks")
    assert table.loc["with"].tolist() == pytest.approx([0.5, 0.6, 0.1, 0.05, 0.25, 0.2, 1])
    assert table.loc["without"].tolist() == pytest.approx([0.25, 0.3, 0.2, 0.1, 0.5, 0.4, -1])
    assert "user_rank" not in network_gains(plain, read)


@pytest.mark.parametrize("phased", [True, False])
def test_which_rows_each_network_learns_from(monkeypatch, phased):
    """The baseline's; what others exposed where it is on record, but of no user who is the arm's alone."""
    arms = np.array([0, 0, 1, -1, 1, 1, -1, 1, 0, -1, 1, 1] * 20)
    rows = pd.DataFrame({"user": np.repeat(np.arange(80), 3), "arm": arms, "item": np.arange(240) % 7})
    fold, asked = fold_of(rows["user"].to_numpy(), 3, 2**31 + 5), []

    def train(part, items, settings):
        asked.append((part.index.tolist(), items["item"].tolist(), settings.preference.seed))
        return len(asked), None

    monkeypatch.setattr(networks, "_train", train)
    monkeypatch.setattr(networks, "_read_logits", lambda model, *rest: model + rest[-1] / 1000)
    monkeypatch.setattr(networks, "learned_rows", lambda rows, seed: rows["user"].to_numpy() != seed - 2**31)
    clock = Clock(() if phased else ("seen", "time"), False)
    items = pd.DataFrame({"item": [9, 2]})
    found = network_logits(rows, items, clock, SMALL, folds=3, seed=2**31 + 5)
    assert found.tolist() == pytest.approx((1 + fold + np.arange(240) / 1000).tolist(), rel=1e-6)
    of_arm = rows.groupby("user")["arm"].transform("min") == 1
    known = ((rows["arm"] == 0) | ((rows["arm"] == -1) & (not phased))) & ~of_arm & (rows["user"] != 5)
    for held, (learned, catalogue, seed) in enumerate(asked):
        assert learned == rows.index[known & (fold != held)].tolist() and seed == 5
        assert sorted(catalogue) == [0, 1, 2, 3, 4, 5, 6, 9]
    network_logits(rows, None, clock, SMALL, folds=3, seed=7)
    assert sorted(asked[-1][1]) == list(range(7)) and asked[-1][2] == 7


def test_a_network_learns_the_baselines_decisions_and_reads_the_others(monkeypatch):
    asked = []

    def train(sequences, **options):
        asked.append((sequences, options))
        return "f", None

    monkeypatch.setattr(networks, "train_preference", train)
    rows = pd.DataFrame(
        {"user": np.repeat(np.arange(20), 3), "item": 4, "decision": 1.0, "arm": [0, -1, 0] * 20}
    )
    rows = rows.drop(index=[0, 1]).assign(item=lambda frame: 4 + frame.index % 2)
    items = pd.DataFrame({"item": [4, 5, 8]})
    model, catalogue = networks._train(rows, items, SMALL)
    assert model == "f" and catalogue.tolist() == [4, 5, 8]
    ((sequences, options),) = asked
    assert options == {"training": SMALL.preference, "backbone": "gru4rec", "hidden": 8, "dropout": 0.0}
    assert sequences.self_weights[0, 2] == 1
    assert sequences.self_weights[1:].tolist() == [[1, 0, 1]] * 19
    assert sequences.self_items[1].tolist() == [2, 1, 2] and sequences.self_items[0].tolist() == [0, 0, 1]
    networks._train(rows, items, replace(SMALL, length=2))
    assert asked[1][0].self_weights[1:].tolist() == [[0, 1]] * 19
    with pytest.raises(InputError, match="networks: 19 users to learn from; expected at least 20"):
        networks._train(rows[rows["user"] > 0], items, SMALL)


def test_windows_are_read_in_blocks_short_ones_together(monkeypatch):
    """Each logit is made up of the item asked for and of what is in its window, by its place from the end."""
    rng, seen = np.random.default_rng(0), []
    rows = pd.DataFrame({"item": rng.choice([3, 5, 9], 30), "decision": rng.integers(0, 2, 30) * 1.0})
    windows = np.where(np.arange(6) >= 6 - rng.integers(0, 5, 30)[:, None], rng.integers(0, 30, (30, 6)), -1)
    windows[windows % 3 == 0] = 0  # the first row is one like others

    class Reads:
        def logits_after(self, items, decisions, asked):
            seen.append(items.shape)
            place = torch.arange(items.shape[1], 0, -1)
            assert (decisions[items == 0] == 1).all()  # padding counts as accepted
            return 100.0 * asked + ((items > 0) * place * (items + 10 * decisions)).sum(dim=1)

    def by_hand(row):
        past = [one for one in windows[row] if one >= 0]
        number = {3: 1, 5: 2, 9: 3}
        worth = [number[rows["item"][one]] + 10 * rows["decision"][one] for one in past]
        parts = [(len(past) - k) * one for k, one in enumerate(worth)]
        return 100 * number[rows["item"][row]] + sum(parts)

    monkeypatch.setattr(networks, "READ", 4)
    here = np.arange(1, 30, 2)
    found = networks._read_logits(Reads(), np.array([3, 5, 9]), rows, windows, here)
    assert found.tolist() == [by_hand(row) for row in here]
    assert [size for size, _ in seen] == [4, 4, 4, 3] and seen == sorted(seen, key=lambda one: one[1])
