"""Sessions whose rows lie in several files: they come together in a part of their own."""

from pathlib import Path

import duckdb

from csrec_core.data.mssd.part import (
    DUPLICATE,
    TABLES,
    note_file,
    one,
    open_database,
    rows_of,
    write_table,
)
from csrec_core.data.tables import sql_text
from csrec_core.errors import InputError
from csrec_core.files import read_json, write_json

SPLIT = "sessions-of-several-files"  # the part
FEW_SESSIONS = 1000  # split sessions that are mended however few sessions there are


def bring_together(folder: Path, parts: list[str]) -> None:
    """Move the sessions that lie in several parts to `SPLIT`.

    Of two rows for one position that of the first part by name stays, the others are quarantined. A run cut
    short here does the parts concerned anew: their notes in `done/` are removed first and written back last.

    InputError where two sessions became one number, or so many are split that files must have been given twice.
    """
    with open_database() as base:
        base.execute(f"CREATE VIEW places AS FROM {rows_of(folder, parts, 'index')}")
        base.execute("CREATE TABLE split AS SELECT user FROM places GROUP BY user HAVING count(*) > 1")
        base.execute("CREATE TABLE lie AS SELECT user, session, part FROM places WHERE user IN (FROM split)")
        _refuse_clashes(base)
        shares = [part for (part,) in base.execute("SELECT DISTINCT part FROM lie ORDER BY part").fetchall()]
        if set(shares) - {SPLIT}:
            _move(base, folder, shares)


def _refuse_clashes(base: duckdb.DuckDBPyConnection) -> None:
    """Raise InputError on sessions of one number, and on more split ones than chance makes."""
    alike = "SELECT min(session), max(session) FROM lie GROUP BY user HAVING min(session) <> max(session)"
    if pair := base.execute(f"{alike} ORDER BY user LIMIT 1").fetchone():
        raise InputError(
            f"sessions {pair[0]} and {pair[1]} became one number; choose another --salt and --out"
        )
    (total,), (split,) = (one(base, f"SELECT count(*) FROM {name}") for name in ("places", "split"))
    if split > max(FEW_SESSIONS, total / 100):
        where = "SELECT string_agg(part, ' and ' ORDER BY part) AS parts FROM lie GROUP BY user"
        (most,) = one(base, f"SELECT mode(parts) FROM ({where})")
        raise InputError(
            f"{split:,} of {total:,} sessions lie in several places, most of them in {most}; expected each file once"
        )


def _move(base: duckdb.DuckDBPyConnection, folder: Path, shares: list[str]) -> None:
    notes = {part: read_json(note_file(folder, part)) for part in shares}
    for part in shares:
        note_file(folder, part).unlink()
    rows = f"FROM {rows_of(folder, shares, 'log', 'apart')} WHERE user IN (FROM split)"
    base.execute(
        "CREATE TABLE moved AS SELECT *, row_number() OVER (PARTITION BY user, t ORDER BY part) AS place "
        f"FROM ({rows}) JOIN (SELECT DISTINCT user, session FROM lie) USING (user)"
    )
    for part in shares:
        for table in TABLES:
            path = folder / table / f"{part}.parquet"
            write_table(base, f"FROM read_parquet({sql_text(path)}) WHERE user NOT IN (FROM split)", path)
    base.execute("CREATE VIEW good AS FROM moved WHERE place = 1")
    for table, sql in TABLES.items():
        write_table(base, sql, folder / table / f"{SPLIT}.parquet")
    bad = (
        f"SELECT part AS file, 0 AS line, {sql_text(DUPLICATE)} AS problem, "
        "'another file has a row for this session_position of the session' AS detail, "
        "concat(session, ',', t) AS text FROM moved WHERE place > 1 ORDER BY part, user, t"
    )
    problems, merged = {}, one(base, "SELECT count(*) FROM split")[0]
    if again := one(base, f"SELECT count(*) FROM ({bad})")[0]:
        problems = {DUPLICATE: again}
        write_table(base, bad, folder / "quarantine" / f"{SPLIT}.csv")
    notes[SPLIT] = {"input": None, "parts": shares, "read": 0, "problems": problems, "merged": merged}
    for part in (SPLIT, *shares):
        write_json(note_file(folder, part), notes[part])
