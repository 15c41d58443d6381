"""Formulas as MathML, so that a page needs no script to show them."""

import re
from html import escape
from xml.etree import ElementTree

from latex2mathml.converter import convert

from csrec_core.report.allowed import keep_allowed

# Signs that few fonts have, put together from signs that all have; and one without its spaces.
REPAIRS = {
    "<mi>⫫</mi>": '<mo rspace="0">⊥</mo><mo lspace="0" style="margin-left:-.5em">⊥</mo>',
    "⧸": "/",
    "<mo>≔</mo>": '<mo lspace=".28em" rspace=".28em">≔</mo>',
}
TEXT_COMMAND = re.compile(
    r"\\text\{((?:[^{}\\]|\\(?:textbackslash|textasciicircum|textasciitilde)\{\}|\\.)*)\}"
)
ESCAPED_SIGNS = {r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~"}
FORMULA = re.compile(r"(?<![\\\w])\$(?=\S)((?:[^$\\]|\\.)+)(?<=\S)\$(?!\w)")
PLACEHOLDER = 0xE000  # the first of the characters that no script uses
FORBIDDEN = ("href", "src", "on")  # beginnings of attributes that lead elsewhere or act


def to_mathml(latex: str, *, display: bool = False) -> str:
    """Return the formula as MathML; raises ValueError where it would come out broken."""
    # The sign of independence is written as two overlapping ones, for which MathML has no negative space.
    source = re.sub(r"\\perp\s*(\\!\s*)+\\perp", "⫫", latex.strip()).replace(":=", r"\coloneqq ")
    texts: list[str] = []

    def kept_back(found: re.Match) -> str:
        """Keep a text back from the converter, which knows no escaped sign in it."""
        texts.append(
            re.sub(r"\\text\w+\{\}|\\(.)", lambda sign: ESCAPED_SIGNS.get(sign[0], sign[1]), found[1])
        )
        return rf"\text{{{chr(PLACEHOLDER + len(texts) - 1)}}}"

    source = TEXT_COMMAND.sub(kept_back, source)
    try:
        mathml = convert(source, display="block" if display else "inline")
        root = ElementTree.fromstring(mathml.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
    except Exception as error:
        raise ValueError(f"cannot render the formula {latex!r}: {type(error).__name__} {error}") from error
    if source.replace("\\{", "").count("{") != source.replace("\\}", "").count("}"):
        raise ValueError(f"cannot render the formula {latex!r}: braces do not match")
    for part in root.iter():
        if any(name.rpartition(":")[2].lower().startswith(FORBIDDEN) for name in part.attrib):
            raise ValueError(f"cannot render the formula {latex!r}: a link or an action in it")
    # What the converter does not know it passes on as it is.
    if raw := [text for text in root.itertext() if "\\" in text]:
        raise ValueError(f"cannot render the formula {latex!r}: unknown command {raw[0].strip()}")
    for part in root.iter():
        if part.text and len(part.text) == 1 and 0 <= ord(part.text) - PLACEHOLDER < len(texts):
            # MathML drops a space at either end of a text.
            part.text = texts[ord(part.text) - PLACEHOLDER].replace(" ", "\xa0")
    for side, tag in (("top", "mover"), ("bottom", "munder")):
        for part in root.iter(tag):
            if part[1].text == "―":
                # A line drawn as a character does not stretch in all fonts; a border always does.
                part.tag, part.attrib = "mrow", {"style": f"border-{side}:.06em solid;padding-{side}:.12em"}
                part.remove(part[1])
    mathml = keep_allowed(ElementTree.tostring(root, "unicode", short_empty_elements=False))
    for written, shown in REPAIRS.items():
        mathml = mathml.replace(written, shown)
    # A long formula scrolls in a box of its own, which the keyboard has to reach.
    box = '<span class="formula" role="group" aria-label="Formula" tabindex="0">'
    return f"{box}{mathml}</span>" if display else mathml


def literal(name: str) -> str:
    """Return a name for a sentence of `prose`, in which its dollar signs are no formulas."""
    return name.replace("$", r"\$")


def prose(sentence: str) -> str:
    r"""Return a sentence as HTML: escaped, formulas between dollar signs as MathML; \$ is a dollar sign.

    Names of items and prices have dollar signs, too: one within a word, beside a blank or before a digit opens
    or closes no formula, and what would be none that can be rendered stands as it is.
    """
    parts = FORMULA.split(sentence)
    return "".join(
        _formula(part) if i % 2 else escape(part.replace(r"\$", "$")) for i, part in enumerate(parts)
    )


def _formula(latex: str) -> str:
    try:
        return to_mathml(latex)
    except ValueError:
        return escape(f"${latex}$")
