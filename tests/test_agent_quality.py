"""The gate stops agents that do not judge books, and lets pass those that do."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.agent.collect import collect, pilot_table
from csrec_core.agent.design import draw_blocks
from csrec_core.agent.quality import judge_pilot
from csrec_core.agent.simulator import Simulator

STEPS = 20


@pytest.fixture(autouse=True)
def fewer_permutations(monkeypatch):
    monkeypatch.setattr("csrec_core.agent.quality.PERMUTATIONS", 200)


class Positional(Simulator):
    """Answers by the number of the exposure: what the released GPT4-books do."""

    rates = np.array([0, 0.75, 0.3, 0, 0.85, 0.2, 0.5, 0.9, 0.1, 0.6] * 2)

    def decide(self, question):
        place = question.turn
        p = np.full(len(question.item), self.rates[place])
        return self._uniform(question.readers.reader, kind=9, turn=place) < p, p


class Templates(Positional):
    """Each reader has one of twenty rows of decisions."""

    def decide(self, question):
        place = question.turn
        row = np.random.default_rng(1).random((20, STEPS)) < 0.5
        accepted = row[question.readers.reader % 20, place]
        return accepted, np.where(accepted, 0.9, 0.1)


class OwnPattern(Positional):
    """Each reader has a row of their own: no step stands out over all readers."""

    def decide(self, question):
        place = question.turn
        accepted = self._uniform(question.readers.reader, kind=9, turn=place) < 0.4
        return accepted, np.where(accepted, 0.8, 0.2)


class Coin(Positional):
    """Decides by nothing at all."""

    def decide(self, question):
        draw = self._uniform(question.readers.reader, kind=9, item=question.item, t=question.before.shape[1])
        return draw < 0.4, self._uniform(question.readers.reader, kind=8, d=draw)


class Flatterer(Positional):
    """Accepts all."""

    def decide(self, question):
        ones = np.ones(len(question.item))
        return ones.astype(bool), ones


class FirstNamed(Simulator):
    """Says mostly what is offered first."""

    def decide(self, question):
        accepted, probability = super().decide(question)
        leans = self._uniform(question.readers.reader, kind=9, item=question.item) < 0.6
        first = question.readers.accept_first[:, question.turn]
        return np.where(leans, first, accepted), probability


class Echo(Simulator):
    """Says much what it said before; of a book it thinks 0.2 or, after an acceptance, 0.2 + 0.6."""

    def decide(self, question):
        p = 0.2 + 0.6 * question.last_accepted
        draw = self._uniform(question.readers.reader, kind=9, item=question.item, t=question.before.shape[1])
        return draw < p, p


class BestSeller(Simulator):
    """Knows good books from bad ones, and no reader from another."""

    def decide(self, question):
        quality = pd.Series(question.item).map(lambda item: hash((int(item), 1)) % 97 / 97).to_numpy()
        draw = self._uniform(question.readers.reader, kind=9, item=question.item, t=question.before.shape[1])
        return draw < quality, quality


class Silent(Simulator):
    """Refuses a third of the questions."""

    def decide(self, question):
        accepted, probability = super().decide(question)
        silent = self._uniform(question.readers.reader, kind=9, i=question.item) <= 0.33
        return accepted, np.where(silent, np.nan, probability)


def pilot_of(agent, catalogue, *, seed=0, steps=STEPS, readers=50):
    genre = pd.Categorical(catalogue["genre"]).codes.astype(int)
    block = next(draw_blocks(readers, genre=genre, kept=np.arange(len(genre)), steps=steps, seed=seed))
    return pilot_table(agent, block, genre=genre, books=len(genre))


def quality_of(*given, **options):
    return judge_pilot(pilot_of(*given, **options))


def failing(quality):
    return {name for name, verdict in quality.verdicts.items() if not verdict["holds"]}


@pytest.mark.parametrize("seed", range(6))
def test_it_passes_readers_who_decide_by_preference(catalogue, seed):
    quality = quality_of(Simulator(catalogue, seed=seed), catalogue, seed=seed)
    assert quality.passed, quality.failures


@pytest.mark.parametrize(
    ("agent", "because"),
    [
        (Positional, "not by step"),
        (Templates, "not by step"),
        (OwnPattern, "not by step"),
        (Coin, "by book"),
        (Flatterer, "both decisions"),
        (FirstNamed, "not by answer order"),
        (BestSeller, "by preference"),
        (Echo, "not anchored"),
        (Silent, "usable"),
    ],
)
def test_it_stops_what_would_spoil_the_log(catalogue, agent, because):
    quality = quality_of(agent(catalogue, seed=1), catalogue)
    assert because in failing(quality), quality.verdicts
    assert quality.verdicts[because]["detail"] in quality.failures


def test_templates_are_counted(catalogue):
    facts = quality_of(Templates(catalogue), catalogue).facts
    assert facts["distinct decision rows"] == 20
    assert facts["distinct decision rows by chance"] > 49


def test_anchoring_is_measured_at_the_same_book(catalogue):
    facts = quality_of(Echo(catalogue), catalogue).facts
    assert facts["anchoring: probability added by a preceding acceptance"] == pytest.approx(0.6)


def test_a_positional_agent_is_stopped_before_its_budget_is_spent(catalogue):
    readers = []

    class Counted(Positional):
        def decide(self, question):
            readers.append(len(question.readers.reader))
            return super().decide(question)

    assert collect(Counted(catalogue), catalogue, users=400).dataset is None
    assert readers == [50] * (2 * STEPS)
    forced = collect(Positional(catalogue), catalogue, users=400, force=True)
    assert len(forced.dataset.users) == 400 and not forced.quality.passed


def test_shares_of_noise_are_those_expected_by_chance(catalogue):
    """Of decisions by nothing, every share is near its permutation mean, though the item's is far from 0."""
    explained = quality_of(Coin(catalogue, seed=3), catalogue).explained
    assert explained.loc["item", "share"] > 0.3
    np.testing.assert_allclose(explained["share"], explained["chance"], atol=0.05)
    assert (explained["p"] > 0.01).all()


