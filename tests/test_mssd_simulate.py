"""Simulated MSSD: files as the published ones, sessions that do not depend on the cut, a truth that holds."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from mssd_files import HEADER
from scipy.special import expit, logit
from sklearn.linear_model import LinearRegression

from csrec_core.data.mssd.schema import CONTEXTS, LABELS
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.errors import InputError

WORLD = Listeners(tracks=300, seed=4)
MOODS = ["energy", "valence", "danceability", "acousticness"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of 3,000 sessions with their truth and their tracks' features."""
    folder = tmp_path_factory.mktemp("mssd")
    (log,), (tracks,) = simulate_mssd(folder, 3000, WORLD)
    truth = pd.read_parquet(folder / "truth_000000000000.parquet")
    frame = pd.read_csv(log).rename(columns={"session_id": "session", "session_position": "t"})
    frame = frame.merge(truth, on=["session", "t"], validate="one_to_one")
    return frame.merge(pd.read_csv(tracks), left_on="track_id_clean", right_on="track_id", how="left")


def test_files_are_like_the_published_ones(rows, tmp_path):
    (log,), (tracks,) = simulate_mssd(tmp_path, 3, WORLD)
    assert log.read_text().splitlines()[0] == HEADER
    first = tracks.read_text().splitlines()[0].split(",")
    assert first[:4] == ["track_id", "duration", "release_year", "us_popularity_estimate"]
    assert first[-1] == "acoustic_vector_7" and len(first) == 30
    assert (
        rows["session"].str.fullmatch(r"0_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").all()
    )
    assert rows["track_id"].str.startswith("t_").all()
    lengths = rows.groupby("session")["session_length"].agg(["size", "min", "max"])
    assert (lengths["size"] == lengths["min"]).all() and (lengths["size"] == lengths["max"]).all()
    assert lengths["size"].between(10, 20).all() and set(lengths["size"]) == set(range(10, 21))
    assert set(rows["context_type"]) == set(CONTEXTS)
    assert not rows.isna().any().any()


def test_labels_are_nested_and_repeats_occur(rows):
    briefly, short, long, whole = (rows[label] for label in LABELS)
    assert (briefly <= short).all() and (short <= long).all() and (whole == ~long).all()
    assert briefly.mean() < short.mean() < long.mean()
    assert rows.duplicated(["session", "track_id"]).mean() > 0.05


def test_the_cut_changes_nothing(tmp_path):
    def text(folder, sessions, per_file):
        logs, tracks = simulate_mssd(tmp_path / folder, sessions, WORLD, per_file=per_file)
        body = [line for path in logs for line in path.read_text().splitlines()[1:]]
        truth = [pd.read_parquet(path) for path in sorted((tmp_path / folder).glob("truth_*"))]
        return body, tracks[0].read_text(), pd.concat(truth, ignore_index=True)

    one, several, fewer = text("one", 2500, 50_000), text("several", 2500, 1000), text("fewer", 1300, 1000)
    assert one[:2] == several[:2]
    pd.testing.assert_frame_equal(one[2], several[2])
    assert fewer[0] == one[0][: len(fewer[0])] and len({row.split(",")[0] for row in fewer[0]}) == 1300
    simulate_mssd(tmp_path / "other", 10, Listeners(tracks=300, seed=5))
    assert (tmp_path / "other" / "tf_000000000000.csv").read_text() != one[1]


def test_decisions_follow_the_truth(rows):
    for context, truth in (("user_collection", "p_self"), ("personalized_playlist", "p_system")):
        own = rows[rows["context_type"] == context]
        error = (~own["skip_2"]).to_numpy() - own[truth].to_numpy()
        assert abs(error.mean()) < 4 * np.sqrt((own[truth] * (1 - own[truth])).sum()) / len(own)
        assert np.corrcoef(~own["skip_2"], own[truth])[0, 1] > 0.35


def test_the_source_effect_is_the_sessions_trust(rows):
    lift = logit(rows["p_system"]) - logit(rows["p_self"])
    assert lift.groupby(rows["session"]).std().max() < 1e-9
    trust = lift.groupby(rows["session"]).first()
    assert abs(trust.mean() - WORLD.effect) < 4 * WORLD.trust_spread / np.sqrt(len(trust))
    assert trust.std() == pytest.approx(WORLD.trust_spread, rel=0.06)


def test_acoustic_features_matter_as_stated(rows):
    """Where tracks come up whatever the preference, the logit is linear in the moods with the stated weights."""
    own = rows[rows["context_type"] == "catalog"]
    fitted = LinearRegression().fit(own[MOODS], logit(own["p_self"])).coef_
    np.testing.assert_allclose(fitted, WORLD.appeal * np.array([1.5, 1.0, 1.5, -1.0]), atol=0.25)
    assert not np.allclose(fitted, 0, atol=0.25)


def test_marginals_sum_over_all_earlier_decisions(rows):
    session = rows[rows["session"] == rows["session"].iloc[0]].head(6)
    last = (~session["skip_2"]).shift(fill_value=False).to_numpy()
    for source in ("self", "system"):
        alone = logit(session[f"p_{source}"].to_numpy()) - WORLD.carry_over * last
        for t in range(len(session)):
            total = 0.0
            for path in product((0, 1), repeat=t):
                chance = expit(alone[: t + 1] + WORLD.carry_over * np.array([0, *path]))
                weight = np.prod([p if d else 1 - p for p, d in zip(chance, path, strict=False)])
                total += weight * chance[t]
            assert session[f"marginal_{source}"].iloc[t] == pytest.approx(total, abs=1e-12)


def test_bad_sizes_are_refused(tmp_path):
    for sessions, per_file in ((0, 1000), (10, 1500), (10, 0)):
        with pytest.raises(InputError, match="expected at least 1"):
            simulate_mssd(tmp_path, sessions, per_file=per_file)
    with pytest.raises(InputError, match="tracks = 5"):
        Listeners(tracks=5)
    assert not list(tmp_path.iterdir())
