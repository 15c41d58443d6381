"""The columns of a table as typed SQL: what is a value, what is missing, and what is refused."""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from csrec_core.data.columns import COLUMNS
from csrec_core.data.forms import VALUE
from csrec_core.data.tables import ROW, Table
from csrec_core.errors import InputError, shown

__all__ = [
    "FORMS",
    "ISO",
    "Column",
    "as_text",
    "canonical",
    "check_columns",
    "id_column",
    "is_missing",
    "kind",
    "number",
    "number_column",
    "parsed",
    "spelled",
    "time_column",
]

INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
INTEGERS |= {"INTEGER", "UINTEGER", "BIGNUM"}
NO_VALUE = "('', 'na', 'n/a', 'nan', 'nat', 'null', 'none', '\\n')"  # in a column of numbers or times
EXACT = 2**53  # past which a float is no longer one whole number
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


@dataclass(frozen=True)
class Column:
    """A column of the log as SQL over the table.

    Attributes
    ----------
    name : str
        In the log.
    own : str
        In the file, for messages.
    value : str
        Its typed value; NULL where it is missing or bad.
    raw : str
        What stands in the file.
    missing : str
        Whether nothing does.
    expected : str
        What a message expects.
    required : bool
        Whether a missing value is refused.
    """

    name: str
    own: str
    value: str
    raw: str
    missing: str
    expected: str
    required: bool = True

    @property
    def bad(self) -> str:
        """Whether a value is there that is refused."""
        return f"(NOT ({self.missing}) AND ({self.value}) IS NULL)"


def kind(type_: str) -> str:
    """Return text, whole, real, truth, time, list or other for a type as DuckDB names it."""
    if type_.endswith("]"):
        return "list"
    if type_ in INTEGERS:
        return "whole"
    base = re.match(r"[A-Z_ ]*", type_)[0]
    kinds = {"VARCHAR": "text", "ENUM": "text", "JSON": "text", "UUID": "text", "BOOLEAN": "truth"}
    kinds |= {"FLOAT": "real", "DOUBLE": "real", "DECIMAL": "real", "DATE": "time"}
    return "time" if base.startswith("TIMESTAMP") else kinds.get(base, "other")


def as_text(raw: str, of: str) -> str:
    """Return a column as text; whole numbers, floats too, without decimals."""
    if of == "real":
        whole = f"{raw} = floor({raw}) AND abs({raw}) <= {EXACT}"
        return (
            f"CASE WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"
        )
    return f"CAST({raw} AS VARCHAR)"


def is_missing(raw: str, of: str, *, words: bool = False) -> str:
    """Tell whether there is no value; among `words` only nothing at all is none, and `NA` is a name."""
    if of == "text":
        blank = f"{raw} = ''" if words else f"lower(trim({raw})) IN {NO_VALUE}"
        return f"({raw} IS NULL OR {blank})"
    return f"({raw} IS NULL OR isnan({raw}))" if of == "real" else f"({raw} IS NULL)"


def number(raw: str, of: str) -> str:
    """Return a column as DOUBLE, finite or NULL."""
    value = f"TRY_CAST({raw} AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def canonical(raw: str) -> str:
    """Tell whether a text is a whole number within 64 bits as Python writes it."""
    return f"(regexp_full_match({raw}, '0|-?[1-9][0-9]*') AND TRY_CAST({raw} AS BIGINT) IS NOT NULL)"


def id_column(name: str, own: str, raw: str, of: str, *, numbers: bool) -> Column:
    """Return a column of ids: BIGINT if all are proved whole numbers, else VARCHAR."""
    missing = is_missing(raw, of, words=True)
    if of == "real":
        value = f"CASE WHEN {raw} = floor({raw}) AND abs({raw}) <= {EXACT} THEN CAST({raw} AS BIGINT) END"
    else:
        value = (
            f"CAST({raw} AS BIGINT)"
            if numbers
            else f"CASE WHEN NOT {missing} THEN CAST({raw} AS VARCHAR) END"
        )
    return Column(name, own, value, raw, missing, COLUMNS[name])


def number_column(table: Table, name: str, own: str, raw: str, of: str) -> Column:
    """Return a column of numbers by its name in the log; refuse one whose type cannot hold them."""
    expected = COLUMNS.get(name, "a finite number")
    if of in ("time", "list", "other"):
        what = {"time": "times", "list": "lists"}.get(of, "values of a nested or binary type")
        raise InputError(f"{table.name}: column {shown(own)} holds {what}; expected {expected}")
    value = number(raw, of)
    required = name not in ("propensity", "arm_propensity", "probability", "position")
    if name in ("propensity", "arm_propensity"):
        value = f"CASE WHEN {value} > 0 AND {value} <= 1 THEN {value} END"
    elif name == "probability":
        value = f"CASE WHEN {value} BETWEEN 0 AND 1 THEN {value} END"
    elif name == "decision":
        word = f"lower(trim(CAST({raw} AS VARCHAR)))"
        truth = f"CASE {word} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE {value} END"
        value = f"CASE {truth} WHEN 0 THEN 0::TINYINT WHEN 1 THEN 1::TINYINT END"
    elif name in ("t", "position"):
        value = f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({value} AS INTEGER) END"
        expected += " within 32 bits; times are mapped as timestamp" if name == "t" else ""
    return Column(name, own, value, raw, is_missing(raw, of), expected, required)


