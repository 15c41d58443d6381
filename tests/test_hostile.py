"""Text and files by somebody who means harm: shown or refused, never run or let out of their place."""

# ruff: noqa: E501  what is put in is data

import json
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook, new_output
from run_files import write_manifest, write_record

from csrec_core.cli import cli
from csrec_core.cli.report import read_yaml
from csrec_core.csvfile import read_csv, save_csv
from csrec_core.errors import InputError
from csrec_core.plots.effect import plot_effect_by_segment
from csrec_core.plots.files import use_style
from csrec_core.plots.marks import add_tips
from csrec_core.plots.svg import drawing_svg
from csrec_core.report.allowed import keep_allowed
from csrec_core.report.formula import to_mathml
from csrec_core.report.index import write_index
from csrec_core.report.page import render_notebook

TEMPLATES = Path(__file__).parents[1] / "csrec_core" / "report" / "templates"
MARKUP = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil>x</sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src='data:text/html;base64,PHNjcmlwdD4='>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><use href='//evil#x'/><use xlink:href='data:image/svg+xml,x'/><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><image href='//evil/x.png'/><image href='data:image/svg+xml;base64,AA=='/><rect fill='url(//evil)' clip-path='url(//e)'/></svg>",
    "<svg><foreignObject><iframe src=//evil></iframe></foreignObject><animate onbegin=alert(1)/><set attributeName=href to=x/></svg>",
    "<svg><title><style><img src=x onerror=alert(1)></style></title><desc><script>alert(1)</script></desc></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>'>x</a>",
    "<a href='//evil'>x</a>",
    "<iframe src=//evil></iframe>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=alert(1)>'>",
    "<math href='javascript:alert(1)'><mrow href='javascript:alert(1)' xlink:href='javascript:x'><mi>x</mi></mrow></math>",
    "<math><maction actiontype='statusline' xlink:href='javascript:x'><mi>x</mi></maction></math>",
    "<form action=//evil><button formaction=javascript:alert(1)>x</button><input autofocus onfocus=alert(1)></form>",
    "<b style='background:url(//evil)'>x</b>",
    "<b style='x:expression(alert(1))'>x</b>",
    "<base href=//evil><meta http-equiv=refresh content='0;url=//evil'><link rel=stylesheet href=//evil>",
    "<template><script>alert(1)</script></template><noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>--><![CDATA[<script>alert(1)</script>]]>",
    "<details ontoggle=alert(1) open><summary>x</summary></details>",
    "<video><source onerror=alert(1)></video><object data=//evil></object><embed src=//evil>",
]
SAFE = re.compile(r"https?://|#|[^:/\s]")


def check_harmless(html):
    """Fail where a parsed page runs, loads or leads anywhere."""
    soup = BeautifulSoup(html, "html.parser")
    assert not soup.find_all(["script", "iframe", "object", "embed", "base", "link", "form", "style"])
    for tag in soup.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on") and name not in ("formaction", "xlink:href", "srcdoc"), tag
            assert ("url(" not in str(value) and "expression" not in str(value)) or name == "alt", tag
            if name == "href" and tag.name != "use":
                assert tag.name == "a" and SAFE.match(value) and "javascript" not in value
            if name == "src":
                assert value.startswith("data:image/")


@pytest.mark.parametrize("markup", MARKUP)
def test_markup_of_another_is_cut_to_the_list(markup):
    html = keep_allowed(f"<p>before</p>{markup}")
    check_harmless(html)
    assert html.startswith("<p>before</p>")
    assert keep_allowed(html) == html


@pytest.mark.parametrize("markup", MARKUP)
def test_a_page_shows_what_data_hold_as_text(markup):
    output = new_output("display_data", data={"text/html": markup, "text/plain": markup})
    drawn = new_output("display_data", data={"image/svg+xml": f"<svg>{markup}</svg>"})
    said = [{"kind": "warning", "text": f"An item is called {markup}."}]
    entry = {
        "name": markup[:20], "error": markup, "started": "2026-01-02T03:04:05", "seconds": 1.0, "parameters": {},
    }  # fmt: skip
    manifest = {
        "run": "r", "data": {"path": markup, "hash": None}, "code": {"version": "c", "git": None}, "versions": {},
    }  # fmt: skip
    cell = new_code_cell("1", outputs=[output, drawn], execution_count=1)
    page = render_notebook(
        new_notebook(cells=[cell]), declared={}, said=said, entry=entry, manifest=manifest
    ).html
    body = page[page.index("<body>") :]
    check_harmless(body)
    assert "Content-Security-Policy" in page and "default-src 'none'" in page


