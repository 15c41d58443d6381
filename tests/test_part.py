"""What is done of each part of a log, and how parts add up, by hand; and a small log from end to end."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.data.options import ReadOptions
from csrec_core.data.parted import PartedLog
from csrec_core.effect import parts
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import Known
from csrec_core.effect.estimate import estimate_effect
from csrec_core.effect.folds import fold_of, hashes
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.rows import Clock, find_clock, lay_rows
from csrec_core.errors import InputError

LOG = pd.DataFrame(
    {
        "user": np.repeat(np.arange(40), 3),
        "t": np.tile([1, 2, 3], 40),
        "item": np.arange(120) * 7 % 25,
        "decision": np.arange(120) % 4 == 0,
        "source": np.tile(["self", "system", "other"], 40),
    }
).astype({"decision": np.int8})


def test_a_part_is_looked_at_before_there_is_a_design():
    log = SimpleNamespace(read=lambda part: Dataset(LOG[LOG["user"] == part]))
    found = parts._look(log, 0)
    assert found.arms.loc["self"].tolist() == [1, 1, 1, 1, True]
    assert found.arms.loc["other"].tolist() == [1, 0, 0, 0, True]
    assert found.columns == tuple(LOG.columns) and sorted(found.items) == [0, 7, 14]
    assert found.clues == (False, True, True)
    numbers = SimpleNamespace(read=lambda part: Dataset(LOG.assign(outcome=np.arange(120) / 2, t=1)))
    found = parts._look(numbers, "")
    assert (
        found.arms.loc["system"].tolist() == [40, sum(range(1, 120, 3)) / 2, 0.5, 59, False]
        and not found.clues[1]
    )


def plan(**change):
    log = SimpleNamespace(read=lambda part: Dataset(LOG))
    options = {
        "log": log,
        "design": Design(),
        "order": "t",
        "moments": {},
        "folds": 3,
        "seeds": (4, 9),
    } | change
    return parts._Plan(**options)


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (0.4, None), (1.0, 40), (7.0, 40)])
def test_users_are_drawn_by_their_hashes(share, drawn):
    counts, log, users = parts._count_items("", plan(), share)
    expected = np.arange(40)[hashes(np.arange(40), 4, 2) / 2.0**64 <= share]
    assert log["user"].unique().tolist() == expected.tolist() and users == 40
    assert drawn is None or len(expected) == drawn
    rows = lay_rows(Dataset(LOG), Design())
    for one, seed in zip(counts, (4, 9), strict=True):
        whole = ItemCounts.count(rows, fold_of(rows["user"].to_numpy(), 3, seed), 3)
        assert (one.rows == whole.rows).all() and (one.accepted == whole.accepted).all()


def test_users_of_either_arm_are_counted():
    """The first user is of the baseline alone, the second of neither arm."""
    source = np.r_[["self"] * 3, ["other"] * 3, LOG["source"][6:]]
    log = SimpleNamespace(read=lambda part: Dataset(LOG.assign(source=source)))
    assert parts._count_items("", plan(log=log), 0.0)[2] == 39


def test_a_part_is_scored_once_and_its_sums_are_kept(tmp_path):
    known, asked = Known(Clock(("seen", "time"), False), True, 1.0, 0.25, 80, 40, 25), []

    def score(number):
        def scored(rows, features):
            asked.append((number, list(rows.columns), features["step"].tolist()))
            own = rows[["place", "user", "item", "t", "arm", "decision"]].assign(
                step=1, m1=0.5, m0=0.4, trimmed=False
            )
            return own.assign(
                w1=(own["arm"] == 1) * (1.0 + number), w0=(own["arm"] == 0) * 1.0, tau=own["arm"] == 1
            )

        return SimpleNamespace(known=known, score=scored)

    columns, target = [*lay_rows(Dataset(LOG), Design()).columns, "missing: user: age"], tmp_path / "p.npz"
    arguments = ("p", target, plan(), [score(0), score(1)], columns, None)
    sums, overlap = parts._score_part(*arguments)
    assert [one[:2] for one in asked] == [(0, columns), (1, columns)] and len(asked[0][2]) == 120
    assert [one["all"][3] for one in sums] == [40, 80] and overlap["sides"][:, 0].tolist() == [40, 40]
    assert [name for name in sums[0] if name.endswith("counts")] == ["previous counts", "heard counts"]
    kept = pd.read_parquet(target.with_suffix(".parquet"))
    assert kept["w1"].max() == 1  # those of the first split
    again, told = parts._score_part(*arguments)
    assert (
        len(asked) == 2
        and told["sides"].tolist() == overlap["sides"].tolist()
        and set(told) == {"sides", "largest"}
    )
    for one, other in zip(sums, again, strict=True):
        assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def glance(log):
    return parts._look(SimpleNamespace(read=lambda part: Dataset(log)), "")


def parted(names=("a", "b"), **tables):
    table = lambda name, keys: tables.get(name)  # noqa: E731
    return SimpleNamespace(parts=names, table=table, listed=0, folder=Path("shop"))


def test_the_design_is_that_of_all_parts():
    many = pd.concat([LOG[LOG["source"] != "other"], LOG[LOG["source"] == "self"].assign(user=50)])
    glances = [glance(many[many["user"] < 5]), glance(many[many["user"] >= 5])]
    arms, design = parts._design(parted(), glances, {"unit": "users"})
    assert arms["size"].to_dict() == {"system": 40, "self": 80} and arms["binary"].all()
    assert arms["sum"].to_dict() == many.groupby("source")["decision"].sum().to_dict()
    assert design == find_design(Dataset(many), unit="users")
    # The arm with the most exposures is the baseline, wherever they are; self and system go before others.
    renamed = many.assign(source=many["source"].map({"self": "left", "system": "right"}))
    halves = [glance(renamed[renamed["user"] % 2 == part]) for part in (0, 1)]
    assert parts._design(parted(), halves, {})[1] == find_design(Dataset(renamed))
    arms, design = parts._design(parted(), [glance(LOG)] * 2, {})
    assert arms["size"].to_dict() == {"other": 80, "self": 80, "system": 80} and design == Design()
    alone = many.assign(item=4)
    assert parts._design(parted(), [glance(alone)] * 2, {})[1] == find_design(Dataset(alone))
    for odd, what in ((many.assign(feature_age=1), "feature_age"), (many[many.columns[::-1]], "their order")):
        with pytest.raises(
            InputError, match=f"b and a differ in columns, {what}; expected the same in each part"
        ):
            parts._design(parted(), [glance(many), glance(odd)], {})


def test_users_that_are_drawn_are_in_one_part_each():
    log, users = parted(users=pd.DataFrame({"user": [1]})), [LOG[LOG["user"] < 2], LOG[LOG["user"] == 2]]
    found = parts._sample(log, users)
    assert found.log["user"].tolist() == np.repeat(
        [0, 1, 2], 3
    ).tolist() and found.log.index.tolist() == list(range(9))
    assert found.name == "shop" and found.users is not None and found.items is None
    with pytest.raises(InputError, match="user 1 has rows in two parts; expected each user in one"):
        parts._sample(log, [users[0], LOG[LOG["user"] == 1]])


@pytest.mark.parametrize(("listed", "catalogue"), [(0, 4), (9, 9)])
def test_what_is_known_is_of_all_rows(listed, catalogue):
    ends = {"min": [0.0, 1, -2], "max": [3.0, 4, 5], "binary": [True, False, True]}
    arms = pd.DataFrame({"size": [10, 30, 5], "sum": [6.0, 4, 99]} | ends, index=["system", "self", "other"])
    glances = [SimpleNamespace(items=np.array([1, 2])), SimpleNamespace(items=np.array([2, 5, 9]))]
    rows = lay_rows(Dataset(LOG), Design())
    found = parts._what_is_known(rows, Design(), arms, glances, 77, SimpleNamespace(listed=listed))
    assert vars(found) == {
        "clock": find_clock(rows),
        "binary": False, "span": 7.0, "rate": 0.25, "rows": 40, "users": 77, "catalogue": catalogue,
    }  # fmt: skip
    same = arms.assign(min=5.0, max=5.0, binary=True)
    flat = parts._what_is_known(rows, Design(), same, glances, 7, SimpleNamespace(listed=0))
    assert flat.span == 1 and flat.binary


def test_what_is_kept_is_named_by_all_that_it_depends_on(tmp_path):
    (tmp_path / "log").mkdir()
    for part in "ab":
        LOG.to_parquet(tmp_path / "log" / f"{part}.parquet")
    log = PartedLog(tmp_path, ("a", "b"), ReadOptions())
    names = [parts._key(plan(log=log), 100)]
    for change in ({"seeds": (4,)}, {"folds": 4}, {"design": Design(unit="users")}):
        names.append(parts._key(plan(log=log, **change), 100))
    names += [parts._key(plan(log=log), 101), parts._key(plan(log=replace(log, parts=("a",))), 100)]
    for table in ("items", "users"):
        pd.DataFrame({table[:-1]: [1]}).to_parquet(tmp_path / f"{table}.parquet")
        names.append(parts._key(plan(log=log), 100))
    assert len(set(names)) == len(names) and {len(name) for name in names} == {16}
    assert parts._key(plan(log=log), 100) == names[-1]


def test_a_small_log_in_parts_has_its_effect(tmp_path):
    world = simulate_books(users=60, items=30, steps=4, seed=1)
    (tmp_path / "shop" / "log").mkdir(parents=True)
    for part in (0, 1):
        rows = world.log[world.log["user"] % 2 == part].astype({"source": str})
        rows.to_parquet(tmp_path / "shop" / "log" / f"part-{part}.parquet", index=False)
    log = PartedLog.find(tmp_path / "shop")
    found, sample = parts.estimate_parts(log, tmp_path / "out", folds=3, splits=1, level=0.9, seed=2)
    whole = estimate_effect(Dataset(world.log), folds=3, splits=1, level=0.9, seed=2, groups=True)
    assert found.mean.tolist() == pytest.approx(whole.mean.tolist()) and len(sample.log) == len(world.log)
    assert (found.name, found.level, found.seed, found.groups) == ("shop", 0.9, 2, whole.groups)
    assert vars(found.known)["rows"] == len(world.log) and found.known.users == 60
    assert found.benchmark[0] == whole.benchmark[0]
    for name in found.groups:
        pd.testing.assert_frame_equal(found.by(name), whole.by(name))
    some, drawn = parts.estimate_parts(log, tmp_path / "out", folds=3, splits=1, seed=2, drawn=200)
    assert (
        10 < drawn.log["user"].nunique() < 40
        and some.known.users == 60
        and len(list(tmp_path.rglob("*.npz"))) == 4
    )
