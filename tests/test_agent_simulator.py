"""The simulated readers against the equations of the books world, and the draws of the study."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from agent_study import some_readers
from scipy.special import expit
from scipy.stats import chisquare, kstest

from csrec_core.agent.collect import collect
from csrec_core.agent.design import BLOCK_READERS, draw_blocks, recommend
from csrec_core.agent.questions import Exposure
from csrec_core.agent.simulator import Simulator
from csrec_core.errors import InputError


@pytest.fixture(scope="module")
def genre(catalogue):
    return pd.Categorical(catalogue["genre"]).codes.astype(int)


def exposures(item, preference, *, accepted=False):
    """Questions after one purchase, or none, of a book that no question is about."""
    before = np.full((len(item), 1), 1000)
    return Exposure(some_readers(preference), item, before, np.full(before.shape, accepted))


def test_probabilities_are_those_of_the_equation(catalogue, genre):
    """Differences of logits: preference, previous decision and book add up; a reader's trust is one number."""
    even = np.full((400, 10), 0.1)
    fond = np.where(np.arange(10) == genre[7], 0.55, 0.05) + np.zeros((400, 1))
    agent = Simulator(catalogue, effect=0.4, trust_spread=0.5, affinity=3.0, carry_over=0.6, seed=1)

    def logit(question):
        p = agent.decide(question)[1]
        return np.log(p / (1 - p))

    book = np.full(400, 7)
    plain = logit(exposures(book, even))
    np.testing.assert_allclose(logit(exposures(book, fond)) - plain, 3.0 * (0.55 - 0.1), atol=1e-9)
    np.testing.assert_allclose(logit(exposures(book, even, accepted=True)) - plain, 0.6, atol=1e-9)
    other = logit(exposures(np.full(400, 8), even)) - plain
    np.testing.assert_allclose(other, other[0], atol=1e-9)
    assert abs(plain.std() - 0.5) < 0.06 and abs(np.corrcoef(plain, plain + other)[0, 1] - 1) < 1e-9


def test_the_source_effect_is_the_mean_trust(catalogue):
    even, book = np.full((5000, 10), 0.1), np.full(5000, 3)
    logits = [
        np.log(p / (1 - p))
        for effect in (0.0, 0.6)
        for p in [Simulator(catalogue, effect=effect).decide(exposures(book, even))[1]]
    ]
    np.testing.assert_allclose(logits[1] - logits[0], 0.6, atol=1e-9)


def test_decisions_are_drawn_with_their_probability(catalogue):
    rng = np.random.default_rng(0)
    n = 20_000
    accepted, probability = Simulator(catalogue, seed=4).decide(
        exposures(rng.integers(1000, size=n), rng.dirichlet(np.full(10, 0.3), n))
    )
    bins = np.digitize(probability, np.linspace(0, 1, 11))
    for number in np.unique(bins):
        own = bins == number
        error = accepted[own].mean() - probability[own].mean()
        assert abs(error) < 4 * 0.5 / np.sqrt(own.sum())


def test_the_same_question_has_the_same_answer_in_any_company(catalogue):
    rng = np.random.default_rng(1)
    agent = Simulator(catalogue, seed=2)
    item, preference = rng.integers(1000, size=50), rng.dirichlet(np.full(10, 0.3), 50)
    whole, _ = agent.decide(exposures(item, preference))
    last = np.arange(40, 50)
    question = exposures(item[last], preference[last])
    readers = replace(question.readers, reader=last + 1)
    part, _ = agent.decide(replace(question, readers=readers))
    np.testing.assert_array_equal(part, whole[last])
    assert (Simulator(catalogue, seed=3).decide(exposures(item, preference))[0] != whole).any()


def test_purchases_are_first_accepted_looks(catalogue, genre):
    """Against a simulation, look by look, of two purchases from a small shelf."""
    shelf, preference = np.array([0, 150, 151, 300, 301]), np.full(10, 0.02)
    preference[genre[[0, 150, 300]]] = [0.5, 0.25, 0.11]
    preference /= preference.sum()
    n = 40_000
    agent = Simulator(catalogue, seed=5)
    draws = {"shelf": np.tile(shelf, (n, 1)), "count": np.full(n, 2), "steps": 2}
    bought = agent.buy(some_readers(np.tile(preference, (n, 1)), reader=np.arange(n), **draws))
    assert (bought[:, 0] != bought[:, 1]).all()
    books, rng = agent._books, np.random.default_rng(0)
    look = 0.8 * preference[genre[shelf]] * books.share[shelf] + 0.2 / len(catalogue)
    logit = -1.2 + 3.0 * (preference[genre[shelf]] - 0.1) + books.quality[shelf]
    counts = {}
    for _ in range(20_000):
        own = []
        while len(own) < 2:
            s = rng.choice(5, p=look / look.sum())
            # What is owned is not looked at.
            if s not in own and rng.random() < expit(logit[s]):
                own.append(s)
        counts[tuple(own)] = counts.get(tuple(own), 0) + 1
    pairs = list(counts)
    expected = np.array([counts[pair] for pair in pairs]) / 20_000
    seen = np.array([(bought == shelf[list(pair)]).all(axis=1).sum() for pair in pairs])
    assert seen.sum() == n
    error = np.sqrt(expected * (1 - expected) * (1 / n + 1 / 20_000))
    assert (np.abs(seen / n - expected) < 4.5 * error).all()