def test_a_drawing_of_control_characters_is_xml():
    """XML has no way to write them, and the names of items may hold them."""
    ax = plt.figure().gca()
    ax.set_title("a\x01b\x1b<c>\x00")
    add_tips(ax, [0, 1], [0, 1], ["d\x02e", "f"])
    svg = drawing_svg(ax.figure)
    plt.close(ax.figure)
    texts = [text for part in ElementTree.fromstring(svg).iter() if (text := part.text)]
    assert {"ab<c>", "de", "f"} <= set(texts)


@pytest.mark.parametrize("name", [r"$\href{javascript:x}{y}$", "from $5 to $9", r"a $\frac$ b"])
def test_names_with_dollar_signs_are_drawn_as_they_are(name):
    """Two dollar signs are a formula to the library that draws, and most such formulas are none."""
    use_style()
    rows = pd.DataFrame({"segment": "price", "group": [name], "effect": 0.1, "lower": 0.0, "upper": 0.2})
    ax = plot_effect_by_segment(rows)
    svg = drawing_svg(ax.figure)
    plt.close(ax.figure)
    assert name in {part.text for part in ElementTree.fromstring(svg).iter()}


def test_every_page_has_a_policy():
    for path in TEMPLATES.glob("*.html.j2"):
        text = path.read_text()
        parts = path.name in ("parts.html.j2", "table.html.j2")
        assert parts or "Content-Security-Policy" in text or '{% extends "base.html.j2" %}' in text, path.name


@pytest.mark.parametrize(
    "latex",
    [r"\href{javascript:alert(1)}{x}", r"\href{https://evil}{x}", r"\class{x}{y}", r"\style{background:url(//e)}{y}",
     r"\text{<script>alert(1)</script>}", r"\unicode{x}", r"\mathrm{<img src=x onerror=alert(1)>}"],
)  # fmt: skip
def test_a_formula_is_a_formula(latex):
    try:
        html = to_mathml(latex)
    except ValueError:
        return
    check_harmless(html)
    assert "href" not in html


def test_tables_handed_over_run_nothing_and_read_back_the_same(tmp_path):
    texts = ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd()", "@SUM(1)", "\t=1", "'=1", "''=1", "-", "-0.5", "plain", "−3",
             "-0.12 [-0.20, -0.10]", "'-0.5", "-inf", "a=1", "=HYPERLINK(\"x\",\"y\")", "- a dash", "\r=1", "\n=1"]  # fmt: skip
    frame = pd.DataFrame({"=name": texts, "number": np.linspace(-1, 1, len(texts))})
    path = save_csv(frame, tmp_path / "t.csv")
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert cells.columns[0] == "'=name"
    for text, cell in zip(texts, cells["'=name"], strict=True):
        number = re.fullmatch(r"[-+](inf|[\d.,\s\[\]-]*)", text)
        assert number or cell[0] not in "=+-@\t\r\n", text
    pd.testing.assert_frame_equal(read_csv(path), frame)
    indexed = frame.set_index("=name")
    assert save_csv(indexed, tmp_path / "i.csv").read_text() == path.read_text()
    plain = pd.DataFrame({"a": [1, 2], "b": ["x, y", None]})
    assert save_csv(plain, tmp_path / "p.csv").read_text() == plain.to_csv(index=False)


