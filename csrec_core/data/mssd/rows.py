"""From cells to rows of the interaction log: each row is judged, and either kept or said why not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from csrec_core.data.log import SELF, SYSTEM
from csrec_core.data.mssd.reader import BadRow, Block, original
from csrec_core.data.mssd.schema import CONTEXTS, LABELS, LOG, LOG_SCHEMA, TRACKS, whole_numbers
from csrec_core.errors import InputError, unknown

__all__ = [
    "LOG_COLUMNS",
    "SESSION",
    "TRACK",
    "TRACK_COLUMNS",
    "Options",
    "judge_log",
    "judge_tracks",
    "whole_sessions",
]

SESSION, TRACK = "session_id", "track_id_clean"
LOG_COLUMNS = (SESSION, TRACK, *(column.name for column in LOG))
TRACK_ID = "track_id"
TRACK_COLUMNS = (TRACK_ID, *(column.name for column in TRACKS))
BROKEN = "\ufffd"  # what stands for bytes that are no UTF-8
HELD = 10_000  # rows of an unfinished session that are held back at most, ten times a session's most
KEY = "csrec-mssd-00000"  # 16 letters; the salt takes the place of the last digits


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the files become a log.

    Attributes
    ----------
    label : {"skip_1", "skip_2", "skip_3", "not_skipped"}
        What decides: accepted is not skipped (by then), or played to the end. The challenge asks for skip_2.
    self_contexts, system_contexts : tuple of str
        Which values of `context_type` count as the listener's own choice and as the system's. Rows of the
        others lie apart, as their source is neither.
    salt : int
        Names the hash function of the ids, from 0 to 99999; to be changed if two ids ever collide.
    """

    label: str = "skip_2"
    self_contexts: tuple[str, ...] = ("user_collection",)
    system_contexts: tuple[str, ...] = ("personalized_playlist",)
    salt: int = 0

    def __post_init__(self):
        if self.label not in LABELS:
            raise unknown("label", self.label, LABELS)
        for name in (*self.self_contexts, *self.system_contexts):
            if name not in CONTEXTS:
                raise unknown("context_type", name, CONTEXTS)
        both = set(self.self_contexts) & set(self.system_contexts)
        if both:
            raise InputError(f"context_type {min(both)!r} is given to both self and system; expected one")
        if not 0 <= self.salt <= 99_999:
            raise InputError(f"salt = {self.salt}; expected a whole number from 0 to 99999")

    @property
    def key(self) -> str:
        """The key of the hash function."""
        return KEY[:-5] + f"{self.salt:05d}"

    @property
    def sources(self) -> dict[str, str]:
        """{context_type: source}."""
        return dict.fromkeys(self.self_contexts, SELF) | dict.fromkeys(self.system_contexts, SYSTEM)


def whole_sessions(blocks: Iterable[Block]) -> Iterator[Block]:
    """Cut blocks anew between sessions, so that rows of a session that follow each other stay together."""
    rest: Block | None = None
    for block in blocks:
        if rest is not None and rest.file == block.file:
            block = _joined(rest, block)
        elif rest is not None:
            yield rest
        session = block.rows[SESSION].indices.to_numpy()
        others = np.flatnonzero(session != session[-1]) if len(session) else session
        start = max(int(others[-1]) + 1 if len(others) else 0, len(session) - HELD)
        rest = replace(block, rows=_on_its_own(block.rows.slice(start)), lines=block.lines[start:], bad=[])
        yield replace(block, rows=block.rows.slice(0, start), lines=block.lines[:start])
    if rest is not None:
        yield rest


