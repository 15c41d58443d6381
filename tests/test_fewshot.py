"""Skip prediction: slots, the measures of the WSDM Cup, what Few-Shot may see, and what it learns."""

import numpy as np
import pandas as pd
import pytest
import torch
from mssd_files import RADIO, SYSTEM, USER, session, write

from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.schema import Options
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.data.mssd.slots import LOG_FEATURES, read_sessions
from csrec_core.errors import InputError
from csrec_core.evaluation.skips import SKIP_CONTROLS, challenge_scores, predict_skip_controls
from csrec_core.models.fewshot import FewShot, _SlotNorm, predict_skips, train_fewshot
from csrec_core.models.train import Training


def test_sessions_lie_in_slots(tmp_path, tracks):
    lines = [
        *session("0_a", [USER, SYSTEM, RADIO], skip_2="false"),
        *session("0_b", [SYSTEM, USER], track_id_clean="t_2", hist_user_behavior_reason_end="uriopen"),
        *session("0_c", [USER, USER, USER])[:2],
        *session("0_d", [USER] * 21),
        *session("0_e", [USER]),
    ]
    ingest([write(tmp_path / "log_0.csv", lines)], tracks, tmp_path / "out")
    slots = read_sessions(tmp_path / "out")
    order = np.argsort(-slots.length)  # c lacks a row, d is too long, e has no second half
    assert slots.length[order].tolist() == [3, 2]
    one, other = slots.take(order[:1]), slots.take(order[1:])
    assert one.accepted[0, :4].tolist() == [True] * 3 + [False] and not other.accepted.any()
    assert one.source[0, :4].tolist() == ["self", "system", "other", ""]
    assert (one.given.sum(), one.asked.sum()) == (1, 2) and (other.given.sum(), other.asked.sum()) == (1, 1)
    tracked = [slots.track[place, :2].tolist() for place in order]
    assert sorted(tracked) == [[1, 1], [2, 2]] and slots.features.shape == (3, 29)
    assert len(LOG_FEATURES) == 41 and slots.log.shape == (2, 20, 41)
    shown = {name: value for name, value in zip(LOG_FEATURES, one.log[0, 1], strict=True) if value}
    assert shown == pytest.approx(
        {
            "t": 2 / 20,
            "session_length": 3 / 20,
            "skip_3": 1,
            "feature_no_pause_before_play": 1,
            "n_seekfwd": 2,
            "n_seekback": 1,
            "feature_is_shuffle": 1,
            "feature_hour_of_day": 16 / 24,
            "context_type=personalized_playlist": 1,
            "reason_start=clickrow": 1,
            "reason_end=fwdbtn": 1,
        }
    )
    assert other.log[0, 0, LOG_FEATURES.index("reason_end=other")] == 1
    assert not one.log[0, 3:].any()
    assert len(read_sessions(tmp_path / "out", sessions=1).users) == 1
    played = Options(label="not_skipped")
    ingest([tmp_path / "log_0.csv"], tracks, tmp_path / "played", played)
    assert not read_sessions(tmp_path / "played").accepted.any()
    with pytest.raises(InputError, match="no folder that csrec data mssd wrote"):
        read_sessions(tmp_path)


@pytest.fixture(scope="module")
def slots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slots")
    files = simulate_mssd(folder / "csv", 4000, Listeners(tracks=1000, seed=1, appeal=1.2))
    ingest(*files, folder)
    return read_sessions(folder)


