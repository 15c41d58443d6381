"""Logs in shapes that people have, made here: each read with what `data check` guesses, against the frame it is of."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
from csrec_core.data.check import check_data
from csrec_core.data.options import read_options
from csrec_core.errors import InputError

ROWS = 300


@pytest.fixture(scope="module")
def frame():
    """A shop's log: who, what, clicked or not, by which channel, when."""
    rng = np.random.default_rng(5)
    made = pd.DataFrame({"customer": rng.integers(15, size=ROWS), "sku": rng.integers(40, size=ROWS)})
    made["clicked"] = (rng.random(ROWS) < 0.4).astype(int)
    made["channel"] = rng.choice(["organic", "recommended"], ROWS)
    made["seen_at"] = pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(
        np.sort(rng.choice(10**7, ROWS, replace=False)), unit="s"
    )
    return made


def csv(**options):
    """Return what writes a frame as CSV, with the options of pandas."""
    encoding = options.pop("encoding", "utf-8")

    def write(frame, folder):
        path = folder / "shop.csv"
        path.write_bytes(frame.to_csv(index=False, **options).encode(encoding))
        return path

    return write


def changed(write=None, **columns):
    """Return what writes a frame with columns changed, dropped (None) or renamed (a text)."""

    def changing(frame, folder):
        for name, new in columns.items():
            if new is None:
                frame = frame.drop(columns=name)
            elif isinstance(new, str):
                frame = frame.rename(columns={name: new})
            else:
                values = new(frame[name]) if name in frame else new(frame)
                frame = frame.assign(**{name: values})
        return (write or csv())(frame, folder)

    return changing


def epoch(unit):
    return lambda times: times.astype(f"datetime64[{unit}, UTC]").astype("int64")


def words(no, yes):
    return lambda values: np.where(values == 1, yes, no)


def lines(**options):
    """Return what writes JSON lines, compressed or not."""

    def write(frame, folder):
        frame = frame.assign(seen_at=frame["seen_at"].astype(str))
        text = frame.to_json(orient="records", lines=not options.get("array"))
        if nest := options.get("nest"):
            records = [json.loads(line) for line in text.splitlines()]
            text = "\n".join(json.dumps({**one, "context": nest}) for one in records)
        data = text.encode()
        data = gzip.compress(data) if options.get("how") == "gzip" else data
        data = pa.compress(data, "zstd", asbytes=True) if options.get("how") == "zstd" else data
        path = folder / "shop.json"
        path.write_bytes(data)
        return path

    return write


def parquet(**types):
    """Return what writes Parquet with columns of Arrow types."""

    def write(frame, folder):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        for name, type_ in types.items():
            at = table.schema.get_field_index(name)
            made = table[name].cast(pa.string()).combine_chunks().dictionary_encode()
            made = made if pa.types.is_dictionary(type_) else table[name].cast(type_)
            table = table.set_column(at, name, made)
        path = folder / "shop.parquet"
        pq.write_table(table, path)
        return path

    return write


def parts(frame, folder):
    for number, part in enumerate(np.array_split(np.arange(ROWS), 3)):
        columns = list(frame.columns) if number != 1 else list(frame.columns)[::-1]
        frame.iloc[part][columns].to_parquet(folder / f"part-{number}.parquet", index=False)
    return folder


def hive(frame, folder):
    pq.write_to_dataset(pa.Table.from_pandas(frame, preserve_index=False), folder, partition_cols=["channel"])
    return folder


def recbole(frame, folder):
    """RecBole's typed header; a column that tells who chose is the owner's own."""
    frame = frame.assign(seen_at=frame["seen_at"].astype("int64") / 1e6)
    names = ["user_id:token", "item_id:token", "label:float", "source:token", "timestamp:float"]
    path = folder / "shop.inter"
    frame.set_axis(names, axis=1).to_csv(path, sep="\t", index=False)
    return path


def indexed(frame, folder):
    path = folder / "shop.csv"
    frame.to_csv(path)
    return path


