"""What the rows of a table mean: the choices of `ReadOptions` as typed columns, ids and arms as codes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from csrec_core.data.columns import COLUMNS, SOURCES
from csrec_core.data.options import ABSENT, ReadOptions
from csrec_core.data.tables import ROW, Table, quoted, sql_text
from csrec_core.data.values import Cells, Column, check_columns, feature_columns
from csrec_core.data.views import (
    ACCEPTED,
    CONDITION,
    NOT_SHOWN,
    PLACE,
    as_list,
    count_not_shown,
    keep_rows,
    open_lists,
    split_decisions,
    with_answers,
    without_repeats,
)
from csrec_core.errors import InputError, listed, nearest, shown, unknown

MOST_ARMS = 50
NUMERIC_COLUMNS = ("t", "propensity", "arm_propensity", "probability", "outcome", "position")
CODES = {"user": "label", "item": "title"}
NO_TIME = "(-9223372036854775807 - 1)::BIGINT"  # what numpy takes for no time


@dataclass(frozen=True, eq=False)
class Rows:
    """The columns of the log in the order of the file."""

    columns: dict[str, np.ndarray]  # (N,) each; `row`, the number in the file, `place` in an exploded list
    labels: dict[str, list[str]]  # of "user" or "item": texts by code from 1, where they are named by text
    arms: tuple[str, ...]  # by code of `source`
    times: str  # the type of `timestamp` for numpy where it is a time
    left_out: dict[str, int]  # rows by reason


class MissingColumns(InputError):
    """A table lacks what a log needs; `in_python` says what to do there, the message what on the command line."""

    def __init__(self, said: str, command: str, python: str):
        super().__init__(f"{said}{command}"[:400])
        self.in_python = f"{said}{python}"[:400]


@dataclass(frozen=True)
class _Found:
    """What stands where: columns of the log by the name that the file has for them."""

    view: Table
    options: ReadOptions
    own: dict[str, str]

    def cells(self, name: str) -> Cells:
        return Cells(self.view, self.own[name])


def read_rows(table: Table, options: ReadOptions) -> Rows:
    """Read the rows that the options keep; see `Rows`.

    Raises
    ------
    InputError
        Names the row, the column, what was found and what was expected.
    """
    view = keep_rows(table, options)
    left_out = {"--where": table.one("count(*)") - view.one("count(*)")} if options.where else {}
    decision, item = (options.map.get(name, name) for name in ("decision", "item"))
    if item in options.explode and decision not in options.explode and {decision, item} <= view.types.keys():
        left_out[NOT_SHOWN] = count_not_shown(view, decision, item)
    view = split_decisions(open_lists(view, options.explode), options)
    found = _Found(view, options, _own_names(view, options))
    _require(found, table)
    source, arms = _arm_codes(found)
    if options.arms and "source" in found.own:
        chosen = view.select("chosen", f"SELECT * FROM {view.view} WHERE {source.value} IS NOT NULL")
        left_out["other arms"] = view.one("count(*)") - chosen.one("count(*)")
        found = replace(found, view=chosen)
    if not (rows := found.view.one("count(*)")):
        raise _no_rows(table, left_out)
    columns, times = _row_columns(found)
    columns.append(source)
    lacks = check_columns(found.view, columns)
    kept = [each for each, missing in zip(columns, lacks, strict=True) if missing < rows]
    typed = [f"{ROW} AS row", f"{PLACE if options.explode else 0} AS place"]
    for number, each in enumerate(kept):
        # Without NULL: a missing time would make floats of whole numbers.
        timed = each.name == "timestamp" and times
        value = f"coalesce({each.value}, {NO_TIME})" if timed else each.value
        typed.append(f"{value} AS {quoted(_alias(each, number))}")
    view = found.view.select("typed", f"SELECT {', '.join(typed)} FROM {found.view.view}")
    view, repeats = without_repeats(view, options)
    view, unanswered = with_answers(view, options, times)
    left_out |= repeats | unanswered
    values, labels = _fetch(view)
    if not values:  # --merge may leave none
        raise _no_rows(table, left_out)
    values |= {each.name: values.pop(_alias(each, number)) for number, each in enumerate(kept)}
    return Rows(values, labels, arms, times, {reason: count for reason, count in left_out.items() if count})


def _no_rows(table: Table, left_out: Mapping[str, int]) -> InputError:
    """Return the error of a table of which nothing is left, with what was left out."""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items() if count)
    left = f" left ({reasons})" if reasons else ""
    return InputError(f"{table.name}: no rows{left}; expected at least one exposure")


def _alias(each: Column, number: int) -> str:
    """Return a name that no other column has, whatever the words of a feature are."""
    return each.name if each.name in COLUMNS else f"feature {number}"


def _own_names(view: Table, options: ReadOptions) -> dict[str, str]:
    """Return {column of the log: column of the file} of what is there."""
    found = {name: name for name in COLUMNS if name in view.types}
    for name, own in options.map.items():
        if own != ABSENT and own not in view.types:
            raise unknown("column", own, view.columns, where=view.name)
        found[name] = own
    if options.explode:
        found.setdefault("position", PLACE.strip('"'))
    if ACCEPTED.strip('"') in view.types:
        found["decision"] = ACCEPTED.strip('"')
    return found


def _require(found: _Found, table: Table) -> None:
    """Refuse a table that lacks what a log needs; the message proposes how to read it."""
    from csrec_core.data.guess import guess_options

    missing = [name for name in ("user", "item", "decision", "source") if name not in found.own]
    if "outcome" in found.own and "decision" in missing:
        missing.remove("decision")
    if len(found.options.arms) == 1 and "source" in missing:
        missing.remove("source")
    if not missing:
        return
    names = ", ".join(missing).replace("decision", "decision (or outcome)")
    columns = f"missing column{'s' * (len(missing) > 1)} {names}; found {listed(table.columns, 120)}"
    said = f"{table.name}: {columns}"
    guess = found.options.over(guess_options(table)[0])
    proposed = {*guess.map, *(["decision"] if guess.accept else []), *(["source"] if guess.arms else [])}
    if proposed - found.own.keys():
        python = f"csrec_core.read(log, map={str(guess)!r})"
        raise MissingColumns(f"{said}. Name yours with ", guess.command(), python)
    ways = ("--map source=..., or --arms NAME", "map='source=...', or arms={'NAME': 'NAME'}")
    reasons = (f" (no column says who chose the exposure: {way} if one arm made all)" for way in ways)
    command, python = (f"{reason * ('source' in missing)}. See csrec data check" for reason in reasons)
    raise MissingColumns(said, command, python)


def _arm_codes(found: _Found) -> tuple[Column, tuple[str, ...]]:
    """Return the column of codes of arms, and the arms; NULL for words that are none."""
    options, view = found.options, found.view
    if "source" not in found.own:
        arms = _categories(set(options.arms))
        return Column("source", "", f"{arms.index(next(iter(options.arms)))}::TINYINT", "an arm"), arms
    cells, expected = found.cells("source"), COLUMNS["source"]
    cells.refuse(("list", "other", "time"), expected, no="words")
    words = cells.words()
    arm_of = {word: arm for arm, named in options.arms.items() for word in named} or {
        each: each for each in words
    }
    for each in arm_of:
        if each not in words:
            raise unknown("word", each, words, where=f"{view.name}, {cells.own}")
    if len(set(arm_of.values())) > MOST_ARMS:
        raise InputError(
            f"{view.name}: column {shown(cells.own)} holds {len(words):,} words or more, such as "
            f"{shown(words[0])}; expected at most {MOST_ARMS} arms: another column, or --arms with some words"
        )
    typos = [] if options.arms else [each for each in arm_of if _is_typo(each, words)]
    if typos:
        expected = f"'self' or 'system' (did you mean {nearest(typos[0].lower(), SOURCES)!r}?)"
        arm_of = {word: arm for word, arm in arm_of.items() if word not in typos}
    arms = _categories(set(arm_of.values()))
    cases = " ".join(f"WHEN {sql_text(word)} THEN {arms.index(arm)}" for word, arm in arm_of.items())
    code = f"CAST(CASE {cells.text} {cases} END AS TINYINT)" if cases else "NULL::TINYINT"
    return Column("source", cells.own, code, expected, cells.raw, cells.missing(words=True)), arms


def _categories(arms: set[str]) -> tuple[str, ...]:
    return SOURCES if arms <= set(SOURCES) else tuple(sorted(arms))


def _is_typo(word: str, words: list[str]) -> bool:
    """Tell whether a word that is no arm of the paper is close to one, beside another that is one."""
    others = {*words} - {word}
    return (
        word not in SOURCES
        and bool(others & {*SOURCES})
        and bool(nearest(word.lower(), SOURCES, cutoff=0.74))
    )


def _row_columns(found: _Found) -> tuple[list[Column], str]:
    """Return the columns but the source, and the type of the times."""
    ids = {
        "user": Column("user", "user", ROW, COLUMNS["user"]),
        "item": Column("item", "item", "1::BIGINT", COLUMNS["item"]),
    }
    columns = [ids[name] if found.own[name] == ABSENT else found.cells(name).ids(name) for name in CODES]
    columns.append(_decision(found))
    columns += [found.cells(name).numbers(name) for name in NUMERIC_COLUMNS if name in found.own]
    times = ""
    if "timestamp" in found.own:
        needed = "t" not in found.own
        column, times = found.cells("timestamp").times(found.options.time, needed=needed)
        columns.append(column)
    return columns + feature_columns(found.view, found.options.features), times


def _decision(found: _Found) -> Column:
    options = found.options
    if "decision" not in found.own:
        positive = found.cells("outcome").numbers("outcome")
        return replace(positive, name="decision", value=f"CAST({positive.value} > 0 AS TINYINT)")
    cells = found.cells("decision")
    item = options.map.get("item", "item")
    if item in options.explode and cells.own not in options.explode and cells.own in found.view.columns:
        accepted = f"list_contains({as_list(found.view, cells.own)}, {quoted(item)})"
        value = f"CAST(coalesce({accepted}, false) AS TINYINT)"
        return Column("decision", cells.own, value, COLUMNS["decision"])
    if options.accept and not CONDITION.search(options.accept):
        return _accepted(cells, options.accept)
    return cells.numbers("decision")


def _accepted(cells: Cells, accept: str) -> Column:
    """Return a column of words as decisions: the words of `accept` are 1, others 0."""
    accepted = [word.strip() for word in accept.replace(",", "+").split("+") if word.strip()]
    words = cells.words()
    for each in accepted:
        if each not in words:
            raise unknown("word", each, words, where=f"--accept, column {cells.own}")
    value = f"CAST({cells.text} IN ({', '.join(map(sql_text, accepted))}) AS TINYINT)"
    expected = f"one of {listed(accepted)}, or another word"
    return Column("decision", cells.own, value, expected, cells.raw, cells.missing(words=True))


def _fetch(view: Table) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the columns as arrays, with codes for ids of text, and the texts."""
    labels: dict[str, list[str]] = {}
    codes, joins = [], ""
    for name in CODES:
        if view.types[name] != "VARCHAR":
            continue
        view.query(
            f"CREATE TEMP TABLE {name}_codes AS SELECT label, row_number() OVER (ORDER BY label) AS code "
            f'FROM (SELECT DISTINCT "{name}" AS label FROM {view.view})'
        )
        labels[name] = [row[0] for row in view.query(f"SELECT label FROM {name}_codes ORDER BY code")]
        codes.append(f'{name}_codes.code AS "{name}"')
        joins += f' JOIN {name}_codes ON typed_."{name}" = {name}_codes.label'
    replaced = f" REPLACE ({', '.join(codes)})" if codes else ""
    parts: dict[str, list[np.ndarray]] = {}
    for batch in view.batches(f"SELECT typed_.*{replaced} FROM {view.view} AS typed_{joins}"):
        for name in batch.schema.names:  # copied, so that the batch is freed
            parts.setdefault(name, []).append(np.array(batch[name].to_numpy(zero_copy_only=False)))
    return {name: np.concatenate(parts.pop(name)) for name in list(parts)}, labels
