"""Every exposure with what was known before it, the chance of either source, and acceptance under either.

A context is an item and the user's history at one exposure. The action is the source of that one exposure:
1, the system exposes the item; 0, the user comes upon it by themselves. A log shows one of the two. The
target are the contexts of the system's exposures, so a row of the system stands for itself, and a row of a
user's own choice for `odds` of them, the ratio of densities

    odds(S, H) = n_system / n_self * P(H | system) / P(H | self) * p_system(S) / p_self(S | H, taste).

The first ratios are of the history (a logistic regression); the last one is known where the log holds the
propensities. Then it balances the items over tastes that no column of the log holds. Elsewhere the whole of
`odds` is a logistic regression on item and history, and tastes that the history does not tell confound it.

Acceptance under either source is a logistic regression on item and history, fitted on other users (folds),
with the rows of a user as one cluster in its covariance (Liang and Zeger 1986).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from csrec_core.data.log import KEY, SELF, SYSTEM, Dataset
from csrec_core.effect.features import published_features
from csrec_core.errors import InputError

__all__ = ["Contexts", "lay_out"]

PRIOR = 5.0  # exposures that the mean of all counts for, in a share of few
TRIM = 0.01  # an estimated chance of the system is kept this far from 0 and 1
RIDGE = 1.0  # penalty of the regressions on standardised columns
COMMON = ["last", "liked", "in_genre", "in_genre_squared", "liked_in_genre", "appeal", "chosen", "fame"]
RECENT = ["record", "seen"]  # of the system phase alone


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of a log.

    Attributes
    ----------
    frame : DataFrame
        A row for each exposure, a user's own choices first: `user`, `source`, `t`, `step` (its number in the
        phase, from 1), `item`, `decision`, `system` (bool), `odds` (for how many contexts of the system the
        row stands; 1 for the system's own), `q_system` and `q_self` (P(D = 1) under either source, from
        models of other users), `effect` = q_system - q_self with its interval `lower`, `upper` (it holds the
        error of the coefficients, not that of the form), and where the world is simulated the true
        probabilities `p_system`, `p_self`.
    weighing : str
        How `odds` came about, in words.
    known : bool
        Whether the items' part of `odds` is known from logged propensities.
    effective : float
        How many self-chosen exposures of equal weight would be as precise (Kish): at most their number.
    """

    frame: pd.DataFrame
    weighing: str
    known: bool
    effective: float


def lay_out(dataset: Dataset, *, folds: int = 2, level: float = 0.95, seed: int = 0) -> Contexts:
    """Lay out the contexts of a log; see `Contexts`.

    What the log's owner publishes beside the log, such as measured tastes, is taken as features too
    (`csrec_core.effect.features.published_features`).

    Parameters
    ----------
    dataset : Dataset
    folds : int
        The models read at a user come from the users of the other folds, at least 2.
    level : float
        Of the intervals of cells, in (0, 1).
    seed : int
        Of the deal of users into folds.

    Raises
    ------
    InputError
        Where fewer users than folds have exposures of a source, or a number is out of
        range.
    """
    if folds < 2:
        raise InputError(f"folds = {folds}; expected at least 2")
    if not 0 < level < 1:
        raise InputError(f"level = {level}; expected a share in (0, 1)")
    frame, columns = _features(dataset)
    for source in (SELF, SYSTEM):
        if (count := frame.loc[frame["source"] == source, "user"].nunique()) < folds:
            raise InputError(
                f"{dataset.name}: {count} users have {source} exposures; expected at least {folds}"
            )
    users = frame["user"].unique()
    deal = np.random.default_rng(seed).permutation(np.arange(len(users)) % folds)
    fold = pd.Series(deal, index=users).loc[frame["user"]].to_numpy()
    ratio = _item_ratio(frame)
    frame["odds"] = _odds(frame, ratio, columns, fold)
    weight = np.ones(len(frame)) if ratio is None else ratio
    for source, names in ((SELF, columns), (SYSTEM, columns + RECENT)):
        q, sd = _acceptance(frame, names, weight, fold, source)
        frame[f"q_{source}"], frame[f"sd_{source}"] = q, sd
    frame["effect"] = frame["q_system"] - frame["q_self"]
    half = norm.ppf((1 + level) / 2) * np.hypot(frame["sd_self"], frame["sd_system"])
    frame["lower"], frame["upper"] = frame["effect"] - half, frame["effect"] + half
    if dataset.truth is not None and {"p_system", "p_self"} <= set(dataset.truth.columns):
        known = dataset.truth[[*KEY, "p_system", "p_self"]].astype({"source": str})
        frame = frame.merge(known, on=KEY, how="left", validate="one_to_one")
    own = frame.loc[~frame["system"], "odds"]
    kept = ["user", "source", "t", "step", "item", "decision", "system", "odds", "q_system", "q_self"]
    kept += ["effect", "lower", "upper", *(name for name in ("p_system", "p_self") if name in frame)]
    return Contexts(
        frame[kept],
        weighing="known propensities of the items, a regression on the history for the rest"
        if ratio is not None
        else "a regression on item and history",
        known=ratio is not None,
        effective=float(own.sum() ** 2 / (own**2).sum()),
    )


