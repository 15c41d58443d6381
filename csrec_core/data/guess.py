"""What the columns of a table may be: a guess by their values first, and by their names."""

import re
from dataclasses import replace

from csrec_core.data.clues import Clues, find_clues
from csrec_core.data.columns import COLUMNS, FEATURE, SELF, SYSTEM
from csrec_core.data.options import ABSENT, ReadOptions
from csrec_core.data.tables import ROW, Table, quoted, sql_text
from csrec_core.data.values import Cells
from csrec_core.data.views import CONDITION
from csrec_core.errors import listed

ENOUGH_POINTS = 2.0  # points without which a column is none of ours
FOLLOWED_SHARE = 0.9  # share of the clicks that must follow what was shown
SESSION_SECONDS = 1800  # seconds within which a click belongs to what was shown
PEOPLE = (
    "user|customer|visitor|member|client|reader|session|account|viewer|shopper|student|patient|listener|"
    "kunde|nutzer"
)
THINGS = (
    "item|product|asin|sku|article|book|track|movie|song|video|news|content|course|episode|artikel|produkt"
)
#: How others name the columns: points, pattern; the first that fits counts.
COLUMN_PATTERNS: dict[str, list[tuple[float, str]]] = {
    "user": [
        (3, rf"^({PEOPLE}|uid)_?(id|no|nr|key)?$"),
        (2, rf"{PEOPLE}|uid$"),
    ],
    "item": [
        (3, rf"^({THINGS})_?(id|no|nr|key)?s?$"),
        (2, rf"{THINGS}|impressions$|inview"),
    ],
    "decision": [
        (-9, r"hate|dislike|unlike|skip|block|rand|enter|stay"),
        (4, r"click|decision"),
        (3, r"bought|purchase|convert|conversion|accept|label|reward|visit|ordered|response"),
        (2.5, r"rating|stars|event|action|behaviou?r$|interaction"),
        (1, r"like|follow|view|watch|play"),
    ],
    "source": [
        (4, r"^(source|arm|variant|policy|treatment|segment|channel)$"),
        (
            3,
            r"source|shown_by|channel|origin|regime|^arm|variant|policy|treat|segment|is_rand|(^|is_)rec|bucket",
        ),
        (2, r"campaign|group|strateg|algo|experiment|method"),
    ],
    "timestamp": [(2, r"time|date|^ts$|_at$|when|week|day|month")],
    "t": [(3, r"^t$|_no$|step|order|sequence|index|nth")],
    "position": [(3, r"position|rank$|slot|^pos$")],
    "propensity": [(3, r"propensit|pscore|^prob")],
    "outcome": [
        (3, r"spen[dt]|revenue|amount|(watch|play)_?time|dwell|duration|minutes|seconds|gmv|sales|profit"),
        (2, r"outcome|value|price|score|y$"),
    ],
}
#: How others call the two arms of the paper.
ARM_WORDS = {
    SELF: r"self|user|organic|own|search|brows|direct|manual|^such|organisch",
    SYSTEM: r"sys|^rec|recommend|algo|push|auto|personal|suggest|empf|vorschl",
}
NO_TREATMENT = r"^(no|none|control|holdout|placebo)\b"
BY_SYSTEM = r"rec|sys|algo|push|sponsor"  # what a column of 0 and 1 is named where 1 is the system
ACCEPTING = (
    r"^(y|yes|t|true|ja|j|oui|s[ií]|sim|tak|да|是|click(ed)?|purchased?|buy|bought|accept(ed)?|convert(ed)?|"
    r"conversion|like[ds]?|ordered|opened|success|positive|subscribed|booked|added|played|watched|read)$"
)


def guess_options(table: Table) -> tuple[ReadOptions, dict[str, str]]:
    """Guess how to read a table as a log; what nothing speaks for is left open.

    Returns the options, and for columns of the log the column of the file and the evidence.
    """
    clues = find_clues(table)
    points = [
        (value, role, name)
        for role, judge in JUDGES.items()
        for name, clue in clues.items()
        if (value := judge(clue, _named(role, name))) >= ENOUGH_POINTS
    ]
    points += [(99, name, name) for name in COLUMNS if name in clues]
    chosen: dict[str, str] = {}
    for _, role, name in sorted(points, key=lambda point: (-point[0], list(COLUMNS).index(point[1]))):
        if role not in chosen and name not in chosen.values():
            chosen[role] = name
    chosen |= _by_elimination(clues, chosen)
    items = clues.get(chosen.get("item", ""))
    if "decision" not in chosen and items and items.lists:
        for name, clue in clues.items():
            if clue.lists and clue is not items and clue.within(items):
                chosen["decision"] = name
    if "timestamp" in chosen and chosen.get("t", "t") != "t":
        del chosen["t"]
    if chosen.get("t") == "t" and (day := clues.get(chosen.get("timestamp", ""))) and day.repeats > 2:
        chosen = {role: name for role, name in chosen.items() if role != "timestamp" or name == role}
    if "decision" in chosen and chosen.get("outcome", "outcome") != "outcome":
        del chosen["outcome"]  # a yes or no is what is asked, where there is one
    reasons = {role: f"{name}: {_evidence(clues[name])}" for role, name in chosen.items()}
    for role in ("user", "item"):
        if role not in chosen and "source" in chosen and {"decision", "outcome"} & chosen.keys():
            chosen[role] = ABSENT
            reasons[role] = "no such column: " + (
                "each row is a user" if role == "user" else "all rows show one item"
            )
            if nested := [name for name in table.columns if Cells(table, name).kind == "other"]:
                reasons[role] += f"; not read, as nested or binary: {listed(nested)}"
    options = _options(table, clues, chosen)
    if _are_events(table, options):
        reasons["merge"] = f"a click is a row of its own, within {SESSION_SECONDS} s of what was shown"
        options = replace(options, merge=SESSION_SECONDS)
    return options, reasons


