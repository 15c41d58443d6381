"""A language model as the readers: a real local server that misbehaves, kills, limits, secrets."""

import asyncio
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import threading
import time
import traceback
from contextlib import closing
from email.utils import format_datetime
from pathlib import Path

import pandas as pd
import pytest
from chat_server import FAULTS, ChatServer, completion, serving
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

from csrec_core.agent import run
from csrec_core.agent.cache import Cache
from csrec_core.agent.catalogue import load_catalogue
from csrec_core.agent.client import Endpoint, Stopped, _retry_after, check_endpoint
from csrec_core.agent.run import Study, run_study
from csrec_core.cli import cli
from csrec_core.data.loaders import make_dataset
from csrec_core.errors import InputError

KEY = "sk-Zm9yIHlvdXIgZXllcw-0123456789"
BOOKS = 6  # of each genre: the tests' catalogue
USERS, STEPS = 200, 3


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("CSREC_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    path = tmp_path_factory.mktemp("catalogue") / "books.csv"
    books = load_catalogue().groupby("genre").head(BOOKS)
    books.drop(columns="item").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def chat(catalogue):
    """Make servers that know the catalogue."""
    books = load_catalogue(catalogue)
    known = {
        "genre_of": dict(zip(books["title"], books["genre"], strict=True)),
        "authors_of": dict(zip(books["title"], books["author"], strict=True)),
    }
    return lambda **options: ChatServer(**known, **options)


def ask(out, url, catalogue, *, users=USERS, steps=STEPS, resume=False, force=False, **options):
    """Run the study against a server; also what the processes of the kill test do."""
    study = Study(agent="openai", users=users, steps=steps, seed=1, catalogue=catalogue, model="m")
    given = {"timeout": 5.0, "backoff": 0.01} | options
    return run_study(
        study, out, endpoint=Endpoint(model="m", base_url=url, **given), resume=resume, force=force
    )


@pytest.fixture(scope="module")
def good(chat, catalogue, tmp_path_factory):
    """A run of 200 readers against a server that behaves; its folder and its server."""
    out, server = tmp_path_factory.mktemp("good"), chat()
    with pytest.MonkeyPatch.context() as patch, serving(server) as url:
        patch.setenv("CSREC_API_KEY", KEY)
        ask(out / "run", url, catalogue)
    return out / "run", server


def log_of(folder):
    return pd.read_parquet(Path(folder) / "log.parquet")


def requests_of(folder):
    """The requests written down in a folder's cache, and the keys of its answers."""
    with closing(sqlite3.connect(Path(folder) / "cache.sqlite")) as base:
        requests = pd.read_sql_query("SELECT * FROM requests", base)
        answers = pd.read_sql_query("SELECT key, answer FROM answers", base)
    return requests, answers


def test_a_run_against_a_server_that_behaves(good, catalogue):
    out, server = good
    log = log_of(out)
    assert log["user"].nunique() == USERS
    assert (log[log["source"] == "system"].groupby("user").size() == STEPS).all()
    requests, answers = requests_of(out)
    assert set(requests["outcome"]) == {"answered"}
    assert len(requests) == len(answers) == sum(server.questions.values()) == len(server.questions)
    names = ("items", "users", "log")
    assert all((out / f"{name}.parquet").is_file() for name in names)
    assert len(pd.read_parquet(out / "items.parquet")) == len(load_catalogue(catalogue))


def test_a_server_that_misbehaves_changes_nothing(good, chat, catalogue, tmp_path):
    server = chat(faults=FAULTS, every=4)
    with serving(server) as url:
        done = ask(tmp_path / "run", url, catalogue, timeout=0.5)
    assert set(FAULTS) <= set(server.dealt) and min(server.dealt[fault] for fault in FAULTS) >= 10
    assert_frame_equal(log_of(tmp_path / "run"), log_of(good[0]))
    assert done.silent == 0
    requests, answers = requests_of(tmp_path / "run")
    outcomes = set(requests["outcome"])
    assert {
        "HTTP 429",
        "HTTP 500",
        "HTTP 503",
        "time-out",
        "broken response",
        "cut off",
        "wrong item",
    } <= outcomes
    assert {"no JSON", "duplicate", "contradiction", "no probability", "refused", "answered"} <= outcomes
    assert (requests["outcome"] == "answered").sum() == len(answers)
    report = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert report["requests"] == requests["outcome"].value_counts().to_dict()


@pytest.mark.parametrize("concurrency", [1, 16])
def test_concurrency_is_bounded_and_changes_nothing(good, chat, catalogue, tmp_path, concurrency):
    lock, under_way, most = threading.Lock(), [0], [0]
    server = chat()
    answer = server.answer

    def counted(question):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.002)
        with lock:
            under_way[0] -= 1
        return answer(question)

    server.answer = counted
    with serving(server) as url:
        ask(tmp_path / "run", url, catalogue, users=30, concurrency=concurrency)
    log = log_of(good[0])
    few = log[log["user"] <= 30].reset_index(drop=True)
    assert_frame_equal(log_of(tmp_path / "run"), few)
    assert most[0] <= concurrency and (most[0] > 1) == (concurrency > 1)