def judge_log(
    block: Block, options: Options, known: np.ndarray
) -> tuple[pa.Table, pa.DictionaryArray, list[BadRow]]:
    """Return the good rows of a block of session logs as `LOG_SCHEMA`, their sessions' ids, and the bad rows.

    Rows come by session, in the order in which the sessions appear, and by position.

    Parameters
    ----------
    known : array (tracks,) int64
        The items of the track table, sorted.
    """
    judge = _Judge(block)
    values = {column.target: judge.read(column.name, column.parse, column.expected) for column in LOG}
    user = judge.ids(SESSION, options.key)
    item = judge.ids(TRACK, options.key)
    at = np.minimum(np.searchsorted(known, item), max(len(known) - 1, 0))
    listed = known[at] == item if len(known) else np.zeros(len(item), dtype=bool)
    judge.reject(~listed, "track not in the track table", "no such track in the files of --tracks")
    beyond = values["t"] > values["session_length"]
    judge.reject(beyond, "session_position", "session_position beyond session_length")
    keep = np.flatnonzero(~judge.bad)
    session = judge.codes(SESSION)
    first = np.zeros(len(block.rows[SESSION].dictionary), dtype=np.int64)
    first[session[::-1]] = np.arange(len(session))[::-1]
    keep = keep[np.lexsort((values["t"][keep], first[session[keep]]))]
    again = np.zeros(len(keep), dtype=bool)
    again[1:] = (np.diff(session[keep]) == 0) & (np.diff(values["t"][keep]) == 0)
    mask = np.zeros(len(session), dtype=bool)
    mask[keep[again]] = True
    judge.reject(mask, "duplicated position", "a second row for this session_position of the session")
    keep = keep[~again]
    decision = values[options.label] if options.label == "not_skipped" else ~values[options.label]
    columns = {"user": user, "t": values["t"], "item": item, "decision": decision}
    arrays = []
    for field in LOG_SCHEMA:
        if field.name == "source":
            arrays.append(judge.named("context_type", keep, options.sources.get))
        elif pa.types.is_dictionary(field.type):
            raw = next(column.name for column in LOG if column.target == field.name)
            arrays.append(judge.named(raw, keep))
        else:
            numbers = columns.get(field.name, values.get(field.name))[keep]
            arrays.append(pa.array(numbers).cast(field.type))
    table = pa.Table.from_arrays(arrays, schema=LOG_SCHEMA)
    return table, judge.named(SESSION, keep), [*block.bad, *judge.found]


def judge_tracks(
    block: Block, options: Options, seen: set[int]
) -> tuple[dict[str, pa.Array], list[tuple[int, str]], list[BadRow]]:
    """Return the good rows of a block of track features, tracks that were met before, and the bad rows.

    Parameters
    ----------
    seen : set of int
        The items of earlier blocks; those of this one are added.

    Returns
    -------
    columns : dict of arrays
        `item`, `title` and the features.
    again : list of (item, title)
    bad : list of BadRow
    """
    judge = _Judge(block)
    values = {column.target: judge.read(column.name, column.parse, column.expected) for column in TRACKS}
    item = judge.ids(TRACK_ID, options.key)
    keep = np.flatnonzero(~judge.bad)
    repeated = np.array([number in seen for number in item[keep].tolist()], dtype=bool)
    here = np.ones(len(keep), dtype=bool)
    here[np.unique(item[keep], return_index=True)[1]] = False
    mask = np.zeros(len(item), dtype=bool)
    mask[keep[repeated | here]] = True
    titles = judge.named(TRACK_ID, np.arange(len(item))).cast(pa.string())
    again = list(zip(item[mask].tolist(), titles.filter(pa.array(mask)).to_pylist(), strict=True))
    judge.reject(mask, "duplicated track", "a second row for this track")
    keep = np.flatnonzero(~judge.bad)
    seen.update(item[keep].tolist())
    columns = {"item": item, **values}
    good = {name: pa.array(column[keep]) for name, column in columns.items()}
    return good | {"title": titles.take(pa.array(keep))}, again, [*block.bad, *judge.found]


