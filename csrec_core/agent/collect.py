"""From an agent to a log: which books it knows, a pilot behind a gate, then every reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from csrec_core.agent.catalogue import genres_of, keywords_of, plain_title
from csrec_core.agent.design import Readers, draw_blocks, recommend
from csrec_core.agent.quality import PILOT, Quality, judge_pilot
from csrec_core.agent.questions import Agent, Exposure
from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log


@dataclass(frozen=True, eq=False)
class Collected:
    """What a run came to."""

    # the log, its books and the readers' true preferences; None where the gate held the run
    dataset: Dataset | None
    knowledge: pd.DataFrame  # a row a book: see `check_knowledge`
    made_up: float  # share of made-up books that the agent says it knows
    quality: Quality
    silent: int  # questions without a usable answer, whose exposures are missing from the log
    cost: str  # what the answers have cost, in words; empty if nothing


def collect(
    agent: Agent, catalogue: pd.DataFrame, *, users: int, steps: int = 20, seed: int = 0, force: bool = False
) -> Collected:
    """Ask an agent to be readers of the books of a catalogue (`csrec_core.agent.run.Study` has the sizes).

    `seed` is of readers, shelves, recommendations and times. With `force` it goes on where the pilot fails the
    gate. Raises InputError where too few books are known.
    """
    genre, genres = genres_of(catalogue)
    pilot, books = min(PILOT, users), len(catalogue) + _made_up(catalogue)
    parts: list[pd.DataFrame] = []
    preferences, silent = [], 0
    # Both rounds of the pilot are asked before all readers are, who find the first round answered.
    with _progress(agent, total=books + (2 * pilot + users) * (1 + steps)):
        knowledge, made_up = check_knowledge(agent, catalogue, seed=seed)
        kept = np.flatnonzero(knowledge["kept"])
        for block in draw_blocks(users, genre=genre, kept=kept, steps=steps, seed=seed):
            if not parts:
                table = pilot_table(agent, block.first(pilot), genre=genre, books=len(kept))
                quality = judge_pilot(table, seed=seed)
                if not (quality.passed or force):
                    silent = int((~table["answered"]).sum())
                    return Collected(None, knowledge, made_up, quality, silent, agent.cost)
            bought, exposed = live_block(agent, block, books=len(kept))
            silent += int((~exposed["answered"]).sum() + (bought < 0).all(axis=1).sum())
            parts.append(_log_rows(block, bought, exposed, catalogue["item"].to_numpy()))
            preferences.append(block.preference)
    log = validate_log(pd.concat(parts, ignore_index=True), where=agent.name)
    readers = pd.DataFrame(np.concatenate(preferences), columns=[f"preference: {name}" for name in genres])
    readers.insert(0, "user", np.arange(1, users + 1))
    items = catalogue.iloc[kept].reset_index(drop=True)
    # A number in an item table is a feature of every item; one that some lack is a note.
    items["year"] = items["year"].astype("str" if items["year"].isna().any() else "int64")
    dataset = Dataset(log, items=items, users=readers, name=f"books by {agent.name}")
    return Collected(dataset, knowledge, made_up, quality, silent, agent.cost)


@contextmanager
def _progress(agent: Agent, *, total: int) -> Iterator[None]:
    """Show how many questions are answered, on a terminal only, with what they have cost so far."""
    with tqdm(total=total, unit="question", disable=None, leave=False) as bar:

        def progress(count: int) -> None:
            bar.set_postfix_str(agent.cost, refresh=False)  # before the update, which may draw the bar
            bar.update(count)

        agent.progress = progress
        yield


def _made_up(catalogue: pd.DataFrame) -> int:
    """Return how many made-up books are asked about beside those of the catalogue."""
    return max(1, len(catalogue) // 10)


def check_knowledge(agent: Agent, catalogue: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, float]:
    """Ask which books the agent knows, with made-up ones among them.

    A book takes part if the agent says that it knows it, gives its genre among those that fit, and, where the
    catalogue has keywords of the book, at least one of those.

    Return `item`, `title`, `genre`, `said_known`, `said_genres`, `said_keywords`, `kept`, as the catalogue goes; and
    the share known of pairs of one book's title and another's author, which are one in ten of the questions.
    """
    rng = np.random.default_rng([seed, 4])
    books = len(catalogue)
    title = np.concatenate([np.arange(books), rng.permutation(books)[: _made_up(catalogue)]])
    author = title.copy()
    author[books:] = _other_books(rng, title[books:], catalogue["author"].to_numpy())
    order = rng.permutation(len(title))
    said = agent.know(title[order], author[order]).iloc[np.argsort(order)]
    # A pair may by accident be a book after all: only those of different authors count.
    false = said["known"][title != author]
    said = said[:books].set_axis(catalogue.index)
    agree = [_agree(own, words) for own, words in zip(keywords_of(catalogue), said["keywords"], strict=True)]
    fits = [own in genres for own, genres in zip(catalogue["genre"], said["genres"], strict=True)]
    table = catalogue[["item", "title", "genre"]].assign(
        said_known=said["known"],
        said_genres=["; ".join(genres) for genres in said["genres"]],
        said_keywords=["; ".join(words) for words in said["keywords"]],
        kept=said["known"] & np.array(fits) & np.array(agree),
    )
    return table, float(false.mean())


def _other_books(rng: np.random.Generator, title: np.ndarray, authors: np.ndarray) -> np.ndarray:
    """Return for each title the place of a book by somebody else; the book itself where there is none."""
    chosen = title.copy()
    for _ in range(20):
        same = authors[chosen] == authors[title]
        chosen[same] = rng.integers(len(authors), size=same.sum())
    return np.where(authors[chosen] == authors[title], title, chosen)


def _agree(own: tuple[str, ...], said: tuple[str, ...]) -> bool:
    """Tell whether one of the catalogue's keywords is among those said; a book without any asks for none."""
    wanted = {plain_title(word) for word in own}
    return not wanted or bool(wanted & {plain_title(word) for word in said})


