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


def few_rows():
    """Six users of 2 to 9 exposures by the baseline and 1 to 4 by the arm; one has none by the baseline."""
    rng, rows = np.random.default_rng(0), []
    for user, (own, shown) in enumerate([(9, 4), (6, 3), (2, 1), (0, 2), (5, 4), (8, 4)]):
        for source, count in (("self", own), ("system", shown), ("other", 1)):
            for t in range(count):
                rows.append((user, t, rng.integers(3), rng.integers(2), source, rng.uniform(0.1, 0.9)))
    return pd.DataFrame(rows, columns=["user", "t", "item", "decision", "source", "propensity"])


def by_row(log, longest, settled):
    """Return, for each reach, the effect and each user's influence, row by row; four items can be exposed."""
    log = log[log["source"] != "other"].reset_index(drop=True)
    log["left"] = log["decision"] - log["decision"].mean()
    log["step"] = log.groupby(["user", "source"]).cumcount()
    weights = 1 / (4 * log["propensity"])

    def mean(source, back, steps):
        total, part = 0.0, []
        for row in log[
            (log["source"] == source) & log["step"].between(max(back - 1, steps[0]), steps[1])
        ].itertuples():
            own = log[(log["source"] == source) & (log["user"] == row.user)]
            last = own.index[(own["step"] > row.step - back) & (own["step"] <= row.step)]
            part.append((row.user, np.prod(weights[last]), row.left))
        total = sum(weight for _, weight, _ in part)
        value = sum(weight * left for _, weight, left in part) / total
        influence = np.zeros(6)
        for user, weight, left in part:
            influence[user] += weight * (left - value) / total
        size = total**2 / sum(weight**2 for _, weight, _ in part)
        return value, influence, size

    base = {back: mean("self", back, (settled + back - 1, 99)) for back in range(1, longest + 1)}
    found = {}
    for k in range(1, longest + 1):
        shown = [mean("system", min(k, n), (n - 1, n - 1)) for n in range(1, 5)]
        gaps = [np.subtract(one[0], base[min(k, n)][0]) for n, one in enumerate(shown, 1)]
        parts = [one[1] - base[min(k, n)][1] for n, one in enumerate(shown, 1)]
        found[k] = np.mean(gaps), np.sqrt((np.mean(parts, axis=0) ** 2).sum()), base[k][2]
    return found


def test_the_weights_of_a_few_rows(monkeypatch):
    """Of nine exposures two, a quarter, settle; the weights reach back over four, as many as the arm has."""
    log = few_rows()
    dataset = Dataset(validate_log(log), items=pd.DataFrame({"item": [0, 1, 2, 3]}))
    expected = by_row(log, 4, 2)
    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", 0)
    table = sequential_effect(dataset, DESIGN).set_index("k")
    assert table.index.tolist() == [1, 2, 3, 4]
    for k, row in table.iterrows():
        effect, error, ess = expected[k]
        assert row[["effect", "error", "ess"]].tolist() == pytest.approx([effect, error, ess])
        assert row[["lower", "upper"]].tolist() == pytest.approx(
            [effect - 1.959964 * error, effect + 1.959964 * error]
        )
    assert table["chosen"].sum() == 1
    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", table["ess"][2])
    trusted = int((table["ess"] >= table["ess"][2]).sum())
    assert len(sequential_effect(dataset, DESIGN)) == trusted
    monkeypatch.setattr(sequential, "FEWEST_WEIGHTED_ROWS", 500)
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
