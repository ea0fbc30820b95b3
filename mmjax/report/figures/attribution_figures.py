"""Figures of what each modality adds, and of how what two of them say overlaps."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps

from mmjax.analysis.attribution import Decomposition
from mmjax.analysis.summary import Rows, scored_split
from mmjax.comparison.scores import standard_error
from mmjax.data.targets import MAIN_SCORES
from mmjax.report.figures.style import Figure, plain_text

_LABELS = {
    "redundancy": "in both",
    "first": "in the first only",
    "second": "in the second only",
    "synergy": "in the two together",
}


@plain_text
def shapley_figure(rows: Rows) -> Figure:
    """Points of the score that each modality adds: a bar, and one standard error either side.

    Args:
        rows: what ``shapley_rows`` returns, of one task.
    """
    split = scored_split(rows)
    score = next(MAIN_SCORES[row["metric"]] for row in rows if row["metric"] in MAIN_SCORES)
    points = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["metric"] in MAIN_SCORES and row["split"] == split:
            points[row["modality"]][row["strategy"]].append(100 * row["shapley"])
    strategies = sorted({row["strategy"] for row in rows}, reverse=True)
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(strategies)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(points)
    for index, (modality, of_strategy) in enumerate(sorted(points.items())):
        own = [place for place, name in enumerate(strategies) if name in of_strategy]
        values = [np.array(of_strategy[strategies[place]]) for place in own]
        axes.barh(
            np.array(own) + (len(points) / 2 - 0.5 - index) * height,
            [v.mean() for v in values],
            height,
            xerr=[standard_error(v) for v in values],
            color=colormaps["tab10"](index),
            capsize=2,
            label=modality,
        )
    axes.set_yticks(range(len(strategies)), strategies)
    axes.set_ylim(-0.7, len(strategies) - 0.3)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"Shapley value: points of {split} {score}, +- standard error over seeds")
    axes.set_title(f"{rows[0]['task']}: what each modality adds")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


@plain_text
def information_figure(decompositions: Mapping[str, Decomposition]) -> Figure:
    """The four parts of each decomposition, stacked; those below zero, which is noise, as zero."""
    parts = np.maximum(np.array(list(decompositions.values())), 0)
    left = np.cumsum(parts, axis=1) - parts
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(parts)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(parts))[::-1]
    for index, part in enumerate(Decomposition._fields):
        color = colormaps["tab10"](index)
        axes.barh(rows, parts[:, index], 0.7, left[:, index], color=color, label=_LABELS[part])
    axes.set_yticks(rows, list(decompositions))
    axes.set_xlabel("information about the class, in bits")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


@plain_text
def weights_figure(rows: Rows) -> Figure:
    """Mean weight of each modality: a row per strategy, a dot per seed, a colour per modality."""
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    modalities = sorted({row["modality"] for row in rows})
    figure = Figure(figsize=(5.2, 1.1 + 0.4 * len(strategies)), layout="constrained")
    axes = figure.subplots()
    for index, modality in enumerate(modalities):
        own = [row for row in rows if row["modality"] == modality]
        heights = [len(strategies) - 1 - strategies.index(row["strategy"]) for row in own]
        axes.scatter(
            [row["weight"] for row in own], heights, s=24, label=modality, color=f"C{index}"
        )
    axes.set_yticks(range(len(strategies)), strategies[::-1], parse_math=False)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.6, len(strategies) - 0.4), xlabel="mean weight")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=len(modalities), frameon=False)
    return figure
