"""Files like those of MSSD, from a world whose source effect is known.

A listener of a session has a preference z, a track an acoustic vector a. Contexts last for some tracks; in each a
track comes up by other means: from one's own collection and in a personalised playlist by preference among a few
drawn by fame, in the catalogue any, elsewhere by fame; now and then one that was heard before in the session.
The track is not skipped by skip_2 with probability

    logit P(D_t = 1) = base + appeal of the track + affinity * (z . a) / sqrt(8) + carry_over * D_{t-1}
                       + familiar * [heard before in this session] + trend * (t - 1) + [context]

where the appeal is linear in the track's features, up to a little noise, and [context] is 0 in one's own
collection, the session's own trust ~ N(effect, trust_spread) in a personalised playlist, and a constant of
`ELSEWHERE` otherwise. skip_1 is most of skip_2, skip_3 all of it and a little more.

Sessions are drawn a thousand at a time from a stream of their own, so the same seed gives the same sessions
whatever their number and however they are cut into files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv
from scipy.special import expit
from tqdm import tqdm

from csrec_core.data.mssd.part import LOG_COLUMNS, TRACK_COLUMNS, read_users
from csrec_core.data.mssd.schema import CONTEXTS, TRACKS
from csrec_core.errors import InputError
from csrec_core.files import whole_file

TOGETHER = 1000  # sessions of one random stream
SHORTEST, LONGEST = 10, 20
CONTEXT_SHARES = (0.40, 0.20, 0.14, 0.10, 0.13, 0.03)  # of the contexts, as `CONTEXTS`
ELSEWHERE = {"editorial_playlist": -0.2, "radio": -0.1, "catalog": 0.1, "charts": -0.4}
TRACKS_OFFERED = 12  # tracks that a listener or the recommender chooses from
SESSION, TRACK = LOG_COLUMNS[:2]
LOG_ORDER = [SESSION, *LOG_COLUMNS[2:4], TRACK, *LOG_COLUMNS[4:]]
OWN, PERSONAL, CATALOG = (
    CONTEXTS.index(name) for name in ("user_collection", "personalized_playlist", "catalog")
)

TRUTH_NAMES = ("p_system", "p_self", "marginal_system", "marginal_self")
TRUTH = pa.schema(
    [("session", pa.string()), ("t", pa.int32()), *((name, pa.float64()) for name in TRUTH_NAMES)]
)


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """What drives the simulated listeners; the weights of the equation above, in logits."""

    tracks: int = 5000  # of the catalogue
    seed: int = 0
    effect: float = 0.5
    trust_spread: float = 0.3
    base: float = -0.4
    appeal: float = 0.6
    affinity: float = 1.0
    carry_over: float = 0.8
    familiar: float = 0.3
    trend: float = -0.02

    def __post_init__(self):
        if self.tracks < TRACKS_OFFERED:
            raise InputError(f"tracks = {self.tracks}; expected at least {TRACKS_OFFERED}")

    def stream(self, number: int) -> np.random.Generator:
        """Return the random stream of a block of sessions, counted from 1; 0 is that of the tracks."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))


