"""Trust over time: who is tested, what is judged of all, and each user's change, by hand and by brute force."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from csrec_core.effect import trust as module
from csrec_core.effect.trust import contrasts, later_less_earlier, trust_changes
from csrec_core.errors import InputError


def rows_of(*users, **columns):
    """Return rows by the arm of users 11, 12, ..., who decided so."""
    length = [len(one) for one in users]
    frame = pd.DataFrame(
        {"user": np.repeat(np.arange(len(users)) + 11, length), "decision": np.concatenate(users)}
    )
    frame["step"] = frame.groupby("user").cumcount() + 1
    return frame.assign(arm=1, w1=1.0, w0=0.0, m0=0.5, **columns)


def test_users_with_six_exposures_and_two_of_either_decision_are_tested():
    rows = rows_of(
        [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]
    )
    tested = rows["user"][module._enough(rows, binary=True)].unique()
    assert tested.tolist() == [11, 15]
    assert rows["user"][module._enough(rows, binary=False)].unique().tolist() == [11, 13, 14, 15]


def shift_of(shown):
    """Return the shift of the log odds that makes the expected decisions add up."""
    return minimize_scalar(
        lambda by: (shown["w1"] @ (shown["decision"] - expit(logit(shown["m0"]) + by))) ** 2
    ).x


def test_an_expected_decision_is_kept_off_the_ends():
    """Of m0 at an end the level is that of one in ten thousand; the shift makes the arm's decisions add up."""
    cells = rows_of([1, 0, 1, 1], [0, 1]).assign(m0=[0.0, 1.0, 0.5, 0.5, 0.3, 0.3], arm=[0, 0, 1, 1, 1, 1])
    cells = cells.assign(w1=[9.0, 9, 1, 2, 1, 1])
    found = contrasts(cells.iloc[::-1], binary=True)
    assert found["user"].tolist() == [11] * 4 + [12] * 2 and found["step"].tolist() == [1, 2, 3, 4, 1, 2]
    assert found["contrast"][:2].tolist() == pytest.approx([1 - 1e-4, -(1 - 1e-4)], abs=1e-9)
    assert found["spread"][:2].tolist() == pytest.approx([(0.02 * 0.98) ** 0.5] * 2)
    shown = found[found["arm"] == 1]
    assert (shown["w1"] * shown["contrast"]).sum() == pytest.approx(0, abs=1e-8)
    expected = shown["decision"] - shown["contrast"]
    assert (logit(expected) - logit(shown["m0"])).tolist() == pytest.approx([shift_of(shown)] * 4, rel=1e-4)
    assert shown["spread"].to_numpy() == pytest.approx(np.sqrt(expected * (1 - expected)))
    plain = contrasts(cells, binary=False)
    shift = np.average([0.5, 0.5, -0.3, 0.7], weights=[1, 2, 1, 1])
    assert plain["contrast"].tolist() == pytest.approx([1, -1, *(np.array([0.5, 0.5, -0.3, 0.7]) - shift)])
    assert plain["spread"].tolist() == [1] * 6


ROWS = pd.DataFrame(
    {
        "user": [1, 1, 1, 1, 2, 2, 2, 2, 2],
        "arm": [1, 1, 0, 0, 1, 1, 1, 0, 0],
        "decision": [0.0, 1, 0, 1, 1, 0, 1, 0, 0],
        "m0": [0.2, 0.3, 0.1, 0.2, 0.2, 0.2, 0.5, 0.1, 0.2],
    }
).assign(w1=1.0, w0=[0, 0, 1, 3, 0, 0, 0, 2, 1])


