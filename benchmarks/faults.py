"""What survives: a small run is disturbed in every way there is, each some times, at random moments.

    python benchmarks/faults.py --times 14 --out work/faults
    python benchmarks/faults.py --times 2 --only sigkill,flipped

The run is `csrec report` on two notebooks of this file, which read a log, train a model, draw, and say. An
undisturbed run is made first. A disturbance begins on nothing, or on a copy of it; the same command follows
until it ends. Counted: runs in which not all is done in the end (lost), whose figures, tables or verdicts have
other bytes than the undisturbed run's (different), that leave temporary files in the folder or beside it
(leftovers), or kernels that outlive their runner by three seconds (orphans), and messages that are none. The full
disk is a tmpfs of a few megabytes and needs the right to mount one; without it, it is said to be left out.
"""

import argparse
import atexit
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import ClassVar

from ipykernel import kernelapp
from jupyter_client.provisioning import local_provisioner
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import csrec_core.data.loaders
import csrec_core.report.report
import csrec_core.report.suite  # noqa: F401  once for all runs, which are forks of this process
from csrec_core import suites
from csrec_core.cli import cli
from csrec_core.files import SCRATCH, UNDER_WAY
from csrec_core.report import parameters

LONGEST = 300.0  # seconds in which a run has to end
PARAMETERS = """\
seed: int = 1  # [0, 100] of the world
out: str = ""  # the run"""
OPEN = """\
from csrec_core.data.loaders import make_dataset
from csrec_core.report.report import Report, run_folder
from csrec_core.verdict import HOLDS, Verdict
dataset = make_dataset("books", path="", map="", users=60, items=30, steps=4, effect=0.6, seed=seed)
report = Report("{name}", out=out, parameters={{"seed": seed}}, data_hash=dataset.fingerprint)"""
SAY = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot(frame["x"], frame["y"])
report.figure(fig, "line", data=frame, caption="A line.", alt="A line.")
report.table(frame, "rows", caption="Its rows.")
report.verdict(Verdict("seen", HOLDS, f"{frame['y'].sum():.6f}"))"""
LOG = """\
frame = dataset.log.groupby("t", as_index=False)["decision"].mean().set_axis(["x", "y"], axis=1)"""
MODELS = """\
import time
import pandas as pd, torch
from csrec_core.cache import Cache
from csrec_core.models import train
train.SAVE_EVERY = 0.0  # so that a run cut short has a state to go on from
rows, seen = torch.arange(len(dataset.log)), torch.tensor(dataset.log[["t", "decision"]].to_numpy(float)).float()
models, frame = Cache.of(run_folder(out) / "models", "models", [seed]), {"x": [], "y": []}
def learn(model, path):
    def loss(rows):
        time.sleep(0.005)
        return ((model(seen[rows, :1])[:, 0] - seen[rows, 1]) ** 2).mean()
    training = train.Training(epochs=40, seed=seed)
    return model, train.fit(model, loss, lambda: float(loss(rows)), rows, training=training, label="f", checkpoint=path)
for fold in (1, 2):
    torch.manual_seed(fold)
    build = lambda: torch.nn.Linear(1, 64)
    model = models.model(f"f-{fold}", build, lambda checkpoint: learn(build(), checkpoint))
    frame["x"].append(fold)
    frame["y"].append(float(model.weight.sum()))
