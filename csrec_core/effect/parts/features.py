"""What is known of an exposure before its decision, for the sessions of a part.

Of which source the earlier tracks were is left out: a context lasts for several tracks, so the source before
tells the source now nearly always, and nothing could be compared. It may move a decision only through what
was decided: the carry-over, the rates and the tracks heard, which are here.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.mssd.schema import TRACKS
from csrec_core.effect.features import LONGEST_RUN
from csrec_core.effect.parts.items import TOLD, Items
from csrec_core.effect.parts.rows import KNOWN, NEITHER, SHOWN, Rows, fold_of, read_rows
from csrec_core.files import whole_file

__all__ = ["FEATURES", "describe", "draw_part"]

PAST = ("t", "first", "last", "before_last", "run", "rate", "heard", "like_accepted", "like_heard")
FEATURES = (*PAST, *KNOWN, *TOLD, *(column.target for column in TRACKS))
ACOUSTIC = [place for place, column in enumerate(TRACKS) if column.name.startswith("acoustic_vector")]


def describe(rows: Rows, items: Items, fold: np.ndarray) -> np.ndarray:
    """Return the features of each row of whole sessions, (rows, 48) float32, in the order of `FEATURES`.

    - `t`, the position in the session; `first` (0 or 1: no decision before), `last`, `before_last`
      (decisions, 0 where there is none), `run` (rejections in a row just before, at most 5), `rate` (share
      accepted so far, of all contexts, shrunk to the mean as by two exposures), `heard` (how often this track
      was before, in this session), `like_accepted`, `like_heard` (product of the track's acoustic vector with
      the mean of those accepted, and heard, so far; 0 where there is none);
    - `KNOWN` of the exposure; `TOLD` of the track by the sessions of other folds; the track's features.

    Parameters
    ----------
    fold : array (rows,) int
        The fold of each row's user.
    """
    at = np.searchsorted(items.item, rows.item)
    track = items.features[at]
    past = _past(rows, track[:, ACOUSTIC], float(items.rates.mean()))
    told = items.told[fold, at]
    return np.column_stack([*(past[name] for name in PAST), rows.known, told, track]).astype(np.float32)


def draw_part(target: Path, folder: Path, part: str, out: Path, *, folds: int, seed: int) -> int:
    """Write the features of the rows to learn from: of either source, in the sessions that were drawn."""
    rows, items = read_rows(folder, part, np.load(out / "draw.npy")), Items.load(out / "items")
    fold = fold_of(rows.user, folds, seed)
    frame = pd.DataFrame(describe(rows, items, fold), columns=list(FEATURES))
    about = {"user": rows.user, "fold": fold, "system": rows.source == SHOWN, "decision": rows.decision}
    frame = frame.assign(**about)[rows.source != NEITHER]
    with whole_file(target) as temporary:
        frame.to_parquet(temporary, index=False)
    return len(frame)


def _past(rows: Rows, vector: np.ndarray, mean: float) -> dict[str, np.ndarray]:
    """Return the features of the session so far."""
    place, decision = np.arange(len(rows.user)), rows.decision.astype(float)
    start = np.maximum.accumulate(np.where(np.diff(rows.user, prepend=-1) != 0, place, 0))
    seen = place - start

    def shifted(by: int) -> np.ndarray:
        return np.where(seen >= by, np.roll(decision, by), 0.0)

    def so_far(values: np.ndarray) -> np.ndarray:
        """Sum the session's values before each row."""
        total = np.cumsum(values, axis=0) - values
        return total - total[start]

    accepted_at = np.maximum.accumulate(np.where(decision == 1, place, -1))
    accepted_at = np.maximum(np.concatenate([[-1], accepted_at[:-1]]), start - 1)
    accepted = so_far(decision)
    vector = vector.astype(float)

    def likeness(weight: np.ndarray, count: np.ndarray) -> np.ndarray:
        return np.einsum("rv,rv->r", vector, so_far(vector * weight[:, None])) / np.maximum(count, 1)

    return {
        "t": rows.t,
        "first": seen == 0,
        "last": shifted(1),
        "before_last": shifted(2),
        "run": np.minimum(place - accepted_at - 1, LONGEST_RUN),
        "rate": (accepted + 2 * mean) / (seen + 2),
        "heard": pd.DataFrame({"user": rows.user, "item": rows.item}).groupby(["user", "item"]).cumcount(),
        "like_accepted": likeness(decision, accepted),
        "like_heard": likeness(np.ones(len(decision)), seen),
    }
