"""The answer that an effect is: as `effect.json` has it, in sentences, as a table by group.

Every form is made from the one dictionary of `as_dict`, so that none says what another does not.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.csvfile import save_csv
from csrec_core.data.columns import SELF, SYSTEM
from csrec_core.effect.design import ESTIMANDS, TARGETS, UNITS
from csrec_core.files import write_json
from csrec_core.numbers import count, interval, moved, plain, points, share, writer
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED, UNDECIDED

#: Columns of `csrec_core.effect.record.describe` in plain words; an item is of its own kind where genres are not known.
FEATURE_WORDS = {
    "first": "whether anything was decided before",
    "last": "the decision before",
    "before_last": "the decision before the last",
    "run": "rejections in a row",
    "user_rate": "the share that the user accepted",
    "genre_share": "how often the user saw this kind of item",
    "genre_rate": "how often the user accepted this kind of item",
    "same_genre": "whether this kind of item came just before",
    "shown_before": "how often the user saw the item before",
    "appeal": "how well others accept the item",
    "fame": "how often others choose the item",
    "push": "how often the item is exposed",
    "step": "the number of the exposure",
    "seen": "the number of exposures before",
    "time": "the time",
}
EFFECT_INTERVAL = ("effect", "lower", "upper")
LINES_LISTED = 3  # reasons, remedies and failed checks that a screen lists


def as_dict(effect, pairs: Sequence = ()) -> dict:
    """Return the answer as JSON can hold it: plain numbers, null where there is none.

    `pairs` are the effects of the other arms against the same baseline. Returns `effect`, `lower`, `upper` (null
    where not identified), `unit` ("probability", or the outcome's own name where it is no yes or no), `outcome`
    ("acceptance", or its own name), `rates` (mean decision at the target under either arm), `baseline` and `arm`
    (names), `target`, `estimand`, `status`, `reasons`, `band`, `tipping` (odds at which zero enters; null where none
    do), `benchmark`, `estimates`, `checks`, `users`, `exposures`, `arms` (of all exposures, `accepted` a count),
    `assumptions`, `remedies`, `design`, `pairs`, `log` (its name), `level` (of all intervals).
    """
    judged, design, known = effect.identification, effect.design, effect.known
    told = judged.status != "not identified"
    mean = effect.mean if told else pd.Series(np.nan, index=EFFECT_INTERVAL)
    rates = None
    if math.isfinite(mean["effect"]):  # too few users have none, whatever the status
        rates = {design.baseline: effect.baseline, design.arm: effect.baseline + mean["effect"]}
    estimates, numbers = effect.estimates, list(EFFECT_INTERVAL)
    if not told:  # the plain difference is a fact of the log; the others would be claims
        estimates = estimates.assign(**estimates[numbers].where(estimates["name"] == "observed"))
    arms = {}
    for one in (*pairs, effect):
        overlap, names = one.identification.overlap, (one.design.baseline, one.design.arm)
        for name, rows, accepted in zip(names, overlap.rows, overlap.accepted, strict=True):
            total = accepted * rows if rows else 0
            arms[name] = {"exposures": rows, "accepted": round(total) if known.binary else total}
    kept = ("name", "verdict", "detail", "value", "lower", "upper", "threshold")
    short = ("arm", *EFFECT_INTERVAL, "status", "reasons")
    checks = [{name: one[name] for name in kept} for one in (found.to_dict() for found in judged.evidence)]
    found = {
        **{name: mean[name] for name in numbers},
        "unit": "probability" if known.binary else effect.outcome,
        "outcome": effect.outcome,
        "rates": rates,
        **{name: getattr(design, name) for name in ("baseline", "arm", "target", "estimand")},
        "status": judged.status,
        "reasons": list(judged.reasons),
        "band": effect.band[["odds", "lower", "upper"]].to_dict("records") if told else [],
        "tipping": effect.tipping if told else None,
        "benchmark": dict(zip(("name", "odds"), effect.benchmark, strict=True)),
        "estimates": estimates[["name", *numbers]].to_dict("records"),
        "checks": checks,
        "users": known.users,
        "exposures": known.rows,
        "arms": arms,
        "assumptions": list(judged.assumptions),
        "remedies": list(judged.remedies),
        "design": design.to_dict(),
        "pairs": [{name: one[name] for name in short} for one in map(as_dict, pairs)],
        "log": effect.name,
        "level": effect.level,
    }
    return _clean(found)


def _clean(value):
    """Return what JSON holds: no numpy, no NaN, no infinity."""
    if isinstance(value, dict):
        return {str(name): _clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sentences(found: Mapping) -> dict[str, str]:
    """Return what `as_dict` found in words: `headline`, `status`, and, where there are, `band`, `checks`, `remedy`."""
    write, unit = writer(found["unit"] == "probability")
    said = {
        "headline": _headline(found, write, unit),
        "status": f"{found['status'].capitalize()}: {found['reasons'][0]}.",
    }
    bands = [
        f"{interval(one['lower'], one['upper'], write)} at {one['odds']:g} times"
        for one in found["band"][1:]
        if one["lower"] is not None
    ]
    if bands:
        said["band"] = (
            f"If something hidden moves the odds of an exposure, the effect lies, in{unit or ' its unit'}, within "
            f"{', '.join(bands)}. {tipping_sentence(found)}"
        )
    if found["checks"]:
        said["checks"] = f"Checks: {counts_of_verdicts(one['verdict'] for one in found['checks'])}."
    if found["remedies"]:
        said["remedy"] = f"What would settle it: {found['remedies'][0]}."
    return said


def counts_of_verdicts(verdicts: Iterable[str]) -> str:
    """Return how many verdicts have each of the four words, as in "8 hold, 1 fails"."""
    many = Counter(verdicts)
    order = [word for word in (HOLDS, UNDECIDED, FAILS, NOT_TESTED) if many[word]]
    return ", ".join(f"{many[word]} {word if many[word] == 1 else word.removesuffix('s')}" for word in order)


def tipping_sentence(found: Mapping) -> str:
    """Say how strong a hidden cause would have to be, beside the strongest column observed."""
    if found["effect"] is None:
        return "There is no effect to be explained away."
    if not found["band"]:
        return "The arm was drawn with known chances: nothing hidden can move it."
    tipping, (name, factor), beside = found["tipping"], found["benchmark"].values(), ""
    if name:
        beside = (
            f" {column_words(name).capitalize()}, the strongest column observed, moves them by {factor:.2f}."
        )
    if tipping is None:
        return f"No hidden cause that moves the odds of an exposure by up to 20 explains the effect away.{beside}"
    if tipping <= 1:
        return f"Zero is within the interval already, with nothing hidden.{beside}"
    return f"A hidden cause that moves the odds of an exposure by {tipping:.2f} would let zero in.{beside}"


def column_words(name: str) -> str:
    """Return a column of the table of features in plain words."""
    kind, _, rest = name.rpartition(": ")
    words = FEATURE_WORDS.get(name, (rest or name).removeprefix("feature_").replace("_", " "))
    return f"whether {words} is missing" if kind.startswith("missing") else words


def possible_range(found: Mapping) -> str:
    """Return between what the effect lies whatever is hidden, as an arm's rate alone tells; nothing without.

    What the baseline would have been at the arm's exposures is anything from 0 to 1.
    """
    arm = found["arms"].get(found["arm"], {"exposures": 0, "accepted": 0})
    if found["unit"] != "probability" or found["target"] != "exposed" or not arm["exposures"]:
        return ""
    rate = arm["accepted"] / arm["exposures"]
    return f"anything from {points(rate - 1, sign=True)} to {points(rate, sign=True)} points"


def subject(found: Mapping) -> tuple[str, str]:
    """Return who acts, as a sentence begins, and what it is done to."""
    arm, baseline = found["arm"], found["baseline"]
    who = "Recommending" if (arm, baseline) == (SYSTEM, SELF) else f"{arm}, against {baseline},"
    # A run of an earlier version has no outcome.
    what = found["outcome"] or ("acceptance" if found["unit"] == "probability" else found["unit"])
    return who, what.replace("_", " ")


def _headline(found: Mapping, write, unit: str) -> str:
    (who, what), middle, low, high = subject(found), found["effect"], found["lower"], found["upper"]
    if middle is None:
        who = who.replace("Recommending", "recommending")
        untold = found["status"] == "not identified"
        why = " from this log" if untold else ": too little was accepted in either arm"
        return f"What {who} does to {what} cannot be told{why}."
    ends = "(too few accepted for an interval)" if low is None else interval(low, high, write)
    if found["status"] == "bounded":
        point = f"{write(middle)}{unit} {ends} if nothing is hidden"
        if not (ends_twofold := twofold(found)):
            return f"{who} changes {what} by {point}."
        wide = " and ".join(map(write, ends_twofold))
        return f"{who} changes {what} by between {wide}{unit} if what is hidden moves the odds twofold; by {point}."
    rates = " to ".join(share(rate) if unit else plain(rate) for rate in found["rates"].values())
    if not told_from_zero(found):
        return (
            f"{who} changes {what} by {write(middle)}{unit} {ends}, from {rates}, not told apart from zero."
        )
    end = ", if its assumptions hold." if found["status"] == "assumed" else "."
    said = moved(f"raises {what}", f"lowers {what}", middle, low, high, binary=bool(unit))
    return f"{who} {said}, from {rates}{end}"


def told_from_zero(found: Mapping) -> bool:
    """Return whether the effect has an interval, and that leaves out zero."""
    return found["lower"] is not None and not found["lower"] <= 0 <= found["upper"]


def twofold(found: Mapping) -> tuple[float, float] | None:
    """Return the ends of the band where hidden causes double or halve the odds."""
    ends = [(one["lower"], one["upper"]) for one in found["band"] if one["odds"] == 2.0]
    return ends[0] if ends and ends[0][0] is not None else None


def as_text(effect, pairs: Sequence = ()) -> str:
    """Return the answer on one screen."""
    found = as_dict(effect, pairs)
    said = sentences(found)
    lines = [said["headline"], said["status"]]
    lines += [f"  also: {reason}." for reason in found["reasons"][1:LINES_LISTED]]
    lines += [said[name] for name in ("band", "checks") if name in said]
    failed = [one for one in found["checks"] if one["verdict"] == FAILS]
    lines += [f"  fails: {one['name']}: {one['detail']}" for one in failed[:LINES_LISTED]]
    for one, pair in zip(pairs, found["pairs"], strict=True):
        lines.append(f"Also: {sentences(as_dict(one))['headline']} {pair['status'].capitalize()}.")
    if effect.identification.allows and "rank" in effect.groups:
        write, _ = writer(found["unit"] == "probability")
        ranks = effect.by("rank").dropna(subset="lower").itertuples()
        each = [f"{one.group}: {write(one.effect)} {interval(one.lower, one.upper, write)}" for one in ranks]
        lines += [f"By rank in the list: {', '.join(each)}."] * bool(each)
    if found["remedies"]:
        lines += ["What would settle it:", *(f"  - {remedy}" for remedy in found["remedies"][:LINES_LISTED])]
    # Of the two that are compared: their rows are the exposures, other arms' are none of them.
    rows = {name: found["arms"][name]["exposures"] for name in (found["baseline"], found["arm"])}
    arms = ", ".join(f"{name} {count(number)}" for name, number in rows.items())
    mean = f"{ESTIMANDS[found['estimand']]}; {TARGETS[found['target']]}, {UNITS[found['design']['unit']]}"
    size = f"{count(found['exposures'])} exposures of {count(found['users'])} users ({arms})"
    lines.append(f"{size}. The mean is of {mean}.")
    return "\n".join(lines)


def amount_and_interval(found: Mapping, *, sign: bool = True) -> tuple[str, str]:
    """Return the largest letters and the interval: under `bounded` the range alone, without an effect nothing."""
    write, unit = writer(found["unit"] == "probability", sign=sign)
    if found["effect"] is None:
        return "", ""
    if found["status"] == "bounded" and (band := twofold(found)):
        return " to ".join(map(write, band)) + unit, ""
    ends = "" if found["lower"] is None else f"{write(found['lower'])} to {write(found['upper'])}"
    return write(found["effect"]) + unit, ends


def _as_table(effect) -> pd.DataFrame:
    """Return the effect overall and, where the status allows it, by step and by group."""
    judged = effect.identification
    mean = (effect.mean * (1 if judged.status != "not identified" else np.nan)).to_frame().T
    tables = [mean.assign(grouping="overall", group="all", exposures=judged.overlap.rows[1])]
    if judged.allows:
        steps = effect.over_time
        pairs = zip(steps["step"], steps["last"], strict=True)
        ends = [f"{first}" if first == last else f"{first} to {last}" for first, last in pairs]
        tables.append(steps.assign(grouping="exposure number", group=ends))
        tables += [effect.by(name).assign(grouping=name) for name in effect.groups]
    columns = ["grouping", "group", *EFFECT_INTERVAL, "error", "exposures"]
    return pd.concat(
        [one.reindex(columns=columns).astype(object) for one in tables if len(one)], ignore_index=True
    )


def write_answer(effect, out: Path, pairs: Sequence = ()) -> Path:
    """Write `effect.csv`, then `effect.json`, whole or not at all; return the path of the latter."""
    save_csv(_as_table(effect), out / "effect.csv")
    write_json(out / "effect.json", as_dict(effect, pairs))
    return out / "effect.json"
