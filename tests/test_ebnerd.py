"""EB-NeRD: clicks and lists become a log; what it cannot tell is said; acceptance by earlier showings."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from csrec_core.data.books import simulate_books
from csrec_core.data.loaders import make_dataset, read_data
from csrec_core.data.log import Dataset, validate_log
from csrec_core.data.profile import profile_log
from csrec_core.data.repeat_exposure import list_warnings, repeat_curve, repeat_finding
from csrec_core.errors import InputError
from csrec_core.plots.policy import plot_repeat_exposure

TIMES = pd.to_datetime(["2023-02-01 10:00", "2023-02-02 10:00"])


def write(folder, *, history=None, behaviors=None):
    history = {
        "user_id": [7],
        "article_id_fixed": [[11, 10]],
        "impression_time_fixed": [list(TIMES[::-1])],
    } | (history or {})
    behaviors = {
        "impression_id": [2, 1],
        "user_id": [7, 7],
        "impression_time": [TIMES[1], TIMES[0]],
        "article_ids_inview": [[12, 13], [13, 14, 15]],
        "article_ids_clicked": [[12], [15]],
    } | (behaviors or {})
    pd.DataFrame({k: v for k, v in history.items() if v is not None}).to_parquet(folder / "history.parquet")
    pd.DataFrame(behaviors).to_parquet(folder / "behaviors.parquet")
    return folder


def test_clicks_and_lists_become_a_log(tmp_path):
    log = read_data("ebnerd", write(tmp_path)).log.astype({"source": str})
    assert log[["t", "item", "decision", "source"]].to_numpy().tolist() == [
        [1, 10, 1, "self"],  # in the order of time, not of the list
        [2, 11, 1, "self"],
        [1, 13, 0, "system"],
        [2, 14, 0, "system"],
        [3, 15, 1, "system"],
        [4, 12, 1, "system"],
        [5, 13, 0, "system"],
    ]
    assert log["timestamp"].notna().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"history": {"article_id_fixed": [[1, 2, 3]]}},
            "row 1: 3 elements in 'article_id_fixed', 2 in",
        ),
        (
            {"history": {"article_id_fixed": None}},
            "unknown column 'article_id_fixed' in .*expected one of user_id",
        ),
        (
            {"behaviors": {"article_ids_clicked": [[12], [99]]}},
            "behaviors.parquet: 1 articles were clicked but not shown",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_data("ebnerd", write(tmp_path, **changes))


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file; expected a folder with history"):
        make_dataset("ebnerd", path=str(tmp_path))
    with pytest.raises(InputError, match="ebnerd needs path: the folder"):
        make_dataset("ebnerd")
    write(tmp_path)
    (tmp_path / "history.parquet").write_text("no table")
    with pytest.raises(InputError, match=r"history.parquet: line 1: 'no table': not a CSV table"):
        make_dataset("ebnerd", path=str(tmp_path))


def test_lists_of_one_click_are_told_from_others(tmp_path):
    (warning,) = list_warnings(read_data("ebnerd", write(tmp_path)))
    assert warning.startswith("100.0% of the 2 lists")
    assert list_warnings(simulate_books(users=20, items=10, steps=3)) == []
    log = read_data("ebnerd", write(tmp_path)).log
    assert list_warnings(Dataset(log.assign(decision=0))) == []


def repeats(third: int) -> pd.DataFrame:
    """30 users see item 5 twice, `third` of them three times, and item 6 once; they take every second row."""
    users = np.repeat(np.arange(30), [4 if user < third else 3 for user in range(30)])
    place = pd.Series(users).groupby(users).cumcount()
    rows = pd.DataFrame(
        {"user": users, "t": place + 1, "item": np.where(place == 0, 6, 5), "source": "system"}
    )
    return rows.assign(decision=(users % 2 == 0) & (place < 2)).astype({"decision": int})


def test_acceptance_by_earlier_exposures_by_hand():
    log = validate_log(pd.concat([repeats(0), repeats(24).assign(user=lambda rows: rows["user"] + 100)]))
    log.loc[(log["user"] < 5) & (log["t"] == 3), "decision"] = 1  # of the second time
    curve = repeat_curve(Dataset(log), draws=100)
    # 24 users a third time, but none takes it: too few events, so it is put together with the second
    assert curve["earlier"].tolist() == ["0", "1 to 2"] and curve["rows"].tolist() == [120, 84]
    np.testing.assert_allclose(curve["accepted"], [60 / 120, 5 / 84])
    assert (curve["lower"] <= curve["accepted"]).all() and (curve["accepted"] <= curve["upper"]).all()
    assert repeat_curve(Dataset(log), most=1, draws=100)["earlier"].tolist() == ["0", "1+"]
    assert repeat_curve(Dataset(log), arm="self").empty
    assert repeat_curve(Dataset(log[log["user"] < 10]), draws=100).empty  # ten users carry no point
    ax = plot_repeat_exposure(curve)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curve["accepted"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1 to 2"]


def test_the_real_log(real_data):
    dataset = make_dataset("ebnerd", path=str(real_data / "ebnerd"))
    counts = dataset.log.groupby("source", observed=True).agg(
        rows=("user", "size"), users=("user", "nunique")
    )
    assert counts["rows"].to_dict() == {"self": 8_303, "system": 10_848}
    assert dataset.log["user"].nunique() == 44
    assert dataset.log.loc[dataset.log["source"] == "system", "decision"].mean() == pytest.approx(
        0.0965, abs=5e-5
    )
    profile = profile_log(dataset)
    assert any("accepted items only" in warning for warning in profile.warnings)
    assert "99.9% of the 1,046 lists" in list_warnings(dataset)[0]


def test_real_people_tire_of_what_is_shown_again(real_data):
    curve = repeat_curve(read_data("ebnerd", real_data / "ebnerd"), draws=200)
    assert curve["earlier"].tolist() == ["0", "1", "2+"]  # too few of the 44 users see an item four times
    np.testing.assert_allclose(curve["accepted"], [0.128, 0.051, 0.0295], atol=5e-4)
    assert curve["lower"][0] > curve["upper"][1]


@pytest.mark.parametrize(
    ("last", "verb"),
    [((0.02, 0.01, 0.05), "falls"), ((0.5, 0.4, 0.6), "rises"), ((0.12, 0.05, 0.2), "does not clearly")],
)
def test_what_is_said_of_repeats_goes_by_their_intervals(last, verb):
    curve = pd.DataFrame([(0.13, 0.11, 0.14), last], columns=["accepted", "lower", "upper"]).assign(
        earlier=["0", "4+"]
    )
    sentence, numbers = repeat_finding(curve)
    assert sentence.startswith(f"Acceptance {verb}")
    assert numbers["accepted_after_most_exposures"] == last