def _by_elimination(clues: dict[str, Clues], chosen: dict[str, str]) -> dict[str, str]:
    """Return roles that no name tells, of the columns that are left: arms by few words, ids by many, in order."""
    left = {name: clue for name, clue in clues.items() if name not in chosen.values() and not clue.time}
    found = {}
    if "source" not in chosen:
        few = [name for name, clue in left.items() if 2 <= clue.distinct <= 8 and clue.repeats >= 10]
        few = [name for name in few if not left[name].numeric and not left[name].lists]
        found = {"source": few[0]} if len(few) == 1 else {}
    lists = [name for name, clue in left.items() if clue.lists and not clue.marks]
    # A dozen numbers in many rows, such as months since the last purchase, describe rows; they tell none apart.
    ids = [
        name
        for name, clue in left.items()
        if clue.identifies and clue.repeats >= 2 and clue.distinct > max(8, len(clue.texts) ** 0.5 / 2)
    ]
    for role in ("user", "item"):
        names = lists if role == "item" and lists else ids
        if role not in chosen and names:
            found[role] = names.pop(0)
    return found


def _are_events(table: Table, options: ReadOptions) -> bool:
    """Tell whether what was accepted is a row of its own after the row of what was shown."""
    names = [options.map.get(name, name) for name in ("user", "item", "decision")]
    if (
        not options.accept
        or CONDITION.search(options.accept)
        or options.explode
        or "timestamp" not in options.map
        or {*names} - {*table.types}
    ):
        return False
    user, item, decision = (f"CAST({quoted(name)} AS VARCHAR)" for name in names)
    accepted = f"{decision} IN ({', '.join(map(sql_text, options.accept.split('+')))})"
    earlier = (
        f"bool_or(NOT {accepted}) OVER (PARTITION BY {user}, {item} ORDER BY {ROW} ROWS UNBOUNDED PRECEDING)"
    )
    rows = f"SELECT {accepted} AS accepted, {earlier} AS shown FROM file"
    share = table.query(f"SELECT avg(shown::INT) FROM ({rows}) WHERE accepted")[0][0]
    return share is not None and share >= FOLLOWED_SHARE


def _options(table: Table, clues: dict[str, Clues], chosen: dict[str, str]) -> ReadOptions:
    """Return the options that say what was chosen."""
    lists = tuple(
        name
        for role in ("item", "decision", "position", "propensity")
        if (name := chosen.get(role)) in clues
        and clues[name].lists
        and (role != "decision" or clues[name].marks)
    )
    if "item" in chosen and chosen["item"] not in lists:
        lists = ()
    accept = _accept(clues[chosen["decision"]]) if "decision" in chosen else ""
    arms = _arm_words(clues[chosen["source"]]) if "source" in chosen else {}
    words = [
        name
        for name in clues
        if name.startswith(FEATURE) and not clues[name].numeric and 1 < clues[name].distinct <= 20
    ]
    return ReadOptions(
        map={role: chosen[role] for role in COLUMNS if chosen.get(role, role) != role},
        arms=arms,
        accept=accept,
        where=" and ".join(_needed(table, chosen, lists)),
        explode=lists,
        features=tuple(words),
    )


def _needed(table: Table, chosen: dict[str, str], lists: tuple[str, ...]) -> list[str]:
    """Return the conditions that leave out rows without a value that each row needs."""
    tests = {}
    for role, name in chosen.items():
        if name == ABSENT or name in lists or (cells := Cells(table, name)).kind in ("list", "other"):
            continue
        shown = name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else cells.raw
        if role in ("user", "item", "decision", "source") or (role == "timestamp" and "t" not in chosen):
            words = role in ("user", "item", "source") and cells.kind == "text"
            tests[f"{shown} <> ''" if words else f"{shown} is not null"] = cells.missing(words=words)
        elif role == "propensity" and not _zero_for_an_arm(table, cells, chosen):
            tests[f"{shown} > 0"] = f"TRY_CAST({cells.raw} AS DOUBLE) = 0"
    if not tests:
        return []
    counts = table.query(f"SELECT {', '.join(f'count_if({test})' for test in tests.values())} FROM file")[0]
    return [condition for condition, count in zip(tests, counts, strict=True) if count]


