"""What lies before an exposure, against the same told row by row."""

import numpy as np
import pandas as pd
import pytest

from csrec_core.effect.record import describe, item_vectors, record_windows
from csrec_core.effect.rows import POSITION, Clock

CLOCKS = {
    "phased": Clock((), False),
    "in turn": Clock(("seen", "time"), False),
    "apart": Clock(("step",), True),
}


def lived(kind: str, seed: int) -> pd.DataFrame:
    """Rows of eight users, one of whom has one; where phases follow each other the baseline's come first."""
    rng = np.random.default_rng(seed)
    user = np.sort(np.r_[rng.integers(7, size=50), 7])
    arm = rng.integers(2, size=8)[user] if kind == "apart" else rng.integers(-1, 2, size=51)
    rows = pd.DataFrame({"user": user * 3 + 1, "arm": arm, "late": (arm != 0) * (kind == "phased")})
    rows = rows.sort_values(["user", "late"], kind="stable", ignore_index=True).drop(columns="late")
    rows["item"] = rng.integers(6, size=51) + 100
    rows["genre"] = rows["item"] % 3
    rows["decision"] = (rng.random(51) < 0.3).astype(float)
    rows["time"] = np.where(kind == "in turn", np.arange(51.0), np.nan)
    return rows.assign(propensity=0.1, arm_propensity=np.nan, feature_age=rng.random(51))


def on_record(rows: pd.DataFrame, row: int, kind: str) -> list[int]:
    """Return which rows are on a row's record."""
    user, arm = rows["user"].to_numpy(), rows["arm"].to_numpy()
    mine = np.flatnonzero(user == user[row])
    if kind != "phased":
        return [one for one in mine if one < row and (kind == "apart" or arm[one] != 1)]
    own = [one for one in mine if arm[one] == 0]
    same = [one for one in mine if arm[one] == arm[row]]
    at = own.index(row) if arm[row] == 0 else int((same.index(row) + 0.5) * len(own) // len(same))
    return own[:at] + own[at + 2 :]


def by_row(rows: pd.DataFrame, row: int, kind: str, vectors: np.ndarray) -> dict[str, float]:
    """Return what `describe` says of a row, with a mean decision of .4."""
    decision, item, genre = (rows[name].to_numpy() for name in ("decision", "item", "genre"))
    past = [one for one in range(row) if rows["user"][one] == rows["user"][row]]
    record = on_record(rows, row, kind)
    run = 0
    while run < min(5, len(past)) and decision[past[-1 - run]] == 0:
        run += 1
    like = [one for one in record if genre[one] == genre[row]]
    rate = (decision[record].sum() + 2 * 0.4) / (len(record) + 2)
    return {
        "first": not past,
        "last": decision[past[-1]] if past else 0,
        "before_last": decision[past[-2]] if len(past) > 1 else 0,
        "run": run,
        "user_rate": rate,
        "genre_share": len(like) / (len(record) + 1),
        "genre_rate": (decision[like].sum() + rate) / (len(like) + 1),
        "same_genre": bool(past) and genre[past[-1]] == genre[row],
        "shown_before": min(5, sum(item[one] == item[row] for one in past)),
        "on_record": sum(item[one] == item[row] for one in record),
        "record": len(record),
        "step": sum(rows["arm"][one] == rows["arm"][row] for one in past),
        "seen": len(past),
        "time": row if kind == "in turn" else 0,
        "like_accepted": vectors[row] @ vectors[record].T @ decision[record] / max(decision[record].sum(), 1),
        "like_seen": vectors[row] @ vectors[record].sum(axis=0) / max(len(record), 1),
        "feature_age": rows["feature_age"][row],
    }


@pytest.mark.parametrize("kind", CLOCKS)
def test_what_lies_before_a_row(kind):
    for seed in (0, 1):
        rows = lived(kind, seed)
        vectors = np.random.default_rng(seed).normal(size=(51, 2))
        found = describe(rows, CLOCKS[kind], rate=0.4, vectors=vectors)
        expected = pd.DataFrame([by_row(rows, row, kind, vectors) for row in range(51)])
        pd.testing.assert_frame_equal(
            found, expected.astype("float32"), rtol=1e-4, atol=1e-5, check_dtype=False
        )
        assert list(describe(rows, CLOCKS[kind], rate=0.4)) == [name for name in found if "like" not in name]


def test_of_one_item_five_exposures_and_rejections_are_told_apart():
    rows = pd.DataFrame({"user": 1, "arm": 0, "item": 7, "genre": 0, "decision": 0.0, "time": np.arange(8.0)})
    rows = rows.assign(propensity=np.nan, arm_propensity=np.nan)
    found = describe(rows, CLOCKS["in turn"], rate=0.4)
    for name in ("run", "shown_before"):
        assert found[name].tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    for name in ("on_record", "record"):  # counted in full: one is measured by the other
        assert found[name].tolist() == list(range(8))


def test_a_record_of_one_or_none_is_none():
    """The baseline's one row leaves itself out, and is left out by the arm's."""
    rows = lived("phased", 0).iloc[[0, 0, 0]].reset_index(drop=True).assign(user=[1, 1, 2], arm=[0, 1, 1])
    for some in (rows, rows.iloc[2:].reset_index(drop=True)):
        found = describe(some, CLOCKS["phased"], rate=0.4)
        assert found["on_record"].eq(0).all() and found["user_rate"].to_numpy() == pytest.approx(0.4)
        assert (record_windows(some, CLOCKS["phased"], 2) == -1).all()


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("length", [3, 60])
def test_a_window_holds_what_is_on_record_in_its_order(kind, length):
    rows = lived(kind, 2)
    for row, window in enumerate(record_windows(rows, CLOCKS[kind], length)):
        expected = on_record(rows, row, kind)[-length:]
        assert window.tolist() == [-1] * (length - len(expected)) + expected


def test_items_are_compared_by_three_measured_features():
    rows = pd.DataFrame({"item: a": [1.0, 2], "user: b": 9.0, "item: c": [3.0, 4], POSITION: [5.0, 5]})
    assert item_vectors(rows) is None
    found = item_vectors(rows.assign(**{"item: d": [5.0, 6]}))
    assert found == pytest.approx(np.array([[1, 3, 5], [2, 4, 6]]) / 3**0.5)
