"""The world of benchmarks/order.py: its filters against enumeration, and that order is worth something."""

from itertools import permutations

import numpy as np
import order
import pytest
from scipy.special import expit


@pytest.fixture(scope="module")
def world():
    return order.World.draw(400, seed=3)


def by_hand(world, user, slot, orders):
    """Return P(accept) at a slot by Bayes' rule over some orders of the library, equally likely."""
    total = accepted = 0.0
    for library in orders:
        for shift in order.TYPES:
            a, b, c = library[-1], library[-2], library[0]
            likely = 1.0
            for before in range(order.LIBRARY, slot + 1):
                chance = expit(
                    order.decision_logits(world.genre[user, before], a, b, c)
                    + shift
                    + order.World.arm()[before]
                )
                if before < slot:
                    likely *= chance if world.decision[user, before] else 1 - chance
            total += likely
            accepted += likely * chance
    return accepted / total


def test_the_filters_are_bayes_rule_over_the_orders(world):
    by_order, by_counts = (
        world.filtered(prior) for prior in (world.prior_by_order(), world.prior_by_counts())
    )
    own = order.LIBRARY + order.CHOSEN
    for user in range(3):
        library = tuple(world.genre[user, : order.LIBRARY])
        for place in (0, 4):
            assert by_order[user, place] == pytest.approx(by_hand(world, user, own + place, [library]))
            orders = permutations(
                library
            )  # repeated items give repeated orders, which weighs them as it must
            assert by_counts[user, place] == pytest.approx(by_hand(world, user, own + place, orders))


def test_what_is_counted_is_blind_to_the_order_of_the_library(world):
    turned = order.World(world.genre.copy(), world.item.copy(), world.decision, world.kind)
    for table in (turned.genre, turned.item):
        table[:, : order.LIBRARY] = table[:, : order.LIBRARY][:, ::-1]
    np.testing.assert_array_equal(order.count_features(turned), order.count_features(world))
    np.testing.assert_allclose(
        turned.filtered(turned.prior_by_counts()), world.filtered(world.prior_by_counts())
    )
    assert not np.allclose(
        turned.filtered(turned.prior_by_order()), world.filtered(world.prior_by_order()), atol=0.1
    )


def test_each_who_knows_more_loses_less_and_is_calibrated(world):
    decision = world.decision[:, order.LIBRARY + order.CHOSEN :]
    readers = {
        "oracle": world.filtered(world.prior_by_order(kind=True)),
        "filter": world.filtered(world.prior_by_order()),
        "filter of counts": world.filtered(world.prior_by_counts()),
    }
    table = order.compare(decision, readers | order.trees_and_lookup(world, np.arange(400) % 2), draws=20)
    assert table["log loss"].is_monotonic_increasing  # oracle, filter, of counts, trees, lookup
    error = np.sqrt(0.25 / decision.size)
    for chance in readers.values():
        assert abs(chance.mean() - decision.mean()) < 4 * error
