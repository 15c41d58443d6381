"""An effect of several splits: medians, errors and intervals, by hand and from the rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect import result
from csrec_core.effect.design import Design
from csrec_core.effect.engine import Known
from csrec_core.effect.result import Effect, merge_small
from csrec_core.effect.rows import Clock
from csrec_core.effect.score import ESTIMATORS, Effects, sum_scores
from csrec_core.effect.users import user_effects
from csrec_core.errors import InputError

KNOWN = Known(Clock((), False), True, 1.0, 0.5, 12, 5, 30)
JUDGED = SimpleNamespace(status="assumed")
#: By name and split: effect, standard error, worth, mean decision without.
SPLITS = {
    "all": [(0.10, 0.01, 20, 0.3), (0.12, 0.02, 30, 0.4), (0.20, 0.02, 40, 0.6)],
    "estimators": [([0.1, 0.2, 0.3, 0.4], [0.01] * 4, [20, 20, 4, 20], [0.3] * 4)] * 3,
}


@pytest.fixture
def told(monkeypatch):
    """An effect of three splits whose effects are those of `SPLITS`, with a regression of three coefficients."""

    def effects_of(split, name, *, baseline="own"):
        effect, error, worth, without = (np.atleast_1d(np.array(part, float)) for part in SPLITS[name][split])
        return Effects(effect, np.diag(error**2), worth, without, worth)

    monkeypatch.setattr(result, "effects_of", effects_of)
    return Effect(Design(), JUDGED, KNOWN, [0, 1, 2], ("", 1.0), level=0.9, name="log", width=3)


def test_a_mean_is_the_median_of_its_splits(told, monkeypatch):
    """Students' law of 29 degrees of freedom has its 95th percentile at 1.699 (tables)."""
    assert told.inflation == pytest.approx((30 / 27) ** 0.5)
    # Errors grow by this; their squares and those of the distance are .000111 + .0004, .000444 + 0, .000444 + .0064.
    error = (0.0001 * 30 / 27 + 0.0004) ** 0.5
    assert told.mean["effect"] == pytest.approx(0.12) and told.mean["error"] == pytest.approx(error)
    assert told.mean["upper"] - 0.12 == pytest.approx(1.699 * error, rel=1e-3)
    assert told.baseline == pytest.approx(0.4) and told.spread == pytest.approx(np.std([0.10, 0.12, 0.20]))
    assert replace(told, width=99).inflation == pytest.approx(2**0.5)
    monkeypatch.setitem(SPLITS, "all", [(0.1, 0.01, 0, 0.3)] * 3)
    assert replace(told).inflation == 1
    monkeypatch.setitem(SPLITS, "all", [(0.1, 0.01, 0.5, 0.3)] * 3)
    assert replace(told, width=9).inflation == pytest.approx(2**0.5)


def test_estimators_stand_beside_each_other(told):
    table = told.estimates
    assert list(table["name"]) == list(ESTIMATORS) and table.columns[0] == "name"
    assert table["effect"].tolist()[:2] == pytest.approx([0.1, 0.2]) and np.isnan(table["effect"][2])


@pytest.fixture(scope="module")
def scores():
    """Two splits of the rows of 300 users, who are shown up to four of an arm and of the baseline in turn."""
    rng = np.random.default_rng(0)
    user, step, arm = (
        part.ravel() for part in np.meshgrid(np.arange(300), np.arange(4), [0, 1, -1], indexing="ij")
    )
    frame = pd.DataFrame({"user": user, "step": step + 1, "arm": arm, "place": rng.permutation(3600)})
    frame["decision"] = (rng.random(3600) < 0.3 + 0.1 * step * (arm == 1)).astype(float)
    weight = rng.uniform(0.5, 2, 3600)
    frame["w1"], frame["w0"] = weight * (arm == 1), weight * (arm == 0)
    frame = frame.assign(
        tau=frame["w1"], e=0.5, fold=0, m1=rng.uniform(0.2, 0.8, 3600), m0=rng.uniform(0.2, 0.8, 3600)
    )
    return frame, frame.assign(m0=rng.uniform(0.2, 0.8, 3600), e=0.7)


