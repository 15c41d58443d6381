"""Every backbone: nothing leaks, padding is nothing, a rule is learned and noise is not."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import accepted_log

from csrec_core.data.log import Dataset, validate_log
from csrec_core.errors import InputError
from csrec_core.models.backbones import BACKBONES, backbone_class
from csrec_core.models.backbones.bert4rec import BERT4Rec
from csrec_core.models.backbones.bsarec import BSARec
from csrec_core.models.backbones.encoder import ACCEPT, REJECT, UNKNOWN, align_right
from csrec_core.models.backbones.fmlprec import FMLPRec
from csrec_core.models.backbones.layers import Dropout, toeplitz
from csrec_core.models.losses import LOSSES, gbce, sampled_softmax, softmax
from csrec_core.models.next_item import SCHEMES, cut_windows, rank_next_item, train_next_item
from csrec_core.models.sequences import to_sequences
from csrec_core.models.train import Training
from csrec_core.report.parameters import notebooks_folder, read_parameters

ITEMS, POSITIONS = 15, 12
EXACT = {"fmlprec-exact": FMLPRec, "bsarec-exact": BSARec}
EVERY = [*BACKBONES, *EXACT]


def build(name, **hyper):
    """Return a backbone far from its small initial weights, so that a leak would show."""
    hyper = {"positions": POSITIONS, "users": 9, "hidden": 16, **hyper}
    model = (
        EXACT[name](ITEMS, causal=False, **hyper) if name in EXACT else backbone_class(name)(ITEMS, **hyper)
    )
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    with torch.no_grad():
        model.item.weight[0] = 0
    return model.eval()


@pytest.fixture
def windows():
    """Windows of ten tokens; the second and third are padded before, the fourth after, the fifth is empty."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, ITEMS + 1, (5, 10), generator=generator)
    decisions = torch.randint(0, 3, (5, 10), generator=generator)
    items[1, :4], items[2, :9], items[3, 7:], items[4] = 0, 0, 0, 0
    return items, decisions, torch.tensor([0, 3, 8, 2, 5])


