"""The notebooks that go with the package, the one list of them, and the suites that leave some out."""

from dataclasses import dataclass

__all__ = ["NOTEBOOKS", "PARTS", "Notebook"]


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """What a notebook is for.

    Attributes
    ----------
    needs : {"log", "effect", "arms", "phases", "sessions"}, optional
        What a log must have for it, by `csrec_core.data.check.what_it_lacks`; None where it reads no log.
    suites : sequence of str
        The suites that leave some notebooks out, and have this one; all others have every notebook.
    """

    needs: str | None = "log"
    suites: tuple[str, ...] = ()


NOTEBOOKS = {
    "01_causal_graph": Notebook(needs=None),
    "02_data": Notebook(suites=("shop",)),
    "03_train": Notebook(needs="phases"),
    "04_treatment_effect": Notebook(needs="effect", suites=("shop", "effect")),
    "05_reproduction": Notebook(needs="phases", suites=("reproduction",)),
    "06_policy": Notebook(needs="arms", suites=("shop", "effect")),
    "07_table_2": Notebook(needs="sessions", suites=("reproduction",)),
}
#: The notebooks of a suite that leaves some out.
PARTS = {
    suite: tuple(name for name, notebook in NOTEBOOKS.items() if suite in notebook.suites)
    for suite in ("shop", "effect", "reproduction")
}