def built(scores, **about):
    timed = replace(KNOWN, clock=Clock(("seen", "time"), False))
    label = {name: np.zeros(3600, int) for name in ("all",)} | {"step": scores[0]["step"].to_numpy() - 1}
    groupings = {"all": (label["all"], 1), "step": (label["step"], 5)}
    sums = [sum_scores(one, groupings, span=1.0) for one in scores]
    options = {"level": 0.95, "name": "log", "scores": scores} | about
    return Effect(Design(), JUDGED, timed, sums, ("", 1.0), **options)


def those(scores, users):
    """Return the scores with so many users in use."""
    return tuple(
        one.assign(**{name: one[name] * (one["user"] < users) for name in ("tau", "w1")}) for one in scores
    )


def difference(rows):
    """Return the difference of the weighted residuals of the two arms."""
    sides = [rows[rows["arm"] == arm] for arm in (1, 0)]
    one, nil = (np.average(side["decision"] - side["m0"], weights=side["w1"] + side["w0"]) for side in sides)
    return one - nil


def test_the_effect_over_time_is_that_of_the_rows_at_each_step(scores):
    found = built(scores)
    assert found.seed == 0 and found.against == "own" and replace(found, known=KNOWN).against == "later"
    table = found.over_time
    assert table["step"].tolist() == [1, 2, 3, 4] and table["last"].tolist() == [1, 2, 3, 4]
    for step, effect in zip(table["step"], table["effect"], strict=True):
        expected = [difference(one[one["step"] == step]) for one in scores]
        assert effect == pytest.approx(np.mean(expected))
    few = built(those(scores, 30))
    table = few.over_time
    assert len(table) < 4 and table["step"].iloc[0] == 1 and table["last"].iloc[-1] == 4
    for _, row in table.iterrows():
        here = [one[one["step"].between(row["step"], row["last"])] for one in few.scores]
        assert row["effect"] == pytest.approx(np.mean([difference(one) for one in here]))
    none = built(those(scores, 5))
    assert none.over_time.empty and list(none.over_time.columns[:2]) == ["step", "last"]


def test_the_trend_is_the_median_slope(scores):
    found, slopes, errors = built(scores), [], []
    for one in scores:
        each = [one[one["step"] == step] for step in (1, 2, 3, 4)]
        size = []
        for rows in each:
            users = [
                rows[rows["arm"] == arm].groupby("user")[name].sum() for arm, name in ((1, "w1"), (0, "w0"))
            ]
            # Of users each has one row a side, so that accepted and others are apart as the users are.
            size.append(1 / sum((own**2).sum() / own.sum() ** 2 for own in users))
        root = np.sqrt(size)
        design = root[:, None] * np.column_stack([np.ones(4), np.arange(1, 5)])
        share = np.linalg.lstsq(design, np.diag(root), rcond=None)[0][1]
        slopes.append(share @ [difference(rows) for rows in each])
        influence = 0.0
        for weight, rows in zip(share, each, strict=True):
            for arm, name, sign in ((1, "w1", 1), (0, "w0", -1)):
                own = rows[rows["arm"] == arm]
                left = own["decision"] - own["m0"]
                part = own[name] * (left - np.average(left, weights=own[name])) / own[name].sum()
                each_user = part.groupby(own["user"]).sum().reindex(range(300), fill_value=0)
                influence = influence + sign * weight * each_user
        errors.append(np.sqrt((influence**2).sum()))
    centre = np.median(slopes)
    assert found.trend["effect"] == pytest.approx(centre)
    error = np.sqrt(np.median(np.square(errors) + np.square(slopes - centre)))
    assert found.trend["error"] == pytest.approx(error)  # of no coefficients: it is not inflated
    wide = replace(found, width=100)
    assert wide.trend["error"] > error * 1.1
    assert found.trend["upper"] - centre == pytest.approx(1.9668 * error, rel=5e-4)  # of 344 users


def test_groups_are_those_of_the_logs_rows(scores):
    found = built(scores)
    labels = pd.Series(np.where(np.arange(3600) % 7 == 0, None, np.where(np.arange(3600) % 2, "odd", "even")))
    table = found.by(labels)
    assert table["group"].tolist() == ["even", "odd"]
    own = labels.iloc[scores[0]["place"]].to_numpy()
    for row in table.itertuples():
        here = [one[own == row.group] for one in scores]
        assert row.effect == pytest.approx(np.mean([difference(one) for one in here]))
        shown = here[0][here[0]["arm"] == 1]
        assert (row.exposures, row.users) == (len(shown), shown["user"].nunique())
    narrow = found.by(labels, level=0.5)
    assert (narrow["upper"] < table["upper"]).all() and (narrow["effect"] == table["effect"]).all()
    few = found.by(np.where(np.arange(3600) < 3, "few", "many"))
    assert few["group"].tolist() == ["many"]
    with pytest.raises(InputError, match="no row has a group"):
        found.by(np.full(3600, None))


