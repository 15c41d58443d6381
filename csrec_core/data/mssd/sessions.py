"""Sessions across parts: ids that collide, sessions split over files, and samples of sessions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from csrec_core.data.log import Dataset, validate_log
from csrec_core.data.mssd.part import TABLES, count_rows, new_counts, open_parquet, read_note, write_note
from csrec_core.data.mssd.quarantine import append_rows
from csrec_core.data.mssd.reader import BadRow
from csrec_core.errors import InputError

__all__ = ["merge_split_sessions", "sample_sessions", "split_sessions"]

AT_ONCE = 16_000_000  # sessions whose numbers are held in memory together
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
    users = np.concatenate([_repeated(paths, *pair) for pair in zip(edges, edges[1:], strict=False)])
    frames = [_places(path, part, users) for part, path in paths.items()] if len(users) else []
    places = pd.concat(frames, ignore_index=True) if frames else _places(None, "", users)
    names = places.groupby("user")["session"].nunique()
    if (names > 1).any():
        one, other, *_ = places.loc[places["user"] == names.idxmax(), "session"].unique()
        raise InputError(f"sessions {one} and {other} became one number; choose another --salt and --out")
    if len(users) > max(FEW, total / 100):
        most = places.groupby("user")["part"].agg(lambda part: " and ".join(sorted(set(part)))).mode()[0]
        raise InputError(
            f"{len(users):,} of {total:,} sessions lie in several places, most of them in {most}; expected each "
            "file once, and the rows of a session together"
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
        sessions = here.groupby("user", as_index=False).agg(rows=("t", "size"), length=("session_length", "first"))
        sessions["session"] = sessions["user"].map(names)
        _rewrite(folder / "index" / f"{part}.parquet", TABLES["index"], users, sessions)
        lost = repeated[repeated["part"] == part]
        bad = [
            BadRow(notes[part]["input"]["name"], 0, "duplicated position", "a row for this position of the session "
                   "lies in another place", f"{names[row.user]},{row.t}")
            for row in lost.itertuples()
        ]  # fmt: skip
        append_rows(folder / "quarantine" / f"{part}.csv", bad)
        own = places.loc[places["part"] == part, "user"]
        shares = set(places.loc[places["user"].isin(own), "part"]) | set(notes[part].get("shares", ()))
        notes[part]["problems"]["duplicated position"] = (
            notes[part]["problems"].get("duplicated position", 0) + len(bad)
        )
        merged = notes[part].get("merged", 0) + len(sessions)
        notes[part] |= _recount(folder, part) | {"merged": merged, "shares": sorted(shares)}
    for part in parts:
        write_note(folder, part, notes[part])


def sample_sessions(folder: Path, parts: list[str], sessions: int, *, seed: int = 0) -> Dataset:
    """Return a log of some sessions of the log, every one as likely, with the items they meet.

    The same seed draws the same sessions however the files are cut.
    """
    key = f"csrec-sample-{seed % 1000:03d}"
    drawn = np.zeros(0, dtype=np.int64)
    for part in parts:
        for batch in pq.ParquetFile(folder / "log" / f"{part}.parquet").iter_batches(columns=["user"]):
            drawn = np.union1d(drawn, batch["user"].to_numpy())
            if len(drawn) > sessions:
                lot = pd.util.hash_array(drawn, hash_key=key)
                drawn = np.sort(drawn[np.argsort(lot, kind="stable")[:sessions]])
    users = pa.array(drawn)
    log = pd.concat([_of_users(folder, "log", part, users).to_pandas() for part in parts])
    log = validate_log(log.astype({"source": str}), where=str(folder))
    items = pq.read_table(
        folder / "items.parquet", filters=pc.field("item").isin(pa.array(log["item"].unique()))
    ).to_pandas()
    names = pd.concat([_of_users(folder, "index", part, users).to_pandas() for part in parts])
    label = names.rename(columns={"session": "label"})[["user", "label"]]
    return Dataset(log, items=items, users=label.sort_values("user", ignore_index=True), name="mssd")


def _repeated(paths: dict[str, Path], low: int, high: int) -> np.ndarray:
    """Return the users in [low, high) with more than one row in all indices together."""
    inside = (pc.field("user") >= low) & (pc.field("user") < high)
    parts = [pq.read_table(path, columns=["user"], filters=inside)["user"].to_numpy() for path in paths.values()]
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
