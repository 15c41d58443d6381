"""Markup in every text that reaches a page, run in headless Chromium: what runs of it, or asks for anything?

A place is one text of what a run leaves (a value or a name anywhere in its manifest or records), of a notebook
(Markdown, code, outputs of each kind, captions, names and values of parameters), or of a log whose effect shows
itself in a notebook. The payload of each place carries its number; it stands there alone, and the pages that read it
are rendered: the run's, the notebook's, the list of runs, the comparison. Each page is a frame, served without its
Content-Security-Policy, so that what is counted is what the escaping stops, not what the browser does. A payload
that runs, or a picture that is fetched, asks this server for its number. Three controls, unescaped, have to; else
the study is void.

Run: python benchmarks/injections.py [--chromium chromium]
"""

import argparse
import contextlib
import copy
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import csrec_core
from csrec_core.errors import InputError
from csrec_core.report.compare import compare_runs, write_comparison
from csrec_core.report.front import render_run
from csrec_core.report.index import write_index
from csrec_core.report.page import render_notebook
from csrec_core.report.parameters import Parameter
from csrec_core.report.run import read_run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from run_files import TILES, answered, write_manifest, write_record

FRAMES = 25  # pages that the browser has open at a time
PAYLOADS = (
    "</title></style></textarea>\"'><script>fetch('/hit/{n}')</script><img src='/hit/{n}' onerror=fetch('/hit/{n}')>",
    "<svg onload=\"fetch('/hit/{n}')\"><image href='/hit/{n}'></svg><iframe src='/hit/{n}'></iframe>",
    "![x](/hit/{n}) <style>@import '/hit/{n}';</style> [l](javascript:fetch('/hit/{n}')) $\\href{{javascript:x}}{{y}}$",
    '" autofocus onfocus="fetch(\'/hit/{n}\')" style="background:url(/hit/{n})"><link rel=stylesheet href=/hit/{n}>',
)


def places(content: object, at: tuple = ()) -> Iterator[tuple]:
    """Yield where the texts and the names of a structure stand; a name as the path that ends with None."""
    if isinstance(content, str):
        yield at
    pairs = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in pairs:
        if isinstance(key, str):
            yield (*at, key, None)
        yield from places(value, (*at, key))


def put(content: dict, at: tuple, text: str) -> dict:
    """Return a structure with a text at a place."""
    content = inner = copy.deepcopy(content)
    *path, last = at[:-1] if at[-1] is None else at
    for key in path:
        inner = inner[key]
    inner[text if at[-1] is None else last] = inner.pop(last) if at[-1] is None else text
    return content


def a_run(folder: Path) -> dict:
    """Return what a run holds, as one structure: {file: content}."""
    said = [
        answered(), *TILES, {"kind": "warning", "text": "Look."},
        {"kind": "verdict", "name": "overlap", "verdict": "holds", "detail": "It does."},
        {"kind": "finding", "text": "It is.", "numbers": {"auc": {"value": 0.6, "lower": 0.5, "upper": 0.7}}},
        {"kind": "figure", "slug": "line", "caption": "c", "alt": "a", "files": ["figures/04/line/line.csv"]},
        {"kind": "table", "slug": "rows", "caption": "c", "files": ["tables/04/rows.csv"]},
    ]  # fmt: skip
    write_manifest(folder, ["04_treatment_effect"], parameters={"data": "log", "note": "n"})
    write_record(folder, "04_treatment_effect", said, role="effect", data="log", note="n")
    files = ("manifest.json", "record/04_treatment_effect.json")
    return {name: json.loads((folder / name).read_text()) for name in files}


def pages_of_run(content: dict, reports: Path) -> Iterator[str]:
    """Yield the pages of a run beside another one, as far as they are made; a refusal is one, too."""
    for name in ("a", "b"):
        for file, inside in content.items():
            path = reports / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(inside))
    with contextlib.suppress(InputError):
        yield render_run(read_run(reports / "a"))
    write_index(reports)
    yield (reports / "index.html").read_text()
    with contextlib.suppress(InputError):
        comparison = compare_runs(reports, ["a", "b"])
        yield Path(write_comparison(comparison, reports)).read_text()


def a_notebook() -> dict:
    """Return what a page of a notebook is made of, as one structure."""
    return {
        "cells": ["# Title", "Text with *marks*.", "## Section", "| a | b |\n|---|---|\n| 1 | 2 |", "$x^2$", "- item"],
        "code": "print(1)", "error": "", "name": "03_train",
        "outputs": {"stdout": "out", "stderr": "err", "text/plain": "7", "text/html": "<b>7</b>", "text/latex": "$x$",
                    "image/svg+xml": "<svg><text>t</text></svg>", "text/markdown": "m"},
        "declared": {"note": {"default": "n", "help": "what it is"}}, "given": {"note": "n"},
        "said": [{"kind": "finding", "text": "F.", "numbers": {}}, {"kind": "warning", "text": "W."},
                 {"kind": "verdict", "name": "v", "verdict": "holds", "detail": "d"},
                 {"kind": "figure", "slug": "f", "caption": "c", "alt": "a", "files": ["figures/f.csv"]}],
        "run": "weekly", "parameters": {"k": "n"}, "versions": {"numpy": "2"}, "path": "x.csv", "commit": "f" * 40,
    }  # fmt: skip


