"""Controls in JupyterLab: drawn again for what is picked; nothing of them in a batch run."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from csrec_core.report import explore as module
from csrec_core.report.explore import explore


class Shell:
    def __init__(self, *sources):
        self.user_ns = {"In": ["", *sources]}


@pytest.fixture
def picked(monkeypatch):
    """What was displayed, in a notebook run by hand."""
    shown = []
    monkeypatch.setattr(module, "display", shown.append)
    monkeypatch.setattr(module, "get_ipython", lambda: Shell("users = 1"))
    return shown


def test_the_view_follows_what_is_picked(picked):
    calls = []
    explore(lambda user, window: calls.append((user, window)), user=["a", "b"], window=(1, 9))
    user, window = picked[-1].children[0].children
    user.value, window.value = "b", (2, 5)
    assert calls == [("a", (1, 9)), ("b", (1, 9)), ("b", (2, 5))]
    assert (window.min, window.max) == (1, 9) and list(user.options) == ["a", "b"]


def test_drawings_are_shown_and_closed_and_tables_shown(picked):
    plt.close("all")
    explore(lambda x: plt.subplots()[1], x=[1])
    explore(lambda x: pd.DataFrame({"x": [x]}), x=[1])
    assert [type(thing).__name__ for thing in picked] == ["Figure", "VBox", "DataFrame", "VBox"]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("shell", [None, Shell("users = 1", "# Parameters\nusers = 2")])
def test_a_batch_run_draws_nothing(picked, monkeypatch, shell):
    monkeypatch.setattr(module, "get_ipython", lambda: shell)
    explore(lambda x: pytest.fail("drawn"), x=[1])
    assert picked == []
