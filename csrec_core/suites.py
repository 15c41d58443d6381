"""The notebooks that go with the package and the suites: the one list of either."""

from collections.abc import Iterable
from dataclasses import dataclass

from csrec_core.errors import unknown

START_SECONDS = 25  # seconds of a notebook on a small log


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """What a notebook is for."""

    # What a log must have for it, "log", "effect", "arms", "phases" or "sessions", by
    # `csrec_core.data.check.what_it_lacks`; None where it reads no log.
    needs: str | None = "log"
    # the suites that leave some notebooks out, and have this one; all others have every notebook
    suites: tuple[str, ...] = ()
    # CPU seconds for 100,000 exposures more, measured on logs of 10,000 to 500,000 (docs/results.md)
    seconds: float = 0
    reads: tuple[str, ...] = ()  # whose artefacts it reads: it runs after them, and is redone when they are


NOTEBOOKS = {
    "01_causal_graph": Notebook(needs=None),
    "02_data": Notebook(suites=("shop",), seconds=5),
    "03_train": Notebook(needs="phases", seconds=85, reads=("02_data",)),
    "04_treatment_effect": Notebook(
        needs="effect", suites=("shop", "effect"), seconds=6, reads=("03_train",)
    ),
    "05_reproduction": Notebook(needs="phases", suites=("reproduction",), seconds=30),
    "06_policy": Notebook(needs="arms", suites=("shop", "effect"), seconds=4),
    "07_table_2": Notebook(needs="sessions", suites=("reproduction",)),
}
#: What a suite sets where the command line says nothing.
SUITES: dict[str, dict[str, object]] = {
    "shop": {},
    "quick": {"users": 2000, "patience": 3, "worlds": 5, "sample": 350, "penalties": "3"},
    "full": {"users": 5000, "worlds": 50},
    "effect": {},
    "reproduction": {
        "sample": 3000,
        "backbones": "gru4rec, caser, sasrec, bert4rec, fmlprec, bsarec",
        "over": "sasrec, fmlprec, bsarec, bert4rec",
        "seeds": 3,
        "passes": 7,
        "jobs": 2,
    },
}


def notebooks_of(suite: str) -> list[str]:
    """Return the names of a suite's notebooks; raises InputError for one that is none."""
    if suite not in SUITES:
        raise unknown("suite", suite, SUITES)
    return [name for name, notebook in NOTEBOOKS.items() if suite in notebook.suites] or list(NOTEBOOKS)


def expected_seconds(notebooks: Iterable[Notebook], exposures: int) -> float:
    """Return about how many seconds of one core notebooks take on a log.

    Examples
    --------
    >>> expected_seconds([NOTEBOOKS["04_treatment_effect"], NOTEBOOKS["06_policy"]], 5_000_000)
    550.0
    """
    return sum(START_SECONDS + notebook.seconds * exposures / 1e5 for notebook in notebooks)
