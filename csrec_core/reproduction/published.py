"""The paper's own numbers, to be set beside a reproduction.

Source: CSRec, Rethinking Sequential Recommendation from A Causal Perspective (arXiv 2409.05872). Tables 1, 3
and 4 are on GPT4-books: AHR@alpha on the last three exposures of each user by the system, HR@k and NDCG@k on
the last item that each user chose. Table 1 does not name the backbone of its CSRec row; its figures equal
those of CSRec on FMLPRec in the later tables, with which they are compared here. Table 2 is on MSSD:
AHR@alpha of X_intv, what the system played; among how many tracks HR@10 ranks the chosen one is not said.
"""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase

import numpy as np
import pandas as pd

from csrec_core.evaluation.controls import ALWAYS
from csrec_core.evaluation.scores import MEAN_COLUMNS
from csrec_core.numbers import interval_text

METRICS = ("AHR@0.2", "AHR@0.5", "HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")

MSSD_METRICS = ("AHR@0.2", "AHR@0.5", "HR@10")

#: Why CSRec's AHR differs from the published one, by preset.
AHR_REASONS = {
    "paper": "f~ is a frozen softmax near 1 / N: the constraint draws f below the threshold",
    "unconstrained": "nothing that f learns from tells the last two decisions: it extrapolates",
}
NOT_RUN = "not run"
OUTSIDE = "outside of the interval"
ACCEPTS_ALL = "f accepts nearly every exposure, and scores as accepting all does"
NEARLY = 0.005  # a decision in two hundred

_TABLE_1 = {
    "GRU4Rec": (0.2431, 0.4967, 0.0492, 0.1018, 0.1988, 0.0292, 0.0460, 0.0701),
    "Caser": (0.2431, 0.4942, 0.0489, 0.1001, 0.2014, 0.0285, 0.0448, 0.0701),
    "SASRec": (0.2438, 0.4981, 0.0533, 0.1057, 0.2017, 0.0313, 0.0480, 0.0720),
    "BERT4Rec": (0.2430, 0.5068, 0.0528, 0.1055, 0.2011, 0.0320, 0.0488, 0.0726),
    "FMLPRec": (0.2435, 0.5006, 0.0496, 0.1019, 0.2008, 0.0297, 0.0460, 0.0707),
    "BSARec": (0.2405, 0.5037, 0.0524, 0.1035, 0.2062, 0.0316, 0.0479, 0.0736),
    "CSRec (FMLPRec)": (0.932, 0.932, 0.0513, 0.1035, 0.2070, 0.0297, 0.0463, 0.0721),
}
_TABLES_3_4 = {
    "CSRec (SASRec)": (0.3914, 0.9176),
    "CSRec (BERT4Rec)": (0.3046, 0.9153),
    "CSRec (FMLPRec)": (0.932, 0.932),
    "CSRec (BSARec)": (0.925, 0.932),
}
#: Table 2: a row a system, a column for each of `MSSD_METRICS`.
MSSD_PUBLISHED = pd.DataFrame.from_dict(
    {
        "GRU4Rec": (0.1117, 0.2403, 0.1311),
        "Caser": (0.1461, 0.2467, 0.1012),
        "SASRec": (0.1926, 0.2956, 0.1082),
        "BERT4Rec": (0.1468, 0.3401, 0.0407),
        "FMLPRec": (0.1412, 0.3009, 0.1952),
        "BSARec": (0.1692, 0.4323, 0.1901),
        "CSRec": (0.3509, 0.5371, 0.2007),
        "Few-Shot": (0.4127, 0.5061, 0.2235),
        "CS-Few-Shot": (0.6764, 0.7418, 0.2364),
    },
    orient="index",
    columns=list(MSSD_METRICS),
)


_CELLS = [
    (table, model, metric, value)
    for table, models in (("1", _TABLE_1), ("3-4", _TABLES_3_4))
    for model, values in models.items()
    for metric, value in zip(METRICS, values, strict=False)
]
#: A row a published cell of these.
PUBLISHED = pd.DataFrame(_CELLS, columns=["table", "model", "metric", "published"])


def compare_with_published(scores: pd.DataFrame, *, preset: str = "paper") -> pd.DataFrame:
    """Set reproduced scores of one preset (`csrec_core.reproduction.tables.summarise`) beside the published ones.

    The control that accepts everything is among the scores, if it is to be told when f does so. A row a published cell:
    `table`, `model`, `metric`, `published`, `reproduced`, `lower`, `upper`, `difference` (reproduced - published),
    `agrees`, whether the interval, widened by half a unit of the last printed digit, holds the published value, and
    `note`, why it does not. NaN where it was not run.
    """
    own = scores.set_index(["model", "metric"])[MEAN_COLUMNS]
    table = PUBLISHED.join(own, on=["model", "metric"]).rename(columns={"mean": "reproduced"})
    table["difference"] = table["reproduced"] - table["published"]
    half = np.where(table["published"].round(3) == table["published"], 5e-4, 5e-5)
    inside = (table["lower"] - half <= table["published"]) & (table["published"] <= table["upper"] + half)
    decided = table["model"].str.startswith("CSRec") & table["metric"].str.startswith("AHR")
    note = np.where(decided, AHR_REASONS.get(preset, OUTSIDE), OUTSIDE)
    always = table["metric"].map(own["mean"].xs(ALWAYS)) if ALWAYS in own.index else np.nan
    note = np.where(decided & ((table["reproduced"] - always).abs() < NEARLY), ACCEPTS_ALL, note)
    note = np.where(inside, "", np.where(table["reproduced"].isna(), NOT_RUN, note))
    return table.assign(agrees=inside, note=note)


def compare_presets(summaries: Mapping[str, pd.DataFrame], presets: Sequence[str]) -> pd.DataFrame:
    """Return `compare_with_published` of several presets, below `preset`; a baseline, that knows none, once."""
    parts = [compare_with_published(summaries[name], preset=name) for name in presets]
    compared = pd.concat(parts, keys=presets, names=["preset", None]).reset_index("preset")
    return compared[compared["model"].str.startswith("CSRec") | (compared["preset"] == presets[0])]


def with_footnotes(compared: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a comparison (`compare_with_published`) laid out for reading, and its footnotes.

    What was not run is left out of the table and named in the footnotes; each reason for a difference is a
    letter there.
    """
    missing = compared["note"] == NOT_RUN
    shown = compared[~missing].reset_index(drop=True)
    reasons = [reason for reason in shown["note"].unique() if reason]
    letters = dict(zip(reasons, ascii_lowercase, strict=False))
    ends = shown[["reproduced", "lower", "upper"]].itertuples(index=False)
    ran = [interval_text(*row, digits=4) for row in ends]
    shown = shown.assign(reproduced=ran, note=shown["note"].map(letters).fillna(""))
    notes = [f"{letter}: {reason}." for reason, letter in letters.items()]
    if missing.any():
        notes.append(f"Not run: {', '.join(compared.loc[missing, 'model'].unique())}.")
    return shown.drop(columns=["lower", "upper"]), " ".join(notes)
