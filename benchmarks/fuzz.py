"""Generated inputs to every entry point: each is taken, or refused by one short message.

An entry point is drawn, then its input: a log in any form (CSV with one of four separators, JSON lines, Parquet,
sequences, a folder), a graph, a run's folder, parameters, names, options; and then spoiled or not, by cuts, flipped
bytes, values of another type, huge cells. Notebooks are not run: `csrec report` ends once it knows what to do. Wrong
are a traceback, an exit code beyond 0 to 4, an exit with 2 without a message of at most 400 characters, 30 s of
work, and files that are left by a refusal. The same seed draws the same inputs, whatever came before.

Run: python benchmarks/fuzz.py [--inputs 20000] [--seed 0] [--begin 0] [--only effect,graph]
"""

import argparse
import bz2
import contextlib
import copy
import functools
import gzip
import json
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

import csrec_core
from csrec_core.cli import cli, runs
from csrec_core.data.books import simulate_books
from csrec_core.errors import InputError
from csrec_core.report import plan, suite

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from run_files import TILES, answered, write_manifest, write_record

LONGEST = 30  # seconds of an input
NAMES = {
    "user": ["user", "customer_id", "uid", "visitor", "User", "üser", "user id", 'a"b', "select"],
    "item": ["item", "sku", "asin", "video_id", "items", "ite'm"],
    "source": ["source", "channel", "is_rand", "policy", "from"],
    "decision": ["decision", "clicked", "is_click", "rating", "event", "clicks"],
    "timestamp": ["timestamp", "seen_at", "time_ms", "date", "t"],
    "extra": ["propensity", "position", "outcome", "feature_x", "arm_propensity", "t", "probability"],
}
WORDS = [
    "self",
    "system",
    "organic",
    "recommended",
    "Self",
    "",
    "NA",
    "null",
    "x" * 3000,
    "a,b",
    'q"t',
    "l\nn",
    "é",
    "\U0001f600",
]
NUMBERS = [
    "0",
    "1",
    "01",
    "1e3",
    "-1",
    "2",
    "nan",
    "inf",
    "-inf",
    "0.5",
    "1e-9",
    "1e400",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999",
    "0x1F",
    "١",
]
TIMES = [
    "2026-01-02",
    "2026-01-02T10:00:00Z",
    "02/01/2026",
    "04/17/2026 09:22:00 PM",
    "1713385320",
    "1650984453567",
    "yesterday",
    "9999-12-31",
    "0000-00-00",
    "infinity",
    "2026-01-02 10:00:00+25:00",
]
OPTIONS = [
    line.split(" ", 1)
    for line in """\
--map user=customer_id,item=sku
--map user=*
--map x
--map user=nothing
--map self=organic,system=recommended
--where 1 = 1
--where rating > 2
--where ) --
--where select
--where (SELECT 1); DROP VIEW file
--where read_text('/etc/passwd') <> ''
--accept yes
--accept rating >= 4
--accept 1+click
--explode items,clicks
--explode items
--feature extra
--arms self,system
--arms a=organic
--arms app
--header user,item,decision,source
--separator ;
--separator tab
--time %d/%m/%Y
--time '%
--merge 60
--distinct
--data sequences
--data gpt4books
--data ebnerd
--data mssd
--data boks
--as log.yaml""".splitlines()
]
YAMLS = [
    "where: rating > 1",
    "map: [1]",
    "&a [*a]",
    "[" * 3000,
    "merge: soon",
    "whre: x",
    "arms: {a: {b: c}}",
    "\0",
]


def cell(rng: random.Random, role: str) -> object:
    """Draw a value that a column of this role may hold, mostly a sane one."""
    if rng.random() < 0.9:
        sane = {
            "user": lambda: rng.choice(["u1", "u2", "7", "07", rng.randrange(20)]),
            "item": lambda: rng.choice([rng.randrange(9), "B1", "B2"]),
            "source": lambda: rng.choice(["self", "system", "organic", "recommended", 0, 1]),
            "decision": lambda: rng.choice([0, 1, "yes", "no", "0 1 0", 4]),
            "timestamp": lambda: rng.choice([*TIMES[:6], rng.randrange(10**9)]),
            "extra": lambda: rng.choice([0.5, 1, 3, rng.random()]),
        }
        return sane[role]()
    odd = [
        *WORDS,
        *NUMBERS,
        *TIMES,
        None,
        True,
        2**70,
        [1, "a"],
        {"a": [{"b": 1}]},
        b"\xff\x00",
        1.5,
        float("nan"),
    ]
    return rng.choice(odd)


