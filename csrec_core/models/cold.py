"""Cold items, those with too few rows to learn their own weights from: scored by their features alone.

What a few rows teach of an item's embedding is noise, and without any row it is what it was drawn as, pushed down
as every item is that nobody chose. So once a model is trained, a cold item gets the mean weights of the others,
and only its features, projected and added to the embedding, tell it from them.
"""

import torch
from torch import Tensor

from csrec_core.models.sequences import Sequences

ENOUGH_ROWS = 5  # rows from which an item's own weights are learned


@torch.no_grad()
def score_by_features(sequences: Sequences, learned: Tensor, *weights: Tensor) -> None:
    """Set the weights of items that come fewer than `ENOUGH_ROWS` times in the rows learned from to the others' mean.

    Parameters
    ----------
    sequences : Sequences
        Where it has no features no item counts as cold: there is nothing else to score one by.
    learned : Tensor (n,) int64
        The item of each row; 0 is padding.
    *weights : Tensor (N, ...) or (N + 1, ...)
        With a row for each item, the first of N + 1 for padding.
    """
    cold = torch.bincount(learned.flatten(), minlength=len(sequences.features))[1:] < ENOUGH_ROWS
    if not sequences.features.shape[1] or cold.all():
        return
    for weight in weights:
        own = weight[-len(cold) :]
        own[cold] = own[~cold].mean(dim=0)
