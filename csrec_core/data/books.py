"""The books world: readers who decide by a known structural model, so that every effect has a truth.

A reader has preferences over genres that drift, a book has a genre, a quality and a fame. In the `self` phase the
reader picks a genre by preference and a book by fame (or now and then any book), in the `system` phase the
recommender exposes a random book, or, with `targeting`, one of a genre that the reader has accepted before.
The reader accepts with probability

    logit P(D_t = 1) = base + affinity * (preference of the book's genre - 1 / genres) + quality
                       + carry_over * D_{t-1} - fatigue * (rejections in a row just before, at most 5)
                       + [source = system] * trust_u * g(t)

where trust_u ~ N(effect, trust_spread) is the reader's trust in the system and g(t) runs linearly from
1 - trend to 1 + trend over the system phase: rising, falling or flat. This is the graph of Figure 1 with the
source R pointing at D_t: P_t -> D_t, S_t -> D_t, D_{t-1} -> D_t, P_t -> S_t in the self phase only, R -> D_t.
A `trust_spread` above 0 is a lasting cause of a reader's decisions in the system phase beside preference: a latent
D_{t-1} <-> D_t there. Fatigue (off by default) is memory of more than one decision, `targeting` an arrow
D_{t-1} -> S_t of the system phase that the logged propensity knows.

Further arrows, each off by default, break an assumption of the theorem on purpose (`VIOLATIONS`):

    logit P(D_t = 1)  +  carry_over_exposure * [genre of S_{t-1} = genre of S_t] + second_order * D_{t-2}
                      +  lagged_preference * (preference of S_t's genre at t-1 - 1 / genres)
                      +  confounder * ([mood U_t = genre of S_t] - 1 / genres)
    log preference of genre k from t on  +  amplification * D_{t-1} [genre of S_{t-1} = k]
    log odds of looking at genre k  +  confounder * [mood U_t = k]

The mood U_t is a genre, uniform and new at each exposure, that no log holds.
"""

import numpy as np
import pandas as pd
from scipy.special import softmax

from csrec_core.data.log import SOURCES, Dataset, validate_log
from csrec_core.data.readers import Catalogue, ReaderModel, World, live

#: The knobs that break an assumption, and the departure from Figure 1 (`graph.VARIANTS`) that each is.
VIOLATIONS = {
    "carry_over_exposure": "carry-over S[t-1] → D[t]",
    "second_order": "second order D[t-2] → D[t]",
    "lagged_preference": "lagged preference P[t-1] → D[t]",
    "amplification": "preference amplification D[t-1] → P[t]",
    "confounder": "latent S[t] ↔ D[t]",
}

CONCENTRATION = 0.3  # of the Dirichlet law of the preferences at the start


def simulate_books(**knobs) -> Dataset:
    """Simulate a log of `steps` self-chosen, then `steps` exposures by the system a user, with its truth.

    Parameters
    ----------
    **knobs
        Fields of `csrec_core.data.readers.World`.

    Returns
    -------
    Dataset
        `log` with the exact exposure `propensity` given the preferences (the mood summed out); `items` with title
        and genre; `truth`, a row for each row of the log: `p_system` and `p_self`, the probability of
        acceptance given the realised history under do(S_t), S_t the exposed item, were the exposure at t (and
        only it) the system's or the reader's own; `marginal_system`, `marginal_self`, the same under
        do(S_{1:t}) with the earlier decisions of the phase summed out and all exposures 1..t of one source
        (Definition 3.4), NaN where `amplification` is on, for preferences then depend on those decisions; `p_seen`
        and `marginal_seen`, the see-terms: as `p_self` and `marginal_self`, but where the reader is seen to
        have come upon the items of their own choice, which tells of their moods (P(D_t | S_{1:t}, P_{1:t}) of
        Definition 3.4; equal to the do-terms without a `confounder`); `preference`
        and `preference_before`, the reader's preference of the exposed item's genre, in [0, 1], at this exposure and at
        the one before it (NaN at the first).

    Raises
    ------
    InputError
        On a size below 1 or a share outside [0, 1].
    """
    world = World(**knobs)
    users, steps, genres = world.users, world.steps, world.genres
    # One stream a mechanism: a knob of one leaves the draws of the others as they were.
    preference_rng, exposure_rng, trust_rng, decision_rng, mood_rng, policy_rng = _streams(world.seed)[1:]
    catalogue = draw_catalogue(world)
    growth = 1 + world.trend * np.linspace(-1, 1, steps) if steps > 1 else np.ones(1)
    lift = np.concatenate([np.repeat(growth[:1], steps), growth])  # for cells of both phases
    log_preference = _log_preferences(preference_rng, world)
    reader = ReaderModel(
        world,
        catalogue,
        log_preference=log_preference,
        lift=trust_rng.normal(world.effect, world.trust_spread, users)[:, None] * lift,
        mood=mood_rng.integers(genres, size=(users, 2 * steps)),
    )
    glances = _glances(exposure_rng, policy_rng, world)
    log, truth = live(reader, glances, decision_rng.random((users, 2 * steps)))
    log["item"] += 1
    truth = _long(users, steps, **truth)
    log = validate_log(_long(users, steps, **log), where="books")
    preferences = None
    if world.publish == "rows":
        log["feature_preference"] = truth["preference"].to_numpy()
    elif world.publish == "users":
        names = [f"preference: genre {number}" for number in range(1, genres + 1)]
        preferences = pd.DataFrame(softmax(log_preference[:, 0], axis=1), columns=names)
        preferences.insert(0, "user", np.arange(1, users + 1))
    number = np.arange(1, world.items + 1)
    items = pd.DataFrame({"item": number, "title": [f"Book {each}" for each in number]})
    items["genre"] = [f"genre {each}" for each in catalogue.genre + 1]
    return Dataset(log, items=items, users=preferences, truth=truth, name="books")


def draw_catalogue(world: World) -> Catalogue:
    """Return the books of a world, with the quality that no log holds."""
    rng = _streams(world.seed)[0]
    genre = rng.permutation(np.arange(world.items) % world.genres)
    return Catalogue.of_genres(rng, genre, world.genres, world.quality_spread)


def _streams(seed: int) -> list[np.random.Generator]:
    """Return a stream a mechanism, the catalogue's first."""
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(7)]


def _log_preferences(rng: np.random.Generator, world: World) -> np.ndarray:
    """Draw log preferences (users, 2 steps, genres), not normalised: Dirichlet at the start, then a random walk."""
    start = rng.dirichlet(np.full(world.genres, CONCENTRATION), world.users)
    walk = np.cumsum(rng.normal(0, world.drift, (world.users, 2 * world.steps, world.genres)), axis=1)
    return np.log(start + 1e-6)[:, None, :] + walk


def _glances(
    rng: np.random.Generator, policy_rng: np.random.Generator, world: World
) -> dict[str, np.ndarray]:
    """Draw the noise of the exposures, (users, steps) each: the readers', the system's books, and its policy's."""
    shape = (world.users, world.steps)
    return {
        "genre": rng.random(shape),
        "book": rng.random(shape),
        "browses": rng.random(shape) < world.browsing,
        "any book": rng.integers(world.items, size=shape),
        "exposed": rng.integers(world.items, size=shape),
        "targets": policy_rng.random(shape) < world.targeting,
        "target genre": policy_rng.random(shape),
        "target book": policy_rng.random(shape),
    }


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
    return frame
