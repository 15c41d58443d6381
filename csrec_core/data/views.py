"""The rows that are kept of a table, one for each exposure: conditions and lists, as views in SQL."""

import re

from csrec_core.data.options import ReadOptions
from csrec_core.data.tables import ROW, Table, quoted
from csrec_core.data.values import Cells
from csrec_core.errors import InputError, shown, unknown

PLACE = '"place in the list"'
ACCEPTED = '"is accepted"'  # by the condition of `ReadOptions.accept`
NOT_SHOWN = "accepted, but in no list"
AS_IT_IS = " as it is"  # the text of a column that stands for its numbers in a condition
CONDITION = re.compile(r"[<>=!()]|\b(is|in|like|between|and|or|not)\b", re.IGNORECASE)
LIST_AND_DECISION = "'^(.+)-([01])$'"  # an element of a list as MIND writes it: N55689-1
LIST = r"'[\s,;|]+'"  # what parts the elements of a list that is written as text


def keep_rows(table: Table, options: ReadOptions) -> Table:
    """Return the rows that `where` keeps, with `ACCEPTED` if `accept` is a condition."""
    if options.where:
        table = _with_condition(table, "kept", options.where, "--where")
    if CONDITION.search(options.accept):
        table = _with_condition(table, "judged", options.accept, "--accept")
    return table


def _with_condition(view: Table, name: str, condition: str, option: str) -> Table:
    """Apply a condition, in which a column of text that spells numbers stands for numbers."""
    with view.spoken(option):
        if len(view.connection.extract_statements(f"SELECT ({condition})")) != 1:
            raise InputError(f"{option}: {shown(condition)}; expected one condition, such as rating >= 4")
    used = [each for each in view.types if re.search(rf"(?i)(?<!\w){re.escape(each)}(?!\w)", condition)]
    cells = [Cells(view, each) for each in used if _spells_numbers(Cells(view, each))]
    typed = [
        f"CASE WHEN NOT {each.missing()} THEN CAST({each.raw} AS DOUBLE) END AS {each.raw}" for each in cells
    ]
    kept = [quoted(each.own + AS_IT_IS) for each in cells]
    inner = outer = "*"
    if cells:
        columns = [each.raw for each in cells]
        inner = f"* REPLACE ({', '.join(typed)}), " + ", ".join(map("{} AS {}".format, columns, kept))
        back = ", ".join(map("{} AS {}".format, kept, columns))
        outer = f"* EXCLUDE ({', '.join(kept)}) REPLACE ({back})"
    rows = f"(SELECT {inner} FROM {view.view})"
    if option == "--where":
        return view.select(name, f"SELECT {outer} FROM {rows} WHERE ({condition})", part=option)
    return view.select(name, f"SELECT {outer}, ({condition}) AS {ACCEPTED} FROM {rows}", part=option)


def _spells_numbers(cells: Cells) -> bool:
    rows = f"(SELECT {cells.raw} AS x FROM {cells.table.view} WHERE NOT {cells.missing()} LIMIT 10000)"
    form = "'-?(0|[1-9][0-9]*)([.][0-9]*)?([eE][-+]?[0-9]+)?'"
    test = f"coalesce(bool_and(regexp_full_match(x, {form})), false)"
    return cells.kind == "text" and cells.table.one(test, rows)


def open_lists(view: Table, names: tuple[str, ...]) -> Table:
    """Return a row for each element of the lists in these columns, with its place from 1."""
    if not names:
        return view
    for name in names:
        if name not in view.types:
            raise unknown("column", name, view.columns, where=f"{view.name}, --explode")
    if len(set(names)) < len(names):
        raise InputError(f"--explode {','.join(names)}: a column is named twice; expected each once")
    lists = ", ".join(f"{as_list(view, name)} AS {quoted(name)}" for name in names)
    view = view.select("listed", f"SELECT * REPLACE ({lists}) FROM {view.view}", part="--explode")
    lengths = [f"coalesce(len({quoted(name)}), 0)" for name in names]
    for name, length in zip(names[1:], lengths[1:], strict=True):
        columns = f"SELECT {ROW}, {lengths[0]}, {length} FROM {view.view} WHERE {lengths[0]} <> {length}"
        if rows := view.query(f"{columns} ORDER BY {ROW} LIMIT 1"):
            row, one, other = rows[0]
            raise InputError(
                f"{view.name}: row {row}: {one} elements in {shown(names[0])}, {other} in "
                f"{shown(name)}; expected lists of one length"
            )
    elements = ", ".join(f"unnest({quoted(name)}) AS {quoted(name)}" for name in names)
    place = f"generate_subscripts({quoted(names[0])}, 1) AS {PLACE}"
    return view.select(
        "exploded", f"SELECT * REPLACE ({elements}), {place} FROM {view.view}", part="--explode"
    )


