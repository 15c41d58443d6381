"""The notebooks that go with the package, the one list of them, and the suites that leave some out."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["NOTEBOOKS", "SUITE_PARTS", "Notebook", "expected_seconds"]

START_SECONDS = 25  # seconds of a notebook on a small log


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """What a notebook is for.

    Attributes
    ----------
    needs : {"log", "effect", "arms", "phases", "sessions"}, optional
        What a log must have for it, by `csrec_core.data.check.what_it_lacks`; None where it reads no log.
    suites : sequence of str
        The suites that leave some notebooks out, and have this one; all others have every notebook.
    seconds : float
        CPU seconds for 100,000 exposures more, as measured on logs of 10,000 to 500,000 (docs/results.md).
    """

    needs: str | None = "log"
    suites: tuple[str, ...] = ()
    seconds: float = 0


NOTEBOOKS = {
    "01_causal_graph": Notebook(needs=None),
    "02_data": Notebook(suites=("shop",), seconds=5),
    "03_train": Notebook(needs="phases", seconds=85),
    "04_treatment_effect": Notebook(needs="effect", suites=("shop", "effect"), seconds=6),
    "05_reproduction": Notebook(needs="phases", suites=("reproduction",), seconds=30),
    "06_policy": Notebook(needs="arms", suites=("shop", "effect"), seconds=4),
    "07_table_2": Notebook(needs="sessions", suites=("reproduction",)),
}
#: The notebooks of a suite that leaves some out.
SUITE_PARTS = {
    suite: tuple(name for name, notebook in NOTEBOOKS.items() if suite in notebook.suites)
    for suite in ("shop", "effect", "reproduction")
}


def expected_seconds(notebooks: Iterable[Notebook], exposures: int) -> float:
    """Return about how many seconds of one core notebooks take on a log.

    Examples
    --------
    >>> expected_seconds([NOTEBOOKS["04_treatment_effect"], NOTEBOOKS["06_policy"]], 5_000_000)
    550.0
    """
    return sum(START_SECONDS + notebook.seconds * exposures / 1e5 for notebook in notebooks)
