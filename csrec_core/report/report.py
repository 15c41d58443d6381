"""What a notebook says: findings, warnings, verdicts, figures and tables, shown and recorded.

Each call shows itself in the notebook and adds itself to `<out>/record/<notebook>.json`, from which the
page and the index put the findings first. Figures and tables are saved with the data they show.
"""

import math
import numbers
import os
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd
from IPython import get_ipython
from IPython.display import display

from csrec_core.csvfile import save_csv
from csrec_core.effect.answer import sentences
from csrec_core.effect.card import as_card
from csrec_core.errors import unknown
from csrec_core.files import write_json
from csrec_core.plots.files import use_style
from csrec_core.report.formula import prose, to_mathml
from csrec_core.report.handover import picture, save_figure
from csrec_core.report.run import NOTEBOOK_ROLES, QUESTIONS
from csrec_core.report.table import table_html
from csrec_core.verdict import Verdict

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")

# JupyterLab shows outputs outside the page, so the few rules they need travel with the notebook; they
# name JupyterLab's own class and so do nothing in the page.
NOTEBOOK_STYLE = """<style>
.jp-RenderedHTMLCommon .finding {font-size: 1.25em; border-left: 4px solid #2a7de1; padding-left: .8em}
.jp-RenderedHTMLCommon .warning {border-left: 4px solid #c77700; padding-left: .8em}
.jp-RenderedHTMLCommon .verdict {border-left: 4px solid #777; padding-left: .8em}
.jp-RenderedHTMLCommon figure {margin: 1em 0}
.jp-RenderedHTMLCommon figure img, .jp-RenderedHTMLCommon .drawing {max-width: 100%}
[data-jp-theme-light=false] .drawing {filter: invert(1) hue-rotate(180deg)}
.jp-RenderedHTMLCommon .table-box {overflow-x: auto}
.jp-RenderedHTMLCommon .number {text-align: right; font-variant-numeric: tabular-nums}
</style>"""


