"""The one engine: learn the nuisances from some users, score every row with models of other users.

A log in memory is one part. A larger one goes part by part: counts of items are added up, some users are
drawn to learn from, and every part is scored by the same models (`csrec_core.effect.parts`).
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from csrec_core.effect.design import Design
from csrec_core.effect.folds import fold_of, hashes
from csrec_core.effect.item_counts import ITEM, LIFT, ItemCounts
from csrec_core.effect.nuisance import NETWORK, Model, choose_learner, fit_model
from csrec_core.effect.record import HISTORY, LIKENESS, WITH_ITEM, describe, item_vectors
from csrec_core.effect.rows import Clock, beside, find_clock
from csrec_core.effect.weights import TRIM, ItemChances, item_chances, row_weights

FOLDS = 4
LEARNED = 60_000  # rows that the nuisances learn from at most
BLOCK = 200_000  # rows whose designs are held in memory at once
USUAL = "usual_chance"  # a feature of the arm's chance of an item, and of nothing else
BOUNDS = 1e-4  # a modelled chance of an item is kept within these factors of an even share


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a whole log before any model: the same for each of its parts."""

    clock: Clock
    binary: bool  # whether every decision is 0 or 1
    span: float  # the largest decision less the smallest, of all arms; 1 where they are alike
    rate: float  # the mean decision of both arms
    rows: int  # exposures of both arms
    users: int  # users of both arms
    catalogue: int  # items that could be exposed

    @property
    def middle(self) -> float:
        """What a decision above counts as accepted."""
        return 0.5 if self.binary else self.rate

    def describe(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Describe rows of whole users by what lies before each (`csrec_core.effect.record.describe`)."""
        return describe(rows, self.clock, rate=self.rate, vectors=item_vectors(rows))


def look_over(rows: pd.DataFrame, *, catalogue: int | None = None) -> Known:
    """Look over the rows of a log (`lay_rows`)."""
    own, decision = rows["arm"].to_numpy() >= 0, rows["decision"].to_numpy()
    binary, span = bool(np.isin(decision, (0, 1)).all()), float(np.ptp(decision)) or 1.0
    size = int(own.sum()), rows.loc[own, "user"].nunique(), max(catalogue or 0, rows["item"].nunique())
    return Known(find_clock(rows), binary, span, float(decision[own].mean()), *size)


def learned_rows(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """Return which rows are of the users to learn from, (rows,) bool: all, or those of some `LEARNED` exposures."""
    if len(rows) <= LEARNED:
        return np.ones(len(rows), dtype=bool)
    return hashes(rows["user"].to_numpy(), seed, 1) < np.uint64(LEARNED / len(rows) * 2**64)


@dataclass(frozen=True, eq=False)
class Engine:
    """Nuisances that were learned once, with one split of users into folds.

    `counts` are by the folds of this split, `covariates` the columns beside the log, `learners` the learner of each
    nuisance. `models` are by fold and nuisance: "arm", "m0", "m1", and "chance" where the arm's chances of an item
    vary.
    """

    design: Design
    known: Known
    counts: ItemCounts
    seed: int
    covariates: tuple[str, ...] = ()
    learners: dict[str, str] = field(default_factory=dict)
    models: dict[int, dict[str, Model]] = field(default_factory=dict)

    @classmethod
    def learn(
        cls,
        rows: pd.DataFrame,
        features: pd.DataFrame,
        design: Design,
        known: Known,
        counts: ItemCounts,
        *,
        seed: int,
        learners: dict[str, str] | None,
    ) -> "Engine":
        """Learn the nuisances from rows of whole users.

        Of many rows (of `lay_rows`) only those of some users are read. `features` are `Known.describe` of the rows,
        and the logits of networks where these are trained. A nuisance that `learners` has nothing for gets its learner
        here, by the loss on the users of the first fold.
        """
        engine = cls(design, known, counts, seed, tuple(map(str, beside(rows))))
        if not (drawn := learned_rows(rows, seed)).all():
            rows, features = rows[drawn].reset_index(drop=True), features[drawn].reset_index(drop=True)
        fold = fold_of(rows["user"].to_numpy(), counts.folds, seed)
        chances = engine.chances(rows)
        learners, models, item = dict(learners or {}), {}, rows["item"].to_numpy()
        with threadpool_limits(1):  # sums come in the same order everywhere
            for held in range(counts.folds):
                told = engine._told(features, item, fold, held, chances.kind)
                models[held] = engine._fit(rows, told, chances, fold, held, learners)
        return replace(engine, learners=learners, models=models)

    def chances(self, rows: pd.DataFrame) -> ItemChances:
        """Return the items' chances at the rows, as logged."""
        return item_chances(rows, self.counts, self.design, catalogue=self.known.catalogue)

    def columns(self, nuisance: str, kind: str) -> list[str]:
        """Return the features that a nuisance may read.

        The arm as a whole is compared without its items, which are part of it, and where every user is of one
        arm without what it led to before. Where the items' chances are logged, preference for them is
        balanced by these, and the model of the arm has only what they do not tell: the history and the
        columns beside the log.
        """
        clock = list(self.known.clock.columns)
        of_user = [name for name in self.covariates if not name.startswith(("item: ", "missing: item: "))]
        if self.design.estimand == "arm":
            return [*([] if self.known.clock.between else HISTORY), *of_user, *clock]
        if nuisance == "arm" and kind != "none":
            return [*HISTORY, *of_user, *clock]
        own = ["step"] if nuisance == "m1" and "step" not in clock else []
        own += [USUAL] if nuisance == "chance" else []
        # Where one phase follows the other, how often an item was shown counts up over both: among the baseline's rows
        # it tells what a user comes back to, among the arm's what the arm repeats as well. On record it is the same;
        # there it is counted against what a record of that length holds.
        phased = self.known.clock.phased
        own += ["shown_before"] if phased and nuisance == "m1" else []
        repeats = LIFT if phased else "shown_before"
        return [*HISTORY, *WITH_ITEM, repeats, *LIKENESS, NETWORK, *ITEM, *self.covariates, *clock, *own]

    def score(self, rows: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
        """Score rows of whole users, each by models that saw neither their users nor what these decided.

        Returns (rows,): `place`, `user`, `item`, `t`, `arm`, `decision`, `step` (from 1), `fold`, `e` (the arm's
        chance), `m1`, `m0`, the weights `tau`, `w1`, `w0`, `trimmed`; and `chance`, the log of the arm's modelled
        chance of the item against an even share, where its chances vary.
        """
        fold = fold_of(rows["user"].to_numpy(), self.counts.folds, self.seed)
        chances = self.chances(rows)
        found = {name: np.full(len(rows), np.nan) for name in ("arm", "m1", "m0", "chance")}
        item = rows["item"].to_numpy()
        for held, models in self.models.items():
            own = np.flatnonzero(fold == held)
            for start in range(0, len(own), BLOCK):
                some = own[start : start + BLOCK]
                table = features.take(some).reset_index(drop=True)
                table = self._told(table, item[some], fold[some], held, chances.kind)
                for name, model in models.items():
                    found[name][some] = model.predict(self._read(table, name, chances.kind))
        if chances.kind == "varying":
            even = 1 / self.known.catalogue
            other = np.clip(np.exp(found["chance"]), BOUNDS, 1 / BOUNDS) * even
            chances = replace(chances, other=np.where(rows["arm"] == 0, other, np.nan))
        e, given = self.arm_chance(rows, found["arm"])
        trim = 0.0 if given else TRIM
        weights = row_weights(rows, chances, e, self.design, catalogue=self.known.catalogue, trim=trim)
        kept = rows[["place", "user", "item", "t", "arm", "decision"]].reset_index(drop=True)
        step = features["step"].to_numpy().astype(np.int32) + 1
        kept = kept.assign(step=step, fold=fold, e=e, m1=found["m1"], m0=found["m0"])
        if chances.kind == "varying":
            kept["chance"] = found["chance"]
        return pd.concat([kept, weights], axis=1)

    def arm_chance(self, rows: pd.DataFrame, modelled: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the chance of the arm at each row, (rows,), and whether it is known: logged or declared."""
        design = self.design
        if design.estimand != "arm":
            return modelled, False
        if design.arm_propensity is not None:
            one, other = design.chance(design.arm), design.chance(design.baseline)
            return np.full(len(rows), one / (one + other)), True
        logged, arm = rows["arm_propensity"].to_numpy(dtype=float), rows["arm"].to_numpy()
        if np.isnan(logged[arm >= 0]).any():
            return modelled, False
        return np.where(arm == 1, logged, 1 - logged), True

    def _told(
        self, features: pd.DataFrame, item: np.ndarray, fold: np.ndarray, held: int, kind: str
    ) -> pd.DataFrame:
        """Return the features beside what is told of the rows' items (`ItemCounts.tell`, `usual_chance`, `lift`)."""
        told = self.counts.tell(item, fold, held)
        if kind == "varying":
            told[USUAL] = self.counts.usual_chance(item)
        if self.known.clock.phased:
            named = told if "fame" in told else self.counts.measure(item, fold, held)
            told[LIFT] = self.counts.lift(features, named["fame"])
        return pd.concat([features, told], axis=1)

    def _read(self, table: pd.DataFrame, nuisance: str, kind: str) -> pd.DataFrame:
        """Return the columns of a nuisance that the table has; few items come as columns of their own."""
        columns = self.columns(nuisance, kind)
        names = [name for name in columns if name in table.columns]
        if "appeal" in columns:
            names += [name for name in table.columns if str(name).startswith("item = ")]
        return table[names]

    def _fit(self, rows, table, chances, fold, held, learners) -> dict[str, Model]:
        """Fit the nuisances for one fold; choose the learners where they are not chosen yet."""
        arm, decision = rows["arm"].to_numpy(), rows["decision"].to_numpy()
        inside = fold != held
        nil, ratio = arm == 0, np.ones(len(rows))
        if chances.kind in ("uniform", "by item", "frequency"):
            # Weighted by the items' chances the baseline's items fall as the arm's; the model of the arm finds
            # what is left. Its odds multiply the same ratio in the weights.
            ratio[nil] = np.nan_to_num(chances.other[nil] / chances.own[nil])
            ratio[nil] /= max(ratio[nil].mean(), 1e-300)
        wanted = {
            # Read where the arm exposes, so learned there: unweighted it would extrapolate from what was chosen.
            "m0": (nil, decision, ratio, self.known.binary),
            "m1": (arm == 1, decision, np.ones(len(rows)), self.known.binary),
            "arm": (arm >= 0, (arm == 1).astype(float), ratio, True),
        }
        if chances.kind == "varying":
            even = np.log(np.maximum(chances.own, 1e-12) * self.known.catalogue)
            wanted["chance"] = (arm == 1, even, np.ones(len(rows)), False)
        models = {}
        for name, (side, target, weight, binary) in wanted.items():
            features = self._read(table, name, chances.kind)
            used = side & inside
            if name == "arm" and chances.kind != "none":
                learners[name] = "logistic"  # trees would fit the few rows that carry the weight
            if name not in learners:
                own = features[side].reset_index(drop=True)
                options = {"weight": weight[side], "binary": binary, "odds": name == "arm", "seed": self.seed}
                if name == "chance":
                    options["learners"] = ("logistic", "fine")
                users = rows["user"].to_numpy()[side]
                learners[name] = choose_learner(own, target[side], ~inside[side], users, **options)
            options = {"weight": weight[used], "learner": learners[name], "binary": binary}
            models[name] = fit_model(features[used], target[used], seed=self.seed, **options)
        return models
