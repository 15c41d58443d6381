"""What a graph means for a log, in two plain sentences: what may be compared, what to log or randomise."""

import pandas as pd

from csrec_core.causal.audit import Audit, blocked_ways, verdicts


def log_advice(audit: Audit, log: pd.DataFrame, *, preferences_measured: bool) -> tuple[str, str]:
    """Say what the graph means for a log, and what to log or randomise: a sentence each.

    Of the log `source` and `propensity` are read; `preferences_measured` is whether its users' are in it.
    """
    return _meaning(audit), _what_to_do(audit, log, preferences_measured=preferences_measured)


def _meaning(audit: Audit) -> str:
    holds = verdicts(audit)
    alike = "exposures of the same item to users of the same preference and the same last decision"
    if not holds["identifiable"]:
        return (
            "By this graph something unmeasured moves both what a user sees and what they decide, so no "
            "comparison within the log tells what an exposure does."
        )
    if not holds["transport"]:
        return (
            f"By this graph {alike} may still be decided differently when the system chose them than when "
            "the user did; what is learnt from one side must not be taken for the other."
        )
    if not holds["recursion"]:
        return (
            f"By this graph {alike} are decided alike, whoever chose them, but the step-by-step formula that "
            "CSRec trains on misses a way in which the past acts."
        )
    rest = "; what an exposure does by changing preferences is left out" if blocked_ways(audit.graph) else ""
    return (
        "By this graph self-chosen and recommended exposures of the same item can be compared once preference and "
        f"last decision are the same: nothing else moves both{rest}."
    )


def _what_to_do(audit: Audit, log: pd.DataFrame, *, preferences_measured: bool) -> str:
    if not verdicts(audit)["identifiable"]:
        return "Randomise a share of what the system shows, and log each exposure's chance (the column propensity)."
    if preferences_measured:
        return (
            "This log holds the preferences, so nothing more has to be logged if the graph is right; randomise "
            "a share of the exposures to test what no log shows, that nothing hidden moves both "
            "exposure and decision."
        )
    chances = log["propensity"].notna() if "propensity" in log else pd.Series(False, index=log.index)
    sources = log["source"].astype(str)
    known, bare = sorted(set(sources[chances])), sorted(set(sources[~chances]))
    if not bare:
        return (
            "Preferences are not in this log, but the chance of every exposure is: weigh by it (the column "
            "propensity), and go on logging it."
        )
    some = f" ({' and '.join(known)} exposures have it)" if known else ""
    return (
        f"Preferences are not in this log: log the chance of every {' and '.join(bare)} exposure (the column "
        f"propensity){some}, or randomise a share of the exposures."
    )
