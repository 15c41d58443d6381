"""What the user did so far, against a plain loop over exposures."""

import math

import pytest
import torch

from csrec_core.models.backbones.encoder import ACCEPT, REJECT, UNKNOWN
from csrec_core.models.user_state import RUN_CAP, SHARE_PRIOR, UserState

USERS, LENGTH, OWN, ITEMS = 6, 14, 8, 5


def some_windows():
    """Windows that begin with padding, of some decisions unknown, with items that come again."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, ITEMS + 1, (USERS, LENGTH), generator=generator)
    decisions = torch.randint(0, 3, (USERS, LENGTH), generator=generator)
    decisions[0] = REJECT
    for user in range(USERS):
        items[user, :user] = 0
    return items, decisions


def some_features(kind):
    if kind is None:
        return None
    features = torch.zeros(ITEMS + 1, 2)
    features[1:4, 0] = features[4:, 1] = 1
    return features


def numbers_of(asked, past, features, *, apart, step):
    """Describe one exposure of the item `asked` after `past`, a list of (item, decision, self-chosen)."""

    def alike(item):
        return float(item == asked) if features is None else float(features[item] @ features[asked])

    def rate(yes, no):
        return [(yes + 0.5) / (yes + no + 1), math.log1p(yes) / 3, math.log1p(no) / 3]

    every = range(1, ITEMS + 1)
    even = sum(alike(item) for item in every) / ITEMS
    chosen = [item for item, _, own in past if own]
    numbers = [math.log1p(len(chosen)) / 3]
    numbers.append((sum(map(alike, chosen)) + SHARE_PRIOR * even) / (len(chosen) + SHARE_PRIOR))
    for weigh in (lambda item: 1.0, alike):
        for phase in (True, False):
            counts = [
                sum(weigh(item) for item, d, own in past if d == decision and (own or not apart) == phase)
                for decision in (ACCEPT, REJECT)
            ]
            numbers += rate(*counts)
    accepted = [item for item, d, _ in past if d == ACCEPT]
    numbers.append((sum(map(alike, accepted)) + SHARE_PRIOR * even) / (len(accepted) + SHARE_PRIOR))
    decided = [UNKNOWN, UNKNOWN, *(d for _, d, _ in past)]
    for decision in (decided[-1], decided[-2]):
        numbers += [float(decision == ACCEPT), float(decision == REJECT)]
    run = 0
    while run < len(past) and past[-1 - run][1] == REJECT:
        run += 1
    step = step if apart else 0
    return [*numbers, min(run, RUN_CAP) / RUN_CAP, float(step > 0), math.log1p(step) / 3]


@pytest.mark.parametrize("kind", ["genres", None])
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("last", [None, REJECT, ACCEPT])
@pytest.mark.parametrize("first", [0, OWN])
def test_every_exposure_is_described_by_what_lies_before_it(kind, apart, last, first):
    (items, decisions), features = some_windows(), some_features(kind)
    asked = torch.randint(1, ITEMS + 1, items.shape, generator=torch.Generator().manual_seed(1))
    state = UserState(ITEMS, features)
    options = {"own": OWN, "last": last, "first": first, "apart": apart}
    described = state.describe(items, decisions, asked=asked, **options)
    assert described.shape[:2] == (USERS, LENGTH - first)
    for user in range(USERS):
        for slot in range(max(first, user), LENGTH):
            past = [(items[user, j].item(), decisions[user, j].item(), j < OWN) for j in range(user, slot)]
            if last is not None and past:
                past[-1] = (past[-1][0], last, past[-1][2])
            step = max(0, slot - OWN + 1)
            plain = numbers_of(asked[user, slot].item(), past, features, apart=apart, step=step)
            torch.testing.assert_close(described[user, slot - first], torch.tensor(plain))


@pytest.mark.parametrize("kind", ["genres", None])
def test_the_catalogue_is_described_as_one_more_exposure_each(kind):
    (items, decisions), features = some_windows(), some_features(kind)
    described = UserState(ITEMS, features).describe_catalogue(items, decisions)
    for user in range(USERS):
        past = [(items[user, j].item(), decisions[user, j].item(), True) for j in range(user, LENGTH)]
        for item in range(1, ITEMS + 1):
            plain = numbers_of(item, past, features, apart=True, step=0)
            torch.testing.assert_close(described[user, item - 1], torch.tensor(plain))


def test_it_says_nothing_before_it_has_learned():
    state = UserState(ITEMS)
    numbers = state.describe(*some_windows(), own=OWN)
    said = state(numbers)
    torch.testing.assert_close(said, said[0, 0].expand_as(said))
