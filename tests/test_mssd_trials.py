"""Table 2: nine systems on sessions, what each may see, what is kept, and the published figures beside."""

from dataclasses import replace

import numpy as np
import pandas as pd
import papermill
import pytest
import torch
from conftest import PROJECT
from sklearn.metrics import roc_auc_score
from torch import nn

from csrec_core.cache import Cache
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, read_truth, simulate_mssd
from csrec_core.data.mssd.slots import read_sessions
from csrec_core.errors import InputError
from csrec_core.evaluation.skips import challenge_scores
from csrec_core.models.train import Training
from csrec_core.reproduction import mssd as module
from csrec_core.reproduction.catalogue import accepted_history
from csrec_core.reproduction.findings import table_two_claim
from csrec_core.reproduction.mssd import SYSTEMS, SessionTrials
from csrec_core.reproduction.mssd_tables import (
    BY_EFFECT,
    PLAYLIST_LEVEL,
    run_systems,
    session_gain,
    session_references,
    source_effect,
    table_two,
)
from csrec_core.reproduction.presets import SessionEffort
from csrec_core.reproduction.published import MSSD_METRICS, MSSD_PUBLISHED
from csrec_core.reproduction.sessions import SessionLog, draw_candidates, rank_first, simulate_sessions
from csrec_core.reproduction.tables import ORACLE

