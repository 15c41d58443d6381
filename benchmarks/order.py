"""What a reader of order knows that a reader of counts cannot: python benchmarks/order.py FOLDER [--users 3000]

A world in which each user first takes `LIBRARY` items, all accepted, and whoever knows their order knows the
user. Of their genres, a is the last, b the one before and c the first. A later item, chosen or exposed by the
system, is wanted more if it complements the pair (b, a) in this order, less if it is a substitute of a, and
more if it is like c, as many exposures ago as there have been. A hidden type of the user and the arm shift
the rate.

Given (a, b, c) and the type, all decisions are independent, and given their counts the orders of the library
are equally likely. So the best that any reader of counts can do, whatever it counts of all items and
decisions before an exposure, is known: the Bayes filter over the orders that the counts allow. Beside it stand
the filter that reads the order, and the oracle, which is told the type as well. Printed are, at the exposures
by the system, AUC and log loss, each with its difference from boosted trees on counts and 95% interval over
users.
"""

import argparse
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import expit, logsumexp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

from csrec_core.data.log import SELF, SYSTEM, Dataset, validate_log
from csrec_core.models.predictions import Settings, predict
from csrec_core.models.train import Training

GENRES, EACH, LIBRARY, CHOSEN, EXPOSED = 5, 4, 6, 14, 10  # each: items of a genre
LEVEL, COMPLEMENT, SUBSTITUTE, FIRST, EFFECT = -0.9, 2.5, -1.5, 1.2, 0.4  # logits
TYPES = np.array([-0.8, 0.8])  # shifts of the logit, half of the users each
READERS = ("oracle", "filter", "filter of counts", "trees on counts", "lookup")


