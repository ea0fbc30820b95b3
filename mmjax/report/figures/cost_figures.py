"""The figure of score against cost."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from mmjax.analysis.cost import pareto_front
from mmjax.analysis.summary import Rows, Summary
from mmjax.comparison.scores import standard_error
from mmjax.report.figures.style import FUSED, QUIET, WIDTH, Figure, calm, log_ticks, plain_text

_GAP = 0.07  # between the names of points, as a fraction of the axes' height


@plain_text
def cost_figure(
    summaries: Sequence[Summary], costs: Rows, colors: Mapping[str, str] = {}
) -> Figure:
    """The score against the operations of a forward pass, with one standard error on either side.

    The strategies of the Pareto front are joined by a line and named beside the axes; the others
    are named in grey if there is room for all.

    Args:
        summaries: one per strategy.
        costs: one row per strategy, from ``mmjax.analysis.cost.cost_row``.
        colors: of the strategies.

    Example:
        >>> from mmjax.metrics import METRICS
        >>> measured = [("sum", 0.75, 10), ("early", 0.5, 20), ("gmu", 1.0, 40)]
        >>> metric = METRICS["accuracy"]
        >>> summaries = [Summary(name, False, metric, *[np.array([score])] * 3, 10, 1.0)
        ...              for name, score, _ in measured]
        >>> costs = [{"strategy": name, "flops": flops} for name, _, flops in measured]
        >>> figure = cost_figure(summaries, costs)
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_color() != QUIET]
        ['sum', 'gmu']
    """
    by_strategy = {row["strategy"]: row["flops"] for row in costs}
    known = sorted((s for s in summaries if s.strategy in by_strategy), key=_mean)
    flops = np.array([by_strategy[s.strategy] for s in known], np.float64)
    scores = np.array([_mean(s) for s in known])
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    for summary, x in zip(known, flops, strict=True):
        color = colors.get(summary.strategy, FUSED)
        error = summary.metric.factor * standard_error(summary.score)
        axes.errorbar(x, _mean(summary), yerr=error, fmt="o", ms=5, color=color)
    metric = known[0].metric
    front = pareto_front(flops, metric.sign * scores)
    axes.step(flops[front], scores[front], where="post", color="#000000", lw=0.8, zorder=0)
    axes.set_xscale("log")
    log_ticks(axes.xaxis, EngFormatter())
    named = front | (len(known) <= 1 + 1 / _GAP)
    points = [(s.strategy, on) for s, on in zip(known, front, strict=True)]
    points = [point for point, yes in zip(points, named, strict=True) if yes]
    _name_points(axes, points, flops[named], scores[named])
    axes.set_xlabel("forward pass of one row (FLOP)")
    axes.set_ylabel(f"{metric.axis}, +- standard error")
    calm(axes, grid="both")
    return figure


def _mean(summary: Summary) -> float:
    return summary.metric.factor * summary.score.mean()


def _name_points(
    axes: Axes, points: Sequence[tuple[str, bool]], x: np.ndarray, y: np.ndarray
) -> None:
    """Names points, sorted by y, in a column right of the axes, each joined to its point.

    Points are (name, whether it is on the front); the names of those that are not are grey.
    """
    low, high = axes.get_ylim()
    heights = spread_heights((y - low) / (high - low), _GAP)
    for (name, on), height, at, value in zip(points, heights, x, y, strict=True):
        axes.annotate(
            name,
            xy=(at, value),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            color="#000000" if on else QUIET,
            arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.5, "shrinkB": 3},
        )


def spread_heights(heights: np.ndarray, gap: float) -> np.ndarray:
    """Moves sorted heights in [0, 1] at least ``gap`` apart, or as far as there is room.

    Example:
        >>> spread_heights(np.array([0.5, 0.5, 1.0]), gap=0.25).tolist()
        [0.5, 0.75, 1.0]
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    below = gap * np.arange(len(heights))  # room for the names below each one
    return np.minimum(np.maximum.accumulate(heights - below), 1 - below[-1:]) + below
