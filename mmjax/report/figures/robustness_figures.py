"""The figure of robustness to corruption."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from mmjax.analysis.robustness import Curve, score_curves
from mmjax.analysis.summary import Rows
from mmjax.comparison.scores import baselines
from mmjax.metrics import metric_of
from mmjax.report.figures.style import Figure, plain_text
from mmjax.types import Metric

NUM_HIGHLIGHTS, _COLUMNS = 8, 4


@plain_text
def robustness_figure(rows: Rows) -> Figure:
    """The score against severity, mean over seeds: one panel per modality and corruption.

    At most ``NUM_HIGHLIGHTS`` strategies have a colour: the unimodal baselines (dashed), and the
    fusions with the highest mean area over all panels. The others are grey.

    Args:
        rows: from ``mmjax.analysis.robustness.robustness_rows``, of one arm or more.

    Example:
        >>> row = {"strategy": "sum", "modalities": "image+audio", "modality": "image", "seed": 0}
        >>> rows = [{**row, "corruption": corruption, "severity": severity, "accuracy": score}
        ...         for corruption, severity, score in (("", 0, 0.75), ("blur", 5, 0.5))]
        >>> axes = robustness_figure(rows).axes[0]
        >>> axes.get_title(), axes.lines[0].get_ydata().tolist()
        ('image: blur', [75.0, 50.0])
    """
    curves, metric = score_curves(rows), metric_of(rows[0])
    alone = set(baselines(rows))
    colors = _highlights(curves, alone, metric.sign)
    lines = math.ceil(len(curves) / _COLUMNS)
    figure = Figure(figsize=(11, 0.6 + 2.3 * lines), layout="constrained")
    panels = figure.subplots(lines, _COLUMNS, squeeze=False, sharey=True)
    for axes, ((modality, corruption), by_strategy) in zip(
        panels.flat, curves.items(), strict=False
    ):
        _draw(axes, by_strategy, colors, alone, metric)
        axes.set_title(f"{modality}: {corruption.replace('_', ' ')}", fontsize="medium")
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    figure.supxlabel("severity")
    figure.supylabel(metric.axis)
    # A baseline appears only in the panels of its own modality.
    handles = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
    named = [name for name in colors if name in handles]
    figure.legend(
        [handles[name] for name in named], named,
        loc="outside right upper", fontsize="small", frameon=False,
    )  # fmt: skip
    return figure


def _highlights(
    curves: Mapping[tuple[str, str], Mapping[str, Curve]], alone: set[str], sign: int
) -> dict[str, tuple[float, ...]]:
    """{strategy: colour} of the baselines, then of the fusions with the best mean area."""
    areas: dict[str, list[float]] = {}
    for by_strategy in curves.values():
        for strategy, curve in by_strategy.items():
            areas.setdefault(strategy, []).append(curve.area.mean())
    best_first = sorted(areas, key=lambda name: (name not in alone, -sign * np.mean(areas[name])))
    colors = [colormaps["tab10"](index) for index in range(10) if index != 7]  # not grey
    return dict(zip(best_first[:NUM_HIGHLIGHTS], colors, strict=False))


def _draw(
    axes: Axes,
    by_strategy: Mapping[str, Curve],
    colors: Mapping[str, tuple],
    alone: set[str],
    metric: Metric,
) -> None:
    for strategy, curve in by_strategy.items():
        known = strategy in colors
        axes.plot(
            curve.severity,
            metric.factor * curve.score.mean(axis=0),
            label=strategy,
            color=colors.get(strategy, "0.8"),
            linestyle="--" if strategy in alone else "-",
            linewidth=1.5 if known else 0.8,
            marker="." if known else None,
            zorder=3 if known else 2,
        )
    axes.set_xticks(next(iter(by_strategy.values())).severity)
    axes.grid(alpha=0.3)
