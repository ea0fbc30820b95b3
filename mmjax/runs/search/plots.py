"""Optuna's plots of a study, as PNG files."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmjax.report.figures.scores_figure import save
from mmjax.runs.search.database import import_optuna
from mmjax.runs.search.params import Params

if TYPE_CHECKING:
    from optuna import Study

PLOTS = {
    "optimization_history": "Validation {score} of each trial, and the best so far.",
    "intermediate_values": "Best {score} so far against training rows seen; a line that ends early "
    "is a pruned trial.",
    "param_importances": "Share of the variation in {score} that each parameter explains, among "
    "completed trials.",
    "parallel_coordinate": "Each line is a trial; darker is better.",
    "slice": "{score} against each parameter; darker is later.",
}
"""{Optuna's name of a plot: its caption}."""


def save_plots(study: "Study", out: Path, score: str) -> dict[str, str]:
    """Draws the plots that the trials allow, and returns {PNG file name without suffix: caption}.

    Args:
        study: the study.
        out: folder for the files.
        score: name of the score in captions.
    """
    from matplotlib import pyplot, rc_context

    plots = import_optuna().visualization.matplotlib
    completed = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    varied = _varied([trial.params for trial in completed])
    drawn = {}
    for name in PLOTS:
        of_params = name in ("param_importances", "parallel_coordinate", "slice")
        if of_params and (not varied or len({trial.value for trial in completed}) < 2):
            continue  # no variation to explain
        options = {"params": varied} if of_params else {}
        # Optuna's plots draw beyond the figure, and change the global style.
        with rc_context({"savefig.bbox": "tight"}), warnings.catch_warnings(action="ignore"):
            axes = getattr(plots, f"plot_{name}")(study, **options)
            figure = getattr(axes, "figure", None) or axes.flat[0].figure
            save(figure, out / f"{name}.png")
            pyplot.close(figure)
        caption = PLOTS[name].format(score=score)
        drawn[name] = caption[0].upper() + caption[1:]
    return drawn


def _varied(trials: Sequence[Params]) -> list[str]:
    """The parameters with more than one value among the trials."""
    values = {(name, value) for params in trials for name, value in params.items()}
    count = Counter(name for name, _ in values)
    return sorted(name for name in count if count[name] > 1)
