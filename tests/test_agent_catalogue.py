"""The catalogue of real books: complete, plausible, without near-duplicates; own files are checked."""

import difflib
import string

import numpy as np
import pytest

from csrec_core.agent.catalogue import load_catalogue, plain_title
from csrec_core.errors import InputError


def test_ten_genres_of_a_hundred_books(catalogue):
    counts = catalogue["genre"].value_counts()
    assert len(counts) >= 10
    assert counts.min() >= 100
    assert catalogue["item"].to_list() == list(range(1, len(catalogue) + 1))


def test_every_book_has_a_title_an_author_and_a_year(catalogue):
    for column in ("title", "author", "genre"):
        assert catalogue[column].str.len().min() > 0
        assert (catalogue[column] == catalogue[column].str.strip()).all()
    assert catalogue["year"].between(-800, 2025).all()
    assert (catalogue["year"] > 1450).mean() > 0.98  # few are older than printing


def test_a_book_is_in_one_genre_only(catalogue):
    assert not catalogue["title"].map(plain_title).duplicated().any()


def test_no_two_titles_are_nearly_the_same(catalogue):
    """By difflib; titles that share too few letters to be alike are not compared."""
    titles = catalogue["title"].map(plain_title).to_list()
    letters = string.ascii_lowercase + string.digits + " "
    counts = np.array([[title.count(letter) for letter in letters] for title in titles], dtype=np.int16)
    total = counts.sum(axis=1)
    for i in range(1, len(titles)):
        shared = np.minimum(counts[i], counts[:i]).sum(axis=1)
        for j in np.flatnonzero(2 * shared > 0.85 * (total[i] + total[:i])):
            ratio = difflib.SequenceMatcher(None, titles[i], titles[j], autojunk=False).ratio()
            assert ratio < 0.85, (titles[i], titles[j])


def test_plain_titles_know_no_articles_accents_or_marks():
    assert plain_title("The Château: A Novel!") == plain_title("chateau, novel") == "chateau novel"
    assert plain_title("A") == "A"  # of nothing but an article, that is left


def write(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_an_own_catalogue(tmp_path):
    rows = 'title,author,year,genre,keywords,price\nNA,,,essay,,3\n"Yes, no",B,-20,poem,sea; love,4\n'
    table = load_catalogue(write(tmp_path, rows))
    assert table["title"].to_list() == ["NA", "Yes, no"]
    assert table["year"].isna().to_list() == [True, False]
    assert list(table.columns) == ["item", "title", "author", "year", "genre", "keywords"]


def test_titles_of_digits_are_titles(tmp_path):
    table = load_catalogue(write(tmp_path, "title,author,year,genre\n007,a,1,b\n1984,a,2,c\n1e3,a,,c\n"))
    assert table["title"].to_list() == ["007", "1984", "1e3"] and table["year"].to_list()[:2] == [1, 2]


def test_a_catalogue_in_the_letters_of_windows(tmp_path):
    table = load_catalogue(write(tmp_path, b"title;author;year;genre\n\xe9t\xe9;b;1;c\n007;e;;f\n"))
    assert table["title"].to_list() == ["été", "007"] and table["year"].isna().to_list() == [False, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title,author,year\na,b,1\n", "missing column genre; found title, author, year"),
        ("title,author,year,genre\n ,b,1,c\nd,e,2,f\n", "row 1: title = ''; expected a name"),
        ("title,author,year,genre\na,b,1,c\nd,e,2.5,f\n", "row 2: year = '2.5'; expected a whole number"),
        (
            "title,author,year,genre\na,b,1,c\nThe A,B,2,f\na,b,3,f\n",
            "row 3: title = 'a'; expected each book",
        ),
        ("title,author,year,genre\na,b,1,c\nd,e,2,c\n", "all books are of one genre"),
        (f"title,author,year,genre\n{'a' * 301},b,1,c\nd,e,2,f\n", "at most 300 characters"),
        ("", "the file is empty"),
        (None, "no such file"),
    ],
)
def test_a_bad_catalogue_is_refused(tmp_path, text, says):
    path = tmp_path / "absent.csv" if text is None else write(tmp_path, text)
    with pytest.raises(InputError, match=says):
        load_catalogue(path)
