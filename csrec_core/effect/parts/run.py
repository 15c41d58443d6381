"""The stages in a row: from a folder that `csrec data mssd` wrote to `effect.csv` and `effect.json`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import sklearn
from threadpoolctl import threadpool_limits

from csrec_core.cluster import work_place
from csrec_core.data.log import SOURCES
from csrec_core.data.mssd.part import identity, parts_of, write_json
from csrec_core.data.mssd.sessions import draw_users
from csrec_core.effect.contrast import interval
from csrec_core.effect.estimators import GAMMA
from csrec_core.effect.overlap import TRIM, WEIGHTS, overlap_warnings
from csrec_core.effect.parts import combine
from csrec_core.effect.parts.features import draw_part
from csrec_core.effect.parts.items import add_up, tally_part
from csrec_core.effect.parts.models import fit_fold
from csrec_core.effect.parts.score import score_part
from csrec_core.effect.parts.stages import Stages, digest, key_of
from csrec_core.effect.parts.sums import Sums, sum_part
from csrec_core.errors import InputError
from csrec_core.files import hash_files, whole_file

__all__ = ["PartsEffect", "estimate_parts"]

FEWEST = 20  # sessions with rows of a source
DRAWN = 50_000
REPLICATES = 200
FIFTHS = (0.2, 0.4, 0.6, 0.8)
UNKNOWN = (
    "Tastes are known only through the history: the tracks that listeners chose themselves say more of their "
    "tastes than that, so the effect at fixed history is not identified exactly, and this estimate may be "
    "biased."
)


@dataclass(frozen=True, eq=False)
class PartsEffect:
    """The mean effect of recommending over a folder.

    Attributes
    ----------
    table : DataFrame
        `grouping`, `group`, `effect`, `lower`, `upper`, `error`, `exposures` (the system's, in use), as
        in `effect.csv`.
    summary : dict
        As in `effect.json`: `overall` and `observed` (the contrast of the accept rates) with interval,
        `bootstrap`, `band`, `trend` (by position), `two_model` (mean of f - f~), `overlap`, `identified`
        (False: these logs publish no tastes), counts, options, and `inputs`, the hash of the folder's tables.
    """

    table: pd.DataFrame
    summary: dict

    def __str__(self) -> str:
        found, seen, share = (self.summary[name] for name in ("overall", "observed", "overlap"))

        def shown(name: dict) -> str:
            return f"{name['effect']:+.4f} [{name['lower']:+.4f}, {name['upper']:+.4f}]"

        return (
            f"That the system chose the track changes acceptance by {shown(found)} at its exposures, in "
            f"{self.summary['sessions']:,} sessions with {self.summary['system_rows']:,} exposures by the "
            f"system and {self.summary['self_rows']:,} self-chosen, which weighted are worth "
            f"{share['ess']:,.0f}; {share['trimmed']:.1%} of the system's are left out. The accept rates as "
            f"observed differ by {shown(seen)}. {' '.join(self.summary['warnings'])}"
        )


def estimate_parts(
    folder: str | Path,
    out: str | Path,
    *,
    scheduler: str = "",
    workers: int = 1,
    seed: int = 0,
    folds: int = 5,
    drawn: int = DRAWN,
    trim: float = TRIM,
    level: float = 0.95,
    replicates: int = REPLICATES,
) -> PartsEffect:
    """Estimate the mean effect of recommending over all sessions of a folder in parts.

    Doubly robust and cross-fitted over sessions; the weights are `exposed` of
    `csrec_core.effect.overlap.overlap_weights`. What is done is kept in `out`, and a run that was cut short
    goes on; the results do not depend on who does the work, nor in what order.

    Parameters
    ----------
    folder : path
        That `csrec_core.data.mssd.ingest.ingest` wrote.
    out : path
        Gets `effect.csv`, `effect.json`, `scores/<part>.parquet` and what leads to them.
    scheduler, workers
        See `csrec_core.cluster.run_tasks`. The workers must see both folders under the same paths.
    seed : int
        Of the folds, the draw, the trees and the bootstrap.
    folds : int
        At least 2.
    drawn : int
        Sessions that the nuisances learn from.
    trim, level
        See `csrec_core.effect.estimators.estimate_effect`.
    replicates : int
        Of the bootstrap, at least 2.

    Raises
    ------
    InputError
        On a folder of another kind, one source only, or one decision only.
    """
    folder, out = Path(folder).expanduser().resolve(), Path(out).expanduser().resolve()
    if not (folder / "options.json").exists():
        raise InputError(f"{folder}: no folder that csrec data mssd wrote")
    parts = parts_of(folder)
    if not parts:
        raise InputError(f"{folder}: no part in it is whole; run csrec data mssd again")
    if folds < 2 or drawn < 1 or replicates < 2:
        raise InputError(
            f"folds = {folds}, drawn = {drawn}, replicates = {replicates}; expected at least 2, 1 and 2"
        )
    dealt = {"folds": folds, "seed": seed}
    with work_place(scheduler, min(workers, max(len(parts), folds))) as address, threadpool_limits(1):
        stages = Stages(out=out, scheduler=address)
        contents, told = _items(stages, folder, parts, dealt)
        learned = _models(stages, folder, contents, told, drawn, dealt)
        edges = _edges(stages, parts)
        keys = _each(parts, lambda part: key_of(contents[part], told, learned, edges, dealt, trim))
        tasks = _each(parts, lambda part: (folder, part, out, edges))
        stages.run("scores", partial(score_part, trim=trim, **dealt), tasks, keys)
        keys = _each(parts, lambda part: key_of(keys[part], replicates))
        tasks = _each(parts, lambda part: (stages.file("scores", part),))
        add = partial(sum_part, trim=trim, replicates=replicates, seed=seed)
        stages.run("sums", add, tasks, keys, ending="npz")
        total = Sums()
        for part in parts:  # in the order of their names, whoever was done first
            total = total.add(Sums.load(stages.file("sums", part, "npz")))
        options = dealt | {"drawn": drawn, "trim": trim, "level": level, "replicates": replicates}
        found = _found(total, options, digest(contents))
    with whole_file(out / "effect.csv") as temporary:
        found.table.to_csv(temporary, index=False)
    write_json(out / "effect.json", found.summary)
    return found


def _each(parts: list[str], make: Callable) -> dict:
    return {part: make(part) for part in parts}


def _items(stages: Stages, folder: Path, parts: list[str], dealt: dict) -> tuple[dict[str, str], str]:
    """Tell the tracks by the sessions of other folds; return the parts' hashes, and that of what is told."""

    def tables(part: str) -> list[dict]:
        return [identity(folder / table / f"{part}.parquet") for table in ("log", "apart")]

    keys = _each(parts, lambda part: key_of(tables(part), dealt))
    tasks = _each(parts, lambda part: (folder, part))
    tallies = stages.run("tally", partial(tally_part, **dealt), tasks, keys)
    for source in SOURCES:
        sessions = sum(tally["sessions"][source] for tally in tallies.values())
        if sessions < FEWEST:
            raise InputError(
                f"{folder}: {sessions} sessions have rows with source={source!r}; expected at least {FEWEST}"
            )
    items = add_up(folder, [stages.file("tally", part) for part in parts], folds=dealt["folds"])
    return {part: tally["content"] for part, tally in tallies.items()}, items.save(stages.out / "items")


def _models(
    stages: Stages, folder: Path, contents: dict[str, str], told: str, drawn: int, dealt: dict
) -> str:
    """Fit the nuisances on a draw of sessions; return the hash of their files."""
    parts = list(contents)
    indices = (folder / "index" / f"{part}.parquet" for part in parts)
    batches = (pq.read_table(path, columns=["user"])["user"].to_numpy() for path in indices)
    users = draw_users(batches, drawn, seed=dealt["seed"])
    with whole_file(stages.out / "draw.npy") as temporary:
        np.save(temporary, users, allow_pickle=False)
    lot = hash_files([stages.out / "draw.npy"])
    keys = _each(parts, lambda part: key_of(contents[part], told, lot, dealt))
    tasks = _each(parts, lambda part: (folder, part, stages.out))
    stages.run("draw", partial(draw_part, **dealt), tasks, keys)
    draws = [stages.file("draw", part) for part in parts]
    names = {f"fold-{fold}": fold for fold in range(dealt["folds"])}
    key = key_of(keys, sklearn.__version__)
    tasks = {name: (fold, draws) for name, fold in names.items()}
    stages.run(
        "models", partial(fit_fold, seed=dealt["seed"]), tasks, dict.fromkeys(names, key), ending="npz"
    )
    return hash_files(stages.file("models", name, "npz") for name in names)


def _edges(stages: Stages, parts: list[str]) -> list[float]:
    """Return what lies between the fifths of the system's exposures, by how often their tracks are heard."""
    frames = [pd.read_parquet(stages.file("draw", part), columns=["fame", "system"]) for part in parts]
    rows = pd.concat(frames)
    return np.quantile(rows.loc[rows["system"], "fame"].to_numpy(dtype=float), FIFTHS).tolist()


def _found(total: Sums, options: dict, inputs: str) -> PartsEffect:
    """Put the estimate together from the sums of all parts."""
    level = options["level"]
    sessions, system, _, own, _ = total["counts"]
    share, away = combine.overlap(total), combine.band(total, GAMMA, level=level)
    warnings = [
        UNKNOWN,
        f"If hidden tastes make an exposure up to {GAMMA:g} times as likely or unlikely to be the system's, "
        f"the mean effect lies between {away['lower']:+.3f} and {away['upper']:+.3f}.",
        *overlap_warnings(share["trimmed"], own, share["ess"], share["largest"]),
    ]
    one = {
        name: interval(*combine.effects(total, name), level=level).iloc[0] for name in ("overall", "observed")
    }
    summary = {
        "estimator": "doubly_robust",
        "estimand": "filtered",
        "target": WEIGHTS["exposed"],
        **{name: found.to_dict() for name, found in one.items()},
        "trend": combine.trend(total, level=level).to_dict(),
        "bootstrap": combine.resampled(total, level=level),
        "band": away,
        "two_model": float(total["ter"][0] / total["ter"][1]),
        "overlap": share,
        "identified": False,
        "warnings": warnings,
        "sessions": int(sessions),
        "system_rows": int(system),
        "self_rows": int(own),
        "options": options,
        "inputs": inputs,
    }
    return PartsEffect(combine.by_group(total, level=level), summary)
