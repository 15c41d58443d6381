"""Sequence encoders behind one protocol; another one is a file here and a line in `BACKBONES`."""

from typing import Protocol

from torch import Tensor

from csrec_core.backbones.sasrec import SASRec

__all__ = ["BACKBONES", "Backbone", "SASRec"]


class Backbone(Protocol):
    """What a sequence encoder does.

    B sequences of L tokens; a token is an item (1..N, 0 is padding) with a decision (0 rejected,
    1 accepted, 2 unknown). A state summarises the tokens before a position, so that row i of the L + 1 rows
    is all that may be known when exposure i is decided, and the last row is the whole window.
    """

    hidden: int

    def encode(
        self, items: Tensor, decisions: Tensor | None = None, *, shift: Tensor | None = None
    ) -> Tensor:
        """Return states (B, L + 1, hidden); without `decisions` every item counts as accepted.

        `shift` (B,) moves a sequence to later positions, for training on all of them.
        """

    def encode_last(self, items: Tensor, decisions: Tensor, last: int) -> Tensor:
        """As `encode`, with the decision just before each state set to `last` and the earlier ones kept."""

    def embed(self, items: Tensor) -> Tensor:
        """Return item embeddings (..., hidden)."""

    def score(self, states: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return ranking logits of the next item: (..., N) over the catalogue, or of `candidates` (...)."""


BACKBONES: dict[str, type[Backbone]] = {"sasrec": SASRec}
