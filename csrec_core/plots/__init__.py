"""Drawings of tidy frames: each function takes a frame and an axes, and returns the axes."""

from csrec_core.plots.effect import (
    plot_checks,
    plot_effect_by_cohort,
    plot_effect_by_segment,
    plot_effect_by_step,
    plot_effect_by_user,
    plot_estimates,
    plot_penalty_path,
    plot_sensitivity,
)
from csrec_core.plots.files import save_drawing, use_style
from csrec_core.plots.graphs import plot_graph, plot_panels
from csrec_core.plots.log import plot_accept_rates, plot_explained, plot_item_shares
from csrec_core.plots.policy import (
    plot_exploration,
    plot_gain,
    plot_policy_values,
    plot_repeat_exposure,
    plot_thresholds,
    plot_trust_tests,
)
from csrec_core.plots.reproduction import (
    plot_alpha_sweep,
    plot_constraint_path,
    plot_learning_curve,
    plot_penalty_accuracy,
    plot_penalty_effect,
    plot_published,
)
from csrec_core.plots.scores import plot_calibration, plot_curves, plot_scores, plot_training
from csrec_core.plots.trend import plot_trend
from csrec_core.plots.verdicts import plot_breaking, plot_verdicts

__all__ = [
    "plot_accept_rates",
    "plot_alpha_sweep",
    "plot_breaking",
    "plot_calibration",
    "plot_checks",
    "plot_constraint_path",
    "plot_curves",
    "plot_effect_by_cohort",
    "plot_effect_by_segment",
    "plot_effect_by_step",
    "plot_effect_by_user",
    "plot_estimates",
    "plot_explained",
    "plot_exploration",
    "plot_gain",
    "plot_graph",
    "plot_item_shares",
    "plot_learning_curve",
    "plot_panels",
    "plot_penalty_accuracy",
    "plot_penalty_effect",
    "plot_penalty_path",
    "plot_policy_values",
    "plot_published",
    "plot_repeat_exposure",
    "plot_scores",
    "plot_sensitivity",
    "plot_thresholds",
    "plot_training",
    "plot_trend",
    "plot_trust_tests",
    "plot_verdicts",
    "save_drawing",
    "use_style",
]
