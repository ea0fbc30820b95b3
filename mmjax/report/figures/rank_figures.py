"""Figures over several tasks: critical differences, interquartile means, performance profiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.analysis.statistics import (
    Ranking,
    cliques,
    interquartile_interval,
    interquartile_mean,
    performance_profile,
)
from mmjax.report.figures.style import FUSED, PALETTE, QUIET, WIDTH, Figure, calm, legend_below

_STEP = 0.28  # inches between names
_CROWD = 20  # strategies above which only every fifth rank is numbered
_DASHES = ("-", "--", "-.", ":")


def critical_difference_figure(names: Sequence[str], ranking: Ranking) -> Figure:
    """Mean ranks on a line, with bars over strategies that do not differ by Nemenyi's test.

    The diagram of Demsar, JMLR 7 (2006), figure 1: the best is on the left.

    Args:
        names: [strategies].
        ranking: of the same strategies.

    Example:
        >>> ranking = Ranking(np.array([1.25, 1.75, 3.0]), p=0.04, critical_difference=1.0)
        >>> figure = critical_difference_figure(["sum", "gmu", "early"], ranking)
        >>> "sum  1.25" in [text.get_text() for text in figure.axes[0].texts]
        True
    """
    order = np.argsort(ranking.mean_ranks, kind="stable")
    ranks, names = ranking.mean_ranks[order], [names[i] for i in order]
    count, half = len(ranks), (len(ranks) + 1) // 2
    bars = cliques(ranks, ranking.critical_difference)
    depth = 0.8 + 0.5 * len(bars)  # where the names start, below the bars
    figure = Figure(figsize=(1.2 * WIDTH, 0.7 + _STEP * (depth + half + 1)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0.5, count + 0.5), ylim=(depth + half, -2.2))
    axes.set_axis_off()
    axes.plot([1, count], [0, 0], color="black", linewidth=1)
    for tick in (1, *range(5, count + 1, 5)) if count > _CROWD else range(1, count + 1):
        axes.plot([tick, tick], [-0.15, 0], color="black", linewidth=1)
        axes.text(tick, -0.3, str(tick), ha="center", va="bottom", fontsize=8)
    for place, (rank, name) in enumerate(zip(ranks, names, strict=True)):
        left = place < half
        y = depth + (place if left else count - 1 - place)
        side, align = (0.9, "right") if left else (count + 0.1, "left")
        axes.plot([rank, rank, side], [0, y, y], color=QUIET, linewidth=0.8)
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(side, y, text, ha=align, va="center", fontsize=9, parse_math=False)
    for level, (first, last) in enumerate(bars):
        ends = [ranks[first] - 0.04, ranks[last] + 0.04]
        axes.plot(ends, [0.5 + 0.5 * level] * 2, color=FUSED, linewidth=3.5)
    reach = min(1 + ranking.critical_difference, count)
    axes.plot([1, reach], [-1.6, -1.6], color=FUSED, linewidth=1.5, marker="|")
    critical = f"critical difference {ranking.critical_difference:.2f}"
    axes.text(1, -1.8, critical, ha="left", va="bottom", fontsize=8)
    return figure


def interquartile_figure(scores: Mapping[str, np.ndarray]) -> Figure:
    """Interquartile means over all runs in %, with 95 % intervals.

    Args:
        scores: {strategy: [tasks, seeds] of scores, 1 is best}.
    """
    means = {name: interquartile_mean(values) for name, values in scores.items()}
    names = sorted(means, key=means.__getitem__)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.26 * len(names)), layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(names):
        if scores[name].shape[1] > 1:  # one seed gives no interval
            low, high = interquartile_interval(scores[name])
            axes.plot([100 * low, 100 * high], [y, y], color=FUSED, linewidth=1.8)
        axes.plot(100 * means[name], y, "o", color=FUSED, markersize=6)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("interquartile mean score in %")
    axes.set_ylim(-0.7, len(names) - 0.3)
    calm(axes, grid="x")
    return figure


def profiles_figure(scores: Mapping[str, np.ndarray]) -> Figure:
    """The percentage of runs whose score is above each threshold.

    Args:
        scores: {strategy: [tasks, seeds] of scores, 1 is best}.
    """
    everything = np.concatenate([values.ravel() for values in scores.values()])
    thresholds = np.linspace(everything.min() - 0.01, everything.max() + 0.01, 300)
    best_first = sorted(scores, key=lambda name: -interquartile_mean(scores[name]))
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(best_first):
        share = 100 * performance_profile(scores[name], thresholds.tolist())
        color, dashes = PALETTE[index % len(PALETTE)], _DASHES[index // len(PALETTE) % 4]
        line: dict[str, Any] = {"color": color, "linestyle": dashes, "label": name}
        axes.step(100 * thresholds, share, where="post", **line)
    axes.set_xlabel("score threshold in %")
    axes.set_ylabel("runs above the threshold in %")
    calm(axes, grid="both")
    legend_below(figure)
    return figure
