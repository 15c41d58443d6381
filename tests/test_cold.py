"""Cold items: they are ranked and accepted by what their features tell."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.models import cold as module
from csrec_core.models.cold import score_by_features
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


@pytest.mark.parametrize("rows", [ITEMS, ITEMS + 1])  # without and with one for padding
def test_items_of_fewer_than_five_rows_get_the_mean_weights_of_the_others(rows):
    known = world(told=True)[1]
    sequences = to_sequences(known)
    count = torch.bincount(sequences.chosen_items, minlength=ITEMS + 1)[1:].numpy()
    cold = np.array([count[item] < 5 for item in range(ITEMS)])
    assert cold[COLD - 1].all() and cold.sum() < ITEMS
    weight = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    before = weight.clone().numpy()
    score_by_features(sequences, sequences.chosen_items, weight)
    own = weight.numpy()[rows - ITEMS :]
    np.testing.assert_array_equal(own[~cold], before[rows - ITEMS :][~cold])
    expected = before[rows - ITEMS :][~cold].sum(axis=0) / (~cold).sum()
    np.testing.assert_allclose(own[cold], np.tile(expected, (cold.sum(), 1)), rtol=1e-5)
    assert rows == ITEMS or (weight[0].numpy() == before[0]).all()


def test_without_features_or_without_another_item_weights_stay_as_they_are():
    known = world(told=True)[1]
    without = to_sequences(Dataset(known.log, items=known.items[["item"]]))
    for sequences, learned in ((without, without.chosen_items), (to_sequences(known), torch.zeros(3).long())):
        weight = torch.randn(ITEMS, 2)
        before = weight.clone()
        score_by_features(sequences, learned, weight)
        assert torch.equal(weight, before)


def test_without_a_cold_item_the_models_are_what_they_were(monkeypatch):
    books = simulate_books(users=300, items=6, steps=12, genres=3, seed=1)
    sequences = to_sequences(books, length=12)
    training = Training(epochs=2)

    def weights() -> list[torch.Tensor]:
        f_tilde, _ = train_preference(sequences, training=training, hidden=8)
        next_item, _ = train_next_item(sequences, training=training, hidden=8)
        return [*f_tilde.state_dict().values(), *next_item.state_dict().values()]

    learned = sequences.self_items[:, :-2][sequences.self_decisions[:, :-2] == ACCEPT]
    assert sequences.features.shape[1] and torch.bincount(learned.flatten())[1:].min() >= 5
    with_rule = weights()
    monkeypatch.setattr(module, "ENOUGH_ROWS", 0)
    assert all(torch.equal(one, other) for one, other in zip(with_rule, weights(), strict=True))