EFFORT = SessionEffort(
    training=Training(epochs=1, batch=64, threads=1),
    hyper={"hidden": 8, "dropout": 0.0},
    channels=8,
    candidates=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    ingest(*simulate_mssd(folder / "csv", 600, Listeners(tracks=150, seed=1)), folder)
    return folder


@pytest.fixture(scope="module")
def trials(folder, tmp_path_factory):
    return SessionTrials(read_sessions(folder), EFFORT, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def scores(trials):
    return run_systems(trials, seeds=[0])


def test_tracks_of_sessions_with_nothing_to_read_are_in_the_catalogue(trials):
    """A session of another context alone is none of the log, but its tracks are drawn as candidates."""
    some = trials.sessions.take(np.arange(40))
    last = some.catalogue[-1]
    source = some.source.copy()
    source[(some.track == last).any(axis=1)] = "other"
    log = SessionLog.of(replace(some, source=source), np.arange(40) < 4)
    assert len(log.rows) < 40
    for read in (log.read, log.learned):
        assert read.catalogue.tolist() == some.catalogue.tolist()


def test_all_nine_answer_for_the_same_exposures(trials, scores):
    assert SYSTEMS[-3:] == ("CSRec", "Few-Shot", "CS-Few-Shot") and len(SYSTEMS) == 9
    assert list(SYSTEMS) == MSSD_PUBLISHED.index.to_list()
    for system in SYSTEMS:
        trial = trials.trial(system, seed=0)
        pd.testing.assert_frame_equal(trial.cells[trials.cells.columns.to_list()], trials.cells)
        said = trial.cells.drop(columns=trials.cells.columns).to_numpy()
        assert (said > 0).all() and (said <= 1).all()
        assert trial.ranks["user"].equals(trials.trial("GRU4Rec", seed=0).ranks["user"])
        assert trial.ranks["rank"].between(1, 20).all()
    metrics = scores.groupby("model")["metric"].agg(set)
    assert {"AHR@0.2", "AHR@0.5", "AUC", "HR@10"} <= metrics["SASRec"] and "Brier" not in metrics["SASRec"]
    assert {"AHR@0.2", "Brier", "ECE", "MAA", "first", "NDCG@10"} <= metrics["CS-Few-Shot"]
    assert "HR@10" in metrics[f"CSRec{BY_EFFECT}"] and "Brier" in metrics[PLAYLIST_LEVEL]
    cells = trials.trial("CS-Few-Shot", seed=0).cells
    auc = scores.set_index(["model", "metric"])["mean"]["CS-Few-Shot", "AUC"]
    assert auc == pytest.approx(roc_auc_score(cells["decision"], cells["f_marginal"]))
    with pytest.raises(InputError, match=r"unknown system 'CS-Fewshot'.*did you mean 'CS-Few-Shot'"):
        trials.trial("CS-Fewshot", seed=0)


def test_no_decision_of_a_tested_second_half_reaches_a_system(trials, scores, tmp_path):
    """Turned over, they change neither a weight nor a probability of the challenge, nor a ranking."""
    sessions, asked = trials.sessions, trials.sessions.asked & trials.tested[:, None]
    log = sessions.log.copy()
    log[asked] = 9.0
    turned = replace(sessions, accepted=sessions.accepted ^ asked, log=log)
    other = SessionTrials(turned, EFFORT, tmp_path)
    for system in ("SASRec", "CSRec", "Few-Shot", "CS-Few-Shot"):
        before, after = (part.trial(system, seed=0).cells for part in (trials, other))
        assert (before["decision"] != after["decision"]).all()
        for name in ("rank_share", "f_marginal", "f_tilde_marginal", "f_level"):
            if name in before:
                np.testing.assert_allclose(after[name], before[name], atol=1e-6, err_msg=f"{system}, {name}")


@torch.no_grad()
def test_a_rank_share_is_that_of_the_track_after_the_accepted_first_half(trials, scores):
    log, cells = trials.log, trials.trial("SASRec", seed=0).cells
    model = module.build_backbone(log.learned, positions=17, backbone="sasrec", **EFFORT.hyper)
    trials._cache.model("next-sasrec-0", lambda: model, None)
    checked = 0
    for user, rows in cells.groupby("user"):
        session = np.flatnonzero(trials.sessions.users == user)[0]
        first = trials.sessions.given[session] & (trials.sessions.source[session] == "self")
        heard = trials.sessions.track[session, first & trials.sessions.accepted[session]]
        row = np.searchsorted(log.read.users, user)
        history = accepted_history(log.read, torch.tensor([row]))[0]
        assert log.read.catalogue[history[history > 0].numpy() - 1].tolist() == heard.tolist()
        scored = model.score(model.encode_end(history[None]))[0]
        own = scored[torch.from_numpy(np.searchsorted(log.read.catalogue, rows["item"]))]
        rank = (scored[None] >= own[:, None]).sum(dim=1).numpy()
        if len(heard):
            np.testing.assert_allclose(rows["rank_share"], rank / len(log.read.catalogue))
            checked += 1
    assert checked > 5


def test_a_second_run_reads_what_is_kept(trials, scores, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("trained again")

    for name in ("train_next_item", "train_preference", "train_csrec", "train_fewshot"):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(module, "train_cs_fewshot", forbidden)
    again = SessionTrials(trials.sessions, EFFORT, trials.folder)
    pd.testing.assert_frame_equal(run_systems(again, seeds=[0]), scores)
    other = SessionTrials(trials.sessions, replace(EFFORT, penalty=2.0), trials.folder)
    with pytest.raises(AssertionError, match="trained again"):
        other.trial("CS-Few-Shot", seed=0)


def test_what_is_kept_is_whole_and_made_once(tmp_path):
    kept, made = Cache(tmp_path), []

    def train(checkpoint):
        made.append(checkpoint.name)
        if len(made) == 1:
            raise KeyboardInterrupt
        torch.manual_seed(len(made))
        return nn.Linear(2, 1), pd.DataFrame({"epoch": [1], "train": [0.5]})

    with pytest.raises(KeyboardInterrupt):
        kept.model("m", lambda: nn.Linear(2, 1), train)
    assert not list(tmp_path.iterdir())
    first, again = (kept.model("m", lambda: nn.Linear(2, 1), train) for _ in range(2))
    assert made == ["m.part.safetensors"] * 2 and torch.equal(first.weight, again.weight)
    assert not again.weight.requires_grad
    tables = pd.DataFrame({"user": [1, 2]}), pd.DataFrame({"rank": [1.5]})
    for run in (lambda: tables, train):
        cells, ranks, seconds = kept.tables("t", run)
        pd.testing.assert_frame_equal(cells, tables[0])
        pd.testing.assert_frame_equal(ranks, tables[1])
        assert seconds >= 0
    for compute in (lambda: {"x": torch.arange(6).reshape(2, 3).T}, train):
        assert kept.tensors("x", compute)["x"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_controls_and_the_oracle(trials, folder):
    truth = read_truth(folder, trials.test.users)["p_system"]
    value = session_references(trials, truth=truth).set_index(["model", "metric"])["mean"]
    cells = trials.cells
    rate = cells.groupby("user")["decision"].mean().mean()
    assert value["random ranking", "AHR@0.2"] == pytest.approx(0.2 * rate + 0.8 * (1 - rate))
    assert value["random ranking", "HR@10"] == pytest.approx(10 / 20)
    known = truth[trials.exposed]
    assert value[ORACLE, "AUC"] == pytest.approx(roc_auc_score(cells["decision"], known))
    learned = trials.train.asked & (trials.train.source == "system")
    majority = trials.train.accepted[learned].mean()
    error = ((cells["decision"] - majority) ** 2).groupby(cells["user"]).mean().mean()
    assert value["majority", "Brier"] == pytest.approx(error)
    assert ORACLE not in session_references(trials)["model"].to_list()
    challenge = challenge_scores(trials.test, trials.skips(0), draws=50).set_index(["model", "metric"])[
        "mean"
    ]
    assert {"Few-Shot", "track", "last decision"} <= set(challenge.index.get_level_values(0))


def test_table_two_cell_by_cell():
    def rows(model, **means):
        return [{"model": model, "metric": name, "mean": mean} for name, mean in means.items()]

    given = rows("SASRec", **{"AHR@0.2": 0.2, "AHR@0.5": 0.3, "HR@10": 0.1})
    given += rows("majority", **{"AHR@0.2": 0.4, "AHR@0.5": 0.5}) + rows("CSRec, by effect", **{"HR@10": 0.3})
    summary = pd.DataFrame(given).assign(lower=lambda t: t["mean"] - 0.01, upper=lambda t: t["mean"] + 0.02)
    for simulated in (False, True):
        table = table_two(summary, simulated=simulated).set_index("system")
        assert table.index.to_list() == [*SYSTEMS, "majority", "CSRec, by effect"]
        row = table.loc["SASRec"]
        assert [row[f"{name} published"] for name in MSSD_METRICS] == [0.1926, 0.2956, 0.1082]
        assert row["AHR@0.2 reproduced"] == "0.200 [0.190, 0.220]"
        differences = row[[name for name in table.columns if name.endswith("difference")]]
        expected = [] if simulated else [0.0074, 0.0044, -0.0082]
        np.testing.assert_allclose(differences.astype(float), expected, atol=1e-12)
        assert row["note"] == ("a" if simulated else "")
        assert table.loc["GRU4Rec", "note"] == "e" and table.loc["GRU4Rec", "HR@10 reproduced"] == "–"
        assert table.loc["majority", "note"] == "b, c"
        assert table.loc["CSRec, by effect", "note"] == "b, d"
    empty = table_two(None, simulated=True)
    assert empty["note"].eq("e").all() and empty["system"].to_list() == list(SYSTEMS)


def test_gains_and_effects_by_hand():
    cells = pd.DataFrame({"user": [1, 1, 2], "decision": [1, 0, 1]})
    cells = cells.assign(f=[0.9, 0.2, 0.6], f_tilde=[0.5, 0.1, 0.6], f_marginal=0.7, f_tilde_marginal=0.5)
    assert source_effect(cells)[0] == pytest.approx((0.4 + 0.1 + 0.0) / 3)
    mean, lower, upper = source_effect(cells, estimand="marginal")
    assert (mean, lower, upper) == pytest.approx((0.2, 0.2, 0.2))
    gain = session_gain(cells, cells["f"], cells["f_marginal"]).set_index("metric")["mean"]
    assert gain["AUC"] == pytest.approx(1.0 - 0.5)
    errors = [0.3**2 - 0.1**2, 0.7**2 - 0.2**2, 0.3**2 - 0.4**2]
    assert gain["Brier"] == pytest.approx(np.mean(errors))


def test_candidates_are_new_to_the_session(trials):
    sessions = trials.sessions
    drawn = draw_candidates(sessions, trials.tested, count=30, largest=15, seed=2)
    assert drawn.tracks.shape == (len(drawn.rows), 30) and 3 < len(drawn.rows) <= 15
    for row, slot, tracks in zip(drawn.rows, drawn.slots, drawn.tracks, strict=True):
        assert trials.tested[row] and sessions.asked[row, slot] and sessions.accepted[row, slot]
        assert sessions.source[row, slot] == "self" and tracks[0] == sessions.track[row, slot]
        assert not (sessions.source[row, slot + 1 :] == "self").any()
        assert not set(tracks[1:]) & set(sessions.track[row])
    few = replace(sessions, track=np.minimum(sessions.track, 30))
    with pytest.raises(InputError, match="30 tracks; expected more than 40"):
        draw_candidates(few, trials.tested)
    ranks = rank_first(np.array([[0.5, 0.9, 0.1], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0]]))
    assert ranks.tolist() == [2.0, 2.0, 1.0]


def test_simulated_sessions_are_made_once_and_anew_after_a_crash(tmp_path):
    folder = simulate_sessions(tmp_path, 20, seed=1)
    before = (folder / "summary.json").stat().st_mtime_ns
    assert simulate_sessions(tmp_path, 20, seed=1) == folder
    assert (folder / "summary.json").stat().st_mtime_ns == before
    (folder / "summary.json").unlink()
    assert len(read_sessions(simulate_sessions(tmp_path, 20, seed=1)).users) == 20


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.02, 0.01, 0.03), "better than Few-Shot by 2.0 points of AUC."),
        ((-0.01, -0.02, -0.003), "worse than Few-Shot by 1.0 points of AUC."),
        ((0.02, -0.01, 0.05), "better than Few-Shot by 2.0 points of AUC, which may be chance."),
    ],
)
def test_the_claim_of_table_two_follows_its_interval(ends, said):
    gain = pd.DataFrame([("AUC", *ends)], columns=["metric", "mean", "lower", "upper"])
    sentence, numbers = table_two_claim(gain, simulated=False)
    assert sentence == f"On real sessions CS-Few-Shot orders decisions {said}"
    assert numbers["auc_gain_cs_few_shot"] == ends


@pytest.fixture(scope="module")
def notebook(folder, tmp_path_factory):
    """The folder of a run of notebook 07 on the sessions."""
    run = tmp_path_factory.mktemp("run")
    given = {"data": "mssd", "path": str(folder), "out": str(run), "hidden": 8, "passes": 1}
    name = "07_table_2.ipynb"
    papermill.execute_notebook(PROJECT / "notebooks" / name, run / name, given, progress_bar=False)
    return run


def test_the_notebook_shows_table_two(notebook):
    table = pd.read_csv(notebook / "tables" / "07_table_2" / "table-2.csv").set_index("system")
    assert (table.loc[list(SYSTEMS), "AHR@0.2 reproduced"] != "–").all()
    assert "AHR@0.2 difference" not in table and table.loc["CSRec", "note"] == "a"
    assert {"majority", "track", "step", "random ranking", ORACLE, PLAYLIST_LEVEL} <= set(table.index)
    record = (notebook / "record" / "07_table_2.json").read_text()
    assert "cannot be compared with a simulation" in record and "auc_gain_cs_few_shot" in record
    assert (notebook / "figures" / "07_table_2" / "table-2-auc" / "table-2-auc.csv").exists()
