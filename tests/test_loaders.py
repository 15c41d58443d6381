"""Loaders: the paper's three files and benchmark files become logs; a broken one is refused."""

import pandas as pd
import pytest

from csrec_core.data.books import simulate_books
from csrec_core.data.loaders import load_gpt4books, load_mssd, load_sequences, make_dataset
from csrec_core.data.log import write_dataset
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.errors import InputError

FILES = {"observation": "1 5 6\n2 7\n", "recommendation": "1 8 9\n2 5 6\n", "decision": "1 0 1\n2 1 1\n"}
WORLD = {"users": 20, "items": 12, "steps": 3, "effect": 0.5, "seed": 1}


def write_files(folder, **changes):
    for name, text in (FILES | changes).items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_gpt4books(tmp_path):
    log = load_gpt4books(write_files(tmp_path)).log
    rows = log.astype({"source": str}).to_numpy().tolist()
    assert rows == [
        [1, 1, 5, 1, "self"],
        [1, 2, 6, 1, "self"],
        [2, 1, 7, 1, "self"],
        [1, 1, 8, 0, "system"],
        [1, 2, 9, 1, "system"],
        [2, 1, 5, 1, "system"],
        [2, 2, 6, 1, "system"],
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decision": "1 0 1\n2 1\n"}, "user 2 has 2 exposures .* and 1 decisions"),
        ({"decision": "1 0 1\n"}, "user 2 has 2 exposures .* and 0 decisions"),
        ({"decision": "1 0 2\n2 1 1\n"}, "decision = .*2.*0 .rejected. or 1"),
        ({"decision": "2 1 1\n1 0 1\n"}, "another order"),
        ({"observation": "1 5 x6\n"}, "line 1, column 3: 'x6'"),
        ({"observation": "1 5\n1 6\n"}, "user 1 has two lines"),
        ({"observation": "\n"}, "no sequences"),
    ],
)
def test_bad_gpt4books(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        load_gpt4books(write_files(tmp_path, **changes))


def test_sequences(tmp_path):
    path = tmp_path / "tiny.txt"
    path.write_text("3 10 11\n4 10\n")
    dataset = load_sequences(path)
    assert dataset.name == "tiny"
    assert dataset.log["decision"].eq(1).all()
    assert dataset.log[["user", "t", "item"]].to_numpy().tolist() == [[3, 1, 10], [3, 2, 11], [4, 1, 10]]
    path.write_bytes(b"1 2\xff\n")
    with pytest.raises(InputError, match="not UTF-8"):
        load_sequences(path)
    with pytest.raises(InputError, match="no such file"):
        load_sequences(tmp_path / "absent.txt")


def test_make_dataset_checks_what_it_is_asked(tmp_path):
    assert make_dataset("books", **WORLD).log["user"].nunique() == 20
    for arguments, message in (
        ({"data": "boks"}, "unknown data 'boks'.*did you mean 'books'"),
        ({"data": "books", "path": "x.csv"}, "books is simulated"),
        ({"data": "log"}, "data=log needs path"),
        ({"data": "gpt4books", "path": str(tmp_path), "map": "user=u"}, "map is for data=log"),
    ):
        with pytest.raises(InputError, match=message):
            make_dataset(**arguments, **WORLD)


def test_make_dataset_maps_columns(tmp_path):
    frame = pd.DataFrame({"u": [1], "t": [1], "i": [2], "decision": [0], "source": ["self"]})
    frame.to_csv(tmp_path / "log.csv", index=False)
    dataset = make_dataset("log", path=str(tmp_path / "log.csv"), map="user=u,item=i", **WORLD)
    assert dataset.log[["user", "item"]].to_numpy().tolist() == [[1, 2]]


def test_tables_beside_a_log_are_read_with_it(tmp_path):
    world = simulate_books(users=20, items=10, steps=3, publish="users")
    write_dataset(world, tmp_path / "own")
    again = make_dataset("log", path=str(tmp_path / "own" / "log.parquet"))
    pd.testing.assert_frame_equal(again.items, world.items)
    pd.testing.assert_frame_equal(again.users, world.users)


def test_tables_of_another_log_are_refused(tmp_path):
    world = simulate_books(users=20, items=10, steps=3, publish="users")
    write_dataset(world, tmp_path)
    path = str(tmp_path / "log.parquet")
    world.items.head(5).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items.parquet: knows no item 6, 7, 8 and 2 more of the log's 10"):
        make_dataset("log", path=path)
    (tmp_path / "items.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"items.parquet: not a Parquet table"):
        make_dataset("log", path=path)
    (tmp_path / "items.parquet").unlink()
    (tmp_path / "items.csv").write_text("item,year\n1,1934\n,1923\n")
    with pytest.raises(InputError, match=r"items.csv: row 2: no value in column 'item'"):
        make_dataset("log", path=path)
    (tmp_path / "items.csv").unlink()
    world.users.rename(columns={"user": "id"}).to_parquet(tmp_path / "users.parquet")
    with pytest.raises(InputError, match=r"users.parquet: no column 'user'; found id"):
        make_dataset("log", path=path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_join_by_the_ids_of_the_file(tmp_path, suffix):
    log = pd.DataFrame({"user": ["01", "1"], "item": ["b", "a"], "decision": [0, 1], "source": "self"})
    log.to_csv(tmp_path / "log.csv", index=False)
    items = pd.DataFrame({"item": ["c", "b", "a"], "price": [3.5, 2.5, 1.5]})
    users = pd.DataFrame({"user": ["1", "01"], "age": [30, 40]})
    for name, table in (("items", items), ("users", users)):
        write = table.to_csv if suffix == "csv" else table.to_parquet
        write(tmp_path / f"{name}.{suffix}", index=False)
    dataset = make_dataset("log", path=str(tmp_path))
    by_item = dataset.items.set_index("item")
    assert by_item["title"].to_dict() == {1: "a", 2: "b", 3: "c"} and by_item.loc[2, "price"] == 2.5
    assert dataset.users.set_index("label")["user"].to_dict() == {"01": 1, "1": 2}
    assert dataset.users.set_index("user")["age"].to_dict() == {1: 40, 2: 30}


def test_the_papers_own_data(real_data):
    log = load_gpt4books(real_data / "gpt4books").log
    assert log.groupby("source", observed=True).size().to_dict() == {"self": 348_766, "system": 400_000}
    assert log["user"].nunique() == 10_000
    assert log["item"].nunique() == 99
    assert log.loc[log["source"] == "system", "decision"].mean() == pytest.approx(0.487, abs=5e-4)


def test_lastfm(real_data):
    log = load_sequences(real_data / "sequences" / "LastFM.txt").log
    assert (len(log), log["user"].nunique(), log["item"].nunique()) == (52_551, 1_090, 3_646)


def test_mssd(tmp_path):
    """Simulated sessions come with their truth and tracks; another folder is refused."""
    ingest(*simulate_mssd(tmp_path / "csv", 60, Listeners(tracks=50, seed=2)), tmp_path)
    dataset = make_dataset("mssd", path=str(tmp_path), **WORLD)
    log, truth = dataset.log, dataset.truth
    assert dataset.name == "mssd" and set(log["source"]) == {"self", "system"}
    assert log["item"].isin(dataset.items["item"]).all() and len(truth) == len(log)
    assert {"p_system", "p_self"} <= set(truth) and truth["p_system"].between(0, 1).all()
    whole = (tmp_path / "items.parquet").read_bytes()
    (tmp_path / "items.parquet").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"items.parquet: not a Parquet table"):
        load_mssd(tmp_path)
    (tmp_path / "items.parquet").write_bytes(whole)
    for path in (tmp_path / "csv").glob("truth_*"):
        path.unlink()
    assert make_dataset("mssd", path=str(tmp_path)).truth is None
    with pytest.raises(InputError, match="no folder that csrec data mssd wrote"):
        make_dataset("mssd", path=str(tmp_path / "csv"))