def test_later_less_earlier_by_hand():
    """The middle one of three is earlier.

    Residuals of the baseline: (-.1 - .2) / 3, then (3 * .8 - .2) / 4; so y0 is .2 - .1, then .4 + .55, and y1 is 1/3,
    then 1, which is kept a five-thousandth off.
    """
    table = later_less_earlier(ROWS, binary=False)
    assert table["value"].to_dict() == pytest.approx({"baseline": 0.65, "beyond": (1 - 0.95) - (1 / 3 - 0.1)})
    odds = (1 / 3 / (2 / 3)) / (0.1 / 0.9) * (0.95 / 0.05)
    binary = later_less_earlier(ROWS, binary=True)["value"]["beyond"]
    assert binary == pytest.approx(1 - 0.0002 - odds / (1 + odds), abs=1e-9)
    # Twice the weights are the same; without the baseline nothing is told.
    double = later_less_earlier(ROWS.assign(w0=2 * ROWS["w0"], w1=0.5), binary=False)["value"]
    assert double.to_dict() == pytest.approx(table["value"].to_dict())
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        assert later_less_earlier(ROWS[ROWS["arm"] == 1], binary=False)["value"].isna().all()


def test_the_ends_are_those_of_resampled_users():
    """Of three users any may be drawn thrice: the ends of so wide an interval are the extremes of all draws."""
    rows = pd.concat([ROWS, ROWS[ROWS["user"] == 1].assign(user=3, decision=[1.0, 1, 0, 0])])
    each = [one for _, one in rows.groupby("user")]
    values = []
    for drawn in {tuple(sorted(one)) for one in np.ndindex(3, 3, 3)}:
        some = pd.concat([each[one].assign(user=10 * place + one) for place, one in enumerate(drawn)])
        values.append(later_less_earlier(some, binary=False)["value"])
    values = np.array(values)
    found = later_less_earlier(rows, binary=False)
    assert found.equals(later_less_earlier(rows, binary=False, level=0.95, seed=0))
    found = later_less_earlier(rows, binary=False, level=0.9999)
    assert found["lower"].tolist() == pytest.approx(values.min(axis=0).tolist())
    assert found["upper"].tolist() == pytest.approx(values.max(axis=0).tolist())


def known(clock=("time",), rate=0.3):
    return SimpleNamespace(clock=SimpleNamespace(columns=clock), rate=rate, binary=True)


@pytest.mark.parametrize(
    ("drift", "beyond", "how", "word", "names"),
    [
        ((0, -1, 1), (0.2, 0.1, 0.3), {}, "holds", True),
        ((0, -1, 1), (-0.2, -0.3, -0.1), {}, "holds", True),
        ((0, -1, 1), (0.1, 0.0, 0.3), {}, "undecided", True),
        ((0, -1, 1), (-0.1, -0.3, 0.0), {}, "undecided", True),
        # Little is less than two points and than a tenth of the mean decision.
        ((0, -1, 1), (0.0, -0.019, 0.015), {}, "fails", True),
        ((0, -1, 1), (0.0, -0.015, 0.02), {}, "undecided", True),
        ((0, -1, 1), (0.0, -0.02, 0.01), {}, "undecided", True),
        ((0, -1, 1), (0.0, -0.011, 0.005), {"rate": 0.1}, "undecided", True),
        ((0, -1, 1), (0.0, -0.009, 0.005), {"rate": -0.1}, "fails", True),
        # Where one phase follows the other no user is named unless all change, and drift may be all there is.
        ((0, -1, 1), (0.2, 0.1, 0.3), {"clock": ()}, "holds", True),
        ((0, -1, 1), (0.0, -0.1, 0.3), {"clock": ()}, "undecided", False),
        ((1, 0.0, 2), (0.2, 0.1, 0.3), {"clock": ()}, "holds", True),
        ((-1, -2, 0.0), (0.2, 0.1, 0.3), {"clock": ()}, "holds", True),
        ((1, 0.5, 2), (0.2, 0.1, 0.3), {"clock": ()}, "undecided", False),
        ((-1, -2, -0.5), (0.2, 0.1, 0.3), {"clock": ()}, "undecided", False),
        ((1, 0.5, 2), (0.2, 0.1, 0.3), {}, "holds", True),
        ((np.nan,) * 3, (np.nan,) * 3, {}, "not tested", False),
    ],
)
def test_the_verdict_on_all_users(drift, beyond, how, word, names):
    found = pd.DataFrame([drift, beyond], index=["baseline", "beyond"], columns=["value", "lower", "upper"])
    verdict, named = module._judge_users(found, known(**how))
    assert (verdict.word, named) == (word, names)
    if word == "not tested":
        return
    assert [verdict.value, verdict.lower, verdict.upper, verdict.threshold] == [*beyond, 0]
    if word == "holds":
        assert ("it rises" in verdict.detail) == (beyond[0] > 0)
        assert ("+20.0" in verdict.detail) == (beyond[0] > 0)


