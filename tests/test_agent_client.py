"""A language model as the readers: a real local server that misbehaves, kills, secrets."""

import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from email.utils import format_datetime
from pathlib import Path

import pandas as pd
import pytest
from agent_study import KEY, NOWHERE, STEPS, USERS, ask, call, log_of, requests_of
from chat_server import FAULTS, serving
from pandas.testing import assert_frame_equal

from csrec_core.agent.catalogue import load_catalogue
from csrec_core.agent.endpoint import Stopped
from csrec_core.agent.transport import retry_after
from csrec_core.errors import InputError

pytestmark = pytest.mark.usefixtures("api_key")


def test_a_run_against_a_server_that_behaves(good, few_books):
    out, server = good
    log = log_of(out)
    assert log["user"].nunique() == USERS
    assert (log[log["source"] == "system"].groupby("user").size() == STEPS).all()
    requests, answers = requests_of(out)
    assert set(requests["outcome"]) == {"answered"}
    assert len(requests) == len(answers) == sum(server.questions.values()) == len(server.questions)
    names = ("items", "users", "log")
    assert all((out / f"{name}.parquet").is_file() for name in names)
    assert len(pd.read_parquet(out / "items.parquet")) == len(load_catalogue(few_books))


def test_a_server_that_misbehaves_changes_nothing(good, chat, few_books, tmp_path):
    server = chat(faults=FAULTS, every=4)
    with serving(server) as url:
        done = ask(tmp_path / "run", url, few_books, timeout=0.5)
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
def test_concurrency_is_bounded_and_changes_nothing(good, chat, few_books, tmp_path, concurrency):
    lock, under_way, most = threading.Lock(), [0], [0]

    def counted(question, said):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.002)
        with lock:
            under_way[0] -= 1
        return said

    with serving(chat(change=counted)) as url:
        ask(tmp_path / "run", url, few_books, users=30, concurrency=concurrency)
    assert_frame_equal(log_of(tmp_path / "run"), log_of(good[0], users=30))
    assert most[0] <= concurrency and (most[0] > 1) == (concurrency > 1)


def test_killed_again_and_again_nothing_is_asked_twice_and_nothing_lost(good, chat, few_books, tmp_path):
    """Real processes, killed by the server in the middle of a request or a moment after one."""
    rng, kills, child = random.Random(5), [], [None]
    due = set(rng.sample(range(1, 300), 8))

    def on_request(number):
        if number in due:
            due.discard(number)
            if number % 2:
                time.sleep(rng.random() * 0.01)
            os.kill(child[0].pid, signal.SIGKILL)
            kills.append(number)

    context = multiprocessing.get_context("forkserver")
    server, out, starts = chat(on_request=on_request), tmp_path / "run", 0
    with serving(server) as url:
        while not (out / "log.parquet").exists():
            starts += 1
            assert starts < 60
            options = {"resume": (out / "run.json").exists(), "concurrency": 4}
            child[0] = context.Process(target=ask, args=(out, url, few_books), kwargs=options | {"users": 50})
            child[0].start()
            child[0].join()
            assert child[0].exitcode in (0, -signal.SIGKILL)
    assert len(kills) == 8 and child[0].exitcode == 0
    assert_frame_equal(log_of(out), log_of(good[0], users=50))
    requests, answers = requests_of(out)
    in_flight = requests[requests["outcome"].isna()]
    answered = requests[requests["outcome"] == "answered"]
    # Each answer that came was asked for once; what was in flight at a kill is counted, and asked again.
    assert answered["key"].is_unique and set(answered["key"]) == set(answers["key"])
    assert len(answered) + len(in_flight) == len(requests)
    assert 0 < len(in_flight) <= 4 * (starts - 1)
    assert sum(server.questions.values()) <= len(requests)
    assert set(server.questions) <= set(good[1].questions) and len(server.questions) == len(answers)


def test_a_second_run_asks_nothing(good, few_books):
    out, _ = good
    before, log = requests_of(out)[0], log_of(out)
    (out / "log.parquet").unlink()
    # There is no server any more.
    ask(out, NOWHERE, few_books, resume=True)
    assert_frame_equal(log_of(out), log)
    assert_frame_equal(requests_of(out)[0], before)


def everything_written(folder):
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def test_the_key_is_nowhere(chat, few_books, tmp_path, caplog):
    """Not in an answer that repeats it, nor in an error of the server's, nor in a traceback."""
    caplog.set_level(logging.DEBUG)

    def telling(question, said):
        for book in said.get("books", []):
            book["keywords"] = [f"Bearer {KEY}"]
        return said

    server = chat(change=telling)
    with serving(server) as url:
        result = call(tmp_path / "run", url, few_books)
    assert result.exit_code == 0, result.output
    assert any(
        headers.get("authorization", headers.get("Authorization")) == f"Bearer {KEY}"
        for headers in server.headers
    )
    written = everything_written(tmp_path / "run") + result.output.encode() + caplog.text.encode()
    assert b"[key]" in written and KEY.encode() not in written


