"""The interaction log: one row per exposure, the one shape that all data has here."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.columns import (
    COLUMNS,
    SELF,
    SOURCES,
    SYSTEM,
    parse_map,
    rename_columns,
    require_columns,
    suggest_words,
)
from csrec_core.errors import InputError
from csrec_core.files import whole_file

__all__ = [
    "COLUMNS",
    "SELF",
    "SOURCES",
    "SYSTEM",
    "Dataset",
    "parse_map",
    "read_dataset",
    "read_log",
    "validate_log",
    "with_tables_beside",
    "write_dataset",
    "write_log",
]

FEATURE = "feature_"  # how the columns begin that describe an exposure, such as `feature_taste`; numbers
KEY = ["user", "t", "source"]
FORMATS = (".parquet", ".csv")


@dataclass(frozen=True, eq=False)
class Dataset:
    """An interaction log and what is known beside it.

    Attributes
    ----------
    log : DataFrame
        One row per exposure, sorted by source, user and t: `user` int64, `t` int32 (order within user and
        source), `item` int64, `decision` int8 in {0, 1}, `source` category {self, system}, and optionally
        `propensity` in (0, 1], `probability` in [0, 1], `timestamp`.
    items : DataFrame or None
        One row per item: `item`, optionally `title`, `genre` and features (`csrec_core.data.items`).
    users : DataFrame or None
        `user` and `label`, where the file at hand named users by text.
    truth : DataFrame or None
        Simulated worlds only: see `csrec_core.data.books.simulate_books`.
    name : str
        What the reports call it.
    """

    log: pd.DataFrame
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    name: str = "log"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the rows of the log, the same in whatever file format they lie."""
        rows = pd.util.hash_pandas_object(self.log.astype({"source": "str"}), index=False)
        return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


def read_log(path: str | Path, *, columns: dict[str, str] | None = None) -> Dataset:
    """Read a log from Parquet or CSV (UTF-8) and validate it.

    Parameters
    ----------
    path : path
        A `.parquet` or `.csv` file.
    columns : dict, optional
        {log column: column of the file}, for files that name their columns otherwise; and
        {"self" or "system": word of the file}, for files that name the sources otherwise.

    Returns
    -------
    Dataset
        Users and items named by text are numbered from 1 in sorted order; their names are kept in
        `users.label` and `items.title`.

    Raises
    ------
    InputError
        Names the file, row, column and what was expected.
    """
    path = Path(path)
    return _to_dataset(_read_table(path), path, columns)


def validate_log(
    frame: pd.DataFrame, *, where: str = "log", names: dict[str, str] | None = None
) -> pd.DataFrame:
    """Return the log with the types of `Dataset.log`, sorted; or raise InputError.

    Besides its own columns those that begin with `feature_` are kept, and all others dropped. A missing `t`
    is derived from `timestamp`, if there is one. Messages count rows from 1, the header of a CSV file not
    counted, and call a column as `names` {log column: column of the file} says.
    """
    if frame.empty:
        raise InputError(f"{where}: no rows; expected at least one exposure")
    names = names or {}
    require_columns(frame, where, names)

    def own(column: str) -> pd.Series:
        """The column under the name it has in the file, for messages."""
        return frame[column].rename(names.get(column, column))

    if "timestamp" in frame.columns:
        frame = frame.assign(timestamp=_times(own("timestamp"), where, needed="t" not in frame.columns))
    if "t" not in frame.columns:
        ordered = frame.sort_values("timestamp", kind="stable").groupby(["user", "source"], sort=False)
        frame = frame.assign(t=ordered.cumcount())
    log = pd.DataFrame(
        {
            "user": _integers(own("user"), where, expected="a whole number or text"),
            "t": _integers(own("t"), where, dtype=np.int32),
            "item": _integers(own("item"), where, expected="a whole number or text"),
            "decision": _decisions(own("decision"), where),
            "source": _sources(own("source"), where),
        }
    )
    for column in ("propensity", "probability"):
        if column in frame.columns and frame[column].notna().any():
            log[column] = _probabilities(own(column), where, positive=column == "propensity")
    if "timestamp" in frame.columns:
        log["timestamp"] = frame["timestamp"].to_numpy()
    for column in [name for name in frame.columns if str(name).startswith(FEATURE)]:
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
        bad = ~np.isfinite(values)
        if bad.any():
            _refuse(bad, where, f"{column} = {_first(frame[column], bad)!r}", "a finite number")
        log[column] = values
    repeated = log.duplicated(KEY).to_numpy()
    if repeated.any():
        first = tuple(_first(log[column], repeated) for column in KEY)
        _refuse(repeated, where, f"a second row for (user, t, source) = {first}", "one row for each")
    return log.sort_values(["source", "user", "t"], kind="stable", ignore_index=True)


