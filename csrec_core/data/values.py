"""The columns of a table as typed SQL: what is a value, what is missing, and what is refused."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from csrec_core.data.columns import COLUMNS, FEATURE
from csrec_core.data.forms import VALUE, read_head
from csrec_core.data.tables import ROW, Table, as_parquet, open_table, quoted, sql_text
from csrec_core.errors import InputError, readable, shown, unknown

INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
#: What the types of DuckDB hold; all that begin with TIMESTAMP are times, all others nested or binary.
TYPE_KINDS = dict.fromkeys({*INTEGERS, "INTEGER", "UINTEGER", "BIGNUM"}, "whole")
TYPE_KINDS |= {"VARCHAR": "text", "ENUM": "text", "JSON": "text", "UUID": "text", "BOOLEAN": "truth"}
TYPE_KINDS |= {"FLOAT": "real", "DOUBLE": "real", "DECIMAL": "real", "DATE": "time", "LIST": "list"}
NO_VALUE = "('', 'na', 'n/a', 'nan', 'nat', 'null', 'none', '\\n')"  # in a column of numbers or times
MOST_LEVELS = 20  # words of a feature, each a column of 0 and 1
EXACT = 2**53  # past which a float is no longer one whole number
DECIMAL_COMMA, POINT = re.compile(r"[-+]?\d*,\d+"), "; decimals stand after a point, as in 0.5"
ISO = "ISO"
DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y")
CLOCKS = ("", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S", " %H:%M", " %H:%M:%S %z")
FORMS = (
    ISO,
    *(day + clock for day in DAYS for clock in CLOCKS),
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    *(f"%Y%m%dT%H%M%S{zone}" for zone in ("Z", "%z", "")),
)


NESTED = {"time": "times", "list": "lists", "other": "values of a nested or binary type"}


@dataclass(frozen=True)
class Column:
    """A column of the log as SQL over the table."""

    name: str  # in the log
    own: str  # in the file, for messages
    value: str  # its typed value; NULL where it is missing or bad
    expected: str  # for messages
    raw: str = "NULL"  # what stands in the file
    missing: str = "false"  # whether nothing does
    required: bool = True  # whether a missing value is refused

    @property
    def bad(self) -> str:
        """Whether a value is there that is refused."""
        return f"(NOT ({self.missing}) AND ({self.value}) IS NULL)"


@dataclass(frozen=True)
class Cells:
    """The cells of a column of a table, as SQL."""

    table: Table
    own: str

    @property
    def raw(self) -> str:
        """What stands there."""
        return quoted(self.own)

    @property
    def kind(self) -> str:
        """What they are: text, whole, real, truth, time, list or other."""
        type_ = self.table.types[self.own]
        base = "LIST" if type_.endswith("]") else type_.partition("(")[0]
        return "time" if base.startswith("TIMESTAMP") else TYPE_KINDS.get(base, "other")

    def missing(self, *, words: bool = False) -> str:
        """Whether there is no value; among `words` only nothing at all is none, and `NA` is a name."""
        if self.kind == "text":
            blank = f"{self.raw} = ''" if words else f"lower(trim({self.raw})) IN {NO_VALUE}"
            return f"({self.raw} IS NULL OR {blank})"
        nan = f" OR isnan({self.raw})" if self.kind == "real" else ""
        return f"({self.raw} IS NULL{nan})"

    @property
    def text(self) -> str:
        """As text; whole numbers, floats too, without decimals."""
        text = f"CAST({self.raw} AS VARCHAR)"
        if self.kind != "real":
            return text
        return f"CASE WHEN {self._exact} THEN CAST(CAST({self.raw} AS BIGINT) AS VARCHAR) ELSE {text} END"

    @property
    def _exact(self) -> str:
        return f"{self.raw} = floor({self.raw}) AND abs({self.raw}) <= {EXACT}"

    def words(self) -> list[str]:
        """Return their different values as text, at most 1,000."""
        rows = f"{self.table.view} WHERE NOT {self.missing(words=True)}"
        counted = f"SELECT {self.text} FROM {rows} GROUP BY 1 ORDER BY 1 LIMIT 1000"
        return [row[0] for row in self.table.query(counted)]

    def every(self, test: str, *, words: bool = True) -> bool:
        """Tell whether a test holds for all that are there."""
        return self.table.one(
            f"coalesce(bool_and({test}), true)", f"{self.table.view} WHERE NOT {self.missing(words=words)}"
        )

    def refuse(self, kinds: tuple[str, ...], expected: str, *, no: str = "", remedy: str = "") -> None:
        """Raise InputError where they are of a kind that cannot be what is expected: they hold `no` such thing."""
        if self.kind in kinds:
            held = f"no {no}" if no else NESTED[self.kind]
            raise InputError(
                f"{self.table.name}: column {shown(self.own)} holds {held}; expected {expected}{remedy}"
            )

    def ids(self, name: str) -> Column:
        """Return them as ids: BIGINT if all are proved whole numbers, else VARCHAR."""
        self.refuse(
            ("list", "other"),
            COLUMNS[name],
            remedy=f"; --explode {self.own}" if self.kind == "list" else "",
        )
        missing = self.missing(words=True)
        proof = {"text": canonical(self.raw), "whole": f"TRY_CAST({self.raw} AS BIGINT) IS NOT NULL"}
        if self.kind == "real":
            value = f"CASE WHEN {self._exact} THEN CAST({self.raw} AS BIGINT) END"
        elif self.every(proof.get(self.kind, "false")):
            value = f"CAST({self.raw} AS BIGINT)"
        else:
            value = f"CASE WHEN NOT {missing} THEN CAST({self.raw} AS VARCHAR) END"
        return Column(name, self.own, value, COLUMNS[name], self.raw, missing)

    def numbers(self, name: str) -> Column:
        """Return them as a column of numbers by its name in the log."""
        expected = COLUMNS.get(name, "a finite number")
        self.refuse(("time", "list", "other"), expected)
        value = number(self.raw)
        if self.kind == "text" and (name == "decision" or name not in COLUMNS):
            word = f"lower(trim(CAST({self.raw} AS VARCHAR)))"
            value = f"CASE {word} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE {value} END"
        required = name not in ("propensity", "arm_propensity", "probability", "position")
        if name in ("propensity", "arm_propensity"):
            value = f"CASE WHEN {value} > 0 AND {value} <= 1 THEN {value} END"
        elif name == "probability":
            value = f"CASE WHEN {value} BETWEEN 0 AND 1 THEN {value} END"
        elif name == "decision":
            value = f"CASE {value} WHEN 0 THEN 0::TINYINT WHEN 1 THEN 1::TINYINT END"
        elif name in ("t", "position"):
            value = f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS INTEGER) END"
            expected += " within 32 bits; times are mapped as timestamp" if name == "t" else ""
        return Column(name, self.own, value, expected, self.raw, self.missing(), required)

    def times(self, form: str, *, needed: bool) -> tuple[Column, str]:
        """Return them as times and their type for numpy: units since 1970 (UTC), or numbers and no type.

        The form of text is the one in which all of them can be read; InputError where two forms do so, and
        differently.
        """
        expected = COLUMNS["timestamp"]
        self.refuse(("list", "other", "truth"), expected, no="times")
        form = (form or self._form()) if self.kind == "text" else ""
        if self.kind == "time":
            unit = "ns" if "_NS" in self.table.one(f"typeof(any_value({self.raw}))") else "us"
            value = f"CASE WHEN isfinite(CAST({self.raw} AS TIMESTAMPTZ)) THEN epoch_{unit}({self.raw}) END"
            type_ = f"datetime64[{unit}]"
        elif form:
            example = datetime.datetime(2026, 11, 23, 14, 5, tzinfo=datetime.UTC)
            expected = f"a time such as {example:{form}}" if form != ISO else expected
            value, type_ = f"epoch_us({parsed(self.raw, form)})", "datetime64[us]"
        else:
            whole = canonical(self.raw) if self.kind == "text" else str(self.kind == "whole").lower()
            exact = self.every(whole, words=False)
            value, type_ = f"TRY_CAST({self.raw} AS BIGINT)" if exact else number(self.raw), ""
        return Column("timestamp", self.own, value, expected, self.raw, self.missing(), needed), type_

    def _form(self) -> str:
        """Return the form of times of text; empty for numbers."""
        rows = f"{self.table.view} WHERE NOT {self.missing()}"
        tries = [f"count({number('time')})", *(f"count({parsed('time', form)})" for form in FORMS)]
        sample = f"(SELECT DISTINCT {self.raw} AS time FROM {rows} LIMIT 2000)"
        counts = self.table.query(f"SELECT {', '.join(tries)} FROM {sample}")[0]
        best = max(counts)
        forms = [form for form, count in zip(("", *FORMS), counts, strict=True) if count == best]
        if best == 0 or len(forms) == 1:
            return forms[0] if best else ISO
        tries = [f"count({parsed(self.raw, form)})" for form in forms]
        counts = self.table.query(f"SELECT {', '.join(tries)} FROM {self.table.view}")[0]
        likely = [form for form, count in zip(forms, counts, strict=True) if count == max(counts)]
        if len(likely) > 1:
            example = self.table.one(self.raw, f"{rows} LIMIT 1")
            raise InputError(
                f"{self.table.name}: {self.own} = {shown(example)} can be read as {' or '.join(likely[:2])}; "
                f"say which by --time '{likely[0]}'"
            )
        return likely[0]


def number(raw: str) -> str:
    """Return a column as DOUBLE, finite or NULL."""
    value = f"TRY_CAST({raw} AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def canonical(raw: str) -> str:
    """Tell whether a text is a whole number within 64 bits as Python writes it."""
    return f"(regexp_full_match({raw}, '0|-?[1-9][0-9]*') AND TRY_CAST({raw} AS BIGINT) IS NOT NULL)"


def check_columns(table: Table, columns: list[Column]) -> list[int]:
    """Return how many values each column lacks; refuse the first bad one with its row.

    One pass over the table counts, and a second one, if something is bad, finds it.
    """
    counts = ["count(*)", *(f"count_if({each.missing}), count_if({each.bad})" for each in columns)]
    _, *found = table.query(f"SELECT {', '.join(counts)} FROM {table.view}")[0]
    for each, missing, bad in zip(columns, found[::2], found[1::2], strict=True):
        if missing and each.required:
            raise _refusal(table, each, each.missing, missing)
        if bad:
            raise _refusal(table, each, each.bad, bad)
    return list(found[::2])


def read_table(path: Path, *, texts: Sequence[str] = ("user", "item")) -> pd.DataFrame:
    """Read a whole table, of Parquet with its types, of text with numbers where all are, but in columns of `texts`.

    Words of truth are 1 and 0. InputError where all would be finite numbers with a point for a comma.
    """
    if read_head(path)[0].startswith(b"PAR1"):
        with as_parquet(readable(path)):
            return pd.read_parquet(path)
    with open_table(path) as table:
        columns = [Cells(table, name).numbers(FEATURE + name) for name in table.columns if name not in texts]
        near = "TRY_CAST(replace({}, ',', '.') AS DOUBLE) IS NOT NULL"
        tests = [
            f"bool_and({each.missing} OR {each.value} IS NOT NULL OR {near.format(each.raw)})"
            for each in columns
        ]
        _, *found = table.query(f"SELECT {', '.join(['count(*)', *tests])} FROM file")[0]
        numbers = [replace(each, required=False) for each, all_ in zip(columns, found, strict=True) if all_]
        check_columns(table, numbers)
        values = {each.own: f"({each.value})::DOUBLE" for each in numbers}
        selected = ", ".join(f"{values.get(name, quoted(name))} AS {quoted(name)}" for name in table.columns)
        with table.spoken():
            return table.connection.sql(f"SELECT {selected} FROM file").df()


def _refusal(table: Table, column: Column, where: str, count: int) -> InputError:
    """Return the error for the first of the rows where a column is missing, or bad."""
    rows = f"{table.view} WHERE {where} ORDER BY {ROW} LIMIT 1"
    row, value = table.query(f"SELECT {ROW}, CAST({column.raw} AS VARCHAR) FROM {rows}")[0]
    more = f" and {count - 1:,} more" if count > 1 else ""
    missing = f"no value in column {shown(column.own)}"
    # A number stands as it is, other text in quotes, and cut.
    number = VALUE.fullmatch(str(value)) and len(str(value)) < 60
    what = missing if where == column.missing else f"{column.own} = {value if number else shown(str(value))}"
    remedy = POINT if DECIMAL_COMMA.fullmatch(str(value)) else ""
    return InputError(f"{table.name}: row {row}{more}: {what}; expected {column.expected}{remedy}")


def parsed(raw: str, form: str) -> str:
    """Return a text as a time of a form, or NULL."""
    if form == ISO:
        return (
            f"CASE WHEN regexp_matches({raw}, '^\\s*\\d{{4}}[-/]\\d') THEN TRY_CAST({raw} AS TIMESTAMPTZ) END"
        )
    return f"try_strptime(trim({raw}), '{form}')"


def feature_columns(view: Table, named: tuple[str, ...]) -> list[Column]:
    """Return the columns that begin with `feature_`, and those named besides; words a column each."""
    columns = []
    others = [name for name in named if not name.startswith(FEATURE)]
    for own in [*(name for name in view.types if name.startswith(FEATURE)), *others]:
        if own not in view.types:
            raise unknown("column", own, view.columns, where="--feature")
        name = own if own.startswith(FEATURE) else FEATURE + own
        cells = Cells(view, own)
        column = cells.numbers(name)
        if cells.kind == "text" and view.one(f"count({column.value}) = 0"):
            if own not in named:
                column = replace(column, expected=f"a finite number; for words --feature {own}")
            else:
                columns += _levels(cells, name)
                continue
        columns.append(column)
    return columns


def _levels(cells: Cells, name: str) -> list[Column]:
    """Return a column of 0 and 1 for each word of a feature of text."""
    missing, table = cells.missing(words=True), cells.table
    words = f"SELECT DISTINCT {cells.raw} FROM {table.view} WHERE NOT {missing}"
    levels = [row[0] for row in table.query(f"{words} ORDER BY 1 LIMIT {MOST_LEVELS + 1}")]
    if len(levels) > MOST_LEVELS:
        count = table.one("count(*)", f"({words})")
        raise InputError(
            f"{table.name}: feature {shown(cells.own)} has {count:,} words such as {shown(levels[0])}; "
            f"expected at most {MOST_LEVELS}, or numbers{POINT if DECIMAL_COMMA.fullmatch(levels[0]) else ''}"
        )
    values = {level: f"CAST({cells.raw} = {sql_text(level)} AS DOUBLE)" for level in levels}
    return [
        Column(f"{name}_{level}", cells.own, value, "a word", cells.raw, missing)
        for level, value in values.items()
    ]
