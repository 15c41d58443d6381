"""Cold items: their weights are what the features tell, by the ridge of least leave-one-out error."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.models import cold as module
from csrec_core.models.cold import ENOUGH_ROWS, PENALTIES, cold_items, scored_by_features
from csrec_core.models.csrec import Objective, predict_csrec, train_csrec
from csrec_core.models.next_item import train_next_item
from csrec_core.models.preference import read_out, train_preference
from csrec_core.models.sequences import ACCEPT, to_sequences
from csrec_core.models.train import Training

ITEMS, COLD = 60, np.arange(1, 61, 5)  # items 1, 6, 11, ... are new
USERS, STEPS = 300, 10
TRAINING = Training(epochs=8, patience=8, batch=32, rate=3e-3)


def world(*, told: bool, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return the log of users who choose and accept by a feature, whole and without the new items.

    A user likes one end of the scale x of the items, and looks for their items there; what the system exposes
    is any item, and is accepted the rather the larger y is. Where it is not `told`, the table holds noise.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, ITEMS))
    side = rng.choice([-2.0, 2.0], USERS)
    by_preference = np.exp(side[:, None] * x)
    share = np.cumsum(by_preference / by_preference.sum(axis=1, keepdims=True), axis=1)
    chosen = (rng.random((USERS, STEPS, 1)) > share[:, None]).sum(axis=2).clip(max=ITEMS - 1)
    exposed = rng.integers(ITEMS, size=(USERS, STEPS))
    parts = []
    for source, item, chance in (("self", chosen, 0.9), ("system", exposed, expit(2 * y[exposed]))):
        frame = pd.DataFrame({"user": np.repeat(np.arange(USERS), STEPS), "item": item.ravel() + 1})
        accepted = rng.random((USERS, STEPS)) < chance
        parts.append(frame.assign(source=source, decision=accepted.ravel().astype(int)))
    log = pd.concat(parts, ignore_index=True)
    log["t"] = log.groupby(["user", "source"]).cumcount()
    columns = (x, y) if told else rng.normal(size=(2, ITEMS))
    items = pd.DataFrame({"item": np.arange(1, ITEMS + 1), "x": columns[0], "y": columns[1]})
    kept = log[~log["item"].isin(COLD)]
    return tuple(Dataset(validate_log(rows), items=items) for rows in (log, kept))


@pytest.fixture(scope="module", params=[True, False], ids=["features that matter", "noise"])
def fitted(request):
    """f~ and f that learned from no row of a new item, and the whole log."""
    whole, known = (to_sequences(each, length=STEPS, horizon=STEPS) for each in world(told=request.param))
    f_tilde, _ = train_preference(known, training=TRAINING, hidden=16, dropout=0.1)
    options = {"training": TRAINING, "start": f_tilde, "hidden": 16, "dropout": 0.1}
    f, _ = train_csrec(
        known, read_out(f_tilde, known), torch.arange(USERS // 2), Objective(penalty=0.0), **options
    )
    return request.param, whole, f_tilde, f


@torch.no_grad()
def test_a_new_item_is_ranked_by_its_features_alone(fitted):
    told, whole, f_tilde, _ = fitted
    new = torch.from_numpy(COLD)
    wanted = torch.isin(whole.self_items, new)
    wanted[:, :3] = False  # the first choices have no preference to go by
    scores = f_tilde.backbone.score(f_tilde.backbone.encode_at(whole.self_items, wanted))
    own = scores.gather(1, whole.self_items[wanted][:, None] - 1)
    auc = ((scores[:, new - 1] < own).sum(dim=1) / (len(new) - 1)).mean().item()
    if told:
        assert auc > 0.77  # who knows the preference has .805
    else:
        assert auc == pytest.approx(0.5, abs=0.12)  # of twelve items, whose order is by chance


@torch.no_grad()
def test_whether_a_new_item_is_accepted_is_told_by_its_features_alone(fitted):
    told, whole, _, f = fitted
    tested = torch.arange(USERS // 2, USERS)
    filtered, _ = predict_csrec(f, whole, tested)
    new = torch.isin(whole.system_items[tested], torch.from_numpy(COLD))
    auc = roc_auc_score(whole.system_decisions[tested][new], filtered[new])
    if told:
        assert auc > 0.75  # who knows y has .86
    else:
        assert auc == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("noise", [0.0, 0.5, 50.0])
def test_the_filled_weights_are_the_ridge_of_least_leave_one_out_error(noise):
    """Against a loop over penalties and items left out."""
    known = world(told=True)[1]
    sequences = to_sequences(known)
    rng = np.random.default_rng(1)
    x = sequences.features[1:].double().numpy()
    weights = 1.0 + x @ rng.normal(size=(2, 3)) + noise * rng.normal(size=(ITEMS, 3))
    warm = ~np.isin(np.arange(1, ITEMS + 1), COLD)

    def predicted(learn, ask, penalty):
        centre, level = x[learn].mean(axis=0), weights[learn].mean(axis=0)
        gram = (x[learn] - centre).T @ (x[learn] - centre) + penalty * np.eye(2)
        slope = np.linalg.solve(gram, (x[learn] - centre).T @ (weights[learn] - level))
        return level + (x[ask] - centre) @ slope

    def error(penalty):
        left = [(predicted(np.setdiff1d(known_rows, i), [i], penalty) - weights[i]) ** 2 for i in known_rows]
        return np.mean(left)

    known_rows = np.flatnonzero(warm)
    best = min(PENALTIES, key=error)
    expected = predicted(known_rows, np.flatnonzero(~warm), best)
    for rows in (ITEMS, ITEMS + 1):  # without and with one for padding
        weight = torch.nn.Parameter(torch.zeros(rows, 3))
        cold = torch.from_numpy(COLD)
        with scored_by_features(sequences, cold, weight), torch.no_grad():
            weight[rows - ITEMS :] = torch.from_numpy(weights)
        filled = weight.detach().numpy()[rows - ITEMS :]
        np.testing.assert_allclose(filled[warm], weights[warm], rtol=1e-6)
        np.testing.assert_allclose(filled[~warm], expected, rtol=1e-3, atol=1e-4)
        assert rows == ITEMS or not weight[0].any()


def test_cold_weights_are_zero_while_others_are_learned():
    sequences = to_sequences(world(told=True)[1])
    weight = torch.nn.Parameter(torch.randn(ITEMS + 1, 2))
    optimiser = torch.optim.Adam([weight], lr=0.1)
    cold = torch.from_numpy(COLD)
    with scored_by_features(sequences, cold, weight):
        for _ in range(3):
            optimiser.zero_grad()
            (weight - 1).square().sum().backward()
            optimiser.step()
        assert not weight[cold].any()
        assert (weight[2:6] != 0).all()
    (weight - 1).square().sum().backward()
    assert (weight.grad[cold] != 0).all()  # and are free again afterwards


def test_which_items_are_cold():
    known = world(told=True)[1]
    sequences = to_sequences(known)
    count = torch.bincount(sequences.chosen_items, minlength=ITEMS + 1)[1:]
    cold = cold_items(sequences, sequences.chosen_items)
    assert cold.tolist() == (1 + (count < ENOUGH_ROWS).nonzero()[:, 0]).tolist()
    assert set(COLD) <= set(cold.tolist())
    nothing = to_sequences(Dataset(known.log, items=known.items[["item"]]))
    assert not len(cold_items(nothing, nothing.chosen_items))


def test_without_a_cold_item_the_models_are_what_they_were(monkeypatch):
    books = simulate_books(users=300, items=6, steps=12, genres=3, seed=1)
    sequences = to_sequences(books, length=12)
    training = Training(epochs=2)

    def weights() -> list[torch.Tensor]:
        f_tilde, _ = train_preference(sequences, training=training, hidden=8)
        next_item, _ = train_next_item(sequences, training=training, hidden=8)
        return [*f_tilde.state_dict().values(), *next_item.state_dict().values()]

    learned = sequences.self_items[:, :-2][sequences.self_decisions[:, :-2] == ACCEPT]
    assert sequences.features.shape[1] and not len(cold_items(sequences, learned))
    with_rule = weights()
    monkeypatch.setattr(module, "ENOUGH_ROWS", 0)
    assert all(torch.equal(one, other) for one, other in zip(with_rule, weights(), strict=True))
