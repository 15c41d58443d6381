"""What a grid of simulated worlds loses when it is killed again and again: python benchmarks/grid.py --out FOLDER

The grid runs `02_data` at as many seeds on two workers: left alone, and with one of them killed every minute. Printed
are the seconds of each, how often was killed, and of the points those that are not done (lost) or whose figures, tables
or verdicts have other bytes than where nothing was killed (different), files that no run should leave (leftovers), and
kernels that outlive their runner (orphans). What a killed command loses, `faults.py` tells.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from csrec_core.files import UNDER_WAY, read_json

WORLD = ("users=200", "items=40", "steps=6")
COMMAND = (
    sys.executable,
    "-m",
    "csrec_core",
    "report",
    "--run",
    "grid",
    "--notebook",
    "02_data",
    "--jobs",
    "2",
)


def begin(reports: Path, points: int) -> subprocess.Popen:
    """Start the grid, or go on with it, as the head of a group of processes."""
    seeds = ",".join(map(str, range(1, points + 1)))
    given = [word for value in WORLD for word in ("-p", value)]
    command = [*COMMAND, "--out", str(reports), *given, "-g", f"seed={seeds}"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def below(pid: int) -> dict[int, str]:
    """Return the processes that a process has started, and those have, with their command lines."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    for _ in range(5):  # command, nanny, worker, kernel
        for child, parent in parents.items():
            if parent == pid or parent in found:
                with suppress(OSError):
                    found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def kill_worker(run: subprocess.Popen, rng: random.Random) -> None:
    """Kill one of the workers, which their nanny replaces."""
    workers = [pid for pid, line in below(run.pid).items() if "spawn_main" in line]
    with suppress(ProcessLookupError):
        os.kill(rng.choice(sorted(workers)), signal.SIGKILL)


def work_off(reports: Path, points: int, every: float | None) -> tuple[float, int, int]:
    """Run the grid to its end; return the seconds, how often was killed, and the exit code."""
    started, kills, rng = time.monotonic(), 0, random.Random(0)
    run = begin(reports, points)
    while True:
        try:
            return time.monotonic() - started, kills, run.wait(every)
        except subprocess.TimeoutExpired:
            kill_worker(run, rng)
            kills += 1


def digest(point: Path) -> dict[str, str]:
    """Return the hash of what has to be the same whatever happened; nothing of a point that is not done."""
    manifest = point / "manifest.json"
    if not manifest.exists() or read_json(manifest, {"status": str})["status"] != "complete":
        return {}
    files = [path for kind in ("figures", "tables") for path in (point / kind).rglob("*") if path.is_file()]
    return {
        path.relative_to(point).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, point / "verdicts.json"]
    }


def main() -> None:
    """Run the grid in both ways, and print what each lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--points", type=int, default=160)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    asked = parser.parse_args()
    alone: dict[str, dict[str, str]] = {}
    for name, every in (("left alone", None), ("worker killed", asked.every)):
        reports = asked.out / name.replace(" ", "-")
        shutil.rmtree(reports, ignore_errors=True)
        seconds, kills, code = work_off(reports, asked.points, every)
        time.sleep(3)  # in which a kernel that lost its runner ends
        found = {
            f"seed-{seed}": digest(reports / "grid" / f"seed-{seed}") for seed in range(1, asked.points + 1)
        }
        alone = alone or found
        lost = sum(not files for files in found.values())
        different = sum(bool(files) and files != alone[point] for point, files in found.items())
        leftovers = [path for mark in (f"{UNDER_WAY}*", ".lock") for path in reports.rglob(mark)]
        kernels = subprocess.run(["pgrep", "-fc", "ipykernel_launcher"], capture_output=True, text=True)
        print(
            f"{name:15} {seconds:6.0f} s  {kills:3} kills  {asked.points} points: {lost} lost, "
            f"{different} different, {len(leftovers)} leftovers, {int(kernels.stdout)} orphans; exit code {code}",
            flush=True,
        )


if __name__ == "__main__":
    main()
