"""The books world: readers who decide by a known structural model, so that every effect has a truth.

A reader has tastes over genres that drift, a book has a genre, a quality and a fame. In the `self` phase the
reader picks a genre by taste and a book by fame (or now and then any book), in the `system` phase the
recommender exposes a random book. The reader accepts with probability

    logit P(D_t = 1) = base + affinity * (taste of the book's genre - 1 / genres) + quality
                       + carry_over * D_{t-1} + [source = system] * trust_u * g(t)

where trust_u ~ N(effect, trust_spread) is the reader's trust in the system and g(t) runs linearly from
1 - trend to 1 + trend over the system phase. This is the graph of Figure 1 with the source R pointing at D_t:
P_t -> D_t, S_t -> D_t, D_{t-1} -> D_t, P_t -> S_t in the self phase only, R -> D_t. A `trust_spread` above 0
is a lasting cause of a reader's decisions in the system phase beside taste: a latent D_{t-1} <-> D_t there.

Further arrows, each off by default, break an assumption of the theorem on purpose (`VIOLATIONS`):

    logit P(D_t = 1)  +  carry_over_exposure * [genre of S_{t-1} = genre of S_t] + second_order * D_{t-2}
                      +  lagged_taste * (taste of S_t's genre at t-1 - 1 / genres)
                      +  confounder * ([mood U_t = genre of S_t] - 1 / genres)
    log taste of genre k from t on  +  amplification * D_{t-1} [genre of S_{t-1} = k]
    log odds of looking at genre k  +  confounder * [mood U_t = k]

The mood U_t is a genre, uniform and new at each exposure, that no log holds.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from csrec_core.errors import InputError
from csrec_core.log import SELF, SOURCES, SYSTEM, Dataset, validate_log

__all__ = ["VIOLATIONS", "simulate_books"]

#: The knobs that break an assumption, and the departure from Figure 1 (`graph.VARIANTS`) that each is.
VIOLATIONS = {
    "carry_over_exposure": "carry-over S[t-1] → D[t]",
    "second_order": "second order D[t-2] → D[t]",
    "lagged_taste": "lagged taste P[t-1] → D[t]",
    "amplification": "preference amplification D[t-1] → P[t]",
    "confounder": "latent S[t] ↔ D[t]",
}


def simulate_books(
    *,
    users: int = 2000,
    items: int = 200,
    steps: int = 20,
    effect: float = 0.6,
    seed: int = 0,
    genres: int = 10,
    trust_spread: float = 0.5,
    trend: float = 0.5,
    carry_over: float = 0.6,
    affinity: float = 3.0,
    quality_spread: float = 0.5,
    base: float = -1.2,
    drift: float = 0.1,
    browsing: float = 0.2,
    carry_over_exposure: float = 0.0,
    second_order: float = 0.0,
    lagged_taste: float = 0.0,
    amplification: float = 0.0,
    confounder: float = 0.0,
) -> Dataset:
    """Simulate a log of `steps` self-chosen, then `steps` randomised exposures a user, with its truth.

    Parameters
    ----------
    users, items, steps, genres : int
        Sizes; `steps` counts the exposures of each of the two phases.
    effect : float
        Mean source effect, in logits of acceptance; 0 with `trust_spread=0` means that TER is 0 everywhere.
    seed : int
        Same seed, same log.
    trust_spread : float
        Standard deviation over users of the source effect, in logits.
    trend : float
        Relative change of the source effect from the middle of the system phase to its end.
    carry_over : float
        What an accepted exposure adds to the logit of the next decision.
    affinity, quality_spread, base : float
        Weight of taste, spread of item quality, and intercept, in logits.
    drift : float
        Standard deviation of the step of the random walk of the log tastes; 0 holds tastes still.
    browsing : float
        Share of self-chosen exposures that are uniform over the catalogue, in [0, 1].
    carry_over_exposure : float
        S_{t-1} -> D_t: what an exposure of the same genre just before adds to the logit.
    second_order : float
        D_{t-2} -> D_t: what accepting the last but one exposure adds to the logit.
    lagged_taste : float
        P_{t-1} -> D_t: weight of the taste of one exposure earlier, in logits, as `affinity`.
    amplification : float
        D_{t-1} -> P_t (and, as it is the exposed genre that grows, S_{t-1} -> P_t): what accepting a book
        adds to the log taste of its genre, for good.
    confounder : float
        S_t <- U_t -> D_t: weight of a hidden mood for a genre, in log odds of looking at the genre (browsing
        and the system know no mood) and in logits of accepting it.

    Returns
    -------
    Dataset
        `log` with the exact exposure `propensity` given the tastes (the mood summed out); `items` with title
        and genre; `truth`, a row for each row of the log: `p_system` and `p_self`, the probability of
        acceptance given the realised history under do(S_t), S_t the exposed item, were the exposure at t (and
        only it) the system's or the reader's own; `marginal_system`, `marginal_self`, the same under
        do(S_{1:t}) with the earlier decisions of the phase summed out and all exposures 1..t of one source
        (Definition 3.4), NaN where `amplification` is on, for tastes then depend on those decisions; `taste`
        and `taste_before`, the reader's taste of the exposed item's genre, in [0, 1], at this exposure and at
        the one before it (NaN at the first).

    Raises
    ------
    InputError
        On a size below 1 or a share outside [0, 1].
    """
    sizes = {"users": users, "items": items, "steps": steps, "genres": genres}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"books: {name} = {size}; expected at least 1")
    if not 0 <= browsing <= 1:
        raise InputError(f"books: browsing = {browsing}; expected a share in [0, 1]")
    # One stream a mechanism: a knob of one leaves the draws of the others as they were.
    streams = np.random.SeedSequence(seed).spawn(6)
    books_rng, taste_rng, exposure_rng, trust_rng, decision_rng, mood_rng = map(
        np.random.default_rng, streams
    )
    catalogue = _Catalogue.draw(books_rng, items, genres, quality_spread)
    growth = 1 + trend * np.linspace(-1, 1, steps) if steps > 1 else np.ones(1)
    lift = np.concatenate([np.repeat(growth[:1], steps), growth])  # for cells of both phases
    log_taste = _log_tastes(taste_rng, users, 2 * steps, genres, drift)
    glances = _glances(exposure_rng, users, steps, items, browsing)
    reader = _Readers(
        catalogue=catalogue,
        log_taste=log_taste,
        lift=trust_rng.normal(effect, trust_spread, users)[:, None] * lift,
        mood=mood_rng.integers(genres, size=(users, 2 * steps)),
        base=base,
        affinity=affinity,
        carry_over=carry_over,
        browsing=browsing,
        carry_over_exposure=carry_over_exposure,
        second_order=second_order,
        lagged_taste=lagged_taste,
        amplification=amplification,
        confounder=confounder,
    )
    log, truth = _live(reader, glances, decision_rng.random((users, 2 * steps)))
    log["item"] += 1
    return Dataset(
        _long(users, steps, **log),
        items=pd.DataFrame(
            {
                "item": np.arange(1, items + 1),
                "title": [f"Book {number}" for number in range(1, items + 1)],
                "genre": [f"genre {number}" for number in catalogue.genre + 1],
            }
        ),
        truth=_long(users, steps, **truth),
        name="books",
    )


def _log_tastes(
    rng: np.random.Generator, users: int, steps: int, genres: int, drift: float, concentration: float = 0.3
) -> np.ndarray:
    """Draw log tastes (users, steps, genres), not normalised: Dirichlet at the start, then a random walk."""
    start = rng.dirichlet(np.full(genres, concentration), users)
    walk = np.cumsum(rng.normal(0, drift, (users, steps, genres)), axis=1)
    return np.log(start + 1e-6)[:, None, :] + walk


@dataclass(frozen=True)
class _Catalogue:
    """The books: `genre`, `quality` and `share`, the fame of each within its genre, (items,)."""

    genre: np.ndarray
    quality: np.ndarray
    share: np.ndarray
    present: np.ndarray  # with few items a genre may hold none

    @classmethod
    def draw(cls, rng: np.random.Generator, items: int, genres: int, quality_spread: float) -> "_Catalogue":
        genre = rng.permutation(np.arange(items) % genres)
        quality = rng.normal(0, quality_spread, items)
        fame = rng.pareto(1.5, items) + 0.1
        share = fame / np.bincount(genre, fame)[genre]
        return cls(genre, quality, share, np.bincount(genre, minlength=genres) > 0)

    def famous(self, genre: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Return a book of each genre, by fame, from uniform draws."""
        order = np.argsort(self.genre, kind="stable")
        edges = np.cumsum(self.share[order])  # one unit of length a genre present
        position = np.searchsorted(edges, (np.cumsum(self.present) - 1)[genre] + draw)
        return order[np.minimum(position, len(order) - 1)]


