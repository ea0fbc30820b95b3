"""Figures of scores and learning curves."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.figure import Figure as AnyFigure

from mmjax.analysis.summary import Rows, Summary
from mmjax.comparison.scores import standard_error
from mmjax.metrics import METRICS
from mmjax.report.figures.style import ALONE, FUSED, Figure, plain_text
from mmjax.storage.files import whole_file
from mmjax.types import Metric


@plain_text
def score_figure(summaries: Sequence[Summary], title: str, base: str | None = None) -> Figure:
    """The score of each strategy: one dot per seed, and the mean with one standard error.

    Args:
        summaries: one per strategy, the best first.
        title: of the figure.
        base: the strategy whose mean is a dotted line, by default the best unimodal baseline.

    Example:
        >>> scores = [np.array([0.5, 0.75])] * 3
        >>> one = Summary("sum", False, METRICS["accuracy"], *scores, 10, 1.0)
        >>> figure = score_figure([one], "toy")
        >>> figure.axes[0].get_xlabel()
        'accuracy in %, +- standard error'
    """
    figure = Figure(figsize=(7, 0.9 + 0.32 * len(summaries)), layout="constrained")
    axes = figure.subplots()
    for y, summary in enumerate(reversed(summaries)):
        values = summary.metric.factor * summary.score
        color = ALONE if summary.unimodal else FUSED
        axes.scatter(values, np.full(len(values), y), s=14, color=color, alpha=0.35, linewidths=0)
        axes.errorbar(
            values.mean(), y, xerr=standard_error(values), fmt="o", color=color, capsize=3
        )
    axes.set_yticks(range(len(summaries)), [s.strategy for s in reversed(summaries)])
    metric = summaries[0].metric
    dotted = [s for s in summaries if (s.strategy == base if base else s.unimodal)]
    label = f"{metric.axis}, +- standard error"
    if dotted:
        axes.axvline(
            metric.factor * dotted[0].score.mean(), color=ALONE, linestyle=":", linewidth=1
        )
        label = f"{label} (dotted: {base or 'best unimodal baseline'})"
    axes.set_xlabel(label)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
    return figure


def mean_curves(history: Rows, metric: Metric = METRICS["accuracy"]) -> dict[str, dict[int, float]]:
    """{strategy: {step: score on validation as it is shown, mean over seeds}}, steps sorted.

    Epochs without a finite score are omitted.

    Example:
        >>> row = {"strategy": "sum", "step": 10}
        >>> mean_curves([{**row, "valid_accuracy": score} for score in (0.5, 0.75)])
        {'sum': {10: 62.5}}
    """
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in history:
        score = row.get(f"valid_{metric.name}")
        if score is not None:
            found[row["strategy"]][row["step"]].append(metric.factor * score)
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
