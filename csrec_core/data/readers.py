"""The readers of the books world: what they look at and accept; `csrec_core.data.books` has the equations."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from csrec_core.errors import InputError, unknown

FATIGUE_RUN = 5  # rejections in a row after which fatigue grows no more


@dataclass(frozen=True, kw_only=True)
class World:
    """The knobs of the books world (`csrec_core.data.books` has the equations); weights are in logits."""

    users: int = 2000
    items: int = 200
    steps: int = 20  # exposures of each of the two phases
    effect: float = 0.6  # mean effect of the source; 0 with `trust_spread=0` means that TER is 0 everywhere
    seed: int = 0
    genres: int = 10
    trust_spread: float = 0.5  # standard deviation over users of the effect of the source
    trend: float = 0.5  # relative change of that effect from the middle of the system phase to its end
    carry_over: float = 0.6  # what an accepted exposure adds to the next decision
    affinity: float = 3.0  # weight of preference
    quality_spread: float = 0.5
    base: float = -1.2
    drift: float = 0.1  # standard deviation of a step of the log preferences' random walk; 0 holds them still
    browsing: float = 0.2  # share of self-chosen exposures that are uniform over the catalogue, in [0, 1]
    carry_over_exposure: float = 0.0  # S_{t-1} -> D_t: what an exposure of the same genre just before adds
    second_order: float = 0.0  # D_{t-2} -> D_t: what accepting the last but one exposure adds
    #: P_{t-1} -> D_t: weight of the preference of one exposure earlier, as `affinity`.
    lagged_preference: float = 0.0
    #: D_{t-1} -> P_t (and S_{t-1} -> P_t): what accepting a book adds to the log preference of its genre, for good.
    amplification: float = 0.0
    #: S_t <- U_t -> D_t: weight of a hidden mood for a genre, in log odds of looking at the genre (browsing and the
    #: system know no mood) and in logits of accepting it.
    confounder: float = 0.0
    fatigue: float = 0.0  # what each rejection in a row just before takes off, up to five of them
    #: Share of the system's exposures that are aimed, in [0, 1): at a genre by how often the reader has accepted it
    #: (one added to each count), then a book by fame. The rest is uniform over the catalogue.
    targeting: float = 0.0
    #: What the log's owner knows of preferences: "nothing"; "users", those at the start, a column `preference: <genre>`
    #: each of the users table (right for good where `drift` and `amplification` are 0); or "rows", the preference of
    #: the exposed genre at each exposure, a column `feature_preference` of the log.
    publish: str = "nothing"

    def __post_init__(self):
        for name in ("users", "items", "steps", "genres"):
            if getattr(self, name) < 1:
                raise InputError(f"books: {name} = {getattr(self, name)}; expected at least 1")
        if not 0 <= self.browsing <= 1:
            raise InputError(f"books: browsing = {self.browsing}; expected a share in [0, 1]")
        if not 0 <= self.targeting < 1:
            raise InputError(f"books: targeting = {self.targeting}; expected a share in [0, 1)")
        if self.publish not in ("nothing", "users", "rows"):
            raise unknown("publish", self.publish, ("nothing", "users", "rows"), where="books")


@dataclass(frozen=True)
class Catalogue:
    """The books: `genre`, `quality` and `share`, the fame of each within its genre, (items,)."""

    genre: np.ndarray
    quality: np.ndarray
    share: np.ndarray
    present: np.ndarray  # with few items a genre may hold none

    @classmethod
    def of_genres(
        cls, rng: np.random.Generator, genre: np.ndarray, genres: int, quality_spread: float
    ) -> "Catalogue":
        """Draw quality and fame of books whose genres (items,), numbered from 0, are known."""
        quality = rng.normal(0, quality_spread, len(genre))
        fame = rng.pareto(1.5, len(genre)) + 0.1
        share = fame / np.bincount(genre, fame)[genre]
        return cls(genre, quality, share, np.bincount(genre, minlength=genres) > 0)

    def draw(self, weight: np.ndarray, genre_draw: np.ndarray, book_draw: np.ndarray) -> np.ndarray:
        """Return a book for each reader, from uniform draws: a genre by weight (readers, genres), then by fame."""
        cumulative = np.cumsum(weight, axis=1)
        genre = (genre_draw[:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
        order = np.argsort(self.genre, kind="stable")
        edges = np.cumsum(self.share[order])  # one unit of length a genre present
        position = np.searchsorted(edges, (np.cumsum(self.present) - 1)[genre] + book_draw)
        return order[np.minimum(position, len(order) - 1)]


@dataclass(frozen=True)
class ReaderModel:
    """The structural model: what the readers of a world look at and what they accept."""

    world: World
    catalogue: Catalogue
    log_preference: np.ndarray  # (users, 2 steps, genres)
    lift: np.ndarray  # (users, 2 steps): the source effect in logits
    mood: np.ndarray  # (users, 2 steps)

    @property
    def habit(self) -> np.ndarray:
        """What the last decisions add to the logit, (D_{t-2}, D_{t-1}, rejections in a row, 1)."""
        longest = FATIGUE_RUN if self.world.fatigue else 0  # without fatigue the run need not be followed
        before_last, last, run = np.indices((2, 2, longest + 1))[..., None]
        return self.world.carry_over * last + self.world.second_order * before_last - self.world.fatigue * run

    def look(self, preference: np.ndarray, mood: np.ndarray, glance: dict[str, np.ndarray]) -> np.ndarray:
        """Return what each reader looks at by themselves, (users,): a genre by preference, then a book by fame."""
        leaning = np.exp(self.world.confounder * (mood[:, None] == np.arange(preference.shape[1])))
        weight = preference * leaning * self.catalogue.present
        famous = self.catalogue.draw(weight, glance["genre"], glance["book"])
        return np.where(glance["browses"], glance["any book"], famous)

    def recommend(self, accepted: np.ndarray, draw: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return what the system exposes and the probability of exactly that, (users,) each.

        What the policy knows of them is how many books of each genre each has accepted so far, (users, genres).
        """
        books = len(self.catalogue.genre)
        if not self.world.targeting:
            return draw["exposed"], np.full(len(accepted), 1 / books)
        weight = (1 + accepted) * self.catalogue.present
        famous = self.catalogue.draw(weight, draw["target genre"], draw["target book"])
        item = np.where(draw["targets"], famous, draw["exposed"])
        share = weight[np.arange(len(item)), self.catalogue.genre[item]] / weight.sum(axis=1)
        aimed = self.world.targeting * share * self.catalogue.share[item]
        return item, aimed + (1 - self.world.targeting) / books

    def looks(self, preference: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return the probability that exactly this item is looked at in each mood, (users, moods); one if none counts.

        A mood raises the weight of its genre.
        """
        users, genre = np.arange(len(item)), self.catalogue.genre[item]
        weight = preference * self.catalogue.present
        liking, total = preference[users, genre][:, None], weight.sum(axis=1, keepdims=True)
        if self.world.confounder:
            odds = np.exp(self.world.confounder)
            share = liking / (total + (odds - 1) * weight)
            share[users, genre] *= odds
        else:
            share = liking / total
        by_preference = (1 - self.world.browsing) * share * self.catalogue.share[item][:, None]
        return by_preference + self.world.browsing / len(self.catalogue.genre)

    def propensity(self, preference: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return the probability, given the preferences, that exactly this item is looked at, (users,)."""
        return self.looks(preference, item).mean(axis=1)

    def seen_mood(self, preference: np.ndarray, item: np.ndarray) -> np.ndarray | float:
        """Return the probability that who looks at this item by themselves is in the mood for its genre."""
        if not self.world.confounder:
            return 1 / preference.shape[1]
        looks = self.looks(preference, item)
        return looks[np.arange(len(item)), self.catalogue.genre[item]] / looks.sum(axis=1)

    def logit(self, item, last_item, liking, liking_before) -> np.ndarray:
        """Return the logit but for source, mood and earlier decisions; (users,), as each argument is."""
        genre, even = self.catalogue.genre, 1 / self.log_preference.shape[2]
        logit = self.world.base + self.world.affinity * (liking - even) + self.catalogue.quality[item]
        if last_item is not None:
            logit += self.world.carry_over_exposure * (genre[last_item] == genre[item])
            logit += self.world.lagged_preference * (liking_before - even)
        return logit

    def accept(self, logit: np.ndarray, hit: np.ndarray | float | None = None) -> np.ndarray:
        """Return the mean over the moods of P(D_t = 1), of which a share `hit` is for the exposed genre.

        By default one in `genres`, as under do(S_t); what is seen has the share of `seen_mood`.
        """
        if not self.world.confounder:
            return expit(logit)
        even = 1 / self.log_preference.shape[2]
        hit = even if hit is None else hit
        craved, other = (
            expit(logit + self.world.confounder * (1 - even)),
            expit(logit - self.world.confounder * even),
        )
        return hit * craved + (1 - hit) * other


def live(
    reader: ReaderModel, glances: dict[str, np.ndarray], draw: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run the readers through both phases; return the log's and the truth's columns, (users, 2 steps).

    One uniform draw decides a cell whatever its source would be, so the two regimes share their noise.
    """
    users, total = draw.shape
    steps, genre, everyone = total // 2, reader.catalogue.genre, np.arange(users)
    log: dict[str, np.ndarray] = {
        "item": np.zeros((users, total), dtype=np.int64),
        "decision": np.zeros((users, total), dtype=np.int8),
        "propensity": np.zeros((users, total)),
    }
    regimes = ("system", "self", "seen")
    names = [f"{kind}_{regime}" for regime in regimes for kind in ("p", "marginal")]
    truth = {name: np.full((users, total), np.nan) for name in (*names, "preference", "preference_before")}
    habit = reader.habit
    before_last = last = run = np.zeros(users, dtype=int)  # decisions, and rejections in a row
    accepted = np.zeros((users, reader.log_preference.shape[2]))  # books of each genre
    grown = np.zeros_like(accepted)  # what accepting added to the log preferences
    preference = item = None
    for t in range(total):
        preference_before, last_item = preference, item
        preference = softmax(reader.log_preference[:, t] + grown, axis=1)
        system = t >= steps
        glance = {name: noise[:, t % steps] for name, noise in glances.items()}
        if system:
            item, log["propensity"][:, t] = reader.recommend(accepted, glance)
        else:
            item = reader.look(preference, reader.mood[:, t], glance)
            log["propensity"][:, t] = reader.propensity(preference, item)
        truth["preference"][:, t] = preference[everyone, genre[item]]
        if preference_before is not None:
            truth["preference_before"][:, t] = preference_before[everyone, genre[item]]
        if t in (0, steps):  # a phase starts from what is known: the realised decisions before it
            known = np.zeros((*habit.shape[:3], users))
            known[before_last, last, run, everyone] = 1
            believed = dict.fromkeys(regimes, known)
        logit = reader.logit(item, last_item, truth["preference"][:, t], truth["preference_before"][:, t])
        seen = reader.seen_mood(preference, item)
        happened = (before_last, last, run, everyone)
        _write_truth(reader, truth, believed, t=t, logit=logit + habit, seen=seen, happened=happened)
        mood = reader.world.confounder * ((reader.mood[:, t] == genre[item]) - 1 / accepted.shape[1])
        lift = reader.lift[:, t] if system else 0.0
        accepts = draw[:, t] < expit(logit + lift + habit[before_last, last, run, 0] + mood)
        before_last, last = last, accepts.astype(int)
        run = np.where(accepts, 0, np.minimum(run + 1, habit.shape[2] - 1))
        log["item"][:, t], log["decision"][:, t] = item, last
        accepted[everyone, genre[item]] += last
        grown[everyone, genre[item]] += reader.world.amplification * last
    return log, truth


def _write_truth(
    reader: ReaderModel, truth: dict, believed: dict, *, t: int, logit: np.ndarray, seen, happened: tuple
) -> None:
    """Write what each regime makes of t, given what `happened`, and with the decisions of the phase summed out."""
    regimes = {"system": (reader.lift[:, t], None), "self": (0.0, None), "seen": (0.0, seen)}
    for regime, (lift, hit) in regimes.items():
        accept = reader.accept(logit + lift, hit)
        truth[f"p_{regime}"][:, t] = accept[happened]
        believed[regime] = _next_belief(believed[regime], accept)
        if not reader.world.amplification:
            truth[f"marginal_{regime}"][:, t] = believed[regime][:, 1].sum(axis=(0, 1))


def _next_belief(believed: np.ndarray, accept: np.ndarray) -> np.ndarray:
    """Return P(D_{t-1}, D_t, run) from P(D_{t-2}, D_{t-1}, run) and P(D_t = 1 | the three).

    Each is (2, 2, runs, users); the run counts rejections in a row, up to the last of its indices.
    """
    accepted = (accept * believed).sum(axis=0)  # (D_{t-1}, run, users)
    rejected = believed.sum(axis=0) - accepted
    after = np.zeros_like(believed)
    after[:, 1, 0] = accepted.sum(axis=1)
    after[:, 0, 1:] = rejected[:, :-1]
    after[:, 0, -1] += rejected[:, -1]
    return after