def time_column(
    table: Table, view: str, own: str, raw: str, of: str, *, needed: bool, form: str = ""
) -> tuple[Column, str]:
    """Return times and their type for numpy: units since 1970 (UTC), or numbers as they are and no type.

    The form of text is the one in which all of them can be read.

    Raises
    ------
    InputError
        Where two forms read all of them, and differently.
    """
    if of in ("list", "other", "truth"):
        raise InputError(f"{table.name}: column {shown(own)} holds no times; expected {COLUMNS['timestamp']}")
    missing, expected = is_missing(raw, of), COLUMNS["timestamp"]
    if of == "time":
        unit = "ns" if "_NS" in table.query(f"SELECT typeof(any_value({raw})) FROM {view}")[0][0] else "us"
        value = f"CASE WHEN isfinite(CAST({raw} AS TIMESTAMPTZ)) THEN epoch_{unit}({raw}) END"
        return Column("timestamp", own, value, raw, missing, expected, needed), f"datetime64[{unit}]"
    form = (form or _find_form(table, view, own, raw, missing)) if of == "text" else ""
    if form:
        expected = f"a time such as {_example(form)}" if form != ISO else expected
        value = f"epoch_us({parsed(raw, form)})"
        return Column("timestamp", own, value, raw, missing, expected, needed), "datetime64[us]"
    whole = canonical(raw) if of == "text" else str(of == "whole").lower()
    exact = table.query(f"SELECT coalesce(bool_and({whole}), false) FROM {view} WHERE NOT {missing}")[0][0]
    value = f"TRY_CAST({raw} AS BIGINT)" if exact else number(raw, of)
    return Column("timestamp", own, value, raw, missing, expected, needed), ""


def check_columns(table: Table, view: str, columns: list[Column]) -> Iterator[tuple[Column, int]]:
    """Yield how many values each column lacks; refuse the first bad one with its row.

    One pass over the table counts, and a second one, if something is bad, finds it.
    """
    counts = [f"count_if({each.missing}), count_if({each.bad})" for each in columns]
    found = table.query(f"SELECT {', '.join(counts)} FROM {view}")[0] if columns else ()
    for each, missing, bad in zip(columns, found[::2], found[1::2], strict=True):
        if missing and each.required:
            row = _first_row(table, view, each.missing)[0]
            what = f"no value in column {shown(each.own)}"
            raise _refusal(table.name, row, missing, what, each.expected)
        if bad:
            row, value = _first_row(table, view, each.bad, each.raw)
            raise _refusal(table.name, row, bad, f"{each.own} = {spelled(value)}", each.expected)
        yield each, missing


def spelled(value: object) -> str:
    """Return a value for a message: a number as it is, other text in quotes, and cut."""
    return str(value) if VALUE.fullmatch(str(value)) and len(str(value)) < 60 else shown(str(value))


def _first_row(table: Table, view: str, where: str, *raw: str) -> tuple:
    shown_ = "".join(f", CAST({each} AS VARCHAR)" for each in raw)
    return table.query(f"SELECT {ROW}{shown_} FROM {view} WHERE {where} ORDER BY {ROW} LIMIT 1")[0]


def _refusal(name: str, row: int, count: int, what: str, expected: str) -> InputError:
    more = f" and {count - 1:,} more" if count > 1 else ""
    return InputError(f"{name}: row {row}{more}: {what}; expected {expected}")


def parsed(raw: str, form: str) -> str:
    """Return a text as a time of a form, or NULL."""
    if form == ISO:
        return (
            f"CASE WHEN regexp_matches({raw}, '^\\s*\\d{{4}}[-/]\\d') THEN TRY_CAST({raw} AS TIMESTAMPTZ) END"
        )
    return f"try_strptime(trim({raw}), '{form}')"


def _find_form(table: Table, view: str, own: str, raw: str, missing: str) -> str:
    """Return the form of the times of a column of text; empty for numbers."""
    sample = f"(SELECT DISTINCT {raw} AS time FROM {view} WHERE NOT {missing} LIMIT 2000)"
    tries = [f"count({number('time', 'text')})", *(f"count({parsed('time', form)})" for form in FORMS)]
    total, *counts = table.query(f"SELECT count(*), {', '.join(tries)} FROM {sample}")[0]
    best = max(counts)
    forms = [form for form, count in zip(("", *FORMS), counts, strict=True) if count == best]
    if total == 0 or best == 0 or len(forms) == 1:
        return forms[0] if best else ISO
    counts = table.query(f"SELECT {', '.join(f'count({parsed(raw, form)})' for form in forms)} FROM {view}")[
        0
    ]
    likely = [form for form, count in zip(forms, counts, strict=True) if count == max(counts)]
    if len(likely) > 1:
        example = table.query(f"SELECT {raw} FROM {view} WHERE NOT {missing} LIMIT 1")[0][0]
        raise InputError(
            f"{table.name}: {own} = {shown(example)} can be read as {' or '.join(likely[:2])}; say which by "
            f"--time '{likely[0]}'"
        )
    return likely[0]


def _example(form: str) -> str:
    return datetime.datetime(2026, 11, 23, 14, 5, tzinfo=datetime.UTC).strftime(form)
