"""Policies: values by hand, against another package and simulated truths; cells, uplift, trust, files, figures."""

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.data.policies import read_policy
from csrec_core.effect.cells import RANDOM_SCORE, cell_effects, exploration, gains, uplift
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.off_policy import POLICY_ESTIMATORS, arm_policy, item_policy_values
from csrec_core.effect.policy import (
    policies,
    policy_values,
    regret,
    threshold_values,
    with_truth,
)
from csrec_core.effect.trust import contrasts, trust_changes
from csrec_core.errors import InputError
from csrec_core.plots import policy as policy_plots

FEW = {"draws": 200}
# What benchmarks/obp_peer.py prints: obp 0.4.1 on the same rows, with the same model of the clicks.
OBP = {
    "random": (0.003008626327256482, 0.0031894231622774027, 0.0032370319661346385, 0.004978539389663888),
    "bts": (0.005656266700835461, 0.005739864701951365, 0.005814420668963989, 0.005814420668963989),
}


@pytest.fixture(scope="module")
def world():
    return simulate_books(users=600, items=60, steps=12, effect=0.3, trust_spread=1.0, seed=2)


@pytest.fixture(scope="module")
def found(world):
    return estimate_effect(world, splits=1)


@pytest.fixture(scope="module")
def cells(world, found):
    return with_truth(cell_effects(found, world), world)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def coin(rows: int = 4000, seed: int = 0, *, m0=0.3, w0=1.0) -> pd.DataFrame:
    """Cells of a fair coin between the arms: P(D) is .3 without, .3 + x with, x in {-.2, .4}."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-0.2, 0.4], rows)
    arm = rng.random(rows) < 0.5
    frame = pd.DataFrame({"user": np.arange(rows) // 4, "arm": arm.astype(int), "p0": 0.3, "p1": 0.3 + x})
    frame["decision"] = (rng.random(rows) < np.where(arm, frame["p1"], 0.3)).astype(float)
    frame["tau"], frame["w1"] = arm * 1.0, arm * 1.0
    frame["w0"] = np.where(arm, 0.0, np.where(x > 0, w0, 1.0))
    frame["m0"], frame["m1"], frame["effect"] = m0, 0.3 + x, x
    return frame.assign(lower=x - 0.1, upper=x + 0.1)


def test_effects_of_cells_average_to_the_reported_one_and_follow_the_truth(found, cells):
    assert np.average(cells["effect"], weights=cells["tau"]) == pytest.approx(found.mean["effect"])
    assert gains(cells).sum() / cells["tau"].sum() == pytest.approx(found.mean["effect"])
    shown = cells[cells["arm"] == 1]
    truth = shown["p1"] - shown["p0"]
    assert np.corrcoef(shown["effect"], truth)[0, 1] > 0.2
    assert np.sqrt(((shown["effect"] - truth) ** 2).mean()) < truth.std()  # better than the true mean for all
    assert (cells["lower"] < cells["effect"]).all() and (cells["effect"] < cells["upper"]).all()


def test_a_cell_is_read_from_other_users(world, found, cells):
    """Flipping a user's decisions leaves the effect read at them, but for what is known before and the mean."""
    log = world.log.copy()
    user = log["user"].iloc[0]
    first = (
        (cells["user"] == user) & (cells["t"] == 1) & (cells["arm"] == 0)
    )  # nothing of theirs is known before
    log.loc[log["user"] == user, "decision"] = 1 - log.loc[log["user"] == user, "decision"]
    again = cell_effects(estimate_effect(Dataset(log, items=world.items), splits=1), world)
    centre = [np.average(one["effect"], weights=one["tau"]) for one in (cells, again)]
    moved = again.loc[first, "effect"].to_numpy() - cells.loc[first, "effect"].to_numpy()
    assert abs(moved - (centre[1] - centre[0])).max() < 0.02


def test_always_less_never_is_the_effect_less_the_cost(found, cells):
    table = policy_values(cells, policies(cells), cost=0.05, against="never", **FEW)
    table = table.set_index(["policy", "estimator"])
    assert table.loc[("always", "doubly robust"), "value"] == pytest.approx(found.mean["effect"] - 0.05)
    assert (table.loc["never", ["value", "lower", "upper"]] == 0).all().all()