def test_killed_twenty_times_nothing_is_asked_twice_and_nothing_lost(good, chat, catalogue, tmp_path):
    """Real processes, killed by the server in the middle of a request or a moment after one."""
    rng, kills, child = random.Random(5), [], [None]
    due = set(rng.sample(range(1, 520), 20))

    def on_request(number):
        if number in due:
            due.discard(number)
            if number % 2:
                time.sleep(rng.random() * 0.01)
            os.kill(child[0].pid, signal.SIGKILL)
            kills.append(number)

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["csrec_core.agent.run", "openai"])
    server, out, starts = chat(on_request=on_request), tmp_path / "run", 0
    with serving(server) as url:
        while not (out / "log.parquet").exists():
            starts += 1
            assert starts < 60
            options = {"resume": (out / "run.json").exists(), "concurrency": 4}
            child[0] = context.Process(
                target=ask, args=(out, url, catalogue), kwargs=options | {"users": 100}
            )
            child[0].start()
            child[0].join()
            assert child[0].exitcode in (0, -signal.SIGKILL)
    assert len(kills) == 20 and child[0].exitcode == 0
    log = log_of(good[0])
    assert_frame_equal(log_of(out), log[log["user"] <= 100].reset_index(drop=True))
    requests, answers = requests_of(out)
    in_flight = requests[requests["outcome"].isna()]
    answered = requests[requests["outcome"] == "answered"]
    # Each answer that came was asked for once; what was in flight at a kill is counted, and asked again.
    assert answered["key"].is_unique and set(answered["key"]) == set(answers["key"])
    assert len(answered) + len(in_flight) == len(requests)
    assert 0 < len(in_flight) <= 4 * (starts - 1)
    assert sum(server.questions.values()) <= len(requests)
    assert set(server.questions) <= set(good[1].questions) and len(server.questions) == len(answers)


def test_a_second_run_asks_nothing(good, catalogue):
    out, _ = good
    before, log = requests_of(out)[0], log_of(out)
    (out / "log.parquet").unlink()
    # There is no server any more.
    ask(out, "http://127.0.0.1:9/v1", catalogue, resume=True)
    assert_frame_equal(log_of(out), log)
    assert_frame_equal(requests_of(out)[0], before)


def test_more_readers_are_added_to_a_run(chat, catalogue, tmp_path):
    server = chat()
    with serving(server) as url:
        ask(tmp_path / "run", url, catalogue, users=60)
        first = log_of(tmp_path / "run")
        ask(tmp_path / "run", url, catalogue, users=70, resume=True)
    assert max(server.questions.values()) == 1
    both = log_of(tmp_path / "run")
    assert both["user"].max() == 70
    assert_frame_equal(both[both["user"] <= 60].reset_index(drop=True), first)


