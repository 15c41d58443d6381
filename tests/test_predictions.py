"""Predictions, scores, controls and the effect on a small world, end to end but quick."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import accepted_log
from pandas.testing import assert_frame_equal
from sklearn.metrics import log_loss, roc_auc_score

from csrec_core.data.books import simulate_books
from csrec_core.data.loaders import load_gpt4books
from csrec_core.data.log import Dataset
from csrec_core.data.profile import profile_log
from csrec_core.errors import InputError
from csrec_core.evaluation.controls import CONTROLS, predict_controls
from csrec_core.evaluation.scores import (
    RANDOM_RANKING,
    compare_with_controls,
    decision_scores,
    predictors,
    ranking_scores,
    score_table,
)
from csrec_core.metrics import expected_calibration_error
from csrec_core.models import predictions as module
from csrec_core.models.predictions import predict, unread_warnings

PROBABILITIES = ["f", "f_marginal", "f_free", "f_free_marginal", "f_tilde", "f_tilde_marginal"]


@pytest.fixture(scope="module")
def popularity(books):
    return books.log[books.log["source"] == "self"].groupby("item").size()


def test_a_cell_for_each_system_exposure(predictions, books):
    cells = predictions.cells
    system = books.log[books.log["source"] == "system"].reset_index(drop=True)
    assert_frame_equal(cells[["user", "t", "item", "decision"]], system[["user", "t", "item", "decision"]])
    assert cells[PROBABILITIES].apply(lambda column: column.between(0, 1).all()).all()
    assert cells["rank_share"].between(0, 1, inclusive="right").all()
    assert cells.groupby("user")["fold"].nunique().eq(1).all()
    assert cells.groupby("fold")["user"].nunique().to_list() == [200, 200]


def test_finished_models_are_kept(predictions, books, settings, models, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train_preference", forbidden)
    monkeypatch.setattr(module, "train_csrec", forbidden)
    again = predict(books, settings, folder=models)
    assert_frame_equal(again.cells, predictions.cells)
    with pytest.raises(AssertionError, match="trained again"):
        predict(books, dataclasses.replace(settings, penalty=2.0), folder=models)


def test_a_run_cut_short_goes_on_where_it_stopped(predictions, books, settings, tmp_path, monkeypatch):
    calls, real = [], module.train_csrec

    def stop_at_third(*arguments, **options):
        calls.append(arguments[3].penalty)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "train_csrec", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        predict(books, settings, folder=tmp_path)
    resumed = predict(books, settings, folder=tmp_path)
    assert calls == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert_frame_equal(resumed.cells, predictions.cells)  # and the same seed gives the same numbers
    assert not list(tmp_path.rglob(".*"))


def test_exposures_beyond_the_window_are_counted(predictions, books, settings):
    assert unread_warnings(books, predictions.cells, settings) == []
    (warning,) = unread_warnings(books, predictions.cells.iloc[:-7], settings)
    assert warning.startswith("7 system exposures beyond a user's first 100")


def test_too_few_users_of_a_source(books, settings, tmp_path):
    log = books.log[(books.log["source"] == "self") | (books.log["user"] <= 5)]
    with pytest.raises(InputError, match="5 users have exposures with source='system'"):
        predict(Dataset(log), settings, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_controls_are_rates_of_the_other_fold(predictions, popularity):
    cells = predictions.cells
    controls = predict_controls(cells, popularity)
    assert list(controls) == list(CONTROLS)
    own = cells["fold"] == 1
    others = cells[~own]
    assert controls.loc[own, "majority"].unique() == pytest.approx(others["decision"].mean())
    at_five = others.loc[others["step"] == 5, "decision"].mean()
    assert controls.loc[own & (cells["step"] == 5), "step"].unique() == pytest.approx(at_five)
    before = others.groupby("user")["decision"].shift()
    after = others.loc[before == 1, "decision"].mean()
    mine = own & (cells.groupby("user")["decision"].shift() == 1)
    assert controls.loc[mine, "previous decision"].unique() == pytest.approx(after)
    assert controls["popularity"].between(0, 1).all()


def test_scores_agree_with_scikit_learn(predictions, popularity):
    cells = predictions.cells
    predicted = predictors(cells, popularity)
    scores = decision_scores(cells, predicted, draws=100).set_index(["model", "metric"])
    decision, probability = cells["decision"], predicted["CSRec"]
    assert scores.loc[("CSRec", "AUC"), "mean"] == pytest.approx(roc_auc_score(decision, probability))
    assert scores.loc[("CSRec", "BCE"), "mean"] == pytest.approx(log_loss(decision, probability))
    assert scores.loc[("CSRec", "ECE"), "mean"] == pytest.approx(
        expected_calibration_error(decision, probability)
    )
    right = ((probability >= 0.8) == decision).mean()
    assert scores.loc[("CSRec", "AHR@0.2"), "mean"] == pytest.approx(right)
    ranked = ((cells["rank_share"] <= 0.2) == decision).mean()
    assert scores.loc[("f~ ranking", "AHR@0.2"), "mean"] == pytest.approx(ranked)
    assert (scores["lower"] <= scores["mean"] + 1e-9).all()
    assert (scores["mean"] <= scores["upper"] + 1e-9).all()


def test_controls_of_a_small_log_do_not_overflow():
    """Group sums of 8-bit decisions fit eight bits where their total does not."""
    cells = pd.DataFrame({"user": np.repeat(np.arange(20), 10), "item": 1, "fold": np.repeat([1, 2], 100)})
    cells["step"] = np.tile(np.arange(1, 11), 20)
    cells["decision"] = np.ones(200, dtype="int8")
    assert predict_controls(cells, pd.Series({1: 5}))["majority"].eq(1).all()


def test_margin_is_zero_against_itself(predictions, popularity):
    cells = predictions.cells
    predicted = predictors(cells, popularity)
    predicted["CSRec"] = predicted["previous decision"]
    margins = compare_with_controls(cells, predicted, draws=100).set_index("metric")
    assert margins.loc["AUC", "control"] == "previous decision"
    assert margins.loc["AUC", ["mean", "lower", "upper"]].to_list() == [0, 0, 0]
    predicted["CSRec"] = cells["decision"] * 0.98 + 0.01
    margins = compare_with_controls(cells, predicted, draws=100).set_index("metric")
    assert (margins["lower"] > 0).all()


def test_random_ranking_is_exact():
    ranks = pd.DataFrame({"model": "m", "user": [1, 2], "rank": [1, 7], "candidates": [10, 10]})
    scores = ranking_scores(ranks, draws=50).set_index(["model", "metric"])["mean"]
    assert scores["m", "HR@5"] == 0.5
    assert scores["m", "NDCG@5"] == 0.5
    assert scores[RANDOM_RANKING, "HR@5"] == 0.5
    assert scores[RANDOM_RANKING, "NDCG@5"] == pytest.approx((1 / np.log2([2, 3, 4, 5, 6])).sum() / 10)
    table = score_table(ranking_scores(ranks, draws=50))
    assert table.index.to_list() == ["m", RANDOM_RANKING]


def test_profile_of_the_small_world(books):
    profile = profile_log(books)
    assert profile.warnings == []
    assert profile.explained.loc["item", "share"] > profile.explained.loc["item", "chance"]
    assert "step majority" in str(profile)


def test_profile_warns_of_what_is_missing(books):
    log = books.log.drop(columns="propensity")
    warnings = " ".join(profile_log(Dataset(log)).warnings)
    assert "no exposure propensity" in warnings
    accepted = log[(log["source"] == "system") | (log["decision"] == 1)]
    profile = profile_log(Dataset(accepted))
    assert "accepted items only" in " ".join(profile.warnings)
    few = profile_log(Dataset(books.log[books.log["user"] <= 40]))
    assert "Only 40 users have exposures by the system" in " ".join(few.warnings)
    assert "No row has source=system" in " ".join(profile_log(Dataset(log[log["source"] == "self"])).warnings)


def test_profile_has_a_point_where_twenty_users_have_the_exposure():
    log = accepted_log(np.arange(60).reshape(20, 3)).log
    for left_out, steps in ((0, [1, 2, 3]), (1, [1, 2]), (58, [])):  # of the last user, or of all but one
        found = profile_log(Dataset(log.iloc[: 60 - left_out])).steps
        assert found["step"].tolist() == steps and (found["rows"] == 20).all()


def test_profile_sees_decisions_that_follow_the_step(books):
    log = books.log.copy()
    system = log["source"] == "system"
    log.loc[system, "decision"] = (log.loc[system, "t"] % 2).astype("int8")
    profile = profile_log(Dataset(log))
    assert profile.explained.loc["step", "share"] == pytest.approx(1)
    text = " ".join(profile.warnings)
    for part in (
        "Only 1 distinct rows",
        "The exposure number alone explains 100.0%",
        "item explains no more",
    ):
        assert part in text


def test_profile_sees_item_effects_where_items_have_few_exposures():
    """Ten exposures an item: noise alone has a share of a tenth, and 1.5 times that is not to be had."""
    plain, strong = (
        profile_log(simulate_books(users=200, items=400, steps=20, affinity=0, quality_spread=spread, seed=1))
        for spread in (0.0, 1.0)
    )
    assert "item explains no more" in " ".join(plain.warnings)
    assert "item explains no more" not in " ".join(strong.warnings)


def test_profile_of_the_papers_data(real_data):
    """The known defects of the released files (their decisions follow the exposure number)."""
    profile = profile_log(load_gpt4books(real_data / "gpt4books"))
    assert profile.facts["distinct decision rows of system"] == 20
    assert profile.facts["step majority, accuracy on last 3"] == pytest.approx(0.9323, abs=5e-5)
    assert profile.facts["step majority, accuracy on all"] == pytest.approx(0.875, abs=5e-4)
    assert profile.explained.loc["step", "share"] == pytest.approx(0.667, abs=5e-4)
    assert "93.2%" in profile.finding
    assert len(profile.warnings) == 4
