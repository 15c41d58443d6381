"""What survives: a small run is disturbed in every way there is, each some times, at random moments.

    python benchmarks/faults.py --times 20 --out work/faults
    python benchmarks/faults.py --times 2 --only sigkill,flipped

An undisturbed run is made first. A disturbance begins on a copy of a half-done run, is done to it, and the
same command follows until it ends. Counted: whether all notebooks are done in the end (else something was
lost), whether every figure, table and verdict has the bytes of the undisturbed run, what temporary files are
left in the folder, and which kernels outlive their runner by three seconds. The full disk is a tmpfs of a few
megabytes and needs the right to mount one; without it, it is said to be left out.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from csrec_core.files import UNDER_WAY

SMALL = {
    "users": 60, "items": 30, "steps": 4, "epochs": 2, "hidden": 8, "worlds": 1, "seed": 1,
}  # fmt: skip
NOTEBOOKS = ("02_data", "03_train")
LONGEST = 300.0  # seconds in which a run has to end


def command(reports: Path) -> list[str]:
    """Return the command of the run."""
    words = [sys.executable, "-m", "csrec_core", "report", "--run", "r", "--out", str(reports), "--jobs", "2"]
    words += [word for name, value in SMALL.items() for word in ("-p", f"{name}={value}")]
    return words + [word for name in NOTEBOOKS for word in ("--notebook", name)]


def start(reports: Path, **env: str) -> subprocess.Popen:
    """Start the run."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(reports), env=os.environ | env, start_new_session=True, **silent)


def finish(reports: Path) -> tuple[int, str]:
    """Run to the end; return the exit code and what was said of errors."""
    process = start(reports)
    said = process.communicate(timeout=LONGEST)[1]
    return process.returncode, said


def digest(reports: Path) -> dict[str, str]:
    """Return the hash of all that has to be the same whatever happened: figures, tables, verdicts."""
    run = reports / "r"
    files = [path for kind in ("figures", "tables") for path in (run / kind).rglob("*") if path.is_file()]
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, run / "verdicts.json"]
    }


def temporary(reports: Path) -> list[str]:
    """Return the files that no run should leave."""
    names = (f"{UNDER_WAY}*", ".lock", "*.part.safetensors")
    return [str(path.relative_to(reports)) for name in names for path in reports.rglob(name)]


