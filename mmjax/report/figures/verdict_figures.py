"""Figures of a study: differences, learning curves, missing modalities, confusion matrices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mmjax.analysis.answers import Answers
from mmjax.analysis.study import Row
from mmjax.analysis.verdicts import Judged
from mmjax.metrics import METRICS
from mmjax.report.figures.scores_figure import mean_curves
from mmjax.report.figures.style import (
    ALONE,
    FUSED,
    PALETTE,
    QUIET,
    WIDTH,
    Figure,
    calm,
    legend_below,
    shorten,
    width_beside,
)
from mmjax.types import Metric

NUM_CLASSES = 30  # at most in a matrix, as each cell is an element of the page
_INK = 0.55  # opacity of the strongest cell, so that text is legible on it


def forest_figure(
    judged: Sequence[Judged], baselines: Sequence[str], reference: str, metric: Metric
) -> Figure:
    """Gain of every strategy over a reference, with 95 % intervals.

    Dots are filled where the difference is significant.
    """
    ordered = sorted(judged, key=lambda one: one.pair.difference.mean)
    size = (width_beside([one.strategy for one in ordered]), 0.8 + 0.26 * len(ordered))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for y, one in enumerate(ordered):
        mean, _, low, high = (metric.factor * value for value in one.pair.difference)
        color = ALONE if one.strategy in baselines else FUSED
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, solid_capstyle="butt")
        face = color if one.told else "#ffffff"
        axes.plot(mean, y, "o", color=color, markerfacecolor=face, markersize=6)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set_yticks(
        range(len(ordered)), [shorten(one.strategy) for one in ordered], parse_math=False
    )
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.set_xlabel(f"gain over {reference}, {metric.unit}", parse_math=False)
    calm(axes, grid="x")
    return figure


def exchange_figure(
    answers: Answers, names: Sequence[str], reference: str, which: str = "with fusion"
) -> Figure:
    """Rows that each strategy gains and loses against a reference, in %; best first."""
    trades = {name: answers.exchange(name, reference) for name in names}
    ordered = sorted(names, key=lambda name: np.subtract(*trades[name]))
    gained, lost = np.array([trades[name] for name in ordered]).T
    size = (width_beside(ordered), 1.1 + 0.26 * len(ordered))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    rows = range(len(ordered))
    axes.barh(rows, gained, 0.6, color=FUSED, label=f"correct only {which}")
    axes.barh(rows, -lost, 0.6, color=ALONE, label=f"wrong only {which}")
    axes.plot(gained - lost, rows, "|", color="#000000", markersize=9, label="difference")
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set_yticks(rows, list(map(shorten, ordered)), parse_math=False)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel(f"rows in %, against {reference}", parse_math=False)
    calm(axes, grid="x")
    legend_below(figure)
    return figure


def matrix_figure(answers: Answers, names: Sequence[str]) -> Figure:
    """By how much each strategy of a list, in rows, is better than each other, in columns."""
    means = np.array([answers.scores[name].mean() for name in names])
    gain = means[:, None] - means
    largest = max(np.abs(gain).max(), 1e-9)
    shade = lambda i, j: (FUSED if gain[i, j] > 0 else ALONE, abs(gain[i, j]) / largest)
    show = answers.metric.format_gain
    text = lambda i, j: "" if i == j else show(round(gain[i, j], 9)).replace("-0.0", "+0.0")
    return _heat_map(shade, text, names, names, cell=(0.37, 0.34))


def curves_figure(
    history: Sequence[Row], highlighted: Sequence[str], metric: Metric = METRICS["accuracy"]
) -> Figure:
    """Validation score over steps, mean over seeds; strategies not highlighted are grey."""
    curves = mean_curves(history, metric)
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    axes = figure.subplots()
    colors = dict(zip(highlighted, PALETTE, strict=False))
    for name in sorted(curves, key=lambda name: name in colors):  # the highlighted on top
        steps, means = list(curves[name]), list(curves[name].values())
        if name in colors:
            axes.plot(steps, means, color=colors[name], label=name, linewidth=1.8)
        else:
            axes.plot(steps, means, color=QUIET, linewidth=0.8, alpha=0.5)
    axes.set_xlabel("step")
    axes.set_ylabel(f"validation {metric.axis}")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    calm(axes, grid="both")
    legend_below(figure)
    return figure


def missing_figure(
    scores: Mapping[str, Mapping[frozenset[str], float]], metric: Metric = METRICS["accuracy"]
) -> Figure:
    """Score of every strategy with each subset of the modalities present at test time.

    Args:
        scores: {strategy: {modalities present: score}}.
        metric: of the scores.

    Example:
        >>> both, image = frozenset({"image", "audio"}), frozenset({"image"})
        >>> figure = missing_figure({"sum": {both: 0.9, image: 0.6}})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['90.0', '60.0']
    """
    subsets = {subset for values in scores.values() for subset in values}
    columns = sorted(subsets, key=lambda subset: (-len(subset), sorted(subset)))
    names = list(scores)
    grid = np.array([[scores[n].get(subset, np.nan) for subset in columns] for n in names])
    low, high = np.nanmin(metric.sign * grid), np.nanmax(metric.sign * grid)
    strength = np.nan_to_num((metric.sign * grid - low) / max(high - low, 1e-9))
    titles = ["\n+ ".join(sorted(subset)) or "nothing" for subset in columns]
    text = lambda i, j: "" if np.isnan(grid[i, j]) else metric.format(float(grid[i, j]), 1)
    return _heat_map(lambda i, j: (FUSED, strength[i, j]), text, names, titles, cell=(0.8, 0.28))


def confusion_figure(counts: np.ndarray) -> Figure:
    """Confusion matrix: percentage of the rows of each true class by predicted class.

    Of more than ``NUM_CLASSES`` classes, those with the most errors are shown.

    Args:
        counts: [classes, classes], true classes first.

    Example:
        >>> figure = confusion_figure(np.array([[3, 1], [0, 4]]))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25', '', '100']
    """
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = counts.sum(axis=1) - counts.diagonal()
    shown = np.sort(np.argsort(-errors, kind="stable")[:NUM_CLASSES])
    share, classes = share[np.ix_(shown, shown)], list(map(str, shown))
    small = len(shown) > 12
    text = lambda i, j: "" if small or share[i, j] < 0.5 else f"{share[i, j]:.0f}"
    shade = lambda i, j: (FUSED if i == j else ALONE, share[i, j] / 100)
    side = np.clip(3.4 / len(shown), 0.12, 0.7)
    figure = _heat_map(shade, text, classes, classes, cell=(side, side))
    figure.axes[0].set(xlabel="predicted class", ylabel="true class", aspect="equal")
    return figure


def _heat_map(
    shade: Callable[[int, int], tuple[str, float]],
    text: Callable[[int, int], str],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    cell: tuple[float, float],
) -> Figure:
    """Cells of varying opacity, legible on light and on dark backgrounds."""
    rows = list(map(shorten, rows))
    columns = ["\n".join(map(shorten, name.split("\n"))) for name in columns]
    widest = max(len(line) for name in columns for line in name.split("\n"))
    fits = 0.09 * widest < cell[0]
    below = 1.0 if fits else max(1.0, 0.4 + 0.055 * widest)
    beside = max(1.5, width_beside(rows) - 2.4)
    size = (max(WIDTH, beside + cell[0] * len(columns)), below + cell[1] * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for i in range(len(rows)):
        for j in range(len(columns)):
            color, strength = shade(i, j)
            opacity = _INK * float(strength)
            look: dict[str, Any] = {"facecolor": color, "alpha": opacity, "linewidth": 0}
            axes.add_patch(Rectangle((j - 0.48, i - 0.47), 0.96, 0.94, **look))
            axes.text(j, i, text(i, j), ha="center", va="center", fontsize=8)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    turn: dict[str, Any]
    turn = {} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(columns)), columns, parse_math=False, **turn)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    calm(axes)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure
