"""Pages: structure, formulas, folding, escaping, and nothing from outside."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from run_files import answered, write_manifest, write_record

from csrec_core.report.index import write_index
from csrec_core.report.page import render_guide, render_notebook
from csrec_core.report.parameters import Parameter
from csrec_core.report.provenance import facts
from csrec_core.report.terms import TERMS, explain

EVIL = "<script>alert('x')</script>"
STYLE = Path(__file__).parents[1] / "csrec_core" / "report" / "templates" / "style.css"
SAID = [
    {
        "kind": "finding",
        "text": "It rises by 0.1.",
        "numbers": {"ter": {"value": 0.1, "lower": 0.0, "upper": 0.2}},
    },
    {"kind": "finding", "text": "And falls.", "numbers": {"users": {"value": 2000.0}}},
    {"kind": "warning", "text": f"Few users {EVIL}."},
    {"kind": "verdict", "name": "theorem", "verdict": "holds", "detail": "steps A1 to A3"},
    {
        "kind": "figure",
        "slug": "over-time",
        "caption": "c",
        "alt": "a",
        "files": ["figures/03/over-time.csv"],
    },
]
ENTRY = {
    "name": "03_train", "title": "Training", "status": "done", "error": None,
    "started": "2026-01-02T03:04:05+00:00", "seconds": 12.34,
    "parameters": {"users": 20}, "data_hash": "abcdef0123456789",
}  # fmt: skip
MANIFEST = {
    "run": "weekly", "status": "complete", "started": "2026-01-02T03:04:05+00:00", "seconds": 99.0,
    "parameters": {"users": 20, "note": EVIL}, "data": {"path": None, "hash": None},
    "code": {"version": "c0de", "git": {"commit": "f" * 40, "dirty": True}}, "versions": {"python": "3.11"},
    "notebooks": {"03_train": ENTRY},
}  # fmt: skip
DECLARED = {
    "users": Parameter(name="users", type=int, default=5000, help=f"users {EVIL}"),
    "out": Parameter(name="out", type=str, default=""),
}


def render(*cells, said=SAID, error=None):
    notebook = new_notebook(cells=list(cells))
    entry = ENTRY | {"error": error, "status": "failed" if error else "done"}
    page = render_notebook(notebook, declared=DECLARED, said=said, entry=entry, manifest=MANIFEST)
    return page, BeautifulSoup(page.html, "html.parser")


def code(source="1", *outputs, tags=(), count=1):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata={"tags": list(tags)})


def html_output(html, **metadata):
    return new_output("display_data", {"text/html": html}, metadata=metadata)


def check_offline(soup):
    """Nothing runs and nothing is loaded; what points elsewhere is only a link to follow."""
    assert not soup.find(["script", "link", "iframe", "object", "embed"])
    assert (
        "default-src 'none'" in soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    )
    for tag in soup.find_all(src=True):
        assert tag["src"].startswith("data:")
    assert not re.search(r"url\(|@import|@font-face", soup.style.string)
    assert not [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]


def check_structure(soup):
    """Language, landmarks, one title, headings that skip no level, ids of one's own, links that lead on."""
    assert soup.html["lang"] == "en" and soup.title.string.strip()
    assert len(soup.find_all("main")) == 1 and soup.find("header") and len(soup.find_all("h1")) == 1
    levels = [int(tag.name[1]) for tag in soup.find_all(re.compile(r"^h[1-6]$"))]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in soup.find_all("a", href=re.compile("^#"))} <= set(ids)
    assert all(tag.get("alt") for tag in soup.find_all("img"))
    # What scrolls has to be reached by keyboard.
    assert all(
        tag.get("tabindex") == "0"
        for tag in soup.select(".table-box, .formula, .code > div, .log pre, .failure pre")
    )


