"""Work in parts: the same in one process and in several, and when a worker is killed in the middle."""

import json
import os
import signal
import subprocess
import sys

import pytest
from distributed import LocalCluster

from csrec_core import cluster
from csrec_core.cluster import run_tasks
from csrec_core.data.mssd.ingest import ingest
from csrec_core.data.mssd.part import ingest_file
from csrec_core.data.mssd.simulate import Listeners, simulate_mssd
from csrec_core.errors import InputError


def square(number):
    if number == 3:
        raise InputError("no threes")
    return number**2, os.getpid()


def fail():
    raise ZeroDivisionError


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(path, folder, options):
    """Ingest a file, but the first time that one is half done, be killed."""
    note = folder / "killed"
    if path.name.endswith("1.csv") and not note.exists():
        note.touch()
        (folder / "log").mkdir(exist_ok=True)
        (folder / "log" / ".log_000000000001-half.parquet").write_text("half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return ingest_file(path, folder, options)


def test_results_come_by_name_wherever_they_are_made(scheduler):
    tasks = {str(number): (number,) for number in range(6)}
    here = dict(run_tasks(square, tasks))
    there = dict(run_tasks(square, tasks, workers=2))
    far = dict(run_tasks(square, tasks, scheduler=scheduler))
    for results in (here, there, far):
        assert str(results.pop("3")) == "no threes"
        assert {name: value for name, (value, _) in results.items()} == {
            "0": 0,
            "1": 1,
            "2": 4,
            "4": 16,
            "5": 25,
        }
    processes = [{process for _, process in results.values()} for results in (here, there, far)]
    assert processes[0] == {os.getpid()} and not set.intersection(*processes[:2])
    assert len(processes[1]) <= 2 and not processes[0] & processes[2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_ours_is_no_bad_input(workers):
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(fail, {"a": (), "b": ()}, workers=workers))


def test_a_killed_worker_changes_nothing(scheduler, tmp_path, monkeypatch):
    files = simulate_mssd(tmp_path / "csv", 4000, Listeners(tracks=200), per_file=1000)
    here = ingest(*files, tmp_path / "here")
    monkeypatch.setattr("csrec_core.data.mssd.ingest.ingest_file", die_once)
    there = ingest(*files, tmp_path / "there", scheduler=scheduler)
    assert (tmp_path / "there" / "killed").exists() and there.failures == {}
    assert there.summary == here.summary
    for table in ("log", "index"):
        for path in (tmp_path / "here" / table).iterdir():
            assert (tmp_path / "there" / table / path.name).read_bytes() == path.read_bytes()
    assert not list((tmp_path / "there").rglob(".*"))


def add_or_die_once(number, note, more):
    if not note.exists():
        note.touch()
        die()
    return number + more


def test_what_all_tasks_share_outlives_the_only_worker(tmp_path):
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as alone:
        tasks = {str(number): (number, tmp_path / "killed") for number in range(3)}
        results = dict(run_tasks(add_or_die_once, tasks, common=(10,), scheduler=alone.scheduler_address))
    assert results == {"0": 10, "1": 11, "2": 12}


def test_a_task_that_kills_every_worker_is_given_up(scheduler):
    ((name, error),) = run_tasks(die, {"log_7": ()}, scheduler=scheduler)
    assert name == "log_7" and "log_7: its workers died" in str(error)


def test_no_scheduler_is_bad_input(monkeypatch):
    monkeypatch.setattr(cluster, "SCHEDULER_PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:1", "nowhere://x"):
        with pytest.raises(InputError, match="no Dask scheduler at"):
            list(run_tasks(square, {"a": (1,)}, scheduler=address))


LISTENING = """
import json
import psutil
from csrec_core.cluster import work_place

if __name__ == "__main__":
    with work_place(workers=2) as address:
        here = psutil.Process()
        family = [here, *here.children(recursive=True)]
        sockets = [one for process in family for one in process.net_connections("inet")]
        print(json.dumps([address, [one.laddr for one in sockets if one.status == psutil.CONN_LISTEN]]))
"""


def test_processes_here_listen_on_loopback_alone(tmp_path):
    """What serves a port, of a process and all that it has started, is reached from this machine only."""
    script = tmp_path / "listening.py"  # a process of its own: this one has servers of other tests
    script.write_text(LISTENING)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    address, sockets = json.loads(done.stdout)
    assert int(address.rsplit(":", 1)[1]) in {port for _, port in sockets}
    assert {host for host, _ in sockets} == {"127.0.0.1"}
