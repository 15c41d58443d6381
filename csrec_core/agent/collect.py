"""From an agent to a log: which books it knows, a pilot behind a gate, then every reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from csrec_core.agent.catalogue import plain_title
from csrec_core.agent.design import Readers, draw_blocks, recommend
from csrec_core.agent.quality import PILOT, Quality, judge_pilot
from csrec_core.agent.questions import Agent, Exposure, Familiarity, History, Purchase, genres_of
from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log

__all__ = ["Collected", "Lived", "check_knowledge", "collect", "live", "pilot_table"]


@dataclass(frozen=True, eq=False)
class Collected:
    """What a run came to.

    Attributes
    ----------
    dataset : Dataset or None
        The log, its books and the readers' true tastes; None where the gate held the run.
    knowledge : DataFrame
        A row a book: see `check_knowledge`.
    made_up : float
        Share of made-up books that the agent says it knows.
    quality : Quality
    silent : int
        Questions without a usable answer, whose exposures are missing from the log.
    cost : str
        What the answers have cost, in words; empty if nothing.
    """

    dataset: Dataset | None
    knowledge: pd.DataFrame
    made_up: float
    quality: Quality
    silent: int
    cost: str = ""


@dataclass(frozen=True, eq=False)
class Lived:
    """What the readers of a block did: purchases (n, at most steps), then exposures (n, steps)."""

    bought: np.ndarray
    shown: np.ndarray
    propensity: np.ndarray
    accepted: np.ndarray
    probability: np.ndarray
    answered: np.ndarray


def collect(
    agent: Agent, catalogue: pd.DataFrame, *, users: int, steps: int = 20, seed: int = 0, force: bool = False
) -> Collected:
    """Ask an agent to be `users` readers.

    Parameters
    ----------
    agent : Agent
    catalogue : DataFrame
        See `load_catalogue`.
    users, steps : int
        Readers, and exposures of each by the system.
    seed : int
        Of readers, shelves, recommendations and times.
    force : bool
        Go on where the pilot fails the gate.

    Raises
    ------
    InputError
        Where too few books are known.
    """
    genre = pd.Categorical(catalogue["genre"], categories=genres_of(catalogue)).codes.astype(int)
    pilot = min(PILOT, users)
    books = len(catalogue) + _made_up(catalogue)
    parts, tastes, silent, quality = [], [], 0, None
    # Both rounds of the pilot are asked before all readers are, who find the first round answered.
    with _progress(agent, total=books + (2 * pilot + users) * (1 + steps)):
        knowledge, made_up = check_knowledge(agent, catalogue, seed=seed)
        kept = np.flatnonzero(knowledge["kept"])
        for block in draw_blocks(users, genre=genre, kept=kept, steps=steps, seed=seed):
            if quality is None:
                table = pilot_table(agent, block.first(pilot), genre=genre, books=len(kept))
                quality = judge_pilot(table, seed=seed)
                if not (quality.passed or force):
                    silent = int((~table["answered"]).sum())
                    return Collected(None, knowledge, made_up, quality, silent, agent.cost)
            lived = live(agent, block, books=len(kept))
            silent += int((~lived.answered).sum() + (lived.bought < 0).all(axis=1).sum())
            parts.append(_rows(block, lived, catalogue["item"].to_numpy()))
            tastes.append(block.taste)
    log = validate_log(pd.concat(parts, ignore_index=True), where=agent.name)
    names = [f"taste: {name}" for name in genres_of(catalogue)]
    readers = pd.DataFrame(np.concatenate(tastes), columns=names)
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

    Returns
    -------
    table : DataFrame
        `item`, `title`, `genre`, `said_known`, `said_genres`, `said_keywords`, `kept`, as the catalogue goes.
    made_up : float
        The share known of pairs of one book's title and another's author: one in ten of the questions.
    """
    rng = np.random.default_rng([seed, 4])
    books = len(catalogue)
    title = np.concatenate([np.arange(books), rng.permutation(books)[: _made_up(catalogue)]])
    author = title.copy()
    author[books:] = _others(rng, title[books:], catalogue["author"].to_numpy())
    order = rng.permutation(len(title))
    answer = agent.know(Familiarity(title[order], author[order]))
    back = np.argsort(order)
    genres, words = ([said[place] for place in back] for said in (answer.genres, answer.keywords))
    known = answer.known[back]
    fits = [own in said for own, said in zip(catalogue["genre"], genres[:books], strict=True)]
    own_words = catalogue.get("keywords", pd.Series("", index=catalogue.index)).str.split(";")
    agree = [_agree(own, said) for own, said in zip(own_words, words[:books], strict=True)]
    table = catalogue[["item", "title", "genre"]].assign(
        said_known=known[:books],
        said_genres=["; ".join(said) for said in genres[:books]],
        said_keywords=["; ".join(said) for said in words[:books]],
    )
    # A pair may by accident be a book after all: only those of different authors count.
    false = title[books:] != author[books:]
    made_up = float(known[books:][false].mean()) if false.any() else float("nan")
    return table.assign(kept=table["said_known"] & np.array(fits) & np.array(agree)), made_up


