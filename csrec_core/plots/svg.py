"""A drawing as SVG that stands in a page: text as text, values on hover, the same bytes at every run.

Matplotlib's own SVG has a style attribute an element, an id a group and six decimals; a page wants plain
attributes (its list of what is allowed knows those), ids only where something refers to them, and few bytes.
"""

import io
import json
import re
from xml.etree import ElementTree

import matplotlib as mpl

#: How the gid of an artist begins that carries what is said of each of its marks on hover, as a JSON list.
TIPS = "tips:"
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
FONT = "DejaVu Sans"
PLACES = {"d", "x", "y", "width", "height", "transform"}
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML, even escaped
URL_REFERENCE = re.compile(r"url\(#([\w-]+)\)")


def drawing_svg(figure) -> str:
    """Return a figure as SVG without a background; rasterized layers, such as clouds of points, are pictures."""
    stream = io.StringIO()
    # A fixed salt and no date make the SVG the same bytes at every run.
    with mpl.rc_context({"svg.hashsalt": "csrec", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", dpi=150, facecolor="none", metadata={"Date": None})
    root = ElementTree.fromstring(UNWRITABLE.sub("", stream.getvalue()))
    for metadata in root.findall(f"{SVG}metadata"):
        root.remove(metadata)
    root.set("font-family", f"{FONT}, sans-serif")
    root.set("stroke-linejoin", "round")
    _tidy(root)
    _drop_ids(root)
    ElementTree.register_namespace("", SVG[1:-1])
    text = ElementTree.tostring(root, "unicode").replace("\n", " ")
    return re.sub(r">\s+<", "><", text).strip() + "\n"


def _tidy(parent: ElementTree.Element) -> None:
    """Turn styles into attributes, gids into titles, and leave out what paints nothing."""
    for part in list(parent):
        _tidy(part)
        for name, value in (pair.split(": ", 1) for pair in part.attrib.pop("style", "").split("; ") if pair):
            if name != "font-family" or FONT not in value:
                part.set(name, value)
        if LINK in part.attrib:
            part.set("href", part.attrib.pop(LINK))
        for name in PLACES & part.attrib.keys():
            part.set(name, LONG_NUMBER.sub(_rounded, part.attrib[name]))
        if part.get("transform", "").startswith("rotate(-0 "):
            del part.attrib["transform"]
        if part.get("id", "").startswith(TIPS):
            _add_titles(part)
        painted = part.get("fill") != "none" or "stroke" in part.attrib
        empty = part.tag in (f"{SVG}g", f"{SVG}defs") and not len(part)
        if empty or part.tag == f"{SVG}style" or (part.tag == f"{SVG}path" and not painted):
            parent.remove(part)


def _rounded(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _add_titles(group: ElementTree.Element) -> None:
    group.set("class", "tips")
    marks = group.iter(f"{SVG}use")
    for mark, text in zip(marks, json.loads(group.attrib["id"].removeprefix(TIPS)), strict=False):
        ElementTree.SubElement(mark, f"{SVG}title").text = UNWRITABLE.sub("", text)


def _drop_ids(root: ElementTree.Element) -> None:
    values = [value for part in root.iter() for value in part.attrib.values()]
    used = {name for value in values for name in URL_REFERENCE.findall(value)}
    used |= {value[1:] for value in values if value.startswith("#")}
    for part in root.iter():
        if part.get("id") not in used:
            part.attrib.pop("id", None)