def _zero_for_an_arm(table: Table, chance: Cells, chosen: dict[str, str]) -> bool:
    """Tell whether an arm has chances of 0 alone, which stand for none: without these rows it would be gone."""
    if (arm := chosen.get("source", ABSENT)) == ABSENT:
        return False
    zero = f"SELECT bool_and(TRY_CAST({chance.raw} AS DOUBLE) = 0) AS zero FROM file GROUP BY {quoted(arm)}"
    return bool(table.query(f"SELECT bool_or(zero) FROM ({zero})")[0][0])


def _accept(clue: Clues) -> str:
    """Return which words, or which ratings, are acceptances; empty for 0 and 1."""
    if clue.binary or clue.lists:
        return ""
    if clue.numeric:
        if (top := clue.numbers.max()) < 4:
            return ""
        name = clue.name if re.fullmatch(r"[a-z_][a-z0-9_]*", clue.name) else quoted(clue.name)
        return f"{name} >= {4 if top <= 5 else 7}"
    return "+".join(word for word in clue.words if re.search(ACCEPTING, word.lower()))


def _arm_words(clue: Clues) -> dict[str, tuple[str, ...]]:
    """Return which words are the user and which the system; empty where they are arms of their own."""
    if clue.binary and len(clue.words) == 2:
        no, yes = clue.words
        if re.search(BY_SYSTEM, clue.name.lower()):
            return {SELF: (no,), SYSTEM: (yes,)}
        name = re.sub(r"^is_", "", clue.name.lower())
        return {name: (yes,), f"not_{name}": (no,)}
    if set(clue.words) <= {SELF, SYSTEM}:
        return {}
    likely = {
        arm: tuple(word for word in clue.words if re.search(words, word.lower()))
        for arm, words in ARM_WORDS.items()
    }
    apart = not set(likely[SELF]) & set(likely[SYSTEM])
    if apart and (all(likely.values()) or any(len(words) == len(clue.words) for words in likely.values())):
        return {arm: words for arm, words in likely.items() if words}
    return {}


def _named(role: str, name: str) -> float:
    return next((points for points, pattern in COLUMN_PATTERNS[role] if re.search(pattern, name.lower())), 0)


def _identifies(clue: Clues, named: float) -> float:
    """Judge a column as ids: several, whole or text, better if they come back; numbers as large as times may be."""
    if clue.distinct < 2 or (clue.time and not clue.numeric) or not (clue.identifies or clue.lists):
        return 0
    return named + (clue.repeats >= 1.5) * 0.5 + (not clue.numeric) * 0.25 if named else 0


def _decides(clue: Clues, named: float) -> float:
    if clue.lists:
        return named + 2 if clue.marks else 0
    if clue.binary:
        return named + clue.distinct  # a column that is always 0 tells less
    if clue.words and any(re.search(ACCEPTING, word.lower()) for word in clue.words):
        return named + 1.5 + 0.5 * (clue.distinct == 2)
    rating = (
        clue.whole and 2 <= clue.distinct <= 11 and clue.numbers.min() >= 0 and 4 <= clue.numbers.max() <= 10
    )
    return named if rating and named > 2 else 0


def _chooses(clue: Clues, named: float) -> float:
    """Judge a column as arms: a few words that come back."""
    if not clue.words or clue.lists or clue.time or (clue.repeats < 2 and len(clue.texts) > 20):
        return 0
    patterns = (*ARM_WORDS.values(), NO_TREATMENT)
    known = any(re.search(pattern, word.lower()) for word in clue.words for pattern in patterns)
    if clue.numeric:
        return named if named >= 3 and clue.binary and clue.distinct == 2 else 0
    return (named + 2 * known) if clue.distinct > 1 or named else 0


def _times(clue: Clues, named: float) -> float:
    """Judge a column as times: by the values alone, the finer the better."""
    if clue.time:
        return 2 + named + clue.distinct / max(len(clue.texts), 1)
    return named if clue.whole and not clue.binary else 0  # numbers of any clock, by the name alone


JUDGES = {
    "user": lambda clue, named: 0 if clue.lists else _identifies(clue, named),
    "item": _identifies,
    "decision": _decides,
    "source": _chooses,
    "timestamp": _times,
    "t": lambda clue, named: named if clue.whole and not clue.time and not clue.binary else 0,
    "position": lambda clue, named: named if clue.whole and clue.numbers.between(0, 10_000).all() else 0,
    "propensity": lambda clue, named: (
        named if clue.numeric and clue.numbers.between(0, 1).all() and not clue.binary else 0
    ),
    "outcome": lambda clue, named: (
        named if clue.numeric and not clue.binary and not clue.time and clue.distinct > 2 else 0
    ),
}


def _evidence(clue: Clues) -> str:
    """Return what speaks for a column, in a few words."""
    if clue.lists:
        return "lists"
    if clue.time:
        return f"times ({clue.time}), {clue.distinct:,} different"
    if clue.words and clue.distinct <= 6:
        shares = clue.texts.value_counts(normalize=True)
        return ", ".join(f"{word[:20]} {share:.0%}" for word, share in shares.items())
    kind_ = "numbers" if clue.numeric else "words"
    return f"{clue.distinct:,} {kind_}, each {clue.repeats:.3g} times in {len(clue.texts):,} rows"