@dataclass(frozen=True)
class Tracks:
    """The tracks: their table as in the files, acoustic vectors, appeal in logits, cumulated fame."""

    table: pd.DataFrame
    vector: np.ndarray
    appeal: np.ndarray
    fame: np.ndarray

    @classmethod
    def draw(cls, world: Listeners) -> "Tracks":
        rng, size = world.stream(0), world.tracks
        vector = rng.normal(size=(size, 8))
        fame = rng.pareto(1.2, size) + 0.05
        mood = expit(vector @ rng.normal(size=(8, 4)) / 2)  # energy, valence, danceability, acousticness
        appeal = (mood - 0.5) @ np.array([1.5, 1.0, 1.5, -1.0]) + rng.normal(0, 0.2, size)
        share = rng.random((size, len(TRACKS)))
        columns: dict[str, Any] = {
            column.name: share[:, place].round(6) for place, column in enumerate(TRACKS)
        }
        columns |= {
            "duration": rng.normal(220, 50, size).clip(30, 1800).round(6),
            "release_year": rng.integers(1950, 2019, size),
            "us_popularity_estimate": (90 + 10 * np.argsort(np.argsort(fame)) / size).round(6),
            "key": rng.integers(12, size=size),
            "loudness": rng.normal(-9, 4, size).round(3),
            "mode": np.where(rng.random(size) < 0.65, "major", "minor"),
            "tempo": rng.normal(120, 28, size).clip(40, 220).round(3),
            "time_signature": rng.choice([3, 4, 5], size, p=[0.08, 0.9, 0.02]),
        }
        moods = ("energy", "valence", "danceability", "acousticness")
        columns |= {name: mood[:, place].round(6) for place, name in enumerate(moods)}
        columns |= {f"acoustic_vector_{place}": vector[:, place].round(6) for place in range(8)}
        table = pd.DataFrame({"track_id": _ids(rng, size, "t_"), **columns})[list(TRACK_COLUMNS)]
        return cls(table, vector, world.appeal * appeal, np.cumsum(fame) / fame.sum())


def simulate_mssd(
    folder: str | Path, sessions: int, world: Listeners | None = None, *, per_file: int = 50_000
) -> tuple[list[Path], list[Path]]:
    """Write files of session logs, of tracks, and of the truth.

    The folder gets `log_<number>.csv` and `tf_000000000000.csv` in the columns of MSSD, and `truth_<number>.parquet`:
    for each row of a log `session`, `t`, `p_system` and `p_self`, the probability of acceptance by skip_2 given the
    realised decisions before, were the context a personalised playlist or the listener's collection, and
    `marginal_system`, `marginal_self`, the same were all contexts of the session so far, with the earlier decisions
    summed out. `per_file` sessions, a multiple of 1000, are in each. Returns the paths of logs and tracks.
    """
    if sessions < 1 or per_file < TOGETHER or per_file % TOGETHER:
        raise InputError(
            f"sessions = {sessions}, per file = {per_file}; expected at least 1, and a multiple of {TOGETHER}"
        )
    folder, world = Path(folder), world or Listeners()
    catalogue = Tracks.draw(world)
    tracks, logs = folder / "tf_000000000000.csv", []
    with whole_file(tracks) as temporary:
        catalogue.table.to_csv(temporary, index=False)
    starts = range(0, sessions, per_file)
    for number, start in enumerate(tqdm(starts, desc="MSSD", disable=None, leave=False, unit="file")):
        logs.append(folder / f"log_{number:012d}.csv")
        blocks = _sessions(catalogue, world, start, min(start + per_file, sessions))
        _write_files(logs[-1], folder / f"truth_{number:012d}.parquet", blocks)
    return logs, [tracks]


def truth_rows(folder: Path, users: np.ndarray) -> pd.DataFrame | None:
    """Return what `simulate_mssd` knows of some sessions, by `user` and `t`; None where none was simulated."""
    if not (files := sorted((folder / "csv").glob("truth_*.parquet"))):
        return None
    names = read_users(folder, users, "index")[["user", "session"]]
    mine = pc.field("session").isin(pa.array(names["session"]))
    return pq.read_table(files, filters=mine).to_pandas().merge(names, on="session").drop(columns="session")


def read_truth(folder: str | Path, users: np.ndarray) -> dict[str, np.ndarray]:
    """Return the truth of sessions by name (`simulate_mssd`), (S, 20) each, else NaN; of real sessions nothing."""
    if (truth := truth_rows(Path(folder), users)) is None:
        return {}
    place = np.searchsorted(users, truth["user"]), truth["t"].to_numpy() - 1
    known = {}
    for name in truth.columns.difference(["t", "user"]):
        known[name] = np.full((len(users), LONGEST), np.nan)
        known[name][place] = truth[name]
    return known


