"""The quality report as a page; titles, models and what they said are text to it, never markup."""

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from csrec_core.agent.quality import Quality
from csrec_core.report.markup import TEMPLATES
from csrec_core.report.table import table_html

BOOKS_LISTED = 200  # books left out that the page lists
PILOT_TEXT = (
    "A few readers decide twice about the same books, the second time in another order. Shares are of the "
    "variance of the pilot's decisions; by chance is the mean of the same share over permuted decisions, p "
    "how often they come out as high. The correlation is that of the stated probabilities, within readers."
)
BOOKS_TEXT = (
    "The agent is asked which books it knows, which genres fit them and for keywords. What it does not know, "
    "or files under no genre that the catalogue has it in, takes no part. One question in eleven is about a "
    "made-up book, one's title under another's name; who claims to know those guesses."
)
RUN_TEXT = "What was asked, and how the requests ended, each counted before it was sent."


def render_quality(
    quality: Quality, report: Mapping, knowledge: pd.DataFrame, *, title: str, settings: Mapping
) -> str:
    """Return the page of a run's `quality`, of what `quality.json` holds beside it, and of `check_knowledge`."""
    explained = quality.explained.rename_axis("factor")
    agreement = quality.agreement.rename_axis("decided alike")
    left_out = knowledge[~knowledge["kept"]].drop(columns="kept").reset_index(drop=True)
    pilot = [
        _html_table(explained, "explained", "Share of the variance of decisions explained"),
        _html_table(agreement, "agreement", "Decisions alike in the two rounds"),
        _html_table(_pairs(quality.facts), "facts", "The pilot's decisions"),
    ]
    books = [_html_table(_pairs(report["books"]), "books", "Books")]
    if len(left_out):
        caption = f"Books left out: {min(BOOKS_LISTED, len(left_out)):,} of {len(left_out):,}"
        books.append(_html_table(left_out.head(BOOKS_LISTED), "left-out", caption))
    run = [_html_table(_pairs(settings), "settings", "Settings")]
    if requests := {**report["requests"], **report["tokens"]}:
        run.insert(0, _html_table(_pairs(requests), "requests", "Requests and tokens"))
    return TEMPLATES.get_template("agent.html.j2").render(
        title=title,
        passed=quality.passed,
        finding=_finding(quality),
        warnings=report["warnings"],
        verdicts=quality.verdicts,
        sections=[("Pilot", PILOT_TEXT, pilot), ("Books", BOOKS_TEXT, books), ("Run", RUN_TEXT, run)],
    )


def _finding(quality: Quality) -> str:
    passed = "passes" if quality.passed else "fails"
    preference, step = (
        f"{row['share']:.1%} ({row['chance']:.1%} by chance)"
        for row in (quality.explained.loc[name] for name in ("stated preference", "step"))
    )
    return (
        f"The pilot of {quality.facts['pilot readers']} readers {passed} the gate: of the variance of their "
        f"decisions, the stated preference explains {preference}, the exposure number {step}."
    )


def _pairs(facts: Mapping) -> pd.DataFrame:
    names = [str(name).replace("_", " ") for name in facts]
    return pd.DataFrame({"fact": names, "value": pd.Series(list(facts.values()), dtype=object)})


def _html_table(frame: pd.DataFrame, slug: str, caption: str) -> Markup:
    return Markup(table_html(frame, slug, caption=caption))