def test_features_are_standardised(slots):
    assert not slots.features[0].any()
    np.testing.assert_allclose(slots.features[1:].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(slots.features[1:].std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("norm", ["instance", "causal"])
def test_only_the_first_half_is_told(slots, norm):
    """What was logged and decided in the second half, and what lies after the end, changes nothing."""
    some = slots.take(np.arange(50))
    model = build(some, norm)
    before = predict_skips(model, some)
    hidden = ~some.given
    log, accepted = some.log.copy(), some.accepted.copy()
    log[hidden] = 7.0
    accepted[hidden] ^= True
    changed = type(some)(**(vars(some) | {"log": log, "accepted": accepted}))
    np.testing.assert_array_equal(predict_skips(model, changed), before)
    assert (np.isnan(before) == ~some.asked).all()
    np.testing.assert_allclose(predict_skips(model, some.take(np.arange(3))), before[:3], atol=1e-5)
    given = type(some)(**(vars(some) | {"accepted": some.accepted ^ some.given}))
    assert np.nanmax(np.abs(predict_skips(model, given) - before)) > 1e-3


def test_sessions_read_in_batches_read_alike(slots, monkeypatch):
    some, sizes = slots.take(np.arange(50)), []
    model = build(some, "instance")
    whole = predict_skips(model, some)
    monkeypatch.setattr("csrec_core.models.fewshot.READ_SESSIONS", 16)
    model.register_forward_hook(lambda _, read, __: sizes.append(len(read[0])))
    np.testing.assert_allclose(predict_skips(model, some), whole, atol=1e-6)
    assert sizes == [16, 16, 16, 2]


def build(sessions, norm):
    torch.manual_seed(0)
    return FewShot(torch.from_numpy(sessions.features), channels=16, norm=norm).eval()


def test_the_published_norm_looks_ahead_and_the_causal_one_does_not(slots):
    long = slots.take(np.flatnonzero(slots.length == 20)[:50])
    later = long.track.copy()
    later[:, 15:] = later[::-1, 15:]
    changed = type(long)(**(vars(long) | {"track": later}))
    for norm, same in (("instance", False), ("causal", True)):
        model = build(long, norm)
        before, after = (predict_skips(model, part)[:, 10:15] for part in (long, changed))
        assert np.allclose(before, after, atol=1e-6) == same


def test_the_norm_over_slots_is_instance_norm_of_the_real_ones():
    states, real = torch.randn(3, 20, 8), torch.ones(3, 20, 1, dtype=torch.bool)
    expected = torch.nn.InstanceNorm1d(8)(states[:, :12].transpose(1, 2)).transpose(1, 2)
    real[:, 12:] = False
    torch.testing.assert_close(_SlotNorm(8)(states, real)[:, :12], expected, atol=1e-5, rtol=1e-5)


def test_unknown_norms_are_refused(slots):
    with pytest.raises(InputError, match=r"unknown norm 'instanse'.*did you mean 'instance'"):
        FewShot(torch.zeros(2, 29), norm="instanse")


def test_controls_are_rates_of_the_training_sessions(slots):
    train, test = slots.take(np.arange(3000)), slots.take(np.arange(3000, 4000))
    controls = predict_skip_controls(train, test)
    assert list(controls) == list(SKIP_CONTROLS)
    overall = train.accepted[train.asked].mean()
    np.testing.assert_allclose(controls["majority"][test.asked], overall)
    place = train.asked[:, 12]
    rate = (train.accepted[place, 12].sum() + 20 * overall) / (place.sum() + 20)
    np.testing.assert_allclose(controls["step"][test.asked[:, 12], 12], rate)
    for probability in controls.values():
        assert (np.isnan(probability) == ~test.asked).all()


def test_scores_of_perfect_and_even_predictions(slots):
    test = slots.take(np.arange(300))
    perfect = np.where(test.asked, test.accepted, np.nan).astype(float)
    even = np.where(test.asked, 0.9, np.nan)
    table = challenge_scores(test, {"perfect": perfect, "even": even}, draws=50)
    means = table.set_index(["model", "metric"])["mean"]
    assert (means["perfect"] == 1).all()
    assert means["even", "AUC"] == pytest.approx(0.5)
    shares = pd.Series([test.accepted[row][test.asked[row]].mean() for row in range(300)])
    assert means["even", "AHR@0.2"] == pytest.approx(shares.mean())
    assert (table["lower"] <= table["mean"]).all() and (table["mean"] <= table["upper"]).all()


def test_fewshot_learns_more_than_a_lookup(slots):
    train, test = slots.take(np.arange(3200)), slots.take(np.arange(3200, 4000))
    training = Training(epochs=4, patience=4, batch=64, rate=4e-3, threads=1)
    model, history = train_fewshot(train, training=training, channels=24, norm="causal")
    again, _ = train_fewshot(train.take(np.arange(200)), training=Training(epochs=1), channels=8)
    same, _ = train_fewshot(train.take(np.arange(200)), training=Training(epochs=1), channels=8)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))
    assert history["validation"].min() < history["validation"].iloc[0]
    predictions = {"few-shot": predict_skips(model, test)} | predict_skip_controls(train, test)
    scores = challenge_scores(test, predictions, draws=200).set_index(["model", "metric"])
    for control in SKIP_CONTROLS:
        assert scores.loc[("few-shot", "AUC"), "lower"] > scores.loc[(control, "AUC"), "upper"], control
        assert scores.loc[("few-shot", "MAA"), "mean"] > scores.loc[(control, "MAA"), "mean"], control
