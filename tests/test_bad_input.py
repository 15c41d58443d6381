"""Bad input to the command line: one clear message, exit code 2, nothing half-written."""

import re

import pandas as pd
import pytest
from click.testing import CliRunner

from csrec_core.cli import cli
from csrec_core.data.books import simulate_books


@pytest.fixture(scope="module")
def good():
    log = simulate_books(users=30, items=10, steps=3).log.drop(columns="propensity")
    return log.astype({"source": str})


def spoil(log: pd.DataFrame, kind: str) -> bytes:
    """Return a CSV file spoiled in one way."""
    if kind == "empty":
        return b""
    if kind == "no rows":
        log = log.iloc[:0]
    if kind == "missing column":
        log = log.rename(columns={"user": "customer_id"})
    if kind == "NaN":
        log = log.astype({"decision": float})
        log.loc[3, "decision"] = None
    if kind == "decision 2":
        log = log.assign(decision=log["decision"].where(log.index != 3, 2))
    if kind == "duplicate":
        log = pd.concat([log, log.iloc[[5]]])
    if kind == "unknown source":
        log = log.replace("self", "slef")
    if kind == "not UTF-8":
        return log.replace("self", "sélf").to_csv(index=False).encode().replace(b"\xc3\xa9", b"\xe9", 1)
    return log.to_csv(index=False).encode()


MESSAGES = {
    "empty": "the file is empty; expected a header",
    "no rows": "no rows; expected at least one exposure",
    "decision 2": "row 4: decision = 2; expected 0 .rejected. or 1 .accepted.",
    "duplicate": r"row 181: a second row for \(user, t, source\) = \(2, 3, 'self'\); expected one",
    "unknown source": "row 1 and 89 more: source = 'slef'; expected 'self' or 'system' .did you mean 'self'",
    "not UTF-8": "line 2: not UTF-8",
}


#: What a check proposes to mend.
MENDED = {"missing column": "--map user=customer_id", "NaN": "--where 'decision is not null'"}


@pytest.mark.parametrize("kind", MENDED)
def test_what_can_be_mended_is_proposed(tmp_path, good, kind):
    path = tmp_path / "shop.csv"
    path.write_bytes(spoil(good, kind))
    result = CliRunner().invoke(cli, ["data", "check", str(path)])
    assert result.exit_code == 0 and result.stdout.splitlines()[-1].endswith(MENDED[kind])


@pytest.mark.parametrize(
    ("kind", "command"),
    [(kind, command) for kind in MESSAGES for command in ("check", "report")],
)
def test_a_bad_log_is_refused(tmp_path, good, kind, command):
    path = tmp_path / "shop.csv"
    path.write_bytes(spoil(good, kind))
    reports = tmp_path / "reports"
    words = {
        "check": ["data", "check", str(path)],
        "report": ["report", "--run", "bad", "--data", "log", "--path", str(path), "--out", str(reports)],
    }
    result = CliRunner().invoke(cli, words[command])
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert re.match(f"csrec: error: .*shop.csv: {MESSAGES[kind]}", lines[0])
    assert result.stdout == ""
    assert not reports.exists()


def test_data_check_and_books(tmp_path):
    made = CliRunner().invoke(
        cli, ["data", "books", "--users", "30", "--steps", "3", "--out", str(tmp_path / "b")]
    )
    assert made.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "items.parquet",
        "log.parquet",
        "truth.parquet",
    ]
    shown = CliRunner().invoke(cli, ["data", "check", str(tmp_path / "b" / "log.parquet")])
    assert shown.exit_code == 0
    for part in ("step majority", "accept_rate", "previous decision"):
        assert part in shown.stdout
    assert len(shown.stdout.splitlines()) < 50
