"""Policies and what they would have been worth, each number added up by hand."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.log import Dataset, validate_log
from csrec_core.effect import off_policy
from csrec_core.effect.design import Design
from csrec_core.effect.folds import fold_of
from csrec_core.effect.off_policy import POLICY_ESTIMATORS, arm_policy, item_policy_values
from csrec_core.effect.policy import (
    break_even,
    gain_table,
    policies,
    policy_finding,
    policy_gains,
    policy_values,
    regret,
    threshold_values,
    with_truth,
)
from csrec_core.errors import InputError
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED

FEW = {"draws": 50}


def cells(seed=0, users=40, rows=5):
    """Cells with effects, chances of acceptance and weights of all sizes."""
    rng = np.random.default_rng(seed)
    count = users * rows
    arm = rng.integers(2, size=count)
    numbers = rng.random((7, count))
    return pd.DataFrame({
        "user": np.repeat(np.arange(users), rows), "place": np.arange(count), "arm": arm,
        "decision": (numbers[0] < 0.4).astype(float), "tau": numbers[1] + 0.5, "effect": numbers[2] - 0.4,
        "w1": np.where(arm == 1, 3 * numbers[3], 0.0), "w0": np.where(arm == 0, 5 * numbers[4], 0.0),
        "m1": numbers[5], "m0": 1 - numbers[5] * numbers[6], "p1": numbers[5] ** 2, "p0": numbers[6] ** 2,
    })  # fmt: skip


def by_hand(table, chance, cost):
    """The four estimates of a policy, row by row as their definitions say."""
    arm = table["arm"] == 1
    direct = np.average(chance * (table["m1"] - cost) + (1 - chance) * table["m0"], weights=table["tau"])
    found = dict.fromkeys(POLICY_ESTIMATORS, 0.0)
    taken = 0.0
    for own, weight, model, price, follow in (
        (table[arm], "w1", "m1", cost, chance[arm]), (table[~arm], "w0", "m0", 0.0, 1 - chance[~arm]),
    ):  # fmt: skip
        share = own[weight] / own[weight].sum()
        often = share * follow * (own[weight] > 0).sum()  # in units of the mean of its side
        residual = own["decision"] - own[model]
        found["IPS"] += (share * follow * (own["decision"] - price)).sum()
        taken += (share * follow).sum()
        found["doubly robust"] += (share * follow * residual).sum()
        found["switch-DR"] += (share * follow * residual)[often <= 10].sum()
    found["SNIPS"] = found["IPS"] / taken
    found["doubly robust"] += direct
    found["switch-DR"] += direct
    return found


@pytest.mark.parametrize("cost", [0.0, 0.25])
def test_four_estimates_of_a_policy_row_by_row(cost):
    table = cells()
    table.loc[[3, 50], ["w1", "w0"]] *= 40  # weights to be switched off
    chosen = {"some": np.linspace(0, 1, 200), "always": np.ones(200)}
    found = policy_values(table, chosen, cost=cost, **FEW).set_index(["policy", "estimator"])
    expected = {name: by_hand(table, chance, cost) for name, chance in chosen.items()}
    for name, chance in chosen.items():
        assert found.loc[name, "value"].to_dict() == pytest.approx(expected[name])
        assert found.loc[(name, "IPS"), "share"] == pytest.approx(np.average(chance, weights=table["tau"]))
        gain = chance * (table["p1"] - cost) + (1 - chance) * table["p0"]
        assert found.loc[(name, "IPS"), "truth"] == pytest.approx(np.average(gain, weights=table["tau"]))
    assert expected["some"]["switch-DR"] != pytest.approx(expected["some"]["doubly robust"])
    less = policy_values(table, chosen, cost=cost, against="always", **FEW).set_index(["policy", "estimator"])
    for one in POLICY_ESTIMATORS:
        assert less.loc[("some", one), "value"] == pytest.approx(
            expected["some"][one] - expected["always"][one]
        )
        assert (less.loc[("always", one), ["value", "lower", "upper", "truth"]] == 0).all()
    assert less.loc["some", "truth"].to_numpy() == pytest.approx(
        found.loc["some", "truth"].to_numpy() - found.loc["always", "truth"].to_numpy()
    )


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_a_side_without_weight_has_no_value():
    table = cells().assign(w0=0.0)
    found = policy_values(table, {"never": np.zeros(200)}, **FEW)
    assert found["value"].isna().all()


def test_policies_by_hand():
    table = pd.DataFrame({"effect": [0.1, 0.2, 0.3, np.nan], "tau": [1.0, 1.0, 2.0, 4.0]})
    found = policies(table, cost=0.2)
    assert {name: chance.tolist() for name, chance in found.items()} == {
        "always": [1, 1, 1, 1], "never": [0, 0, 0, 0], "random, as often": [0.25] * 4, "TER > c": [0, 0, 1, 0],
    }  # fmt: skip
    for cost in (-1, 1):
        assert policies(table, cost=cost)["TER > c"].sum() == (3 if cost < 0 else 0)
    for cost in (-1.01, 1.01):
        with pytest.raises(InputError, match="a number in"):
            policies(table, cost=cost)


def test_regret_by_hand():
    table = pd.DataFrame({"p1": [0.5, 0.2, 0.9], "p0": [0.3, 0.4, 0.9], "tau": [1.0, 1.0, 2.0]})
    found = regret(table, {"first": np.array([1, 0, 0.5])}, cost=0.1).set_index("policy")
    # Never: (.3 + .4 + 1.8) / 4; always: (.4 + .1 + 1.6) / 4; the oracle takes the first only, .1 better than never.
    assert found.loc["oracle", ["value", "regret", "captured"]].tolist() == pytest.approx([0.65, 0, 1])
    assert found.loc["first", ["value", "regret", "captured"]].tolist() == pytest.approx([0.625, 0.025, 0.0])
    assert list(found.index) == ["first", "oracle"]
    alike = regret(table.assign(p1=0.9, p0=0.1), {"never": np.zeros(3)})
    assert alike["captured"].isna().all()  # always is the oracle: there is no way to go
    assert alike["regret"].tolist() == pytest.approx([0.8, 0.0])


def test_the_truth_of_a_cell_is_that_of_its_row():
    truth = pd.DataFrame({"p_system": [0.1, 0.2, 0.3], "p_self": [0.4, 0.5, 0.6]})
    table = pd.DataFrame({"place": [2, 0]})
    found = with_truth(table, SimpleNamespace(truth=truth))
    assert found[["p1", "p0"]].to_numpy().tolist() == [[0.3, 0.6], [0.1, 0.4]]
    assert with_truth(table, SimpleNamespace(truth=None)) is table


def test_thresholds_lie_between_the_second_and_the_98th_percentile():
    table = cells().assign(effect=np.linspace(0, 1, 200))
    found = threshold_values(table, cost=0.1, **FEW)
    assert found["threshold"].tolist() == pytest.approx(np.linspace(0.02, 0.98, 9).tolist())
    for row in (found.iloc[0], found.iloc[6]):
        chance = (table["effect"] > row["threshold"]).to_numpy(float)
        gain = (
            by_hand(table, chance, 0.1)["doubly robust"] - by_hand(table, np.zeros(200), 0.1)["doubly robust"]
        )
        assert row["value"] == pytest.approx(gain)
        assert row["share"] == pytest.approx(np.average(chance, weights=table["tau"]))
    one = threshold_values(table.assign(effect=0.3), **FEW)
    assert one["threshold"].tolist() == [0.3]


def identified(allows=True, arm="system", baseline="self"):
    return SimpleNamespace(
        allows=allows,
        status="identified" if allows else "bounded",
        reasons=("because",),
        design=Design(arm, baseline),
    )


def coin(gain, noise=0.0, users=400, seed=1):
    """Users who meet both arms once; under the arm so much more is accepted by either half."""
    rng = np.random.default_rng(seed)
    arm = np.tile([1, 0], users)
    first = np.repeat(np.arange(users) % 2, 2)
    effect = np.where(first == 1, gain[1], gain[0])
    decision = 0.5 + arm * effect + noise * rng.normal(size=2 * users)
    return pd.DataFrame({
        "user": np.repeat(np.arange(users), 2), "arm": arm, "decision": decision, "tau": 1.0 * arm, "effect": effect,
        "w1": 1.0 * arm, "w0": 1.0 - arm, "m1": 0.5, "m0": 0.5,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "noise", "cost", "arms", "begins", "word", "value"),
    [
        ((-0.2, 0.3), 0.0, 0.0, {}, "Recommend where the effect is positive: that gains 0.100 over", HOLDS, 0.1),
        ((-0.2, 0.3), 0.0, 0.1, {}, "Recommend where the effect exceeds the cost: that gains 0.100 over", HOLDS, 0.1),
        ((0.2, 0.3), 0.0, 0.0, {}, "Recommend always: that gains 0.250 over never, and", HOLDS, 0.25),
        ((-0.2, -0.3), 0.0, 0.0, {}, "Recommend never: that gains 0.250 over always, and no finer", HOLDS, -0.25),
        ((0.2, 0.3), 0.0, 0.0, {"arm": "b", "baseline": "a"}, "Use b always: that", HOLDS, 0.25),
        ((0.2, 0.3), 0.0, 0.0, {"baseline": "a"}, "Use system always: that", HOLDS, 0.25),
        ((0.01, 0.01), 3.0, 0.0, {}, "It is open whether to recommend: ", UNDECIDED, None),
    ],
)  # fmt: skip
def test_the_finding_is_what_the_gains_say(gain, noise, cost, arms, begins, word, value):
    numbers = policy_gains(coin(gain, noise), cost=cost, **FEW)
    text, verdict, (few, sentence) = policy_finding(numbers, identified(**arms), cost=cost, binary=False)
    assert text.startswith(begins) and len(text.split()) <= 25
    assert (verdict.word, verdict.threshold, verdict.detail) == (word, 0.0, text)
    if value is not None:
        assert verdict.value == pytest.approx(value)
        mean = np.mean(gain) - cost
        rule = np.mean([max(one - cost, 0) for one in gain])
        share = np.mean([one > cost for one in gain])
        assert {name: one[0] for name, one in numbers.items()} == pytest.approx({
            "always_over_never": mean, "rule_over_never": rule, "rule_over_always": rule - mean,
            "rule_over_random": rule - share * mean,
        })  # fmt: skip
    does = "Recommend" if not arms else f"Use {arms.get('arm', 'system')}"
    advice = {
        "where": f"{does} where it helps",
        "always": f"{does} always",
        "never": f"{does} never",
        "open": "It is open",
    }
    assert (
        few == advice[next(one for one in ("open", "where", "always:", "never:") if one in begins).strip(":")]
    )
    assert sentence[-1] == "."


@pytest.mark.parametrize(
    ("always", "better", "rule", "few"),
    [
        ((0.2, 0.1, 0.3), "always", (0.1, 0.01, 0.2), "Recommend where it helps"),
        ((0.2, 0.1, 0.3), "always", (0.1, 0.0, 0.2), "Recommend always"),
        ((-0.2, -0.3, -0.1), "never", (0.1, 0.0, 0.2), "Recommend never"),
        ((0.2, 0.0, 0.3), "always", (0.1, 0.0, 0.2), "It is open"),
        ((-0.2, -0.3, 0.0), "never", (0.1, -0.1, 0.2), "It is open"),
        ((0.0, 0.0, 0.0), "never", (0.0, 0.0, 0.0), "It is open"),
    ],
)
def test_advice_follows_the_intervals(always, better, rule, few):
    """The rule has to beat the better of the two; over the other one it surely gains each time."""
    numbers = {
        "always_over_never": always,
        "rule_over_always": (0.3, 0.2, 0.4),
        "rule_over_never": (0.3, 0.2, 0.4),
    }
    numbers[f"rule_over_{better}"] = rule
    text, _, tile = policy_finding(numbers, identified())
    assert tile[0] == few and " points " in text and len(text.split()) <= 25


def test_nothing_is_advised_where_the_status_forbids():
    text, verdict, tile = policy_finding({}, identified(False))
    assert text == "This log cannot say when to recommend: the effect is bounded."
    assert (verdict.word, verdict.detail) == (NOT_TESTED, "because")
    assert tile == ("Not known", "The effect is bounded, so no rule is valued.")
    assert break_even({}, 0.0) == ""


def test_gains_are_tabled_and_the_cost_at_which_they_end():
    numbers = {"always_over_never": (0.02, 0.01, 0.03), "rule_over_never": (0.1, 0.0, 0.2)}
    table, unit, places = gain_table(numbers, binary=True)
    assert (unit, places, list(table.index)) == ("points", 1, ["always over never", "rule over never"])
    assert table.to_numpy() == pytest.approx(np.array([[2, 1, 3], [10, 0, 20]]))
    table, unit, places = gain_table(numbers, binary=False)
    assert (unit, places, table.loc["rule over never", "gain"]) == ("units of the outcome", 3, 0.1)
    assert (
        break_even(numbers, 0.05)
        == "At a cost of 0.05; always is better than never up to a cost of 0.070 an exposure."
    )
    assert "up to a cost of 0.000" in break_even({"always_over_never": (-0.2, 0, 0)}, 0.05)


# --- policies that pick items


def shown(users=80, rows=4, seed=2):
    """An arm that draws one of four items by unequal chances, which it logs, and a baseline; in two places."""
    rng = np.random.default_rng(seed)
    chance = np.array([0.4, 0.3, 0.2, 0.1])
    count = users * rows
    item = rng.choice(4, size=count, p=chance)
    frame = pd.DataFrame({
        "user": np.repeat(np.arange(users), rows), "t": np.tile(np.arange(rows), users), "item": item,
        "decision": (rng.random(count) < 0.2 + 0.15 * item).astype(int), "source": "b", "propensity": chance[item],
        "feature_place": np.repeat(np.arange(users) % 2, rows),
    })  # fmt: skip
    other = frame.assign(source="a", decision=1, propensity=0.25)
    return Dataset(validate_log(pd.concat([frame, other])), name="the log")


@pytest.mark.parametrize("context", [False, True])
def test_a_policy_of_items_is_valued_row_by_row(context):
    dataset = shown()
    log = dataset.log[dataset.log["source"].astype(str) == "b"].reset_index(drop=True)
    # In the one place it picks items 0 and 3, and 9, which nobody saw; in the other item 1 alone; of others none.
    policy = pd.DataFrame(
        {"item": [0, 3, 9, 1], "probability": [0.5, 0.3, 0.2, 1.0], "feature_place": [0, 0, 0, 1.0]}
    )
    policy = policy if context else policy.iloc[:3].drop(columns="feature_place")
    found, verdict = item_policy_values(dataset, "mine", policy, arm="b", seed=3, **FEW)
    fold = fold_of(log["user"].to_numpy(), 2, 3)

    def picks(place):
        return {1: 1.0} if context and place == 1 else {0: 0.5, 3: 0.3, 9: 0.2}

    expected = {}
    for side, item in itertools.product((0, 1), (0, 1, 2, 3, 9)):
        rest = log[fold != side]["decision"]
        own = rest[log["item"] == item]
        expected[side, item] = (own.sum() + 50 * rest.mean()) / (len(own) + 50)
    weights, ips, robust = [], [], []
    for row, side in zip(log.itertuples(), fold, strict=True):
        mine = picks(row.feature_place)
        weight = mine.get(row.item, 0.0) / row.propensity
        weights.append(weight)
        ips.append(weight * row.decision)
        direct = sum(share * expected[side, item] for item, share in mine.items())
        robust.append(direct + weight * (row.decision - expected[side, row.item]))
    values = found.set_index("estimator")["value"]
    assert values["IPS"] == pytest.approx(np.mean(ips))
    assert values["SNIPS"] == pytest.approx(np.sum(ips) / np.sum(weights))
    assert values["doubly robust"] == pytest.approx(np.mean(robust))
    by_user = (
        pd.DataFrame({"user": log["user"], "weight": weights}).groupby("user")["weight"].agg(["sum", "size"])
    )
    mean, size = np.mean(weights), by_user["sum"].sum() ** 2 / (by_user["sum"] ** 2).sum()
    half = 1.96 * np.sqrt(((by_user["sum"] - mean * by_user["size"]) ** 2).sum()) / len(log)
    assert (verdict.value, verdict.lower, verdict.upper) == pytest.approx((mean, mean - half, mean + half))
    exposed = 0.9 if context else 0.8
    assert verdict.word == FAILS and verdict.severity == "decisive"
    assert verdict.detail == (
        f"{exposed:.0%} of its choices are items that b exposes; the weights average {mean:.2f} ± {half:.2f}, expected "
        f"1, and count as {size:,.0f} of 80 users; 100% of the exposures are its to tell"
    )


def test_rows_that_a_policy_does_not_know_are_left_out():
    dataset = shown()
    policy = pd.DataFrame(
        {"user": np.repeat(np.arange(20), 4), "item": np.tile(np.arange(4), 20), "probability": 0.25}
    )
    found, verdict = item_policy_values(dataset, "mine", policy, arm="b", **FEW)
    part = replace(dataset, log=dataset.log[dataset.log["user"] < 20])
    again, _ = item_policy_values(part, "mine", policy, arm="b", **FEW)
    pd.testing.assert_frame_equal(found, again)
    assert verdict.detail.endswith("25% of the exposures are its to tell")
    with pytest.raises(InputError, match="policy 'mine': it knows no user of the exposures of b"):
        item_policy_values(dataset, "mine", policy.assign(user=1000), arm="b")
    for name, message in (
        ("c", "expected a propensity"),
        ("b", "expected a propensity at each exposure of b"),
    ):
        bare = replace(
            dataset, log=dataset.log.assign(propensity=dataset.log["propensity"].where(dataset.log["t"] > 0))
        )
        with pytest.raises(InputError, match=message):
            item_policy_values(bare, "mine", policy, arm=name)


@pytest.mark.parametrize(
    ("exposed", "weight", "users", "word"),
    [
        (0.95, 1.0, 30, HOLDS), (0.949, 1.0, 30, FAILS), (1.0, 1.0, 29, FAILS), (1.0, 1.2, 30, FAILS),
        (1.0, 0.91, 30, HOLDS), (1.0, 0.89, 30, FAILS),
    ],
)  # fmt: skip
def test_support_takes_choices_that_are_shown_and_thirty_users(exposed, weight, users, word):
    found = off_policy._check_support("mine", "b", np.arange(users), np.full(users, weight), exposed, 1.0)
    assert (found.word, found.threshold, found.name) == (word, 1.0, "mine supported by b")


def test_how_an_arm_picks_items_by_hand():
    dataset = shown()
    log = dataset.log[dataset.log["source"].astype(str) == "b"]
    logged = arm_policy(dataset, "b")
    assert dict(zip(logged["item"], logged["probability"], strict=True)) == pytest.approx(
        {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1}
    )
    often = arm_policy(
        replace(dataset, log=dataset.log.drop(columns="propensity")), "b", by=("feature_place",)
    )
    for place, own in log.groupby("feature_place"):
        mine = often[often["feature_place"] == place]
        assert mine["probability"].to_numpy() == pytest.approx(
            own["item"].value_counts(normalize=True).sort_index().to_numpy()
        )
    # Chances that do not add up, or that an item has two of, are not taken.
    for changed in (dataset.log["propensity"] / 2, dataset.log["propensity"] * (1 + 1e-4 * dataset.log["t"])):
        found = arm_policy(replace(dataset, log=dataset.log.assign(propensity=changed)), "b")
        assert found["probability"].to_numpy() == pytest.approx(
            log["item"].value_counts(normalize=True).sort_index().to_numpy()
        )
