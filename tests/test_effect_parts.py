"""The effect over a folder in parts: the same wherever it is made, right where it is known, plain sums."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from csrec_core.effect.parts.features import ACOUSTIC, PAST, describe
from csrec_core.effect.parts.items import Items
from csrec_core.effect.parts.models import Trees
from csrec_core.effect.parts.rows import KNOWN, NEITHER, OWN, SHOWN, Rows, fold_of, read_rows
from csrec_core.effect.parts.score import GROUPS, score_part
from csrec_core.effect.parts.sums import Sums, sum_part
from sklearn.ensemble import HistGradientBoostingClassifier

from csrec_core.cli import cli
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.part import parts_of
from csrec_core.data.mssd.simulate import World, simulate_mssd
from csrec_core.effect.contrast import Contrast, interval
from csrec_core.effect.overlap import overlap_report, overlap_weights
from csrec_core.effect.parts import run
from csrec_core.errors import InputError

SMALL = {"folds": 2, "drawn": 2000}
RESULTS = ("*.csv", "effect.json", "*/*.parquet", "*/*.npz", "*/*.npy")


def make(folder, world, per_file=1000):
    """Simulate and read 3,000 sessions."""
    ingest(*simulate_mssd(folder / "csv", 3000, world, per_file=per_file), folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A world in which tastes move no decision, so that nothing is hidden."""
    return make(tmp_path_factory.mktemp("known"), World(tracks=200, affinity=0.0))


@pytest.fixture(scope="module")
def here(known, tmp_path_factory):
    """Its effect, estimated in this process; the folder with what was written."""
    out = tmp_path_factory.mktemp("here")
    return run.estimate_parts(known, out, **SMALL), out


@pytest.fixture(scope="module")
def scores(here):
    return pd.concat(map(pd.read_parquet, sorted((here[1] / "scores").iterdir())), ignore_index=True)


