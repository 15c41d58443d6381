"""The news log EB-NeRD: lists that a news site showed to people, and what each had clicked before.

Kruse et al. (2024), "EB-NeRD: a large-scale dataset for news recommendation". The history of a user holds
clicks only, and nearly every list has one click, so the log does not identify the effect of recommending:
`csrec_core.data.profile.profile_log` and `csrec_core.data.repeat_exposure.list_warnings` say so of it.
"""

from pathlib import Path

import pandas as pd

from csrec_core.data.log import SELF, SYSTEM, Dataset, read_log, validate_log
from csrec_core.data.options import ReadOptions
from csrec_core.data.views import NOT_SHOWN
from csrec_core.errors import InputError, readable

#: How each file is read: all of the history was clicked; of a list, what is in `article_ids_clicked`.
FILES = {
    "history.parquet": ReadOptions(
        map={"user": "user_id", "item": "article_id_fixed", "timestamp": "impression_time_fixed"},
        explode=("article_id_fixed", "impression_time_fixed"),
        accept="1 = 1",
        arms={SELF: (SELF,)},
    ),
    "behaviors.parquet": ReadOptions(
        map={
            "user": "user_id",
            "item": "article_ids_inview",
            "timestamp": "impression_time",
            "decision": "article_ids_clicked",
        },
        explode=("article_ids_inview",),
        arms={SYSTEM: (SYSTEM,)},
    ),
}


def load_ebnerd(folder: str | Path) -> Dataset:
    """Load the history and the lists of EB-NeRD.

    The folder holds `history.parquet` (a row a user: the articles clicked and when, two lists of one length) and
    `behaviors.parquet` (a row a list that was shown: when, the articles in it, those of them clicked).

    Returns the clicks of the history as `self` exposures, all accepted; each article of a list as a `system` exposure,
    accepted if it was clicked, in the order of the lists, which share a `timestamp`, and of their places. InputError
    where a file or a column is missing, lists do not match, or a click is on an article not shown.
    """
    parts = [_read_rows(Path(folder) / name, options) for name, options in FILES.items()]
    return Dataset(validate_log(pd.concat(parts, ignore_index=True), where=str(folder)), name="ebnerd")


def _read_rows(path: Path, options: ReadOptions) -> pd.DataFrame:
    """Return the rows of a file, with the ids that it has."""
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise InputError(f"{readable(path)}: no such file; expected a folder with {' and '.join(FILES)}")
    dataset = read_log(path, options=options)
    if lost := dataset.left_out.get(NOT_SHOWN, 0):
        raise InputError(
            f"{readable(path)}: {lost:,} articles were clicked but not shown; expected them in the list of "
            "article_ids_inview"
        )
    log = dataset.log.drop(columns="position").astype({"source": "str"})
    for key in ("user", "item"):
        if (names := dataset.names(key)) is not None:
            log[key] = names[log[key]].to_numpy()
    return log.assign(t=log["t"] + 1)