def column(rng: random.Random, role: str, rows: int) -> list:
    """Draw a column; mostly of one kind of value."""
    if rng.random() < 0.7:
        few = [cell(rng, role) for _ in range(3)]
        return [rng.choice(few) for _ in range(rows)]
    return [cell(rng, role) for _ in range(rows)]


def table(rng: random.Random) -> dict[str, list]:
    """Draw a table: half of the time one that can be read, given the right options."""
    if rng.random() < 0.5:
        rows, roles = rng.choice([30, 300]), ["user", "item", "source", "decision", "timestamp"]
        values = {role: [cell(rng, role) for _ in range(3)] for role in roles}
        values |= {"timestamp": [rng.choice(TIMES[:2])], "decision": [0, 1]}
        return {
            rng.choice(NAMES[role][:4]): [rng.choice(values[role]) for _ in range(rows)] for role in roles
        }
    rows = rng.choice([0, 1, 2, 5, 30, 300])
    roles = [role for role in NAMES if rng.random() < 0.85]
    return {rng.choice(NAMES[role]): column(rng, role, rows) for role in roles}


def as_csv(rng: random.Random, columns: dict[str, list]) -> bytes:
    separator = rng.choice([",", "\t", ";", "|"])
    quote = rng.random() < 0.8

    def text(value: object) -> str:
        value = "" if value is None else str(value)
        if quote and any(mark in value for mark in (separator, '"', "\n")):
            return '"' + value.replace('"', '""') + '"'
        return value

    lines = [list(columns), *zip(*columns.values(), strict=True)]
    end = rng.choice(["\n", "\r\n", "\r"])
    encoding = rng.choice(["utf-8"] * 7 + ["utf-8-sig", "utf-16", "latin-1"])
    return end.join(separator.join(map(text, line)) for line in lines).encode(encoding, "replace")


def as_json(rng: random.Random, columns: dict[str, list]) -> bytes:
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    dumped = [json.dumps(record, default=str) for record in records]
    if rng.random() < 0.05:
        dumped.insert(0, "[" * 2000 + "]" * 2000)
    return ("[" + ",".join(dumped) + "]" if rng.random() < 0.2 else "\n".join(dumped)).encode()


def as_parquet(rng: random.Random, columns: dict[str, list], path: Path) -> None:
    """Write Parquet: each column with the first type that takes it."""
    types = [
        None,
        pa.binary(),
        pa.list_(pa.string()),
        pa.struct([("a", pa.int64())]),
        pa.map_(pa.string(), pa.int64()),
    ]
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values, type=rng.choice(types) if rng.random() < 0.15 else None)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    pq.write_table(pa.table(arrays), path)


def spoil(rng: random.Random, data: bytes) -> bytes:
    """Cut, flip, repeat or compress the bytes; half of the time nothing."""
    how = rng.randrange(16)
    if how == 0:
        return data[: rng.randrange(len(data) + 1)]
    if how == 1 and data:
        at = rng.randrange(len(data))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if how == 2:
        return gzip.compress(data)
    if how == 3:
        return gzip.compress(data)[:-5]
    if how == 4:
        return pa.compress(data, "zstd", asbytes=True)
    if how == 5:
        return bz2.compress(data)
    return data


