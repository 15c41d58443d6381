"""Arms dealt at random: what is left of a log, and how findings are counted, with estimates that are written down."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from csrec_core.data.log import Dataset
from csrec_core.effect import aa
from csrec_core.effect.aa import false_alarms, in_order, permute_arms, relabel
from csrec_core.effect.design import Design
from csrec_core.effect.folds import hashes

LOG = pd.DataFrame(
    {
        "user": [2, 1, 1, 1, 2, 1],
        "t": [1, 2, 1, 1, 1, 3],
        "item": [7, 8, 7, 9, 8, 7],
        "decision": [1, 0, 1, 0, 0, 1],
        "source": ["system", "system", "system", "self", "self", "other"],
    }
).assign(propensity=0.1, arm_propensity=0.5, timestamp=[9, 3, 2, 1, 8, 4])


def test_rows_of_both_arms_lie_as_they_were_lived():
    found = in_order(Dataset(LOG, users=pd.DataFrame({"user": [1, 2], "age": [3.0, 4.0]})), Design())
    assert found["timestamp"].tolist() == [1, 2, 3, 8, 9] and found.index.tolist() == list(range(5))


@pytest.mark.parametrize(("phased", "t"), [(False, [1, 2, 3, 1, 2]), (True, [1, 1, 2, 1, 2])])
def test_what_is_left_of_a_log_whose_arms_are_others(phased, t):
    dataset, design = Dataset(LOG, truth=LOG), Design(target="uniform", arm_propensity=0.3)
    arm = np.array([True, False, True, False, False])
    found, left = relabel(dataset, design, in_order(dataset, design), arm, phased=phased)
    assert found.log["source"].astype(str).tolist() == ["system", "self", "system", "self", "self"]
    assert found.log["t"].tolist() == t and found.truth is None
    assert found.log[["item", "decision"]].to_numpy().tolist() == [[9, 0], [7, 1], [8, 0], [8, 0], [7, 1]]
    gone = {"propensity", "arm_propensity"} | ({"timestamp"} if phased else set())
    assert set(LOG.columns) - set(found.log.columns) == gone
    assert left == replace(design, target="exposed", arm_propensity=None if phased else 0.3)
    other = replace(design, target="everyone", estimand="arm")
    assert relabel(dataset, other, in_order(dataset, other), arm)[1] == other


def test_users_of_one_arm_stay_so_and_others_get_the_share_of_another():
    rng, user = np.random.default_rng(0), np.repeat(np.arange(40), 4)
    log = pd.DataFrame({"user": user, "t": np.tile(range(4), 40), "item": 0, "decision": 1})
    apart = log.assign(source=np.where(user < 10, "system", "self"))
    dealt = permute_arms(Dataset(apart), Design(), rng)[0].log
    shown = (dealt["source"].astype(str) == "system").groupby(dealt["user"]).mean()
    assert set(shown) == {0.0, 1.0} and shown.sum() == 10 and not (shown[:10] == 1).all()
    mixed = log.assign(source=np.where(np.arange(160) % 4 == 0, "system", "self"))
    first = permute_arms(Dataset(mixed), Design(), rng)[0].log.groupby("user")["source"].first()
    assert 0.05 < (first.astype(str) == "system").mean() < 0.5


def test_what_an_arm_did_does_not_stay_with_the_users_who_had_more_of_it():
    """Who had the arm in 3 of 4 rows accepts all, who had it in 1 none: among own rows the gap would stay 1/2."""
    user = np.repeat(np.arange(20), 4)
    log = pd.DataFrame(
        {"user": user, "t": np.tile(range(4), 20), "item": 0, "decision": (user < 10).astype(int)}
    )
    log["source"] = np.where(np.tile(range(4), 20) < np.where(user < 10, 3, 1), "system", "self")
    gaps, shares = [], []
    for seed in range(50):
        dealt = permute_arms(Dataset(log), Design(), np.random.default_rng(seed))[0].log
        shown = dealt["source"].astype(str) == "system"
        gaps.append(dealt.loc[shown, "decision"].mean() - dealt.loc[~shown, "decision"].mean())
        shares.append(shown.groupby(dealt["user"]).mean().to_numpy())
    assert abs(np.mean(gaps)) < 0.08
    # As far apart as they were: 1/16 of the shares, and 3/64 of four draws at either.
    assert np.var(shares) == pytest.approx(7 / 64, abs=0.015)


def test_findings_are_counted_over_deals_of_the_arms(monkeypatch):
    """Of five estimates the mean is found twice, above and below; a trend has no interval in two."""
    means = [(0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1), (-0.1, 0.0)]
    asked = []

    def estimate(placebo, *, design, splits, seed, learners):
        number = len(asked)
        labels = []
        asked.append((splits, seed, learners, labels, placebo.log))
        ends = pd.DataFrame([means[number]] * 4, columns=["lower", "upper"])
        trend = pd.Series({"lower": np.nan if number < 2 else 0.1, "upper": np.nan if number < 2 else 0.2})
        return SimpleNamespace(
            learners={"m0": f"of {number}"}, mean=ends.iloc[0], trend=trend, over_time=ends[: 1 + number],
            by=lambda label: labels.append(label) or ends,
        )  # fmt: skip

    monkeypatch.setattr(aa, "estimate_effect", estimate)
    dataset = Dataset(LOG[LOG["source"] != "other"].reset_index(drop=True))
    found = false_alarms(dataset, times=5, seed=3).set_index("finding")
    assert found.index.tolist() == ["mean", "trend", "first step", "segment"]
    assert found["asked"].tolist() == [5, 3, 5, 20]
    assert found["rate"].tolist() == pytest.approx([0.4, 1.0, 0.4, 0.4])
    for name, (count, of) in {"mean": (2, 5), "segment": (8, 20)}.items():
        low, high = beta.ppf([0.025, 0.975], count + 0.5, of - count + 0.5)
        assert found.loc[name, ["lower", "upper"]].tolist() == pytest.approx([low, high])
    assert found.loc["trend", "upper"] == 1
    assert [one[:2] for one in asked] == [(1, 15 + number) for number in range(5)]
    assert [one[2] for one in asked] == [None, *({"m0": f"of {number}"} for number in range(4))]
    for number, (*_, labels, log) in enumerate(asked):
        user = log["user"].to_numpy()
        assert labels[0].tolist() == (hashes(user, 3, number + 2) % np.uint64(4)).tolist()
        own = permute_arms(dataset, Design(), np.random.default_rng([3, number]))[0].log
        assert own["source"].tolist() == log["source"].tolist()
    means *= 12
    asked.clear()
    assert false_alarms(dataset)["asked"][0] == 60 and [one[1] for one in asked] == list(range(60))


def test_a_share_of_none_and_of_all_has_its_end():
    """Brown, Cai and DasGupta 2001: Jeffreys's interval of 0 in 10 ends at .217, that of 1 in 10 at .381."""
    assert aa._rate(0, 10) == pytest.approx((0, 0, 0.217), abs=1e-3)
    assert aa._rate(10, 10) == pytest.approx((1, 1 - 0.217, 1), abs=1e-3)
    assert aa._rate(1, 10) == pytest.approx((0.1, 0.011, 0.381), abs=1e-3)
    assert np.isnan(aa._rate(0, 0)).all()