frame = pd.DataFrame(frame)"""
NOTEBOOKS = {"02_log": LOG, "03_models": MODELS}


def write_notebooks(folder: Path) -> None:
    """Write the notebooks of the run, and let `csrec report --suite shop` of this process run them."""
    folder.mkdir(parents=True)
    for name, work in NOTEBOOKS.items():
        cells = [
            new_markdown_cell(f"# {name}"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, (OPEN.format(name=name), work, SAY)),
        ]
        write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    parameters.notebooks_folder = lambda: folder
    suites.NOTEBOOKS = {name: suites.Notebook(suites=("shop",)) for name in NOTEBOOKS}
    local_provisioner.launch_kernel = Kernel.launch


class Kernel(subprocess.Popen):
    """A kernel as a fork of its runner, made before that has threads: the imports are done once for all."""

    spare: ClassVar[list["Kernel"]] = []

    def __init__(self):
        read, self._tell = os.pipe()
        self.pid = os.fork()
        self.args, self.returncode, self._child_created, self._waitpid_lock = [], None, True, Lock()
        self.stdin = self.stdout = self.stderr = None
        self._communication_started = False
        if self.pid:
            os.close(read)
            Kernel.spare.append(self)
            return
        os.setsid()
        for other in (self, *Kernel.spare):
            os.close(other._tell)
        if not (told := os.read(read, 2**20)):  # its runner is gone
            os._exit(0)
        start = json.loads(told)
        os.environ.update(start["env"])
        os.chdir(start["cwd"])
        (Path(tempfile.gettempdir()).parent / "kernels" / str(os.getpid())).write_text(state(os.getpid())[1])
        try:
            kernelapp.launch_new_instance(argv=start["words"])
        finally:
            atexit._run_exitfuncs()  # as at the end of a process that is no fork
            os._exit(0)

    @classmethod
    def launch(
        cls, words: list[str], *, env: dict[str, str], cwd: str | None = None, **_: object
    ) -> "Kernel":
        """Start a spare one, in the place of `jupyter_client.launcher.launch_kernel`."""
        kernel = cls.spare.pop()
        # Its environment would have told it who starts it, had it not been imported before.
        words = [*words[3:], f"--IPKernelApp.parent_handle={os.getpid()}"]
        start = {"words": words, "env": env, "cwd": cwd or "."}
        os.write(kernel._tell, json.dumps(start).encode())
        os.close(kernel._tell)
        return kernel


class Run:
    """A run under way, in a process of its own: a fork, too."""

    def __init__(self, reports: Path):
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  read at its end
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 99
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(self._said.fileno(), 2)
            for _ in NOTEBOOKS:
                Kernel()
            words = ["report", "--suite", "shop", "--run", "r", "--out", str(reports), "--jobs", "2"]
            code = cli.main(words, standalone_mode=False) or 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None where it is at work."""
        if self._code is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self._code = os.waitstatus_to_exitcode(ended[1])
        return self._code

    def end(self, seconds: float = LONGEST) -> tuple[int, str]:
        """Wait for its end; return the exit code and what was said of errors."""
        last = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > last:
                os.killpg(self.pid, signal.SIGKILL)
                raise AssertionError(f"no end after {seconds:.0f} s")
            time.sleep(0.05)
        self._said.seek(0)
        return self._code, self._said.read()


def finish(reports: Path) -> tuple[int, str]:
    """Run to the end; return the exit code and what was said of errors."""
    return Run(reports).end()


def digest(run: Path) -> dict[str, str]:
    """Return the hash of all that has to be the same whatever happened: figures, tables, verdicts."""
    files = [path for kind in ("figures", "tables") for path in (run / kind).rglob("*") if path.is_file()]
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, run / "verdicts.json"]
    }