def largest(walk):
    """Return the largest standardised CUSUM of numbers about their mean, and after how many it is."""
    n, walk = len(walk), np.asarray(walk) - np.mean(walk)
    found = {k: abs(walk[:k].sum()) * np.sqrt(n / (k * (n - k))) for k in range(2, n - 1)}
    return max(found.values()), max(found, key=found.get)


def test_each_user_is_tested_against_all_orders_of_their_own():
    """Six contrasts have 720 orders: the p-value by chance is the share of them that reach as far."""
    rng = np.random.default_rng(3)
    users = [np.r_[rng.normal(0, 1, 2), rng.normal(4, 1, 4)], rng.normal(size=6), rng.normal(size=7)]
    rows = rows_of(*users).assign(contrast=np.concatenate(users))
    rows["spread"] = rng.choice([1.0, 2.0], len(rows))
    rows["step"] = rows["step"] * 10
    found = module._test_users(rows, 1999, 0).set_index("user")
    for user, one in rows.groupby("user"):
        scaled = (one["contrast"] / one["spread"]).to_numpy()
        reach, last = largest(scaled)
        every = [largest(order)[0] for order in permutations(scaled)]
        share = np.mean([value >= reach - 1e-9 for value in every])
        row = found.loc[user]
        assert row["p"] == pytest.approx(share, abs=0.035) and (row["p"] * 2000) % 1 == pytest.approx(
            0, abs=1e-6
        )
        assert (row["step"], row["exposures"]) == (last * 10, len(one))
        plain = one["contrast"].to_numpy()
        assert [row["before"], row["after"]] == pytest.approx([plain[:last].mean(), plain[last:].mean()])
    assert found["p"].is_monotonic_increasing
    p = found["p"].to_numpy()
    assert found["changed"].tolist() == [
        bool((p[k:] * 3 / np.arange(k + 1, 4)).min() <= 0.1) for k in range(3)
    ]


def test_trust_is_tested_where_the_status_allows_it(monkeypatch):
    shown = rows_of([1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0])
    cells = pd.concat([shown, shown.assign(arm=0, w0=1.0, decision=0.0)], ignore_index=True)
    judged = SimpleNamespace(allows=True, reasons=("because",))
    effect = SimpleNamespace(cells=cells, known=known(), identification=judged, level=0.9)
    verdict = SimpleNamespace(word="holds")
    asked = {}
    monkeypatch.setattr(module, "_judge_users", lambda found, known: (verdict, asked["named"]))
    monkeypatch.setattr(module, "_test_users", lambda rows, *rest: (rows["user"].unique().tolist(), *rest))
    for named in (True, False):
        asked["named"] = named
        found, users = trust_changes(effect, permutations=19, seed=4)
        assert found is verdict
        if named:
            assert users == ([11], 19, 4)
        else:
            assert users.empty and list(users.columns) == ["user", "p", "changed"]
    asked["named"] = True
    assert trust_changes(effect)[1] == ([11], 499, 0)
    with pytest.raises(InputError, match="permutations = 18; expected at least 19"):
        trust_changes(effect, permutations=18)
    for change, why in (
        ({"identification": SimpleNamespace(allows=False, reasons=("because",))}, "because"),
        ({"cells": shown}, "6 exposures by the arm, 2 of either decision, and some by the baseline"),
        ({"cells": cells[cells["user"] == 12]}, "no user has 6 exposures"),
    ):
        found, users = trust_changes(SimpleNamespace(**vars(effect) | change))
        assert found.word == "not tested" and why in found.detail and users.empty
