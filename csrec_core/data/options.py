"""How a log is read: everything that was chosen, as one object, one line of text or one file."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from csrec_core.data.columns import COLUMNS, SELF, SOURCES, SYSTEM
from csrec_core.errors import InputError, shown, unknown
from csrec_core.files import read_mapping, write_text

ABSENT = "*"  # user=*: each row is a user of its own; item=*: all rows show the same item


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str | list | tuple):
        raise TypeError(value)
    return (value,) if isinstance(value, str) else tuple("" + word for word in value)


def _seconds(text: str | float) -> float:
    if not 0 <= (seconds := float(text)) < 1e12:
        raise ValueError(text)
    return seconds


def _separator(text: str) -> str:
    text = "\t" if text in ("tab", "\\t") else "" + text
    if len(text) > 1:
        raise ValueError(text)
    return text


#: By kind of option what a message expects, how a value becomes that, or raises TypeError, and the default.
OPTION_KINDS: dict[str, tuple[str, Callable[[Any], object], object]] = {
    "columns": (
        "lines 'ours: yours'",
        lambda of: {name: "+".join(_words(one)) for name, one in of.items()},
        {},
    ),
    "arms": ("lines 'arm: words'", lambda of: {arm: _words(words) for arm, words in of.items()}, {}),
    "text": ("text", lambda value: "" + value, ""),
    "words": ("words", _words, ()),
    "separator": ("one character, or tab", _separator, ""),
    "seconds": ("seconds", _seconds, None),
    "truth": ("true or false", {"true": True, "false": False, True: True, False: False}.__getitem__, False),
}


def _option(kind: str, metavar: str, says: str, flag: str = "") -> Any:
    """Declare an option, once for files, Python and the command line (`csrec_core.cli.reading`)."""
    about = {"kind": kind, "metavar": metavar, "help": says, "flag": flag}
    return field(default_factory=lambda: OPTION_KINDS[kind][2], metadata=about)


@dataclass(frozen=True)
class ReadOptions:
    """What was chosen to read a log.

    Examples
    --------
    >>> ReadOptions.parse("user=customer_id, self=organic+search, system=recommended").arms
    {'self': ('organic', 'search'), 'system': ('recommended',)}
    """

    #: {log column: column of the file}; `*` for a `user` or an `item` that the file does not have.
    map: Mapping[str, str] = _option("columns", "OURS=YOURS,...", "Which of your columns is which.")
    #: {arm: words of the file}; an arm without words is all of a file that has no column of sources.
    arms: Mapping[str, tuple[str, ...]] = _option(
        "arms", "NAME[=WORD+WORD],...", "The arms; others are left out."
    )
    #: As SQL on the columns of the file.
    where: str = _option("text", "SQL", "The rows to keep: \"channel != 'search'\".")
    #: Words of the decision column, or SQL.
    accept: str = _option("text", "WORDS|SQL", 'What is accepted: yes, click+buy, "rating >= 4".')
    #: Lists of one length.
    explode: tuple[str, ...] = _option("words", "COLUMN,...", "Lists, a row for each element.")
    #: As `feature_...`, besides those so named; text becomes a column of 0 and 1 a word.
    features: tuple[str, ...] = _option("words", "COLUMN,...", "What else to keep.", "--feature")
    header: tuple[str, ...] = _option("words", "NAME,...", "Names for a file without a header.")
    separator: str = _option("separator", "TEXT", "Between the columns.  [default: found]")
    #: Where they could be read in two ways.
    time: str = _option("text", "FORMAT", "How times are written, such as %d/%m/%Y.")
    #: Within so many seconds an accepted row answers a rejected one of the same user and item, in a log of events.
    merge: float | None = _option("seconds", "SECONDS", "A click belongs to its exposure.")
    distinct: bool = _option("truth", "", "Keep the first of rows that are alike.")

    @classmethod
    def parse(cls, text: str) -> "ReadOptions":
        """Read pairs such as `user=customer_id,self=organic`, or the line that `str` gives."""
        text = text.strip()
        if text.startswith("{"):
            return from_content(read_mapping(text, "map", typed=False), "map")
        columns, arms = _read_pairs(text)
        return cls(map=columns, arms=arms)

    def __str__(self) -> str:
        """Return the options as one line that `parse` reads."""
        content = self.content()
        if content.keys() <= {"map", "arms"} and set(self.arms) <= set(SOURCES) and not _unsafe(self):
            return _as_pairs(
                [*self.map.items(), *((arm, "+".join(words)) for arm, words in self.arms.items())]
            )
        return yaml.safe_dump(content, default_flow_style=True, width=1 << 30, sort_keys=False).strip()

    def content(self) -> dict[str, Any]:
        """Return what differs from the defaults, as YAML holds it."""
        default = vars(ReadOptions())
        values = {name: value for name, value in vars(self).items() if value != default[name]}
        if "arms" in values:
            values["arms"] = {arm: list(words) for arm, words in self.arms.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def command(self) -> str:
        """Return the options as words of the command line."""
        arms = [(arm, "+".join(words)) for arm, words in self.arms.items()]
        paper = set(self.arms) <= set(SOURCES)  # --map names them beside the columns
        texts = {"map": _as_pairs([*self.map.items(), *(arms if paper else [])])}
        named = [] if paper else [arm if words == arm else f"{arm}={words}" for arm, words in arms]
        texts["arms"] = ",".join(named)
        for name, value in self.content().items():
            if name not in (*texts, "distinct"):
                texts[name] = ",".join(value) if isinstance(value, list) else str(value)
        if self.merge is not None:
            texts["merge"] = f"{self.merge:g}"
        flags = {each.name: each.metadata["flag"] or f"--{each.name}" for each in fields(self)}
        given = [f"{flags[name]} {shlex.quote(text)}" for name, text in texts.items() if text]
        return " ".join([*given, *(["--distinct"] if self.distinct else [])])

    def with_arms(self, texts: Sequence[str]) -> "ReadOptions":
        """Add arms, each `name` or `name=word+word`."""
        arms = dict(self.arms)
        for text in texts:
            name, equals, words = text.partition("=")
            found = tuple(filter(None, words.split("+"))) if equals else (name,)
            if not name or not found or name in arms:
                raise InputError(f"--arms: {shown(text)}; expected a name once, or name=word+word")
            arms[name] = found
        return replace(self, arms=arms)

    def over(self, other: "ReadOptions") -> "ReadOptions":
        """Return these options, and what they leave open from another's."""
        own = self.content()
        left = {each.name: getattr(self if each.name in own else other, each.name) for each in fields(self)}
        return ReadOptions(**left | {"map": {**other.map, **self.map}})