def temporary(reports: Path) -> list[str]:
    """Return the files that no run should leave, in its folder or in that of the system."""
    names = (f"{UNDER_WAY}*", ".lock", "*.part.safetensors")
    found = [path for name in names for path in reports.rglob(name)]
    return [str(path) for path in [*found, *Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")]]


def state(pid: int) -> tuple[str, str]:
    """Return a process's state, and when it was started: numbers of processes are given again."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]


def kernels() -> list[int]:
    """Return the kernels that are at work."""
    found = []
    for path in (Path(tempfile.gettempdir()).parent / "kernels").iterdir():
        with suppress(OSError):
            word, started = state(int(path.name))
            if word != "Z" and started == path.read_text():
                found.append(int(path.name))
    return found


def wait_a_while(run: Run, rng: random.Random) -> None:
    """Let a run work for a random while: to within a notebook, or between two."""
    end = time.monotonic() + rng.uniform(0.0, WHOLE["seconds"])
    while time.monotonic() < end and run.poll() is None:
        time.sleep(0.05)


def _killed(sign: int) -> Callable:
    def disturb(reports: Path, rng: random.Random) -> None:
        run = Run(reports)
        wait_a_while(run, rng)
        if run.poll() is None:
            os.kill(run.pid, sign)
        run.end(60)

    return disturb


def kernel_killed(reports: Path, rng: random.Random) -> None:
    """A kernel is killed under its runner, as by a system without memory."""
    run = Run(reports)
    wait_a_while(run, rng)
    for pid in kernels()[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.end()


def two_runs(reports: Path, rng: random.Random) -> None:
    """The same command twice at once: one says that the other is at work, and leaves it alone."""
    first = Run(reports)
    time.sleep(rng.uniform(0.0, WHOLE["seconds"]))
    codes = sorted(run.end()[0] for run in (Run(reports), first))
    if codes not in ([0, 2], [0, 0]):
        raise AssertionError(f"two runs ended with {codes}")


def vanished(reports: Path, rng: random.Random) -> None:
    """The folder of the run is removed under it."""
    run = Run(reports)
    wait_a_while(run, rng)
    shutil.rmtree(reports / "r", ignore_errors=True)
    _check_said(run.end()[1])


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


def copy_whole(reports: Path) -> None:
    """Put a copy of the undisturbed run there."""
    shutil.copytree(WHOLE["reports"], reports, dirs_exist_ok=True)


def _damaged(pattern: str, damage: Callable[[bytes, random.Random], bytes]) -> Callable:
    """Return a disturbance of one of the files of a pattern in a run that is done."""

    def disturb(reports: Path, rng: random.Random) -> None:
        copy_whole(reports)
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
    copy_whole(reports)
    first, second = rng.sample(sorted((reports / "r").glob("models/*/f*.safetensors")), 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    (reports / "r" / "03_models.html").unlink()


def other_version(reports: Path, rng: random.Random) -> None:
    """What is there was made under other versions: its keys and notes say so, and it is made anew."""
    copy_whole(reports)
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
    copy_whole(reports)
    for name, content in {"a": "[]", "b": "{", "c": '{"notebooks": 3}', "d": "\0"}.items():
        (reports / name).mkdir()
        (reports / name / rng.choice(["manifest.json", "grid.json", "comparison.json"])).write_text(content)
    (reports / "r" / "02_log.html").unlink()


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
    "model-flipped": _damaged("models/*/*", flip),
    "swapped": swapped,
    "other-version": other_version,
    "clock-back": clock_back,
    "broken-sibling": broken_sibling,
}


def _check_said(said: str, expected: str = "") -> None:
    if "Traceback" in said or len(said) > 500 or expected not in said:
        raise AssertionError(said[-600:])


WHOLE: dict[str, object] = {}  # of the undisturbed run: its folder, its files' hashes, the seconds it took


def one(name: str, reports: Path, seed: int) -> dict[str, object]:
    """Do one disturbance, run again, and return what was found wrong."""
    found: dict[str, object] = {}
    try:
        FAULTS[name](reports, random.Random(f"{name} {seed}"))
    except AssertionError as error:
        found["said"] = str(error)
    end = time.monotonic() + 3
    while kernels() and time.monotonic() < end:
        time.sleep(0.1)
    found["orphans"] = kernels()
    code, said = finish(reports)
    found["lost"] = said[-300:] or f"exit {code}" if code else ""
    again = {} if code else digest(reports / "r")
    found["different"] = (
        [file for file, sha in WHOLE["files"].items() if again.get(file) != sha] if again else []
    )
    found["leftovers"] = temporary(reports)
    return {key: value for key, value in found.items() if value}


WRONG = ("lost", "different", "leftovers", "orphans", "said")


def main() -> None:
    """Print a table of counts, a line a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=14)
    parser.add_argument("--begin", type=int, default=0, help="the first seed, to go on from")
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--out", type=Path, default=Path("work/faults"))
    given = parser.parse_args()
    out = given.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    for name in ("tmp", "kernels"):
        (out / name).mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(out / "tmp")
    write_notebooks(out / "notebooks")
    clock, (code, said) = time.monotonic(), finish(out / "whole")
    if code:
        sys.exit(f"the undisturbed run ends with {code}: {said}")
    WHOLE.update(reports=out / "whole", files=digest(out / "whole" / "r"), seconds=time.monotonic() - clock)
    print(f"{len(WHOLE['files'])} files have to be the same; {WHOLE['seconds']:.0f} s a run")
    counts = {name: Counter() for name in given.only.split(",")}
    with suppress(KeyboardInterrupt):
        for seed in range(given.begin, given.begin + given.times):
            for name, count in counts.items():
                reports = out / f"{name}-{seed}" / "reports"
                reports.mkdir(parents=True)
                found = one(name, reports, seed)
                count.update(["times", *found])
                if found:
                    print(f"  {name} {seed}: {json.dumps(found)}", flush=True)
                else:
                    shutil.rmtree(reports.parent)
    print(f"{'fault':16} times", *(f"{word:>9}" for word in WRONG))
    for name, count in {**counts, "all": sum(counts.values(), Counter())}.items():
        print(f"{name:16} {count['times']:5}", *(f"{count[word]:9}" for word in WRONG))
    sys.exit(any(count[word] for count in counts.values() for word in WRONG))


if __name__ == "__main__":
    main()