def live_block(
    agent: Agent, block: Readers, *, books: int, other_order: bool = False
) -> tuple[np.ndarray, pd.DataFrame]:
    """Let the agent live the lives of a block, in which `books` take part: purchases, then an exposure at a time.

    With `other_order` the exposures come in the block's second order. Return the places of books bought, (n, steps), -1
    beyond a reader's purchases; and a row an exposure, by reader: `user`, `step` (from 1), `item` (its place),
    `propensity`, `accept_first`, `accepted`, `probability`, `answered`, `timestamp`.
    """
    n, steps = block.accept_first.shape
    bought = agent.buy(block)
    shown, propensity = recommend(block, bought, books=books)
    if other_order:
        shown = np.take_along_axis(shown, block.other_order, axis=1)
    item = np.concatenate([bought, np.full((n, steps), -1)], axis=1)
    accepted, probability = item >= 0, np.full((n, steps), np.nan)
    for t in range(steps):
        now = steps + t
        decided, probability[:, t] = agent.decide(
            Exposure(block, shown[:, t], item[:, :now], accepted[:, :now])
        )
        answered = ~np.isnan(probability[:, t])
        accepted[:, now] = decided & answered
        item[:, now] = np.where(answered, shown[:, t], -1)
    exposed = {
        "user": np.broadcast_to(block.reader[:, None], shown.shape),
        "step": np.broadcast_to(np.arange(1, steps + 1), shown.shape),
        "item": shown,
        "propensity": propensity,
        "accept_first": block.accept_first,
        "accepted": accepted[:, steps:],
        "probability": probability,
        "answered": ~np.isnan(probability),
        "timestamp": block.time[:, steps:],
    }
    return bought, pd.DataFrame({name: values.ravel() for name, values in exposed.items()})


def pilot_table(agent: Agent, block: Readers, *, genre: np.ndarray, books: int) -> pd.DataFrame:
    """Let a block live twice, the second time in another order; see `judge_pilot` for the columns."""
    rounds = []
    for number, other_order in enumerate((False, True)):
        _, table = live_block(agent, block, books=books, other_order=other_order)
        preference = np.take_along_axis(
            block.preference, genre[table["item"]].reshape(-1, block.steps), axis=1
        )
        rounds.append(table.assign(round=number, preference=preference.ravel()))
    return pd.concat(rounds, ignore_index=True)


def _log_rows(block: Readers, bought: np.ndarray, exposed: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """Return the rows of the log of a block; exposures without an answer have none."""
    own, order = np.nonzero(bought >= 0)
    chosen = pd.DataFrame({"user": block.reader[own], "t": order + 1, "timestamp": block.time[own, order]})
    chosen = chosen.assign(item=numbers[bought[own, order]], decision=1, source=SELF)
    exposed = exposed[exposed["answered"]].rename(columns={"step": "t"})
    exposed = exposed.assign(
        item=numbers[exposed["item"]], decision=exposed["accepted"].astype(int), source=SYSTEM
    )
    return pd.concat([chosen, exposed], ignore_index=True)
