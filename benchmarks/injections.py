"""Markup in every text that reaches a page, run in headless Chromium: what runs of it, or asks for anything?

A place is one text of what a run leaves (a value or a name anywhere in its manifest, records, history or grid), of a
notebook (Markdown, code, outputs of each kind, captions, names and values of parameters), of a causal graph in any of
its formats, of the frames that are drawn, or of a log whose effect shows itself in a notebook. The payload of each
place carries its number; it stands there alone, and what reads it is made: the pages of the run, the notebook, the
list of runs, the grid, the comparison, the history; the drawings, as SVG and within a page. Each is a frame, without
its Content-Security-Policy, so that what is counted is what the escaping stops, not what the browser does. A payload
that runs, or a picture that is fetched, asks this server for its number. The controls, unescaped, have to; else
the study is void.

With --run, the texts of a run that was made are places as well, where its pages show them, and 40 texts of the cells
of each of its notebooks as executed: a payload each.

Run: python benchmarks/injections.py [--chromium chromium] [--run FOLDER]
"""

import argparse
import contextlib
import copy
import html
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial, reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import csrec_core
from csrec_core.causal.diagram import graph_frame
from csrec_core.causal.graph_input import make_graph
from csrec_core.errors import InputError
from csrec_core.plots import effect, files, graphs, log, policy, reproduction, scores
from csrec_core.report.compare import compare_runs, write_comparison
from csrec_core.report.formula import literal, prose
from csrec_core.report.front import render_run
from csrec_core.report.handover import inline_svg
from csrec_core.report.history import add_to_history, write_history
from csrec_core.report.index import write_index
from csrec_core.report.page import render_notebook
from csrec_core.report.parameters import Parameter
from csrec_core.report.run import read_run
from csrec_core.report.table import table_html

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from run_files import TILES, answered, write_manifest, write_record