def call(out, url, catalogue, *words, users=25):
    fixed = ["--agent", "openai", "--model", "m", "--base-url", url, "--catalogue", str(catalogue)]
    sizes = ["--users", str(users), "--steps", "3", "--seed", "1", "--out", str(out)]
    return CliRunner().invoke(cli, ["data", "books", *fixed, *sizes, *words])


@pytest.mark.parametrize(
    ("limit", "words"),
    [("--limit-requests", "limit of 60 requests"), ("--limit-tokens", "limit of 9,000 tokens")],
)
def test_a_limit_stops_the_run_and_a_higher_one_goes_on(good, chat, catalogue, tmp_path, limit, words):
    server, low = chat(), "60" if limit == "--limit-requests" else "9000"
    with serving(server) as url:
        stopped = call(tmp_path / "run", url, catalogue, limit, low)
        assert stopped.exit_code == 3 and words in stopped.stderr and "--resume" in stopped.stderr
        assert not (tmp_path / "run" / "log.parquet").exists()
        asked = sum(server.questions.values())
        if limit == "--limit-requests":
            assert asked == 60
        assert 0 < asked <= 90
        again = call(tmp_path / "run", url, catalogue, limit, low, "--resume")
        assert again.exit_code == 3
        if limit == "--limit-requests":
            assert sum(server.questions.values()) == asked
        else:  # prompts are estimated until they are counted, answers known when they come
            requests = requests_of(tmp_path / "run")[0]
            spent = requests[["prompt_tokens", "completion_tokens"]].sum().sum()
            assert 5000 < spent <= 9000 + 8 * 10
        done = call(tmp_path / "run", url, catalogue, limit, "1000000", "--resume", "--price", "1,2")
    assert done.exit_code == 0, done.output
    assert max(server.questions.values()) == 1
    log = log_of(good[0])
    assert_frame_equal(log_of(tmp_path / "run"), log[log["user"] <= 25].reset_index(drop=True))
    requests = len(requests_of(tmp_path / "run")[0])
    dollars = requests * (100 * 1 + 10 * 2) / 1e6
    assert f"{requests:,} requests, {110 * requests:,} tokens, ${dollars:,.2f}" in done.stdout


def test_ctrl_c_leaves_a_run_that_goes_on(good, chat, catalogue, tmp_path):
    """In a terminal, which shows a progress bar with the cost so far."""
    child = [None]
    server = chat(on_request=lambda number: number == 40 and os.kill(child[0].pid, signal.SIGINT))
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 160))
    with serving(server) as url:
        words = ["--agent", "openai", "--model", "m", "--base-url", url, "--catalogue", catalogue]
        sizes = ["--users", "25", "--steps", "3", "--seed", "1", "--out", tmp_path / "run", "--price", "1,2"]
        command = [sys.executable, "-m", "csrec_core", "data", "books", *words, *sizes]
        child[0] = subprocess.Popen(command, stderr=slave, stdout=subprocess.PIPE)
        child[0].communicate(timeout=60)
        os.close(slave)
        shown = os.read(master, 100_000).decode()
        os.close(master)
        assert child[0].returncode == 130, shown
        assert "--resume goes on with it" in shown and "Traceback" not in shown
        assert re.search(r"question.*requests, [\d,]+ tokens, \$\d", shown)
        done = call(tmp_path / "run", url, catalogue, "--resume")
    assert done.exit_code == 0 and "%|" not in done.output
    log = log_of(good[0])
    assert_frame_equal(log_of(tmp_path / "run"), log[log["user"] <= 25].reset_index(drop=True))


def everything_written(folder):
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def test_the_key_is_nowhere(chat, catalogue, tmp_path, caplog):
    """Not in an answer that repeats it, nor in an error of the server's, nor in a traceback."""
    caplog.set_level(logging.DEBUG)
    server = chat()
    answer = server.answer

    def telling(question):
        said = answer(question)
        for book in said.get("books", []):
            book["keywords"] = [f"Bearer {KEY}"]
        return said

    server.answer = telling
    with serving(server) as url:
        result = call(tmp_path / "run", url, catalogue)
    assert result.exit_code == 0, result.output
    assert any(
        headers.get("authorization", headers.get("Authorization")) == f"Bearer {KEY}"
        for headers in server.headers
    )
    written = everything_written(tmp_path / "run") + result.output.encode() + caplog.text.encode()
    assert b"[key]" in written and KEY.encode() not in written