def contents(out):
    """Return all results by name, to the byte."""
    paths = {path for pattern in RESULTS for path in out.glob(pattern)}
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def die_once(target, *arguments, **options):
    """Score a part, but the first time the second one is half done, be killed."""
    note = target.parents[1] / "killed"
    if target.stem.endswith("1") and not note.exists():
        note.touch()
        target.parent.mkdir(exist_ok=True)
        (target.parent / f".{target.stem}-half.parquet").write_text("half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return score_part(target, *arguments, **options)


def test_two_processes_find_what_one_does(known, here, tmp_path):
    there = run.estimate_parts(known, tmp_path, workers=2, **SMALL)
    assert there.summary == here[0].summary
    assert len(contents(tmp_path)) > 15 and contents(tmp_path) == contents(here[1])


def test_a_cluster_that_loses_a_worker_finds_it_too(known, here, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(run, "score_part", die_once)
    run.estimate_parts(known, tmp_path, scheduler=scheduler, **SMALL)
    assert (tmp_path / "killed").exists() and not list(tmp_path.rglob(".*"))
    assert contents(tmp_path) == contents(here[1])


def test_what_is_done_is_not_done_again(known, here, monkeypatch):
    before, times = contents(here[1]), {path: path.stat().st_mtime_ns for path in here[1].glob("*/*.parquet")}
    asked = []

    def counted(target, *arguments, **options):
        asked.append(target.stem)
        return score_part(target, *arguments, **options)

    monkeypatch.setattr(run, "score_part", counted)
    run.estimate_parts(known, here[1], **SMALL)
    assert asked == [] and contents(here[1]) == before
    lost = sorted((here[1] / "scores").iterdir())[1]
    lost.unlink()
    run.estimate_parts(known, here[1], **SMALL)
    assert asked == [lost.stem] and contents(here[1]) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items() if path != lost)


def test_it_does_not_matter_how_files_are_cut(here, tmp_path):
    whole = make(tmp_path, World(tracks=200, affinity=0.0), per_file=3000)
    assert len(parts_of(whole)) == 1
    there = run.estimate_parts(whole, tmp_path / "out", **SMALL)
    pd.testing.assert_frame_equal(there.table, here[0].table, rtol=1e-9)
    for name in ("bootstrap", "band", "overlap", "overall"):
        assert there.summary[name] == pytest.approx(here[0].summary[name], rel=1e-9)


def test_the_truth_is_within_the_interval_where_nothing_is_hidden(known, here, scores):
    truth = pd.concat(map(pd.read_parquet, sorted((known.parent / "csv").glob("truth_*"))))
    index = pd.concat(map(pd.read_parquet, sorted((known / "index").iterdir())))
    truth = truth.merge(index[["user", "session"]], on="session")
    rows = scores[scores["system"]].merge(truth, on=["user", "t"], validate="one_to_one")
    assert len(rows) == scores["system"].sum()
    found, true = here[0].summary["overall"], (rows["p_system"] - rows["p_self"]).mean()
    assert found["lower"] < true < found["upper"] and found["error"] < 0.01 < true
    assert np.corrcoef(rows["f_tilde"], rows["p_self"])[0, 1] > 0.85


def test_no_effect_is_found_where_there_is_none(tmp_path):
    none = make(tmp_path, World(tracks=200, affinity=0.0, effect=0.0, trust_spread=0.0, seed=1))
    found = run.estimate_parts(none, tmp_path / "out", **SMALL).summary["overall"]
    assert found["lower"] < 0 < found["upper"]


def test_effects_and_errors_are_those_of_all_rows_at_once(here, scores):
    system, regime = scores["system"].to_numpy(), scores["regime"].to_numpy(dtype=float)
    treated, control = overlap_weights(regime, system)
    user = np.unique(scores["user"], return_inverse=True)[1]
    residual = scores["decision"].to_numpy() - scores["f_tilde"].to_numpy(dtype=float)
    contrast = Contrast(user, residual, treated, control)
    for grouping, names in {"overall": ("all",), **GROUPS}.items():
        label = np.zeros(len(scores), dtype=int) if grouping == "overall" else scores[grouping].to_numpy()
        there = interval(*contrast.groups(label, shared=grouping == "context"))
        rows = here[0].table[here[0].table["grouping"] == grouping]
        place = [names.index(name) for name in rows["group"].astype(str)]
        assert len(place) == (1 if grouping == "context" else len(names))
        np.testing.assert_allclose(rows[list(there)], there.iloc[place], rtol=1e-7)
        exposures = np.bincount(label, treated, minlength=len(names))[place]
        assert (rows["exposures"] == exposures).all()
    summary = here[0].summary
    plain = Contrast(user, scores["decision"].to_numpy(dtype=float), 1.0 * system, 1.0 * ~system)
    seen = interval(*plain.groups()).iloc[0].to_dict()
    assert summary["observed"] == pytest.approx(seen, rel=1e-9)
    report = overlap_report(regime, system, treated, control)
    assert summary["overlap"]["trimmed"] == report.trimmed
    assert summary["overlap"]["ess"] == pytest.approx(report.table.loc["self", "ess"])
    assert summary["overlap"]["largest"] == pytest.approx(report.table.loc["self", "largest"])
    ends = contrast.band(1.5)
    assert summary["band"]["least"] == pytest.approx(ends["least"], abs=1e-3)
    assert summary["band"]["most"] == pytest.approx(ends["most"], abs=1e-3)
    score = scores["score"].to_numpy(dtype=float)
    np.testing.assert_allclose(score, (treated - control) * residual, atol=1e-5)


def test_the_bootstrap_follows_the_users_and_agrees_with_the_sandwich(here, scores, tmp_path):
    total = Sums()
    for _, part in scores.groupby(scores["user"] % 3 == 0):  # the same users, cut otherwise
        part.to_parquet(tmp_path / "scores.parquet", index=False)
        sum_part(tmp_path / "sums.npz", tmp_path / "scores.parquet", trim=0.02, replicates=200, seed=0)
        total = total.add(Sums.load(tmp_path / "sums.npz"))
    before = Sums()
    for path in sorted((here[1] / "sums").iterdir()):
        before = before.add(Sums.load(path))
    for name in ("replicates", "counts", "overall cross", "position cross"):
        np.testing.assert_allclose(total[name], before[name], rtol=1e-9)
    found = here[0].summary
    assert found["bootstrap"]["error"] == pytest.approx(found["overall"]["error"], rel=0.25)


def test_features_are_what_lay_before(known):
    part = parts_of(known)[0]
    rows = read_rows(known, part)
    assert set(np.unique(rows.source)) == {NEITHER, OWN, SHOWN}
    rows = next(rows.blocks(40))
    assert len(np.unique(rows.user)) == 40
    rng = np.random.default_rng(0)
    item = np.unique(rows.item)
    vectors = rng.normal(size=(len(item), 29)).astype(np.float32)
    told = rng.normal(size=(2, len(item), 3)).astype(np.float32)
    fold = fold_of(rows.user, 2, 0)
    found = describe(rows, Items(item, vectors, told, np.array([0.4, 0.6])), fold)
    for at in range(len(rows.user)):
        earlier = [row for row in range(at) if rows.user[row] == rows.user[at]]
        said = [int(rows.decision[row]) for row in earlier]
        vector = {row: vectors[item == rows.item[row]][0, ACOUSTIC] for row in [*earlier, at]}
        liked = [vector[row] for row in earlier if rows.decision[row]]
        run_of = next((place for place, value in enumerate(reversed(said)) if value), len(said))
        expected = {
            "t": rows.t[at],
            "first": not said,
            "last": said[-1] if said else 0,
            "before_last": said[-2] if len(said) > 1 else 0,
            "run": min(run_of, 5),
            "rate": (sum(said) + 1.0) / (len(said) + 2),
            "heard": sum(rows.item[row] == rows.item[at] for row in earlier),
            "like_accepted": vector[at] @ np.mean(liked, axis=0) if liked else 0,
            "like_heard": vector[at] @ np.mean([vector[row] for row in earlier], axis=0) if earlier else 0,
        }
        np.testing.assert_allclose(found[at, : len(PAST)], [expected[name] for name in PAST], atol=1e-4)
        known_of = slice(len(PAST), len(PAST) + len(KNOWN))
        np.testing.assert_array_equal(found[at, known_of], rows.known[at])
        np.testing.assert_array_equal(
            found[at, known_of.stop : known_of.stop + 3], told[fold[at], item == rows.item[at]][0]
        )


def test_what_is_told_of_a_track_comes_from_other_folds(known, here):
    items = Items.load(here[1] / "items")
    frames = [pd.DataFrame(dict(list(vars(read_rows(known, part)).items())[:5])) for part in parts_of(known)]
    rows = pd.concat(frames)
    rows = rows[rows["source"] != NEITHER]
    rows["fold"] = fold_of(rows["user"].to_numpy(), 2, 0)
    assert rows["fold"].mean() == pytest.approx(0.5, abs=0.05)
    mean = rows.groupby("source")["decision"].mean()
    np.testing.assert_allclose(items.rates, mean)
    others = rows[rows["fold"] == 1]
    track = items.item[3]
    mine = others[others["item"] == track]
    expected = mine["source"].map(mean).astype(float)
    appeal = (mine["decision"] - expected).sum() / ((expected * (1 - expected)).sum() + 4)
    own = others["source"] == OWN
    fame = np.log(((mine["source"] == OWN).sum() + 1) * len(items.item) / (own.sum() + len(items.item)))
    np.testing.assert_allclose(items.told[0, 3, :2], [appeal, fame], rtol=1e-5)


def test_trees_kept_as_numbers_predict_as_the_model():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 5)).astype(np.float32)
    label = features[:, 0] * features[:, 1] + rng.normal(size=3000) > 0
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(features, label)
    assert (Trees.of(model).predict(features) == model.predict_proba(features)[:, 1]).all()


