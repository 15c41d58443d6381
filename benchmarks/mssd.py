"""Time and memory of reading MSSD as the number of sessions grows: python benchmarks/mssd.py FOLDER

Simulates sessions in files of 50,000, then reads them in a process of its own with one thread. The columns
marked `times` divide by the size before; the last line projects the time for 160 million sessions from the
slope between the last two sizes.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
from one_process import peak_mib, run_alone

SESSIONS = (20_000, 100_000, 500_000)
ALL = 160_000_000  # sessions of the whole dataset


def run_one(step: str, sessions: int, folder: Path) -> dict:
    """Simulate, read or sample, in this process."""
    from csrec_core.data.mssd.ingest import ingest
    from csrec_core.data.mssd.sessions import sample_sessions
    from csrec_core.data.mssd.simulate import World, simulate_mssd

    clock, cpu, rows = time.perf_counter(), time.process_time(), 0
    if step == "simulate":
        simulate_mssd(folder / "csv", sessions, World(tracks=50_000))
    elif step == "read":
        files = sorted((folder / "csv").glob("log_*")), sorted((folder / "csv").glob("tf_*"))
        rows = ingest(*files, folder).summary["read"]
    else:
        rows = len(sample_sessions(folder, 10_000).log)
    return {
        "rows": rows,
        "seconds": time.perf_counter() - clock,
        "cpu": time.process_time() - cpu,
        "peak_mib": peak_mib(),
    }


def measure(sizes: list[int], folder: Path) -> pd.DataFrame:
    """Return a row for each number of sessions."""
    lines = []
    for sessions in sizes:
        line = {"sessions": sessions}
        for step in ("simulate", "read", "sample"):
            command = [sys.executable, __file__, str(folder / "run"), "--one", step, str(sessions)]
            line |= {f"{step}_{key}": value for key, value in run_alone(command).items()}
        line["csv_mb"] = _size(folder / "run" / "csv", "log_*") / 1e6
        line["parquet_mb"] = (
            sum(_size(folder / "run" / name, "*") for name in ("log", "apart", "index")) / 1e6
        )
        shutil.rmtree(folder / "run")
        lines.append(line)
    table = pd.DataFrame(lines).drop(columns="simulate_rows")
    table["rows_per_s"] = table["read_rows"] / table["read_seconds"]
    table["rows_per_cpu_s"] = table["read_rows"] / table["read_cpu"]
    for column in ("sessions", "read_cpu", "read_peak_mib"):
        table[f"{column}, times"] = table[column] / table[column].shift()
    return table


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the files may lie; some 3 GB for 500,000 sessions")
    parser.add_argument("--sessions", type=int, nargs="+", default=list(SESSIONS))
    parser.add_argument("--one", nargs=2, metavar=("STEP", "SESSIONS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one(args.one[0], int(args.one[1]), args.folder)))
        return
    table = measure(args.sessions, args.folder)
    print(table.round(2).T.to_string(header=False))
    if len(table) > 1:
        slope = table[["sessions", "read_cpu", "parquet_mb"]].diff().iloc[-1]
        hours = ALL * slope["read_cpu"] / slope["sessions"] / 3600
        terabytes = ALL * slope["parquet_mb"] / slope["sessions"] / 1e6
        print(f"projected for {ALL:,} sessions: {hours:.1f} CPU hours, {terabytes:.2f} TB of Parquet")


if __name__ == "__main__":
    main()
