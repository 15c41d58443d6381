"""CPU seconds and peak memory of `csrec effect` by the size of the log: python benchmarks/scale.py

Each size is a process of its own, as a user would run it, imports and the reading of the log included: once
with --fast (the headline), once with all checks. The log is the simulated books world as Parquet. The bars:
a million rows under 60 CPU seconds, with checks under 180, and under 2 GiB; cost linear from 10,000 rows; and
10,000 rows with checks under 5 seconds on an idle machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

STEPS = 20  # exposures of each phase a user: 40 rows


def write_log(folder: Path, rows: int) -> Path:
    """Write a log of so many rows, in a process of its own so that memory is measured of the command alone."""
    path = folder / f"{rows}.parquet"
    code = (
        "from csrec_core.data.books import simulate_books\n"
        f"simulate_books(users={rows // (2 * STEPS)}, steps={STEPS}, seed=1).log.to_parquet({str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return path


def measure(path: Path, out: Path, *options: str) -> dict[str, float]:
    """Run the command; return wall and CPU seconds, and the largest memory held, in GiB."""
    words = [sys.executable, "-m", "csrec_core", "effect", str(path), "--out", str(out), *options]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit status {os.waitstatus_to_exitcode(status)}")
    wall = time.perf_counter() - start
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "GiB": usage.ru_maxrss / 2**20}


def main() -> None:
    """Measure every size, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--fast", action="store_true", help="the headline alone")
    arguments = parser.parse_args()
    records = []
    with tempfile.TemporaryDirectory() as name:
        for rows in arguments.rows:
            path = write_log(Path(name), rows)
            for label, options in (("headline", ["--fast"]), ("with checks", []))[
                : 1 if arguments.fast else 2
            ]:
                found = measure(path, Path(name) / "out", *options)
                records.append(
                    {"rows": rows, "what": label, **found, "cpu s per 10,000": 1e4 * found["cpu"] / rows}
                )
                print(
                    pd.DataFrame(records[-1:]).to_string(index=False, float_format="{:.2f}".format),
                    flush=True,
                )


if __name__ == "__main__":
    main()
