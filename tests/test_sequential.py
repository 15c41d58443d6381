"""Sequential weights against an enumerated world of two items and hidden preferences."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.log import Dataset, validate_log
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
            rows.append(
                pd.DataFrame(
                    {
                        "user": np.arange(users),
                        "t": t,
                        "item": item,
                        "decision": last,
                        "source": source,
                        "propensity": propensity,
                    }
                )
            )
    return Dataset(validate_log(pd.concat(rows)))


@pytest.fixture(scope="module")
def world():
    return simulate(10_000)


def test_the_effect_is_that_of_the_enumerated_world(world):
    overall = sequential_effect(world, DESIGN).set_index("k").loc[4]
    assert overall["effect"] == pytest.approx(true_effects().mean(), abs=4 * overall["error"])
    assert overall["error"] < 0.01
    half = 1.96 * overall["error"]
    assert overall[["lower", "upper"]].to_list() == pytest.approx(
        [overall["effect"] - half, overall["effect"] + half], rel=1e-3
    )


def test_too_short_a_reach_is_biased_and_seen_as_such(world):
    """One step back leaves the decision before to what users chose, whom they please less often."""
    reach = sequential_effect(world, DESIGN).set_index("k")
    truth = true_effects().mean()
    assert abs(reach.loc[1, "effect"] - truth) > 5 * reach.loc[1, "error"]
    assert abs(reach.loc[4, "effect"] - truth) < 4 * reach.loc[4, "error"]
    assert (reach["ess"].diff().dropna() < 0).all()
    chosen = sequential_effect(world, DESIGN).query("chosen").iloc[0]
    assert chosen["k"] >= 2
    assert abs(chosen["effect"] - truth) < 4 * chosen["error"]


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
