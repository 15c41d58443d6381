"""What a page says to readers, and what in it was written for machines."""

import re

from bs4 import BeautifulSoup

#: Column names, powers of ten, decimals after thousands, intervals without width, endings for any count.
MARKS = {
    "a column's name": r"\b(?!arm_propensity)[a-z]+_[a-z_]+\b",  # but what a reader is asked to write
    "a power of ten": r"\b\d+(\.\d+)?[eE][-−+]?\d+\b",
    "decimals of a large number": r"\d,\d{3}\.\d",
    "an interval without width": r"\[\s*([-−+\d.,]+),\s*\1\s*\]",
    "an ending for any count": r"\w\(s\)",
    "a value that is none": r"\b(nan|NaN|None|inf)\b",
}


def said_to_readers(html):
    """Return the headings, captions, sentences and headings of tables of a page, without code and provenance."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.select("pre, code, math, script, style, .about, .facts, .files, .log, .code"):
        tag.decompose()
    tags = soup.select("h1, h2, h3, h4, p, li, figcaption, thead th, tbody th, td, text, summary, dt, dd")
    texts = [" ".join(tag.get_text(" ").split()) for tag in tags]
    # A hash may be all digits but for an e: 06830e8, a cell of its own or after what it is the hash of.
    hashed = r"^[0-9a-f]{7,12}$|(?<=\bcommit )[0-9a-f]{9}\b|(?<=\bdata )[0-9a-f]{12}\b"
    return [re.sub(hashed, "", text) for text in texts]


def marks(html):
    """Return what was written for machines: (which mark, the text it stands in)."""
    return [
        (name, text)
        for text in said_to_readers(html)
        for name, pattern in MARKS.items()
        if re.search(pattern, text)
    ]