def write(rng: random.Random, folder: Path) -> Path:
    """Write a generated log into a folder; return what to check."""
    columns = table(rng)
    name = rng.choice(
        ["log.csv", "log.tsv", "log.jsonl", "log", "log.txt", "log.parquet", "x.csv.gz", "ü -x.csv"]
    )
    path = folder / name
    how = rng.random()
    if how < 0.55:
        path.write_bytes(spoil(rng, as_csv(rng, columns)))
    elif how < 0.75:
        path.write_bytes(spoil(rng, as_json(rng, columns)))
    elif how < 0.9:
        as_parquet(rng, columns, path)
        path.write_bytes(spoil(rng, path.read_bytes()))
    elif how < 0.95:
        lines = (" ".join(str(cell(rng, "item")) for _ in range(rng.randrange(6))) for _ in range(5))
        for file in ("observation.txt", "recommendation.txt", "decision.txt", name):
            (folder / file).write_text("\n".join(lines), encoding="utf-8", errors="replace")
    else:
        for file in ("history.parquet", "behaviors.parquet"):
            as_parquet(rng, {key: column(rng, "item", 3) for key in EBNERD}, folder / file)
    if rng.random() < 0.15:
        side = folder / rng.choice(["items.csv", "users.parquet", "items.parquet", "truth.parquet"])
        side.write_bytes(spoil(rng, as_csv(rng, table(rng))))
    (folder / "log.yaml").write_text(rng.choice(YAMLS))
    return folder if rng.random() < 0.1 or how >= 0.9 else path


EBNERD = [
    "user_id",
    "article_id_fixed",
    "impression_time_fixed",
    "impression_id",
    "impression_time",
    "article_ids_inview",
]
EBNERD.append("article_ids_clicked")


ODD = [
    *WORDS,
    *NUMBERS,
    *TIMES,
    "../../x",
    "a/b",
    "-",
    "--",
    "~",
    "/dev/null",
    "\x1b[31m",
    "a\0b",
    "é" * 200,
    "=1+1",
]
NODES = ["P1", "S1", "D1", "P2", "S2", "D2", "X", "Y", "Z", "R", "a b", "<b>", "P9", "", "\0", "x" * 300]
EDGES = ["->", "<->", "<-", "--", "→", ""]


def words_of(rng: random.Random, options: dict[str, Callable[[], object] | None], most: int = 3) -> list[str]:
    """Draw some of the options, with a value that may be right or, one in four, is odd."""
    words = []
    for name in rng.sample(list(options), rng.randint(0, min(most, len(options)))):
        words.append(name)
        if draw := options[name]:
            words.append(str(rng.choice(ODD) if rng.random() < 0.25 else draw()))
    return words


def reading(rng: random.Random, folder: Path) -> list[str]:
    """Draw options of reading."""
    words = [word for option in rng.sample(OPTIONS, rng.choice([0, 0, 0, 1, 2])) for word in option]
    return [str(folder / word) if word == "log.yaml" else word for word in words]


def data_check(rng: random.Random, folder: Path) -> list[str]:
    """A log, and how to read it."""
    path = write(rng, folder)
    return ["data", "check", *reading(rng, folder), "--", str(path)]


DESIGNS = [
    "arm_propensity: 0.5", "confounders: [rating]", "confounders: 3", "{", "arm: x", "target: uniform", "unit: users",
    "randomised: item", "propensity: propensity", "arm_propensity: -1", "[1]", "a: *b", "confounders: " + "[" * 500,
]  # fmt: skip


def _log_of(rng: random.Random, folder: Path) -> Path:
    """Write a small log: mostly one that can be read."""
    if rng.random() < 0.5:
        return write(rng, folder)
    rows, path = rng.choice([1, 8, 40]), folder / "log.csv"
    columns = {
        "user": [rng.randrange(9) for _ in range(rows)], "item": [rng.randrange(4) for _ in range(rows)],
        "source": [rng.choice(["self", "system"]) for _ in range(rows)],
        "decision": [rng.choice([0, 1]) for _ in range(rows)], "timestamp": list(range(rows)),
    }  # fmt: skip
    if rng.random() < 0.5:
        columns["propensity"] = column(rng, "extra", rows)
    if rng.random() < 0.3:
        columns[rng.choice(list(columns))] = column(rng, rng.choice(list(NAMES)), rows)
    path.write_bytes(spoil(rng, as_csv(random.Random(1), columns)))
    return path


def effect(rng: random.Random, folder: Path) -> list[str]:
    """A log, what is declared, and what is asked."""
    options = {
        "--design": lambda: rng.choice(DESIGNS), "--arm": lambda: rng.choice(["system", "self", "no"]),
        "--baseline": lambda: "self", "--target": lambda: rng.choice(["exposed", "uniform", "everyone", "all"]),
        "--unit": lambda: rng.choice(["users", "exposures"]), "--out": lambda: folder / "out",
        "--seed": lambda: rng.choice([0, 1, 2**64, -1]), "--workers": lambda: rng.choice([1, 0, "two"]),
    }  # fmt: skip
    path = _log_of(rng, folder)
    checks = [] if rng.random() < 0.05 else ["--fast"]
    return ["effect", *words_of(rng, options), *reading(rng, folder), *checks, "--", str(path)]