def test_the_p_values_of_a_coin_are_uniform(catalogue):
    p = [quality_of(Coin(catalogue, seed=s), catalogue, seed=s).explained["p"] for s in range(12)]
    values = pd.concat(p)
    assert 0.3 < values.mean() < 0.7 and values.min() > 1e-3


def test_shares_are_eta_squared_and_squared_correlation(catalogue):
    """Of the pilot's own table, computed by pandas."""
    table = pilot_of(Simulator(catalogue), catalogue, readers=30, steps=8, seed=2)
    explained = judge_pilot(table).explained
    decision = table["accepted"].astype(float)
    between = decision.groupby(table["step"]).transform("mean").var() / decision.var()
    assert explained.loc["step", "share"] == pytest.approx(between)
    slope = table["preference"].rank().corr(decision) ** 2
    assert explained.loc["stated preference", "share"] == pytest.approx(slope)
    between = decision.groupby(table["item"]).transform("mean").var() / decision.var()
    assert explained.loc["item", "share"] == pytest.approx(between)


def test_few_decisions_hold_no_weak_link_against_an_agent(catalogue):
    quality = quality_of(Coin(catalogue), catalogue, steps=4, readers=10)
    assert quality.verdicts["by book"]["holds"] and quality.verdicts["by preference"]["holds"]
    assert "too few decisions" in quality.verdicts["by book"]["detail"]


def test_nothing_answered_is_a_failure_and_no_crash(catalogue):
    class Dumb(Simulator):
        def decide(self, question):
            none = np.zeros(len(question.item), dtype=bool)
            return none, np.full(len(none), np.nan)

    quality = quality_of(Dumb(catalogue), catalogue, steps=3)
    assert {"usable", "both decisions"} <= failing(quality)
    quality_of(Simulator(catalogue), catalogue, steps=1, readers=1)
