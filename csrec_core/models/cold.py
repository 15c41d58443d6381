"""Cold items, those with too few rows to learn their own weights from: scored by their features alone.

What a few rows teach of an item's embedding is noise, and without any row it stays as it was drawn. So the
weights of a cold item are held at zero while the others are learned, and then set to what its features say:
the ridge regression of the learned weights on the features of the items that have enough rows, its penalty
chosen by leave-one-out error. Features that say nothing give every cold item the mean.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from csrec_core.models.sequences import Sequences

ENOUGH_ROWS = 5  # rows from which an item's own weights are learned
FEWEST_ITEMS = 10  # items with enough rows; a regression on less is not tried, and cold items stay at zero
PENALTIES = np.logspace(-2, 6, 33)  # relative to features of deviation 1


def cold_items(sequences: Sequences, learned: Tensor) -> Tensor:
    """Return the items (K,) in 1..N that come fewer than `ENOUGH_ROWS` times in the rows to learn from.

    Parameters
    ----------
    sequences : Sequences
        Where it has no features no item counts as cold: there is nothing else to score one by.
    learned : Tensor (n,) int64
        The item of each row; 0 is padding.
    """
    if not sequences.features.shape[1]:
        return learned.new_zeros(0)
    count = torch.bincount(learned.flatten(), minlength=len(sequences.features))
    return (count[1:] < ENOUGH_ROWS).nonzero()[:, 0] + 1


@contextmanager
def scored_by_features(sequences: Sequences, cold: Tensor, *weights: Tensor) -> Iterator[None]:
    """Hold the weights of cold items at zero within the block, then fill them from the features.

    Parameters
    ----------
    cold : Tensor (K,) int64
        Items in 1..N. Without any nothing is done.
    *weights : Tensor (N, ...) or (N + 1, ...)
        With a row for each item, the first of N + 1 for padding.
    """
    if not len(cold):
        yield
        return
    count = len(sequences.features) - 1
    rows = [cold - 1 + len(weight) - count for weight in weights]
    with torch.no_grad():
        for weight, row in zip(weights, rows, strict=True):
            weight[row] = 0
    hooks = [
        weight.register_hook(lambda gradient, row=row: gradient.index_fill(0, row, 0.0))
        for weight, row in zip(weights, rows, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for weight in weights:
            _fill(weight[-count:], cold - 1, sequences.features[1:])


def _fill(weight: Tensor, cold: Tensor, features: Tensor) -> None:
    """Set the `cold` rows of a weight (N, ...) to what a ridge regression on the features makes of the others."""
    warm = torch.ones(len(weight), dtype=torch.bool, device=weight.device).index_fill(0, cold, False)
    if warm.sum() < FEWEST_ITEMS:
        return
    known, asked, learned = (
        part.double().cpu().numpy() for part in (features[warm], features[cold], weight[warm])
    )
    expected = RidgeCV(PENALTIES).fit(known, learned).predict(asked)
    weight[cold] = torch.from_numpy(expected).to(weight).reshape(weight[cold].shape)