def aa(rng: random.Random, folder: Path) -> list[str]:
    """A log that is dealt twice."""
    path = _log_of(rng, folder)
    options = {"--design": lambda: rng.choice(DESIGNS), "--seed": lambda: rng.choice([0, -1, "x"])}
    return [
        "aa",
        *words_of(rng, options),
        *reading(rng, folder),
        "--times",
        rng.choice(["1", "2", "0"]),
        "--",
        str(path),
    ]


def graph_text(rng: random.Random) -> bytes:
    """Draw a graph in one of the forms that are read."""
    edges = [
        (rng.choice(NODES), rng.choice(EDGES[:2]), rng.choice(NODES)) for _ in range(rng.choice([0, 1, 4, 9]))
    ]
    form = rng.randrange(5)
    if form == 0:
        lines = [f'"{a}" -> "{b}"' + (" [dir=both]" if arrow == "<->" else "") for a, arrow, b in edges]
        text = "digraph g {" + rng.choice(["\n", ";", " "]).join(lines) + "}"
    elif form == 1:
        text = (
            rng.choice(["dag", "dag", "pdag"])
            + " {"
            + "\n".join(f"{a} {arrow} {b}" for a, arrow, b in edges)
            + "}"
        )
    elif form == 2:
        nodes = [{"id": node, "label": node} for node in {end for a, _, b in edges for end in (a, b)}]
        content = {
            "nodes": nodes,
            "edges": [{"source": a, "target": b, "type": arrow} for a, arrow, b in edges],
        }
        text = json.dumps(spoil_json(rng, content))
    elif form == 3:
        names = list({end for a, _, b in edges for end in (a, b)})
        nodes = "".join(f'node [ id {place} label "{name}" ]\n' for place, name in enumerate(names))
        arrows = "".join(f"edge [ source {names.index(a)} target {names.index(b)} ]\n" for a, _, b in edges)
        text = f"graph [ directed 1\n{nodes}{arrows}]"
    else:
        text = rng.choice(["", "[" * 5000, "{" * 3000, '{"a":' * 4000, "strict digraph", "dag { X -> ", "\0"])
    return spoil(rng, text.encode("utf-8", "replace"))


def spoil_json(rng: random.Random, content: object) -> object:
    """Put a value of another kind somewhere, or take one away; a third of the time nothing."""
    content = copy.deepcopy(content)
    at, steps = content, rng.randrange(1, 6)
    if rng.random() < 0.33:
        return content
    for _ in range(steps):
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = rng.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
            at = at[key]
            continue
        at[key] = rng.choice(
            [None, [], {}, "", 0, -1, 1e308, "x" * 5000, True, [[1]], {"a": 1}, rng.choice(ODD)]
        )
        break
    return content


def _edges(rng: random.Random) -> str:
    ends = [*NODES, "S[t-1]", "D[t]", "P[t+1]", "S[t-99]", "D[x]"]
    return rng.choice([",", ";", " "]).join(
        f"{rng.choice(ends)}{rng.choice(EDGES)}{rng.choice(ends)}" for _ in range(rng.randint(1, 3))
    )


def graph(rng: random.Random, folder: Path) -> list[str]:
    """A graph of a file or of options."""
    (folder / "g").write_bytes(graph_text(rng))
    options = {
        "--horizon": lambda: rng.choice([0, 1, 2, 3, 9, -1]), "--extra": lambda: _edges(rng), "--online": None,
        "--exposure": lambda: rng.choice(["observational", "randomised", "no"]), "--latent": lambda: _edges(rng),
        "--regime": lambda: rng.choice(["exposure", "acceptance", "x"]), "--file": lambda: folder / "g", "--read": None,
        "--require": lambda: rng.choice(["theorem", "theorem,recursion", "all", ","]),
        "--verdicts": lambda: folder / rng.choice(["v.json", "no/v.json", "g/v.json", "x" * 300]),
    }  # fmt: skip
    return ["graph", *([] if rng.random() < 0.02 else ["--without-certificate"]), *words_of(rng, options)]


