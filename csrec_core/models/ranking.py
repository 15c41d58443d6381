"""Full ranking, leave one out: where the item that a user chose stands among all that were new to them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from csrec_core.models.sequences import ACCEPT, Sequences

HELD_OUT = {"test": 1, "validation": 2}  # place from the end of a user's self-chosen items
READ_USERS = 128  # users a batch where no gradient is kept
READ_SCORES = 2**25  # scores held at a time, which bounds memory for any catalogue


def users_at_once(items: int) -> int:
    """Return how many users to score for a catalogue of that many items at a time."""
    return max(1, min(READ_USERS, READ_SCORES // (items + 1)))


@torch.no_grad()
def leave_one_out(
    sequences: Sequences, score: Callable[[Tensor, Tensor, Tensor], Tensor], *, part: str = "test"
) -> pd.DataFrame:
    """Rank the last self-chosen item of each user, or the one before it, by what came earlier.

    Parameters
    ----------
    score : callable
        From users as rows of `sequences` (n,), their earlier items and decisions (n, L) to scores of the
        catalogue (n, N), higher first.
    part : {"test", "validation"}
        The last item, or the one before.

    Returns
    -------
    DataFrame
        `user`, `rank` (from 1; ties count as half), `candidates` (items not seen before): a row for each user
        whose item was accepted and new to them.
    """
    place = HELD_OUT[part]
    length = sequences.self_items.shape[1]
    if length < place:
        return pd.DataFrame({"user": [], "rank": [], "candidates": []})
    target = sequences.self_items[:, -place]
    accepted = (sequences.self_decisions[:, -place] == ACCEPT) & (target > 0)
    found = []
    users = accepted.nonzero()[:, 0]
    users = users[sequences.chosen_count[users].argsort(stable=True)]  # short windows together
    for rows in users.split(users_at_once(len(sequences.catalogue))):
        seen = _seen(sequences, rows, place)
        new = ~seen.gather(1, target[rows, None])[:, 0]
        rows, seen = rows[new], seen[new, 1:]
        before = slice(length - place)
        scores = score(rows, sequences.self_items[rows, before], sequences.self_decisions[rows, before])
        own = scores.gather(1, target[rows, None] - 1)
        scores = scores.masked_fill_(seen, -torch.inf)
        above = (scores > own).sum(dim=1)
        level = (scores >= own).sum(dim=1) - above
        found.append((rows, above + (level + 1) / 2, (~seen).sum(dim=1)))
    user, rank, candidates = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    order = np.argsort(user)
    known = {"rank": rank[order], "candidates": candidates[order]}
    return pd.DataFrame({"user": sequences.users[user[order]], **known})


def _seen(sequences: Sequences, rows: Tensor, place: int) -> Tensor:
    """Return which items (n, N + 1) each user had chosen before the last `place` ones."""
    count = (sequences.chosen_count[rows] - place).clamp(min=0)
    first = sequences.chosen_count.cumsum(0)[rows] - sequences.chosen_count[rows]
    row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), count)
    within = torch.arange(len(row), device=rows.device) - (count.cumsum(0) - count)[row]
    seen = torch.zeros(len(rows), len(sequences.catalogue) + 1, dtype=torch.bool, device=rows.device)
    seen[row, sequences.chosen_items[first[row] + within]] = True
    return seen
