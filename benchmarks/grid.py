"""What a grid of simulated worlds loses when it is killed again and again: python benchmarks/grid.py --out FOLDER

The grid runs `02_data` at as many seeds on two workers: left alone, and with one of them killed every minute. Printed
are the seconds of each, how often was killed, and of the points those that are not done (lost) or whose figures, tables
or verdicts have other bytes than where nothing was killed (different), files that no run should leave (leftovers), and
kernels that outlive their runner (orphans). What a killed command loses, `faults.py` tells.
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from faults import digest, temporary

from csrec_core.files import read_json

WORLD = ("users=200", "items=40", "steps=6")
COMMAND = [
    sys.executable, "-m", "csrec_core", "report", "--run", "grid", "--notebook", "02_data", "--jobs", "2"
]  # fmt: skip


def begin(reports: Path, points: int) -> subprocess.Popen:
    """Start the grid, or go on with it, as the head of a group of processes."""
    seeds = ",".join(map(str, range(1, points + 1)))
    given = [word for value in WORLD for word in ("-p", value)]
    command = [*COMMAND, "--out", str(reports), *given, "-g", f"seed={seeds}"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill_worker(run: subprocess.Popen, rng: random.Random) -> None:
    """Kill one of the workers, which their nanny replaces."""
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(run.pid).children(recursive=True)
        rng.choice([each for each in started if "spawn_main" in " ".join(each.cmdline())]).kill()


def kernels(reports: Path) -> int:
    """Return how many kernels are at work, by where the notes lie that they are told of."""
    lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    return sum("ipykernel_launcher" in line and str(reports) in line for line in lines)


def work_off(reports: Path, points: int, every: float | None) -> tuple[float, int, int]:
    """Run the grid to its end; return the seconds, how often was killed, and the exit code."""
    started, kills, rng = time.monotonic(), 0, random.Random(0)
    run = begin(reports, points)
    while True:
        try:
            code = run.wait(every)
            return time.monotonic() - started, kills, code
        except subprocess.TimeoutExpired:
            kill_worker(run, rng)
            kills += 1


def made(point: Path) -> dict[str, str]:
    """Return the hash of what has to be the same whatever happened; nothing of a point that is not done."""
    manifest = point / "manifest.json"
    done = manifest.exists() and read_json(manifest, {"status": str})["status"] == "complete"
    return digest(point) if done else {}


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
        reports = asked.out.resolve() / name.replace(" ", "-")
        shutil.rmtree(reports, ignore_errors=True)
        seconds, kills, code = work_off(reports, asked.points, every)
        time.sleep(3)  # in which a kernel that lost its runner ends
        found = {
            f"seed-{seed}": made(reports / "grid" / f"seed-{seed}") for seed in range(1, asked.points + 1)
        }
        alone = alone or found
        lost = sum(not files for files in found.values())
        different = sum(bool(files) and files != alone[point] for point, files in found.items())
        print(
            f"{name:15} {seconds:6.0f} s  {kills:3} kills  {asked.points} points: {lost} lost, "
            f"{different} different, {len(temporary(reports))} leftovers, {kernels(reports)} orphans; exit code {code}",
            flush=True,
        )


if __name__ == "__main__":
    main()