def test_an_archive_holds_files_of_the_run_only(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for name in (
        "../../../../etc/passwd",
        "../secret.txt",
        "/etc/passwd",
        "figures/../../secret.txt",
        "link.txt",
    ):
        run = tmp_path / "reports" / "evil"
        write_manifest(run, ["01_a"])
        (run / "link.txt").unlink(missing_ok=True)
        (run / "link.txt").symlink_to(tmp_path / "secret.txt")
        figure = {"kind": "figure", "slug": "s", "caption": "=1+1", "alt": "A", "files": [name]}
        write_record(run, "01_a", [figure])
        words = ["figures", "evil", "--zip", str(tmp_path / "a.zip"), "--out", str(tmp_path / "reports")]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 2 and "outside of it" in result.stderr
        assert not (tmp_path / "a.zip").exists()
    (run / "figures").mkdir()
    (run / "figures" / "s.csv").write_text("1")
    write_record(run, "01_a", [figure | {"files": ["figures/s.csv"]}])
    assert CliRunner().invoke(cli, words).exit_code == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["figures.csv", "s.csv"]
        assert "'=1+1" in archive.read("figures.csv").decode()


def test_the_list_of_runs_shows_names_as_text(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    write_manifest(tmp_path / name, ["01_a"], parameters={name: name}, data={"path": name, "hash": None})
    write_record(
        tmp_path / name, "01_a", [{"kind": "finding", "text": name, "numbers": {name: {"value": 1e999}}}]
    )
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    check_harmless(page[page.index("<body>") :])


YAML = {
    "bomb": "\n".join(f".{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "merged bomb": ".a: &a {x: 1}\n" + "\n".join(
        f".{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "itself": "x: &a [*a]", "deep": "x: " + "[" * 3000, "deep maps": "x: " + "{a: " * 3000, "large": "x: " + "y" * 2**18,
    "code": "x: !!python/object/apply:os.system ['true']", "date": "x: 2026-99-99", "key": "{[1]: 2}: 3",
    "binary": "x: !!binary 'é'", "bytes": "\udcff", "number": "x: !!int ''", "control": "x: \x01", "tag": "x: !unknown 3",
    "not a mapping": "3", "numbers": "1: 2", "grid": "grid: {users: 3}",
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_a_file_of_parameters_is_read_or_refused(tmp_path, name):
    path = tmp_path / "p.yaml"
    text = YAML[name] if name != "bomb" else f".a: &a [x]\n{YAML[name]}"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert str(path) in str(error.value) and len(str(error.value)) <= 400


@pytest.mark.parametrize("name", ["bomb.yaml", "deep.yaml"])
def test_the_files_that_failed_before(real_data, name):
    with pytest.raises(InputError, match=name):
        read_yaml(real_data / "faults" / name)


LONG, NUL = "x" * 100_000, "a\0b"


@pytest.mark.parametrize(
    "words",
    [["report", "--run", LONG], ["report", "--run", NUL], ["report", "-p", f"{LONG}=1"], ["report", "-p", f"seed={LONG}"],
     ["report", "-p", "seed=" + "9" * 5000], ["report", "--path", LONG], ["report", "--path", NUL], ["report", "-f", NUL],
     ["report", "-f", LONG], ["report", "--out", NUL], ["report", "--out", "/proc/1/x"], ["report", "--out", __file__],
     ["report", "--data", LONG, "--path", "x"], ["report", "--suite", LONG], ["report", "--notebook", LONG],
     ["report", "-p", "map=a\nb", "--data", "log", "--path", __file__], ["report", "-p", "path=~nobody/x"],
     ["report", "-g", "seed=" + ",".join(map(str, range(200))), "-g", "users=" + ",".join(map(str, range(10, 300)))],
     ["report", "--jobs", LONG], [LONG], [f"--{LONG}"], ["compare", LONG, "b"], ["compare", NUL, "b"], ["verify", LONG],
     ["verify", "../../etc"], ["figures", NUL], ["figures", "x", "--zip", __file__ + "/x.zip"], ["list", "--suite", LONG],
     ["graph", "--verdicts", "/proc/x/y.json"], ["graph", "--verdicts", "/"], ["graph", "--verdicts", LONG],
     ["clean", NUL], ["clean", LONG]],
    ids=lambda words: " ".join(words)[:40].replace("\0", "NUL"),
)  # fmt: skip
def test_no_word_of_the_command_line_is_more_than_a_message(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if words[0] in ("report", "compare", "verify", "figures") and "--out" not in words:
        words = [*words, "--out", str(tmp_path / "reports")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2, result.exception
    message = result.stderr.strip().splitlines()[-1]
    assert len(message) <= 430 and (message.startswith("csrec: error: ") or message.startswith("Error: "))
    assert not list(tmp_path.iterdir())


def test_a_record_of_any_json_is_read_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        None,
        True,
        -1,
        1e999,
        "x",
        [],
        {},
        [{}],
        {"value": []},
        {"kind": "finding"},
        {"kind": "figure", "files": [3]},
    ]
    for _ in range(300):
        write_manifest(tmp_path / "r", ["01_a"])
        good = {
            "kind": "finding",
            "text": "x",
            "numbers": {"n": {"value": 1.0}},
            "name": "n",
            "holds": True,
            "detail": "d",
        }
        entry = dict(good, **{str(rng.choice(list(good))): parts[rng.integers(len(parts))]})
        record = {"parameters": {}, "data_hash": None, "entries": [entry]}
        if rng.random() < 0.3:
            record[str(rng.choice(list(record)))] = parts[rng.integers(len(parts))]
        path = tmp_path / "r" / ("record/01_a.json" if rng.random() < 0.7 else "manifest.json")
        path.parent.mkdir(exist_ok=True)
        if path.name == "manifest.json":
            record = json.loads(path.read_text())
            record[str(rng.choice(list(record)))] = parts[rng.integers(len(parts))]
        path.write_text(json.dumps(record))
        result = CliRunner().invoke(cli, ["figures", "r", "--out", str(tmp_path)])
        assert result.exit_code in (0, 2), (record, result.exception)
        write_index(tmp_path)