FRAMES = 25  # pages that the browser has open at a time
CELLS = 40  # texts of a notebook that was run
PAYLOADS = (
    "</title></style></textarea>\"'><script>fetch('/hit/{n}')</script><img src='/hit/{n}' onerror=fetch('/hit/{n}')>",
    "<svg onload=\"fetch('/hit/{n}')\"><image href='/hit/{n}'></svg><iframe src='/hit/{n}'></iframe>",
    "![x](/hit/{n}) <style>@import '/hit/{n}';</style> [l](javascript:fetch('/hit/{n}')) $\\href{{javascript:x}}{{y}}$",
    '" autofocus onfocus="fetch(\'/hit/{n}\')" style="background:url(/hit/{n})"><link rel=stylesheet href=/hit/{n}>',
    "<img src=/hit/{n}>",  # short enough for any name
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
    return files_of(folder)


def files_of(folder: Path) -> dict:
    """Return the manifest and the records of a run, by their place in it."""
    files = [folder / "manifest.json", *sorted((folder / "record").glob("*.json"))]
    return {file.relative_to(folder).as_posix(): json.loads(file.read_text()) for file in files}


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


def a_history(folder: Path) -> dict:
    """Return what a history keeps, a mapping a row, and the run that it goes with."""
    a_run(folder)
    history, _ = add_to_history(read_run(folder))
    (folder / "history.parquet").unlink()
    return {"rows": history.to_dict("records")}


def page_of_history(content: dict, folder: Path) -> Iterator[str]:
    """Yield the page of a history of two entries, in which the row of the payload is the later."""
    a_run(folder)
    rows = pd.DataFrame(content["rows"])
    rows.assign(started="2025-01-01", entry="e").to_parquet(folder / "history.parquet")
    frame = pd.concat([pd.read_parquet(folder / "history.parquet"), rows], ignore_index=True)
    frame.to_parquet(folder / "history.parquet")
    write_history(read_run(folder))
    yield (folder / "history.html").read_text()


def a_grid() -> dict:
    """Return what a grid of runs writes down."""
    return {
        "run": "sizes", "started": "2026-01-02T03:04:05+00:00", "axes": {"seed": ["1", "2"]},
        "points": {"seed-1": {"seed": "1"}, "seed-2": {"seed": "2"}},
    }  # fmt: skip


def page_of_grid(content: dict, folder: Path) -> Iterator[str]:
    """Yield the page that compares the points of a grid."""
    for name in ("seed-1", "seed-2"):
        a_run(folder / name)
    (folder / "grid.json").write_text(json.dumps(content))
    with contextlib.suppress(InputError):
        write_index(folder)
        yield (folder / "index.html").read_text()


LETTER = re.compile("[a-d]")
ARROWS = "P1>S1 P1>D1 S1>D1 D1>S2 P1>P2 P2>S2 P2>D2 S2>D2"
LINKS = json.dumps([dict(zip(("source", "target"), pair.split(">"), strict=True)) for pair in ARROWS.split()])
NODES = json.dumps([{"id": name} for name in ("P1", "S1", "D1", "P2", "S2", "D2")])
GRAPHS = {
    "x.dot": [f"digraph {{{ARROWS.replace(' ', '; ').replace('>', ' -> ')}; ", "a", " -> D1; D1 -> ", "c", "}"],
    "x.csv": [f"source,target\n{ARROWS.replace(' ', chr(10)).replace('>', ',')}\n", "a", ",D2\nD2,", "c", "\n"],
    "x.json": [f'{{"directed": true, "links": {LINKS}, "nodes": [{NODES[1:-1]}, {{"id": ', "a", "}]}"],
}  # fmt: skip


def pages_of_graph(content: dict, folder: Path) -> Iterator[str]:
    """Yield the drawing of a graph, alone and in a page, with its names in a table and in sentences."""
    for name, parts in content.items():
        quoted = [json.dumps(part) if number % 2 else part for number, part in enumerate(parts)]
        (folder / name).write_text("".join(quoted))
        with contextlib.suppress(InputError):
            graph = make_graph(0, file=str(folder / name))
            frame = graph_frame(graph)
            yield from drawn(graphs.plot_graph, frame, folder)
            yield prose(literal(", ".join(map(str, graph)))) + table_html(
                frame.fillna(0), "graph", caption="c"
            )


def frames() -> dict:
    """Return the frames that are drawn with names of the log's own in them, by the name of the function."""
    ends = {"effect": 0.1, "lower": 0.05, "upper": 0.2}
    return {
        "plot_effect_by_segment": [{"segment": "popularity", "group": "rare", **ends}],
        "plot_effect_by_cohort": [{"cohort": "early", "step": n, "users": 9, **ends} for n in (1, 2)],
        "plot_estimates": [{"name": "doubly robust", **ends}],
        "plot_checks": [{"name": "placebo arm", "value": 0.1, "lower": 0.0, "upper": 0.2}],
        "plot_accept_rates": [
            {"source": "mail", "step": n, "mean": 0.3, "lower": 0.2, "upper": 0.4, "rows": 9} for n in (1, 2)
        ],
        "plot_item_shares": [{"source": arm, "rank": n, "share": 0.5} for arm in "ab" for n in (1, 2)],
        "plot_policy_values": [
            {"policy": "always", "estimator": "DR", "value": 0.1, "lower": 0.0, "upper": 0.2}
        ],
        "plot_explained": [{"factor": "user", "share": 0.2, "chance": 0.1}],
        "plot_scores": [{"model": "m", "mean": 0.7, "lower": 0.6, "upper": 0.8}],
        "plot_published": [{"model": "m", "published": 0.7, "reproduced": 0.7, "lower": 0.6, "upper": 0.8}],
    }


def drawings(content: dict, folder: Path) -> Iterator[str]:
    """Yield each drawing, alone and in a page, and its frame as a table."""
    for name, rows in content.items():
        frame = pd.DataFrame(rows)
        yield table_html(frame, "frame", caption="c")
        frame = frame.assign(verdict="holds", metric="AUC")  # from a list of our own
        options = {"plot_published": {"metrics": ["AUC"]}, "plot_scores": {"metric": "AUC"}}.get(name, {})
        rooms = (effect, log, policy, reproduction, scores)
        draw = next(getattr(room, name) for room in rooms if hasattr(room, name))
        yield from drawn(partial(draw, **options), frame, folder)


def drawn(draw: Callable, frame: pd.DataFrame, folder: Path) -> Iterator[str]:
    """Yield a drawing as the SVG that is handed over, and as a part of a page."""
    _, svg = files.save_drawing(draw(frame), folder / "drawing")
    plt.close("all")
    yield svg.read_text()
    yield "<!DOCTYPE html>" + inline_svg(svg.read_text(), "x", "alt")


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
             ("history", a_history(reports / "h"), lambda content: page_of_history(content, reports / "h")),
             ("grid", a_grid(), lambda content: page_of_grid(content, reports / "g")),
             ("graph", GRAPHS, lambda content: pages_of_graph(content, reports)),
             ("frame", frames(), lambda content: drawings(content, reports)),
             ("notebook", a_notebook(), page_of_notebook), ("log", a_log(), repr_of_effect))  # fmt: skip
    found = []
    for kind, content, pages in kinds:
        for at in places(content):
            own = kind in ("notebook", "log", "graph", "history", "frame")
            if own and at[-1] is None and (len(at) == 2 or at[0] == "declared" or kind != "notebook"):
                continue  # names of this file's own structure, or of columns
            if kind == "graph" and not LETTER.fullmatch(text_at(content, at)):
                continue  # the format itself
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


