"""What the values of the columns of a table tell: numbers, times, lists, words, and how often each comes back."""

import re
from dataclasses import dataclass

import pandas as pd

from csrec_core.data.tables import Table, quoted
from csrec_core.data.values import FORMS, ISO, Cells, parsed
from csrec_core.errors import InputError

CLUE_ROWS = 20_000  # of the table, drawn at random, that are looked at
MOST_WORDS = 50
LISTED = 0.9  # share of the values that must be lists
EPOCHS = [(10.0**power, unit) for power, unit in ((0, "seconds"), (3, "ms"), (6, "µs"), (9, "ns"))]


@dataclass(frozen=True)
class Clues:
    """What the values of a column are."""

    name: str
    texts: pd.Series  # the values that are there
    numbers: pd.Series  # the same as numbers, NaN where they are none
    time: str  # the form of a time, or the unit of an epoch; empty for none
    lists: bool

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return self.texts.nunique()

    @property
    def words(self) -> list[str]:
        """The different values, where they are few."""
        return sorted(self.texts.unique()) if self.distinct <= MOST_WORDS else []

    @property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return bool(len(self.numbers)) and bool((self.numbers == self.numbers.round()).all())

    @property
    def numeric(self) -> bool:
        """Whether all are numbers."""
        return bool(len(self.numbers)) and bool(self.numbers.notna().all())

    @property
    def binary(self) -> bool:
        """Whether all are 0 or 1, or true or false."""
        low = {word.lower() for word in self.words}
        if not low:
            return False
        return low <= {"true", "false"} if not self.numeric else set(self.numbers.unique()) <= {0.0, 1.0}

    @property
    def identifies(self) -> bool:
        """Whether these may be ids: no real numbers, no lists, not 0 and 1."""
        return not (self.lists or self.binary or (self.numeric and not self.whole))

    @property
    def tokens(self) -> pd.Series:
        """The elements of lists, of some rows."""
        return self.texts.head(1000).map(lambda text: set(re.findall(r"[^\s,|;\[\]()'\"]+", text)))

    @property
    def marks(self) -> bool:
        """Whether these lists say 0 or 1 of each element of another's."""
        return set().union(*self.tokens) <= {"0", "1"}

    def within(self, other: "Clues") -> bool:
        """Tell whether these lists hold nothing but elements of another's."""
        pairs = pd.concat([self.tokens, other.tokens], axis=1, join="inner").to_numpy()
        return bool(len(pairs)) and all(one <= all_ for one, all_ in pairs)

    @property
    def repeats(self) -> float:
        """How often a value comes, on average."""
        return len(self.texts) / max(self.distinct, 1)


def find_clues(table: Table) -> dict[str, Clues]:
    """Return the clues of each column that holds single values or lists."""
    columns = [name for name in table.types if Cells(table, name).kind != "other"]
    casts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in columns)
    sample = f"SELECT {casts} FROM file USING SAMPLE reservoir({CLUE_ROWS} ROWS) REPEATABLE (1)"
    if not (rows := table.query(sample) if columns else []):
        raise InputError(f"{table.name}: no rows; expected at least one exposure")
    clues = {}
    values: list[tuple] = list(zip(*rows, strict=True))
    for name, texts in zip(columns, values, strict=True):
        cells = Cells(table, name)
        text = pd.Series(texts, dtype="str")
        text = text[text.notna() & (text != "")]
        numbers = pd.to_numeric(text, errors="coerce")
        lists = cells.kind == "list" or (cells.kind == "text" and _are_lists(text))
        time = "" if lists else "time" if cells.kind == "time" else _time(cells, text, numbers)
        clues[name] = Clues(name, text, numbers, time, lists)
    return clues


def _are_lists(values: pd.Series) -> bool:
    """Tell whether texts are lists of ids or numbers, and not times or sentences."""
    some = values.head(1000)
    if values.empty or some.str.fullmatch(r"-?\d+,\d+").all():  # a decimal comma
        return False
    bracketed = some.str.match(r"^[\[(].*[\])]$").mean()
    tokens = some.str.split(r"[\s,|;]+", regex=True)
    several = (tokens.map(len) > 1).mean() > 0.5
    ids = tokens.map(
        lambda parts: all(re.fullmatch(r"(?=\D*\d)[\w.-]+", part) and ":" not in part for part in parts)
    )
    return bracketed >= LISTED or (several and ids.mean() >= LISTED and not some.str.contains(":").any())


def _time(cells: Cells, text: pd.Series, numbers: pd.Series) -> str:
    """Return the form of text times, the unit of an epoch, or nothing."""
    if len(numbers) and numbers.notna().all():
        return next((unit for by, unit in EPOCHS if numbers.between(6e8 * by, 4.2e9 * by).all()), "")
    if cells.kind != "text" or text.empty or not text.head(100).str.contains(r"\d").all():
        return ""
    tries = ", ".join(f"count({parsed(cells.raw, form)})" for form in FORMS)
    sample = f"(SELECT {cells.raw} FROM file WHERE NOT {cells.missing()} LIMIT 200)"
    counts = cells.table.query(f"SELECT {tries} FROM {sample}")[0]
    if max(counts) < 0.9 * min(200, len(text)):
        return ""
    form = FORMS[counts.index(max(counts))]
    return "ISO 8601" if form == ISO else form
