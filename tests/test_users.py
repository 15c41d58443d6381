"""Users' effects against the best linear prediction that knows every variance."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from csrec_core.effect.users import user_effects

USERS, MEAN, SPREAD, LIKING, NOISE = 6000, 0.3, 0.5, 0.8, 2.0  # of e its mean and variance; of b; of a row


@pytest.fixture(scope="module")
def drawn():
    """Rows of users whose effect e and liking b are drawn: 6 by the arm, 4 by the baseline, weighted unevenly."""
    rng = np.random.default_rng(0)
    effect = rng.normal(MEAN, SPREAD**0.5, USERS)
    liking = rng.normal(0, LIKING**0.5, USERS)
    arm, user = np.tile([1] * 6 + [0] * 4, USERS), np.repeat(np.arange(USERS), 10)
    decision = liking[user] + effect[user] * arm + rng.normal(0, NOISE**0.5, len(user))
    weight = rng.choice([1.0, 2.0, 3.0], len(user))
    rows = {
        "user": user,
        "arm": arm,
        "decision": decision,
        "m0": 0.0,
        "w1": weight * arm,
        "w0": weight * (1 - arm),
    }
    return pd.DataFrame(rows), effect


def best_prediction(rows):
    """Return by user the best linear prediction of e from the two means, and its variance, all being known."""
    means, noises = [], []
    for name in ("w1", "w0"):
        total = rows.groupby("user")[name].sum().to_numpy()
        means.append((rows[name] * rows["decision"]).groupby(rows["user"]).sum().to_numpy() / total)
        noises.append(NOISE * (rows[name] ** 2).groupby(rows["user"]).sum().to_numpy() / total**2)
    covariance = np.full((USERS, 2, 2), LIKING)
    covariance[:, 0, 0] += SPREAD + noises[0]
    covariance[:, 1, 1] += noises[1]
    slopes = np.linalg.solve(covariance, np.tile([[SPREAD], [0.0]], (USERS, 1, 1)))[..., 0]
    return MEAN + slopes[:, 0] * (means[0] - MEAN) + slopes[:, 1] * means[1], SPREAD * (1 - slopes[:, 0])


def test_users_are_predicted_as_by_one_who_knows_the_variances(drawn):
    rows, effect = drawn
    found = user_effects(rows).set_index("user").sort_index()
    best, variance = best_prediction(rows)
    assert np.abs(found["effect"] - best).max() < 0.1
    half = (found["upper"] - found["lower"]).to_numpy() / 2
    assert half == pytest.approx(1.96 * variance**0.5, rel=0.03)
    assert ((found["lower"] <= effect) & (effect <= found["upper"])).mean() == pytest.approx(0.95, abs=0.012)
    assert (found["exposures"] == 6).all()


def test_the_error_of_the_mean_is_in_every_interval(drawn):
    rows, _ = drawn
    found = user_effects(rows, error=0.4, level=0.9).set_index("user").sort_index()
    _, variance = best_prediction(rows)
    half = (found["upper"] - found["lower"]).to_numpy() / 2
    assert half == pytest.approx(1.645 * (variance + 0.16) ** 0.5, rel=0.03)


@pytest.mark.parametrize(("outcome", "weight"), [(0.01, 1.0), (100.0, 1.0), (1.0, 1e-9), (1.0, 1e4)])
def test_units_of_the_outcome_and_of_the_weights_change_nothing_else(drawn, outcome, weight):
    rows, _ = drawn
    scaled = rows.assign(decision=outcome * rows["decision"], w1=weight * rows["w1"], w0=weight * rows["w0"])
    found, plain = user_effects(scaled), user_effects(rows)
    for name in ("effect", "lower", "upper"):
        assert found[name].to_numpy() == pytest.approx(
            outcome * plain[name].to_numpy(), rel=1e-6, abs=1e-9 * outcome
        )


def test_without_rows_of_one_arm_there_is_no_user(drawn):
    rows, _ = drawn
    for name in ("w0", "w1"):
        assert user_effects(rows.assign(**{name: 0.0})).empty


def test_users_of_one_row_by_arm_share_what_is_common():
    """With one row of a user by arm nothing tells its effect from noise: the spread is at most what chance leaves."""
    arm, decision = np.tile([1, 0], 4), np.array([1.0, 0.0, 0.0, 0.4, 0.5, 0.0, 0.9, 0.2])
    rows = pd.DataFrame({"user": np.arange(8) // 2, "arm": arm, "decision": decision, "m0": 0.0})
    found = user_effects(rows.assign(w1=0.1 * arm, w0=0.1 * (1 - arm)))
    own, other = decision[::2], decision[1::2]
    assert found["effect"].tolist() == pytest.approx([own.mean() - other.mean()] * 4)
    # A row's noise is the mean square; what the squares leave of the spread is negative.
    each = (own - own.mean()) ** 2 - (own**2).mean() - (own - own.mean()) * (other - other.mean())
    error = each.std() / 2

    def moment(power):
        return quad(lambda spread: spread**power * norm.pdf(spread, each.mean(), error), 0, 2, epsabs=0)[0]

    likely = moment(1) / moment(0)
    assert ((found["upper"] - found["lower"]) / 2).tolist() == pytest.approx([1.959964 * likely**0.5] * 4)


def test_two_rows_of_a_user_tell_the_noise():
    """Users whose two rows agree have no noise: each has the effect that its means say."""
    rng, users = np.random.default_rng(2), 50
    effect = rng.normal(0.2, 1, users)
    arm, user = np.tile([1, 1, 0, 0], users), np.repeat(np.arange(users), 4)
    rows = pd.DataFrame({"user": user, "arm": arm, "decision": effect[user] * arm, "m0": 0.0})
    found = user_effects(rows.assign(w1=arm, w0=1 - arm)).sort_values("user")
    assert found["effect"].to_numpy() == pytest.approx(effect, abs=1e-6)


def test_one_user_alone_has_the_mean_effect():
    arm = np.array([1, 1, 1, 0, 0])
    rows = pd.DataFrame({"user": 7, "arm": arm, "decision": [1.0, 0.0, 1.0, 0.0, 1.0], "m0": 0.5})
    found = user_effects(rows.assign(w1=arm, w0=1 - arm), error=0.1).iloc[0]
    assert found["effect"] == pytest.approx(2 / 3 - 1 / 2) and found["exposures"] == 3
    assert (found["upper"] - found["lower"]) / 2 == pytest.approx(0.1959964)


def moments(rows, name):
    """Return by user the mean residual of an arm off the mean of all, and the variance of its noise."""
    own, means, worth, away, lost = rows[rows[name] > 0], {}, {}, 0.0, 0.0
    for user, part in own.groupby("user"):
        weight, residual = part[name].to_numpy(), (part["decision"] - part["m0"]).to_numpy()
        means[user] = weight @ residual / weight.sum()
        worth[user] = weight.sum() ** 2 / (weight**2).sum()
        if len(part) > 1:
            away += weight @ (residual - means[user]) ** 2
            lost += weight.sum() * (1 - 1 / worth[user])
    centre = np.average(own["decision"] - own["m0"], weights=own[name])
    noise = {user: away / lost / size for user, size in worth.items()}
    return {user: mean - centre for user, mean in means.items()}, noise, centre


@pytest.mark.parametrize("strength", [0.2, 2.0])
def test_a_few_users_are_predicted_by_moments(strength):
    """Uneven rows, users without an arm, and a baseline that accepts more than is expected."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(14), rng.integers(2, 9, 14))
    arm = np.where(user == 3, 1, np.where(user == 5, 0, rng.integers(0, 2, len(user))))
    likes, moved = rng.normal(0, 1, 14)[user], rng.normal(0.3, strength, 14)[user]
    rows = pd.DataFrame({"user": user, "arm": arm, "m0": rng.uniform(0.2, 0.8, len(user))})
    rows["decision"] = rows["m0"] + 0.7 + likes + moved * arm + rng.normal(0, 0.5, len(user))
    weight = rng.choice([1.0, 2.0, 5.0], len(user))
    rows["w1"], rows["w0"] = weight * arm, weight * (1 - arm)
    (x, n1, centre1), (z, n0, centre0) = moments(rows, "w1"), moments(rows, "w0")
    middle = np.median(list(n1.values()))
    heavy = {one: 1 / (n1[one] + middle) for one in x}
    both = sorted(set(x) & set(z))
    common = max(sum(heavy[one] * x[one] * z[one] for one in both) / sum(heavy[one] for one in both), 0)
    each = {one: x[one] ** 2 - n1[one] - (x[one] * z[one] if one in z else 0) for one in x}
    total = sum(heavy.values())
    spread = sum(heavy[one] * each[one] for one in x) / total
    rough = sum((heavy[one] * (each[one] - spread)) ** 2 for one in x) ** 0.5 / total

    def moment(power):
        law = lambda s: s**power * norm.pdf(s, spread, rough)  # noqa: E731
        return quad(law, 0, 60, points=[max(spread, 0)])[0]

    likely = moment(1) / moment(0)
    found = user_effects(rows, error=0.1).set_index("user")
    assert sorted(found.index) == sorted(x) and found["effect"].is_monotonic_increasing
    used = max(spread, 0)
    for one in x:
        if one in z:
            cover = np.array([[common + used + n1[one], common], [common, common + n0[one]]])
            slopes = np.linalg.solve(cover, [used, 0])
            rest = common + n1[one] - common**2 / (common + n0[one])
        else:
            slopes, rest = np.array([used / (used + common + n1[one]), 0]), common + n1[one]
        effect = centre1 - centre0 + slopes @ [x[one], z.get(one, 0)]
        half = 1.959964 * np.sqrt(likely * (1 - slopes[0]) ** 2 + slopes[0] ** 2 * rest + 0.01)
        told = found.loc[one, ["effect", "lower", "upper"]].tolist()
        assert told == pytest.approx([effect, effect - half, effect + half])
        assert found.loc[one, "exposures"] == (arm[user == one] == 1).sum()
