"""What the reproduction found, in sentences with their numbers: of Tables 1, 3 and 4, and of Table 2."""

from collections.abc import Mapping

import pandas as pd

from csrec_core.evaluation.controls import ALWAYS, CONTROLS, HISTORY_CONTROLS
from csrec_core.evaluation.scores import MEAN_COLUMNS
from csrec_core.numbers import interval_text
from csrec_core.reproduction.mssd_tables import session_gain, source_effect
from csrec_core.reproduction.tables import ORACLE, TABULAR, auc_gain, csrec_name, margin_of_oracle
from csrec_core.verdict import Verdict, against

AHR = "AHR@0.5"
Finding = tuple[str, dict]  # a sentence, and its headline numbers
#: From a preset to scores of `csrec_core.reproduction.tables.summarise`, of controls among them.
Summaries = Mapping[str, pd.DataFrame]


def paper_claim(summaries: Summaries, backbone: str) -> Finding:
    """Say in one sentence with one number whether CSRec, scored as published, beats accepting everything."""
    always = _model_score(summaries["paper"], ALWAYS, AHR)["mean"]
    mean, lower, upper = _model_score(summaries["paper"], csrec_name(backbone), AHR) - always
    said = f"Scored as in the paper, {csrec_name(backbone)} is"
    if lower <= 0 <= upper:
        said += " not known to be right more often than accepting every exposure, right in "
        said += f"{always:.1%} of the decisions"
    else:
        more = "more" if mean > 0 else "less"
        said += f" right {100 * abs(mean):.1f} points {more} often than accepting every exposure"
    return f"{said}.", {"csrec_over_always": (mean, lower, upper)}


def accuracy_finding(summaries: Summaries, backbone: str, *, last: int) -> Finding:
    """Say how often CSRec is right under three presets, beside what knows no items."""
    csrec = {name: _model_score(summaries[name], csrec_name(backbone), AHR) for name in summaries}
    always, step = (_model_score(summaries["paper"], name, AHR) for name in (ALWAYS, "step"))
    lookup = _model_score(summaries["crossed"], "history lookup", AHR)
    matched = (
        " What lifts a score over the exposure number is a match with users of the same decisions, no effect."
    )
    sentence = (
        f"On the last {last} exposures, accepting everything is right in {always['mean']:.2%} of the decisions, "
        f"the exposure number alone in {step['mean']:.2%}, a lookup of the earlier decisions in {lookup['mean']:.2%}; "
        f"CSRec on {backbone} in {csrec['paper']['mean']:.2%} (paper), {csrec['sound']['mean']:.2%} (sound) and "
        f"{csrec['crossed']['mean']:.2%} (crossed), {AHR}."
    )
    numbers = {f"ahr_{name}": tuple(csrec[name]) for name in ("paper", "sound", "crossed")}
    numbers |= {"ahr_position": tuple(step), "ahr_lookup": tuple(lookup)}
    return sentence + matched * bool(lookup["lower"] > step["upper"]), numbers


def step_finding(share: pd.Series, decisive: pd.DataFrame, backbone: str) -> Finding:
    """Say what the step explains, and what is left of the AUC once it is hidden.

    `share` is of the variance of the decisions, by factor (`csrec_core.data.profile.Profile.explained`), `decisive`
    are scores as they fell and after shuffling (`csrec_core.reproduction.tables.hidden_step`).
    """
    name = f"{csrec_name(backbone)}, sound"
    shown, hidden = (tuple(_model_score(decisive, model, "AUC")) for model in (name, f"{name}, shuffled"))
    sentence = (
        f"The exposure number explains {share['step']:.1%} of the variance of the decisions, the previous decision "
        f"{share['previous decision']:.1%}, the item within one {share['item, within step']:.1%}, the "
        f"user within one {share['user, within step']:.1%}. With it hidden CSRec's AUC "
        f"({backbone}, sound) is {interval_text(*hidden)}, with it {interval_text(*shown)}."
    )
    numbers = {"auc_shuffled": hidden, "auc_sound": shown}
    return sentence, {"explained_position": float(share["step"]), **numbers}


def margin_finding(summaries: Summaries, backbone: str) -> Finding:
    """Say how CSRec ranks decisions of users it never saw, beside trees and an oracle."""
    name, free = csrec_name(backbone), summaries["free"]
    best, trees = (tuple(_model_score(free, model, "AUC")) for model in (name, TABULAR))
    crossed = _model_score(summaries["crossed"], name, "AUC")
    sentence = (
        f"On users it never saw, CSRec's AUC ({backbone}) is {interval_text(*best)} without the constraint and "
        f"{interval_text(*crossed)} with it, that of boosted trees {interval_text(*trees)}"
    )
    if ORACLE in set(free["model"]):
        margin = margin_of_oracle(free, [name, TABULAR])
        sentence += (
            f"; without it they reach {margin[name]:.0%} and {margin[TABULAR]:.0%} of the oracle's margin "
        )
        sentence += "over one half"
    ece, sound = (_model_score(summaries[preset], name, "ECE")["mean"] for preset in ("free", "sound"))
    sentence += (
        f". Its ECE is {ece:.3f} (free, calibrated on other users), {sound:.3f} (sound, calibrated on "
    )
    return f"{sentence}earlier exposures).", {"auc_csrec": best, "auc_trees": trees, "ece": float(ece)}


