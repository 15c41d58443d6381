"""Where the sources take turns, each exposure is read after what came before it, and after nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset, order_clues, order_column, validate_log
from csrec_core.models.acceptance import build_model
from csrec_core.models.backbones.encoder import ACCEPT, REJECT, UNKNOWN
from csrec_core.models.csrec import Objective, predict_csrec, recursion, train_csrec
from csrec_core.models.preference import read_out
from csrec_core.models.sequences import Window, to_sequences
from csrec_core.models.train import Training

# User 1: self, system, self, self, system, system. User 2: system, self, system. User 3: self alone.
ROWS = [
    (1, 1, 10, 1, "self"),
    (1, 2, 20, 0, "system"),
    (1, 3, 30, 0, "self"),
    (1, 4, 40, 1, "self"),
    (1, 5, 50, 1, "system"),
    (1, 6, 10, 0, "system"),
    (2, 1, 50, 1, "system"),
    (2, 2, 40, 1, "self"),
    (2, 3, 20, 0, "system"),
    (3, 1, 30, 1, "self"),
]
#: What comes before each exposure by the system: (item, decision, self-chosen), as written above.
BEFORE = {
    (1, 2): [(10, 1, True)],
    (1, 5): [(10, 1, True), (20, 0, False), (30, 0, True), (40, 1, True)],
    (1, 6): [(10, 1, True), (20, 0, False), (30, 0, True), (40, 1, True), (50, 1, False)],
    (2, 1): [],
    (2, 3): [(50, 1, False), (40, 1, True)],
}


def log_of(rows, **columns) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user", "t", "item", "decision", "source"])
    return validate_log(frame.assign(**columns))


@pytest.fixture(scope="module")
def sequences():
    return to_sequences(Dataset(log_of(ROWS)), length=4)


def some_model(sequences, backbone="sasrec", **options):
    model = build_model(sequences, backbone=backbone, hidden=8, **options)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():  # far from the small initial weights, so that leaks would show
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def same(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def cells(sequences):
    """Yield each exposure by the system: user, column, t, as its log has it."""
    log = log_of(ROWS)
    for user, column in zip(*np.nonzero(sequences.system_rows >= 0), strict=True):
        row = log.iloc[sequences.system_rows[user, column]]
        yield user, column, (int(row["user"]), int(row["t"]))


def test_each_exposure_is_read_after_what_came_before_it(sequences):
    everyone = torch.arange(3)
    window = sequences.window(everyone)
    found = {}
    for user, column, cell in cells(sequences):
        place = int(window.place[user, column])
        before = slice(0, place)
        parts = window.items[user, before], window.decisions[user, before], window.own[user, before]
        found[cell] = [
            (int(sequences.catalogue[item - 1]), int(decision), bool(own))
            for item, decision, own in zip(*parts, strict=True)
            if item > 0
        ]
        assert window.items[user, place] == sequences.system_items[user, column]
    assert found == BEFORE
    assert (window.exposed(window.items) == sequences.system_items)[sequences.system_items > 0].all()
    direct = {cell: bool(window.direct[user, column]) for user, column, cell in cells(sequences)}
    assert direct == {cell: not before or before[-1][2] for cell, before in BEFORE.items()}


def alone(model, sequences, user, cell, item, *, hide=False, last=None):
    """Return the logit of one exposure, from a window that holds nothing but what came before it."""
    past = BEFORE[cell]
    decisions = [UNKNOWN if hide and not own else decision for _, decision, own in past]
    if last is not None:
        decisions[-1] = last
    numbers = np.searchsorted(sequences.catalogue, [i for i, _, _ in past]) + 1
    items = torch.tensor([[*numbers.tolist(), int(item)]], dtype=torch.int64)
    known = torch.tensor([[*decisions, UNKNOWN]])
    own = torch.tensor([[*(own for _, _, own in past), False]])
    return model.logits(Window(items, known, own), users=torch.tensor([user]))[0, -1]


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec", "caser", "bert4rec", "fmlprec"])
@torch.no_grad()
def test_f_is_what_the_past_alone_says(sequences, backbone):
    model, everyone = some_model(sequences, backbone), torch.arange(3)
    filtered, marginal = predict_csrec(model, sequences, everyone, wanted=sequences.system_items > 0)
    for user, column, cell in cells(sequences):
        item = sequences.system_items[user, column]
        same(filtered[user, column], torch.sigmoid(alone(model, sequences, user, cell, item)))
        same(marginal[user, column], torch.sigmoid(alone(model, sequences, user, cell, item, hide=True)))


@torch.no_grad()
def test_readouts_know_a_decision_of_the_users_own(sequences):
    """D_{t-1} is turned where the system exposed it, and is what it was where the user chose."""
    model = some_model(sequences, apart=False)
    readouts = read_out(model, sequences)
    for user, column, cell in cells(sequences):
        item, past = sequences.system_items[user, column], BEFORE[cell]
        same(readouts.filtered[user, column], torch.sigmoid(alone(model, sequences, user, cell, item)))
        turned = bool(past) and not past[-1][2]
        for name, decision in (("after_reject", REJECT), ("after_accept", ACCEPT)):
            last = decision if turned else None
            expected = torch.sigmoid(alone(model, sequences, user, cell, item, hide=True, last=last))
            same(getattr(readouts, name)[user, column], expected)
    same(recursion(readouts.marginal, readouts), readouts.marginal)


def test_training_reads_the_same(sequences):
    """What comes after an exposure changes neither its f nor the loss of a step."""
    model, everyone = some_model(sequences), torch.arange(3)
    later = replace(sequences, self_items=sequences.self_items.clone())
    later.self_items[0, -1] = 1  # item 40 of user 1, at t = 4
    with torch.no_grad():
        one, other = (predict_csrec(model, each, everyone)[0] for each in (sequences, later))
    assert torch.equal(one[0, 0], other[0, 0])
    assert (one[0, 1:] != other[0, 1:]).all()
    many = pd.concat([log_of(ROWS).assign(user=lambda f, n=n: f["user"] + 3 * n) for n in range(20)])
    log = to_sequences(Dataset(validate_log(many)), length=4)
    options = {"training": Training(epochs=2, batch=8), "hidden": 8}
    readouts = read_out(some_model(log, apart=False), log)
    for backbone in ("sasrec", "fmlprec"):
        _, history = train_csrec(log, readouts, torch.arange(60), Objective(), backbone=backbone, **options)
        assert np.isfinite(history["validation"]).all()


def told_by(log):
    return order_column([order_clues(log)])


def test_which_column_tells_the_order_of_a_log():
    by_t = log_of(ROWS)
    assert told_by(by_t) == "t"
    assert (
        told_by(log_of(ROWS, timestamp=range(10, 0, -1))) == "t"
    )  # a clock that contradicts t is not believed
    # One that does not goes before t.
    rows = [(1, 1, 10, 1, "self"), (1, 2, 20, 1, "self"), (1, 1, 30, 0, "system")]
    for times in ([1, 3, 2], ["2026-01-01", "2026-01-03T10:00", "2026-01-02"]):
        timed = log_of(rows, timestamp=times)
        assert told_by(timed) == "timestamp" and to_sequences(Dataset(timed), length=2).turns.tolist() == [
            [0, 2, 1]
        ]
    assert to_sequences(Dataset(log_of(rows, timestamp=[1, 1, 1])), length=2).turns is None  # self first
    # One time short, it tells nothing; t that begins anew in each source tells nothing either.
    assert told_by(by_t.assign(timestamp=[np.nan, *range(9)])) == "t"
    assert told_by(log_of([(1, 1, 10, 1, "self"), (1, 1, 20, 1, "system")])) == ""
    assert told_by(log_of([(1, 3, 10, 1, "self"), (2, 1, 20, 1, "system")])) == ""  # of nobody's rows
    # What a part contradicts tells nothing of the whole.
    assert order_column([(True, True, False), (True, True, True)]) == "timestamp"
    assert order_column([(True, True, False), (False, True, True)]) == "t"
    assert order_column([(True, True, True), (False, False, True)]) == ""


def test_a_log_that_is_self_first_is_read_as_ever():
    """The same log, once with a clock that says what the layout assumes."""
    world = simulate_books(users=40, items=12, steps=5, seed=2)
    assert told_by(world.log) == ""
    late = world.log["t"] + 100 * (world.log["source"] == "system")
    timed = Dataset(world.log.assign(timestamp=late), items=world.items)
    plain, clocked = (to_sequences(each, length=5) for each in (world, timed))
    assert plain.turns is None and clocked.turns is None
    # Were it laid out turn by turn, the numbers would be the same.
    width = plain.items.shape[1]
    turned = replace(plain, turns=torch.arange(width).expand(40, -1))
    model, everyone = some_model(plain), torch.arange(40)
    with torch.no_grad():
        for one, other in zip(
            predict_csrec(model, plain, everyone), predict_csrec(model, turned, everyone), strict=True
        ):
            same(one, other)
    for name, values in vars(read_out(model, plain)).items():
        same(values, getattr(read_out(model, turned), name))
