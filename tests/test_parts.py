"""A log in parts: the effect of the same log in memory, whoever does the work and however often it is begun."""

import os
import signal
from functools import partial

import numpy as np
import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.log import Dataset
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.schema import OTHER, whole_numbers
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.data.parted import TEXT_HASH_KEY, PartedLog
from csrec_core.effect import parts
from csrec_core.effect.engine import look_over
from csrec_core.effect.estimate import estimate_effect, learn_engines
from csrec_core.effect.folds import fold_of
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.nuisance import LEARNERS
from csrec_core.effect.parts import estimate_parts
from csrec_core.effect.rows import lay_rows
from csrec_core.effect.score import effects_of, split_sums
from csrec_core.errors import InputError

ONE = {"splits": 1, "folds": 3}  # what is tested here does not depend on how often it is done


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Fewer trees for what is logged without noise: parts find what the whole log does, however many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LEARNERS, "fine", partial(LEARNERS["fine"], trees=10))
        yield


def write_parts(folder, log, count=3, **tables):
    """Write a log in parts of whole users."""
    (folder / "log").mkdir(parents=True)
    part = pd.factorize(log["user"])[0] % count
    for number in range(count):
        rows = log[part == number].astype({"source": str})
        rows.to_parquet(folder / "log" / f"part-{number}.parquet", index=False)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return PartedLog.find(folder)


@pytest.fixture(scope="module")
def world():
    """A policy that follows what users accepted, so that chances are modelled; ages, some of them not known."""
    books = simulate_books(users=150, items=40, steps=10, targeting=0.5, seed=3)
    rng = np.random.default_rng(0)
    users = pd.DataFrame({"user": np.arange(1, 141), "age": rng.normal(40, 10, 140)})
    prices = pd.DataFrame(rng.normal(size=(40, 3)), columns=["price", "pages", "weight"])
    prices.loc[3, "price"] = np.nan
    items = pd.concat([books.items[["item", "genre"]], prices], axis=1)
    return Dataset(books.log, items=items, users=users, name="books")