def kernels(reports: Path) -> list[int]:
    """Return the kernels that work on these reports."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace")
            if "ipykernel_launcher" in words and str(reports) in words:
                found.append(int(path.parent.name))
    return found


def wait_until(reports: Path, process: subprocess.Popen, rng: random.Random) -> None:
    """Let a run work for a random while: to within a notebook, or between two."""
    end = time.monotonic() + rng.uniform(2.0, 25.0)
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)


def _killed(sign: int) -> Callable:
    def disturb(reports: Path, rng: random.Random) -> None:
        process = start(reports)
        wait_until(reports, process, rng)
        process.send_signal(sign)
        process.communicate(timeout=60)

    return disturb


def kernel_killed(reports: Path, rng: random.Random) -> None:
    """A kernel is killed under its runner, as by a system without memory."""
    process = start(reports)
    wait_until(reports, process, rng)
    for pid in kernels(reports)[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=LONGEST)


def two_runs(reports: Path, rng: random.Random) -> None:
    """The same command twice at once: one says that the other is at work, and leaves it alone."""
    first = start(reports)
    time.sleep(rng.uniform(0.0, 6.0))
    second = start(reports)
    codes = sorted(
        (process.communicate(timeout=LONGEST)[1], process.returncode)[1] for process in (first, second)
    )
    if codes not in ([0, 2], [0, 0]):
        raise AssertionError(f"two runs ended with {codes}")


def vanished(reports: Path, rng: random.Random) -> None:
    """The folder of the run is removed under it."""
    process = start(reports)
    wait_until(reports, process, rng)
    shutil.rmtree(reports / "r", ignore_errors=True)
    said = process.communicate(timeout=LONGEST)[1]
    _check_said(said)


def read_only(reports: Path, rng: random.Random) -> None:
    """The place to write to cannot be written, which is said before any work."""
    (reports.parent / "file").touch()
    _check_said(finish(reports.parent / "file" / "reports")[1], expected="is no folder")


def full_disk(reports: Path, rng: random.Random) -> None:
    """The disk is full after some megabytes, and has room again at the second attempt."""
    size = rng.randint(200, 4000)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", reports], check=True)
    try:
        _check_said(finish(reports)[1])
        shutil.copytree(reports, reports.with_name("kept"), dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", reports], check=True)
    shutil.copytree(reports.with_name("kept"), reports, dirs_exist_ok=True)


def _damaged(pattern: str, damage: Callable[[bytes, random.Random], bytes]) -> Callable:
    """Return a disturbance of one of the files of a pattern in a run that is done."""

    def disturb(reports: Path, rng: random.Random) -> None:
        finish(reports)
        path = rng.choice(sorted(path for path in (reports / "r").glob(pattern) if path.is_file()))
        path.write_bytes(damage(path.read_bytes(), rng))

    return disturb


def cut(content: bytes, rng: random.Random) -> bytes:
    """Return the beginning of a file."""
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    """Return a file with one bit turned."""
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def swapped(reports: Path, rng: random.Random) -> None:
    """Two models change places, and the page of the notebook that reads them is gone."""
    finish(reports)
    first, second = rng.sample(sorted((reports / "r").glob("models-*/f*.safetensors")), 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    (reports / "r" / "03_train.html").unlink()


def other_version(reports: Path, rng: random.Random) -> None:
    """What is there was made under other versions: its keys and notes say so, and it is made anew."""
    finish(reports)
    path = reports / "r" / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["notebooks"].values():
        entry["versions"]["numpy"], entry["key"] = "1.0", "of another version"
    path.write_text(json.dumps(manifest))


def clock_back(reports: Path, rng: random.Random) -> None:
    """Everything there is from the future, by its times and by what its manifest says."""
    _killed(signal.SIGKILL)(reports, rng)
    for path in reports.rglob("*"):
        os.utime(path, (2e9, 2e9))
    path = reports / "r" / "manifest.json"
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "2090-01-01T00:00:00+00:00"}))


def broken_sibling(reports: Path, rng: random.Random) -> None:
    """Runs beside it hold garbage, which is named in the list of runs and stops nothing."""
    finish(reports)
    for name, content in {"a": "[]", "b": "{", "c": '{"notebooks": 3}', "d": "\0"}.items():
        (reports / name).mkdir()
        (reports / name / rng.choice(["manifest.json", "grid.json", "comparison.json"])).write_text(content)
    (reports / "r" / "02_data.html").unlink()


FAULTS: dict[str, Callable[[Path, random.Random], None]] = {
    "sigkill": _killed(signal.SIGKILL),
    "sigterm": _killed(signal.SIGTERM),
    "sigint": _killed(signal.SIGINT),
    "kernel-killed": kernel_killed,
    "two-runs": two_runs,
    "vanished": vanished,
    "read-only": read_only,
    "full-disk": full_disk,
    "truncated": _damaged("**/*", cut),
    "flipped": _damaged("**/*", flip),
    "model-flipped": _damaged("models-*/*", flip),
    "swapped": swapped,
    "other-version": other_version,
    "clock-back": clock_back,
    "broken-sibling": broken_sibling,
}


def _check_said(said: str, expected: str = "") -> None:
    if "Traceback" in said or len(said) > 500 or expected not in said:
        raise AssertionError(said[-600:])


def one(name: str, reports: Path, whole: dict[str, str], seed: int) -> dict[str, object]:
    """Do one disturbance, run again, and return what was found wrong."""
    disturb = FAULTS[name]
    found: dict[str, object] = {}
    try:
        disturb(reports, random.Random(seed))
    except AssertionError as error:
        found["said"] = str(error)
    time.sleep(3)
    found["orphans"] = kernels(reports)
    code, said = finish(reports)
    again = digest(reports) if code == 0 else {}
    found["lost"] = said[-300:] if code else ""
    found["different"] = [file for file, sha in whole.items() if again.get(file) != sha] if code == 0 else []
    found["left"] = temporary(reports)
    return {key: value for key, value in found.items() if value}


def main() -> None:
    """Print a table of counts, a line a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--out", type=Path, default=Path("work/faults"))
    given = parser.parse_args()
    out = given.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    code, said = finish(out / "whole")
    if code:
        sys.exit(f"the undisturbed run ends with {code}: {said}")
    whole = digest(out / "whole")
    print(f"{len(whole)} files have to be the same\n{'fault':16} times  fine")
    for name in given.only.split(","):
        fine = 0
        for seed in range(given.times):
            reports = out / f"{name}-{seed}" / "reports"
            reports.mkdir(parents=True)
            try:
                found = one(name, reports, whole, seed)
            except (subprocess.SubprocessError, OSError, ValueError, IndexError) as error:
                found = {"harness": f"{type(error).__name__}: {error}"}
            fine += not found
            if found:
                print(f"  {name} {seed}: {json.dumps(found)}")
            else:
                shutil.rmtree(reports.parent)
        print(f"{name:16} {given.times:5} {fine:5}", flush=True)


if __name__ == "__main__":
    main()
