"""Figures: what is drawn is what the frame says (structure, not pixels)."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from csrec_core import plots
from csrec_core.plots import marks
from csrec_core.plots.files import STYLE
from csrec_core.plots.marks import GREY


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def bands(**more) -> pd.DataFrame:
    steps = np.arange(1, 6)
    return pd.DataFrame(
        {"step": steps, "mean": steps / 10, "low": steps / 10 - 0.05, "high": steps / 10 + 0.05, **more}
    )


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_accept_rates_draw_a_line_a_source():
    frame = pd.concat([bands(source="self"), bands(source="system")])
    ax = plots.plot_accept_rates(frame)
    assert len(ax.lines) == 2
    np.testing.assert_allclose(ax.lines[0].get_ydata(), bands()["mean"])
    assert texts(ax) == ["chosen by the user", "exposed by the system"]
    assert ax.get_xlabel() and ax.get_ylabel()


def test_explained_draws_shares_and_chance():
    frame = pd.DataFrame({"factor": ["position", "item"], "share": [0.6, 0.1], "chance": [0.01, 0.02]})
    ax = plots.plot_explained(frame)
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["position", "item"]


def test_item_shares_are_cumulative():
    frame = pd.DataFrame({"source": ["self"] * 3, "item": [1, 2, 3], "share": [0.2, 0.5, 0.3]})
    ax = plots.plot_item_shares(frame)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 0.8, 1.0])


def test_curves_start_from_each_models_best():
    frame = pd.DataFrame(
        {"model": ["a"] * 3 + ["b"] * 2, "epoch": [1, 2, 3, 1, 2], "validation": [3, 1, 2, 9, 8]}
    )
    ax = plots.plot_curves(frame)
    assert [list(line.get_ydata()) for line in ax.lines[::2]] == [[2, 0, 1], [1, 0]]
    assert [list(line.get_xdata()) for line in ax.lines[1::2]] == [[2], [2]]


def test_training_is_drawn_in_panels():
    frame = pd.DataFrame({"model": ["a", "b", "c"], "panel": ["x", "y", "y"], "epoch": 1, "validation": 2.0})
    left, right = plots.plot_training(frame).axes
    assert [len(ax.get_legend().get_texts()) for ax in (left, right)] == [1, 2]
    assert left.get_ylabel() and not right.get_ylabel()


def test_scores_are_sorted_and_controls_grey():
    frame = pd.DataFrame(
        {
            "model": ["m", "c", "n"],
            "metric": "AUC",
            "mean": [0.7, 0.6, np.nan],
            "low": [0.65, 0.5, np.nan],
            "high": 0.8,
        }
    )
    ax = plots.plot_scores(frame, metric="AUC", controls=["c"])
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["c", "m"]
    assert labels[0].get_color() == GREY
    assert texts(ax) == ["0.600", "0.700"]


def test_calibration_names_its_models():
    frame = pd.DataFrame(
        {"model": ["a", "a", "b"], "stated": [0.1, 0.9, 0.5], "observed": [0.2, 0.8, 0.5], "rows": 3}
    )
    ax = plots.plot_calibration(frame)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize("known", [False, True])
def test_effect_by_step_shows_the_truth_where_known(known):
    frame = bands(truth=0.3) if known else bands()
    ax = plots.plot_effect_by_step(frame)
    assert texts(ax) == (["estimate", "truth"] if known else ["estimate"])
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.05, 0.55))


def test_effect_by_user_thins_evenly():
    effect = np.linspace(-1, 1, 1001)
    frame = pd.DataFrame({"user": range(1001), "effect": effect, "low": effect - 0.1, "high": effect + 0.1})
    ax = plots.plot_effect_by_user(frame, most=11)
    dots = ax.lines[-1]
    np.testing.assert_allclose(dots.get_xdata(), np.linspace(0, 100, 11))
    np.testing.assert_allclose(dots.get_ydata(), np.linspace(-1, 1, 11))
    assert len(ax.collections[0].get_segments()) == 11


def test_heat_map_is_centred_on_zero():
    frame = pd.DataFrame({"group": [1, 2], 1: [0.3, -0.1], 2: [0.1, 0.0]})
    ax = plots.plot_effect_by_group(frame)
    mesh = ax.collections[0]
    assert mesh.get_clim() == (-0.3, 0.3)
    np.testing.assert_allclose(mesh.get_array().ravel(), [0.3, 0.1, -0.1, 0.0])


def test_a_given_axes_is_drawn_on():
    _, ax = plt.subplots()
    assert plots.plot_effect_by_step(bands(), ax=ax) is ax


def test_a_user_is_drawn_under_both_models_with_their_decisions():
    frame = pd.DataFrame({"step": [1, 2, 3], "decision": [1, 0, 1]})
    frame = frame.assign(f=[0.5, 0.6, 0.7], f_tilde=[0.3, 0.4, 0.6])
    ax = plots.plot_user(frame)
    system, chosen, accepted, rejected = ax.lines
    assert (list(system.get_ydata()), list(chosen.get_ydata())) == ([0.5, 0.6, 0.7], [0.3, 0.4, 0.6])
    assert (list(accepted.get_xdata()), list(rejected.get_xdata())) == ([1, 3], [2])
    assert texts(ax) == ["f, by the system", "f~, by themselves"]


def luminance(colour: str) -> float:
    """Relative luminance of a colour, in [0, 1] (WCAG 2)."""
    parts = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_what_is_estimated_compared_and_true_differs_in_grey():
    """As a grey print shows them: L* of CIELAB, of which 1 can just be seen between large areas."""
    colours = {"blue": marks.BLUE, "orange": marks.ORANGE, "green": marks.GREEN}
    lightness = {name: 116 * luminance(colour) ** (1 / 3) - 16 for name, colour in colours.items()}
    assert lightness["orange"] - lightness["green"] >= 10
    assert lightness["green"] - lightness["blue"] >= 10
    # Text and lines stand out from the white they are drawn on: WCAG asks 3 of graphics.
    for colour in (marks.BLUE, marks.ORANGE, marks.GREEN, marks.GREY):
        assert 1.05 / (luminance(colour) + 0.05) >= 3
    cycle = matplotlib.rc_params_from_file(STYLE, use_default_template=False)["axes.prop_cycle"]
    assert cycle.by_key()["color"][:3] == list(colours.values())