def beats_controls(summary: pd.DataFrame, backbone: str) -> Verdict:
    """Judge whether CSRec's AUC on users it never saw is above that of every control."""
    auc = summary[summary["metric"] == "AUC"].set_index("model")["mean"]
    known = auc.reindex([*CONTROLS, *HISTORY_CONTROLS]).dropna()
    detail = f"Its AUC on users it never saw is above that of every control; the best is '{known.idxmax()}'."
    mean, lower, upper = _model_score(summary, csrec_name(backbone), "AUC")
    word = against(lower, upper, known.max())
    return Verdict("CSRec beats the one-number controls", word, detail, mean, lower, upper, known.max())


def beats_trees(cells: pd.DataFrame, trees: pd.Series) -> Verdict:
    """Judge whether f of some tested cells ranks their decisions better than trees on the same exposures."""
    mean, lower, upper = auc_gain(cells, cells["f"], trees)
    detail = "Its AUC on users it never saw less that of boosted trees, one start, same exposures: "
    detail += f"{interval_text(mean, lower, upper, digits=4)}."
    return Verdict("CSRec beats boosted trees", against(lower, upper, 0.0), detail, mean, lower, upper, 0.0)


def ece_words(summaries: Summaries, backbone: str) -> str:
    """Return the calibration error of the presets that a calibration plot shows, such as `paper 0.021`."""
    errors = {
        preset: _model_score(summaries[preset], csrec_name(backbone), "ECE")["mean"]
        for preset in ("paper", "sound", "crossed")
    }
    return ", ".join(f"{preset} {error:.3f}" for preset, error in errors.items())


def line_words(lines: pd.DataFrame, x: str, y: str, *, by: str) -> str:
    """Return where each line of a chart begins and ends, such as `step: 0.24 at 0.05, 0.93 at 0.95`."""
    said = []
    for name, part in lines.groupby(by, sort=False):
        ends = part.sort_values(x)[[x, y]].iloc[[0, -1]].to_numpy()
        said.append(f"{name}: {', '.join(f'{b:.3g} at {a:g}' for a, b in ends)}")
    return "; ".join(said)


def table_two_claim(gain: pd.DataFrame, *, simulated: bool) -> Finding:
    """Say in one sentence with one number whether CS-Few-Shot orders decisions better than Few-Shot.

    The gain is of `csrec_core.reproduction.mssd_tables.session_gain`.
    """
    mean, lower, upper = gain.set_index("metric").loc["AUC", MEAN_COLUMNS]
    kind, better = "simulated" if simulated else "real", "better" if mean > 0 else "worse"
    said = f"On {kind} sessions CS-Few-Shot orders decisions {better} than Few-Shot by "
    said += f"{100 * abs(mean):.1f} points of AUC{', which may be chance' * (not (lower > 0 or upper < 0))}."
    return said, {"auc_gain_cs_few_shot": (mean, lower, upper)}


def table_two_finding(
    few: pd.DataFrame, cs: pd.DataFrame, *, about: str, true: float | None = None
) -> Finding:
    """Say what CS-Few-Shot adds to Few-Shot, by their tested cells, and what its effect is.

    `about` says of which sessions, and how many; `true` is the mean effect of a simulated world.
    """
    gain, beyond = (
        session_gain(cs, cs["f_marginal"], few[name]).set_index("metric")[MEAN_COLUMNS]
        for name in ("f_marginal", "f_level")
    )
    said = (
        f"Table 2, {about}: CS-Few-Shot's AUC is above Few-Shot's by {interval_text(*gain.loc['AUC'], digits=4)}, its "
        f"Brier score better by {interval_text(*gain.loc['Brier'], digits=4)}, of which "
        f"{interval_text(*beyond.loc['Brier'], digits=4)} is more than the level of playlists. Its mean f − f~, "
        f"filtered, is {interval_text(*source_effect(cs))} (the sampling of sessions, not the error of models)"
    )
    said += "" if true is None else f"; the simulation's own is {true:.3f}"
    return f"{said}.", {"brier_gain_cs_few_shot": tuple(gain.loc["Brier"])}


def _model_score(summary: pd.DataFrame, model: str, metric: str) -> pd.Series:
    """Return a model's `mean`, `lower`, `upper` in a metric."""
    return summary.set_index(["model", "metric"]).loc[(model, metric), MEAN_COLUMNS].astype(float)
