"""The columns of the log, each named once, and what a file calls them and the words in them."""

import re

import pandas as pd

from csrec_core.errors import InputError, nearest, unknown

__all__ = [
    "COLUMNS",
    "OPTIONAL",
    "REQUIRED",
    "SELF",
    "SOURCES",
    "SYSTEM",
    "parse_map",
    "rename_columns",
    "require_columns",
    "suggest_words",
]

SELF, SYSTEM = "self", "system"
SOURCES = (SELF, SYSTEM)
REQUIRED = ("user", "t", "item", "decision", "source")
OPTIONAL = ("propensity", "probability", "timestamp")
COLUMNS = REQUIRED + OPTIONAL
# What other people call our columns, to suggest a mapping.
OTHER_NAMES = {
    "user": r"user|customer|visitor|member|client|reader|session",
    "item": r"item|product|asin|sku|article|book|track|movie|song",
    "t": r"_no$|step|order|position|sequence|rank|index|nth",
    "decision": r"decision|bought|purchased?|click|accept|label|convert",
    "source": r"source|shown_by|regime|origin|channel",
    "timestamp": r"time|date|^ts$|_at$",
}
# And what they call the sources.
OTHER_WORDS = {
    SELF: r"self|user|organic|own|search|brows|direct|manual|^false$|^0$",
    SYSTEM: r"sys|recommend|^rec|algo|push|auto|model|personal|suggest|^true$|^1$",
}
MANY = 8  # words in a column of sources, past which it is another column


def parse_map(text: str) -> dict[str, str]:
    """Read `user=customer_id,item=asin` into {log column: column of the file}.

    `self=organic,system=recommended+ad` name the words of the column `source`, several with a plus between.
    """
    mapping = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        column, equals, name = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise InputError(f"map: {pair!r} is no pair; expected e.g. user=customer_id,item=asin")
        if column not in (*COLUMNS, *SOURCES):
            raise unknown("log column", column, [*COLUMNS, *SOURCES], where="map")
        if column in mapping:
            raise InputError(f"map: column {column!r} is given twice")
        if column in COLUMNS and name in mapping.values():
            raise InputError(f"map: your column {name!r} stands for two; expected one use of each")
        mapping[column] = name
    return mapping


def rename_columns(frame: pd.DataFrame, mapping: dict[str, str], *, where: str) -> pd.DataFrame:
    """Return the frame with our names of columns and of sources, for those that `parse_map` maps."""
    columns = {column: name for column, name in mapping.items() if column in COLUMNS}
    for column, name in columns.items():
        if name not in frame.columns:
            raise unknown("column", name, frame.columns, where=where)
        if column in frame.columns and column != name:
            frame = frame.drop(columns=column)
    frame = frame.rename(columns={name: column for column, name in columns.items()})
    words = {word: source for source in SOURCES for word in mapping.get(source, "").split("+") if word}
    if not words or "source" not in frame.columns:
        return frame
    written = frame["source"].astype(str)
    for word in words:
        if word not in set(written):
            raise unknown(
                "word", word, sorted(set(written))[:MANY], where=f"{where}, {columns.get('source', 'source')}"
            )
    return frame.assign(source=written.map(words).fillna(frame["source"]))


def suggest_words(values: pd.Series) -> str:
    """Return how to map the words of a column of sources, to be added to a message."""
    found = sorted(set(values.dropna().astype(str)) - set(SOURCES))
    if len(found) > MANY:
        return ""
    if (close := [nearest(word, SOURCES) for word in found]) and all(close):
        return f" (did you mean {close[0]!r}?)"
    return f"; name the words with --map {','.join(_word_pairs(found)) or 'self=...,system=...'}"


def _word_pairs(words: list[str]) -> list[str]:
    """Return `self=organic` and `system=recommended` for the words that are likely so."""
    likely = {
        source: [word for word in words if re.search(pattern, word.lower())]
        for source, pattern in OTHER_WORDS.items()
    }
    return [f"{source}={'+'.join(names)}" for source, names in likely.items() if names]


def _likely(column: str, spare: list) -> str:
    """Return the column of a file that most likely is this one of ours, or dots."""
    known = [name for name in spare if re.search(OTHER_NAMES.get(column, "$^"), str(name).lower())]
    return str(known[0]) if known else nearest(column, spare) or "..."


def require_columns(frame: pd.DataFrame, where: str, names: dict[str, str]) -> None:
    """Refuse a frame that lacks a column the log needs; the message suggests which of its own it may be."""
    missing = [column for column in REQUIRED if column not in frame.columns]
    if "timestamp" in frame.columns and "t" in missing:
        missing.remove("t")
    if not missing:
        return
    found = [names.get(column, column) for column in frame.columns]
    spare = [column for column in frame.columns if column not in COLUMNS]
    pairs = dict(names)
    for column in missing:
        times = [name for name in spare if re.search(OTHER_NAMES["timestamp"], str(name).lower())]
        if column == "t" and times:
            pairs["timestamp"] = times[0]
        else:
            pairs[column] = _likely(column, spare)
    also = " ('t' may be derived from a 'timestamp')" if "t" in missing else ""
    given = [f"{column}={name}" for column, name in pairs.items()]
    if pairs.get("source") in frame.columns and not set(SOURCES) & set(pairs):
        given += _word_pairs(sorted(set(frame[pairs["source"]].dropna().astype(str)) - set(SOURCES))[:MANY])
    raise InputError(
        f"{where}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; found "
        f"{', '.join(map(str, found))}{also}. Name yours with --map " + ",".join(given)
    )