def random_states(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def same(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_a_state_knows_nothing_of_what_comes_later(name, windows):
    items, decisions, users = windows
    model = build(name)
    states = model.encode(items, decisions, users=users)
    for t in (0, 2, 9):
        other, turned = items.clone(), decisions.clone()
        other[0, t:], turned[0, t:] = 3, UNKNOWN
        changed = model.encode(other, turned, users=users)
        same(changed[:, : t + 1], states[:, : t + 1])
        assert not torch.allclose(changed[0, t + 1], states[0, t + 1], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_a_state_is_that_of_its_prefix_alone(name, windows):
    items, decisions, users = windows
    model = build(name)
    states = model.encode(items, decisions, users=users)
    assert states.shape == (5, 11, 16)
    for t in range(11):
        same(model.encode_end(items[:, :t], decisions[:, :t], users=users), states[:, t])


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_padding_changes_nothing(name, windows):
    items, decisions, users = windows
    model = build(name)
    states = model.encode(items, decisions, users=users)
    same(model.encode(items[1:2, 4:], decisions[1:2, 4:], users=users[1:2]), states[1:2, 4:])
    before = F.pad(items, (2, 0)), F.pad(decisions, (2, 0), value=REJECT)
    same(model.encode(*before, users=users)[:, 2:], states)
    after = F.pad(items, (0, 2)), F.pad(decisions, (0, 2), value=UNKNOWN)
    same(model.encode(*after, users=users)[:, :11], states)
    same(model.encode_end(*after, users=users), states[:, 10])


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("last", [REJECT, ACCEPT])
def test_states_after_a_last_decision_are_each_prefix_with_it_set(name, last, windows):
    items, decisions, users = (part[:3] for part in windows)  # those that end with a token
    model = build(name)
    states = model.encode(items, decisions, users=users, last=last)
    for t in range(11):
        turned = decisions[:, :t].clone()
        turned[:, t - 1 :] = last
        same(states[:, t], model.encode_end(items[:, :t], turned, users=users))
    other = model.encode(items, decisions, users=users, last=1 - last)
    assert not torch.allclose(states[0, 5], other[0, 5], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_wanted_states_are_those_of_all(name, windows, monkeypatch):
    items, decisions, users = windows
    model = build(name)
    wanted = (items > 0) & (torch.arange(10) % 3 == 0)
    states = model.encode(items, decisions, users=users)[:, :-1][wanted]
    same(model.encode_at(items, wanted, decisions, users=users), states)
    monkeypatch.setattr("csrec_core.models.backbones.encoder.READ_WINDOWS", 2)  # and in pieces, too
    same(model.encode_at(items, wanted, decisions, users=users), states)
    one = torch.zeros_like(wanted).scatter(1, wanted.byte().argmax(dim=1, keepdim=True), True) & wanted
    same(model.encode_at(items, one, decisions, users=users), states[one[wanted]])


@torch.no_grad()
@pytest.mark.parametrize("name", EVERY)
def test_of_a_long_window_the_last_tokens_are_read(name):
    items = torch.randint(1, ITEMS + 1, (3, 20), generator=torch.Generator().manual_seed(0))
    model = build(name)
    same(model.encode_end(items), model.encode_end(items[:, -POSITIONS:]))


@torch.no_grad()
def test_masked_tokens_are_hidden_and_the_rest_is_seen(windows):
    items, decisions, _ = windows
    model = build("bert4rec")
    masked = (items > 0) & (torch.arange(10) % 4 == 2)
    states = model.encode_masked(items, masked, decisions)
    assert states.shape == (int(masked.sum()), 16)
    same(model.encode_masked(items.masked_fill(masked, 7), masked, decisions), states)
    later = items.clone()
    later[0, 9] = items[0, 9] % ITEMS + 1
    assert not torch.allclose(model.encode_masked(later, masked, decisions)[0], states[0], atol=1e-3)
    # A mask on the last token alone is what a recommendation reads.
    last = torch.zeros_like(masked)
    last[0, 9] = True
    same(model.encode_masked(items, last, decisions), model.encode_end(items[:1, :9], decisions[:1, :9]))

    tokens, real = model._to_end(items.masked_fill(masked, ITEMS + 1), decisions.masked_fill(masked, UNKNOWN))
    for block in model.blocks:
        tokens = block(tokens, real)
    window, aligned = align_right(items)
    hidden = masked.gather(1, window) & aligned
    same(model.out(tokens[:, 1:][hidden]), states)  # the last layer, read at those tokens alone, is the same


@torch.no_grad()
def test_an_exact_filter_is_the_product_of_spectra():
    mixer, window = build("fmlprec-exact", layers=1).blocks[0].mixer, POSITIONS + 1
    states = random_states(2, 7, 16)
    spectrum = torch.fft.rfft(F.pad(states, (0, 0, window - 7, 0)), dim=1)
    product = spectrum * torch.view_as_complex(mixer.spectrum)
    filtered = torch.fft.irfft(product, n=window, dim=1)[:, -7:]
    same(mixer(states, None), filtered)
    same(mixer.end(states, None), filtered[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("cutoff", [1, 3])
def test_an_exact_rescaling_keeps_the_lowest_frequencies(cutoff):
    model, window = build("bsarec-exact", layers=1, cutoff=cutoff), POSITIONS + 1
    rescaling, states = model.blocks[0].rescaling, random_states(2, 7, 16)
    spectrum = torch.fft.rfft(F.pad(states, (0, 0, window - 7, 0)), dim=1)
    spectrum[:, (cutoff + 1) // 2 :] = 0  # a real signal's spectrum holds one of each conjugate pair
    low = torch.fft.irfft(spectrum, n=window, dim=1)[:, -7:]
    expected = rescaling.norm(states + low + rescaling.beta**2 * (states - low))
    same(rescaling(states, None), expected)
    same(rescaling.end(states, None), expected[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("name", ["fmlprec", "bsarec"])
def test_both_forms_agree_at_the_end_of_one_layer(name, windows):
    items, decisions, _ = windows
    causal, exact = build(name, layers=1), build(f"{name}-exact", layers=1)
    for model in (causal, exact):
        model.position.weight.zero_()  # they count from other ends
    same(causal.encode(items, decisions), exact.encode(items, decisions))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    ones = torch.ones(400, 777, requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = Dropout(share)(ones)
    kept = 1 - min(255, round(256 * share)) / 256
    values = found.detach().unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / kept]))
    assert (found > 0).double().mean().item() == pytest.approx(kept, abs=5 * (kept / found.numel()) ** 0.5)
    rows = (found > 0).double()  # a value says nothing of the next one
    assert abs(torch.corrcoef(torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()]))[0, 1]) < 0.01
    found.sum().backward()
    assert torch.equal(ones.grad, found)
    assert torch.equal(Dropout(share).eval()(ones), ones)


def test_toeplitz_is_a_circular_convolution():
    kernel = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert toeplitz(kernel, 3, causal=False).tolist() == [[1, 4, 3], [2, 1, 4], [3, 2, 1]]
    assert toeplitz(kernel, 3, causal=True).tolist() == [[1, 0, 0], [2, 1, 0], [3, 2, 1]]


@torch.no_grad()
def test_caser_is_its_convolutions_one_by_one():
    model, users = build("caser", order=3), torch.tensor([4])
    tokens = random_states(1, 6, 16)
    states = model.mix(tokens, users)
    for t in range(6):
        image = torch.cat([torch.zeros(2, 16), tokens[0]])[t : t + 3]
        peaks = []
        for height, filters in enumerate(model.heights, start=1):
            places = [filters(image[i : i + height].flatten()) for i in range(3 - height + 1)]
            peaks.append(torch.stack(places).relu().amax(dim=0))
        weighed = model.vertical(image.T).flatten()
        joined = model.join(torch.cat([*peaks, weighed])).relu()
        same(states[0, t], model.out(torch.cat([joined, model.user.weight[5]])))


# --- losses ----------------------------------------------------------------------------------------------


def some_targets(count):
    return torch.randint(1, ITEMS + 1, (count,), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_sampled_softmax_tends_to_the_full_one():
    model, states, targets = build("sasrec"), random_states(100, 16), some_targets(100)
    torch.manual_seed(0)
    sampled = sampled_softmax(model, states, targets, negatives=100_000).item()
    assert sampled == pytest.approx(softmax(model, states, targets).item(), rel=0.01)


@torch.no_grad()
def test_gbce_that_samples_as_many_as_there_are_is_plain_bce():
    """Its calibration has nothing to undo."""
    model, states, targets = build("sasrec"), random_states(50, 16), some_targets(50)
    torch.manual_seed(5)
    drawn = torch.randint(1, ITEMS + 1, (ITEMS - 1,))
    scores = model.score(states)
    positive = F.softplus(-scores[torch.arange(50), targets - 1])
    negative = F.softplus(scores[:, drawn - 1]).masked_fill(drawn == targets[:, None], 0).sum(dim=1)
    torch.manual_seed(5)
    value = gbce(model, states, targets, negatives=ITEMS - 1).item()
    assert value == pytest.approx((positive + negative).mean().item() / ITEMS, rel=1e-5)


# --- learning --------------------------------------------------------------------------------------------


def walks(*, items=ITEMS, users=240, length=14, seed=0, shuffled=False):
    """Users who take the item after the last one, or items in any order."""
    rng = np.random.default_rng(seed)
    walk = (rng.integers(items, size=(users, 1)) + np.arange(length)) % items
    if shuffled:
        walk = np.argsort(rng.random((users, items)), axis=1)[:, :length]
    return to_sequences(accepted_log(walk), length=length)


def ranks_of(sequences, name, **options):
    hyper = {"hidden": 32, "dropout": 0.1}
    if name in EXACT:
        name, hyper["causal"] = name.removesuffix("-exact"), False
    model, _ = train_next_item(sequences, backbone=name, **hyper, **options)
    return rank_next_item(model, sequences)


@pytest.mark.parametrize("name", EVERY)
def test_a_rule_is_learned(name):
    training = Training(epochs=60, patience=6, batch=32, rate=5e-3)
    assert ranks_of(walks(users=120), name, training=training)["rank"].eq(1).mean() > 0.95


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_learned_from_noise(name):
    sequences = walks(items=40, length=10, shuffled=True)
    ranks = ranks_of(sequences, name, training=Training(epochs=6, patience=6, batch=64, rate=5e-3))
    assert ranks["candidates"].eq(40 - 9).all()
    # Uniform over 31 places: mean 16, deviation 8.9, of 240 users .58.
    assert ranks["rank"].mean() == pytest.approx(16, abs=4 * 0.58)
    assert ranks["rank"].eq(1).mean() < 1 / 31 + 4 * 0.0114


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "softmax"])
def test_a_rule_is_learned_under_every_loss(loss):
    training = Training(epochs=80, patience=12, batch=32, rate=5e-3)
    ranks = ranks_of(walks(users=120), "sasrec", training=training, loss=loss, negatives=8)
    assert ranks["rank"].eq(1).mean() > 0.95


def test_prefixes_and_positions_ask_for_the_same():
    sequences, model, values = walks(users=7), build("sasrec", positions=20), []
    for scheme in ("positions", "prefixes"):
        rows, _, loss = SCHEMES[scheme](model, cut_windows(sequences, 8), softmax)
        values.append(loss(rows).item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_cloze_asks_for_every_item_at_the_end_of_its_prefix_and_for_a_share_of_the_rest():
    sequences, asked = walks(users=200), []
    windows = cut_windows(sequences, 12)
    model = BERT4Rec(ITEMS, positions=20, hidden=16, dropout=0.0, masked=0.0)

    def noted(model, states, targets):
        asked.append((states, targets))
        return torch.zeros(())

    rows, lengths, loss = SCHEMES["cloze"](model, windows, noted)
    with torch.no_grad():
        loss(rows)
        states, targets = asked.pop()
        assert torch.equal(targets, windows.items[windows.wanted])
        assert torch.equal(lengths, torch.arange(12).repeat(200))
        # With no other token hidden, that is what a recommendation after the prefix reads.
        some = slice(600, 612)
        prefixes = torch.cat([windows.items[50:51].tril(t - 1)[:, :12] for t in range(12)])
        same(states[some], model.encode_end(prefixes))
        model.masked = 0.3
        torch.manual_seed(0)
        loss(rows)
    earlier = 200 * 12 * 11 / 2
    share = (len(asked.pop()[1]) - len(rows)) / earlier
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / earlier) ** 0.5)


def test_windows_ask_for_every_item_once():
    sequences = walks(users=9, length=14)
    windows = cut_windows(sequences, 5)
    held = torch.stack([sequences.self_items[:, i] for i in range(12)], dim=1)
    assert torch.equal(*(part.flatten().msort() for part in (windows.items[windows.wanted], held)))
    for user in range(9):
        mine = windows.select(windows.users == user)
        asked = [mine.items[i][mine.wanted[i]].tolist() for i in range(len(mine.items))]
        assert [item for part in reversed(asked) for item in part] == held[user].tolist()
        # Each but the first of all has two tokens or more before it.
        assert all(mine.wanted[i].nonzero()[0] >= 3 for i in range(len(mine.items) - 1))
    last = cut_windows(sequences, 5, whole=False)
    assert last.items.equal(held[:, -5:])
    assert last.wanted.all()
    whole = cut_windows(sequences, 30)
    assert whole.items[:, -12:].equal(held)
    assert whole.users.tolist() == list(range(9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 15}, "hidden = 15; expected a multiple of the 2 attention heads"),
        ({"backbone": "sasrek"}, r"unknown backbone 'sasrek'.*did you mean 'sasrec'"),
        ({"loss": "softmaxx"}, r"unknown loss 'softmaxx'.*did you mean 'softmax'"),
        ({"scheme": "position"}, r"unknown scheme 'position' in sasrec.*did you mean 'positions'"),
        ({"scheme": "cloze"}, "unknown scheme 'cloze' in sasrec: expected one of positions, prefixes"),
        ({"scheme": "positions", "backbone": "bert4rec"}, "in bert4rec: expected one of cloze, prefixes"),
    ],
)
def test_what_cannot_be_trained_is_said(options, message):
    with pytest.raises(InputError, match=message):
        train_next_item(walks(users=30), training=Training(epochs=1), **options)


def test_nothing_to_learn_from_is_said():
    with pytest.raises(InputError, match="no user has a self-chosen item to learn from"):
        train_next_item(to_sequences(rejections(), length=6), training=Training(epochs=1))


def rejections():
    """Users who accept nothing but their last two items."""
    frame = pd.DataFrame(
        {"user": np.repeat([1, 2], 5), "t": [0, 1, 2, 3, 4] * 2, "item": [1, 2, 3, 4, 5] * 2}
    )
    return Dataset(validate_log(frame.assign(decision=[0, 0, 0, 1, 1] * 2, source="self")))


@pytest.mark.parametrize("notebook", ["03_train", "04_treatment_effect"])
def test_the_notebooks_offer_every_backbone(notebook):
    declared = read_parameters(notebooks_folder() / f"{notebook}.ipynb")
    assert declared["backbone"].choices == tuple(BACKBONES)
