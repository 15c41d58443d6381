"""What an agent is asked and what it answers: the interface that every agent has.

Questions come for many readers at once, as arrays of n rows; a book is named by its place in the catalogue
(from 0), and -1 means none. A reader's `preference` is a distribution over the genres of the catalogue, in the
order of `genres_of`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from csrec_core.agent.design import Readers


@dataclass(frozen=True, eq=False)
class Exposure:
    """Would these readers accept this book, recommended now, given all that happened before?"""

    readers: Readers
    item: np.ndarray  # (n,)
    # (n, t): the books so far, oldest first: the first `readers.steps` bought, those after them recommended;
    # -1 where nothing happened
    before: np.ndarray
    accepted: np.ndarray  # bool (n, t): what they decided on those

    @property
    def turn(self) -> int:
        """How many exposures by the system came before."""
        return self.before.shape[1] - self.readers.steps

    @property
    def last_accepted(self) -> np.ndarray:
        """Whether the last thing that happened was an acceptance, (n,); False where nothing did."""
        happened = self.before >= 0
        last = happened.shape[1] - 1 - happened[:, ::-1].argmax(axis=1)
        return (self.accepted & happened)[np.arange(len(last)), last]


class Agent(Protocol):
    """Who answers for the readers. The same question has the same answer, whenever it is asked."""

    name: str
    #: Called with the number of answers as they come in.
    progress: Callable[[int], object]

    @property
    def cost(self) -> str:
        """What the answers have cost so far, in words; empty if nothing."""

    def know(self, title: np.ndarray, author: np.ndarray) -> pd.DataFrame:
        """Say which books are known, a row each: `known`, `genres` that fit (best first) and `keywords`.

        `title` and `author` are the places of the books they are taken from; where they differ, the book does
        not exist.
        """

    def buy(self, readers: Readers) -> np.ndarray:
        """Return what they buy of their shelf, in order, (n, steps), -1 beyond a reader's count."""

    def decide(self, question: Exposure) -> tuple[np.ndarray, np.ndarray]:
        """Return whether each accepts, and its stated probability, (n,) each; NaN where there is no answer."""
