"""Controls in JupyterLab: a view drawn again for what is picked. A batch run and its page have none."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display


def explore(draw: Callable, **choices) -> None:
    """Show controls, and below them what `draw` returns for what they are set to.

    In a run by papermill nothing is shown: there is nobody to pick, and the page takes no script. So a cell
    with controls stands after the figure that shows the static view, and is tagged `widget`, which keeps it
    out of the page.

    Parameters
    ----------
    draw : callable
        Called with a value for each choice; returns Axes, a Figure, or anything that can be displayed.
    **choices
        A sequence of what can be picked, or (lower, upper), two whole numbers within which a window is.
    """
    shell = get_ipython()
    # Papermill begins the cell it puts in with these words.
    if shell is None or any(source.startswith("# Parameters") for source in shell.user_ns.get("In", [])):
        return
    controls = {name: _control(name, choice) for name, choice in choices.items()}
    view = widgets.interactive_output(lambda **picked: _show(draw(**picked)), controls)
    display(widgets.VBox([widgets.HBox(list(controls.values())), view]))


def _control(name: str, choice: Sequence) -> widgets.Widget:
    about = {"description": name, "continuous_update": False}
    if isinstance(choice, tuple) and len(choice) == 2 and all(type(end) is int for end in choice):
        lower, upper = choice
        return widgets.IntRangeSlider(value=choice, min=lower, max=upper, **about)
    return widgets.Dropdown(options=list(choice), description=name)


def _show(result) -> None:
    figure = getattr(result, "figure", result)
    if not isinstance(figure, plt.Figure):
        display(result)
        return
    display(figure)
    plt.close(figure)
