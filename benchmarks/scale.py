"""CPU seconds and peak memory of `csrec effect` and `csrec data check` by the size of the log: benchmarks/scale.py

Each size is a process of its own, as a user would run it, imports and the reading of the log included: the
headline (`effect --fast`), the effect with all checks, `data check`, and beside it what DuckDB takes to read
every column once. The log is the simulated books world as Parquet. The bars: a million rows under 60 CPU
seconds, with checks under 180, and under 2 GiB; cost linear from 10,000 rows; 10,000 rows with checks under 5
seconds on an idle machine; and 10 million rows checked within 2 GiB.

    python benchmarks/scale.py [--rows N ...] [--only headline "with checks" "data check" scan]
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


def commands(path: Path, out: Path) -> dict[str, list[str]]:
    """Return what is measured of a log, by name."""
    csrec = [sys.executable, "-m", "csrec_core"]
    effect = [*csrec, "effect", str(path), "--out", str(out)]
    scan = f"import duckdb; duckdb.sql(\"select bit_xor(hash(columns(*))) from '{path}'\").fetchall()"
    return {
        "headline": [*effect, "--fast"],
        "with checks": effect,
        "data check": [*csrec, "data", "check", str(path)],
        "scan": [sys.executable, "-c", scan],
    }


def measure(words: list[str]) -> dict[str, float]:
    """Run a command; return wall and CPU seconds, and the largest memory held, in GiB."""
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
    names = list(commands(Path(), Path()))
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for rows in arguments.rows:
            asked = commands(write_log(Path(name), rows), Path(name) / "out")
            for label in arguments.only:
                found = measure(asked[label])
                line = {"rows": rows, "what": label, **found, "rows/s": int(rows / found["wall"])}
                print(
                    pd.DataFrame([line]).to_string(index=False, float_format="{:.2f}".format),
                    flush=True,
                )


if __name__ == "__main__":
    main()
