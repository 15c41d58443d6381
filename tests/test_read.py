"""The reader by content: forms of files, and what their rows mean."""

import gzip
import json
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

import csrec_core
from csrec_core.cli.reading import chosen_options
from csrec_core.data.log import frame_to_dataset, read_log
from csrec_core.data.options import ReadOptions, read_options, write_options
from csrec_core.errors import InputError

ROWS = pd.DataFrame(
    {
        "user": ["bo", "al", "al", "bo"],
        "item": ["x", "y", "x, z", "y"],
        "decision": [1, 0, 1, 0],
        "source": ["self", "system", "self", "system"],
        "timestamp": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"],
    }
)


def csv(separator=","):
    return ROWS.to_csv(index=False, sep=separator).encode()


def lines():
    return "\n".join(json.dumps(row) for row in ROWS.to_dict("records")).encode()


FORMS = {
    "commas": csv,
    "tabs": lambda: csv("\t"),
    "semicolons": lambda: csv(";"),
    "bars": lambda: csv("|"),
    "byte order mark": lambda: b"\xef\xbb\xbf" + csv(),
    "carriage returns": lambda: csv().replace(b"\n", b"\r\n"),
    "gzip": lambda: gzip.compress(csv()),
    "zstd": lambda: pa.compress(csv(), "zstd", asbytes=True),
    "JSON lines": lines,
    "JSON lines, gzip": lambda: gzip.compress(lines()),
    "JSON array": lambda: json.dumps(ROWS.to_dict("records"), indent=1).encode(),
    "RecBole": lambda: csv("\t").replace(
        b"user\titem\tdecision\tsource\ttimestamp",
        b"user:token\titem:token\tdecision:float\tsource:token\ttimestamp:token",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_known_by_content(tmp_path, form):
    """The name tells nothing: the same log comes of each form."""
    path = tmp_path / "export.dat"
    path.write_bytes(FORMS[form]())
    found, expected = read_log(path), frame_to_dataset(ROWS)
    pd.testing.assert_frame_equal(found.log, expected.log)
    assert found.users["label"].tolist() == ["al", "bo"]
    assert found.items["title"].tolist() == ["x", "x, z", "y"] and found.name == "export"


def test_parquet_and_folders_of_it(tmp_path):
    expected = frame_to_dataset(ROWS).log
    for part, rows in (("a", ROWS[:2]), ("b", ROWS[2:])):
        rows.to_parquet(tmp_path / f"{part}.parquet")
    (tmp_path / "_SUCCESS").touch()
    pd.testing.assert_frame_equal(read_log(tmp_path).log, expected)
    (tmp_path / "empty").mkdir()
    hive = tmp_path / "hive"
    for source, rows in ROWS.groupby("source"):
        (hive / f"source={source}").mkdir(parents=True)
        rows.drop(columns="source").to_parquet(hive / f"source={source}" / "part.parquet")
    pd.testing.assert_frame_equal(read_log(hive).log, expected)
    with pytest.raises(InputError, match=r"no log here; expected log.parquet, log.csv or a folder log"):
        read_log(tmp_path / "empty")


def test_a_file_without_header_is_named(tmp_path):
    path = tmp_path / "clicks.dat"
    path.write_bytes(csv().split(b"\n", 1)[1])
    names = ("user", "item", "decision", "source", "timestamp")
    pd.testing.assert_frame_equal(
        read_log(path, options=ReadOptions(header=names)).log, frame_to_dataset(ROWS).log
    )
    with pytest.raises(InputError, match="3 names in --header, but 5 columns in line 1"):
        read_log(path, options=ReadOptions(header=names[:3]))


@pytest.mark.parametrize(
    ("options", "items"),
    [
        ({"where": "source != 'self'"}, ["y", "y"]),
        ({"where": "decision >= 1 and user = 'al'"}, ["x, z"]),
        ({"where": "timestamp > '2026-01-02'"}, ["x, z", "y"]),
        ({"where": "item in ('x', 'y')"}, ["x", "y", "y"]),
    ],
)
def test_where_keeps_rows_and_counts_the_others(tmp_path, options, items):
    path = tmp_path / "log.csv"
    path.write_bytes(csv())
    dataset = read_log(path, options=ReadOptions(**options))
    titles = dataset.items.set_index("item")["title"]
    assert dataset.log["item"].map(titles).tolist() == items
    assert dataset.left_out == {"--where": 4 - len(items)}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("sauce = 'self'", "unknown column 'sauce' in --where: expected one of user, item"),
        ("source = ", "--where: .*syntax error"),
        ("1 = 1) UNION SELECT * FROM (SELECT 1", "--where"),
        ("true); DROP VIEW file; SELECT (1", "expected one condition"),
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "--where: .*disabled"),
        ("user", "--where"),
        ("false", r"no rows left \(--where: 4\); expected at least one exposure"),
    ],
)
def test_conditions_that_are_none_are_refused_and_see_no_other_file(tmp_path, condition, message):
    path = tmp_path / "log.csv"
    path.write_bytes(csv())
    with pytest.raises(InputError, match=message) as refused:
        read_log(path, options=ReadOptions(where=condition))
    assert len(str(refused.value)) <= 400 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("answers", "accept", "decisions"),
    [
        (["yes", "no", "yes", "maybe"], "yes", [1, 1, 0, 0]),
        (["click", "view", "buy", "view"], "click+buy", [1, 1, 0, 0]),
        (["5", "3", "4", "1"], "decision >= 4", [1, 1, 0, 0]),
        ([True, False, False, True], "", [0, 1, 0, 1]),
        (["TRUE", "false", "False", "true"], "", [0, 1, 0, 1]),
    ],
)
def test_what_is_accepted(answers, accept, decisions):
    dataset = frame_to_dataset(ROWS.assign(decision=answers), options=ReadOptions(accept=accept))
    assert dataset.log["decision"].tolist() == decisions  # self: al, bo; system: al, bo


