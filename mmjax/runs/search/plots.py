"""Optuna's own plots of a study, as PNG files."""

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
    "optimization_history": "{score} on validation of each trial, and the best so far.",
    "intermediate_values": "The best so far over training rows seen: where a line ends early, the "
    "trial was behind.",
    "param_importances": "What share of the differences in {score} each parameter explains, among "
    "completed trials.",
    "parallel_coordinate": "A line is a trial; the darker, the better.",
    "slice": "{score} against each parameter; the darker, the later.",
}
"""Plots by Optuna's names, and what they show of a score."""


def save_plots(study: "Study", out: Path, score: str) -> dict[str, str]:
    """Draws what can be drawn of the trials: {name of a PNG file without suffix: what it shows}.

    Args:
        study: whose trials they are.
        out: folder of the files.
        score: what the captions call that by which trials are judged.
    """
    from matplotlib import pyplot, rc_context

    plots = import_optuna().visualization.matplotlib
    completed = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    varied = _varied([trial.params for trial in completed])
    drawn = {}
    for name in PLOTS:
        of_params = name in ("param_importances", "parallel_coordinate", "slice")
        if of_params and (not varied or len({trial.value for trial in completed}) < 2):
            continue  # there are no differences to explain
        options = {"params": varied} if of_params else {}
        # Optuna's plots write beyond the edge, and change the style of all that come later.
        with rc_context({"savefig.bbox": "tight"}), warnings.catch_warnings(action="ignore"):
            axes = getattr(plots, f"plot_{name}")(study, **options)
            figure = getattr(axes, "figure", None) or axes.flat[0].figure
            save(figure, out / f"{name}.png")
            pyplot.close(figure)
        caption = PLOTS[name].format(score=score)
        drawn[name] = caption[0].upper() + caption[1:]
    return drawn


def _varied(trials: Sequence[Params]) -> list[str]:
    """The parameters that do not have one value in all trials."""
    values = {(name, value) for params in trials for name, value in params.items()}
    count = Counter(name for name, _ in values)
    return sorted(name for name in count if count[name] > 1)
