"""The field's terms in plain words: one table, for the pages' hover texts and for the glossary."""

import re
from html import escape

TERMS = {
    "95% interval": "were as many users drawn again from those like them, 95 of 100 such would hold the value",
    "AHR": "share of decisions guessed right when a probability or a ranking is turned into yes or no",
    "AUC": "chance that an accepted exposure is ranked above a rejected one; 50% is guessing",
    "arm": "one of the ways in which an item came before a user, such as the recommender or the user's own search",
    "boosted trees": "a model that adds up many small decision trees",
    "Brier score": "mean squared distance between a stated probability and what happened; less is better",
    "calibration": "whether of the exposures with a stated probability of 30%, some 30% are accepted",
    "confounders": "what moves both which arm exposed an item and what the user decided",
    "cross-entropy": "how surprising the decisions are under the stated probabilities; less is better",
    "CUSUM": "a running sum of deviations, which shows when a level has shifted",
    "doubly robust": "joins a model of the decisions with weights, and is right where either is",
    "ECE": "mean distance between stated and observed acceptance, in bins of what is stated",
    "exposure": "an item that came before a user, who took it or left it",
    "Holm": "a correction of p-values for the number of tests",
    "IPS": "weighs what was logged by one over the chance with which it was logged",
    "odds": "a chance over the chance of the opposite: 3 to 1 is 75%",
    "overlap": "how far the arms expose like items to like users, so that they can be compared",
    "placebo": "a test on data where nothing should be found",
    "propensity": "the chance with which exactly this item was exposed",
    "Qini": "how much more is gained by going first where the estimated effect is large than by going at random",
    "SNIPS": "IPS divided by the sum of its weights",
    "user-bootstrap": "users are drawn again with replacement, and the number is computed again",
}
TAGS = re.compile(r"(<[^>]*>)")
HEADINGS = {f"h{level}" for level in range(1, 5)}
CLOSED = {"a", "abbr", "code", "math", "pre", "script", "style", "summary", "svg", "th"} | HEADINGS
WORD = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, sorted(TERMS, key=len, reverse=True)))})(?![\w-])")


def explain(html: str) -> str:
    """Return HTML in which every term has its meaning on hover where it comes first; not in links, code, drawings.

    Examples
    --------
    >>> explain("<p>By AUC. AUC again.</p>")[:24]
    '<p>By <abbr title="chanc'
    """
    told: set[str] = set()
    within: list[str] = []
    parts: list[str] = []

    def mark(found: re.Match) -> str:
        if found[1] in told:
            return found[0]
        told.add(found[1])
        return f'<abbr title="{escape(TERMS[found[1]])}">{found[1]}</abbr>'

    for part in TAGS.split(html):
        name = re.match(r"</?(\w+)", part)
        if not name:
            part = part if within else WORD.sub(mark, part)
        elif name[1] in CLOSED and part.startswith("</"):
            within = within[:-1]
        elif name[1] in CLOSED and not part.endswith("/>"):
            within.append(name[1])
        parts.append(part)
    return "".join(parts)