def test_words_that_are_not_there_are_refused():
    with pytest.raises(InputError, match=r"unknown word 'yess' in --accept.*did you mean 'yes'"):
        frame_to_dataset(ROWS.assign(decision=["yes", "no"] * 2), options=ReadOptions(accept="yess"))


@pytest.mark.parametrize(
    "shape",
    [
        {"items": ["a b c", "d e"], "clicks": ["0 1 0", "1 0"]},
        {"items": ["['a', 'b', 'c']", '["d", "e"]'], "clicks": ["[0 1 0]", "[1, 0]"]},
        {"items": [["a", "b", "c"], ["d", "e"]], "clicks": [[0, 1, 0], [1, 0]]},
        {"items": ["a-0 b-1 c-0", "d-1 e-0"]},  # MIND
        {"items": [["a", "b", "c"], ["d", "e"]], "clicks": [["b"], ["d"]]},  # EB-NeRD: the accepted items
    ],
)
def test_lists_become_exposures_in_their_places(shape):
    frame = pd.DataFrame({"user": [1, 1], "time": [2, 1], **shape})
    paired = "clicks" in shape and "b" not in shape["clicks"][0]
    options = ReadOptions.parse(
        "user=user,item=items,timestamp=time" + ",decision=clicks" * ("clicks" in shape)
    )
    options = replace(options, explode=("items", "clicks") if paired else ("items",), arms={"app": ("app",)})
    dataset = frame_to_dataset(frame, options=options)
    log = dataset.log.assign(item=dataset.log["item"].map(dataset.items.set_index("item")["title"]))
    assert log["item"].tolist() == ["d", "e", "a", "b", "c"] and log["decision"].tolist() == [1, 0, 0, 1, 0]
    assert log["position"].tolist() == [1, 2, 1, 2, 3] and log["t"].tolist() == [0, 1, 2, 3, 4]


def test_lists_of_two_lengths_are_refused():
    frame = ROWS.assign(item=["a b"] * 4, decision=["0 1", "1 0", "0", "1 1"])
    with pytest.raises(
        InputError, match="row 3: 2 elements in 'item', 1 in 'decision'; expected lists of one"
    ):
        frame_to_dataset(frame, options=ReadOptions(explode=("item", "decision")))


def test_an_exposure_and_its_click_become_one_row():
    frame = pd.DataFrame(
        {
            "user": ["a", "a", "a", "a", "b", "b"],
            "item": [1, 1, 1, 2, 1, 2],
            "timestamp": pd.to_datetime([0, 60, 100, 110, 5, 4000], unit="s"),
            "event": ["view", "view", "click", "view", "view", "click"],
            "source": "app",
        }
    )
    options = ReadOptions(map={"decision": "event"}, accept="click", merge=60)
    dataset = frame_to_dataset(frame, options=options)
    # The click at 100 answers the view at 60; that of b answers no view of item 2.
    assert dataset.log["decision"].tolist() == [0, 1, 0, 0]
    assert dataset.left_out == {"accepted without an exposure": 1}
    late = frame_to_dataset(frame, options=replace(options, merge=30))
    assert late.log["decision"].sum() == 0 and late.left_out == {"accepted without an exposure": 2}
    with pytest.raises(InputError, match=r"no rows left \(accepted without an exposure: 2\)"):
        frame_to_dataset(frame[frame["event"] == "click"], options=options)


def test_repeats_are_left_out_when_asked():
    twice = pd.concat([ROWS, ROWS.iloc[[1]]])
    assert len(frame_to_dataset(twice).log) == 5
    dataset = frame_to_dataset(twice, options=ReadOptions(distinct=True))
    assert len(dataset.log) == 4 and dataset.left_out == {"repeats": 1}