@pytest.fixture
def full():
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return render(
        new_markdown_cell("# Training $f_t$\n\nIntroduction with $x^2$ and\n\n$$\\frac{a}{b}$$"),
        code("users: int = 5000", tags=["parameters"]),
        code("# Parameters\nusers = 20", tags=["injected-parameters"]),
        new_markdown_cell("## Data\n\n#### Deep\n\n## Data\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        code("secret_source()", new_output("stream", name="stdout", text="line one\nline two\n")),
        code("f()", html_output("<img src='data:,' alt='a'>", csrec={"kind": "figure", "slug": "over-time"})),
        code("g()", new_output("display_data", {"image/png": png, "text/plain": "x"})),
        code("h()", new_output("execute_result", {"text/plain": f"plain {EVIL}"}, execution_count=1)),
    )  # fmt: skip


def test_a_page_is_sound_and_offline(full):
    page, soup = full
    assert page.title == "Training ft"
    check_offline(soup)
    check_structure(soup)


def test_the_header_says_first_what_was_found(full):
    _, soup = full
    header = soup.header
    assert header.h1.math
    assert [p.text for p in header.select(".finding")] == ["It rises by 0.1.", "And falls."]
    text = header.get_text()
    order = ["It rises", "Warning.", "commit fffffffff (modified)", "Parameters", "c0de"]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert "abcdef012345" in text and "12.3 s" in text
    assert "✓ holds" in soup.main.get_text() and "steps A1 to A3" in soup.main.get_text()


def test_parameters_are_a_table_and_not_code(full):
    page, soup = full
    rows = [
        [cell.text for cell in row.find_all(["th", "td"])] for row in soup.select("details.about tbody tr")
    ]
    assert ["users", "20", "5000", f"users {EVIL}"] in rows
    assert soup.find("strong", string="20")
    assert "users = 20" not in page.html and not [row for row in rows if row[0] == "out"]


def test_contents_list_the_headings(full):
    _, soup = full
    links = [(a["href"], a.text) for a in soup.nav.find_all("a")]
    assert links == [("#data", "Data"), ("#deep", "Deep"), ("#data-2", "Data")]
    assert soup.find(id="deep").name == "h3"


def test_code_and_logs_are_folded(full):
    _, soup = full
    for words in ("secret_source", "line one"):
        fold = next(s for s in soup.find_all(string=re.compile(words))).find_parent("details")
        assert fold and not fold.has_attr("open")
    assert "Log (2 lines)" in soup.get_text()


def test_formulas_are_mathml(full):
    page, soup = full
    assert len(soup.main.find_all("math")) == 2
    assert "$" not in soup.get_text() and "\\frac" not in page.html


@pytest.mark.parametrize("source", ["$\\frac{a$", "$$\\unknown$$", "\\begin{align}a_\\end{align}"])
def test_a_broken_formula_raises(source):
    with pytest.raises(ValueError, match="cannot render the formula"):
        render(new_markdown_cell(source))


def test_figures_link_to_their_files(full):
    _, soup = full
    assert [(a["href"], a.text) for a in soup.select("p.files a")] == [("figures/03/over-time.csv", "CSV")]


def test_tables_scroll_in_their_own_box(full):
    _, soup = full
    assert all(table.find_parent(class_="table-box") for table in soup.find_all("table"))


def test_text_is_escaped_everywhere(full):
    page, _ = full
    assert "<script" not in page.html and page.html.count("&lt;script&gt;") >= 3
    evil, soup = render(
        new_markdown_cell(
            f"# Title {EVIL}\n\n{EVIL}\n\n<b onclick='x()'>b</b> [l](javascript:x)\n\n## {EVIL}"
        ),
        code(EVIL, new_output("stream", name="stderr", text=EVIL)),
        error=EVIL,
    )
    assert "<script" not in evil.html and "javascript:" not in evil.html and not soup.find(onclick=True)


def test_only_pictures_that_are_in_the_page_are_shown():
    away = ["http://host/y.png", "//host/y.png", "no-such.png", "javascript:x()"]
    text = "\n\n".join(f"![<i>gone</i> {place}]({url})" for place, url in enumerate(away))
    _, soup = render(new_markdown_cell(text))
    assert "gone 3" in soup.main.text and not soup.main.find(["img", "i"])


def test_html_of_others_loses_what_runs():
    html = (
        f"<table border=1 onclick='x()'><tr><td>7</td></tr></table>{EVIL}<style>body{{}}</style><link href=x>"
    )
    _, soup = render(code("df", html_output(html)))
    check_offline(soup)
    assert soup.main.find("td").text == "7" and len(soup.find_all("style")) == 1


def test_progress_bars_widgets_and_styles_leave_nothing():
    bar = " 10%|█         | 1/10 [00:00<00:01]\r100%|██████████| 10/10 [00:01<00:00]\n"
    view = "application/vnd.jupyter.widget-view+json"
    page, soup = render(
        code("", new_output("stream", name="stderr", text=bar)),
        code("", new_output("display_data", {view: {"model_id": "m"}, "text/plain": "0%| widget"})),
        code("", html_output("<style>x{}</style>", csrec={"kind": "style"})),
        code("", new_output("stream", name="stdout", text="old\rnew\n")),
    )
    assert "10/10" not in page.html and "widget" not in page.html
    assert len(soup.find_all("style")) == 1
    assert soup.select_one(".log pre").text.strip() == "new"


def test_a_failed_page_ends_at_the_error():
    error = new_output(
        "error", ename="ValueError", evalue="bad <x>", traceback=["\x1b[31mline 1\x1b[0m", "line 2"]
    )
    page, soup = render(
        new_markdown_cell("# Title"), code("f()", error), new_markdown_cell("## Never"),
        code("later()", count=None),
        error="ValueError: bad <x>",
    )  # fmt: skip
    check_structure(soup)
    assert "FAILED." in soup.header.text and "bad <x>" in soup.header.text
    assert soup.find(id="failure").find("pre").text == "line 1\nline 2" and "\x1b" not in page.html
    assert "Never" not in page.html and "later" not in page.html


def test_a_page_of_a_dead_kernel_ends_with_the_last_cell_that_ran():
    page, soup = render(
        code("first()"), code("died()", count=2), new_markdown_cell("## Never"), code("later()", count=None),
        error="DeadKernelError: Kernel died",
    )  # fmt: skip
    check_structure(soup)
    assert "died" in page.html and "Never" not in page.html


def test_a_page_without_findings_or_headings_is_sound():
    page, soup = render(code("1"), said=[])
    check_structure(soup)
    assert page.title == "03_train" and soup.nav is None


def test_the_list_of_runs_has_the_newest_first(tmp_path):
    write_manifest(tmp_path / "a b", [], started="2025-01-01T00:00:00+00:00")
    write_manifest(tmp_path / "weekly", ["03_train"], parameters={"users": 20})
    write_record(tmp_path / "weekly", "03_train", [answered(reasons=[EVIL])])
    write_manifest(tmp_path / "open", ["03_train"], started="2025-06-01T00:00:00+00:00")
    write_record(tmp_path / "open", "03_train", [answered("not identified")])
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "manifest.json").write_text("{")
    write_manifest(tmp_path / "g" / "seed-1", [], status="failed")
    grid = {"run": "g", "started": "2025", "axes": {"seed": ["1"]}, "points": {"seed-1": {"seed": "1"}}}
    compared = {"runs": ["a b", EVIL], "started": "2025"}
    for path, content in {"g/grid.json": grid, "compare-a-b/comparison.json": compared}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    write_index(tmp_path)
    soup = BeautifulSoup((tmp_path / "index.html").read_text(), "html.parser")
    check_offline(soup)
    check_structure(soup)
    links = [a["href"] for a in soup.main.find_all("a")]
    runs = ["weekly/index.html", "open/index.html", "a%20b/index.html"]
    assert links == [*runs, "g/index.html", "compare-a-b/index.html"]
    rows = [
        [cell.text.strip() for cell in row.find_all(["th", "td"])] for row in soup.table.tbody.find_all("tr")
    ]
    assert rows == [
        [
            "weekly",
            "+13.7 points",
            "+12.7 to +14.7",
            "Identified: can be relied on",
            "2 Jan 2026",
            "simulated books world",
        ],
        ["open", "–", "–", "Not identified: cannot be told", "1 Jun 2025", "simulated books world"],
        ["a b", "–", "–", "Not asked", "1 Jan 2025", "simulated books world"],
    ]
    assert "1 FAILED" in soup.text and "cut: " in soup.find(id="broken").find_next("li").text


