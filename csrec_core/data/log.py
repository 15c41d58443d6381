"""The interaction log: one row per exposure, the one shape that all data has here."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.columns import COLUMNS, FEATURE, KEY, SELF, SOURCES, SYSTEM
from csrec_core.data.options import ReadOptions
from csrec_core.data.rows import Rows, read_rows
from csrec_core.data.tables import ROW, Table, open_frame, open_table
from csrec_core.data.values import Cells, canonical, check_columns, read_table
from csrec_core.errors import InputError, listed, nearest, readable, shown, unreadable
from csrec_core.files import whole_file

__all__ = [
    "COLUMNS", "FEATURE", "KEY", "SELF", "SOURCES", "SYSTEM", "Dataset", "find_files", "frame_to_dataset",
    "order_clues", "order_column", "read_log", "validate_log", "write_dataset",
]  # fmt: skip

WRITTEN = (".parquet", ".csv")
SIDES = {"items": ("item", "title"), "users": ("user", "label")}


@dataclass(frozen=True, eq=False)
class Dataset:
    """An interaction log and what is known beside it.

    Attributes
    ----------
    log : DataFrame
        One row per exposure, sorted by source, user and t: `user` int64, `t` int32 (order within user and
        source), `item` int64, `decision` int8 in {0, 1}, `source` category of arms ({self, system}, or the
        log's own), and optionally `propensity` (of the item, given the arm) and `arm_propensity` in (0, 1],
        `probability` in [0, 1], `outcome` (any number), `position` (the place in a list from 1, NaN where
        there is none), `timestamp`, and `feature_...`.
    items : DataFrame or None
        One row per item: `item`, optionally `title`, `genre` and features (`csrec_core.data.items`).
    users : DataFrame or None
        `user` and `label`, where the file at hand named users by text.
    truth : DataFrame or None
        Simulated worlds only: see `csrec_core.data.books.simulate_books`.
    name : str
        What the reports call it.
    read : ReadOptions or None
        What was chosen to read it.
    ordered : bool
        Whether a `t` or a `timestamp` tells the order; else t is the order of the rows.
    left_out : dict
        {reason: rows of the file that are not in the log}.
    """

    log: pd.DataFrame
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    name: str = "log"
    read: ReadOptions | None = None
    ordered: bool = True
    left_out: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        for side, (key, _) in SIDES.items():
            table = getattr(self, side)
            if table is None:
                continue
            if key not in table.columns:
                raise InputError(f"{self.name}: {side}: no column {key!r}; found {listed(table.columns)}")
            if (again := table[key].duplicated().to_numpy()).any():
                row = int(again.argmax())
                (name,) = table[key].iloc[[row]].tolist()
                raise InputError(
                    f"{self.name}: {side}: row {row + 1}: a second row for {key} {shown(name)}; "
                    f"expected one row for each {key}"
                )

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the rows of the log, the same in whatever file format they lie."""
        rows = pd.util.hash_pandas_object(self.log.astype({"source": "str"}), index=False)
        return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()

    def names(self, key: str) -> pd.Series | None:
        """Return what the log's own file calls its users or items, by their number; None where by that number.

        Parameters
        ----------
        key : {"user", "item"}
        """
        side = f"{key}s"
        table, label = getattr(self, side), SIDES[side][1]
        return table.set_index(key)[label] if table is not None and label in table.columns else None


def read_log(path: str | Path, *, options: ReadOptions | None = None) -> Dataset:
    """Read a log, whatever its form, and the tables of items, users and truth that lie beside it.

    Parameters
    ----------
    path : path
        A file in any form that `csrec_core.data.tables.open_table` knows; a folder with `log.parquet` (or
        `log.csv` ...), with its parts in `log/`, or of Parquet files alone.
    options : ReadOptions, optional
        What its columns and rows mean; by default they are named as here.

    Returns
    -------
    Dataset
        Users and items are text until all of them are proved whole numbers; those named by text are numbered
        from 1 in sorted order, their names kept in `users.label` and `items.title`.

    Raises
    ------
    InputError
        Names the file, row, column and what was expected.
    """
    path, options = Path(path), options or ReadOptions()
    files, name = find_files(path)
    with open_table(files, header=options.header, separator=options.separator) as table:
        dataset = _dataset(table, options, name)
    folder = path.is_dir()
    return _with_tables_beside(dataset, path if folder else path.parent, truth=folder)


def frame_to_dataset(
    frame: pd.DataFrame, *, options: ReadOptions | None = None, name: str = "log"
) -> Dataset:
    """Return the log that a DataFrame holds; as `read_log` does from a file.

    Examples
    --------
    >>> frame = pd.DataFrame({"user": ["bo", "al"], "item": [7, 8], "decision": [1, 0], "source": ["a", "b"]})
    >>> frame_to_dataset(frame).log["user"].tolist()
    [2, 1]
    """
    if frame.empty:
        raise InputError(f"{name}: no rows; expected at least one exposure")
    with open_frame(frame, name) as table:
        return _dataset(table, options or ReadOptions(), name)


def validate_log(frame: pd.DataFrame, *, where: str = "log") -> pd.DataFrame:
    """Return the log of a DataFrame with the types of `Dataset.log`, sorted; or raise InputError.

    Besides its own columns those that begin with `feature_` are kept, and all others dropped.
    """
    return frame_to_dataset(frame, name=where).log


def write_dataset(dataset: Dataset, folder: str | Path) -> Path:
    """Write `log.parquet` and, where present, `items`, `users` and `truth.parquet` into `folder`.

    The log is written last: where it is, the rest is.
    """
    folder = Path(folder)
    for name in ("items", "users", "truth", "log"):
        frame = getattr(dataset, name)
        if frame is not None:
            with whole_file(folder / f"{name}.parquet") as temporary:
                frame.to_parquet(temporary, index=False)
    return folder


def order_clues(log: pd.DataFrame) -> tuple[bool, bool, bool]:
    """Return whether timestamps tell the order of a user's rows over all arms, whether t does, and whether any has two.

    The timestamps do where every row has one and no user's go back from one t of an arm to the next; t does where no
    user has the same one in two arms.
    """
    user, arm = (pd.factorize(log[name])[0] for name in ("user", "source"))
    follows = (np.diff(user) == 0) & (np.diff(arm) == 0)
    timed = "timestamp" in log.columns and bool(log["timestamp"].notna().all())
    timed = timed and not (follows & (np.diff(pd.factorize(log["timestamp"], sort=True)[0]) < 0)).any()
    return timed, not log.duplicated(["user", "t"]).any(), bool(log.duplicated("user").any())


def order_column(clues: Iterable[tuple[bool, bool, bool]]) -> str:
    """Return the column that tells the order of a log whose parts have these `order_clues`; empty for none."""
    timed, numbered, several = zip(*clues, strict=True)
    return "timestamp" if all(timed) else "t" if all(numbered) and any(several) else ""


def find_files(path: Path) -> tuple[list[Path], str]:
    """Return the files of a log and its name."""
    try:
        if not path.is_dir():
            return [path], path.name.split(".")[0] or path.name
        inside = sorted((path / "log").rglob("[!._]*.parquet"))
        logs = sorted(file for file in path.glob("log.*") if file.suffix != ".yaml")
        found = (
            inside
            or logs
            or [file for file in sorted(path.rglob("[!._]*.parquet")) if file.stem not in (*SIDES, "truth")]
        )
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if len(logs) > 1 and not inside:
        raise InputError(
            f"{readable(path)}: {logs[0].name} and {logs[1].name}; expected one log, or name the file"
        )
    if not found:
        raise InputError(
            f"{readable(path)}: no log here; expected log.parquet, log.csv or a folder log of Parquet files"
        )
    return found, path.name


def _dataset(table: Table, options: ReadOptions, name: str) -> Dataset:
    rows = read_rows(table, options)
    log, ordered = _sorted_log(rows, table.name)
    named = {
        side: pd.DataFrame(
            {key: np.arange(1, len(rows.labels[key]) + 1), label: pd.Series(rows.labels[key], dtype="str")}
        )
        for side, (key, label) in SIDES.items()
        if key in rows.labels
    }
    return Dataset(log, **named, name=name, read=options, ordered=ordered, left_out=rows.left_out)


def _sorted_log(rows: Rows, name: str) -> tuple[pd.DataFrame, bool]:
    """Return the log by source, user and t; and whether the file tells that order.

    A missing t is the order of the times, and of the rows where there is none.
    """
    columns = rows.columns  # emptied on the way: a log in memory twice is one too many
    row, place = columns.pop("row"), columns.pop("place")
    given = columns.pop("t", None)
    clock = columns.get("timestamp") if given is None else given
    keys = [place, row, *([] if clock is None else [clock]), columns["user"], columns["source"]]
    order, ordered = np.lexsort(keys), clock is not None
    del keys, clock
    columns = {each: columns.pop(each)[order] for each in list(columns)}
    starts = np.r_[True, (np.diff(columns["user"]) != 0) | (np.diff(columns["source"]) != 0)]
    if given is not None and not place.any():  # the elements of a list share the t of their list
        columns["t"] = given[order].astype(np.int32)
        again = np.r_[False, np.diff(columns["t"]) == 0] & ~starts
        if again.any():
            raise _repeated(rows, columns, np.where(again, row[order], np.iinfo(np.int64).max), name)
    else:
        first = np.flatnonzero(starts)
        lengths = np.diff(np.r_[first, len(starts)])
        columns["t"] = (np.arange(len(starts)) - np.repeat(first, lengths)).astype(np.int32)
    columns["source"] = pd.Categorical.from_codes(columns["source"], categories=list(rows.arms))
    if rows.times and "timestamp" in columns:
        columns["timestamp"] = pd.DatetimeIndex(columns["timestamp"].view(rows.times)).tz_localize("UTC")
    if "position" in columns and np.nanmin(columns["position"]) == 0:
        columns["position"] += 1
    own = [each for each in COLUMNS if each in columns]
    return pd.DataFrame(
        {each: columns[each] for each in [*own, *(name for name in columns if name not in COLUMNS)]}
    ), ordered


def _repeated(rows: Rows, columns: dict, at: np.ndarray, name: str) -> InputError:
    """Return the error for rows that share user, t and source; `at` holds their numbers in the file."""
    first, count = int(at.argmin()), int((at < np.iinfo(np.int64).max).sum())
    code = int(columns["user"][first])
    user = rows.labels["user"][code - 1] if "user" in rows.labels else code
    key = f"({shown(user)}, {columns['t'][first]}, {rows.arms[columns['source'][first]]!r})"
    more = f" and {count - 1:,} more" if count > 1 else ""
    return InputError(
        f"{name}: row {at[first]}{more}: a second row for (user, t, source) = {key}; expected one for each; "
        "of rows that are alike --distinct keeps the first"
    )


def _with_tables_beside(dataset: Dataset, folder: Path, *, truth: bool) -> Dataset:
    """Add the tables of items and users that lie beside a log; with `truth`, that too."""
    found, left_out = {}, dict(dataset.left_out)
    for side, (key, label) in SIDES.items():
        files = (folder / f"{side}{suffix}" for suffix in WRITTEN)
        if file := next(filter(Path.is_file, files), None):
            table = _side_table(file, key, label, dataset)
            found[side] = table.drop_duplicates(key, ignore_index=True)
            if repeats := len(table) - len(found[side]):
                left_out[f"{file.name}: repeats"] = repeats
    if truth and (folder / "truth.parquet").is_file():
        found["truth"] = read_table(folder / "truth.parquet")
    return replace(dataset, **found, left_out=left_out)


def _side_table(file: Path, key: str, label: str, dataset: Dataset) -> pd.DataFrame:
    """Read a table of items or users, with the codes that the log has for them.

    Raises
    ------
    InputError
        Where it lacks the column of ids, or ids of the log, or says two things of one.
    """
    table, name = read_table(file, texts=(key, label, "genre")), readable(file)
    if key not in table.columns:
        raise InputError(f"{name}: no column {key!r}; found {listed(table.columns)}")
    names = dataset.names(key)
    ids = _side_ids(table, key, name, dataset.log[key].iloc[0] if names is None else None)
    wanted = pd.Series(np.unique(dataset.log[key])) if names is None else names
    lacking = wanted[~wanted.isin(ids)]
    if len(lacking):
        near = nearest(str(lacking.iloc[0]), ids.astype(str).head(10_000))
        raise InputError(
            f"{name}: knows no {key} {', '.join(shown(each) for each in lacking.head(3))}"
            f"{f' and {len(lacking) - 3:,} more' if len(lacking) > 3 else ''} of the log's {len(wanted):,}"
            f"{f'; the nearest is {shown(near)}' if near else ''}; expected a row for each {key}"
        )
    _refuse_contradictions(table.assign(**{key: ids}), key, name)
    if names is not None:
        if label not in table.columns:
            table.insert(1, label, ids)
        labels = [*names, *sorted(set(ids) - set(names))]
        ids = ids.map(pd.Series(range(1, len(labels) + 1), index=labels))
    return table.assign(**{key: ids})


def _side_ids(table: pd.DataFrame, key: str, name: str, number: int | None) -> pd.Series:
    """Return the ids of a table as those of a log are read: text, or numbers where the log has, such as this one."""
    with open_frame(table[[key]], name) as opened:
        cells = Cells(opened, key)
        ids = cells.ids(key)
        if number is None:
            ids = replace(ids, value=f"CAST({ids.value} AS VARCHAR)")
        else:
            value = f"CASE WHEN {canonical(cells.text)} THEN CAST({cells.text} AS BIGINT) END"
            ids = replace(ids, value=value, expected=f"a whole number such as the log's {number}")
        check_columns(opened, [ids])
        rows = opened.query(f"SELECT {ids.value} FROM {opened.view} ORDER BY {ROW}")
    return pd.Series([value for (value,) in rows], index=table.index)


def _refuse_contradictions(table: pd.DataFrame, key: str, name: str) -> None:
    """Refuse two rows of one id that do not say the same."""
    again = table.reset_index(drop=True)[table.duplicated(key, keep=False).to_numpy()].map(str)
    first = again.groupby(key).transform("first")
    differ = (again.drop(columns=key) != first).to_numpy()
    if differ.any():
        row, column = np.argwhere(differ)[0]
        raise InputError(
            f"{name}: row {again.index[row] + 1}: another {first.columns[column]} of {key} "
            f"{shown(again[key].iloc[row])} than in a row before; expected one row for each {key}"
        )