def read_options(path: str | Path) -> ReadOptions:
    """Read the file of options that `write_options` wrote, or one written by hand.

    Raises
    ------
    InputError
        Where it is no YAML, stands by aliases for too much, or holds what is no option.
    """
    return from_content(read_mapping(Path(path), typed=False), str(path))


def write_options(options: ReadOptions, path: str | Path) -> Path:
    """Write the options as YAML, whole or not at all; `read_options` reads them."""
    return write_text(Path(path), yaml.safe_dump(options.content(), sort_keys=False, allow_unicode=True))


def _unsafe(options: ReadOptions) -> bool:
    """Tell whether a name holds what parts the pairs."""
    names = [*options.map.values(), *(word for words in options.arms.values() for word in words)]
    return any(re.search(r"[,=+{]|^\s|\s$", name) for name in names) or not all(options.arms.values())


def _as_pairs(pairs: list[tuple[str, str]]) -> str:
    return ",".join(f"{ours}={yours}" for ours, yours in pairs)


def _read_pairs(text: str) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    columns: dict[str, str] = {}
    arms: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, yours = (part.strip() for part in pair.partition("="))
        if not equals or not yours:
            raise InputError(f"map: {shown(pair)} is no pair; expected e.g. user=customer_id,item=asin")
        if ours in columns or ours in arms:
            raise InputError(f"map: column {ours!r} is given twice")
        if ours in SOURCES:
            arms[ours] = tuple(filter(None, yours.split("+")))
        else:
            columns[ours] = yours
    _check_map(columns)
    return columns, arms


def _check_map(columns: Mapping[str, str]) -> None:
    for ours, yours in columns.items():
        if ours not in COLUMNS:
            raise unknown("log column", ours, [*COLUMNS, SELF, SYSTEM], where="map")
        others = [name for name, column in columns.items() if column == yours != ABSENT and name != ours]
        if others and {ours, *others} != {"item", "source"}:
            raise InputError(f"map: your column {shown(yours)} stands for two; expected one use of each")
        if yours == ABSENT and ours not in ("user", "item"):
            raise InputError(f"map: {ours}=*; expected a column (only user and item may be absent)")


def from_content(content: Mapping[str, Any], where: str) -> ReadOptions:
    """Return the options that a mapping of their names holds; InputError, which says where, for what is none."""
    kinds = {each.name: each.metadata["kind"] for each in fields(ReadOptions)}
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in kinds:
            raise unknown("option", name, kinds, where=where)
        expected, convert, _ = OPTION_KINDS[kinds[name]]
        try:
            values[name] = convert(value)
        except (TypeError, ValueError, KeyError, AttributeError):
            raise InputError(f"{where}: {name}: {shown(value)}; expected {expected}") from None
    options = ReadOptions(**values)
    _check_map(options.map)
    return options
