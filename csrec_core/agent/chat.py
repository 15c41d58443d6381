"""A language model behind a chat-completions endpoint as an agent."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from csrec_core.agent.client import Client
from csrec_core.agent.design import Readers
from csrec_core.agent.endpoint import Endpoint
from csrec_core.agent.prompts import Library, Prompt
from csrec_core.agent.questions import Exposure

BOOKS = 20  # books asked about at a time


class ChatAgent:
    """Asks a model each question once, and reads the answer from the cache ever after.

    A context manager: it holds connections and the cache, the file `path`, until its end. `prices` are US dollars
    for a million tokens of prompts and of answers.
    """

    name = "openai"

    def __init__(
        self,
        catalogue: pd.DataFrame,
        endpoint: Endpoint,
        path: Path,
        *,
        prices: tuple[float, float] | None = None,
    ):
        self.progress: Callable[[int], object] = lambda count: None
        self._library, self._prices = Library(catalogue), prices
        self._client = Client(endpoint, path)
        self.cache = self._client.cache
        self._runner = asyncio.Runner()

    def __enter__(self) -> "ChatAgent":
        return self

    def __exit__(self, *error) -> None:
        with self._runner:
            self._runner.run(self._client.close())

    @property
    def cost(self) -> str:
        """Requests and tokens so far, earlier sessions included, and dollars where prices are known."""
        words = f"{self.cache.requests:,} requests, {sum(self.cache.tokens):,} tokens"
        if self._prices:
            dollars = sum(n * price for n, price in zip(self.cache.tokens, self._prices, strict=True)) / 1e6
            words += f", ${dollars:,.2f}"
        return words

    def know(self, title: np.ndarray, author: np.ndarray) -> pd.DataFrame:
        """Ask about the books, some at a time; those of a question given up are not known."""
        parts = [slice(start, start + BOOKS) for start in range(0, len(title), BOOKS)]
        prompts = [self._library.familiarity(title[part], author[part]) for part in parts]
        said = []
        for prompt, answer in zip(prompts, self._answers(prompts), strict=True):
            said += answer or [(False, (), ())] * len(prompt.question["books"])
        return pd.DataFrame(said, columns=["known", "genres", "keywords"])

    def buy(self, readers: Readers) -> np.ndarray:
        """Ask each reader for a sequence of purchases; -1 throughout where the question is given up."""
        bought = np.full((len(readers.reader), readers.steps), -1)
        prompts = [self._library.purchase(readers, row) for row in range(len(bought))]
        for row, names in enumerate(self._answers(prompts)):
            places = [self._library.place(name) for name in names or ()]
            bought[row, : len(places)] = places
        return bought

    def decide(self, question: Exposure) -> tuple[np.ndarray, np.ndarray]:
        """Ask each reader for one decision."""
        prompts = [self._library.exposure(question, row) for row in range(len(question.item))]
        said = [answer or (False, np.nan) for answer in self._answers(prompts)]
        accepted, probability = zip(*said, strict=True)
        return np.array(accepted, dtype=bool), np.array(probability, dtype=float)

    def _answers(self, prompts: Sequence[Prompt]) -> list[list | None]:
        """Return the answers in the order of the questions; None where one is given up."""
        return self._runner.run(self._gather(prompts))

    async def _gather(self, prompts: Sequence[Prompt]) -> list[list | None]:
        # All come to their end, also when one has failed: what is under way is paid for.
        results = await asyncio.gather(*map(self._answer, prompts), return_exceptions=True)
        answers: list[list | None] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result from None
            answers.append(result)
        return answers

    async def _answer(self, prompt: Prompt) -> list | None:
        answer = await self._client.ask(prompt)
        self.progress(len(prompt.question.get("books", [prompt])))
        return answer
