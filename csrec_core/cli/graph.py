"""`csrec graph`, the audit of the proof on a graph, and `csrec identify`, any effect on any graph."""

import sys

import click

from csrec_core.cli.program import FILE, OUTPUT, cli
from csrec_core.cli.reading import chosen_options, read_guessed, reading_options
from csrec_core.errors import InputError, listed, unknown
from csrec_core.files import write_json


@cli.command(
    epilog="Example: csrec graph --extra 'S[t-1]->D[t]' --latent 'S2<->D2' --require theorem,recursion"
)
@click.option("--file", type=FILE, help="Your own graph of P1, S1, D1, P2, … in the place of Figure 1.")
@click.option("--horizon", default=0, type=click.IntRange(0, 8), help="Time steps; 3, or the file's own.")
@click.option("--exposure", default="observational", show_default=True, help="observational or randomised.")
@click.option("--online", is_flag=True, help="The system learns from decisions.")
@click.option("--regime", default="none", show_default=True, help="What R acts on: exposure or acceptance.")
@click.option("--extra", default="", metavar="EDGES", help="Arrows to add, such as S1->P3,S[t-1]->D[t].")
@click.option("--latent", default="", metavar="EDGES", help="Pairs with an unmeasured cause: S[t]<->D[t].")
@click.option("--require", default="theorem", show_default=True, metavar="NAMES", help="What must hold.")
@click.option("--verdicts", "target", type=OUTPUT, metavar="FILE", help="Write the verdicts as JSON.")
@click.option("--read", is_flag=True, help="Print what was read from the file, too.")
@click.option("--without-certificate", is_flag=True, help="Leave the numeric certificates out.")
def graph(file, horizon, exposure, online, regime, extra, latent, require, target, read, without_certificate):
    """Audit Theorem 3.1 on a causal graph: every step, its reason, and what is identifiable.

    Exits with 0 where all that --require names holds, with 1 where some of it fails, and with 3 where some is
    not tested: a certificate that was not computed.
    """
    from csrec_core.causal import audit as audits
    from csrec_core.causal.graph import sequential_graph
    from csrec_core.causal.graph_input import horizon_of, make_graph, read_drawing, repeating

    options = {"exposure": exposure, "online": online, "regime": regime}
    options |= {"extra_edges": extra, "latent_edges": latent, "file": file or ""}
    audited = make_graph(horizon, **options)
    horizon = horizon_of(audited)
    # Arrows at one time only, such as S1->P3, repeat in no slice, but the graph without them is known.
    layout = repeating(audited) if file else lambda steps: make_graph(steps, **options)
    checked = audits.audit(audited, horizon, unroll=layout, certificates=not without_certificate)
    plain = audits.audit(sequential_graph(horizon, exposure=exposure), horizon, certificates=False)
    verdicts = audits.verdicts(checked)
    required = [name.strip() for name in require.split(",") if name.strip()]
    for name in required:
        if name not in verdicts:
            raise unknown("verdict", name, verdicts, where="--require")
    if read and file:
        click.echo(read_drawing(file).summary() + "\n")
    _print_audit(checked, plain)
    if target:
        write_json(target, verdicts)
    proved = audits.every_t(checked)
    asked = [verdicts[name] and proved.get(name) is not False for name in required]
    sys.exit(1 if False in asked else 3 if None in asked else 0)


def _print_audit(checked, plain) -> None:
    """Print the table of steps, the verdicts up to the horizon, and what is proved beyond it."""
    from csrec_core.causal import audit as audits

    table = audits.step_table(checked, baseline=plain).drop(columns="meaning")
    click.echo(table.to_string(index=False, formatters={"gap": "{:.1e}".format}, na_rep=""))
    words = {True: "holds", False: "fails", None: "not tested"}
    proved = audits.every_t(checked)
    beyond = {True: "holds at every t", False: f"fails at a t beyond {checked.t}", None: "holds"}
    click.echo()
    for name, holds in audits.verdicts(checked).items():
        click.echo(f"{name:14}{beyond[proved.get(name)] if holds else words[holds]}")
    for why in dict.fromkeys(c.why for c in checked.certificates.values() if c.why):
        click.echo(f"certificate: {why}")
    if not checked.proofs:
        click.echo(f"The graph repeats no slice: nothing is claimed beyond t = {checked.t}.")
    if ways := audits.blocked_ways(checked.graph):
        click.echo(
            f"{', '.join(ways)}: part of what an exposure does goes through preferences; given the preferences that "
            "part is blocked, so these formulas do not speak of the whole effect."
        )


