"""The rows of a log with what each user saw and decided before them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from csrec_core.data.log import KEY, SELF, SOURCES, SYSTEM, Dataset

__all__ = ["Rows", "prepare_rows"]


@dataclass(frozen=True)
class Rows:
    """The log with its past.

    Attributes
    ----------
    frame : DataFrame
        The log's rows by user, source and t, with what lies before each in the same source: `last` and
        `before_last`, the decisions (NaN where there is none), `earlier`, the share accepted up to the last
        but one, `same_genre` as the last exposure (0 or 1; without genres, the same item), `last_appeal`;
        and `appeal`, the share of the other users' exposures to this item that they accepted, `step`, the
        exposure's number from 0, `is_system` (0 or 1), `genre` (a number), `genre_size` (its items in
        the catalogue; NaN without genres), and the columns of `tastes`.
    tastes : tuple of str
        What stands for the taste P_t.
    measured : bool
        Whether that is the taste itself, from the `truth` of a simulated world, with `taste_before` beside
        it; else it is what the user's earlier rows of both sources tell, self-chosen ones first.
    """

    frame: pd.DataFrame
    tastes: tuple[str, ...]
    measured: bool

    @property
    def source(self) -> str | None:
        """The source to test decisions on: the readers' own, as f~ learns from it, if it holds both."""
        mixed = self.frame.groupby("source", observed=True)["decision"].nunique() == 2
        return next((source for source in SOURCES if mixed.get(source, False)), None)

    def of(self, source: str | None) -> pd.DataFrame:
        """Return the rows of one source whose user has two earlier ones."""
        return self.frame[(self.frame["source"] == source) & self.frame["before_last"].notna()]


def prepare_rows(dataset: Dataset) -> Rows:
    """Lay out the past of every row; see `Rows`."""
    frame = dataset.log.sort_values(["user", "source", "t"], kind="stable", ignore_index=True)
    frame["decision"] = frame["decision"].astype(np.int64)  # sums of int8 run over
    frame["genre"], frame["genre_size"] = frame["item"], np.nan  # without genres, each item is its own
    if dataset.items is not None and "genre" in dataset.items:
        genre = dataset.items.set_index("item")["genre"]
        frame["genre"] = frame["item"].map(genre)
        frame["genre_size"] = frame["genre"].map(genre.value_counts())
    frame["genre"] = pd.factorize(frame["genre"], use_na_sentinel=False)[0]
    frame["appeal"] = _appeal(frame)
    phase = frame.groupby(["user", "source"], observed=True)
    frame["last"], frame["before_last"] = phase["decision"].shift(1), phase["decision"].shift(2)
    frame["last_appeal"] = phase["appeal"].shift(1)
    frame["same_genre"] = (phase["genre"].shift(1) == frame["genre"]).astype(float)
    frame["step"] = phase.cumcount()
    before = phase["decision"].cumsum() - frame["decision"] - frame["last"]
    frame["earlier"] = before / np.maximum(frame["step"] - 1, 1)
    frame["is_system"] = (frame["source"] == SYSTEM).astype(float)
    truth = dataset.truth
    if truth is not None and {"taste", "taste_before"} <= set(truth.columns):
        known = truth[[*KEY, "taste", "taste_before"]].astype({"source": str})
        frame = frame.astype({"source": str}).merge(known, on=KEY, how="left", validate="one_to_one")
        frame["taste_squared"] = frame["taste"] ** 2
        return Rows(frame, ("taste", "taste_squared"), measured=True)
    record = _record(frame)
    return Rows(pd.concat([frame, record], axis=1), tuple(record.columns), measured=False)


def _appeal(frame: pd.DataFrame) -> pd.Series:
    """Return the share of other users' exposures to this item, by this source, that they accepted."""
    item = frame.groupby(["source", "item"], observed=True)["decision"]
    own = frame.groupby(["source", "item", "user"], observed=True)["decision"]
    rate = frame.groupby("source", observed=True)["decision"].transform("mean")
    accepted = item.transform("sum") - own.transform("sum")
    return (accepted + rate) / (item.transform("size") - own.transform("size") + 1)


def _record(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a user's earlier rows tell of their taste, shares shrunk to the mean where they are few."""
    rate, chosen = frame["decision"].mean(), frame["source"] == SELF
    counts = frame.assign(one=1, chosen=chosen.astype(int))[["decision", "one", "chosen"]]
    user = counts.groupby(frame["user"]).cumsum() - counts
    genre = counts.groupby([frame["user"], frame["genre"]]).cumsum() - counts
    accepted = (user["decision"] + rate) / (user["one"] + 1)
    return pd.DataFrame(
        {
            "accepted": accepted,
            "accepted_in_genre": (genre["decision"] + accepted) / (genre["one"] + 1),
            "chosen_in_genre": genre["chosen"] / (user["chosen"] + 1),
            "known_for": np.log1p(user["one"]),
        }
    )
