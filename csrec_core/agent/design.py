"""The draws of the study: who the readers are, what stands on their shelves, what is recommended and when.

Readers are drawn in blocks of a fixed size, each from a seed of its own, so that the first N readers are the
same however many are asked for, and memory does not grow with their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from csrec_core.data.books import CONCENTRATION
from csrec_core.errors import InputError

DRAWS_HELD = 2**21  # random numbers held at a time
BLOCK_READERS = 1000  # readers drawn, and answered for, at a time
SHELF = 3  # books on the shelf for each one bought at most
START_TIME = np.datetime64("2024-01-01", "s")
YEAR, GAP = 365 * 86_400, 3 * 86_400  # seconds: when readers begin, and the mean time between two events


@dataclass(frozen=True, eq=False)
class Readers:
    """Readers and their draws; arrays of n rows."""

    reader: np.ndarray  # (n,), from 1
    # (n, genres): Dirichlet over the genres that the catalogue still holds, 0 for the others
    preference: np.ndarray
    shelf: np.ndarray  # (n, 3 steps): distinct books, by their place in the catalogue, in random order
    count: np.ndarray  # (n,): purchases, uniform from half of `steps` to `steps`
    # (n, 2 steps): distinct books in random order, of which the system recommends the first that are not
    # owned
    candidates: np.ndarray
    time: np.ndarray  # datetime64[s] (n, 2 steps): when things happen, purchases, then exposures
    # bool (n, steps): the order in which the two answers are offered, at each exposure
    accept_first: np.ndarray
    other_order: np.ndarray  # (n, steps): a permutation of the exposures, for the check of their order

    @property
    def steps(self) -> int:
        """Exposures of each by the system, and the most that a reader buys."""
        return self.accept_first.shape[1]

    def first(self, n: int) -> "Readers":
        """Return the first n readers."""
        return Readers(**{field.name: getattr(self, field.name)[:n] for field in fields(self)})


def draw_blocks(
    users: int, *, genre: np.ndarray, kept: np.ndarray, steps: int, seed: int
) -> Iterator[Readers]:
    """Draw the readers of a study, a block at a time; raises InputError where `check_size` does.

    `steps` are the exposures of each by the system, also the most that a reader buys; `genre` is of each book of the
    catalogue, numbered from 0, and `kept` are the places there of the books that take part.
    """
    check_size(len(kept), steps)
    present = np.unique(genre[kept])
    genres = int(genre.max()) + 1
    for number, start in enumerate(range(0, users, BLOCK_READERS)):
        rng = np.random.default_rng([seed, 2, number])
        preference = np.zeros((BLOCK_READERS, genres))
        preference[:, present] = rng.dirichlet(np.full(len(present), CONCENTRATION), BLOCK_READERS)
        gaps = rng.exponential(GAP, (BLOCK_READERS, 2 * steps)).astype(np.int64) + 1
        begins = START_TIME + rng.integers(YEAR, size=BLOCK_READERS).astype("timedelta64[s]")
        block = Readers(
            reader=np.arange(start + 1, start + BLOCK_READERS + 1),
            preference=preference,
            shelf=kept[_distinct(rng, len(kept), SHELF * steps)],
            count=rng.integers((steps + 1) // 2, steps + 1, size=BLOCK_READERS),
            candidates=kept[_distinct(rng, len(kept), 2 * steps)],
            time=begins[:, None] + np.cumsum(gaps, axis=1).astype("timedelta64[s]"),
            accept_first=rng.random((BLOCK_READERS, steps)) < 0.5,
            other_order=_distinct(rng, steps, steps),
        )
        yield block.first(users - start)


def check_size(books: int, steps: int) -> None:
    """Raise InputError where there are too few books: a shelf takes three a purchase, none is shown twice."""
    if books < SHELF * steps:
        raise InputError(
            f"{books:,} books take part, too few for {steps} steps; expected at least {SHELF * steps:,} "
            "(a larger catalogue, or fewer --steps)"
        )


def recommend(block: Readers, bought: np.ndarray, *, books: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the system exposes, (n, steps), and the probability of exactly that.

    Each exposure is uniform over the `books` that take part and that a reader neither bought nor was shown
    before; `bought`, (n, at most steps), is -1 beyond a reader's purchases.
    """
    owned = (block.candidates[:, :, None] == bought[:, None, :]).any(axis=2)
    order = np.argsort(owned, axis=1, kind="stable")[:, : block.steps]
    shown = np.take_along_axis(block.candidates, order, axis=1)
    left = books - (bought >= 0).sum(axis=1)[:, None] - np.arange(block.steps)
    return shown, 1 / left


def _distinct(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Return k distinct whole numbers below n in random order, for each reader of a block."""
    rows = max(1, DRAWS_HELD // n)  # at a time, or a large catalogue would take the memory
    parts = []
    for start in range(0, BLOCK_READERS, rows):
        draw = rng.random((min(rows, BLOCK_READERS - start), n))
        least = np.argpartition(draw, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(draw, least, axis=1).argsort(axis=1)
        parts.append(np.take_along_axis(least, order, axis=1))
    return np.concatenate(parts)
