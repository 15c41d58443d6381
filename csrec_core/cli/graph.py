"""`csrec graph`: the audit of the proof on a graph of one's own."""

import json
import sys

import click

from csrec_core.cli.program import FILE, OUTPUT, cli
from csrec_core.errors import unknown
from csrec_core.files import whole_file

__all__ = ["graph"]


@cli.command(
    epilog="Example: csrec graph --extra 'S[t-1]->D[t]' --latent 'S2<->D2' --require theorem,recursion"
)
@click.option("--file", type=FILE, help="Your own graph (.gml, .dot or .json) in the place of Figure 1.")
@click.option("--horizon", default=3, show_default=True, type=click.IntRange(2, 8), help="Time steps.")
@click.option("--exposure", default="observational", show_default=True, help="observational or randomised.")
@click.option("--online", is_flag=True, help="The system learns from decisions.")
@click.option("--regime", default="none", show_default=True, help="What R acts on: exposure or acceptance.")
@click.option("--extra", default="", metavar="EDGES", help="Arrows to add, such as S1->P3,S[t-1]->D[t].")
@click.option("--latent", default="", metavar="EDGES", help="Pairs with an unmeasured cause: S[t]<->D[t].")
@click.option("--require", default="", metavar="NAMES", help="Verdicts that must hold, or exit with 1.")
@click.option("--verdicts", "target", type=OUTPUT, metavar="FILE", help="Write the verdicts as JSON.")
def graph(file, horizon, exposure, online, regime, extra, latent, require, target):
    """Audit Theorem 3.1 on a causal graph: every step, its reason, and what is identifiable."""
    from csrec_core.causal import audit as audits
    from csrec_core.causal.graph import sequential_graph
    from csrec_core.causal.graph_input import make_graph

    given = {"extra_edges": extra, "latent_edges": latent, "file": str(file or "")}
    audited = make_graph(horizon, exposure=exposure, online=online, regime=regime, **given)
    checked = audits.audit(audited, horizon)
    plain = audits.audit(sequential_graph(horizon, exposure=exposure), horizon)
    verdicts = audits.verdicts(checked)
    required = [name.strip() for name in require.split(",") if name.strip()]
    for name in required:
        if name not in verdicts:
            raise unknown("verdict", name, verdicts, where="--require")
    table = audits.step_table(checked, baseline=plain).drop(columns="meaning")
    click.echo(table.to_string(index=False, formatters={"gap": "{:.1e}".format}))
    click.echo("\n" + "\n".join(f"{name:14}{'holds' if it else 'fails'}" for name, it in verdicts.items()))
    if target:
        with whole_file(target) as temporary:
            temporary.write_text(json.dumps(verdicts, indent=1) + "\n")
    sys.exit(0 if all(verdicts[name] for name in required) else 1)
