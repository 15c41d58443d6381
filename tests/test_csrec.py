"""Eq. (9) number by number, and which exposures f learns from and stops on."""

from types import SimpleNamespace

import pytest
import torch

from csrec_core.data.books import simulate_books
from csrec_core.errors import InputError
from csrec_core.models import csrec
from csrec_core.models.acceptance import build_model
from csrec_core.models.csrec import (
    HIDES_DECISIONS,
    Objective,
    csrec_loss,
    recursion,
    split_exposures,
    train_csrec,
)
from csrec_core.models.preference import Readouts, read_out
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training

FILTERED, ACCEPT, REJECT = ([[0.3, 0.6, 0.2]], [[0.5, 0.7, 0.9]], [[0.1, 0.2, 0.4]])


def readouts(copies=1):
    tensors = [torch.tensor(one * copies) for one in (FILTERED, ACCEPT, REJECT)]
    filtered, accept, reject = tensors
    return Readouts(
        filtered=filtered, after_accept=accept, after_reject=reject, marginal=filtered, rank=filtered
    )


def test_the_recursion_by_hand():
    f = torch.tensor([[0.4, 0.8, 0.5]])
    both = [[0.3, 0.7 * 0.4 + 0.2 * 0.6, 0.9 * 0.8 + 0.4 * 0.2]]
    assert recursion(f, readouts()).tolist() == [pytest.approx(both[0])]
    printed = [[0.3, 0.7 * 0.4, 0.9 * 0.8]]
    assert recursion(f, readouts(), constraint="printed").tolist() == [pytest.approx(printed[0])]


def test_half_precision_is_summed_in_float32():
    logits = torch.tensor([[1.5, 0.5, -2.0]])
    known = (
        torch.tensor([[1, 0, 1]]),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([True]),
        readouts(),
        Objective(),
    )
    low = csrec_loss(logits.bfloat16(), *known)
    assert low.dtype == torch.float32 and low.item() == pytest.approx(
        csrec_loss(logits, *known).item(), rel=1e-6
    )


@pytest.mark.parametrize(("estimand", "share"), [("both", 0.5), ("filtered", 0.0), ("marginal", 1.0)])
def test_from_whom_decisions_are_hidden(estimand, share):
    objective, rows = Objective(estimand=estimand), torch.arange(2000)
    torch.manual_seed(0)
    assert objective.hide(rows).float().mean().item() == pytest.approx(share, abs=0.04)
    sides = objective.sides(rows)
    assert [side.tolist() for side in sides] == [[one] * 2000 for one in HIDES_DECISIONS[estimand]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"penalty": -0.1}, "penalty = -0.1; .*at least 0"),
        ({"penalty": float("nan")}, "at least 0"),
        ({"estimand": "all"}, "unknown estimand"),
        ({"constraint": "sqared"}, "unknown constraint 'sqared'.*did you mean 'squared'"),
    ],
)
def test_objectives_that_are_none(given, message):
    with pytest.raises(InputError, match=message):
        Objective(**given)
    assert Objective(penalty=0).penalty == 0 and Objective().penalty == 1.0


def split(items, rows=None, learn=None, held=None, seed=0):
    items = torch.tensor(items)
    rows = torch.arange(len(items)) if rows is None else torch.tensor(rows)
    masks = (None if one is None else torch.tensor(one) for one in (learn, held))
    found = split_exposures(SimpleNamespace(system_items=items), rows, *masks, seed=seed)
    return [one.tolist() for one in found]


@pytest.mark.parametrize(("users", "stops"), [(9, 1), (19, 1), (20, 2), (31, 3)])
def test_a_tenth_of_the_users_stops_the_training(users, stops):
    rows, stopping, learn, held = split([[3, 0]] * users + [[0, 0]] * 5)
    assert (len(stopping), len(rows)) == (stops, users - stops)  # of those who were exposed at all
    assert sorted(rows + stopping) == list(range(users))
    assert learn == held == [[True, False]] * users + [[False, False]] * 5
    assert split([[3, 0]] * users, seed=1)[1] != stopping or users < 20
    assert split([[3, 0]] * users + [[0, 0]] * 5)[1] == stopping


def test_exposures_to_learn_from_and_to_stop_on_by_hand():
    items = [[1, 2], [3, 0], [4, 5], [6, 7]]
    learn = [[True, False], [True, True], [False, False], [True, True]]
    held = [[False, True], [False, True], [True, False], [True, True]]
    rows, stopping, learnt, stopped = split(items, rows=[0, 1, 2], learn=learn, held=held)
    assert (rows, stopping) == ([0, 1], [0, 2])  # 1 was exposed once, 3 is not asked for
    assert learnt == [[True, False], [True, False], [False, False], [True, True]]
    assert stopped == [[False, True], [False, False], [True, False], [True, True]]
    nothing = [[False, False]] * 4
    for masks in ({"learn": nothing}, {"held": nothing}, {"learn": nothing, "held": held}):
        with pytest.raises(InputError, match="no system exposure is left"):
            split(items, **masks)


def test_f_starts_from_the_weights_of_f_tilde(monkeypatch):
    """All but how it is calibrated and whose decisions are counted apart; and it waits half as long."""
    log = to_sequences(simulate_books(users=12, items=10, steps=4, seed=0), length=4)
    f_tilde = build_model(log, apart=False, seed=5, hidden=8, dropout=0.0).eval()
    f_tilde.calibration.copy_(torch.tensor([2.0, 1.0]))
    waits = []
    monkeypatch.setattr(csrec, "fit_acceptance", lambda *_, training, **__: waits.append(training.patience))
    options = {"training": Training(patience=5, seed=1), "hidden": 8, "dropout": 0.0}
    f, _ = train_csrec(log, read_out(f_tilde, log), torch.arange(12), Objective(), start=f_tilde, **options)
    began, kept = f.state_dict(), f_tilde.state_dict()
    assert {name for name in kept if not torch.equal(began[name], kept[name])} == {"calibration", "apart"}
    assert waits == [3]
