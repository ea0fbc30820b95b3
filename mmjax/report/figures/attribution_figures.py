"""Figures of Shapley values, information decompositions and modality weights."""

from collections.abc import Mapping
from operator import itemgetter

import numpy as np
from matplotlib import colormaps

from mmjax.analysis.attribution import LIKELIHOOD, Decomposition
from mmjax.analysis.summary import Rows, group_by, scored_split
from mmjax.comparison.scores import over_folds, standard_error
from mmjax.metrics import find_metric
from mmjax.report.figures.style import Figure, plain_text

_LABELS = {
    "redundancy": "redundant",
    "first": "unique to the first",
    "second": "unique to the second",
    "synergy": "synergistic",
}


@plain_text
def shapley_figure(rows: Rows) -> Figure:
    """Shapley values in points of the score, with one standard error on either side.

    Args:
        rows: the result of ``shapley_rows``, on one task.

    Example:
        >>> row = {"task": "toy", "strategy": "sum", "seed": 0, "split": "test"}
        >>> shares = [{**row, "metric": "accuracy", "modality": name, "shapley": share}
        ...           for name, share in (("image", 0.5), ("audio", 0.25))]
        >>> figure = shapley_figure(shares)
        >>> sorted(round(bar.get_width()) for bar in figure.axes[0].patches)
        [25, 50]
    """
    split = scored_split(rows)
    scored = [row for row in rows if row["metric"] != LIKELIHOOD]
    metric = find_metric(scored[0]["metric"])
    shown = [row for row in scored if row["split"] == split]
    by_modality = group_by(shown, itemgetter("modality"))
    strategies = sorted({row["strategy"] for row in rows}, reverse=True)
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(strategies)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(by_modality)
    for index, (modality, part) in enumerate(sorted(by_modality.items())):
        of_strategy = group_by(part, itemgetter("strategy"))
        own = [place for place, name in enumerate(strategies) if name in of_strategy]
        values = [
            metric.factor * over_folds(of_strategy[strategies[place]], "shapley") for place in own
        ]
        axes.barh(
            np.array(own) + (len(by_modality) / 2 - 0.5 - index) * height,
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
    unit = "points of" if metric.percent else "gain in"
    label = f"{unit} {split} {metric.label}"
    axes.set_xlabel(f"Shapley value: {label}, +- standard error over seeds")
    axes.set_title(f"{rows[0]['task']}: contribution of each modality")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


@plain_text
def information_figure(decompositions: Mapping[str, Decomposition]) -> Figure:
    """The four parts of each decomposition, stacked; negative ones, which are noise, as zero."""
    parts = np.maximum(np.array(list(decompositions.values())), 0)
    left = np.cumsum(parts, axis=1) - parts
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(parts)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(parts))[::-1]
    for index, part in enumerate(Decomposition._fields):
        color = colormaps["tab10"](index)
        axes.barh(rows, parts[:, index], 0.7, left[:, index], color=color, label=_LABELS[part])
    axes.set_yticks(rows, list(decompositions))
    axes.set_xlabel("information about the class (bits)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


@plain_text
def weights_figure(rows: Rows) -> Figure:
    """Mean weight of each modality: one row per strategy, dot per seed, colour per modality."""
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