def test_a_grouping_that_was_summed_is_read_by_its_name(scores):
    found = built(scores, groups={"step": ("a", "b", "c", "d", "none")})
    for sums in found.splits:
        sums["step counts"] = np.arange(10).reshape(5, 2)
    table = found.by("step")
    assert table["group"].tolist() == ["a", "b", "c", "d"] and table["exposures"].tolist() == [0, 2, 4, 6]
    later = found.by("step", baseline="later")
    assert not np.allclose(later["effect"], table["effect"])
    with pytest.raises(InputError, match="did you mean 'step'"):
        found.by("stp")
    parted = replace(found, scores=())
    assert len(parted.by("step")) == 4
    for asked in (lambda: parted.users, lambda: parted.cells, lambda: parted.by(np.zeros(3600))):
        with pytest.raises(InputError, match="holds no rows; expected one of its groupings, step"):
            asked()


def test_cells_are_means_over_the_splits_and_users_those_of_the_first(scores):
    found = built(scores)
    own = scores[0]["arm"] >= 0
    assert len(found.cells) == 2400 and found.cells["e"].to_numpy() == pytest.approx(0.6)
    assert found.cells["m0"].tolist() == pytest.approx(
        ((scores[0]["m0"] + scores[1]["m0"]) / 2)[own].tolist()
    )
    expected = user_effects(scores[0], error=float(found.mean["error"]), level=0.95)
    pd.testing.assert_frame_equal(found.users, expected)
    for name, arm in (("m0", 0), ("m1", 1)):
        rows = [one[one["arm"] == arm] for one in scores]
        likely = [np.where(one["decision"] == 1, one[name], 1 - one[name]) for one in rows]
        assert found.losses[name] == pytest.approx(-np.log(likely).mean())


def test_nothing_hidden_moves_an_arm_that_was_drawn(scores):
    found = built(scores)
    assert found.band["odds"].tolist() == [1, 1.25, 1.5, 2, 3] and found.tipping >= 1
    # With nothing hidden it is the effect's own interval, whatever widens that.
    assert found.band.loc[0, ["lower", "upper"]].tolist() == pytest.approx(
        found.mean[["lower", "upper"]].tolist()
    )
    drawn = replace(found, design=Design(estimand="arm"), identification=SimpleNamespace(status="identified"))
    assert (
        drawn.band.empty and list(drawn.band.columns) == list(found.band.columns) and np.isnan(drawn.tipping)
    )
    for half in (replace(drawn, design=Design()), replace(drawn, identification=JUDGED)):
        assert len(half.band) == 5


def test_what_is_said_of_an_effect_is_that_of_its_answer(scores, monkeypatch):
    found = built(scores)
    for name, how in (("as_dict", found.to_dict), ("as_text", found.summary)):
        monkeypatch.setattr(result.answer, name, lambda effect, name=name: (name, effect))
        assert how() == (name, found)
    judged = SimpleNamespace(after=lambda checks: ("after", checks))
    assert replace(found, identification=judged).after([1]).identification == ("after", [1])


@pytest.mark.parametrize(
    ("worth", "groups"),
    [
        (900.0, [0, 1, 2, 3, 4, 4]),
        # Three of 15 each; of 60 the middles are 10, 30, 44.5, 53.5, 59 and 60.
        (45.0, [0, 1, 2, 2, 2, 2]),
        (30.0, [0, 1, 1, 1, 1, 1]),
        (29.9, [0, 0, 1, 1, 1, 1]),
        (15.0, [0] * 6),
        (14.9, None),
    ],
)
def test_steps_with_too_few_are_put_together(worth, groups):
    found = merge_small(np.array([20, 20, 9, 9, 2, 0.0]), worth)
    assert (found if found is None else found.tolist()) == groups
    assert merge_small(np.zeros(3), worth) is None
    assert merge_small(np.array([0.2, 0.2]), 900.0).tolist() == [0, 1]
