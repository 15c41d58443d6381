"""The readers of the books world as an agent: no network, a known model, the same interface.

`csrec_core.data.books` has the equations. Genres are those of the catalogue at hand; quality and fame of a
book are drawn. A purchase is the first look that ends in acceptance: with look probabilities l(s) over what is left
of the shelf and acceptance a(s), the next is s with probability l(s) a(s) / sum_r l(r) a(r).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from csrec_core.agent.catalogue import genres_of, keywords_of
from csrec_core.agent.design import Readers
from csrec_core.agent.questions import Exposure
from csrec_core.data.readers import Catalogue, ReaderModel, World


class Simulator:
    """Readers who decide by preference, book and previous decision, as in `simulate_books`.

    The same `seed` gives the same answers, whatever else was asked before; `weights` are fields of
    `csrec_core.data.readers.World` but its sizes and violations.
    """

    name = "simulator"
    cost = ""

    def __init__(self, catalogue: pd.DataFrame, *, seed: int = 0, **weights: Any):
        self.progress: Callable[[int], object] = lambda count: None
        self._seed, self._world = seed, World(**weights)
        self._names, self._keywords = catalogue["genre"].to_numpy(), keywords_of(catalogue)
        genre, genres = genres_of(catalogue)
        rng = np.random.default_rng([seed, 1])
        self._books = Catalogue.of_genres(rng, genre, len(genres), self._world.quality_spread)

    def know(self, title: np.ndarray, author: np.ndarray) -> pd.DataFrame:
        """Know every book that exists."""
        self.progress(len(title))
        said = {"known": title == author, "genres": [(name,) for name in self._names[title]]}
        return pd.DataFrame(said | {"keywords": [self._keywords[place] for place in title]})

    def buy(self, readers: Readers) -> np.ndarray:
        """Buy by looking at the books of the shelf by preference and fame until one is accepted, and again."""
        n, k = readers.shelf.shape
        places = readers.shelf.ravel()
        preference = np.repeat(readers.preference, k, axis=0)
        model = self._model(preference)
        liking = preference[np.arange(n * k), self._books.genre[places]]
        weight = model.propensity(preference, places) * model.accept(model.logit(places, None, liking, None))
        # Exponential times at these rates end in the order of draws without replacement.
        ends = -np.log(self._uniform(np.repeat(readers.reader, k), kind=1, number=places)) / weight
        order = np.argsort(ends.reshape(n, k), axis=1)[:, : readers.steps]
        self.progress(n)
        bought = np.take_along_axis(readers.shelf, order, axis=1)
        return np.where(np.arange(readers.steps) < readers.count[:, None], bought, -1)

    def decide(self, question: Exposure) -> tuple[np.ndarray, np.ndarray]:
        """Decide by the equation of the books world, with the source effect of an exposure by the system."""
        reader, preference, item = question.readers.reader, question.readers.preference, question.item
        model = self._model(preference)
        liking = preference[np.arange(len(item)), self._books.genre[item]]
        trust = self._world.effect + self._world.trust_spread * ndtri(self._uniform(reader, kind=2))
        habit = model.habit[0, question.last_accepted.astype(int), 0, 0]
        probability = model.accept(model.logit(item, None, liking, None) + trust + habit)
        draw = self._uniform(reader, kind=3, number=item, turn=question.before.shape[1])
        self.progress(len(item))
        return draw < probability, probability

    def _model(self, preference: np.ndarray) -> ReaderModel:
        """Return the model of readers of still preferences, without any of the world's violations."""
        still = np.zeros((len(preference), 1))
        log_preference = np.log(np.maximum(preference, 1e-12))[:, None, :]
        return ReaderModel(self._world, self._books, log_preference=log_preference, lift=still, mood=still)

    def _uniform(self, reader: np.ndarray, **keys: np.ndarray | int) -> np.ndarray:
        """Return a uniform draw in (0, 1) for each reader, the same for the same reader and keys."""
        table = pd.DataFrame({"reader": reader, "seed": self._seed, **keys})
        return (pd.util.hash_pandas_object(table, index=False).to_numpy() >> 11) / 2**53 + 2**-54
