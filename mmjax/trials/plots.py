"""Optuna's own plots of a study, as PNG files."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mmjax.report.figures import save
from mmjax.trials.storage import import_optuna

if TYPE_CHECKING:
    from optuna import Study

PLOTS = {
    "optimization_history": "Accuracy on validation of each trial, and the best so far.",
    "intermediate_values": "The same over train steps: where a line ends early, the trial was "
    "behind.",
    "param_importances": "What share of the differences in accuracy each parameter explains, among "
    "completed trials.",
    "parallel_coordinate": "A line is a trial; the darker, the better.",
    "slice": "Accuracy against each parameter; the darker, the later.",
}
"""Plots by Optuna's names, and what they show."""


def save_plots(study: "Study", out: Path) -> dict[str, str]:
    """Draws what can be drawn of the trials: {name of a PNG file without suffix: what it shows}."""
    from matplotlib import pyplot, rc_context

    plots = import_optuna().visualization.matplotlib
    completed = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    drawn = {}
    for name in PLOTS:
        if name == "param_importances" and len({trial.value for trial in completed}) < 2:
            continue  # there are no differences to explain
        # Optuna's plots write beyond the edge, and change the style of all that come later.
        with rc_context({"savefig.bbox": "tight"}), warnings.catch_warnings(action="ignore"):
            axes = getattr(plots, f"plot_{name}")(study)
            figure = getattr(axes, "figure", None) or axes.flat[0].figure
            save(figure, out / f"{name}.png")
            pyplot.close(figure)
        drawn[name] = PLOTS[name]
    return drawn