def write_log(log: pd.DataFrame, path: str | Path) -> Path:
    """Write a log as Parquet or CSV, by the suffix of `path`; the file is whole or absent."""
    path = Path(path)
    _check_format(path)
    with whole_file(path) as temporary:
        if path.suffix == ".csv":
            log.to_csv(temporary, index=False)
        else:
            log.to_parquet(temporary, index=False)
    return path


def write_dataset(dataset: Dataset, folder: str | Path) -> Path:
    """Write `log.parquet` and, where present, `items`, `users` and `truth.parquet` into `folder`.

    The log is written last: where it is, the rest is.
    """
    folder = Path(folder)
    for name in ("items", "users", "truth", "log"):
        frame = getattr(dataset, name)
        if frame is not None:
            write_log(frame, folder / f"{name}.parquet")
    return folder


def with_tables_beside(dataset: Dataset, path: str | Path) -> Dataset:
    """Add the tables of items and of users that lie beside a log as `write_dataset` leaves them.

    A table that does not know all items, or users, of the log is another's, and left alone.
    """
    found = {}
    for part, key in (("items", "item"), ("users", "user")):
        file = Path(path).with_name(f"{part}.parquet")
        if getattr(dataset, part) is None and file.is_file():
            table = pd.read_parquet(file)
            if key in table.columns and dataset.log[key].isin(table[key]).all():
                found[part] = table
    return replace(dataset, **found)


def read_dataset(folder: str | Path, *, name: str = "log", columns: dict[str, str] | None = None) -> Dataset:
    """Read what `write_dataset` wrote, or a folder whose log lies in parts, `log/*.parquet`."""
    folder = Path(folder)
    parts = sorted((folder / "log").glob("[!.]*.parquet"))
    if parts:
        frame = pd.concat([_read_table(part) for part in parts], ignore_index=True)
        read = _to_dataset(frame, folder / "log", columns)
    elif (folder / "log.parquet").exists():
        read = read_log(folder / "log.parquet", columns=columns)
    else:
        raise InputError(f"{folder}: no log here; expected log.parquet, or a folder log of Parquet files")
    truth = folder / "truth.parquet"
    known = pd.read_parquet(truth) if truth.exists() else None
    return replace(with_tables_beside(read, folder / "log.parquet"), name=name, truth=known)


def _to_dataset(frame: pd.DataFrame, path: Path, columns: dict[str, str] | None) -> Dataset:
    frame = rename_columns(frame, columns or {}, where=str(path))
    frame, users = _number(frame, "user", "label")
    frame, items = _number(frame, "item", "title")
    log = validate_log(frame, where=str(path), names=columns)
    return Dataset(log, items=items, users=users, name=path.stem)


def _read_table(path: Path) -> pd.DataFrame:
    _check_format(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; expected a header and one row per exposure")
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except UnicodeDecodeError:
        line = next(n for n, text in enumerate(path.read_bytes().split(b"\n"), 1) if not _is_utf8(text))
        raise InputError(f"{path}: line {line}: not UTF-8; save the file as UTF-8") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{path}: not a CSV table with commas between its columns: {str(error).strip()}"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet table: {str(error).splitlines()[0]}") from None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_format(path: Path) -> None:
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: expected a file that ends in {' or '.join(FORMATS)}")


