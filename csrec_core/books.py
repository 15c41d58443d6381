"""The books world: readers who decide by a known structural model, so that every effect has a truth.

A reader has tastes over genres that drift, a book has a genre, a quality and a fame. In the `self` phase the
reader picks a genre by taste and a book by fame (or now and then any book), in the `system` phase the
recommender exposes a random book. The reader accepts with probability

    logit P(D_t = 1) = base + affinity * (taste of the book's genre - 1 / genres) + quality
                       + carry_over * D_{t-1} + [source = system] * trust_u * g(t)

where trust_u ~ N(effect, trust_spread) is the reader's trust in the system and g(t) runs linearly from
1 - trend to 1 + trend over the system phase. This is the graph of Figure 1 with the source R pointing at D_t:
P_t -> D_t, S_t -> D_t, D_{t-1} -> D_t, P_t -> S_t in the self phase only, R -> D_t.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from csrec_core.errors import InputError
from csrec_core.log import SELF, SOURCES, SYSTEM, Dataset, validate_log

__all__ = ["simulate_books"]


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

    Returns
    -------
    Dataset
        `log` with the exact exposure `propensity`; `items` with title and genre; `truth`, a row for each
        row of the log: `p_system` and `p_self`, the probability of acceptance of the exposed item given the
        realised history, were the exposure at t (and only it) the system's or the reader's own; and
        `marginal_system`, `marginal_self`, the same under do(S_{1:t}) with the earlier decisions of the phase
        summed out and all exposures 1..t of one source (Definition 3.4).
    """
    sizes = {"users": users, "items": items, "steps": steps, "genres": genres}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"books: {name} = {size}; expected at least 1")
    if not 0 <= browsing <= 1:
        raise InputError(f"books: browsing = {browsing}; expected a share in [0, 1]")
    # One stream a mechanism: a knob of one leaves the draws of the others as they were.
    streams = np.random.SeedSequence(seed).spawn(5)
    catalogue_rng, taste_rng, exposure_rng, trust_rng, decision_rng = map(np.random.default_rng, streams)

    genre = catalogue_rng.permutation(np.arange(items) % genres)
    quality = catalogue_rng.normal(0, quality_spread, items)
    fame = catalogue_rng.pareto(1.5, items) + 0.1
    tastes = _tastes(taste_rng, users, 2 * steps, genres, drift)
    chosen = _self_exposures(exposure_rng, tastes[:, :steps], genre, fame, browsing)
    exposed = exposure_rng.integers(items, size=(users, steps))
    item = np.concatenate([chosen, exposed], axis=1)

    liking = np.take_along_axis(tastes, genre[item][:, :, None], axis=2)[:, :, 0]
    logit = base + affinity * (liking - 1 / genres) + quality[item]
    trust = trust_rng.normal(effect, trust_spread, users)
    growth = 1 + trend * np.linspace(-1, 1, steps) if steps > 1 else np.ones(1)
    lift = np.concatenate(
        [np.repeat(growth[:1], steps), growth]
    )  # one source effect for cells of both phases
    lift = trust[:, None] * lift
    decision, truth = _decide(decision_rng, logit, lift, carry_over, steps)

    propensity = np.full((users, 2 * steps), 1 / items)
    propensity[:, :steps] = _self_propensity(chosen, tastes[:, :steps], genre, fame, browsing)
    return Dataset(
        _long(users, steps, item=item + 1, decision=decision, propensity=propensity),
        items=pd.DataFrame(
            {
                "item": np.arange(1, items + 1),
                "title": [f"Book {number}" for number in range(1, items + 1)],
                "genre": [f"genre {number}" for number in genre + 1],
            }
        ),
        truth=_long(users, steps, **truth),
        name="books",
    )


def _tastes(
    rng: np.random.Generator, users: int, steps: int, genres: int, drift: float, concentration: float = 0.3
) -> np.ndarray:
    """Draw tastes (users, steps, genres): Dirichlet at the start, then a random walk of their logarithms."""
    start = rng.dirichlet(np.full(genres, concentration), users)
    walk = np.cumsum(rng.normal(0, drift, (users, steps, genres)), axis=1)
    return softmax(np.log(start + 1e-6)[:, None, :] + walk, axis=2)


def _fame_within_genre(genre: np.ndarray, fame: np.ndarray) -> np.ndarray:
    return fame / np.bincount(genre, fame)[genre]


def _self_exposures(
    rng: np.random.Generator, tastes: np.ndarray, genre: np.ndarray, fame: np.ndarray, browsing: float
) -> np.ndarray:
    """Draw what readers look at by themselves, (users, steps): a genre by taste, then a book by fame."""
    users, steps, _ = tastes.shape
    items = len(genre)
    present = np.bincount(genre, minlength=tastes.shape[2]) > 0  # with few items a genre may hold none
    cumulative = np.cumsum(tastes * present, axis=2)
    picked = (rng.random((users, steps, 1)) * cumulative[:, :, -1:] > cumulative).sum(axis=2)
    order = np.argsort(genre, kind="stable")
    edges = np.cumsum(_fame_within_genre(genre, fame)[order])  # one unit of length a genre present
    rank_of_genre = np.cumsum(present) - 1
    position = np.searchsorted(edges, rank_of_genre[picked] + rng.random((users, steps)))
    famous = order[np.minimum(position, items - 1)]
    browses = rng.random((users, steps)) < browsing
    return np.where(browses, rng.integers(items, size=(users, steps)), famous)


def _self_propensity(
    chosen: np.ndarray, tastes: np.ndarray, genre: np.ndarray, fame: np.ndarray, browsing: float
) -> np.ndarray:
    """Return the probability, given the tastes, that exactly this item was looked at, (users, steps)."""
    present = np.bincount(genre, minlength=tastes.shape[2]) > 0
    share = np.take_along_axis(tastes, genre[chosen][:, :, None], axis=2)[:, :, 0]
    share = share / (tastes * present).sum(axis=2)
    return (1 - browsing) * share * _fame_within_genre(genre, fame)[chosen] + browsing / len(genre)


def _decide(
    rng: np.random.Generator, logit: np.ndarray, lift: np.ndarray, carry_over: float, steps: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Run the readers through both phases; return decisions and the truth of every cell, (users, 2 steps).

    One uniform draw decides a cell whatever its source would be, so the two regimes share their noise.
    """
    users, total = logit.shape
    draw = rng.random((users, total))
    decision = np.zeros((users, total), dtype=np.int8)
    truth = {name: np.empty((users, total)) for name in ("p_system", "p_self")}
    truth |= {name: np.empty((users, total)) for name in ("marginal_system", "marginal_self")}
    previous = np.zeros(users)
    for t in range(total):
        system = t >= steps
        if t in (0, steps):  # a phase starts from what is known: the realised decision before it
            believed = {SYSTEM: previous, SELF: previous}
        for source, extra in ((SYSTEM, lift[:, t]), (SELF, 0.0)):
            accept = [expit(logit[:, t] + extra + carry_over * before) for before in (0, 1)]
            truth[f"p_{source}"][:, t] = np.where(previous == 1, accept[1], accept[0])
            believed[source] = accept[1] * believed[source] + accept[0] * (1 - believed[source])
            truth[f"marginal_{source}"][:, t] = believed[source]
        decision[:, t] = draw[:, t] < truth[f"p_{SYSTEM if system else SELF}"][:, t]
        previous = decision[:, t].astype(float)
    return decision, truth


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
