"""Files like those of MSSD, written by hand, and what an ingestion makes of them."""

import gzip
import json
import tarfile

import pandas as pd

from csrec_core.data.mssd import part
from csrec_core.data.mssd.schema import TRACKS, Options

# The header of the published files.
HEADER = (
    "session_id,session_position,session_length,track_id_clean,skip_1,skip_2,skip_3,not_skipped,"
    "context_switch,no_pause_before_play,short_pause_before_play,long_pause_before_play,"
    "hist_user_behavior_n_seekfwd,hist_user_behavior_n_seekback,hist_user_behavior_is_shuffle,hour_of_day,"
    "date,premium,context_type,hist_user_behavior_reason_start,hist_user_behavior_reason_end"
)
GOOD = (
    "0_a,1,3,t_1,false,true,true,false,0,1,0,0,2,1,true,16,2018-07-15,false,user_collection,clickrow,fwdbtn"
)
NAMES = HEADER.split(",")


def line(**changes):
    cells = dict(zip(NAMES, GOOD.split(","), strict=True))
    return ",".join((cells | changes).values())


def session(name, contexts, **changes):
    return [
        line(
            session_id=name,
            session_position=str(t),
            session_length=str(len(contexts)),
            context_type=context,
            **changes,
        )
        for t, context in enumerate(contexts, start=1)
    ]


USER, SYSTEM, RADIO = "user_collection", "personalized_playlist", "radio"
SOUND = [*session("0_a", [USER, SYSTEM, RADIO]), *session("0_b", [SYSTEM, USER], track_id_clean="t_2")]


def write_tracks(folder):
    """Write the features of t_1 and t_2, and return the file."""
    names = ["track_id", *(column.name for column in TRACKS)]
    cells = ["minor" if name == "mode" else "0.5" for name in names[1:]]
    text = "\n".join(",".join(row) for row in (names, ["t_1", *cells], ["t_2", *cells]))
    (folder / "tf.csv").write_text(text + "\n")
    return folder / "tf.csv"


def write(path, lines):
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def pack(plain, path, *beside):
    """Pack a file as the ending of `path` says; in an archive other files may stand before it."""
    if path.name.endswith(".csv.gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for other in beside:
                archive.add(other, "README")
            archive.add(plain, f"training_set/{plain.name}")
    return path


def quarantine(folder, name="log_0"):
    path = folder / "quarantine" / f"{name}.csv"
    return pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()


def contents(folder):
    """Return all that an ingestion says of the data, whatever the order of rows and files."""
    frames = {}
    for table in part.TABLES:
        paths = sorted((folder / table).glob("*.parquet"))
        frame = pd.concat([pd.read_parquet(path).assign(part=path.stem) for path in paths])
        keys = ["user", "t"] if "t" in frame else ["user", "session"]
        frames[table] = frame.sort_values(keys).astype(dict.fromkeys(frame.select_dtypes("category"), str))
    summary = json.loads((folder / "summary.json").read_text())
    return {name: frame.to_csv(index=False) for name, frame in frames.items()} | summary


def siphash(message: bytes, key: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein 2012), written from its definition."""
    mask = 2**64 - 1

    def turn(value, by):
        return (value << by | value >> 64 - by) & mask

    def rounds(v, number):
        for _ in range(number):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    one, other = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    constants = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    v = [constant ^ half for constant, half in zip(constants, [one, other, one, other], strict=True)]
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def number(name, salt=0):
    """What an id becomes: SipHash, then the finalizer of SplitMix64, then 63 of the 64 bits."""
    value = siphash(name.encode(), Options(salt=salt).key.encode())
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        value = (value ^ value >> shift) * factor % 2**64
    return value >> 1
