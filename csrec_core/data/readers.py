"""The readers of the books world: what they look at and accept; `csrec_core.data.books` has the equations."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

__all__ = ["Catalogue", "Readers", "live"]

LONGEST_RUN = 5  # rejections in a row after which fatigue grows no more


@dataclass(frozen=True)
class Catalogue:
    """The books: `genre`, `quality` and `share`, the fame of each within its genre, (items,)."""

    genre: np.ndarray
    quality: np.ndarray
    share: np.ndarray
    present: np.ndarray  # with few items a genre may hold none

    @classmethod
    def draw(cls, rng: np.random.Generator, items: int, genres: int, quality_spread: float) -> "Catalogue":
        return cls.of_genres(rng, rng.permutation(np.arange(items) % genres), genres, quality_spread)

    @classmethod
    def of_genres(
        cls, rng: np.random.Generator, genre: np.ndarray, genres: int, quality_spread: float
    ) -> "Catalogue":
        """Draw quality and fame of books whose genres (items,), numbered from 0, are known."""
        quality = rng.normal(0, quality_spread, len(genre))
        fame = rng.pareto(1.5, len(genre)) + 0.1
        share = fame / np.bincount(genre, fame)[genre]
        return cls(genre, quality, share, np.bincount(genre, minlength=genres) > 0)

    def famous(self, genre: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Return a book of each genre, by fame, from uniform draws."""
        order = np.argsort(self.genre, kind="stable")
        edges = np.cumsum(self.share[order])  # one unit of length a genre present
        position = np.searchsorted(edges, (np.cumsum(self.present) - 1)[genre] + draw)
        return order[np.minimum(position, len(order) - 1)]