def identify(rng: random.Random, folder: Path) -> list[str]:
    """A graph, and what is asked of it."""
    (folder / "g").write_bytes(graph_text(rng))

    def nodes() -> str:
        return ",".join(rng.sample(NODES, rng.randint(1, 2)))

    options = {
        "--y": nodes, "--do": nodes, "--given": nodes, "--read": None, "--latex": None, "--python": None,
        "--log": lambda: _log_of(rng, folder), "--data": lambda: _log_of(rng, folder),
    }  # fmt: skip
    given = words_of(rng, options, 4) if rng.random() < 0.3 else ["--y", nodes(), "--do", nodes()]
    return [
        "identify",
        *given,
        *([] if rng.random() < 0.05 else ["--without-certificate"]),
        "--",
        str(folder / "g"),
    ]


NAMES_OF_PARAMETERS = [
    "users",
    "seed",
    "effect",
    "epochs",
    "backbone",
    "data",
    "path",
    "map",
    "design",
    "out",
    "nonsense",
]


def report(rng: random.Random, folder: Path) -> list[str]:
    """Parameters, grids, names of runs and paths, up to where notebooks would run."""
    name = lambda: rng.choice(NAMES_OF_PARAMETERS)  # noqa: E731
    value = lambda: rng.choice([*ODD, 3, 40, "sasrec", "0.5", "books", "log"])  # noqa: E731
    (folder / "p.yaml").write_text(
        rng.choice(
            [*YAMLS, f"{name()}: {json.dumps(value(), default=str)}", "grid: {seed: [1, 2]}", "grid: 3", "users: {}"]
        ),
        "utf-8", "replace",
    )  # fmt: skip
    options = {
        "--run": lambda: rng.choice(["r", "a b", "é"]),
        "--suite": lambda: rng.choice(["quick", "shop", "effect", "all"]),
        "-p": lambda: f"{name()}={value()}", "-f": lambda: folder / "p.yaml", "--notebook": lambda: "02_data",
        "-g": lambda: f"{name()}={value()},{value()}", "--path": lambda: _log_of(rng, folder), "--force": None,
        "--data": lambda: rng.choice(["books", "log", "ebnerd"]), "--jobs": lambda: rng.choice([1, 2, 0]),
        "--require": lambda: rng.choice(["effect", "overlap", "x"]), "--scheduler": lambda: "tcp://127.0.0.1:1",
    }  # fmt: skip
    return [
        "report",
        "--out",
        str(folder / "reports"),
        *words_of(rng, options, 4),
        *(reading(rng, folder) if rng.random() < 0.2 else []),
    ]


def _some_run(rng: random.Random, folder: Path, name: str) -> None:
    """Write the folder of a run, and spoil one of its files."""
    run = folder / "reports" / name
    write_manifest(run, ["02_data", "04_treatment_effect"])
    write_record(run, "04_treatment_effect", [answered(), *TILES], role="effect")
    write_record(run, "02_data", [{"kind": "warning", "text": "w"}], role="log")
    for extra in ("index.html", "02_data.html"):
        (run / extra).write_text("<p>x</p>")
    path = rng.choice([run / "manifest.json", *(run / "record").iterdir()])
    if rng.random() < 0.8:
        path.write_text(json.dumps(spoil_json(rng, json.loads(path.read_text()))), "utf-8", "replace")
    else:
        path.write_bytes(spoil(rng, path.read_bytes()))


def of_runs(rng: random.Random, folder: Path) -> list[str]:
    """Runs whose files are not what they were."""
    for name in ("a", "b"):
        _some_run(rng, folder, name)
    run = rng.choice(["a", "b", "a", rng.choice(ODD)])
    command = rng.choice(["compare", "compare", "brief", "figures", "verify"])
    archive = ["--zip", str(folder / "f.zip")] if command == "figures" and rng.random() < 0.5 else []
    return [
        command,
        "--out",
        str(folder / "reports"),
        *archive,
        "--",
        run,
        *(["b"] if command == "compare" else []),
    ]


