"""What an agent is asked and what it answers: the interface that every agent has.

Questions come for many readers at once, as arrays of n rows; a book is named by its place in the catalogue
(from 0), and -1 means none. A reader's `taste` is a distribution over the genres of the catalogue, in the
order of `genres_of`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

__all__ = ["Agent", "Decisions", "Exposure", "Familiarity", "History", "Knowledge", "Purchase", "genres_of"]


def genres_of(catalogue: pd.DataFrame) -> list[str]:
    """Return the genres in the order in which tastes list them."""
    return sorted(catalogue["genre"].unique())


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Do you know these books? A book whose `author` is another's than its `title` does not exist.

    Attributes
    ----------
    title, author : array of int (n,)
        Whose title, and whose author and year.
    """

    title: np.ndarray
    author: np.ndarray


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Answer to `Familiarity`: `known`, genres that fit (best first) and keywords, n each."""

    known: np.ndarray
    genres: list[tuple[str, ...]]
    keywords: list[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Purchase:
    """What would these readers buy next, in order, of what stands on their shelf?

    Attributes
    ----------
    reader : array of int (n,)
    taste : array (n, genres)
    shelf : array of int (n, k)
        Distinct books.
    count : array of int (n,)
        How many they buy, at most k.
    """

    reader: np.ndarray
    taste: np.ndarray
    shelf: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, eq=False)
class History:
    """What readers did so far, oldest first, (n, t) each.

    Attributes
    ----------
    item : array of int
        -1 where nothing happened.
    accepted, recommended : array of bool
        What they decided, and whether the system had exposed the book (else it was their own purchase).
    time : array of datetime64
    """

    item: np.ndarray
    accepted: np.ndarray
    recommended: np.ndarray
    time: np.ndarray

    @property
    def last_accepted(self) -> np.ndarray:
        """Whether the last thing that happened was an acceptance, (n,); False where nothing did."""
        happened = self.item >= 0
        if not happened.shape[1]:
            return np.zeros(len(happened), dtype=bool)
        last = happened.shape[1] - 1 - happened[:, ::-1].argmax(axis=1)
        return (self.accepted & happened)[np.arange(len(last)), last]


@dataclass(frozen=True, eq=False)
class Exposure:
    """Would these readers accept this book, recommended now, given all that happened before?

    Attributes
    ----------
    reader : array of int (n,)
    taste : array (n, genres)
    history : History
    item : array of int (n,)
    time : array of datetime64 (n,)
    accept_first : array of bool (n,)
        Whether acceptance is the first of the two answers offered: the order must not matter.
    """

    reader: np.ndarray
    taste: np.ndarray
    history: History
    item: np.ndarray
    time: np.ndarray
    accept_first: np.ndarray


@dataclass(frozen=True, eq=False)
class Decisions:
    """Answer to `Exposure`: the decision, its stated probability of acceptance, and whether there is one."""

    accepted: np.ndarray
    probability: np.ndarray
    answered: np.ndarray


class Agent(Protocol):
    """Who answers for the readers. The same question has the same answer, whenever it is asked."""

    name: str
    #: Called with the number of answers as they come in.
    progress: Callable[[int], object]

    @property
    def cost(self) -> str:
        """What the answers have cost so far, in words; empty if nothing."""

    def know(self, question: Familiarity) -> Knowledge:
        """Say which books are known, by genre and keywords."""

    def buy(self, question: Purchase) -> np.ndarray:
        """Return what is bought in order, (n, largest count), -1 beyond a reader's count."""

    def decide(self, question: Exposure) -> Decisions:
        """Accept or reject the books recommended."""