def as_list(view: Table, name: str) -> str:
    """Return a column as a list: of Parquet or JSON, or text such as `a b c` or `['a', 'b']`."""
    column, kind = quoted(name), Cells(view, name).kind
    if kind == "list":
        return column
    if kind != "text":
        raise InputError(f"--explode: column {shown(name)} holds single values; expected lists")
    plain = f"regexp_split_to_array(trim({column}, ' []()'), {LIST})"
    plain = f"[trim(x, '\"''') FOR x IN {plain} IF x <> '']"
    json = f"starts_with({column}, '[') AND json_valid({column})"
    return f"CASE WHEN {json} THEN CAST(from_json({column}, '[\"VARCHAR\"]') AS VARCHAR[]) ELSE {plain} END"


def count_not_shown(view: Table, decision: str, item: str) -> int:
    """Return how many elements of the lists of accepted items are not in the lists of items."""
    accepted, shown_items = as_list(view, decision), as_list(view, item)
    lost = f"len(list_distinct({accepted})) - len(list_intersect({accepted}, {shown_items}))"
    return int(view.one(f"coalesce(sum({lost}), 0)"))


def split_decisions(view: Table, options: ReadOptions) -> Table:
    """Part elements such as N55689-1 into item and decision, where all are so and no column has decisions."""
    own = options.map.get("item", "item")
    if own not in options.explode or {"decision"} & {*view.types, *options.map} or options.accept:
        return view
    item = quoted(own)
    marked = f"coalesce(bool_and(regexp_matches({item}, {LIST_AND_DECISION})), false)"
    if Cells(view, own).kind != "text" or not view.one(marked):
        return view
    parts = [f"regexp_extract({item}, {LIST_AND_DECISION}, {group})" for group in (1, 2)]
    return view.select(
        "split", f"SELECT * REPLACE ({parts[0]} AS {item}), {parts[1]} AS decision FROM {view.view}"
    )


def without_repeats(view: Table, options: ReadOptions) -> tuple[Table, dict[str, int]]:
    """Keep the first of rows that are alike but for their number."""
    if not options.distinct:
        return view, {}
    same = ", ".join(quoted(name) for name in view.types if name != "row")
    first = f"SELECT * FROM {view.view} QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY row) = 1"
    single = view.select("single", first, part="--distinct")
    return single, {"repeats": view.one("count(*)") - single.one("count(*)")}


def with_answers(view: Table, options: ReadOptions, times: str) -> tuple[Table, dict[str, int]]:
    """Make of an exposure and the accepted row that answers it one row.

    An accepted row belongs to the latest rejected one of the same user and item, at most `merge` seconds
    before.
    """
    if options.merge is None:
        return view, {}
    if "timestamp" not in view.types:
        raise InputError(f"{view.name}: --merge needs times; expected --map timestamp=...")
    second = {"datetime64[us]": 1e6, "datetime64[ns]": 1e9}.get(times) or _second(view)
    answers = (
        f"SELECT shown.row FROM (FROM {view.view} WHERE decision = 1) AS answer "
        f"ASOF JOIN (FROM {view.view} WHERE decision = 0) AS shown "
        'ON answer."user" = shown."user" AND answer.item = shown.item AND '
        "answer.timestamp >= shown.timestamp "
        f"WHERE answer.timestamp - shown.timestamp <= {options.merge * second}"
    )
    answered = f"CAST(row IN ({answers}) AS TINYINT) AS decision"
    merged = f"SELECT * REPLACE ({answered}) FROM {view.view} WHERE decision = 0"
    lost = view.one("count_if(decision = 1)") - view.one("count(*)", f"({answers})")
    return view.select("answered", merged, part="--merge"), {"accepted without an exposure": lost}


def _second(view: Table) -> float:
    """Return how many units of a clock of numbers are a second: 1, or as many as make years of it."""
    latest = view.one("max(abs(timestamp))")
    return next((unit for unit, years in ((1e9, 1e17), (1e6, 1e14), (1e3, 1e11)) if latest > years), 1.0)