def test_a_section_whose_code_says_nothing_is_left_out():
    _, soup = render(
        new_markdown_cell("# T"), code("helpers()"), new_markdown_cell("## Said"), code("f()", html_output("<p>x</p>")),
        new_markdown_cell("## Forbidden\n\nText."), code("if allowed: f()"), code("g()"),
        new_markdown_cell("## Text alone"), new_markdown_cell("## Never run"), code("h()", count=None),
    )  # fmt: skip
    assert [h.text for h in soup.main.find_all("h2")] == ["Said", "Text alone", "Never run", "Verdicts"]


def test_a_term_is_explained_where_it_comes_first():
    html = explain(
        '<h2>AUC</h2><p>An AUC, an AUC of <a href="#x">IPS</a> and <code>ECE</code>.</p><svg><text>Holm</text></svg>'
    )
    soup = BeautifulSoup(html, "html.parser")
    assert [(tag.text, tag["title"]) for tag in soup.find_all("abbr")] == [("AUC", TERMS["AUC"])]
    assert soup.p.find("abbr") and soup.get_text() == BeautifulSoup(html, "html.parser").get_text()


def test_a_log_of_ones_own_has_no_parameters_of_simulated_worlds():
    help_of = {
        "users": "users of the simulated books world",
        "seed": "random seed",
        "data": "books is simulated",
    }
    declared = {name: Parameter(name=name, type=str, default="", help=text) for name, text in help_of.items()}
    for data, names in (("log", ["seed", "data"]), ("books", ["users", "seed", "data"])):
        entry = ENTRY | {"parameters": {"data": data}}
        page = render_notebook(new_notebook(), declared=declared, said=[], entry=entry, manifest=MANIFEST)
        rows = (
            BeautifulSoup(page.html, "html.parser").select("details.about .table-box")[0].select("tbody th")
        )
        assert [row.text for row in rows] == names


