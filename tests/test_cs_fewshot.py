"""CS-Few-Shot: Eq. 9 over sessions, what f~ and f are told, the branches, and the source effect."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, read_truth, simulate_mssd
from csrec_core.data.mssd.slots import read_sessions
from csrec_core.errors import InputError
from csrec_core.models.acceptance import fit_calibration
from csrec_core.models.cs_fewshot import (
    cs_fewshot_loss,
    predict_cs_fewshot,
    read_branches,
    train_cs_fewshot,
)
from csrec_core.models.csrec import Objective
from csrec_core.models.fewshot import FewShot, Slots, train_fewshot
from csrec_core.models.preference import Readouts
from csrec_core.models.train import Training

QUICK = Training(epochs=2, batch=32, threads=1)
SIZE = {"channels": 8, "norm": "causal"}


def simulate(folder, sessions, **world):
    ingest(*simulate_mssd(folder / "csv", sessions, Listeners(tracks=200, seed=3, **world)), folder)
    return folder


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    return read_sessions(simulate(tmp_path_factory.mktemp("few"), 120))


@pytest.fixture(scope="module")
def model(sessions):
    torch.manual_seed(0)
    made = FewShot(torch.from_numpy(sessions.features), dropout=0.0, **SIZE).eval()
    made.calibration.copy_(torch.tensor([1.5, -0.2]))
    return made


def by_hand(logits, slots, readouts, hidden, penalty):
    """Eq. 9 slot by slot, from the formula."""
    f, total = expit(logits), 0.0
    exposed = slots.exposed.numpy()
    for s, t in zip(*np.nonzero(exposed), strict=True):
        r = readouts.filtered[s, t].item()
        if hidden[s]:
            r = readouts.after_accept[s, t].item() * f[s, t - 1]
            r += readouts.after_reject[s, t].item() * (1 - f[s, t - 1])
        d = slots.accepted[s, t].item()
        total -= d * np.log(f[s, t]) + (1 - d) * np.log(1 - f[s, t])
        total += penalty * (f[s, t] - r) ** 2
    return total / exposed.sum()


def test_the_loss_is_equation_9_and_so_is_its_gradient(sessions, model):
    slots = Slots.of(sessions.take(np.arange(12)))
    generator = torch.Generator().manual_seed(1)
    tables = [torch.rand(12, 20, generator=generator) for _ in range(5)]
    readouts, hidden = Readouts(*tables), torch.arange(12) % 2 == 0
    last = model.last.bias
    value = cs_fewshot_loss(model, slots, readouts, hidden, Objective(penalty=2.0))
    (gradient,) = torch.autograd.grad(value, last)

    def plain(step):
        logits = torch.zeros(12, 20)
        with torch.no_grad():
            for told in (False, True):
                side = hidden != told
                logits[side] = slots.take(side).logits(model, torch.full((int(side.sum()), 20), told))
        return by_hand(logits.double().numpy() + 1.5 * step, slots, readouts, hidden, 2.0)

    assert (sessions.asked[:12] & (sessions.source[:12] == "system")).sum() > 10
    assert value.item() == pytest.approx(plain(0.0), rel=1e-5)
    assert gradient.item() == pytest.approx((plain(1e-4) - plain(-1e-4)) / 2e-4, rel=1e-4)


def test_the_branches_set_the_decision_before_alone(sessions, model):
    """Each against a session of its own in which that one decision of the second half is told."""
    readouts = read_branches(model, sessions)
    slots = Slots.of(sessions)
    chained, nothing = slots.chained, torch.zeros(1, 20, dtype=torch.bool)
    assert chained.sum() > 20
    for s, t in chained.nonzero()[::7].tolist():
        for decision, branch in ((0, readouts.after_reject), (1, readouts.after_accept)):
            one, told = slots.take(torch.tensor([s])), nothing.clone()
            one.accepted[0, t - 1], told[0, t - 1] = decision, True
            with torch.no_grad():
                expected = torch.sigmoid(one.logits(model, told))[0, t]
            torch.testing.assert_close(branch[s, t], expected, atol=1e-5, rtol=1e-5)
    assert (readouts.after_accept - readouts.after_reject).abs()[chained].min() > 0
    apart = slots.exposed & ~chained
    torch.testing.assert_close(readouts.after_accept[apart], readouts.after_reject[apart])
    filtered, marginal = predict_cs_fewshot(model, sessions)
    asked = sessions.asked
    np.testing.assert_allclose(readouts.filtered.numpy()[asked], filtered[asked], atol=1e-6)
    np.testing.assert_allclose(readouts.after_accept.numpy()[apart], marginal[apart.numpy()], atol=1e-6)
    before = readouts.marginal[:, :-1]
    chain = readouts.after_accept[:, 1:] * before + readouts.after_reject[:, 1:] * (1 - before)
    torch.testing.assert_close(readouts.marginal[:, 1:], chain)


def test_the_marginal_estimand_is_told_no_decision_of_the_second_half(sessions, model):
    turned = replace(sessions, accepted=sessions.accepted ^ sessions.asked)
    (filtered, marginal), (other, same) = (predict_cs_fewshot(model, log) for log in (sessions, turned))
    np.testing.assert_array_equal(marginal, same)
    assert (np.isnan(marginal) == ~sessions.asked).all()
    assert np.nanmax(np.abs(filtered - other)) > 1e-3
    # Nor does a slot's own decision, or a later one, tell of it.
    own = sessions.accepted.copy()
    own[:, 15:] ^= True
    later, _ = predict_cs_fewshot(model, replace(sessions, accepted=own))
    np.testing.assert_array_equal(later[:, :16], filtered[:, :16])


def test_the_same_seed_trains_the_same_weights_and_bad_input_is_refused(sessions):
    preference, _ = train_fewshot(sessions, preference=True, training=QUICK, **SIZE)
    readouts = read_branches(preference, sessions)
    options = {"training": QUICK, "start": preference, **SIZE}
    model, history = train_cs_fewshot(sessions, readouts, Objective(), **options)
    again, _ = train_cs_fewshot(sessions, readouts, Objective(), **options)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not any(weight.requires_grad for weight in preference.parameters())
    assert history["validation"].min() <= history["validation"].iloc[0]
    silent = replace(sessions, source=np.where(sessions.source == "system", "", sessions.source))
    with pytest.raises(InputError, match="no session is left to learn from"):
        train_cs_fewshot(silent, readouts, Objective(), **options)


def test_calibration_by_hand():
    logits = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    decisions = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    scale, level = fit_calibration(logits, decisions)
    low, high = np.log(1 / 2), np.log(3 / 1)  # the odds in either group
    assert (scale, level) == pytest.approx(((high - low) / 2, (high + low) / 2), abs=1e-4)
    scale, level = fit_calibration(logits, 1 - decisions)
    assert scale == 0 and level == pytest.approx(np.log(3 / 4))
    assert fit_calibration(logits, torch.ones(7)) == (1.0, 0.0)


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_the_source_effect_is_found_where_there_is_one_and_not_where_there_is_none(effect, tmp_path):
    """Without preferences the tracks that are played are like those that are chosen, and f - f~ is the effect."""
    world = {"affinity": 0.0, "effect": effect, "trust_spread": 0.0}
    folder = simulate(tmp_path, 3000, **world)
    sessions = read_sessions(folder)
    train, test = sessions.take(np.arange(2400)), sessions.take(np.arange(2400, 3000))
    training = Training(epochs=6, patience=2, batch=64, rate=3e-3, threads=1)
    preference, _ = train_fewshot(train, preference=True, training=training, **SIZE)
    readouts = read_branches(preference, train)
    options = {"training": training, "start": preference, **SIZE}
    model, _ = train_cs_fewshot(train, readouts, Objective(penalty=0.0), **options)
    exposed = test.asked & (test.source == "system")
    truth = read_truth(folder, test.users)
    true = (truth["p_system"] - truth["p_self"])[exposed].mean()
    slots = [(train.asked & (train.source == source)).sum() for source in ("system", "self")]
    error = np.sqrt(sum(0.25 / number for number in slots))  # of two accept rates
    both = (predict_cs_fewshot(fitted, test) for fitted in (model, preference))
    for of_f, of_tilde in zip(*both, strict=True):
        found = (of_f - of_tilde)[exposed].mean()
        assert abs(found - true) < 4 * error
        assert (found > 4 * error) == (effect > 0)
