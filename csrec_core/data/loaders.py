"""Where a log comes from: the simulated books world, the paper's files, public files, one's own file."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.books import simulate_books
from csrec_core.data.ebnerd import load_ebnerd
from csrec_core.data.log import KEY, SELF, SYSTEM, Dataset, read_log, validate_log
from csrec_core.data.options import ReadOptions
from csrec_core.errors import InputError, readable, shown, unknown

FOLDERS = ("gpt4books", "ebnerd", "mssd")  # kinds that lie in a folder of files
WHOLE = re.compile(r"-?[0-9]{1,19}")
GPT4BOOKS_FILES = ("observation.txt", "recommendation.txt", "decision.txt")


def load_gpt4books(folder: str | Path) -> Dataset:
    """Load the three text files of GPT4-books (paper, appendix D.2).

    The folder holds `observation.txt` (accepted items only), `recommendation.txt` (exposed items) and `decision.txt`
    (0 or 1 for each exposure). A line is a user id, then the sequence.
    """
    folder = Path(folder)
    observed, exposed, decided = (_read_lines(folder / name) for name in GPT4BOOKS_FILES)
    _check_aligned(exposed, decided, folder)
    exposed["decision"] = decided["item"]
    rows = [observed.assign(source=SELF, decision=1), exposed.assign(source=SYSTEM)]
    return Dataset(validate_log(pd.concat(rows, ignore_index=True), where=str(folder)), name="gpt4books")


def load_mssd(folder: str | Path, *, options: ReadOptions | None = None) -> Dataset:
    """Load the log of a folder that `csrec data mssd` wrote, with its tracks, and the truth if there is one.

    It has what the listeners chose and the system did, in memory; `where` of the options says of which sessions.
    """
    folder = Path(folder)
    if not (folder / "options.json").exists():
        raise InputError(f"{folder}: no folder that csrec data mssd wrote; expected its --out")
    from csrec_core.data.mssd.schema import OTHER
    from csrec_core.data.mssd.simulate import truth_rows

    options = options or ReadOptions()
    where = f"({options.where or 'true'}) AND source <> '{OTHER}'"
    dataset = read_log(folder, options=replace(options, where=where))
    log, items = dataset.log, dataset.items
    if items is not None:
        items = items[items["item"].isin(log["item"])].reset_index(drop=True)
    if (truth := truth_rows(folder, log["user"].unique())) is not None:
        truth = log[KEY].merge(truth, on=["user", "t"], how="left", validate="one_to_one")
    return replace(dataset, items=items, truth=truth, name="mssd")


def load_sequences(path: str | Path) -> Dataset:
    """Load a benchmark file of sequences: a line is a user id, then the items they chose, in order."""
    path = Path(path)
    rows = _read_lines(path).assign(source=SELF, decision=1)
    return Dataset(validate_log(rows, where=str(path)), name=path.stem)


def make_dataset(data: str, *, path: str = "", map: str = "", **world) -> Dataset:
    """Return the dataset that a notebook's parameters name.

    Parameters
    ----------
    data : {"books", "gpt4books", "ebnerd", "mssd", "sequences", "log"}
        `books` is simulated; the others are read from `path`: a folder, or a file (`log` is either, as
        `csrec_core.data.log.read_log` reads it).
    map : str
        For `log`: the file's own column names, such as `user=customer_id,item=asin`, or all options as the
        text of `csrec_core.data.options.ReadOptions`; for `mssd` the latter, such as `where`.
    **world
        For `books`: keyword arguments of `csrec_core.data.books.simulate_books`.
    """
    if data != "books":
        return read_data(data, path, ReadOptions.parse(map))
    if path or map:
        raise InputError(f"books is simulated, but path={path!r}, map={map!r}; expected data=log for a file")
    return simulate_books(**world)


def read_data(kind: str, path: str | Path, options: ReadOptions | None = None) -> Dataset:
    """Read a log of the given kind, a key of `LOADERS`; see `make_dataset`."""
    if kind not in LOADERS:
        raise unknown("data", kind, ["books", *LOADERS])
    if not str(path):
        raise InputError(f"data={kind} needs path: the {'folder' if kind in FOLDERS else 'file'} to read")
    if kind in ("log", "mssd"):
        return LOADERS[kind](path, options=options)
    if options and options.content():
        raise InputError(f"map is for data=log; the columns of {kind} are known")
    return LOADERS[kind](path)


LOADERS: dict[str, Callable[..., Dataset]] = {
    "gpt4books": load_gpt4books,
    "ebnerd": load_ebnerd,
    "mssd": load_mssd,
    "sequences": load_sequences,
    "log": read_log,
}


def _read_lines(path: Path) -> pd.DataFrame:
    """Read lines of whole numbers, a user id first, into user, t (from 1), item."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{readable(path)}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise InputError(f"{readable(path)}: {reason}; expected a text file of sequences") from None
    rows = [_read_numbers(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path}: no sequences; expected lines such as '1 62 35 61'")
    users = np.array([row[0] for row in rows])
    repeated = pd.Series(users).duplicated().to_numpy()
    if repeated.any():
        raise InputError(f"{path}: user {users[repeated.argmax()]} has two lines; expected one")
    lengths = np.array([len(row) - 1 for row in rows])
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return pd.DataFrame(
        {
            "user": np.repeat(users, lengths),
            "t": np.arange(lengths.sum()) - starts + 1,
            "item": np.concatenate([row[1:] for row in rows]),
        }
    )


def _read_numbers(line: str, path: Path, number: int) -> np.ndarray:
    words = line.split()
    for column, word in enumerate(words, 1):
        if not WHOLE.fullmatch(word) or abs(int(word)) >= 2**63:
            raise InputError(
                f"{readable(path)}: line {number}, column {column}: {shown(word)}; expected a whole number "
                "within 64 bits"
            )
    return np.array(words, dtype=np.int64)


def _check_aligned(exposed: pd.DataFrame, decided: pd.DataFrame, folder: Path) -> None:
    surplus = exposed["user"].value_counts().sub(decided["user"].value_counts(), fill_value=0)
    if surplus.any():
        user = surplus.index[surplus != 0].min()
        items, decisions = ((rows["user"] == user).sum() for rows in (exposed, decided))
        raise InputError(
            f"{folder}: user {user} has {items} exposures in recommendation.txt and {decisions} decisions in "
            "decision.txt; expected one decision for each exposure"
        )
    if not exposed["user"].equals(decided["user"]):
        raise InputError(f"{folder}: recommendation.txt and decision.txt list users in another order")