def test_features_of_numbers_and_words():
    frame = ROWS.assign(
        feature_age=[1, 2, 3, 4], price=[0.5, 1.5, 2.5, 3.5], country=["FR", "DE", "FR", "IT"]
    )
    log = frame_to_dataset(frame, options=ReadOptions(features=("price", "country"))).log
    assert [name for name in log if name.startswith("feature_")] == [
        "feature_age", "feature_price", "feature_country_DE", "feature_country_FR", "feature_country_IT",
    ]  # fmt: skip
    assert log["feature_price"].tolist() == [2.5, 0.5, 1.5, 3.5]
    assert log["feature_country_FR"].tolist() == [1, 1, 0, 0]
    with pytest.raises(InputError, match=r"row 1 and 3 more: .* = 'FR'; .* --feature feature_country"):
        frame_to_dataset(ROWS.assign(feature_country="FR"))
    many = pd.concat([ROWS] * 6).assign(word=[f"w{n}" for n in range(24)]).drop(columns="timestamp")
    with pytest.raises(InputError, match="feature 'word' has 24 words such as 'w0'; expected at most 20"):
        frame_to_dataset(many, options=ReadOptions(features=("word",)))
    prices = many.assign(price=[f"{n},5" for n in range(24)])
    with pytest.raises(InputError, match="numbers; decimals stand after a point"):
        frame_to_dataset(prices, options=ReadOptions(features=("price",)))


OPTIONS = ReadOptions(
    map={"user": "a,b", "item": "c=d"},
    arms={"x": ("1", "yes"), "y": ("no",)},
    where="q != 'it''s'",
    accept="yes",
    explode=("items",),
    features=("01",),
    header=("é", "b"),
    separator="\t",
    time="%d/%m/%Y",
    merge=2.5,
    distinct=True,
)


def test_options_are_one_line_one_file_and_one_command(tmp_path):
    assert ReadOptions.parse(str(OPTIONS)) == OPTIONS
    assert read_options(write_options(OPTIONS, tmp_path / "log.yaml")) == OPTIONS
    simple = ReadOptions.parse("user=u, self=a+b")
    assert str(simple) == "user=u,self=a+b" and str(ReadOptions()) == ""
    assert "--map user=a,b,item=c=d --arms x=1+yes,y=no --where 'q != " in OPTIONS.command()
    assert "--merge 2.5 --distinct" in OPTIONS.command()
    ends = ReadOptions(accept="v1.0", where="price > 3.0", merge=30.0)
    assert ends.command() == "--where 'price > 3.0' --accept v1.0 --merge 30"
    assert ReadOptions(where="x > 1").over(OPTIONS) == replace(OPTIONS, where="x > 1")
    at_once = ReadOptions(merge=0.0)  # which is equal to False, and says something
    assert read_options(write_options(at_once, tmp_path / "log.yaml")) == at_once
    assert at_once.over(OPTIONS).merge == 0 and at_once.command() == "--merge 0"
    none = dict.fromkeys(["accept", "where", "separator", "time"])
    assert chosen_options((), (), None, explode=(), header=(), merge=0.0, distinct=False, **none) == at_once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("whre: x", "unknown option 'whre' in .*log.yaml.*did you mean 'where'"),
        ("- 1", "list; expected lines 'name: value'"),
        ("map: {usr: a}", "unknown log column 'usr'"),
        ("map: [a]", r"map: \['a'\]; expected lines 'ours: yours'"),
        ("arms: {a: {b: c}}", "arms: .*; expected lines"),
        ("separator: ab", "expected one character, or tab"),
        ("merge: soon", "merge: 'soon'; expected seconds"),
        ("merge: -1", "merge: '-1'; expected seconds"),
        ("distinct: perhaps", "expected true or false"),
        (
            "\n".join(
                [f"a0: &a0 [{'x, ' * 50}]", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 50}]" for n in (1, 2, 3))]
            ),
            "its aliases stand",
        ),
        ("[" * 5000, "no YAML"),
        ("where: [\n", "line 2: no YAML"),
        ("\0", "no YAML"),
        ("x" * 200_000, "over 100,000 bytes"),
        ("where: x\n#" + "é" * 60_000, "over 100,000 bytes"),  # though of fewer letters; cut between two
        ("where: x\n##" + "é" * 60_000, "over 100,000 bytes"),  # and within one
    ],
)
def test_bad_files_of_options(tmp_path, text, message):
    (tmp_path / "log.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        read_options(tmp_path / "log.yaml")
    assert len(str(refused.value)) <= 400


def test_options_from_python_are_of_their_kind():
    frame = pd.DataFrame(
        {"who": ["a", "b", "a"], "item": [1, 2, 3], "channel": ["mail", "web", "mail"], "rating": [5, 1, 2]}
    )
    columns = {"user": "who", "decision": "rating", "source": "channel"}
    arms = {"self": ("web",), "system": ["mail"]}
    found = csrec_core.read(frame, map=columns, arms=arms, accept="rating >= 3", distinct=True)
    assert found.log.groupby("source", observed=True)["decision"].sum().to_dict() == {"self": 0, "system": 1}
    for wrong in ({"arms": "a=b"}, {"explode": 3}, {"merge": "soon"}, {"distinct": []}, {"acept": "x"}):
        with pytest.raises(InputError, match=r"^read: |unknown option 'acept' in read: .*'accept'"):
            csrec_core.read(frame, map=columns, **wrong)
