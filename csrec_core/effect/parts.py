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

import numpy as np
import pandas as pd
import sklearn

from csrec_core.cluster import run_tasks, work_place
from csrec_core.data.log import FEATURE, Dataset
from csrec_core.data.mssd.part import identity
from csrec_core.data.mssd.schema import CONTEXTS
from csrec_core.data.parted import OTHER, PartedLog
from csrec_core.effect.design import Design, find_design
from csrec_core.effect.engine import FOLDS, Engine, Known, look_over
from csrec_core.effect.estimate import (
    Effect,
    check_arms,
    check_numbers,
    conclude,
    deal_seeds,
    deals_for,
    learn_engines,
    outcome_name,
)
from csrec_core.effect.identification import Overlap, measure_overlap
from csrec_core.effect.score import Sums
from csrec_core.effect.sums import group_rows, item_fifths, split_sums
from csrec_core.effect.table import ItemCounts, fold_of, hashes, lay_rows, shares_clock, table_moments
from csrec_core.errors import InputError
from csrec_core.files import hash_files, whole_file

__all__ = ["DRAWN", "SHARED", "estimate_parts"]

DRAWN = 200_000  # exposures of the users that are drawn to learn from, and to be audited
LAST_POSITION = 20  # of MSSD's sessions; later ones are counted with it
#: The groupings of MSSD beside those of every log.
MSSD_GROUPS = {
    "position": tuple(str(t) for t in range(1, LAST_POSITION + 1)),
    "premium": ("no", "yes"),
    "hour": ("0 to 5", "6 to 11", "12 to 17", "18 to 23"),
    "context": CONTEXTS,
}
SHARED = ("context",)  # groupings whose groups hold one arm only: they meet the baseline of all


@dataclass(frozen=True, eq=False)
class _Glance:
    """What a part shows before there is a design: by arm, exposures and decisions; its columns and items."""

    arms: pd.DataFrame  # by source: rows, users (whole in a part), total, least, most, binary
    columns: tuple[str, ...]
    items: np.ndarray
    twice: bool
    several: bool


def _look(log: PartedLog, part: str) -> _Glance:
    found = log.read(part).log
    decision = found["outcome" if "outcome" in found.columns else "decision"].astype(float)
    arms = decision.groupby(found["source"].astype(str)).agg(["size", "sum", "min", "max"])
    arms["binary"] = decision.isin((0, 1)).groupby(found["source"].astype(str)).all()
    return _Glance(arms, tuple(map(str, found.columns)), found["item"].unique(), *shares_clock(found))


@dataclass(frozen=True, eq=False)
class _Plan:
    """What every part is told."""

    log: PartedLog
    design: Design
    shared: bool
    moments: dict[str, tuple[float, float]]
    folds: int
    seeds: tuple[int, ...]

    def lay(self, dataset: Dataset) -> pd.DataFrame:
        """Lay out the rows of a part, or of some users."""
        return lay_rows(dataset, self.design, shared=self.shared, moments=self.moments)


def _count(part: str, plan: _Plan, share: float) -> tuple[list[ItemCounts], pd.DataFrame, int]:
    """Count the items of a part for each deal; return also the log of the users drawn, and how many there are."""
    dataset = plan.log.read(part)
    rows = plan.lay(dataset)
    user = rows["user"].to_numpy()
    counts = [ItemCounts.count(rows, fold_of(user, plan.folds, seed), plan.folds) for seed in plan.seeds]
    own = rows.loc[rows["arm"] >= 0, "user"].nunique()
    return counts, dataset.log[_drawn(dataset.log["user"].to_numpy(), share, plan.seeds[0])], own


def _drawn(user: np.ndarray, share: float, seed: int) -> np.ndarray:
    if share >= 1:
        return np.ones(len(user), dtype=bool)
    return hashes(user, seed, 2) < np.uint64(share * (2**64 - 1))