def test_the_guide_is_a_page_beside_the_reports():
    soup = BeautifulSoup(render_guide("weekly"), "html.parser")
    check_offline(soup)
    check_structure(soup)
    assert soup.h1.text == "How to read these reports" and len(soup.nav.find_all("a")) >= 5
    assert [dt.text for dt in soup.select(".terms dt")] == list(TERMS)


def colours(block):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_it_lies_on(mode):
    palette = colours(STYLE.read_text().split(":root {")[1 + mode].split("}")[0])
    pairs = [
        (text, ground)
        for text in ("text", "muted", "link", "good", "bad")
        for ground in ("page", "soft", "card")
    ]
    pairs += [("text", "warn-soft"), ("warn", "warn-soft"), ("text", "bad-soft"), ("bad", "bad-soft"),
              ("link", "bad-soft"), ("muted", "bad-soft")]  # fmt: skip
    assert {
        pair: contrast(*map(palette.get, pair)) for pair in pairs if contrast(*map(palette.get, pair)) < 4.5
    } == {}


def test_the_hash_of_the_file_is_not_that_of_the_log_as_read():
    about = MANIFEST | {"data": {"path": "shop.csv", "hash": "f11e"}}
    page, run = dict(facts(about, ENTRY)), dict(facts(about, about))
    assert page["Data hash"] == run["Data hash"] == "f11e"
    assert page["Hash of the log as read"] == ENTRY["data_hash"]
    assert "Hash of the log as read" not in run and "Data hash" not in dict(facts(MANIFEST, ENTRY))