@pytest.mark.parametrize("wrong", [{"m0": 0.8}, {"w0": 6.0}])
def test_doubly_robust_needs_one_of_the_two(wrong):
    rows = coin(40_000, **wrong)
    rows["decision"] = np.where(rows["arm"] == 1, rows["decision"], rows["decision"] * (rows["effect"] > 0))
    rows["m0"] = np.where(rows["effect"] > 0, rows["m0"], 0.0 if "w0" in wrong else rows["m0"])
    table = policy_values(rows, {"never": np.zeros(len(rows))}, **FEW).set_index("estimator")
    assert table.loc["doubly robust", "value"] == pytest.approx(0.15, abs=0.01)
    if "w0" in wrong:
        assert table.loc["IPS", "value"] > 0.2  # it has the weights alone


def test_switching_leaves_out_the_residuals_of_large_weights():
    rows = coin(40_000)
    rows.loc[rows.index[rows["arm"] == 0][:100], "w0"] = 1e3
    own = rows[rows["arm"] == 0]
    table = policy_values(rows, {"never": np.zeros(len(rows))}, **FEW).set_index("estimator")
    kept = own["w0"] < 10 * own["w0"].mean()
    residual = (own["w0"] * (own["decision"] - 0.3))[kept].sum() / own["w0"].sum()
    assert table.loc["switch-DR", "value"] == pytest.approx(0.3 + residual)
    width = table["upper"] - table["lower"]
    assert width["switch-DR"] < 0.2 * width["doubly robust"]