@pytest.fixture(scope="module")
def parted(world, tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parted"), world.log, items=world.items, users=world.users)


@pytest.fixture(scope="module")
def here(parted, tmp_path_factory):
    """Its effect, done in this process; where its parts are kept."""
    out = tmp_path_factory.mktemp("here")
    return estimate_parts(parted, out, **ONE)[0], out


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Sessions in which preferences move no decision, and their truth."""
    folder = tmp_path_factory.mktemp("mssd")
    ingest(*simulate_mssd(folder, 2000, Listeners(tracks=60, affinity=0.0), per_file=1000), folder / "data")
    return PartedLog.find(folder / "data")


@pytest.fixture(scope="module")
def listened(sessions, tmp_path_factory):
    out = tmp_path_factory.mktemp("listened")
    return estimate_parts(sessions, out, **ONE)[0], out


def assert_same(one, other):
    """The sums, and with them all that is said, are the same."""
    known = [{**vars(effect.known), "clock": vars(effect.known.clock)} for effect in (one, other)]
    assert known[0] == known[1] and one.design == other.design
    assert one.benchmark[0] == other.benchmark[0] and one.benchmark[1] == pytest.approx(other.benchmark[1])
    assert one.identification.reasons == other.identification.reasons
    assert [v.detail for v in one.identification.evidence] == [
        v.detail for v in other.identification.evidence
    ]
    a, b = vars(one.identification.overlap), vars(other.identification.overlap)
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-9, err_msg=name)
    for mine, theirs in zip(one.splits, other.splits, strict=True):
        assert set(mine) == set(theirs)
        for name, value in mine.items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_log_in_parts_has_the_effect_that_it_has_in_memory(world, here):
    effect, _ = here
    assert_same(effect, estimate_effect(world, groups=True, **ONE))
    assert effect.identification.status == "identified" and list(effect.groups) == [
        "popularity",
        "previous",
        "heard",
    ]
    system = (world.log["source"] == "system").sum()
    for name in effect.groups:
        assert effect.by(name)["exposures"].sum() <= system
    with pytest.raises(InputError, match=r"holds no rows; expected one of its groupings, popularity"):
        effect.by(world.log["item"])
    with pytest.raises(InputError, match=r"unknown grouping 'popular'.*did you mean 'popularity'"):
        effect.by("popular")


def test_sessions_in_parts_have_the_effect_that_they_have_in_memory(sessions, listened):
    effect, _ = listened
    log = pd.concat([sessions.read(part).log for part in sessions.parts], ignore_index=True)
    assert set(log["source"]) == {"self", "system", OTHER}
    items = pd.read_parquet(sessions.folder / "items.parquet")
    assert_same(effect, estimate_effect(Dataset(log, items=items, name="data"), groups=True, **ONE))


def test_the_truth_of_sessions_is_found_where_nothing_is_hidden(sessions, listened):
    effect, out = listened
    truth = pd.concat(map(pd.read_parquet, sorted(sessions.folder.parent.glob("truth_*"))))
    index = pd.concat(map(pd.read_parquet, sorted((sessions.folder / "index").iterdir())))
    rows = pd.concat(map(pd.read_parquet, sorted(out.rglob("parts/*/*.parquet"))))
    rows = rows[rows["w1"] > 0].merge(truth.merge(index[["user", "session"]], on="session"), on=["user", "t"])
    true = (rows["p_system"] - rows["p_self"]).mean()
    assert abs(effect.mean["effect"] - true) < 3 * effect.mean["error"] < 0.05 < true
    assert effect.identification.status == "bounded"


def test_those_drawn_teach_and_all_are_scored(world, parted, tmp_path):
    effect, sample = estimate_parts(parted, tmp_path, drawn=1000, **ONE)
    users = world.log["user"].nunique()
    assert 0.15 * users < sample.log["user"].nunique() < 0.55 * users
    rows = lay_rows(world, effect.design)
    few = rows[rows["user"].isin(sample.log["user"])].reset_index(drop=True)
    known = look_over(rows, catalogue=world.items["item"].nunique())
    counts = ItemCounts.count(rows, fold_of(rows["user"].to_numpy(), 3, 0), 3)
    (engine,) = learn_engines(few, [known.describe(few)], effect.design, known, [counts], seeds=[0])
    sums = split_sums(engine.score(rows, known.describe(rows)), known)
    assert effect.mean["effect"] == pytest.approx(effects_of(sums, "all").effect[0], abs=1e-9)
    assert effect.known.users == users and effect.identification.overlap.rows == (1500, 1500)


def test_two_processes_find_what_one_does(parted, here, tmp_path):
    assert_same(estimate_parts(parted, tmp_path, workers=2, **ONE)[0], here[0])


def die_once(part, target, *arguments):
    """Score a part, but the first time the second one is met, be killed."""
    note = target.parents[2] / "killed"
    if part.endswith("1") and not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return score(part, target, *arguments)


score = parts._score_part


def test_a_cluster_that_loses_a_worker_finds_it_too(parted, here, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(parts, "_score_part", die_once)
    effect, _ = estimate_parts(parted, tmp_path, scheduler=scheduler, **ONE)
    assert (tmp_path / "killed").exists() and not list(tmp_path.rglob(".*"))
    assert_same(effect, here[0])


def test_what_is_done_is_not_done_again(parted, here, monkeypatch):
    effect, out = here
    kept = sorted(out.rglob("*.npz"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    kept[1].unlink()
    assert_same(estimate_parts(parted, out, **ONE)[0], effect)
    assert len(kept) == 3 and kept[1].exists()
    assert all(path.stat().st_mtime_ns == times[path] for path in (kept[0], kept[2]))
    estimate_parts(parted, out, seed=1, **ONE)
    assert len(list(out.rglob("*.npz"))) == 6  # another split keeps its own


def test_ids_of_text_are_numbered_alike_in_every_part(world, tmp_path):
    log = world.log.assign(**{name: "no. " + world.log[name].astype(str) for name in ("user", "item")})
    items = world.items.assign(item="no. " + world.items["item"].astype(str))
    found, _ = estimate_parts(write_parts(tmp_path / "text", log, items=items), tmp_path / "out", **ONE)
    as_numbers = {
        name: whole_numbers(log[name].to_numpy(dtype=object), TEXT_HASH_KEY).astype(np.int64)
        for name in ("user", "item")
    }
    items = items.assign(
        item=whole_numbers(items["item"].to_numpy(dtype=object), TEXT_HASH_KEY).astype(np.int64)
    )
    whole = estimate_effect(Dataset(log.assign(**as_numbers), items=items), **ONE)
    assert found.mean["effect"] == pytest.approx(whole.mean["effect"], abs=1e-9)


def test_parts_that_are_none_are_refused(world, tmp_path):
    log = world.log.astype({"source": str})
    halves = write_parts(tmp_path / "halves", log.assign(user=np.arange(len(log)) % 2))
    for number in range(3):  # the rows of a user in every part
        log.iloc[number::3].to_parquet(halves.folder / "log" / f"part-{number}.parquet", index=False)
    with pytest.raises(InputError, match=r"user \d+ has rows in two parts; expected each user in one"):
        estimate_parts(PartedLog.find(halves.folder), tmp_path / "out")
    odd = write_parts(tmp_path / "odd", log)
    one = pd.read_parquet(odd.folder / "log" / "part-1.parquet")
    one.assign(feature_age=1.0).to_parquet(odd.folder / "log" / "part-1.parquet", index=False)
    with pytest.raises(InputError, match="part-1 and part-0 differ in columns, feature_age"):
        estimate_parts(odd, tmp_path / "out")
    alone = write_parts(tmp_path / "alone", log[log["source"] == "self"])
    with pytest.raises(InputError, match=r"one arm alone, 'self'; expected exposures of two arms"):
        estimate_parts(alone, tmp_path / "out")
    assert PartedLog.find(tmp_path) is None