@pytest.mark.parametrize("status", [401, 400, 500, 429])
def test_the_key_is_in_no_error(chat, few_books, tmp_path, caplog, status):
    caplog.set_level(logging.DEBUG)
    server = chat()
    body = {"error": {"message": f"bad key {KEY} in Authorization: Bearer {KEY}"}}
    server.respond = lambda request: (status, {}, json.dumps(body))
    with serving(server) as url:
        with pytest.raises((InputError, Stopped)) as error:
            ask(tmp_path / "run", url, few_books, tries=2)
        result = call(tmp_path / "other", url, few_books) if status < 429 else None
    told = "".join(traceback.format_exception(error.value)) + caplog.text + (result.output if result else "")
    assert KEY not in told and "[key]" in told
    assert KEY.encode() not in everything_written(tmp_path)
    if result:
        assert result.exit_code == 2 and f"HTTP {status}" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_no_answer_stops_the_run_and_keeps_it(chat, few_books, tmp_path):
    with pytest.raises(Stopped, match="no answer in 2 tries") as error:
        ask(tmp_path / "run", NOWHERE, few_books, tries=2)
    assert error.value.code == 1
    # From where nothing has ever come nothing is waited for long.
    with pytest.raises(Stopped, match="no answer in 4 tries"):
        ask(tmp_path / "run", NOWHERE, few_books, resume=True)
    with serving(chat()) as url:
        ask(tmp_path / "run", url, few_books, users=5, resume=True)
    assert log_of(tmp_path / "run")["user"].nunique() == 5


def test_questions_without_a_usable_answer_are_counted_and_not_asked_again(chat, few_books, tmp_path):
    """One reader's decisions are refused for good: their exposures are missing, nobody else's."""

    def mute(question, said):
        return "No." if question.get("reader", {}).get("number") == 4 and "offer" in question else said

    server = chat(change=mute)
    with serving(server) as url:
        done = ask(tmp_path / "run", url, few_books, users=12, asks=3)
        asked = sum(server.questions.values())
        again = ask(tmp_path / "run", url, few_books, users=12, asks=3, resume=True)
    assert sum(server.questions.values()) == asked
    assert done.silent == again.silent == STEPS
    log = log_of(tmp_path / "run")
    assert set(log.loc[log["source"] == "system", "user"]) == set(range(1, 13)) - {4}
    assert 4 in set(log["user"])
    assert max(server.questions.values()) == 3


def test_an_endpoint_without_schemas_is_asked_in_another_way(good, chat, few_books, tmp_path):
    server, seen = chat(), []

    def respond(request):
        form = request.get("response_format", {}).get("type")
        seen.append(form)
        if form:
            return 400, {}, json.dumps({"error": {"message": f"response_format {form} is not supported"}})
        return None

    server.respond = respond
    with serving(server) as url:
        ask(tmp_path / "run", url, few_books, users=5, concurrency=1)
    assert seen[:3] == ["json_schema", "json_object", None] and set(seen[3:]) == {None}
    assert_frame_equal(log_of(tmp_path / "run"), log_of(good[0], users=5))


def test_a_model_that_answers_nothing_is_not_asked_for_ever(chat, few_books, tmp_path):
    weather = "I would rather talk about the weather."
    server = chat(change=lambda question, said: weather)
    with serving(server) as url:
        with pytest.raises(InputError, match="0 books take part"):
            ask(tmp_path / "run", url, few_books, asks=2)
        assert server.questions.total() == 2 * 4  # it knows no book: no reader is asked about
        server.change = lambda question, said: said if "books" in question else weather
        with pytest.raises(Stopped, match="50 questions in a row"):
            ask(tmp_path / "other", url, few_books, asks=1, users=500)
    assert server.questions.total() <= 8 + 4 + 50 + 8


def test_a_wait_may_be_a_date():
    soon = pd.Timestamp.now("UTC") + pd.Timedelta(seconds=40)
    assert 35 < retry_after(format_datetime(soon.to_pydatetime(), usegmt=True)) <= 41


def test_a_server_that_asks_for_an_hour_is_left_alone(chat, few_books, tmp_path):
    server = chat()
    server.respond = lambda request: (429, {"retry-after": "3600"}, "{}")
    with serving(server) as url, pytest.raises(Stopped, match=r"asks to wait 3,600 s"):
        ask(tmp_path / "run", url, few_books)
