"""A run of an agent as its user meets it: limits, Ctrl-C, the gate, pages, folders, bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from functools import partial

import pytest
from agent_study import NOWHERE, USERS, ask, call, log_of, requests_of
from chat_server import serving
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

from csrec_core.agent import run
from csrec_core.agent.cache import AnswerCache
from csrec_core.agent.catalogue import load_catalogue
from csrec_core.cli import cli
from csrec_core.data.loaders import make_dataset
from csrec_core.errors import InputError

pytestmark = pytest.mark.usefixtures("api_key")


def test_more_readers_are_added_to_a_run(chat, few_books, tmp_path):
    server = chat()
    with serving(server) as url:
        ask(tmp_path / "run", url, few_books, users=60)
        first = log_of(tmp_path / "run")
        ask(tmp_path / "run", url, few_books, users=70, resume=True)
    assert max(server.questions.values()) == 1
    both = log_of(tmp_path / "run")
    assert both["user"].max() == 70
    assert_frame_equal(both[both["user"] <= 60].reset_index(drop=True), first)


@pytest.mark.parametrize(
    ("limit", "words"),
    [("--limit-requests", "limit of 60 requests"), ("--limit-tokens", "limit of 9,000 tokens")],
)
def test_a_limit_stops_the_run_and_a_higher_one_goes_on(good, chat, few_books, tmp_path, limit, words):
    server, low = chat(), "60" if limit == "--limit-requests" else "9000"
    with serving(server) as url:
        stopped = call(tmp_path / "run", url, few_books, limit, low)
        assert stopped.exit_code == 3 and words in stopped.stderr and "--resume" in stopped.stderr
        assert not (tmp_path / "run" / "log.parquet").exists()
        asked = sum(server.questions.values())
        if limit == "--limit-requests":
            assert asked == 60
        assert 0 < asked <= 90
        again = call(tmp_path / "run", url, few_books, limit, low, "--resume")
        assert again.exit_code == 3
        if limit == "--limit-requests":
            assert sum(server.questions.values()) == asked
        else:  # prompts are estimated until they are counted, answers known when they come
            requests = requests_of(tmp_path / "run")[0]
            spent = requests[["prompt_tokens", "completion_tokens"]].sum().sum()
            assert 5000 < spent <= 9000 + 8 * 10
        done = call(tmp_path / "run", url, few_books, limit, "1000000", "--resume", "--price", "1,2")
    assert done.exit_code == 0, done.output
    assert max(server.questions.values()) == 1
    assert_frame_equal(log_of(tmp_path / "run"), log_of(good[0], users=25))
    requests = len(requests_of(tmp_path / "run")[0])
    dollars = requests * (100 * 1 + 10 * 2) / 1e6
    assert f"{requests:,} requests, {110 * requests:,} tokens, ${dollars:,.2f}" in done.stdout


def test_ctrl_c_leaves_a_run_that_goes_on(good, chat, few_books, tmp_path):
    """In a terminal, which shows a progress bar with the cost so far."""
    child = [None]

    def interrupt(number):
        time.sleep(0.05)  # in all, longer than the bar waits between two drawings
        if number == 40:
            os.kill(child[0].pid, signal.SIGINT)

    server = chat(on_request=interrupt)
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 160))
    with serving(server) as url:
        words = ["--agent", "openai", "--model", "m", "--base-url", url, "--catalogue", few_books]
        sizes = ["--users", "25", "--steps", "3", "--seed", "1", "--out", tmp_path / "run", "--price", "1,2"]
        command = [sys.executable, "-m", "csrec_core", "data", "books", *words, *sizes]
        # A shell that starts the tests in the background has them ignore SIGINT, which a child would inherit.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        child[0] = subprocess.Popen(command, stderr=slave, stdout=subprocess.PIPE, preexec_fn=heed)
        child[0].communicate(timeout=60)
        os.close(slave)
        shown = os.read(master, 100_000).decode()
        os.close(master)
        assert child[0].returncode == 130, shown
        assert "--resume goes on with it" in shown and "Traceback" not in shown
        assert re.search(r"question.*requests, [\d,]+ tokens, \$\d", shown)
        done = call(tmp_path / "run", url, few_books, "--resume")
    assert done.exit_code == 0 and "%|" not in done.output
    assert_frame_equal(log_of(tmp_path / "run"), log_of(good[0], users=25))


def test_a_model_that_answers_by_step_is_stopped(chat, few_books, tmp_path):

    def positional(question, said):
        if "offer" in question:
            place = sum("recommended" in event["what"] for event in question["history"])
            said |= {"decision": ["accept", "reject"][place % 2], "probability": [0.9, 0.1][place % 2]}
        return said

    server = chat(change=positional)
    with serving(server) as url:
        result = call(tmp_path / "run", url, few_books, users=USERS)
        assert (
            result.exit_code == 1 and "quality gate" in result.stderr and "exposure number" in result.stderr
        )
        assert not (tmp_path / "run" / "log.parquet").exists()
        spent = sum(server.questions.values())
        assert spent < 400
        assert "FAILED" in (tmp_path / "run" / "quality.html").read_text()
        forced = call(tmp_path / "run", url, few_books, "--resume", "--force", users=60)
    assert forced.exit_code == 0 and "warning" in forced.stderr
    assert max(server.questions.values()) == 1
    assert log_of(tmp_path / "run")["user"].nunique() == 60


def test_html_in_an_answer_or_a_title_is_text(chat, few_books, tmp_path):
    books = load_catalogue(few_books).drop(columns="item")
    books.loc[0, "title"] = "<script>alert('title')</script>"
    books.to_csv(tmp_path / "own.csv", index=False)

    def marked(question, said):
        for book in said.get("books", []):
            book["keywords"] = ["<img src=x onerror=alert(1)>", "$x<y$", "=1+1", "\ud800 half a character"]
        return said

    server = chat(change=marked)
    server.genre_of[books.loc[0, "title"]], server.authors_of[books.loc[0, "title"]] = "crime", "x"
    with serving(server) as url:
        ask(tmp_path / "run", url, tmp_path / "own.csv", users=5)
    page = (tmp_path / "run" / "quality.html").read_text()
    assert "&lt;script&gt;" in page and "&lt;img src=x" in page
    assert "<script" not in page and "<img" not in page


def test_who_knows_what_does_not_exist_is_told_of(good, chat, few_books, tmp_path):
    def boasting(question, said):
        return {"books": [book | {"known": True} for book in said["books"]]} if "books" in said else said

    with serving(chat(change=boasting)) as url:
        done = ask(tmp_path / "run", url, few_books, users=5)
    assert done.made_up == 1
    told = [json.loads((folder / "quality.json").read_text()) for folder in (tmp_path / "run", good[0])]
    assert "100% of the made-up books" in told[0]["warnings"][0]
    assert "made-up" not in " ".join(told[1]["warnings"])
    assert told[1]["books"] == {"asked": 60, "kept": 60, "share_of_made_up_known": 0.0}


def test_a_log_of_an_agent_is_a_log_like_any_other(good):
    out, _ = good
    folder, file = (
        CliRunner().invoke(cli, ["data", "check", str(path)]) for path in (out, out / "log.parquet")
    )
    assert folder.exit_code == 0
    folder, file = (result.output.split("to go on")[0] for result in (folder, file))
    assert folder.removeprefix("run") == file.removeprefix("log")  # their names
    dataset = make_dataset("log", path=str(out / "log.parquet"))
    assert set(dataset.log["item"]) <= set(dataset.items["item"])
    assert next(iter(dataset.users.columns)) == "user" and dataset.items["genre"].nunique() == 10
    assert {"probability", "propensity", "timestamp"} <= set(dataset.log.columns)


def test_two_runs_at_a_time_and_foreign_files_are_refused(good, few_books, tmp_path):
    out, _ = good
    with pytest.raises(InputError, match=r"holds a run already; --resume"):
        ask(out, NOWHERE, few_books)
    with pytest.raises(InputError, match=r"its run has steps = 3, not 4"):
        ask(out, NOWHERE, few_books, steps=4, resume=True)
    other = AnswerCache(out / "cache.sqlite")
    with pytest.raises(InputError, match="another program is at work"):
        ask(out, NOWHERE, few_books, resume=True)
    other.close()
    (tmp_path / "cache.sqlite").write_text("no database, but a text of some length" * 20)
    with pytest.raises(InputError, match="not a cache"):
        ask(tmp_path, NOWHERE, few_books)
    (tmp_path / "cache.sqlite").unlink()
    (tmp_path / "log.parquet").write_text("somebody's log")
    with pytest.raises(InputError, match="holds data, but no run"):
        ask(tmp_path, NOWHERE, few_books, resume=True)
    assert (tmp_path / "log.parquet").read_text() == "somebody's log"


def test_a_mistake_before_the_first_answer_costs_no_folder(chat, few_books, tmp_path):
    server = chat()
    server.respond = lambda request: (404, {}, '{"error": {"message": "no such model"}}')
    with serving(server) as url:
        refused = call(tmp_path / "run", url, few_books)
        assert refused.exit_code == 2 and "no such model" in refused.stderr
        server.respond = None
        assert call(tmp_path / "run", url, few_books).exit_code == 0


def test_other_words_to_the_model_are_another_run(good, few_books, monkeypatch):
    monkeypatch.setattr(run, "VERSION", "new")
    with pytest.raises(InputError, match="its run has prompts = "):
        ask(good[0], NOWHERE, few_books, resume=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "m"], "--model is for --agent simulator or openai"),
        (["--resume"], "--resume is for --agent simulator or openai"),
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
        (["--agent", "openai", "--model", "m", "--effect", "1"], "--effect is not for --agent openai"),
        (["--agent", "simulator", "--items", "5"], "--items is not for --agent simulator"),
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
