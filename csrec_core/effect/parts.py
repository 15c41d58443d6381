"""The effect over a log in parts, each of whole users: in bounded memory, on one process or many.

A log in memory is a log of one part, so there is one engine (`csrec_core.effect.engine`). Every part is looked
over, and its items are counted; users are drawn to learn from; every part is scored by the same models and
summed. What is summed is kept, so that a run that was cut short goes on.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from csrec_core.cluster import run_tasks, work_place
from csrec_core.data.log import Dataset, order_clues, order_column
from csrec_core.data.mssd.part import identity
from csrec_core.data.parted import PartedLog
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import FOLDS, Engine, Known, look_over
from csrec_core.effect.estimate import conclude, learn_engines, split_seeds
from csrec_core.effect.folds import fold_of, hashes
from csrec_core.effect.item_counts import ItemCounts
from csrec_core.effect.overlap import measure_overlap, tally_overlap
from csrec_core.effect.result import Effect
from csrec_core.effect.rows import lay_rows, table_moments
from csrec_core.effect.score import Sums, group_rows, item_fifths, split_sums
from csrec_core.errors import InputError
from csrec_core.files import hash_files, whole_file

DRAWN = 200_000  # exposures of the users that are drawn to learn from, and to be audited


@dataclass(frozen=True, eq=False)
class _Glance:
    """What a part shows before there is a design."""

    arms: pd.DataFrame  # by source, of the decisions: size, sum, min, max, binary
    columns: tuple[str, ...]
    items: np.ndarray
    clues: tuple[bool, bool, bool]  # to the order of its rows


def _look(log: PartedLog, part: str) -> _Glance:
    found = log.read(part).log
    decision = found["outcome" if "outcome" in found.columns else "decision"].astype(float)
    arms = decision.groupby(found["source"].astype(str)).agg(["size", "sum", "min", "max"])
    arms["binary"] = decision.isin((0, 1)).groupby(found["source"].astype(str)).all()
    return _Glance(arms, tuple(map(str, found.columns)), found["item"].unique(), order_clues(found))


@dataclass(frozen=True, eq=False)
class _Plan:
    """What every part is told."""

    log: PartedLog
    design: Design
    order: str  # the column that tells it
    moments: dict[str, tuple[float, float]]
    folds: int
    seeds: tuple[int, ...]

    def lay(self, dataset: Dataset) -> pd.DataFrame:
        """Lay out the rows of a part, or of some users."""
        return lay_rows(dataset, self.design, order=self.order, moments=self.moments)


def _count_items(part: str, plan: _Plan, share: float) -> tuple[list[ItemCounts], pd.DataFrame, int]:
    """Count the items of a part for each split; return also the log of the users drawn, and how many there are."""
    dataset = plan.log.read(part)
    rows = plan.lay(dataset)
    user = rows["user"].to_numpy()
    counts = [ItemCounts.count(rows, fold_of(user, plan.folds, seed), plan.folds) for seed in plan.seeds]
    drawn = hashes(dataset.log["user"].to_numpy(), plan.seeds[0], 2) <= np.uint64(min(1, share) * (2**64 - 1))
    return counts, dataset.log[drawn], rows.loc[rows["arm"] >= 0, "user"].nunique()


def _score_part(part: str, target: Path, plan: _Plan, engines: list[Engine], columns: list[str], fifths):
    """Score and sum a part, unless that is kept; return its sums by split, and what tells its overlap."""
    if target.exists():
        return _read_kept(target)
    # A covariate that is missing nowhere in this part has no column of its own here.
    rows = plan.lay(plan.log.read(part)).reindex(columns=columns, fill_value=0.0)
    known = engines[0].known
    features = known.describe(rows)
    codes = group_rows(rows, features, known, fifths)[0]
    sums, overlap = [], {}
    for number, engine in enumerate(engines):
        scores = engine.score(rows, features)
        sums.append(split_sums(scores, known, codes))
        if number == 0:
            overlap = tally_overlap(scores)
            with whole_file(target.with_suffix(".parquet")) as temporary:
                scores.to_parquet(temporary, index=False)
    with whole_file(target) as temporary, temporary.open("wb") as stream:
        flat = {f"{number} {name}": value for number, one in enumerate(sums) for name, value in one.items()}
        np.savez(stream, allow_pickle=False, **flat, **overlap)
    return sums, overlap


def _read_kept(path: Path) -> tuple[list[Sums], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as found:
        sums: dict[int, Sums] = {}
        for name in found.files:
            number, _, rest = name.partition(" ")
            if number.isdigit():
                sums.setdefault(int(number), Sums())[rest] = found[name]
        return list(sums.values()), {name: found[name] for name in ("sides", "largest")}


def estimate_parts(
    log: PartedLog,
    out: str | Path,
    *,
    scheduler: str = "",
    workers: int = 1,
    folds: int = FOLDS,
    splits: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    drawn: int = DRAWN,
    **declared: Any,
) -> tuple[Effect, Dataset]:
    """Estimate the effect over a log in parts; see `csrec_core.effect.estimate.estimate_effect`.

    In `out`, sums and scores of each part are kept, in a folder named by all that they depend on: a run that was cut
    short goes on. The result does not depend on who does the work (`scheduler`, `workers`: see
    `csrec_core.cluster.run_tasks`); the workers must see both folders under the same paths. The users to learn from
    have about `drawn` exposures.

    Returns the effect of all rows, which it does not hold, and the users that were drawn, for checks that need rows.
    """
    out, parts = Path(out).expanduser().resolve() / "parts", log.parts
    with work_place(scheduler, min(workers, len(parts))) as address:

        def each(function, tasks, *common):
            found = {}
            for part, result in run_tasks(
                function, tasks, common=common, scheduler=address, label=function.__name__[1:]
            ):
                if isinstance(result, InputError):
                    raise InputError(f"{part}: {result}")
                found[part] = result
            return [found[part] for part in parts]  # in the order of their names, whoever was done first

        glances = each(_look, {part: (log, part) for part in parts})
        arms, design = _design(log, glances, declared)
        exposures = [int(arms["size"].get(name, 0)) for name in (design.baseline, design.arm)]
        name, about = log.folder.name, {"folds": folds, "seed": seed}
        seeds = tuple(split_seeds(design, exposures, name, splits=splits, level=level, **about))
        order = order_column(one.clues for one in glances)
        plan = _Plan(log, design, order, table_moments(log.columns()), folds, seeds)
        counted = each(_count_items, {part: (part,) for part in parts}, plan, drawn / int(arms["size"].sum()))
        counts = [reduce(ItemCounts.add, split) for split in zip(*(one[0] for one in counted), strict=True)]
        sample = _sample(log, [one[1] for one in counted])
        rows = plan.lay(sample)
        known = _what_is_known(rows, design, arms, glances, sum(one[2] for one in counted), log)
        features = known.describe(rows)
        tables = [features] * len(seeds)
        engines = learn_engines(rows, tables, design, known, counts, seeds=seeds)
        fifths, kept = item_fifths(counts[0]), out / _key(plan, drawn)
        tasks = {part: (part, kept / f"{part}.npz") for part in parts}
        scored = each(_score_part, tasks, plan, engines, list(rows.columns), fifths)
    sums = [reduce(Sums.add, split, Sums()) for split in zip(*(one[0] for one in scored), strict=True)]
    scores = engines[0].score(rows, features)
    overlap = measure_overlap([one[1] for one in scored], sums[0], counts[0], scores, design)
    names = group_rows(rows, features, known, fifths)[1]
    others: dict[str, Any] = {"level": level, "name": name, "groups": names, "seed": seed}
    return conclude(rows, features, engines, scores, sums, overlap, read=log.options, **others), sample


def _design(log: PartedLog, glances: list[_Glance], declared: dict) -> tuple[pd.DataFrame, Design]:
    """Add up the arms of all parts; return them and the design, as `find_design` finds it in memory."""
    for part, one in zip(log.parts, glances, strict=True):
        if one.columns != glances[0].columns:
            odd = sorted(set(one.columns) ^ set(glances[0].columns)) or ["their order"]
            raise InputError(
                f"{part} and {log.parts[0]} differ in columns, {odd[0]}; expected the same in each part"
            )
    by_arm = pd.concat([one.arms for one in glances]).groupby(level=0)
    how = {"size": "sum", "sum": "sum", "min": "min", "max": "max", "binary": "all"}
    arms = by_arm.agg(how).sort_values("size", kind="stable")
    # The log in small: the more exposures an arm has, the more rows stand for it.
    small = pd.DataFrame({"source": np.repeat(arms.index, np.arange(1, len(arms) + 1))})
    items = reduce(np.union1d, (one.items for one in glances))[:2]
    small = small.reindex(columns=glances[0].columns).assign(source=small["source"])
    users, listed = (log.table(name, np.zeros(0, dtype=np.int64)) for name in ("users", "items"))
    some = Dataset(small.assign(item=np.resize(items, len(small))), users=users, items=listed)
    return arms, find_design(some, **declared)


def _sample(log: PartedLog, drawn: list[pd.DataFrame]) -> Dataset:
    """Put the log of the users that were drawn together."""
    users = pd.concat([pd.Series(one["user"].unique()) for one in drawn], ignore_index=True)
    if users.duplicated().any():
        user = users[users.duplicated()].iloc[0]
        raise InputError(f"{log.folder}: user {user} has rows in two parts; expected each user in one")
    found = pd.concat(drawn, ignore_index=True)
    items, users = (log.table(name, found[name[:-1]].unique()) for name in ("items", "users"))
    return Dataset(found, items=items, users=users, name=log.folder.name)


def _what_is_known(rows, design, arms, glances, users, log) -> Known:
    """Return what is known of the log: of all rows, but the clock, which the drawn users tell."""
    own = arms.loc[[design.baseline, design.arm]]
    seen = len(reduce(np.union1d, (one.items for one in glances)))
    return replace(
        look_over(rows),
        binary=bool(arms["binary"].all()),
        span=float(arms["max"].max() - arms["min"].min()) or 1.0,
        rate=float(own["sum"].sum() / own["size"].sum()),
        rows=int(own["size"].sum()),
        users=users,
        catalogue=max(log.listed, seen),
    )


def _key(plan: _Plan, drawn: int) -> str:
    """Return the hash of all that the sums of a part depend on: code, parts, tables, design and splits."""
    log = plan.log
    files = [log.file(part) for part in log.parts]
    files += [path for path in (log.folder / "items.parquet", log.folder / "users.parquet") if path.is_file()]
    code = hash_files(Path(__file__).parent.glob("*.py")), sklearn.__version__
    facts = [*code, str(log.options), plan.design.to_dict(), [identity(path) for path in files]]
    facts += [plan.folds, plan.seeds, drawn]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
