"""All there is to say of one effect on a graph: whether it is identifiable, why, how, what would help."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import networkx as nx

from csrec_core.causal.adjustment import front_doors, implications, instruments
from csrec_core.causal.certificate import Certificate, certify_formula
from csrec_core.causal.graph import Nodes, plain_names, probability
from csrec_core.causal.identify import Identifiability, identify
from csrec_core.causal.repair import Changes, identifying_changes
from csrec_core.causal.search import ONE_SOURCE, Source
from csrec_core.causal.twins import Twins, smallest_core, twin_models

ENTRIES_LISTED = 12  # entries of a list that are printed
LARGE_GRAPH = 60  # measured nodes, above which what takes every pair or set of nodes is left out


@dataclass(frozen=True)
class Answer:
    """What is known of P(y | do, given) on a graph."""

    found: Identifiability  # with formula and derivation
    certificate: Certificate | None  # of the formula, None where there is none or none was asked for
    front_doors: list[Nodes]  # see `csrec_core.causal.adjustment`, as for the next two
    instruments: list[tuple[str, Nodes]]
    implications: list[tuple[str, str, Nodes]]
    # two models that no data tell apart, or why there are none; None where the effect is identifiable
    twins: Twins | str | None
    changes: Changes  # what would make it identifiable, see `identifying_changes`

    def meaning(self) -> str:
        """Say in one or two plain sentences what follows for who has data."""
        y, do = plain_names(self.found.y), plain_names(self.found.do)
        if len(self.found.sources) > 1 and self.found:
            return "The sources together give the effect; which part comes from which the formula says."
        if not self.found:
            return (
                f"No amount of data on the measured nodes tells what setting {do} does to {y}: two worlds "
                "that look the same in every table answer differently. Randomise, measure or assume more."
            )
        if not any(nx.has_path(self.found.graph, a, b) for a in self.found.do for b in self.found.y):
            return f"By this graph {do} is no cause of {y}: setting it changes nothing."
        if self.found.adjustment:
            nodes = " and ".join(sorted(self.found.adjustment[0]))
            if not nodes:
                return f"Compare {y} between the values of {do} as they are: nothing else moves both."
            return (
                f"Compare {y} between the values of {do} among cases with the same {nodes}, then average "
                f"over how often each value of {nodes} occurs. No experiment is needed, if the graph is right."
            )
        return (
            f"No set of measured nodes can be adjusted for, yet the formula gives the effect of {do} on {y} "
            "from data without an experiment, if the graph is right."
        )

    def text(self) -> str:
        """Return the whole answer as plain text."""
        query = probability(self.found.y, self.found.do, self.found.given)
        parts = [f"{query}: {'identifiable' if self.found else 'not identifiable'}", self.meaning()]
        parts += [f"Data: {'; '.join(map(str, self.found.sources))}"] if len(self.found.sources) > 1 else []
        parts += [f"{query} = {self.found.formula.text()}", *self._why()] if self.found else self._why_not()
        sets = self.found.adjustment if len(self.found.sources) == 1 else []
        ways = {
            "adjust for": map(_set, sets),
            "front door": map(_set, self.front_doors),
            "instrument (with linear or monotone effects)": (
                node + (f" given {_set(nodes)}" if nodes else "") for node, nodes in self.instruments
            ),
            "testable: the graph is wrong if data deny": (
                f"{a} ⊥ {b}" + (f" | {plain_names(nodes)}" if nodes else "")
                for a, b, nodes in self.implications
            ),
        }
        lists = [_titled_list(title, list(told)) for title, told in ways.items()]
        return "\n\n".join(filter(None, [*parts, *lists]))

    def _why(self) -> list[str]:
        lines = []
        for number, line in enumerate(self.found.derivation(), start=1):
            lines.append(f"{number}. {line.words}:\n   {line.formula}")
            for check in line.checks:
                lines.append(f"     rule {check.rule}: {check.separation}\n       {check.reason}")
        parts = ["Derivation\n" + "\n".join(lines)]
        if self.certificate is not None:
            parts.append(
                f"Certificate: {self.certificate.why}"
                if self.certificate.why
                else f"Certificate: formula and effect differ by at most {self.certificate.gap:.0e} in "
                f"{len(self.certificate.gaps)} random models of the graph, all probabilities exact."
            )
        return parts

    def _why_not(self) -> list[str]:
        group, part = self.found.hedge or (frozenset(), frozenset())
        parts = [
            f"Hedge: what acts on {_set(part)} cannot be told apart from the unmeasured causes shared within "
            f"{_set(group)}."
        ]
        if isinstance(self.twins, Twins):
            one, other = self.twins.effects
            values = ", ".join(f"{node}=1" for node in sorted(self.found.do | self.found.given))
            parts.append(
                f"Two models, one law of what is measured (to {self.twins.law_gap:.0e}), two effects at "
                f"{values}: {one:.4f} and {other:.4f}. Nodes not named have no say.\n"
                f"{self.twins.text()}"
            )
        elif self.twins:
            parts.append(f"Two models: {self.twins}")
        for change, sets in self.changes.items():
            entries = [", ".join(sorted(names)) for names in sets]
            parts.append(_titled_list(f"identifiable, if you {change}", entries))
        return [*parts, f"always: randomise {plain_names(self.found.do)}"]


def answer(
    graph: nx.DiGraph,
    *,
    y: Iterable[str],
    do: Iterable[str],
    given: Iterable[str] = (),
    sources: Sequence[Source] = ONE_SOURCE,
    certificate: bool = True,
) -> Answer:
    """Ask all there is to ask of P(y | do, given) on a graph, as `identify` takes it; InputError as there.

    With `certificate` the formula is compared with the effect in random models.
    """
    found = identify(graph, y=y, do=do, given=given, sources=sources)
    is_small = len(found.order) <= LARGE_GRAPH
    is_single = len(found.y) == len(found.do) == 1 and not found.given
    ends = {"y": next(iter(found.y)), "do": next(iter(found.do))} if is_single else {}
    core = smallest_core(found) if not found and len(sources) == 1 else None
    return Answer(
        found,
        certify_formula(found) if found and certificate else None,
        front_doors(graph, **ends) if ends and is_small else [],
        instruments(graph, **ends) if ends and is_small else [],
        implications(graph) if is_small else [],
        None if core is None else twin_models(found, core=core),
        {} if core is None else identifying_changes(found, core),
    )


def _set(nodes: Iterable[str]) -> str:
    return f"{{{plain_names(nodes)}}}"


def _titled_list(title: str, entries: list[str]) -> str:
    """Return a list under its title; nothing where it is empty."""
    if not entries:
        return ""
    more = [f"  … and {len(entries) - ENTRIES_LISTED} more"] if len(entries) > ENTRIES_LISTED else []
    return "\n".join([f"{title}:", *(f"  {entry}" for entry in entries[:ENTRIES_LISTED]), *more])