def made_of_run(start: int, rng: random.Random, run: Path, reports: Path) -> list[tuple[int, str, str]]:
    """Return the pages that payloads reach from the places of a run whose text its pages show, as `made` does."""
    content, found = files_of(run), []
    shown = html.unescape("".join(pages_of_run(content, reports / "as it is")))
    texts = [(at, at[-2] if at[-1] is None else text_at(content, at)) for at in places(content)]
    seen = [at for at, text in texts if len(at) > 2 and len(text) > 1 and text in shown]
    for number, at in enumerate(seen, start):
        text, where = rng.choice(PAYLOADS).format(n=number), f"{run.name} {'/'.join(map(str, at))}"
        pages = pages_of_run(put(content, at, text), reports / str(number))
        found += [(number, where, page) for page in pages if f"hit/{number}" in page]
        shutil.rmtree(reports / str(number))
    return found


def made_of_cells(start: int, rng: random.Random, run: Path) -> list[tuple[int, str, str]]:
    """Return the pages of notebooks of a run, one cell each, with a payload in a text of the cell, as `made` does."""
    found, made = [], read_run(run)
    for file in sorted(run.glob("notebooks/*.ipynb")):
        content = nbformat.read(file, as_version=4)
        about = {
            "declared": {},
            "said": made.said[file.stem],
            "entry": made.manifest["notebooks"][file.stem],
            "manifest": made.manifest,
        }
        shown = [
            at
            for at in places(content)
            if at[0] == "cells" and at[-1] is not None and (at[2:] == ("source",) or at[4:5] == ("data",))
        ]
        for at in rng.sample(shown, min(len(shown), CELLS)):
            text = rng.choice(PAYLOADS).format(n=start)
            cell = put(content, at, text)["cells"][at[1]]
            with contextlib.suppress(ValueError):  # a formula that is refused
                page = render_notebook(new_notebook(cells=[cell]), **about).html
                if f"hit/{start}" in page:
                    found.append((start, f"{file.name} {'/'.join(map(str, at))}", page))
            start += 1
    return found


def text_at(content: dict, at: tuple) -> str:
    """Return the text at a place."""
    return reduce(lambda inner, key: inner[key], at, content)


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
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    files.use_style()
    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(0)
        found = made(len(PAYLOADS), rng, Path(folder))
        if given.run:
            found += made_of_run(found[-1][0] + 1, rng, given.run, Path(folder))
            found += made_of_cells(found[-1][0] + 1, rng, given.run)
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
        print(f"ran: {where[number]}")
    links = [place for _, place, page in found if re.search(r"href=.?\s*javascript:", page)]
    print(f"{len(ran & set(where))} executed or fetched, {len(links)} links to scripts {links[:3]}")
    sys.exit(bool(ran & set(where) or links or len(alive) < len(PAYLOADS)))


if __name__ == "__main__":
    main()