def _score(part: str, target: Path, plan: _Plan, engines: list[Engine], columns: list[str], fifths):
    """Score and sum a part, unless that is kept; return its sums by deal, and what tells its overlap."""
    if target.exists():
        return _read_kept(target)
    dataset = plan.log.read(part)
    # A covariate that is missing nowhere in this part has no column of its own here.
    rows = plan.lay(dataset).reindex(columns=columns, fill_value=0.0)
    features = engines[0].describe(rows)
    known = engines[0].known
    codes, _ = group_rows(rows, features, known, fifths)
    if plan.log.mssd:
        codes |= _mssd_codes(dataset.log.iloc[rows["place"]])
    sums, overlap, first = [], {}, None
    for engine in engines:
        scores = engine.score(rows, features=features)
        sums.append(split_sums(scores, known, codes))
        if first is None:
            first, overlap = scores, _overlap_counts(scores)
    with whole_file(target.with_suffix(".parquet")) as temporary:
        first.to_parquet(temporary, index=False)
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


def _overlap_counts(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return by side (baseline, arm) rows, users, decisions summed, rows trimmed; and the largest user's w0."""
    sides = [scores[scores["arm"] == side] for side in (0, 1)]
    table = [[len(s), s["user"].nunique(), s["decision"].sum(), s["trimmed"].sum()] for s in sides]
    largest = scores["w0"].groupby(scores["user"].to_numpy()).sum().max() if len(scores) else 0.0
    return {"sides": np.array(table, dtype=float), "largest": np.array(largest)}


def _mssd_codes(log: pd.DataFrame) -> dict[str, tuple[np.ndarray, int]]:
    codes = {
        "position": np.minimum(log["t"].to_numpy(), LAST_POSITION) - 1,
        "premium": log[f"{FEATURE}premium"].to_numpy().astype(int),
        "hour": log[f"{FEATURE}hour_of_day"].to_numpy().astype(int) // 6,
        "context": pd.Index(CONTEXTS).get_indexer(log["context_type"].astype(str)),
    }
    return {name: (code, len(MSSD_GROUPS[name])) for name, code in codes.items()}


def estimate_parts(
    log: PartedLog,
    out: str | Path,
    *,
    design: Design | None = None,
    scheduler: str = "",
    workers: int = 1,
    folds: int = FOLDS,
    splits: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    drawn: int = DRAWN,
    **declared,
) -> tuple[Effect, Dataset]:
    """Estimate the effect over a log in parts; see `csrec_core.effect.estimate.estimate_effect`.

    Parameters
    ----------
    out : path
        Keeps sums and scores of each part, in a folder named by all that they depend on: a run that was cut
        short goes on. The result does not depend on who does the work.
    scheduler, workers
        See `csrec_core.cluster.run_tasks`. The workers must see both folders under the same paths.
    drawn : int
        Exposures, about, of the users that are drawn to learn from.

    Returns
    -------
    effect : Effect
        Of all rows, which it does not hold.
    sample : Dataset
        The users that were drawn, for checks that need rows.
    """
    check_numbers(folds, splits, level)
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
        arms, design = _design(log, glances, design, declared)
        total = int(arms["size"].sum())
        rows_of = [int(arms["size"].get(name, 0)) for name in (design.baseline, design.arm)]
        check_arms(design, rows_of, log.folder.name)
        seeds = tuple(deal_seeds(splits or deals_for(sum(rows_of)), seed))
        twice, several = (any(getattr(one, name) for one in glances) for name in ("twice", "several"))
        plan = _Plan(log, design, several and not twice, _moments(log), folds, seeds)
        counted = each(_count, {part: (part,) for part in parts}, plan, drawn / total)
        counts = [reduce(ItemCounts.add, deal) for deal in zip(*(one[0] for one in counted), strict=True)]
        sample = _sample(log, [one[1] for one in counted])
        rows = plan.lay(sample)
        known = _known(rows, design, arms, glances, sum(one[2] for one in counted), log)
        engines, features = learn_engines(rows, design, known, counts, folds=folds, seeds=seeds)
        fifths = item_fifths(counts[0])
        kept = out / _key(plan, drawn)
        tasks = {part: (part, kept / f"{part}.npz") for part in parts}
        scored = each(_score, tasks, plan, engines, list(rows.columns), fifths)
    sums = [reduce(Sums.add, deal, Sums()) for deal in zip(*(one[0] for one in scored), strict=True)]
    scores = engines[0].score(rows, features=features)
    overlap = _overlap(measure_overlap(scores, design), sums[0], [one[1] for one in scored], counts[0])
    _, names = group_rows(rows, features, known, fifths)
    names |= MSSD_GROUPS if log.mssd else {}
    effect = conclude(
        rows,
        features,
        engines,
        scores,
        sums,
        overlap,
        level=level,
        name=log.folder.name,
        groups=names,
        seed=seed,
        outcome=outcome_name(log.options),
    )
    return effect, sample


def _design(
    log: PartedLog, glances: list[_Glance], design: Design | None, declared: dict
) -> tuple[pd.DataFrame, Design]:
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
    if design is None:
        names = [name for name in arms.index if not (log.mssd and name == OTHER)]
        # The log in small: the more exposures an arm has, the more rows stand for it.
        small = pd.DataFrame({"source": np.repeat(names, np.arange(1, len(names) + 1))})
        items = reduce(np.union1d, (one.items for one in glances))[:2]
        small = small.reindex(columns=glances[0].columns).assign(source=small["source"])
        tables = {name: log.table(name, np.zeros(0, dtype=np.int64)) for name in ("users", "items")}
        design = find_design(Dataset(small.assign(item=np.resize(items, len(small))), **tables), **declared)
    return arms, design


def _moments(log: PartedLog) -> dict[str, tuple[float, float]]:
    found = {}
    for name, column in log.columns():
        found |= table_moments(**{"users": None, "items": None, name: column})
    return found


def _sample(log: PartedLog, drawn: list[pd.DataFrame]) -> Dataset:
    """Put the log of the users that were drawn together."""
    users = pd.concat([pd.Series(one["user"].unique()) for one in drawn], ignore_index=True)
    if users.duplicated().any():
        user = users[users.duplicated()].iloc[0]
        raise InputError(f"{log.folder}: user {user} has rows in two parts; expected each user in one")
    found = pd.concat(drawn, ignore_index=True)
    items, users = (log.table(name, found[name[:-1]].unique()) for name in ("items", "users"))
    return Dataset(found, items=items, users=users, name=log.folder.name)


def _known(rows, design, arms, glances, users, log) -> Known:
    """Return what is known of the log: of all rows, but the clock, which the drawn users tell."""
    own = arms.loc[[design.baseline, design.arm]]
    seen = len(reduce(np.union1d, (one.items for one in glances)))
    return replace(
        look_over(rows),
        binary=bool(arms["binary"].all()),
        span=float(arms["max"].max() - arms["min"].min()) or 1.0,
        rate=float(own["sum"].sum() / own["size"].sum()),
        share=float(own["size"].iloc[1] / own["size"].sum()),
        rows=int(own["size"].sum()),
        users=users,
        catalogue=max(log.listed, seen),
    )


def _overlap(drawn: Overlap, sums: Sums, parts: list[dict], counts: ItemCounts) -> Overlap:
    """Return the overlap of all rows; how well a model tells the arms apart (AUC) is of those drawn."""
    rows, users, decisions, trimmed = np.sum([one["sides"] for one in parts], axis=0).T
    total, cross = sums["all"], sums["all cross"]
    worth = {
        name: float(total[at] ** 2 / max(cross[at, at], 1e-300)) for name, at in (("arm", 3), ("baseline", 5))
    }
    often, shown = counts.rows.sum(axis=0).T
    support = drawn.support if np.isnan(drawn.support) else float(shown[often > 0].sum() / shown.sum())
    return replace(
        drawn,
        **worth,
        largest=float(max(one["largest"] for one in parts) / max(total[5], 1e-300)),
        trimmed=float(trimmed[1] / rows[1]),
        support=support,
        rows=tuple(map(int, rows)),
        users=tuple(map(int, users)),
        accepted=tuple(map(float, decisions / rows)),
    )


def _key(plan: _Plan, drawn: int) -> str:
    """Return the hash of all that the sums of a part depend on: code, parts, tables, design and deals."""
    log = plan.log
    files = [path for part in log.parts for path in log.files(part)]
    files += [path for path in (log.folder / "items.parquet", log.folder / "users.parquet") if path.is_file()]
    facts = [
        hash_files(Path(__file__).parent.glob("*.py")),
        sklearn.__version__,
        str(log.options),
        plan.design.to_dict(),
    ]
    facts += [[identity(path) for path in files], plan.folds, plan.seeds, drawn]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
