"""Figures of scores and learning curves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.figure import Figure as AnyFigure

from mmjax.analysis.summary import Rows, Summary
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.style import (
    FUSED,
    QUIET,
    Figure,
    calm,
    plain_text,
    shorten,
    width_beside,
)
from mmjax.storage.files import whole_file


@plain_text
def score_figure(
    summaries: Sequence[Summary],
    title: str,
    base: str | None = None,
    colors: Mapping[str, str] = {},
) -> Figure:
    """The score of each strategy: one dot per seed, and the mean with one standard error.

    Args:
        summaries: one per strategy, the best first.
        title: of the figure.
        base: the strategy whose mean is a dotted line, by default the best unimodal baseline.
        colors: of the strategies.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> scores = [np.array([0.5, 0.75])] * 3
        >>> one = Summary("sum", False, METRICS["accuracy"], *scores, 10, 1.0)
        >>> figure = score_figure([one], "toy")
        >>> figure.axes[0].get_xlabel()
        'accuracy in %, +- standard error'
    """
    names = [summary.strategy for summary in reversed(summaries)]
    figure = Figure(figsize=(width_beside(names), 1 + 0.26 * len(names)), layout="constrained")
    axes = figure.subplots()
    for y, summary in enumerate(reversed(summaries)):
        values = summary.metric.factor * summary.score
        color = colors.get(summary.strategy, FUSED)
        axes.scatter(values, np.full(len(values), y), s=14, color=color, alpha=0.35, linewidths=0)
        axes.errorbar(values.mean(), y, xerr=standard_error(values), fmt="o", ms=5, color=color)
    axes.set_yticks(range(len(names)), list(map(shorten, names)))
    metric = summaries[0].metric
    dotted = [s for s in summaries if (s.strategy == base if base else s.unimodal)]
    label = f"{metric.axis}, +- standard error"
    if dotted:
        mean = metric.factor * dotted[0].score.mean()
        axes.axvline(mean, color=QUIET, linestyle=":", linewidth=1)
        label = f"{label}\n(dotted: {base or 'best unimodal baseline'})"
    axes.set_xlabel(label)
    axes.set_title(title)
    calm(axes, grid="x")
    return figure


def mean_curves(history: Rows, column: str, factor: float = 1.0) -> dict[str, dict[int, float]]:
    """{strategy: {step: a column times a factor, mean over seeds}}, steps sorted.

    Rows without a finite value are omitted.

    Example:
        >>> row = {"strategy": "sum", "step": 10}
        >>> rows = [{**row, "valid_accuracy": score} for score in (0.5, 0.75)]
        >>> mean_curves(rows, "valid_accuracy", 100)
        {'sum': {10: 62.5}}
    """
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in history:
        value = row.get(column)
        if value is not None:
            found[row["strategy"]][row["step"]].append(factor * value)
    return {
        strategy: {step: float(np.mean(points[step])) for step in sorted(points)}
        for strategy, points in found.items()
    }


def save(figure: AnyFigure, path: Path) -> None:
    """Writes a figure, in the format given by the suffix of the path."""
    with whole_file(path) as file:
        write_figure(figure, file, path.suffix[1:] or None)


@plain_text
def write_figure(figure: AnyFigure, file: BinaryIO, format: str | None = "png") -> None:
    """Writes a figure to an open file."""
    figure.savefig(file, dpi=150, format=format)
