"""Generated logs through `csrec data check`: each is read, or refused by one short message.

A log is drawn at random: its form (CSV with one of four separators, JSON lines, Parquet, sequences, a
folder), its encoding and compression, its names, types and values (nested and binary ones too), and then
spoiled or not, by cuts, flipped bytes, quotes, empty columns, huge cells. The options are drawn as well.

Run: python benchmarks/fuzz_logs.py [LOGS] [SEED]     (default 5,000 logs, seed 0)
"""

import bz2
import gzip
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from csrec_core.cli import cli

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


def check(number: int, seed: int) -> tuple[str, str]:
    """Check one generated log; return what happened and, where that is wrong, how."""
    rng = random.Random(seed * 1_000_003 + number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(rng, folder)
        words = [word for option in rng.sample(OPTIONS, rng.choice([0, 0, 0, 1, 2])) for word in option]
        words = [str(folder / word) if word == "log.yaml" else word for word in words]
        before = sorted(folder.rglob("*"))
        clock = time.process_time()  # a machine that is shared says nothing by the clock on the wall
        result = CliRunner().invoke(cli, ["data", "check", *words, "--", str(path)])
        seconds = time.process_time() - clock
        left = sorted(folder.rglob("*")) != before
    if result.exception and not isinstance(result.exception, SystemExit):
        return "traceback", "".join(traceback.format_exception(result.exception))[-1500:]
    if seconds > 30:
        return "slower than 30 s", f"{seconds:.0f} s {words}"
    if left:
        return "leftover", ""
    if result.exit_code == 0:
        return "read", ""
    lines = result.stderr.strip().splitlines()
    usage = lines and lines[0].startswith("Usage:")
    if result.exit_code != 2 or (not usage and (len(lines) != 1 or len(lines[0]) > 415)):
        return "bad message", f"exit {result.exit_code}: {result.stderr[:600]}"
    return "refused", lines[-1]


def main() -> None:
    total, seed = (int(word) for word in (sys.argv[1:] + ["5000", "0"][len(sys.argv) - 1 :]))
    counts, messages = Counter(), Counter()
    for number in range(total):
        what, detail = check(number, seed)
        counts[what] += 1
        if what == "refused":
            messages[" ".join(detail.split(": ")[-2:])[:40]] += 1
        elif detail:
            print(f"log {number}: {what}\n{detail}\n", flush=True)
        if number % 100 == 99 or number == total - 1:
            said = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
            print(f"{number + 1:,} logs, seed {seed}: {said}", flush=True)
    print(f"{len(messages):,} different messages (by their first words), the most common:")
    for message, count in messages.most_common(25):
        print(f"{count:6,}  {message}")
    sys.exit(any(what not in ("read", "refused") for what in counts))


if __name__ == "__main__":
    main()
