"""What a pipeline may require of a run: verdicts by a short name, read as one exit code."""

from collections.abc import Sequence

from csrec_core.errors import unknown
from csrec_core.report.run import Run
from csrec_core.verdict import FAILS, HOLDS, NOT_TESTED

#: The verdicts that can be required, by a short name.
REQUIREMENTS = {
    "finished": "finished",
    "effect": "the effect is identified",
    "overlap": "the arms overlap",
    "placebos": "placebos show nothing",
    "agreement": "the estimators agree",
    "sensitivity": "hidden causes as strong as those seen change nothing",
    "policy": "it is known when to use the arm",
}
UNSAID = {"verdict": NOT_TESTED, "detail": "no notebook of the run says it"}
FAILED, UNDECIDED = 1, 4  # exit codes


def read_requirements(text: str) -> list[str]:
    """Return the names in a list with commas; raises InputError, with the nearest name, for one that is none.

    Examples
    --------
    >>> read_requirements("effect, overlap")
    ['effect', 'overlap']
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in REQUIREMENTS:
            raise unknown("requirement", name, REQUIREMENTS)
    return names


def gate(run: Run, names: Sequence[str]) -> tuple[int, list[str]]:
    """Return an exit code, and a line for each requirement that is not met.

    The code is 0 where every verdict required holds, 1 where one fails, else 4: one is undecided, not tested,
    or was not given at all.
    """
    given = [one for verdicts in run.verdicts.values() for one in verdicts.values()]
    code, lines = 0, []
    for name in names:
        found = [one for one in given if one["name"] == REQUIREMENTS[name]] or [UNSAID]
        if unmet := [one for one in found if one["verdict"] != HOLDS]:
            worst = min(unmet, key=lambda one: one["verdict"] != FAILS)
            code = FAILED if worst["verdict"] == FAILS or code == FAILED else UNDECIDED
            lines.append(f"required: {name}: {worst['verdict']}. {worst['detail']}".rstrip())
    return code, lines