def test_the_command_says_what_was_found(known, here):
    words = ["effect", str(known), "--out", str(here[1]), "--folds", "2", "--drawn", "2000"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    summary = json.loads((here[1] / "effect.json").read_text())
    assert f"{summary['overall']['effect']:+.4f} [" in result.output
    assert f"differ by {summary['observed']['effect']:+.4f}" in result.output
    assert f"{summary['sessions']:,} sessions" in result.output
    assert "not identified exactly" in result.output and summary["identified"] is False
    table = pd.read_csv(here[1] / "effect.csv")
    assert table.loc[0, "effect"] == summary["overall"]["effect"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folder": "nowhere"}, "no folder that csrec data mssd wrote"),
        ({"folds": 1}, "expected at least 2"),
        ({"folds": 2, "drawn": 3}, "drawn rows have the rarer value; expected at least 20"),
    ],
)
def test_bad_input_says_what_is_wrong(known, tmp_path, options, says):
    options = {"folder": known} | options
    with pytest.raises(InputError, match=says):
        run.estimate_parts(Path(options.pop("folder")), tmp_path, **options)


def test_a_log_of_one_source_is_refused(known, tmp_path):
    for name in ("options.json", "items.parquet", "index", "done"):
        (tmp_path / name).symlink_to(known / name)
    for table in ("log", "apart"):
        for path in (known / table).iterdir():
            frame = pd.read_parquet(path)
            frame["source"] = frame["source"].where(frame["source"] == "self")
            (tmp_path / table).mkdir(exist_ok=True)
            frame.to_parquet(tmp_path / table / path.name, index=False)
    with pytest.raises(InputError, match="0 sessions have rows with source='system'"):
        run.estimate_parts(tmp_path, tmp_path / "out", **SMALL)


def test_rows_of_all_contexts_are_in_order(known):
    rows = read_rows(known, parts_of(known)[0])
    assert isinstance(rows, Rows)
    follows = np.diff(rows.user) == 0
    assert (np.diff(rows.t)[follows] == 1).all() and (rows.t[1:][~follows] == 1).all()
