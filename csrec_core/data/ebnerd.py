"""The news log EB-NeRD: lists that a news site showed to people, and what each had clicked before.

Kruse et al. (2024), "EB-NeRD: a large-scale dataset for news recommendation". The history of a user holds
clicks only, and nearly every list has one click, so the log does not identify the effect of recommending:
`csrec_core.data.profile.profile_log` and `csrec_core.data.showings.list_warnings` say so of it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log
from csrec_core.errors import InputError

__all__ = ["load_ebnerd"]

#: The columns that are read, by file.
FILES = {
    "history.parquet": ("user_id", "article_id_fixed", "impression_time_fixed"),
    "behaviors.parquet": (
        "impression_id",
        "user_id",
        "impression_time",
        "article_ids_inview",
        "article_ids_clicked",
    ),
}


def load_ebnerd(folder: str | Path) -> Dataset:
    """Load the history and the lists of EB-NeRD.

    Parameters
    ----------
    folder : path
        Holds `history.parquet` (a row a user: the articles clicked and when, two lists of one length) and
        `behaviors.parquet` (a row a list that was shown: when, the articles in it, those of them clicked).

    Returns
    -------
    Dataset
        The clicks of the history as `self` exposures, all accepted; each article of a list as a `system`
        exposure, accepted if it was clicked, in the order of the lists and of their places. All articles
        of a list share its `timestamp`.

    Raises
    ------
    InputError
        Where a file or a column is missing, lists do not match, or a click is on an article not shown.
    """
    folder = Path(folder)
    history, behaviors = (_read(folder / name, columns) for name, columns in FILES.items())
    rows = [_clicks(history, folder / "history.parquet"), _lists(behaviors, folder / "behaviors.parquet")]
    return Dataset(validate_log(pd.concat(rows, ignore_index=True), where=str(folder)), name="ebnerd")


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a folder with {' and '.join(FILES)}")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet table: {str(error).splitlines()[0]}") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns))
        raise InputError(
            f"{path}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; found {found}"
        )
    return frame[list(columns)]


def _clicks(history: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a row for each click of the history."""
    lengths = history["article_id_fixed"].map(len), history["impression_time_fixed"].map(len)
    differs = (lengths[0] != lengths[1]).to_numpy()
    if differs.any():
        row = differs.argmax()
        raise InputError(
            f"{path}: row {row + 1}: {lengths[0].iloc[row]} articles and {lengths[1].iloc[row]} times; "
            "expected a time for each article"
        )
    clicks = history.explode(["article_id_fixed", "impression_time_fixed"], ignore_index=True)
    clicks = clicks.rename(columns={"user_id": "user", "article_id_fixed": "item"})
    clicks["timestamp"] = pd.to_datetime(clicks.pop("impression_time_fixed"))
    clicks = clicks.dropna(subset="item").sort_values(["user", "timestamp"], kind="stable")
    return clicks.assign(source=SELF, decision=1, t=clicks.groupby("user").cumcount() + 1)


def _lists(behaviors: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a row for each article of each list that was shown."""
    clicked = behaviors[["impression_id", "article_ids_clicked"]].explode("article_ids_clicked").dropna()
    clicked = clicked.rename(columns={"article_ids_clicked": "item"}).drop_duplicates()
    behaviors = behaviors.sort_values(["user_id", "impression_time", "impression_id"], kind="stable")
    shown = behaviors.drop(columns="article_ids_clicked").explode("article_ids_inview", ignore_index=True)
    shown = shown.rename(columns={"user_id": "user", "article_ids_inview": "item"}).dropna(subset="item")
    shown["timestamp"] = pd.to_datetime(shown.pop("impression_time"))
    key = ["impression_id", "item"]
    hits = pd.MultiIndex.from_frame(shown[key]).isin(pd.MultiIndex.from_frame(clicked))
    on_list = pd.MultiIndex.from_frame(clicked).isin(pd.MultiIndex.from_frame(shown[key]))
    if not on_list.all():
        impression, item = clicked.iloc[np.argmin(on_list)]
        raise InputError(
            f"{path}: list {impression}: article {item} was clicked but not shown; expected it in "
            "article_ids_inview"
        )
    return shown.drop(columns="impression_id").assign(
        source=SYSTEM, decision=hits.astype(np.int8), t=shown.groupby("user").cumcount() + 1
    )