def test_draws_are_uniform(catalogue):
    agent = Simulator(catalogue, seed=0)
    draws = agent._uniform(np.arange(20_000), kind=3, number=5, turn=2)
    assert kstest(draws, "uniform").pvalue > 0.001
    again = agent._uniform(np.arange(20_000), kind=3, number=6, turn=2)
    assert abs(np.corrcoef(draws, again)[0, 1]) < 0.03


def test_the_first_readers_are_the_same_however_many_there_are(genre):
    kept = np.arange(len(genre))
    few = next(draw_blocks(7, genre=genre, kept=kept, steps=4, seed=3))
    many = next(draw_blocks(BLOCK_READERS + 5, genre=genre, kept=kept, steps=4, seed=3))
    for name in ("preference", "shelf", "count", "candidates", "time", "accept_first", "other_order"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:7])
    sizes = [
        len(block.reader) for block in draw_blocks(BLOCK_READERS + 5, genre=genre, kept=kept, steps=4, seed=3)
    ]
    assert sizes == [BLOCK_READERS, 5]


def test_exposures_are_uniform_over_what_is_new_to_the_reader(genre):
    kept = np.arange(20, 44)
    shown, bought = [], []
    for seed in range(6):
        block = next(draw_blocks(BLOCK_READERS, genre=genre, kept=kept, steps=4, seed=seed))
        bought.append(np.where(np.arange(4) < block.count[:, None], block.shelf[:, :4], -1))
        new, propensity = recommend(block, bought[-1], books=len(kept))
        shown.append(new)
        left = 24 - block.count[:, None] - np.arange(4)
        np.testing.assert_allclose(propensity, 1 / left)
    shown, bought = np.concatenate(shown), np.concatenate(bought)
    assert set(shown.ravel()) == set(kept)
    assert not (shown[:, :, None] == bought[:, None, :]).any()
    assert all(len(set(row)) == 4 for row in shown[:500])
    for t in range(4):
        assert chisquare(np.bincount(shown[:, t] - 20)).pvalue > 1e-4


def test_too_few_books(genre):
    with pytest.raises(InputError, match="11 books take part, too few for 4 steps; expected at least 12"):
        next(draw_blocks(5, genre=genre, kept=np.arange(11), steps=4, seed=0))


def test_a_log_by_simulated_readers(catalogue):
    done = collect(Simulator(catalogue, seed=1), catalogue, users=60, steps=20, seed=1)
    log = done.dataset.log
    system = log[log["source"] == "system"]
    assert done.quality.passed and done.silent == 0 and done.made_up == 0
    assert (system.groupby("user").size() == 20).all()
    own = log[log["source"] == "self"]
    assert own.groupby("user").size().between(10, 20).all() and own["decision"].eq(1).all()
    assert own["propensity"].isna().all() and system["propensity"].gt(0).all()
    order = log.sort_values(["user", "timestamp"])
    turned = order.groupby("user", observed=True)["source"].agg(lambda s: (s != s.shift()).sum())
    assert (turned == 2).all()  # first all purchases, then all exposures
    assert not log.duplicated(["user", "item"]).any()
    preferences = done.dataset.users
    np.testing.assert_allclose(preferences.drop(columns="user").sum(axis=1), 1)
    again = collect(Simulator(catalogue, seed=1), catalogue, users=60, steps=20, seed=1)
    assert again.dataset.fingerprint == done.dataset.fingerprint


def test_what_the_agent_does_not_know_takes_no_part(catalogue):
    class Forgetful(Simulator):
        def know(self, title, author):
            # It claims to know what does not exist, and not to know crime; of romance it has the genre wrong.
            names = self._names[title]
            genres = [("fantasy",) if name == "romance" else (name, "fantasy") for name in names]
            return super().know(title, author).assign(known=names != "crime", genres=genres)

    done = collect(Forgetful(catalogue), catalogue, users=5, steps=4, force=True)
    assert set(catalogue["genre"]) - set(done.dataset.items["genre"]) == {"crime", "romance"}
    assert (done.dataset.users[["preference: crime", "preference: romance"]] == 0).all(axis=None)
    assert done.made_up > 0.8
    assert set(done.dataset.log["item"]) <= set(done.dataset.items["item"])


def test_keywords_of_the_catalogue_must_be_met(catalogue):
    class Vague(Simulator):
        def know(self, title, author):
            return super().know(title, author).assign(keywords=[("Spice!", "x")] * len(title))

    own = catalogue.assign(keywords=np.where(catalogue["genre"] == "crime", "the spice; sand", ""))
    own.loc[0, "keywords"] = "time"
    done = collect(Vague(own), own, users=5, steps=4, force=True)
    assert len(done.dataset.items) == len(own) - 1
