import matplotlib
import pytest

from csrec_core.causal.audit import audit
from csrec_core.causal.diagram import graph_frame, stack_steps
from csrec_core.causal.graph import causal_graph, latex_names, sequential_graph
from csrec_core.plots.graphs import plot_graph, plot_panels
from csrec_core.report.formula import literal, prose, to_mathml

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = [
    "a$b",
    "$x$",
    r"\\href{javascript:alert(1)}{x}",
    "<script>x</script>",
    "50%",
    "a_b^c",
    "#~&{}",
    "é è",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_written(name):
    markup = to_mathml(rf"P({latex_names([name])} \mid x)")
    assert "<script" not in markup and "href=" not in markup
    shown = markup.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\xa0", " ")
    assert f"<mtext>{name}</mtext>" in shown
    sentence = prose(literal(f"It adds {name} to {name}, $x_1$."))
    assert "<math" not in sentence
    assert "<script" not in sentence


def test_formulas_and_dollars_in_one_sentence():
    assert prose(r"a \$ b $x$ c \$") == f"a $ b {to_mathml('x')} c $"


@pytest.mark.parametrize(
    "name",
    [
        "A$AP and B$AP",
        "$5 and $6",
        "between 5$ and 6$",
        "$AVE or $PEND",
        "Ca$h, Mon$y",
        "$\\frac{$",
        "$ and $",
    ],
)
def test_dollar_signs_of_names_are_no_formulas(name):
    assert prose(f"It is {name}.") == f"It is {name}." and prose(f"{name}: $x_{{1}}$.").count("<math") == 1


@pytest.mark.parametrize(
    "latex", [r"\href{javascript:alert(1)}{x}", r"\text{\href{a}{b}}", r"\unknown{x}", "{x"]
)
def test_what_leads_elsewhere_or_is_unknown_does_not_pass(latex):
    with pytest.raises(ValueError, match="cannot render"):
        to_mathml(latex)


def test_texts_keep_their_spaces():
    assert "<mtext>since\xa0</mtext>" in to_mathml(r"\text{since } x")


@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_such_names_are_drawn(name):
    graph = causal_graph([*sequential_graph(2).edges, (name, "D2")])
    checked = audit(graph, 2, certificates=False)
    for figure in (
        plot_graph(graph_frame(graph)).figure,
        plot_panels(stack_steps([checked.derivation["A3"].__class__(
            "A3", "theorem", "", checked.derivation["A3"].check.on(graph, given=[name])
        )])),
    ):  # fmt: skip
        figure.canvas.draw()
        plt.close(figure)
