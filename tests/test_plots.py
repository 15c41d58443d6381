"""Figures: what is drawn is what the frame says (structure, not pixels)."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from csrec_core.plots import effect as effect_plots
from csrec_core.plots import marks
from csrec_core.plots.effect import (
    plot_checks,
    plot_effect_by_step,
    plot_effect_by_user,
    plot_estimates,
    plot_sensitivity,
)
from csrec_core.plots.files import STYLE
from csrec_core.plots.log import plot_accept_rates, plot_explained, plot_item_shares
from csrec_core.plots.marks import GREY
from csrec_core.plots.scores import plot_calibration, plot_curves, plot_scores, plot_training


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def bands(**more) -> pd.DataFrame:
    steps = np.arange(1, 6)
    return pd.DataFrame(
        {"step": steps, "mean": steps / 10, "lower": steps / 10 - 0.05, "upper": steps / 10 + 0.05, **more}
    )


def effects(**more) -> pd.DataFrame:
    return bands(last=np.arange(1, 6), **more).rename(columns={"mean": "effect"})


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_accept_rates_draw_a_line_a_source():
    frame = pd.concat([bands(source="self"), bands(source="system")])
    ax = plot_accept_rates(frame)
    assert len(ax.lines) == 2
    np.testing.assert_allclose(ax.lines[0].get_ydata(), bands()["mean"])
    assert texts(ax) == ["by the user", "by the system"]
    assert ax.get_xlabel() and ax.get_ylabel()


def test_explained_draws_shares_and_chance():
    frame = pd.DataFrame({"factor": ["step", "item"], "share": [0.6, 0.1], "chance": [0.01, 0.02]})
    ax = plot_explained(frame)
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["step", "item"]


def test_item_shares_are_cumulative():
    frame = pd.DataFrame({"source": ["self"] * 3, "item": [1, 2, 3], "share": [0.2, 0.5, 0.3]})
    ax = plot_item_shares(frame)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 0.8, 1.0])


def test_curves_start_from_each_models_best():
    frame = pd.DataFrame(
        {"model": ["a"] * 3 + ["b"] * 2, "epoch": [1, 2, 3, 1, 2], "validation": [3, 1, 2, 9, 8]}
    )
    ax = plot_curves(frame)
    assert [list(line.get_ydata()) for line in ax.lines[::2]] == [[2, 0, 1], [1, 0]]
    assert [list(line.get_xdata()) for line in ax.lines[1::2]] == [[2], [2]]


def test_training_is_drawn_in_panels():
    frame = pd.DataFrame({"model": ["a", "b", "c"], "panel": ["x", "y", "y"], "epoch": 1, "validation": 2.0})
    upper, lower = plot_training(frame).axes
    assert [texts(ax) for ax in (upper, lower)] == [["a"], ["b", "c"]]
    assert [ax.get_title(loc="left") for ax in (upper, lower)] == ["x", "y"]
    assert lower.get_xlabel() and not upper.get_xlabel()


def test_scores_are_sorted_and_controls_grey():
    frame = pd.DataFrame(
        {
            "model": ["m", "c", "n"],
            "metric": "AUC",
            "mean": [0.7, 0.6, np.nan],
            "lower": [0.65, 0.5, np.nan],
            "upper": 0.8,
        }
    )
    ax = plot_scores(frame, metric="AUC", controls=["c"])
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["c", "m"]
    assert labels[0].get_color() == GREY
    assert texts(ax) == ["0.600", "0.700"]


def test_calibration_names_its_models():
    frame = pd.DataFrame(
        {"model": ["a", "a", "b"], "stated": [0.1, 0.9, 0.5], "observed": [0.2, 0.8, 0.5], "rows": 3}
    )
    ax = plot_calibration(frame)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize("known", [False, True])
def test_effect_by_step_shows_the_truth_where_known(known):
    frame = effects(truth=0.3) if known else effects()
    ax = plot_effect_by_step(frame)
    assert texts(ax) == (["estimate", "truth"] if known else ["estimate"])
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.05, 0.55))


def test_users_told_from_zero_stand_out():
    effect = np.linspace(-1, 1, 101)
    frame = pd.DataFrame({"effect": effect, "lower": effect - 0.5, "upper": effect + 0.5})
    ax = plot_effect_by_user(frame, mean=0.2)
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["above zero: 25", "not told from zero: 51", "below zero: 25"]
    heights = [sum(bar.get_height() for bar in bars) for bars in ax.containers]
    assert heights == [25, 51, 25]
    assert texts(ax) == ["mean"]


def test_estimators_stand_beside_each_other_and_the_truth():
    frame = effects().head(2).assign(name=["doubly robust", "observed"])
    ax = plot_estimates(frame, truth=0.25)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["doubly robust", "observed"]
    assert texts(ax) == [f"{100 * value:+.1f}" for value in frame["effect"]] + ["truth"]
    assert ax.lines[-1].get_xdata() == [0.25, 0.25]


def test_the_band_names_where_zero_enters_and_the_strongest_column():
    band = pd.DataFrame({"odds": [1.0, 2.0, 3.0], "least": [0.1, 0.0, -0.1], "most": [0.1, 0.2, 0.3]})
    band = band.assign(lower=band["least"] - 0.01, upper=band["most"] + 0.01)
    ax = plot_sensitivity(band, tipping=1.9, benchmark=1.2, name="age")
    assert texts(ax) == ["zero enters: 1.90", "age: 1.20"]
    long = texts(plot_sensitivity(band, benchmark=1.2, name="how often the user accepted this kind of item"))[
        0
    ]
    assert max(map(len, long.split("\n"))) < 30  # beside the line, not past the drawing
    assert texts(plot_sensitivity(band, tipping=float("inf"), benchmark=1.0)) == []


def test_checks_have_their_words_and_those_that_measure_an_interval():
    frame = pd.DataFrame({"name": ["placebo", "agreement"], "verdict": ["holds", "fails"]})
    frame = frame.assign(value=[0.01, np.nan], lower=[-0.02, np.nan], upper=[0.04, np.nan])
    ax = plot_checks(frame)
    assert texts(ax) == ["✓ holds", "✗ fails"]
    widths = [np.ptp(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert pytest.approx(0.06) in widths


def test_effects_on_an_outcome_are_written_in_its_own_unit():
    frame = effects(name="x", segment="s", group="g", cohort="c", users=9, verdict="holds", value=0.1)
    drawn = {
        name: getattr(effect_plots, name)(frame, unit="EUR")
        for name in ("plot_effect_by_step", "plot_estimates", "plot_effect_by_user", "plot_effect_by_segment",
                     "plot_effect_by_cohort", "plot_checks")
    }  # fmt: skip
    assert all("EUR" in ax.get_xlabel() + ax.get_ylabel() for ax in drawn.values())
    assert texts(drawn["plot_estimates"])[:2] == ["+0.100", "+0.200"]
    drawn["plot_effect_by_step"].figure.canvas.draw()
    labels = {label.get_text() for label in drawn["plot_effect_by_step"].get_yticklabels()}
    assert {"+0.1", "+0.2", "0"} <= labels


def test_a_given_axes_is_drawn_on():
    _, ax = plt.subplots()
    assert plot_effect_by_step(effects(), ax=ax) is ax


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
    cycle = matplotlib.RcParams(STYLE)["axes.prop_cycle"]
    assert cycle.by_key()["color"][:3] == list(colours.values())