def _others(rng: np.random.Generator, title: np.ndarray, authors: np.ndarray) -> np.ndarray:
    """Return for each title the place of a book by somebody else; the book itself where there is none."""
    chosen = title.copy()
    for _ in range(20):
        same = authors[chosen] == authors[title]
        chosen[same] = rng.integers(len(authors), size=same.sum())
    return np.where(authors[chosen] == authors[title], title, chosen)


def _agree(own: list[str], said: tuple[str, ...]) -> bool:
    """Tell whether one of the catalogue's keywords is among those said; a book without any asks for none."""
    wanted = {plain_title(word) for word in own if word.strip()}
    return not wanted or bool(wanted & {plain_title(word) for word in said})


def live(agent: Agent, block: Readers, *, books: int, other_order: bool = False) -> Lived:
    """Let the agent live the lives of a block: purchases, then one exposure at a time.

    `books` take part. With `other_order` the exposures come in the block's second order.
    """
    bought = agent.buy(Purchase(block.reader, block.taste, block.shelf, block.count))
    before = block.accept_first.shape[1]  # the most that is bought: exposures are always at the same times
    bought = np.pad(bought, ((0, 0), (0, before - bought.shape[1])), constant_values=-1)
    shown, propensity = recommend(block, bought, books=books)
    if other_order:
        shown = np.take_along_axis(shown, block.other_order, axis=1)
    n, steps = shown.shape
    item = np.concatenate([bought, np.full((n, steps), -1)], axis=1)
    accepted = np.concatenate([bought >= 0, np.zeros((n, steps), dtype=bool)], axis=1)
    recommended = np.broadcast_to(np.arange(before + steps) >= before, item.shape)
    probability, answered = np.full((n, steps), np.nan), np.zeros((n, steps), dtype=bool)
    for t in range(steps):
        now = before + t
        past = History(item[:, :now], accepted[:, :now], recommended[:, :now], block.time[:, :now])
        decisions = agent.decide(
            Exposure(
                reader=block.reader,
                taste=block.taste,
                history=past,
                item=shown[:, t],
                time=block.time[:, now],
                accept_first=block.accept_first[:, t],
            )
        )
        answered[:, t], probability[:, t] = decisions.answered, decisions.probability
        accepted[:, now] = decisions.accepted & decisions.answered
        item[:, now] = np.where(decisions.answered, shown[:, t], -1)
    return Lived(bought, shown, propensity, accepted[:, before:], probability, answered)


def pilot_table(agent: Agent, block: Readers, *, genre: np.ndarray, books: int) -> pd.DataFrame:
    """Let a block live twice, the second time in another order; see `judge_pilot` for the columns."""
    rounds = []
    for number in (0, 1):
        lived = live(agent, block, books=books, other_order=bool(number))
        n, steps = lived.shown.shape
        user = np.repeat(np.arange(n), steps)
        rounds.append(
            pd.DataFrame(
                {
                    "round": number,
                    "user": block.reader[user],
                    "position": np.tile(np.arange(1, steps + 1), n),
                    "item": lived.shown.ravel(),
                    "taste": block.taste[user, genre[lived.shown.ravel()]],
                    "accept_first": block.accept_first.ravel(),
                    "answered": lived.answered.ravel(),
                    "accepted": lived.accepted.ravel(),
                    "probability": lived.probability.ravel(),
                }
            )
        )
    return pd.concat(rounds, ignore_index=True)


def _rows(block: Readers, lived: Lived, numbers: np.ndarray) -> pd.DataFrame:
    """Return the rows of the log of a block; exposures without an answer have none."""
    width = lived.bought.shape[1]
    own, order = np.nonzero(lived.bought >= 0)
    chosen = pd.DataFrame(
        {
            "user": block.reader[own],
            "t": order + 1,
            "item": numbers[lived.bought[own, order]],
            "decision": 1,
            "source": SELF,
            "timestamp": block.time[own, order],
        }
    )
    own, order = np.nonzero(lived.answered)
    exposed = pd.DataFrame(
        {
            "user": block.reader[own],
            "t": order + 1,
            "item": numbers[lived.shown[own, order]],
            "decision": lived.accepted[own, order].astype(int),
            "source": SYSTEM,
            "propensity": lived.propensity[own, order],
            "probability": lived.probability[own, order],
            "timestamp": block.time[own, width + order],
        }
    )
    return pd.concat([chosen, exposed], ignore_index=True)
