"""The books world: its stored truth against enumeration, its propensities against frequencies."""

import itertools

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.special import logit

from csrec_core.books import simulate_books
from csrec_core.errors import InputError

TRUTHS = ["p_system", "p_self", "marginal_system", "marginal_self"]


def test_same_seed_same_log():
    first, second = (simulate_books(users=30, items=20, steps=4, seed=5) for _ in range(2))
    assert_frame_equal(first.log, second.log)
    assert_frame_equal(first.truth, second.truth)
    assert not first.log.equals(simulate_books(users=30, items=20, steps=4, seed=6).log)


def test_shape_and_sources():
    dataset = simulate_books(users=30, items=20, steps=4)
    assert dataset.log.groupby(["user", "source"], observed=True).size().eq(4).all()
    assert len(dataset.truth) == len(dataset.log)
    assert dataset.items["item"].to_list() == list(range(1, 21))
    assert dataset.truth[TRUTHS].to_numpy().min() > 0
    assert dataset.truth[TRUTHS].to_numpy().max() < 1


def test_no_source_effect_is_no_effect():
    truth = simulate_books(users=50, items=20, steps=5, effect=0, trust_spread=0).truth
    np.testing.assert_array_equal(truth["p_system"], truth["p_self"])
    np.testing.assert_array_equal(truth["marginal_system"], truth["marginal_self"])


def test_effect_is_the_source_effect_in_logits():
    truth = simulate_books(users=50, items=20, steps=5, effect=0.7, trust_spread=0, trend=0).truth
    np.testing.assert_allclose(logit(truth["p_system"]) - logit(truth["p_self"]), 0.7, atol=1e-9)


def test_trend_moves_the_effect():
    truth = simulate_books(users=50, items=20, steps=5, effect=1, trust_spread=0, trend=0.5).truth
    system = truth[truth["source"] == "system"]
    lift = (logit(system["p_system"]) - logit(system["p_self"])).groupby(system["t"]).mean()
    np.testing.assert_allclose(lift, [0.5, 0.75, 1, 1.25, 1.5], atol=1e-9)


@pytest.mark.parametrize("regime", ["system", "self"])
def test_marginal_truth_is_the_sum_over_all_decision_paths(regime):
    """Enumerate every path of earlier decisions of the phase, from the one-step probabilities alone."""
    carry = 0.9
    dataset = simulate_books(users=6, items=10, steps=5, carry_over=carry, seed=2)
    rows = dataset.log.merge(dataset.truth, on=["user", "t", "source"])
    for user in range(1, 7):
        own = rows[rows["user"] == user]
        before = own.loc[own["source"] == "self", "decision"].iloc[-1]
        phase = own[own["source"] == "system"]
        realised = np.concatenate([[before], phase["decision"].to_numpy()[:-1]])
        # The logit with no accepted exposure before it, from the stored one-step probability.
        base = logit(phase[f"p_{regime}"].to_numpy()) - carry * realised
        for t in range(5):
            total = 0.0
            for path in itertools.product((0, 1), repeat=t):
                weight, previous = 1.0, before
                for step, decision in enumerate(path):
                    p = 1 / (1 + np.exp(-(base[step] + carry * previous)))
                    weight *= p if decision else 1 - p
                    previous = decision
                total += weight / (1 + np.exp(-(base[t] + carry * previous)))
            assert phase[f"marginal_{regime}"].iloc[t] == pytest.approx(total, abs=1e-12)


def test_decisions_follow_their_probabilities():
    dataset = simulate_books(users=4000, items=30, steps=6, seed=4)
    rows = dataset.log.merge(dataset.truth, on=["user", "t", "source"])
    for source in ("self", "system"):
        own = rows[rows["source"] == source]
        bins = pd.cut(own[f"p_{source}"], 10)
        grouped = own.groupby(bins, observed=True)
        error = grouped["decision"].mean() - grouped[f"p_{source}"].mean()
        assert (error.abs() < 5 * np.sqrt(0.25 / grouped.size())).all()


def test_self_propensities_are_frequencies():
    """A Horvitz-Thompson sum of ones over the items is one, in every world; here to sampling error."""
    dataset = simulate_books(users=20_000, items=12, steps=2, genres=3, seed=1)
    chosen = dataset.log[dataset.log["source"] == "self"]
    total = (1 / chosen["propensity"]).mean()
    assert total == pytest.approx(12, rel=0.03)
    by_item = (1 / chosen["propensity"]).groupby(chosen["item"]).sum() / len(chosen)
    assert by_item.sub(1).abs().max() < 0.1
    assert dataset.log.loc[dataset.log["source"] == "system", "propensity"].eq(1 / 12).all()


def test_fewer_items_than_genres():
    dataset = simulate_books(users=40, items=3, steps=3, genres=10)
    assert dataset.log["item"].between(1, 3).all()
    assert dataset.log["propensity"].between(0, 1, inclusive="right").all()


@pytest.mark.parametrize("knob", [{"users": 0}, {"items": 0}, {"steps": 0}, {"browsing": 1.2}])
def test_bad_knobs(knob):
    with pytest.raises(InputError, match=next(iter(knob))):
        simulate_books(**knob)
