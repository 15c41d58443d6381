"""Time and memory of MSSD as the number of sessions grows: python benchmarks/mssd.py FOLDER

Simulates sessions in files of 50,000, reads them, and estimates the effect over all of them, each by its own
command with one thread a process. The last lines project the CPU time for 160 million sessions from the slope
between the last two sizes. Some 6 GB for 500,000 sessions.

`--kill` does the work at the first size, in files of 5,000, on a Dask cluster of a scheduler and two workers
that speak TCP, kills one of them in the middle of each step, and compares the hashes of all that is written.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from distributed import Client
from distributed.deploy.subprocess import SubprocessCluster
from one_process import ONE_THREAD, watch

from csrec_core.files import hash_files

SESSIONS = (100_000, 500_000, 2_000_000)
ALL = 160_000_000  # sessions of the whole dataset
CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
CSREC = [sys.executable, "-m", "csrec_core"]
SIMULATE = """\
import sys
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
simulate_mssd(sys.argv[1], int(sys.argv[2]), Listeners(tracks=50_000), per_file=int(sys.argv[3]))"""
A_FILE = 50_000  # sessions


def simulate(folder: Path, sessions: int, per_file: int = A_FILE) -> dict:
    """Write the files of a world."""
    return watch([sys.executable, "-c", SIMULATE, str(folder / "csv"), str(sessions), str(per_file)])


def read(folder: Path, name: str, how: list[str], meanwhile: Callable = lambda: None) -> dict:
    """Read the files into `folder / name`."""
    files = ["--logs", str(folder / "csv" / "log_*"), "--tracks", str(folder / "csv" / "tf_*")]
    return watch([*CSREC, "data", "mssd", *files, "--out", str(folder / name), *how], meanwhile)


def effect(folder: Path, name: str, how: list[str], meanwhile: Callable = lambda: None) -> dict:
    """Estimate the effect over what was read, in `folder / name`."""
    return watch([*CSREC, "effect", str(folder / "data"), "--out", str(folder / name), *how], meanwhile)


def measure(sizes: list[int], folder: Path, workers: int) -> pd.DataFrame:
    """Return a row for each size and step, and print it when it is there."""
    lines, how = [], ["--workers", str(workers)]
    for sessions in sizes:
        shutil.rmtree(folder, ignore_errors=True)
        steps = {
            "simulate": lambda sessions=sessions: simulate(folder, sessions),
            "read": lambda: read(folder, "data", how),
            "effect": lambda: effect(folder, "effect", how),
        }
        for step, do in steps.items():
            found = do()
            rows = 0 if step == "simulate" else _rows(folder / "data" / "log")
            size = _size(folder / {"simulate": "csv", "read": "data", "effect": "effect"}[step])
            lines.append({"sessions": sessions, "step": step, "rows": rows, **found, "gb": size})
            print(pd.DataFrame(lines[-1:]).round(3).to_string(index=False), flush=True)
    table = pd.DataFrame(lines)
    return table.assign(
        rows_per_s=table["rows"] / table["seconds"], rows_per_cpu_s=table["rows"] / table["cpu"]
    )


def project(table: pd.DataFrame) -> None:
    """Print what all sessions of the dataset would take."""
    for step, rows in table[table["step"] != "simulate"].groupby("step", sort=False):
        if len(rows) < 2:
            continue
        slope = rows[["sessions", "cpu", "gb"]].diff().iloc[-1]
        hours, size = (ALL * slope[name] / slope["sessions"] for name in ("cpu", "gb"))
        print(f"{step}: projected for {ALL:,} sessions {hours / 3600:.1f} CPU hours, {size / 1000:.2f} TB")


def survive(sessions: int, folder: Path) -> bool:
    """Do the work undisturbed, and on a cluster that loses a worker a step; tell whether all is the same."""
    os.environ |= ONE_THREAD
    simulate(folder, sessions, A_FILE // 10)
    read(folder, "data", [])
    effect(folder, "effect", [])
    same = True
    with SubprocessCluster(**CLUSTER) as cluster:
        how = ["--scheduler", cluster.scheduler_address]
        for step, do, whole, killed, done in (
            ("read", read, "data", "data killed", "done/*.json"),
            ("effect", effect, "effect", "effect killed", "parts/*/*.npz"),
        ):
            killer = _Killer(cluster.scheduler_address, folder / killed, done)
            found = do(folder, killed, how, killer)
            mine, theirs = (_hash(folder / name) for name in (whole, killed))
            same = same and mine == theirs
            print(f"{step}: killed {killer.killed} of 2 workers after {killer.after} parts")
            print("  " + ", ".join(f"{name} {value:,.1f}" for name, value in found.items()))
            print(f"  {mine} undisturbed\n  {theirs} killed: {'the same' if mine == theirs else 'DIFFERENT'}")
    return same


class _Killer:
    """Kill one worker of a cluster, once, when the first files of what is done are in a folder."""

    def __init__(self, address: str, folder: Path, done: str):
        self.address, self.folder, self.done, self.killed, self.after = address, folder, done, 0, 0

    def __call__(self) -> None:
        if self.killed or not (done := len(list(self.folder.glob(self.done)))):
            return
        with Client(self.address, set_as_default=False) as client:
            busy = {worker: len(tasks) for worker, tasks in client.processing().items()}
            worker = max(busy, key=busy.get)
            os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
        self.killed, self.after = 1, done


def _hash(folder: Path) -> str:
    """Return the hash of the tables of a folder, whatever notes lie beside them."""
    kinds = (".parquet", ".npz", ".npy", ".csv")
    return hash_files(path for path in folder.rglob("*") if path.suffix in kinds or path.stem == "effect")


def _rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.iterdir())


def _size(folder: Path) -> float:
    """Return the size of a folder in GB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the files may lie; `run` in it is removed first")
    parser.add_argument("--sessions", type=int, nargs="+", default=list(SESSIONS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", action="store_true", help="kill a worker of a cluster, and compare")
    args = parser.parse_args()
    folder = args.folder / "run"
    if args.kill:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(0 if survive(args.sessions[0], folder) else 1)
    table = measure(args.sessions, folder, args.workers)
    print(table.round(2).to_string(index=False))
    project(table)


if __name__ == "__main__":
    main()