def lists(rng: random.Random, folder: Path) -> list[str]:
    """Suites, and notebooks to clean."""
    if rng.random() < 0.5:
        return ["list", "--suite", rng.choice([*ODD, "quick", "shop"])]
    cells = [{"cell_type": "code", "source": ["x = 1"], "outputs": [], "metadata": {"tags": ["parameters"]}}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "n.ipynb").write_bytes(
        spoil(rng, json.dumps(spoil_json(rng, notebook)).encode("utf-8", "replace"))
    )
    return [
        "clean",
        *rng.choice([["--check"], []]),
        "--",
        rng.choice([str(folder / "n.ipynb"), rng.choice(ODD)]),
    ]


def agent(rng: random.Random, folder: Path) -> list[str]:
    """An agent's options; its endpoint answers nobody."""
    (folder / "c.csv").write_bytes(
        spoil(
            rng, as_csv(rng, {"title": ["a", "b"], "author": ["x", 1], "year": [1, "y"], "genre": ["g", ""]})
        )
    )
    options = {
        "--items": lambda: 12, "--effect": lambda: rng.choice([0, 1, -9]), "--seed": lambda: rng.choice([1, -1]),
        "--catalogue": lambda: folder / "c.csv", "--model": lambda: "m",
        "--price": lambda: rng.choice(["1,2", "nan,1"]),
        "--base-url": lambda: rng.choice(["http://127.0.0.1:1/v1", "x", "http://[", "ftp://a"]),
        "--limit-requests": lambda: 1, "--timeout": lambda: 0.2, "--concurrency": lambda: 1, "--resume": None,
    }  # fmt: skip
    who = rng.choice(["simulator", "openai", "openai", rng.choice(ODD)])
    users = ["--users", "6", "--steps", "2"]
    return [
        "data",
        "books",
        *users,
        "--out",
        str(folder / "o"),
        *(["--agent", who] if rng.random() < 0.7 else []),
        *words_of(rng, options),
    ]


def mssd(rng: random.Random, folder: Path) -> list[str]:
    """Session logs and track features that may be none."""
    for name in ("s.csv", "t.csv"):
        (folder / name).write_bytes(spoil(rng, as_csv(rng, table(rng))))
    options = {
        "--logs": lambda: folder / "s.csv",
        "--tracks": lambda: folder / "t.csv",
        "--label": lambda: "skip_1",
        "--salt": lambda: 3,
    }
    return ["data", "mssd", "--out", str(folder / "o"), *words_of(rng, options, 4)]


def from_python(rng: random.Random, folder: Path) -> Callable[[], object]:
    """The entry points of Python, on a DataFrame of anything."""
    columns = table(rng)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    if rng.random() < 0.5:
        frame = frame.infer_objects()
    mapped = rng.choice(
        ["", {}, {"user": "uid"}, {"user": "*"}, "user=uid", {"item": rng.choice(list(frame) or ["x"])}]
    )
    options = rng.choice([{}, {"accept": "rating > 2"}, {"where": ")"}, {"arms": "a=b"}])
    declared = rng.choice(
        [{}, {"arm_propensity": 0.5}, {"arm": "x"}, {"confounders": ["y"]}, {"target": 3}, {"unit": "users"}]
    )

    asked = rng.choice(["read", "effect", "effect", "check"])
    size = {"users": rng.choice([1, 5, 40]), "items": rng.choice([2, 10]), "steps": rng.choice([1, 4])}
    other = simulate_books(**size, seed=rng.choice([0, 1])).log
    other = other.drop(columns=rng.sample(list(other), rng.choice([0, 0, 1, 2])))

    def call() -> None:
        if asked == "read":
            csrec_core.read(frame, map=mapped, **options)
        elif asked == "effect":
            csrec_core.effect(frame, map=mapped, **declared)
        else:
            csrec_core.check(_known_effect(), other)

    return call


@functools.cache
def _known_effect() -> csrec_core.Effect:
    """Return the effect of a small log, to be checked on another one."""
    return csrec_core.effect(simulate_books(users=40, items=10, steps=4, seed=0), checks=False)


ENTRIES = {
    data_check: 20, effect: 12, aa: 2, graph: 14, identify: 14, report: 14, of_runs: 14, lists: 4, agent: 4, mssd: 2,
    from_python: 12,
}  # fmt: skip


