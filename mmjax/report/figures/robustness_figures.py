"""The figure of robustness to corruption."""

import math
from collections.abc import Mapping

import numpy as np

from mmjax.analysis.robustness import Curve
from mmjax.report.figures.style import (
    Figure,
    calm,
    draw_line,
    drawing_order,
    legend_below,
    plain_text,
)
from mmjax.types import Metric

Curves = Mapping[tuple[str, str], Mapping[str, Curve]]
"""{(modality, corruption): {strategy: Curve}}, from ``mmjax.analysis.robustness.score_curves``."""

_COLUMNS = 7
_FLAT = 0.1  # of the largest change in any panel


def split_flat(curves: Curves) -> tuple[Curves, Curves]:
    """The panels in which some strategy changes much, and those that are flat beside them.

    Example:
        >>> curve = lambda *scores: {"sum": Curve(np.arange(2), np.array([scores]))}
        >>> curves = {("image", "blur"): curve(0.9, 0.5), ("image", "noise"): curve(0.9, 0.88)}
        >>> [list(part) for part in split_flat(curves)]
        [[('image', 'blur')], [('image', 'noise')]]
    """
    change = {
        panel: max(np.ptp(curve.score.mean(axis=0)) for curve in by_strategy.values())
        for panel, by_strategy in curves.items()
    }
    limit = _FLAT * max(change.values(), default=0.0)
    steep = {panel: curves[panel] for panel in curves if change[panel] > limit}
    return steep, {panel: curves[panel] for panel in curves if panel not in steep}


@plain_text
def robustness_figure(curves: Curves, metric: Metric, colors: Mapping[str, str] = {}) -> Figure:
    """The score against severity, mean over seeds: one panel per modality and corruption.

    Args:
        curves: of one panel or more.
        metric: of the score.
        colors: of the strategies; the others are thin and grey.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> curve = Curve(np.array([0, 5]), np.array([[0.75, 0.5]]))
        >>> curves = {("image", "blur"): {"sum": curve}}
        >>> axes = robustness_figure(curves, METRICS["accuracy"]).axes[0]
        >>> axes.get_title(), axes.lines[0].get_ydata().tolist()
        ('image\\nblur', [75.0, 50.0])
    """
    lines = math.ceil(len(curves) / _COLUMNS)
    columns = math.ceil(len(curves) / lines)
    size = 1.63 * columns + 0.6, 0.5 + 1.7 * lines
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes, ((modality, corruption), by_strategy) in zip(
        panels.flat, curves.items(), strict=False
    ):
        for strategy in drawing_order(by_strategy, colors):
            curve = by_strategy[strategy]
            score = metric.factor * curve.score.mean(axis=0)
            draw_line(axes, strategy, colors, curve.severity, score, ".")
            axes.set_xticks(curve.severity)
        axes.set_title(f"{modality}\n{corruption.replace('_', ' ')}", fontsize=9)
        calm(axes, grid="both")
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel(metric.axis)
    panels[-1, 0].set_xlabel("severity")
    legend_below(figure)  # a baseline appears only in the panels of its own modality
    return figure