@pytest.mark.parametrize("status", [401, 400, 500, 429])
def test_the_key_is_in_no_error(chat, catalogue, tmp_path, caplog, status):
    caplog.set_level(logging.DEBUG)
    server = chat()
    body = {"error": {"message": f"bad key {KEY} in Authorization: Bearer {KEY}"}}
    server.respond = lambda request: (status, {}, json.dumps(body))
    with serving(server) as url:
        with pytest.raises((InputError, Stopped)) as error:
            ask(tmp_path / "run", url, catalogue, tries=2)
        result = call(tmp_path / "other", url, catalogue) if status < 429 else None
    told = "".join(traceback.format_exception(error.value)) + caplog.text + (result.output if result else "")
    assert KEY not in told and "[key]" in told
    assert KEY.encode() not in everything_written(tmp_path)
    if result:
        assert result.exit_code == 2 and f"HTTP {status}" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_no_answer_stops_the_run_and_keeps_it(chat, catalogue, tmp_path):
    with pytest.raises(Stopped, match="no answer in 2 tries") as error:
        ask(tmp_path / "run", "http://127.0.0.1:9/v1", catalogue, tries=2)
    assert error.value.code == 1
    with serving(chat()) as url:
        ask(tmp_path / "run", url, catalogue, users=5, resume=True)
    assert log_of(tmp_path / "run")["user"].nunique() == 5


def test_questions_without_a_usable_answer_are_counted_and_not_asked_again(chat, catalogue, tmp_path):
    """One reader's decisions are refused for good: their exposures are missing, nobody else's."""
    server = chat()

    def respond(request):
        question = json.loads(request["messages"][1]["content"].split("QUESTION\n")[1])
        server.questions[json.dumps(question)] += 1
        mute = question.get("reader", {}).get("number") == 4 and "offer" in question
        return 200, {}, json.dumps(completion("No." if mute else json.dumps(server.answer(question))))

    server.respond = respond
    with serving(server) as url:
        done = ask(tmp_path / "run", url, catalogue, users=12, asks=3)
        asked = sum(server.questions.values())
        again = ask(tmp_path / "run", url, catalogue, users=12, asks=3, resume=True)
    assert sum(server.questions.values()) == asked
    assert done.silent == again.silent == STEPS
    log = log_of(tmp_path / "run")
    assert set(log.loc[log["source"] == "system", "user"]) == set(range(1, 13)) - {4}
    assert 4 in set(log["user"])
    assert max(server.questions.values()) == 3


def test_an_endpoint_without_schemas_is_asked_in_another_way(good, chat, catalogue, tmp_path):
    server, seen = chat(), []

    def respond(request):
        form = request.get("response_format", {}).get("type")
        seen.append(form)
        if form:
            return 400, {}, json.dumps({"error": {"message": f"response_format {form} is not supported"}})
        question = json.loads(request["messages"][1]["content"].split("QUESTION\n")[1])
        return 200, {}, json.dumps(completion(json.dumps(server.answer(question))))

    server.respond = respond
    with serving(server) as url:
        ask(tmp_path / "run", url, catalogue, users=5, concurrency=1)
    assert seen[:3] == ["json_schema", "json_object", None] and set(seen[3:]) == {None}
    log = log_of(good[0])
    assert_frame_equal(log_of(tmp_path / "run"), log[log["user"] <= 5].reset_index(drop=True))


