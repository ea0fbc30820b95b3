"""Figures of calibration: reliability diagrams and selective prediction."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from mmjax.analysis.calibration import NUM_BINS, Reliability, reliability, risk_coverage
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.style import (
    ALONE,
    FUSED,
    QUIET,
    WIDTH,
    Figure,
    calm,
    draw_line,
    legend_below,
    plain_text,
    shorten,
)


def reliability_figure(logits: Mapping[str, np.ndarray], target: np.ndarray) -> Figure:
    """A reliability diagram per strategy, with the seeds pooled, above a histogram of confidence.

    The gap between accuracy and confidence is shaded; "ECE" is the expected calibration error,
    averaged over seeds.

    Args:
        logits: {strategy: [seeds, rows, classes]}, a few strategies.
        target: [rows] classes.

    Example:
        >>> logits = {"sum": np.log([[[0.75, 0.25]] * 4])}
        >>> figure = reliability_figure(logits, np.array([0, 0, 0, 1]))  # 3 of 4 correct
        >>> print(figure.axes[0].get_title())
        sum
        ECE 0.0 %
    """
    figure = Figure(figsize=(max(WIDTH, 1.6 * len(logits) + 0.5), 3.2), layout="constrained")
    panels = figure.subplots(
        2, len(logits), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1)
    )
    for (upper, lower), (name, values) in zip(panels.T, logits.items(), strict=True):
        error = np.mean([reliability(one, target).error for one in values])
        title = f"{shorten(name)}\nECE {100 * error:.1f} %"
        upper.set_title(title, fontsize="medium", parse_math=False)
        pooled = reliability(np.concatenate(values), np.tile(target, len(values)))
        _draw(upper, lower, pooled)
    panels[0, 0].set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    panels[1, 0].set(ylabel="rows", yscale="log", ylim=(0.5, None))
    panels[1, 0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])  # wider ones would overlap
    panels[1, 0].yaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("confidence", fontsize="medium")
    return figure


def _draw(upper: Axes, lower: Axes, bins: Reliability) -> None:
    filled, width = bins.count > 0, 1 / NUM_BINS
    centre = width * (np.arange(NUM_BINS)[filled] + 0.5)
    confidence, accuracy = bins.confidence[filled], bins.accuracy[filled]
    upper.bar(centre, accuracy, width, color=FUSED, alpha=0.8, linewidth=0)
    gap = confidence - accuracy
    upper.bar(centre, gap, width, accuracy, color=ALONE, alpha=0.4, linewidth=0)
    for axes in (upper, lower):
        calm(axes)
    upper.plot([0, 1], [0, 1], color="#000000", linestyle=":", linewidth=1)
    lower.bar(centre, bins.count[filled], width, color=QUIET, linewidth=0)


@plain_text
def selective_figure(
    logits: Mapping[str, np.ndarray], target: np.ndarray, colors: Mapping[str, str] = {}
) -> Figure:
    """Accuracy over coverage, mean over seeds +- standard error.

    Args:
        logits: {strategy: [seeds, rows, classes]}.
        target: [rows] classes.
        colors: of the strategies.

    Example:
        >>> logits = np.array([[[4.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 2.0]]])
        >>> figure = selective_figure({"sum": logits}, np.array([0, 1, 1, 1]))
        >>> figure.axes[0].lines[0].get_ydata().tolist()
        [100.0, 100.0, 100.0, 75.0]
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, values in logits.items():
        curves = [risk_coverage(one, target) for one in values]
        coverage = 100 * curves[0].coverage
        accuracy = 100 * np.stack([curve.accuracy for curve in curves])
        color = colors.get(name, FUSED)
        draw_line(axes, name, {**colors, name: color}, coverage, accuracy.mean(axis=0))
        if len(curves) > 1:
            error = standard_error(accuracy)
            band = accuracy.mean(axis=0) - error, accuracy.mean(axis=0) + error
            axes.fill_between(coverage, *band, color=color, alpha=0.2, linewidth=0)
    axes.set_xlabel("coverage: most confident rows in %")
    axes.set_ylabel("accuracy on these rows in %")
    calm(axes, grid="both")
    legend_below(figure)
    return figure