SHAPES = {
    "semicolons": csv(sep=";"),
    "bars": csv(sep="|"),
    "tabs under .csv": csv(sep="\t"),
    "all quoted": csv(quoting=1),
    "crlf": csv(lineterminator="\r\n"),
    "cr alone": csv(lineterminator="\r"),
    "byte order mark": csv(encoding="utf-8-sig"),
    "UTF-16": csv(encoding="utf-16"),
    "UTF-16, the larger byte first": lambda frame, folder: csv(encoding="utf-16-be")(
        frame.rename(columns={"customer": "\ufeffcustomer"}), folder
    ),
    "UTF-16 without a mark": csv(encoding="utf-16-le"),
    "Latin-1": changed(csv(encoding="latin-1"), city=lambda frame: "Zürich"),
    "Windows quotes": changed(csv(encoding="cp1252"), city=lambda frame: "“Köln”"),
    "newlines in quotes": changed(note=lambda frame: 'a "b",\nc; d'),
    "commas in quotes": changed(note=lambda frame: "a,b;c|d"),
    "an index column": indexed,
    "decimal commas": changed(csv(sep=";", decimal=","), price=lambda frame: frame["sku"] + 0.5),
    "day first": changed(seen_at=lambda times: times.dt.strftime("%d/%m/%Y %H:%M:%S")),
    "day first with dots": changed(seen_at=lambda times: times.dt.strftime("%d.%m.%Y %H:%M")),
    "month first": changed(seen_at=lambda times: times.dt.strftime("%m/%d/%Y %I:%M:%S %p")),
    "month by name": changed(seen_at=lambda times: times.dt.strftime("%d %b %Y %H:%M:%S")),
    "year with slashes": changed(seen_at=lambda times: times.dt.strftime("%Y/%m/%d %H:%M:%S")),
    "compact ISO": changed(seen_at=lambda times: times.dt.strftime("%Y%m%dT%H%M%SZ")),
    "web server's time": changed(seen_at=lambda times: times.dt.strftime("%d/%b/%Y:%H:%M:%S %z")),
    "e-mail's time": changed(seen_at=lambda times: times.dt.strftime("%a, %d %b %Y %H:%M:%S %z")),
    "epoch in seconds": changed(seen_at=epoch("s")),
    "epoch in ms": changed(seen_at=epoch("ms")),
    "epoch in µs": changed(seen_at=epoch("us")),
    "epoch in ns": changed(seen_at=epoch("ns")),
    "epoch with a fraction": changed(seen_at=lambda times: epoch("ms")(times) / 1e3),
    "a zone": changed(seen_at=lambda times: times.dt.tz_convert("Asia/Tokyo").astype(str)),
    "Z": changed(seen_at=lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    "zone without a colon": changed(seen_at=lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%S%z")),
    "day alone": changed(seen_at=lambda times: times.dt.strftime("%Y-%m-%d")),
    "no time": changed(seen_at=None),
    "yes and no": changed(clicked=words("no", "yes")),
    "Y and N": changed(clicked=words("N", "Y")),
    "ja und nein": changed(clicked=words("nein", "ja")),
    "oui et non": changed(clicked=words("non", "oui")),
    "True and False": changed(clicked=words("False", "True")),
    "t and f": changed(clicked=words("f", "t")),
    "1.0 and 0.0": changed(clicked=lambda values: values.astype(float)),
    "events": changed(clicked=words("view", "purchase")),
    "events by another name": changed(changed(clicked="event_type"), clicked=words("impression", "click")),
    "stars": changed(changed(clicked="stars"), clicked=lambda values: np.where(values == 1, 5, 2)),
    "zeros before ids": changed(customer=lambda ids: ids.map("{:04d}".format)),
    "ids beside their twins": changed(
        customer=lambda ids: ids.map(lambda one: f"{one}" if one % 2 else f"0{one}")
    ),
    "ids as 1e3": changed(customer=lambda ids: ids.map("{}e3".format)),
    "ids beyond 2^53": changed(customer=lambda ids: ids + 2**60 + 1),
    "unsigned 64 bits": changed(customer=lambda ids: ids.map(lambda one: str(2**64 - 1 - one))),
    "ids as floats": changed(sku=lambda ids: ids.astype(float)),
    "negative ids": changed(customer=lambda ids: ids - 7),
    "UUIDs": changed(customer=lambda ids: ids.map("123e4567-e89b-12d3-a456-{:012d}".format)),
    "e-mail addresses": changed(customer=lambda ids: ids.map("ann{}@example.org".format)),
    "spaces in names": changed(customer="Customer ID", clicked="Clicked?", seen_at="Seen at"),
    "other names": changed(
        customer="visitorId", sku="product_code", clicked="purchased", channel="traffic_source"
    ),
    "JSON lines": lines(),
    "JSON lines, gzip": lines(how="gzip"),
    "JSON lines, zstd": lines(how="zstd"),
    "a JSON array": lines(array=True),
    "nested JSON": lines(nest={"device": {"os": "x"}, "tags": [1, 2]}),
    "Parquet": parquet(),
    "Parquet, dictionaries": parquet(channel=pa.dictionary(pa.int32(), pa.string())),
    "Parquet, decimals": parquet(clicked=pa.decimal128(19, 0), customer=pa.decimal128(20, 0)),
    "Parquet, small types": parquet(clicked=pa.int8(), customer=pa.uint16(), sku=pa.float32()),
    "Parquet, unsigned": parquet(customer=pa.uint64(), clicked=pa.bool_()),
    "Parquet, ns": parquet(seen_at=pa.timestamp("ns", "Europe/Berlin")),
    "Parquet, no zone": parquet(seen_at=pa.timestamp("ms")),
    "Parquet, large text": parquet(channel=pa.large_string()),
    "Parquet, lists beside": changed(parquet(), tags=lambda frame: [[1, 2]] * ROWS),
    "Parquet, structs beside": changed(parquet(), device=lambda frame: [{"os": "x", "v": 1}] * ROWS),
    "parts, columns in another order": parts,
    "partitions by arm": hive,
    "RecBole": recbole,
    "arms 0 and 1": changed(
        changed(channel="is_recommended"), channel=lambda arms: (arms == "recommended").astype(int)
    ),
    "arms true and false": changed(changed(channel="is_rec"), channel=lambda arms: arms == "recommended"),
    "arms in a Parquet truth": changed(
        changed(parquet(), channel="treated"), channel=lambda arms: arms == "recommended"
    ),
    "group": changed(
        changed(channel="group"), channel=lambda arms: np.where(arms == "organic", "control", "treatment")
    ),
    "test_group": changed(
        changed(channel="test_group"), channel=lambda arms: np.where(arms == "organic", "A", "B")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_read_as_what_it_is(frame, shape, tmp_path):
    checked = check_data(SHAPES[shape](frame, tmp_path))
    sources = checked.profile.sources.sort_values("accept_rate")
    expected = frame.groupby("channel")["clicked"].agg(["size", "mean"]).sort_values("mean")
    assert sources["rows"].tolist() == expected["size"].tolist(), str(checked)
    assert sources["accept_rate"].tolist() == pytest.approx(expected["mean"].tolist()), str(checked)
    assert checked.profile.facts["users"] == frame["customer"].nunique(), str(checked)
    assert checked.profile.facts["items"] == frame["sku"].nunique(), str(checked)
    timed = checked.options.map.get("timestamp", "timestamp" if shape == "RecBole" else "")
    assert bool(timed) == (shape != "no time"), str(checked)


def fewer(*names, rows=ROWS, write=None, **constant):
    """Return what writes some rows of a frame without some columns, and with others that are constant."""
    return lambda frame, folder: (write or csv())(
        frame.head(rows).drop(columns=list(names)).assign(**constant), folder
    )


def text(content):
    def write(frame, folder):
        path = folder / "shop.csv"
        path.write_text(content)
        return path

    return write


REFUSED = {
    "no arm": (fewer("channel"), "missing column source; .*no column says who chose the exposure"),
    "no decision": (
        fewer("clicked"),
        r"missing column decision \(or outcome\); found customer, sku, channel",
    ),
    "no item": (fewer("sku", "channel"), "missing columns item, source"),
    "no header": (csv(header=False), "line 1 holds values such as '.*', and no names; .*--header"),
    "a header alone": (fewer(rows=0), "no rows; expected at least one exposure"),
    "nothing": (text(""), "the file is empty"),
    "blank lines": (text("\n\n \n"), "the file is empty"),
    "one column": (text("user\n1\n2\n"), "not a CSV table; expected columns"),
    "a name twice": (text("user,user,item\n1,2,3\n"), "two columns are named 'user'"),
    "ragged lines": (text("user,item,source,decision\n1,2,self,1\n1,2\n"), "line 3: .*2 columns; expected 4"),
    "a page": (text("<html><body>Please log in</body></html>\n"), "not a CSV table"),
    "two days at once": (
        changed(seen_at=lambda times: "0" + (1 + times.dt.hour % 3).astype(str) + "/02/2026"),
        "can be read as %m/%d/%Y or %d/%m/%Y; say which by --time",
    ),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(frame, shape, tmp_path):
    write, message = REFUSED[shape]
    with pytest.raises(InputError, match=message) as refused:
        check_data(write(frame, tmp_path))
    assert len(str(refused.value)) <= 400


def test_one_row_is_a_log(frame, tmp_path):
    assert check_data(fewer(rows=1)(frame, tmp_path)).profile.sources["rows"].sum() == 1


def test_three_arms_and_features_of_items(frame, tmp_path):
    """The columns of a bandit's log: three policies, chances, places and numbers of the item."""
    rng = np.random.default_rng(1)
    made = pd.DataFrame({"timestamp": frame["seen_at"], "item_id": frame["sku"], "click": frame["clicked"]})
    made["position"], made["propensity_score"] = rng.integers(1, 4, ROWS), 1 / 40
    made["policy"], made["item_feature_0"] = (
        rng.choice(["random", "bts", "greedy"], ROWS),
        rng.normal(size=ROWS),
    )
    checked = check_data(csv()(made, tmp_path))
    assert checked.profile.sources["rows"].to_dict() == made["policy"].value_counts().sort_index().to_dict()
    assert checked.options.map == {
        "user": "*", "item": "item_id", "decision": "click", "source": "policy", "propensity": "propensity_score"
    }  # fmt: skip


def test_lists_of_what_was_shown_and_of_what_was_clicked(frame, tmp_path):
    """A row a list; what was clicked of it is another list, shorter."""
    rng = np.random.default_rng(2)
    shown = [rng.choice(90, 5, replace=False).tolist() for _ in range(ROWS)]
    made = pd.DataFrame({"user_id": frame["customer"], "channel": frame["channel"], "time": frame["seen_at"]})
    made["article_ids_inview"], made["article_ids_clicked"] = shown, [one[: len(one) % 3] for one in shown]
    checked = check_data(parquet()(made, tmp_path))
    assert checked.profile.sources["rows"].sum() == 5 * ROWS
    assert checked.profile.sources["accept_rate"].tolist() == pytest.approx([0.4, 0.4])


def events(frame):
    """What was shown and what was clicked, a row each."""
    seconds = frame["seen_at"].astype("datetime64[s, UTC]").astype("int64")
    shown = frame.assign(event="impression", ts=seconds)
    clicks = frame[frame["clicked"] == 1].assign(event="click", ts=seconds + 20)
    both = pd.concat([shown, clicks]).sort_values(["ts", "event"], ascending=[True, False])
    return both.drop(columns=["clicked", "seen_at"])


def carousels(frame):
    """A row a list; a list of 0 and 1 says what was clicked of it."""
    rng = np.random.default_rng(3)
    lists = [rng.choice(90, 4, replace=False).tolist() for _ in range(ROWS)]
    clicks = [[one, 0, 1 - one, 0] for one in frame["clicked"]]
    names = {"customer": "viewer", "channel": "ranker", "seen_at": "shown_at"}
    return frame.drop(columns=["sku", "clicked"]).rename(columns=names).assign(carousel=lists, hits=clicks)


def german(frame):
    made = {"Hörer-Nr": frame["customer"].map("{:05d}".format), "Folge": frame["sku"].map("Folge {}".format)}
    made["Ausgespielt von"] = np.where(frame["channel"] == "organic", "Suche", "Empfehlung")
    made["Gehört"] = words("nein", "ja")(frame["clicked"])
    made["Zeitpunkt"] = frame["seen_at"].dt.strftime("%d.%m.%Y %H:%M")
    return pd.DataFrame(made).assign(Preis=frame["sku"].map("{},95".format))


#: What a newcomer may have: the file, and how it is read without a word said of it.
UNFAMILIAR = {
    "a German export": (
        german, csv(sep=";", encoding="cp1252"),
        {"user": "Hörer-Nr", "item": "Folge", "decision": "Gehört", "source": "Ausgespielt von", "timestamp": "Zeitpunkt"},  # noqa: E501
        {"accept": "ja", "arms": {"self": ["Suche"], "system": ["Empfehlung"]}},
    ),
    "events": (
        events, lambda frame, folder: csv()(frame, folder),
        {"user": "customer", "item": "sku", "decision": "event", "source": "channel", "timestamp": "ts"},
        {"accept": "click", "merge": 1800, "arms": {"self": ["organic"], "system": ["recommended"]}},
    ),
    "carousels": (
        carousels, parquet(),
        {"user": "viewer", "item": "carousel", "decision": "hits", "source": "ranker", "timestamp": "shown_at"},
        {"explode": ["carousel", "hits"], "arms": {"self": ["organic"], "system": ["recommended"]}},
    ),
    "ratings by week": (
        lambda frame: pd.DataFrame({
            "student": frame["customer"].map("st{}".format), "course": frame["sku"].map("C{}".format),
            "week": np.arange(ROWS) // 11, "recommended": np.where(frame["channel"] == "organic", "FALSE", "TRUE"),
            "rating": np.where(frame["clicked"] == 1, 4 + frame["sku"] % 2, 1 + frame["sku"] % 3),
        }),
        csv(),
        {"user": "student", "item": "course", "decision": "rating", "source": "recommended", "timestamp": "week"},
        {"accept": "rating >= 4", "arms": {"self": ["FALSE"], "system": ["TRUE"]}},
    ),
    "money by bucket": (
        lambda frame: pd.DataFrame({
            "account_id": np.arange(ROWS) + 10**15, "bucket": np.where(frame["channel"] == "organic", "A", "B"),
            "country": np.where(frame["sku"] % 3, "DE", "FR"), "revenue_eur": frame["clicked"] * (frame["sku"] + 0.5),
        }),
        csv(sep="\t"),
        {"user": "account_id", "item": "*", "source": "bucket", "outcome": "revenue_eur"},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", UNFAMILIAR)
def test_one_command_gives_the_first_effect_of_an_unfamiliar_file(frame, shape, tmp_path):
    make, write, columns, others = UNFAMILIAR[shape]
    path, out = write(make(frame), tmp_path), tmp_path / "out"
    result = CliRunner().invoke(cli, ["effect", str(path), "--fast", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("read with --map ")
    assert read_options(out / "log.yaml").content() == {"map": columns, **others}
    arms = json.loads((out / "effect.json").read_text())["arms"].values()
    length = 4 if shape == "carousels" else 1
    assert sorted(arm["exposures"] for arm in arms) == sorted(length * frame["channel"].value_counts())


@pytest.mark.parametrize("shape", UNFAMILIAR)
def test_a_check_says_by_what_an_unfamiliar_file_is_read(frame, shape, tmp_path):
    make, write, columns, others = UNFAMILIAR[shape]
    result = CliRunner().invoke(cli, ["data", "check", str(write(make(frame), tmp_path))])
    assert result.exit_code == 0, result.output
    said = {line.split()[0] for line in result.output.splitlines() if line.startswith("  ")}
    assert said >= columns.keys() | others.keys()


def test_rows_that_a_guess_leaves_out_are_counted_on_the_screen(frame, tmp_path):
    path = csv()(frame.assign(clicked=frame["clicked"].astype(float).where(frame.index >= 7)), tmp_path)
    result = CliRunner().invoke(cli, ["effect", str(path), "--fast"])
    assert "--where 'clicked is not null'" in result.output and "left out: 7 rows (--where)" in result.output