def test_a_model_that_answers_by_position_is_stopped(chat, catalogue, tmp_path):
    server = chat()
    answer = server.answer

    def positional(question):
        said = answer(question)
        if "offer" in question:
            place = sum("recommended" in event["what"] for event in question["history"])
            said |= {"decision": ["accept", "reject"][place % 2], "probability": [0.9, 0.1][place % 2]}
        return said

    server.answer = positional
    with serving(server) as url:
        result = call(tmp_path / "run", url, catalogue, users=USERS)
        assert result.exit_code == 1 and "quality gate" in result.stderr and "position" in result.stderr
        assert not (tmp_path / "run" / "log.parquet").exists()
        spent = sum(server.questions.values())
        assert spent < 400
        assert "FAILED" in (tmp_path / "run" / "quality.html").read_text()
        forced = call(tmp_path / "run", url, catalogue, "--resume", "--force", users=60)
    assert forced.exit_code == 0 and "warning" in forced.stderr
    assert max(server.questions.values()) == 1
    assert log_of(tmp_path / "run")["user"].nunique() == 60


def test_html_in_an_answer_or_a_title_is_text(chat, catalogue, tmp_path):
    books = load_catalogue(catalogue).drop(columns="item")
    books.loc[0, "title"] = "<script>alert('title')</script>"
    books.to_csv(tmp_path / "own.csv", index=False)
    server = chat()
    server.genre_of[books.loc[0, "title"]], server.authors_of[books.loc[0, "title"]] = "crime", "x"
    answer = server.answer

    def marked(question):
        said = answer(question)
        for book in said.get("books", []):
            book["keywords"] = ["<img src=x onerror=alert(1)>", "$x<y$"]
        return said

    server.answer = marked
    with serving(server) as url:
        ask(tmp_path / "run", url, tmp_path / "own.csv", users=5)
    page = (tmp_path / "run" / "quality.html").read_text()
    assert "&lt;script&gt;" in page and "&lt;img src=x" in page
    assert "<script" not in page and "<img" not in page


def test_a_log_of_an_agent_is_a_log_like_any_other(good):
    out, _ = good
    checked = CliRunner().invoke(cli, ["data", "check", str(out)])
    assert checked.exit_code == 0
    assert checked.output == CliRunner().invoke(cli, ["data", "check", str(out / "log.parquet")]).output
    dataset = make_dataset("log", path=str(out / "log.parquet"))
    assert set(dataset.log["item"]) <= set(dataset.items["item"])
    assert next(iter(dataset.users.columns)) == "user" and dataset.items["genre"].nunique() == 10
    assert {"probability", "propensity", "timestamp"} <= set(dataset.log.columns)


def test_two_runs_at_a_time_and_foreign_files_are_refused(good, catalogue, tmp_path):
    out, _ = good
    with pytest.raises(InputError, match=r"holds a run already; --resume"):
        ask(out, "http://127.0.0.1:9/v1", catalogue)
    with pytest.raises(InputError, match=r"its run has steps = 3, not 4"):
        ask(out, "http://127.0.0.1:9/v1", catalogue, steps=4, resume=True)
    other = Cache(out / "cache.sqlite")
    with pytest.raises(InputError, match="another program is at work"):
        ask(out, "http://127.0.0.1:9/v1", catalogue, resume=True)
    other.close()
    (tmp_path / "cache.sqlite").write_text("no database, but a text of some length" * 20)
    with pytest.raises(InputError, match="not a cache"):
        ask(tmp_path, "http://127.0.0.1:9/v1", catalogue)
    (tmp_path / "cache.sqlite").unlink()
    (tmp_path / "log.parquet").write_text("somebody's log")
    with pytest.raises(InputError, match="holds data, but no run"):
        ask(tmp_path, "http://127.0.0.1:9/v1", catalogue, resume=True)
    assert (tmp_path / "log.parquet").read_text() == "somebody's log"


def test_a_mistake_before_the_first_answer_costs_no_folder(chat, catalogue, tmp_path):
    server = chat()
    server.respond = lambda request: (404, {}, '{"error": {"message": "no such model"}}')
    with serving(server) as url:
        refused = call(tmp_path / "run", url, catalogue)
        assert refused.exit_code == 2 and "no such model" in refused.stderr
        server.respond = None
        assert call(tmp_path / "run", url, catalogue).exit_code == 0


