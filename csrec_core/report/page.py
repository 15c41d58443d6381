"""From an executed notebook to a page: one file that needs no network and no script."""

import base64
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from csrec_core.report.allowed import keep_allowed
from csrec_core.report.formula import to_mathml
from csrec_core.report.markup import TEMPLATES, file_label
from csrec_core.report.parameters import Parameter, shipped_folder
from csrec_core.report.provenance import facts, summary
from csrec_core.report.run import of_kind
from csrec_core.report.terms import TERMS, explain

HIDDEN_TAGS = {"parameters", "injected-parameters", "papermill-error-cell-tag", "widget"}
WIDGET = "application/vnd.jupyter.widget-view+json"
MIME_TYPES = [
    "text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"
]  # fmt: skip
PROGRESS = re.compile(r"\d+%\|.*\|")


class Page(NamedTuple):
    """A page and its title in plain text."""

    title: str
    html: str


def render_notebook(
    notebook: nbformat.NotebookNode,
    *,
    declared: Mapping[str, Parameter],
    said: Sequence[Mapping],
    entry: Mapping,
    manifest: Mapping,
    folder: str | Path = "",
) -> Page:
    """Return the page of a notebook as executed, up to its error if it failed.

    `declared` are its parameters, `said` is what it said as `Report` records it, `entry` its own entry in the
    run's `manifest`, and `folder` is where the pictures lie that its text names by file.
    """
    outline = _Outline()
    files = {item["slug"]: item["files"] for item in said if "slug" in item}
    notebook = _prepared(notebook, failed=bool(entry.get("error")))
    cells, appendix = (_cells_html(part, outline, folder, files) for part in _without_appendix(notebook))
    title = outline.title or escape(entry["name"])
    html = TEMPLATES.get_template("page.html.j2").render(
        cells=Markup(explain(cells)),
        appendix=Markup(explain(appendix.strip())),
        title=_plain_text(title),
        title_html=Markup(title),
        contents=[heading for heading in outline.headings if heading["level"] < 4],
        run=manifest["run"],
        name=entry["name"],
        error=entry.get("error"),
        findings=of_kind(said, "finding"),
        warnings=of_kind(said, "warning"),
        verdicts=of_kind(said, "verdict"),
        parameters=_parameter_rows(declared, entry["parameters"]),
        summary=summary(manifest, entry),
        provenance=facts(manifest, entry),
    )
    return Page(_plain_text(title), html)


def render_guide(run: str) -> str:
    """Return the page on how to read the reports, which lies beside those of the run."""
    folder = shipped_folder("docs")
    text = nbformat.v4.new_markdown_cell((folder / "reading-a-report.md").read_text("utf-8"))
    outline = _Outline()
    cells = _cells_html(nbformat.v4.new_notebook(cells=[text]), outline, folder, {})
    return TEMPLATES.get_template("guide.html.j2").render(
        cells=Markup(cells),
        title=_plain_text(outline.title),
        terms=TERMS,
        contents=[heading for heading in outline.headings if heading["level"] < 3],
        run=run,
    )


class _Outline:
    """The headings met while the text is rendered: the first of level 1 is the title, the rest contents."""

    def __init__(self):
        self.title = ""
        self.headings: list[dict] = []
        self._taken: set[str] = set()

    def add(self, html: str, level: int) -> str:
        """Return the heading's HTML with an id of its own, at a level that skips none."""
        if level == 1 and not self.title:
            self.title = html
            return ""
        above = self.headings[-1]["level"] if self.headings else 1
        level = max(2, min(level, above + 1))
        base = identity = re.sub(r"\W+", "-", _plain_text(html).lower()).strip("-") or "section"
        count = 1
        while identity in self._taken:
            count += 1
            identity = f"{base}-{count}"
        self._taken.add(identity)
        # Headings of a page may hold links; an entry of its contents is one.
        entry = Markup(re.sub(r"</?a\b[^>]*>", "", html))
        self.headings.append({"level": level, "id": identity, "html": entry})
        return f'<h{level} id="{identity}">{html}</h{level}>\n'


class _Renderer(IPythonRenderer):
    """Markdown with formulas as MathML, headings in the outline, and HTML shown as text."""

    def __init__(self, outline: _Outline, **options):
        super().__init__(escape=True, allow_harmful_protocols=False, embed_images=True, **options)
        self.outline = outline

    def heading(self, text, level, **attrs):
        return self.outline.add(text, level)

    def block_math(self, body):
        return to_mathml(body, display=True)

    def inline_math(self, body):
        return to_mathml(body)

    def latex_environment(self, name, body):
        return to_mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    def image(self, text, url, title=None):
        # A picture that is not in the page would be asked for where it is; its description stays.
        html = super().image(text, url, title)
        return html if 'src="data:' in html else escape(_plain_text(text))

    def block_code(self, code, info=None):
        return super().block_code(code, info).replace("<pre>", '<pre tabindex="0">')

    def table(self, text):
        box = '<div class="table-box" role="group" aria-label="Table" tabindex="0">'
        return f"{box}\n<table>\n{text}</table>\n</div>\n"


