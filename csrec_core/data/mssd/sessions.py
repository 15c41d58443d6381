"""Sessions across parts: ids that collide, sessions split over files, and samples of sessions."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import KEY, Dataset, validate_log
from csrec_core.data.mssd.part import (
    TABLES,
    count_rows,
    new_counts,
    open_parquet,
    parts_of,
    read_note,
    write_note,
)
from csrec_core.data.mssd.quarantine import append_rows
from csrec_core.data.mssd.reader import BadRow
from csrec_core.errors import InputError

__all__ = ["draw_users", "merge_split_sessions", "sample_sessions", "split_sessions"]

AT_ONCE = 16_000_000  # sessions whose numbers are held in memory together
DUPLICATE = "duplicated position"
FEW = 1000  # split sessions that are mended however few sessions there are


def split_sessions(folder: Path, parts: list[str], *, at_once: int = AT_ONCE) -> pd.DataFrame:
    """Return the sessions that lie in more than one place: `user`, `session`, `part`, a row for each place.

    Reads the numbers of the sessions range by range, so that memory does not grow with their number.

    Raises
    ------
    InputError
        If two sessions became one number, or so many are split that files must have been given twice or
        their rows be shuffled.
    """
    paths = {part: folder / "index" / f"{part}.parquet" for part in parts}
    total = sum(pq.read_metadata(path).num_rows for path in paths.values())
    ranges = max(1, -(-total // at_once))
    edges = [2**63 // ranges * number for number in range(ranges)] + [2**63 - 1]
    users = np.concatenate([_repeated(paths, *pair) for pair in pairwise(edges)])
    frames = [_places(path, part, users) for part, path in paths.items()] if len(users) else []
    places = pd.concat(frames, ignore_index=True) if frames else _places(None, "", users)
    names = places.groupby("user")["session"].nunique()
    if (names > 1).any():
        one, other, *_ = places.loc[places["user"] == names.idxmax(), "session"].unique()
        raise InputError(f"sessions {one} and {other} became one number; choose another --salt and --out")
    if len(users) > max(FEW, total / 100):
        most = places.groupby("user")["part"].agg(lambda part: " and ".join(sorted(set(part)))).mode()[0]
        raise InputError(
            f"{len(users):,} of {total:,} sessions lie in several places, most of them in {most}; expected "
            "each file once, and the rows of a session together"
        )
    return places


def merge_split_sessions(folder: Path, places: pd.DataFrame) -> None:
    """Bring each split session together in the first of its parts by name.

    Of two rows for one position that of the first part stays, the others are quarantined. A run cut short
    here does the parts concerned anew: their notes in `done/` are removed first and written back last.
    """
    parts = sorted(places["part"].unique())
    notes = {part: read_note(folder, part) for part in parts}
    for part in parts:
        (folder / "done" / f"{part}.json").unlink()
    users = pa.array(places["user"].unique())
    home = places.groupby("user")["part"].min()
    rows = _gather(folder, parts, users).merge(home.rename("home"), left_on="user", right_index=True)
    rows = rows.sort_values(["user", "t", "part"], kind="stable", ignore_index=True)
    names = places.drop_duplicates("user").set_index("user")["session"]
    again = rows.duplicated(["user", "t"])
    repeated, rows = rows[again], rows[~again]
    for part in parts:
        here = rows[rows["home"] == part]
        for table, added in (("log", here[here["source"].notna()]), ("apart", here[here["source"].isna()])):
            _rewrite(folder / table / f"{part}.parquet", TABLES[table], users, added)
        lengths = {"rows": ("t", "size"), "length": ("session_length", "first")}
        sessions = here.groupby("user", as_index=False).agg(**lengths)
        sessions["session"] = sessions["user"].map(names)
        _rewrite(folder / "index" / f"{part}.parquet", TABLES["index"], users, sessions)
        bad = _said(repeated[repeated["part"] == part], notes[part]["input"]["name"], names)
        append_rows(folder / "quarantine" / f"{part}.csv", bad)
        own = places.loc[places["part"] == part, "user"]
        shares = set(places.loc[places["user"].isin(own), "part"]) | set(notes[part].get("shares", ()))
        notes[part]["problems"][DUPLICATE] = notes[part]["problems"].get(DUPLICATE, 0) + len(bad)
        merged = notes[part].get("merged", 0) + len(sessions)
        notes[part] |= _recount(folder, part) | {"merged": merged, "shares": sorted(shares)}
    for part in parts:
        write_note(folder, part, notes[part])


def sample_sessions(
    folder: Path, sessions: int | None, *, seed: int = 0, truth: Sequence[Path] = ()
) -> Dataset:
    """Return a log of some sessions of the log, every one as likely, with the items they meet.

    The same seed draws the same sessions however the files are cut.

    Parameters
    ----------
    sessions : int or None
        None takes all.
    truth : sequence of path
        The truth that `simulate_mssd` wrote, if the sessions are its own.
    """
    parts = parts_of(folder)
    files = (pq.ParquetFile(folder / "log" / f"{part}.parquet") for part in parts)
    batches = (batch["user"].to_numpy() for file in files for batch in file.iter_batches(columns=["user"]))
    users = pa.array(draw_users(batches, sessions, seed=seed))
    if not len(users):
        raise InputError(f"{folder}: no session of the log to draw")
    log = pd.concat([_of_users(folder, "log", part, users).to_pandas() for part in parts])
    log = validate_log(log.astype({"source": str}), where=str(folder))
    items = pq.read_table(
        folder / "items.parquet", filters=pc.field("item").isin(pa.array(log["item"].unique()))
    ).to_pandas()
    names = pd.concat([_of_users(folder, "index", part, users).to_pandas() for part in parts])
    label = names.rename(columns={"session": "label"})[["user", "label"]]
    label = label.sort_values("user", ignore_index=True)
    return Dataset(log, items=items, users=label, truth=_truth(truth, log, label), name="mssd")


def draw_users(batches: Iterable[np.ndarray], number: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw that many of the distinct users in the batches, sorted; in whatever order they come.

    Parameters
    ----------
    number : int or None
        None takes all.
    """
    key = np.random.default_rng(seed).integers(2**63, dtype=np.uint64)
    drawn = np.zeros(0, dtype=np.int64)
    for batch in batches:
        drawn = np.union1d(drawn, batch)
        if number is not None and len(drawn) > number:
            lot = pd.util.hash_array(drawn.astype(np.uint64) ^ key)
            drawn = np.sort(drawn[np.argsort(lot, kind="stable")[:number]])
    return drawn


