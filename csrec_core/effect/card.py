"""The answer that an effect is, as a piece of HTML: the same on a run's page, a notebook's page and in a cell."""

from collections.abc import Mapping
from html import escape

from csrec_core.data.columns import SELF, SYSTEM
from csrec_core.effect.answer import (
    amount_and_interval,
    possible_range,
    sentences,
    subject,
    told_from_zero,
    twofold,
)
from csrec_core.numbers import share, writer
from csrec_core.verdict import FAILS, HOLDS, STATUSES, UNDECIDED

# A cell has no style sheet, and its ground may be light or dark.
LIGHTS = {HOLDS: "#217f5e", UNDECIDED: "#d98a1c", FAILS: "#c2343f"}
BARS = ("#808891", "#3573c4")
BAR = "display:grid;grid-template-columns:8.5em 1fr 3.6em;gap:.6em;align-items:center"
ARMS = {SYSTEM: "recommended", SELF: "found by oneself"}


def as_card(found: Mapping, *, heading: str = "p") -> str:
    """Return an answer (`csrec_core.effect.answer.as_dict`) as HTML; what stands behind it, and remedies, in a fold.

    Under `bounded` the band is the number, and without an effect there is none. `heading` is the tag of the first line.
    """
    told = found["status"] != "bounded" and told_from_zero(found)
    falls = told and found["effect"] < 0
    value, ends = amount_and_interval(_turned(found) if falls else found, sign=not told)
    size = 1.7 if found["status"] == "bounded" else 2.5
    look = f"display:block;font-size:{size}em;font-weight:700;line-height:1.1"
    amount = f' <span class="amount" style="{look}">{escape(value)}</span>' if value else ""
    parts = [f'<{heading} class="lead">{escape(_lead(found, told))}{amount}</{heading}>']
    if ends:
        # A run of an earlier version has no level.
        parts.append(f'<p class="ends">{found["level"] or 0.95:.0%} interval {ends} · doubly robust</p>')
    if found["effect"] is None and (possible := possible_range(found)):
        parts.append(f'<p class="ends">Whatever is hidden: {possible}.</p>')
    if found["rates"] and found["unit"] == "probability" and found["status"] != "bounded":
        parts += [*_bars(found["rates"]), f'<p class="muted">{_lift(found)}</p>']
    status = STATUSES[found["status"]]
    light = f"border-left:5px solid {LIGHTS[status.word]};padding:.6em 1em"
    parts.append(
        f'<p class="light {status.word}" style="{light}"><strong>{status.heading}.</strong> '
        f"{escape(_reason(found))}</p>{_fold(found)}"
    )
    return f'<div class="answer" style="max-width:46em;line-height:1.45">{"".join(parts)}</div>'


def _turned(found: Mapping) -> Mapping:
    """Return a fall as the amount by which something is lowered."""
    return {**found, "effect": -found["effect"], "lower": -found["upper"], "upper": -found["lower"]}


def _lead(found: Mapping, told: bool) -> str:
    """Return the words before the amount; without an effect, the whole headline."""
    if found["effect"] is None:
        return sentences(found)["headline"]
    who, what = subject(found)
    return f"{who} {('raises' if found['effect'] > 0 else 'lowers') if told else 'changes'} {what} by"


def _bars(rates: Mapping) -> list[str]:
    """Return a bar for each rate, the arm's first; where the arms are the default ones, in words."""
    most, found = max(*rates.values(), 1e-9), []
    for (name, rate), colour in zip(rates.items(), BARS, strict=True):
        look = f"height:.85em;width:{max(0, 100 * rate / most):.0f}%;background:{colour}"
        bar = f'<span>{escape(ARMS.get(name, name))}</span><i style="{look}"></i><span>{share(rate)}</span>'
        found.append(f'<div class="bar" style="{BAR}">{bar}</div>')
    return found[::-1]


def _lift(found: Mapping) -> str:
    """Return the effect in relative terms, where it is told from zero and the baseline is not nothing."""
    baseline = found["rates"][found["baseline"]]
    # An arm as a whole picks its items, and what it did is part of later histories.
    same = "same users" if found["estimand"] == "arm" else "same items, users, histories"
    if not told_from_zero(found):
        return f"{same.capitalize()}; not told apart from zero."
    if baseline < 0.001:
        return f"{same.capitalize()}."
    size = abs(found["effect"]) / baseline
    return f"{size:.0%} {'more' if found['effect'] > 0 else 'less'}, relatively; {same}."


def _reason(found: Mapping) -> str:
    """Return the weightiest reason of the status, short, and how wide the answer is if something is hidden."""
    reason = _brief_reason(found["reasons"][0])
    said = f"{reason[:1].upper()}{reason[1:]}."
    if found["status"] == "assumed" and (ends := twofold(found)):
        write, unit = writer(found["unit"] == "probability", sign=True)
        said += (
            f" Something hidden that doubles the odds would allow {write(ends[0])} to {write(ends[1])}{unit}."
        )
    if found["status"] == "bounded" and found["band"]:
        said += " The range holds if what is hidden at most doubles the odds."
    failed = sum(one["verdict"] == FAILS for one in found["checks"])
    if failed and found["status"] == "identified":  # the judge has weighed them
        fails = "One check fails" if failed == 1 else f"{failed} checks fail"
        said += f" {fails}, too little to overturn known chances."
    return said


def _brief_reason(reason: str) -> str:
    """Return a reason without its particulars."""
    return reason.partition(": ")[0].partition(" (")[0]


def _fold(found: Mapping) -> str:
    """Return what would settle the answer, and what is said of it beyond the card, folded."""
    items = "".join(f"<li>{escape(one[:1].upper() + one[1:])}.</li>" for one in found["remedies"])
    reason, texts = found["reasons"][0], sentences(found)
    above = {"headline": found["effect"] is None, "status": _brief_reason(reason) == reason, "remedy": True}
    said = "".join(f"<p>{escape(text)}</p>" for name, text in texts.items() if not above.get(name))
    listed, title = (f"<ul>{items}</ul>", "What would settle it") if items else ("", "In full")
    opened = " open" if found["status"] == "not identified" else ""  # nothing else answers there
    return f"<details{opened}><summary>{title}</summary>{listed}{said}</details>"
