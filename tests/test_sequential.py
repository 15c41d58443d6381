"""Sequential weights against an enumerated world of two items and hidden preferences."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import sequential
from csrec_core.effect.design import Design
from csrec_core.effect.sequential import sequential_effect
from csrec_core.errors import InputError

DESIGN = Design()

STEPS = 16
LOOK = {0: 0.85, 1: 0.2}  # a preference's probability of looking at item 1, by themselves


def accept(preference, item, last, system):
    """Probability of acceptance: a liked item, habit, and what the system adds."""
    return 0.15 + 0.3 * (preference != item) + 0.3 * last + 0.1 * system


def true_effects():
    """E[D_t | do(uniform S), system] - the same under self, after a self-chosen phase as it was lived."""
    habit = {}
    for preference in (0, 1):
        chance = 0.0  # that the last decision was an acceptance
        for _ in range(STEPS):
            chance = sum(
                look
                * ((1 - chance) * accept(preference, item, 0, 0) + chance * accept(preference, item, 1, 0))
                for item, look in ((0, LOOK[preference]), (1, 1 - LOOK[preference]))
            )
        habit[preference] = chance
    means = np.zeros((2, STEPS))
    for system in (0, 1):
        for preference in (0, 1):
            chance = habit[preference]
            for t in range(STEPS):
                chance = sum(
                    0.5
                    * (
                        (1 - chance) * accept(preference, item, 0, system)
                        + chance * accept(preference, item, 1, system)
                    )
                    for item in (0, 1)
                )
                means[system, t] += chance / 2
    return means[1] - means[0]


def simulate(users, *, effect=True, uniform=True, seed=0):
    """Draw the world; LOOK is the probability of item 0, so that preferences look at what they like less often."""
    rng = np.random.default_rng(seed)
    preference, last, rows = rng.integers(2, size=users), np.zeros(users, dtype=int), []
    look = np.array([LOOK[0], LOOK[1]])[preference]
    for source in ("self", "system"):
        for t in range(STEPS):
            first = look if source == "self" else np.full(users, 0.5 if uniform else 0.3)
            item = (rng.random(users) >= first).astype(int)
            p = accept(preference, item, last, (source == "system") * effect)
            last = (rng.random(users) < p).astype(int)
            propensity = np.where(item == 0, first, 1 - first)
            parts = {"user": np.arange(users), "t": t, "item": item, "decision": last, "source": source}
            rows.append(pd.DataFrame(parts | {"propensity": propensity}))
    return Dataset(validate_log(pd.concat(rows)))


@pytest.fixture(scope="module")
def world():
    return simulate(10_000)


def test_the_effect_is_that_of_the_enumerated_world_and_too_short_a_reach_is_seen(world):
    """One step back leaves the decision before to what users chose, whom they please less often."""
    reach, truth = sequential_effect(world, DESIGN).set_index("k"), true_effects().mean()
    assert abs(reach.loc[1, "effect"] - truth) > 5 * reach.loc[1, "error"]
    assert abs(reach.loc[4, "effect"] - truth) < 4 * reach.loc[4, "error"] < 0.04
    assert (reach["ess"].diff().dropna() < 0).all()
    chosen = reach.query("chosen").iloc[0]
    assert chosen.name >= 2 and abs(chosen["effect"] - truth) < 4 * chosen["error"]


def test_a_logged_policy_is_weighted_too():
    """The system shows item 1 more often; weighted, the effect is that of uniform exposures."""
    overall = sequential_effect(simulate(10_000, uniform=False, seed=1), DESIGN).set_index("k").loc[3]
    assert overall["effect"] == pytest.approx(true_effects().mean(), abs=4 * overall["error"])


def test_intervals_cover_and_no_effect_is_none():
    """Thirty worlds without an effect: the intervals hold zero in nearly all."""
    held = 0
    for seed in range(30):
        row = sequential_effect(simulate(400, effect=False, seed=seed), DESIGN).query("chosen").iloc[0]
        held += row["lower"] <= 0 <= row["upper"]
    assert 25 <= held <= 30


def test_bad_input(world):
    log = world.log.copy()
    log.loc[3, "propensity"] = np.nan
    with pytest.raises(InputError, match="needs the propensity of every exposure; 1 have none"):
        sequential_effect(Dataset(log), DESIGN)
    one = world.log[world.log["t"] == 0].reset_index(drop=True)
    with pytest.raises(InputError, match="two exposures of the baseline"):
        sequential_effect(Dataset(one), DESIGN)


def test_the_weights_of_a_few_rows(monkeypatch):
    """Two items, so that a row weighs 1 / 2p; of three exposures the first settles. Effects and influences by hand."""
    rows = [(0, "self", 1, 1), (0, "self", 2, 0), (0, "self", 1, 0), (0, "system", 1, 1), (0, "system", 1, 1)]
    rows += [
        (1, "self", 1, 0),
        (1, "self", 1, 1),
        (1, "self", 4, 1),
        (1, "system", 1, 0),
        (1, "system", 2, 1),
    ]
    rows += [(2, "self", 9, 1), (2, "system", 1, 0), (2, "other", 9, 1)]
    log = pd.DataFrame(rows, columns=["user", "source", "weight", "decision"])
    log = log.assign(t=log.groupby("user").cumcount(), item=log.index % 2, propensity=0.5 / log.pop("weight"))
    dataset = Dataset(validate_log(log))
    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", 36 / 20)
    table = sequential_effect(dataset, DESIGN).set_index("k")
    # The arm's first exposures accept 1 / 3, its second all; the baseline's rows 5 / 8, its pairs 2 / 3.
    first, single, pair = np.array([2, -1, -1]) / 9, np.array([-15, 15, 0]) / 64, np.array([-2, 2, 0]) / 9
    assert table["effect"].tolist() == pytest.approx([2 / 3 - 5 / 8, (1 / 3 - 5 / 8 + 1 - 2 / 3) / 2])
    errors = [np.linalg.norm(first - single - single) / 2, np.linalg.norm(first - single - pair) / 2]
    assert table["error"].tolist() == pytest.approx(errors)
    assert (table["upper"] - table["effect"]).tolist() == pytest.approx(1.959964 * np.array(errors))
    assert (table["effect"] - table["lower"]).tolist() == pytest.approx(1.959964 * np.array(errors))
    assert table["ess"].tolist() == pytest.approx([64 / 22, 36 / 20])
    assert table["chosen"].tolist() == [False, True]
    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", 1.81)
    assert len(sequential_effect(dataset, DESIGN)) == 1


@pytest.mark.parametrize(
    ("own", "shown", "reach", "settled"),
    [(2, 1, 1, 1), (3, 4, 2, 1), (4, 4, 3, 1), (9, 9, 6, 2), (30, 30, 6, 5), (10, 3, 3, 2), (7, 9, 6, 1)],
)
def test_how_far_weights_reach(monkeypatch, own, shown, reach, settled):
    seen, mean = [], sequential._phase_mean

    def watched(phase, back, where):
        seen.append((back, where))
        return mean(phase, back, where)

    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", 0)
    monkeypatch.setattr(sequential, "_phase_mean", watched)
    turns = [("self", t) for t in range(own)] + [("system", t) for t in range(shown)]
    log = pd.DataFrame(
        [(user, *turn) for user in range(3) for turn in turns], columns=["user", "source", "t"]
    )
    log = log.assign(item=0, decision=(log["user"] + log["t"]) % 2, propensity=0.5)
    assert len(sequential_effect(Dataset(validate_log(log)), DESIGN)) == reach
    base = [one for one in seen if one[1].stop is None]
    assert base == [(back, slice(settled, None)) for back in range(1, reach + 1)]


def test_the_reach_is_the_smallest_that_agrees_with_the_larger_ones():
    """Differences of two standard errors at most may be noise: those of k = 2 are .2 and .3, with errors of .1, .15."""
    parts = np.array([[0, 0, 0.1, 0.15], [0.0, 0, 0, 0]])
    assert sequential._choose(np.array([9.0, 0, 0.2, 0.3]), parts) == 2
    assert (
        sequential._choose(np.array([9.0, 0, 0.21, 0.3]), parts) == 3
    )  # of k = 3 it is .09, with an error of .05
    assert sequential._choose(np.array([9.0, 0, 0.21, -0.31]), parts) == 4
    assert sequential._choose(np.array([9.0, 0, 0.3, 0.35]), parts) == 3
    assert sequential._choose(np.array([9.0]), parts[:, :1]) == 1