def test_values_hold_the_truth_in_a_simulated_world(cells):
    table = policy_values(cells, policies(cells), **FEW)
    assert table["policy"].unique().tolist() == ["always", "never", "random, as often", "TER > c"]
    robust = table[table["estimator"] == "doubly robust"].set_index("policy")
    assert (robust["lower"] <= robust["truth"]).all() and (robust["truth"] <= robust["upper"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: policies(c, cost=2), "cost = 2"),
        (lambda c: policy_values(c, {"p": np.full(len(c), 2.0)}), "chance in"),
        (lambda c: policy_values(c, {"p": np.ones(3)}), "for each of 4000 cells"),
        (lambda c: policy_values(c, {"p": np.ones(len(c))}, against="q"), "unknown policy"),
        (lambda c: regret(c.drop(columns="p1"), {}), "simulated world"),
        (lambda c: uplift(c, {"s": np.full(len(c), np.nan)}), "finite number"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(coin())


def test_logged_policies_are_worth_what_another_package_says(real_data):
    raw = pd.read_parquet(real_data / "experiments" / "open_bandit_men.parquet")
    names = {"item_id": "item", "click": "decision", "policy": "source", "propensity_score": "propensity"}
    log = raw.rename(columns=names | {"position": "feature_position"})
    dataset = Dataset(log.assign(t=log.groupby(["user", "source"]).cumcount()))
    picks = {
        "random": arm_policy(dataset, "random"),
        "bts": arm_policy(dataset, "bts", by=("feature_position",)),
    }
    assert picks["random"]["probability"].to_numpy() == pytest.approx(np.full(34, 1 / 34))
    for name, arm in (("random", "bts"), ("bts", "random")):
        values, verdict = item_policy_values(dataset, name, picks[name], arm=arm)
        assert values["estimator"].tolist() == list(POLICY_ESTIMATORS)
        np.testing.assert_allclose(values["value"], OBP[name], rtol=0, atol=1e-9)
        truth = log.loc[log["source"] == name, "decision"].mean()
        assert verdict.word != "fails" and values["lower"].iloc[1] < truth < values["upper"].iloc[1]


def uniform_log(users: int = 1500, steps: int = 5, items: int = 8) -> Dataset:
    """Rows of one arm with items at random; the chance of acceptance is item / 10."""
    rng = np.random.default_rng(3)
    item = rng.integers(items, size=users * steps)
    log = pd.DataFrame({"user": np.repeat(np.arange(users), steps), "item": item, "source": "self"})
    log["t"], log["propensity"] = np.tile(np.arange(steps), users), 1 / items
    return Dataset(log.assign(decision=(rng.random(len(log)) < item / 10).astype(int)))


def test_a_policy_of_a_file_is_valued_and_its_support_checked(tmp_path):
    dataset, file = uniform_log(), tmp_path / "picks.csv"
    both = pd.DataFrame(
        {"user": np.repeat(np.arange(1500), 2), "item": [7, 3] * 1500, "score": [2.0, 1.0] * 1500}
    )
    both.to_csv(file, index=False)
    values, verdict = item_policy_values(dataset, "best", read_policy(file, dataset), arm="self", **FEW)
    assert values["value"].to_numpy() == pytest.approx(
        np.full(4, 0.7), abs=0.08
    )  # the item of the higher score
    assert verdict.word == "holds" and verdict.value == pytest.approx(1, abs=0.1)
    both[both["user"] < 375].to_csv(file, index=False)
    assert (
        "25% of the exposures"
        in item_policy_values(dataset, "some", read_policy(file, dataset), arm="self")[1].detail
    )
    pd.DataFrame({"item": [7, 99], "probability": [0.5, 0.5]}).to_csv(file, index=False)
    _, verdict = item_policy_values(dataset, "new", read_policy(file, dataset), arm="self", **FEW)
    assert verdict.word == "fails" and verdict.detail.startswith(
        "50% of its choices are items that self exposes"
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_of_digits_are_the_names_of_the_logs_own_file(tmp_path, suffix):
    """The codes of the log follow the order of the text: 10 is user 1, and 9 is user 2."""
    dataset = replace(uniform_log(), users=pd.DataFrame({"user": [1, 2], "label": ["10", "9"]}))
    file = tmp_path / f"picks{suffix}"
    picks = pd.DataFrame({"user": ["9", "10"], "item": [3, 7], "probability": 1.0})
    {".csv": picks.to_csv, ".parquet": picks.to_parquet}[suffix](file, index=False)
    assert read_policy(file, dataset).to_numpy().tolist() == [[2, 3, 1], [1, 7, 1]]
    picks.assign(user=["9", "nobody"]).to_csv(file := tmp_path / "unknown.csv", index=False)
    with pytest.raises(InputError, match="row 2: expected an item, and user, of the log"):
        read_policy(file, dataset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item\n1,2\n", "expected item and probability, or score"),
        ("usr,item,score\n1,2,1\n", "did you mean 'user'"),
        ("user,item,score\n1,2,x\n", "row 1"),
        ("user,item,score\n1,2,1\n1,2,1\n", "row 2.*once"),
        ("user,item,probability\n1,2,.5\n1,3,.4\n", r"user 1 add up to 0.900"),
        ("item,probability\n2,.5\n", "all items add up to 0.500"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_policy_file_is_refused(tmp_path, content, message):
    file = tmp_path / "picks.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        read_policy(file, uniform_log(users=5))
    assert len(str(refused.value).replace(str(tmp_path), "")) <= 400


def test_items_are_valued_only_by_logged_chances():
    dataset = uniform_log(users=5)
    with pytest.raises(InputError, match="expected a propensity at each exposure of self"):
        item_policy_values(
            Dataset(dataset.log.drop(columns="propensity")), "p", arm_policy(dataset, "self"), arm="self"
        )


def test_qini_of_a_perfect_a_random_and_a_reversed_score():
    rows = coin(40_000)
    curves, areas = uplift(rows, {"good": rows["effect"], "bad": -rows["effect"]}, **FEW)
    areas = areas.set_index("score")
    # gain .2 at half, then down to .1: the area is .2/4 + .15/2 = .125, less .05 of the straight line
    assert areas.loc["good", "auuc"] == pytest.approx(0.125, abs=0.01)
    assert areas.loc["good", "qini"] == pytest.approx(0.075, abs=0.01)
    assert areas.loc["bad", "qini"] == pytest.approx(-0.075, abs=0.01)
    assert areas.loc[RANDOM_SCORE, "qini_lower"] < 0.005 and areas.loc[RANDOM_SCORE, "qini_upper"] > -0.005
    ends = curves.groupby("score")["gain"].last()
    assert np.ptp(ends) < 1e-9 and ends.iloc[0] == pytest.approx(0.1, abs=0.015)
    flat = uplift(rows, {"same": np.zeros(len(rows))}, **FEW)[1].set_index("score")
    assert flat.loc["same", "qini"] == pytest.approx(0, abs=1e-12)


def lived(users: int = 400, *, shift: float = 0.0, drift: float = 0.0, steps: int = 40, told: bool = True):
    """Cells of both arms in turn: log odds rise by `drift` for both, by .5 + `shift` from halfway for the arm."""
    rng = np.random.default_rng(5)
    user, step = np.repeat(np.arange(users), steps), np.tile(np.arange(steps), users)
    level = rng.normal(-1, 0.5, users)[user] + drift * (step / steps - 0.5)
    arm = step % 2
    odds = level + arm * (0.5 + shift * (step >= steps / 2))
    rows = pd.DataFrame({"user": user, "arm": arm, "step": step // 2 + 1, "w1": arm * 1.0})
    rows["decision"] = (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(float)
    rows = rows.assign(w0=1.0 - arm)
    return rows.assign(m0=1 / (1 + np.exp(-(level if told else level - drift * (step / steps - 0.5)))))


class Lived:
    """What `trust_changes` reads of an effect, with the cells and the clock set by hand."""

    def __init__(self, found, cells, *, clock):
        self.identification, self.level, self.cells = found.identification, 0.95, cells
        self.known = type(
            "Known", (), {"binary": True, "rate": 0.3, "clock": type("Clock", (), {"columns": clock})}
        )


def test_trust_that_changes_is_found_and_when(found):
    trust, users = trust_changes(Lived(found, lived(shift=2.5), clock=("time",)), permutations=199)
    assert trust.word == "holds" and trust.value == pytest.approx(0.46, abs=0.04)
    changed = users[users["changed"]]
    assert len(changed) / 400 > 0.2 and changed["step"].median() == pytest.approx(10, abs=1)
    assert (changed["after"] > changed["before"]).mean() > 0.97


def test_drift_of_both_arms_is_no_trust(found):
    """A drift that the clock tells, or that the baseline shows: no alarm; and the rate of users is the one set."""
    for told in (True, False):
        trust, _ = trust_changes(Lived(found, lived(drift=1.5, told=told), clock=("time",)), permutations=199)
        assert trust.word != "holds" and abs(trust.value) < 0.03
    _, still = trust_changes(Lived(found, lived(drift=1.5), clock=("time",)), permutations=199)
    assert (still["p"] <= 0.05).mean() == pytest.approx(0.05, abs=0.03) and not still["changed"].any()


def test_where_phases_follow_each_other_drift_is_not_taken_for_trust(found):
    trust, users = trust_changes(Lived(found, lived(drift=1.5, told=False), clock=()), permutations=49)
    assert trust.word == "undecided" and users.empty and "baseline drifts" in trust.detail
    alone = lived(shift=2.5).query("arm == 1")
    assert trust_changes(Lived(found, alone, clock=()), permutations=49)[0].word == "not tested"


def test_who_takes_nothing_is_not_tested(found):
    """Of decisions all alike the contrasts are those of m0 alone, and its course would be taken for trust."""
    rows = lived(users=60, drift=3.0)
    rows.loc[rows["user"] < 30, "decision"] = 0.0
    _, users = trust_changes(Lived(found, rows, clock=("time",)), permutations=49)
    assert (users["user"] >= 30).all() and len(users) > 20


def test_contrasts_leave_out_a_constant_shift_of_the_log_odds():
    rows = contrasts(lived(users=2000, drift=2.0), binary=True)
    shown = rows[rows["arm"] == 1]
    later = shown["step"] > 10
    assert abs(shown["contrast"].mean()) < 1e-9
    assert shown["contrast"][later].mean() - shown["contrast"][~later].mean() == pytest.approx(0, abs=0.01)
    plain = shown["decision"] - shown["m0"]
    assert plain[later].mean() - plain[~later].mean() > 0.015  # the same shift moves more near a half


def test_figures_draw_what_the_frames_say(cells, found):
    values = policy_values(cells, policies(cells), **FEW)
    ax = policy_plots.plot_policy_values(values)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(policies(cells))
    drawn = [x for line in ax.lines for x in line.get_xdata()]
    np.testing.assert_allclose(sorted(drawn), sorted(values["value"]))
    _, users = trust_changes(Lived(found, lived(users=60), clock=("time",)), permutations=49)
    axes = [
        ax,
        policy_plots.plot_thresholds(threshold_values(cells, **FEW), chosen=0.0),
        policy_plots.plot_gain(uplift(cells, {"effect": cells["effect"]}, **FEW)[0]),
        policy_plots.plot_exploration(exploration(cells[cells["arm"] == 1])),
        policy_plots.plot_trust_tests(users),
    ]
    for ax in axes:
        assert ax.get_xlabel() and (ax.get_ylabel() or ax.get_yticklabels())
    _, given = plt.subplots()
    assert policy_plots.plot_gain(uplift(cells, {}, **FEW)[0], ax=given) is given