class _Judge:
    """The cells of a block, the mask of its bad rows, and what is said of them."""

    def __init__(self, block: Block):
        self.block = block
        self.bad = np.zeros(block.rows.num_rows, dtype=bool)
        self.found: list[BadRow] = []
        self._texts: dict[str, pa.Array] = {}
        self.blank()

    def codes(self, name: str) -> np.ndarray:
        return self.block.rows[name].indices.to_numpy()

    def cells(self, name: str) -> list[bytes]:
        """Return the distinct cells of a column as they are in the file."""
        distinct = self.block.rows[name].dictionary
        if pc.all(pc.string_is_ascii(distinct)).as_py():
            return distinct.cast(pa.binary()).to_pylist()
        return [original(cell) for cell in distinct.to_pylist()]

    def texts(self, name: str) -> pa.Array:
        """Return the distinct cells of a column as text, what is no UTF-8 replaced by `BROKEN`."""
        if name not in self._texts:
            distinct = self.block.rows[name].dictionary
            if not pc.all(pc.string_is_ascii(distinct)).as_py():
                distinct = pa.array(
                    [cell.decode("utf-8", "replace") for cell in self.cells(name)], pa.string()
                )
            self._texts[name] = distinct
        return self._texts[name]

    def blank(self) -> None:
        """Reject the rows whose cells are all empty, as those of an empty line are."""
        empty = ~self.bad
        for name in self.block.rows.schema.names:
            if empty.any():
                empty &= pc.equal(self.texts(name), "").to_numpy(zero_copy_only=False)[self.codes(name)]
        self.reject(empty, "blank line", "a blank line")

    def read(self, name: str, parse, expected: str) -> np.ndarray:
        """Return the values of a column; rows where a cell is bad are rejected."""
        values, bad = parse(self.cells(name))
        self._reject_cells(name, bad, expected)
        return values[self.codes(name)]

    def ids(self, name: str, key: str) -> np.ndarray:
        """Return the numbers that stand for the ids of a column."""
        texts = self.texts(name)
        bad = pc.or_(pc.equal(texts, ""), pc.match_substring(texts, BROKEN))
        self._reject_cells(name, bad.to_numpy(zero_copy_only=False), "an id")
        return whole_numbers(texts.to_numpy(zero_copy_only=False), key)[self.codes(name)]

    def named(self, name: str, keep: np.ndarray, change=None) -> pa.DictionaryArray:
        """Return a column of text at the rows to keep, each distinct text changed if asked (None: null)."""
        texts, codes = self.texts(name), self.codes(name)[keep]
        if change is None:
            return pa.DictionaryArray.from_arrays(pa.array(codes), texts)
        changed = [change(text) for text in texts.to_pylist()]
        names = sorted({text for text in changed if text is not None})
        code = np.array([names.index(text) if text is not None else -1 for text in changed], dtype=np.int32)
        code = code[codes] if len(code) else codes
        return pa.DictionaryArray.from_arrays(pa.array(code, mask=code < 0), pa.array(names, pa.string()))

    def _reject_cells(self, name: str, bad: np.ndarray, expected: str) -> None:
        """Reject the rows where the cell of a column is one of the bad ones."""
        if bad.any():
            texts, codes = self.texts(name), self.codes(name)
            said = f"expected {expected}"
            self.reject(bad[codes], name, lambda row: f"{name} = {texts[codes[row]].as_py()!r}; {said}")

    def reject(self, mask: np.ndarray, problem: str, detail) -> None:
        """Mark rows as bad, and say so of those that were not yet."""
        for row in np.flatnonzero(mask & ~self.bad):
            cells = self.block.rows.slice(row, 1).to_pylist()[0].values()
            text = original(",".join(cells) if any(cells) else "").decode("utf-8", "replace")
            said = detail(row) if callable(detail) else detail
            self.found.append(BadRow(self.block.file, int(self.block.lines[row]), problem, said, text))
        self.bad |= mask


def _on_its_own(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with dictionaries of their own cells alone, that what came before them be forgotten."""
    columns = [column.dictionary_decode().dictionary_encode() for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _joined(before: Block, after: Block) -> Block:
    rows = pa.Table.from_batches([before.rows, after.rows]).unify_dictionaries().combine_chunks()
    lines = np.concatenate([before.lines, after.lines])
    batch = rows.to_batches()[0] if rows.num_rows else after.rows
    return replace(after, rows=batch, lines=lines, bad=[*before.bad, *after.bad])