@cli.command(epilog="Example: csrec identify trial.gml --y wage --do course --given age")
@click.argument("drawn", metavar="FILE", type=FILE)
@click.option("--y", multiple=True, metavar="NAMES", help="Outcome; from a DAGitty file, its outcome.")
@click.option("--do", multiple=True, metavar="NAMES", help="What is set; from a DAGitty file, its exposure.")
@click.option("--given", multiple=True, metavar="NAMES", help="What is conditioned on.")
@click.option(
    "--log", type=FILE, help="A log: its recommended exposures, where drawn at random, are a trial."
)
@reading_options
@click.option("--data", type=FILE, help="A table of the nodes: the effect is estimated, the graph tested.")
@click.option("--read", is_flag=True, help="Print what was read from the file, too.")
@click.option("--latex", is_flag=True, help="Print the formula as LaTeX, too.")
@click.option("--python", "source", is_flag=True, help="Print the formula as a Python function, too.")
@click.option("--without-certificate", is_flag=True, help="Leave the numeric certificate out.")
def identify(drawn, y, do, given, log, data, read, latex, source, without_certificate, **reading):
    """Say whether P(y | do, given) can be computed from data, by the causal graph in FILE; how, or why not.

    FILE is DOT, DAGitty's text, GML, GraphML, JSON (also causalfusion's) or a CSV of edges, with names of
    your own. Names are separated by commas. Exits with 0 where the effect is identifiable, else with 1.
    """
    from csrec_core.causal.answer import answer
    from csrec_core.causal.graph_input import read_drawing, read_graph
    from csrec_core.causal.search import ONE_SOURCE

    drawing, graph = read_drawing(drawn), read_graph(drawn)
    if read:
        click.echo(drawing.summary() + "\n")
    sets = {name: _node_names(words, graph) for name, words in (("y", y), ("do", do), ("given", given))}
    sets["y"] = sets["y"] or drawing.roles["outcome"]
    sets["do"] = sets["do"] or drawing.roles["exposure"]
    for name in ("y", "do"):
        if not sets[name]:
            raise InputError(f"{drawn}: --{name} is missing: expected one or more of {listed(graph)}")
    sources = _log_sources(graph, log, chosen_options(**reading), do=sets["do"]) if log else ONE_SOURCE
    told = answer(graph, **sets, sources=sources, certificate=not without_certificate)
    click.echo(told.text())
    if told.found and latex:
        click.echo("\n" + told.found.formula.latex())
    if told.found and source:
        click.echo("\n" + told.found.python())
    if data:
        _print_data(graph, sets, data)
    sys.exit(0 if told.found else 1)


def _print_data(graph, sets, path) -> None:
    """Print the effect by the smallest set that the data hold, and what the data say of the graph."""
    from csrec_core.causal.adjustment import adjustment_sets, implications
    from csrec_core.data.values import read_table
    from csrec_core.effect.adjusted import check_implications, estimate_adjusted

    table = read_table(path)
    click.echo("\nWhat the graph says of the data alone")
    verdicts = check_implications(table, implications(graph))
    for one in verdicts:
        click.echo(f"  {one.word:10}  {one.name} ({one.detail})")
    if not verdicts:
        click.echo("  nothing: no two nodes can be separated")
    if len(sets["y"]) != 1 or len(sets["do"]) != 1 or sets["given"]:
        click.echo("\nNo estimate: expected one outcome, one action and no condition.")
        return
    held = [one for one in adjustment_sets(graph, y=sets["y"], do=sets["do"]) if one <= set(table.columns)]
    if not held:
        click.echo("\nNo estimate: the data hold no set of nodes to adjust for.")
        return
    (y,), (do,), adjust = sets["y"], sets["do"], sorted(held[0])
    click.echo(f"\nEstimate, adjusted for {', '.join(adjust) or 'nothing'}")
    click.echo(estimate_adjusted(table, y=y, do=do, adjust=adjust).summary())


def _node_names(words, graph) -> list[str]:
    """Return the names in words such as a,b; a node whose name has a comma is one name."""
    return [
        name.strip()
        for word in words
        for name in ([word] if word in graph else word.split(","))
        if name.strip()
    ]


def _log_sources(graph, path, options, *, do):
    """Return the sources of data that a log is for an effect of exposure.

    Self-chosen exposures are observed; recommended ones whose chances are all logged are an experiment on
    `do`, in which nodes that R, the regime, acts on beside `do` are made in their own way.
    """
    from csrec_core.causal.search import Source
    from csrec_core.data.log import SELF, SYSTEM

    log = read_guessed(path, options)[0].log
    own = frozenset(graph.succ["R"]) - frozenset(do) if "R" in graph else frozenset()
    sources = [Source(SELF)] if (log["source"] == SELF).any() else []
    recommended = log[log["source"] == SYSTEM]
    if len(recommended) and "propensity" in log and recommended["propensity"].notna().all():
        sources.append(Source(SYSTEM, frozenset(do), own))
    if not sources:
        raise InputError(
            f"{path}: no self-chosen exposures, and recommended ones without their chances (`propensity`)"
        )
    return tuple(sources)
