"""The scores of every row of a part, each from models that learned from other sessions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from csrec_core.data.mssd.part import open_parquet
from csrec_core.data.mssd.schema import CONTEXTS
from csrec_core.effect.overlap import overlap_weights
from csrec_core.effect.parts.features import FEATURES, describe
from csrec_core.effect.parts.items import Items
from csrec_core.effect.parts.models import NUISANCES, load_fold
from csrec_core.effect.parts.rows import NEITHER, SHOWN, Rows, fold_of, read_rows

__all__ = ["GROUPS", "SCORES", "score_part"]

LAST_POSITION = 20  # of MSSD's sessions; later ones are counted with it
#: How the rows are grouped: the names of the groups, in the order of their codes.
GROUPS = {
    "position": tuple(str(t) for t in range(1, LAST_POSITION + 1)),
    "popularity": ("1, least heard", "2", "3", "4", "5, most heard"),
    "previous": ("none", "rejected", "accepted"),
    "heard": ("for the first time", "before in the session"),
    "premium": ("no", "yes"),
    "hour": ("0 to 5", "6 to 11", "12 to 17", "18 to 23"),
    "context": CONTEXTS,
}
NUMBER = pa.float32()
SCORES = pa.schema(
    [
        ("user", pa.int64()),
        ("t", pa.int32()),
        ("item", pa.int64()),
        ("system", pa.bool_()),
        ("decision", pa.int8()),
        *((name, pa.int8()) for name in GROUPS),
        *((name, NUMBER) for name in (*NUISANCES, "score")),
    ]
)
TOGETHER = 10_000  # sessions whose features are held in memory at once


def score_part(
    target: Path,
    folder: Path,
    part: str,
    out: Path,
    edges: list[float],
    *,
    folds: int,
    seed: int,
    trim: float,
) -> int:
    """Score the rows of either source of a part, and write them as `SCORES`; return how many there are.

    The score of a row is its term in the doubly robust contrast: the weight times D - f~, positive for the
    system's rows and negative for the self-chosen ones (`csrec_core.effect.overlap.overlap_weights`).

    Parameters
    ----------
    edges : list of float
        Of `fame`, between the groups of popularity.
    """
    items = Items.load(out / "items")
    models = [load_fold(out / "models" / f"fold-{fold}.npz") for fold in range(folds)]
    count = 0
    with open_parquet(target, SCORES) as writer:
        for rows in read_rows(folder, part).blocks(TOGETHER):
            fold = fold_of(rows.user, folds, seed)
            features, kept = describe(rows, items, fold), rows.source != NEITHER
            rows, features, fold = rows.take(kept), features[kept], fold[kept]
            system = rows.source == SHOWN
            found = {name: np.empty(len(fold)) for name in NUISANCES}
            for number, trees in enumerate(models):
                for name in NUISANCES:
                    found[name][fold == number] = trees[name].predict(features[fold == number])
            treated, control = overlap_weights(found["regime"], system, trim=trim)
            score = (treated - control) * (rows.decision - found["f_tilde"])
            columns = {name: getattr(rows, name) for name in ("user", "t", "item", "decision")}
            columns |= {"system": system, **_groups(rows, features, edges), **found, "score": score}
            frame = pd.DataFrame(columns)[SCORES.names]
            writer.write_table(pa.Table.from_pandas(frame, schema=SCORES, preserve_index=False))
            count += len(frame)
    return count


def _groups(rows: Rows, features: np.ndarray, edges: list[float]) -> dict[str, np.ndarray]:
    """Return the code of each row's group, by grouping."""
    value = dict(zip(FEATURES, features.T, strict=True))
    return {
        "position": np.minimum(rows.t, LAST_POSITION) - 1,
        "popularity": np.searchsorted(edges, value["fame"], side="right"),
        "previous": np.where(value["first"] == 1, 0, 1 + value["last"]).astype(np.int8),
        "heard": np.minimum(value["heard"], 1).astype(np.int8),
        "premium": value["feature_premium"].astype(np.int8),
        "hour": (value["feature_hour_of_day"] // 6).astype(np.int8),
        "context": pd.Index(CONTEXTS).get_indexer(rows.context).astype(np.int8),
    }