def _glances(
    rng: np.random.Generator, users: int, steps: int, items: int, browsing: float
) -> dict[str, np.ndarray]:
    """Draw the noise of the exposures, (users, steps) each: the system's books, draws for the readers'."""
    shape = (users, steps)
    return {
        "genre": rng.random(shape),
        "book": rng.random(shape),
        "browses": rng.random(shape) < browsing,
        "any book": rng.integers(items, size=shape),
        "exposed": rng.integers(items, size=shape),
    }


@dataclass(frozen=True)
class _Readers:
    """The structural model: what readers look at and what they accept; the weights of `simulate_books`."""

    catalogue: _Catalogue
    log_taste: np.ndarray  # (users, 2 steps, genres)
    lift: np.ndarray  # (users, 2 steps): the source effect in logits
    mood: np.ndarray  # (users, 2 steps)
    base: float
    affinity: float
    carry_over: float
    browsing: float
    carry_over_exposure: float
    second_order: float
    lagged_taste: float
    amplification: float
    confounder: float

    @property
    def habit(self) -> np.ndarray:
        """What the last decisions add to the logit, (D_{t-2}, D_{t-1}, 1)."""
        before_last, last = np.indices((2, 2))[:, :, :, None]
        return self.carry_over * last + self.second_order * before_last

    def look(self, taste: np.ndarray, mood: np.ndarray, glance: dict[str, np.ndarray]) -> np.ndarray:
        """Return what each reader looks at by themselves, (users,): a genre by taste, then a book by fame."""
        leaning = np.exp(self.confounder * (mood[:, None] == np.arange(taste.shape[1])))
        cumulative = np.cumsum(taste * leaning * self.catalogue.present, axis=1)
        genre = (glance["genre"][:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
        famous = self.catalogue.famous(genre, glance["book"])
        return np.where(glance["browses"], glance["any book"], famous)

    def propensity(self, taste: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return the probability, given the tastes, that exactly this item is looked at, (users,)."""
        genre, users = self.catalogue.genre[item], np.arange(len(item))
        weight = taste * self.catalogue.present
        total = weight.sum(axis=1)
        share = taste[users, genre] / total
        if self.confounder:  # the mean over the moods, each of which raises one genre's weight
            odds = np.exp(self.confounder)
            by_mood = taste[users, genre][:, None] / (total[:, None] + (odds - 1) * weight)
            by_mood[users, genre] *= odds
            share = by_mood.mean(axis=1)
        by_taste = (1 - self.browsing) * share * self.catalogue.share[item]
        return by_taste + self.browsing / len(self.catalogue.genre)

    def logit(self, item, last_item, liking, liking_before) -> np.ndarray:
        """Return the logit but for source, mood and earlier decisions; (users,), as each argument is."""
        genre, even = self.catalogue.genre, 1 / self.log_taste.shape[2]
        logit = self.base + self.affinity * (liking - even) + self.catalogue.quality[item]
        if last_item is not None:
            logit += self.carry_over_exposure * (genre[last_item] == genre[item])
            logit += self.lagged_taste * (liking_before - even)
        return logit

    def accept(self, logit: np.ndarray) -> np.ndarray:
        """Return P(D_t = 1 | do(S_t)): the mean over the moods, of which one in `genres` hits the genre."""
        if not self.confounder:
            return expit(logit)
        hit = 1 / self.log_taste.shape[2]
        craved, other = expit(logit + self.confounder * (1 - hit)), expit(logit - self.confounder * hit)
        return hit * craved + (1 - hit) * other


def _live(
    reader: _Readers, glances: dict[str, np.ndarray], draw: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run the readers through both phases; return the log's and the truth's columns, (users, 2 steps).

    One uniform draw decides a cell whatever its source would be, so the two regimes share their noise.
    """
    users, total = draw.shape
    steps, genre, everyone = total // 2, reader.catalogue.genre, np.arange(users)
    log = {
        "item": np.zeros((users, total), dtype=np.int64),
        "decision": np.zeros((users, total), dtype=np.int8),
        "propensity": np.full((users, total), 1 / len(genre)),
    }
    names = ("p_system", "p_self", "marginal_system", "marginal_self", "taste", "taste_before")
    truth = {name: np.full((users, total), np.nan) for name in names}
    before_last = last = np.zeros(users, dtype=int)  # decisions
    grown = np.zeros((users, reader.log_taste.shape[2]))  # what accepting added to the log tastes
    taste = item = None
    for t in range(total):
        taste_before, last_item = taste, item
        taste = softmax(reader.log_taste[:, t] + grown, axis=1)
        system = t >= steps
        if system:
            item = glances["exposed"][:, t - steps]
        else:
            glance = {name: noise[:, t] for name, noise in glances.items()}
            item = reader.look(taste, reader.mood[:, t], glance)
            log["propensity"][:, t] = reader.propensity(taste, item)
        truth["taste"][:, t] = taste[everyone, genre[item]]
        if t > 0:
            truth["taste_before"][:, t] = taste_before[everyone, genre[item]]
        if t in (0, steps):  # a phase starts from what is known: the realised decisions before it
            known = np.zeros((2, 2, users))
            known[before_last, last, everyone] = 1
            believed = {SYSTEM: known, SELF: known}
        logit = reader.logit(item, last_item, truth["taste"][:, t], truth["taste_before"][:, t])
        for source, lift in ((SYSTEM, reader.lift[:, t]), (SELF, 0.0)):
            accept = reader.accept(logit + lift + reader.habit)
            truth[f"p_{source}"][:, t] = accept[before_last, last, everyone]
            believed[source] = _next_belief(believed[source], accept)
            if not reader.amplification:
                truth[f"marginal_{source}"][:, t] = believed[source][:, 1].sum(axis=0)
        mood = reader.confounder * ((reader.mood[:, t] == genre[item]) - 1 / grown.shape[1])
        lift = reader.lift[:, t] if system else 0.0
        accepts = draw[:, t] < expit(logit + lift + reader.habit[before_last, last, 0] + mood)
        before_last, last = last, accepts.astype(int)
        log["item"][:, t], log["decision"][:, t] = item, last
        grown[everyone, genre[item]] += reader.amplification * last
    return log, truth


def _next_belief(believed: np.ndarray, accept: np.ndarray) -> np.ndarray:
    """Return P(D_{t-1}, D_t) from P(D_{t-2}, D_{t-1}) and P(D_t = 1 | D_{t-2}, D_{t-1}), (2, 2, users)."""
    accepted = (accept * believed).sum(axis=0)
    return np.stack([believed.sum(axis=0) - accepted, accepted], axis=1)


def _long(users: int, steps: int, **columns: np.ndarray) -> pd.DataFrame:
    """Lay (users, 2 steps) arrays out as rows keyed by user, t and source, in the order of a valid log."""
    frame = pd.DataFrame(
        {
            "user": np.tile(np.repeat(np.arange(1, users + 1), steps), 2),
            "t": np.tile(np.arange(1, steps + 1, dtype=np.int32), 2 * users),
            "source": pd.Categorical(np.repeat(SOURCES, users * steps), categories=SOURCES),
        }
    )
    for name, values in columns.items():
        frame[name] = np.concatenate([values[:, :steps].ravel(), values[:, steps:].ravel()])
    return validate_log(frame, where="books") if "decision" in columns else frame