def _number(frame: pd.DataFrame, column: str, label: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Number a column of text from 1; text that spells integers only is left for the type check."""
    if column not in frame.columns or pd.api.types.is_numeric_dtype(frame[column]):
        return frame, None
    text = frame[column]
    if text.isna().any() or pd.to_numeric(text, errors="coerce").notna().all():
        return frame, None
    codes, names = pd.factorize(text.astype(str), sort=True)
    table = pd.DataFrame({column: np.arange(1, len(names) + 1), label: names})
    return frame.assign(**{column: codes + 1}), table


def _times(values: pd.Series, where: str, *, needed: bool) -> pd.Series:
    """Return times that sort: numbers as they are, text as UTC times."""
    expected = "a number or an ISO 8601 time such as 2026-11-23T14:05:00"
    missing = values.isna().to_numpy()
    if needed and missing.any():
        _refuse(missing, where, f"no value in column {values.name!r}", f"{expected}, as there is no t")
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return values
    times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
    bad = (times.isna() & values.notna()).to_numpy()
    if bad.any():
        _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", expected)
    return times


def _refuse(bad: np.ndarray, where: str, what: str, expected: str) -> None:
    rows = f"row {bad.argmax() + 1}" + (f" and {bad.sum() - 1:,} more" if bad.sum() > 1 else "")
    raise InputError(f"{where}: {rows}: {what}; expected {expected}")


def _first(values: pd.Series, bad: np.ndarray) -> object:
    """Return the first bad value as plain Python, for a message."""
    return values.iloc[[bad.argmax()]].to_list()[0]


def _numbers(values: pd.Series, where: str, expected: str) -> np.ndarray:
    missing = values.isna().to_numpy()
    if missing.any():
        _refuse(missing, where, f"no value in column {values.name!r}", expected)
    numbers = pd.to_numeric(values, errors="coerce")
    bad = numbers.isna().to_numpy()
    if bad.any():
        _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", expected)
    return numbers.to_numpy()


def _integers(
    values: pd.Series, where: str, *, dtype: type = np.int64, expected: str = "a whole number"
) -> np.ndarray:
    numbers = _numbers(values, where, expected)
    limits = np.iinfo(dtype)
    if not np.issubdtype(numbers.dtype, np.integer):
        bad = ~np.isfinite(numbers) | (numbers != np.floor(numbers))
        if bad.any():
            _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", expected)
    bad = (numbers < limits.min) | (numbers > limits.max)
    if bad.any():
        _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", f"at most {limits.max:,}")
    return numbers.astype(dtype)


def _decisions(values: pd.Series, where: str) -> np.ndarray:
    expected = "0 (rejected) or 1 (accepted)"
    numbers = _numbers(values, where, expected)
    bad = ~np.isin(numbers, (0, 1))
    if bad.any():
        _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", expected)
    return numbers.astype(np.int8)


def _sources(values: pd.Series, where: str) -> pd.Categorical:
    bad = ~values.isin(SOURCES).to_numpy()
    if bad.any():
        value = _first(values, bad)
        words = suggest_words(values)
        _refuse(bad, where, f"{values.name} = {value!r}{words}", "'self' (the user chose) or 'system'")
    return pd.Categorical(values, categories=SOURCES)


def _probabilities(values: pd.Series, where: str, *, positive: bool) -> np.ndarray:
    """Check the values that are there; a log may know propensities in one source only."""
    expected = "a probability in (0, 1]" if positive else "a probability in [0, 1]"
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    given = values.notna().to_numpy()
    inside = (numbers > 0 if positive else numbers >= 0) & (numbers <= 1)
    bad = given & ~inside
    if bad.any():
        _refuse(bad, where, f"{values.name} = {_first(values, bad)!r}", expected)
    return numbers