@cache  # a process compiles the templates once
def _exporter() -> HTMLExporter:
    """Return nbconvert's exporter with the templates of this package; gives the cells without a page around."""
    return HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": MIME_TYPES}}),
        template_name="cells",
        extra_template_basedirs=[str(Path(__file__).with_name("templates"))],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        filters={
            "allowed": keep_allowed,
            "formula": lambda latex: to_mathml(latex.strip().strip("$"), display=True),
            "file_label": file_label,
            "picture": _safe_picture,
        },
    )


def _cells_html(
    notebook: nbformat.NotebookNode, outline: _Outline, folder: str | Path, files: Mapping[str, Sequence[str]]
) -> str:
    """Return the cells as HTML, their headings added to the outline; `files` of figures and tables, by slug."""

    @pass_context
    def markdown(context, source):
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _Renderer(outline, attachments=attachments, path=str(folder))
        return MarkdownWithMath(renderer=renderer).render(source)

    _exporter().register_filter("markdown2html", markdown)
    return _exporter().from_notebook_node(notebook, {"files": files})[0]


def _prepared(notebook: nbformat.NotebookNode, *, failed: bool) -> nbformat.NotebookNode:
    """Return a copy with only what the page shows."""
    notebook = copy.deepcopy(notebook)
    cells = [cell for cell in notebook.cells if not HIDDEN_TAGS & set(cell.metadata.get("tags", []))]
    if failed:
        cells = cells[: _cells_reached(cells)]
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    notebook.cells = _spoken([cell for cell in cells if cell.source.strip() or cell.get("outputs")])
    # A widget needs a script; nbconvert would write its state into the page.
    notebook.metadata.pop("widgets", None)
    return notebook


def _spoken(cells: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the cells without sections whose code ran and said nothing, such as what the status forbids."""
    opening: list[nbformat.NotebookNode] = []  # what comes before the first section
    sections = [opening]
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    return [cell for part in sections if part is opening or not _is_silent(part) for cell in part]


def _is_silent(section: Sequence[nbformat.NotebookNode]) -> bool:
    code = [cell for cell in section if cell.cell_type == "code"]
    return bool(code) and all(cell.execution_count and not cell.outputs for cell in code)


def _without_appendix(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """Yield a notebook's cells without those tagged `appendix`, then these."""
    for wanted in (False, True):
        part = notebook.copy()
        part.cells = [one for one in notebook.cells if wanted == ("appendix" in one.metadata.get("tags", []))]
        yield part


def _cells_reached(cells: Sequence[nbformat.NotebookNode]) -> int:
    """Return how many cells were reached: up to the error, or the last that ran before the kernel died."""
    reached = [i + 1 for i, cell in enumerate(cells) if cell.get("execution_count")]
    errors = [i for i in reached if any(output.output_type == "error" for output in cells[i - 1].outputs)]
    return (errors or reached or [0])[-1]


def _is_shown(output: nbformat.NotebookNode) -> bool:
    """Tell whether an output is shown: no style, widget or progress bar is; takes the bars out of a stream."""
    if output.output_type == "stream":
        lines = [line.rsplit("\r", 1)[-1] for line in output.text.replace("\r\n", "\n").split("\n")]
        output.text = "\n".join(line for line in lines if not PROGRESS.search(line))
        return bool(output.text.strip())
    if output.output_type == "error":
        return True
    return WIDGET not in output.data and output.metadata.get("csrec", {}).get("kind") != "style"


def _safe_picture(svg: str) -> str:
    """Return a drawing as a picture, in which nothing runs."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _plain_text(html: str) -> str:
    return BeautifulSoup(html, "html.parser").get_text()


def _parameter_rows(declared: Mapping[str, Parameter], given: Mapping) -> list[dict]:
    """Return the parameters as they are read; those of simulated worlds only where the log is one."""
    own = given.get("data", "books") != "books"
    return [
        {"name": name, "value": given.get(name, p.default), "default": p.default, "help": p.help}
        for name, p in declared.items()
        if name != "out" and not (own and "simulated" in p.help and name != "data")
    ]