def test_a_model_that_answers_nothing_is_not_asked_for_ever(chat, catalogue, tmp_path):
    server, asked = chat(), []

    def respond(request):
        asked.append(request)
        return 200, {}, json.dumps(completion("I would rather talk about the weather."))

    server.respond = respond
    with serving(server) as url:
        with pytest.raises(InputError, match="0 books take part"):
            ask(tmp_path / "run", url, catalogue, asks=2)
        assert len(asked) == 2 * 4  # it knows no book: no reader is asked about

        def later(request):
            question = json.loads(request["messages"][1]["content"].split("QUESTION\n")[1])
            if "books" not in question:
                return respond(request)
            return 200, {}, json.dumps(completion(json.dumps(server.answer(question))))

        server.respond = later
        with pytest.raises(Stopped, match="50 questions in a row"):
            ask(tmp_path / "other", url, catalogue, asks=1, users=500)
    assert len(asked) <= 8 + 50 + 8


def test_it_runs_within_a_notebook(good, chat, catalogue, tmp_path):
    """Where a loop of asyncio is running already."""

    async def cell(url):
        return ask(tmp_path / "run", url, catalogue, users=5)

    with serving(chat()) as url:
        asyncio.run(cell(url))
    log = log_of(good[0])
    assert_frame_equal(log_of(tmp_path / "run"), log[log["user"] <= 5].reset_index(drop=True))


def test_other_words_to_the_model_are_another_run(good, catalogue, monkeypatch):
    monkeypatch.setattr(run, "VERSION", "new")
    with pytest.raises(InputError, match="its run has prompts = "):
        ask(good[0], "http://127.0.0.1:9/v1", catalogue, resume=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "m"], "needs --agent"),
        (["--resume"], "--resume needs --agent"),
        (["--agent", "simulater"], "did you mean 'simulator'"),
        (["--agent", "openai"], "needs --model"),
        (["--agent", "openai", "--model", "m"], "no key: set CSREC_API_KEY or OPENAI_API_KEY"),
        (["--agent", "openai", "--model", "m", "--base-url", "localhost:8000"], "expected a URL such as"),
        (
            ["--agent", "openai", "--model", "m", "--base-url", "http://me:secret@host/v1"],
            "more than an address",
        ),
        (
            ["--agent", "openai", "--model", "m", "--base-url", "http://h", "--price", "3"],
            "--price: expected two",
        ),
        (["--agent", "openai", "--model", "m", "--effect", "1"], "--effect is for simulated readers"),
        (["--agent", "simulator", "--items", "5"], "--items is for the books world"),
        (["--agent", "simulator", "--catalogue", "absent.csv"], "absent.csv: no such file"),
        (["--agent", "simulator", "--steps", "400"], "too few for 400 steps"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(monkeypatch, tmp_path, words, says):
    monkeypatch.delenv("CSREC_API_KEY")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["data", "books", "--out", "run", *words])
    assert result.exit_code == 2 and says in result.stderr, result.output
    assert len(result.stderr.splitlines()) == 1 and "secret" not in result.stderr
    assert not list(tmp_path.rglob("log.parquet"))


def test_without_the_package_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'csrec-core\[openai\]'"):
        check_endpoint(Endpoint(model="m"))


def test_retry_after_is_seconds_or_a_date():
    assert _retry_after({"retry-after": "2.5"}) == 2.5
    assert _retry_after({}) is None and _retry_after({"retry-after": "soon"}) is None
    soon = pd.Timestamp.now("UTC") + pd.Timedelta(seconds=40)
    assert 35 < _retry_after({"retry-after": format_datetime(soon.to_pydatetime(), usegmt=True)}) <= 41


def test_a_server_that_asks_for_an_hour_is_left_alone(chat, catalogue, tmp_path):
    server = chat()
    server.respond = lambda request: (429, {"retry-after": "3600"}, "{}")
    with serving(server) as url, pytest.raises(Stopped, match=r"asks to wait 3,600 s"):
        ask(tmp_path / "run", url, catalogue)
