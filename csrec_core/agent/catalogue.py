"""The books that agents are asked about: the catalogue of this package, or one's own file."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.values import read_table
from csrec_core.errors import InputError

BOOK_COLUMNS = ("title", "author", "year", "genre")
OWN = Path(__file__).with_name("catalogue.csv")
LONGEST_TITLE = 300  # characters of a title, an author or a genre: each is sent with many questions
YEARS = (-3000, 2100)


def load_catalogue(path: str | Path | None = None) -> pd.DataFrame:
    """Return the catalogue, a row a book.

    Parameters
    ----------
    path : path, optional
        A table, such as a CSV file, with the columns `title`, `author`, `year` and `genre`, of which author and year
        may be empty, and optionally `keywords`, separated by `;`. By default the package's own catalogue of
        1,084 books in ten genres; years before printing are those that scholars give, negative before Christ.

    Returns
    -------
    DataFrame
        `item` from 1 in the order of the file, `title`, `author`, `year` (Int64, missing where empty),
        `genre`, and `keywords` where the file has them.

    Raises InputError, which names the file, the row (from 1, the header not counted), and what was expected.
    """
    path = Path(path) if path else OWN
    table = _read_books(path)
    for column in ("title", "genre"):
        _refuse_cell(path, table, table[column] == "", column, "a name")
    for column in ("title", "author", "genre"):
        too_long = table[column].str.len() > LONGEST_TITLE
        _refuse_cell(path, table, too_long, column, f"at most {LONGEST_TITLE} characters")
    year = pd.to_numeric(table["year"].where(table["year"] != ""), errors="coerce")
    wrong = (table["year"] != "") & ~(year.between(*YEARS) & (year % 1 == 0))
    _refuse_cell(path, table, wrong, "year", f"a whole number from {YEARS[0]} to {YEARS[1]}, or nothing")
    names = table["title"].map(plain_title) + " / " + table["author"].str.casefold()
    _refuse_cell(path, table, names.duplicated(), "title", "each book once")
    if table["genre"].nunique() < 2:
        raise InputError(
            f"{path}: all books are of one genre; expected two at least, or preferences are all alike"
        )
    table["year"] = year.astype("Int64")
    table.insert(0, "item", range(1, len(table) + 1))
    return table


def plain_title(title: str) -> str:
    """Return a title in small letters, without accents, marks and articles, to tell near-duplicates."""
    plain = unicodedata.normalize("NFKD", title).casefold()
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = re.findall(r"\w+", letters)
    return " ".join(word for word in words if word not in ("the", "a", "an")) or title.strip()


def genres_of(catalogue: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the genre of each book, numbered from 0, and their names in the order in which preferences list them."""
    numbers, names = pd.factorize(catalogue["genre"], sort=True)
    return numbers, list(names)


def keywords_of(catalogue: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the keywords of each book, none where the catalogue has none."""
    texts = catalogue["keywords"] if "keywords" in catalogue else [""] * len(catalogue)
    return [tuple(word.strip() for word in text.split(";") if word.strip()) for text in texts]


def _read_books(path: Path) -> pd.DataFrame:
    table = read_table(path, texts=(*BOOK_COLUMNS, "keywords"))  # a title of digits is a title
    if missing := [column for column in BOOK_COLUMNS if column not in table.columns]:
        names = f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}"
        found = ", ".join(table.columns)
        raise InputError(f"{path}: {names}; found {found}; expected {', '.join(BOOK_COLUMNS)}")
    kept = [column for column in (*BOOK_COLUMNS, "keywords") if column in table.columns]
    return table[kept].astype(object).fillna("").astype(str).apply(lambda column: column.str.strip())


def _refuse_cell(path: Path, table: pd.DataFrame, bad: pd.Series, column: str, expected: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        shown = table[column].iloc[row][:60]
        raise InputError(f"{path}: row {row + 1}: {column} = {shown!r}; expected {expected}")