def only_planned(spec: plan.RunSpec, *_: object, **__: object) -> dict:
    """Do what a run does before its first notebook, in the place of the run."""
    plan.plan(spec)
    sys.exit(0)


def only_points(spec: plan.RunSpec, axes: dict, **_: object) -> dict:
    """Do what a grid does before its first point."""
    for point in spec.points(axes).values():
        plan.plan(point)
    sys.exit(0)


class TooLong(BaseException):
    """The time of an input is over."""


def _over(*_: object) -> None:
    raise TooLong


def _called(call: Callable[[], object]) -> SimpleNamespace:
    """Call as `CliRunner.invoke` does; InputError is what the command line says with exit 2."""
    try:
        call()
    except InputError as error:
        return SimpleNamespace(exception=None, exit_code=2, stderr=str(error))
    except Exception as error:
        return SimpleNamespace(exception=error, exit_code=1, stderr="")
    return SimpleNamespace(exception=None, exit_code=0, stderr="")


def check(number: int, seed: int, entries: dict[Callable, int]) -> tuple[str, str, str]:
    """Give one input; return the entry point, what happened and, where that is wrong, how."""
    rng = random.Random(f"{seed} {number}")
    entry = rng.choices(list(entries), list(entries.values()))[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = entry(rng, folder)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        signal.setitimer(signal.ITIMER_REAL, LONGEST)
        try:
            with contextlib.chdir(folder):
                result = _called(words) if callable(words) else CliRunner().invoke(cli, list(map(str, words)))
        except TooLong:
            return entry.__name__, "hang", f"{words}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        left = [path for path in folder.rglob("*") if path not in before]
        if result.exit_code in (0, 1, 3, 4):  # what was asked for is there
            left = [path for path in left if path.name.startswith(".")]
    return entry.__name__, *judged(result, words, [str(path.relative_to(folder)) for path in left])


def judged(result: object, words: object, left: list[str]) -> tuple[str, str]:
    """Say what happened, and how, where that is wrong."""
    if result.exception and not isinstance(result.exception, SystemExit):
        return "traceback", f"{words}\n" + "".join(traceback.format_exception(result.exception))[-1800:]
    if left:
        return "leftover", f"{words}\n{left} {result.stderr[-300:]}"
    lines = result.stderr.strip().splitlines()
    usage = lines and lines[0].startswith("Usage:")
    short = lines and len(lines[-1]) <= 415 and (usage or len(lines) == 1)
    if result.exit_code not in range(5) or (result.exit_code == 2 and not short):
        return "wrong exit", f"{words}\nexit {result.exit_code}: {result.stderr[-600:]}"
    return ("refused" if result.exit_code == 2 else "taken"), ""


def main() -> None:
    """Print what is wrong as it is found, and the counts of every entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--begin", type=int, default=0, help="the first input, to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(entry.__name__ for entry in ENTRIES))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    suite.run_suite, suite.run_grid, runs.BROWSERS = only_planned, only_points, ()
    signal.signal(signal.SIGALRM, _over)
    entries = {entry: weight for entry, weight in ENTRIES.items() if entry.__name__ in given.only.split(",")}
    counts, clock = Counter(), os.times()
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(given.begin, given.begin + given.inputs):
            entry, what, detail = check(number, given.seed, entries)
            counts[entry, what] += 1
            if detail:
                print(f"input {number}: {entry}: {what}\n{detail}\n", flush=True)
            if number % 500 == 499:
                now = os.times()
                print(f"{number + 1:,} inputs, {now.user - clock.user:.0f} CPU s", flush=True)
    kinds = ("taken", "refused", "traceback", "wrong exit", "hang", "leftover")
    print(f"{'seed ' + str(given.seed):14}", *(f"{kind:>10}" for kind in kinds))
    for name in [*(entry.__name__ for entry in entries), "all"]:
        of = [
            sum(n for (entry, what), n in counts.items() if what == kind and name in (entry, "all"))
            for kind in kinds
        ]
        print(f"{name:14}", *(f"{n:10,}" for n in of))
    sys.exit(any(what not in ("taken", "refused") for _, what in counts))


if __name__ == "__main__":
    main()