def page_of_notebook(content: dict) -> Iterator[str]:
    """Yield the page of a notebook."""
    streams = [
        new_output("stream", name=name, text=content["outputs"].get(name, ""))
        for name in ("stdout", "stderr")
    ]
    shown = [
        new_output("display_data", {kind: text}) for kind, text in content["outputs"].items() if "/" in kind
    ]
    cells = [new_markdown_cell(text) for text in content["cells"]]
    cells.append(new_code_cell(content["code"], outputs=[*streams, *shown], execution_count=1))
    entry = {
        "name": content["name"], "title": "T", "status": "failed" if content["error"] else "done",
        "error": content["error"] or None, "started": "2026-01-02T03:04:05+00:00", "seconds": 1.0,
        "parameters": content["given"], "data_hash": "a" * 16,
    }  # fmt: skip
    manifest = {
        "run": content["run"], "status": "complete", "started": "2026-01-02T03:04:05+00:00", "seconds": 9.0,
        "parameters": content["parameters"], "data": {"path": content["path"], "hash": None},
        "code": {"version": "c0de", "git": {"commit": content["commit"], "dirty": True}},
        "versions": content["versions"], "notebooks": {content["name"]: entry},
    }  # fmt: skip
    declared = {name: Parameter(name=name, type=str, **about) for name, about in content["declared"].items()}
    with contextlib.suppress(ValueError, TypeError, KeyError):  # a formula, or a shape, that is refused
        about = {"declared": declared, "said": content["said"], "entry": entry, "manifest": manifest}
        yield render_notebook(new_notebook(cells=cells), **about).html


def a_log() -> dict:
    """Return the names that a log holds, as one structure."""
    return {"user": "customer", "arm": "mail", "baseline": "control", "item": "shoe", "confounder": "age"}


def repr_of_effect(content: dict) -> Iterator[str]:
    """Yield how the effect of a log shows itself in a notebook."""
    who = range(120)
    frame = pd.DataFrame(
        {content["user"]: who, "item": [content["item"], "hat"] * 60, content["confounder"]: 1}
    )
    frame["source"] = [content["arm"] if each % 2 else content["baseline"] for each in who]
    frame["decision"] = [int(each % 3 == 0) for each in who]
    with contextlib.suppress(InputError):
        yield csrec_core.effect(frame, map={"user": content["user"]}, arm_propensity=0.5)._repr_html_()


def made(number: int, rng: random.Random, reports: Path) -> list[tuple[int, str, str]]:
    """Return (number, place, page) of every page that payloads reach, from `number` on, place by place."""
    kinds = (("run", a_run(reports / "a"), lambda content: pages_of_run(content, reports)),
             ("notebook", a_notebook(), page_of_notebook), ("log", a_log(), repr_of_effect))  # fmt: skip
    found = []
    for kind, content, pages in kinds:
        for at in places(content):
            if kind != "run" and at[-1] is None and (len(at) == 2 or at[0] == "declared"):
                continue  # names of this file's own structure
            for payload in [rng.choice(PAYLOADS)] if kind == "log" else PAYLOADS:
                where = f"{kind} {'/'.join(map(str, at))}"
                text = payload.format(n=number)
                try:
                    for page in pages(put(content, at, text)):
                        if f"hit/{number}" in page:
                            found.append((number, where, page))
                except Exception as error:
                    print(f"broken: {where}: {type(error).__name__}: {error}")
                    break
                number += 1
    return found


class Server(ThreadingHTTPServer):
    """Serves pages, frames of pages, and takes down what is asked for beside them."""

    def __init__(self, pages: list[str]):
        super().__init__(("127.0.0.1", 0), Answer)
        self.pages, self.hits = pages, Counter()


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        body = ""
        if kind == "page":
            body = re.sub(
                r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", self.server.pages[int(number)]
            )
        elif kind == "frames":
            within = range(int(number), min(int(number) + FRAMES, len(self.server.pages)))
            body = "".join(f"<iframe src=/page/{each}></iframe>" for each in within)
        else:
            self.server.hits[self.path] += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode("utf-8", "replace"))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def browse(browser: str, pages: list[str]) -> Counter:
    """Open every page; return what was asked for beside the pages."""
    server = Server(pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for begin in range(0, len(pages), FRAMES):
        with tempfile.TemporaryDirectory() as profile:
            words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
            words += ["--virtual-time-budget=5000", "--dump-dom"]
            url = f"http://127.0.0.1:{server.server_port}/frames/{begin}"
            subprocess.run([*words, url], capture_output=True, timeout=300, check=True)
    server.shutdown()
    return server.hits


def main() -> None:
    """Print how many places there were, and what ran."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chromium", default="chromium")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        found = made(len(PAYLOADS), random.Random(0), Path(folder))
    controls = [
        f'<!DOCTYPE html><a title="{payload.format(n=n)}"></a><p>{payload.format(n=n)}'
        for n, payload in enumerate(PAYLOADS)
    ]
    hits = browse(given.chromium, [*controls, *(page for _, _, page in found)])
    ran = {int(path.rpartition("/")[2]) for path in hits if re.fullmatch(r"/hit/\d+", path)}
    alive = [n for n in range(len(PAYLOADS)) if n in ran]
    where = {number: place for number, place, _ in found}
    print(
        f"{len(set(where.values()))} places, {len(where)} strings, {len(found)} pages; {len(alive)} controls ran"
    )
    for number in sorted(ran & set(where)):
        print(f"ran: {where[number]}: {PAYLOADS[number % len(PAYLOADS)]}")
    links = [place for _, place, page in found if re.search(r"href=.?\s*javascript:", page)]
    print(f"{len(ran & set(where))} executed or fetched, {len(links)} links to scripts {links[:3]}")
    sys.exit(bool(ran & set(where) or links or len(alive) < len(PAYLOADS)))


if __name__ == "__main__":
    main()
