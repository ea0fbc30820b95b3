"""Figures of a study: differences, learning curves, missing modalities, confusion matrices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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
    QUIET,
    WIDTH,
    Figure,
    calm,
    class_name,
    draw_line,
    drawing_order,
    legend_below,
    log_ticks,
    shorten,
    width_beside,
)
from mmjax.types import Metric

NUM_CLASSES = 30  # at most in a matrix, as each cell is an element of the page
_INK = 0.55  # opacity of the strongest cell, so that text is legible on it


def forest_figure(
    judged: Sequence[Judged], metric: Metric, colors: Mapping[str, str] = {}
) -> Figure:
    """Gain of every strategy over what it is compared with, with 95 % intervals.

    Dots are filled where the difference is significant.
    """
    ordered = sorted(judged, key=lambda one: one.pair.difference.mean)
    size = (width_beside([one.strategy for one in ordered]), 0.8 + 0.26 * len(ordered))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for y, one in enumerate(ordered):
        mean, _, low, high = (metric.factor * value for value in one.pair.difference)
        color = colors.get(one.strategy, FUSED)
        axes.plot([low, high], [y, y], color=color, linewidth=1.8, solid_capstyle="butt")
        face = color if one.told else "#ffffff"
        axes.plot(mean, y, "o", color=color, markerfacecolor=face, markersize=6)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set_yticks(
        range(len(ordered)), [shorten(one.strategy) for one in ordered], parse_math=False
    )
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.set_xlabel(f"gain, {metric.unit}")
    calm(axes, grid="x")
    return figure


def exchange_figure(
    answers: Answers, names: Sequence[str], reference: str, which: str = "with fusion"
) -> Figure:
    """Rows that each strategy gains and loses against a reference, in %; best first."""
    trades = {name: answers.exchange(name, reference) for name in names}
    ordered = sorted(names, key=lambda name: np.subtract(*trades[name]))
    gained, lost = np.array([trades[name] for name in ordered]).T
    size = (width_beside(ordered), 0.7 + 0.26 * len(ordered))
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
    history: Sequence[Row], colors: Mapping[str, str], metric: Metric = METRICS["accuracy"]
) -> Figure:
    """Validation score, and training loss if it is known, over steps; means over seeds.

    Dots are validations. Strategies without a colour are thin and grey.
    """
    scores = mean_curves(history, f"valid_{metric.name}", metric.factor)
    losses = mean_curves(history, "recent_loss")
    panels = [(scores, f"validation {metric.axis}")] + [(losses, "training loss")] * bool(losses)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.0 * len(panels)), layout="constrained")
    drawn = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (curves, label) in zip(drawn, panels, strict=True):
        for name in drawing_order(curves, colors):
            steps, means = list(curves[name]), list(curves[name].values())
            draw_line(axes, name, colors, steps, means, "." if curves is scores else "")
        axes.set_ylabel(label)
        calm(axes, grid="both")
    if losses and all(value > 0 for curve in losses.values() for value in curve.values()):
        drawn[-1].set_yscale("log")
        log_ticks(drawn[-1].yaxis, "{x:g}")
    drawn[-1].set_xlabel("step")
    drawn[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend_below(figure)
    return figure


def missing_figure(
    scores: Mapping[str, Mapping[frozenset[str], float]], metric: Metric = METRICS["accuracy"]
) -> Figure:
    """Score of every strategy with each subset of the modalities present at test time, but none.

    Args:
        scores: {strategy: {modalities present: score}}.
        metric: of the scores.

    Example:
        >>> both, image = frozenset({"image", "audio"}), frozenset({"image"})
        >>> figure = missing_figure({"sum": {both: 0.9, image: 0.6}})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['90.0', '60.0']
    """
    subsets = {subset for values in scores.values() for subset in values if subset}
    columns = sorted(subsets, key=lambda subset: (-len(subset), sorted(subset)))
    names = list(scores)
    grid = np.array([[scores[n].get(subset, np.nan) for subset in columns] for n in names])
    low, high = np.nanmin(metric.sign * grid), np.nanmax(metric.sign * grid)
    strength = np.nan_to_num((metric.sign * grid - low) / max(high - low, 1e-9))
    titles = ["\n+ ".join(sorted(subset)) for subset in columns]
    text = lambda i, j: "" if np.isnan(grid[i, j]) else metric.format(float(grid[i, j]), 1)
    return _heat_map(lambda i, j: (FUSED, strength[i, j]), text, names, titles, cell=(0.8, 0.28))


def confusion_figure(
    matrices: Mapping[str, np.ndarray], names: Sequence[str] | np.ndarray = ()
) -> Figure:
    """Confusion matrices side by side: percentages of each true class by predicted class.

    Of more than ``NUM_CLASSES`` classes, those with the most errors are shown.

    Args:
        matrices: {strategy: [classes, classes] counts, true classes first}.
        names: of the classes; by default their numbers.

    Example:
        >>> figure = confusion_figure({"sum": np.array([[3, 1], [0, 4]])})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25', '', '100']
    """
    total = np.sum(list(matrices.values()), axis=0)
    errors = total.sum(axis=1) - total.diagonal()
    shown = np.sort(np.argsort(-errors, kind="stable")[:NUM_CLASSES])
    classes = [class_name(i, names) for i in shown]
    side = np.clip(3.2 / len(shown), 0.12, 0.6)
    size = (max(WIDTH, 0.7 + side * len(shown)) * len(matrices), 0.9 + side * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    for axes, (name, counts) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        share = (100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[
            np.ix_(shown, shown)
        ]
        _draw_confusion(axes, share, classes)
        axes.set_title(shorten(name), fontsize="medium", parse_math=False)
    return figure


def _draw_confusion(axes: Axes, share: np.ndarray, classes: Sequence[str]) -> None:
    small = len(classes) > 12
    text = lambda i, j: "" if small or share[i, j] < 0.5 else f"{share[i, j]:.0f}"
    shade = lambda i, j: (FUSED if i == j else ALONE, float(share[i, j]) / 100)
    _draw_cells(axes, shade, text, classes, classes)
    axes.set(xlabel="predicted class", ylabel="true class", aspect="equal")


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
    beside = max(1.2, width_beside(rows) - 2.4)
    size = (max(WIDTH, beside + cell[0] * len(columns)), below + cell[1] * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    _draw_cells(figure.subplots(), shade, text, rows, columns, slanted=not fits)
    return figure


def _draw_cells(
    axes: Axes,
    shade: Callable[[int, int], tuple[str, float]],
    text: Callable[[int, int], str],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    slanted: bool = False,
) -> None:
    for i in range(len(rows)):
        for j in range(len(columns)):
            color, strength = shade(i, j)
            opacity = _INK * float(strength)
            look: dict[str, Any] = {"facecolor": color, "alpha": opacity, "linewidth": 0}
            axes.add_patch(Rectangle((j - 0.48, i - 0.47), 0.96, 0.94, **look))
            axes.text(j, i, text(i, j), ha="center", va="center", fontsize=8)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    turn: dict[str, Any]
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(columns)), columns, parse_math=False, **turn)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    calm(axes)
    axes.spines[["left", "bottom"]].set_visible(False)
