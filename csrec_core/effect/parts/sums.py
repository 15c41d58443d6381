"""Sums over the users of a part, from which the effects of all parts, and their errors, are put together.

For a group g of rows with weights a (the system's) and b (the self-chosen's) and values v, a user u has
x_u = (sum a, sum a v, sum b, sum b v). The effect is a function of the totals X of x_u, and the variance of
its influence function is c' M c, with M the sum over users of x_u x_u' and c the derivative of the effect by
X. So X and M are all that a part has to tell, for all groups of a grouping at once.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import poisson

from csrec_core.effect.overlap import overlap_weights
from csrec_core.effect.parts.rows import lots
from csrec_core.effect.parts.score import GROUPS
from csrec_core.files import whole_file

__all__ = ["BINS", "Sums", "sum_part"]

BINS = np.linspace(-1, 1, 2001)  # of the residuals D - f~, for the band
AT_MOST = poisson.cdf(np.arange(20), 1)
BOOTSTRAP = 1000  # the first lots of a user are for other ends


class Sums(dict):
    """Arrays by name, that add up over parts: `<grouping>` (4 G,), `<grouping> cross` (4 G, 4 G), and more.

    - the groupings are `overall`, `observed` (decisions instead of residuals, all weights one) and `GROUPS`;
      of each group come sum a, sum a v, sum b, sum b v;
    - `replicates` (R, 4): those of `overall` under the weights of a Poisson bootstrap;
    - `counts` (5,): sessions with rows of either source, rows of the system, those trimmed, self-chosen rows,
      sum of b squared; `largest` (1,), the largest b, which is no sum but a maximum;
    - `band` (2, 2000): sum b and sum b v by bin of the residual;
    - `ter` (2,): sum and number of f - f~ at the system's rows.
    """

    def add(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        if not self:
            return other
        return Sums(
            {
                name: np.maximum(value, other[name]) if name == "largest" else value + other[name]
                for name, value in self.items()
            }
        )

    @classmethod
    def load(cls, path: Path) -> "Sums":
        """Read what `sum_part` wrote."""
        with np.load(path, allow_pickle=False) as found:
            return cls({name: found[name] for name in found.files})


def sum_part(target: Path, scores: Path, *, trim: float, replicates: int, seed: int) -> int:
    """Write the `Sums` of a part's scores; return the number of its users.

    A user's weights in the bootstrap come from the seed and the user's number, so that they are the same
    however the files are cut.
    """
    rows = pd.read_parquet(scores)
    users, user = np.unique(rows["user"], return_inverse=True)
    system, decision = rows["system"].to_numpy(), rows["decision"].to_numpy(dtype=float)
    residual = decision - rows["f_tilde"].to_numpy(dtype=float)
    treated, control = overlap_weights(rows["regime"].to_numpy(dtype=float), system, trim=trim)
    contrast = {"user": user, "users": len(users), "value": residual, "treated": treated, "control": control}
    everyone = contrast | {
        "value": decision,
        "treated": system.astype(float),
        "control": (~system).astype(float),
    }
    one = np.zeros(len(rows), dtype=int)
    whole = _by_user(one, 1, **contrast)
    tables = {"overall": whole, "observed": _by_user(one, 1, **everyone)}
    tables |= {
        name: _by_user(rows[name].to_numpy(), len(names), **contrast) for name, names in GROUPS.items()
    }
    found = Sums()
    for name, table in tables.items():
        found[name], found[f"{name} cross"] = table.sum(axis=0), table.T @ table
    found["replicates"] = np.stack(
        [_poisson(lots(users, seed, BOOTSTRAP + number)) @ whole for number in range(replicates)]
    )
    left_out = system & (treated == 0)
    counts = [len(users), system.sum(), left_out.sum(), (~system).sum(), (control**2).sum()]
    found["counts"] = np.array(counts, dtype=float)
    found["largest"] = np.array([control.max(initial=0.0)])
    at = np.clip(np.digitize(residual, BINS) - 1, 0, len(BINS) - 2)
    found["band"] = np.stack([np.bincount(at, w, len(BINS) - 1) for w in (control, control * residual)])
    ter = (rows["f"] - rows["f_tilde"]).to_numpy(dtype=float)[system]
    found["ter"] = np.array([ter.sum(), len(ter)], dtype=float)
    with whole_file(target) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **found)
    return len(users)


def _by_user(label, groups, *, user, users, value, treated, control) -> np.ndarray:
    """Return x_u of every user and group, (users, 4 groups)."""
    cell, size = user * groups + label, users * groups
    columns = [np.bincount(cell, w, size) for w in (treated, treated * value, control, control * value)]
    return np.stack(columns, axis=1).reshape(users, groups * 4)


def _poisson(lot: np.ndarray) -> np.ndarray:
    """Turn lots in [0, 2**64) into draws from a Poisson distribution of mean 1."""
    return np.searchsorted(AT_MOST, lot / 2.0**64, side="right").astype(float)