@dataclass(frozen=True)
class Readers:
    """The structural model: what readers look at and what they accept; the weights of `simulate_books`."""

    catalogue: Catalogue
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
    fatigue: float
    targeting: float

    @property
    def habit(self) -> np.ndarray:
        """What the last decisions add to the logit, (D_{t-2}, D_{t-1}, rejections in a row, 1)."""
        longest = LONGEST_RUN if self.fatigue else 0  # without fatigue the run need not be followed
        before_last, last, run = np.indices((2, 2, longest + 1))[..., None]
        return self.carry_over * last + self.second_order * before_last - self.fatigue * run

    def look(self, taste: np.ndarray, mood: np.ndarray, glance: dict[str, np.ndarray]) -> np.ndarray:
        """Return what each reader looks at by themselves, (users,): a genre by taste, then a book by fame."""
        leaning = np.exp(self.confounder * (mood[:, None] == np.arange(taste.shape[1])))
        cumulative = np.cumsum(taste * leaning * self.catalogue.present, axis=1)
        genre = (glance["genre"][:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
        famous = self.catalogue.famous(genre, glance["book"])
        return np.where(glance["browses"], glance["any book"], famous)

    def recommend(self, accepted: np.ndarray, draw: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return what the system exposes and the probability of exactly that, (users,) each.

        Parameters
        ----------
        accepted : array (users, genres)
            How many books of each genre a reader has accepted so far: all that the policy knows of them.
        draw : dict of array (users,)
            See `csrec_core.data.books`.
        """
        books = len(self.catalogue.genre)
        if not self.targeting:
            return draw["exposed"], np.full(len(accepted), 1 / books)
        weight = (1 + accepted) * self.catalogue.present
        cumulative = np.cumsum(weight, axis=1)
        genre = (draw["target genre"][:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
        famous = self.catalogue.famous(genre, draw["target book"])
        item = np.where(draw["targets"], famous, draw["exposed"])
        share = weight[np.arange(len(item)), self.catalogue.genre[item]] / cumulative[:, -1]
        aimed = self.targeting * share * self.catalogue.share[item]
        return item, aimed + (1 - self.targeting) / books

    def seen_mood(self, taste: np.ndarray, item: np.ndarray) -> np.ndarray | float:
        """Return the probability that who looks at this item by themselves is in the mood for its genre."""
        moods = taste.shape[1]
        if not self.confounder:
            return 1 / moods
        users, genre, odds = np.arange(len(item)), self.catalogue.genre[item], np.exp(self.confounder)
        weight = taste * self.catalogue.present
        by_mood = taste[users, genre][:, None] / (weight.sum(axis=1)[:, None] + (odds - 1) * weight)
        by_mood[users, genre] *= odds
        looks = (1 - self.browsing) * by_mood * self.catalogue.share[item][:, None] + self.browsing / len(
            self.catalogue.genre
        )
        return looks[users, genre] / looks.sum(axis=1)

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

    def accept(self, logit: np.ndarray, hit: np.ndarray | float | None = None) -> np.ndarray:
        """Return the mean over the moods of P(D_t = 1), of which a share `hit` is for the exposed genre.

        By default one in `genres`, as under do(S_t); what is seen has the share of `seen_mood`.
        """
        if not self.confounder:
            return expit(logit)
        even = 1 / self.log_taste.shape[2]
        hit = even if hit is None else hit
        craved, other = expit(logit + self.confounder * (1 - even)), expit(logit - self.confounder * even)
        return hit * craved + (1 - hit) * other


def live(
    reader: Readers, glances: dict[str, np.ndarray], draw: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run the readers through both phases; return the log's and the truth's columns, (users, 2 steps).

    One uniform draw decides a cell whatever its source would be, so the two regimes share their noise.
    """
    users, total = draw.shape
    steps, genre, everyone = total // 2, reader.catalogue.genre, np.arange(users)
    log = {
        "item": np.zeros((users, total), dtype=np.int64),
        "decision": np.zeros((users, total), dtype=np.int8),
        "propensity": np.zeros((users, total)),
    }
    regimes = ("system", "self", "seen")
    names = [f"{kind}_{regime}" for regime in regimes for kind in ("p", "marginal")]
    truth = {name: np.full((users, total), np.nan) for name in (*names, "taste", "taste_before")}
    habit = reader.habit
    before_last = last = run = np.zeros(users, dtype=int)  # decisions, and rejections in a row
    accepted = np.zeros((users, reader.log_taste.shape[2]))  # books of each genre
    grown = np.zeros_like(accepted)  # what accepting added to the log tastes
    taste = item = None
    for t in range(total):
        taste_before, last_item = taste, item
        taste = softmax(reader.log_taste[:, t] + grown, axis=1)
        system = t >= steps
        glance = {name: noise[:, t % steps] for name, noise in glances.items()}
        if system:
            item, log["propensity"][:, t] = reader.recommend(accepted, glance)
        else:
            item = reader.look(taste, reader.mood[:, t], glance)
            log["propensity"][:, t] = reader.propensity(taste, item)
        truth["taste"][:, t] = taste[everyone, genre[item]]
        if t > 0:
            truth["taste_before"][:, t] = taste_before[everyone, genre[item]]
        if t in (0, steps):  # a phase starts from what is known: the realised decisions before it
            known = np.zeros((*habit.shape[:3], users))
            known[before_last, last, run, everyone] = 1
            believed = dict.fromkeys(regimes, known)
        logit = reader.logit(item, last_item, truth["taste"][:, t], truth["taste_before"][:, t])
        seen = reader.seen_mood(taste, item)
        for regime, lift, hit in (
            ("system", reader.lift[:, t], None),
            ("self", 0.0, None),
            ("seen", 0.0, seen),
        ):
            accept = reader.accept(logit + lift + habit, hit)
            truth[f"p_{regime}"][:, t] = accept[before_last, last, run, everyone]
            believed[regime] = _next_belief(believed[regime], accept)
            if not reader.amplification:
                truth[f"marginal_{regime}"][:, t] = believed[regime][:, 1].sum(axis=(0, 1))
        mood = reader.confounder * ((reader.mood[:, t] == genre[item]) - 1 / accepted.shape[1])
        lift = reader.lift[:, t] if system else 0.0
        accepts = draw[:, t] < expit(logit + lift + habit[before_last, last, run, 0] + mood)
        before_last, last = last, accepts.astype(int)
        run = np.where(accepts, 0, np.minimum(run + 1, habit.shape[2] - 1))
        log["item"][:, t], log["decision"][:, t] = item, last
        accepted[everyone, genre[item]] += last
        grown[everyone, genre[item]] += reader.amplification * last
    return log, truth


def _next_belief(believed: np.ndarray, accept: np.ndarray) -> np.ndarray:
    """Return P(D_{t-1}, D_t, run) from P(D_{t-2}, D_{t-1}, run) and P(D_t = 1 | the three).

    Each is (2, 2, runs, users); the run counts rejections in a row, up to the last of its indices.
    """
    accepted = (accept * believed).sum(axis=0)  # (D_{t-1}, run, users)
    rejected = believed.sum(axis=0) - accepted
    after = np.zeros_like(believed)
    after[:, 1, 0] = accepted.sum(axis=1)
    longer = np.minimum(np.arange(believed.shape[2]) + 1, believed.shape[2] - 1)
    np.add.at(after, (slice(None), 0, longer), rejected)
    return after
