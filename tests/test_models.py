"""SASRec, f~ and f: nothing leaks from the future, readouts equal brute force, losses equal the formula."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import accepted_log

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, validate_log
from csrec_core.errors import InputError
from csrec_core.models.acceptance import build_model
from csrec_core.models.csrec import Objective, csrec_loss, recursion
from csrec_core.models.next_item import rank_next_item
from csrec_core.models.preference import Readouts, read_out, train_preference
from csrec_core.models.sequences import ACCEPT, UNKNOWN, Window, to_sequences
from csrec_core.models.train import Training, load_weights, save_weights


@pytest.fixture(scope="module")
def sequences():
    return to_sequences(simulate_books(users=12, items=15, steps=6, seed=1), length=8)


@pytest.fixture(scope="module")
def model(sequences):
    model = build_model(sequences, hidden=16, seed=2)
    for parameter in model.parameters():  # far from the small initial weights, so that leaks would show
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.backbone.item.weight[0] = 0
    return model.eval()


def same(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_score_of_candidates_is_that_of_the_catalogue(model, sequences):
    states = model.backbone.encode(sequences.items)[:, :-1]
    catalogue = model.backbone.score(states)
    picked = catalogue.gather(2, (sequences.items - 1).clamp(min=0)[:, :, None])[:, :, 0]
    real = sequences.items > 0
    same(model.backbone.score(states, sequences.items)[real], picked[real])


@torch.no_grad()
def test_readouts_are_what_one_prefix_at_a_time_says(model, sequences):
    readouts = read_out(model, sequences)
    length, steps = sequences.self_items.shape[1], sequences.system_items.shape[1]
    for t in range(steps):
        end = length + t
        exposed = sequences.system_items[:, t]
        for name, decisions in (
            ("filtered", sequences.decisions),
            ("after_accept", sequences.window(sequences.everyone, hidden=True).decisions),
        ):
            prefix = decisions[:, :end].clone()
            if name == "after_accept" and t > 0:
                prefix[:, -1] = ACCEPT
            state = model.backbone.encode(sequences.items[:, :end], prefix)[:, -1]
            longer = F.pad(prefix, (0, 1), value=UNKNOWN)
            numbers = model.describe(sequences.items[:, : end + 1], longer, own=length)[:, -1]
            same(getattr(readouts, name)[:, t], torch.sigmoid(model(state, exposed, numbers)))
            if name == "filtered":
                scores = model.backbone.score(state).numpy()
                own = scores[np.arange(len(scores)), exposed - 1]
                rank = 1 + (scores > own[:, None]).sum(axis=1)
                np.testing.assert_allclose(readouts.rank[:, t], rank / scores.shape[1], atol=1e-6)


def test_the_recursion_holds_where_f_is_f_tilde(model, sequences):
    """TER = 0: f~'s own marginal readout is a fixed point of Theorem 3.1's right side."""
    readouts = read_out(model, sequences)
    same(recursion(readouts.marginal, readouts), readouts.marginal)


def test_the_penalty_shrinks_by_the_analytic_factor():
    """With free f in one cell, the minimiser of Eq. 9 is f~ + TER / (1 + 2 penalty f (1 - f))."""
    rate, tilde, penalty = 0.52, 0.50, 2.0
    objective, hidden = Objective(penalty=penalty), torch.zeros(1000, dtype=torch.bool)
    decisions = torch.cat([torch.ones(520, 1), torch.zeros(480, 1)]).long()
    readouts = Readouts(*(torch.full((1000, 1), tilde) for _ in range(4)), rank=torch.zeros(1000, 1))
    logit = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=100, tolerance_change=1e-12)

    def step():
        optimiser.zero_grad()
        logits = logit.expand(1000, 1)
        real = torch.ones(1000, 1, dtype=torch.bool)
        loss = csrec_loss(logits, decisions, real, hidden, readouts, objective)
        loss.backward()
        return loss

    optimiser.step(step)
    shrunk = torch.sigmoid(logit).item() - tilde
    assert shrunk == pytest.approx((rate - tilde) / (1 + 2 * penalty * 0.25), rel=0.01)


@torch.no_grad()
def test_a_model_of_fewer_parts_has_the_same_weights_and_leaves_the_whole_as_it_was(model, sequences):
    read = sequences.items, sequences.decisions
    window = Window(*read, own=8)
    whole = model.logits(window)
    part = model.restricted("user state")
    assert all(one is other for one, other in zip(part.parameters(), model.parameters(), strict=True))
    numbers = model.describe(*read, own=8)
    same(part.logits(window), model.appeal(sequences.items)[..., 0] + model.user_state(numbers))
    assert (part.parts, model.parts) == (("user state",), ("user state", "encoder"))
    assert torch.equal(model.logits(window), whole)


def successor_log(users=300, items=12, length=12, shuffled=False, seed=0):
    """Users walk round the catalogue; shuffled, there is nothing to learn."""
    rng = np.random.default_rng(seed)
    start = rng.integers(items, size=users)
    walk = (
        (start[:, None] + np.arange(length)) % items
        if not shuffled
        else rng.integers(items, size=(users, length))
    )
    return accepted_log(walk)


@pytest.mark.parametrize("shuffled", [False, True])
def test_f_tilde_learns_a_rule_and_nothing_from_noise(shuffled):
    sequences = to_sequences(successor_log(shuffled=shuffled), length=12)
    training = Training(epochs=12 if not shuffled else 8, patience=40, batch=32, rate=1e-2)
    model, history = train_preference(sequences, training=training, hidden=32, dropout=0.1)
    scores = model.backbone.score(model.backbone.encode(sequences.self_items)[:, -2])
    first = (scores.argmax(dim=1) + 1 == sequences.self_items[:, -1]).float().mean().item()
    if shuffled:
        assert first < 0.2  # chance is 1 in 12
    else:
        assert first > 0.95
        assert history["validation"].min() < history["validation"].iloc[0]


def test_left_out_items_are_ranked_among_the_unseen():
    sequences = to_sequences(successor_log(items=30), length=12)
    model = build_model(sequences, hidden=16).eval()
    ranks = rank_next_item(model.backbone, sequences)
    assert len(ranks) == 300
    assert ranks["candidates"].eq(30 - 11).all()
    assert ranks["rank"].between(1, 19).all()
    # Untrained, the left-out item's rank is anyone's guess.
    assert ranks["rank"].mean() == pytest.approx(10, abs=2)


def test_calibration_takes_its_scale_from_held_out_rows_and_its_level_from_all(sequences):
    model = build_model(sequences, hidden=16)
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(40_000, generator=generator)
    decisions = (torch.rand(40_000, generator=generator) < torch.sigmoid(truth)).long()
    held = torch.arange(40_000) < 20_000
    logits = 2 * truth + 1  # too sure by two, and off by one
    model.calibrate(logits, decisions, held=held)
    scale, level = model.calibration.tolist()
    assert scale == pytest.approx(0.5, abs=0.02)
    calibrated = torch.sigmoid(scale * logits + level)
    assert calibrated.mean().item() == pytest.approx(decisions.float().mean().item(), abs=1e-5)


def test_calibration_has_a_level_where_the_held_out_rows_are_told_apart_in_full(sequences):
    model = build_model(sequences, hidden=16)
    logits = torch.tensor([-3.0, -2.9, 3.0, 3.1, 60.0, 80.0, 90.0])
    decisions = torch.tensor([0, 0, 1, 1, 1, 0, 0])
    held = torch.arange(7) < 4
    model.calibrate(logits, decisions, held=held)
    scale, level = model.calibration.tolist()
    assert torch.sigmoid(scale * logits + level).mean().item() == pytest.approx(3 / 7, abs=1e-3)


def test_calibration_never_reverses_a_model(sequences):
    model = build_model(sequences, hidden=16)
    logits = torch.tensor([2.0, 1.0, -1.0, -2.0, 2.0, -2.0])
    decisions = torch.tensor([0, 0, 1, 1, 1, 0])  # the held-out rows say the opposite of the model
    model.calibrate(logits, decisions, held=torch.arange(6) < 4)
    scale, level = model.calibration.tolist()
    assert scale == 0
    assert torch.sigmoid(torch.tensor(level)).item() == pytest.approx(0.5, abs=1e-6)


def test_checkpoints_hold_weights_only(tmp_path, model, sequences):
    save_weights(model, tmp_path / "m.safetensors", curve={"epoch": [1]})
    other = build_model(sequences, hidden=16, seed=9)
    assert load_weights(other, tmp_path / "m.safetensors") == {"curve": {"epoch": [1]}}
    for mine, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_unknown_backbone(sequences):
    with pytest.raises(InputError, match=r"unknown backbone 'sasrek'.*did you mean 'sasrec'"):
        build_model(sequences, backbone="sasrek")


def test_sequences_lay_the_log_out():
    frame = pd.DataFrame(
        {
            "user": [1, 1, 1, 1, 2, 2],
            "t": [1, 2, 3, 1, 1, 2],
            "item": [10, 20, 30, 20, 10, 30],
            "decision": [1, 0, 1, 1, 0, 1],
            "source": ["self", "self", "self", "system", "system", "system"],
        }
    )
    sequences = to_sequences(Dataset(validate_log(frame)), length=2)
    assert sequences.self_items.tolist() == [[2, 3], [0, 0]]
    assert sequences.self_decisions.tolist() == [[0, 1], [0, 0]]
    assert sequences.system_items.tolist() == [[2, 0], [1, 3]]
    assert sequences.system_rows.tolist() == [[3, -1], [4, 5]]
    assert sequences.window(sequences.everyone, hidden=True).decisions[:, 2:].eq(UNKNOWN).all()
    assert not sequences.accepted_only
    assert sequences.self_weights.eq(1).all() or sequences.self_weights[0].eq(1).all()


def test_inverse_propensities_make_every_item_count_alike():
    dataset = simulate_books(users=3000, items=12, steps=3, genres=3)
    sequences = to_sequences(dataset, length=3)
    weight = pd.Series(sequences.self_weights.ravel()).groupby(sequences.self_items.ravel().numpy()).sum()
    count = (
        pd.Series(1.0, index=range(sequences.self_items.numel()))
        .groupby(sequences.self_items.ravel().numpy())
        .sum()
    )
    assert count.max() / count.min() > 3
    assert weight.max() / weight.min() < 1.35
