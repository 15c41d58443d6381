"""The gate that an agent's pilot must pass before the budget is spent: what would spoil the log, and when."""

import pandas as pd

# Facts of the pilot.
NAMED_FIRST = "acceptance added by naming it first"
ANCHORING = "anchoring: probability added by a preceding acceptance"

FEW_DECISIONS = 1000  # decisions below which a missing link to book or preference is held against nobody
POSITIONAL = 0.2  # share of the variance, above chance, that a position may explain
RECITED = 0.1  # decisions alike, above chance, that a position may bring with it, whatever is shown there
ORDER = 0.2  # difference of acceptance that the order of the two answers may make
ANCHORED = 0.4  # probability that a preceding acceptance may add to the same book
SILENT_SHARE = 0.2  # share of questions that may go without a usable answer
DEFECT_P = 0.01  # p-value below which a defect is one
LINKED = 0.05  # p-value below which there is a link to book or preference


def verdicts_on(explained: pd.DataFrame, agreement: pd.DataFrame, facts: dict[str, float]) -> dict[str, dict]:
    """Return for each demand whether it `holds`, and the `detail` in words; the tables are of `Quality`."""
    position, preference = explained.loc["position"], explained.loc["stated preference"]
    book, place = agreement.loc["same book, other position"], agreement.loc["same position, other book"]
    enough = facts["pilot decisions"] >= FEW_DECISIONS
    excess = position["share"] - position["chance"]
    pattern = excess > POSITIONAL and position["p"] < DEFECT_P
    alike = place["share"] - place["chance"]
    recited = place["p"] < DEFECT_P and alike > max(RECITED, book["share"] - book["chance"])
    as_book = min(book["p"], book["p_stated"])
    silent = facts["share of questions without a usable answer"]
    distinct, expected = facts["distinct decision rows"], facts["distinct decision rows by chance"]
    order, order_p = (facts[f"{NAMED_FIRST}{end}"] for end in ("", ", p"))
    anchoring, anchoring_p = facts[ANCHORING], facts[f"{ANCHORING}, p"]
    rate = facts["acceptance"]
    checks = {
        "usable": (silent <= SILENT_SHARE, f"{silent:.0%} of the questions had no usable answer"),
        "both decisions": (0 < rate < 1, f"{rate:.1%} of the exposures were accepted"),
        "not by position": (
            not (pattern or recited),
            f"the position explains {position['share']:.1%} of the decisions ({position['chance']:.1%} by "
            f"chance); the same position with another book is decided alike in {place['share']:.0%} "
            f"({place['chance']:.0%} by chance), the same book at another position in {book['share']:.0%} "
            f"({book['chance']:.0%})",
        ),
        "by book": (
            not enough or as_book < LINKED,
            f"the same book at another position is decided alike in {book['share']:.0%} of the cases "
            f"({book['chance']:.0%} by chance), its stated probabilities correlate by "
            f"{book['correlation']:.2f} (p = {as_book:.3f}){_few(as_book, enough)}",
        ),
        "by preference": (
            not enough or preference["p"] < LINKED,
            f"the stated preference explains {preference['share']:.1%} of the decisions ({preference['chance']:.1%} by "
            f"chance, p = {preference['p']:.3f}){_few(preference['p'], enough)}",
        ),
        "rows differ": (
            distinct >= expected / 2,
            f"{distinct:,} distinct rows of decisions; {expected:,.0f} by chance",
        ),
        "not by answer order": (
            not (abs(order) > ORDER and order_p < DEFECT_P),
            f"naming acceptance first changes acceptance by {order:+.1%} (p = {order_p:.3f})",
        ),
        "not anchored": (
            not (abs(anchoring) > ANCHORED and anchoring_p < DEFECT_P),
            f"a preceding acceptance changes the stated probability of the same book by {anchoring:+.2f} "
            f"(p = {anchoring_p:.3f})",
        ),
    }
    return {name: {"holds": bool(holds), "detail": detail} for name, (holds, detail) in checks.items()}


def _few(p: float, enough: bool) -> str:
    return "" if enough or p < LINKED else "; too few decisions to hold it against the agent"