def decision_logits(item: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the logit of accepting an item by its genre and those of the library, without type and arm."""
    # Not symmetric in a and b: the pair the other way round asks for another genre.
    complement, substitute, first = item == (a + 2 * b + 1) % GENRES, item == a, item == c
    return LEVEL + COMPLEMENT * complement + SUBSTITUTE * substitute + FIRST * first


@dataclass(frozen=True, eq=False)
class World:
    """Users (U) with what they did: genres (U, T), library first, then chosen, then exposed.

    Attributes
    ----------
    genre, item, decision : int arrays (U, T)
    kind : int array (U,)
        The hidden type.
    """

    genre: np.ndarray
    item: np.ndarray
    decision: np.ndarray
    kind: np.ndarray

    @classmethod
    def draw(cls, users: int, *, seed: int) -> "World":
        """Draw `users` users; items come uniformly, whoever picks them."""
        rng = np.random.default_rng(seed)
        item = rng.integers(GENRES * EACH, size=(users, LIBRARY + CHOSEN + EXPOSED))
        genre, kind = item // EACH, rng.integers(len(TYPES), size=users)
        known = (genre[:, [place]] for place in (LIBRARY - 1, LIBRARY - 2, 0))
        logit = decision_logits(genre, *known) + TYPES[kind, None] + cls.arm()
        decision = (rng.random(item.shape) < expit(logit)).astype(int)
        decision[:, :LIBRARY] = 1
        return cls(genre, item, decision, kind)

    @staticmethod
    def arm() -> np.ndarray:
        """Return what the source of each slot (T,) adds to the logit."""
        return np.where(np.arange(LIBRARY + CHOSEN + EXPOSED) >= LIBRARY + CHOSEN, EFFECT, 0.0)

    def dataset(self) -> Dataset:
        """Return the log and the table of items."""
        users, length = self.item.shape
        log = pd.DataFrame({"user": np.repeat(np.arange(users), length), "item": self.item.ravel() + 1})
        own = np.arange(length) < LIBRARY + CHOSEN
        log["source"] = np.tile(np.where(own, SELF, SYSTEM), users)
        log["decision"] = self.decision.ravel()
        log["t"] = log.groupby(["user", "source"]).cumcount()
        number = np.arange(GENRES * EACH)
        items = pd.DataFrame({"item": number + 1, "genre": [f"genre {each}" for each in number // EACH]})
        return Dataset(validate_log(log), items=items)

    def filtered(self, prior: np.ndarray) -> np.ndarray:
        """Return P(accept) at the exposures by the system (U, EXPOSED), from all decisions before each.

        Parameters
        ----------
        prior : array (U, S)
            Chances of the states (`states`) before any decision, given the library.
        """
        a, b, c, kind = states()
        with np.errstate(divide="ignore"):
            belief, found = np.log(prior), []
        for slot in range(LIBRARY, self.genre.shape[1]):
            logit = decision_logits(self.genre[:, [slot]], a, b, c) + TYPES[kind] + self.arm()[slot]
            if slot >= LIBRARY + CHOSEN:
                found.append(
                    (np.exp(belief - logsumexp(belief, axis=1, keepdims=True)) * expit(logit)).sum(axis=1)
                )
            sign = 2 * self.decision[:, [slot]] - 1
            belief = belief - np.logaddexp(0, -sign * logit)
        return np.stack(found, axis=1)

    def prior_by_order(self, *, kind: bool = False) -> np.ndarray:
        """Return the chances (U, S) of the states for who reads the order, and with `kind` the type."""
        a, b, c, types = states()
        genre = self.genre[:, :LIBRARY, None]
        known = (genre[:, -1] == a) & (genre[:, -2] == b) & (genre[:, 0] == c)
        known = known & (types == self.kind[:, None]) if kind else known
        return known / known.sum(axis=1, keepdims=True)

    def prior_by_counts(self) -> np.ndarray:
        """Return the chances (U, S) of the states for who reads how often each genre is in the library."""
        a, b, c, _ = states()
        counts = (self.genre[:, :LIBRARY, None] == np.arange(GENRES)).sum(axis=1)
        left = counts[:, b] - (b == a)
        chance = (
            counts[:, a] * left * (counts[:, c] - (c == a) - np.int64(c == b))
        )  # drawn without putting back
        chance = np.maximum(chance, 0)
        return chance / chance.sum(axis=1, keepdims=True)


def states() -> np.ndarray:
    """Return a, b, c and the type of every state, (4, S)."""
    return np.array(list(product(range(GENRES), range(GENRES), range(GENRES), range(len(TYPES))))).T


def count_features(world: World) -> np.ndarray:
    """Return what counts tell before each exposure by the system, (U, EXPOSED, width)."""
    shown = np.eye(GENRES)[world.genre]
    library = shown[:, :LIBRARY].sum(axis=1)
    accepted = np.cumsum(shown * world.decision[..., None], axis=1) - shown * world.decision[..., None]
    rejected = np.cumsum(shown * (1 - world.decision[..., None]), axis=1) - shown * (
        1 - world.decision[..., None]
    )
    here = world.genre[..., None]
    own = [np.take_along_axis(part, here, axis=2) for part in (accepted, rejected)]
    library = np.broadcast_to(library[:, None], shown.shape)
    rate = accepted.sum(axis=2, keepdims=True) / np.maximum(np.arange(shown.shape[1]), 1)[:, None]
    parts = [here, library, np.take_along_axis(library, here, axis=2), accepted, rejected, *own, rate]
    return np.concatenate(parts, axis=2)[:, LIBRARY + CHOSEN :]


def trees_and_lookup(world: World, fold: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cross-fitted chances of boosted trees on counts, and of the items' own accept rates."""
    features, decision = count_features(world), world.decision[:, LIBRARY + CHOSEN :]
    item = world.item[:, LIBRARY + CHOSEN :]
    trees, lookup = np.empty(decision.shape), np.empty(decision.shape)
    for number in np.unique(fold):
        learn, held = fold != number, fold == number
        model = HistGradientBoostingClassifier(categorical_features=[0], early_stopping=True, random_state=0)
        model.fit(features[learn].reshape(-1, features.shape[2]), decision[learn].ravel())
        found = model.predict_proba(features[held].reshape(-1, features.shape[2]))[:, 1]
        trees[held] = found.reshape(-1, EXPOSED)
        shown = np.bincount(item[learn].ravel(), minlength=GENRES * EACH)
        taken = np.bincount(item[learn].ravel(), decision[learn].ravel(), minlength=GENRES * EACH)
        lookup[held] = ((taken + 1) / (shown + 2))[item[held]]
    return {"trees on counts": trees, "lookup": lookup}


def compare(decision: np.ndarray, readers: dict[str, np.ndarray], *, draws: int = 200) -> pd.DataFrame:
    """Return AUC and log loss of the readers (U, EXPOSED) and their differences from the trees, with intervals."""
    rng, base = np.random.default_rng(0), "trees on counts"
    samples = [np.arange(len(decision)), *rng.integers(len(decision), size=(draws, len(decision)))]
    scores = {"AUC": roc_auc_score, "log loss": log_loss}
    rows = {}
    for name, score in scores.items():
        found = np.array(
            [[score(decision[at].ravel(), part[at].ravel()) for part in readers.values()] for at in samples]
        )
        apart = found - found[:, [list(readers).index(base)]]
        lower, upper = np.quantile(apart[1:], [0.025, 0.975], axis=0)
        rows |= {
            name: found[0],
            f"{name}, over trees": apart[0],
            f"{name}, lower": lower,
            f"{name}, upper": upper,
        }
    return pd.DataFrame(rows, index=list(readers))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbones", nargs="*", default=["sasrec", "gru4rec"])
    options = parser.parse_args()
    world = World.draw(options.users, seed=options.seed)
    readers = {
        "oracle": world.filtered(world.prior_by_order(kind=True)),
        "filter": world.filtered(world.prior_by_order()),
        "filter of counts": world.filtered(world.prior_by_counts()),
    }
    fold = np.arange(options.users) % 2
    training = Training(epochs=options.epochs, patience=5, batch=64, rate=3e-3, seed=options.seed, threads=1)
    for backbone in options.backbones:
        hyper = {"hidden": options.hidden, "dropout": 0.1}
        settings = Settings(backbone=backbone, preference=training, csrec=training, hyper=hyper)
        cells = predict(world.dataset(), settings, folder=options.folder).cells
        fold = cells["fold"].to_numpy().reshape(-1, EXPOSED)[:, 0]
        for name, column in (("CSRec", "f"), ("f, free", "f_free"), ("f~", "f_tilde")):
            readers[f"{name}, {backbone}"] = cells[column].to_numpy().reshape(-1, EXPOSED)
    readers |= trees_and_lookup(world, fold)
    print(compare(world.decision[:, LIBRARY + CHOSEN :], readers).to_string(float_format="%.4f"))


if __name__ == "__main__":
    main()