def _truth(paths: Sequence[Path], log: pd.DataFrame, label: pd.DataFrame) -> pd.DataFrame | None:
    """Return what is true of each row of the log."""
    if not paths:
        return None
    mine = pc.field("session").isin(pa.array(label["label"]))
    known = pd.concat([pq.read_table(path, filters=mine).to_pandas() for path in paths])
    known = known.merge(label, left_on="session", right_on="label").drop(columns=["session", "label"])
    return log[KEY].merge(known, on=["user", "t"], how="left", validate="one_to_one")


def _said(rows: pd.DataFrame, file: str, names: pd.Series) -> list[BadRow]:
    """Return what the quarantine says of rows that were good in their own file; their line is not kept."""
    detail = "another place has a row for this session_position of the session"
    texts = names.loc[rows["user"]] + "," + rows["t"].astype(str).to_numpy()
    return [BadRow(file, 0, DUPLICATE, detail, text) for text in texts]


def _repeated(paths: dict[str, Path], low: int, high: int) -> np.ndarray:
    """Return the users in [low, high) with more than one row in all indices together."""
    inside = (pc.field("user") >= low) & (pc.field("user") < high)
    parts = [
        pq.read_table(path, columns=["user"], filters=inside)["user"].to_numpy() for path in paths.values()
    ]
    users = np.sort(np.concatenate(parts))
    return np.unique(users[1:][users[1:] == users[:-1]])


def _places(path: Path | None, part: str, users: np.ndarray) -> pd.DataFrame:
    if path is None:
        return pd.DataFrame({"user": users, "session": "", "part": part})
    table = pq.read_table(path, columns=["user", "session"], filters=pc.field("user").isin(pa.array(users)))
    return table.to_pandas().assign(part=part)


def _of_users(folder: Path, table: str, part: str, users: pa.Array) -> pa.Table:
    return pq.read_table(folder / table / f"{part}.parquet", filters=pc.field("user").isin(users))


def _gather(folder: Path, parts: list[str], users: pa.Array) -> pd.DataFrame:
    frames = [
        _of_users(folder, table, part, users).to_pandas().astype({"source": object}).assign(part=part)
        for part in parts
        for table in ("log", "apart")
    ]
    return pd.concat(frames, ignore_index=True)


def _rewrite(path: Path, schema: pa.Schema, without: pa.Array, more: pd.DataFrame) -> None:
    """Write a table again without some users' rows, and with other rows at its end."""
    with open_parquet(path, schema) as writer:
        for batch in pq.ParquetFile(path).iter_batches():
            kept = batch.filter(pc.invert(pc.is_in(batch["user"], without)))
            writer.write_batch(kept.cast(schema))
        if len(more):
            writer.write_table(pa.Table.from_pandas(more[schema.names], schema=schema, preserve_index=False))


def _recount(folder: Path, part: str) -> dict:
    counts = new_counts()
    for table in ("log", "apart"):
        for batch in pq.ParquetFile(folder / table / f"{part}.parquet").iter_batches():
            count_rows(counts, pa.Table.from_batches([batch]))
    return {key: dict(sorted(values.items())) for key, values in counts.items()}