def _features(dataset: Dataset) -> tuple[pd.DataFrame, list[str]]:
    """Return the exposures, a user's own phase first, with features; and their names."""
    published = published_features(dataset)
    log = dataset.log.drop(columns=published.columns, errors="ignore").astype({"source": str})
    frame = pd.concat([log, published], axis=1)
    frame = frame.sort_values(["user", "source", "t"], kind="stable", ignore_index=True)  # "self" comes first
    frame["decision"] = frame["decision"].astype(float)
    frame["system"] = frame["source"] == SYSTEM
    frame["step"] = frame.groupby(["user", "source"]).cumcount() + 1
    frame["last"] = frame.groupby("user")["decision"].shift().fillna(0.0)  # nothing accepted before the first
    frame["genre"] = frame["item"]
    if dataset.items is not None and "genre" in dataset.items:
        frame["genre"] = frame["item"].map(dataset.items.set_index("item")["genre"]).fillna("")
    frame = _record(_appeal(frame))
    return frame, COMMON + list(published.columns)


def _appeal(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what other users did with the item: accepted of the system's and of their own, how often chosen."""
    for name, mine in (("appeal", frame["system"]), ("chosen", ~frame["system"])):
        part = frame[["user", "item"]].assign(accepted=frame["decision"] * mine, count=mine.astype(float))
        item, own = part.groupby("item"), part.groupby(["item", "user"])
        columns = ["accepted", "count"]
        others = item[columns].transform("sum") - own[columns].transform("sum")
        rate = frame.loc[mine, "decision"].mean() if mine.any() else 0.0
        frame[name] = (others["accepted"] + PRIOR * rate) / (others["count"] + PRIOR)
    frame["fame"] = np.log1p(others["count"])  # of their own choice
    return frame


def _record(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the user's record: of their own choices, and of the system phase so far.

    Own choices are counted over the whole phase, without this exposure and the next, whose decision may
    follow from this one's. So that a row of one source is a context of the other, either takes what it lacks
    from a row of the same user: the system's rows leave out two own choices as well, the own choices take the
    record of the system phase at an exposure there, each spread evenly over the other phase.
    """
    users, own = pd.factorize(frame["user"])[0], (~frame["system"]).to_numpy()
    chosen = np.bincount(users, own)[users].astype(int)
    length = np.bincount(users, ~own)[users].astype(int)
    first = frame.index.to_numpy() - (frame["step"].to_numpy() - 1) - np.where(own, 0, chosen)
    spread = (frame["step"] - 0.5) * chosen // np.maximum(length, 1)
    place = np.where(own, frame["step"] - 1, spread).astype(int)
    decision, genre = frame["decision"].to_numpy(), pd.factorize(frame["genre"])[0]
    counts = pd.DataFrame({"n": own.astype(float), "liked": own * decision})
    user = counts.groupby(users).transform("sum")
    in_genre = counts.groupby([users, genre]).transform("sum")
    # A system row meets its genre's own choices too: both sums are over all rows of user and genre.
    for out in (place, place + 1):
        there = np.where(out < chosen, first + out, 0)
        left_out = counts.iloc[there].mul(out < chosen, axis=0).set_axis(frame.index)
        user = user - left_out
        in_genre = in_genre - left_out.mul(genre[there] == genre, axis=0)
    rate = counts["liked"].sum() / max(1.0, counts["n"].sum())
    frame["liked"] = (user["liked"] + PRIOR * rate) / (user["n"] + PRIOR)
    share = 1 / max(1, frame["genre"].nunique())
    frame["in_genre"] = (in_genre["n"] + PRIOR * share) / (user["n"] + PRIOR)
    frame["in_genre_squared"] = frame["in_genre"] ** 2
    frame["liked_in_genre"] = (in_genre["liked"] + PRIOR * frame["liked"]) / (in_genre["n"] + PRIOR)
    system = frame.loc[frame["system"], ["user", "decision"]]
    rate = system["decision"].mean()
    before = system.groupby("user").cumcount()
    liked = system.groupby("user")["decision"].cumsum() - system["decision"]
    shown = pd.DataFrame({"record": (liked + PRIOR * rate) / (before + PRIOR), "seen": before.astype(float)})
    shown.index = pd.MultiIndex.from_arrays([system["user"], before])
    spread = (frame["step"] - 0.5) * length // np.maximum(chosen, 1)
    place = pd.MultiIndex.from_arrays([frame["user"], np.where(own, spread, frame["step"] - 1).astype(int)])
    frame[RECENT] = shown.reindex(place).fillna({"record": rate, "seen": 0.0}).to_numpy()
    return frame


def _item_ratio(frame: pd.DataFrame) -> np.ndarray | None:
    """Return p_system(S) / p_self(S) at each row (NaN: at the system's), or None where it is not known."""
    own = ~frame["system"]
    if "propensity" not in frame.columns or frame.loc[own, "propensity"].isna().any():
        return None
    system = frame.loc[~own, ["item", "propensity"]]
    if system["propensity"].isna().any():
        chance = frame["item"].map(system["item"].value_counts(normalize=True)).fillna(0.0)
    elif np.ptp(system["propensity"]) == 0:
        chance = pd.Series(system["propensity"].iloc[0], index=frame.index)
    elif (system.groupby("item")["propensity"].agg(np.ptp) == 0).all():
        chance = frame["item"].map(system.groupby("item")["propensity"].first()).fillna(0.0)
    else:
        return None  # the system's choice is personal: what it would do at a user's own choices is not logged
    return np.where(own, chance / frame["propensity"], np.nan)


def _odds(frame: pd.DataFrame, ratio: np.ndarray | None, columns: list[str], fold: np.ndarray) -> np.ndarray:
    """Return for how many contexts of the system each row stands."""
    names = columns if ratio is None else ["last"]
    chance = np.empty(len(frame))
    for number in np.unique(fold):
        learn, held = fold != number, fold == number
        model = _Logistic.fit(frame.loc[learn, names], frame["system"][learn], np.ones(learn.sum()))
        chance[held] = np.clip(model.predict(frame.loc[held, names])[0], TRIM, 1 - TRIM)
    odds = chance / (1 - chance) * (1.0 if ratio is None else ratio)
    return np.where(frame["system"], 1.0, odds)


def _acceptance(
    frame: pd.DataFrame, names: list[str], weight: np.ndarray, fold: np.ndarray, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return P(D = 1) at every row under one source, and its standard error, from models of other users."""
    mine = (frame["source"] == source).to_numpy()
    weight = np.ones(len(frame)) if source == SYSTEM else weight
    q, sd = np.empty(len(frame)), np.empty(len(frame))
    for number in np.unique(fold):
        learn, held = mine & (fold != number), fold == number
        rows = frame.loc[learn]
        model = _Logistic.fit(rows[names], rows["decision"], weight[learn], user=rows["user"])
        q[held], sd[held] = model.predict(frame.loc[held, names])
    return q, sd


@dataclass(frozen=True)
class _Logistic:
    """A ridge logistic regression on standardised columns, with the covariance of its coefficients."""

    centre: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray  # the intercept first
    covariance: np.ndarray

    @classmethod
    def fit(cls, x, y, weight, *, user=None) -> "_Logistic":
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        weight = weight / weight.mean() if weight.sum() > 0 else np.ones(len(y))
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, np.inf)  # what does not vary says nothing
        x = np.column_stack([np.ones(len(x)), (x - centre) / scale])
        width = x.shape[1]
        if len(np.unique(y)) < 2:  # all alike: a probability of 0 or 1 without a model
            certain = np.zeros(width)
            certain[0] = np.inf if y[:1].sum() else -np.inf
            return cls(centre, scale, certain, np.zeros((width, width)))
        model = LogisticRegression(C=1 / RIDGE, tol=1e-6, max_iter=500)
        model.fit(x[:, 1:], y, sample_weight=weight)
        coefficients = np.concatenate([model.intercept_, model.coef_[0]])
        covariance = np.zeros((width, width))
        if user is not None:
            mean = expit(x @ coefficients)
            penalty = np.diag([0.0, *np.full(width - 1, RIDGE)])
            bread = np.linalg.pinv(
                (x * (weight * mean * (1 - mean))[:, None]).T @ x + penalty, hermitian=True
            )
            scores = (
                pd.DataFrame(x * (weight * (y - mean))[:, None]).groupby(np.asarray(user)).sum().to_numpy()
            )
            covariance = bread @ (scores.T @ scores) @ bread
        return cls(centre, scale, coefficients, covariance)

    def predict(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability and its standard error (delta method), (rows,) each."""
        x = (np.asarray(x, dtype=float) - self.centre) / self.scale
        if np.isinf(self.coefficients[0]):
            return np.full(len(x), float(self.coefficients[0] > 0)), np.zeros(len(x))
        x = np.column_stack([np.ones(len(x)), x])
        mean = expit(x @ self.coefficients)
        variance = np.einsum("ij,jk,ik->i", x, self.covariance, x, optimize=True)
        return mean, mean * (1 - mean) * np.sqrt(np.maximum(variance, 0.0))