def _write_files(log: Path, truth: Path, blocks: Iterator[tuple[pa.Table, pa.Table]]) -> None:
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with (
        whole_file(truth) as beside,
        whole_file(log) as temporary,
        temporary.open("wb") as stream,
        pq.ParquetWriter(beside, TRUTH, compression="zstd") as writer,
    ):
        stream.write((",".join(LOG_ORDER) + "\n").encode())
        for rows, known in blocks:
            csv.write_csv(rows, stream, options)
            writer.write_table(known)


def _sessions(
    catalogue: Tracks, world: Listeners, start: int, stop: int
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield the rows of the sessions from `start` to `stop`, and their truth, block by block."""
    for block in range(start // TOGETHER, -(-stop // TOGETHER)):
        rng = world.stream(block + 1)
        columns, truth, length = _listen(catalogue, world, rng)
        count = min(TOGETHER, stop - block * TOGETHER)
        real = (np.arange(LONGEST) < length[:, None]) & (np.arange(TOGETHER) < count)[:, None]
        columns = {name: np.broadcast_to(values, real.shape)[real] for name, values in columns.items()}
        columns[TRACK] = catalogue.table["track_id"].to_numpy()[columns[TRACK]]
        rows = pa.table({name: pa.array(columns[name]) for name in LOG_ORDER})
        keys = {"session": rows[SESSION], "t": rows["session_position"].cast(pa.int32())}
        yield rows, pa.table(keys | {name: pa.array(values[real]) for name, values in truth.items()})


def _listen(catalogue: Tracks, world: Listeners, rng: np.random.Generator):
    """Return the columns of a log and of its truth, each (1000, 20) or broadcast to it, and the lengths."""
    shape, everyone = (TOGETHER, LONGEST), np.arange(TOGETHER)
    length = np.where(rng.random(TOGETHER) < 0.5, LONGEST, rng.integers(SHORTEST, LONGEST, TOGETHER))
    preference, trust = rng.normal(size=(TOGETHER, 8)), rng.normal(world.effect, world.trust_spread, TOGETHER)
    context, switched = _contexts(rng, shape)
    track = _tracks(catalogue, rng, preference, context)
    repeated = (track[:, :, None] == track[:, None, :]) & np.tri(LONGEST, k=-1, dtype=bool)
    likes = np.einsum("ste,se->st", catalogue.vector[track], preference) / np.sqrt(8)
    logit = world.base + catalogue.appeal[track] + world.affinity * likes
    logit += world.familiar * repeated.any(axis=2) + world.trend * np.arange(LONGEST)
    lift = np.array([ELSEWHERE.get(name, 0.0) for name in CONTEXTS])[context]
    lift = np.where(context == PERSONAL, trust[:, None], lift)
    draw, accepted = rng.random(shape), np.zeros((TOGETHER, LONGEST + 1), dtype=bool)
    truth = {name: np.zeros(shape) for name in TRUTH_NAMES}
    believed = {"system": np.zeros(TOGETHER), "self": np.zeros(TOGETHER)}
    for t in range(LONGEST):
        before = world.carry_over * accepted[:, t]
        for source, raised in (("system", trust), ("self", 0.0)):
            chance = expit(logit[:, t] + raised + np.array([[0.0], [world.carry_over]]))
            believed[source] = chance[0] + (chance[1] - chance[0]) * believed[source]
            truth[f"marginal_{source}"][:, t] = believed[source]
            truth[f"p_{source}"][:, t] = expit(logit[:, t] + raised + before)
        accepted[everyone, t + 1] = draw[:, t] < expit(logit[:, t] + lift[:, t] + before)
    columns = _file_columns(rng, length, context, switched, track, ~accepted[:, 1:])
    return columns, truth, length


def _contexts(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw contexts that change at one track in ten, and tell where they do."""
    drawn = rng.choice(len(CONTEXTS), size=shape, p=CONTEXT_SHARES)
    changes = rng.random(shape) < 0.1
    changes[:, 0] = True
    since = np.maximum.accumulate(np.where(changes, np.arange(shape[1]), 0), axis=1)
    context = np.take_along_axis(drawn, since, axis=1)
    return context, np.diff(context, axis=1, prepend=context[:, :1]) != 0


def _tracks(
    catalogue: Tracks, rng: np.random.Generator, preference: np.ndarray, context: np.ndarray
) -> np.ndarray:
    """Choose the tracks: by preference, by fame, any, or one that was heard before."""
    shape, everyone = context.shape, np.arange(len(context))
    leaning = np.zeros(len(CONTEXTS))
    leaning[[OWN, PERSONAL]] = 1.0, 0.6
    any_track, again = rng.integers(len(catalogue.fame), size=shape), rng.random(shape) < 0.1
    earlier = (rng.random(shape) * np.arange(shape[1])).astype(int)
    track = np.zeros(shape, dtype=int)
    for t in range(shape[1]):
        drawn = np.searchsorted(catalogue.fame, rng.random((shape[0], TRACKS_OFFERED)))
        drawn = np.minimum(drawn, len(catalogue.fame) - 1)
        likes = np.einsum("sce,se->sc", catalogue.vector[drawn], preference) / np.sqrt(8)
        best = (leaning[context[:, t], None] * likes + rng.gumbel(size=drawn.shape)).argmax(axis=1)
        chosen = np.where(context[:, t] == CATALOG, any_track[:, t], drawn[everyone, best])
        track[:, t] = np.where(again[:, t] & (t > 0), track[everyone, earlier[:, t]], chosen)
    return track


def _file_columns(rng, length, context, switched, track, skipped) -> dict[str, np.ndarray]:
    """Return the columns of the files, (1000, 20) each or broadcast to it, from what happened."""
    shape = skipped.shape
    briefly = skipped & (rng.random(shape) < 0.8)
    late = skipped | (rng.random(shape) < 0.08)
    other = rng.random(shape)
    end = np.where(skipped, "fwdbtn", "trackdone").astype(object)
    end[(other < 0.06) & skipped] = "backbtn"
    end[other > 0.97] = "endplay"
    first = rng.choice(np.array(["clickrow", "playbtn", "appload"], dtype=object), size=(shape[0], 1))
    start = np.concatenate([first, end[:, :-1]], axis=1)
    start[switched] = "clickrow"
    pause = rng.random(shape)
    hour = rng.integers(24, size=(shape[0], 1))
    day = np.datetime64("2018-07-15") + rng.integers(66, size=(shape[0], 1))
    return {
        SESSION: _ids(rng, shape[0], "0_")[:, None],
        "session_position": np.arange(1, shape[1] + 1)[None],
        "session_length": length[:, None],
        TRACK: track,
        "skip_1": briefly,
        "skip_2": skipped,
        "skip_3": late,
        "not_skipped": ~late,
        "context_switch": switched.astype(np.int8),
        "no_pause_before_play": (pause < 0.75).astype(np.int8),
        "short_pause_before_play": ((pause >= 0.75) & (pause < 0.9)).astype(np.int8),
        "long_pause_before_play": (pause >= 0.9).astype(np.int8),
        "hist_user_behavior_n_seekfwd": rng.poisson(0.03, shape),
        "hist_user_behavior_n_seekback": rng.poisson(0.03, shape),
        "hist_user_behavior_is_shuffle": (rng.random((shape[0], 1)) < 0.3) & (context == OWN),
        "hour_of_day": hour,
        "date": day,
        "premium": rng.random((shape[0], 1)) < 0.8,
        "context_type": np.array(CONTEXTS, dtype=object)[context],
        "hist_user_behavior_reason_start": start,
        "hist_user_behavior_reason_end": end,
    }


def _ids(rng: np.random.Generator, count: int, prefix: str) -> np.ndarray:
    """Draw ids such as t_0479f24c-27d2-46d6-a00c-7ec928f2b539."""
    letters = np.frombuffer(rng.bytes(16 * count).hex().encode(), dtype="S1").reshape(count, 32)
    dashes = np.insert(letters, [8, 12, 16, 20], b"-", axis=1)
    return np.char.add(prefix, np.ascontiguousarray(dashes).view("S36")[:, 0].astype(str)).astype(object)
