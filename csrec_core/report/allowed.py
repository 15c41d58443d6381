"""The one list of the HTML, MathML and SVG that a page may hold beside what its templates write."""

import re

from bs4 import BeautifulSoup
from bs4.element import PreformattedString, Tag

HTML = """a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2
h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp section small span strong sub summary sup table tbody
td tfoot th thead tr u ul var"""
MATHML = """math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace
msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none"""
SVG = "svg clippath circle defs g image line path polygon polyline rect text tspan use"
# What goes with all that it holds: it is no text, or is read by other rules than HTML's.
DROPPED_WHOLE = "embed iframe noscript object script style template textarea"
PLAIN = """accent accentunder align alt aria-label border class colspan columnalign columnlines columnspacing
depth dir display displaystyle fence form height id largeop linethickness lspace mathbackground mathcolor
mathsize mathvariant maxsize minsize movablelimits notation open role rowalign rowlines rowspacing rowspan
rspace scope scriptlevel separator span start stretchy symmetric tabindex title valign voffset width
cx cy d fill-opacity fill-rule font-family font-size font-style font-weight opacity points preserveaspectratio r
rx ry stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity
stroke-width text-anchor transform viewbox x x1 x2 y y1 y2"""
TAGS, DROPPED, ATTRIBUTES = ({*words.split()} for words in (f"{HTML} {MATHML} {SVG}", DROPPED_WHOLE, PLAIN))
#: Attributes with a rule, by tag ("": any); a link leads along the web, or to a place or file of the run.
RULED = {
    ("a", "href"): re.compile(r"https?://.*|#.*|(?![\s\\/])[^:]*", re.I | re.S),
    ("img", "src"): re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*"),
    ("image", "href"): re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*"),
    ("use", "href"): re.compile(r"#[\w-]+"),
    ("", "clip-path"): re.compile(r"url\(#[\w-]+\)"),
    ("", "fill"): re.compile(r"#?\w+"),
    ("", "stroke"): re.compile(r"#?\w+"),
    ("", "style"): re.compile(r"[\w\s:;.,%#-]*"),
}


def keep_allowed(html: str) -> str:
    """Return HTML with only the tags and attributes that the list names; other tags leave what they hold.

    Examples
    --------
    >>> keep_allowed('<b onclick="x()">7</b><script>x()</script><a href="javascript:x()">l</a>')
    '<b>7</b><a>l</a>'
    """
    soup = BeautifulSoup(html, "html.parser")
    for text in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        text.extract()  # comments and the like
    for tag in soup.find_all(True):
        if tag.decomposed:
            continue
        named = tag.name == "title"  # of a page there is one; of a part of a drawing, what is said on hover
        if tag.name in DROPPED or (named and not tag.find_parent("svg")):
            tag.decompose()
        elif tag.name not in TAGS and not named:
            tag.unwrap()
        else:
            tag.attrs = {name: value for name, value in tag.attrs.items() if _is_allowed(tag, name, value)}
    return str(soup)


def _is_allowed(tag: Tag, name: str, value: object) -> bool:
    rule = RULED.get((tag.name, name), RULED.get(("", name)))
    return bool(rule.fullmatch(str(value))) if rule else name in ATTRIBUTES