def project_folder() -> Path:
    """Return the checkout's root, or the working directory where the package is installed without one."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def run_folder(out: str | os.PathLike = "") -> Path:
    """Return the folder a run writes to, made if need be; empty means `reports/notebook` of the project."""
    folder = Path(out).expanduser().resolve() if str(out) else project_folder() / "reports" / "notebook"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Report:
    """The voice of one notebook.

    Parameters
    ----------
    notebook : str
        The notebook's name without extension, `03_train`.
    out : str or path
        The run's folder; empty means `reports/notebook` of the project.
    parameters : dict, optional
        The parameters the notebook ran with, for the record.
    data_hash : str, optional
        Hash of the data the numbers come from.
    role : str
        What the notebook is for, one of `csrec_core.report.run.NOTEBOOK_ROLES`: its place on the run's page, where its
        first finding is its headline.

    Examples
    --------
    >>> report = Report("03_train", out="reports/first", data_hash="sha256:ab12")   # doctest: +SKIP
    >>> report.finding("The model ranks accepted items no better than chance.", auc=(0.51, 0.49, 0.53))
    ...                                                                        # doctest: +SKIP
    """

    def __init__(
        self, notebook, out: str | os.PathLike = "", *, parameters=None, data_hash=None, role: str = ""
    ):
        if not notebook or re.search(r"[/\\]", notebook):
            raise ValueError(f"a report is named after its notebook, like '03_train', not {notebook!r}")
        if role not in NOTEBOOK_ROLES:
            raise unknown("role", role, NOTEBOOK_ROLES)
        self.notebook = notebook
        self.folder = run_folder(out)
        self._about = {"notebook": notebook, "role": role, "parameters": dict(parameters or {})}
        self._about["data_hash"] = data_hash
        self._entries: list[dict] = []
        self._executions: dict[str, object] = {}
        use_style()
        self._save()
        self._show("style", NOTEBOOK_STYLE, text=f"report {notebook} in {self.folder}")

    def finding(self, sentence: str, /, **numbers) -> None:
        """Say what was found, in one sentence; name its numbers as `value` or `(value, lower, upper)`."""
        self._find(sentence, f'<p class="finding">{prose(_sentence(sentence))}</p>', numbers)

    def answer(self, effect, /) -> None:
        """Say what an effect is (`csrec_core.effect.result.Effect`), as `finding` does, as its card shows it."""
        found = effect.to_dict()
        value = tuple(found[name] for name in ("effect", "lower", "upper"))
        name = "effect" if effect.identification.allows else "if_nothing_hidden"
        numbers = {} if None in value else {name: value}
        self._find(sentences(found)["headline"], as_card(found), numbers, answer=found)

    def tile(self, question: str, title: str, text: str, /) -> None:
        """Answer one of `csrec_core.report.run.QUESTIONS` for the run's page: in four words, and in a sentence."""
        if question not in QUESTIONS:
            raise unknown("question", question, QUESTIONS)
        self._add("tile", question=question, title=_sentence(title), text=_sentence(text))

    def _find(self, sentence: str, html: str, numbers: Mapping, **more) -> None:
        headline = {name: _interval(name, value) for name, value in numbers.items()}
        taken = {name for entry in self._of_kind("finding") for name in entry["numbers"]}
        if again := taken & headline.keys():
            raise ValueError(f"the headline number {min(again)!r} was reported before")
        self._add("finding", text=sentence, numbers=headline, **more)
        self._show("finding", html, text=sentence)

    def warning(self, sentence: str, /) -> None:
        """Say in plain words what the reader has to beware of."""
        html = f'<p class="warning"><strong>Warning.</strong> {prose(_sentence(sentence))}</p>'
        self._add("warning", text=sentence)
        self._show("warning", html, text=f"Warning. {sentence}")

    def verdict(self, verdict: Verdict, /) -> None:
        """Record what a check found, in one of four words. A pipeline can gate on it."""
        name, word, detail = verdict.name, verdict.word, verdict.detail
        if any(entry["name"] == name for entry in self._of_kind("verdict")):
            raise ValueError(f"the verdict {name!r} was given before")
        said = f"<strong>{prose(_sentence(name))}: {word}.</strong> {prose(_sentence(detail))}"
        self._add("verdict", **verdict.to_dict())
        shown = word.replace(" ", "-")
        self._show("verdict", f'<p class="verdict {shown}">{said}</p>', text=f"{name}: {word}. {detail}")

    def text(self, sentence: str, /) -> None:
        """Show a paragraph made from the run's numbers."""
        self._show("text", f"<p>{prose(_sentence(sentence))}</p>", text=sentence)

    def formula(self, latex: str, /) -> None:
        """Show a displayed formula; one that cannot be rendered raises ValueError."""
        self._show("formula", to_mathml(latex, display=True), text=latex)

    def code(self, source: str, /) -> None:
        """Show lines of code that a reader may copy."""
        self._show("code", f'<pre tabindex="0">{escape(source)}</pre>', text=source)

    def figure(
        self, drawing, slug: str, *, data: pd.DataFrame, caption: str, alt: str, key: str = "", **options
    ) -> None:
        """Save and show a figure together with the data it draws.

        The files go to a folder of their own, `figures/<notebook>/<slug>/`: PNG, SVG, CSV, slide, caption,
        alternative text and, where `drawing` is a function, the script that draws it again from the CSV.

        Parameters
        ----------
        drawing : function of a DataFrame, or a matplotlib Axes or Figure
            What draws, such as `plot_scores`, and is called with the data as the CSV holds them; or what is
            drawn already. Its figure is closed afterwards.
        slug : str
            Short name, unique in the notebook: names the files.
        data : pandas.DataFrame
            Exactly what is drawn, saved as CSV.
        caption : str
            What the figure shows, with n and method; its first sentence is the title of the slide.
        alt : str
            What a reader who cannot see it needs to know.
        key : str
            Of the notebook's key figure, which the run's page shows: what it tells, in a sentence.
        **options
            Further arguments of the function: numbers, text, or lists and dicts of them.
        """
        self._check_slug(slug)
        words, alt = prose(_sentence(caption)), _sentence(alt)
        about = {"data": data, "caption": caption, "alt": alt, "options": options}
        png, svg, *more = save_figure(drawing, self._folder("figures") / slug, **about)
        files = self._relative(png, svg, *more)
        self._add("figure", slug=slug, caption=caption, alt=alt, key=key, files=files)
        # On a phone the picture is wider than the page, for its letters to be read, and scrolls in its box.
        box = '<div class="picture" role="group" aria-label="Picture" tabindex="0">'
        drawn = f"{box}{picture(png, svg, alt)}</div>"
        html = f'<figure id="figure-{slug}">{drawn}<figcaption>{words}</figcaption></figure>'
        self._show("figure", html, text=f"{caption}\n{alt}", slug=slug)

    def table(self, frame: pd.DataFrame, slug: str, *, caption: str, digits: int = 3, best=None, apart=()):
        """Save a table as CSV and show it.

        Parameters
        ----------
        frame : DataFrame
            A column may hold strings already formatted, such as `0.12 [0.10, 0.14]`. The index is shown
            where it says something, that is, where it is not just the row's number.
        slug, caption : str
            As for `figure`.
        digits : int
            Decimals of its numbers, which are right-aligned.
        best : mapping, optional
            Columns to {"high", "low"}, the better end: the best value is marked, and so are those whose
            interval overlaps that of the best. The interval of a column `mean` is in `lower` and `upper`.
        apart : sequence of str
            First cells of the rows that do not compete, such as an oracle.
        """
        self._check_slug(slug)
        html = table_html(frame, slug, caption=_sentence(caption), digits=digits, best=best, apart=apart)
        csv = save_csv(frame, self._folder("tables") / f"{slug}.csv")
        self._add("table", slug=slug, caption=caption, files=self._relative(csv))
        self._show("table", html, text=f"{caption}\n{frame.to_string()}", slug=slug)

    def _of_kind(self, *kinds: str) -> list[dict]:
        self._forget_last_execution()
        return [entry for entry in self._entries if entry["kind"] in kinds]

    def _check_slug(self, slug: str) -> None:
        if not SLUG.fullmatch(slug):
            raise ValueError(f"a slug is made of a-z, 0-9, '-' and '_', and names a file, not {slug!r}")
        if any(entry["slug"] == slug for entry in self._of_kind("figure", "table")):
            raise ValueError(
                f"the slug {slug!r} is taken in {self.notebook}: each figure and table has its own"
            )

    def _forget_last_execution(self) -> None:
        """Drop what the running cell said when it ran before, so that a cell can be run again."""
        cell, count = _running_cell()
        if cell and self._executions.setdefault(cell, count) != count:
            self._executions[cell] = count
            self._entries = [entry for entry in self._entries if entry["cell"] != cell]

    def _add(self, kind: str, **content) -> None:
        self._forget_last_execution()
        self._entries.append({"kind": kind, "cell": _running_cell()[0], **content})
        self._save()

    def _save(self) -> None:
        entries = [{k: v for k, v in entry.items() if k != "cell"} for entry in self._entries]
        write_json(self.folder / "record" / f"{self.notebook}.json", {**self._about, "entries": entries})

    def _folder(self, kind: str) -> Path:
        return self.folder / kind / self.notebook

    def _relative(self, *paths: Path) -> list[str]:
        return [path.relative_to(self.folder).as_posix() for path in paths]

    @staticmethod
    def _show(kind: str, html: str, *, text: str, **more) -> None:
        if get_ipython() is not None:
            bundle = {"text/html": html, "text/plain": text}
            display(bundle, raw=True, metadata={"csrec": {"kind": kind, **more}})


def _running_cell() -> tuple[str | None, object]:
    """Return the identity of the running cell, where the front end gives one, and its execution."""
    shell = get_ipython()
    parent = getattr(shell, "parent_header", None) or {}
    return parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")


def _sentence(text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a sentence, not {text!r}")
    return text


def _interval(name: str, value) -> dict[str, float | None]:
    """Return a headline number as value, lower and upper; what is not finite is written as null."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, 3) or not all(isinstance(v, numbers.Real) for v in values):
        raise ValueError(f"the number {name!r} is a value or (value, lower, upper), not {value!r}")
    finite = [float(v) if math.isfinite(v) else None for v in values]
    return dict(zip(("value", "lower", "upper"), finite, strict=False))
