"""Policies: contexts, values against hand-computed and simulated truths, uplift, trust, figures."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.effect.contexts import lay_out
from csrec_core.effect.exploration import ZONES, exploration, zone_table
from csrec_core.effect.policy import (
    policies,
    policy_finding,
    policy_values,
    recommend,
    regret,
    threshold_values,
)
from csrec_core.effect.trust import trust_changes
from csrec_core.effect.uplift import RANDOM, uplift
from csrec_core.errors import InputError
from csrec_core.plots import policy as policy_plots

FEW = {"draws": 200}


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=800, items=100, steps=15, effect=0.3, trust_spread=1.0, seed=2)


@pytest.fixture(scope="module")
def contexts(world):
    return lay_out(world)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def coin(rows: int = 4000, seed: int = 0, *, q_self=None, odds=1.0) -> pd.DataFrame:
    """Cells of a fair coin between the sources: P(D) is .3 without, .3 + x with, x in {-.2, .4}."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-0.2, 0.4], rows)
    system = rng.random(rows) < 0.5
    frame = pd.DataFrame({"user": np.arange(rows) // 4, "system": system, "p_self": 0.3, "p_system": 0.3 + x})
    frame["decision"] = (rng.random(rows) < np.where(system, frame["p_system"], 0.3)).astype(float)
    frame["odds"] = np.where(system, 1.0, odds)
    frame["q_self"] = 0.3 if q_self is None else q_self
    frame["q_system"], frame["effect"] = 0.3 + x, x
    return frame.assign(lower=x - 0.1, upper=x + 0.1)


def test_contexts_cover_the_log_once(world, contexts):
    frame = contexts.frame
    assert len(frame) == len(world.log) and contexts.known
    assert (frame.loc[frame["system"], "odds"] == 1).all()
    own = frame.loc[~frame["system"], "odds"]
    assert own.sum() == pytest.approx(frame["system"].sum(), rel=0.05)  # they stand for the system's contexts
    assert contexts.effective < len(own)
    assert frame[["q_system", "q_self"]].stack().between(0, 1).all()  # noqa: PD013
    assert (frame["lower"] < frame["effect"]).all() and (frame["effect"] < frame["upper"]).all()


def test_effects_of_contexts_follow_the_truth(contexts):
    shown = contexts.frame[contexts.frame["system"]]
    truth = shown["p_system"] - shown["p_self"]
    assert np.corrcoef(shown["effect"], truth)[0, 1] > 0.5
    error = np.sqrt(((shown["effect"] - truth) ** 2).mean())
    assert error < truth.std()  # better than the true mean given to all


def test_what_is_read_at_a_user_comes_from_others(world):
    """Flipping a user's decisions changes what is read there by their record alone, and little elsewhere."""
    log = world.log.copy()
    user = log["user"].iloc[0]
    log.loc[log["user"] == user, "decision"] = 1 - log.loc[log["user"] == user, "decision"]
    before, after = (lay_out(Dataset(rows, items=world.items)).frame for rows in (world.log, log))
    first = (before["user"] == user) & (before["step"] == 1) & ~before["system"]
    # the record at the first exposure leaves it and the next out, and the rest of the record is flipped
    assert not np.allclose(before.loc[first, "q_self"], after.loc[first, "q_self"])
    others = before["user"] != user
    assert np.abs(before.loc[others, "q_self"] - after.loc[others, "q_self"]).max() < 0.05


def test_without_propensities_the_odds_are_a_regression(world):
    plain = lay_out(Dataset(world.log.drop(columns="propensity"), items=world.items))
    assert not plain.known and "regression on item" in plain.weighing
    assert np.isfinite(plain.frame["odds"]).all()


def test_contexts_of_accepted_own_choices_are_certain(world):
    log = world.log[(world.log["source"] == "system") | (world.log["decision"] == 1)].reset_index(drop=True)
    assert (lay_out(Dataset(log, items=world.items)).frame["q_self"] == 1).all()


def test_contexts_refuse_bad_input(world):
    own = world.log[world.log["source"] == "self"]
    for dataset, options, message in (
        (Dataset(own), {}, "0 users have system exposures"),
        (world, {"folds": 1}, "folds = 1"),
        (world, {"level": 2}, "level = 2"),
    ):
        with pytest.raises(InputError, match=message):
            lay_out(dataset, **options)


def test_values_by_hand():
    cells = pd.DataFrame(
        {
            "user": [1, 1, 2, 2],
            "system": [True, True, False, False],
            "decision": [1.0, 0.0, 1.0, 0.0],
            "odds": [1.0, 1.0, 0.5, 1.5],
            "q_system": [0.8, 0.4, 0.5, 0.5],
            "q_self": [0.2, 0.6, 0.7, 0.1],
        }
    )
    table = policy_values(cells, {"p": np.array([1.0, 0.0, 0.0, 0.5])}, **FEW).set_index("estimator")
    # followed: row 1 (D = 1, W = 1), row 3 (D = 1, W = .5), row 4 (D = 0, W = 1.5 * .5); two system exposures
    assert table.loc["IPS", "mean"] == pytest.approx((1 + 0.5) / 2)
    assert table.loc["SNIPS", "mean"] == pytest.approx(0.5 * 1 + 0.5 * 0.5 / 1.25)
    robust = (0.8 + 0.6 + 1 * (1 - 0.8) + 0.5 * (1 - 0.7) + 0.75 * (0 - 0.1)) / 2
    assert table.loc["doubly robust", "mean"] == pytest.approx(robust)
    assert (table["share"] == 0.5).all()


def test_cost_is_paid_where_recommended():
    cells, half = coin(), np.full(4000, 0.5)
    free, paid = (policy_values(cells, {"p": half}, cost=c, **FEW)["mean"].to_numpy() for c in (0.0, 0.2))
    np.testing.assert_allclose((free - paid)[1], 0.1, atol=1e-12)  # SNIPS: exactly the share
    np.testing.assert_allclose(free - paid, 0.1, atol=0.01)


@pytest.mark.parametrize("wrong", [{"q_self": 0.8}, {"odds": 3.0}])
def test_doubly_robust_needs_one_of_the_two(wrong):
    cells = coin(40_000, **wrong)
    table = policy_values(cells, {"never": np.zeros(len(cells))}, **FEW).set_index("estimator")
    assert table.loc["doubly robust", "mean"] == pytest.approx(0.3, abs=0.015)
    if "odds" in wrong:
        assert table.loc["IPS", "mean"] > 0.6  # it has the weights alone


def test_values_hold_the_truth_in_a_simulated_world(contexts):
    cells = contexts.frame
    table = policy_values(cells, policies(cells), **FEW)
    table = table[table["estimator"] == "doubly robust"].set_index("policy")
    assert (table["mean"] - table["truth"]).abs().max() < 0.02
    assert table.loc["TER > c", "mean"] > table.loc[["never", "random, as often"], "mean"].max()
    assert (table["low"] < table["mean"]).all() and (table["mean"] < table["high"]).all()


def test_differences_are_paired():
    cells = coin()
    chosen = policies(cells)
    table = policy_values(cells, chosen, against="always", **FEW).set_index(["policy", "estimator"])
    assert (table.loc["always", ["mean", "low", "high"]] == 0).all().all()
    plain = policy_values(cells, chosen, **FEW).set_index(["policy", "estimator"])["mean"]
    gain = plain["TER > c", "IPS"] - plain["always", "IPS"]
    assert table.loc[("TER > c", "IPS"), "mean"] == pytest.approx(gain)
    assert table.loc[("TER > c", "doubly robust"), "truth"] == pytest.approx(0.1, abs=0.01)


def test_rules_of_certainty_are_nested(contexts):
    cells = contexts.frame
    sure, rule, maybe = (recommend(cells, by=by) for by in ("lower", "effect", "upper"))
    assert (sure <= rule).all() and (rule <= maybe).all() and sure.sum() < rule.sum() < maybe.sum()
    assert recommend(pd.DataFrame({"effect": [np.nan]})).tolist() == [0.0]


def test_regret_is_nothing_for_the_oracle(contexts):
    cells = contexts.frame
    table = regret(cells, policies(cells), cost=0.05).set_index("policy")
    assert table.loc["oracle", "regret"] == pytest.approx(0) and table.loc[
        "oracle", "captured"
    ] == pytest.approx(1)
    assert (table["regret"] >= 0).all()
    assert table.loc["TER > c", "regret"] < table.loc["random, as often", "regret"]
    exact = regret(coin(), {"always": np.ones(4000), "never": np.zeros(4000)}).set_index("policy")["regret"]
    assert exact.to_dict() == pytest.approx({"always": 0.1, "never": 0.2, "oracle": 0.0}, abs=0.01)


def test_thresholds_trade_share_for_gain():
    table = threshold_values(coin(), np.array([-0.5, 0.0, 0.5]), **FEW)
    assert table["threshold"].tolist() == [-0.5, 0.0, 0.5]
    assert table["share"].tolist() == pytest.approx([1, 0.5, 0], abs=0.03)
    assert table["mean"].tolist() == pytest.approx([0.1, 0.2, 0.0], abs=0.04)
    assert len(threshold_values(coin(), **FEW)) == 9


def test_the_finding_says_what_is_not_identified():
    sentence, numbers = policy_finding(coin(), **FEW)
    assert "more than never" in sentence and numbers["gain_over_never"][1] > 0
    sentence, numbers = policy_finding(coin(), identified=False, **FEW)
    assert "does not identify" in sentence and set(numbers) == {"recommended_share"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: recommend(c, by="uper"), "did you mean 'upper'"),
        (lambda c: recommend(c, threshold=2), "difference of probabilities"),
        (lambda c: policy_values(c, {"p": np.full(len(c), 2.0)}), "probability in"),
        (lambda c: policy_values(c, {"p": np.ones(3)}), "for each of 4000 cells"),
        (lambda c: policy_values(c, {"p": np.ones(len(c))}, against="q"), "unknown policy"),
        (lambda c: policy_values(c[~c["system"]], {}), "the cells hold none"),
        (lambda c: regret(c.drop(columns="p_self"), {}), "simulated world"),
        (lambda c: uplift(c, {"s": np.full(len(c), np.nan)}), "finite number"),
        (lambda c: uplift(c, {}, bins=1), "bins = 1"),
        (lambda c: trust_changes(c.assign(step=1), permutations=3), "permutations = 3"),
        (lambda c: trust_changes(c.assign(step=1)), "no user has"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(coin())


def test_qini_of_a_perfect_a_random_and_a_reversed_score():
    cells = coin(40_000)
    found = uplift(cells, {"good": cells["effect"], "bad": -cells["effect"]}, **FEW)
    areas = found.areas.set_index("score")
    # gain .2 at half, then down to .1: the area is .2/4 + .15/2 = .125, less .05 of the straight line
    assert areas.loc["good", "auuc"] == pytest.approx(0.125, abs=0.01)
    assert areas.loc["good", "qini"] == pytest.approx(0.075, abs=0.01)
    assert areas.loc["bad", "qini"] == pytest.approx(-0.075, abs=0.01)
    assert areas.loc[RANDOM, "qini_low"] < 0.005 and areas.loc[RANDOM, "qini_high"] > -0.005
    ends = found.curves.groupby("score")["gain"].last()
    assert np.ptp(ends) < 1e-9 and ends.iloc[0] == pytest.approx(0.1, abs=0.015)


def test_a_constant_score_is_a_straight_line():
    found = uplift(coin(), {"same": np.zeros(4000)}, **FEW)
    assert found.areas.set_index("score").loc["same", "qini"] == pytest.approx(0, abs=1e-12)


def test_cells_are_explored_where_wide_and_promising():
    cells = pd.DataFrame(
        {
            "user": 1,
            "effect": [0.3, 0.0, 0.0, -0.3],
            "lower": [0.2, -0.3, -0.05, -0.5],
            "upper": [0.4, 0.3, 0.05, -0.1],
        }
    )
    found = exploration(cells, wide=0.3)
    assert found["zone"].tolist() == ["recommend", "explore", "undecided", "leave"]
    assert found["promise"].tolist() == [0, 0.3, 0, 0]
    table = zone_table(found)
    assert table["zone"].tolist() == list(ZONES) and table["share"].tolist() == [0.25] * 4


def series(users: int, *, shift: float, share: float = 1.0, steps: int = 40, seed: int = 0) -> pd.DataFrame:
    """Exposures of which the effect goes from 0 to `shift` halfway, for a share of the users."""
    rng = np.random.default_rng(seed)
    q = rng.uniform(0.2, 0.5, (users, steps))
    p = q + shift * (np.arange(steps) >= steps // 2) * (np.arange(users) < share * users)[:, None]
    user, step = np.indices(q.shape)
    decision = (rng.random(q.shape) < p).ravel().astype(float)
    return pd.DataFrame(
        {"user": user.ravel(), "step": step.ravel() + 1, "decision": decision, "q_self": q.ravel()}
    )


def test_trust_that_changes_is_found_and_when():
    found = trust_changes(series(300, shift=0.45, share=0.4), permutations=199)
    changed = found.users[found.users["changed"]]
    assert 0.15 < found.changed < 0.5
    assert (changed["user"] >= 120).mean() < 0.2  # false discoveries: the rate asked for is .1
    assert changed["step"].median() == pytest.approx(20, abs=2) and (changed["direction"] == 1).mean() > 0.9
    assert found.at_least == pytest.approx(0.4, abs=0.12)
    assert found.halves[1] > 0.1 and "trust rises" in found.sentence


def test_trust_that_stays_raises_no_alarm():
    """A lasting effect is no change; the rate of false alarms is the one set."""
    found = trust_changes(
        series(600, shift=0.0).assign(q_self=lambda rows: rows["q_self"] - 0.1), permutations=199
    )
    assert found.changed < 0.01
    assert (found.users["p"] <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert found.halves[1] < 0 < found.halves[2] and "does not detectably change" in found.sentence


def test_trust_takes_users_of_any_length():
    cells = series(40, shift=0.3)
    cells = cells[cells["step"] <= 5 + cells["user"]]
    found = trust_changes(cells, permutations=49, shown=3)
    assert len(found.users) == 39 and found.paths["user"].nunique() == 3
    assert set(found.paths["user"]) == set(found.users["user"][:3])
    last = found.paths.groupby("user")["cusum"].last()
    np.testing.assert_allclose(last, 0, atol=1e-9)  # centred: every path comes home
    assert (found.paths["low"] <= found.paths["high"]).all()


def test_figures_draw_what_the_frames_say(contexts):
    cells = contexts.frame
    shown = cells[cells["system"]]
    values = policy_values(cells, policies(cells), **FEW)
    ax = policy_plots.plot_policy_values(values)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(policies(cells))
    drawn = [x for line in ax.lines for x in line.get_xdata()]
    np.testing.assert_allclose(sorted(drawn), sorted(values["mean"]))
    axes = [
        ax,
        policy_plots.plot_thresholds(threshold_values(cells, **FEW), chosen=0.0),
        policy_plots.plot_gain(uplift(cells, {"regression": cells["effect"]}, **FEW).curves),
        policy_plots.plot_exploration(exploration(shown), most=100),
    ]
    trust = trust_changes(shown, permutations=49)
    axes.append(policy_plots.plot_trust_tests(trust.users))
    panels = policy_plots.plot_trust_paths(trust.paths).axes
    titles = [(ax.get_title() or ax.get_title(loc="left")).split(":")[0] for ax in panels]
    assert titles == [f"user {user}" for user in trust.users["user"][:6]]
    for ax in axes:
        assert ax.get_xlabel() and (ax.get_ylabel() or ax.get_yticklabels())
    _, given = plt.subplots()
    assert policy_plots.plot_gain(uplift(cells, {}, **FEW).curves, ax=given) is given
